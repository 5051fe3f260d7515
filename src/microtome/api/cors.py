"""Cross-origin requests (Fetch standard §3.3): the same headers on every answer, OPTIONS answered before anything else.

Credentials of browsers (cookies, logins of a proxy) cross origins only when the operator says so, and then only from
origins that are named; signed URLs and bearer tokens carry their authorisation themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from microtome.api.raw import raw_path

Headers = list[tuple[bytes, bytes]]

_VARY = (b"vary", b"origin, access-control-request-method, access-control-request-headers")
_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET,HEAD,OPTIONS"),
    (b"access-control-allow-headers", b"authorization,content-type"),
    (b"access-control-max-age", b"86400"),
]
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_MOST_NAMES = 40
_EXPOSED = (
    b"access-control-expose-headers",
    b"content-disposition,content-location,content-range,etag,location,retry-after,vary,warning,www-authenticate",
)
"""What pages may read of answers of families that take more than GET."""


class Cors:
    """Who may read answers from another origin: everybody when ``origins`` holds ``*``, else exactly those listed.

    ``credentials``: pages of listed origins may send them; those of ``*`` never (Fetch standard §3.3.5).
    ``families``: paths below which more than GET is possible, and their methods: {"/dicom": "GET,HEAD,POST,OPTIONS"}.
    Pages may send any header there, and read more of the answers; OPTIONS that is no preflight is theirs to answer.
    ``apart``: paths whose application answers for itself.
    """

    def __init__(
        self,
        origins: Iterable[str] = ("*",),
        *,
        credentials: bool = False,
        families: Mapping[str, str] | None = None,
        apart: Iterable[str] = (),
    ) -> None:
        self._apart = frozenset(path.encode() for path in apart)
        self._families = {path.encode(): methods.encode() for path, methods in (families or {}).items()}
        self._origins = frozenset(origin.encode("latin-1", "replace") for origin in origins)
        self.any_origin = b"*" in self._origins
        self._credentials: Headers = [(b"access-control-allow-credentials", b"true")] if credentials else []

    def headers_for(self, origin: bytes | None) -> Headers:
        """The headers of an answer to a request with this Origin header."""
        if self.any_origin:
            return [_VARY, (b"access-control-allow-origin", b"*")]
        if origin is not None and origin in self._origins:
            return [_VARY, (b"access-control-allow-origin", origin), *self._credentials]
        return [_VARY]

    def wide_headers_for(self, origin: bytes | None) -> Headers:
        """The same where more than GET is possible: pages may read more of the answers."""
        return [*self.headers_for(origin), _EXPOSED]

    def preflight(self, sent: Mapping[bytes, bytes], methods: bytes) -> Headers:
        """What a preflight with these headers is told where there are these methods."""
        return _wider(methods, sent)

    def is_apart(self, scope: Scope) -> bool:
        """Whether the application of a path answers for itself."""
        return bool(self._apart) and b"/" + raw_path(scope)[1:].partition(b"/")[0] in self._apart

    def family(self, scope: Scope) -> bytes | None:
        """The methods of the family that a path belongs to; None for paths that belong to none."""
        if not self._families:
            return None
        return self._families.get(b"/" + raw_path(scope)[1:].partition(b"/")[0])


class CorsMiddleware:
    """Puts ``Cors`` around an application."""

    def __init__(self, app: ASGIApp, cors: Cors) -> None:
        self.app = app
        self.cors = cors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer OPTIONS, add headers to the rest."""
        if scope["type"] != "http" or self.cors.is_apart(scope):
            await self.app(scope, receive, send)
            return
        sent = dict(scope["headers"])
        headers = self.cors.headers_for(sent.get(b"origin"))
        family = self.cors.family(scope)
        if family is not None:
            headers = [*headers, _EXPOSED]
        if scope["method"] == "OPTIONS" and (family is None or b"access-control-request-method" in sent):
            preflight = _PREFLIGHT if family is None else _wider(family, sent)
            start = [*preflight, (b"content-length", b"0"), *headers]
            await send({"type": "http.response.start", "status": 200, "headers": start})
            await send({"type": "http.response.body", "body": b""})
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        await self.app(scope, receive, send_with_headers)


def _wider(methods: bytes, sent: Mapping[bytes, bytes]) -> Headers:
    """The answer of a family to a preflight: whichever headers a page wants to send."""
    wanted = [each.strip().lower() for each in sent.get(b"access-control-request-headers", b"").split(b",")]
    names = [each for each in wanted[:_MOST_NAMES] if _TOKEN.fullmatch(each)]
    usual = [b"accept", b"authorization", b"content-type"]
    allowed = (b"access-control-allow-headers", b",".join(dict.fromkeys([*usual, *names])))
    return [(b"access-control-allow-methods", methods), allowed, (b"access-control-max-age", b"86400")]
