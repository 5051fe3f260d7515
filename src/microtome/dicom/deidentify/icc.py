"""ICC profiles (ICC.1) whose texts say nothing: same length, same colours."""

from __future__ import annotations

import struct
from typing import Final

_HEADER: Final = 128
_MOST_TAGS: Final = 200
_TEXTS: Final = frozenset({b"text", b"desc", b"mluc", b"sig ", b"dtim", b"dict"})
_NEEDED_FROM: Final = 8
"""Type and reserved bytes of a tag."""


def without_texts(profile: bytes) -> bytes:
    """The profile with descriptions, copyright, maker, model, date and calibration target blanked.

    What is no profile comes back empty: nobody knows what it says.
    """
    data = bytearray(profile)
    if len(data) < _HEADER + 4 or profile[36:40] != b"acsp":
        return b""
    data[24:36] = bytes(12)  # when it was made
    data[48:56] = bytes(8)  # maker and model of the device
    data[80:100] = bytes(20)  # creator, and a digest that no longer holds
    data[100:128] = bytes(28)
    count = min(int.from_bytes(data[128:132]), _MOST_TAGS, (len(data) - 132) // 12)
    places = [struct.unpack_from(">II", data, 136 + 12 * number) for number in range(count)]
    begins = sorted({offset for offset, _ in places})
    for offset, size in places:
        if offset < 132 + 12 * count or offset + size > len(data):
            continue
        # Frugal profiles let a text end in what comes next.
        size = min(size, next((each for each in begins if each > offset), len(data)) - offset)
        if size < _NEEDED_FROM:
            continue
        kind = bytes(data[offset : offset + 4])
        if kind == b"desc":
            _blank_description(data, offset, size)
        elif kind == b"mluc":
            _blank_names(data, offset, size)
        elif kind in _TEXTS:
            data[offset + 8 : offset + size] = bytes(size - 8)
    return bytes(data)


def _blank_description(data: bytearray, offset: int, size: int) -> None:
    """A textDescriptionType of version 2: counts stay, letters become spaces."""
    count = int.from_bytes(data[offset + 8 : offset + 12])
    end = offset + size
    text = min(offset + 12 + count, end)
    data[offset + 12 : text] = b" " * (text - offset - 12)
    if text > offset + 12:
        data[text - 1] = 0
    data[text:end] = bytes(end - text)


def _blank_names(data: bytearray, offset: int, size: int) -> None:
    """A multiLocalizedUnicodeType: the records stay, the letters of each become spaces."""
    count, record = struct.unpack(">II", data[offset + 8 : offset + 16]) if size >= 16 else (0, 0)
    begin = min(offset + 16 + count * 12 if record == 12 else offset + 16, offset + size)
    data[begin : offset + size] = (b"\0 " * (size // 2 + 1))[: offset + size - begin]
