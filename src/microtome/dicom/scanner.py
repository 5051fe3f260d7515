"""Data elements out of bytes, in one pass (PS3.5 §7, Annex A): the loop that every DICOM file goes through.

Nothing is trusted: every length is held against the end of its item and of the file before bytes are taken, nesting,
elements and bytes are counted, and large values and sequences are passed over.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, cast

from microtome.dicom import dictionary
from microtome.dicom.charset import Decoder, decoder
from microtome.dicom.dataset import SPECIFIC_CHARACTER_SET, Bulk, Dataset, Element, LargeSequence
from microtome.dicom.encoding import (
    DEFAULT_LIMITS,
    DEPTH,
    IMPLICIT,
    ITEM,
    ITEM_END,
    LONG,
    SEQUENCE_END,
    SHORT,
    UNDEFINED,
    Encoding,
    Readable,
    ScanLimits,
    Tally,
)
from microtome.dicom.passing import Passing
from microtome.errors import CorruptData, LimitExceeded

PIXEL_DATA: Final = 0x7FE0_0010
_PIXELS: Final = frozenset({0x7FE0_0008, 0x7FE0_0009, PIXEL_DATA})
_PIXEL_REPRESENTATION: Final = 0x0028_0103
_LUT_DESCRIPTOR: Final = 0x0028_3002

_new: Final = cast("Callable[[type[Element], tuple[int, str, bytes]], Element]", vars(tuple)["__new__"])
"""``Element`` without its constructor, which takes as long as all the rest."""
_BINARY: Final[Mapping[bytes, str]] = {code: vr for code, vr in LONG.items() if vr != "SQ"}
_HEADS: Final = {
    (implicit, order): struct.Struct(order + ("HHI" if implicit else "HH2sH"))
    for implicit in (False, True)
    for order in "<>"
}
_WIDE: Final = {"<": struct.Struct("<I"), ">": struct.Struct(">I")}
_WORDS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("US", "SS", "OW", "AT"), 2),
    **dict.fromkeys(("UL", "SL", "FL", "OL", "OF"), 4),
    **dict.fromkeys(("FD", "OD", "SV", "UV", "OV"), 8),
}
_VR: Final = re.compile(rb"[A-Z]{2}")

ELEMENTS: Final = 250_000
"""Elements and items of one file in memory. Read and told as JSON, each takes some 500 bytes."""
HEADER_BYTES: Final = 24 << 20
"""Bytes of the header of one file in memory; large values, large sequences and pixel data are not among them."""
SEQUENCE_BYTES: Final = 4 << 20
SEQUENCE_ELEMENTS: Final = 20_000
"""A sequence of more bytes or elements is large: it stays in the file."""
DISORDER: Final = 65536
"""Elements that may come after one of a higher tag."""
_FIRST_WINDOW: Final = 16 << 10
_LARGEST_WINDOW: Final = 1 << 20
_NEVER: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class PixelData:
    """Where the pixel data lies (PS3.5 §8, §A.4).

    ``offset``: its first byte; of encapsulated pixel data (``length`` None) the tag of the first item, which is the
    basic offset table. ``frame_offsets`` and ``frame_lengths``: the extended offset table (PS3.3 §C.7.6.3.1.8).
    """

    tag: int
    vr: str
    offset: int
    length: int | None
    frame_offsets: bytes | Bulk | None = None
    frame_lengths: bytes | Bulk | None = None


class _Large(Exception):
    """The sequence that is being read had better stay in the file."""


@dataclass(slots=True)
class _Scope:
    """One data set that is being read: the file's, or an item's."""

    encoding: Encoding
    text: Decoder
    depth: int = 0
    signed: bool = False
    """Pixel Representation of what this stands in, which decides "US or SS"."""
    resync: bool = False
    """The end is known for certain, so a fault inside does not spoil what follows."""
    elements: dict[int, Element] = field(default_factory=dict[int, Element])
    counted: int = 0
    ordered: bool = True
    ended: bool = False


class Scanner:
    """Reads the data set of a file. ``problems`` collects what was wrong and could be passed over."""

    def __init__(
        self, file: Readable, *, large: int, limits: ScanLimits = DEFAULT_LIMITS, tally: Tally | None = None
    ) -> None:
        self.problems: list[str] = []
        self.pixels: PixelData | None = None
        self.position = 0
        """Where reading ended: the end of the file, or the first item of encapsulated pixel data."""
        self._limits = limits
        self._tally = Tally(limits.elements) if tally is None else tally
        self._file = file
        self._size = file.size
        self._large = min(large, UNDEFINED - 1)
        self._data = b""
        self._base = 0
        self._window = _FIRST_WINDOW
        self._read = 0
        self._count = 0
        self._backwards = 0
        self._stopped = False
        self._root = 0
        """The depth whose sequences may stay in the file."""
        self._most_read = self._most_count = _NEVER
        """Above which the sequence that is being read stays in the file."""
        self._large_bytes = 0
        self._after = 0

    @property
    def held(self) -> int:
        """Bytes of the file that were read and may be held by what was found."""
        return self._read

    def peek(self, position: int, length: int) -> bytes:
        """Up to so many bytes, which stay to be read."""
        if not self._base <= position <= position + length <= self._base + len(self._data):
            self._load(position, length)
        at = position - self._base
        return self._data[at : at + length]

    def dataset(self, position: int, encoding: Encoding) -> Dataset:
        """The data set that begins at ``position`` and goes to the end of the file, pixel data excepted."""
        scope = _Scope(encoding, decoder(()))
        self.position = self._elements(position, self._size, scope)
        found = self._finish(scope)
        if self.pixels is not None and self.pixels.length is None:
            offsets, lengths = (found.elements.get(tag) for tag in (0x7FE0_0001, 0x7FE0_0002))
            starts, sizes = (None if each is None else each.value for each in (offsets, lengths))
            if starts and sizes and isinstance(starts, (bytes, Bulk)) and isinstance(sizes, (bytes, Bulk)):
                self.pixels = replace(self.pixels, frame_offsets=starts, frame_lengths=sizes)
        return found

    def items(self, sequence: LargeSequence, text: Decoder, *, begin: int | None = None) -> Iterator[Dataset]:
        """The items of a large sequence, from the one at ``begin``, each read when it is asked for.

        ``text`` is of the data set it stands in. Large sequences in an item stay in the file in turn.
        """
        self._root = sequence.depth + 1
        encoding = Encoding(implicit=sequence.implicit, big_endian=sequence.big_endian)
        scope = _Scope(encoding, text, sequence.depth, sequence.signed)
        end = min(sequence.offset + sequence.length, self._size)
        for item in self._each(sequence.offset if begin is None else begin, end, scope, encoding, defined=True):
            self._tally.add(self._count)
            yield item
            self._read = self._count = 0

    def places(self, sequence: LargeSequence) -> Iterator[int]:
        """Where the items of a large sequence begin."""
        encoding = Encoding(implicit=sequence.implicit, big_endian=sequence.big_endian)
        end = min(sequence.offset + sequence.length, self._size)
        walk = Passing(self._file, self._tally)
        position = sequence.offset
        while position + 8 <= end:
            following = walk.item(position, end, encoding, sequence.depth + 1)
            if following is None:
                return
            yield position
            position = following

    # -- bytes

    def _load(self, position: int, length: int) -> None:
        """Make the window begin at ``position`` and hold ``length`` bytes, if the file has them."""
        if position > self._base + len(self._data):
            self._window = _FIRST_WINDOW  # something was passed over: who knows how much there is behind it
        wanted = min(max(length, self._window), self._size - position)
        self._window = min(self._window * 4, _LARGEST_WINDOW)
        self._read += max(wanted, 0)
        if self._read > self._most_read:
            raise _Large
        if self._read > HEADER_BYTES:
            raise LimitExceeded(
                f"the header is larger than {HEADER_BYTES >> 20} MiB", limit="HEADER_BYTES", value=self._read
            )
        self._data = self._file.read_at(position, wanted) if wanted > 0 else b""
        self._base = position

    def _account(self, scope: _Scope) -> None:
        self._count += len(scope.elements) - scope.counted
        scope.counted = len(scope.elements)
        if self._count > self._most_count:
            raise _Large
        if self._count > ELEMENTS:
            raise LimitExceeded(f"more than {ELEMENTS} data elements", limit="ELEMENTS", value=self._count)

    # -- elements

    def _elements(self, position: int, end: int, scope: _Scope) -> int:
        """Read elements until ``end`` or the delimiter of the item; the position after them."""
        implicit = scope.encoding.implicit
        order = ">" if scope.encoding.big_endian else "<"
        unpack = _HEADS[implicit, order].unpack_from
        tags: Mapping[int, str] = dictionary.plain() if implicit else {}
        codes, wide = SHORT, _WIDE[order].unpack_from
        elements = scope.elements
        large = self._large
        new = _new
        data, base = self._data, self._base
        limit = min(base + len(data), end)
        last = -1
        while position < end:
            start = position + 8
            if start > limit:
                self._account(scope)
                self._load(position, 8)
                data, base = self._data, self._base
                limit = min(base + len(data), end)
                if start > limit:
                    position = self._overrun(position, end, scope)
                    break
            if implicit:
                group, number, length = unpack(data, position - base)
                tag = group << 16 | number
                vr = tags.get(tag) or ("UN" if group & 1 and number > 0xFF else None)
            else:
                group, number, code, length = unpack(data, position - base)
                tag = group << 16 | number
                vr = codes.get(code)
                if (
                    vr is None
                    and code in _BINARY
                    and start + 4 <= limit
                    and (code != b"UN" or (group & 1 and number > 0xFF))
                ):
                    length = wide(data, start - base)[0]
                    start += 4
                    vr = _BINARY[code] if tag not in _PIXELS else None
            if tag <= last:
                self._disorder(scope)
            last = tag
            if vr is not None and length <= large:
                stop = start + length
                if stop > limit:
                    self._load(start, length)
                    data, base = self._data, self._base
                    limit = min(base + len(data), end)
                    if stop > limit:
                        position = self._overrun(position, end, scope, tag)
                        break
                elements[tag] = new(Element, (tag, vr, data[start - base : stop - base]))
                position = stop
                continue
            position = self._other(tag, position, end, scope)
            if scope.ended or self._stopped:
                break
            data, base = self._data, self._base
            limit = min(base + len(data), end)
        return position

    def _disorder(self, scope: _Scope) -> None:
        """Tags must ascend (PS3.5 §7.1); some writers forget, but a file of nothing else would keep us for minutes."""
        scope.ordered = False
        self._backwards += 1
        if self._backwards > DISORDER:
            raise CorruptData("thousands of elements that are not in order", offset=self._base)

    def _overrun(self, position: int, end: int, scope: _Scope, tag: int | None = None) -> int:
        """An element goes beyond the end of its item or of the file: note it, and where to go on."""
        what = "the data set" if tag is None else dictionary.digits(tag)
        if scope.resync and end < self._size:
            self.problems.append(f"{what} goes beyond the end of its item, at byte {position}")
            return end
        self.problems.append(f"{what} is cut off by the end of the file, at byte {position}")
        self._stopped = True
        return position

    def _other(self, tag: int, position: int, end: int, scope: _Scope) -> int:
        """Everything but a small element of a plain VR; the position after it."""
        if tag >> 16 == 0xFFFE:
            return self._delimiter(tag, position, scope)
        head = self.peek(position, 12)
        order = "big" if scope.encoding.big_endian else "little"
        vr, start, length, encoding = self._head(tag, head, position, scope, order)
        if start > end:
            return self._overrun(position, end, scope, tag)
        if vr == "UN" and (known := dictionary.vr(tag)) != "UN":
            # PS3.5 §6.2.2 note 5: what came through somebody who did not know the tag is implicit little-endian.
            vr = known
            encoding = IMPLICIT if known == "SQ" else encoding
        if " or " in vr:
            vr = self._resolve(tag, vr, scope)
        if length == UNDEFINED:
            return self._undefined(tag, vr, start, end, scope, encoding)
        stop = start + length
        if tag in _PIXELS and scope.depth == 0:
            if stop > self._size:
                self.problems.append(f"pixel data is cut off: {self._size - start} of {length} bytes")
                stop = self._size
            self.pixels = PixelData(tag, vr, start, stop - start)
            return stop
        if vr == "SQ":
            if stop > end:
                self._once(f"{dictionary.digits(tag)} goes beyond the end of the file or of its item")
                stop = end
            value, stop = self._sequence(start, stop, scope, encoding, defined=True)
            scope.elements[tag] = Element(tag, vr, value)
            return stop
        if stop > end:
            return self._overrun(position, end, scope, tag)
        if length > self._large:
            word = _WORDS.get(vr, 1) if scope.encoding.big_endian else 1
            scope.elements[tag] = Element(tag, vr, Bulk(start, length, word))
            return stop
        value = self.peek(start, length)
        if len(value) < length:
            return self._overrun(position, end, scope, tag)
        scope.elements[tag] = Element(tag, vr, value)
        return stop

    def _head(self, tag: int, head: bytes, position: int, scope: _Scope, order: str) -> tuple[str, int, int, Encoding]:
        """VR, first byte of the value, length and the encoding of items within."""
        little = order == "little"
        code = head[4:6]
        if scope.encoding.implicit or not _VR.fullmatch(code):
            if not scope.encoding.implicit:
                self._once("elements without VR in a data set with explicit VR")
            length = int.from_bytes(head[4:8], "little" if little else "big")
            return dictionary.vr(tag), position + 8, length, scope.encoding
        wide = int.from_bytes(head[8:12], "little" if little else "big")
        vr = LONG.get(code)
        if vr is not None:
            undefined = vr == "UN" and wide == UNDEFINED
            # PS3.5 §6.2.2 note 4: UN of undefined length is a sequence in implicit little-endian.
            return vr, position + 12, wide, IMPLICIT if undefined else scope.encoding
        if vr := SHORT.get(code):  # a value above the limit of large ones
            return vr, position + 8, int.from_bytes(head[6:8], "little" if little else "big"), scope.encoding
        self._once(f"unknown VR {code.decode('latin-1')} at {dictionary.digits(tag)}")
        if head[6:8] == b"\0\0" and wide <= self._size - position - 12:
            return "UN", position + 12, wide, scope.encoding  # as PS3.5 §6.2 says of VRs to come
        return "UN", position + 8, int.from_bytes(head[6:8], "little" if little else "big"), scope.encoding

    def _once(self, problem: str) -> None:
        if problem not in self.problems and len(self.problems) < 20:
            self.problems.append(problem)

    def _delimiter(self, tag: int, position: int, scope: _Scope) -> int:
        if scope.depth == 0:
            self._once("a delimiter outside of a sequence")
            return position + 8
        scope.ended = True
        # Any other delimiter ends the item as well, but belongs to whoever reads the sequence.
        return position + 8 if tag == ITEM_END else position

    def _resolve(self, tag: int, vr: str, scope: _Scope) -> str:
        """Which of "US or SS", "OB or OW", "US or OW" and so on it is (PS3.5 §A.1, PS3.6 §6 note 1)."""
        if "SS" in vr:
            return "SS" if _flag(scope.elements.get(_PIXEL_REPRESENTATION), scope.signed) else "US"
        if tag == 0x0028_3006 and _flag(scope.elements.get(_LUT_DESCRIPTOR), default=False):
            return "US"  # one entry
        return "OW"

    # -- sequences

    def _undefined(self, tag: int, vr: str, start: int, end: int, scope: _Scope, encoding: Encoding) -> int:
        if tag == PIXEL_DATA and scope.depth == 0:
            self.pixels = PixelData(tag, vr if vr in {"OB", "OW"} else "OB", start, None)
            self._stopped = True
            return start
        if vr in {"SQ", "UN"}:
            value, stop = self._sequence(start, end, scope, encoding, defined=False)
            scope.elements[tag] = Element(tag, "SQ", value)
            return stop
        stop = self._fragments(start, end, scope)
        if self._stopped:
            return stop
        length = stop - 8 - start
        value = Bulk(start, length) if length > self._large else self.peek(start, length)
        # The items stay as they are: nobody decodes icons in sequences.
        scope.elements[tag] = Element(tag, vr, value)
        return stop

    def _sequence(
        self, position: int, end: int, scope: _Scope, encoding: Encoding, *, defined: bool
    ) -> tuple[tuple[Dataset, ...] | LargeSequence, int]:
        """A sequence that ends at ``end``, or with its delimiter; and the position after it."""
        if scope.depth != self._root:
            return tuple(self._each(position, end, scope, encoding, defined=defined)), self._after
        self._account(scope)
        known, read, count = len(self.problems), self._read, self._count
        self._most_read, self._most_count = read + SEQUENCE_BYTES, count + SEQUENCE_ELEMENTS
        try:
            return tuple(self._each(position, end, scope, encoding, defined=defined)), self._after
        except _Large:
            pass
        finally:
            self._most_read = self._most_count = _NEVER
        del self.problems[known:]
        self._read, self._count, self._stopped = read, count, False
        return self._large_sequence(position, end, scope, encoding, defined=defined)

    def _large_sequence(
        self, position: int, end: int, scope: _Scope, encoding: Encoding, *, defined: bool
    ) -> tuple[LargeSequence, int]:
        """Pass over a sequence; it and the position after it."""
        most = self._limits.header_bytes - self._large_bytes
        after: int | None = end
        if not defined:
            bounded = min(end, position + most + 8)
            after = Passing(self._file, self._tally).sequence(position, bounded, encoding, scope.depth)
            if after is None and bounded == end:
                self._once("a sequence without its end")
                self._stopped = True
        length = (end if after is None else after if defined else after - 8) - position
        if length > most:
            raise LimitExceeded(
                f"sequences of more than {self._limits.header_bytes >> 20} MiB", limit="dicom_header_size",
                value=self._large_bytes + length,
            )  # fmt: skip
        self._large_bytes += length
        signed = _flag(scope.elements.get(_PIXEL_REPRESENTATION), scope.signed)
        kept = LargeSequence(position, length, encoding.implicit, encoding.big_endian, scope.depth, signed)
        return kept, end if after is None else after

    def _each(self, position: int, end: int, scope: _Scope, encoding: Encoding, *, defined: bool) -> Iterator[Dataset]:
        """The items of a sequence that ends at ``end``, or with its delimiter; ``_after`` is the position after it."""
        if scope.depth >= DEPTH:
            raise LimitExceeded(f"sequences nested more than {DEPTH} deep", limit="DEPTH", value=scope.depth)
        self._account(scope)
        named = scope.elements.get(SPECIFIC_CHARACTER_SET)
        text = scope.text if named is None else _text(named)
        signed = _flag(scope.elements.get(_PIXEL_REPRESENTATION), scope.signed)
        unpack = _HEADS[True, ">" if encoding.big_endian else "<"].unpack
        while position < end:
            head = self.peek(position, 8) if position + 8 <= end else b""
            if len(head) < 8:
                position = self._overrun(position, end, _Scope(encoding, text, resync=defined))
                break
            group, number, length = unpack(head)
            tag = group << 16 | number
            if tag == SEQUENCE_END:
                self._after = end if defined else position + 8
                return
            if tag != ITEM:
                self._once(f"{dictionary.digits(tag)} where an item should be, at byte {position}")
                self._stopped = not defined
                self._after = end if defined else position
                return
            stop = end if length == UNDEFINED else position + 8 + length
            if stop > end:
                self._once(f"an item goes beyond the end of its sequence, at byte {position}")
                stop = end
            certain = length != UNDEFINED or defined
            item = _Scope(encoding, text, scope.depth + 1, signed, resync=certain)
            position = self._elements(position + 8, stop, item)
            self._count += 1
            yield self._finish(item)
            if self._stopped:
                self._after = position
                return
            if length != UNDEFINED:
                position = stop
        if not defined and not self._stopped:
            self._once("a sequence without its end")
        self._after = position

    def _fragments(self, position: int, end: int, scope: _Scope) -> int:
        """Pass over encapsulated data that is not the file's pixel data (an icon's); the position after it."""
        order = "big" if scope.encoding.big_endian else "little"
        while position + 8 <= end:
            head = self.peek(position, 8)
            if len(head) < 8:
                break
            tag = int.from_bytes(head[:2], order) << 16 | int.from_bytes(head[2:4], order)
            length = int.from_bytes(head[4:], order)
            self._count += 1
            if tag == SEQUENCE_END:
                return position + 8
            if tag != ITEM or length == UNDEFINED or self._count > ELEMENTS:
                break
            position += 8 + length
        return self._overrun(position, end, _Scope(scope.encoding, scope.text))

    def _finish(self, scope: _Scope) -> Dataset:
        self._account(scope)
        elements = scope.elements
        if not scope.ordered:
            self._once("elements that are not in order")
            elements = dict(sorted(elements.items()))
        if scope.encoding.big_endian:
            elements = {tag: _turned(each) for tag, each in elements.items()}
        named = elements.get(SPECIFIC_CHARACTER_SET)
        return Dataset(elements, scope.text if named is None else _text(named))


def _flag(element: Element | None, default: bool) -> bool:  # noqa: FBT001 - the value there is when there is none
    """Whether a number is 1."""
    if element is None or not isinstance(element.value, bytes):
        return default
    return element.value[:2] == b"\1\0"


def swapped(value: bytes, word: int) -> bytes:
    """Numbers of ``word`` bytes in the other byte order. An incomplete last number stays as it is."""
    if word == 1:
        return value
    whole = len(value) // word * word
    turned = bytearray(len(value))
    for each in range(word):
        turned[each:whole:word] = value[word - 1 - each : whole : word]
    turned[whole:] = value[whole:]
    return bytes(turned)


def _turned(element: Element) -> Element:
    word = _WORDS.get(element.vr, 1)
    if word == 1 or not isinstance(element.value, bytes):
        return element
    return element._replace(value=swapped(element.value, word))


def _text(element: Element) -> Decoder:
    value = element.value if isinstance(element.value, bytes) else b""
    return decoder(tuple(each.strip(" \0") for each in value.decode("latin-1").split("\\")))
