"""Series of whole slide instances as folders of a store, wherever their files lie: ``dicom:/STUDY/SERIES/SOP.dcm``.

The index tells which series there are and where their files are. A folder of this store is opened like a folder of
DICOM files, so that nothing else has to know of series; bytes are read where they lie, by range and pinned.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from microtome.caching import Cache
from microtome.dicom.index.base import SlideSeries
from microtome.dicom.rows import SLIDE, WHOLE_SLIDE, InstanceRow, is_uid
from microtome.errors import NotFound
from microtome.storage.base import ObjectInfo, RangeResult, Store

FOLDER = "dicom:/"
"""Ids and keys of series begin so."""
FRESH = 1.0
"""So many s a list of series is kept."""
_SUFFIX = ".dcm"
_BUDGET = 16 << 20
_KEY_BYTES = 500

T = TypeVar("T")


class SeriesIndex(Protocol):
    """The part of an index that is needed here; ``index.base.Index`` has it."""

    async def changes(self) -> int:
        """See ``Index``."""
        ...

    async def slide_series(self) -> Sequence[SlideSeries]:
        """See ``Index``."""
        ...

    async def instance(self, study: str, series: str, sop: str) -> InstanceRow:
        """See ``Index``."""
        ...

    async def instances(self, study: str, series: str | None = None) -> list[InstanceRow]:
        """See ``Index``."""
        ...


def series_id(study: str, series: str) -> str:
    """The id of a series as a slide; it is its key, too."""
    return f"{FOLDER}{study}/{series}"


@dataclass(frozen=True, slots=True)
class _Listed:
    place: str
    """The id with a ``/`` behind it, by which it is sorted."""
    words: str


class SeriesList:
    """The series that are slides, by their ids in bytewise order of their places. Belongs to one event loop."""

    def __init__(
        self, index: SeriesIndex, *, fresh: float = FRESH, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._index = index
        self._fresh = fresh
        self._clock = clock
        self._due = 0.0
        self._changes = -1
        self._listed: Sequence[_Listed] = ()
        self._names: Mapping[str, str] = {}

    async def ids(self, *, prefix: str = "", after: str = "", search: str = "", limit: int) -> list[str]:
        """At most ``limit`` ids that begin with ``prefix`` and whose place sorts behind ``after``.

        ``search``: a part of the id or of the description of the series, in any case. Raises StorageUnavailable.
        """
        wanted = search.lower()
        found: list[str] = []
        for each in await self._all():
            if each.place > after and each.place.startswith(prefix) and wanted in each.words:
                found.append(each.place[:-1])
                if len(found) == limit:
                    break
        return found

    def name(self, series_id: str) -> str:
        """The description of a series that was listed; "" where there is none."""
        return self._names.get(series_id, "")

    async def _all(self) -> Sequence[_Listed]:
        if self._clock() >= self._due:
            changes = await self._index.changes()
            if changes != self._changes:
                self._names = {series_id(each.study_uid, each.series_uid): each.name or "" for each in
                               await self._index.slide_series()}  # fmt: skip
                listed = (_Listed(f"{place}/", f"{place}\n{name}".lower()) for place, name in self._names.items())
                self._listed = sorted(listed, key=lambda each: each.place)
                self._changes = changes
            self._due = self._clock() + self._fresh
        return self._listed


class SeriesStore:
    """``Store`` over another one, with the series of ``index`` as folders that only show when they are asked for.

    What is listed has the size and ETag it was indexed with: reads of a file that was changed since raise Conflict.
    """

    def __init__(self, store: Store, index: SeriesIndex, series: SeriesList) -> None:
        self._store = store
        self._index = index
        self._series = series
        self._places: Cache[str, str] = Cache(_BUDGET, weigh=lambda _: _KEY_BYTES)

    @property
    def distant(self) -> bool:
        """See ``Store``."""
        return self._store.distant

    async def head(self, key: str) -> ObjectInfo:
        """See ``Store``."""
        return _named(key, await self._at(key, self._store.head))

    async def get_range(self, key: str, start: int, stop: int, *, etag: str | None = None) -> RangeResult:
        """See ``Store``."""
        result = await self._at(key, lambda place: self._store.get_range(place, start, stop, etag=etag))
        return RangeResult(result.data, result.start, _named(key, result.info))

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], *, etag: str) -> list[bytes]:
        """See ``Store``."""
        return await self._at(key, lambda place: self._store.get_ranges(place, ranges, etag=etag))

    async def get_suffix(self, key: str, length: int) -> RangeResult:
        """See ``Store``."""
        result = await self._at(key, lambda place: self._store.get_suffix(place, length))
        return RangeResult(result.data, result.start, _named(key, result.info))

    def peek(self, key: str, start: int, stop: int, *, etag: str) -> bytes | None:
        """See ``Store``."""
        place = self._places.get(key) if key.startswith(FOLDER) else key
        return None if place is None else self._store.peek(place, start, stop, etag=etag)

    def prefetch(self, key: str, ranges: Sequence[tuple[int, int]], *, etag: str) -> None:
        """See ``Store``."""
        place = self._places.get(key) if key.startswith(FOLDER) else key
        if place is not None:
            self._store.prefetch(place, ranges, etag=etag)

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[Sequence[ObjectInfo]]:
        """See ``Store``. Series are only listed where the prefix begins as their keys do."""
        if not prefix.startswith(FOLDER):
            async for page in self._store.list(prefix, after=after):
                yield page
            return
        steps = prefix.split("/")
        one = "/".join(steps[:3])
        for found in [one] if len(steps) > 3 else await self._series.ids(prefix=prefix, limit=1 << 62):
            listed = sorted(await self._objects(found), key=lambda each: each.key)
            page = [each for each in listed if each.key.startswith(prefix) and each.key > after]
            if page:
                yield page

    def local_path(self, key: str) -> Path | None:
        """See ``Store``. The folder of a series is nowhere."""
        if not key.startswith(FOLDER):
            return self._store.local_path(key)
        place = self._places.get(key)
        return None if place is None else self._store.local_path(place)

    async def close(self) -> None:
        """See ``Store``. The index is somebody else's."""
        await self._store.close()

    async def _objects(self, series: str) -> list[ObjectInfo]:
        study, _, uid = series.removeprefix(FOLDER).partition("/")
        try:
            rows = await self._index.instances(study, uid)
        except NotFound:  # gone since it was listed
            return []
        found: list[ObjectInfo] = []
        for row in rows:
            if _is_of_slide(row):
                key = f"{series}/{row.sop_uid}{_SUFFIX}"
                self._places.put(key, row.key)
                found.append(ObjectInfo(key, row.size, row.version))
        return found

    async def _at(self, key: str, work: Callable[[str], Awaitable[T]]) -> T:
        """``work`` with the key under which the store has the object. Raises NotFound."""
        if not key.startswith(FOLDER):
            return await work(key)
        if (place := self._places.get(key)) is not None:
            try:
                return await work(place)
            except NotFound:
                self._places.pop(key)  # it was moved
        place = await self._place(key)
        return await work(place)

    async def _place(self, key: str) -> str:
        study, _, rest = key.removeprefix(FOLDER).partition("/")
        series, _, name = rest.partition("/")
        sop = name.removesuffix(_SUFFIX)
        if sop == name or not all(map(is_uid, (study, series, sop))):
            raise NotFound("slide", key)
        try:
            row = await self._index.instance(study, series, sop)
        except NotFound as error:
            raise NotFound("slide", key) from error
        if not _is_of_slide(row):
            raise NotFound("slide", key)
        self._places.put(key, row.key)
        return row.key


def _is_of_slide(row: InstanceRow) -> bool:
    return row.sop_class == WHOLE_SLIDE and not row.key.startswith(SLIDE)


def _named(key: str, info: ObjectInfo) -> ObjectInfo:
    return info if info.key == key else ObjectInfo(key, info.size, info.etag, info.modified)
