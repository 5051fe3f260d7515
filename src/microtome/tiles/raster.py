"""Samples of any rectangle of a level as they are stored: all channels, full bit depth, one focal plane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from microtome.errors import LimitExceeded
from microtome.formats.base import Slide
from microtome.model import EncodedTile, Raster, Rectangle, SlideInfo, TileIndex
from microtome.pixels import codecs
from microtome.tiles.region import covering, for_each_read, paste
from microtome.tiles.workers import RenderWorkers

Padding = tuple[int, int, int]
MAX_BYTES = 512 << 20


def decoded(tile: EncodedTile | Raster) -> Raster:
    """The samples of what a slide gave."""
    return codecs.decode(tile) if isinstance(tile, EncodedTile) else tile


def blank(shape: tuple[int, int], names: Sequence[str], dtype: np.dtype[np.generic], padding: Padding) -> Raster:
    """An area outside of the slide. The padding colour where channels have 8 bits (the first is R, the second G, all
    others B), zero in deeper ones: nothing shines there.
    """
    array: NDArray[np.generic] = np.zeros((*shape, len(names)), dtype)
    if dtype == np.uint8:
        row = np.empty((shape[1], len(names)), np.uint8)
        row[:] = [padding[min(number, 2)] for number in range(len(names))]
        array[:] = row  # whole rows are copied ten times as fast as pixels
    return Raster(array, tuple(names))


def cropped(raster: Raster, width: int, height: int) -> Raster:
    """The top left part."""
    if raster.size == (width, height):
        return raster
    return Raster(raster.array[:height, :width], raster.channels)


def padded(raster: Raster, width: int, height: int, padding: Padding) -> Raster:
    """On a larger area, at its top left."""
    whole = blank((height, width), raster.channels, raster.array.dtype, padding)
    whole.array[: raster.size.height, : raster.size.width] = raster.array
    return whole


async def read_raster(
    slide: Slide,
    workers: RenderWorkers,
    index: TileIndex,
    rectangle: Rectangle,
    padding: Padding,
    *,
    max_pixels: int,
) -> Raster:
    """The rectangle of level ``index.level`` in plane ``index.z``, ``index.t``; padded where it leaves the level.

    Raises LimitExceeded above ``max_pixels`` px or MAX_BYTES bytes before anything is read or allocated.
    """
    info, level = await slide.info(), await slide.level(index.level)
    check_size(rectangle, info, max_pixels)
    names = [channel.name for channel in info.channels]
    shape, dtype = (rectangle.height, rectangle.width), np.dtype(info.dtype)
    indices = covering(level, index.level, rectangle, (index.z, index.t))
    canvas = await workers.run(lambda: blank(shape, names, dtype, padding))

    def place(at: TileIndex, tile: EncodedTile | Raster) -> None:
        paste(canvas.array, rectangle, decoded(tile).array, at, level)

    await for_each_read(slide, workers, indices, place)
    return canvas


def check_size(rectangle: Rectangle, info: SlideInfo, max_pixels: int) -> int:
    """The bytes of all channels of a rectangle. Raises LimitExceeded as ``read_raster`` does."""
    pixels = rectangle.width * rectangle.height
    nbytes = pixels * len(info.channels) * np.dtype(info.dtype).itemsize
    if pixels > max_pixels or nbytes > MAX_BYTES:
        raise LimitExceeded(
            f"Requested region may not contain more than {max_pixels} pixels."
            if pixels > max_pixels
            else f"The region would have {nbytes >> 20} MB in all channels; at most {MAX_BYTES >> 20} MB are rendered"
            " at once",
            limit="max_region_pixels",
            value=pixels,
        )
    return nbytes
