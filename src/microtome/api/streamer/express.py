"""Tiles of this family on short ways: below ASGI when they need no waiting, below the framework when they do.

Both ways understand plain tile requests only, and leave everything unusual, and every error, to the ordinary way.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

from microtome.api.disconnect import ClientGone, unless_gone
from microtome.api.express.prepared import Prepared
from microtome.api.streamer.context import StreamerContext
from microtome.api.streamer.image import image_headers, not_modified_headers, quoted
from microtome.auth.base import Grant
from microtome.errors import MicrotomeError
from microtome.model import SlideRecord, TileIndex
from microtome.pixels.options import RenderOptions

_TARGET = re.compile(
    rb"(/tiles/([A-Za-z0-9._~%!$'()*+,:;=@-]+)/([0-9]{1,3})/([0-9]{1,9})/([0-9]{1,9})(?:\.jpg)?)"
    rb"(?:\?((?:(?:quality=([0-9]{1,3})|exp=[0-9]{1,19}|(?:sig|vt|ct)=[0-9a-fA-F]*)(?:&|$))*))?"
)
_MOST_RECORDS = 10_000


class _Asked(NamedTuple):
    """A plain tile request, authorised."""

    record: SlideRecord
    tile: TileIndex
    options: RenderOptions
    grant: Grant


class TileRequests:
    """Reads targets of requests for tiles of slides that are open."""

    def __init__(self, context: StreamerContext) -> None:
        self._context = context
        self._default = RenderOptions(quality=context.default_quality)
        self._records: dict[bytes, SlideRecord] = {}

    def read(self, target: bytes) -> _Asked | None:
        """What a GET of ``target`` asks for; None for everything that is not plain, known and allowed."""
        found = _TARGET.fullmatch(target)
        if found is None:
            return None
        path, raw_id, level, column, row, query, quality = found.groups()
        record = self._record(raw_id)
        options = self._default if quality is None else self._options(int(quality), query)
        if record is None or options is None:
            return None
        try:
            grant = self._context.grant(path, query or b"", record.id)
        except MicrotomeError:
            return None
        return _Asked(record, TileIndex(int(level), int(column), int(row)), options, grant)

    def _options(self, quality: int, query: bytes) -> RenderOptions | None:
        if not 1 <= quality <= 100 or query.count(b"quality=") != 1:
            return None
        if quality == self._default.quality:
            return self._default
        return RenderOptions(quality=quality, allow_stored=False)

    def _record(self, raw_id: bytes) -> SlideRecord | None:
        record = self._records.get(raw_id)
        if record is None:
            try:
                record = self._context.catalog.resolve(unquote_to_bytes(raw_id).decode("utf-8"))
            except (MicrotomeError, UnicodeDecodeError):
                return None
            if self._context.service.pool.peek(record.handle) is None:
                return None  # remember only ids of slides that are open, so that a prober cannot fill the memory
            if len(self._records) >= _MOST_RECORDS:
                self._records.clear()
            self._records[raw_id] = record
        return record


class StreamerExpress:
    """A responder for ``Express``: tiles that are warm, or stored ones whose bytes are at hand."""

    def __init__(self, context: StreamerContext, requests: TileRequests) -> None:
        self._context = context
        self._requests = requests

    def __call__(self, target: bytes, origin: bytes | None) -> Prepared | None:
        """The answer to a GET of ``target``, or None."""
        asked = self._requests.read(target)
        if asked is None:
            return None
        context = self._context
        answer = context.service.peek_tile(asked.record, asked.tile, asked.options)
        if answer is None:
            return None
        cors = context.cors.headers_for(origin)
        etag = quoted(answer.etag)
        expires = asked.grant.expires
        return Prepared(
            headers=[*image_headers(context, answer, asked.options.quality, asked.grant), *cors],
            not_modified=[*not_modified_headers(context, etag, asked.grant), *cors],
            body=answer.image.data,
            etag=etag,
            fresh_until=answer.fresh_until,
            expires=expires,
            # An answer that tells how long it is still authorised is another one every second.
            keep=answer.cache_hit and (expires is None or expires - context.wall() >= context.cache_max_age),
        )


class ShortWay:
    """ASGI middleware: tiles that must be read or rendered are answered before routing and the framework's own work."""

    def __init__(self, app: ASGIApp, context: StreamerContext, requests: TileRequests) -> None:
        self.app = app
        self._context = context
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a plain GET of a tile, pass everything else on."""
        asked = self._plain(scope) if scope["type"] == "http" and scope["method"] == "GET" else None
        if asked is None:
            await self.app(scope, receive, send)
            return
        context = self._context
        try:
            answer = await unless_gone(receive, context.service.tile(asked.record, asked.tile, asked.options))
        except ClientGone:
            return
        except MicrotomeError:
            await self.app(scope, receive, send)  # which meets the error again, and tells it
            return
        headers = image_headers(context, answer, asked.options.quality, asked.grant)
        headers += context.cors.headers_for(next((v for k, v in scope["headers"] if k == b"origin"), None))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer.image.data})

    def _plain(self, scope: Scope) -> _Asked | None:
        path: bytes = scope.get("raw_path", b"")
        if not path.startswith(b"/tiles/") or any(name == b"if-none-match" for name, _ in scope["headers"]):
            return None
        query: bytes = scope["query_string"]
        return self._requests.read(path + b"?" + query if query else path)
