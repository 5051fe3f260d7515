"""The one cache of the house: a byte budget, true LRU, ``get_or_compute`` with singleflight, hit counters.

Singleflight survives a client that leaves: the computation runs in a task of its own, every asker waits for it behind
a shield, and it is cancelled only when the last asker has gone. A failed computation fails all who waited for it, and
is not kept. Belongs to one event loop; use it from that loop's thread only.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterator
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Flights(Generic[K, V]):
    """Singleflight: at most one computation per key at a time, shared by all who ask meanwhile."""

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[V]] = {}

    def __contains__(self, key: K) -> bool:
        return key in self._flights

    def __len__(self) -> int:
        return len(self._flights)

    async def run(self, key: K, compute: Callable[[], Awaitable[V]]) -> V:
        """The result of ``compute()``, joined when one for ``key`` is already under way.

        Cancelling one asker never disturbs the others; when the last one is cancelled the computation is, too.
        """
        flight = self._flights.get(key)
        if flight is None or flight.abandoned:
            flight = _Flight[V](asyncio.ensure_future(_as_coroutine(compute)))
            self._flights[key] = flight
            flight.task.add_done_callback(lambda _, flight=flight: self._landed(key, flight))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if flight.waiting == 0 and not flight.task.done():
                # An abandoned flight may need time to die; a newcomer starts a fresh one instead of joining it.
                flight.abandoned = True
                flight.task.cancel()

    def _landed(self, key: K, flight: _Flight[V]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.task.cancelled():
            flight.task.exception()  # retrieved here, so that a failure nobody waited for is not reported twice


class _Flight(Generic[V]):
    __slots__ = ("abandoned", "task", "waiting")

    def __init__(self, task: asyncio.Future[V]) -> None:
        self.task = task
        self.waiting = 0
        self.abandoned = False


async def _as_coroutine(compute: Callable[[], Awaitable[V]]) -> V:
    return await compute()


class Cache(Generic[K, V]):
    """Least-recently-used cache bounded by the summed ``weigh(value)`` of what it holds, in bytes.

    ``overhead`` bytes are added for every entry, so that a flood of tiny values stays within the budget. A value that
    alone exceeds the budget is returned but not kept. ``on_evict`` is called with key and value for every value that
    leaves, whatever the reason.
    """

    def __init__(
        self,
        budget: int,
        *,
        weigh: Callable[[V], int],
        overhead: int = 200,
        on_evict: Callable[[K, V], Any] | None = None,
    ) -> None:
        if budget < 0:
            raise ValueError("budget must not be negative")
        self.budget = budget
        self.used = 0
        self.hits = 0
        self.misses = 0
        self.evictions = 0
        self._weigh = weigh
        self._overhead = overhead
        self._on_evict = on_evict
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._flights: Flights[K, V] = Flights()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[K]:
        return iter(list(self._entries))

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def get(self, key: K) -> V | None:
        """The value, made the most recent, or None. Counts a hit or a miss."""
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: K, value: V) -> None:
        """Keep ``value`` as the most recent, evicting the least recent beyond the budget."""
        self.pop(key)
        weight = self._weigh(value) + self._overhead
        if weight > self.budget:
            if self._on_evict is not None:
                self._on_evict(key, value)
            return
        self._entries[key] = (value, weight)
        self.used += weight
        while self.used > self.budget:
            self._drop(next(iter(self._entries)))
            self.evictions += 1

    def pop(self, key: K) -> None:
        """Forget ``key`` if it is there."""
        if key in self._entries:
            self._drop(key)

    def clear(self) -> None:
        """Forget everything."""
        for key in list(self._entries):
            self._drop(key)

    def _drop(self, key: K) -> None:
        value, weight = self._entries.pop(key)
        self.used -= weight
        if self._on_evict is not None:
            self._on_evict(key, value)

    async def get_or_compute(self, key: K, compute: Callable[[], Awaitable[V]]) -> V:
        """The kept value, or the result of ``compute()``, run once however many ask at the same time."""
        entry = self.get(key)
        if entry is not None:
            return entry

        async def keep() -> V:
            value = await compute()
            self.put(key, value)
            return value

        return await self._flights.run(key, keep)


class Late(Generic[V]):
    """What is made when it is first asked for, because that may wait; a failure is met again by the next who asks."""

    def __init__(self, made: Callable[[], Awaitable[V]]) -> None:
        self._made = made
        self._making: asyncio.Task[V] | None = None

    async def get(self) -> V:
        """It, made once however many ask. Raises what making it raises."""
        if self._making is None or (self._making.done() and self.at_hand() is None):
            self._making = asyncio.ensure_future(_as_coroutine(self._made))
        return await asyncio.shield(self._making)

    def at_hand(self) -> V | None:
        """It if it was made, without making it."""
        task = self._making
        made = task is not None and task.done() and not task.cancelled() and task.exception() is None
        return task.result() if task is not None and made else None
