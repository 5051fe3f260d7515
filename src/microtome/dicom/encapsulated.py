"""Where the frames of encapsulated pixel data lie (PS3.5 §A.4; extended offset table PS3.3 §C.7.6.3.1.8).

The table is made once, so that afterwards a frame is one read. Nothing is decoded; at most a few bytes at the edges of
fragments are looked at, where a frame has several and no table says which.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from microtome.dicom import syntaxes
from microtome.dicom.dataset import Bulk
from microtome.dicom.encoding import ITEM_BYTES, Readable
from microtome.dicom.scanner import PixelData
from microtome.errors import CorruptData, InvalidRequest, LimitExceeded, NotFound

FRAGMENTS: Final = 8_000_000
"""Fragments of one file."""
END: Final = b"\xfe\xff\xdd\xe0\0\0\0\0"
"""What stands after the last item."""
_ITEM: Final = ITEM_BYTES
_SEQUENCE_END: Final = END[:4]
_STARTS: Final = (
    b"\xff\xd8\xff",  # JPEG, JPEG-LS: start of image
    b"\xff\x4f\xff\x51",  # JPEG 2000: start of codestream
    b"\x00\x00\x00\x0cjP  ",  # JPEG 2000 in its file format
    b"\xff\x0a",  # JPEG XL
    b"\x00\x00\x00\x0cJXL ",
)
_LOOKED_AT: Final = 8
_MAGIC: Final = b"FT1\0"


@dataclass(frozen=True, slots=True, eq=False)
class FrameTable:
    """Fragments of every frame.

    ``offsets``, ``lengths``: of each fragment in the file, in bytes, item headers excluded; ascending. ``first``: for
    each frame its first fragment, and one more for the end; None when each frame is one fragment. ``complete`` is
    False when the file ends before its pixel data does.
    """

    offsets: NDArray[np.uint64]
    lengths: NDArray[np.uint64]
    first: NDArray[np.uint32] | None = None
    complete: bool = True

    @property
    def frames(self) -> int:
        """How many frames there are; a video is one."""
        return len(self.offsets) if self.first is None else len(self.first) - 1

    def ranges(self, frame: int) -> tuple[tuple[int, int], ...]:
        """(offset, length) of the fragments of a frame, counted from 0; joined, they are the frame.

        Raises NotFound for a frame that is not there.
        """
        if not 0 <= frame < self.frames:
            raise NotFound("frame", str(frame + 1))
        if self.first is None:
            return ((int(self.offsets[frame]), int(self.lengths[frame])),)
        begin, end = int(self.first[frame]), int(self.first[frame + 1])
        return tuple((int(self.offsets[each]), int(self.lengths[each])) for each in range(begin, end))

    def pack(self) -> bytes:
        """The table in few bytes: lengths, and the gaps between fragments, which hardly ever differ."""
        count = len(self.offsets)
        gaps = np.diff(self.offsets, prepend=np.uint64(0))
        if count > 1:
            gaps[1:] -= self.lengths[:-1]
        first = b"" if self.first is None else np.diff(self.first).astype("<u4").tobytes()
        frames = 0 if self.first is None else len(self.first) - 1
        head = struct.pack("<4sBIIB", _MAGIC, self.complete, count, frames, self.first is not None)
        body = gaps.astype("<u8").tobytes() + self.lengths.astype("<u8").tobytes() + first
        # The high bytes of all numbers stand together: that is what makes them compress.
        return head + zlib.compress(_transposed(body, count), 6)

    @classmethod
    def unpack(cls, packed: bytes) -> FrameTable:
        """The table out of ``pack``. Raises CorruptData for anything else."""
        try:
            magic, complete, count, frames, several = struct.unpack_from("<4sBIIB", packed)
            size = count * 16 + frames * 4
            if magic != _MAGIC or count > FRAGMENTS or frames > FRAGMENTS:
                raise CorruptData("no frame table")
            inflate = zlib.decompressobj()
            body = inflate.decompress(packed[14:], size + 1)
        except (struct.error, zlib.error) as error:
            raise CorruptData("no frame table") from error
        if len(body) != size:
            raise CorruptData("no frame table")
        plain = _restored(body, count)
        gaps = np.frombuffer(plain, "<u8", count).astype(np.uint64)
        lengths = np.frombuffer(plain, "<u8", count, count * 8).astype(np.uint64)
        if count > 1:
            gaps[1:] += lengths[:-1]
        first = None
        if several:
            counts = np.frombuffer(plain, "<u4", frames, count * 16)
            first = np.concatenate([[0], np.cumsum(counts, dtype=np.uint64)])
            if int(first[-1]) > count:
                raise CorruptData("no frame table")
            first = first.astype(np.uint32)
        return cls(np.cumsum(gaps, dtype=np.uint64), lengths, first, bool(complete))


def _transposed(body: bytes, count: int) -> bytes:
    numbers = np.frombuffer(body, np.uint8, count * 16).reshape(-1, 8)
    return numbers.T.tobytes() + body[count * 16 :]


def _restored(body: bytes, count: int) -> bytes:
    if not count:
        return body
    numbers = np.frombuffer(body, np.uint8, count * 16).reshape(8, -1)
    return numbers.T.tobytes() + body[count * 16 :]


def frame_table(
    file: Readable, pixels: PixelData, frames: int, transfer_syntax: str, *, believe: bool = False, window: int = 0
) -> FrameTable:
    """The table of the frames of encapsulated pixel data; ``frames`` is Number of Frames, at least 1.

    An extended offset table is believed when it fits the file, a basic one only with ``believe`` (where each item
    header would be a request of its own). Otherwise every item header is read, ``window`` bytes at a time when that is
    more than the eight of a header. Where there are fewer fragments than frames, the last frames are missing.

    Raises CorruptData when items are broken or nobody can tell which fragment belongs to which frame; InvalidRequest
    for native pixel data, whose frames need no table; LimitExceeded above ``FRAGMENTS``.
    """
    if pixels.length is not None:
        raise InvalidRequest("native pixel data has no items", parameter="pixels")
    frames = max(frames, 1)
    reader = _Reader(file, window)
    tag, length = _Reader(file, 0).item(pixels.offset)
    if tag != _ITEM:
        raise CorruptData("pixel data does not begin with an item", offset=pixels.offset)
    begin = pixels.offset + 8 + length
    if begin > file.size:
        raise CorruptData("the offset table goes beyond the end of the file", offset=pixels.offset)
    video = syntaxes.find(transfer_syntax).video
    if not video and (found := _extended(file, pixels, begin, frames)) is not None:
        return found
    basic = _basic(file, pixels.offset + 8, length, frames)
    if believe and not video and basic is not None and (found := _believed(_Reader(file, 0), begin, basic)) is not None:
        return found
    offsets, lengths, complete = _walk(reader, begin)
    return FrameTable(offsets, lengths, _grouped(reader, offsets, lengths, frames, basic, begin, video=video), complete)


def item_of(value: bytes) -> bytes:
    """An item: its tag and length, the value, and a byte of padding when that is odd (PS3.5 §A.4)."""
    size = len(value) + len(value) % 2
    return _ITEM + size.to_bytes(4, "little") + value + b"\0" * (len(value) % 2)


def offset_table(lengths: Sequence[int]) -> bytes:
    """The value of a basic offset table for frames of these lengths, one fragment each.

    Empty, as the standard allows, when a frame begins beyond what 32 bits can say.
    """
    starts, position = array("Q"), 0
    for length in lengths:
        starts.append(position)
        position += 8 + length + length % 2
    if starts and starts[-1] > 0xFFFF_FFFF:
        return b""
    return np.frombuffer(starts, np.uint64).astype("<u4").tobytes()


class _Reader:
    """Item headers and small pieces, through a window when asked."""

    def __init__(self, file: Readable, window: int) -> None:
        self._file = file
        self._window = window
        self._data = b""
        self._at = 0
        self.size = file.size

    def read(self, offset: int, length: int) -> bytes:
        if length >= self._window:
            return self._file.read_at(offset, length)
        if not self._at <= offset <= offset + length <= self._at + len(self._data):
            self._data = self._file.read_at(offset, min(self._window, max(self.size - offset, 0)))
            self._at = offset
        skip = offset - self._at
        return self._data[skip : skip + length]

    def item(self, offset: int) -> tuple[bytes, int]:
        """Tag and length of an item."""
        head = self.read(offset, 8)
        return head[:4], int.from_bytes(head[4:8], "little")


def _walk(reader: _Reader, position: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64], bool]:
    """Every fragment up to the delimiter or the end of the file."""
    offsets, lengths = array("Q"), array("Q")
    size, read, complete = reader.size, reader.read, True
    unpack = struct.Struct("<4sI").unpack
    while True:
        head = read(position, 8)
        if len(head) < 8:
            complete = False
            break
        tag, length = unpack(head)
        if tag == _SEQUENCE_END:
            break
        if tag != _ITEM or length == 0xFFFF_FFFF:
            if not offsets:
                raise CorruptData("no item where a fragment should be", offset=position)
            complete = False
            break
        position += 8
        if position + length > size:
            complete = False
            length = size - position
        offsets.append(position)
        lengths.append(length)
        if len(offsets) > FRAGMENTS:
            raise LimitExceeded(f"more than {FRAGMENTS} fragments", limit="FRAGMENTS", value=len(offsets))
        position += length
    return np.frombuffer(offsets, np.uint64), np.frombuffer(lengths, np.uint64), complete


def _grouped(
    reader: _Reader,
    offsets: NDArray[np.uint64],
    lengths: NDArray[np.uint64],
    frames: int,
    basic: NDArray[np.uint64] | None,
    begin: int,
    *,
    video: bool,
) -> NDArray[np.uint32] | None:
    """First fragment of each frame, None for one fragment each."""
    count = len(offsets)
    if (frames == 1 or video) and count != 1:
        return np.array([0, count], np.uint32) if count else np.zeros(1, np.uint32)
    if count <= frames:
        # Fewer fragments than frames: those that are there are the first ones.
        return None
    if basic is not None:
        starts = np.searchsorted(offsets, basic + np.uint64(begin + 8))
        if np.array_equal(offsets[np.minimum(starts, count - 1)], basic + np.uint64(begin + 8)):
            return np.append(starts, count).astype(np.uint32)
    starts = _starts(reader, offsets, lengths)
    if len(starts) != frames or starts[0] != 0:
        raise CorruptData(f"{count} fragments without an offset table for {frames} frames")
    return np.append(starts, count).astype(np.uint32)


def _starts(reader: _Reader, offsets: NDArray[np.uint64], lengths: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The fragments that begin like a compressed image, after one that ended like one where the kind has an end."""
    found: list[int] = []
    for number, (offset, length) in enumerate(zip(offsets.tolist(), lengths.tolist(), strict=True)):
        if reader.read(offset, min(length, _LOOKED_AT)).startswith(_STARTS):
            found.append(number)
    return np.array(found, np.int64)


def _basic(file: Readable, offset: int, length: int, frames: int) -> NDArray[np.uint64] | None:
    """The basic offset table, when it has an ascending entry for each frame."""
    if length != frames * 4 or length > file.size - offset:
        return None
    table = np.frombuffer(file.read_at(offset, length), "<u4").astype(np.uint64)
    if len(table) != frames or table[0] != 0 or not np.all(table[1:] > table[:-1]):
        return None
    return table


def _believed(reader: _Reader, begin: int, basic: NDArray[np.uint64]) -> FrameTable | None:
    """A basic offset table as the frame table, if it looks as if each frame were one fragment."""
    starts = basic + np.uint64(begin)
    tag, length = reader.item(int(starts[-1]))
    end = int(starts[-1]) + 8 + length
    tail, _ = reader.item(end)
    if tag != _ITEM or tail != _SEQUENCE_END or end > reader.size:
        return None
    ends = np.append(starts[1:], np.uint64(end))
    lengths = ends - starts - np.uint64(8)
    for frame in {round(each * (len(starts) - 1) / _LOOKED_AT) for each in range(_LOOKED_AT)}:
        tag, length = reader.item(int(starts[frame]))
        if tag != _ITEM or length != int(lengths[frame]):
            return None
    return FrameTable(starts + np.uint64(8), lengths)


def _extended(file: Readable, pixels: PixelData, begin: int, frames: int) -> FrameTable | None:
    """The extended offset table as the frame table, when it has both halves and stays within the file."""
    size = frames * 8
    if size > file.size:
        return None
    offsets, lengths = _table(file, pixels.frame_offsets, size), _table(file, pixels.frame_lengths, size)
    if offsets is None or lengths is None or offsets[0] != 0:
        return None
    room = file.size - begin - 8
    if room < 0 or bool(np.any(offsets > room)) or bool(np.any(lengths > room)):
        return None
    even = lengths + (lengths & np.uint64(1))
    ends = offsets + np.uint64(8) + even
    if bool(np.any(offsets[1:] < ends[:-1])) or int(ends[-1]) > room + 8:
        return None
    for frame in (0, frames - 1):
        head = file.read_at(begin + int(offsets[frame]), 8)
        if head[:4] != _ITEM or int.from_bytes(head[4:], "little") != int(even[frame]):
            return None
    return FrameTable(offsets + np.uint64(begin + 8), lengths)


def _table(file: Readable, value: bytes | Bulk | None, size: int) -> NDArray[np.uint64] | None:
    if value is None:
        return None
    data = value
    if isinstance(data, Bulk):
        data = file.read_at(data.offset, size) if data.length == size else b""
    return np.frombuffer(data, "<u8").astype(np.uint64) if len(data) == size else None
