"""The description of the v3 API for programs, and schemathesis on it: every answer is one that it tells of."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import schemathesis
import tifffile
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from starlette.routing import Mount

from microtome.app import create_app
from microtome.demo.svs import write_demo
from microtome.pixels.images import ALIASES
from microtome.settings import Settings
from tests.serving import Client, served

ROUTES = {
    "/slides/info", "/slides/tilejson", "/slides/download", "/slides/icc_profile", "/slides", "/slides/storage",
    "/slides/thumbnail/max_size/{max_x}/{max_y}", "/slides/label/max_size/{max_x}/{max_y}",
    "/slides/macro/max_size/{max_x}/{max_y}", "/slides/tile/level/{level}/tile/{tile_x}/{tile_y}",
    "/slides/tile/zoom/{zoom}/tile/{tile_x}/{tile_y}",
    "/slides/region/level/{level}/start/{start_x}/{start_y}/size/{size_x}/{size_y}",
    "/cases/", "/cases/slides/", "/refresh_local_mapper",
    *(f"/{prefix}/{rest}" for prefix in ("files", "batch") for rest in (
        "info", "thumbnail/max_size/{max_x}/{max_y}", "label/max_size/{max_x}/{max_y}",
        "macro/max_size/{max_x}/{max_y}", "tile/level/{level}/tile/{tile_x}/{tile_y}", "batch/", "icc_profile",
    )),
}  # fmt: skip
UNSAID = [not_a_server_error, positive_data_acceptance, negative_data_rejection]
CHECKS: list[HealthCheck] = list(HealthCheck)  # pyright: ignore[reportAssignmentType]
SLIDES = ("case/demo.svs", "case/deep.tif", "case/shapes.geojson", "case/broken.svs", "case/none.svs")
FEATURE = {"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [10, 10]}}


def _schema() -> dict[str, Any]:
    app = create_app(Settings(data=str(Path(__file__).parent)))
    inner: Any = next(each.app for each in app.routes if isinstance(each, Mount) and each.path == "/v3")
    while not isinstance(inner, FastAPI):
        inner = inner.app
    return inner.openapi() | {"servers": [{"url": "/v3"}]}


SCHEMA = _schema()


@pytest.fixture(scope="module")
def v3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server with a slide of each kind, and a damaged one."""
    folder = tmp_path_factory.mktemp("described")
    (folder / "case").mkdir()
    write_demo(folder / SLIDES[0], width=600, height=500)
    tifffile.imwrite(folder / SLIDES[1], np.arange(2 * 70 * 90, dtype=np.uint16).reshape(2, 70, 90),
                     tile=(64, 64), photometric="minisblack", planarconfig="separate")  # fmt: skip
    (folder / SLIDES[2]).write_text(json.dumps({"type": "FeatureCollection", "features": [FEATURE]}))
    (folder / SLIDES[3]).write_bytes((folder / SLIDES[0]).read_bytes()[:2000])
    with served(folder) as client:
        yield client


def test_the_document_tells_of_every_route(v3: Client) -> None:
    document = v3.get("/v3/openapi.json").json()
    assert set(document["paths"]) == ROUTES
    assert document["servers"] == [{"url": "/v3"}]
    assert document["paths"] == SCHEMA["paths"]


@pytest.mark.parametrize("path", sorted(ROUTES))
def test_every_operation_says_what_it_answers(path: str) -> None:
    assert list(SCHEMA["paths"][path]) == ["get"]
    operation = SCHEMA["paths"][path]["get"]
    assert operation["summary"]
    assert operation["description"].endswith(".")
    answers = operation["responses"]
    assert {"200", "400", "401", "403", "404", "415", "422", "503"} <= set(answers)
    assert all(answers[status]["description"] for status in answers)
    assert answers["200"]["content"]
    for status in set(answers) - {"200", "304"}:
        assert answers[status]["content"] == {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for parameter in operation.get("parameters", ()):
        assert parameter["description"], parameter["name"]
    types = set(answers["200"]["content"])
    kind = f"{path}/".split("/")[2]
    if path.startswith(("/files/", "/batch/")) and kind != "info":
        assert "application/zip" in types
    assert ("image/webp" in types) == (kind in {"thumbnail", "label", "macro", "region", "tile", "batch"})
    assert ("application/vnd.mapbox-vector-tile" in types) == (kind in {"tile", "batch"})
    assert ("501" in answers) >= (kind in {"thumbnail", "region"})
    assert ("412" in answers) >= ("icc_profile_strict" in {each["name"] for each in operation.get("parameters", ())})


def _about_slides() -> dict[str, Any]:
    """The same document with only such ids and places in it as exist: by chance no request would find them."""
    narrow = copy.deepcopy(SCHEMA)
    for path in narrow["paths"].values():
        for parameter in path["get"].get("parameters", ()):
            name, schema = parameter["name"], parameter["schema"]
            if name == "slide_id":
                parameter["schema"] = {"type": "string", "enum": [*SLIDES, "case"]}
            elif name in {"paths", "slides"}:
                parameter["schema"] = {"type": "array", "items": {"type": "string", "enum": list(SLIDES)}}
            elif name in {"case_id", "context"}:
                parameter["schema"] = {"type": "string", "enum": ["case", "nowhere", ""]}
            elif name == "image_format":
                parameter["schema"] = {"type": "string", "enum": [*ALIASES]}
            elif name == "image_channels":
                parameter["schema"] = {"type": "array", "items": {"type": "integer", "minimum": -1, "maximum": 3}}
            elif name in {"levels", "xs", "ys"}:
                parameter["schema"] = {"type": "string", "enum": ["0", "1,0", "0,0,0"]}
            elif parameter["in"] == "path" and name != "level":
                schema["maximum"] = 300 if "_" in name and not name.startswith("tile") else 2
            elif name in {"level", "z", "t"}:
                schema["maximum"] = 2
    return narrow


described = schemathesis.openapi.from_dict(SCHEMA)
about_slides = schemathesis.openapi.from_dict(_about_slides())


def _validated(case: schemathesis.Case, v3: Client) -> None:
    # 501 is the documented answer of sets of vector tiles; no other status may be the server's fault. What
    # fits a slide no schema can say, and whatever stands in a query is text.
    response = case.call(base_url=f"http://127.0.0.1:{v3.port}/v3", timeout=60)
    case.validate_response(response, excluded_checks=UNSAID)
    assert response.status_code < 500 or response.status_code == 501, response.text


@described.parametrize()
@settings(max_examples=20, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=CHECKS)
def test_every_answer_is_one_that_the_document_describes(case: schemathesis.Case, v3: Client) -> None:
    _validated(case, v3)


@about_slides.parametrize()
@settings(max_examples=40, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=CHECKS)
def test_every_answer_about_a_slide_is_one_that_the_document_describes(case: schemathesis.Case, v3: Client) -> None:
    _validated(case, v3)
