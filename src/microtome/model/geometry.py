"""Geometry of a slide, in whole pixels. x runs right, y down, from the top left corner of the level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from microtome.errors import InvalidRequest

T = TypeVar("T")


class Size(NamedTuple):
    """Width and height in px."""

    width: int
    height: int


class TileIndex(NamedTuple):
    """Which tile: zero-based; level 0 is full resolution, ``column`` counts right, ``row`` down.

    ``z`` is the focal plane, ``t`` the time point, both zero-based.
    """

    level: int
    column: int
    row: int
    z: int = 0
    t: int = 0


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A rectangle of a level in px of that level: left, top, width, height. May reach outside of the level."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of the pyramid.

    ``size`` and ``tile_size`` are px of this level. ``downsample`` is level-0 px per px of this level: the mean of the
    width ratio and the height ratio, 1.0 for level 0.
    """

    size: Size
    tile_size: Size
    downsample: float

    @property
    def columns(self) -> int:
        """Tiles across."""
        return -(-self.size.width // self.tile_size.width)

    @property
    def rows(self) -> int:
        """Tiles down."""
        return -(-self.size.height // self.tile_size.height)

    def check_tile(self, index: TileIndex) -> None:
        """Raise InvalidRequest(parameter="tile") when the tile lies outside of the grid."""
        if not (0 <= index.column < self.columns and 0 <= index.row < self.rows):
            raise InvalidRequest(
                f"Tile ({index.column}, {index.row}) is outside of level {index.level}"
                f" (max: {self.columns - 1}, {self.rows - 1})",
                parameter="tile",
            )


def of_level(items: Sequence[T], number: int) -> T:
    """What belongs to level ``number``. Raises InvalidRequest(parameter="level") when there is no such level."""
    if not 0 <= number < len(items):
        raise InvalidRequest(
            f"Level {number} does not exist; the slide has {len(items)} levels (0-{len(items) - 1})", parameter="level"
        )
    return items[number]
