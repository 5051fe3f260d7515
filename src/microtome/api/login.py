"""The login of the v3 API in front of everything else: who configures one means all slides, not only those of v3."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import unquote_to_bytes

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from microtome.api import errors
from microtome.api.cors import Cors
from microtome.api.raw import raw_path
from microtome.auth.policy import AccessPolicy
from microtome.errors import MicrotomeError, NotFound, Unauthenticated

VISIBLE = "microtome.visible"
"""Where a listing finds, in the scope, the function that keeps of ids those the caller may see."""
Visible = Callable[[Iterable[str]], Awaitable[list[str]]]

_OPEN = re.compile(rb"/(?:|alive|health|docs(?:/.*)?|openapi\.json|validation_viewer|static/.*|v3(?:/.*)?)", re.DOTALL)
"""Paths that tell nothing of any slide, and those of v3, which asks for the login itself."""
_SLIDE = re.compile(rb"/(?:slides|tiles|view)/([^/]+)(?:/.*)?", re.DOTALL)


class LoginGate:
    """ASGI middleware: 401 without the login of the policy, 404 for slides it does not show to the caller."""

    def __init__(self, app: ASGIApp, policy: AccessPolicy, cors: Cors) -> None:
        self.app = app
        self._policy = policy
        self._cors = cors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may be passed on."""
        path = raw_path(scope) if scope["type"] == "http" else b""
        if scope["type"] == "lifespan" or (path and (scope["method"] == "OPTIONS" or _OPEN.fullmatch(path))):
            await self.app(scope, receive, send)
            return
        try:
            visible = await self._checked(scope, path)
        except MicrotomeError as error:
            response = errors.answer(error)
            if isinstance(error, Unauthenticated):
                response.headers["www-authenticate"] = error.challenge or "Bearer"
            origin = Headers(scope=scope).get("origin")
            response.raw_headers += self._cors.headers_for(None if origin is None else origin.encode("latin-1"))
            await response(scope, receive, send)
            return
        await self.app({**scope, VISIBLE: visible}, receive, send)

    async def _checked(self, scope: Scope, path: bytes) -> Visible:
        principal = await self._policy.authenticate(Headers(scope=scope))
        if found := _SLIDE.fullmatch(path):
            slide_id = unquote_to_bytes(found[1]).decode("utf-8", "replace")
            if not await self._policy.allows(principal, slide_id):
                raise NotFound("slide", slide_id)

        async def visible(ids: Iterable[str]) -> list[str]:
            return await self._policy.visible(principal, ids)

        return visible


async def visible_to(request: Request, ids: list[str]) -> list[str]:
    """Those of ``ids`` that the caller may see: all where nobody logs in."""
    visible: Visible | None = request.scope.get(VISIBLE)
    return ids if visible is None else await visible(ids)
