"""Reading ahead of a viewer: where somebody looks, the surroundings are looked at next.

A level is divided into cells of a few tiles. The first tile of a cell that is asked for makes the bytes of the cells
around it be read, in the background and within the limits of the store. What was read ahead once is not again.
"""

from __future__ import annotations

from microtome.formats.base import Slide
from microtome.model import Level, TileIndex

CELL = 4
"""Tiles of a cell, across and down: about one screen."""
_REMEMBERED = 20_000


class ReadAhead:
    """The cells of one open slide that have been entered, and those that have been read ahead."""

    def __init__(self, slide: Slide, *, active: bool) -> None:
        self._slide = slide
        self._active = active
        self._levels: dict[int, Level] = {}
        self._entered: set[int] = set()
        self._read: set[tuple[int, int, int]] = set()

    def learn(self, number: int, level: Level) -> None:
        """Remember a level, so that ``visit`` need not wait for it."""
        self._levels[number] = level

    def level(self, number: int) -> Level | None:
        """A level that was learned."""
        return self._levels.get(number)

    def visit(self, index: TileIndex) -> None:
        """A tile is asked for. The first one of its cell makes the cells around be read. Never waits, never raises."""
        if not self._active:
            return
        cell = (index.row // CELL << 28) | (index.column // CELL << 8) | index.level
        if cell in self._entered:
            return
        level = self._levels.get(index.level)
        if level is None:
            return
        if len(self._entered) > _REMEMBERED:
            self._entered.clear()
            self._read.clear()
        self._entered.add(cell)
        self._read_around(level, index)

    def _read_around(self, level: Level, index: TileIndex) -> None:
        here = index.column // CELL, index.row // CELL
        wanted: list[TileIndex] = []
        for row in range(max(0, here[1] - 1), here[1] + 2):
            for column in range(max(0, here[0] - 1), here[0] + 2):
                cell = (index.level, column, row)
                if cell not in self._read:
                    self._read.add(cell)
                    wanted += _tiles(level, cell)
        if wanted:
            self._slide.prefetch(wanted)


def _tiles(level: Level, cell: tuple[int, int, int]) -> list[TileIndex]:
    number, column, row = cell
    return [
        TileIndex(number, x, y)
        for y in range(row * CELL, min(level.rows, (row + 1) * CELL))
        for x in range(column * CELL, min(level.columns, (column + 1) * CELL))
    ]
