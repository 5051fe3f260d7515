"""Small TIFFs byte by byte: the layouts that clients of the family ``streamer`` test with, and hostile ones."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

import numpy as np
from PIL import Image

Entry = tuple[int, int, int, int]
"""Tag, field type, count, value or offset."""

BYTES, SHORT, LONG, UNDEFINED, LONG8 = 1, 3, 4, 7, 16
WIDTH, HEIGHT, SIDE = 2048, 1536, 256
TILES = (WIDTH // SIDE) * (HEIGHT // SIDE)


def gradient_jpeg(quality: int = 90) -> bytes:
    """A complete grey JPEG of 256x256 px, ``(x + y) mod 256``."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    buffer = io.BytesIO()
    Image.fromarray(((x + y) % 256).astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _classic(entries: Sequence[Entry], order: str = "<") -> bytearray:
    """Header and one directory at offset 8."""
    out = bytearray(b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    out += struct.pack(order + "H", len(entries))
    for tag, kind, count, value in entries:
        short = kind == SHORT and count == 1
        out += struct.pack(order + "HHI", tag, kind, count)
        out += struct.pack(order + ("HH" if short else "I"), *((value, 0) if short else (value,)))
    return out + bytes(4)


def _put(out: bytearray, offset: int, data: bytes) -> None:
    out.extend(bytes(max(0, offset + len(data) - len(out))))
    out[offset : offset + len(data)] = data


def classic(order: str = "<", *, compression: int = 7, jpeg: bytes | None = None) -> bytes:
    """F1-LE and F1-BE: one level of 2048x1536 px, 48 tiles that share their bytes."""
    jpeg = gradient_jpeg() if jpeg is None else jpeg
    out = _classic(
        [
            (256, LONG, 1, WIDTH), (257, LONG, 1, HEIGHT), (258, SHORT, 1, 8), (259, SHORT, 1, compression),
            (277, SHORT, 1, 1), (322, LONG, 1, SIDE), (323, LONG, 1, SIDE), (324, LONG, TILES, 200),
            (325, LONG, TILES, 400),
        ],
        order,
    )  # fmt: skip
    _put(out, 200, struct.pack(f"{order}{TILES}I", *[1000] * TILES))
    _put(out, 400, struct.pack(f"{order}{TILES}I", *[len(jpeg)] * TILES))
    _put(out, 1000, jpeg)
    return bytes(out) + bytes(100)


def big() -> bytes:
    """F2-BIG: the same as BigTIFF."""
    jpeg = gradient_jpeg()
    out = bytearray(b"II") + struct.pack("<HHHQ", 43, 8, 0, 16) + struct.pack("<Q", 8)
    for tag, kind, count, value in (
        (256, LONG, 1, WIDTH), (257, LONG, 1, HEIGHT), (258, SHORT, 1, 8), (259, SHORT, 1, 7), (322, SHORT, 1, SIDE),
        (323, SHORT, 1, SIDE), (324, LONG8, TILES, 192), (325, LONG8, TILES, 576),
    ):  # fmt: skip
        out += struct.pack("<HHQQ", tag, kind, count, value)
    out += bytes(8)
    _put(out, 192, struct.pack(f"<{TILES}Q", *[960] * TILES))
    _put(out, 576, struct.pack(f"<{TILES}Q", *[len(jpeg)] * TILES))
    _put(out, 960, jpeg)
    return bytes(out)


def strip() -> bytes:
    """F4-STRIP: 512x512 px in one strip whose JPEG is only 256x256 px: broken, not merely unusual."""
    jpeg = gradient_jpeg()
    out = _classic(
        [
            (256, LONG, 1, 512), (257, LONG, 1, 512), (258, SHORT, 1, 8), (259, SHORT, 1, 7), (273, LONG, 1, 200),
            (277, SHORT, 1, 1), (278, LONG, 1, 512), (279, LONG, 1, len(jpeg)),
        ]
    )  # fmt: skip
    _put(out, 200, jpeg)
    return bytes(out)


def abbreviated() -> bytes:
    """F5-SVS: everything up to the scan, the frame header included, stands in JPEGTables."""
    jpeg = gradient_jpeg()
    scan = jpeg.index(b"\xff\xda")
    tables = jpeg[:scan] + b"\xff\xd9"
    tile = b"\xff\xd8" + jpeg[scan:]
    data = 506 + len(tables)
    out = _classic(
        [
            (256, LONG, 1, WIDTH), (257, LONG, 1, HEIGHT), (258, SHORT, 1, 8), (259, SHORT, 1, 7),
            (322, SHORT, 1, SIDE), (323, SHORT, 1, SIDE), (324, LONG, TILES, 122), (325, LONG, TILES, 314),
            (347, UNDEFINED, len(tables), 506),
        ]
    )  # fmt: skip
    _put(out, 122, struct.pack(f"<{TILES}I", *[data] * TILES))
    _put(out, 314, struct.pack(f"<{TILES}I", *[len(tile)] * TILES))
    _put(out, 506, tables + tile)
    return bytes(out)
