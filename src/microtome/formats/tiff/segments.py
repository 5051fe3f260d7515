"""Where the tiles or strips of an image stand: offset and byte count arrays, read only as far as needed."""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray

from microtome.errors import CorruptData
from microtome.formats.tiff.ifd import SIZES, ByteOrder, Entry
from microtome.storage.pinned import PinnedObject

PAGE_BYTES = 32 * 1024
"""A page of an array: the offsets of some rows of tiles around the one asked for."""

_TYPES = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
Numbers = NDArray[np.unsignedinteger]


class NumberArray:
    """One array of a directory. Pages are aligned to PAGE_BYTES from its beginning."""

    def __init__(self, files: PinnedObject, entry: Entry, order: ByteOrder) -> None:
        kind = _TYPES.get(entry.kind)
        if kind is None:
            raise CorruptData(f"Tag {entry.tag} has field type {entry.kind}, which holds no offsets", offset=entry.at)
        if entry.at + entry.nbytes > files.size:
            raise CorruptData(f"The values of tag {entry.tag} reach behind the end of the file", offset=entry.at)
        self._files = files
        self._entry = entry
        self._dtype = np.dtype(order + kind)
        self._per_page = PAGE_BYTES // SIZES[entry.kind]
        self._pages: dict[int, Numbers] = {}
        self.count = entry.count
        self.nbytes = entry.nbytes

    def get(self, index: int) -> int | None:
        """The number at ``index`` (below ``count``) when its page is at hand, else None."""
        number, inside = divmod(index, self._per_page)
        page = self._pages.get(number)
        if page is None:
            page = self._known(number)
            if page is None:
                return None
        return int(page[inside])

    def span(self, index: int) -> tuple[int, int]:
        """The bytes of the file that hold the page of ``index``."""
        first = index // self._per_page * PAGE_BYTES
        return self._entry.at + first, self._entry.at + min(first + PAGE_BYTES, self.nbytes)

    def _known(self, number: int) -> Numbers | None:
        data = self._files.known(*self.span(number * self._per_page))
        return None if data is None else self._keep(number, data)

    def _keep(self, number: int, data: bytes) -> Numbers:
        page: Numbers = np.frombuffer(data, self._dtype, len(data) // self._dtype.itemsize)
        self._pages[number] = page
        return page

    async def load(self, index: int) -> None:
        """Read the page of ``index``; it becomes part of the header."""
        if self.get(index) is None:
            start, stop = self.span(index)
            (data,) = await self._files.read_many([(start, stop)])
            self._files.remember(start, data)
            self._keep(index // self._per_page, data)

    async def load_all(self) -> None:
        """Read what is missing of the whole array, in one piece."""
        pages = range(-(-self.count // self._per_page))
        if all(self.get(number * self._per_page) is not None for number in pages):
            return
        start, stop = self._entry.at, self._entry.at + self.nbytes
        (data,) = await self._files.read_many([(start, stop)])
        if len(data) != self.nbytes:
            raise CorruptData(f"The values of tag {self._entry.tag} are cut off", offset=start)
        self._files.remember(start, data)
        for number in pages:
            self._keep(number, data[number * PAGE_BYTES : (number + 1) * PAGE_BYTES])


class Segments:
    """The tiles or strips of one image, by their number."""

    def __init__(self, files: PinnedObject, offsets: Entry, counts: Entry, order: ByteOrder, needed: int) -> None:
        self._size = files.size
        self._offsets = NumberArray(files, offsets, order)
        self._counts = NumberArray(files, counts, order)
        self.needed = needed
        """How many the image has by its size; a shorter array lacks the last ones."""

    @property
    def nbytes(self) -> int:
        """Bytes of both arrays."""
        return self._offsets.nbytes + self._counts.nbytes

    def at_hand(self, index: int) -> tuple[int, int] | None:
        """(offset, byte count) when known without reading; None otherwise. (0, 0) stands for a sparse segment.

        Raises CorruptData for a segment that lies outside of the file or is missing in the arrays.
        """
        if index >= self._offsets.count or index >= self._counts.count:
            raise CorruptData(f"Segment {index} is missing: the file names only {self._offsets.count} of {self.needed}")
        offset, count = self._offsets.get(index), self._counts.get(index)
        if offset is None or count is None:
            return None
        if not offset or not count:
            return 0, 0
        if offset + count > self._size:
            raise CorruptData(
                f"Segment {index} ({count} bytes) reaches behind the end of the file", offset=min(offset, self._size)
            )
        return offset, count

    async def locate(self, index: int) -> tuple[int, int]:
        """(offset, byte count), reading the pages of both arrays in parallel when they are missing."""
        found = self.at_hand(index)
        if found is None:
            await asyncio.gather(self._offsets.load(index), self._counts.load(index))
            found = self.at_hand(index)
            if found is None:
                raise CorruptData(f"Segment {index} has no place in the offset arrays")
        return found

    async def load_all(self) -> None:
        """Read both arrays completely."""
        await asyncio.gather(self._offsets.load_all(), self._counts.load_all())
