"""Try again when a store fails for a moment."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from microtome.errors import StorageUnavailable
from microtome.storage.base import ObjectInfo, RangeResult, Store
from microtome.storage.wrapper import Wrapper
from microtome.telemetry import Counters

T = TypeVar("T")


class Retrying(Wrapper):
    """Repeats a read that ended in StorageUnavailable (5xx, SlowDown, reset, time out), unless it is permanent.

    At most ``attempts`` tries. The pause before try ``n`` is ``base_delay * 2**(n-1)`` s, at most ``max_delay``, and
    between half and all of it by chance, so that many clients do not come back at the same instant. No new try
    begins later than ``deadline`` s after the first one. ``retries`` are counted as ``storage.retries``.
    """

    def __init__(
        self,
        store: Store,
        *,
        attempts: int = 4,
        base_delay: float = 0.1,
        max_delay: float = 5.0,
        deadline: float = 30.0,
        counters: Counters | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(store)
        self._attempts = attempts
        self._base_delay = base_delay
        self._max_delay = max_delay
        self._deadline = deadline
        self._counters = counters or Counters()
        self._sleep = sleep
        self._clock = clock
        self._chance = chance

    async def head(self, key: str) -> ObjectInfo:
        """As the store below, tried again."""
        return await self._again(lambda: self._store.head(key))

    async def get_range(self, key: str, start: int, stop: int, *, etag: str | None = None) -> RangeResult:
        """As the store below, tried again."""
        return await self._again(lambda: self._store.get_range(key, start, stop, etag=etag))

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], *, etag: str) -> list[bytes]:
        """As the store below, tried again."""
        return await self._again(lambda: self._store.get_ranges(key, ranges, etag=etag))

    async def get_suffix(self, key: str, length: int) -> RangeResult:
        """As the store below, tried again."""
        return await self._again(lambda: self._store.get_suffix(key, length))

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[Sequence[ObjectInfo]]:
        """As the store below. A listing that breaks off goes on behind the last key it gave."""
        pages = self._store.list(prefix, after=after)
        broken = False

        async def next_page() -> Sequence[ObjectInfo] | None:
            nonlocal pages, broken
            if broken:
                pages, broken = self._store.list(prefix, after=after), False
            try:
                return await anext(pages, None)
            except StorageUnavailable:
                broken = True
                raise

        while (page := await self._again(next_page)) is not None:
            yield page
            if page:
                after = page[-1].key

    async def _again(self, call: Callable[[], Awaitable[T]]) -> T:
        began = self._clock()
        attempt = 1
        while True:
            try:
                return await call()
            except StorageUnavailable as error:
                pause = min(self._base_delay * 2 ** (attempt - 1), self._max_delay) * (0.5 + self._chance() / 2)
                late = self._clock() + pause - began > self._deadline
                if error.permanent or attempt >= self._attempts or late:
                    raise
            self._counters.add("storage.retries")
            attempt += 1
            await self._sleep(pause)
