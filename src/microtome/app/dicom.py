"""DICOMweb over the services: which index, what is read from where, and who keeps the index up to date."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import microtome
from microtome.api.browse import BrowseContext
from microtome.api.dicomweb import DicomwebContext, Limits
from microtome.api.forwarded import Proxies
from microtome.app.attributes import Attributes
from microtome.app.background import Background
from microtome.app.services import Services, place_of_index, scan_limits
from microtome.auth.base import Authenticator
from microtome.auth.identities import IdentityRule, parse_rule
from microtome.catalog.base import Mapper
from microtome.dicom.deidentify.content import DeidentifiedContent
from microtome.dicom.deidentify.pseudonyms import Pseudonyms
from microtome.dicom.deidentify.view import DeidentifiedIndex
from microtome.dicom.files import FileContent
from microtome.dicom.image import ImageFacts, image_facts
from microtome.dicom.index.base import SlideIndex
from microtome.dicom.index.database import Database
from microtome.dicom.index.url import open_database
from microtome.dicom.overlays.limits import OverlayLimits
from microtome.dicom.overlays.service import Overlays
from microtome.dicom.receive import Receiver
from microtome.dicom.rows import SLIDE, WHOLE_SLIDE, InstanceRow
from microtome.dicom.series import series_id
from microtome.dicom.slides import OpenedSlide, SlideContent, slide_key
from microtome.errors import InvalidRequest, MicrotomeError, UnsupportedFormat
from microtome.model import SlideRecord
from microtome.settings import Settings
from microtome.storage.keys import check_key
from microtome.viewer import ohif, pages

T = TypeVar("T")
_DICOM_FORMATS = frozenset({"wsidicom"})


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
    receiver = Receiver(
        root / check_key(settings.dicom_store),
        settings.dicom_store,
        most=Limits().instance_bytes,
        limits=scan_limits(settings),
    )
    receiver.clean()
    return receiver


def identity_rule(settings: Settings, *, gated: bool) -> IdentityRule:
    """From whom identities are hidden. Raises InvalidRequest for what could not be kept."""
    rule = parse_rule(settings.dicom_deidentify)
    if (rule.everyone or rule.by_claim) and settings.dicom_deidentify_key is None:
        raise InvalidRequest("--dicom-deidentify needs --dicom-deidentify-key", parameter="dicom_deidentify_key")
    if rule.by_claim and not gated:
        raise InvalidRequest(
            "--dicom-deidentify tells callers apart by their login: set --integration, and no signed URLs",
            parameter="dicom_deidentify",
        )
    return rule


class Dicom:
    """Index, contents and the work in the background of one process."""

    def __init__(self, settings: Settings, services: Services, index: SlideIndex, mapper: Mapper) -> None:
        self._settings = settings
        self._services = services
        self.index = index
        self.files = FileContent(services.store, scan_limits(settings))
        attributes = Attributes(settings, services.store, mapper)
        self.slides = SlideContent(OpenSlides(services), attributes.annotations, label=settings.dicom_labels)
        overlays = OverlayLimits(
            settings.dicom_overlays,
            settings.dicom_overlay_annotations,
            settings.dicom_overlay_frames,
            settings.dicom_overlay_overview,
            settings.dicom_overlay_disk,
        )
        self.overlays = Overlays(index, self.files, self.slides, services.tiles.workers, overlays)
        self._background = Background(settings, services, index, self.slides, attributes)
        self.view = self._view()
        self._receiver = _receiver(settings)

    def _view(self) -> DeidentifiedIndex | None:
        """What is shown where identities are hidden. Raises InvalidRequest for a key that is too short."""
        settings = self._settings
        if settings.dicom_deidentify_key is None:
            return None

        async def opened(name: str) -> Database:
            return await open_database(await place_of_index(settings), beside=name)

        return DeidentifiedIndex(
            self.index,
            opened,
            Pseudonyms(settings.dicom_deidentify_key),
            unmarked=settings.dicom_deidentify_unmarked,
        )

    def context(self, auth: Authenticator, rule: IdentityRule, *, private: bool) -> DicomwebContext:
        """What the family needs. Where nobody may see identities there is nothing else in it."""
        plain = self._plain_context(auth, private=private)
        if self.view is None:
            return plain
        view = self.view
        content = DeidentifiedContent(view.deidentifier, view.original, plain.content)

        async def facts(row: InstanceRow) -> ImageFacts:
            return await self._facts(await view.original(row))

        hidden = replace(
            plain, index=view, files=content, slides=content, facts=facts, receiver=None, private=True,
            stand_in=view.shown,
        )  # fmt: skip
        return hidden if rule.everyone else replace(plain, deidentified=hidden)

    def _plain_context(self, auth: Authenticator, *, private: bool) -> DicomwebContext:
        settings = self._settings
        return DicomwebContext(
            self.index,
            self.files,
            self.slides,
            auth,
            self._facts,
            self._services.tiles.workers,
            store=self._services.store,
            receiver=self._receiver,
            public_url=settings.public_url or "",
            proxies=Proxies(settings.trusted_proxies),
            root_path=settings.root_path,
            cache_max_age=settings.cache_max_age,
            private=private,
        )

    def browse_context(self, auth: Authenticator, *, private: bool) -> BrowseContext:
        """What the pages need."""
        settings = self._settings
        folder = settings.ohif_dir or ohif.usual_folder()
        return BrowseContext(
            self.index,
            auth,
            pages,
            self._slide_of,
            ohif=folder if ohif.is_installed(folder) else None,
            missing=ohif.MISSING,
            admins=frozenset(settings.admins),
            private=private,
            frame_ancestors=settings.frame_ancestors,
            root_path=settings.root_path,
            version=microtome.__version__,
        )

    async def _slide_of(self, rows: Sequence[InstanceRow]) -> str | None:
        """The slide that the instances of a series are, if it can be shown: one they are made of, or the series."""
        if not self._settings.slides_api:
            return None
        first = rows[0]
        found = slide_key(first.key)
        if not first.key.startswith(SLIDE):
            if not any(row.sop_class == WHOLE_SLIDE for row in rows):
                return None
            found = series_id(first.study_uid, first.series_uid)
        try:
            await self._services.tiles.info(self._services.catalog.resolve(found))
        except MicrotomeError:
            return None
        return found

    async def _facts(self, row: InstanceRow) -> ImageFacts:
        if not row.key.startswith(SLIDE):
            return await self.files.facts(row)
        return image_facts(await self.slides.header(row), pixels_vr=row.pixel.vr if row.pixel else "OW")

    def start(self) -> None:
        """Keep the index up to date from now on."""
        self._background.start()

    async def close(self) -> None:
        """End all work."""
        await self._background.close()
        self.overlays.close()
        if self.view is not None:
            await self.view.close()
        await self.index.close()
