"""Instances in files of a store: headers, frames, values and whole files by range, never more than was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from microtome.caching import Cache
from microtome.dicom import decode, syntaxes
from microtome.dicom.content import Value, at_hand, is_within_large, value_at
from microtome.dicom.dataset import Bulk, Dataset, LargeSequence
from microtome.dicom.encapsulated import FrameTable, frame_table
from microtome.dicom.encoding import DEFAULT_LIMITS, ScanLimits
from microtome.dicom.image import ImageFacts, image_facts
from microtome.dicom.part10 import Part10, Readable, opened, read_value, scan
from microtome.dicom.rows import InstanceRow
from microtome.dicom.sequences import ItemReader, Items, Places
from microtome.errors import CorruptData, LimitExceeded, NotFound
from microtome.storage.base import Store

PIECE = 1 << 20
"""Bytes of a file that are read and sent at once."""
MOST_BYTES = 128 << 20
"""Most bytes of values or frames that are held in memory for one answer; larger values are read while they are sent."""
_BESIDE = 256
"""Bytes beyond the header that the scanner may look at: the element that holds the pixels."""
_TABLES_BUDGET = 64 << 20
_FACTS_BUDGET = 16 << 20
_FACTS_BYTES = 1024
_HEADERS_BUDGET = 16 << 20
_PLACES_BUDGET = 16 << 20
_AT_ONCE = 2 << 20
"""Longer headers are read piece by piece: most of such a one is passed over."""
_PARSED = 8
"""A data set in memory takes so many times its bytes in the file, values and objects."""
_SMALL = 16 << 10
"""Headers up to here are read where they are asked for: to change threads would take longer."""


@dataclass(frozen=True, slots=True)
class _Header:
    """A data set without its pixels, and how many bytes of the file it may hold."""

    dataset: Dataset
    held: int


@dataclass(frozen=True, slots=True)
class StoreFile:
    """An object of a store as a file that blocks: for threads, never for the event loop ``loop`` itself."""

    store: Store
    row: InstanceRow
    loop: asyncio.AbstractEventLoop

    @property
    def size(self) -> int:
        """Bytes of the object."""
        return self.row.size

    def read_at(self, offset: int, length: int) -> bytes:
        """These bytes, fewer at the end."""
        work = self.store.get_range(self.row.key, offset, offset + length, etag=self.row.version)
        return asyncio.run_coroutine_threadsafe(work, self.loop).result().data


class FileContent:
    """``content.Content`` of files."""

    def __init__(self, store: Store, limits: ScanLimits = DEFAULT_LIMITS) -> None:
        self._store = store
        self._limits = limits
        self._tables: Cache[str, FrameTable] = Cache(
            _TABLES_BUDGET, weigh=lambda table: int(table.offsets.nbytes + table.lengths.nbytes)
        )
        self._facts: Cache[str, ImageFacts] = Cache(_FACTS_BUDGET, weigh=lambda _: _FACTS_BYTES)
        self._headers: Cache[str, _Header] = Cache(_HEADERS_BUDGET, weigh=lambda kept: _PARSED * kept.held)
        self._places: Cache[tuple[str, LargeSequence], Places] = Cache(_PLACES_BUDGET, weigh=lambda each: each.nbytes)

    async def header(self, row: InstanceRow) -> Dataset:
        """See ``content.Content``."""
        return (await self._headers.get_or_compute(f"{row.key}\0{row.version}", lambda: self._scanned(row))).dataset

    async def items(self, row: InstanceRow) -> Items:
        """See ``content.Content``."""
        file = StoreFile(self._store, row, asyncio.get_running_loop())
        if syntaxes.find(row.transfer_syntax).deflated:
            return await asyncio.to_thread(lambda: ItemReader(opened(file, self._scan(file)), limits=self._limits))

        def places(sequence: LargeSequence) -> Places:
            key = f"{row.key}\0{row.version}", sequence
            kept = self._places.get(key)
            if kept is None:
                kept = ItemReader(file, limits=self._limits).places(sequence)
                self._places.put(key, kept)
            return kept

        return ItemReader(file, limits=self._limits, places=places)

    async def frames(self, row: InstanceRow, numbers: Sequence[int]) -> list[bytes]:
        """See ``content.Content``."""
        if row.pixel is None:
            raise NotFound("frame", str(numbers[0]), "The instance has no pixel data")
        if row.pixel.length is not None:
            return await self._native(row, numbers)
        table = await self._table(row)
        wanted = [table.ranges(number - 1) for number in numbers]
        _check(sum(length for ranges in wanted for _, length in ranges))
        spans = [(offset, offset + length) for ranges in wanted for offset, length in ranges]
        pieces = iter(await self._ranges(row, spans))
        return [b"".join(next(pieces) for _ in ranges) for ranges in wanted]

    def peek(self, row: InstanceRow, numbers: Sequence[int]) -> list[bytes] | None:
        """See ``content.Content``: one frame of a file that was read from before."""
        if row.pixel is None or len(numbers) != 1:
            return None
        key, frame = f"{row.key}\0{row.version}", numbers[0] - 1
        if row.pixel.length is None:
            table = self._tables.get(key)
            if table is None or not 0 <= frame < table.frames or len(ranges := table.ranges(frame)) != 1:
                return None
            begin, length = ranges[0]
        else:
            facts, syntax = self._facts.get(key), syntaxes.find(row.transfer_syntax)
            if facts is None or syntax.big_endian or syntax.deflated or facts.allocated == 1:
                return None
            if not 0 <= frame < facts.frames:
                return None
            place = facts.native_range(frame)
            begin, length = row.pixel.offset + place.offset, place.length
        data = self._store.peek(row.key, begin, begin + length, etag=row.version)
        return None if data is None or len(data) < length else [data]

    def part10(self, row: InstanceRow) -> AsyncIterator[bytes]:
        """See ``content.Content``."""
        return self._pieces(row, 0, row.size)

    async def bulk(self, row: InstanceRow, path: str) -> bytes:
        """See ``content.Content``. Raises LimitExceeded above ``MOST_BYTES``."""
        value = await self.value(row, path)
        _check(value.length)
        return b"".join([piece async for piece in value.read(0, value.length)])

    async def value(self, row: InstanceRow, path: str) -> Value:
        """See ``content.Content``."""
        large = Bulk(0, 0)
        syntax = syntaxes.find(row.transfer_syntax)
        if row.pixel is not None and row.pixel.length is not None and path == f"{row.pixel.tag:08X}":
            word = max(row.bits // 8, 2 if row.pixel.vr == "OW" else 1)  # PS3.5 §7.3
            large = Bulk(row.pixel.offset, row.pixel.length, word if syntax.big_endian else 1)
        else:
            header = await self.header(row)
            if is_within_large(header, path):
                found = await asyncio.to_thread(value_at, header, path, await self.items(row))
            else:
                found = value_at(header, path)
            if isinstance(found, bytes):
                return at_hand(found)
            large = found
        if syntax.deflated or large.word > 1:
            return at_hand(await self._made(row, large))
        return Value(
            large.length,
            lambda start, stop: self._pieces(row, large.offset + start, large.offset + stop),
        )

    async def _made(self, row: InstanceRow, large: Bulk) -> bytes:
        """A value that does not stand in the file as it is sent: inflated, in the other byte order."""
        _check(large.length)
        loop = asyncio.get_running_loop()

        def read() -> bytes:
            file = StoreFile(self._store, row, loop)
            return read_value(opened(file, self._scan(file)), large)

        return await asyncio.to_thread(read)

    async def _pieces(self, row: InstanceRow, start: int, stop: int) -> AsyncIterator[bytes]:
        """Bytes of the file, read while they are sent. Raises CorruptData when it ends before."""
        for begin in range(start, stop, PIECE):
            end = min(begin + PIECE, stop)
            data = (await self._store.get_range(row.key, begin, end, etag=row.version)).data
            if len(data) < end - begin:
                raise CorruptData("A value is cut off by the end of the file", offset=begin)
            yield data

    # -- pieces ------------------------------------------------------------------------------------------------------

    async def facts(self, row: InstanceRow) -> ImageFacts:
        """What the Image Pixel module says. Raises NotFound for an instance without an image."""

        async def read() -> ImageFacts:
            header = await self.header(row)
            return image_facts(header) if row.pixel is None else image_facts(header, row.pixel.tag, row.pixel.vr)

        return await self._facts.get_or_compute(f"{row.key}\0{row.version}", read)

    async def _scanned(self, row: InstanceRow) -> _Header:
        loop = asyncio.get_running_loop()
        stop = min(row.size, row.header_length + _BESIDE) if row.header_length else row.size
        if syntaxes.find(row.transfer_syntax).deflated or stop > _AT_ONCE:
            found = await asyncio.to_thread(self._scan, StoreFile(self._store, row, loop))
            return _Header(found.dataset, found.held)
        head = (await self._store.get_range(row.key, 0, stop, etag=row.version)).data
        if stop <= _SMALL:
            return _Header(self._scan(_Head(head, row.size)).dataset, stop)
        return _Header((await asyncio.to_thread(self._scan, _Head(head, row.size))).dataset, stop)

    def _scan(self, file: Readable) -> Part10:
        return scan(file, limits=self._limits)

    async def _native(self, row: InstanceRow, numbers: Sequence[int]) -> list[bytes]:
        assert row.pixel is not None  # noqa: S101 - the caller looked
        facts = await self.facts(row)
        big_endian = syntaxes.find(row.transfer_syntax).big_endian
        ranges = [facts.native_range(number - 1, big_endian=big_endian) for number in numbers]
        _check(sum(each.length for each in ranges))
        begin = row.pixel.offset
        if syntaxes.find(row.transfer_syntax).deflated:
            found = [await self._made(row, Bulk(begin + each.offset, each.length)) for each in ranges]
        else:
            spans = [(begin + each.offset, begin + each.offset + each.length) for each in ranges]
            found = await self._ranges(row, spans)
        for data, each in zip(found, ranges, strict=True):
            if len(data) < each.length:
                raise CorruptData("The pixel data ends before the frame does", offset=begin + each.offset)
        return [
            decode.native_bytes(data, facts, big_endian=big_endian, bit=each.bit) if big_endian or each.bit else data
            for data, each in zip(found, ranges, strict=True)
        ]

    async def _ranges(self, row: InstanceRow, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        if len(spans) == 1:
            start, stop = spans[0]
            if (ready := self._store.peek(row.key, start, stop, etag=row.version)) is not None:
                return [ready]
            return [(await self._store.get_range(row.key, start, stop, etag=row.version)).data]
        return await self._store.get_ranges(row.key, spans, etag=row.version)

    async def _table(self, row: InstanceRow) -> FrameTable:
        async def made() -> FrameTable:
            if row.frame_table is not None:
                return FrameTable.unpack(row.frame_table)
            loop = asyncio.get_running_loop()

            def read() -> FrameTable:
                file = StoreFile(self._store, row, loop)
                header = self._scan(file)
                if header.pixels is None:
                    raise NotFound("frame", "1", "The instance has no pixel data")
                return frame_table(file, header.pixels, row.frames, row.transfer_syntax)

            return await asyncio.to_thread(read)

        return await self._tables.get_or_compute(f"{row.key}\0{row.version}", made)


@dataclass(frozen=True, slots=True)
class _Head:
    """The beginning of a file of ``size`` bytes; what lies behind it reads as the end of the file."""

    data: bytes
    size: int

    def read_at(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


def _check(nbytes: int) -> None:
    if nbytes > MOST_BYTES:
        raise LimitExceeded(
            f"{nbytes} bytes were asked for at once; ask for fewer frames", limit="dicom value bytes", value=nbytes
        )
