"""The seam of the index, and what goes in and out of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

import orjson

from microtome.dicom.query import Query
from microtome.dicom.rows import InstanceRow


class State(IntEnum):
    """What became of a file. From DUPLICATE on there is something to tell; STALE files are read anew."""

    INDEXED = 0
    OTHER = 1
    STALE = 2
    DUPLICATE = 3
    BROKEN = 4


@dataclass(frozen=True, slots=True)
class Stored:
    """A file as it was when it was read: ``size`` in bytes, ``version`` its ETag, ``modified`` in s since the epoch."""

    key: str
    size: int
    version: str
    modified: float = 0.0


@dataclass(frozen=True, slots=True)
class Scanned:
    """A file that was read: an instance with its header, or the reason why there is none.

    ``header`` is the JSON model of the data set, compressed with ``Batch.templates[template]`` as dictionary.
    """

    file: Stored
    row: InstanceRow | None = None
    template: int = 0
    header: bytes = b""
    state: State = State.INDEXED
    reason: str = ""


@dataclass(slots=True)
class Batch:
    """Files to be written in one transaction.

    ``studies`` and ``series`` hold the attributes of their level, merged over the files, by UID and by UIDs of study
    and series. ``templates`` are headers (JSON) that others are compressed against.
    """

    files: list[Scanned] = field(default_factory=list[Scanned])
    studies: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    series: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict[tuple[str, str], dict[str, Any]])
    templates: list[bytes] = field(default_factory=list[bytes])


@dataclass(frozen=True, slots=True)
class Match:
    """One result of a search. ``json``: its attributes as an object of the DICOM JSON model, without any URL.

    ``series_uid`` and ``sop_uid`` are "" where the level of the search is above them.
    """

    study_uid: str
    series_uid: str
    sop_uid: str
    json: bytes

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes by tag."""
        return orjson.loads(self.json)


@dataclass(frozen=True, slots=True)
class Found:
    """Results of a search, in stable order. ``more``: there are others behind them."""

    matches: tuple[Match, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that is not served, and why."""

    key: str
    state: State
    reason: str
    size: int


@dataclass(frozen=True, slots=True)
class SlideSeries:
    """A series of whole slide images that are stored as files. ``name`` is its description."""

    study_uid: str
    series_uid: str
    name: str


@dataclass(frozen=True, slots=True)
class Totals:
    """How much an index holds. ``stored_bytes`` are those of the indexed files."""

    studies: int
    series: int
    instances: int
    files: int
    problems: int
    stored_bytes: int


class Index(Protocol):
    """Which instances are stored where. Raises StorageUnavailable when the database does not answer.

    Several processes may use one index; writing waits for its turn. What ``put`` and ``forget`` have returned from
    survives the end of the process at any moment; before that, nothing of it is visible.
    """

    @property
    def view(self) -> str:
        """Names what is shown of the instances: "" is all that is stored. Caches of answers have it in their keys."""
        ...

    async def search(self, query: Query) -> Found:
        """What matches. Raises LimitExceeded when a search without help of the columns would read too much."""
        ...

    async def instance(self, study: str, series: str, sop: str) -> InstanceRow:
        """One instance. Raises NotFound, also when study or series are not those of the instance."""
        ...

    async def find_instance(self, sop: str) -> InstanceRow:
        """The instance of this SOP Instance UID, whatever its study (WADO-URI). Raises NotFound."""
        ...

    async def instances(self, study: str, series: str | None = None) -> list[InstanceRow]:
        """All of a study or series, in order, without frame tables. Raises NotFound when there are none."""
        ...

    async def headers(self, study: str, series: str | None = None, sop: str | None = None) -> list[bytes]:
        """The data sets (JSON model) of instances in the order of ``instances``, every BulkDataURI only its path.

        A path begins behind ``"BulkDataURI":"``, which text inside of a value cannot contain unescaped.
        """
        ...

    async def revision(self, study: str, series: str | None = None) -> int:
        """A number that grows with every change of the study or series. Raises NotFound."""
        ...

    async def changes(self) -> int:
        """A number that grows with every change of the whole index."""
        ...

    async def studies(self) -> Sequence[tuple[str, int]]:
        """UID and revision of every study."""
        ...

    async def put(self, batch: Batch) -> None:
        """Add or replace files and their instances: all or nothing."""
        ...

    async def forget(self, keys: Collection[str]) -> None:
        """Files are gone, and their instances with them. Files that stood behind as duplicates become STALE."""
        ...

    async def files(
        self, after: str, last: str, limit: int, *, inclusive: bool = False
    ) -> Sequence[tuple[str, int, str, State]]:
        """Key, size, version, state of known files with ``after`` < key <= ``last`` (bytewise), in order.

        ``inclusive``: the file ``after`` is one of them.
        """
        ...

    async def problems(self, limit: int = 100, cursor: str = "", *, others: bool = False) -> Sequence[Problem]:
        """Files that are not served, in order of their keys behind ``cursor``, the key of the last one seen.

        ``others``: also those that are no DICOM instances at all, and served ones with something to tell about.
        """
        ...

    async def totals(self) -> Totals:
        """How much there is."""
        ...

    def walking(self) -> AbstractAsyncContextManager[bool]:
        """Whether this process, and no other, walks the store for this index meanwhile. Ends with the process."""
        ...

    async def close(self) -> None:
        """Let go of the database."""
        ...


class SlideIndex(Index, Protocol):
    """An index that also tells which of what is stored are slides."""

    async def slide_series(self) -> Sequence[SlideSeries]:
        """All series with whole slide images in files; slides that are only shown as DICOM are none of them."""
        ...

    async def holds_slides(self, key: str) -> bool:
        """Whether there are whole slide images in the file ``key`` or below the folder of that name.

        Also when no instance is known there: it may not have been read yet.
        """
        ...
