"""An open CZI slide: tiles are put together from the blocks that reach into them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microtome.caching import Cache
from microtome.errors import CorruptData, LimitExceeded, NotFound, UnsupportedFormat
from microtome.formats.czi import metadata, pixels, segments
from microtome.formats.czi.mosaic import TILE, Mosaic, Piece, Plane
from microtome.formats.czi.segments import Attachment, Block, Contained, Source
from microtome.formats.threads import check_planes
from microtome.model import AssociatedImage, Channel, EncodedTile, Level, Raster, Size, SlideInfo, TileIndex, of_level
from microtome.pixels import codecs, headers
from microtome.storage.pinned import PinnedObject

CACHE_BYTES = 64 << 20
"""Decompressed blocks kept for the tiles beside."""
MAX_SEGMENT_BYTES = 1 << 30
MAX_ATTACHMENT_BYTES = 256 << 20
MAX_CHANNELS = 256
_AT_ONCE = 4
_PICTURES = {"Label": "label", "SlidePreview": "macro", "Thumbnail": "thumbnail"}
Samples = NDArray[Any]


class CziImage:
    """The pixels of one CZI file, on its own or within another one."""

    def __init__(self, source: Source, blocks: Sequence[Block], mosaic: Mosaic, told: metadata.Metadata) -> None:
        """Raises UnsupportedFormat, LimitExceeded."""
        self.mosaic = mosaic
        self._source = source
        self._blocks = blocks
        self._cache: Cache[int, Samples] = Cache(CACHE_BYTES, weigh=lambda array: array.nbytes)
        self._several = asyncio.Semaphore(_AT_ONCE)
        kinds = {
            channel: pixels.layout(blocks[number].pixel_type)
            for number in reversed(mosaic.full)
            for channel in (blocks[number].planes.get("C", 0),)
        }
        first = mosaic.channels[0]
        self.color = kinds[first][1] == 3
        # Colour beside fluorescence is the picture of the slide, not one of the stains.
        shown = (first,) if self.color else tuple(each for each in mosaic.channels if kinds[each][1] == 1)
        if len(shown) > MAX_CHANNELS:
            raise LimitExceeded(f"The CZI file has {len(shown)} channels", limit="channels", value=len(shown))
        self.shown = shown
        self.left_out = len(mosaic.channels) - len(shown)
        self.dtype: np.dtype[Any] = np.result_type(*(kinds[each][0] for each in shown))
        if self.color:
            self.channels: tuple[Channel, ...] = tuple(Channel(name) for name in ("R", "G", "B"))
        else:
            self.channels = tuple(_channel(told, each) for each in shown)
        self.names = tuple(channel.name for channel in self.channels)

    async def read(self, level: int, z: int, t: int, box: tuple[int, int, int, int]) -> Samples:
        """The px ``box`` (left, top, right, bottom) of a level: white in colour, 0 otherwise, where no block is."""
        left, top, right, bottom = box
        shape = (bottom - top, right - left, len(self.names))
        canvas = np.full(shape, _white(self.dtype) if self.color else 0, self.dtype)
        for number, channel in enumerate(self.shown):
            plane = (channel, self.mosaic.focal_planes[z], self.mosaic.time_points[t])
            found = self.mosaic.pieces(level, plane, box)
            # So many at a time that they fit into the cache, drawn in their order.
            for start in range(0, len(found), _AT_ONCE):
                some = found[start : start + _AT_ONCE]
                for piece, samples in zip(some, await asyncio.gather(*(self._block(p) for p in some)), strict=True):
                    _draw(canvas, piece, samples, (left, top), slice(None) if self.color else slice(number, number + 1))
        return canvas

    def ranges(self, level: int, z: int, t: int, box: tuple[int, int, int, int]) -> list[tuple[int, int]]:
        """The bytes that a tile needs and that are not decompressed already."""
        planes: list[Plane] = [(c, self.mosaic.focal_planes[z], self.mosaic.time_points[t]) for c in self.shown]
        found = [piece.number for plane in planes for piece in self.mosaic.pieces(level, plane, box)]
        return [(self._blocks[n].position, self._blocks[n].stop) for n in found if n not in self._cache]

    def clear(self) -> None:
        """Forget decompressed blocks."""
        self._cache.clear()

    async def _block(self, piece: Piece) -> Samples:
        return await self._cache.get_or_compute(piece.number, lambda: self._decoded(self._blocks[piece.number]))

    async def _decoded(self, block: Block) -> Samples:
        async with self._several:
            if block.stop - block.position > MAX_SEGMENT_BYTES:
                raise LimitExceeded(
                    "A block of the CZI file is too large", limit="segment", value=block.stop - block.position
                )
            segment = await self._source.read(block.position, block.stop)
            return await asyncio.to_thread(lambda: pixels.decode(block, segments.block_data(segment, block)))


class CziSlide:
    """See ``formats.base.Slide``."""

    def __init__(
        self, files: PinnedObject, image: CziImage, told: metadata.Metadata, pictures: dict[str, _Picture]
    ) -> None:
        self._files = files
        self._image = image
        self._pictures = pictures
        mosaic = image.mosaic
        properties = dict(told.properties)
        properties["czi.Scenes"] = str(len(mosaic.scenes))
        if image.left_out:
            properties["microtome.channels_left_out"] = str(image.left_out)
        self._info = SlideInfo(
            format_name="Zeiss CZI",
            levels=tuple(mosaic.levels),
            channels=image.channels,
            dtype=image.dtype.name,
            spacing_um=told.spacing_um,
            magnification=told.magnification,
            focal_planes=len(mosaic.focal_planes),
            time_points=len(mosaic.time_points),
            associated=tuple(AssociatedImage(name, picture.size) for name, picture in sorted(pictures.items())),
            vendor="zeiss",
            properties=MappingProxyType(properties),
        )

    async def info(self) -> SlideInfo:
        """See ``formats.base.Slide``."""
        return self._info

    async def level(self, number: int) -> Level:
        """See ``formats.base.Slide``."""
        return of_level(self._info.levels, number)

    async def read_tile(self, index: TileIndex) -> EncodedTile | Raster:
        """Samples, always: a tile is cut out of blocks of any size. Edge tiles keep their padding."""
        level = await self.level(index.level)
        level.check_tile(index)
        check_planes(self._info, index)
        samples = await self._image.read(index.level, index.z, index.t, _box(index))
        return Raster(samples, self._image.names)

    def peek_tile(self, index: TileIndex) -> EncodedTile | None:
        """Nothing can be had without decompressing."""
        return None

    def prefetch(self, indices: Sequence[TileIndex]) -> None:
        """Begin to read the blocks of tiles."""
        info = self._info
        for index in indices:
            if not 0 <= index.level < len(info.levels):
                continue
            level = info.levels[index.level]
            if not (0 <= index.column < level.columns and 0 <= index.row < level.rows):
                continue
            if 0 <= index.z < info.focal_planes and 0 <= index.t < info.time_points:
                self._files.prefetch(self._image.ranges(index.level, index.z, index.t, _box(index)))

    async def read_associated(self, name: str) -> EncodedTile | Raster:
        """Label, macro (the preview of the slide) or thumbnail."""
        picture = self._pictures.get(name)
        if picture is None:
            raise NotFound("associated image", name)
        return await picture.read(self._files)

    async def close(self) -> None:
        """Forget decompressed blocks."""
        self._image.clear()


class _Picture:
    """An attachment that is a picture, and its size."""

    def __init__(self, attachment: Attachment, size: Size) -> None:
        self.attachment = attachment
        self.size = size

    @classmethod
    async def found(cls, source: Source, attachment: Attachment) -> _Picture | None:
        """None for what cannot be shown: a picture beside the slide is no reason to refuse it."""
        try:
            data = await segments.read_attachment(source, attachment, MAX_ATTACHMENT_BYTES)
            if attachment.kind == "JPG":
                size = headers.image_size(data, "image/jpeg")
            else:
                size = (await _open_image(Contained(data)))[0].mosaic.levels[0].size
        except (CorruptData, UnsupportedFormat, LimitExceeded):
            return None
        return None if size is None or size.width * size.height > codecs.MAX_PIXELS else cls(attachment, size)

    async def read(self, source: Source) -> EncodedTile | Raster:
        """The picture."""
        data = await segments.read_attachment(source, self.attachment, MAX_ATTACHMENT_BYTES)
        if self.attachment.kind == "JPG":
            return EncodedTile(data, "image/jpeg", self.size, "ycbcr")
        image = (await _open_image(Contained(data)))[0]
        samples = await image.read(0, 0, 0, (0, 0, self.size.width, self.size.height))
        return Raster(samples, image.names)


async def open_slide(files: PinnedObject) -> CziSlide:
    """Read header, directory, metadata and the list of attachments."""
    image, told, header = await _open_image(files)
    pictures: dict[str, _Picture] = {}
    try:
        attachments = await segments.read_attachments(files, header)
    except CorruptData:
        attachments = []
    files.settle()
    for attachment in attachments:
        name = _PICTURES.get(attachment.name)
        if name is not None and attachment.kind in {"JPG", "CZI"} and name not in pictures:
            picture = await _Picture.found(files, attachment)
            if picture is not None:
                pictures[name] = picture
    return CziSlide(files, image, told, pictures)


async def _open_image(source: Source) -> tuple[CziImage, metadata.Metadata, segments.Header]:
    header = await segments.read_header(source)
    data = await segments.read_directory(source, header)
    try:
        xml = await segments.read_metadata(source, header, metadata.MAX_XML_BYTES)
    except CorruptData:
        xml = ""  # names and sizes are lost, the pixels are not

    def built() -> tuple[list[Block], Mosaic, metadata.Metadata]:
        blocks = segments.parse_directory(data, header, source.size)
        return blocks, Mosaic(blocks), metadata.parse(xml)

    blocks, mosaic, told = await asyncio.to_thread(built)
    return CziImage(source, blocks, mosaic, told), told, header


def _channel(told: metadata.Metadata, number: int) -> Channel:
    known = told.channels[number] if number < len(told.channels) else Channel("")
    return known if known.name else Channel(f"channel {number}", known.color)


def _white(dtype: np.dtype[Any]) -> float:
    return 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)


def _box(index: TileIndex) -> tuple[int, int, int, int]:
    left, top = index.column * TILE, index.row * TILE
    return left, top, left + TILE, top + TILE


def _draw(canvas: Samples, piece: Piece, samples: Samples, origin: tuple[int, int], channels: slice) -> None:
    """Put a block on the canvas where it overlaps; ``origin`` is the corner of the canvas in px of the level."""
    if piece.step > 1:
        samples = samples[:: piece.step, :: piece.step]
    x, y = piece.left - origin[0], piece.top - origin[1]
    left, top = max(0, x), max(0, y)
    right, bottom = min(canvas.shape[1], x + samples.shape[1]), min(canvas.shape[0], y + samples.shape[0])
    if left < right and top < bottom:
        canvas[top:bottom, left:right, channels] = samples[top - y : bottom - y, left - x : right - x]
