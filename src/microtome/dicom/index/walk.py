"""Bringing an index up to date with its store: what is new, changed or gone, read and written in batches.

The listing of a store and the files of the index come in the same order (bytewise), so they are compared page by page,
however many there are. What is written stays written: after an interruption the next walk goes on with the rest.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import cast

from microtome.dicom.encoding import DEFAULT_LIMITS, ScanLimits
from microtome.dicom.index.base import Batch, Index, State, Stored
from microtome.dicom.index.ingest import read_distant
from microtome.dicom.index.workers import Workers
from microtome.dicom.rows import INCOMING, SLIDE
from microtome.errors import NotFound, StorageUnavailable
from microtome.storage.base import ObjectInfo, Store

CHUNK = 256
"""Files read by one process at a time and written in one transaction."""
_LAST = "\U0010ffff"
_PAGE = 10_000


@dataclass(slots=True)
class Progress:
    """How far a walk is. ``listed`` files were seen, ``changed`` of them have to be read (None until all are listed).

    ``read`` = ``indexed`` + ``duplicates`` and others + ``broken``; ``postponed`` changed while they were read.
    ``fresh`` were modified so lately that the next walk reads them. ``nbytes``: total size of the files read.
    ``began`` is a reading of ``time.monotonic``.
    """

    listed: int = 0
    changed: int | None = None
    read: int = 0
    indexed: int = 0
    others: int = 0
    broken: int = 0
    postponed: int = 0
    fresh: int = 0
    gone: int = 0
    nbytes: int = 0
    began: float = field(default_factory=time.monotonic)

    def speed(self, now: float) -> float:
        """Files per second so far."""
        return self.read / max(now - self.began, 1e-3)

    def remaining(self, now: float) -> float | None:
        """Seconds to go at this speed, None while nobody knows."""
        if self.changed is None or not self.read:
            return None
        return max(self.changed - self.read - self.postponed, 0) / self.speed(now)


@dataclass(frozen=True, slots=True)
class Walk:
    """How to bring ``index`` up to date with ``store``.

    ``processes`` read files of this machine. ``settle``: files modified less than so many s ago wait for the next walk.
    ``tell`` is called whenever there is something to tell. ``may_be_empty``: a store in which nothing at all is found
    any more is taken at its word, instead of for a disk that is not mounted.
    """

    store: Store
    index: Index
    processes: int = os.cpu_count() or 2
    settle: float = 0.0
    may_be_empty: bool = False
    tell: Callable[[Progress], None] = lambda _: None
    limits: ScanLimits = DEFAULT_LIMITS

    async def run(self, prefix: str = "") -> Progress:
        """Walk once over the keys that begin with ``prefix``. Only one process at a time may do this: see
        ``Index.walking``. Raises StorageUnavailable.
        """
        progress = Progress()
        counting = asyncio.create_task(self._count(progress, prefix))
        limit = asyncio.Semaphore(self.processes * 2)
        workers = dict[str, Workers]()
        try:
            async with asyncio.TaskGroup() as group:
                gone = await self._read_changes(progress, prefix, group, limit, workers)
            progress.gone = await self._forget(gone, progress, prefix)
            await counting
            # Files that stood behind one that is gone take its place.
            if gone and (stale := [file async for each in self._changes(prefix, None) for file in each[0]]):
                async with asyncio.TaskGroup() as group:
                    for start in range(0, len(stale), CHUNK):
                        await limit.acquire()
                        group.create_task(self._read(stale[start : start + CHUNK], progress, limit, workers))
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors
        finally:
            counting.cancel()
            for each in workers.values():
                await each.close()
        progress.changed = progress.read + progress.postponed
        self.tell(progress)
        return progress

    async def _read_changes(
        self, progress: Progress, prefix: str, group: asyncio.TaskGroup, limit: asyncio.Semaphore,
        workers: dict[str, Workers],
    ) -> list[str]:  # fmt: skip
        """Read what is new or changed; the keys that are gone."""
        gone, waiting = list[str](), list[Stored]()
        async for changed, vanished in self._changes(prefix, progress):
            gone += vanished
            waiting += changed
            while len(waiting) >= CHUNK:
                await limit.acquire()
                group.create_task(self._read(waiting[:CHUNK], progress, limit, workers))
                del waiting[:CHUNK]
            self.tell(progress)
        if waiting:
            await limit.acquire()
            group.create_task(self._read(waiting, progress, limit, workers))
        return gone

    async def _count(self, progress: Progress, prefix: str) -> None:
        """A walk ahead that only counts, so that somebody can say how long it will take."""
        already, count = progress.read, 0
        async for changed, _ in self._changes(prefix, None):
            count += len(changed)
        progress.changed = max(count, already)

    async def _changes(self, prefix: str, progress: Progress | None) -> AsyncIterator[tuple[list[Stored], list[str]]]:
        """New and changed files, and keys that are gone, a page at a time."""
        after = ""
        async for page in self.store.list(prefix):
            if not page:
                continue
            last = page[-1].key
            known = await self._known(after or prefix, last, inclusive=not after)
            page = [info for info in page if not info.key.rpartition("/")[2].startswith(INCOMING)]
            new = [info for info in page if _is_new(info, known.pop(info.key, None))]
            changed = [_stored(info) for info in new if not self._is_fresh(info)]
            if progress is not None:
                progress.listed += len(page)
                progress.fresh += len(new) - len(changed)
            yield changed, list(known)
            after = last
        known = await self._known(after or prefix, prefix + _LAST, inclusive=not after)
        yield [], list(known)

    async def _known(self, after: str, last: str, *, inclusive: bool) -> dict[str, tuple[int, str, State]]:
        """Files of the index behind ``after`` (with it when ``inclusive``), up to ``last``. Slides are none of them."""
        found = dict[str, tuple[int, str, State]]()
        first = inclusive
        while True:
            rows = await self.index.files(after, last, _PAGE, inclusive=first)
            # Instances that are made of slides have no file that a walk could meet.
            found |= {key: (size, version, state) for key, size, version, state in rows if not key.startswith(SLIDE)}
            if len(rows) < _PAGE:
                return found
            after, first = rows[-1][0], False

    def _is_fresh(self, info: ObjectInfo) -> bool:
        """Whether somebody may still be writing it; objects from afar come whole."""
        if not self.settle or info.modified is None or self.store.distant:
            return False
        return 0 <= time.time() - info.modified < self.settle

    async def _read(
        self, files: list[Stored], progress: Progress, limit: asyncio.Semaphore, workers: dict[str, Workers]
    ) -> None:
        """Read files and write what was found. Frees the place in ``limit`` that was taken for it."""
        try:
            root = self._root(files[0].key)
            if root is None:
                batch = await read_distant(self.store, files, limits=self.limits)
            else:
                if root not in workers:
                    workers[root] = Workers(root, self.processes, limits=self.limits)
                batch = await workers[root].read(files)
            await self.index.put(batch)
        finally:
            limit.release()
        _add(progress, files, batch)
        self.tell(progress)

    def _root(self, key: str) -> str | None:
        """What to put before a key to have its path on this machine; None when it is elsewhere."""
        try:
            path = self.store.local_path(key)
        except NotFound:
            return None
        return str(path)[: -len(key)] if path is not None and str(path).endswith(f"/{key}") else None

    async def _forget(self, gone: list[str], progress: Progress, prefix: str) -> int:
        """Drop what is gone, once the store has said so twice."""
        if gone and not prefix and progress.listed == 0 and not self.may_be_empty:
            raise StorageUnavailable(
                "Nothing at all is found where files were indexed; is the disk mounted? Nothing was forgotten"
            )
        count = 0
        for start in range(0, len(gone), CHUNK):
            sure = list[str]()
            for key in gone[start : start + CHUNK]:
                try:
                    await self.store.head(key)
                except NotFound:
                    sure.append(key)
            await self.index.forget(sure)
            count += len(sure)
        return count


def _is_new(info: ObjectInfo, known: tuple[int, str, State] | None) -> bool:
    if info.key.startswith(SLIDE):
        return False
    return known is None or known[:2] != (info.size, info.etag) or known[2] == State.STALE


def _stored(info: ObjectInfo) -> Stored:
    return Stored(info.key, info.size, info.etag, info.modified or 0.0)


def _add(progress: Progress, files: list[Stored], batch: Batch) -> None:
    progress.read += len(batch.files)
    progress.postponed += len(files) - len(batch.files)
    progress.nbytes += sum(file.size for file in files)
    for scanned in batch.files:
        if scanned.row is not None:
            progress.indexed += 1
        elif scanned.state == State.BROKEN:
            progress.broken += 1
        else:
            progress.others += 1


def _first(error: BaseException) -> BaseException:
    """The first error that is no group of others."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error
