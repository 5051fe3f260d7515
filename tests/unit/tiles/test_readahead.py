"""Which tiles are read ahead, and that none is twice."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from microtome.errors import NotFound
from microtome.model import EncodedTile, Level, Raster, Size, SlideInfo, TileIndex
from microtome.tiles import readahead
from microtome.tiles.readahead import CELL, ReadAhead

LEVEL = Level(Size(10 * 256 - 5, 6 * 256 - 5), Size(256, 256), 1.0)
"""10 x 6 tiles: 3 x 2 cells, those at the right and bottom not full."""


class Recorder:
    """A slide of which only the hints are of interest."""

    def __init__(self) -> None:
        self.hints: list[list[TileIndex]] = []

    def prefetch(self, indices: Sequence[TileIndex]) -> None:
        self.hints.append(list(indices))

    async def info(self) -> SlideInfo:
        raise AssertionError("not to be asked")

    async def level(self, number: int) -> Level:
        raise AssertionError("not to be asked")

    async def read_tile(self, index: TileIndex) -> EncodedTile | Raster:
        raise AssertionError("not to be asked")

    def peek_tile(self, index: TileIndex) -> EncodedTile | None:
        raise AssertionError("not to be asked")

    async def read_associated(self, name: str) -> EncodedTile | Raster:
        raise NotFound("associated image", name)

    async def close(self) -> None:
        raise AssertionError("not to be asked")


def looked_at(level: Level = LEVEL, *, active: bool = True) -> tuple[ReadAhead, Recorder]:
    slide = Recorder()
    ahead = ReadAhead(slide, active=active)
    ahead.learn(0, level)
    return ahead, slide


def around(level: Level, index: TileIndex) -> set[TileIndex]:
    """Every tile of the level whose cell is that of ``index`` or touches it."""
    return {
        TileIndex(index.level, x, y)
        for x in range(level.columns)
        for y in range(level.rows)
        if abs(x // CELL - index.column // CELL) <= 1 and abs(y // CELL - index.row // CELL) <= 1
    }


@pytest.mark.parametrize("place", [(0, 0), (3, 3), (4, 0), (9, 5), (5, 4)])
def test_the_first_tile_of_a_cell_reads_the_cells_around(place: tuple[int, int]) -> None:
    ahead, slide = looked_at()
    ahead.visit(TileIndex(0, *place))
    (hint,) = slide.hints
    assert len(hint) == len(set(hint))
    assert set(hint) == around(LEVEL, TileIndex(0, *place))


def test_the_other_tiles_of_a_cell_read_nothing() -> None:
    ahead, slide = looked_at()
    for row in range(CELL):
        for column in range(CELL):
            ahead.visit(TileIndex(0, column, row))
            ahead.visit(TileIndex(0, column, row))
    assert len(slide.hints) == 1


def test_every_tile_of_a_level_is_read_ahead_once_on_any_way_over_it() -> None:
    big = Level(Size(50 * 256, 40 * 256), Size(256, 256), 1.0)
    ahead, slide = looked_at(big)
    wanted: set[TileIndex] = set()
    for step in range(400):
        index = TileIndex(0, step * 7 % 50, step * 11 % 40)
        ahead.visit(index)
        wanted |= around(big, index)
    hinted = [index for hint in slide.hints for index in hint]
    assert len(hinted) == len(set(hinted))
    assert set(hinted) == wanted


def test_levels_have_cells_of_their_own() -> None:
    ahead, slide = looked_at()
    ahead.learn(1, LEVEL)
    ahead.visit(TileIndex(0, 0, 0))
    ahead.visit(TileIndex(1, 0, 0))
    assert [hint[0].level for hint in slide.hints] == [0, 1]
    assert [len(hint) for hint in slide.hints] == [48, 48]


def test_no_hint_is_empty() -> None:
    ahead, slide = looked_at(Level(Size(8 * 256, 4 * 256), Size(256, 256), 1.0))
    ahead.visit(TileIndex(0, 0, 0))
    ahead.visit(TileIndex(0, 7, 0))
    assert [len(hint) for hint in slide.hints] == [32]


def test_a_level_that_is_not_known_yet_is_no_error_and_not_forgotten() -> None:
    slide = Recorder()
    ahead = ReadAhead(slide, active=True)
    ahead.visit(TileIndex(0, 0, 0))
    assert slide.hints == []
    ahead.learn(0, LEVEL)
    ahead.visit(TileIndex(0, 0, 0))
    assert len(slide.hints) == 1


@pytest.mark.parametrize("index", [TileIndex(0, 10**6, 10**6), TileIndex(0, -1, -1), TileIndex(7, 0, 0)])
def test_tiles_that_do_not_exist_hint_at_no_others_that_do_not(index: TileIndex) -> None:
    ahead, slide = looked_at()
    ahead.visit(index)
    assert all(0 <= i.column < 10 and 0 <= i.row < 6 for hint in slide.hints for i in hint)


def test_a_store_at_hand_needs_no_reading_ahead() -> None:
    ahead, slide = looked_at(active=False)
    ahead.visit(TileIndex(0, 0, 0))
    assert slide.hints == []


def test_the_memory_of_cells_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readahead, "_REMEMBERED", 10)
    level = Level(Size(4000 * 256, 256), Size(256, 256), 1.0)
    ahead, slide = looked_at(level)
    for column in range(0, 4000, CELL):
        ahead.visit(TileIndex(0, column, 0))
        assert len(ahead._entered) <= 11
        assert len(ahead._read) <= 3 * 11
    assert {index.column for hint in slide.hints for index in hint} == set(range(4000))
