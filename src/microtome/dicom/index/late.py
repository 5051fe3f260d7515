"""An index that is opened when it is first asked: opening may wait, and an application is made without waiting."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager

from microtome.caching import Late
from microtome.dicom.index.base import Batch, Found, Problem, SlideIndex, SlideSeries, State, Totals
from microtome.dicom.query import Query
from microtome.dicom.rows import InstanceRow


class LateIndex:
    """``Index`` over the one that ``opened`` gives; a failure to open is met again by the next who asks."""

    def __init__(self, opened: Callable[[], Awaitable[SlideIndex]]) -> None:
        self._late = Late(opened)

    @property
    def view(self) -> str:
        """All that is stored."""
        return ""

    async def search(self, query: Query) -> Found:
        """See ``Index``."""
        return await (await self._late.get()).search(query)

    async def instance(self, study: str, series: str, sop: str) -> InstanceRow:
        """See ``Index``."""
        return await (await self._late.get()).instance(study, series, sop)

    async def find_instance(self, sop: str) -> InstanceRow:
        """See ``Index``."""
        return await (await self._late.get()).find_instance(sop)

    async def instances(self, study: str, series: str | None = None) -> list[InstanceRow]:
        """See ``Index``."""
        return await (await self._late.get()).instances(study, series)

    async def headers(self, study: str, series: str | None = None, sop: str | None = None) -> list[bytes]:
        """See ``Index``."""
        return await (await self._late.get()).headers(study, series, sop)

    async def revision(self, study: str, series: str | None = None) -> int:
        """See ``Index``."""
        return await (await self._late.get()).revision(study, series)

    async def changes(self) -> int:
        """See ``Index``."""
        return await (await self._late.get()).changes()

    async def studies(self) -> Sequence[tuple[str, int]]:
        """See ``Index``."""
        return await (await self._late.get()).studies()

    async def put(self, batch: Batch) -> None:
        """See ``Index``."""
        await (await self._late.get()).put(batch)

    async def forget(self, keys: Collection[str]) -> None:
        """See ``Index``."""
        await (await self._late.get()).forget(keys)

    async def files(
        self, after: str, last: str, limit: int, *, inclusive: bool = False
    ) -> Sequence[tuple[str, int, str, State]]:
        """See ``Index``."""
        return await (await self._late.get()).files(after, last, limit, inclusive=inclusive)

    async def problems(self, limit: int = 100, cursor: str = "", *, others: bool = False) -> Sequence[Problem]:
        """See ``Index``."""
        return await (await self._late.get()).problems(limit, cursor, others=others)

    async def totals(self) -> Totals:
        """See ``Index``."""
        return await (await self._late.get()).totals()

    async def slide_series(self) -> Sequence[SlideSeries]:
        """See ``Index``."""
        return await (await self._late.get()).slide_series()

    async def holds_slides(self, key: str) -> bool:
        """See ``Index``."""
        return await (await self._late.get()).holds_slides(key)

    @asynccontextmanager
    async def walking(self) -> AsyncGenerator[bool]:
        """See ``Index``."""
        async with (await self._late.get()).walking() as mine:
            yield mine

    async def close(self) -> None:
        """Let go of the database if it was opened."""
        if (index := self._late.at_hand()) is not None:
            await index.close()
