"""The facts of a vector tile set: its zooms as levels, its metadata as properties, TileJSON.

A tile is addressed by zoom, column and row with row 0 on top (XYZ). Level 0 is the highest zoom. Zooms may have gaps:
``downsample`` is always 2 ** (highest zoom - zoom).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

from microtome.errors import CorruptData
from microtome.model import Level, Size, SlideInfo

WORD = "mvt"
"""What the API's ``format`` is made of; xOpat knows a vector set by it."""
MAX_ZOOM = 30
TILE_SIZE = 256
MAX_TILE_SIZE = 65536
MAX_TEXT = 10_000
_MOST_ENTRIES = 100


@dataclass(frozen=True, slots=True, order=True)
class Grid:
    """The tiles of one zoom: columns 0 to ``max_x``, rows 0 to ``max_y``."""

    zoom: int
    max_x: int
    max_y: int

    @classmethod
    def full(cls, zoom: int) -> Grid:
        """All tiles of a zoom: 2 ** zoom each way."""
        return cls(zoom, (1 << zoom) - 1, (1 << zoom) - 1)


def describe(grids: Iterable[Grid], tile_size: int, properties: Mapping[str, object]) -> SlideInfo:
    """The facts. ``properties`` become text, values that are no text as JSON. Raises CorruptData without zooms."""
    found = sorted(grids, reverse=True)
    if not found:
        raise CorruptData("The vector tile set has no tiles")
    if not 1 <= tile_size <= MAX_TILE_SIZE:
        raise CorruptData(f"Tiles of {tile_size} px are none; tile_size is 1 to {MAX_TILE_SIZE}")
    finest = found[0].zoom
    size = Size(tile_size, tile_size)
    levels = tuple(
        Level(
            Size((grid.max_x + 1) * tile_size, (grid.max_y + 1) * tile_size),
            size,
            float(2 ** (finest - grid.zoom)),
        )
        for grid in found
    )
    told: dict[str, object] = {
        "scheme": "xyz",
        "compression": "none",
        **properties,
        "minzoom": found[-1].zoom,
        "maxzoom": finest,
        "zooms": ",".join(str(grid.zoom) for grid in found),
    }
    return SlideInfo(
        format_name=WORD,
        levels=levels,
        channels=(),
        vendor=None,
        properties=MappingProxyType({key: text for key, value in told.items() if (text := _text(value))}),
    )


def zooms_of(info: SlideInfo) -> tuple[int, ...]:
    """The zoom of each level, the highest first."""
    return tuple(int(zoom) for zoom in info.properties["zooms"].split(","))


def level_of_zoom(info: SlideInfo, zoom: int) -> int | None:
    """The level that shows ``zoom``; None when the set has no such zoom."""
    zooms = zooms_of(info)
    return zooms.index(zoom) if zoom in zooms else None


def chosen_metadata(metadata: Mapping[str, object]) -> dict[str, object]:
    """Of an archive's own metadata what is worth telling, each entry bounded. ``vector_layers`` is a list or None."""
    chosen: dict[str, object] = {}
    for key, value in list(metadata.items())[:_MOST_ENTRIES]:
        if key == "vector_layers":
            if isinstance(value, list) and len(_text(cast("object", value))) <= 1 << 20:
                chosen[key] = cast("object", value)
        elif key not in {"json", "tilestats", "minzoom", "maxzoom", "zooms"} and len(text := _text(value)) <= MAX_TEXT:
            chosen[key[:100]] = text
    return chosen


def bounds_of(value: object) -> tuple[float, float, float, float] | None:
    """West, south, east, north in degrees, out of a list or "w,s,e,n"; None for what is none."""
    parts: Any = value.split(",") if isinstance(value, str) else value
    try:
        west, south, east, north = (float(part) for part in parts)
    except (TypeError, ValueError):
        return None
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        return None
    return west, south, east, north


def tilejson(info: SlideInfo, url_template: str) -> dict[str, Any]:
    """TileJSON 3.0.0 of a vector set. ``url_template`` holds {z}, {x} and {y}; {z} is a zoom, not a level.

    ``level_of_zoom`` turns it into the level. Rows count from the top whatever the stored scheme.
    """
    given = info.properties
    zooms = zooms_of(info)
    answer: dict[str, Any] = {
        "tilejson": "3.0.0",
        "tiles": [url_template],
        "vector_layers": _layers(given.get("vector_layers")),
        "minzoom": zooms[-1],
        "maxzoom": zooms[0],
        "scheme": "xyz",
    }
    for name in ("name", "description", "attribution", "version"):
        if name in given:
            answer[name] = given[name]
    bounds = bounds_of(given.get("bounds"))
    if bounds is not None:
        answer["bounds"] = list(bounds)
        west, south, east, north = bounds
        answer["center"] = [(west + east) / 2, (south + north) / 2, zooms[-1]]
    return answer


def plane_bounds(box: tuple[float, float, float, float], world: float) -> str:
    """Degrees (west, south, east, north) that a map shows where ``box`` (left, top, right, bottom) of a square plane
    ``world`` px wide is: the inverse of the spherical Mercator projection.
    """

    def longitude(x: float) -> float:
        return max(-180.0, min(180.0, x / world * 360 - 180))

    def latitude(y: float) -> float:
        return math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * max(0.0, min(1.0, y / world))))))

    left, top, right, bottom = box
    return ",".join(f"{v:.7f}" for v in (longitude(left), latitude(bottom), longitude(right), latitude(top)))


def _layers(text: str | None) -> list[dict[str, Any]]:
    if text is None:
        return []
    found = cast("list[Any]", json.loads(text))  # written by ``describe``
    layers = [cast("dict[str, Any]", each) for each in found if isinstance(each, dict)]
    return [{**each, "fields": each.get("fields", {})} for each in layers if isinstance(each.get("id"), str)]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return ""
