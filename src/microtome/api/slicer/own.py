"""Routes of ``/scene/v1`` whose bodies or answers are files, streams and scripts: each has a function of its own.

The table is what they are mounted from, and what they are described from, as that of ``safe`` is for all others.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from microtome.api.slicer.context import SlicerContext, answered
from microtome.api.slicer.events import EventStreams
from microtome.api.slicer.safe import guarded
from microtome.api.slicer.scripts import script
from microtome.api.slicer.sources import RegionAsked, SeriesAsked, load_region, load_series
from microtome.api.slicer.uploads import Download, Upload, download_node, download_scene, download_text, load_upload
from microtome.scene.calls.files import Loaded

Handler = Callable[[Any, Request], Awaitable[Response]]
"""Of the context of the family, or of the streams of events."""
ANY = "application/octet-stream"


class ScriptAnswer(msgspec.Struct, frozen=True):
    """``result``: what the script left in ``__execResult``. ``output``: what it printed, its end if that is much."""

    result: Any
    output: str


class LastEvent(msgspec.Struct, frozen=True, rename="kebab"):
    """Headers of a client that comes back."""

    last_event_id: Annotated[str, msgspec.Meta(description="Id of the last event that was received")] = ""


@dataclass(frozen=True, slots=True)
class Own:
    """A route. ``query``, ``headers``: structures of the parameters; ``more``: what parameters of other names are.

    ``body``: a structure (JSON), or the type of the bytes. ``answer``: a structure, or types of the bytes.
    """

    method: str
    path: str
    handler: Handler
    tag: str
    answer: type[Any] | tuple[str, ...]
    query: type[Any] | None = None
    headers: type[Any] | None = None
    more: str = ""
    body: type[Any] | str | None = None


async def _run(context: SlicerContext, request: Request) -> Response:
    """Run a Python script in the scene.

    The body is the script; what it leaves in `__execResult` is the result. Off unless the operator turns it on, and
    only for who has the token of the scene (Authorization: Bearer, or X-Scene-Token), over TLS or on the same machine.
    """
    found = await script(context, request)
    return answered(request, ScriptAnswer(json.loads(found.result), found.output))


OWN: tuple[Own, ...] = (
    Own("POST", "/files", load_upload, "files", Loaded, Upload,
        more="Properties of the reader: labelmap, center, singleFile, show, coordinateSystem, clear ...", body=ANY),
    Own("GET", "/nodes/{id}/file", download_node, "files", (ANY, "application/json", "application/gzip", "text/csv",
        "text/plain", "text/tab-separated-values", "model/stl", "model/obj", "model/gltf-binary"), Download,
        more="Properties of the writer: useCompression, fileFormat, coordinateSystem"),
    Own("GET", "/scene.mrb", download_scene, "files", ("application/x-slicer-mrb",)),
    Own("GET", "/scene.mrml", download_text, "files", ("application/x-slicer-mrml",)),
    Own("POST", "/volumes/region", load_region, "volumes", Loaded, body=RegionAsked),
    Own("POST", "/volumes/series", load_series, "volumes", Loaded, body=SeriesAsked),
    Own("GET", "/events", EventStreams.answer, "scene", ("text/event-stream",), headers=LastEvent),
    Own("POST", "/exec", _run, "scene", ScriptAnswer, body="text/x-python"),
)  # fmt: skip


def own_routes(context: SlicerContext) -> list[BaseRoute]:
    """The routes of the table, relative to ``PREFIX``."""
    streams = EventStreams(context)
    return [_route(streams if row.handler is EventStreams.answer else context, row) for row in OWN]


def _route(served: SlicerContext | EventStreams, row: Own) -> Route:
    async def endpoint(request: Request) -> Response:
        return await guarded(lambda: row.handler(served, request))

    endpoint.__doc__ = row.handler.__doc__
    return Route(row.path, endpoint, methods=[row.method], name=row.path)
