"""DICOM files (PS3.10 §7): preamble, file meta information, and the data set by the scanner.

Also what breaks the rules and is met all the same: no preamble, no meta information, implicit VR where explicit was
announced, a data set that ends too early.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from microtome.dicom import dictionary, syntaxes
from microtome.dicom.charset import decoder
from microtome.dicom.dataset import Bulk, Dataset, Element
from microtome.dicom.encoding import (
    BIG_ENDIAN,
    DEFAULT_LIMITS,
    EXPLICIT,
    IMPLICIT,
    Encoding,
    Readable,
    ScanLimits,
)
from microtome.dicom.inflated import Inflated
from microtome.dicom.scanner import PixelData, Scanner, swapped
from microtome.errors import CorruptData, UnsupportedFormat

__all__ = ["Memory", "Part10", "PixelData", "Readable", "opened", "read_value", "scan"]

LARGE = 65536
"""Bytes above which a value is passed over, and only its place is told."""
_TRANSFER_SYNTAX = 0x0002_0010
_META_BYTES = 1 << 20
_VR = re.compile(rb"[A-Z]{2}")
_WIDE = frozenset({b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"})


@dataclass(frozen=True, slots=True)
class Part10:
    """What a file holds beside its pixels.

    ``begin``: first byte of the data set; of a deflated one, of the compressed stream, while every other offset counts
    in the inflated stream (``opened``). ``problems``: what was wrong and could be passed over, in words. ``held``:
    bytes of the file that ``dataset`` may hold.
    """

    transfer_syntax: str
    meta: Dataset
    dataset: Dataset
    pixels: PixelData | None
    problems: tuple[str, ...] = ()
    begin: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes as a file."""

    data: bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)

    def read_at(self, offset: int, length: int) -> bytes:
        """These bytes, fewer at the end."""
        return self.data[offset : offset + length]


def scan(file: Readable, *, large: int = LARGE, limits: ScanLimits = DEFAULT_LIMITS) -> Part10:
    """Read everything but the pixel data, large sequences and values longer than ``large`` bytes.

    Raises UnsupportedFormat for what is no DICOM file, CorruptData when nothing in it can be read, LimitExceeded for
    headers beyond the limits of the scanner, or those given.
    """
    scanner = Scanner(file, large=large, limits=limits)
    head = scanner.peek(0, 140)
    if head[128:132] == b"DICM":
        meta, begin = _meta(scanner, 132)
    elif _plausible(head, file.size):
        meta, begin = _meta(scanner, 0)
        scanner.problems.append("no preamble")
    else:
        raise UnsupportedFormat("not a DICOM file: neither preamble nor a data set", feature="no DICM")
    uid = meta.string(_TRANSFER_SYNTAX)
    syntax = syntaxes.find(uid) if uid else None
    if syntax is not None and syntax.deflated:
        inflated = Inflated(file, begin)
        scanner = Scanner(inflated, large=large, limits=limits)
        encoding, start = EXPLICIT, 0
    else:
        announced = None
        if syntax is not None:
            announced = IMPLICIT if syntax.implicit else BIG_ENDIAN if syntax.big_endian else EXPLICIT
        else:
            scanner.problems.append("no transfer syntax")
        encoding, start = _encoding(scanner, begin, announced), begin
        if syntax is None:
            uid = _NAMES[encoding]
    dataset = scanner.dataset(start, encoding)
    if not dataset.elements and scanner.pixels is None:
        raise CorruptData("no data element can be read", offset=begin)
    return Part10(uid, meta, dataset, scanner.pixels, tuple(scanner.problems), begin, scanner.held)


_NAMES = {EXPLICIT: syntaxes.EXPLICIT_LITTLE, IMPLICIT: syntaxes.IMPLICIT_LITTLE, BIG_ENDIAN: syntaxes.EXPLICIT_BIG}


def opened(file: Readable, header: Part10) -> Readable:
    """The stream in which the offsets of ``header`` count: the file, or what its deflated data set inflates to."""
    return Inflated(file, header.begin) if syntaxes.find(header.transfer_syntax).deflated else file


def read_value(file: Readable, bulk: Bulk) -> bytes:
    """A value that was passed over, in little-endian; ``file`` as ``opened`` gives it."""
    value = file.read_at(bulk.offset, bulk.length)
    if len(value) < bulk.length:
        raise CorruptData("a value is cut off by the end of the file", offset=bulk.offset)
    return swapped(value, bulk.word)


def _meta(scanner: Scanner, position: int) -> tuple[Dataset, int]:
    """The file meta information, always explicit little-endian (PS3.10 §7.1), and the position after it.

    It ends with group 2, whatever its group length says.
    """
    elements: dict[int, Element] = {}
    begin = position
    while position - begin < _META_BYTES:
        head = scanner.peek(position, 12)
        if len(head) < 8 or head[:2] != b"\2\0":
            break
        tag = 0x0002_0000 | int.from_bytes(head[2:4], "little")
        code = head[4:6]
        if not _VR.fullmatch(code):
            vr, start, length = dictionary.vr(tag), position + 8, int.from_bytes(head[4:8], "little")
        elif code in _WIDE:
            vr, start, length = code.decode(), position + 12, int.from_bytes(head[8:12], "little")
        else:
            vr, start, length = code.decode(), position + 8, int.from_bytes(head[6:8], "little")
        value = scanner.peek(start, length) if length <= _META_BYTES else b""
        if len(value) < length:
            raise CorruptData("the file meta information is cut off", offset=position)
        elements[tag] = Element(tag, vr, value)
        position = start + length
    return Dataset(elements, decoder(())), position


def _plausible(head: bytes, size: int) -> bool:
    """Whether a file without preamble begins like a data set: a tag of group 2 or 8, and a value that fits."""
    if len(head) < 8:
        return False
    order = "little" if head[0] else "big"
    group, element = int.from_bytes(head[:2], order), int.from_bytes(head[2:4], order)
    tag = group << 16 | element
    if group not in {2, 8} or dictionary.vr(tag) == "UN":
        return False
    if _VR.fullmatch(head[4:6]):
        return head[4:6].decode() == dictionary.vr(tag) or head[4:6] == b"UN"
    return order == "little" and int.from_bytes(head[4:8], "little") <= min(size - 8, 1024)


def _encoding(scanner: Scanner, begin: int, announced: Encoding | None) -> Encoding:
    """The encoding of the data set, by its first element: what was announced is not always what is there."""
    head = scanner.peek(begin, 8)
    explicit = bool(_VR.fullmatch(head[4:6]))
    if announced is not None and announced.implicit != explicit:
        return announced
    if announced is None:
        if not explicit:
            return IMPLICIT
        return BIG_ENDIAN if head[:1] == b"\0" and head[1:2] != b"\0" else EXPLICIT
    if len(head) == 8:
        scanner.problems.append(f"{'implicit' if announced.implicit else 'explicit'} VR was announced and is not used")
    return EXPLICIT if explicit else IMPLICIT
