"""Who sees no identities has DICOMweb and nothing else: ids of slides are names of files, labels show names.

What is let through is listed, so that a new family is closed to them until somebody has thought about it.
"""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from microtome.api import errors
from microtome.api.cors import Cors
from microtome.api.raw import raw_path
from microtome.errors import Forbidden

DEIDENTIFIED = "microtome.deidentified"
"""In the scope of a request whose caller sees no identities: True."""
_LET_THROUGH = re.compile(
    rb"/(?:|alive|health|docs(?:/.*)?|openapi\.json|static/.*|browse(?:/.*)?|studies(?:/names\.json)?"
    rb"|dicom/?|dicom/(?:studies|series|instances)(?:/.*)?)",
    re.DOTALL,
)
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


def without_identities(scope: Scope) -> Scope:
    """The scope of a caller who sees no identities. Raises Forbidden for all that is not DICOMweb, and for storing."""
    if scope["type"] != "http" or scope["method"] not in _READING or not _LET_THROUGH.fullmatch(raw_path(scope)):
        raise Forbidden("You see data without identities: through DICOMweb (/dicom), and for reading only")
    return {**scope, DEIDENTIFIED: True}


def hides_identities(request: Request) -> bool:
    """Whether the caller sees no identities."""
    return request.scope.get(DEIDENTIFIED, False)


class OnlyDicomweb:
    """ASGI middleware: nobody sees identities."""

    def __init__(self, app: ASGIApp, cors: Cors) -> None:
        self.app = app
        self._cors = cors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may be passed on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        try:
            inner = without_identities(scope)
        except Forbidden as error:
            await refuse(scope, receive, send, error, self._cors)
            return
        await self.app(inner, receive, send)


async def refuse(scope: Scope, receive: Receive, send: Send, error: Forbidden, cors: Cors) -> None:
    """403, which pages of other origins may read."""
    if scope["type"] != "http":
        await send({"type": "websocket.close", "code": 1008})
        return
    response = errors.answer(error)
    origin = Headers(scope=scope).get("origin")
    response.raw_headers += cors.headers_for(None if origin is None else origin.encode("latin-1"))
    await response(scope, receive, send)
