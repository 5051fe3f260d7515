"""VSI files with their tiles beside them, from disk and through local copies."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from microtome.errors import LimitExceeded, MicrotomeError, UnsupportedFormat
from microtome.formats.base import Slide
from microtome.formats.vsi import VsiFormat
from microtome.model import Raster, TileIndex
from microtome.storage.copies import LocalCopies
from microtome.storage.folder import open_files
from microtome.storage.memory import MemoryStore
from tests.unit.vsi.vsimaker import JPEG, JPEG_2000, RAW, Key, ets, vsi

SIZE, TILE, LEVELS = (1300, 900), 256, 3


def picture(samples: int, dtype: str) -> NDArray[Any]:
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    waves = np.stack([(np.sin(x / 40 + n) + np.cos(y / 30 + n) + 2) * 60 for n in range(samples)], axis=-1)
    return (waves * (1 if dtype == "uint8" else 200)).astype(dtype)


def files(image: NDArray[Any], compression: int) -> dict[str, bytes]:
    tiles: dict[Key, NDArray[Any]] = {}
    for level in range(LEVELS):
        scaled = image[:: 2**level, :: 2**level]
        for row in range(-(-scaled.shape[0] // TILE)):
            for column in range(-(-scaled.shape[1] // TILE)):
                tile = scaled[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
                padding = ((0, TILE - tile.shape[0]), (0, TILE - tile.shape[1]), (0, 0))
                tiles[column, row, 0, level] = np.pad(tile, padding, mode="edge")
    data = ets(tiles, tile=(TILE, TILE), compression=compression)
    return {"case/a.vsi": vsi(), "case/_a_/stack1/frame_t.ets": data, "case/_b_/other.ets": b"x" * 100}


async def opened(objects: dict[str, bytes], folder: Path, budget: int = 1 << 26) -> tuple[Slide, LocalCopies]:
    copies = LocalCopies(folder, budget)
    pinned = await open_files(MemoryStore(objects), "case/a.vsi", copies)
    assert VsiFormat().recognises(pinned.head, "a.vsi")
    return await VsiFormat().open(pinned), copies  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("compression", "samples", "dtype"),
    [(RAW, 3, "uint8"), (JPEG, 3, "uint8"), (JPEG_2000, 3, "uint8"), (RAW, 1, "uint16"), (JPEG_2000, 1, "uint16")],
)
async def test_every_level_equals_what_was_stored(compression: int, samples: int, dtype: str, tmp_path: Path) -> None:
    image = picture(samples, dtype)
    slide, copies = await opened(files(image, compression), tmp_path)
    info = await slide.info()
    assert (info.dtype, len(info.channels), info.vendor) == (dtype, samples, "olympus")
    assert (info.spacing_um, info.magnification) == (None, None)
    assert len(info.levels) == LEVELS
    for number, level in enumerate(info.levels):
        scaled = image[:: 2**number, :: 2**number]
        assert abs(level.size.width - scaled.shape[1]) < TILE  # without metadata the edge of the last tile is the edge
        for row in range(level.rows):
            for column in range(level.columns):
                tile = await slide.read_tile(TileIndex(number, column, row))
                assert isinstance(tile, Raster)
                top, left = row * level.tile_size.height, column * level.tile_size.width
                wanted = scaled[top : top + tile.size.height, left : left + tile.size.width]
                found = tile.array[: wanted.shape[0], : wanted.shape[1]].astype(int)
                assert np.abs(found - wanted).max() <= (8 if compression == JPEG else 0)
    await slide.close()
    copies.close()


async def test_only_what_belongs_to_the_slide_is_copied(tmp_path: Path) -> None:
    slide, copies = await opened(files(picture(3, "uint8"), JPEG), tmp_path)
    names = sorted(name for _, _, found in os.walk(tmp_path) for name in found)
    assert names == ["a.vsi", "frame_t.ets"]
    await slide.close()
    copies.close()
    with pytest.raises(LimitExceeded):
        await opened(files(picture(3, "uint8"), RAW), tmp_path, budget=1000)


async def test_missing_tiles_are_named(tmp_path: Path) -> None:
    objects = files(picture(3, "uint8"), JPEG)
    del objects["case/_a_/stack1/frame_t.ets"]
    with pytest.raises(UnsupportedFormat, match="_a_/") as refused:
        await opened(objects, tmp_path)
    assert refused.value.feature == "missing tiles"


@pytest.mark.parametrize("damage", ["cut", "zero", "header", "table"])
async def test_broken_tiles(damage: str, tmp_path: Path) -> None:
    objects = files(picture(3, "uint8"), JPEG)
    key = "case/_a_/stack1/frame_t.ets"
    data = objects[key]
    changes: dict[str, Callable[[], bytes]] = {
        "cut": lambda: data[: len(data) // 2],
        "zero": lambda: bytes(len(data)),
        "header": lambda: data[:32] + b"\xff" * 16 + data[48:],
        "table": lambda: data[:-500] + b"\xff" * 500,
    }
    objects[key] = changes[damage]()
    try:
        slide, copies = await opened(objects, tmp_path)
    except MicrotomeError as refused:
        assert len(refused.message) > 20
        assert str(tmp_path) not in refused.message
        return
    for number, level in enumerate((await slide.info()).levels):
        try:
            await slide.read_tile(TileIndex(number, level.columns - 1, level.rows - 1))
        except MicrotomeError as refused:
            assert str(tmp_path) not in refused.message
    await slide.close()
    copies.close()


def test_other_files_are_left_to_others() -> None:
    assert not VsiFormat().recognises(b"II*\0", "a.tif")
    assert not VsiFormat().recognises(b"PK\3\4", "a.vsi")
