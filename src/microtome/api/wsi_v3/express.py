"""Pictures of this family on short ways: below ASGI when they need no waiting, below the framework when they do.

Below ASGI requests are understood as they were answered before: a tile everybody may see, of a slide the ordinary way
has answered from lately, with parameters that leave the pixels alone. Below the framework plain requests are read
without its help and answered by the same code. Both leave everything unusual to the ordinary way.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from microtome.api.cors import Cors
from microtome.api.disconnect import ClientGone, unless_gone
from microtome.api.express.prepared import Prepared
from microtome.api.raw import raw_path
from microtome.api.wsi_v3 import answers, errors, slides
from microtome.api.wsi_v3.context import V3Context
from microtome.api.wsi_v3.parameters import DEFAULT_QUALITY, STORED_QUALITY, Encoding, View, options
from microtome.errors import MicrotomeError
from microtome.model import Rectangle, Size, SlideRecord, TileIndex
from microtome.pixels import images
from microtome.pixels.picture import PictureOptions
from microtome.tiles.answer import ImageAnswer
from microtome.tiles.service import is_vector

_TARGET = re.compile(
    rb"/v3/slides/tile/level/([0-9]{1,3})/tile/([0-9]{1,9})/([0-9]{1,9})\?slide_id=([A-Za-z0-9._~%/!$'()*,:;@>-]+)"
    rb"((?:&(?:image_quality=[0-9]{1,3}|image_format=jpe?g|image_channels=[012]|z=0))*)"
)
_QUALITY = re.compile(rb"&image_quality=([0-9]+)")
_CHANNELS = re.compile(rb"&image_channels=([012])")
_PLAIN = re.compile(
    rb"/slides/(?:tile/level/([0-9]{1,3})/tile/([0-9]{1,9})/([0-9]{1,9})"
    rb"|region/level/([0-9]{1,3})/start/(-?[0-9]{1,9})/(-?[0-9]{1,9})/size/([1-9][0-9]{0,8})/([1-9][0-9]{0,8})"
    rb"|thumbnail/max_size/([1-9][0-9]{0,8})/([1-9][0-9]{0,8}))"
)
_ID = re.compile(rb"[A-Za-z0-9._~%/!$'()*,:;@>-]+")
_NUMBER = re.compile(rb"[0-9]{1,4}")
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
        if answer is None or is_vector(answer.image):  # how a vector tile goes out depends on what the client accepts
            return None
        return self._prepared(answer, origin, known[1])

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


class _Plain(NamedTuple):
    """A request that was read: what is asked, and the numbers of tile, region or thumbnail, one of which is there."""

    slide_id: str
    encoding: Encoding
    view: View
    tile: tuple[int, ...]
    region: tuple[int, ...]
    thumbnail: tuple[int, ...]


class ShortWay:
    """ASGI middleware inside of ``/v3``: tiles, regions and thumbnails without routing and the framework's own work.

    That work takes as long as decoding and encoding a tile.
    """

    def __init__(self, app: ASGIApp, context: V3Context) -> None:
        self.app = app
        self._context = context
        self._slides = slides.Slides(context)

    @property
    def routes(self) -> Sequence[BaseRoute]:
        """The routes behind it, for whoever lists them."""
        return getattr(self.app, "routes", ())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a plain GET of a picture, pass everything else on."""
        asked = _plain(scope) if scope["type"] == "http" and scope["method"] == "GET" else None
        if asked is None:
            await self.app(scope, receive, send)
            return
        try:
            response = await unless_gone(receive, self._answer(Request(scope), asked))
        except ClientGone:
            return
        except MicrotomeError as error:
            response = errors.answer(error)
        except Exception:  # noqa: BLE001 - the ordinary way meets it again, and tells it
            await self.app(scope, receive, send)
            return
        await response(scope, receive, send)

    async def _answer(self, request: Request, asked: _Plain) -> Response:
        context = self._context
        target = slides.Target(await context.policy.authenticate(request), asked.slide_id, None)
        view, planes = asked.view, (asked.view.z, asked.view.t)
        if asked.tile:
            wanted = options(asked.encoding, None, view, padding=context.padding, pad=context.pad_tiles)
            level, column, row = asked.tile
            answer = await self._slides.tile(target, TileIndex(level, column, row, *planes), wanted)
        elif asked.region:
            wanted = options(asked.encoding, None, view, padding=context.padding)
            level, left, top, width, height = asked.region
            rectangle = Rectangle(left, top, width, height)
            answer = await self._slides.region(target, TileIndex(level, 0, 0, *planes), rectangle, wanted)
        else:
            wanted = options(asked.encoding, padding=context.padding)
            largest = slides.checked(Size(*asked.thumbnail), context)
            answer = await self._slides.thumbnail(target, largest, wanted)
        return answers.image(context, request, answer, asked.encoding.kind)


def _plain(scope: Scope) -> _Plain | None:
    """What a request asks for, None when it is unusual in any way."""
    found = _PLAIN.fullmatch(raw_path(scope))
    if found is None:
        return None
    values: dict[bytes, bytes] = {}
    channels: list[int] = []
    for part in scope["query_string"].split(b"&"):
        name, _, value = part.partition(b"=")
        if name == b"image_channels" and _NUMBER.fullmatch(value):
            channels.append(int(value))
        elif name in values or not _may_be(name, value):
            return None
        else:
            values[name] = value
    raw_id = values.get(b"slide_id")
    kind = images.ALIASES.get(values[b"image_format"].decode()) if b"image_format" in values else None
    quality = int(values.get(b"image_quality", DEFAULT_QUALITY))
    if raw_id is None or (kind is None and b"image_format" in values) or quality > 100:
        return None
    numbers = [None if each is None else int(each) for each in found.groups()]
    present = [tuple(n for n in part if n is not None) for part in (numbers[:3], numbers[3:8], numbers[8:])]
    view = View(tuple(channels) or None, (), int(values.get(b"z", 0)), 0, None)
    encoding = Encoding(kind, quality, allow_stored=quality >= STORED_QUALITY)
    return _Plain(unquote_to_bytes(raw_id).decode("utf-8", "replace"), encoding, view, *present)


def _may_be(name: bytes, value: bytes) -> bool:
    """Whether this parameter is read here, and its value is a plain one."""
    if name in {b"image_quality", b"z"}:
        return _NUMBER.fullmatch(value) is not None
    return (name == b"slide_id" and _ID.fullmatch(value) is not None) or (
        name == b"image_format" and value.isalnum() and value.isascii()
    )
