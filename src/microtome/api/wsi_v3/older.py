"""The older spelling of the family, with the id in the path, and what is not FastAPI's: HEAD."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote_from_bytes, unquote_to_bytes

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_NAMES = r"info|thumbnail|label|macro|region|tile|download|icc_profile|storage|tilejson"
_SLIDE = re.compile(rf"/slides/(?!(?:{_NAMES})(?:/|$))([^/]+)(?:/((?:{_NAMES})(?:/.*)?))?".encode())
_ORIGIN = re.compile(rb"https?://[^/]*")
_CASE = re.compile(rb"/cases/(?!slides/?$)([^/]+)/slides/?")


class OlderSpelling:
    """ASGI middleware: ``/slides/{id}/info`` is ``/slides/info?slide_id={id}``, ``/cases/{id}/slides/`` likewise.

    The names of operations are no ids. HEAD is answered as GET is, without the body (RFC 9110 §9.3.2).
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    @property
    def routes(self) -> Sequence[BaseRoute]:
        """The routes behind it, for whoever lists them."""
        return getattr(self.app, "routes", ())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on the request as the routes know it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope = _respelled(scope)
        send = _within_the_server(send)
        if scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self.app({**scope, "method": "GET"}, receive, without_body)


def _within_the_server(send: Send) -> Send:
    """Redirects to a path: the router makes whole addresses of the Host header, which anyone may have sent."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 307:
            headers = [
                (name, _ORIGIN.sub(b"", value) if name == b"location" else value) for name, value in message["headers"]
            ]
            message = {**message, "headers": headers}
        await send(message)

    return sent


def _respelled(scope: Scope) -> Scope:
    root = scope.get("root_path", "").encode()
    path: bytes = (scope.get("raw_path") or scope["path"].encode()).removeprefix(root)
    query: bytes = scope["query_string"]
    if found := _SLIDE.fullmatch(path):
        slide_id, rest = found.groups()
        path = b"/slides" + (b"/" + rest if rest else b"")
        name = b"slide_id"
    elif found := _CASE.fullmatch(path):
        slide_id, path, name = found[1], b"/cases/slides/", b"case_id"
    else:
        return scope
    value = quote_from_bytes(unquote_to_bytes(slide_id), safe="").encode()
    query = name + b"=" + value + (b"&" + query if query else b"")
    whole = root + path
    return {
        **scope,
        "path": unquote_to_bytes(whole).decode("utf-8", "replace"),
        "raw_path": whole,
        "query_string": query,
    }
