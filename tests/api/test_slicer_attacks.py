"""Requests made to harm: numbers without measure, ranges, headers and names that break out, clients that never read."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.api.test_login import ALICE
from tests.serving import Answer, Client, served, until

pytest.importorskip("slicer_core", reason="the scene is not installed: microtome[scene]")

TOKEN = "a token of the tests"
SAFE = "/scene/v1"
NRRD = (
    b"NRRD0004\ntype: uchar\ndimension: 3\nspace: left-posterior-superior\nsizes: 3 3 3\n"
    b"space directions: (1,0,0) (0,1,0) (0,0,1)\nkinds: domain domain domain\nencoding: raw\nspace origin: (0,0,0)\n\n"
) + bytes(range(27))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("attacks")
    with served(folder, scene=True, scene_exec=True, scene_token=TOKEN) as client:
        assert client.request("POST", f"{SAFE}/files?name=small.nrrd", body=NRRD).status == 200
        yield client


def is_told(answer: Answer) -> bool:
    """An error on purpose, and no incident."""
    assert b"incident" not in answer.body, answer.body
    return answer.status >= 400


def left(client: Client) -> list[str]:
    """Files of answers and uploads that are still there."""
    folder = Path(client.get(f"{SAFE}/state").json() and _files(client))
    return sorted(path.name for path in folder.rglob("*"))


def _files(client: Client) -> str:
    script = b"import tempfile, sys, json\n__execResult = json.loads(sys.argv[1])['folder']"
    return str(client.request("POST", "/slicer/exec", {"x-scene-token": TOKEN}, script).json())


@pytest.mark.parametrize(
    "target",
    [
        "/slicer/screenshot?width=1e25",
        "/slicer/screenshot?width=-1e9&height=5",
        "/slicer/screenshot?size=0",
        "/slicer/slice?size=99999",
        "/slicer/slice?size=0",
        "/slicer/threeD?size=99999x1",
        "/slicer/fiducial?index=99999999999999999999",
        "/slicer/tracking?p=1e29,nan,0",
        "/slicer/tracking?q=inf,0,0,0",
        "/slicer/tracking?m=" + ",".join(["1"] * 64),
        "/slicer/volume?id=" + "*a" * 20,
        "/slicer/volume?type=x&encoding=y",
        "/slicer/mrml/names?" + "&".join(f"a{n}=1" for n in range(300)),
        "/slicer/mrml/file?id=none&filename=a.nrrd&applytransforms=" + "1" * 5000,
        "/slicer/mrml/file?name=small&filename=../../a.nrrd%0d%0ax:%20y",
        f"{SAFE}/slices/Red/picture?size=99999",
        f"{SAFE}/slices/Red/picture?offset=1e400",
        f"{SAFE}/slices/Red/picture?center=0,-1e73,0",
        f"{SAFE}/nodes/%0A8%0D",
        f"{SAFE}/%0A",
        f"{SAFE}/nothing",
        f"{SAFE}/slices/Red/picture?slice_to_ras=nan,nan",
        f"{SAFE}/nodes/{'x' * 2000}",
        f"{SAFE}/nodes/x/file?name=a%00.txt",
    ],
)
def test_numbers_and_names_without_measure_are_refused(client: Client, target: str) -> None:
    assert is_told(client.get(target))


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("PATCH", "/slices/Red", b'{"offset": 1' + b"0" * 400 + b"}"),
        ("PATCH", "/slices/Red", b'{"offset": 1e400}'),
        ("PATCH", "/slices/Red", b'{"offset": NaN}'),
        ("PATCH", "/slices/Red", b'{"slice_to_ras": [1e300, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]}'),
        ("PATCH", "/slices/Red", b'{"offset": 1e73}'),
        ("PATCH", "/camera", b'{"zoom": 0}'),
        ("PUT", "/layout", json.dumps({"name": "x" * 10000}).encode()),
        ("POST", "/markups", b'{"points": [[1e308, 0, 0]]}'),
        ("POST", "/markups", b'{"name": "\\ud800"}'),
        ("POST", "/markups", b'{"points": ' + b"[" * 10000),
        ("POST", "/volumes/region", b'{"slide": "a", "width": -1, "height": 99999999999999999999}'),
        ("POST", "/volumes/series", b'{"series": "../../etc"}'),
        ("POST", "/files?name=a%00.txt", b"x"),
        ("POST", "/files?name=a%0d%0ab.txt", b"x"),
    ],
)
def test_bodies_without_measure_are_refused(client: Client, method: str, target: str, body: bytes) -> None:
    assert is_told(client.request(method, SAFE + target, body=body))


@pytest.mark.parametrize("name", ["origin", "referer"])
def test_addresses_that_are_none_are_no_incident(client: Client, name: str) -> None:
    for text in ("http://[", "http://[::1", "//", "http://a]b"):
        answer = client.get("/slicer/mrml/names", {name: text})
        assert answer.status == 403, text
        assert is_told(answer)


def test_nothing_stays_of_answers_that_are_not_sent(client: Client) -> None:
    target = "/slicer/volume?id=small"
    assert client.get(target, {"range": "bytes=abc"}).status == 400
    assert client.get(target, {"range": "bytes=99999999-"}).status == 416
    assert client.get(target, {"range": "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 2000, 2))}).status == 200
    assert client.request("HEAD", target).status == 200
    for name in ("a.nhdr", "a.mhd", "a.nii", "a.obj"):
        client.get(f"/slicer/mrml/file?name=small&filename={name}")
    with socket.create_connection(("127.0.0.1", client.port)) as gone:
        gone.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    with socket.create_connection(("127.0.0.1", client.port)) as gone:
        gone.sendall(b"POST /scene/v1/files?name=a.nrrd HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nNRRD")
    until(lambda: left(client) == [])


def test_an_upload_is_as_long_as_it_says(client: Client) -> None:
    for head in ("Content-Length: 99999999999999999999", "Content-Length: -1", "Content-Length: 1e3",
                 "Content-Length: 5000000000"):  # fmt: skip
        with socket.create_connection(("127.0.0.1", client.port), timeout=30) as made:
            made.sendall(f"POST /scene/v1/files?name=a.nrrd HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\nNRRD".encode())
            assert made.recv(100).split()[1] in {b"400", b"413"}, head
    until(lambda: left(client) == [])


def stream(client: Client, view: str = "Red") -> ClientConnection:
    return connect(f"ws://127.0.0.1:{client.port}{SAFE}/views/{view}/stream", max_size=None)


@pytest.mark.parametrize("view", ["Red", "3D"])
def test_a_stream_survives_what_is_sent_to_it(client: Client, view: str) -> None:
    messages: list[str | bytes] = [
        b"\0\1",
        "{",
        "[]",
        '{"a":' * 10000,
        '{"number": 1e308}',
        '{"number": "x"}',
        '{"number": -1}',
        '{"number": 99999999999999999999999}',
        '{"size": [99999999999999999999, 1]}',
        '{"size": "x"}',
        '{"quality": 1e9}',
        '{"seen": {}}' + " " * 70000,
    ]
    wrong = {"Red": '{"offset": "x"}', "3D": '{"zoom": "x"}'}[view]
    with stream(client, view) as socket_:
        for message in [*messages, wrong]:
            socket_.send(message)
            assert json.loads(socket_.recv(60))["kind"] == "error", message
        socket_.send('{"size": [64, 64], "number": 7}')
        while (told := json.loads(socket_.recv(60)))["kind"] == "error":
            continue
        assert (told["number"], told["width"]) == (7, 64)


def test_moves_that_wait_are_numbers_and_take_no_room(client: Client) -> None:
    """Until pictures are acknowledged moves add up: texts would be repeated, unknown fields kept."""
    with stream(client, "3D") as socket_:
        for number in range(4):
            socket_.send(json.dumps({"size": [32, 32], "number": number, "azimuth": 1}))
        for move in ({"zoom": "x" * 60000}, {"zoom": 10**6}, {"pan": ["a", "b"]}, {"azimuth": [1]}, {"zoom": [0]}):
            socket_.send(json.dumps(move))
        for name in range(200):
            socket_.send(json.dumps({f"x{name}": "y" * 60000}))
        errors = 0
        while errors < 4:
            told = socket_.recv(60)
            errors += isinstance(told, str) and json.loads(told)["kind"] == "error"


def test_stream_and_events_want_the_same_credentials_as_the_rest(tmp_path: Path) -> None:
    from tests.api.test_access import sign
    from tests.api.test_slicer_access import SECRET

    path = f"{SAFE}/views/Red/stream"
    with served(tmp_path, scene=True, auth_enabled=True, auth_secret=(SECRET,), scene_token=TOKEN) as signed:
        address = f"ws://127.0.0.1:{signed.port}"
        for target, headers in ((path, {}), (path, {"x-scene-token": "x"}), (path + "?sig=00&exp=4102444800", {})):
            with pytest.raises(Exception, match="403"), connect(address + target, additional_headers=headers):
                pass
        for target, headers in ((sign(path), {}), (path, {"x-scene-token": TOKEN})):
            with connect(address + target, additional_headers=headers) as socket_:
                assert socket_.response is not None
    (tmp_path / "docs").mkdir()
    for name in ("docs/page.html", "browse.html", "page.html"):
        (tmp_path / name).write_text("for those who have logged in")
    options = {"scene": True, "scene_token": TOKEN, "integration": "tests.api.test_login:ByFolder"}
    with served(tmp_path, docroot=tmp_path, **options) as login:
        address = f"ws://127.0.0.1:{login.port}{path}"
        for headers in ({}, {"x-scene-token": TOKEN}, {"authorization": "Bearer x"}):
            with pytest.raises(Exception, match="401"), connect(address, additional_headers=headers):
                pass
        with connect(address, additional_headers=ALICE) as socket_:
            assert socket_.response is not None
        for target in ("/page.html", "//page.html", "/docs/page.html", "//docs/page.html", "/%64ocs/page.html"):
            answer = login.get(target)
            assert (answer.status, b"logged in" in answer.body) in {(401, False), (404, False)}, target
        assert login.get("/page.html", ALICE).status == 200


def test_a_folder_of_pages_leads_to_no_other_host(tmp_path: Path) -> None:
    (tmp_path / "evil.example").mkdir()
    (tmp_path / "evil.example" / "index.html").write_text("x")
    with served(tmp_path, docroot=tmp_path) as client:
        for target in ("/evil.example", "//evil.example", "///evil.example"):
            answer = client.get(target)
            assert answer.headers.get("location", "/evil.example/") == "/evil.example/", target


def test_scripts_come_through_no_proxy_that_nobody_named(client: Client) -> None:
    for name, value in (
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=203.0.113.9;proto=https"),
        ("via", "1.1 proxy"),
    ):
        answer = client.request("POST", "/slicer/exec", {"x-scene-token": TOKEN, name: value}, b"__execResult = 1")
        assert answer.status == 403, name
    assert client.request("POST", "/slicer/exec", {"x-scene-token": TOKEN}, b"__execResult = 1").json() == 1
