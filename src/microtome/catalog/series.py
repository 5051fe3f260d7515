"""The catalogue of a folder or bucket together with the DICOM series in it, which an index knows."""

from __future__ import annotations

from typing import Protocol

from microtome.catalog.base import Catalog, Page
from microtome.catalog.listing import LAST
from microtome.model import SlideRecord


class Series(Protocol):
    """Which series are slides."""

    async def ids(self, *, prefix: str = "", after: str = "", search: str = "", limit: int) -> list[str]:
        """At most ``limit`` ids in bytewise order, as if each ended with ``/``, that begin with ``prefix`` and sort
        behind ``after``. Raises StorageUnavailable.
        """
        ...

    def name(self, series_id: str) -> str:
        """What people call a series that was listed; "" where nothing is known."""
        ...


class SeriesCatalog:
    """Slides of ``files`` and, among them in order, the series; ``first`` is what the ids of all series begin with."""

    def __init__(self, files: Catalog, series: Series, first: str) -> None:
        self._files = files
        self._series = series
        self._first = first

    def resolve(self, slide_id: str) -> SlideRecord:
        """See ``Catalog``: series are keys of the store, too."""
        return self._files.resolve(slide_id)

    async def list(self, *, limit: int, cursor: str | None = None, prefix: str = "", search: str = "") -> Page:
        """See ``Catalog``."""
        first, end = self._first, self._first + LAST
        if not prefix.startswith(first) and not first.startswith(prefix):
            return await self._files.list(limit=limit, cursor=cursor, prefix=prefix, search=search)
        found: list[SlideRecord] = []
        mixed = first.startswith(prefix) and prefix != first
        if mixed and (not cursor or cursor < first):
            page = await self._files.list(limit=limit, cursor=cursor, prefix=prefix, search=search)
            found = [each for each in page.slides if each.key < first]
            if page.next_cursor is not None and page.next_cursor < first:
                return page
            cursor = first
        if cursor is None or cursor < end:
            wanted = limit - len(found) + 1
            ids = await self._series.ids(prefix=prefix, after=cursor or "", search=search, limit=wanted)
            found += [SlideRecord(each, each, name=self._series.name(each)) for each in ids[: wanted - 1]]
            if len(ids) == wanted:
                return Page(tuple(found), f"{ids[-2]}/" if wanted > 1 else first)
            cursor = end
        if not mixed:
            return Page(tuple(found), None)
        rest = limit - len(found)
        page = await self._files.list(limit=max(rest, 1), cursor=cursor, prefix=prefix, search=search)
        if rest:
            return Page((*found, *page.slides), page.next_cursor)
        return Page(tuple(found), end if page.slides else None)
