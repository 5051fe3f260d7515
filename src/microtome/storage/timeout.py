"""No read takes longer than its time limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import TypeVar

from microtome.errors import StorageUnavailable
from microtome.storage.base import ObjectInfo, RangeResult, Store
from microtome.storage.wrapper import Wrapper

T = TypeVar("T")


class TimeLimited(Wrapper):
    """Gives up a read after ``seconds`` with StorageUnavailable(timed_out=True). A listing is timed page by page."""

    def __init__(self, store: Store, seconds: float) -> None:
        super().__init__(store)
        self._seconds = seconds

    async def head(self, key: str) -> ObjectInfo:
        """As the store below, in time."""
        return await self._limited(self._store.head(key))

    async def get_range(self, key: str, start: int, stop: int, *, etag: str | None = None) -> RangeResult:
        """As the store below, in time."""
        return await self._limited(self._store.get_range(key, start, stop, etag=etag))

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], *, etag: str) -> list[bytes]:
        """As the store below, in time."""
        return await self._limited(self._store.get_ranges(key, ranges, etag=etag))

    async def get_suffix(self, key: str, length: int) -> RangeResult:
        """As the store below, in time."""
        return await self._limited(self._store.get_suffix(key, length))

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[Sequence[ObjectInfo]]:
        """As the store below, every page in time."""
        pages = self._store.list(prefix, after=after)
        while (page := await self._limited(anext(pages, None))) is not None:
            yield page

    async def _limited(self, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._seconds):
                return await work
        except TimeoutError as error:
            raise StorageUnavailable(
                f"The store did not answer within {self._seconds:g} s; try again later", timed_out=True
            ) from error
