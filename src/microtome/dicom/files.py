"""Instances in files of a store: headers, frames, values and whole files by range, never more than was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from microtome.caching import Cache
from microtome.dicom import decode, syntaxes
from microtome.dicom.content import value_at
from microtome.dicom.dataset import Dataset
from microtome.dicom.encapsulated import FrameTable, frame_table
from microtome.dicom.image import PIXEL_DATA, ImageFacts, image_facts
from microtome.dicom.part10 import Part10, opened, read_value, scan
from microtome.dicom.rows import InstanceRow
from microtome.errors import CorruptData, LimitExceeded, NotFound
from microtome.storage.base import Store

PIECE = 1 << 20
"""Bytes of a file that are read and sent at once."""
MOST_BYTES = 1 << 30
"""Largest value or frame that is held in memory."""
_BESIDE = 256
"""Bytes beyond the header that the scanner may look at: the element that holds the pixels."""
_TABLES_BUDGET = 64 << 20
_FACTS_BUDGET = 16 << 20
_FACTS_BYTES = 1024


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

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tables: Cache[str, FrameTable] = Cache(
            _TABLES_BUDGET, weigh=lambda table: int(table.offsets.nbytes + table.lengths.nbytes)
        )
        self._facts: Cache[str, ImageFacts] = Cache(_FACTS_BUDGET, weigh=lambda _: _FACTS_BYTES)

    async def header(self, row: InstanceRow) -> Dataset:
        """See ``content.Content``."""
        return (await self._scanned(row)).dataset

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

    async def part10(self, row: InstanceRow) -> AsyncIterator[bytes]:
        """See ``content.Content``."""
        for start in range(0, row.size, PIECE):
            stop = min(start + PIECE, row.size)
            yield (await self._store.get_range(row.key, start, stop, etag=row.version)).data

    async def bulk(self, row: InstanceRow, path: str) -> bytes:
        """See ``content.Content``."""
        whole = row.pixel if path == f"{PIXEL_DATA:08X}" else None
        if whole is not None and whole.length is not None:
            _check(whole.length)
            if not syntaxes.find(row.transfer_syntax).deflated:
                return (await self._ranges(row, [(whole.offset, whole.offset + whole.length)]))[0]
        loop = asyncio.get_running_loop()

        def read() -> bytes:
            file = StoreFile(self._store, row, loop)
            header = scan(file)
            if whole is not None and whole.length is not None:
                return opened(file, header).read_at(whole.offset, whole.length)
            value = value_at(header.dataset, path)
            if isinstance(value, bytes):
                return value
            _check(value.length)
            return read_value(opened(file, header), value)

        return await asyncio.to_thread(read)

    # -- pieces ------------------------------------------------------------------------------------------------------

    async def facts(self, row: InstanceRow) -> ImageFacts:
        """What the Image Pixel module says. Raises NotFound for an instance without an image."""

        async def read() -> ImageFacts:
            words = row.pixel.vr if row.pixel is not None else "OW"
            return image_facts(await self.header(row), pixels_vr=words)

        return await self._facts.get_or_compute(f"{row.key}\0{row.version}", read)

    async def _scanned(self, row: InstanceRow) -> Part10:
        loop = asyncio.get_running_loop()
        stop = min(row.size, row.header_length + _BESIDE) if row.header_length else row.size
        if syntaxes.find(row.transfer_syntax).deflated or stop > MOST_BYTES:
            return await asyncio.to_thread(scan, StoreFile(self._store, row, loop))
        head = (await self._store.get_range(row.key, 0, stop, etag=row.version)).data
        return await asyncio.to_thread(scan, _Head(head, row.size))

    async def _native(self, row: InstanceRow, numbers: Sequence[int]) -> list[bytes]:
        assert row.pixel is not None  # noqa: S101 - the caller looked
        facts = await self.facts(row)
        big_endian = syntaxes.find(row.transfer_syntax).big_endian
        ranges = [facts.native_range(number - 1, big_endian=big_endian) for number in numbers]
        _check(sum(each.length for each in ranges))
        begin = row.pixel.offset
        if syntaxes.find(row.transfer_syntax).deflated:
            whole = await self.bulk(row, f"{PIXEL_DATA:08X}")
            found = [whole[each.offset : each.offset + each.length] for each in ranges]
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
                header = scan(file)
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
