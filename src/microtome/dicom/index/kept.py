"""An index that remembers the instances it was asked for lately: a viewer asks for frame after frame of the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager

from microtome.caching import Cache
from microtome.dicom.index.base import Batch, Found, Problem, SlideIndex, SlideSeries, State, Totals
from microtome.dicom.query import Query
from microtome.dicom.rows import InstanceRow

KEPT_SECONDS = 1.0
"""So long an instance is still known that another process has taken out; its file is looked at all the same."""
_BUDGET = 8 << 20
_ROW_BYTES = 1500


class KeptIndex:
    """``Index`` over another one."""

    def __init__(self, index: SlideIndex, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._index = index
        self._clock = clock
        self._rows: Cache[tuple[str, str, str], tuple[InstanceRow, float]] = Cache(_BUDGET, weigh=_weigh)

    @property
    def view(self) -> str:
        """See ``Index``."""
        return self._index.view

    async def search(self, query: Query) -> Found:
        """See ``Index``."""
        return await self._index.search(query)

    async def instance(self, study: str, series: str, sop: str) -> InstanceRow:
        """See ``Index``. May be ``KEPT_SECONDS`` old."""
        key = study, series, sop
        kept = self._rows.get(key)
        if kept is not None and self._clock() < kept[1]:
            return kept[0]
        row = await self._index.instance(study, series, sop)
        self._rows.put(key, (row, self._clock() + KEPT_SECONDS))
        return row

    async def find_instance(self, sop: str) -> InstanceRow:
        """See ``Index``."""
        return await self._index.find_instance(sop)

    async def instances(self, study: str, series: str | None = None) -> list[InstanceRow]:
        """See ``Index``."""
        return await self._index.instances(study, series)

    async def headers(self, study: str, series: str | None = None, sop: str | None = None) -> list[bytes]:
        """See ``Index``."""
        return await self._index.headers(study, series, sop)

    async def revision(self, study: str, series: str | None = None) -> int:
        """See ``Index``."""
        return await self._index.revision(study, series)

    async def changes(self) -> int:
        """See ``Index``."""
        return await self._index.changes()

    async def studies(self) -> Sequence[tuple[str, int]]:
        """See ``Index``."""
        return await self._index.studies()

    async def put(self, batch: Batch) -> None:
        """See ``Index``."""
        try:
            await self._index.put(batch)
        finally:
            self._rows.clear()

    async def forget(self, keys: Collection[str]) -> None:
        """See ``Index``."""
        try:
            await self._index.forget(keys)
        finally:
            self._rows.clear()

    async def files(
        self, after: str, last: str, limit: int, *, inclusive: bool = False
    ) -> Sequence[tuple[str, int, str, State]]:
        """See ``Index``."""
        return await self._index.files(after, last, limit, inclusive=inclusive)

    async def problems(self, limit: int = 100, cursor: str = "", *, others: bool = False) -> Sequence[Problem]:
        """See ``Index``."""
        return await self._index.problems(limit, cursor, others=others)

    async def totals(self) -> Totals:
        """See ``Index``."""
        return await self._index.totals()

    async def slide_series(self) -> Sequence[SlideSeries]:
        """See ``Index``."""
        return await self._index.slide_series()

    async def holds_slides(self, key: str) -> bool:
        """See ``Index``."""
        return await self._index.holds_slides(key)

    def walking(self) -> AbstractAsyncContextManager[bool]:
        """See ``Index``."""
        return self._index.walking()

    async def close(self) -> None:
        """See ``Index``."""
        await self._index.close()


def _weigh(kept: tuple[InstanceRow, float]) -> int:
    return _ROW_BYTES + len(kept[0].frame_table or b"")
