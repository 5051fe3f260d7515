"""Families are switched on and off one by one: who is off answers as an unknown path does, and leaves others alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from microtome.api.streamer.openapi import ALWAYS, OPERATIONS, PAGES, SLIDES
from microtome.app import create_app
from microtome.errors import InvalidRequest
from microtome.settings import Settings
from tests.serving import Answer, Client, served

SWITCHES: tuple[str, ...] = ("slides_api", "pages", "v3_api", "dicomweb", "slicer_api", "scene_api")
FAMILIES: tuple[str, ...] = (*SWITCHES, "docroot")
ID = "test.tif"
ROUTES: dict[tuple[str, str], set[str]] = {
    **{("GET", path): {"slides_api"} for path in (
        "/slides", f"/slides/{ID}", f"/tiles/{ID}/0/0/0.jpg", f"/slides/{ID}/thumbnail", f"/slides/{ID}/dzi",
        f"/slides/{ID}/dzi_files/0/0_0.jpg", f"/slides/{ID}/channels", f"/slides/{ID}/overlays",
    )},
    **{("GET", path): {"v3_api"} for path in (
        f"/v3/slides/info?slide_id={ID}", f"/v3/slides/tile/level/0/tile/0/0?slide_id={ID}", "/v3/cases/", "/alive",
        "/v3/openapi.json",
    )},
    **{("GET", path): {"dicomweb"} for path in ("/dicom/studies", "/dicom", "/dicom/studies/1.2/metadata")},
    **{("GET", path): {"slicer_api"} for path in ("/slicer/system/version", "/slicer/nothing")},
    ("DELETE", "/system"): {"slicer_api"},
    ("POST", "/slicer/exec"): {"slicer_api"},
    **{("GET", path): {"scene_api"} for path in ("/scene/v1/openapi.json", "/scene/v1/log")},
    ("POST", "/scene/v1/exec"): {"scene_api"},
    ("GET", "/hello.html"): {"docroot"},
    **{("GET", path): {"pages"} for path in ("/static/css/base.css", "/docs")},
    ("GET", f"/view/{ID}"): {"pages", "slides_api"},
    ("GET", "/validation_viewer"): {"pages", "v3_api"},
    ("GET", "/v3/docs"): {"pages", "v3_api"},
    ("GET", f"/slides/{ID}/viewer"): {"pages", "v3_api", "slides_api"},
    **{("GET", path): {"pages", "dicomweb"} for path in (
        "/studies", "/studies/names.json", "/browse/", "/admin/dicom", "/admin/dicom/problems",
    )},
    ("GET", "/scene"): {"pages", "scene_api"},
    ("GET", "/health"): set(),
    ("GET", "/openapi.json"): set(),
}  # fmt: skip
"""What is there when these families are on; ``/`` is told of below."""


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    """Settings in which everything may be on."""
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "hello.html").write_text("<h1>Hello</h1>")
    return {"dicom_index": str(tmp_path / "index"), "ohif_dir": tmp_path / "none", "scene": True, "docroot": pages}


def with_families(options: Mapping[str, Any], on: set[str]) -> dict[str, Any]:
    switched = {name: name in on for name in SWITCHES}
    return {**options, **switched, "docroot": options["docroot"] if "docroot" in on else None}


def is_unknown(answer: Answer) -> bool:
    """As every path that nobody knows."""
    return answer.status == 404 and answer.body == b"" and "content-type" not in answer.headers


def check(client: Client, on: set[str]) -> None:
    """Every route is there or not as its families are."""
    assert is_unknown(client.get("/nothing-like-that"))
    for (method, path), needed in ROUTES.items():
        if (method, path) == ("DELETE", "/system") and needed <= on:
            continue  # it would end the scene
        answer = client.request(method, path)
        if path.startswith("/view/") and "pages" in on and "slides_api" not in on:
            assert answer.error == "not_found"
            continue
        gone = is_unknown(answer) or (answer.status == 405 and "docroot" in on and method != "GET")
        gone = gone or answer.body == b'{"detail":"Not Found"}'  # what v3 says to paths that it does not know
        assert gone == (not needed <= on), (method, path, answer.status, answer.body[:100])
        assert answer.status < 500 or path == "/slicer/nothing" or path == "/slicer/exec", (path, answer.body)
    told = set(client.get("/openapi.json").json()["paths"])
    parts = {ALWAYS, *([SLIDES] if "slides_api" in on else []), *([PAGES] if "pages" in on else [])}
    assert told == {
        path.replace(":path", "") for path, each in OPERATIONS.items() if each.part in parts and each.documented
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_one_alone_is_on(slides: Path, options: dict[str, Any], family: str) -> None:
    with served(slides, **with_families(options, {family})) as client:
        check(client, {family})
        assert (client.services.index is not None) == (family == "dicomweb")


@pytest.mark.parametrize("family", FAMILIES)
def test_one_alone_is_off(slides: Path, options: dict[str, Any], family: str) -> None:
    on = set(FAMILIES) - {family}
    with served(slides, **with_families(options, on)) as client:
        check(client, on)
        assert (client.services.index is not None) == (family != "dicomweb")


def test_everything_and_nothing(slides: Path, options: dict[str, Any]) -> None:
    with served(slides, **with_families(options, set(FAMILIES))) as client:
        check(client, set(FAMILIES))
    with served(slides, **with_families(options, set())) as client:
        check(client, set())
        assert is_unknown(client.get("/"))


def test_the_switches_say_what_is_so_today() -> None:
    plain = Settings()
    assert {name: getattr(plain, name) for name in SWITCHES} == dict.fromkeys(SWITCHES, True)
    assert (plain.scene, plain.docroot, plain.scene_exec, plain.local_routes) == (False, None, False, True)


@pytest.mark.parametrize(
    ("options", "there"),
    [({"scene": True}, True), ({"scene": True, "slicer_api": False}, True), ({"scene": False}, False),
     ({"scene": True, "slicer_api": False, "scene_api": False}, False)],
)  # fmt: skip
def test_there_is_a_scene_when_there_is_a_way_to_it(
    slides: Path, options: dict[str, Any], there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    monkeypatch.setattr("microtome.app.scene.SceneKeeper.hold", lambda keeper: made.append(keeper))
    monkeypatch.setattr("microtome.app.scene.SceneKeeper.close", lambda _: _nothing())
    with served(slides, **options):
        pass
    assert bool(made) == there


async def _nothing() -> None:
    return None


async def test_what_is_off_does_no_work(slides: Path) -> None:
    """A mapper that cannot be opened ends the start where it is asked."""
    for v3_api in (False, True):
        options = {"local_mode": "nowhere:Mapper", "integration": "none", "dicomweb": False}
        app = create_app(Settings(data=str(slides), v3_api=v3_api, **options))  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest) if v3_api else nullcontext():
            async with app.router.lifespan_context(app):
                pass


def test_nothing_is_prepared_for_families_that_are_off(slides: Path) -> None:
    for slides_api, v3_api in ((True, True), (True, False), (False, True), (False, False)):
        app = create_app(Settings(data=str(slides), dicomweb=False, slides_api=slides_api, v3_api=v3_api))
        names = {type(each).__name__ for each in app.state.express._responders}
        assert names == {name for name, on in (("StreamerExpress", slides_api), ("V3Express", v3_api)) if on}


def config(answer: Answer) -> Any:
    """What the server wrote into a page."""
    found = re.search(rb'id="page-config">(.*?)</script>', answer.body)
    assert found is not None
    return json.loads(found[1])


def test_pages_say_what_they_miss_and_where_to_go(slides: Path, options: dict[str, Any]) -> None:
    on = set(FAMILIES) - {"slides_api"}
    with served(slides, **with_families(options, on)) as client:
        assert config(client.get("/"))["elsewhere"] == [["Studies", "/studies"], ["Scene", "/scene"],
                                                        ["Interfaces", "/docs"]]  # fmt: skip
        page = client.get(f"/view/{ID}", {"accept": "text/html"})
        assert (page.status, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert b"slides_api" in page.body
        assert config(client.get("/validation_viewer"))["viewer"] is False
    with served(slides, **with_families(options, {"pages", "slicer_api"}), disable_openapi=True) as client:
        assert config(client.get("/"))["elsewhere"] == []
        assert is_unknown(client.get("/docs"))
        assert is_unknown(client.get("/openapi.json"))
    with served(slides, **with_families(options, {"pages", "slides_api"})) as client:
        assert "elsewhere" not in config(client.get("/"))
        links = client.get("/docs").body
        assert b"/docs" in links
        assert b"WSI-Service v3" not in links


def test_a_study_offers_no_viewer_where_there_is_none(slides: Path, options: dict[str, Any]) -> None:
    answers: list[Any] = []
    for on in ({"pages", "dicomweb", "slides_api"}, {"pages", "dicomweb"}):
        with served(slides, **with_families(options, on)) as client:
            found: list[Any] = []
            for _ in range(600):
                if found := client.get("/dicom/series").json():
                    break
            study, series = (found[0][tag]["Value"][0] for tag in ("0020000D", "0020000E"))
            answers.append(client.get(f"/studies/slide?study={study}&series={series}").json()["slide_id"])
    assert answers[0] is not None
    assert answers[1] is None


def test_pages_of_the_operator_take_the_place_of_ours(slides: Path, options: dict[str, Any]) -> None:
    (options["docroot"] / "index.html").write_text("<h1>Mine</h1>")
    with served(slides, **with_families(options, {"docroot", "slides_api"})) as client:
        assert client.get("/").body == b"<h1>Mine</h1>"
        assert client.get("/slides").status == 200


def test_a_login_stays_where_v3_is_off(slides: Path) -> None:
    with served(slides, v3_api=False, integration="tests.api.test_login:ByFolder") as client:
        assert client.get("/slides").status == 401
        assert is_unknown(client.get("/v3/cases/"))
