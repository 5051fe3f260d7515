"""The applications of the family: ``/v3``, and what stands beside it at the root."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable

from fastapi import FastAPI
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from microtome.api.disconnect import ClientGone
from microtome.api.wsi_v3 import batch, cases, download, errors, slides, vector
from microtome.api.wsi_v3.context import V3Context
from microtome.api.wsi_v3.express import ShortWay
from microtome.api.wsi_v3.older import OlderSpelling
from microtome.api.wsi_v3.pages import PageOptions, mount_pages
from microtome.errors import MicrotomeError

Handler = Callable[[Request, Exception], Awaitable[Response]]


def mount_wsi_v3(app: FastAPI, context: V3Context, pages: PageOptions) -> None:
    """Add ``/v3``, ``/alive`` and the pages of the family to an application that has all its other routes."""
    v3 = FastAPI(
        title=context.title,
        description=context.description,
        version=context.version,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if pages.schema else None,
    )

    v3.state.context = context
    for each in (
        slides.router(context),
        vector.router(context),
        download.router(context),
        batch.router(context, "/files"),
        batch.router(context, "/batch"),
        *([cases.router(context)] if context.local_routes else []),
    ):
        v3.include_router(each)
    _answer_errors(v3)
    mounted = Mount("/v3", OlderSpelling(ShortWay(v3, context)))
    mounted.path_regex = re.compile("^/v3/(?P<path>.*)$", re.DOTALL)  # what looks like an id may hold line breaks
    app.router.routes.insert(0, mounted)
    app.router.routes.insert(0, Route("/alive", _alive(context), methods=["GET", "HEAD"]))
    mount_pages(app, v3, context, pages)


def _alive(context: V3Context) -> Callable[[Request], Awaitable[Response]]:
    async def alive(_: Request) -> Response:
        """Whether the server answers, and which formats it reads."""
        plugins = [
            {"name": name, "version": version, "priority": priority}
            for name, version, priority in sorted(context.plugins())
        ]
        body = {"status": "ok", "version": context.version, "message": None, "plugins": plugins}
        return Response(json.dumps(body, separators=(",", ":")), media_type="application/json")

    return alive


def _answer_errors(app: FastAPI) -> None:
    async def ours(_: Request, error: Exception) -> Response:
        assert isinstance(error, MicrotomeError)  # noqa: S101 - registered for this class
        return errors.answer(error)

    async def gone(_: Request, __: Exception) -> Response:
        return Response(status_code=499)

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
        return errors.detail(jsonable_encoder(error.errors()), 422)

    async def unprocessable(_: Request, error: Exception) -> Response:
        return (
            errors.detail([error.detail], 422) if isinstance(error, slides.Unprocessable) else Response(status_code=422)
        )

    async def plain(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["allow"] = "GET, HEAD"
        return errors.detail(error.detail, error.status_code, headers)

    async def internal(_: Request, error: Exception) -> Response:
        return errors.internal(error)

    handlers: dict[type[Exception], Handler] = {
        MicrotomeError: ours,
        ClientGone: gone,
        RequestValidationError: invalid,
        slides.Unprocessable: unprocessable,
        HTTPException: plain,
        Exception: internal,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
