"""Two levels: every folder of the root is a case, every slide in it a slide; ids are made of their names."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from uuid import NAMESPACE_URL, uuid5

from microtome.catalog.addresses import mapped
from microtome.catalog.index import Index, IndexedMapper
from microtome.catalog.kinds import Kinds
from microtome.catalog.listing import FRESH, Entry
from microtome.storage.base import Store


class SimpleMapper(IndexedMapper):
    """Ids are 32 hexadecimal digits: uuid5 (NAMESPACE_URL) of the case's name, and of case and slide name together.

    Not recursive; slides in the root are not seen, nor are folders without any file. Cases are sorted by name, their
    slides too. Should two slides get the same id, the first one keeps it.
    """

    def __init__(
        self, store: Store, kinds: Kinds, *, fresh: float = FRESH, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(store, kinds, fresh=fresh, clock=clock)

    async def read(self) -> Index:
        """The index of the folders of the root."""
        root = await self._listings.folder("", 2)
        cases = [(name, await self._listings.slides_in(case)) for name, case in sorted(root.folders.items())]
        return await asyncio.to_thread(_index, cases)


def _index(cases: Sequence[tuple[str, Sequence[Entry]]]) -> Index:
    index = Index()
    for name, entries in cases:
        case_id = uuid5(NAMESPACE_URL, name).hex
        index.add_case(case_id, name)
        for entry in entries:
            slide_id = uuid5(NAMESPACE_URL, name + entry.name).hex
            index.add(case_id, mapped(slide_id, entry.name, entry.key, entry.companions))
    return index
