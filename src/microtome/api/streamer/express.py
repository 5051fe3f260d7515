"""Tiles of this family on the express way: what needs neither waiting nor pixel work."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from microtome.api.express.prepared import Prepared
from microtome.api.raw import U32
from microtome.api.streamer.context import StreamerContext
from microtome.api.streamer.image import image_headers, not_modified_headers, quoted
from microtome.errors import MicrotomeError
from microtome.model import SlideRecord, TileIndex
from microtome.pixels.options import RenderOptions

_TARGET = re.compile(
    rb"(/tiles/([A-Za-z0-9._~%!$'()*+,:;=@-]+)/([0-9]{1,3})/([0-9]{1,9})/([0-9]{1,9})(?:\.jpg)?)"
    rb"(?:\?((?:(?:quality=([0-9]{1,3})|exp=[0-9]{1,19}|(?:sig|vt|ct)=[0-9a-fA-F]*)(?:&|$))*))?"
)


class StreamerExpress:
    """A responder for ``Express``: answers plain tile requests, leaves everything unusual to the ordinary way."""

    def __init__(self, context: StreamerContext) -> None:
        self._context = context
        self._default = RenderOptions(quality=context.default_quality)
        self._records: dict[bytes, SlideRecord] = {}

    def __call__(self, target: bytes, origin: bytes | None) -> Prepared | None:
        """The answer to a GET of ``target``, or None."""
        found = _TARGET.fullmatch(target)
        if found is None:
            return None
        path, raw_id, level, column, row, query, asked = found.groups()
        record = self._record(raw_id)
        if record is None:
            return None
        options = self._options(asked, query)
        if options is None:
            return None
        context = self._context
        try:
            grant = context.grant(path, query or b"", record.id)
        except MicrotomeError:
            return None
        index = TileIndex(int(level), int(column), int(row))
        if index.column > U32 or index.row > U32:
            return None
        answer = context.service.peek_tile(record, index, options)
        if answer is None:
            return None
        cors = context.cors.headers_for(origin)
        etag = quoted(answer.etag)
        remaining = context.cache_max_age if grant.expires is None else grant.expires - context.wall()
        return Prepared(
            headers=[*image_headers(context, answer, options.quality, grant), *cors],
            not_modified=[*not_modified_headers(context, etag, grant), *cors],
            body=answer.image.data,
            etag=etag,
            fresh_until=answer.fresh_until,
            expires=grant.expires,
            # An answer that tells how long it is still authorised is another one every second.
            keep=answer.cache_hit and remaining >= context.cache_max_age,
        )

    def _options(self, asked: bytes | None, query: bytes | None) -> RenderOptions | None:
        if asked is None:
            return self._default
        quality = int(asked)
        if not 1 <= quality <= 100 or query is None or query.count(b"quality=") != 1:
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
            if self._context.service.pool.peek(record.key) is None:
                return None  # remember only ids of slides that are open, so that a prober cannot fill the memory
            if len(self._records) >= 10_000:
                self._records.clear()
            self._records[raw_id] = record
        return record
