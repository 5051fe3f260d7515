"""The applications of the family, below ``/slicer`` and ``/scene/v1``."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

import microtome
from microtome.api import errors
from microtome.api.cors import Cors
from microtome.api.disconnect import ClientGone
from microtome.api.slicer import failures
from microtome.api.slicer.commands import COMMANDS
from microtome.api.slicer.context import JSON, Asked, Handler, SlicerContext, answered, asked, encoded, whole
from microtome.api.slicer.description import described
from microtome.api.slicer.events import EventStreams
from microtome.api.slicer.guard import Door, Guard
from microtome.api.slicer.safe import PREFIX, TABLE, guarded, safe_routes
from microtome.api.slicer.scripts import script
from microtome.api.slicer.sources import load_region, load_series
from microtome.api.slicer.stream import stream_view
from microtome.api.slicer.system import system
from microtome.api.slicer.uploads import download_node, download_scene, load_upload
from microtome.errors import InvalidRequest, MicrotomeError

SLICER = "/slicer"
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


def mount_slicer(app: FastAPI, context: SlicerContext, guard: Guard, cors: Cors, page: Route) -> None:
    """Add ``/slicer`` and ``/scene``, and ``/system``, which clients of the original ask for to end it."""
    whole = Route("/system", _handled(context, system), methods=["DELETE"], name="system")

    def behind(routes: list[BaseRoute]) -> Door:
        inner = Starlette(routes=routes, exception_handlers={HTTPException: failures.of_http})
        inner.router.redirect_slashes = False
        return Door(inner, guard, cors, failures.refused)

    safe = Starlette(routes=[*safe_routes(context, TABLE), *_others(context)])
    safe.router.redirect_slashes = False
    app.router.routes[:0] = [
        Mount(SLICER, behind(slicer_routes(context))),
        Route("/system", behind([whole])),
        Mount(PREFIX, Door(safe, guard, cors, _refused)),
        page,
    ]


def _others(context: SlicerContext) -> list[BaseRoute]:
    """What of ``/scene/v1`` is no question and answer."""
    streams = EventStreams(context)
    document = encoded(described(TABLE, microtome.__version__))

    async def openapi(request: Request) -> Response:
        """The description of the routes."""
        return whole(request, document, JSON)

    async def stream(socket: WebSocket) -> None:
        """A view as pictures over a websocket, as fast as they are taken."""
        await stream_view(context, socket, socket.path_params["view"])

    async def events(request: Request) -> Response:
        """What happens in the scene, as server-sent events."""
        return await guarded(lambda: streams.answer(request))

    async def exec_(request: Request) -> Response:
        """Run a script: its result and what it printed."""

        async def run() -> Response:
            found = await script(context, request)
            return answered(request, {"result": json.loads(found.result), "output": found.output})

        return await guarded(run)

    async def files(request: Request) -> Response:
        """Load the file in the body."""
        return await guarded(lambda: load_upload(context, request))

    async def region(request: Request) -> Response:
        """Load a rectangle of a slide."""
        return await guarded(lambda: load_region(context, request))

    async def series(request: Request) -> Response:
        """Load a series of the DICOM index."""
        return await guarded(lambda: load_series(context, request))

    async def node_file(request: Request) -> Response:
        """A node as a file."""
        return await guarded(lambda: download_node(context, request))

    async def bundle(request: Request) -> Response:
        """The whole scene as a bundle."""
        return await guarded(lambda: download_scene(context))

    return [
        Route("/files", files, methods=["POST"]),
        Route("/volumes/region", region, methods=["POST"]),
        Route("/volumes/series", series, methods=["POST"]),
        Route("/nodes/{id}/file", node_file),
        Route("/scene.mrb", bundle),
        Route("/openapi.json", openapi),
        Route("/events", events),
        Route("/exec", exec_, methods=["POST"]),
        WebSocketRoute("/views/{view}/stream", stream),
    ]


async def _refused(error: MicrotomeError) -> Response:
    return errors.answer(error)


def slicer_routes(context: SlicerContext) -> list[BaseRoute]:
    """One route for each command, with whatever follows it in the path, as the original has it."""
    commands = sorted(COMMANDS.items(), key=lambda pair: -len(pair[0]))
    found = [
        Route(f"{path}{{rest:path}}", _handled(context, handler), methods=_METHODS, name=path[1:])
        for path, handler in commands
    ]
    return [*found, Route("/{rest:path}", _handled(context, _unknown), methods=_METHODS, name="unknown")]


def _handled(context: SlicerContext, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        try:
            return await handler(context, asked(request))
        except MicrotomeError as error:
            return await failures.refused(error)
        except (ClientGone, ClientDisconnect):
            return Response(status_code=499)
        except Exception as error:  # noqa: BLE001 - the last line of defence: nothing of it reaches the client
            return failures.failed(errors.incident(error))

    handle.__doc__ = handler.__doc__
    return handle


async def _unknown(_: SlicerContext, asked: Asked) -> Response:
    """Commands there are not."""
    raise InvalidRequest(f'unknown command "{("/" + asked.rest.lstrip("/")).encode()[:200]!r}"', parameter="path")
