"""Passing over sequences and items of undefined length (PS3.5 §7.5): nothing is kept, only their end is found."""

from __future__ import annotations

import re
import struct
from typing import Final

from microtome.dicom.encoding import DEPTH, ITEM, ITEM_END, LONG, SEQUENCE_END, UNDEFINED, Encoding, Readable, Tally
from microtome.errors import LimitExceeded

_WINDOW: Final = 1 << 20
_AT_ONCE: Final = 1 << 14
_VR: Final = re.compile(rb"[A-Z]{2}")


class Passing:
    """Walks over a file a megabyte at a time. Methods raise LimitExceeded for too many elements, or too deep ones."""

    def __init__(self, file: Readable, tally: Tally) -> None:
        self._file = file
        self._tally = tally
        self._data = b""
        self._base = 0

    def sequence(self, position: int, end: int, encoding: Encoding, depth: int) -> int | None:
        """The position behind the delimiter of a sequence whose items begin at ``position``.

        None when it does not end before ``end``, or something is there that is no item.
        """
        return self._pass(position, end, encoding, depth, inside=True)

    def item(self, position: int, end: int, encoding: Encoding, depth: int) -> int | None:
        """The position behind the item at ``position``; None when there is none, or it has no end."""
        head = self._head(position, end)
        order = ">" if encoding.big_endian else "<"
        if len(head) < 8:
            return None
        group, number, length = struct.unpack(f"{order}HHI", head)
        if group << 16 | number != ITEM:
            return None
        if length == UNDEFINED:
            return self._pass(position + 8, end, encoding, depth, inside=False)
        self._tally.add(1)
        return min(position + 8 + length, end)

    def _head(self, position: int, end: int) -> bytes:
        at = position - self._base
        if at < 0 or at + 8 > len(self._data):
            self._load(position, end)
            at = 0
        return self._data[at : at + 8]

    def _load(self, position: int, end: int) -> None:
        self._data = self._file.read_at(position, max(min(_WINDOW, end - position), 0))
        self._base = position

    def _pass(self, position: int, end: int, encoding: Encoding, depth: int, *, inside: bool) -> int | None:
        """``inside`` a sequence, or inside an item."""
        unpack = struct.Struct(">HHI" if encoding.big_endian else "<HHI").unpack_from
        wide = struct.Struct(">I" if encoding.big_endian else "<I").unpack_from
        order = "big" if encoding.big_endian else "little"
        implicit = encoding.implicit
        around: list[tuple[bool, bool]] = []
        data, base = self._data, self._base
        steps = 0
        while position + 8 <= end:
            at = position - base
            if at < 0 or at + 12 > len(data):
                self._load(position, end)
                data, base, at = self._data, self._base, 0
                if len(data) < 8:
                    break
            steps += 1
            if steps == _AT_ONCE:
                self._tally.add(steps)
                steps = 0
            group, number, length = unpack(data, at)
            if group == 0xFFFE:
                tag = group << 16 | number
                position += 8
                if tag == ITEM and inside:
                    if length == UNDEFINED:
                        around.append((True, implicit))
                        inside = False
                    else:
                        position += length
                elif tag == (SEQUENCE_END if inside else ITEM_END):
                    if not around:
                        self._tally.add(steps)
                        return position
                    inside, implicit = around.pop()
                else:
                    break
                continue
            if inside:
                break
            before = implicit
            position += 8
            if not implicit and _VR.fullmatch(code := data[at + 4 : at + 6]):
                if code in LONG:
                    if at + 12 > len(data):
                        break
                    length = wide(data, at + 8)[0]
                    position += 4
                    # PS3.5 §6.2.2 note 4: UN of undefined length is a sequence in implicit little-endian.
                    implicit = code == b"UN" and length == UNDEFINED
                    if implicit and encoding.big_endian:
                        break
                else:
                    length = int.from_bytes(data[at + 6 : at + 8], order)
            if length != UNDEFINED:
                implicit = before
                position += length
                continue
            around.append((False, before))
            inside = True
            if depth + len(around) > 2 * DEPTH:
                raise LimitExceeded(f"sequences nested more than {DEPTH} deep", limit="DEPTH", value=len(around) // 2)
        self._tally.add(steps)
        return None
