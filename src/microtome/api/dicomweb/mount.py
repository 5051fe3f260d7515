"""The application of the family, below ``/dicom``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from functools import partial
from typing import cast

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from microtome.api import errors
from microtome.api.deidentified import hides_identities
from microtome.api.dicomweb.capabilities import Capabilities
from microtome.api.dicomweb.context import ROOT, DicomwebContext
from microtome.api.dicomweb.qido import Qido
from microtome.api.dicomweb.rendered import Rendered
from microtome.api.dicomweb.short import ShortWay
from microtome.api.dicomweb.stow import Stow
from microtome.api.dicomweb.uri import WadoUri
from microtome.api.dicomweb.wado import Wado
from microtome.api.disconnect import ClientGone
from microtome.errors import MicrotomeError, Unauthenticated

Handler = Callable[[Request], Awaitable[Response]]
_EVERY = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_STUDY = "/studies/{study}"
_SERIES = _STUDY + "/series/{series}"
_INSTANCE = _SERIES + "/instances/{instance}"


def mount_dicomweb(app: FastAPI, context: DicomwebContext) -> None:
    """Add ``/dicom`` to an application."""
    every = routes(context)
    inner = Starlette(routes=every)
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

    # Inside of all other middleware: login and CORS are theirs.
    app.user_middleware.append(Middleware(ShortWay, routes=every, failed=_failed))
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
    found = _reading(context)
    if context.deidentified is not None:
        # Handlers of their own, and so caches of their own: nothing plain can get into an answer without identities.
        others = _reading(context.deidentified)
        found = {path: _by_identity(plain, others[path]) for path, plain in found.items()}
    stored: list[tuple[str, Handler]] = []
    if context.receiver is not None and context.store is not None:
        stow = Stow(context, context.store, context.receiver)
        stored = [("/studies", stow.store), (_STUDY, stow.store)]
    posts = dict(stored)
    methods = {path: ("GET", "HEAD", *(["POST"] if path in posts else []), "OPTIONS") for path in found}
    capabilities = Capabilities(context, methods)
    found["/"] = capabilities.or_else(found["/"])
    listed = [
        Route(path, _by_method(get, posts.get(path), capabilities.options(path)), methods=list(methods[path]))
        for path, get in found.items()
    ]
    worklist = _worklist(context)
    return [*listed, *(Route(path, worklist, methods=_EVERY) for path in ("/workitems", "/workitems/{path:path}"))]


def _reading(context: DicomwebContext) -> dict[str, Handler]:
    """What GET gives, by path."""
    qido, wado, rendered = Qido(context), Wado(context), Rendered(context)
    hidden = context.deidentified
    anonymous = None if hidden is None else WadoUri(hidden, Wado(hidden), Rendered(hidden))
    uri = WadoUri(context, wado, rendered, anonymous)
    return dict([
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
    ])  # fmt: skip


def _by_identity(plain: Handler, hidden: Handler) -> Handler:
    """One handler of a path; who sees no identities has another one."""

    async def either(request: Request) -> Response:
        return await (hidden if hides_identities(request) else plain)(request)

    either.__doc__ = plain.__doc__
    return either


def _by_method(get: Handler, post: Handler | None, options: Handler) -> Handler:
    """One handler of a path; what GET says of itself stands for all."""
    others: Mapping[str, Handler] = {
        "HEAD": partial(_head, get),
        "OPTIONS": options,
        **({} if post is None else {"POST": post}),
    }

    async def any_of(request: Request) -> Response:
        return await others.get(request.method, get)(request)

    any_of.__doc__ = get.__doc__
    return any_of


async def _head(get: Handler, request: Request) -> Response:
    """What GET would say, without reading what it would send."""
    response = await get(request)
    if not isinstance(response, StreamingResponse):
        return response
    await cast("AsyncGenerator[bytes]", response.body_iterator).aclose()
    bare = Response(status_code=response.status_code)
    bare.raw_headers = response.raw_headers
    return bare


def _worklist(context: DicomwebContext) -> Handler:
    async def worklist(request: Request) -> Response:
        """Worklists (UPS-RS, PS3.18 §11) are not implemented: always 501."""
        context.authorise(request)
        return errors.refusal(
            501, "not_implemented", "This server keeps no worklists (UPS-RS); it searches, retrieves and stores"
        )

    return worklist


async def _failed(request: Request, error: Exception) -> Response:
    """The answer to whatever a handler raises."""
    for kind, answer in ((MicrotomeError, _ours), (ClientGone, _gone), (HTTPException, _plain)):
        if isinstance(error, kind):
            return await answer(request, error)
    return await _internal(request, error)


async def _ours(_: Request, error: Exception) -> Response:
    assert isinstance(error, MicrotomeError)  # noqa: S101 - registered for this class
    response = errors.answer(error)
    if isinstance(error, Unauthenticated):
        response.headers["www-authenticate"] = error.challenge or "Bearer"
    return response


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=499)


async def _plain(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    if error.status_code != 405:
        return Response(status_code=error.status_code, headers=dict(error.headers or {}))
    what = "Nothing is deleted through DICOMweb" if request.method == "DELETE" else "The path has no such method"
    response = errors.refusal(405, "method_not_allowed", f"{what}; see Allow for those it has")
    response.headers.update(error.headers or {})
    return response


async def _internal(_: Request, error: Exception) -> Response:
    return errors.internal(error)
