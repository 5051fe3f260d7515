"""The application of the family, below ``/dicom``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from microtome.api import errors
from microtome.api.dicomweb.context import ROOT, DicomwebContext
from microtome.api.dicomweb.qido import Qido
from microtome.api.dicomweb.rendered import Rendered
from microtome.api.dicomweb.stow import Stow
from microtome.api.dicomweb.uri import WadoUri
from microtome.api.dicomweb.wado import Wado
from microtome.api.disconnect import ClientGone
from microtome.errors import MicrotomeError, Unauthenticated

Handler = Callable[[Request], Awaitable[Response]]
_STUDY = "/studies/{study}"
_SERIES = _STUDY + "/series/{series}"
_INSTANCE = _SERIES + "/instances/{instance}"


def mount_dicomweb(app: FastAPI, context: DicomwebContext) -> None:
    """Add ``/dicom`` to an application."""
    inner = Starlette(routes=routes(context))
    inner.router.redirect_slashes = False
    inner.add_exception_handler(MicrotomeError, _ours)
    inner.add_exception_handler(ClientGone, _gone)
    inner.add_exception_handler(HTTPException, _plain)
    inner.add_exception_handler(Exception, _internal)
    mounted = Mount(ROOT, inner)

    async def without_slash(scope: Scope, receive: Receive, send: Send) -> None:
        """``/dicom?requestType=WADO``: Starlette mounts begin with the slash behind their path."""
        _, below = mounted.matches({**scope, "path": scope["path"] + "/"})
        await inner({**scope, **below, "path": scope["path"] + "/"}, receive, send)

    app.router.routes.insert(0, mounted)
    app.router.routes.insert(0, Route(ROOT, _Whole(without_slash)))


class _Whole:
    """The object that parameters name, as DICOM or as a picture."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def routes(context: DicomwebContext) -> list[Route]:
    """Every path; HEAD is answered as GET is (Starlette adds it)."""
    qido, wado, rendered = Qido(context), Wado(context), Rendered(context)
    uri = WadoUri(context, wado, rendered)
    found: list[tuple[str, Handler]] = [
        ("/studies", qido.studies),
        ("/series", qido.series),
        ("/instances", qido.instances),
        (_STUDY + "/series", qido.series),
        (_STUDY + "/instances", qido.instances),
        (_SERIES + "/instances", qido.instances),
        *((level + "/metadata", wado.metadata) for level in (_STUDY, _SERIES, _INSTANCE)),
        *((level, wado.instances) for level in (_STUDY, _SERIES, _INSTANCE)),
        (_INSTANCE + "/frames/{frames}", wado.frames),
        (_INSTANCE + "/bulk/{path:path}", wado.bulk),
        *(
            (level + kind, handler)
            for level in (_STUDY, _SERIES, _INSTANCE, _INSTANCE + "/frames/{frames}")
            for kind, handler in (("/rendered", rendered.rendered), ("/thumbnail", rendered.thumbnail))
        ),
        ("/", uri.retrieve),
    ]
    stored: list[tuple[str, Handler]] = []
    if context.receiver is not None and context.store is not None:
        stow = Stow(context, context.store, context.receiver)
        stored = [("/studies", stow.store), (_STUDY, stow.store)]
    posts = dict(stored)
    return [
        Route(path, _by_method(handler, posts.get(path)), methods=["GET", "POST"] if path in posts else ["GET"])
        for path, handler in found
    ]


def _by_method(get: Handler, post: Handler | None) -> Handler:
    """One handler of a path; what GET says of itself stands for both."""
    if post is None:
        return get

    async def either(request: Request) -> Response:
        return await (post if request.method == "POST" else get)(request)

    either.__doc__ = get.__doc__
    return either


async def _ours(_: Request, error: Exception) -> Response:
    assert isinstance(error, MicrotomeError)  # noqa: S101 - registered for this class
    response = errors.answer(error)
    if isinstance(error, Unauthenticated):
        response.headers["www-authenticate"] = error.challenge or "Bearer"
    return response


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=499)


async def _plain(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    return Response(status_code=error.status_code, headers=dict(error.headers or {}))


async def _internal(_: Request, error: Exception) -> Response:
    return errors.internal(error)
