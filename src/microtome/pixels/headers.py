"""The size of a compressed image out of its header, so that it is known before anything is decoded."""

from __future__ import annotations

from microtome.errors import CorruptData
from microtome.model import Size
from microtome.pixels import jpeg

_SIZ = b"\xff\x4f\xff\x51"
_JP2 = b"\0\0\0\x0cjP  "
_MAX_BOXES = 100


def image_size(data: bytes, media_type: str) -> Size | None:
    """Width and height in px as the stream's own header says, None when it has none. Never raises."""
    match media_type:
        case "image/jpeg":
            try:
                return jpeg.frame(data).size
            except CorruptData:
                return None
        case "image/j2c" | "image/jp2":
            return _jpeg2000(data)
        case "image/png":
            return _png(data)
        case "image/webp":
            return _webp(data)
        case _:
            return None


def components(data: bytes, media_type: str) -> int:
    """How many components the header of a JPEG or a JPEG 2000 image claims (at least 1), 4 for other types."""
    if media_type == "image/jpeg":
        return jpeg.frame(data).components
    at = codestream(data) if media_type in {"image/j2c", "image/jp2"} else None
    return 4 if at is None else max(1, int.from_bytes(data[at + 40 : at + 42], "big"))


def has_plain_components(data: bytes) -> bool:
    """Whether a JPEG 2000 decoder leaves three components as they are stored.

    It turns them into RGB itself when they are subsampled (XRsiz, YRsiz of SIZ, A.5.1), and has done so when the
    multiple component transformation was used (COD, A.6.1).
    """
    at = codestream(data)
    if at is None:
        return False
    count = int.from_bytes(data[at + 40 : at + 42], "big")
    sampling = data[at + 42 : at + 42 + 3 * min(count, 4)]
    subsampled = any(step != 1 for n in range(0, len(sampling), 3) for step in sampling[n + 1 : n + 3])
    coding = data.find(b"\xff\x52", at, at + (1 << 12))
    transformed = coding >= 0 and data[coding + 8 : coding + 9] == b"\x01"
    return not subsampled and not transformed


def _jpeg2000(data: bytes) -> Size | None:
    at = codestream(data)
    if at is None or len(data) < at + 42:
        return None
    right, bottom, left, top = (int.from_bytes(data[at + 8 + 4 * i : at + 12 + 4 * i], "big") for i in range(4))
    return Size(right - left, bottom - top) if right > left and bottom > top else None


def codestream(data: bytes) -> int | None:
    """Where SOC is, which SIZ follows at once (ISO 15444-1 A.5.1); in a JP2 file in its first jp2c box (I.5.4)."""
    at = 0
    if data.startswith(_JP2):
        for _ in range(_MAX_BOXES):
            length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
            begin = at + 8
            if length == 1:
                length, begin = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
            if kind == b"jp2c":
                at = begin
                break
            if length < 8 or at + length >= len(data):
                return None
            at += length
    return at if data.startswith(_SIZ, at) else None


def _png(data: bytes) -> Size | None:
    if not data.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR") or len(data) < 24:
        return None
    return Size(int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"))


def _webp(data: bytes) -> Size | None:
    """RFC 9649 §2.4 to §2.7."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    kind = data[12:16]
    if kind == b"VP8 ":
        return Size(int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF)
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return Size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X":
        return Size(int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1)
    return None
