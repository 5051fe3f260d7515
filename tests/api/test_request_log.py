"""The log of requests: every family, the express lane and websockets; no secrets, no forged lines, bounded."""

from __future__ import annotations

import http.client
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from microtome.api.express.prepared import Express
from microtome.api.express.protocol import LoggedProtocol, express_protocol
from microtome.api.forwarded import Proxies
from microtome.api.requestlog import MOST_CHARACTERS, KeptTogether, LoggedRequest, LogRequests, readable
from microtome.app import create_app
from microtome.settings import Settings
from tests.api.conftest import SECRET
from tests.api.test_access import sign
from tests.api.test_login import ALICE, BOB
from tests.serving import Client, served, until

needs_scene = pytest.mark.skipif(find_spec("slicer_core") is None, reason="the scene is not installed")
LOG = "/scene/v1/log"
TILE = "/tiles/test.tif/0/0/0.jpg"
LOGIN = "tests.api.test_login:ByFolder"


class Lines:
    """What has been logged of requests."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def found(self) -> list[str]:
        """Until now."""
        return [each.getMessage() for each in self._caplog.records if each.name == "microtome.requests"]

    def take(self, count: int) -> list[list[str]]:
        """The words of so many lines, once they are there, and no more of them."""
        until(lambda: len(self.found()) >= count)
        found = [line.split(" ") for line in self.found()]
        assert len(found) == count, found
        self._caplog.clear()
        return found


@contextmanager
def logged(caplog: pytest.LogCaptureFixture, folder: Path, **options: Any) -> Iterator[tuple[Client, Lines]]:
    """A server that logs on the console, and its lines."""
    caplog.set_level(logging.INFO, "microtome.requests")
    with served(folder, **{"request_log": True, **options}) as client:
        yield client, Lines(caplog)


def test_one_line_for_each_request_of_each_family(
    slides: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "hello.html").write_text("<h1>Hello</h1>")
    options = {"dicomweb": True, "dicom_index": str(tmp_path / "index"), "docroot": tmp_path, "scene": True}
    with logged(caplog, slides, **options) as (client, lines):
        for method, target in (
            ("GET", "/slides"),
            ("GET", "/v3/slides/info?slide_id=nothing"),
            ("GET", "/dicom/studies?PatientName=Doe"),
            ("GET", "/view/test.tif"),
            ("HEAD", "/static/css/base.css"),
            ("GET", "/hello.html"),
            ("GET", "/nothing"),
            ("POST", "/slides"),
            ("GET", "/slicer/nothing"),
            ("GET", LOG),
            ("OPTIONS", "/slides"),
        ):
            answer = client.request(method, target)
            (words,) = lines.take(1)
            assert words[:5] == ["127.0.0.1", method, target, str(answer.status), str(len(answer.body))]
            assert (words[5], words[7]) == ("bytes", "ms")
            assert float(words[6]) > 0


def test_express_answers_are_logged_like_others(slides: Path, caplog: pytest.LogCaptureFixture) -> None:
    with logged(caplog, slides) as (client, lines):
        first = client.get(TILE)
        express = client.services.express
        until(lambda: client.get(TILE).status == 200 and express.answered > 0)
        caplog.clear()
        answered = express.answered
        again = client.get(TILE)
        known = client.get(TILE, {"if-none-match": first.headers["etag"]})
        assert express.answered == answered + 2
        assert (again.body, known.status) == (first.body, 304)
        whole, same = lines.take(2)
        assert whole[:5] == ["127.0.0.1", "GET", TILE, "200", str(len(first.body))]
        assert same[1:5] == ["GET", TILE, "304", "0"]


def test_nothing_looks_for_a_log_where_there_is_none(slides: Path) -> None:
    app = create_app(Settings(data=str(slides), dicomweb=False, request_log=True, verbose=True, no_tracing=True))
    assert app.state.request_log is None
    assert LogRequests not in [each.cls for each in app.user_middleware]
    assert not issubclass(express_protocol(Express(budget=1000), None), LoggedProtocol)


@pytest.mark.parametrize(
    ("options", "console", "kept"),
    [
        ({}, False, False),
        ({"request_log": True}, True, False),
        ({"verbose": True}, True, False),
        ({"request_log_kept": 5}, False, True),
        ({"request_log": True, "request_log_kept": 5}, True, True),
    ],
)
def test_what_is_logged_where(slides: Path, options: dict[str, Any], console: bool, kept: bool,
                              caplog: pytest.LogCaptureFixture) -> None:  # fmt: skip
    with logged(caplog, slides, **{"request_log": False, "scene": True, **options}) as (client, lines):
        client.get("/health")
        answer = client.get(LOG)
        assert answer.status == (200 if kept else 404)
        if kept:
            (only,) = answer.json()["requests"]
            assert (only["target"], only["status"], only["address"]) == ("/health", 200, "127.0.0.1")
            assert 1.7e9 < only["time"] < 1e10
        else:
            assert "--request-log-kept" in answer.json()["message"]
        assert bool(lines.found()) == console


def test_the_last_requests_are_kept_and_no_more(slides: Path) -> None:
    with served(slides, scene=True, request_log_kept=4) as client:
        for number in range(6):
            client.get(f"/health?{number}")
        client.get(LOG)
        found = client.get(LOG).json()["requests"]
        assert [each["target"] for each in found] == [f"/health?{number}" for number in (5, 4, 3, 2)]
        assert [each["target"] for each in client.get(f"{LOG}?limit=1").json()["requests"]] == ["/health?5"]
        known = client.get(LOG, {"if-none-match": client.get(LOG).headers["etag"]})
        assert known.status == 304, "who looks again and again is not in it"
        assert client.get(f"{LOG}?limit=0").error == "invalid_request"
        paths = client.get("/scene/v1/openapi.json").json()["paths"]
        assert paths[LOG]["get"]["parameters"][0]["name"] == "limit"


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("/a?sig=abc&exp=5", "/a?sig=…&exp=5"),
        ("/a?vt=1&ct=2&exp=3", "/a?vt=…&ct=…&exp=3"),
        ("/a?ACCESS_TOKEN=x&id_token=y&code=z", "/a?ACCESS_TOKEN=…&id_token=…&code=…"),
        ("/a?Apikey=k&password=p", "/a?Apikey=…&password=…"),
        ("/a?%73ig=abc", "/a?%73ig=…"),
        ("/a?X-Amz-Signature=1&X-Amz-Credential=2&x=3", "/a?X-Amz-Signature=…&X-Amz-Credential=…&x=3"),
        ("/slicer/exec?source=print(1)", "/slicer/exec?source=…"),
        ("/a?url=https%3A%2F%2Fu%3Ap%40h.example%2Fb%3Fsig%3D1%26x%3D2", "/a?url=https://…@h.example/b?…"),
        ("/a?url=https%253A%252F%252Fh.example%252Fb%2523token%253D1", "/a?url=https://h.example/b?…"),
        ("/a?url=https://u:p@h.example/b", "/a?url=https://…@h.example/b"),
        ("http://u:p@h.example/b", "http://…@h.example/b"),
        ("/a?sig", "/a?sig"),
        ("/a?x=1=2&&y", "/a?x=1=2&&y"),
        ("/slides/a%2Fb%0a.svs", "/slides/a%2Fb%0a.svs"),
    ],
)  # fmt: skip
def test_secrets_are_left_out(sent: str, shown: str) -> None:
    assert readable(sent.encode()) == shown


@pytest.mark.parametrize("sent", [
    b"/a\r\n12:00:00 INFO 10.0.0.1 GET /forged", b"/a\x1b[2J", b"/a\x00\x7f\x85", b"/\xe2\x80\xae/\xe2\x80\xa8",
    b"/\xff\xfe", b"/a?x=\n&url=https://h/%0a%1b", b"/a?url=https%253A//h/%250d%250a",
])  # fmt: skip
def test_no_line_is_forged(sent: bytes) -> None:
    shown = readable(sent)
    assert shown.isprintable()
    assert len(shown.splitlines()) == 1


def test_long_paths_are_cut() -> None:
    for sent in (b"/" + b"a" * 60_000, b"/a?sig=" + b"0" * 60_000, b"/" + "ä".encode() * 5000, b"/" + b"\n" * 5000):
        shown = readable(sent)
        assert len(shown) <= MOST_CHARACTERS
        assert shown.endswith("…")
        assert "000" not in shown
    assert readable(b"/" + b"a" * (MOST_CHARACTERS - 1)) == "/" + "a" * (MOST_CHARACTERS - 1)


def test_secrets_are_left_out_of_both_logs(slides: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = {"auth_enabled": True, "auth_secret": (SECRET,), "scene": True, "request_log_kept": 50}
    with logged(caplog, slides, **options) as (client, lines):
        target = sign(TILE)
        assert [client.get(target).status for _ in range(5)] == [200] * 5  # the last ones are express
        kept = client.get(sign(LOG))
        assert kept.status == 200
        signature = target.partition("sig=")[2].partition("&")[0]
        assert len(kept.json()["requests"]) == 5
        for text in (kept.body.decode(), *lines.found()):
            assert "sig=…" in text
            assert signature not in text
        assert client.get(LOG).status == 401


@needs_scene
def test_websockets_are_logged_when_they_end(slides: Path, caplog: pytest.LogCaptureFixture) -> None:
    from websockets.sync.client import connect

    with logged(caplog, slides, scene=True) as (client, lines):
        stream = "/scene/v1/views/Red/stream"
        with connect(f"ws://127.0.0.1:{client.port}{stream}") as view:
            view.send("{}")
            sent = sum(len(part if isinstance(part, bytes) else part.encode()) for part in (view.recv(), view.recv()))
        (words,) = lines.take(1)
        assert words[1:4] == ["GET", stream, "101"]
        assert int(words[4]) >= sent
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
        upgrade = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
        key = {"sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==", "origin": "https://evil.example"}
        connection.request("GET", stream, headers={**upgrade, **key})
        assert connection.getresponse().status == 403
        connection.close()
        (words,) = lines.take(1)
        assert words[1:4] == ["GET", stream, "403"]


def test_a_client_that_does_not_wait_is_logged(slides: Path, caplog: pytest.LogCaptureFixture) -> None:
    with logged(caplog, slides) as (client, lines):
        with socket.create_connection(("127.0.0.1", client.port)) as line:
            line.sendall(f"GET {TILE} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
        (words,) = lines.take(1)
        assert words[2] == TILE
        assert words[3] in {"200", "499"}


def test_with_a_login_only_administrators_see_it(slides: Path) -> None:
    with served(slides, scene=True, request_log_kept=5, integration=LOGIN, admins=("alice",)) as client:
        assert client.get(LOG).status == 401
        assert client.get(LOG, BOB).error == "forbidden"
        assert [each["status"] for each in client.get(LOG, ALICE).json()["requests"]] == []
        client.get("/slides", BOB)
        assert [each["target"] for each in client.get(LOG, ALICE).json()["requests"]] == ["/slides"]


@pytest.mark.parametrize(
    ("trusted", "headers", "address"),
    [
        ((), [(b"x-forwarded-for", b"192.0.2.7")], "127.0.0.1"),
        (("127.0.0.1",), [(b"x-forwarded-for", b"192.0.2.7")], "192.0.2.7"),
        (("127.0.0.1",), [(b"x-forwarded-for", b"10.9.9.9, 192.0.2.7")], "192.0.2.7"),
        (("127.0.0.0/8",), [(b"x-forwarded-for", b"192.0.2.7, 127.0.0.2")], "192.0.2.7"),
        (("127.0.0.1",), [(b"forwarded", b'for="[2001:db8::1]:4711"')], "2001:db8::1"),
        (("127.0.0.1",), [(b"forwarded", b"for=unknown")], "127.0.0.1"),
        (("127.0.0.1",), [(b"x-forwarded-for", b"evil\x1b[2J")], "127.0.0.1"),
        (("127.0.0.1",), [], "127.0.0.1"),
    ],
)
def test_the_caller_behind_a_proxy(trusted: tuple[str, ...], headers: list[tuple[bytes, bytes]], address: str) -> None:
    assert Proxies(trusted).client("127.0.0.1", headers) == address


def entry(number: int) -> LoggedRequest:
    return LoggedRequest(float(number), "127.0.0.1", "GET", f"/{number}", 200, 1, 0.5)


async def test_processes_see_each_others_requests(tmp_path: Path) -> None:
    one, other = KeptTogether(tmp_path / "requests", 10), KeptTogether(tmp_path / "requests", 10)
    for number in range(95):
        (one if number % 3 else other).add(entry(number))
    for kept in (one, other):
        assert await kept.last(100) == [entry(number) for number in range(94, 84, -1)]
        assert await kept.last(2) == [entry(94), entry(93)]
    files = list((tmp_path / "requests").iterdir())
    assert len(files) == 4
    assert sum(file.read_bytes().count(b"\n") for file in files) <= 40
    assert all(file.stat().st_mode & 0o77 == 0 for file in files)


async def test_a_line_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    kept = KeptTogether(tmp_path, 10)
    kept.add(entry(1))
    (tmp_path / "9-9.new").write_bytes(b'{"time": 2, "address"')
    (tmp_path / "8-8.new").write_bytes(b"no JSON\n\xff\n")
    assert await kept.last(10) == [entry(1)]


def test_files_of_processes_that_are_gone_are_bounded(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number}-{1000 + number}.new").write_bytes(b"")
    KeptTogether(tmp_path, 10)
    left = {file.name for file in tmp_path.iterdir()}
    assert len(left) <= 257
    assert "299-1299.new" in left
    assert "0-1000.new" not in left
