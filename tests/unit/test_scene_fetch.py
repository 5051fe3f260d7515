"""Downloads for a scene: which addresses are asked, and what is refused of what they answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest

from microtome.errors import Forbidden, InvalidRequest, LimitExceeded, MicrotomeError, NotFound, StorageUnavailable
from microtome.scene.fetch import Allowed, download, is_public, name_of

BODY = b"NRRD" * 100


class Server(BaseHTTPRequestHandler):
    """Answers by path; notes what it was asked."""

    asked: list[tuple[str, str | None]] = []  # noqa: RUF012 - of this server alone

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["host"]))
        match self.path.split("?")[0]:
            case "/ok":
                self.answer(200, BODY)
            case "/to-file":
                self.answer(302, location="file:///etc/passwd")
            case "/to-other":
                self.answer(302, location="http://other.example/ok")
            case "/relative":
                self.answer(307, location="ok")
            case "/round":
                self.answer(301, location="/round")
            case "/endless":
                self.send_response(200)
                self.end_headers()
                try:
                    while True:
                        self.wfile.write(b"\0" * 65536)
                except OSError:
                    return
            case _:
                self.answer(404)

    def answer(self, status: int, body: bytes = b"", location: str = "") -> None:
        self.send_response(status)
        if location:
            self.send_header("location", location)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def fetched(url: str, into: Path, allowed: Allowed, most: int = 1 << 20) -> bytes:
    asyncio.run(download(url, into, allowed, most=most))
    return into.read_bytes()


def test_a_file_of_an_allowed_host(port: int, tmp_path: Path) -> None:
    allowed = Allowed((f"localhost:{port}",), private=True)
    assert fetched(f"http://localhost:{port}/ok?x=1", tmp_path / "a", allowed) == BODY
    assert Server.asked[-1] == ("/ok?x=1", f"localhost:{port}")
    assert fetched(f"http://localhost:{port}/relative", tmp_path / "a", allowed) == BODY


@pytest.mark.parametrize(
    ("path", "error"),
    [("to-file", Forbidden), ("to-other", Forbidden), ("round", StorageUnavailable), ("nothing", NotFound),
     ("endless", LimitExceeded)],
)  # fmt: skip
def test_answers_that_lead_astray(port: int, tmp_path: Path, path: str, error: type[MicrotomeError]) -> None:
    with pytest.raises(error):
        fetched(f"http://127.0.0.1:{port}/{path}", tmp_path / "a", Allowed((f"127.0.0.1:{port}",), private=True))


def test_private_addresses_are_asked_only_when_allowed(port: int, tmp_path: Path) -> None:
    before = len(Server.asked)
    for host in ("localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "127.1", "0x7f000001", "2130706433"):
        hosts = f"{host.strip('[]')}:{port}", f"{host}:{port}"
        with pytest.raises((Forbidden, NotFound)):
            fetched(f"http://{host}:{port}/ok", tmp_path / "a", Allowed(hosts))
    assert len(Server.asked) == before


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://a.example/x", "gopher://a.example/", "http:///x", "http://b.example/", "data:,x",
     "http://a.example:8080/x", "http://user:pw@a.example/x", "http://a.example@b.example/", "http://xa.example/",
     "http://a.example.b.example/x", "http://a.example/\r\nHost: b", "http://a.example:99999/"],
)  # fmt: skip
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises((Forbidden, InvalidRequest)):
        Allowed(("a.example", ".c.example")).check(url)


def test_lists_of_hosts() -> None:
    allowed = Allowed(("A.example", ".c.example", "d.example:8443"))
    assert allowed.check("http://a.EXAMPLE./x") == ("a.example", 80)
    assert allowed.check("https://x.y.c.example/") == ("x.y.c.example", 443)
    assert allowed.check("https://d.example:8443/") == ("d.example", 8443)
    for url in ("https://c.example/", "https://d.example/", "http://e.example/"):
        with pytest.raises(Forbidden):
            allowed.check(url)
    with pytest.raises(Forbidden):
        Allowed().check("http://a.example/")


@pytest.mark.parametrize(
    ("address", "public"),
    [("8.8.8.8", True), ("2001:4860:4860::8888", True), ("10.0.0.1", False), ("169.254.169.254", False),
     ("100.64.0.1", False), ("0.0.0.0", False), ("224.0.0.1", False), ("::1", False), ("fe80::1", False),
     ("fd00::1", False), ("::ffff:10.0.0.1", False), ("64:ff9b::a00:1", False), ("2002:a00:1::", False)],
)  # fmt: skip
def test_private_addresses(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public


def test_names() -> None:
    assert name_of("http://a/b/c%20d.nrrd?x=/y") == "c d.nrrd"
    assert name_of("http://a/") == ""
