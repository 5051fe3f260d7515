"""The login of the v3 API in front of everything else: who configures one means all slides, not only those of v3."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Container, Iterable
from urllib.parse import unquote_to_bytes

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from microtome.api import errors
from microtome.api.cors import Cors
from microtome.api.deidentified import without_identities
from microtome.api.raw import raw_path
from microtome.auth.policy import AccessPolicy, Principal
from microtome.errors import Forbidden, MicrotomeError, NotFound, Unauthenticated

VISIBLE = "microtome.visible"
"""Where a listing finds, in the scope, the function that keeps of ids those the caller may see."""
Visible = Callable[[Iterable[str]], Awaitable[list[str]]]
PRINCIPAL = "microtome.principal"
"""Where, in the scope, it is said who the caller is."""

_OPEN = re.compile(
    rb"/(?:|alive|health|docs(?:/.*)?|openapi\.json|validation_viewer|static/.*|v3(?:/.*)?"
    rb"|browse(?:/.*)?|studies(?:/names\.json)?|admin/dicom)",
    re.DOTALL,
)
"""Paths that tell nothing of any slide, and those of v3, which asks for the login itself."""
_SLIDE = re.compile(rb"/(?:slides|tiles|view)/([^/]+)(?:/.*)?", re.DOTALL)


class LoginGate:
    """ASGI middleware: 401 without the login of the policy, 404 for slides it does not show to the caller.

    ``hides`` tells of callers who see no identities, and so DICOMweb only: 403 for them elsewhere.
    """

    def __init__(
        self, app: ASGIApp, policy: AccessPolicy, cors: Cors, hides: Callable[[Principal], bool] | None = None
    ) -> None:
        self.app = app
        self._policy = policy
        self._cors = cors
        self._hides = hides

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may be passed on."""
        path = raw_path(scope) if scope["type"] == "http" else b""
        if scope["type"] == "lifespan" or (path and scope["method"] == "OPTIONS"):
            await self.app(scope, receive, send)
            return
        try:
            inner = await (self._opened if _OPEN.fullmatch(path) else self._checked)(scope, path)
        except MicrotomeError as error:
            response = errors.answer(error)
            if isinstance(error, Unauthenticated):
                response.headers["www-authenticate"] = error.challenge or "Bearer"
            origin = Headers(scope=scope).get("origin")
            response.raw_headers += self._cors.headers_for(None if origin is None else origin.encode("latin-1"))
            await response(scope, receive, send)
            return
        await self.app(inner, receive, send)

    async def _opened(self, scope: Scope, _: bytes) -> Scope:
        """What needs no login, unless one is brought that says that its caller sees no identities."""
        if self._hides is None or "authorization" not in Headers(scope=scope):
            return scope
        try:
            principal = await self._policy.authenticate(Headers(scope=scope))
        except MicrotomeError:
            return scope
        return without_identities(scope) if self._hides(principal) else scope

    async def _checked(self, scope: Scope, path: bytes) -> Scope:
        principal = await self._policy.authenticate(Headers(scope=scope))
        if self._hides is not None and self._hides(principal):
            scope = without_identities(scope)
        if found := _SLIDE.fullmatch(path):
            slide_id = unquote_to_bytes(found[1]).decode("utf-8", "replace")
            if not await self._policy.allows(principal, slide_id):
                raise NotFound("slide", slide_id)

        async def visible(ids: Iterable[str]) -> list[str]:
            return await self._policy.visible(principal, ids)

        return {**scope, VISIBLE: visible, PRINCIPAL: principal}


def principal_of(request: Request) -> Principal | None:
    """Who the caller is; None where nobody logs in."""
    return request.scope.get(PRINCIPAL)


def check_admin(request: Request, admins: Container[str]) -> None:
    """Raise Forbidden for all whose subjects are not among ``admins``."""
    who = principal_of(request)
    if who is None or not who.subject or who.subject not in admins:
        raise Forbidden("Only administrators see this; the setting `admins` names them by the sub of their token")


async def visible_to(request: Request, ids: list[str]) -> list[str]:
    """Those of ``ids`` that the caller may see: all where nobody logs in."""
    visible: Visible | None = request.scope.get(VISIBLE)
    return ids if visible is None else await visible(ids)
