"""Cross-origin requests (Fetch standard §3.3): the same headers on every answer, OPTIONS answered before anything else.

Credentials of browsers (cookies, logins of a proxy) cross origins only when the operator says so, and then only from
origins that are named; signed URLs and bearer tokens carry their authorisation themselves.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Headers = list[tuple[bytes, bytes]]

_VARY = (b"vary", b"origin, access-control-request-method, access-control-request-headers")
_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET,HEAD,OPTIONS"),
    (b"access-control-allow-headers", b"authorization,content-type"),
    (b"access-control-max-age", b"86400"),
]


class Cors:
    """Who may read answers from another origin: everybody when ``origins`` holds ``*``, else exactly those listed.

    ``credentials``: pages of listed origins may send them; those of ``*`` never (Fetch standard §3.3.5).
    """

    def __init__(self, origins: Iterable[str] = ("*",), *, credentials: bool = False) -> None:
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


class CorsMiddleware:
    """Puts ``Cors`` around an application."""

    def __init__(self, app: ASGIApp, cors: Cors) -> None:
        self.app = app
        self.cors = cors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer OPTIONS, add headers to the rest."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = self.cors.headers_for(dict(scope["headers"]).get(b"origin"))
        if scope["method"] == "OPTIONS":
            start = [*_PREFLIGHT, (b"content-length", b"0"), *headers]
            await send({"type": "http.response.start", "status": 200, "headers": start})
            await send({"type": "http.response.body", "body": b""})
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        await self.app(scope, receive, send_with_headers)
