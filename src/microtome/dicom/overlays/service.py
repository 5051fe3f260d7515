"""Overlays of slides: which there are, what they hold, and their tiles.

What lies over a slide is looked for in the study of the slide only, so that whoever may see the slide may see it; what
the caller may not see is left out all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol, TypeVar

import numpy as np

from microtome.caching import Cache
from microtome.dicom import decode
from microtome.dicom.content import Content
from microtome.dicom.dataset import Dataset
from microtome.dicom.image import ImageFacts, image_facts
from microtome.dicom.index.base import Index
from microtome.dicom.matching import OneOf
from microtome.dicom.overlays.annotations import ANNOTATIONS, Group, groups_of
from microtome.dicom.overlays.drawing import Drawing, draw, layers_of, zoom_of
from microtome.dicom.overlays.limits import DEFAULT_LIMITS, OverlayLimits
from microtome.dicom.overlays.plane import Affine, between, inverse
from microtome.dicom.overlays.segments import (
    LABEL_MAP,
    SEGMENTATION,
    Canvas,
    Segmentation,
    colored,
    frames_under,
    is_upright,
    paint,
    segmentation_of,
)
from microtome.dicom.overlays.subject import Subject, subject_of
from microtome.dicom.query import Key, Query
from microtome.dicom.rows import SOP_CLASS, InstanceRow, Level
from microtome.dicom.sequences import Items
from microtome.dicom.slides import SlideContent
from microtome.errors import CorruptData, LimitExceeded, NotFound, UnsupportedFormat
from microtome.model import Level as SlideLevel
from microtome.model import SlideInfo

MOST_FRAMES = 400
"""Decoded for one tile; where more are met, a small picture of the whole is enlarged."""
WHOLE_SIDE = 2048
"""px of that picture at its longer side, at most."""
MOST_TILE_SIDE = 4096
_AT_ONCE = 32
_SUBJECTS, _KNOWN, _TILES = 64 << 20, 128 << 20, 64 << 20
_LABEL, _DESCRIPTION, _SERIES_DESCRIPTION, _DATE = 0x0070_0080, 0x0070_0081, 0x0008_103E, 0x0008_0023

T = TypeVar("T")
Visible = Callable[[Iterable[str]], Awaitable[list[str]]]
"""Keeps of keys those the caller may see."""


class Workers(Protocol):
    """Threads for work on pixels."""

    async def run(self, job: Callable[[], T]) -> T:
        """The result of ``job()``, computed in a thread."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """A derived object over a slide: annotations in ``groups``, or a segmentation."""

    row: InstanceRow
    subject: Subject
    label: str
    description: str
    date: str
    affine: Affine
    """From px of the annotations' image, or of the segmentation, to px of the slide."""
    glass: Affine | None
    """From mm on the glass to px of the slide."""
    groups: tuple[Group, ...] = ()
    segments: Segmentation | None = None
    facts: ImageFacts | None = None

    @property
    def id(self) -> str:
        """Its SOP Instance UID."""
        return self.row.sop_uid

    def told(self) -> dict[str, Any]:
        """As JSON."""
        named = {"id": self.id, "label": self.label, "description": self.description, "date": self.date}
        if self.segments is not None:
            each = [
                {"number": s.number, "label": s.label, "description": s.description, "category": s.category,
                 "property": s.property_type, "color": f"#{s.color:06x}"}
                for s in self.segments.segments
            ]  # fmt: skip
            return {**named, "kind": "segments", "type": self.segments.kind, "segments": each}
        groups = [
            {"number": g.number, "label": g.label, "description": g.description, "type": g.kind,
             "category": g.category, "property": g.property_type, "color": f"#{g.color:06x}", "count": g.count,
             "measurements": [m.name for m in g.measurements], "layers": list(layers_of(g))}
            for g in self.groups
        ]  # fmt: skip
        return {**named, "kind": "annotations", "zoom": zoom_of(self.subject.planes[0].size), "groups": groups}


@dataclass(frozen=True, slots=True)
class Tile:
    """An encoded tile and what names it."""

    data: bytes
    media_type: str
    etag: str


class Overlays:
    """``index`` and ``files``: what is stored; ``slides``: slides that are shown as DICOM; ``workers``: threads."""

    def __init__(
        self,
        index: Index,
        files: Content,
        slides: SlideContent,
        workers: Workers,
        limits: OverlayLimits = DEFAULT_LIMITS,
    ) -> None:
        self._limits = limits
        self._index = index
        self._files = files
        self._slides = slides
        self._workers = workers
        self._found: Cache[str, tuple[Overlay, ...]] = Cache(_SUBJECTS, weigh=_weight)
        self._drawings: Cache[str, Drawing] = Cache(
            limits.disk, weigh=lambda each: each.nbytes, on_evict=lambda _, each: each.close()
        )
        self._wholes: Cache[str, Canvas] = Cache(_KNOWN, weigh=lambda each: each.labels.nbytes + each.strength.nbytes)
        self._tiles: Cache[str, bytes] = Cache(_TILES, weigh=len)

    async def of(self, slide: str, visible: Visible | None = None) -> tuple[Overlay, ...]:
        """What lies over the slide with the key ``slide``, in order of series and instances.

        Empty where the slide cannot be shown as DICOM. Raises StorageUnavailable, what opening the slide raises.
        """
        changes = await self._index.changes()
        try:
            found = await self._found.get_or_compute(f"{changes}\0{slide}", lambda: self._look(slide))
        except (UnsupportedFormat, NotFound):
            return ()
        if visible is None:
            return found
        seen = set(await visible(sorted({each.row.key for each in found})))
        return tuple(each for each in found if each.row.key in seen)

    async def one(self, slide: str, overlay: str, visible: Visible | None = None) -> Overlay:
        """An overlay by its id. Raises NotFound."""
        for each in await self.of(slide, visible):
            if each.id == overlay:
                return each
        raise NotFound("overlay", overlay[:64])

    async def shapes(self, overlay: Overlay, zoom: int, column: int, row: int) -> Tile:
        """A vector tile of annotations. Raises NotFound for other overlays and places."""
        if not overlay.groups:
            raise NotFound("vector tiles of overlay", overlay.id)
        name = _digest(overlay, "mvt", zoom, column, row)

        async def cut() -> bytes:
            drawing = await self._drawings.get_or_compute(_digest(overlay), lambda: self._draw(overlay))
            return await self._workers.run(lambda: drawing.tile(zoom, column, row))

        data = await self._tiles.get_or_compute(name, cut)
        return Tile(data, "application/vnd.mapbox-vector-tile", name)

    async def labels(
        self, overlay: Overlay, info: SlideInfo, level: int, column: int, row: int, chosen: frozenset[int] | None = None
    ) -> Tile:
        """A tile of a segmentation over the same tile of the slide: PNG, transparent where no segment is.

        ``chosen``: numbers of the segments that are shown, None for all. Raises NotFound for other overlays, places.
        """
        if overlay.segments is None:
            raise NotFound("label tiles of overlay", overlay.id)
        if not 0 <= level < len(info.levels):
            raise NotFound("tile", f"{level}/{column}/{row}")
        grid = info.levels[level]
        if column * grid.tile_size.width >= grid.size.width or row * grid.tile_size.height >= grid.size.height:
            raise NotFound("tile", f"{level}/{column}/{row}")
        if max(grid.tile_size) > MOST_TILE_SIDE:
            raise LimitExceeded(f"Tiles of more than {MOST_TILE_SIDE} px have no labels", limit="tile size")
        shown = "all" if chosen is None else ",".join(map(str, sorted(chosen)))
        name = _digest(overlay, "png", info.size, grid.size, grid.tile_size, column, row, shown)
        data = await self._tiles.get_or_compute(name, lambda: self._labels(overlay, info, grid, (column, row), chosen))
        return Tile(data, "image/png", name)

    def close(self) -> None:
        """Let go of files."""
        self._drawings.clear()

    # -- what there is -----------------------------------------------------------------------------------------------

    async def _look(self, slide: str) -> tuple[Overlay, ...]:
        subject = await subject_of(slide, self._index, self._files, self._slides)
        kinds = OneOf((ANNOTATIONS, SEGMENTATION, LABEL_MAP))
        found: list[Overlay] = []
        for study in subject.studies:
            query = Query(
                level=Level.INSTANCE, study=study, keys=(Key((SOP_CLASS,), "UI", kinds),), limit=self._limits.overlays
            )
            for match in (await self._index.search(query)).matches:
                row = await self._index.instance(match.study_uid, match.series_uid, match.sop_uid)
                overlay = await self._overlay(row, subject)
                if overlay is not None:
                    found.append(overlay)
        return tuple(found)

    async def _overlay(self, row: InstanceRow, subject: Subject) -> Overlay | None:
        """None when it is of another slide, or cannot be drawn."""
        try:
            header = await self._files.header(row)
            if not subject.is_meant_by(header):
                return None
            return await asyncio.to_thread(_read, row, header, subject, await self._files.items(row), self._limits)
        except (CorruptData, LimitExceeded, UnsupportedFormat, NotFound):
            return None  # what cannot be drawn does not hide the others

    # -- annotations -------------------------------------------------------------------------------------------------

    async def _draw(self, overlay: Overlay) -> Drawing:
        def place(group: Group) -> Affine:
            if not group.on_glass:
                return overlay.affine
            if overlay.glass is None:
                raise CorruptData("The annotations are in mm, and the slide does not say where it lies")
            return overlay.glass

        return await draw(overlay.row, overlay.groups, self._files, place, overlay.subject.planes[0].size)

    # -- segments ----------------------------------------------------------------------------------------------------

    async def _labels(
        self, overlay: Overlay, info: SlideInfo, grid: SlideLevel, at: tuple[int, int], chosen: frozenset[int] | None
    ) -> bytes:
        found = overlay.segments
        assert found is not None  # noqa: S101 - the caller looked
        back = inverse(overlay.affine)
        columns = _middles(at[0], grid.tile_size.width, grid.size.width, overlay.subject.planes[0].size.width)
        rows = _middles(at[1], grid.tile_size.height, grid.size.height, overlay.subject.planes[0].size.height)
        columns, rows = back[0, 0] * columns + back[0, 2], back[1, 1] * rows + back[1, 2]
        canvas = Canvas.over(found.plane, columns, rows)
        under = frames_under(found, canvas, chosen)
        if len(under) > MOST_FRAMES:
            canvas = _enlarged(found, await self._whole(overlay, chosen), canvas)
        else:
            await self._paint(overlay, canvas, under, chosen)
        return await self._workers.run(lambda: _png(found, canvas))

    async def _whole(self, overlay: Overlay, chosen: frozenset[int] | None) -> Canvas:
        """All of a segmentation in one small picture."""
        found = overlay.segments
        assert found is not None  # noqa: S101 - the caller looked
        if len(found.columns) > self._limits.overview_frames:
            raise LimitExceeded(
                "The segmentation has too many frames for so small a scale; zoom in",
                limit="dicom_overlay_overview", value=len(found.columns),
            )  # fmt: skip

        async def made() -> Canvas:
            step = -(-max(found.plane.size) // WHOLE_SIDE)
            places = [np.arange(-(-side // step)) * step + min(step // 2, side - 1) for side in found.plane.size]
            columns, rows = (each.astype(np.float64) + 0.5 for each in places)
            whole = Canvas.over(found.plane, columns, rows)
            await self._paint(overlay, whole, frames_under(found, whole, chosen), chosen)
            return whole

        shown = "all" if chosen is None else sorted(chosen)
        return await self._wholes.get_or_compute(_digest(overlay, "whole", shown), made)

    async def _paint(
        self, overlay: Overlay, canvas: Canvas, under: np.ndarray[Any, Any], chosen: frozenset[int] | None
    ) -> None:
        found, facts, row = overlay.segments, overlay.facts, overlay.row
        assert found is not None and facts is not None  # noqa: S101, PT018 - made together
        numbers: list[int] = under.tolist()
        for start in range(0, len(numbers), _AT_ONCE):
            some = numbers[start : start + _AT_ONCE]
            data = await self._files.frames(row, [number + 1 for number in some])

            def work(some: list[int] = some, data: list[bytes] = data) -> None:
                for number, each in zip(some, data, strict=True):
                    samples = decode.decode(each, facts, row.transfer_syntax).array
                    paint(found, canvas, number, samples[:, :, 0], chosen)

            await self._workers.run(work)


def _read(row: InstanceRow, header: Dataset, subject: Subject, items: Items, limits: OverlayLimits) -> Overlay | None:
    label = header.string(_SERIES_DESCRIPTION) or header.string(_LABEL)
    description, date = header.string(_DESCRIPTION), header.string(_DATE)
    finest = subject.planes[0]
    glass = inverse(finest.to_glass) if finest.to_glass is not None else None
    if row.sop_class == ANNOTATIONS:
        groups = groups_of(header, limits)
        affine = between(subject.plane_for(header), finest)
        return Overlay(row, subject, label, description, date, affine, glass, groups) if groups else None
    found = segmentation_of(header, items, limits)
    affine = between(found.plane, finest)
    if not is_upright(affine) or row.pixel is None or not decode.can_decode(row.transfer_syntax):
        return None
    facts = image_facts(header, pixels_vr=row.pixel.vr)
    return Overlay(row, subject, label, description, date, affine, glass, segments=found, facts=facts)


def _middles(number: int, tile: int, level: int, full: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Middles of the px of a tile in px of full resolution; beyond the level they are beyond everything."""
    places = number * tile + np.arange(tile) + 0.5
    return np.where(places < level, places * full / level, -np.inf)


def _enlarged(found: Segmentation, whole: Canvas, canvas: Canvas) -> Canvas:
    """The part of a picture of the whole that a tile shows, one px of it for many of the tile where need be."""
    step = -(-max(found.plane.size) // WHOLE_SIDE)
    columns, rows = np.maximum(canvas.columns, 0) // step, np.maximum(canvas.rows, 0) // step
    inside = (canvas.rows >= 0)[:, None] & (canvas.columns >= 0)[None, :]
    at = np.ix_(rows, columns)
    labels, strength = np.where(inside, whole.labels[at], 0), np.where(inside, whole.strength[at], 0)
    return Canvas(canvas.columns, canvas.rows, labels.astype(np.uint16), strength.astype(np.uint8))


def _png(found: Segmentation, canvas: Canvas) -> bytes:
    from microtome.pixels import png

    return png.encode(colored(found, canvas.labels, canvas.strength))


def _digest(overlay: Overlay, *what: object) -> str:
    """Names what is made of an overlay: another one for another version of it, or of its slide."""
    planes = [(plane.sop_uid, plane.size) for plane in overlay.subject.planes]
    text = "\0".join(map(repr, (overlay.row.key, overlay.row.version, overlay.id, planes, *what)))
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _weight(found: tuple[Overlay, ...]) -> int:
    return 1000 + sum(
        4000 + 2000 * len(each.groups) + (each.segments.nbytes if each.segments is not None else 0) for each in found
    )


__all__ = ["Overlay", "Overlays", "Tile", "Visible", "Workers"]
