"""One image of the file, tiled or in strips, answering tiles."""

from __future__ import annotations

import asyncio

import numpy as np

from microtome.caching import Cache
from microtome.errors import CorruptData, LimitExceeded, MicrotomeError
from microtome.formats.tiff import decode, tags
from microtome.formats.tiff.directory import Directory
from microtome.formats.tiff.segments import Segments
from microtome.model import EncodedTile, Level, Raster, Size, TileIndex
from microtome.pixels import jpeg
from microtome.storage.pinned import PinnedObject

MAX_TILE_SIDE = 1 << 14
_STRIPS_BUDGET = 32 << 20
"""Decoded strips kept for the tiles beside the one that was asked for."""


def blank(layout: decode.Layout, size: Size) -> Raster:
    """A sparse tile: white where colours are stored (bright field), zero otherwise."""
    names = layout.channels
    value = 255 if names == ("R", "G", "B") and layout.dtype == np.uint8 else 0
    return Raster(np.full((size.height, size.width, len(names)), value, layout.dtype), names)


class TiledImage:
    """An image of tiles; those that are complete images themselves are handed out as stored."""

    def __init__(self, files: PinnedObject, directory: Directory, level: Level) -> None:
        width, height = level.tile_size
        if not (0 < width <= MAX_TILE_SIDE and 0 < height <= MAX_TILE_SIDE):
            raise CorruptData(f"The tiles would be {width} x {height} px", offset=directory.offset)
        self.level = level
        self._files = files
        self._layout = decode.layout(directory)
        decode.check_size(self._layout, level.tile_size)
        self._plane_tiles = level.columns * level.rows
        needed = self._plane_tiles * self._layout.planes
        offsets, counts = directory.entries[tags.TILE_OFFSETS], directory.entries.get(tags.TILE_BYTE_COUNTS)
        if counts is None:
            raise CorruptData("Tag 325 (TileByteCounts) is missing", offset=directory.offset)
        self.segments = Segments(files, offsets, counts, directory.order, needed)
        self._completion: jpeg.Completion | None = None
        self._is_jpeg = self._layout.media_type == "image/jpeg"

    def peek(self, index: TileIndex) -> EncodedTile | None:
        """The stored JPEG tile if its bytes are at hand. Never raises."""
        completion = self._completion
        if completion is None:
            return None
        try:
            self.level.check_tile(index)
            place = self.segments.at_hand(index.row * self.level.columns + index.column)
            if place is None or place == (0, 0):
                return None
            data = self._files.peek(place[0], place[0] + place[1])
            if data is None or len(data) != place[1]:
                return None
            return EncodedTile(completion.apply(data), "image/jpeg", self.level.tile_size, self._layout.color)
        except Exception:  # noqa: BLE001 - peeking never raises; read_tile says what is wrong
            return None

    def place(self, index: TileIndex) -> tuple[int, int] | None:
        """The bytes ``[start, stop)`` of a tile of the first plane, when known without reading. Never raises."""
        try:
            self.level.check_tile(index)
            found = self.segments.at_hand(index.row * self.level.columns + index.column)
        except MicrotomeError:
            return None
        return (found[0], found[0] + found[1]) if found and found != (0, 0) else None

    async def read(self, index: TileIndex) -> EncodedTile | Raster:
        """The tile as stored if it is a complete image, else its samples."""
        self.level.check_tile(index)
        first = index.row * self.level.columns + index.column
        size = self.level.tile_size
        places = [await self.segments.locate(first + plane * self._plane_tiles) for plane in range(self._layout.planes)]
        if any(place == (0, 0) for place in places):
            return blank(self._layout, size)
        data = await self._files.read_many([(offset, offset + count) for offset, count in places])
        if self._layout.media_type is None:
            return await asyncio.to_thread(decode.decode, self._layout, data, size)
        if self._is_jpeg:
            if self._completion is None:
                self._completion = jpeg.Completion(self._layout.jpeg_tables, data[0], color=self._layout.color)
            return EncodedTile(self._completion.apply(data[0]), "image/jpeg", size, self._layout.color)
        return decode.complete(self._layout, data[0], size)


class StripImage:
    """An image of strips, cut into virtual tiles; only the strips (or rows) under a tile are read."""

    def __init__(self, files: PinnedObject, directory: Directory, level: Level) -> None:
        self.level = level
        self._files = files
        self._layout = decode.layout(directory)
        height = level.size.height
        rows = directory.number(tags.ROWS_PER_STRIP, height)
        self._rows = height if rows <= 0 or rows > height else rows
        self._strips = -(-height // self._rows)
        offsets = directory.entries[tags.STRIP_OFFSETS]
        counts = directory.entries.get(tags.STRIP_BYTE_COUNTS)
        if counts is None:
            raise CorruptData("Tag 279 (StripByteCounts) is missing", offset=directory.offset)
        self.segments = Segments(files, offsets, counts, directory.order, self._strips * self._layout.planes)
        self._by_rows = (
            self._layout.compression == tags.NONE
            and self._layout.bits >= 8
            and (self._layout.photometric != tags.YCBCR or self._layout.subsampling == (1, 1))
        )
        if not self._by_rows:
            decode.check_size(self._layout, Size(level.size.width, self._rows))
        decode.check_size(self._layout, Size(level.size.width, min(height, level.tile_size.height)))
        self._decoded: Cache[tuple[int, int], Raster] = Cache(_STRIPS_BUDGET, weigh=lambda raster: raster.array.nbytes)

    def place(self, _: TileIndex) -> tuple[int, int] | None:
        """Unknown: several strips make a tile."""
        return None

    def peek(self, _: TileIndex) -> EncodedTile | None:
        """Nothing is at hand: tiles are cut."""
        return None

    async def read(self, index: TileIndex) -> Raster:
        """A virtual tile, white or zero beyond the edge of the image."""
        self.level.check_tile(index)
        width, height = self.level.tile_size
        top = index.row * height
        band = await self._band(top, min(top + height, self.level.size.height))
        left = index.column * width
        part = band.array[:, left : left + width]
        canvas = blank(self._layout, self.level.tile_size)
        canvas.array[: part.shape[0], : part.shape[1]] = part
        return canvas

    async def read_whole(self) -> Raster:
        """All of a small image. Raises LimitExceeded for a large one."""
        decode.check_size(self._layout, self.level.size)
        return await self._band(0, self.level.size.height)

    async def _band(self, top: int, bottom: int) -> Raster:
        """Rows ``[top, bottom)`` over the full width."""
        pieces: list[np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = []
        for strip in range(top // self._rows, -(-bottom // self._rows)):
            first = strip * self._rows
            begin, end = max(top, first) - first, min(bottom, first + self._rows) - first
            if self._by_rows:
                raster = await self._read_rows(strip, begin, end)
            else:
                whole = await self._decoded.get_or_compute((strip, 0), lambda strip=strip: self._read_strip(strip))
                raster = Raster(whole.array[begin:end], whole.channels)
            pieces.append(raster.array)
        return Raster(pieces[0] if len(pieces) == 1 else np.concatenate(pieces), self._layout.channels)

    def _strip_size(self, strip: int) -> Size:
        return Size(self.level.size.width, min(self._rows, self.level.size.height - strip * self._rows))

    async def _read_strip(self, strip: int) -> Raster:
        places = [await self.segments.locate(strip + plane * self._strips) for plane in range(self._layout.planes)]
        size = self._strip_size(strip)
        if any(place == (0, 0) for place in places):
            return blank(self._layout, size)
        if sum(count for _, count in places) > decode.MAX_DECODED_BYTES:
            raise LimitExceeded("A strip of this file is too large to be read", limit="strip bytes")
        data = await self._files.read_many([(offset, offset + count) for offset, count in places])
        return await asyncio.to_thread(decode.decode, self._layout, data, size)

    async def _read_rows(self, strip: int, begin: int, end: int) -> Raster:
        """Rows of an uncompressed strip, without reading the others."""
        samples = 1 if self._layout.planes > 1 else self._layout.samples
        row = self.level.size.width * samples * (self._layout.bits // 8)
        ranges: list[tuple[int, int]] = []
        for plane in range(self._layout.planes):
            offset, count = await self.segments.locate(strip + plane * self._strips)
            if (offset, count) == (0, 0):
                return blank(self._layout, Size(self.level.size.width, end - begin))
            if end * row > count:
                raise CorruptData(f"Strip {strip} holds {count} bytes, too few for its rows", offset=offset)
            ranges.append((offset + begin * row, offset + end * row))
        data = await self._files.read_many(ranges)
        return await asyncio.to_thread(decode.decode, self._layout, data, Size(self.level.size.width, end - begin))


Image = TiledImage | StripImage


def open_image(files: PinnedObject, directory: Directory, level: Level) -> Image:
    """The image of a directory. Raises UnsupportedFormat, CorruptData, LimitExceeded."""
    return (TiledImage if directory.tile_size is not None else StripImage)(files, directory, level)
