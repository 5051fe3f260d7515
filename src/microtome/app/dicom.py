"""DICOMweb over the services: which index, what is read from where, and who keeps the index up to date."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from microtome.api.dicomweb import DicomwebContext, Limits
from microtome.app.services import Services
from microtome.auth.base import Authenticator
from microtome.dicom.files import FileContent
from microtome.dicom.image import ImageFacts, image_facts
from microtome.dicom.index.base import Index
from microtome.dicom.index.late import LateIndex
from microtome.dicom.index.url import open_index, usual_index
from microtome.dicom.index.walk import Walk
from microtome.dicom.receive import Receiver
from microtome.dicom.rows import SLIDE, InstanceRow
from microtome.dicom.slides import OpenedSlide, SlideContent, batch_of, slide_key
from microtome.errors import InvalidRequest, MicrotomeError, NotFound, UnsupportedFormat
from microtome.model import SlideRecord
from microtome.settings import Settings
from microtome.storage.keys import check_key
from microtome.telemetry import logger

T = TypeVar("T")
_PAGE = 200
_DICOM_FORMATS = frozenset({"wsidicom"})
_LAST = "\U0010ffff"


class OpenSlides:
    """``dicom.slides.Slides`` over the pool of open slides."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def run(self, key: str, work: Callable[[OpenedSlide, str], Awaitable[T]]) -> T:
        """See there. Raises UnsupportedFormat for slides that are DICOM already."""
        record = self._services.catalog.resolve(key)

        async def opened(entry: object) -> T:
            from microtome.tiles.pool import OpenSlide

            assert isinstance(entry, OpenSlide)  # noqa: S101 - the pool hands out nothing else
            if entry.format in _DICOM_FORMATS:
                raise UnsupportedFormat("The slide is DICOM already", feature="DICOM")
            return await work(entry.slide, entry.version)

        return await self._services.tiles.pool.run(SlideRecord(record.id, record.key), opened)


def _receiver(settings: Settings) -> Receiver | None:
    """Where instances are stored that are sent. Raises InvalidRequest for data that cannot be written to."""
    if settings.dicom_store is None:
        return None
    root = Path(settings.data or "")
    if not root.is_dir():
        raise InvalidRequest("Instances can be received into a folder only, not into a bucket", parameter="dicom_store")
    receiver = Receiver(root / check_key(settings.dicom_store), settings.dicom_store, most=Limits().instance_bytes)
    receiver.clean()
    return receiver


class Dicom:
    """Index, contents and the work in the background of one process."""

    def __init__(self, settings: Settings, services: Services) -> None:
        self._settings = settings
        self._services = services
        self.index: Index = LateIndex(self._open)
        self.files = FileContent(services.store)
        self.slides = SlideContent(OpenSlides(services), label=settings.dicom_labels)
        self._receiver = _receiver(settings)
        self._walking: asyncio.Task[None] | None = None

    async def _open(self) -> Index:
        place = self._settings.dicom_index or str(usual_index(self._settings.data or ""))
        if "://" not in place:
            await asyncio.to_thread(Path(place).parent.mkdir, parents=True, exist_ok=True)
        return await open_index(place)

    def context(self, auth: Authenticator, *, private: bool) -> DicomwebContext:
        """What the family needs."""
        settings = self._settings
        return DicomwebContext(
            self.index,
            self.files,
            self.slides,
            auth,
            self._facts,
            store=self._services.store,
            receiver=self._receiver,
            public_url=settings.public_url or "",
            root_path=settings.root_path,
            cache_max_age=settings.cache_max_age,
            private=private,
        )

    async def _facts(self, row: InstanceRow) -> ImageFacts:
        if not row.key.startswith(SLIDE):
            return await self.files.facts(row)
        return image_facts(await self.slides.header(row), pixels_vr=row.pixel.vr if row.pixel else "OW")

    def start(self) -> None:
        """Keep the index up to date from now on."""
        self._walking = asyncio.create_task(self._keep_up())

    async def close(self) -> None:
        """End all work."""
        if self._walking is not None:
            self._walking.cancel()
            with suppress(asyncio.CancelledError):
                await self._walking
        await self.index.close()

    async def _keep_up(self) -> None:
        told = ""
        while True:
            try:
                async with self.index.walking() as mine:
                    if mine:
                        await Walk(self._services.store, self.index, processes=1).run()
                        if self._settings.dicom_slides:
                            await self._index_slides()
                told = ""
            except MicrotomeError as error:
                if error.message != told:  # once, however long it lasts
                    logger.warning("The DICOM index could not be brought up to date: %s", error.message)
                told = error.message
            except Exception:  # noqa: BLE001 - what one walk meets must not end the next
                logger.exception("The DICOM index could not be brought up to date")
            await asyncio.sleep(self._settings.dicom_rescan)

    async def _index_slides(self) -> None:
        """Slides of other formats, as studies."""
        known = {slide_key(key): version for key, _, version, _ in await self._rows() if key.startswith(SLIDE)}
        seen: set[str] = set()
        cursor: str | None = None
        while True:
            page = await self._services.catalog.list(limit=_PAGE, cursor=cursor)
            for record in page.slides:
                seen.add(record.key)
                await self._index_slide(record, known.get(record.key))
            cursor = page.next_cursor
            if cursor is None:
                break
        gone = [key for key, *_ in await self._rows() if slide_key(key) not in seen]
        if gone:
            await self.index.forget(gone)

    async def _index_slide(self, record: SlideRecord, known: str | None) -> None:
        try:
            if known is not None and (await self._services.store.head(record.key)).etag == known:
                return
        except NotFound:
            pass  # a folder
        try:
            described = await self.slides.described(record.key)
        except MicrotomeError as error:
            logger.debug("Slide %s is not shown as DICOM: %s", record.key, error.message)
            return
        if described.identity.version == known:
            return
        batch = await asyncio.to_thread(batch_of, described)
        await self.index.put(batch)  # in place of those of an older version, at once
        made = {each.file.key for each in batch.files}
        if surplus := [key for key, *_ in await self._rows(record.key) if key not in made]:
            await self.index.forget(surplus)

    async def _rows(self, key: str = "") -> list[tuple[str, int, str, object]]:
        begin = f"{SLIDE}{key}#" if key else SLIDE
        found: list[tuple[str, int, str, object]] = []
        after = begin
        while rows := await self.index.files(after, begin + _LAST, 10_000):
            found += rows
            after = rows[-1][0]
        return found
