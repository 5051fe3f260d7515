"""A single vector tile as a set of one zoom with one tile, served as it is stored."""

from __future__ import annotations

from microtome.errors import CorruptData, LimitExceeded, UnsupportedFormat
from microtome.formats.vector.facts import TILE_SIZE, Grid, describe
from microtome.formats.vector.payload import (
    MAX_TILE_BYTES,
    check_tile,
    encoded,
    inflate,
    is_gzip,
    kind_of,
    media_type_of,
)
from microtome.formats.vector.slide import VectorSlide
from microtome.model import EncodedTile
from microtome.storage.pinned import PinnedObject


class SingleTile:
    """See ``slide.Tiles``."""

    def __init__(self, files: PinnedObject, media_type: str) -> None:
        self._files = files
        self._media_type = media_type

    async def fetch(self, zoom: int, column: int, row: int) -> EncodedTile | None:
        """The file."""
        return encoded(await self._files.read(0, self._files.size), self._media_type, TILE_SIZE)

    def peek(self, zoom: int, column: int, row: int) -> EncodedTile | None:
        """The file if it is in reach."""
        data = self._files.peek(0, self._files.size)
        return None if data is None else encoded(data, self._media_type, TILE_SIZE)


async def open_single(files: PinnedObject) -> VectorSlide:
    """Open a vector tile. Raises CorruptData for one that is none, LimitExceeded."""
    if files.size > MAX_TILE_BYTES:
        raise LimitExceeded(
            f"The vector tile is larger than {MAX_TILE_BYTES >> 20} MB", limit="MAX_TILE_BYTES", value=files.size
        )
    await files.read(0, min(files.size, 4096))
    files.settle()
    data = await files.read(0, files.size)
    if kind_of(data) == "raster":
        raise UnsupportedFormat("The file is a picture with the name of a vector tile", feature="tile type")
    content = inflate(data) if is_gzip(data) else data
    try:
        check_tile(content)
    except CorruptData as error:
        raise CorruptData(f"The file is no vector tile: {error.message}") from error
    name = files.key.rsplit("/", 1)[-1]
    compression = "gzip" if is_gzip(data) else "none"
    info = describe([Grid.full(0)], TILE_SIZE, {"name": name, "format": "pbf", "compression": compression})
    return VectorSlide(info, SingleTile(files, media_type_of(name)))
