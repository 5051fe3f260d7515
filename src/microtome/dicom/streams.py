"""Headers of compressed frames: their size is known, and compared with the file's, before anything is decoded.

JPEG and JPEG-LS (T.81 Annex B, T.87 Annex C), JPEG 2000 and HTJ2K codestreams (T.800 Annex A).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from microtome.errors import CorruptData
from microtome.pixels import headers

_SOI = b"\xff\xd8"
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_MAX_SEGMENTS = 1000


@dataclass(frozen=True, slots=True)
class Stream:
    """What the header of a compressed frame says.

    ``color`` of three components: "rgb" or "ycbcr" when the stream tells, "" when it leaves that to the file.
    ``process`` is the low byte of the frame marker (0xC0 baseline ... 0xF7 JPEG-LS), 0 for JPEG 2000.
    """

    rows: int
    columns: int
    components: int
    precision: int
    signed: bool = False
    process: int = 0
    color: Literal["rgb", "ycbcr", ""] = ""
    jfif: bool = False


def jpeg(data: bytes) -> Stream:
    """The header of a JPEG or JPEG-LS stream. Raises CorruptData."""
    if data[:2] != _SOI:
        raise CorruptData("A frame is no JPEG stream")
    jfif, adobe, at = False, -1, 2
    for _ in range(_MAX_SEGMENTS):
        at = data.find(b"\xff", at, at + 16)
        while at >= 0 and data[at + 1 : at + 2] == b"\xff" and at < len(data):
            at += 1
        if at < 0 or at + 4 > len(data):
            break
        marker = data[at + 1]
        if marker in _NO_LENGTH:
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + length]
        if length < 2 or len(body) != length - 2 or marker in {0xD9, 0xDA}:
            break
        if marker in _FRAME_MARKERS:
            return _jpeg_frame(marker, body, adobe, jfif=jfif)
        jfif |= marker == 0xE0 and body.startswith(b"JFIF\0")
        if marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            adobe = body[11]
        at += 2 + length
    raise CorruptData("A JPEG frame has no readable frame header")


def _jpeg_frame(marker: int, body: bytes, adobe: int, *, jfif: bool) -> Stream:
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        raise CorruptData("The frame header of a JPEG stream is cut short")
    count = body[5]
    names = bytes(body[6 + 3 * n] for n in range(count))
    color: Literal["rgb", "ycbcr", ""] = ""
    if count == 3:
        if names.lower() == b"rgb":
            color = "rgb"
        elif jfif or adobe == 1:
            color = "ycbcr"
        elif adobe == 0:
            color = "rgb"
    rows, columns = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    return Stream(rows, columns, count, body[0], process=marker, color=color, jfif=jfif)


def codestream(data: bytes) -> int:
    """Where the codestream begins. Raises CorruptData."""
    at = headers.codestream(data)
    if at is None:
        raise CorruptData("A frame is no JPEG 2000 codestream")
    return at


def jpeg2000(data: bytes) -> Stream:
    """The header of a JPEG 2000 or HTJ2K codestream. Raises CorruptData."""
    at = codestream(data)
    siz = data[at + 4 : at + 4 + int.from_bytes(data[at + 4 : at + 6], "big")]
    if len(siz) < 39:
        raise CorruptData("The SIZ marker of a JPEG 2000 codestream is cut short")
    right, bottom, left, top, tile_width, tile_height = (
        int.from_bytes(siz[4 + 4 * n : 8 + 4 * n], "big") for n in range(6)
    )
    count = int.from_bytes(siz[36:38], "big")
    # One tile more than 65535 is none by the standard (Isot, §A.4.2); some libraries allocate first.
    tiles = -(-right // max(1, tile_width)) * -(-bottom // max(1, tile_height))
    if (
        right <= left
        or bottom <= top
        or not tile_width
        or not tile_height
        or tiles > 65535
        or len(siz) < 38 + 3 * count
    ):
        raise CorruptData("The SIZ marker of a JPEG 2000 codestream makes no sense")
    components = {siz[38 + 3 * n : 41 + 3 * n] for n in range(count)}
    if len(components) != 1 or (plain := components.pop())[1:] != b"\1\1":
        raise CorruptData("The components of a JPEG 2000 codestream differ in depth or size")
    depth = plain[0]
    return Stream(bottom - top, right - left, count, (depth & 0x7F) + 1, bool(depth & 0x80))
