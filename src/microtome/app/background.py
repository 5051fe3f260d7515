"""What keeps the DICOM index up to date while a server runs: files, slides of other formats, what is told of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from microtome.app.attributes import Attributes
from microtome.app.services import Services, place_of_index, scan_limits
from microtome.catalog.base import Catalog
from microtome.dicom.index.base import SlideIndex
from microtome.dicom.index.walk import Walk
from microtome.dicom.index.watch import Following, is_index, watch
from microtome.dicom.rows import SLIDE
from microtome.dicom.slides import SlideContent, batch_of, slide_key, stored_version
from microtome.errors import MicrotomeError, NotFound
from microtome.model import SlideRecord
from microtome.settings import Settings
from microtome.telemetry import logger

_PAGE = 200
_LAST = "\U0010ffff"


class Background:
    """The work of one process. Where several share an index, whoever's turn it is does it."""

    def __init__(
        self, settings: Settings, services: Services, index: SlideIndex, slides: SlideContent, attributes: Attributes
    ) -> None:
        self._settings = settings
        self._store = services.store
        self._files = services.files
        self._index = index
        self._slides = slides
        self._attributes = attributes
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Keep the index up to date from now on."""
        self._tasks = [asyncio.create_task(self._follow_files())]
        if self._attributes.wanted:
            self._tasks.append(asyncio.create_task(self._follow_attributes()))

    async def close(self) -> None:
        """End all work."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        await self._attributes.close()

    async def _follow_files(self) -> None:
        settings = self._settings
        await self._attributes.read()
        walk = Walk(self._store, self._index, processes=1, settle=settings.dicom_settle, limits=scan_limits(settings))
        following = Following(
            every=settings.dicom_rescan,
            quiet=settings.dicom_settle,
            now=True,
            turn=self._index.walking,
            after=self._index_slides,
            ignored=is_index(await place_of_index(settings)),
        )
        told = ""
        while True:
            try:
                await watch(walk, following)
            except MicrotomeError as error:
                if error.message != told:  # once, however long it lasts
                    logger.warning("The DICOM index could not be brought up to date: %s", error.message)
                told = error.message
            except Exception:  # noqa: BLE001 - what one walk meets must not end the next
                logger.exception("The DICOM index could not be brought up to date")
            await asyncio.sleep(settings.dicom_rescan)

    # -- what is told of slides ----------------------------------------------------------------------------------------

    async def _follow_attributes(self) -> None:
        changed = False
        while True:
            await asyncio.sleep(self._settings.revalidate or 1)
            changed = await self._attributes.read() or changed
            try:
                if changed:
                    async with self._index.walking() as mine:
                        if mine:
                            await self._index_slides("")
                        changed = not mine
            except MicrotomeError as error:
                logger.warning("What is told of slides could not be brought into the index: %s", error.message)

    # -- slides of other formats ---------------------------------------------------------------------------------------

    async def _index_slides(self, prefix: str) -> None:
        """Slides whose keys begin with ``prefix``, or that are a folder in which it is, as studies."""
        if not self._settings.dicom_slides or not self._attributes.known:
            return
        rows = dict(await self._rows(SLIDE + prefix))
        known = {slide_key(key): version for key, version in rows.items()}
        seen: set[str] = set()
        async for record in _below(self._files, prefix):
            seen.add(record.key)
            await self._index_slide(record, known.get(record.key))
        for folder in _folders(prefix):
            inside = dict(await self._rows(f"{SLIDE}{folder}#"))
            page = await self._files.list(limit=1, prefix=folder)
            if page.slides and page.slides[0].key == folder:
                seen.add(folder)
                await self._index_slide(page.slides[0], next(iter(inside.values()), None))
            rows |= inside
            known |= {slide_key(key): version for key, version in inside.items()}
        vanished = known.keys() - seen
        gone = [key for key in rows if slide_key(key) in vanished]
        if gone:
            await self._index.forget(gone)

    async def _index_slide(self, record: SlideRecord, known: str | None) -> None:
        annotation = self._attributes.annotations(record.key)
        try:
            if known is not None:
                etag = (await self._store.head(record.key)).etag
                if stored_version(etag, annotation) == known:
                    return
        except NotFound:
            pass  # a folder
        try:
            described = await self._slides.described(record.key)
        except MicrotomeError as error:
            logger.debug("Slide %s is not shown as DICOM: %s", record.key, error.message)
            return
        if stored_version(described.identity.version, annotation) == known:
            return
        batch = await asyncio.to_thread(batch_of, described, annotation)
        await self._index.put(batch)  # in place of those of an older version, at once
        made = {each.file.key for each in batch.files}
        surplus = [key for key, _ in await self._rows(f"{SLIDE}{record.key}#") if key not in made]
        if surplus:
            await self._index.forget(surplus)

    async def _rows(self, begin: str) -> list[tuple[str, str]]:
        """Key and version of instances whose keys begin so."""
        found: list[tuple[str, str]] = []
        after = begin
        while rows := await self._index.files(after, begin + _LAST, 10_000):
            found += [(row[0], row[2]) for row in rows]
            after = rows[-1][0]
        return found


async def _below(catalog: Catalog, prefix: str) -> AsyncIterator[SlideRecord]:
    cursor: str | None = None
    while True:
        page = await catalog.list(limit=_PAGE, cursor=cursor, prefix=prefix)
        for record in page.slides:
            yield record
        cursor = page.next_cursor
        if cursor is None:
            return


def _folders(key: str) -> list[str]:
    """The folders that a key is in, from the root on."""
    steps = key.split("/")[:-1]
    return ["/".join(steps[: depth + 1]) for depth in range(len(steps))]
