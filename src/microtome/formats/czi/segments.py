"""The segments of a CZI file: header, directory of blocks, attachments. All numbers are little-endian.

Positions and sizes are checked against the file before anything is read or allocated by them.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from microtome.errors import CorruptData, LimitExceeded, UnsupportedFormat

MAX_BLOCKS = 1_000_000
MAX_DIRECTORY_BYTES = 512 << 20
MAX_ATTACHMENTS = 1000
SEGMENT_HEADER = 32
_ENTRY = struct.Struct("<2siqiiB5xi")
_DIMENSION = struct.Struct("<4siifi")
_MAX_DIMENSIONS = 40


class Source(Protocol):
    """Bytes by range: a ``PinnedObject``, or a file within a file."""

    @property
    def size(self) -> int:
        """In bytes."""
        ...

    async def read(self, start: int, stop: int) -> bytes:
        """``[start, stop)``, cut at the end."""
        ...


class Contained:
    """A file that is an attachment of another one, in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self._data)

    async def read(self, start: int, stop: int) -> bytes:
        """``[start, stop)``, cut at the end."""
        return self._data[start:stop]


class Block(NamedTuple):
    """An entry of the directory. x, y, width, height are px of full resolution, ``stored`` px as they are stored.

    ``planes`` are the indices of the other dimensions by their letter; ``mosaic`` orders blocks that overlap.
    """

    position: int
    stop: int
    pixel_type: int
    compression: int
    x: int
    y: int
    width: int
    height: int
    stored_width: int
    stored_height: int
    mosaic: int
    planes: dict[str, int]

    @property
    def ratio(self) -> float:
        """Px of full resolution per stored px, along the longer side."""
        if self.width >= self.height:
            return self.width / self.stored_width
        return self.height / self.stored_height


@dataclass(frozen=True, slots=True)
class Header:
    """Where the directory, the metadata and the directory of attachments begin; 0 for what there is not."""

    directory: int
    metadata: int
    attachments: int


class Attachment(NamedTuple):
    """A file within the file: a name, a kind of content ("CZI", "JPG"), the place of its segment."""

    name: str
    kind: str
    position: int


async def read_header(source: Source) -> Header:
    """The first segment. Raises CorruptData, UnsupportedFormat for one of several parts of a slide."""
    data = await source.read(0, SEGMENT_HEADER + 80)
    if not data.startswith(b"ZISRAWFILE\0") or len(data) < SEGMENT_HEADER + 80:
        raise CorruptData("A CZI file does not begin with its header")
    part, directory, metadata, _, attachments = struct.unpack_from("<iqqiq", data, SEGMENT_HEADER + 48)
    if part != 0:
        raise UnsupportedFormat("The CZI file is one of several parts of a slide", feature="multi-file CZI")
    if directory == 0:
        raise CorruptData("The CZI file holds no directory of its blocks; it was not finished by its writer")
    return Header(directory, metadata, attachments)


async def read_segment(source: Source, position: int, name: str, head: int) -> tuple[int, bytes]:
    """Used size and the first ``head`` bytes of the data of a segment. Raises CorruptData."""
    data = await source.read(position, position + SEGMENT_HEADER + head) if 0 < position < source.size else b""
    if len(data) < SEGMENT_HEADER + head or data[:16].rstrip(b"\0") != name.encode():
        raise CorruptData(f"A CZI file has no {name} segment where one must be", offset=position)
    used = struct.unpack_from("<q", data, 24)[0] or struct.unpack_from("<q", data, 16)[0]
    if not head <= used <= source.size - position:
        raise CorruptData(f"The {name} segment of a CZI file has an impossible size", offset=position)
    return used, data[SEGMENT_HEADER:]


async def read_directory(source: Source, header: Header) -> bytes:
    """The entries of the directory, unparsed, behind their number in 4 bytes."""
    used, head = await read_segment(source, header.directory, "ZISRAWDIRECTORY", 128)
    count = struct.unpack_from("<i", head)[0]
    if not 0 < count <= MAX_BLOCKS or used > MAX_DIRECTORY_BYTES:
        if count <= 0:
            raise UnsupportedFormat("The CZI file holds no image", feature="no image")
        raise LimitExceeded(f"The CZI file has {count} blocks", limit="blocks", value=count)
    start = header.directory + SEGMENT_HEADER + 128
    data = await source.read(start, header.directory + SEGMENT_HEADER + used)
    if count * _ENTRY.size > len(data):
        raise CorruptData("The directory of a CZI file breaks off", offset=header.directory)
    return head[:4] + data


def parse_directory(data: bytes, header: Header, size: int) -> list[Block]:
    """The blocks, in the order of the directory. Slow for many of them: call it in a thread. Raises CorruptData."""
    count = struct.unpack_from("<i", data)[0]
    found: list[tuple[int, int, int, dict[str, tuple[int, int, int]]]] = []
    at = 4
    for _ in range(count):
        if at + _ENTRY.size > len(data):
            raise CorruptData("The directory of a CZI file breaks off", offset=header.directory)
        schema, pixel_type, position, part, compression, _, dimensions = _ENTRY.unpack_from(data, at)
        at += _ENTRY.size
        if schema != b"DV" or not 0 < dimensions <= _MAX_DIMENSIONS or at + 20 * dimensions > len(data):
            raise CorruptData("An entry in the directory of a CZI file makes no sense", offset=header.directory)
        if part != 0:
            raise UnsupportedFormat("Blocks of the CZI file are in other files", feature="multi-file CZI")
        extents: dict[str, tuple[int, int, int]] = {}
        for name, start, extent, _, stored in _DIMENSION.iter_unpack(data[at : at + 20 * dimensions]):
            extents[name.rstrip(b"\0").decode("ascii", "replace")] = start, extent, stored or extent
        at += 20 * dimensions
        if not 0 < position < size:
            raise CorruptData("A block of a CZI file is outside of the file", offset=header.directory)
        found.append((position, pixel_type, compression, extents))
    return _with_ends(found, header, size)


def _with_ends(
    found: Sequence[tuple[int, int, int, dict[str, tuple[int, int, int]]]], header: Header, size: int
) -> list[Block]:
    """A block reaches at most to the segment behind it, so that it is read with one request."""
    places = sorted({each[0] for each in found} | {header.directory, header.metadata, header.attachments, size})
    following = dict(itertools.pairwise(places))
    blocks: list[Block] = []
    alike: dict[tuple[tuple[str, int], ...], dict[str, int]] = {}  # blocks are many, planes are few
    for number, (position, pixel_type, compression, extents) in enumerate(found):
        if "X" not in extents or "Y" not in extents:
            continue
        (x, width, stored_width), (y, height, stored_height) = extents["X"], extents["Y"]
        if min(width, height, stored_width, stored_height) < 1 or max(abs(x), abs(y), width, height) > 1 << 30:
            raise CorruptData("A block of a CZI file has an impossible size", offset=position)
        values = tuple((name, extent[0]) for name, extent in extents.items() if name not in {"X", "Y", "M"})
        planes = alike.setdefault(values, dict(values))
        blocks.append(
            Block(position, following[position], pixel_type, compression, x, y, width, height, stored_width,
                  stored_height, extents["M"][0] if "M" in extents else number, planes)
        )  # fmt: skip
    return blocks


def block_data(segment: bytes, block: Block) -> bytes:
    """The compressed pixels out of the segment of a block. Raises CorruptData."""
    if len(segment) < SEGMENT_HEADER + 16 + _ENTRY.size or not segment.startswith(b"ZISRAWSUBBLOCK\0"):
        raise CorruptData("A CZI file has no block where one must be", offset=block.position)
    metadata, _, length = struct.unpack_from("<iiq", segment, SEGMENT_HEADER)
    dimensions = struct.unpack_from("<i", segment, SEGMENT_HEADER + 16 + 28)[0]
    if not 0 <= dimensions <= _MAX_DIMENSIONS or metadata < 0 or length <= 0:
        raise CorruptData("A block of a CZI file makes no sense", offset=block.position)
    start = SEGMENT_HEADER + max(256, 16 + _ENTRY.size + _DIMENSION.size * dimensions) + metadata
    if start + length > len(segment):
        raise CorruptData("A block of a CZI file breaks off", offset=block.position)
    return segment[start : start + length]


async def read_metadata(source: Source, header: Header, limit: int) -> str:
    """The XML of the file, empty when there is none or it is longer than ``limit`` bytes. Raises CorruptData."""
    if header.metadata == 0:
        return ""
    _, head = await read_segment(source, header.metadata, "ZISRAWMETADATA", 8)
    length = struct.unpack_from("<i", head)[0]
    if not 0 < length <= limit:
        return ""
    start = header.metadata + SEGMENT_HEADER + 256
    return (await source.read(start, start + length)).rstrip(b"\0").decode("utf-8", "replace")


async def read_attachments(source: Source, header: Header) -> list[Attachment]:
    """The files within the file. Raises CorruptData."""
    if header.attachments == 0:
        return []
    _, head = await read_segment(source, header.attachments, "ZISRAWATTDIR", 4)
    count = struct.unpack_from("<i", head)[0]
    if not 0 <= count <= MAX_ATTACHMENTS:
        raise CorruptData("A CZI file claims an impossible number of attachments", offset=header.attachments)
    start = header.attachments + SEGMENT_HEADER + 256
    data = await source.read(start, start + 128 * count)
    found: list[Attachment] = []
    for at in range(0, len(data) - 127, 128):
        schema, position, _, _, kind, name = struct.unpack_from("<2s10xqi16s8s80s", data, at)
        if schema == b"A1":
            found.append(Attachment(_text(name), _text(kind), position))
    return found


async def read_attachment(source: Source, attachment: Attachment, limit: int) -> bytes:
    """The content. Raises CorruptData, LimitExceeded."""
    _, head = await read_segment(source, attachment.position, "ZISRAWATTACH", 4)
    length = struct.unpack_from("<i", head)[0]
    if length <= 0:
        raise CorruptData("An attachment of a CZI file is empty", offset=attachment.position)
    if length > limit:
        raise LimitExceeded(f"An attachment of {length >> 20} MB is too large", limit="attachment", value=length)
    start = attachment.position + SEGMENT_HEADER + 256
    data = await source.read(start, start + length)
    if len(data) != length:
        raise CorruptData("An attachment of a CZI file breaks off", offset=attachment.position)
    return data


def _text(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode("utf-8", "replace")
