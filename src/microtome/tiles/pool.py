"""The pool of open slides: opened once however many ask, closed when idle, reopened when replaced.

Every slide is pinned to the ETag it was opened with. At most every ``revalidate`` seconds the store is asked whether
the object is still that one; a Conflict from a read says so at once. Either way the slide is opened anew and the
work is done again on the new version, never on a mixture.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from microtome.caching import Flights
from microtome.errors import Conflict, MicrotomeError, NotFound, StorageUnavailable
from microtome.formats.base import Slide
from microtome.formats.registry import FormatRegistry
from microtome.model import SlideRecord
from microtome.storage.base import Store
from microtome.storage.folder import Files, PinnedFolder, open_files
from microtome.storage.pinned import Copies, Header, PinnedObject
from microtome.telemetry import Counters, logger
from microtome.tiles.readahead import ReadAhead

T = TypeVar("T")


class Headers(Protocol):
    """Where parsed headers are kept between two openings of a slide."""

    def get(self, key: str) -> Header | None:
        """The header kept for a key, of whatever version."""
        ...

    def put(self, header: Header) -> None:
        """Keep a header, in place of an older one."""
        ...

    def drop(self, key: str) -> None:
        """Forget what is kept for a key."""
        ...


@dataclass(eq=False, slots=True)
class OpenSlide:
    """A slide of the pool, and which format reads it.

    ``checked`` is when its version was last known to be the current one, monotonic s.
    """

    record: SlideRecord
    slide: Slide
    files: Files
    format: str
    checked: float
    leases: int = 0
    retired: bool = False
    closed: bool = False
    used: float = field(default=0.0)
    ahead: ReadAhead = field(init=False)

    def __post_init__(self) -> None:
        self.ahead = ReadAhead(self.slide, active=self.files.store.distant)

    @property
    def version(self) -> str:
        """ETag of the object this slide was opened from."""
        return self.files.info.etag


class SlidePool:
    """At most ``capacity`` open slides (more only while all are in use), closed after ``idle`` s without use."""

    def __init__(
        self,
        store: Store,
        formats: FormatRegistry,
        headers: Headers,
        *,
        copies: Copies | None = None,
        capacity: int = 100,
        idle: float = 600.0,
        revalidate: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        counters: Counters | None = None,
    ) -> None:
        self.store = store
        self.revalidate = revalidate
        self._formats = formats
        self._headers = headers
        self._copies = copies
        self._capacity = capacity
        self._idle = idle
        self._clock = clock
        self._counters = counters or Counters()
        self._open: OrderedDict[str, OpenSlide] = OrderedDict()
        self._opening: Flights[str, OpenSlide] = Flights()
        self._background: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._open)

    def peek(self, key: str) -> OpenSlide | None:
        """The slide if it is open and its version was checked lately; for answers that must not wait."""
        entry = self._open.get(key)
        if entry is None:
            return None
        now = self._clock()
        if now - entry.checked >= self.revalidate:
            return None
        entry.used = now
        self._open.move_to_end(key)
        return entry

    async def run(self, record: SlideRecord, work: Callable[[OpenSlide], Awaitable[T]]) -> T:
        """``work`` on the current version of the slide; once more on the new one when it is replaced meanwhile."""
        for last in (False, True):
            entry = await self._lease(record)
            try:
                return await work(entry)
            except Conflict:
                self._retire(entry, forget=True)
                if last:
                    raise
            finally:
                entry.leases -= 1
                self._close_if_unused(entry)
        raise AssertionError("unreachable")

    async def _lease(self, record: SlideRecord) -> OpenSlide:
        entry = self._open.get(record.handle)
        if entry is None or self._clock() - entry.checked >= self.revalidate:
            entry = await self._opening.run(record.handle, lambda: self._current(record))
            while entry.closed:  # in a full pool it may have made room for another before its askers woke up
                entry = await self._opening.run(record.handle, lambda: self._current(record))
        entry.leases += 1
        entry.used = self._clock()
        if record.handle in self._open:
            self._open.move_to_end(record.handle)
        return entry

    async def _current(self, record: SlideRecord) -> OpenSlide:
        """The open slide after asking the store whether it is still the same object, or a newly opened one."""
        entry = self._open.get(record.handle)
        if entry is not None and await self._still_current(entry):
            return entry
        return await self._open_anew(record)

    async def _still_current(self, entry: OpenSlide) -> bool:
        try:
            etag = await self._etag(entry)
        except NotFound:
            self._retire(entry, forget=True)
            raise
        except StorageUnavailable:
            # Reads stay pinned, so an unreachable store can do no harm here; what is cached stays useful.
            logger.warning("could not ask the store whether slide %s has changed", entry.record.id)
            entry.checked = self._clock()
            return True
        if etag != entry.version:
            self._counters.add("slides.replaced")
            self._retire(entry, forget=True)
            return False
        entry.checked = self._clock()
        return True

    async def _etag(self, entry: OpenSlide) -> str:
        if isinstance(entry.files, PinnedFolder):
            return (await PinnedFolder.open(self.store, entry.record.key)).info.etag
        return (await self.store.head(entry.record.key)).etag

    async def _verify(self, entry: OpenSlide) -> None:
        try:
            await self._still_current(entry)
        except MicrotomeError:
            return  # gone: already retired, and the next request says so

    async def _open_anew(self, record: SlideRecord) -> OpenSlide:
        header = self._headers.get(record.key)
        if header is not None:
            try:
                files = PinnedObject.replay(self.store, header)
                files.copies = self._copies
                entry = self._admit(record, files, *await self._formats.opened(files, record.format))
                # A kept header may be days old. Pinned reads would notice; answers that need no read would not.
                self._spawn(self._verify(entry))
                return entry
            except Conflict:
                self._headers.drop(record.key)
        files = await open_files(self.store, record.key, self._copies)
        return self._admit(record, files, *await self._formats.opened(files, record.format))

    def _admit(self, record: SlideRecord, files: Files, slide: Slide, name: str) -> OpenSlide:
        now = self._clock()
        entry = OpenSlide(record, slide, files, format=name, checked=now, used=now)
        self._counters.add("slides.opened")
        self._open[record.handle] = entry
        self._spawn(self._keep_header(entry))
        self._trim(newcomer=entry)
        return entry

    async def _keep_header(self, entry: OpenSlide) -> None:
        try:
            await entry.slide.info()
        except Exception:  # noqa: BLE001 - whoever asks for the facts gets this very error; nothing to keep
            return
        if not entry.retired:
            self._put_header(entry)

    def _put_header(self, entry: OpenSlide) -> None:
        if isinstance(entry.files, PinnedObject):
            self._headers.put(entry.files.header())

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _trim(self, newcomer: OpenSlide) -> None:
        for key in list(self._open):
            if len(self._open) <= self._capacity:
                return
            if self._open[key].leases == 0 and self._open[key] is not newcomer:
                self._retire(self._open[key])

    def close_idle(self) -> None:
        """Close slides nobody used for the idle time. Called now and then by the application."""
        now = self._clock()
        for entry in list(self._open.values()):
            if entry.leases == 0 and now - entry.used >= self._idle:
                self._retire(entry)

    def _retire(self, entry: OpenSlide, *, forget: bool = False) -> None:
        if forget:
            self._headers.drop(entry.record.key)
        elif not entry.retired:
            self._put_header(entry)
        entry.retired = True
        if self._open.get(entry.record.handle) is entry:
            del self._open[entry.record.handle]
        self._close_if_unused(entry)

    def _close_if_unused(self, entry: OpenSlide) -> None:
        if entry.retired and entry.leases == 0 and not entry.closed:
            entry.closed = True
            self._spawn(entry.slide.close())

    async def close(self) -> None:
        """Close all slides."""
        for entry in list(self._open.values()):
            self._retire(entry)
        while self._background:
            await asyncio.gather(*self._background, return_exceptions=True)
