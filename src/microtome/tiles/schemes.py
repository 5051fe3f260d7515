"""Arithmetic of tile schemes. Pure; px and zero-based indices throughout."""

from __future__ import annotations

from dataclasses import dataclass

from microtome.errors import InvalidRequest
from microtome.model import Rectangle, Size


@dataclass(frozen=True, slots=True)
class DeepZoom:
    """The Deep Zoom pyramid over an image of ``size``: level ``max_level`` is full resolution, level 0 one pixel.

    Each level has half the size of the next, rounded up. Tiles are ``tile_size`` px square without overlap; those at
    the right and bottom edge are smaller.
    """

    size: Size
    tile_size: int

    @property
    def max_level(self) -> int:
        """Number of the full-resolution level: ceil(log2(longest side))."""
        return (max(self.size) - 1).bit_length()

    def level_size(self, level: int) -> Size:
        """Size in px of a Deep Zoom level. Raises InvalidRequest(parameter="level")."""
        if not 0 <= level <= self.max_level:
            raise InvalidRequest(
                f"Deep Zoom level {level} does not exist; valid levels are 0-{self.max_level}", parameter="level"
            )
        shift = self.max_level - level
        return Size(-(-self.size.width >> shift), -(-self.size.height >> shift))

    def downsample(self, level: int) -> int:
        """Level-0 px per px of a Deep Zoom level."""
        return 1 << (self.max_level - level)

    def tile(self, level: int, column: int, row: int) -> Rectangle:
        """The rectangle of a tile in px of its Deep Zoom level. Raises InvalidRequest(level or tile)."""
        size = self.level_size(level)
        columns, rows = -(-size.width // self.tile_size), -(-size.height // self.tile_size)
        if not (0 <= column < columns and 0 <= row < rows):
            raise InvalidRequest(
                f"Tile ({column}, {row}) is outside of Deep Zoom level {level} (max: {columns - 1}, {rows - 1})",
                parameter="tile",
            )
        left, top = column * self.tile_size, row * self.tile_size
        return Rectangle(left, top, min(self.tile_size, size.width - left), min(self.tile_size, size.height - top))
