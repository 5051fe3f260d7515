"""ImageJ hyperstacks: channels, slices and frames as the description counts them, labels and LUTs of the tags."""

from __future__ import annotations

import re
from typing import Any

from microtome.errors import LimitExceeded
from microtome.formats.tifffile import segments
from microtome.formats.tifffile.omexml import length_um, linear, position, real
from microtome.formats.tifffile.pyramid import resolution
from microtome.formats.tifffile.source import TiffSource
from microtome.formats.tifffile.stack import MAX_CHANNELS, MAX_PLANES, RGB, Place, Plane, Planes, Stack, named
from microtome.model import Channel

_UNITS = {"micron": "µm", "microns": "µm", "\\u00B5m": "µm", "inch": "in", "\\u00C5": "Å"}
_METADATA, _COLOR_MAP = 50839, 320
_LABEL_PREFIX = re.compile(r"^(?:[czt]:\d+/\d+ ?)+(?:- )?")


def read(source: TiffSource, text: str) -> Stack:
    """The stack. Raises CorruptData, UnsupportedFormat, LimitExceeded."""
    told = dict(line.strip().split("=", 1) for line in text.splitlines()[:1000] if "=" in line)
    first = Place("", 0)
    page = source.page(first)
    segments.check(page)
    samples = segments.samples_shown(page)
    lengths = {axis: _count(told.get(name)) for axis, name in (("C", "channels"), ("Z", "slices"), ("T", "frames"))}
    stored = int(page.samplesperpixel)
    if stored > 1 and lengths["C"] in {1, stored}:
        lengths["C"] = 1  # some writers count the samples of a pixel as channels
    images = _count(told.get("images"))
    if lengths == {"C": 1, "Z": 1, "T": 1} and images > 1:
        lengths["Z"] = images
    total = lengths["C"] * lengths["Z"] * lengths["T"]
    if total > MAX_PLANES or lengths["C"] * samples > MAX_CHANNELS:
        raise LimitExceeded(f"The stack has {total} planes; at most {MAX_PLANES} are read", limit="planes")
    order = told.get("order", "czt").upper()
    order = order if sorted(order) == ["C", "T", "Z"] else "CZT"
    shift = segments.plane_shift(source, page, total, "stack")
    places: dict[Plane, Place] = {}
    for number in range(total):
        at = position(order, lengths, number)
        place = Place("", 0, shift=number * shift) if shift else Place("", number)
        places[Plane(at["C"], at["Z"], at["T"])] = place
    properties = {f"imagej.{name[:100]}": value[:1000] for name, value in list(told.items())[:200]}
    return Stack(
        format_name="ImageJ TIFF",
        channels=_channels(page, lengths, order, samples),
        levels=(Planes(places),),
        groups=lengths["C"],
        z=lengths["Z"],
        t=lengths["T"],
        spacing_um=_spacing(page, told.get("unit", "")),
        vendor="imagej",
        properties=properties,
    )


def _count(text: str | None) -> int:
    try:
        value = int(text or "1")
    except ValueError:
        return 1
    return min(max(value, 1), MAX_PLANES + 1)


def _channels(page: Any, lengths: dict[str, int], order: str, samples: int) -> tuple[Channel, ...]:
    if lengths["C"] == 1 and segments.is_color(page):
        return RGB
    value = page.tags.valueof(_METADATA)
    metadata: dict[str, Any] = value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]
    labels = list(metadata.get("Labels") or ())
    names: list[str] = []
    for channel in range(lengths["C"]):
        number = linear(order, lengths, {"C": channel, "Z": 0, "T": 0}) or 0
        label = str(labels[number]).splitlines()[:1] if number < len(labels) else []
        names.append(_LABEL_PREFIX.sub("", label[0])[:200] if label else "")
    maps = list(metadata.get("LUTs") or ())
    if not maps and page.photometric == 3 and (table := page.tags.valueof(_COLOR_MAP)) is not None:
        maps = [table >> 8]
    return named(lengths["C"] * samples, tuple(names), tuple(_top(each) for each in maps[: lengths["C"]]))


def _top(table: Any) -> int | None:
    """The colour a lookup table gives to the highest value; an inverted one, to the lowest."""
    if getattr(table, "ndim", 0) != 2 or table.shape[0] != 3:
        return None
    ends = [sum(int(table[n, at]) << 8 * (2 - n) for n in range(3)) for at in (-1, 0)]
    return ends[0] or ends[1]


def _spacing(page: Any, unit: str) -> tuple[float, float] | None:
    """µm per px: the resolution tags count px per ``unit`` of the description."""
    found = resolution(page)
    micrometres = length_um(1.0, _UNITS.get(unit, unit))
    if found is None or micrometres is None:
        return None
    spacing = micrometres / found[0], micrometres / found[1]
    return spacing if all(real(str(each)) for each in spacing) else None
