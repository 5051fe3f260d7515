"""Tiles of this family below ASGI, when they need no waiting and everybody may see them.

Requests are understood as they were answered before: a target whose tile the ordinary way has answered once, from a
slide that is open, with parameters that leave the pixels alone.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from microtome.api.cors import Cors
from microtome.api.express.prepared import Prepared
from microtome.api.wsi_v3.context import V3Context
from microtome.api.wsi_v3.parameters import DEFAULT_QUALITY, STORED_QUALITY
from microtome.model import SlideRecord, TileIndex
from microtome.pixels.picture import PictureOptions
from microtome.tiles.answer import ImageAnswer

_TARGET = re.compile(
    rb"/v3/slides/tile/level/([0-9]{1,3})/tile/([0-9]{1,9})/([0-9]{1,9})\?slide_id=([A-Za-z0-9._~%/!$'()*,:;@>-]+)"
    rb"((?:&(?:image_quality=[0-9]{1,3}|image_format=jpe?g|image_channels=[012]|z=0))*)"
)
_QUALITY = re.compile(rb"&image_quality=([0-9]+)")
_CHANNELS = re.compile(rb"&image_channels=([012])")
KEPT_SECONDS = 10.0
"""How long the catalogue's word for an id holds."""
_MOST_RECORDS = 10_000


class KnownRecords:
    """Records of slides that were answered lately, by their ids."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._records: dict[str, tuple[SlideRecord, float]] = {}

    def learn(self, record: SlideRecord) -> None:
        """The catalogue has said this."""
        if len(self._records) >= _MOST_RECORDS:
            self._records.clear()
        self._records[record.id] = record, self._clock() + KEPT_SECONDS

    def get(self, slide_id: str) -> tuple[SlideRecord, float] | None:
        """The record, and until when it holds (monotonic s)."""
        found = self._records.get(slide_id)
        return found if found is not None and self._clock() < found[1] else None


class V3Express:
    """A responder for ``Express``."""

    def __init__(self, context: V3Context, cors: Cors, known: KnownRecords) -> None:
        self._context = context
        self._cors = cors
        self._known = known
        self._usual: dict[bytes, PictureOptions | None] = {}

    def __call__(self, target: bytes, origin: bytes | None) -> Prepared | None:
        """The answer to a GET of ``target``, or None."""
        found = _TARGET.fullmatch(target)
        if found is None:
            return None
        level, column, row, raw_id, more = found.groups()
        options = self._options(more)
        known = self._known.get(unquote_to_bytes(raw_id).decode("utf-8", "replace"))
        if options is None or known is None:
            return None
        answer = self._context.pictures.peek_tile(known[0], TileIndex(int(level), int(column), int(row)), options)
        return None if answer is None else self._prepared(answer, origin, known[1])

    def _prepared(self, answer: ImageAnswer, origin: bytes | None, until: float) -> Prepared:
        etag = f'"{answer.etag}"'.encode()
        control = self._context.cache_control().encode()
        cors = self._cors.headers_for(origin)
        data = answer.image.data
        return Prepared(
            headers=[
                (b"etag", etag),
                (b"cache-control", control),
                (b"x-content-type-options", b"nosniff"),
                (b"content-length", b"%d" % len(data)),
                (b"content-type", answer.image.media_type.encode()),
                *cors,
            ],
            not_modified=[(b"etag", etag), (b"cache-control", control), *cors],
            body=data,
            etag=etag,
            fresh_until=min(answer.fresh_until, until),
            keep=answer.cache_hit,
        )

    def _options(self, more: bytes) -> PictureOptions | None:
        """What ``slides.tile`` would ask the service for, as long as that is a stored tile."""
        if more in self._usual:
            return self._usual[more]
        qualities = [int(each) for each in _QUALITY.findall(more)] or [DEFAULT_QUALITY]
        channels = tuple(int(each) for each in _CHANNELS.findall(more)) or None
        options = None
        if len(qualities) == 1 and STORED_QUALITY <= qualities[0] <= 100 and channels in {None, (0, 1, 2)}:
            options = PictureOptions(
                quality=qualities[0],
                channels=channels,
                padding=self._context.padding,
                pad=self._context.pad_tiles,
                allow_stored=True,
            )
        if len(self._usual) < 1000:
            self._usual[more] = options
        return options
