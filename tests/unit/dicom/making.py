"""DICOM bytes by hand, so that they may also be wrong."""

from __future__ import annotations

import struct

from microtome.dicom import syntaxes

WIDE = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
UNDEFINED = 0xFFFF_FFFF
ITEM_END = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
SEQUENCE_END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def explicit(tag: int, vr: str, value: bytes = b"", *, length: int | None = None, order: str = "<") -> bytes:
    """An element with explicit VR; ``length`` may lie."""
    size = len(value) if length is None else length
    code = "HH2s2xI" if vr in WIDE else "HH2sH"
    return struct.pack(order + code, tag >> 16, tag & 0xFFFF, vr.encode(), size) + value


def implicit(tag: int, value: bytes = b"", *, length: int | None = None) -> bytes:
    """An element with implicit VR, little-endian."""
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def item(content: bytes = b"", *, length: int | None = None) -> bytes:
    """An item; of undefined length it needs an ``ITEM_END`` in its content."""
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content) if length is None else length) + content


def part10(content: bytes, transfer_syntax: str = syntaxes.EXPLICIT_LITTLE) -> bytes:
    """A file: preamble, meta information with the transfer syntax, data set."""
    uid = transfer_syntax.encode()
    uid += b"\0" * (len(uid) % 2)
    body = explicit(0x0002_0010, "UI", uid)
    meta = explicit(0x0002_0000, "UL", struct.pack("<I", len(body))) + body
    return b"\0" * 128 + b"DICM" + meta + content


def encapsulated(fragments: list[bytes], table: bytes = b"") -> bytes:
    """Encapsulated pixel data with the tag in front."""
    items = b"".join(item(each) for each in fragments)
    return explicit(0x7FE0_0010, "OB", item(table) + items + SEQUENCE_END, length=UNDEFINED)
