"""Coarser levels of a directory, and the size of a pixel out of its resolution tags."""

from __future__ import annotations

from typing import Any

from microtome.errors import CorruptData, LimitExceeded, UnsupportedFormat
from microtome.formats.tifffile import segments
from microtome.formats.tifffile.source import TiffSource
from microtome.formats.tifffile.stack import Place

MAX_LEVELS = 64
_INCH_UM, _CENTIMETRE_UM = 25_400.0, 10_000.0
_SCREEN_UM = 40.0


def sub_levels(source: TiffSource, first: Place) -> int:
    """How many of the SubIFDs of a directory are coarser levels of it: those in front, as long as they get smaller."""
    base = last = source.page(first)
    for sub in range(min(len(base.subifds or ()), MAX_LEVELS)):
        try:
            page = source.page(first._replace(sub=sub))
            segments.check(page)
        except (CorruptData, UnsupportedFormat, LimitExceeded):
            return sub  # a pyramid with a broken coarse end is still a slide
        if not is_coarser(page, last):
            return sub
        last = page
    return min(len(base.subifds or ()), MAX_LEVELS)


def is_coarser(page: Any, than: Any) -> bool:
    """Whether a directory holds the same kind of image with fewer px."""
    return (
        (page.samplesperpixel, page.dtype) == (than.samplesperpixel, than.dtype)
        and page.imagewidth <= than.imagewidth
        and page.imagelength <= than.imagelength
        and page.imagewidth * page.imagelength < than.imagewidth * than.imagelength
    )


def resolution(page: Any) -> tuple[float, float] | None:
    """Px per unit of the tags XResolution and YResolution, None when they say nothing (TIFF 6.0 §8)."""
    found: list[float] = []
    for tag in (282, 283):
        value = page.tags.valueof(tag)
        if not (isinstance(value, tuple) and len(value) == 2 and value[0] > 0 and value[1] > 0):  # pyright: ignore
            return None
        found.append(value[0] / value[1])  # pyright: ignore
    return found[0], found[1]


def spacing_um(page: Any) -> tuple[float, float] | None:
    """µm per px out of the resolution tags; screen resolutions are what editors write when they know nothing."""
    found = resolution(page)
    unit = {2: _INCH_UM, 3: _CENTIMETRE_UM}.get(page.tags.valueof(296, 2))
    if found is None or unit is None:
        return None
    spacing = unit / found[0], unit / found[1]
    return spacing if max(spacing) <= _SCREEN_UM else None
