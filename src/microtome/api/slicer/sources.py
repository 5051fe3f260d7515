"""Slides of the catalogue and series of the index as volumes of the scene: ``POST /scene/v1/volumes/region`` and
``/series``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from microtome.api.login import visible_to
from microtome.api.slicer.context import SMALL_BODY, SlicerContext, answered, body_of
from microtome.api.slicer.sending import place
from microtome.errors import InvalidRequest, NotFound
from microtome.scene.calls.files import LoadFile
from microtome.scene.images import Image, writing

Visible = Callable[[list[str]], Awaitable[list[str]]]
"""Those of slides that who asks may see."""
UNKNOWN_UM = 1.0
"""Size of a pixel of level 0 where the slide does not tell."""


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """``pixels``: (rows, columns, 3). ``downsample``: px of level 0 a px. ``spacing_um``: (x, y) of a px of level 0."""

    pixels: NDArray[np.uint8]
    downsample: float
    spacing_um: tuple[float, float] | None


class Sources(Protocol):
    """Where volumes come from besides files. Methods raise NotFound for what is not there or may not be seen."""

    async def region(self, visible: Visible, asked: RegionAsked) -> Region:
        """A rectangle of a level, as it is displayed. Raises LimitExceeded."""
        ...

    async def series(self, visible: Visible, uid: str, into: Path, most: int) -> str:
        """Write the files of a series into a folder, ``most`` bytes together; its description. Raises LimitExceeded."""
        ...


class RegionAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``x``, ``y``, ``width``, ``height`` in px of the level; it may begin outside. ``name``: of the volume."""

    slide: str
    level: int = 0
    x: int = 0
    y: int = 0
    width: int
    height: int
    name: str = ""


class SeriesAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``series``: its SeriesInstanceUID. ``name``: of the volume, "" for the description of the series."""

    series: str
    name: str = ""


async def load_region(context: SlicerContext, request: Request) -> Response:
    """Load a rectangle of a slide as a volume.

    A pixel lies where it lies on the slide: mm to the left and to the back. `x`, `y`, `width` and `height` are px of
    the level; the rectangle may begin outside of the slide. `name`: of the volume.
    """
    asked = await _read(request, RegionAsked)
    sources = _sources(context)
    region = await sources.region(lambda keys: visible_to(request, keys), asked)
    name = asked.name or f"{asked.slide.rpartition('/')[2][:60]} level {asked.level}"
    async with place(context, "region.nrrd") as path:
        await asyncio.to_thread(_write, path, placed(region, asked))
        loaded = await context.scene.ask(LoadFile(path=str(path), file_type="VolumeFile", name=name))
    return answered(request, loaded)


async def load_series(context: SlicerContext, request: Request) -> Response:
    """Load a series of the DICOM index as a volume.

    `series`: its SeriesInstanceUID. `name`: of the volume, the description of the series without one.
    """
    asked = await _read(request, SeriesAsked)
    sources = _sources(context)
    async with place(context, "series") as folder:
        await asyncio.to_thread(folder.mkdir)
        found = await sources.series(lambda keys: visible_to(request, keys), asked.series, folder, context.max_upload)
        name = asked.name or found or "series"
        loaded = await context.scene.ask(LoadFile(path=str(folder), file_type="DicomFile", name=name))
    return answered(request, loaded)


def placed(region: Region, asked: RegionAsked) -> Image:
    """One slice; its columns run to the left and its rows to the back, as views show it upright."""
    x_um, y_um = region.spacing_um or (UNKNOWN_UM, UNKNOWN_UM)
    x, y = x_um * region.downsample / 1000, y_um * region.downsample / 1000
    matrix = np.diag([-x, -y, min(x, y), 1.0])
    matrix[:2, 3] = -(asked.x + 0.5) * x, -(asked.y + 0.5) * y
    return Image(region.pixels[np.newaxis], matrix)


def _write(path: Path, image: Image) -> None:
    with path.open("wb") as file:
        writing.write(file, image)


async def _read(request: Request, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(await body_of(request, SMALL_BODY), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is not what is expected: {error}", parameter="body") from error


def _sources(context: SlicerContext) -> Sources:
    if context.sources is None:
        raise NotFound("source", "", "This server has no slides for its scene")
    return context.sources
