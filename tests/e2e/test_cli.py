"""The command line as its users meet it: every command as a process, judged by what it prints and how it ends."""

from __future__ import annotations

import hmac
import http.client
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import click
import numpy as np
import openslide
import pytest
import tifffile

from microtome import settings
from microtome.auth.base import Claim
from microtome.auth.signed import SignedUrls
from microtome.cli.main import commands
from microtome.errors import Unauthenticated
from tests.e2e.s3server import S3Server

PROGRAM = [sys.executable, "-m", "microtome"]
ONE, TWO, OTHER = "first-secret-of-16-bytes", "second-secret-of-16-bytes", "a-secret-that-is-not-known"
SECRET_TEXT = re.compile("|".join((ONE, TWO)))
PASSED = "All checks passed"
DEMO = ("--width", "1024", "--height", "768")
TILE = "/tiles/demo.svs/0/0/0.jpg"
NO_SUCH_HOST = "192.0.2.1"
"""For documentation (RFC 5737): no machine has it, so that nothing listens there."""


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Of somebody who has told microtome nothing."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MICROTOME_", "WSI_", "AWS_"))}
    return {**kept, "PYTHONWARNINGS": "default", **(more or {})}


def run(*arguments: str | Path, folder: Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A command to its end, which is never a traceback."""
    done = subprocess.run(
        [*PROGRAM, *map(str, arguments)], cwd=folder, env=environment(env), stdin=subprocess.DEVNULL,
        capture_output=True, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


class Served:
    """A server that runs, at the address it has announced."""

    def __init__(self, announced: str, errors: Path) -> None:
        found = re.fullmatch(r"microtome serving (.+) at http://([^/]+):(\d+)/\n", announced)
        assert found, f"not started: {announced!r} {errors.read_text()}"
        self.data, self.host, self.port = found[1], found[2], int(found[3])
        self._errors = errors

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    def get(self, path: str, host: str = "127.0.0.1") -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(host, self.port, timeout=30)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            connection.close()

    def slides(self) -> list[str]:
        status, _, body = self.get("/slides")
        assert status == 200
        return json.loads(body)["slides"]


@contextmanager
def serving(*arguments: str | Path, folder: Path, env: Mapping[str, str] | None = None) -> Iterator[Served]:
    """``microtome ARGUMENTS`` runs inside of the block, and ends well behind it."""
    errors = folder / f"errors-{time.monotonic_ns()}.txt"
    with errors.open("w") as told:
        process = subprocess.Popen(
            [*PROGRAM, *map(str, arguments)], cwd=folder, env=environment(env), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=told, text=True,
        )  # fmt: skip
    assert process.stdout is not None
    with process.stdout:
        try:
            yield Served(process.stdout.readline(), errors)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide as ``microtome demo`` paints it."""
    folder = tmp_path_factory.mktemp("demo")
    done = run("demo", "demo.svs", *DEMO, folder=folder)
    assert done.returncode == 0
    assert done.stdout.startswith("demo.svs (")
    return folder / "demo.svs"


@pytest.fixture
def slides(demo: Path, tmp_path: Path) -> Path:
    """A folder with that slide, another in a folder below, and what is none."""
    (tmp_path / "slides" / "below").mkdir(parents=True)
    for name in ("demo.svs", "below/other.tif"):
        (tmp_path / "slides" / name).hardlink_to(demo)
    (tmp_path / "slides" / "notes.txt").write_text("no slide")
    return tmp_path / "slides"


FLAGS = {
    "serve": {"--config", *(settings.flag(name) for name in settings.options() if name != "data"), "-p", "-v"},
    "check": {"--s3-bucket", "--s3-endpoint", "--s3-region", "--test-slide", "--list-slides", "--verbose", "-v"},
    "sign": {"--path", "-p", "--secret", "-s", "--ttl", "-t", "--base-url", "-b", "--params", "-P", "--format", "-f"},
    "inspect": {"--slide", "--json", "--s3-endpoint", "--s3-region"},
    "demo": {"--seed", "--width", "--height"},
    "settings": {"--config", "--json"}, "slicer": {"--python-code", "--alias", "--port", "-p"},
    "index": {"--index", "--processes", "--problems", "--watch", "--may-be-empty"}, "ohif": set[str](),
}  # fmt: skip


@pytest.mark.parametrize("command", sorted(commands.commands))
def test_help_lists_every_option(tmp_path: Path, command: str) -> None:
    done = run(command, "--help", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    listed = set(re.findall(r"(?<!\S)--?[a-zA-Z][a-z0-9-]*", done.stdout))
    declared = {
        name
        for option in commands.commands[command].params
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    }
    assert declared | FLAGS[command] | {"--help"} <= listed
    assert run(command, "-h", folder=tmp_path).stdout == done.stdout


def test_help_lists_every_command(tmp_path: Path) -> None:
    told = run("--help", folder=tmp_path)
    assert told.returncode == 0
    assert set(re.findall(r"^  (\w+) {2,}\S", told.stdout, re.MULTILINE)) == set(FLAGS) == set(commands.commands)
    assert re.fullmatch(r"microtome \d+\.\d+\.\d+\S*\n", run("--version", folder=tmp_path).stdout)


@pytest.mark.parametrize("arguments", [["nothing-like-that"], ["serve", "--bogus"], ["check", "a", "b"], ["inspect"]])
def test_what_cannot_be_understood_ends_with_2(tmp_path: Path, arguments: list[str]) -> None:
    done = run(*arguments, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: microtome" in done.stderr


def test_serve_takes_options_from_everywhere(slides: Path, tmp_path: Path) -> None:
    """How long tiles may be kept, told by one more source each time: the strongest one is obeyed."""
    (tmp_path / "microtome.toml").write_text(
        "cache-max-age = 11\njpeg-quality = 51\ncors-origins = ['http://a.example']\n"
    )
    env: dict[str, str] = {}
    arguments: list[str | Path] = ["serve", slides, "--port", "0"]
    for age, variable in ((11, None), (22, "WSI_CACHE_MAX_AGE"), (33, "MICROTOME_CACHE_MAX_AGE"), (44, None)):
        if variable:
            env[variable] = str(age)
        elif age > 11:
            arguments += ["--cache-max-age", str(age)]
        with serving(*arguments, folder=tmp_path, env=env) as served:
            status, headers, _ = served.get(TILE)
            assert (status, headers["x-tile-quality"]) == (200, "51")
            assert re.search(r"max-age=(\d+)", headers["cache-control"])[1] == str(age)  # type: ignore[index]


def test_serve_listens_to_this_machine_only(slides: Path, tmp_path: Path) -> None:
    with serving("serve", slides, "--port", "0", folder=tmp_path) as served:
        assert served.host == "127.0.0.1"
        assert served.get("/health")[0] == 200
        with pytest.raises(ConnectionRefusedError):
            served.get("/health", host="127.0.0.2")  # a server at 0.0.0.0 would answer
        assert sorted(served.slides()) == ["below/other.tif", "demo.svs"]
        assert served.errors == ""


@pytest.mark.parametrize("auth", [False, True])
def test_serve_warns_when_everybody_may_come(slides: Path, tmp_path: Path, auth: bool) -> None:
    more = ["--auth-enabled", "--auth-secret", ONE] if auth else []
    done = run("serve", slides, "--host", NO_SUCH_HOST, "--port", "0", *more, folder=tmp_path)
    assert done.returncode == 1
    assert f"cannot listen on {NO_SUCH_HOST}:0" in done.stderr
    assert ("without authentication" in done.stderr) == (not auth)
    assert not SECRET_TEXT.search(done.stdout + done.stderr)


@pytest.mark.parametrize("arguments", [["--port", "0", "slides"], ["slides", "--port", "0"]])
def test_serve_may_be_left_out(slides: Path, tmp_path: Path, arguments: list[str]) -> None:
    with serving(*arguments, folder=tmp_path) as served:
        assert served.data == slides.name
        assert sorted(served.slides()) == ["below/other.tif", "demo.svs"]


def test_a_single_slide_is_served_and_without_a_place_the_demonstration(demo: Path, tmp_path: Path) -> None:
    with serving(demo, "--port", "0", folder=tmp_path) as served:
        assert served.slides() == ["demo.svs"]
        assert served.get(TILE)[0] == 200
    kept = tmp_path / "microtome" / "demo" / "microtome-demo.svs"
    kept.parent.mkdir(parents=True)
    kept.hardlink_to(demo)  # as if it had been painted before
    with serving("--port", "0", folder=tmp_path, env={"XDG_CACHE_HOME": str(tmp_path)}) as served:
        assert served.slides() == ["microtome-demo.svs"]


@pytest.mark.s3
def test_a_bucket_alone_is_served(demo: Path, tmp_path: Path, s3_server: S3Server) -> None:
    s3_server.create_bucket("command-line")
    s3_server.put("command-line", "case 7/demo.svs", demo)
    env = {name: value for name, value in s3_server.settings.items() if "KEY" in name}
    env["WSI_S3_ENDPOINT"] = s3_server.endpoint
    where = ("s3://command-line", "--s3-region", s3_server.region)
    with serving(*where, "--port", "0", folder=tmp_path, env=env) as served:
        assert served.slides() == ["case 7/demo.svs"]
        status, _, tile = served.get("/tiles/case%207%2Fdemo.svs/0/0/0.jpg")
        assert (status, tile[:2], tile[-2:]) == (200, b"\xff\xd8", b"\xff\xd9")
    with serving("--s3-bucket", "command-line", "--port", "0", folder=tmp_path, env=env) as served:
        assert served.slides() == ["case 7/demo.svs"]

    done = run("check", *where, "--list-slides", "--test-slide", "case 7/demo.svs", folder=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert "  case 7/demo.svs\n" in done.stdout
    assert PASSED in done.stdout.splitlines()[-1]
    done = run("inspect", *where, "--slide", "case 7/demo.svs", "--json", folder=tmp_path, env=env)
    assert json.loads(done.stdout)["width"] == 1024
    for command in ("check", "serve"):
        done = run(command, "s3://no-such-bucket", folder=tmp_path, env=env)
        assert done.returncode == 1
        assert PASSED not in done.stdout
        assert s3_server.secret_key not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "no such folder"),
        (["ftp://somewhere/x"], "ftp://"),
        (["slides", "--port", "70000"], "--port"),
        (["slides", "--config", "none.toml"], "none.toml"),
        (["slides", "--auth-enabled"], "--auth-secret"),
        (["slides", "--auth-enabled", "--auth-secret", "fifteen-bytes-x"], "16 bytes"),
        (["slides", "--auth-enabled", "--auth-secret", ONE, "--auth-secret", "fifteen-bytes-x"], "16 bytes"),
    ],
)
def test_serve_says_in_one_line_why_it_does_not(slides: Path, tmp_path: Path, arguments: list[str], told: str) -> None:
    assert slides.is_dir()
    done = run("serve", *arguments, "--workers", "1", folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"microtome: .+\n", done.stderr)
    assert told in done.stderr
    assert "fifteen-bytes-x" not in done.stderr
    if "fifteen-bytes-x" in arguments:
        for variable in ("MICROTOME_AUTH_SECRET", "WSI_AUTH_SECRET"):
            env = {variable: f"{ONE},fifteen-bytes-x", "WSI_AUTH_ENABLED": "true"}
            assert run("serve", "slides", folder=tmp_path, env=env).stderr == done.stderr


@pytest.mark.parametrize("command", [["check", "slides"], ["inspect", "slides/demo.svs"], ["settings"]])
def test_unknown_names_are_told(slides: Path, tmp_path: Path, command: list[str]) -> None:
    assert slides.is_dir()
    (tmp_path / "of-lab.toml").write_text("cache_tils = 5\n")
    env = {"MICROTOME_POTR": "1", "MICROTOME_CONFIG": "of-lab.toml", "MICROTOME_PORT": "0", "WSI_PORT": "0"}
    done = run(*command, folder=tmp_path, env=env)
    assert done.returncode == 0
    told = done.stderr.splitlines()
    assert len(told) == 2
    assert all(line.startswith("microtome: warning: ") for line in told)
    assert "MICROTOME_POTR" in told[0]
    assert "MICROTOME_PORT?" in told[0]
    assert "cache_tils" in told[1]
    assert "of-lab.toml" in told[1]
    assert "cache_tiles?" in told[1]


def test_settings_tells_values_and_where_they_come_from(tmp_path: Path) -> None:
    (tmp_path / "microtome.toml").write_text("port = 1\nhost = '::1'\ncache_tiles = '100MB'\nverbose = true\n")
    env = {"WSI_PORT": "2", "WSI_HOST": "localhost", "MICROTOME_PORT": "3", "MICROTOME_AUTH_SECRET": f"{ONE},{TWO}"}
    done = run("settings", "--json", folder=tmp_path, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert list(told) == list(settings.options())
    assert told["port"] == {"value": 3, "origin": "MICROTOME_PORT"}
    assert told["host"] == {"value": "localhost", "origin": "WSI_HOST"}
    assert told["cache_tiles"] == {"value": 100_000_000, "origin": "microtome.toml"}
    assert told["verbose"] == {"value": True, "origin": "microtome.toml"}
    assert told["cache_slides"] == {"value": 100, "origin": "default"}
    assert told["auth_secret"]["origin"] == "MICROTOME_AUTH_SECRET"
    table = run("settings", folder=tmp_path, env={**env, "COLUMNS": "200"}).stdout
    for name in settings.options():
        assert re.search(rf"^{name} ", table, re.MULTILINE)
    assert not SECRET_TEXT.search(done.stdout + table)


PATH = "/tiles/a%20b.svs/0/1/2.jpg"
SPECIAL = {"search": "a+b c", "x": "100%", "y": "a&b=c", "z": "#?/é✓", "empty": ""}


def sign(*arguments: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return run("sign", *arguments, folder=folder, env=env)


def accepts(url: str, *secrets: str) -> bool:
    """Whether a server with these secrets accepts a URL."""
    parts = urlsplit(url)
    assert not parts.fragment
    try:
        SignedUrls(secrets).authorise(Claim(parts.path.encode("ascii"), parts.query.encode("ascii")))
    except Unauthenticated:
        return False
    return True


def test_sign_prints_a_url(tmp_path: Path) -> None:
    before = int(time.time())
    done = sign("-p", PATH, "-s", ONE, "-t", "60", "-b", "https://host:8/slides/", "-P", "q=90,a=1", folder=tmp_path)
    after = int(time.time())
    assert (done.returncode, done.stderr) == (0, "")
    found = re.fullmatch(rf"https://host:8/slides{PATH}\?q=90&a=1&exp=(\d+)&sig=([0-9a-f]{{64}})\n", done.stdout)
    assert found
    assert before + 60 <= int(found[1]) <= after + 60
    # Signed are the path as given and all pairs in bytewise order.
    signed = f"{PATH}?a=1&exp={found[1]}&q=90"
    assert found[2] == hmac.new(ONE.encode(), signed.encode(), sha256).hexdigest()


def test_sign_without_a_server_prints_a_path_and_a_tip(tmp_path: Path) -> None:
    done = sign("--path", PATH, "--secret", ONE, folder=tmp_path)
    assert done.returncode == 0
    assert re.fullmatch(rf"{PATH}\?exp=\d+&sig=[0-9a-f]{{64}}\n", done.stdout)
    assert re.fullmatch(r"\n.*--base-url.*\n", done.stderr)
    assert accepts(done.stdout.strip(), ONE)


@pytest.mark.parametrize("base", [None, "http://host"])
def test_sign_prints_json_or_the_signature(tmp_path: Path, base: str | None) -> None:
    before = int(time.time())
    more = ["--base-url", base] if base else []
    done = sign("--path", PATH, "--secret", ONE, "--format", "json", *more, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert list(told) == ["expiry", "path", "signature", "ttl", "url"]
    assert done.stdout == json.dumps(told, indent=2) + "\n"
    assert (told["path"], told["ttl"]) == (PATH, 3600)
    assert before + 3600 <= told["expiry"] <= int(time.time()) + 3600
    query = f"?exp={told['expiry']}&sig={told['signature']}"
    assert told["url"] == (f"{base}{PATH}{query}" if base else None)
    assert accepts(PATH + query, ONE)
    # The signature alone does not tell its expiry: it is one of the next seconds.
    digest = sign("--path", PATH, "--secret", ONE, "-f", "signature", folder=tmp_path).stdout
    assert re.fullmatch(r"[0-9a-f]{64}\n", digest)
    expiries = range(before + 3600, int(time.time()) + 3601)
    assert any(accepts(f"{PATH}?exp={expiry}&sig={digest.strip()}", ONE) for expiry in expiries)


def test_sign_escapes_values_so_that_a_server_accepts_them(tmp_path: Path) -> None:
    params = ",".join(f"{name}={value}" for name, value in SPECIAL.items())
    url = sign("-p", "/slides", "-s", ONE, "-b", "http://host", "-P", params, folder=tmp_path).stdout.strip()
    assert accepts(url, ONE)
    assert accepts(url, TWO, ONE)
    assert not accepts(url, TWO)
    assert not accepts(url.replace("x=100%25", "x=100"), ONE)
    assert not accepts(url.replace("/slides", "/slides2"), ONE)


def test_sign_takes_the_secret_from_the_environment(tmp_path: Path) -> None:
    for env in (
        {"WSI_AUTH_SECRET": ONE},
        {"MICROTOME_AUTH_SECRET": ONE, "WSI_AUTH_SECRET": TWO},
        {"MICROTOME_AUTH_SECRET": f" {ONE} , {TWO}"},
    ):
        url = sign("-p", PATH, folder=tmp_path, **env).stdout.strip()
        assert accepts(url, ONE), env
    url = sign("-p", PATH, "-s", TWO, folder=tmp_path, MICROTOME_AUTH_SECRET=ONE).stdout.strip()
    assert accepts(url, TWO)


@pytest.mark.parametrize(
    ("status", "arguments"),
    [
        (1, ["-p", "", "-s", ONE]),
        (1, ["-p", PATH, "-s", ""]),
        (1, ["-p", PATH, "-s", ONE, "-t", "0"]),
        (1, ["-p", PATH, "-s", ONE, "-P", "quality"]),
        (1, ["-p", PATH, "-s", ONE, "-P", "a=1,=2"]),
        (2, ["-s", ONE]),
        (2, ["-p", PATH]),
        (2, ["-p", PATH, "-s", ONE, "-t", "soon"]),
        (2, ["-p", PATH, "-s", ONE, "-t", "-1"]),
        (2, ["-p", PATH, "-s", ONE, "-f", "xml"]),
        (2, ["-p", PATH, "-s", ONE, "--bogus"]),
    ],
)
def test_sign_refuses(tmp_path: Path, status: int, arguments: list[str]) -> None:
    done = sign(*arguments, folder=tmp_path)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr
    assert not SECRET_TEXT.search(done.stderr)


def test_a_server_accepts_what_was_signed_with_any_of_its_secrets(slides: Path, tmp_path: Path) -> None:
    params = ",".join(f"{name}={value}" for name, value in SPECIAL.items())
    secrets = ("--auth-secret", ONE, "--auth-secret", TWO)
    with serving("serve", slides, "--port", "0", "--auth-enabled", *secrets, folder=tmp_path) as served:
        for secret, status in ((ONE, 200), (TWO, 200), (OTHER, 401)):
            for path, more in ((TILE, []), ("/slides", ["--params", params])):
                url = sign("--path", path, "--secret", secret, *more, folder=tmp_path).stdout.strip()
                assert served.get(url)[0] == status
        assert served.get(TILE)[0] == 401
        assert not SECRET_TEXT.search(served.errors)


def assert_passed(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stderr) == (0, "")
    assert PASSED in done.stdout.splitlines()[-1]


def assert_failed(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 1
    assert PASSED not in done.stdout + done.stderr
    assert re.fullmatch(r"microtome: .+", done.stderr.splitlines()[-1])


def test_check_lists_slides(slides: Path, tmp_path: Path) -> None:
    plain = run("check", slides, folder=tmp_path)
    assert_passed(plain)
    assert "demo.svs" not in plain.stdout
    (tmp_path / "empty").mkdir()
    empty = run("check", "empty", "--list-slides", folder=tmp_path)
    assert_passed(empty)
    assert "Total: 0" in empty.stdout
    done = run("check", slides, "--list-slides", folder=tmp_path)
    assert_passed(done)
    listed = re.findall(r"^  (\S.*)$", done.stdout, re.MULTILINE)
    assert sorted(listed) == ["below/other.tif", "demo.svs"]
    assert "Total: 2" in done.stdout


def test_check_lists_more_slides_than_a_page_holds(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    names = [f"{number:04}.svs" for number in range(1003)]
    for name in names:
        (folder / name).touch()
    done = run("check", folder, "--list-slides", folder=tmp_path)
    assert_passed(done)
    assert re.findall(r"^  (\S+)$", done.stdout, re.MULTILINE) == names


@pytest.mark.parametrize("arguments", [[], ["nowhere"], ["ftp://somewhere"], ["slides", "--test-slide", "none.svs"]])
def test_check_fails(slides: Path, tmp_path: Path, arguments: list[str]) -> None:
    assert slides.is_dir()
    done = run("check", *arguments, folder=tmp_path)
    assert_failed(done)
    assert arguments[1:] == [] or "none.svs" in done.stdout


def test_check_opens_a_slide(slides: Path, tmp_path: Path) -> None:
    for key in ("demo.svs", "below/other.tif"):
        done = run("check", slides, "--test-slide", key, folder=tmp_path)
        assert_passed(done)
        size = (slides / key).stat().st_size / 1e6
        assert re.search(rf"{key} .*1024 x 768 px, {size:.2f} MB", done.stdout)
    done = run("check", slides, "--all", folder=tmp_path)
    assert "2 slides, 0 broken" in done.stdout
    assert (done.returncode, PASSED in done.stdout.splitlines()[-1]) == (0, True)


def with_a_damaged_tile(data: bytes) -> bytes:
    """All whole, but the scans of the smallest level name a Huffman table that is not there (T.81 B.2.3)."""
    damaged = bytearray(data)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = min((page.aspage() for page in file.pages if page.aspage().is_tiled), key=lambda page: page.imagewidth)
        for offset in page.dataoffsets:
            damaged[damaged.index(b"\xff\xda", offset) + 6] = 0x33
    return bytes(damaged)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda data: data[: len(data) // 2],
    "of another kind": lambda data: b"%PDF" + data[4:],
    "a tile": with_a_damaged_tile,
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_check_does_not_pass_a_broken_slide(
    demo: Path, slides: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    (slides / "broken.svs").write_bytes(damage(demo.read_bytes()))
    done = run("check", slides, "--test-slide", "broken.svs", folder=tmp_path)
    assert_failed(done)
    assert "broken.svs" in done.stdout
    assert str(tmp_path) not in done.stderr
    assert_passed(run("check", slides, "--list-slides", folder=tmp_path))

    done = run("check", slides, "--all", folder=tmp_path)
    assert_failed(done)
    assert re.search(r"^✗ broken\.svs: .", done.stdout, re.MULTILINE)
    assert done.stdout.count("✗") == 1
    assert "1 of 3" in done.stderr


def test_inspect_prints_json(demo: Path, tmp_path: Path) -> None:
    done = run("inspect", demo, "--json", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    with openslide.OpenSlide(demo) as slide:
        assert (told["width"], told["height"]) == slide.dimensions
        assert [(level["width"], level["height"]) for level in told["levels"]] == list(slide.level_dimensions)
        assert [level["downsample"] for level in told["levels"]] == pytest.approx(slide.level_downsamples)
        assert [level["level"] for level in told["levels"]] == list(range(slide.level_count))
        assert {name: tuple(size) for name, size in told["associated"].items()} == {
            name: image.size for name, image in slide.associated_images.items()
        }
        mpp = [float(slide.properties[f"openslide.mpp-{axis}"]) for axis in "xy"]
        assert told["mpp"] == pytest.approx(mpp)
        assert told["magnification"] == float(slide.properties["openslide.objective-power"])
        assert told["vendor"] == slide.properties["openslide.vendor"]
        assert told["properties"]["aperio.Title"] == slide.properties["aperio.Title"]
    assert (told["slide"], told["format"], told["dtype"], told["channels"]) == (
        "demo.svs", "Aperio SVS", "uint8", ["R", "G", "B"],
    )  # fmt: skip
    for level in told["levels"]:
        assert level["tiles"] == -(-level["width"] // level["tile_width"]) * -(-level["height"] // level["tile_height"])


def test_inspect_prints_a_table(demo: Path, tmp_path: Path) -> None:
    done = run("inspect", demo, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["format", "Aperio", "SVS"] in lines
    with openslide.OpenSlide(demo) as slide:
        for name, image in slide.associated_images.items():
            assert [name, str(image.width), "x", str(image.height), "px"] in lines
        for number, (width, height) in enumerate(slide.level_dimensions):
            tiles = -(-width // 256) * -(-height // 256)
            downsample = f"{slide.level_downsamples[number]:.3f}"
            shown = [str(number), str(width), "x", str(height), "256", "x", "256", str(tiles), downsample]
            assert shown in lines
        assert ["aperio.Title", *slide.properties["aperio.Title"].split()] in lines


def test_inspect_names_a_slide_in_a_folder(demo: Path, slides: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.svs").hardlink_to(demo)
    done = run("inspect", slides, "--slide", "below/other.tif", "--json", folder=tmp_path)
    assert json.loads(done.stdout)["slide"] == "below/other.tif"
    for key in (None, "none.svs", "../outside.svs", "notes.txt"):
        assert_failed(run("inspect", slides, *(["--slide", key] if key else []), folder=tmp_path))


def test_demo_paints_the_same_from_the_same_seed(demo: Path, tmp_path: Path) -> None:
    for name, seed in (("same", "1"), ("other", "2"), ("other again", "2")):
        assert run("demo", f"{name}.svs", "--seed", seed, *DEMO, folder=tmp_path).returncode == 0
    assert (tmp_path / "same.svs").read_bytes() == demo.read_bytes()
    assert (tmp_path / "other.svs").read_bytes() != demo.read_bytes()
    assert (tmp_path / "other.svs").read_bytes() == (tmp_path / "other again.svs").read_bytes()


def test_demo_is_a_slide_for_openslide(demo: Path) -> None:
    with openslide.OpenSlide(demo) as slide:
        assert slide.properties["openslide.vendor"] == "aperio"
        assert slide.dimensions == (1024, 768)
        assert slide.level_count >= 2
        pictures = slide.associated_images
        assert {"label", "macro", "thumbnail"} <= set(pictures)
        label, macro = pictures["label"].convert("L"), pictures["macro"].convert("L")
        for picture in (label, macro, slide.read_region((0, 0), 0, slide.dimensions).convert("L")):
            assert np.ptp(np.asarray(picture)) > 100  # something is to be seen
        assert macro.width > 2 * macro.height


@pytest.mark.parametrize("arguments", [["--width", "511"], ["--height", "100001"], ["--seed", "x"], ["a", "b"], ["."]])
def test_demo_refuses(tmp_path: Path, arguments: list[str]) -> None:
    done = run("demo", *arguments, folder=tmp_path)
    assert done.returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_demo_says_in_one_line_that_it_cannot_write(tmp_path: Path) -> None:
    assert_failed(run("demo", "nowhere/demo.svs", *DEMO, folder=tmp_path))
