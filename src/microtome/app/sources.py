"""Slides and DICOM series of this server for its scene."""

from __future__ import annotations

import asyncio
from pathlib import Path

from microtome.api.slicer.sources import Region, RegionAsked, Visible
from microtome.app.dicom import Dicom
from microtome.app.services import Services
from microtome.dicom.index.base import Match
from microtome.dicom.query import parse
from microtome.dicom.rows import SLIDE, InstanceRow, Level
from microtome.dicom.slides import slide_key
from microtome.errors import InvalidRequest, LimitExceeded, NotFound
from microtome.model.geometry import Rectangle
from microtome.tiles.pool import OpenSlide
from microtome.tiles.region import read_region

MAX_INSTANCES = 20_000
_DESCRIPTION = "0008103E"


class SceneSources:
    """Reads regions out of the catalogue, and files out of the index where there is one and identities may be seen."""

    def __init__(self, services: Services, dicom: Dicom | None) -> None:
        self._services = services
        self._dicom = None if dicom is None or dicom.view is not None else dicom

    async def region(self, visible: Visible, asked: RegionAsked) -> Region:
        """A rectangle as it is displayed."""
        if asked.width < 1 or asked.height < 1 or max(abs(asked.x), abs(asked.y)) > 1 << 31:
            raise InvalidRequest("width and height are at least 1", parameter="width")
        record = self._services.catalog.resolve(asked.slide)
        if not await visible([record.id]):
            raise NotFound("slide", asked.slide)
        tiles = self._services.tiles

        async def work(entry: OpenSlide) -> Region:
            info = await entry.slide.info()
            if not 0 <= asked.level < len(info.levels):
                raise InvalidRequest(f"The slide has levels 0 to {len(info.levels) - 1}", parameter="level")
            pixels = await read_region(
                entry.slide,
                tiles.workers,
                asked.level,
                Rectangle(asked.x, asked.y, asked.width, asked.height),
                max_pixels=tiles.limits.region_pixels,
                styles=await tiles.styles(entry, ()),
            )
            return Region(pixels, info.levels[asked.level].downsample, info.spacing_um)

        return await tiles.pool.run(record, work)

    async def series(self, visible: Visible, uid: str, into: Path, most: int) -> str:
        """The files as they are stored."""
        if self._dicom is None:
            raise NotFound("series", uid)
        match = await self._match(uid)
        rows = await self._dicom.index.instances(match.study_uid, match.series_uid)
        rows = [row for row in rows if row.rows and not row.key.startswith(SLIDE)]
        keys = sorted({slide_key(row.key) for row in rows})
        if not keys or len(await visible(keys)) < len(keys):
            raise NotFound("series", uid, "The index has no series of images with this UID")
        if len(rows) > MAX_INSTANCES or sum(row.size for row in rows) > most:
            raise LimitExceeded("The series is larger than what may be sent to the scene", limit="scene_max_upload")
        for number, row in enumerate(rows):
            await self._copy(row, into / f"{number:05d}.dcm")
        described = match.attributes.get(_DESCRIPTION, {}).get("Value") or [""]
        return str(described[0])[:100]

    async def _match(self, uid: str) -> Match:
        if self._dicom is None or not uid or len(uid) > 64:
            raise NotFound("series", uid[:100])
        query = parse(Level.SERIES, [("SeriesInstanceUID", uid), ("includefield", "SeriesDescription"), ("limit", "1")])
        found = await self._dicom.index.search(query)
        if not found.matches:
            raise NotFound("series", uid)
        return found.matches[0]

    async def _copy(self, row: InstanceRow, path: Path) -> None:
        assert self._dicom is not None  # noqa: S101 - asked before
        with await asyncio.to_thread(path.open, "wb") as file:
            async for part in self._dicom.files.part10(row):
                await asyncio.to_thread(file.write, part)
