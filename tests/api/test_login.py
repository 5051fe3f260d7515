"""A login guards every slide, by whichever family it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from microtome.auth.policy import Principal, bearer_token, refused
from microtome.demo.svs import write_demo
from tests.serving import Client, served

ALICE, BOB, STRANGER = (
    {"authorization": "Bearer alice"},
    {"authorization": "Bearer bob"},
    {"authorization": "Bearer eve"},
)
MINE, THEIRS = "alice%2Fa.svs", "bob%2Fb.svs"
DATA = (
    "/slides/{}", "/slides/{}/dzi", "/slides/{}/dzi_files/9/0_0.jpg", "/slides/{}/thumbnail", "/slides/{}/channels",
    "/slides/{}/associated/label", "/slides/{}/icc", "/slides/{}/tilejson", "/slides/{}/vector/0/0/0.mvt",
    "/slides/{}/overlays", "/slides/{}/overlays/1.2.3/0/0/0.png", "/slides/{}/viewer", "/tiles/{}/0/0/0.jpg",
    "/view/{}",
)  # fmt: skip
OPEN = ("/", "/alive", "/health", "/docs", "/v3/docs", "/openapi.json", "/v3/openapi.json", "/validation_viewer")


class ByFolder:
    """Everybody sees the folder that is called like them."""

    enabled = True

    def __init__(self, settings: object, logger: object, client: object) -> None:
        self._names = {"alice", "bob"}

    async def authenticate(self, headers: Mapping[str, str]) -> Principal:
        token = bearer_token(headers)
        if token not in self._names:
            raise refused("Error decoding Token.", "invalid_token")
        return Principal(token, token=token)

    async def allows(self, principal: Principal, slide_id: str) -> bool:
        return slide_id.split("/")[0] == principal.subject

    async def visible(self, principal: Principal, ids: Iterable[str]) -> list[str]:
        return [each for each in ids if await self.allows(principal, each)]

    async def aclose(self) -> None:
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("login")
    for name in ("alice/a.svs", "bob/b.svs"):
        (folder / name).parent.mkdir()
        write_demo(folder / name, width=800, height=600)
    return folder


@pytest.fixture(scope="module")
def guarded(folder: Path) -> Iterator[Client]:
    with served(folder, integration="tests.api.test_login:ByFolder") as client:
        yield client


@pytest.mark.parametrize("path", DATA)
def test_slides_are_for_those_who_may_see_them(guarded: Client, path: str) -> None:
    for headers in ({}, STRANGER, {"authorization": "Basic YWxpY2U6"}, {"authorization": "Bearer "}):
        refusal = guarded.get(path.format(MINE), headers)
        assert refusal.status == 401
        assert refusal.headers["www-authenticate"].startswith("Bearer")
        assert refusal.headers["cache-control"] == "no-store"
        assert b"Aperio" not in refusal.body
    mine = guarded.get(path.format(MINE), ALICE)
    assert mine.status in {200, 302, 307, 404}
    if mine.status == 200:
        assert mine.headers["cache-control"].startswith("private")
    for missing in (THEIRS, "bob%2Fnothing.svs", "nothing.svs"):
        hidden = guarded.get(path.format(missing), ALICE)
        assert (hidden.status, hidden.error) == (404, "not_found"), missing


def test_warm_answers_stay_with_whom_they_are_for(guarded: Client) -> None:
    tile = f"/tiles/{MINE}/0/0/0.jpg"
    for _ in range(3):
        assert guarded.get(tile, ALICE).status == 200
    assert guarded.get(tile).status == 401
    assert guarded.get(tile, BOB).status == 404
    etag = guarded.get(tile, ALICE).headers["etag"]
    assert guarded.get(tile, {**BOB, "if-none-match": etag}).status == 404
    assert guarded.get(tile, {"if-none-match": etag}).status == 401
    assert guarded.get(tile, {**ALICE, "if-none-match": etag}).status == 304
    assert guarded.request("HEAD", tile).status == 401


def test_lists_hold_what_one_may_see(guarded: Client) -> None:
    assert guarded.get("/slides").status == 401
    assert guarded.get("/slides", ALICE).json()["slides"] == ["alice/a.svs"]
    assert guarded.get("/slides", BOB).json()["slides"] == ["bob/b.svs"]


@pytest.mark.parametrize("path", OPEN)
def test_what_tells_nothing_is_open(guarded: Client, path: str) -> None:
    answer = guarded.get(path)
    assert answer.status == 200
    assert b"a.svs" not in answer.body


@pytest.mark.parametrize(
    "path",
    ["/slides/", f"//slides/{MINE}", f"/v3/../slides/{MINE}", f"/static/../slides/{MINE}", f"/%73lides/{MINE}",
     f"/slides/{MINE}/", "/nothing", f"/tiles/{MINE}", "/slides/alice/a.svs", f"/SLIDES/{MINE}",
     f"/docs/../tiles/{MINE}/0/0/0.jpg"],
)  # fmt: skip
def test_no_spelling_leads_around(guarded: Client, path: str) -> None:
    answer = guarded.get(path)
    assert answer.status in {401, 404}
    assert b"Aperio" not in answer.body


def test_browsers_may_ask_before(guarded: Client) -> None:
    answer = guarded.request("OPTIONS", f"/slides/{MINE}", {"origin": "https://viewer.example"})
    assert answer.status == 200
    refusal = guarded.get(f"/slides/{MINE}", {"origin": "https://viewer.example"})
    assert refusal.headers["access-control-allow-origin"] == "*"


def test_a_named_mapper_without_login_closes_everything(folder: Path) -> None:
    with served(folder, local_mode="paths") as client:
        assert client.get(f"/slides/{MINE}").status == 401
        assert client.get(f"/v3/slides/info?slide_id={MINE}").status == 401
        assert client.get("/alive").status == 200
