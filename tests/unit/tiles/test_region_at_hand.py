"""Regions of tiles that are at hand: fewer jobs than tiles, the same pixels, and nothing read that was there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray

from microtome.model import Channel, EncodedTile, Level, Raster, Rectangle, Size, SlideInfo, TileIndex
from microtome.tiles.raster import read_raster
from microtome.tiles.workers import RenderWorkers

SIDE, COLUMNS, ROWS = 16, 9, 7
LEVEL = Level(Size(SIDE * COLUMNS, SIDE * ROWS), Size(SIDE, SIDE), 1.0)
PIXELS = np.random.default_rng(1).integers(0, 256, (SIDE * ROWS, SIDE * COLUMNS, 3), dtype=np.uint8)


class Shelf:
    """A slide of PNG tiles, of which those that ``at_hand`` names need no waiting."""

    def __init__(self, at_hand: Callable[[TileIndex], bool]) -> None:
        self._at_hand = at_hand
        self.reads: list[TileIndex] = []

    async def info(self) -> SlideInfo:
        channels = tuple(Channel(name) for name in "RGB")
        return SlideInfo("a shelf", (LEVEL,), channels)

    async def level(self, number: int) -> Level:
        return LEVEL

    async def read_tile(self, index: TileIndex) -> EncodedTile | Raster:
        self.reads.append(index)
        return self._tile(index)

    def peek_tile(self, index: TileIndex) -> EncodedTile | None:
        return self._tile(index) if self._at_hand(index) else None

    def _tile(self, index: TileIndex) -> EncodedTile:
        top, left = SIDE * index.row, SIDE * index.column
        data = imagecodecs.png_encode(np.ascontiguousarray(PIXELS[top : top + SIDE, left : left + SIDE]))
        return EncodedTile(bytes(data), "image/png", Size(SIDE, SIDE), "rgb")


class CountingWorkers(RenderWorkers):
    """Counts jobs."""

    jobs = 0

    async def run(self, job: Callable[[], Any]) -> Any:
        self.jobs += 1
        return await super().run(job)


async def whole(slide: Shelf) -> tuple[NDArray[np.generic], int]:
    workers = CountingWorkers(2, 20)
    try:
        raster = await read_raster(
            slide,  # type: ignore[arg-type]
            workers,
            TileIndex(0, 0, 0),
            Rectangle(0, 0, *LEVEL.size),
            (255, 255, 255),
            max_pixels=1 << 30,
        )
    finally:
        workers.close()
    return raster.array, workers.jobs


async def test_tiles_at_hand_share_jobs_and_are_not_read() -> None:
    slide = Shelf(lambda _: True)
    array, jobs = await whole(slide)
    np.testing.assert_array_equal(array, PIXELS)
    assert slide.reads == []
    assert 2 <= jobs <= 2 + COLUMNS * ROWS // 8


async def test_tiles_that_must_be_fetched_have_a_job_each() -> None:
    """So that waiting for one never delays the decoding of another."""
    slide = Shelf(lambda _: False)
    array, jobs = await whole(slide)
    np.testing.assert_array_equal(array, PIXELS)
    assert len(slide.reads) == COLUMNS * ROWS
    assert jobs == 1 + COLUMNS * ROWS


@pytest.mark.parametrize("away", [{(1, 0)}, {(8, 6)}, {(0, 0)}, {(column, 3) for column in range(COLUMNS)}])
async def test_what_is_missing_among_them_is_read(away: set[tuple[int, int]]) -> None:
    slide = Shelf(lambda index: (index.column, index.row) not in away)
    array, _ = await whole(slide)
    np.testing.assert_array_equal(array, PIXELS)
    assert {(index.column, index.row) for index in slide.reads} == away
