"""Answers that are kept for a few seconds, so that a burst of requests asks once."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from microtome.caching import Cache, Flights
from microtome.errors import NotFound, StorageUnavailable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(slots=True)
class _Answer(Generic[V]):
    value: V
    learned: float
    due: float


class Kept(Generic[K, V]):
    """Answers kept for ``seconds`` within a budget of bytes; many who ask for one at the same time wait for one answer.

    For up to ``outage`` s an old answer stands in when a new one cannot be had (StorageUnavailable). Failures are not
    kept. Times are monotonic s of ``clock``. Belongs to one event loop.
    """

    def __init__(
        self,
        seconds: float,
        *,
        budget: int,
        weigh: Callable[[V], int],
        outage: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._outage = outage
        self._clock = clock
        self._generation = 0
        self._answers: Cache[tuple[int, K], _Answer[V]] = Cache(budget, weigh=lambda answer: weigh(answer.value))
        self._flights: Flights[tuple[int, K], V] = Flights()

    async def get(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        """The answer kept for ``key``, or that of ``ask()``."""
        place = (self._generation, key)
        kept = self._answers.get(place)
        if kept is not None and self._clock() < kept.due:
            return kept.value
        try:
            return await self._flights.run(place, lambda: self._renew(place, ask))
        except StorageUnavailable:
            now = self._clock()
            if kept is None or now - kept.learned >= self._outage:
                raise
            kept.due = now + self._seconds  # not before: every request would wait for what does not answer
            return kept.value

    def forget(self) -> None:
        """Keep nothing of what was asked until now, nor of what is being asked."""
        self._generation += 1
        self._answers.clear()

    async def _renew(self, place: tuple[int, K], ask: Callable[[], Awaitable[V]]) -> V:
        try:
            value = await ask()
        except NotFound:
            self._answers.pop(place)
            raise
        now = self._clock()
        if place[0] == self._generation:
            self._answers.put(place, _Answer(value, now, now + self._seconds))
        return value
