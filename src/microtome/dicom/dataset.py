"""A DICOM data set as it was read: values stay bytes until somebody asks for them.

Whatever the byte order and encoding of the file, ``Element.value`` is little-endian. Text is in the character set of
the data set (PS3.5 §6.1) and still padded; nested items inherit the character set of what they stand in.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from microtome.dicom.charset import Decoder, decoder

SPECIFIC_CHARACTER_SET = 0x0008_0005
_NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d", "AT": "HH"}
_WHOLE = frozenset({"LT", "ST", "UT", "UR"})
"""Text of these is one value, backslashes included (PS3.5 §6.2)."""


@dataclass(frozen=True, slots=True)
class Bulk:
    """Where a large value lies in its file: offset of its first byte and length in bytes. It was not read.

    ``word``: in a big-endian file, the bytes of one number; ``part10.read_value`` turns them. Offsets of a deflated
    data set count in the inflated stream.
    """

    offset: int
    length: int
    word: int = 1


@dataclass(frozen=True, slots=True)
class LargeSequence:
    """A sequence with too many items for memory: where they lie, ``length`` bytes from ``offset``. They were not read;
    ``sequences.ItemReader`` does that, one after the other.

    ``depth``: sequences it stands in. ``signed``: the Pixel Representation it stands under.
    """

    offset: int
    length: int
    implicit: bool = False
    big_endian: bool = False
    depth: int = 0
    signed: bool = False


class Element(NamedTuple):
    """A data element. ``value`` holds the bytes, the items of a sequence, or where a large value or sequence lies.

    A tuple, not a dataclass: headers are read a million at a time, and tuples are made three times as fast.
    """

    tag: int
    vr: str
    value: bytes | tuple[Dataset, ...] | Bulk | LargeSequence


@dataclass(frozen=True, slots=True)
class Dataset:
    """Elements by tag (group << 16 | element), ascending. Reading a value never raises for what a file may hold."""

    elements: Mapping[int, Element] = field(default_factory=dict[int, Element])
    text: Decoder = field(default_factory=lambda: decoder(()))

    def __iter__(self) -> Iterator[Element]:
        return iter(self.elements.values())

    def __contains__(self, tag: int) -> bool:
        return tag in self.elements

    def strings(self, tag: int) -> tuple[str, ...]:
        """The values of a text element, without padding; () when it is missing, empty or no text."""
        element = self.elements.get(tag)
        if element is None or not isinstance(element.value, bytes) or not element.value:
            return ()
        text = self.text(element.value, element.vr)
        if element.vr in _WHOLE:
            return (text.rstrip(" \0"),)
        return tuple(part.strip(" \0") for part in text.split("\\"))

    def string(self, tag: int, default: str = "") -> str:
        """The first value of a text element."""
        return next(iter(self.strings(tag)), default)

    def numbers(self, tag: int) -> tuple[float, ...]:
        """The values of a number element, binary or text; () when there are none that can be read."""
        element = self.elements.get(tag)
        if element is None or not isinstance(element.value, bytes):
            return ()
        if code := _NUMBERS.get(element.vr):
            size = struct.calcsize(f"<{code}")
            whole = element.value[: len(element.value) // size * size]
            return tuple(each[0] for each in struct.iter_unpack(f"<{code}", whole))
        try:
            return tuple(float(text) for text in self.strings(tag) if text)
        except ValueError:
            return ()

    def number(self, tag: int) -> float | None:
        """The first value of a number element."""
        return next(iter(self.numbers(tag)), None)

    def whole(self, tag: int, default: int = 0) -> int:
        """The first value of a number element as a whole number."""
        found = self.number(tag)
        return default if found is None or found != found or abs(found) > 1 << 53 else int(found)

    def items(self, tag: int) -> Sequence[Dataset]:
        """The items of a sequence; () when it is missing, no sequence, or one that was too large to be read."""
        element = self.elements.get(tag)
        return element.value if element is not None and isinstance(element.value, tuple) else ()
