"""Sparse tilings, focal planes, optical paths and concatenations, from a store that has no paths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from microtome.errors import InvalidRequest, NotFound
from microtome.formats.base import Slide
from microtome.formats.wsidicom import WsidicomFormat
from microtome.model import EncodedTile, Raster, TileIndex
from microtome.pixels import codecs
from microtome.storage.folder import open_files
from microtome.storage.memory import MemoryStore
from tests.unit.wsidicom.dicommaker import JPEG, JPEG_2000, JPEG_LS, RAW, TILE, instance, tiles


async def opened(*files: bytes) -> tuple[Slide, MemoryStore]:
    store = MemoryStore({f"slide/{number}.dcm": data for number, data in enumerate(files)})
    return await WsidicomFormat().open(await open_files(store, "slide")), store


def samples(tile: EncodedTile | Raster) -> NDArray[Any]:
    return (codecs.decode(tile) if isinstance(tile, EncodedTile) else tile).array


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("syntax", [RAW, JPEG, JPEG_2000, JPEG_LS])
async def test_every_compression_in_both_tilings(syntax: str, sparse: bool) -> None:
    found = tiles(3, 2)
    slide, _ = await opened(instance(found, size=(3 * TILE, 2 * TILE), syntax=syntax, sparse=sparse))
    for (_, _, row, column), wanted in found.items():
        tile = await slide.read_tile(TileIndex(0, column, row))
        assert np.abs(samples(tile).astype(int) - wanted).max() <= (4 if syntax == JPEG else 0)
        kind = {JPEG: "image/jpeg", JPEG_2000: "image/j2c"}.get(syntax)
        assert (tile.media_type if isinstance(tile, EncodedTile) else None) == kind
    await slide.close()


async def test_missing_tiles_are_white_in_colour_and_dark_in_fluorescence() -> None:
    for count, value in ((3, 255), (1, 0)):
        found = tiles(2, 2, samples=count)
        del found[0, 0, 0, 1]
        slide, _ = await opened(instance(found, size=(2 * TILE, 2 * TILE), sparse=True, syntax=JPEG))
        blank = await slide.read_tile(TileIndex(0, 1, 0))
        assert isinstance(blank, Raster)
        assert blank.array.shape == (TILE, TILE, count)
        assert (blank.array == value).all()
        assert slide.peek_tile(TileIndex(0, 1, 0)) is None
        assert isinstance(slide.peek_tile(TileIndex(0, 0, 0)), EncodedTile)
        await slide.close()


@pytest.mark.parametrize("sparse", [False, True])
async def test_focal_planes_and_stains_of_sixteen_bits(sparse: bool) -> None:
    found = tiles(2, 1, paths=2, planes=3, samples=1, dtype="uint16")
    slide, _ = await opened(
        instance(found, size=(2 * TILE, TILE), planes=(0.0, 1.5, 3.0), paths=("a", "b"), sparse=sparse)
    )
    info = await slide.info()
    assert (info.focal_planes, info.dtype, info.time_points) == (3, "uint16", 1)
    assert [channel.name for channel in info.channels] == ["stain 0", "stain 1"]
    assert info.magnification == 40
    assert info.spacing_um == pytest.approx((0.5, 0.4))  # Pixel Spacing is (row, column)
    for plane in range(3):
        for column in range(2):
            tile = samples(await slide.read_tile(TileIndex(0, column, 0, plane)))
            for path in range(2):
                np.testing.assert_array_equal(tile[:, :, path], found[path, plane, 0, column][:, :, 0])
    with pytest.raises(InvalidRequest) as refused:
        await slide.read_tile(TileIndex(0, 0, 0, 3))
    assert refused.value.parameter == "z"
    await slide.close()


async def test_stains_and_planes_may_be_instances_of_their_own() -> None:
    found = tiles(2, 1, paths=2, planes=2, samples=1)
    files = [
        instance(
            {(0, 0, row, column): array for (p, z, row, column), array in found.items() if (p, z) == (path, plane)},
            size=(2 * TILE, TILE), planes=(2.0 * plane,), paths=("ab"[path],), sparse=True,
            SOPInstanceUID=f"1.2.9.{path}.{plane}",
        )
        for path in range(2) for plane in range(2)
    ]  # fmt: skip
    slide, _ = await opened(*files)
    info = await slide.info()
    assert (info.focal_planes, len(info.channels), len(info.levels)) == (2, 2, 1)
    for plane in range(2):
        tile = samples(await slide.read_tile(TileIndex(0, 1, 0, plane)))
        for path in range(2):
            np.testing.assert_array_equal(tile[:, :, path], found[path, plane, 0, 1][:, :, 0])
    await slide.close()


async def test_a_concatenation_is_one_image() -> None:
    found = tiles(3, 3)
    keys = list(found)
    size = (3 * TILE, 3 * TILE)
    files = [instance(found, size=size, part=(start, keys[start : start + 4]), syntax=JPEG) for start in (4, 0, 8)]
    slide, _ = await opened(*files)
    assert len((await slide.info()).levels) == 1
    for (_, _, row, column), wanted in found.items():
        tile = samples(await slide.read_tile(TileIndex(0, column, row)))
        assert np.abs(tile.astype(int) - wanted).max() <= 4
    await slide.close()


async def test_levels_and_pictures_of_other_flavours() -> None:
    base, half, label = tiles(2, 2), tiles(1, 1), tiles(2, 1)
    files = [
        instance(half, size=(TILE, TILE), ImageType=["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]),
        instance(base, size=(2 * TILE, 2 * TILE)),
        instance(label, size=(2 * TILE, TILE), ImageType=["ORIGINAL", "PRIMARY", "LABEL", "NONE"],
                 SOPInstanceUID="1.2.3.76"),
        instance(half, size=(TILE, TILE), ImageType=["ORIGINAL", "PRIMARY", "OVERVIEW", "NONE"], syntax=JPEG,
                 SOPInstanceUID="1.2.3.77"),
        instance(base, size=(2 * TILE, 2 * TILE), SeriesInstanceUID="1.2.3.4", SOPInstanceUID="1.2.3.78"),
    ]  # fmt: skip
    slide, _ = await opened(*files)
    info = await slide.info()
    assert [(tuple(level.size), level.downsample) for level in info.levels] == [((32, 32), 1.0), ((16, 16), 2.0)]
    assert [(each.name, tuple(each.size)) for each in info.associated] == [("label", (32, 16)), ("macro", (16, 16))]
    whole = samples(await slide.read_associated("label"))
    np.testing.assert_array_equal(whole[:, TILE:], label[0, 0, 0, 1])
    assert isinstance(await slide.read_associated("macro"), EncodedTile)
    with pytest.raises(NotFound):
        await slide.read_associated("thumbnail")
    assert info.properties["microtome.instances_left_out"] == "1"
    await slide.close()


async def test_a_tile_costs_the_bytes_of_its_frame() -> None:
    found = tiles(40, 40)
    slide, store = await opened(instance(found, size=(40 * TILE, 40 * TILE), syntax=JPEG, sparse=True))
    await slide.read_tile(TileIndex(0, 0, 0))
    before, requests = store.bytes_read, store.requests
    tile = await slide.read_tile(TileIndex(0, 30, 38))
    assert isinstance(tile, EncodedTile)
    assert store.requests == requests + 1
    assert store.bytes_read - before <= len(tile.data) + 2
    assert slide.peek_tile(TileIndex(0, 30, 38)) == tile
    assert store.requests == requests + 1
    for index in (TileIndex(0, 40, 0), TileIndex(0, 0, 0, 1), TileIndex(1, 0, 0), TileIndex(0, 0, 0, 0, 1)):
        assert slide.peek_tile(index) is None
    slide.prefetch([TileIndex(9, 9, 9), TileIndex(0, 99, 0), TileIndex(0, 1, 1), TileIndex(0, 0, 0, 7)])
    await slide.close()
