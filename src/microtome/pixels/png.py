"""PNG written by ourselves (ISO/IEC 15948:2004): one filter for all rows and the fastest Deflate there is."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from microtome.pixels.bands import bands
from microtome.pixels.deflate import crc32, deflate, deflated

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""Of so many channels (§11.2.2): gray, gray with alpha, RGB, RGB with alpha."""
_UP = 2


def encode(array: NDArray[np.uint8] | NDArray[np.uint16], profile: bytes | None = None) -> bytes:
    """(height, width, 1 to 4) of 8 or 16 bits as a PNG of the same depth; ``profile`` is embedded (§11.3.3.3).

    Two channels are gray and alpha, four RGB and alpha (not premultiplied).
    """
    height, width, channels = (int(side) for side in array.shape)
    header = struct.pack(">IIBBBBB", width, height, 8 * array.dtype.itemsize, _COLOR_TYPES[channels], 0, 0, 0)
    parts = [_SIGNATURE, *_chunk(b"IHDR", header)]
    if profile is not None:
        parts += _chunk(b"iCCP", b"ICC profile\0\0" + deflate(np.frombuffer(profile, np.uint8)))
    for part in deflated(_filtered(array)):
        parts += _chunk(b"IDAT", part)
    parts += _chunk(b"IEND", b"")
    return b"".join(parts)


def _filtered(array: NDArray[np.uint8] | NDArray[np.uint16]) -> Iterator[NDArray[np.uint8]]:
    """The scan lines behind their filter bytes (§9), a band at a time in the same memory, which stays in the cache."""
    height, width = array.shape[:2]
    big_endian = array.dtype.newbyteorder(">")
    before = np.zeros(array[:1].nbytes, np.uint8)  # §9.2: above the first line there are zeros
    filtered = np.empty((0, 0), np.uint8)
    for lines in bands(height, width):
        band = np.ascontiguousarray(array[lines], big_endian).view(np.uint8).reshape(-1, before.size)
        if not filtered.size:
            filtered = np.empty((band.shape[0], 1 + before.size), np.uint8)
            filtered[:, 0] = _UP
        told = filtered[: band.shape[0]]
        np.subtract(band[0], before, out=told[0, 1:])
        np.subtract(band[1:], band[:-1], out=told[1:, 1:])
        before = band[-1]
        yield told


def _chunk(kind: bytes, data: bytes) -> tuple[bytes, bytes, bytes]:
    """§5.3: length, type, data, checksum of the last two."""
    return struct.pack(">I", len(data)) + kind, data, struct.pack(">I", _checksum(kind, data))


def _checksum(kind: bytes, data: bytes) -> int:
    return crc32(data, crc32(kind))
