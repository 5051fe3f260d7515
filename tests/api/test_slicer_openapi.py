"""The description of ``/scene/v1``: complete, valid, and true of what is answered."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR
from starlette.routing import Mount, Route, WebSocketRoute

import microtome
from microtome.api.slicer.description import described
from microtome.api.slicer.own import OWN
from microtome.api.slicer.safe import PREFIX, TABLE
from microtome.app import create_app
from microtome.scene.images import Image, writing
from microtome.settings import Settings
from tests.serving import Answer, Client, served

pytest.importorskip("slicer_core", reason="the scene is not installed: microtome[scene]")

DOCUMENT = json.loads(json.dumps(described(TABLE, OWN, microtome.__version__)))
CHECKS: list[HealthCheck] = list(HealthCheck)  # pyright: ignore[reportAssignmentType]
UNSAID = [not_a_server_error, positive_data_acceptance, negative_data_rejection]
TOKEN = "a token of the tests"
OPERATIONS = sorted((path, method) for path, found in DOCUMENT["paths"].items() for method in found)


def mounted() -> set[tuple[str, str]]:
    """Every route below the prefix, as the application has it."""
    app = create_app(Settings(data=str(Path(__file__).parent), scene=True))
    inner = next(each for each in app.routes if isinstance(each, Mount) and each.path == PREFIX)
    found: set[tuple[str, str]] = set()
    for route in inner.routes:
        assert isinstance(route, Route | WebSocketRoute)
        methods = set(route.methods or ()) if isinstance(route, Route) else {"websocket"}
        found |= {(PREFIX + route.path, method.lower()) for method in methods - {"HEAD"}}
    return found


def test_every_route_is_described_and_no_other() -> None:
    unsaid = {(f"{PREFIX}/{page}", "get") for page in ("openapi.json", "docs")}
    unsaid |= {(f"{PREFIX}/views/{{view}}/stream", "websocket")}
    assert mounted() - unsaid == set(OPERATIONS)
    assert unsaid <= mounted()
    assert "/views/{view}/stream" in DOCUMENT["info"]["description"]


def test_the_document_is_valid() -> None:
    assert [str(error) for error in OPENAPI_31_VALIDATOR.iter_errors(DOCUMENT)] == []
    for schema in _schemas(DOCUMENT):
        jsonschema_rs.meta.validate(schema)
    ids = [DOCUMENT["paths"][path][method]["operationId"] for path, method in OPERATIONS]
    assert len(set(ids)) == len(ids)
    named = set(_references(DOCUMENT))
    for kind in ("schemas", "responses"):
        assert {f"#/components/{kind}/{name}" for name in DOCUMENT["components"][kind]} <= named
    assert all(_at(each) for each in named)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_operation_says_what_it_takes_and_answers(path: str, method: str) -> None:
    operation = DOCUMENT["paths"][path][method]
    assert operation["summary"]
    assert "``" not in operation["summary"] + operation["description"]
    assert {each["name"] for each in operation["parameters"] if each["in"] == "path"} == {
        part[1:-1] for part in path.split("/") if part.startswith("{")
    }
    for each in operation["parameters"]:
        assert each["in"] != "path" or each["description"]
    assert {"400", "401", "403", "404", "413", "415", "503", "default"} <= set(operation["responses"])
    done = operation["responses"].get("200") or operation["responses"]["204"]
    assert done["description"]
    assert ("200" in operation["responses"]) == bool(done.get("content"))
    if method in {"put", "patch"}:
        assert operation["requestBody"]["content"]


def _schemas(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "schema":
                yield value
            elif key == "schemas":
                yield from value.values()
            else:
                yield from _schemas(value)
    elif isinstance(part, list):
        for each in part:
            yield from _schemas(each)


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(reference := part.get("$ref"), str):
            yield reference
        for value in part.values():
            yield from _references(value)
    elif isinstance(part, list):
        for each in part:
            yield from _references(each)


def _at(reference: str) -> Any:
    found: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


# -- answers ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, dict[str, str]]]:
    """A server whose scene has something of each kind; ids of them."""
    folder = tmp_path_factory.mktemp("described")
    with (folder / "v.nrrd").open("wb") as file:
        writing.write(file, Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.diag([-2.0, -3.0, 4.0, 1.0])))
    options = {"scene": True, "scene_exec": True, "scene_token": TOKEN, "request_log_kept": 50}
    with served(folder, **options) as client:
        body = (folder / "v.nrrd").read_bytes()
        loaded = client.request("POST", f"{PREFIX}/files?name=v.nrrd", body=body).json()
        found = client.request("POST", f"{PREFIX}/files?name=organs.nrrd&type=SegmentationFile", body=_labels(folder))
        made = client.request("POST", f"{PREFIX}/markups", body=b'{"kind": "line", "points": [[0,0,0],[9,0,0]]}')
        moved = client.request("POST", f"{PREFIX}/transforms", body=b"{}")
        ids = {"volume": loaded["ids"][0], "segmentation": found.json()["ids"][0], "markup": made.json()["id"],
               "transform": moved.json()["id"]}  # fmt: skip
        listed = client.get(f"{PREFIX}/segmentations").json()
        ids["segment"] = listed[0]["segments"][0]["id"]
        yield client, ids


def _labels(folder: Path) -> bytes:
    labels = np.zeros((6, 7, 8), np.uint8)
    labels[1:3, 2:5, 1:4] = 1
    with (folder / "l.nrrd").open("wb") as file:
        writing.write(file, Image(labels, np.diag([-2.0, -3.0, 4.0, 1.0])))
    return (folder / "l.nrrd").read_bytes()


def kind_of(path: str) -> str:
    """Which node an id in a path is of."""
    names = {"markups": "markup", "segmentations": "segmentation", "transforms": "transform"}
    return names.get(path.removeprefix(f"{PREFIX}/").split("/")[0], "volume")


def checked(path: str, method: str, answer: Answer) -> None:
    """An answer is one that the document describes."""
    told = DOCUMENT["paths"][path][method]["responses"]
    status = str(answer.status)
    found = told.get(status) or told["default"]
    if "$ref" in found:
        found = _at(found["$ref"])
    content = found.get("content", {})
    media_type = answer.headers.get("content-type", "").partition(";")[0]
    assert (media_type in content) == bool(answer.body), (path, method, status, answer.headers)
    schema = content.get(media_type, {}).get("schema")
    if schema:
        validator = jsonschema_rs.Draft202012Validator({**schema, "components": DOCUMENT["components"]})
        assert [str(error) for error in validator.iter_errors(answer.json())] == []


SAID: dict[tuple[str, str], dict[str, Any]] = {
    ("/markups", "post"): {"kind": "angle", "points": [[0, 0, 0], [1, 0, 0], [1, 1, 0]]},
    ("/transforms/{id}", "put"): {"matrix": [1, 0, 0, 5, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]},
    ("/layout", "put"): {"name": "FourUp"},
    ("/volumes/region", "post"): {"slide": "none", "width": 5, "height": 5},
    ("/volumes/series", "post"): {"series": "1.2"},
}
"""Bodies that have fields which must be there."""
NOT_HERE = {("/volumes/region", "post"): 404, ("/volumes/series", "post"): 404}


@pytest.mark.parametrize(("path", "method"), [each for each in OPERATIONS if each[0] != f"{PREFIX}/events"])
def test_a_real_answer_is_as_described(path: str, method: str, scene: tuple[Client, dict[str, str]]) -> None:
    client, ids = scene
    short = path.removeprefix(PREFIX)
    if short == "/redo":
        assert client.request("POST", f"{PREFIX}/undo").status == 200
    target = path.format(id=ids[kind_of(path)], segment=ids["segment"], view="Red", name="Markups")
    target += {"/files": "?name=v.nrrd", "/nodes/{id}/file": "?name=.nrrd"}.get(short, "")
    body: bytes | None = None
    if method != "get":
        body = json.dumps(SAID.get((short, method), {})).encode()
        body = {"/files": b"x", "/exec": b"print(3); __execResult = {'a': 1}"}.get(short, body)
    answer = client.request(method.upper(), target, {"x-scene-token": TOKEN}, body)
    if method == "delete" or short == "/undo":  # all is as it was for the others
        again = "undo" if method == "delete" else "redo"
        assert client.request("POST", f"{PREFIX}/{again}").status == 200
    checked(path, method, answer)
    wanted = NOT_HERE.get((short, method), 415 if short == "/files" else 0)
    assert answer.status == wanted if wanted else answer.status in {200, 204}, answer.body[:300]
    if "{id}" in path:
        missing = path.format(id="nothing", segment="nothing", view="Red", name="x")
        answer = client.request(method.upper(), missing + "?name=.nrrd" * short.endswith("/file"), None, body)
        assert answer.status == 404, answer.body
        checked(path, method, answer)


def test_events_are_described(scene: tuple[Client, dict[str, str]]) -> None:
    client, _ = scene
    answer = client.request("HEAD", f"{PREFIX}/events")
    assert answer.status == 200
    content = DOCUMENT["paths"][f"{PREFIX}/events"]["get"]["responses"]["200"]["content"]
    assert set(content) == {answer.headers["content-type"].partition(";")[0]}


def test_the_document_is_served(scene: tuple[Client, dict[str, str]]) -> None:
    client, _ = scene
    assert client.get(f"{PREFIX}/openapi.json").json() == DOCUMENT


# -- anything else ---------------------------------------------------------------------------------------------------


def _bounded() -> dict[str, Any]:
    """The document with ids that there may be, small pictures, and without what never ends, ends things or is slow."""
    narrow = copy.deepcopy(DOCUMENT)
    for path in (f"{PREFIX}/events", f"{PREFIX}/exec", f"{PREFIX}/samples/{{name}}", f"{PREFIX}/scene.mrb"):
        del narrow["paths"][path]
    for found in narrow["paths"].values():
        for method in tuple(found):
            if method == "delete":
                del found[method]
                continue
            for parameter in found[method]["parameters"]:
                name = parameter["name"]
                if parameter["in"] == "path":
                    choices = {"view": ["Red", "Green", "x"], "segment": ["Segment_1", "x"]}.get(
                        name, [f"vtkMRML{kind}Node1" for kind in _KINDS] + ["x"]
                    )
                    parameter["schema"] = {"type": "string", "enum": choices}
                elif name == "size":
                    parameter["schema"] = {"type": "string", "enum": ["64", "80x60", "0", "99999", "x", "-1,3"]}
    narrow["paths"] = {path: found for path, found in narrow["paths"].items() if found}
    return narrow


_KINDS = ("ScalarVolume", "Segmentation", "MarkupsLine", "LinearTransform", "Model", "Slice")
bounded = schemathesis.openapi.from_dict(_bounded())


@bounded.parametrize()
@settings(max_examples=12, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=CHECKS)
def test_whatever_is_asked_no_answer_is_a_failure_of_ours(
    case: schemathesis.Case, scene: tuple[Client, dict[str, str]]
) -> None:
    client, _ = scene
    response = case.call(base_url=f"http://127.0.0.1:{client.port}", timeout=60)
    case.validate_response(response, excluded_checks=UNSAID)
    assert response.status_code < 500, response.text
