"""Neighbouring ranges become one request, whether they are asked in one call or by several callers at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from microtome.caching import Flights
from microtome.storage.base import RangeResult, Store
from microtome.storage.parallel import together
from microtome.storage.ranges import Range, check_range, merge
from microtome.storage.wrapper import Wrapper

GAP = 64 * 1024
LIMIT = 4 * 1024 * 1024
TURNS = 3
"""Turns of the event loop for which a batch stays open: readers that began together are a task or two apart."""


class _Batch:
    """The ranges of one version of one object asked at the same time."""

    __slots__ = ("asked", "closed", "runs")

    def __init__(self) -> None:
        self.asked: list[Range] = []
        self.closed = asyncio.Event()
        self.runs: dict[Range, Range] = {}


class Coalescing(Wrapper):
    """Merges pinned reads that are at most ``gap`` bytes apart into requests of at most ``limit`` bytes.

    Reads that arrive at the same time, within a few turns of the event loop, are merged; the same run is never asked
    twice at a time. One reader that leaves does not disturb the others. Reads without an ETag are passed on as they
    are: two of them may see different versions of the object.
    """

    def __init__(self, store: Store, *, gap: int = GAP, limit: int = LIMIT) -> None:
        super().__init__(store)
        self._gap = gap
        self._limit = limit
        self._batches: dict[tuple[str, str], _Batch] = {}
        self._flights: Flights[tuple[str, str, int, int], RangeResult] = Flights()

    async def get_range(self, key: str, start: int, stop: int, *, etag: str | None = None) -> RangeResult:
        """As the store below, possibly cut out of a longer range."""
        check_range(start, stop)
        if etag is None:
            return await self._store.get_range(key, start, stop)
        run_start, run_stop = await self._run_of(key, etag, (start, stop))
        result = await self._flights.run(
            (key, etag, run_start, run_stop),
            lambda: self._store.get_range(key, run_start, run_stop, etag=etag),
        )
        if (run_start, run_stop) == (start, stop):
            return result
        return RangeResult(result.data[start - run_start : stop - run_start], start, result.info)

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], *, etag: str) -> list[bytes]:
        """The ranges in the order asked; neighbours come with one request, distant ones in parallel."""
        results = await together([self.get_range(key, start, stop, etag=etag) for start, stop in ranges])
        return [result.data for result in results]

    async def _run_of(self, key: str, etag: str, asked: Range) -> Range:
        """The run that will hold ``asked``, known when all who ask at this time have done so."""
        batch = self._batches.get((key, etag))
        if batch is None:
            batch = self._batches[key, etag] = _Batch()
            self._close_soon(key, etag, TURNS)
        batch.asked.append(asked)
        try:
            await batch.closed.wait()
        except asyncio.CancelledError:
            if not batch.closed.is_set():
                batch.asked.remove(asked)
            raise
        return batch.runs[asked]

    def _close_soon(self, key: str, etag: str, turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self._close_soon, key, etag, turns - 1)
            return
        batch = self._batches.pop((key, etag))
        batch.runs = merge(batch.asked, gap=self._gap, limit=self._limit)
        batch.closed.set()
