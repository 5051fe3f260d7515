"""Parsed features taken apart into arrays: coordinates and parts of a batch, tags with their tables."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

import numpy as np

from microtome.errors import CorruptData
from microtome.formats.vector.arrays import EXTERIOR, INTERIOR, LINE, POINTS, Ints, Shapes, begins, ranges
from microtome.formats.vector.encode import value
from microtome.formats.vector.geojson.plane import MAX_PX, Plane, to_plane, to_units
from microtome.formats.vector.texts import GEOJSON_TYPES

MAX_KEYS = 10_000
"""Names of properties told apart; further ones are left out."""
MAX_KEY = 200
"""Characters of a name."""
MAX_TAGS = 200
"""Properties of one feature."""
MAX_TEXT = 4096
"""Characters of a text among the properties; longer ones are cut."""
SHARED_VALUES = 200_000
"""Values that are remembered to be written once; what comes later is written as often as it occurs."""
MAX_NESTING = 16
_PAIR = {2}


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Features in units of the plane. ``ids`` are -1 where there is none; ``tag_counts`` pairs of each feature."""

    shapes: Shapes
    ids: Ints
    tag_counts: Ints
    tag_keys: Ints
    tag_values: Ints


class TagTable:
    """Keys and values of all features, numbered. ``written`` holds the values not yet taken, as fields of a layer.

    Objects among the properties become names with a dot ("classification.name"), arrays JSON text, null nothing.
    """

    def __init__(self) -> None:
        self.keys: dict[str, int] = {}
        self.kinds: dict[str, str] = {}
        self.written: list[bytes] = []
        self._values: dict[tuple[type, Any], int] = {}
        self._count = 0

    def pairs(self, properties: dict[str, Any], keys: list[int], values: list[int]) -> None:
        """Append the pairs of one feature to ``keys`` and ``values``."""
        before = len(keys)
        self._add(properties, "", keys, values, before, 0)

    def _add(
        self, members: dict[str, Any], prefix: str, keys: list[int], values: list[int], before: int, depth: int
    ) -> None:
        for name, content in members.items():
            if content is None or len(keys) - before >= MAX_TAGS:
                continue
            if isinstance(content, dict) and depth < MAX_NESTING:
                self._add(cast("dict[str, Any]", content), f"{prefix}{name}.", keys, values, before, depth + 1)
                continue
            if not isinstance(content, str | int | float):
                content = _json(content)
            key = self._key(f"{prefix}{name}" if prefix else name, content)
            if key >= 0:
                keys.append(key)
                values.append(self._value(content))

    def _key(self, name: str, content: object) -> int:
        name = name if len(name) <= MAX_KEY else name[:MAX_KEY]
        found = self.keys.get(name)
        if found is None:
            if len(self.keys) >= MAX_KEYS:
                return -1
            found = self.keys.setdefault(name, len(self.keys))
            kind = "Boolean" if isinstance(content, bool) else "String" if isinstance(content, str) else "Number"
            self.kinds.setdefault(name, kind)
        return found

    def _value(self, content: str | float) -> int:
        if isinstance(content, str) and len(content) > MAX_TEXT:
            content = content[:MAX_TEXT]
        known = (content.__class__, content)
        found = self._values.get(known)
        if found is None:
            found = self._count
            self._count += 1
            self.written.append(value(content))
            if len(self._values) < SHARED_VALUES:
                self._values[known] = found
        return found

    def take(self) -> list[bytes]:
        """The values that came since the last time."""
        taken, self.written = self.written, []
        return taken


class Collector:
    """Takes features one by one, gives them as a ``Batch``. ``skipped`` counts those without usable geometry."""

    def __init__(self, table: TagTable, plane: Plane) -> None:
        self.skipped = 0
        self.plane: Plane = plane
        self._table = table
        self._number = 0
        self._clear()

    def _clear(self) -> None:
        self._flat: list[float] = []
        self._counts: list[int] = []
        self._roles: list[int] = []
        self._parts: list[int] = []
        self._ids: list[int] = []
        self._tag_counts: list[int] = []
        self._keys: list[int] = []
        self._values: list[int] = []

    def add(self, feature: Any) -> None:
        """One element of ``features``. Raises CorruptData naming the feature."""
        self._number += 1
        if not isinstance(feature, dict):
            raise CorruptData(f"Feature {self._number} is no JSON object")
        members = cast("dict[str, Any]", feature)
        geometry = members.get("geometry")
        try:
            counts = [] if geometry is None else self._geometries(geometry)
            for parts in counts:
                self._finish(members, parts)
            self.skipped += not counts
        except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
            raise CorruptData(f"Feature {self._number} has coordinates that are none") from error

    def _geometries(self, geometry: Any) -> list[int]:
        """Append the parts of a geometry; for each kind of part (points, lines, polygons) how many there are.

        A collection of several kinds becomes as many features.
        """
        found: dict[int, list[tuple[list[Any], int]]] = {}
        self._walk(geometry, found, 0)
        counts: list[int] = []
        for kind in sorted(found):
            parts = [(positions, role) for positions, role in found[kind] if positions]
            if kind == POINTS and parts:
                parts = [([position for positions, _ in parts for position in positions], POINTS)]
            for positions, role in parts:
                self._part(positions, role)
            if parts:
                counts.append(len(parts))
        return counts

    def _walk(self, geometry: Any, found: dict[int, list[tuple[list[Any], int]]], depth: int) -> None:
        kind = geometry["type"]
        if kind == "GeometryCollection":
            if depth >= MAX_NESTING:
                raise CorruptData(f"Feature {self._number} nests its geometries too deeply")
            for each in geometry["geometries"]:
                self._walk(each, found, depth + 1)
            return
        coordinates = geometry["coordinates"]
        if kind == "Polygon":
            _polygon(coordinates, found)
        elif kind == "MultiPolygon":
            for polygon in coordinates:
                _polygon(polygon, found)
        elif kind == "LineString":
            found.setdefault(LINE, []).append((coordinates, LINE))
        elif kind == "MultiLineString":
            found.setdefault(LINE, []).extend((line, LINE) for line in coordinates)
        elif kind in {"Point", "MultiPoint"}:
            positions = [coordinates] if kind == "Point" and coordinates else coordinates
            found.setdefault(POINTS, []).append((positions, POINTS))
        else:
            known = kind if kind in GEOJSON_TYPES else "unknown"
            raise CorruptData(f"Feature {self._number} has a geometry of an impossible type ({known})")

    def _part(self, positions: list[Any], role: int) -> None:
        if set(map(len, positions)) != _PAIR:  # heights are allowed, and of no use here
            positions = [(position[0], position[1]) for position in positions]
        self._flat.extend(chain.from_iterable(positions))
        self._counts.append(len(positions))
        self._roles.append(role)

    def _finish(self, feature: dict[str, Any], parts: int) -> None:
        self._parts.append(parts)
        properties: Any = feature.get("properties")
        properties = cast("dict[str, Any]", properties) if isinstance(properties, dict) else {}
        identity: Any = feature.get("id")
        number = identity if type(identity) is int and 0 <= identity < 1 << 63 else -1
        self._ids.append(number)
        if number < 0 and isinstance(identity, str | int | float) and "id" not in properties:
            properties = {"id": identity, **properties}
        before = len(self._keys)
        self._table.pairs(properties, self._keys, self._values)
        self._tag_counts.append(len(self._keys) - before)

    def take(self) -> Batch:
        """The features that came since the last time. Raises CorruptData, OtherPlaneError."""
        try:
            points = np.array(self._flat, np.float64).reshape(-1, 2)
        except (TypeError, ValueError, OverflowError) as error:
            raise CorruptData(f"One of the features up to {self._number} has coordinates that are none") from error
        counts = np.array(self._counts, np.int64)
        parts = np.array(self._parts, np.int64)
        features = np.repeat(np.arange(len(parts)), parts)
        shapes = Shapes(to_plane(points, self.plane), counts, np.array(self._roles, np.uint8), features)
        tag_counts = np.array(self._tag_counts, np.int64)
        pairs = np.array([self._keys, self._values], np.int64)
        ids = np.array(self._ids, np.int64)
        self._clear()
        batch = Batch(shapes, ids, tag_counts, pairs[0], pairs[1])
        batch = self._within(batch)
        shapes = _open_rings(Shapes(to_units(batch.shapes.points), *_rest(batch.shapes)))
        return Batch(shapes, batch.ids, batch.tag_counts, batch.tag_keys, batch.tag_values)

    def _within(self, batch: Batch) -> Batch:
        """Without the features that have a coordinate beyond all slides, or none."""
        shapes = batch.shapes
        with np.errstate(invalid="ignore"):
            good = (np.abs(shapes.points) <= MAX_PX).all(axis=1)
        if bool(good.all()):
            return batch
        bad_points = np.flatnonzero(~good)
        of_point = np.repeat(shapes.features, shapes.counts)
        keep = np.ones(len(batch.ids), bool)
        keep[of_point[bad_points]] = False
        self.skipped += int((~keep).sum())
        renumbered = np.cumsum(keep) - 1
        taken = shapes.take(np.flatnonzero(keep[shapes.features]))
        pairs = ranges(begins(batch.tag_counts)[keep], batch.tag_counts[keep])
        return Batch(
            Shapes(taken.points, taken.counts, taken.roles, renumbered[taken.features]),
            batch.ids[keep],
            batch.tag_counts[keep],
            batch.tag_keys[pairs],
            batch.tag_values[pairs],
        )


def _polygon(rings: Any, found: dict[int, list[tuple[list[Any], int]]]) -> None:
    for number, ring in enumerate(rings):
        if not ring and number == 0:
            return  # holes of nothing
        found.setdefault(EXTERIOR, []).append((ring, INTERIOR if number else EXTERIOR))


def _open_rings(shapes: Shapes) -> Shapes:
    """Rings without the repeated first point at their end."""
    starts = shapes.starts
    last = starts + shapes.counts - 1
    repeated = (shapes.roles >= EXTERIOR) & (shapes.counts > 1)
    repeated &= (shapes.points[starts] == shapes.points[last]).all(axis=1)
    keep = np.ones(len(shapes.points), bool)
    keep[last[repeated]] = False
    return Shapes(shapes.points[keep], shapes.counts - repeated, shapes.roles, shapes.features)


def _rest(shapes: Shapes) -> tuple[Ints, Any, Ints]:
    return shapes.counts, shapes.roles, shapes.features


def _json(content: Any) -> str:
    import orjson

    try:
        return orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS).decode()[:MAX_TEXT]
    except (TypeError, ValueError, RecursionError):
        return ""
