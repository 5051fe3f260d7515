"""Multichannel TIFF without metadata of its own kind: the samples of a pixel, or pages in an order a JSON tells."""

from __future__ import annotations

import json
import math
import re
from typing import Any, cast

from microtome.errors import LimitExceeded, UnsupportedFormat
from microtome.formats.tifffile import segments
from microtome.formats.tifffile.omexml import position
from microtome.formats.tifffile.pyramid import MAX_LEVELS, is_coarser, spacing_um, sub_levels
from microtome.formats.tifffile.source import TiffSource
from microtome.formats.tifffile.stack import MAX_CHANNELS, MAX_PLANES, RGB, Place, Plane, Planes, Stack, named

_NAME = re.compile(r"Channel(?::\d+:)?Name=([^\r\n|;]{1,200})")
_REDUCED = 1


def read(source: TiffSource, text: str) -> Stack:
    """The image of the first directory, with what belongs to it. Raises CorruptData, UnsupportedFormat."""
    first = Place("", 0)
    page = source.page(first)
    segments.check(page)
    samples = segments.samples_shown(page)
    order, lengths = _axes(text, page)
    total = math.prod(lengths.values())
    if total > MAX_PLANES or lengths["C"] * samples > MAX_CHANNELS:
        raise LimitExceeded(f"The file has {total} planes; at most {MAX_PLANES} are read", limit="planes")
    shift = segments.plane_shift(source, page, total, "file")
    places: dict[Plane, Place] = {}
    for number in range(total):
        at = position(order, lengths, number)
        place = Place("", 0, shift=number * shift) if shift else Place("", number)
        places[Plane(at["C"], at["Z"], at["T"])] = place
    levels = [Planes(places), *(Planes(places, sub) for sub in range(sub_levels(source, first)))]
    if len(levels) == 1 and total == 1:
        levels += _reduced(source, page)
    count = lengths["C"] * samples
    names = tuple(match.strip() for match in _NAME.findall(text)[:count])
    return Stack(
        format_name="Multichannel TIFF",
        channels=RGB if count == 3 and segments.is_color(page) else named(count, names),
        levels=tuple(levels),
        groups=lengths["C"],
        z=lengths["Z"],
        t=lengths["T"],
        spacing_um=spacing_um(page),
    )


def _axes(text: str, page: Any) -> tuple[str, dict[str, int]]:
    """Axes of the pages, the quickest first, out of ``{"shape": [...], "axes": "TZCYX"}`` as tifffile writes it."""
    lengths = {"C": 1, "Z": 1, "T": 1}
    try:
        told: Any = json.loads(text) if text.startswith("{") else {}
    except (ValueError, RecursionError):
        told = {}
    facts = cast("dict[str, Any]", told) if isinstance(told, dict) else {}
    axes, shape = facts.get("axes"), facts.get("shape")
    if not isinstance(axes, str) or not isinstance(shape, list):
        return "CZT", lengths
    sides = cast("list[Any]", shape)
    if len(axes) != len(sides) or any(not isinstance(side, int) or not 0 < side < 1 << 31 for side in sides):
        return "CZT", lengths
    found = [
        (axis, int(side))
        for axis, side in zip(axes, sides, strict=True)
        # Samples of a pixel may be called channels, too.
        if axis not in "YXS" and not (axis == "C" and page.samplesperpixel > 1 and page.samplesperpixel == side)
    ]
    names = [axis for axis, _ in found]
    if not set(names) <= set("CZT") or len(set(names)) != len(names):
        raise UnsupportedFormat(f"Images with the axes {axes[:20]} are not supported", feature="axes")
    lengths.update(found)
    quickest = [*reversed(names), *(axis for axis in "CZT" if axis not in names)]
    return "".join(quickest), lengths


def _reduced(source: TiffSource, page: Any) -> list[Planes]:
    """Directories behind the first that say they are reduced (NewSubfileType, TIFF 6.0 §8)."""
    found: list[Planes] = []
    last = page
    for number in range(1, source.count(MAX_LEVELS)):
        place = Place("", number)
        each = source.page(place)
        if int(each.subfiletype) & _REDUCED and is_coarser(each, last):
            segments.check(each)
            found.append(Planes({Plane(0, 0, 0): place}))
            last = each
    return found
