"""Is this one of the TIFFs that need more than the native reader? Pure, out of the first bytes of a file."""

from __future__ import annotations

import re
import struct
from typing import Literal

SUFFIXES = (".ome.tif", ".ome.tiff", ".ome.tf2", ".ome.tf8", ".ome.btf", ".qptiff")
_MARKS = (b"<OME", b":OME", b"ImageJ=", b"PerkinElmer-QPI")
_SHAPED = re.compile(rb'"axes": ?"[A-Z]*[CZT][A-Z]*"')
_DESCRIPTION, _PHOTOMETRIC, _SAMPLES, _EXTRA = 270, 262, 277, 338
_MAX_ENTRIES = 4096
_ALPHA = {1, 2}


def recognises(head: bytes, name: str) -> bool:
    """Whether the file is an OME-TIFF, ImageJ, QPTIFF or multichannel TIFF. Never raises."""
    order: Literal["little", "big"]
    if head[:4] in {b"II*\0", b"II+\0"}:
        order = "little"
    elif head[:4] in {b"MM\0*", b"MM\0+"}:
        order = "big"
    else:
        return False
    if name.lower().endswith(SUFFIXES):
        return True
    found = _entries(head, order)
    text = found.get(_DESCRIPTION, b"")
    if any(mark in text for mark in _MARKS) or (text.startswith(b"{") and _SHAPED.search(text)):
        return True
    samples = _number(found.get(_SAMPLES), order, 1)
    photometric = _number(found.get(_PHOTOMETRIC), order, 2)
    if photometric not in {0, 1, 2}:
        return False
    if photometric == 2:
        return samples > 4
    return samples > 2 or (samples == 2 and _number(found.get(_EXTRA), order, 0) not in _ALPHA)


def _entries(head: bytes, order: Literal["little", "big"]) -> dict[int, bytes]:
    """The values of the first directory that lie in the head, as they are stored (TIFF 6.0 §2)."""
    big = head[2:4] in {b"+\0", b"\0+"}
    mark = "<" if order == "little" else ">"
    width, count_bytes, entry_bytes = (8, 8, 20) if big else (4, 2, 12)
    at = int.from_bytes(head[8:16] if big else head[4:8], order)
    count = int.from_bytes(head[at : at + count_bytes], order)
    found: dict[int, bytes] = {}
    if at < 8 or count > _MAX_ENTRIES:
        return found
    for number in range(count):
        start = at + count_bytes + number * entry_bytes
        entry = head[start : start + entry_bytes]
        if len(entry) < entry_bytes:
            break
        tag, kind = struct.unpack(f"{mark}HH", entry[:4])
        length = int.from_bytes(entry[4 : 4 + width], order) * {1: 1, 2: 1, 3: 2, 4: 4, 7: 1}.get(kind, 8)
        value = entry[4 + width :]
        if length > width:
            place = int.from_bytes(value, order)
            value = head[place : place + length]
        found[tag] = value[:length]
    return found


def _number(value: bytes | None, order: Literal["little", "big"], default: int) -> int:
    """The first number of a SHORT."""
    return int.from_bytes(value[:2], order) if value else default
