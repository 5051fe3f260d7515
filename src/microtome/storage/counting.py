"""Count what a store is asked and what it gives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import contextmanager

from microtome.errors import StorageUnavailable
from microtome.storage.base import ObjectInfo, RangeResult, Store
from microtome.storage.wrapper import Wrapper
from microtome.telemetry import Counters


class Counting(Wrapper):
    """Adds to ``counters``, next to the store itself so that what is counted is what was really asked.

    ``storage.requests`` and, by kind, ``storage.requests.head``, ``.range``, ``.suffix`` and ``.list`` (pages);
    ``storage.bytes`` read; ``storage.peeks`` answered without a request; ``storage.failures``.
    """

    def __init__(self, store: Store, counters: Counters) -> None:
        super().__init__(store)
        self._counters = counters

    async def head(self, key: str) -> ObjectInfo:
        """As the store below."""
        with self._asked("head"):
            return await self._store.head(key)

    async def get_range(self, key: str, start: int, stop: int, *, etag: str | None = None) -> RangeResult:
        """As the store below."""
        with self._asked("range"):
            result = await self._store.get_range(key, start, stop, etag=etag)
        self._counters.add("storage.bytes", len(result.data))
        return result

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], *, etag: str) -> list[bytes]:
        """As the store below; every range counts."""
        with self._asked("range", len(ranges)):
            results = await self._store.get_ranges(key, ranges, etag=etag)
        self._counters.add("storage.bytes", sum(map(len, results)))
        return results

    async def get_suffix(self, key: str, length: int) -> RangeResult:
        """As the store below."""
        with self._asked("suffix"):
            result = await self._store.get_suffix(key, length)
        self._counters.add("storage.bytes", len(result.data))
        return result

    def peek(self, key: str, start: int, stop: int, *, etag: str) -> bytes | None:
        """As the store below."""
        data = self._store.peek(key, start, stop, etag=etag)
        if data is not None:
            self._counters.add("storage.peeks")
            self._counters.add("storage.bytes", len(data))
        return data

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[Sequence[ObjectInfo]]:
        """As the store below; every page counts."""
        pages = self._store.list(prefix, after=after)
        while True:
            with self._asked("list"):
                page = await anext(pages, None)
            if page is None:
                return
            yield page

    @contextmanager
    def _asked(self, kind: str, number: int = 1) -> Generator[None]:
        self._counters.add("storage.requests", number)
        self._counters.add(f"storage.requests.{kind}", number)
        try:
            yield
        except StorageUnavailable:
            self._counters.add("storage.failures")
            raise
