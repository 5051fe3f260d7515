"""One version of one object: what a format reads from.

A ``PinnedObject`` is opened at a distance with one round trip (head and tail of the object asked in parallel) and
remembers every byte range read while its header is parsed. Those ranges are its *header*: replayed later with the
same ETag they open the slide again without a single request.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from microtome.errors import Conflict
from microtome.storage.base import ObjectInfo, Store

HEAD_BYTES = 256 * 1024
"""Enough for the first directory of most slides and, where it leads the file, its offset arrays."""
TAIL_BYTES = 1024 * 1024
"""Enough for the last directories and the coarsest level of slides that are written from front to back."""
_SIGNATURE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Header:
    """The parsed-header bytes of one version of an object: ``ranges`` maps start to bytes, sorted, not overlapping."""

    info: ObjectInfo
    ranges: tuple[tuple[int, bytes], ...]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(len(data) for _, data in self.ranges)


class LocalPath(Protocol):
    """A path of this machine that stays valid until it is released."""

    path: Path

    def release(self) -> None:
        """The path is not used any more."""
        ...


class Copies(Protocol):
    """Makes local copies; ``copies.LocalCopies`` is one."""

    async def of(self, files: Any, companions: Sequence[str] = ()) -> LocalPath:
        """A path of an object or a folder, with what stands beside it under the prefixes ``companions``."""
        ...


class PinnedObject:
    """A version of an object, fixed by its ETag. Reads raise Conflict as soon as the object has been replaced."""

    def __init__(self, store: Store, info: ObjectInfo, known: Sequence[tuple[int, bytes]] = ()) -> None:
        self.store = store
        self.info = info
        self.copies: Copies | None = None
        """Where local copies may be made; see ``copies.local_copy``."""
        self._starts: list[int] = []
        self._known: list[bytes] = []
        self._touched: list[tuple[int, int]] | None = [(0, _SIGNATURE_BYTES)]
        for start, data in sorted(known):
            self._remember(start, data)

    @classmethod
    async def open(cls, store: Store, key: str) -> PinnedObject:
        """Ask for head and tail in parallel; size and ETag come with them. One round trip."""
        head, tail = await asyncio.gather(store.get_range(key, 0, HEAD_BYTES), store.get_suffix(key, TAIL_BYTES))
        if head.info.etag != tail.info.etag:
            raise Conflict(f"Slide {key} was replaced while it was opened; try again")
        return cls(store, head.info, [(0, head.data), (tail.start, tail.data)])

    @classmethod
    def replay(cls, store: Store, header: Header) -> PinnedObject:
        """Open from a kept header, without a request. The first read tells whether the object is still that one."""
        return cls(store, header.info, header.ranges)

    @property
    def key(self) -> str:
        """Key of the object in its store."""
        return self.info.key

    @property
    def size(self) -> int:
        """Size of the object in bytes."""
        return self.info.size

    @property
    def head(self) -> bytes:
        """The first bytes of the object, at most HEAD_BYTES unless more is known. For ``Format.recognises``."""
        return self._known[0] if self._starts and self._starts[0] == 0 else b""

    def header(self) -> Header:
        """What was read so far, to be replayed later."""
        return Header(self.info, tuple(zip(self._starts, self._known, strict=True)))

    def known(self, start: int, stop: int) -> bytes | None:
        """``[start, stop)`` out of the header bytes, or None."""
        i = bisect_right(self._starts, start) - 1
        if i < 0:
            return None
        offset = start - self._starts[i]
        data = self._known[i]
        return data[offset : offset + stop - start] if stop - self._starts[i] <= len(data) else None

    def at_hand(self, start: int, stop: int) -> bytes:
        """As much of ``[start, stop)``, from its beginning, as stands in the header bytes."""
        i = bisect_right(self._starts, start) - 1
        if i < 0:
            return b""
        offset = start - self._starts[i]
        data = self._known[i][offset : offset + stop - start]
        if data and self._touched is not None:
            self._touched.append((start, start + len(data)))
        return data

    def peek(self, start: int, stop: int) -> bytes | None:
        """``[start, stop)`` if it can be had without waiting, else None."""
        return self.store.peek(self.info.key, start, stop, etag=self.info.etag)

    def prefetch(self, ranges: Sequence[tuple[int, int]]) -> None:
        """A hint that these ranges will probably be asked for soon."""
        self.store.prefetch(self.info.key, ranges, etag=self.info.etag)

    async def read(self, start: int, stop: int) -> bytes:
        """``[start, stop)`` of this version, cut at the end of the object."""
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        data = self.known(start, stop)
        if data is None:
            result = await self.store.get_range(self.info.key, start, stop, etag=self.info.etag)
            data = result.data
            if self._touched is not None:
                self._remember(start, data)
        if self._touched is not None:
            self._touched.append((start, stop))
        return data

    def settle(self) -> None:
        """Called by a format once its header is read: forget head and tail where nothing of them was used.

        From now on only what is given to ``remember`` is added to the header.
        """
        touched, self._touched = self._touched or [], None
        pieces = [(start, self.known(start, min(stop, self.size))) for start, stop in touched]
        self._starts, self._known = [], []
        for start, data in pieces:
            if data is not None:
                self._remember(start, data)

    async def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Several ranges in one round trip, in the order asked. Not remembered; see ``remember``."""
        found = [self.known(start, stop) for start, stop in ranges]
        missing = [r for r, data in zip(ranges, found, strict=True) if data is None]
        if missing:
            fetched = iter(await self.store.get_ranges(self.info.key, missing, etag=self.info.etag))
            return [next(fetched) if data is None else data for data in found]
        return [data for data in found if data is not None]

    def remember(self, start: int, data: bytes) -> None:
        """Add bytes that belong to the header (a page of an offset array read later)."""
        self._remember(start, data)

    def _remember(self, start: int, data: bytes) -> None:
        """Insert a range, merging it with those it touches."""
        stop = start + len(data)
        i = 0
        while i < len(self._starts):
            other_start, other = self._starts[i], self._known[i]
            other_stop = other_start + len(other)
            if other_stop < start or other_start > stop:
                i += 1
                continue
            if other_start <= start and other_stop >= stop:
                return
            if other_start < start:
                data, start = other[: start - other_start] + data, other_start
            if other_stop > stop:
                data, stop = data + other[stop - other_start :], other_stop
            del self._starts[i], self._known[i]
        at = bisect_right(self._starts, start)
        self._starts.insert(at, start)
        self._known.insert(at, data)
