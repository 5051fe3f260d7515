"""The applications of the family, below ``/slicer`` and ``/scene/v1``."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp

import microtome
from microtome.api import errors
from microtome.api.cors import Cors
from microtome.api.disconnect import ClientGone
from microtome.api.docs import Docs
from microtome.api.slicer import failures
from microtome.api.slicer.commands import COMMANDS
from microtome.api.slicer.context import JSON, Asked, Handler, SlicerContext, asked, encoded, whole
from microtome.api.slicer.description import described
from microtome.api.slicer.guard import Door, Guard
from microtome.api.slicer.own import OWN, own_routes
from microtome.api.slicer.safe import PREFIX, TABLE, safe_routes
from microtome.api.slicer.stream import ViewStreams
from microtome.api.slicer.system import system
from microtome.errors import InvalidRequest, MicrotomeError

SLICER = "/slicer"
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


def mount_slicer(
    app: FastAPI,
    context: SlicerContext,
    guard: Guard,
    cors: Cors,
    *,
    compatible: bool,
    safe: bool,
    page: Route | None,
    docs: Docs | None,
) -> None:
    """Add what there shall be of the scene. ``docs``: the pages about its routes, None for none.

    ``compatible``: ``/slicer``, and ``/system``, which clients of the original ask for to end it. ``safe``:
    ``/scene/v1``, and the ``page`` that needs it.
    """
    whole = Route("/system", _handled(context, system), methods=["DELETE"], name="system")

    def behind(routes: list[BaseRoute]) -> Door:
        inner = Starlette(routes=routes, exception_handlers={HTTPException: failures.of_http})
        inner.router.redirect_slashes = False
        return Door(inner, guard, cors, failures.refused)

    found: list[BaseRoute] = []
    if compatible:
        found += [_Family(SLICER, behind(slicer_routes(context))), Route("/system", behind([whole]))]
    if safe:
        routes = [*safe_routes(context, TABLE), *_others(context, docs)]
        inner = Starlette(routes=routes, exception_handlers={HTTPException: _no_route})
        inner.router.redirect_slashes = False
        found += [_Family(PREFIX, Door(inner, guard, cors, _refused)), *([] if page is None else [page])]
    app.router.routes[:0] = found


async def _no_route(_: Request, error: Exception) -> Response:
    """Paths and methods of ours there are not."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    code, what = ("method_not_allowed", "method here") if error.status_code == 405 else ("not_found", "route")
    response = errors.refusal(error.status_code, code, f"There is no such {what}; see {PREFIX}/openapi.json")
    response.headers.update(error.headers or {})
    return response


class _Family(Mount):
    """All paths below one; Starlette leaves those with line breaks to others."""

    def __init__(self, path: str, app: ASGIApp) -> None:
        super().__init__(path, app)
        self.path_regex = re.compile(self.path_regex.pattern, re.DOTALL)


def _others(context: SlicerContext, docs: Docs | None) -> list[BaseRoute]:
    """What of ``/scene/v1`` is no question and answer."""
    document = encoded(described(TABLE, OWN, microtome.__version__))

    async def openapi(request: Request) -> Response:
        """The description of the routes."""
        return whole(request, document, JSON)

    return [
        *own_routes(context),
        Route("/openapi.json", openapi),
        *([] if docs is None else [_documentation(docs)]),
        WebSocketRoute("/views/{view}/stream", ViewStreams(context).serve),
    ]


def _documentation(docs: Docs) -> Route:
    async def page(_: Request) -> Response:
        """The description for people."""
        return docs.page(PREFIX)

    return Route("/docs", page)


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
