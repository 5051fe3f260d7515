"""Every route of the v3 API, asked by everybody: what a token of a real provider opens, and what nobody else learns."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount

from microtome.app import create_app
from microtome.demo.svs import write_demo
from microtome.settings import Settings
from tests import tiffmaker
from tests.e2e.oidcserver import NoProvider, OidcServer, install, new_keys
from tests.serving import Answer, Client, served

OURS, OTHERS = "https://slides.example/", "https://others.example/"
OWNER, OTHER = "RS256", "ES256"
"""Clients of the provider are called by their algorithm; what they belong to is told by its userinfo."""
ENTITLEMENTS = {
    OWNER: ["urn:geant:lifescience-ri.eu:group:lifescience:proj:inst#aai.lifescience-ri.eu"],
    OTHER: ["urn:geant:lifescience-ri.eu:group:lifescience:other:inst#aai.lifescience-ri.eu"],
}
SLIDE, VECTOR, THEIRS = "inst.proj.w.hidden", "inst.proj.w.shapes", "inst.other.w.open"
CASE = "inst.proj.c.patient"
ABSENT = ("inst.proj.w.nothing", "inst.other.w.nothing", "nothing")
STRANGERS = ("anonymous", "malformed", "wrong audience", "expired", "other key")
FILES = ("secret-name.svs", "secret-shapes.geojson")
TABLE = f"""inst\tproj\thidden\tpatient\t{FILES[0]}
inst\tproj\tshapes\tpatient\t{FILES[1]}
inst\tother\topen\tother\topen.tif
"""

T, R = "level/0/tile/0/0", "level/0/start/0/0/size/9/9"
SLIDES = {
    "/slides/info": "info", "/slides/download": "download", "/slides/icc_profile": "icc_profile",
    "/slides": "", "/slides/storage": "storage",
    "/slides/thumbnail/max_size/{max_x}/{max_y}": "thumbnail/max_size/9/9",
    "/slides/label/max_size/{max_x}/{max_y}": "label/max_size/9/9",
    "/slides/macro/max_size/{max_x}/{max_y}": "macro/max_size/9/9",
    "/slides/region/level/{level}/start/{start_x}/{start_y}/size/{size_x}/{size_y}": f"region/{R}",
    "/slides/tile/level/{level}/tile/{tile_x}/{tile_y}": f"tile/{T}",
    "/slides/tilejson": "tilejson", "/slides/tile/zoom/{zoom}/tile/{tile_x}/{tile_y}": "tile/zoom/0/tile/0/0",
}  # fmt: skip
"""Routes of one slide, and what is asked of them."""
MANY = {
    "/{}/info": "info", "/{}/icc_profile": "icc_profile",
    "/{}/thumbnail/max_size/{{max_x}}/{{max_y}}": "thumbnail/max_size/9/9",
    "/{}/label/max_size/{{max_x}}/{{max_y}}": "label/max_size/9/9",
    "/{}/macro/max_size/{{max_x}}/{{max_y}}": "macro/max_size/9/9",
    "/{}/tile/level/{{level}}/tile/{{tile_x}}/{{tile_y}}": f"tile/{T}",
    "/{}/batch/": "batch/",
}  # fmt: skip
"""Routes of many slides, under either name."""
VECTORS = {"tilejson", "tile/zoom/0/tile/0/0", "icc_profile"}
"""What the picture does not have."""


@dataclass(frozen=True)
class Row:
    """What is asked: ``target`` with a slide in place of ``{}``; ``slide`` is the one that the owner sees.

    ``errors``: a slide that may not be seen is an entry of an archive instead of a 404.
    """

    target: str
    slide: str = SLIDE
    errors: bool = False

    def of(self, slide: str) -> str:
        return "/v3" + self.target.format(slide)


def _rows() -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for path, what in SLIDES.items():
        slide = VECTOR if what in VECTORS else SLIDE
        rest = f"/{what}" if what else ""
        found[path] = [Row(f"/slides{rest}?slide_id={{}}", slide), Row(f"/slides/{{}}{rest}", slide)]
    for prefix, name in (("files", "paths"), ("batch", "slides")):
        for path, what in MANY.items():
            places = "&levels=0&xs=0&ys=0" if what == "batch/" else ""
            inside = what not in {"info", "icc_profile"}
            found[path.format(prefix)] = [
                Row(f"/{prefix}/{what}?{name}={{}}{places}", VECTOR if what in VECTORS else SLIDE, errors=inside),
                Row(f"/{prefix}/{what}?slide_id={{}}{places}", VECTOR if what in VECTORS else SLIDE),
            ]
    return found


ROWS = _rows()
LISTS = {
    "/cases/": ["/v3/cases/", "/v3/cases/?context="],
    "/cases/slides/": [f"/v3/cases/slides/?case_id={CASE}", f"/v3/cases/slides/?slide_id={CASE}",
                       f"/v3/cases/{CASE}/slides/"],
}  # fmt: skip
OPEN = {"/openapi.json", "/docs", "/docs/oauth2-redirect"}
"""They tell nothing of any slide."""
OTHERWISE = {"/refresh_local_mapper"}
EVERY = [(path, row) for path, rows in ROWS.items() for row in rows]
NAMES = [f"{row.target}" for _, row in EVERY]


def v3_of(app: FastAPI) -> FastAPI:
    inner: Any = next(each.app for each in app.routes if isinstance(each, Mount) and each.path == "/v3")
    while not isinstance(inner, FastAPI):
        inner = inner.app
    return inner


def test_every_route_has_a_row() -> None:
    login: dict[str, Any] = {
        "openapi_token_url": "https://idp.example/token",
        "openapi_auth_url": "https://idp.example/auth",
    }
    app = v3_of(create_app(Settings(data=str(Path(__file__).parent), **login)))
    paths = {each.path_format or each.path for each in iter_route_contexts(app.routes)}
    assert paths == {*ROWS, *LISTS, *OTHERWISE, *OPEN}


@dataclass
class World:
    """A server with a login, and the tokens of everybody."""

    client: Client
    tokens: dict[str, str | None]
    reasons: dict[str, str] = field(default_factory=dict)

    def ask(self, who: str, target: str, headers: dict[str, str] | None = None) -> Answer:
        token = self.tokens[who]
        given = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self.client.get(target, {**given, **(headers or {})})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    try:
        install()
    except NoProvider as reason:
        pytest.skip(str(reason))
    folder = tmp_path_factory.mktemp("routes")
    write_demo(folder / FILES[0], width=600, height=500)
    point = {"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [10, 10]}}
    (folder / FILES[1]).write_text(json.dumps({"type": "FeatureCollection", "features": [point]}))
    (folder / "open.tif").write_bytes(tiffmaker.classic())
    table = tmp_path_factory.mktemp("table") / "data.csv"
    table.write_text(TABLE)
    keys = new_keys(OWNER, OTHER)
    with OidcServer([OURS, OTHERS], ENTITLEMENTS) as provider:
        provider.start(keys)
        tokens: dict[str, str | None] = {
            "anonymous": None,
            "malformed": "e30.e30.not-a-token",
            "wrong audience": provider.token(OWNER, OTHERS),
            "expired": _signed(provider.token(OWNER, OURS), keys[0], exp=int(time.time()) - 60),
            "other key": _signed(provider.token(OWNER, OURS), {**new_keys(OWNER)[0], "kid": keys[0]["kid"]}),
            "other group": provider.token(OTHER, OURS),
            "owner": provider.token(OWNER, OURS),
        }
        with served(
            folder, local_mode="csv", table_source=str(table), integration="lsaai_groups",
            idp_url=provider.url, audience=OURS, userinfo_endpoint=f"{provider.url}/entitlements",
        ) as client:  # fmt: skip
            yield World(client, tokens)


def _signed(token: str, key: dict[str, Any], **claims: object) -> str:
    """The token with other claims, signed with a key as the provider would."""
    told = jwt.decode(token, options={"verify_signature": False})
    private = jwt.PyJWK({name: value for name, value in key.items() if name != "use"}).key
    header = {"kid": key["kid"], "typ": jwt.get_unverified_header(token).get("typ", "JWT")}
    return jwt.encode({**told, **claims}, private, algorithm=key["alg"], headers=header)


def entries(answer: Answer) -> dict[str, bytes]:
    assert (answer.status, answer.headers["content-type"]) == (200, "application/zip"), answer.body[:300]
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def is_private(answer: Answer) -> bool:
    return answer.headers["cache-control"].split(",")[0] in {"private", "no-store"}


@pytest.mark.parametrize(("path", "row"), EVERY, ids=NAMES)
def test_the_owner_sees_a_slide(world: World, path: str, row: Row) -> None:
    for _ in range(3):  # the last times out of whatever is kept
        answer = world.ask("owner", row.of(row.slide))
        assert answer.status == 200, answer.body[:300]
        assert is_private(answer)
        if row.errors:
            (name,) = entries(answer)
            assert not name.endswith(".err")


@pytest.mark.parametrize("who", STRANGERS)
@pytest.mark.parametrize(("path", "row"), EVERY, ids=NAMES)
def test_strangers_learn_nothing(world: World, path: str, row: Row, who: str) -> None:
    world.ask("owner", row.of(row.slide))
    answers = [world.ask(who, row.of(slide)) for slide in (row.slide, *ABSENT)]
    bare = world.ask(who, "/v3" + row.target.split("?")[0].format("x"))
    for answer in (*answers, bare):
        assert answer.status == 401
        assert answer.body == answers[0].body, "no word depends on what was asked for"
        assert answer.headers["www-authenticate"].startswith("Bearer ")
        assert answer.headers["cache-control"] == "no-store"
        assert ('error="invalid_token"' in answer.headers["www-authenticate"]) == (who != "anonymous")


@pytest.mark.parametrize(("path", "row"), EVERY, ids=NAMES)
def test_what_others_may_not_see_does_not_exist(world: World, path: str, row: Row) -> None:
    etag = world.ask("owner", row.of(row.slide)).headers.get("etag")
    before = world.client.services.express.answered
    conditional = {"If-None-Match": etag} if etag else {}
    for headers in ({}, conditional, {"If-None-Match": "*"}):
        found = [world.ask("other group", row.of(slide), headers) for slide in (row.slide, *ABSENT)]
        for slide, answer in zip((row.slide, *ABSENT), found, strict=True):
            assert is_private(answer)
            if row.errors:
                assert entries(answer) == {"t1.err": f"Slide {slide} does not exist".encode()}
            else:
                assert (answer.status, answer.json()) == (404, {"detail": f"Slide {slide} does not exist"})
            assert {
                name: value for name, value in answer.headers.items() if name not in {"date", "content-length"}
            } == ({name: value for name, value in found[0].headers.items() if name not in {"date", "content-length"}})
            assert not any(name.encode() in answer.body for name in FILES)
    assert world.client.services.express.answered == before


@pytest.mark.parametrize("who", [*STRANGERS, "other group", "owner"])
@pytest.mark.parametrize("target", [each for targets in LISTS.values() for each in targets])
def test_lists_hold_what_one_may_see(world: World, target: str, who: str) -> None:
    answer = world.ask(who, target)
    if who in STRANGERS:
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Bearer ")
    elif who == "owner":
        assert answer.status == 200
        assert SLIDE.encode() in answer.body
        assert THEIRS.encode() not in answer.body
        assert is_private(answer)
        return
    elif "slides/" in target:
        absent = world.ask(who, target.replace("patient", "nothing"))
        assert (answer.status, answer.json()) == (404, {"detail": f"Case with case_id {CASE} does not exist"})
        assert absent.status == 404
        assert absent.body == answer.body.replace(b"patient", b"nothing")
    else:
        assert [each["slides"] for each in answer.json()] == [[THEIRS]]
    assert SLIDE.encode() not in answer.body
    assert not any(name.encode() in answer.body for name in FILES)
    assert is_private(answer)


def test_a_list_kept_by_one_is_not_anothers(world: World) -> None:
    etag = world.ask("owner", "/v3/cases/").headers["etag"]
    assert world.ask("owner", "/v3/cases/", {"If-None-Match": etag}).status == 304
    assert world.ask("other group", "/v3/cases/", {"If-None-Match": etag}).status == 200
    assert world.ask("anonymous", "/v3/cases/", {"If-None-Match": etag}).status == 401


@pytest.mark.parametrize("who", [*STRANGERS, "other group", "owner"])
def test_looking_for_files_needs_a_login(world: World, who: str) -> None:
    answer = world.ask(who, "/v3/refresh_local_mapper")
    assert answer.status == (401 if who in STRANGERS else 200)
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("who", [*STRANGERS, "owner"])
def test_what_is_open_tells_of_no_slide(world: World, who: str) -> None:
    for target in ("/v3/openapi.json", "/v3/docs", "/alive", "/docs"):
        answer = world.ask(who, target)
        assert answer.status == 200
        assert SLIDE.encode() not in answer.body
        assert not any(name.encode() in answer.body for name in FILES)
    scheme = world.ask(who, "/v3/openapi.json").json()
    assert scheme["security"] == [{"bearer": []}]


def test_many_slides_hold_only_those_one_may_see(world: World) -> None:
    target = f"/v3/files/tile/{T}?paths={SLIDE},{THEIRS},{ABSENT[0]}"
    found = entries(world.ask("other group", target))
    assert list(found) == ["t1.err", "t2.jpeg", "t3.err"]
    assert list(entries(world.ask("owner", target))) == ["t1.jpeg", "t2.err", "t3.err"]
    for who in ("other group", "owner"):
        assert world.ask(who, f"/v3/files/info?paths={SLIDE},{THEIRS}").status == 404


def test_a_token_counts_by_the_header_only(world: World) -> None:
    token = world.tokens["owner"]
    target = f"/v3/slides/info?slide_id={SLIDE}"
    assert world.client.get(f"{target}&access_token={token}").status == 401
    assert world.client.get(target, {"Cookie": f"access_token={token}"}).status == 401
    assert world.client.get(target, {"Authorization": f"{token}"}).status == 200, "the word Bearer may be missing"
    assert world.client.get(target, {"Authorization": f"bearer {token}"}).status == 200
    assert world.client.request("HEAD", target).status == 401
    assert world.client.request("OPTIONS", target).body == b""
    assert world.client.request("POST", target, {"Authorization": f"Bearer {token}"}).status == 405


def test_nothing_is_answered_below_the_login(world: World) -> None:
    target = f"/v3/slides/tile/{T}?slide_id={SLIDE}"
    bodies = {world.ask("owner", target).body for _ in range(5)}
    assert len(bodies) == 1
    assert world.client.services.express.answered == 0
    for who in (*STRANGERS, "other group"):
        assert world.ask(who, target).status in {401, 404}
