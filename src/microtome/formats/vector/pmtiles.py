"""PMTiles version 3 (github.com/protomaps/PMTiles, spec/v3): one file, read by ranges, so it is served from a bucket.

Opening reads the header, the root directory and the metadata, which stand at the front of the file. A tile then costs
one request, and one more for a leaf directory met for the first time.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from microtome.caching import Cache
from microtome.errors import CorruptData, LimitExceeded, MicrotomeError, UnsupportedFormat
from microtome.formats.vector.facts import MAX_ZOOM, TILE_SIZE, Grid, chosen_metadata, describe
from microtome.formats.vector.payload import MAX_TILE_BYTES, MVT, decompress, encoded, kind_of
from microtome.formats.vector.slide import VectorSlide
from microtome.formats.vector.texts import parsed_object
from microtome.model import EncodedTile
from microtome.storage.pinned import PinnedObject

MAGIC = b"PMTiles"
HEADER_BYTES = 127
MAX_DIRECTORY_BYTES = 32 << 20
MAX_METADATA_BYTES = 16 << 20
LEAVES_BUDGET = 32 << 20
"""Bytes of decoded leaf directories kept for each slide."""
MAX_DEPTH = 4
"""The root and three levels of leaves; the specification recommends no more than one."""

_HEADER = struct.Struct("<7sB11Q6B4iB2i")
_COMPRESSIONS = {1: "none", 2: "gzip", 3: "brotli", 4: "zstd"}
_TILE_TYPES = {2: "PNG pictures", 3: "JPEG pictures", 4: "WebP pictures", 5: "AVIF pictures", 6: "MapLibre tiles (MLT)"}


@dataclass(frozen=True, slots=True)
class Header:
    """Offsets and lengths in bytes; positions in degrees."""

    root: tuple[int, int]
    metadata: tuple[int, int]
    leaves: tuple[int, int]
    tiles: tuple[int, int]
    internal: str
    compression: str
    tile_type: int
    min_zoom: int
    max_zoom: int
    bounds: tuple[float, float, float, float]
    center: tuple[float, float, int]


@dataclass(frozen=True, slots=True, eq=False)
class Directory:
    """Entries sorted by tile id; a run of 0 tiles is a leaf directory. Offsets are relative to their section."""

    ids: NDArray[np.int64]
    runs: NDArray[np.int64]
    lengths: NDArray[np.int64]
    offsets: NDArray[np.int64]

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return 4 * self.ids.nbytes

    def find(self, tile: int) -> tuple[int, int, bool] | None:
        """(offset, length, is it a leaf directory) of the entry that holds a tile."""
        at = int(np.searchsorted(self.ids, tile, side="right")) - 1
        if at < 0:
            return None
        run = int(self.runs[at])
        if run and tile >= int(self.ids[at]) + run:
            return None
        return int(self.offsets[at]), int(self.lengths[at]), run == 0


def parse_header(data: bytes, size: int) -> Header:
    """The 127 bytes at the front of a file of ``size`` bytes. Raises CorruptData, UnsupportedFormat."""
    if data[:7] != MAGIC:
        raise CorruptData("The file is no PMTiles archive: its signature is missing", offset=0)
    if len(data) < HEADER_BYTES:
        raise CorruptData("The PMTiles archive ends inside of its header", offset=len(data))
    if data[7] != 3:
        raise UnsupportedFormat(
            f"The PMTiles archive says it has version {data[7]}; version 3 is read", feature="PMTiles version"
        )
    fields = _HEADER.unpack_from(data)
    offsets, internal, compression, tile_type = fields[2:10], fields[14], fields[15], fields[16]
    min_zoom, max_zoom, west, south, east, north, center_zoom, x, y = fields[17:26]
    sections = [(offsets[i], offsets[i + 1]) for i in range(0, 8, 2)]
    for name, (start, length) in zip(
        ("root directory", "metadata", "leaf directories", "tiles"), sections, strict=True
    ):
        if length and start + length > size:
            raise CorruptData(f"The {name} of the PMTiles archive would end at byte {start + length} of {size}")
    if tile_type in _TILE_TYPES:
        raise UnsupportedFormat(
            f"The PMTiles archive holds {_TILE_TYPES[tile_type]}, not vector tiles", feature="tile type"
        )
    if tile_type > 1:
        raise UnsupportedFormat(f"The PMTiles archive holds tiles of type {tile_type}", feature="tile type")
    for number, allowed in ((internal, _COMPRESSIONS), (compression, {0: "unknown", **_COMPRESSIONS})):
        if number not in allowed:
            raise UnsupportedFormat(f"The PMTiles archive uses compression {number}", feature="compression")
    if not min_zoom <= max_zoom <= MAX_ZOOM:
        raise CorruptData(f"The PMTiles archive has zooms {min_zoom} to {max_zoom}; 0 to {MAX_ZOOM} are possible")
    return Header(
        *sections,
        internal=_COMPRESSIONS[internal],
        compression=_COMPRESSIONS.get(compression, "none"),
        tile_type=tile_type,
        min_zoom=min_zoom,
        max_zoom=max_zoom,
        bounds=(west / 1e7, south / 1e7, east / 1e7, north / 1e7),
        center=(x / 1e7, y / 1e7, center_zoom),
    )


def parse_directory(data: bytes) -> Directory:
    """A directory, decompressed (§4.2). Raises CorruptData."""
    values = _varints(data)
    count = int(values[0]) if len(values) else -1
    if count != (len(values) - 1) // 4 or (len(values) - 1) % 4 or count < 1:
        raise CorruptData(f"A PMTiles directory announces {max(count, 0)} entries and holds {len(values) // 4}")
    deltas, runs, lengths, places = values[1:].reshape(4, count)
    if deltas.min() < 0 or runs.min() < 0 or lengths.min() < 1 or places.min() < 0 or places[0] == 0:
        raise CorruptData("A PMTiles directory holds impossible numbers")
    if max(values[1:].astype(np.float64).reshape(4, count).sum(axis=1)) > 2**62:
        raise CorruptData("A PMTiles directory holds impossible numbers")
    # Offset 0 means "right behind the one before": those take the last explicit one plus the lengths since.
    before = np.cumsum(lengths) - lengths
    explicit = np.maximum.accumulate(np.where(places > 0, np.arange(count), 0))
    offsets = (places - 1)[explicit] + before - before[explicit]
    return Directory(np.cumsum(deltas), runs, lengths, offsets)


def _varints(data: bytes) -> NDArray[np.int64]:
    """All base-128 numbers of ``data``."""
    array = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(array < 128)
    if len(ends) == 0 or ends[-1] != len(array) - 1:
        raise CorruptData("A PMTiles directory ends inside of a number")
    starts = np.concatenate(([0], ends[:-1] + 1))
    sizes = ends - starts + 1
    longest = int(sizes.max())
    if longest > 9:
        raise CorruptData("A PMTiles directory holds impossible numbers")
    values = np.zeros(len(ends), np.int64)
    for place in range(longest):
        has = sizes > place
        values[has] |= (array[starts[has] + place] & 127).astype(np.int64) << (7 * place)
    return values


def tile_id(zoom: int, column: int, row: int) -> int:
    """The place of a tile on the Hilbert curves of all zooms, one behind the other (§4.1)."""
    distance = ((1 << 2 * zoom) - 1) // 3
    for level in reversed(range(zoom)):
        side = 1 << level
        right, lower = int(bool(column & side)), int(bool(row & side))
        distance += side * side * ((3 * right) ^ lower)
        if not lower:
            if right:
                column, row = side - 1 - (column & (side - 1)), side - 1 - (row & (side - 1))
            column, row = row, column
        column &= side - 1
        row &= side - 1
    return distance


class PMTiles:
    """The tiles of an archive; see ``slide.Tiles``."""

    def __init__(self, files: PinnedObject, header: Header, root: Directory) -> None:
        self._files = files
        self._header = header
        self._root = root
        self._leaves: Cache[tuple[int, int], Directory] = Cache(LEAVES_BUDGET, weigh=lambda leaf: leaf.nbytes)

    async def fetch(self, zoom: int, column: int, row: int) -> EncodedTile | None:
        """See ``slide.Tiles``."""
        tile = tile_id(zoom, column, row)
        directory = self._root
        for _ in range(MAX_DEPTH):
            found = directory.find(tile)
            if found is None:
                return None
            offset, length, is_leaf = found
            if not is_leaf:
                start, stop = self._place(offset, length, self._header.tiles, MAX_TILE_BYTES)
                return self._tile(await self._files.read(start, stop))
            directory = await self._leaf(offset, length)
        raise CorruptData("The directories of the PMTiles archive lead in a circle")

    def peek(self, zoom: int, column: int, row: int) -> EncodedTile | None:
        """See ``slide.Tiles``."""
        tile = tile_id(zoom, column, row)
        directory = self._root
        try:
            for _ in range(MAX_DEPTH):
                found = directory.find(tile)
                if found is None:
                    return None
                offset, length, is_leaf = found
                if not is_leaf:
                    data = self._files.peek(*self._place(offset, length, self._header.tiles, MAX_TILE_BYTES))
                    return None if data is None or self._slow else self._tile(data)
                leaf = self._leaves.get((offset, length))
                if leaf is None:
                    return None
                directory = leaf
        except MicrotomeError:
            return None
        return None

    @property
    def _slow(self) -> bool:
        """Whether tiles must be decompressed here, because browsers do not know their compression."""
        return self._header.compression not in {"none", "gzip"}

    def _tile(self, data: bytes) -> EncodedTile:
        if self._slow:
            data = decompress(data, self._header.compression, MAX_TILE_BYTES)
        return encoded(data, MVT, TILE_SIZE)

    async def _leaf(self, offset: int, length: int) -> Directory:
        start, stop = self._place(offset, length, self._header.leaves, MAX_DIRECTORY_BYTES)

        async def read() -> Directory:
            data = await self._files.read(start, stop)
            return parse_directory(decompress(data, self._header.internal, MAX_DIRECTORY_BYTES))

        return await self._leaves.get_or_compute((offset, length), read)

    @staticmethod
    def _place(offset: int, length: int, section: tuple[int, int], most: int) -> tuple[int, int]:
        start, size = section
        if offset + length > size:
            raise CorruptData(f"An entry of the PMTiles archive ends {offset + length - size} bytes behind its section")
        if length > most:
            raise LimitExceeded("An entry of the PMTiles archive is too large", limit="MAX_TILE_BYTES", value=length)
        return start + offset, start + offset + length


async def open_pmtiles(files: PinnedObject) -> VectorSlide:
    """Open an archive. Raises CorruptData, UnsupportedFormat, LimitExceeded, and what the store raises."""
    header = parse_header(await files.read(0, HEADER_BYTES), files.size)
    start, length = header.root
    if not 0 < length <= MAX_DIRECTORY_BYTES:
        raise CorruptData(f"The root directory of a PMTiles archive cannot have {length} bytes")
    root = parse_directory(decompress(await files.read(start, start + length), header.internal, MAX_DIRECTORY_BYTES))
    start, length = header.metadata
    metadata: dict[str, Any] = {}
    if 0 < length <= MAX_METADATA_BYTES:
        text = decompress(await files.read(start, start + length), header.internal, MAX_METADATA_BYTES)
        metadata = parsed_object(text, "metadata of the PMTiles archive")
    files.settle()
    tiles = PMTiles(files, header, root)
    if header.tile_type == 0:
        await _check_kind(files, tiles, header, root)
    properties: dict[str, object] = {
        **chosen_metadata(cast("dict[str, object]", metadata)),
        "bounds": ",".join(map(str, header.bounds)),
        "center": ",".join(map(str, header.center)),
        "scheme": "xyz",
        "format": "pbf",
        "compression": header.compression,
        "archive": "PMTiles 3",
    }
    grids = [Grid.full(zoom) for zoom in range(header.min_zoom, header.max_zoom + 1)]
    return VectorSlide(describe(grids, TILE_SIZE, properties), tiles)


async def _check_kind(files: PinnedObject, tiles: PMTiles, header: Header, root: Directory) -> None:
    """Of an archive that does not say what its tiles are, look at the first one."""
    if not root.runs[0]:
        return
    start, length = header.tiles[0] + int(root.offsets[0]), int(root.lengths[0])
    data = await files.read(start, min(start + length, start + 4096))
    if header.compression in {"none", "gzip"} and kind_of(data) in {"raster", "unknown"}:
        raise UnsupportedFormat("The PMTiles archive does not hold vector tiles", feature="tile type")
