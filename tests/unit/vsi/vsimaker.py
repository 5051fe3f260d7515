"""Olympus cellSens files as small as they may be: a TIFF called .vsi, and ETS files of tiles in a folder beside it."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

RAW, JPEG, JPEG_2000 = 0, 2, 3
Key = tuple[int, ...]
"""Column, row, the other dimensions, and the level last."""


def ets(
    tiles: Mapping[Key, NDArray[Any]], *, tile: tuple[int, int], compression: int = RAW, pyramid: bool = True
) -> bytes:
    """An ETS file; tiles are (height, width, samples)."""
    first = next(iter(tiles.values()))
    samples = first.shape[2]
    dimensions = len(next(iter(tiles)))
    header = bytearray(64)
    extra = struct.pack(
        "<4siiiiiiiii", b"ETS\0", 0x00030001, {"uint8": 2, "uint16": 4}[first.dtype.name], samples,
        4 if samples == 3 else 1, compression, 90, tile[0], tile[1], 1,
    ) + bytes(17 * 4) + bytes(10 * 4) + struct.pack("<ii", 0, int(pyramid)) + bytes(128)  # fmt: skip
    body = bytearray(header) + extra
    table = bytearray()
    for key, array in tiles.items():
        match compression:
            case 2:
                data = bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(array), level=95, subsampling="444"))
            case 3:
                data = bytes(imagecodecs.jpeg2k_encode(np.ascontiguousarray(array.squeeze()), level=0, reversible=True))
            case _:
                data = array.tobytes()
        table += (
            struct.pack("<i", dimensions)
            + struct.pack(f"<{dimensions}i", *key)
            + struct.pack("<qii", len(body), len(data), 0)
        )
        body += data
    struct.pack_into("<4siiiqiiqii", body, 0, b"SIS\0", 64, 2, dimensions, 64, len(extra), 0, len(body), len(tiles), 0)
    return bytes(body + table)


def vsi() -> bytes:
    """The TIFF with a small picture that stands for the slide."""
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((32, 32, 3), np.uint8), photometric="rgb")
    return file.getvalue()
