"""An open vector tile set whose tiles come from a store without a library that blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from microtome.errors import Conflict, NotFound
from microtome.formats.threads import check_planes
from microtome.formats.vector.facts import zooms_of
from microtome.model import EncodedTile, Level, SlideInfo, TileIndex, of_level


class Tiles(Protocol):
    """Where tiles come from. ``column`` and ``row`` lie inside of the zoom's grid; row 0 is on top."""

    async def fetch(self, zoom: int, column: int, row: int) -> EncodedTile | None:
        """The tile, or None when it does not exist. Raises what ``Slide.read_tile`` raises."""
        ...

    def peek(self, zoom: int, column: int, row: int) -> EncodedTile | None:
        """The tile if it can be had at once, else None. Never raises."""
        ...


def missing(zoom: int, column: int, row: int) -> NotFound:
    """The tile is not in the set."""
    return NotFound("tile", f"{zoom}/{column}/{row}")


class VectorSlide:
    """See ``formats.base.Slide``. A tile inside of the grid that is not stored is NotFound(what="tile")."""

    def __init__(self, info: SlideInfo, tiles: Tiles) -> None:
        self._info = info
        self._tiles = tiles
        self._zooms = zooms_of(info)
        self._closed = False

    async def info(self) -> SlideInfo:
        """The facts."""
        return self._info

    async def level(self, number: int) -> Level:
        """One level. Raises InvalidRequest(parameter="level")."""
        return of_level(self._info.levels, number)

    async def read_tile(self, index: TileIndex) -> EncodedTile:
        """The stored tile. Raises NotFound(what="tile") for one that is not there."""
        (await self.level(index.level)).check_tile(index)
        check_planes(self._info, index)
        if self._closed:
            raise Conflict("The slide was closed; ask again")
        zoom = self._zooms[index.level]
        tile = await self._tiles.fetch(zoom, index.column, index.row)
        if tile is None:
            raise missing(zoom, index.column, index.row)
        return tile

    def peek_tile(self, index: TileIndex) -> EncodedTile | None:
        """The stored tile if its bytes are in reach."""
        if self._closed or index.z or index.t or not 0 <= index.level < len(self._zooms):
            return None
        level = self._info.levels[index.level]
        if not (0 <= index.column < level.columns and 0 <= index.row < level.rows):
            return None
        return self._tiles.peek(self._zooms[index.level], index.column, index.row)

    def prefetch(self, indices: Sequence[TileIndex]) -> None:
        """Nothing: vector tiles are few, and small."""

    async def read_associated(self, name: str) -> EncodedTile:
        """There is none."""
        raise NotFound("associated image", name)

    async def close(self) -> None:
        """Later reads fail with Conflict."""
        self._closed = True
