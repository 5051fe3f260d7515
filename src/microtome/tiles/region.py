"""Pixels of any rectangle of a level, put together from its tiles."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microtome.errors import CorruptData, LimitExceeded
from microtome.formats.base import Slide
from microtome.model import EncodedTile, Level, Raster, Rectangle, TileIndex
from microtome.pixels.channels import ChannelStyle
from microtome.pixels.render import to_display
from microtome.tiles.workers import RenderWorkers

TILES_AT_ONCE = 8
"""Tiles of one region that are read and decoded at the same time: enough to hide latency, too few to crowd out."""

Plane = tuple[int, int]
"""Focal plane and time point."""
FIRST_PLANE = (0, 0)
MOST_TILES = 250_000
"""Tiles of one region. Honest files need far fewer; forged ones may have tiles of a single px."""

Place = Callable[[TileIndex, NDArray[np.uint8]], None]


def covering(level: Level, number: int, rectangle: Rectangle, plane: Plane = FIRST_PLANE) -> list[TileIndex]:
    """The tiles of a plane of a level that touch a rectangle, row by row. Raises LimitExceeded above MOST_TILES."""
    width, height = level.tile_size
    first_column, first_row = max(0, rectangle.left // width), max(0, rectangle.top // height)
    last_column = min(level.columns, -(-(rectangle.left + rectangle.width) // width))
    last_row = min(level.rows, -(-(rectangle.top + rectangle.height) // height))
    count = max(0, last_column - first_column) * max(0, last_row - first_row)
    if count > MOST_TILES:
        raise LimitExceeded(
            f"The region consists of {count} tiles, more than the {MOST_TILES} this server reads at once",
            limit="tiles of a region",
            value=count,
        )
    return [
        TileIndex(number, column, row, *plane)
        for row in range(first_row, last_row)
        for column in range(first_column, last_column)
    ]


async def for_each_tile(
    slide: Slide,
    workers: RenderWorkers,
    indices: list[TileIndex],
    place: Callable[[TileIndex, NDArray[np.uint8]], None],
    styles: Sequence[ChannelStyle] = (),
) -> None:
    """Call ``place`` with the display pixels (height, width, 3) of each tile, in any order, in a render thread."""
    await for_each_read(slide, workers, indices, lambda index, tile: place(index, to_display(tile, styles)))


async def for_each_read(
    slide: Slide,
    workers: RenderWorkers,
    indices: list[TileIndex],
    place: Callable[[TileIndex, EncodedTile | Raster], None],
) -> None:
    """Call ``place`` with each tile as the slide gives it, in any order, in a render thread."""
    waiting = iter(indices)
    # To hand a job to a thread costs half as much as to decode a tile; of tiles that are at hand it takes several.
    at_hand = bool(indices) and slide.peek_tile(indices[0]) is not None
    together = min(TILES_AT_ONCE, max(1, len(indices) // 4)) if at_hand else 1

    async def worker() -> None:
        while some := [*islice(waiting, together)]:
            tiles = [(index, slide.peek_tile(index) or await slide.read_tile(index)) for index in some]
            await workers.run(lambda tiles=tiles: [place(index, tile) for index, tile in tiles])

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(TILES_AT_ONCE, workers.limit, -(-len(indices) // together))):
                group.create_task(worker())
    except ExceptionGroup as failures:
        # One reason is enough for the caller, who knows errors by their class.
        raise failures.exceptions[0] from failures


async def read_region(
    slide: Slide,
    workers: RenderWorkers,
    number: int,
    rectangle: Rectangle,
    *,
    max_pixels: int,
    plane: Plane = FIRST_PLANE,
    styles: Sequence[ChannelStyle] = (),
) -> NDArray[np.uint8]:
    """Display pixels (height, width, 3) of a rectangle of level ``number`` in a plane.

    White where it leaves the level, black there when drawn in ``styles``.

    Raises LimitExceeded above ``max_pixels`` before anything is read or allocated.
    """
    pixels = rectangle.width * rectangle.height
    if pixels > max_pixels:
        raise LimitExceeded(
            f"A region of {rectangle.width} x {rectangle.height} px is larger than the {max_pixels} px this server"
            " renders at once; ask for a smaller one or a coarser level",
            limit="max_region_pixels",
            value=pixels,
        )
    level = await slide.level(number)
    indices = covering(level, number, rectangle, plane)
    shape = rectangle.height, rectangle.width, 3
    # In a thread: touching so much memory for the first time takes tens of ms.
    canvas = await asyncio.to_thread(np.full, shape, 0 if styles else 255, np.uint8)

    def place(at: TileIndex, pixels: NDArray[np.uint8]) -> None:
        paste(canvas, rectangle, pixels, at, level)

    await for_each_tile(slide, workers, indices, place, styles)
    return canvas


def paste(canvas: NDArray[Any], rectangle: Rectangle, pixels: NDArray[Any], index: TileIndex, level: Level) -> None:
    """Copy the part of a tile that lies in the rectangle and in the level (padding of edge tiles does not)."""
    left, top = index.column * level.tile_size.width, index.row * level.tile_size.height
    right = min(left + pixels.shape[1], level.size.width, rectangle.left + rectangle.width)
    bottom = min(top + pixels.shape[0], level.size.height, rectangle.top + rectangle.height)
    x, y = max(left, rectangle.left), max(top, rectangle.top)
    if pixels.shape[2] != canvas.shape[2]:
        raise CorruptData(f"A tile has {pixels.shape[2]} channels where the slide has {canvas.shape[2]}")
    if x < right and y < bottom:
        canvas[y - rectangle.top : bottom - rectangle.top, x - rectangle.left : right - rectangle.left] = pixels[
            y - top : bottom - top, x - left : right - left
        ]
