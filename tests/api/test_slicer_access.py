"""Who may use the scene: every route with every kind of credentials, pages of strangers, names that are not ours."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from microtome.api.slicer.commands import COMMANDS
from microtome.api.slicer.safe import PREFIX, TABLE
from microtome.errors import InvalidRequest
from microtome.settings import Settings
from tests.api.test_access import sign
from tests.api.test_login import ALICE, STRANGER
from tests.serving import Answer, Client, served

pytest.importorskip("slicer_core", reason="the scene is not installed: microtome[scene]")

SECRET = "test-secret-key-for-hmac-signing"
TOKEN = "the token of the scene"
ROUTES = [
    *(("GET", f"/slicer{path}") for path in COMMANDS),
    ("GET", "/slicer/mrml/names"),
    ("POST", "/slicer/mrml?filetype=VolumeFile&localfile=x"),
    ("PUT", "/slicer/mrml"),
    ("DELETE", "/slicer/mrml"),
    ("POST", "/slicer/exec"),
    ("DELETE", "/slicer/system"),
    ("DELETE", "/system"),
    ("GET", "/slicer/nothing"),
    *((row.method, PREFIX + row.path.replace("{", "").replace("}", "")) for row in TABLE),
    ("GET", f"{PREFIX}/openapi.json"),
    ("GET", f"{PREFIX}/events"),
    ("POST", f"{PREFIX}/exec"),
    ("POST", f"{PREFIX}/files"),
    ("GET", f"{PREFIX}/nodes/x/file"),
    ("GET", f"{PREFIX}/scene.mrb"),
    ("POST", f"{PREFIX}/volumes/region"),
    ("POST", f"{PREFIX}/volumes/series"),
    ("GET", f"{PREFIX}/nothing"),
]
STREAM = f"{PREFIX}/events"


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("signed")
    with served(folder, scene=True, auth_enabled=True, auth_secret=(SECRET,), scene_token=TOKEN) as client:
        yield client


@pytest.fixture(scope="module")
def login(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("login")
    (folder / "file.txt").write_text("hello")
    with served(folder, scene=True, scene_token=TOKEN, integration="tests.api.test_login:ByFolder") as client:
        yield client


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("plain")
    with served(
        folder, scene=True, scene_token=TOKEN, scene_origins=("https://viewer.example",), scene_names=("scene.example",)
    ) as client:
        yield client


def is_refused(answer: Answer, *statuses: int) -> bool:
    """The status, in the shape of the family."""
    found = answer.json()
    assert found.get("success") is False or found["status"] == answer.status
    return answer.status in (statuses or (401,))


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_the_table_with_signed_urls(signed: Client, method: str, path: str) -> None:
    for query in ("sig=00&exp=4102444800", sign(path.partition("?")[0], expiry=1).partition("?")[2], ""):
        target = path + ("&" if "?" in path else "?") + query
        assert is_refused(signed.request(method, target), 400, 401), target
    for headers in ({"authorization": f"Bearer {TOKEN}x"}, {"x-scene-token": ""}):
        assert is_refused(signed.request(method, path, headers))
    if method != "GET":  # a signature says nothing of the method
        bare, _, parameters = path.partition("?")
        assert is_refused(signed.request(method, sign(bare, parameters)))


def test_what_is_signed_or_comes_with_the_token_is_served(signed: Client) -> None:
    assert signed.get(sign("/slicer/system/version")).status == 200
    assert signed.get(sign("/slicer/mrml/names", "class=vtkMRMLSliceNode")).json() == ["Red", "Yellow", "Green"]
    assert signed.request("DELETE", "/slicer/mrml?id=vtkMRMLSliceNodeRed", {"x-scene-token": TOKEN}).status == 200
    assert signed.get("/slicer/mrml/names?id=vtkMRMLSliceNodeYellow", {"authorization": f"Bearer {TOKEN}"}).json() == [
        "Yellow"
    ]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_the_table_with_a_login(login: Client, method: str, path: str) -> None:
    for headers in ({}, STRANGER, {"authorization": "Basic YWxpY2U6"}, {"x-scene-token": TOKEN}):
        answer = login.request(method, path, headers)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert is_refused(login.request(method, path, {**ALICE, "x-scene-token": "wrong"}))


def test_who_has_logged_in_uses_the_scene_but_not_the_files_of_others(login: Client) -> None:
    assert login.get("/slicer/mrml/names?id=vtkMRMLSliceNodeRed", ALICE).json() == ["Red"]
    answer = login.request("POST", "/slicer/mrml?filetype=TextFile&localfile=file.txt", ALICE)
    assert answer.status in {403, 500}, "there are no data folders for those who may not see everything"


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_pages_of_strangers_get_nothing(plain: Client, method: str, path: str) -> None:
    here = f"127.0.0.1:{plain.port}"
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": f"http://{here}.evil.example"},
        {"origin": f"http://127.0.0.1:{plain.port + 1}"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "origin": f"http://{here}"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
        {"referer": "https://evil.example/page"},
        {"host": "evil.example"},
        {"host": f"evil.example:{plain.port}", "origin": f"http://evil.example:{plain.port}"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "a b"},
    ):
        answer = plain.request(method, path, headers)
        assert is_refused(answer, 403), headers
        assert "access-control-allow-origin" not in answer.headers


def test_our_own_pages_and_those_that_are_named_are_served(plain: Client) -> None:
    here = f"127.0.0.1:{plain.port}"
    for headers in (
        {},
        {"origin": f"http://{here}", "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "same-origin", "referer": f"http://{here}/scene"},
        {"sec-fetch-site": "none"},
        {"referer": f"http://{here}/scene"},
        {"host": f"localhost:{plain.port}"},
        {"host": "[::1]:80"},
        {"host": "scene.example"},
        {"origin": "https://viewer.example", "sec-fetch-site": "cross-site"},
        {"referer": "https://viewer.example/index.html", "sec-fetch-site": "cross-site"},
        {"origin": "https://evil.example", "authorization": f"Bearer {TOKEN}"},
    ):
        assert plain.get("/slicer/mrml/names?id=vtkMRMLSliceNodeRed", headers).json() == ["Red"], headers
        assert plain.request("PUT", f"{PREFIX}/layout", headers, b'{"name": "FourUp"}').status == 200, headers


def test_cors_is_for_named_origins(plain: Client) -> None:
    named = {"origin": "https://viewer.example"}
    assert plain.get("/slicer/mrml/names", named).headers["access-control-allow-origin"] == "https://viewer.example"
    asked = {**named, "access-control-request-method": "POST", "access-control-request-headers": "Content-Type,X-Y"}
    answer = plain.request("OPTIONS", "/slicer/exec", asked)
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "https://viewer.example"
    assert "x-y" in answer.headers["access-control-allow-headers"]
    assert "DELETE" in answer.headers["access-control-allow-methods"]
    other = plain.request("OPTIONS", "/slicer/exec", {**asked, "origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
    assert plain.get("/health", {"origin": "https://evil.example"}).headers["access-control-allow-origin"] == "*"


def test_a_websocket_of_a_stranger_is_not_opened(plain: Client) -> None:
    for origin in ("https://evil.example", "null"):
        connection = http.client.HTTPConnection("127.0.0.1", plain.port, timeout=30)
        connection.request("GET", f"{PREFIX}/views/Red/stream", headers={
            "origin": origin, "connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13",
            "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA=="})  # fmt: skip
        assert connection.getresponse().status == 403
        connection.close()


def test_scripts_are_off(plain: Client) -> None:
    for headers in ({}, {"authorization": f"Bearer {TOKEN}"}):
        answer = plain.request("POST", "/slicer/exec", headers, b"__execResult = 1")
        assert answer.status == 500
        assert answer.json()["message"].startswith("Server error: unknown command \"b'/exec'\"")
        assert "--scene-exec" in answer.json()["message"]
        assert plain.request("POST", f"{PREFIX}/exec", headers, b"1").status == 403


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"scene_exec": True}, "needs --scene-token"),
        ({"scene_exec": True, "scene_token": "0123456789abcdef", "host": "0.0.0.0"}, "the token could be read"),
        ({"scene_exec": True, "scene_token": "0123456789abcdef", "host": "0.0.0.0", "public_url": "http://a"}, "TLS"),
        ({"scene_token": "short"}, "at least 16 bytes"),
    ],
)
def test_scripts_are_not_turned_on_by_halves(options: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        Settings(**options)  # type: ignore[arg-type]


def test_scripts_need_the_token_and_a_line_that_nobody_hears(tmp_path: Path) -> None:
    options = {"scene": True, "scene_exec": True, "scene_token": TOKEN, "public_url": "https://scene.example"}
    body = b"print('seen')\n__execResult = {'nodes': slicer.mrmlScene.GetNumberOfNodes() > 50}"
    with served(tmp_path, **options, trusted_proxies=("127.0.0.1",), host="127.0.0.1") as client:
        for headers in ({}, {"x-scene-token": "wrong"}, {"authorization": "Bearer wrong"}):
            assert client.request("POST", "/slicer/exec", headers, body).status == 401
            assert client.request("POST", f"{PREFIX}/exec", headers, body).error in {"missing_token", "invalid_token"}
        known = {"x-scene-token": TOKEN}
        assert client.request("POST", "/slicer/exec", known, body).json() == {"nodes": True}
        found = client.request("POST", f"{PREFIX}/exec", known, body).json()
        assert found == {"result": {"nodes": True}, "output": "seen\n"}
