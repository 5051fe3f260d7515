"""PNG and TIFF of pictures larger than one band, read back by Pillow, imagecodecs and tifffile."""

from __future__ import annotations

import io
import struct
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

from microtome.pixels import png, tiff
from microtome.pixels.bands import bands

SHAPES = [(1, 1), (1, 200_000), (200_000, 1), (700, 600), (513, 1031)]


def chunks(data: bytes) -> list[tuple[bytes, int]]:
    """Type and length of each chunk of a PNG (§5.3)."""
    found, at = [], 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        found.append((kind, length))
        at += 12 + length
    return found


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_png_of_any_size_is_read_back(shape: tuple[int, int], channels: int, dtype: Any) -> None:
    array = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, (*shape, channels), dtype=dtype)
    data = png.encode(array)
    np.testing.assert_array_equal(imagecodecs.png_decode(data).reshape(array.shape), array)
    kinds = [kind for kind, _ in chunks(data)]
    assert kinds[0] == b"IHDR"
    assert kinds[-1] == b"IEND"
    assert set(kinds[1:-1]) == {b"IDAT"}
    assert all(length for kind, length in chunks(data) if kind == b"IDAT")


def test_png_of_a_strided_picture_is_read_back() -> None:
    array = np.random.default_rng(2).integers(0, 256, (900, 800, 3), dtype=np.uint8)[::-2, 1::3]
    np.testing.assert_array_equal(imagecodecs.png_decode(png.encode(array)), array)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, ">u2"])
@pytest.mark.parametrize("shape", SHAPES)
def test_tiff_of_any_size_is_read_back(shape: tuple[int, int], dtype: str) -> None:
    array = np.random.default_rng(3).integers(0, 200, (*shape, 4)).astype(dtype)
    planes = tifffile.imread(io.BytesIO(tiff.encode(array)))
    np.testing.assert_array_equal(planes.reshape(4, *shape), np.moveaxis(array, -1, 0))


def test_a_large_picture_is_written_in_several_bands() -> None:
    assert len(list(bands(700, 600))) > 2
    noise = np.random.default_rng(4).integers(0, 256, (700, 600, 3), dtype=np.uint8)
    assert [kind for kind, _ in chunks(png.encode(noise))].count(b"IDAT") > 2
