"""``/scene/v1``: the scene without scripts. One row of a table for each route; the calls to the scene are its schemas.

Fields of a GET are its query, fields of other methods a JSON object; parts of the path fill the fields of their name.
GET changes nothing: pictures are taken of a view that stays where it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from microtome.api import errors
from microtome.api.disconnect import ClientGone
from microtome.api.slicer.context import (
    JSON,
    MAX_PARAMETERS,
    SMALL_BODY,
    SlicerContext,
    answered,
    body_of,
    whole,
)
from microtome.api.slicer.log import GetRequests, requests_of
from microtome.api.slicer.pictures import format_of, known_of, overlay_of, size_of
from microtome.errors import InvalidRequest, LimitExceeded, MicrotomeError
from microtome.scene.calls import edit, events, layout, nodes, samples, slices, state, threed
from microtome.scene.calls.base import Call, Nodes, Picture

PREFIX = "/scene/v1"
_READ: Mapping[str, Callable[[str], object]] = {
    "size": size_of,
    "format": format_of,
    "overlay": overlay_of,
}
"""Fields of a query that are more than one word."""
_CREDENTIALS = frozenset({"sig", "exp"})
"""What signed URLs have in their query besides."""


@dataclass(frozen=True, slots=True)
class Row:
    """A route. ``inner``: a structure among the fields of ``call`` whose fields stand in the query themselves.

    ``fixed``: fields the client has no say in. ``media_type`` of the answer when it is bytes.
    """

    method: str
    path: str
    call: type[Call[Any]]
    tag: str
    inner: tuple[str, type[msgspec.Struct]] | None = None
    fixed: Mapping[str, object] = field(default_factory=dict[str, object])
    media_type: str = JSON


_LOOK = {"keep": False}
TABLE: tuple[Row, ...] = (
    Row("GET", "/state", state.GetState, "scene"),
    Row("POST", "/undo", events.Undo, "scene"),
    Row("POST", "/redo", events.Redo, "scene"),
    Row("POST", "/samples/{name}", samples.LoadSample, "scene"),
    Row("GET", "/nodes", nodes.ListNodes, "nodes", ("nodes", Nodes)),
    Row("GET", "/nodes/{id}", edit.GetNode, "nodes"),
    Row("PATCH", "/nodes/{id}", edit.UpdateNode, "nodes"),
    Row("DELETE", "/nodes/{id}", edit.RemoveNode, "nodes"),
    Row("POST", "/nodes/{id}/harden", edit.HardenTransform, "nodes"),
    Row("GET", "/markups", edit.ListMarkups, "markups"),
    Row("POST", "/markups", edit.CreateMarkup, "markups"),
    Row("GET", "/markups/{id}", edit.GetMarkup, "markups"),
    Row("PATCH", "/markups/{id}", edit.UpdateMarkup, "markups"),
    Row("DELETE", "/markups/{id}", edit.RemoveNode, "markups"),
    Row("GET", "/segmentations", edit.ListSegmentations, "segmentations"),
    Row("PATCH", "/segmentations/{id}", edit.UpdateSegmentation, "segmentations"),
    Row("PATCH", "/segmentations/{id}/segments/{segment}", edit.UpdateSegment, "segmentations"),
    Row("DELETE", "/segmentations/{id}/segments/{segment}", edit.RemoveSegment, "segmentations"),
    Row("GET", "/segmentations/{id}/statistics", edit.MeasureSegments, "segmentations"),
    Row("GET", "/transforms", edit.ListTransforms, "transforms"),
    Row("POST", "/transforms", edit.CreateTransform, "transforms"),
    Row("GET", "/transforms/{id}", edit.GetTransform, "transforms"),
    Row("PUT", "/transforms/{id}", edit.PutTransform, "transforms"),
    Row("GET", "/slices/{view}", slices.GetSlice, "slices"),
    Row("PATCH", "/slices/{view}", slices.MoveSlice, "slices", ("move", slices.SliceMove)),
    Row("GET", "/slices/{view}/picture", slices.RenderSlice, "slices", ("move", slices.SliceMove), _LOOK),
    Row("PATCH", "/slices/{view}/layers", slices.SetLayers, "slices"),
    Row("PATCH", "/layers", slices.SetLayers, "slices", fixed={"view": None}),
    Row("GET", "/volumes/{id}/display", slices.GetDisplay, "volumes"),
    Row("PATCH", "/volumes/{id}/display", slices.SetDisplay, "volumes"),
    Row("GET", "/volumes/{id}/rendering", threed.GetVolumeRendering, "volumes"),
    Row("PATCH", "/volumes/{id}/rendering", threed.SetVolumeRendering, "volumes"),
    Row("GET", "/threed", threed.GetThreeDView, "3D"),
    Row("PATCH", "/threed", threed.SetThreeDView, "3D"),
    Row("GET", "/threed/picture", threed.RenderThreeD, "3D", ("turn", threed.Turn), _LOOK),
    Row("GET", "/threed/model.gltf", threed.ExportThreeD, "3D", media_type="model/gltf+json"),
    Row("GET", "/camera", threed.GetCamera, "3D"),
    Row("PATCH", "/camera", threed.TurnCamera, "3D", ("turn", threed.Turn)),
    Row("GET", "/layout", layout.GetLayout, "scene"),
    Row("PUT", "/layout", layout.SetLayout, "scene"),
    Row("GET", "/screenshot", layout.Screenshot, "scene"),
    Row("GET", "/log", GetRequests, "server"),
)


def safe_routes(context: SlicerContext, table: tuple[Row, ...]) -> list[BaseRoute]:
    """The routes of a table, relative to ``PREFIX``; a path answers 405 to methods it has not."""
    by_path: dict[str, dict[str, Row]] = {}
    for row in table:
        by_path.setdefault(row.path, {})[row.method] = row
    return [Route(path, _endpoint(context, rows), methods=list(rows), name=path) for path, rows in by_path.items()]


def _endpoint(context: SlicerContext, rows: Mapping[str, Row]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        row = rows["GET" if request.method == "HEAD" else request.method]
        return await guarded(lambda: _answer(context, row, request))

    endpoint.__doc__ = next(iter(rows.values())).call.__doc__
    return endpoint


async def guarded(work: Callable[[], Awaitable[Response]]) -> Response:
    """The answer of ``work``, or that to its error as the first family words it."""
    try:
        return await work()
    except MicrotomeError as error:
        return errors.answer(error)
    except (ClientGone, ClientDisconnect):
        return Response(status_code=499)
    except Exception as error:  # noqa: BLE001 - the last line of defence: nothing of it reaches the client
        return errors.internal(error)


async def _answer(context: SlicerContext, row: Row, request: Request) -> Response:
    reads = request.method in {"GET", "HEAD"}
    given = _query(row, request) if reads else await _body(request)
    call = called(row, {**given, **request.path_params}, known=known_of(request) if reads else "")
    if isinstance(call, GetRequests):
        return told(request, await requests_of(context, request, call))
    return told(request, await context.scene.ask(call), row.media_type)


def called(row: Row, given: Mapping[str, object], *, known: str = "") -> Call[Any]:
    """The call of a row with these fields. Raises InvalidRequest for fields there are not, and wrong ones."""
    allowed = _fields(row.call) - set(row.fixed) - {"known"}
    fields: dict[str, object] = dict(given)
    if row.inner is not None:
        name, kind = row.inner
        inside = {each: fields.pop(each) for each in _fields(kind) & set(fields)}
        fields.setdefault(name, inside)
    if unknown := sorted(set(fields) - allowed):
        there = sorted(allowed - ({row.inner[0]} if row.inner else set())) + (
            sorted(_fields(row.inner[1])) if row.inner else []
        )
        raise InvalidRequest(
            f"There is no {unknown[0][:50]} here; there are {', '.join(there)}", parameter=unknown[0][:50]
        )
    fields.update(row.fixed)
    if known and "known" in _fields(row.call):
        fields["known"] = known
    try:
        return msgspec.convert(fields, row.call, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error).replace("`$.", "`"), parameter=_culprit(error)) from error


def told(request: Request, value: object, media_type: str = JSON) -> Response:
    """An answer of the scene as one of ours."""
    match value:
        case Picture(data=b""):
            return Response(status_code=304, headers={"etag": f'"{value.version}"', "cache-control": "no-cache"})
        case Picture():
            return whole(request, value.data, value.media_type, value.version)
        case bytes():
            return whole(request, value, media_type)
        case None:
            return Response(status_code=204)
        case _:
            return answered(request, value)


def _query(row: Row, request: Request) -> dict[str, object]:
    if len(request.query_params.multi_items()) > MAX_PARAMETERS:
        raise LimitExceeded(f"There are more than {MAX_PARAMETERS} parameters", limit="parameters")
    lists = _lists(row.call) | (frozenset[str]() if row.inner is None else _lists(row.inner[1]))
    found: dict[str, object] = {}
    for name, text in request.query_params.items():
        if name in _CREDENTIALS:
            continue
        if (read := _READ.get(name)) is not None:
            found[name] = read(text)
        elif name in lists:
            found[name] = text.split(",")[:64]
        else:
            found[name] = text
    return found


async def _body(request: Request) -> dict[str, object]:
    data = await body_of(request, SMALL_BODY)
    try:
        return msgspec.json.decode(data or b"{}", type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest("The body is no JSON object", parameter="body") from error


def _fields(kind: type[Any]) -> set[str]:
    return set(kind.__struct_fields__)


@lru_cache
def _lists(kind: type[Any]) -> frozenset[str]:
    """Fields that are lists, told in a query by commas."""
    return frozenset(each.name for each in msgspec.structs.fields(kind) if "tuple" in str(each.type))


def _culprit(error: msgspec.ValidationError) -> str:
    _, _, place = str(error).partition("`$.")
    return place.rstrip("`").split(".")[0].split("[")[0] or "body"
