"""TIFF files written by tifffile, the oracle of these tests, and the way to compare a slide with it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from microtome.formats.base import Slide
from microtome.formats.tifffile import TifffileFormat
from microtome.model import EncodedTile, Raster, SlideInfo, TileIndex
from microtome.pixels import codecs
from microtome.storage.memory import MemoryStore
from microtome.storage.pinned import PinnedObject


def samples(shape: Sequence[int], dtype: str = "uint16", seed: int = 1) -> NDArray[Any]:
    """Noise, never zero, so that what is missing is seen."""
    return np.random.default_rng(seed).integers(1, 100 if dtype == "int8" else 250, size=shape).astype(dtype)


def ome(
    data: NDArray[Any],
    axes: str,
    levels: Sequence[NDArray[Any]] = (),
    metadata: Mapping[str, Any] | None = None,
    **options: Any,
) -> bytes:
    """An OME-TIFF; ``levels`` become SubIFDs."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file, ome=True, bigtiff=options.pop("bigtiff", False)) as writer:
        writer.write(data, subifds=len(levels), metadata={"axes": axes, **(metadata or {})}, **options)
        for level in levels:
            writer.write(level, subfiletype=1, metadata=None, **options)
    return file.getvalue()


async def opened(files: bytes | Mapping[str, bytes] | Any, key: str = "x.ome.tif") -> Slide:
    """The slide ``key`` of a store, or of these bytes."""
    if isinstance(files, bytes):
        files = {key: files}
    store = MemoryStore(files) if isinstance(files, Mapping) else files
    return await TifffileFormat().open(await PinnedObject.open(store, key))


async def read(slide: Slide, index: TileIndex) -> Raster:
    """The samples of a tile, decoded if it came as stored."""
    tile = await slide.read_tile(index)
    return codecs.decode(tile) if isinstance(tile, EncodedTile) else tile


def plane(array: NDArray[Any], axes: str, z: int, t: int) -> NDArray[Any]:
    """(height, width, channels) of an array of tifffile with axes as it names them; samples behind channels."""
    for axis, place in (("T", t), ("Z", z)):
        if axis in axes:
            at = axes.index(axis)
            array, axes = array.take(place, axis=at), axes[:at] + axes[at + 1 :]
    for axis in set(axes) - set("YXCS"):
        at = axes.index(axis)
        assert array.shape[at] == 1
        array, axes = array.take(0, axis=at), axes[:at] + axes[at + 1 :]
    for axis in "CS":
        if axis not in axes:
            array, axes = array[..., np.newaxis], axes + axis
    array = array.transpose([axes.index(axis) for axis in "YXCS"])
    return array.reshape(*array.shape[:2], -1)


async def compare(slide: Slide, levels: Sequence[Any], *, tolerance: float = 0, everywhere: bool = True) -> SlideInfo:
    """Every tile (else the corners) of every plane of every level against (axes, array) of ``series``."""
    info = await slide.info()
    assert len(info.levels) == len(levels)
    for number, (level, (axes, whole)) in enumerate(zip(info.levels, levels, strict=True)):
        for z in range(info.focal_planes):
            for t in range(info.time_points):
                expected = plane(whole, axes, z, t)
                if len(info.channels) == 3 and expected.shape[2] == 4:
                    expected = expected[..., :3]
                assert expected.shape == (level.size.height, level.size.width, len(info.channels))
                rows, columns = range(level.rows), range(level.columns)
                places = [(c, r) for r in rows for c in columns]
                if not everywhere:
                    places = sorted({(0, 0), (columns[-1], rows[-1]), (columns[-1] // 2, rows[-1] // 2)})
                for column, row in places:
                    tile = await read(slide, TileIndex(number, column, row, z, t))
                    y, x = row * level.tile_size.height, column * level.tile_size.width
                    wanted = expected[y : y + level.tile_size.height, x : x + level.tile_size.width]
                    found = tile.array[: wanted.shape[0], : wanted.shape[1]]
                    assert found.dtype == wanted.dtype == np.dtype(info.dtype)
                    if tolerance:
                        assert np.abs(found.astype(float) - wanted.astype(float)).max() <= tolerance
                    else:
                        np.testing.assert_array_equal(found, wanted)
    return info


def series(data: bytes | Path) -> list[Any]:
    """The levels of the first series as tifffile sees them, with their samples read."""
    with tifffile.TiffFile(io.BytesIO(data) if isinstance(data, bytes) else data) as file:
        found = file.series[0]
        return [(level.get_axes(squeeze=False), level.asarray(squeeze=False)) for level in found.levels]
