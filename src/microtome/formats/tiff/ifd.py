"""Parsing of TIFF structures out of bytes: file header, image file directories, values. Pure; TIFF 6.0 §2, BigTIFF."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

from microtome.errors import CorruptData, UnsupportedFormat

ByteOrder = Literal["<", ">"]
MAX_ENTRIES = 4096
"""Entries of one directory; real ones have a few dozen."""

_FORMATS = {1: "B", 2: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q",
            18: "Q"}  # fmt: skip
_RATIONALS = {5: "II", 10: "ii"}
SIZES = {kind: struct.calcsize("<" + code) for kind, code in (_FORMATS | _RATIONALS).items()}


@dataclass(frozen=True, slots=True)
class FileHeader:
    """Byte order, kind and the offset of the first directory in bytes."""

    order: ByteOrder
    big: bool
    first: int

    @property
    def entry_bytes(self) -> int:
        """Length of a directory entry."""
        return 20 if self.big else 12

    @property
    def count_bytes(self) -> int:
        """Length of the number of entries before them."""
        return 8 if self.big else 2

    @property
    def offset_bytes(self) -> int:
        """Length of an offset."""
        return 8 if self.big else 4


@dataclass(frozen=True, slots=True)
class Entry:
    """A tag of a directory: its field type, how many values, and where in the file they stand (inline ones, too)."""

    tag: int
    kind: int
    count: int
    at: int

    @property
    def nbytes(self) -> int:
        """Bytes of all values; 0 for a field type nobody knows."""
        return SIZES.get(self.kind, 0) * self.count


def looks_like_tiff(head: bytes) -> bool:
    """The magic numbers of classic TIFF and BigTIFF in both byte orders."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def parse_header(head: bytes, size: int) -> FileHeader:
    """The file header. Raises UnsupportedFormat when it is no TIFF, CorruptData when the first offset is impossible."""
    if size < 16 or len(head) < 16:
        raise UnsupportedFormat(f"The file is too small to be a slide ({size} bytes)", feature="file size")
    if not looks_like_tiff(head):
        raise UnsupportedFormat(f"The file is no TIFF: it begins with {head[:4].hex(' ')}", feature="file signature")
    order: ByteOrder = "<" if head[:2] == b"II" else ">"
    big = 43 in head[2:4]
    if big:
        offset_size, _, first = struct.unpack_from(order + "HHQ", head, 4)
        if offset_size != 8:
            raise UnsupportedFormat(f"A BigTIFF with offsets of {offset_size} bytes is unknown", feature="offset size")
    else:
        (first,) = struct.unpack_from(order + "I", head, 4)
    if not 8 <= first < size:
        raise CorruptData(f"The first directory would be at {first}, outside of the {size} bytes of the file", offset=4)
    return FileHeader(order, big, first)


def entry_count(data: bytes, header: FileHeader, offset: int) -> int:
    """How many entries the directory at ``offset`` has, ``data`` beginning there. Raises CorruptData."""
    if len(data) < header.count_bytes:
        raise CorruptData("A directory is cut off by the end of the file", offset=offset)
    (count,) = struct.unpack_from(header.order + ("Q" if header.big else "H"), data)
    if not 0 < count <= MAX_ENTRIES:
        raise CorruptData(f"A directory claims {count} entries", offset=offset)
    return count


def directory_bytes(count: int, header: FileHeader) -> int:
    """Length of a directory of ``count`` entries, count and next offset included."""
    return header.count_bytes + count * header.entry_bytes + header.offset_bytes


def parse_directory(data: bytes, header: FileHeader, offset: int) -> tuple[dict[int, Entry], int]:
    """Entries by tag and the offset of the next directory (0: none), ``data`` beginning at ``offset``."""
    count = entry_count(data, header, offset)
    if len(data) < directory_bytes(count, header) - header.offset_bytes:
        raise CorruptData("A directory is cut off by the end of the file", offset=offset)
    entries: dict[int, Entry] = {}
    layout = header.order + ("HHQ" if header.big else "HHI")
    inline = header.offset_bytes
    at = header.count_bytes
    for _ in range(count):
        tag, kind, values = struct.unpack_from(layout, data, at)
        value_at = at + header.entry_bytes - inline
        entry = Entry(tag, kind, values, offset + value_at)
        if entry.nbytes > inline:
            (where,) = struct.unpack_from(header.order + ("Q" if header.big else "I"), data, value_at)
            entry = Entry(tag, kind, values, where)
        entries.setdefault(tag, entry)
        at += header.entry_bytes
    if len(data) < at + inline:
        return entries, 0  # some writers leave the last offset out at the end of the file
    (following,) = struct.unpack_from(header.order + ("Q" if header.big else "I"), data, at)
    return entries, following


def parse_values(entry: Entry, data: bytes, order: ByteOrder) -> tuple[float, ...]:
    """The numbers of an entry; rationals as quotients (0 for a zero denominator). Raises CorruptData."""
    if len(data) < entry.nbytes:
        raise CorruptData(f"The values of tag {entry.tag} are cut off by the end of the file", offset=entry.at)
    if entry.kind in _RATIONALS:
        code = _RATIONALS[entry.kind][0]
        numbers = struct.unpack_from(f"{order}{2 * entry.count}{code}", data)
        return tuple(a / b if b else 0.0 for a, b in zip(numbers[::2], numbers[1::2], strict=True))
    code = _FORMATS.get(entry.kind)
    if code is None:
        raise CorruptData(f"Tag {entry.tag} has the unknown field type {entry.kind}", offset=entry.at)
    return struct.unpack_from(f"{order}{entry.count}{code}", data)
