"""Microscopy bulk simple annotations (PS3.3 §A.87, §C.37.1): groups of points, lines and areas by the million.

The header tells which groups there are. Coordinates and measurements are large values, which are written into files
beside the index and mapped: neither is held in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from microtome.dicom.dataset import Bulk, Dataset
from microtome.dicom.overlays.codes import CONCEPT_NAME, distinct, meaning, recommended_color
from microtome.dicom.overlays.limits import DEFAULT_LIMITS, OverlayLimits
from microtome.dicom.overlays.plane import Affine, applied
from microtome.errors import CorruptData, LimitExceeded
from microtome.formats.vector.arrays import EXTERIOR, LINE, POINTS, Ints, Shapes, begins
from microtome.formats.vector.encode import value
from microtome.formats.vector.geojson.collect import Batch
from microtome.formats.vector.geojson.plane import MAX_PX, to_units

ANNOTATIONS = "1.2.840.10008.5.1.4.1.1.91.1"
"""SOP class of Microscopy Bulk Simple Annotations."""
MOST_GROUPS = 1000
MOST_MEASUREMENTS = 50

_GROUPS = 0x006A_0002
_NUMBER, _LABEL, _DESCRIPTION = 0x0040_A180, 0x006A_0005, 0x006A_0006
_CATEGORY, _TYPE = 0x006A_0009, 0x006A_000A
_COUNT, _GRAPHIC_TYPE = 0x006A_000C, 0x0070_0023
_COORDINATES, _FLOATS, _DOUBLES = 0x006A_0001, 0x0066_0016, 0x0066_0022
_COMMON_Z, _STARTS = 0x006A_0010, 0x0066_0040
_MEASUREMENTS, _UNITS, _VALUES, _NUMBERS = 0x0066_0121, 0x0040_08EA, 0x0066_0132, 0x0066_0125
_INDICES = 0x006A_0011
_FIXED = {"POINT": 1, "RECTANGLE": 4, "ELLIPSE": 4}
_ROLES = {"POINT": POINTS, "POLYLINE": LINE, "POLYGON": EXTERIOR, "RECTANGLE": EXTERIOR, "ELLIPSE": EXTERIOR}
_AROUND = 32
"""Corners an ellipse is drawn with."""
_CHUNK = 1 << 15


@dataclass(frozen=True, slots=True)
class Measurement:
    """Something that was measured; ``name`` has the unit in it."""

    name: str
    values: str
    indices: str | None
    """Path of the numbers of the annotations, from 1, the values belong to; None: one for each."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group of annotations of one kind. Names in ``arrays`` are paths of large values (``content.value_at``).

    ``dimensions`` 2 or 3 of a point; ``on_glass``: coordinates are mm in the slide coordinate system, not px.
    """

    number: int
    label: str
    description: str
    kind: str
    category: str
    property_type: str
    color: int
    count: int
    coordinates: str
    double: bool
    starts: str | None
    dimensions: int
    on_glass: bool
    measurements: tuple[Measurement, ...]

    @property
    def arrays(self) -> dict[str, str]:
        """Large values that are needed, and their types."""
        found = {self.coordinates: "<f8" if self.double else "<f4"}
        if self.starts is not None:
            found[self.starts] = "<u4"
        for each in self.measurements:
            found[each.values] = "<f4"
            if each.indices is not None:
                found[each.indices] = "<u4"
        return found


def groups_of(header: Dataset, limits: OverlayLimits = DEFAULT_LIMITS) -> tuple[Group, ...]:
    """The groups that can be drawn. Raises LimitExceeded."""
    items = header.items(_GROUPS)
    if len(items) > MOST_GROUPS:
        raise LimitExceeded(f"More than {MOST_GROUPS} groups of annotations", limit="groups", value=len(items))
    colors = distinct([recommended_color(each) for each in items])
    on_glass = header.string(_COORDINATES) == "3D"
    found = (
        _group(each, f"{_GROUPS:08X}/{place}", color, on_glass, limits.annotations)
        for place, (each, color) in enumerate(zip(items, colors, strict=True), 1)
    )
    return tuple(each for each in found if each is not None)


def _group(item: Dataset, path: str, color: int, on_glass: bool, most: int) -> Group | None:  # noqa: FBT001 - a fact
    kind = item.string(_GRAPHIC_TYPE)
    double = _DOUBLES in item
    coordinates = _DOUBLES if double else _FLOATS
    count = item.whole(_COUNT)
    varying = kind not in _FIXED
    if kind not in _ROLES or coordinates not in item or (varying and _STARTS not in item) or count < 1:
        return None
    if count > most:
        raise LimitExceeded(f"More than {most} annotations in a group", limit="dicom_overlay_annotations", value=count)
    place = int(path.rpartition("/")[2])
    return Group(
        number=item.whole(_NUMBER, place),
        label=item.string(_LABEL),
        description=item.string(_DESCRIPTION),
        kind=kind,
        category=meaning(item, _CATEGORY),
        property_type=meaning(item, _TYPE),
        color=color,
        count=count,
        coordinates=f"{path}/{coordinates:08X}",
        double=double,
        starts=f"{path}/{_STARTS:08X}" if varying else None,
        dimensions=3 if on_glass and _COMMON_Z not in item else 2,
        on_glass=on_glass,
        measurements=tuple(_measurements(item, path)),
    )


def _measurements(item: Dataset, path: str) -> Iterator[Measurement]:
    for place, each in enumerate(item.items(_MEASUREMENTS)[:MOST_MEASUREMENTS], 1):
        values = each.items(_VALUES)
        if len(values) != 1 or not _is_value(values[0], _NUMBERS):
            continue
        at = f"{path}/{_MEASUREMENTS:08X}/{place}/{_VALUES:08X}/1"
        unit = meaning(each, _UNITS)
        name = meaning(each, CONCEPT_NAME) or f"Measurement {place}"
        yield Measurement(
            f"{name} ({unit})" if unit and unit not in {"no units", "1"} else name,
            f"{at}/{_NUMBERS:08X}",
            f"{at}/{_INDICES:08X}" if _is_value(values[0], _INDICES) else None,
        )


def _is_value(item: Dataset, tag: int) -> bool:
    found = item.elements.get(tag)
    return found is not None and isinstance(found.value, (bytes, Bulk))


# -- shapes -----------------------------------------------------------------------------------------------------------

Arrays = Mapping[str, NDArray[Any]]


def batches(group: Group, arrays: Arrays, affine: Affine) -> Iterator[tuple[Batch, list[bytes]]]:
    """The annotations of a group, some at a time, with the fields of their values. Blocks.

    ``affine`` leads from their coordinates to px of the slide. Properties are the measurements, in their order; ids
    are the numbers of the annotations, from 1. Raises CorruptData for an index that is none.
    """
    flat = cast("NDArray[np.float64]", arrays[group.coordinates])
    places, counts = _places(group, arrays, len(flat) // group.dimensions)
    columns = [_column(group, each, arrays) for each in group.measurements]
    used = 0
    for start in range(0, group.count, _CHUNK):
        some = slice(start, min(start + _CHUNK, group.count))
        points = _points(flat, group, places[some], counts[some])
        shapes = _shapes(group, applied(affine, points), counts[some])
        kept = _kept(shapes, len(counts[some]))
        ids = np.arange(some.start, some.stop)[kept] + 1
        batch, values = _with_values(shapes, kept, ids, [column[some][kept] for column in columns], used)
        used += len(values)
        yield batch, values


def _places(group: Group, arrays: Arrays, points: int) -> tuple[Ints, Ints]:
    """The first point of each annotation, and how many it has (PS3.3 §C.37.1.2.1.1)."""
    fixed = _FIXED.get(group.kind)
    if fixed is not None or group.starts is None:
        counts = np.full(group.count, fixed or 1, np.int64)
        places = begins(counts)
    else:
        values = np.asarray(arrays[group.starts], np.int64) - 1  # counts values, not points, from 1
        places = values // group.dimensions
        if len(places) != group.count or bool((values % group.dimensions).any()):
            raise CorruptData("The index of the annotations is none of as many points")
        counts = np.diff(places, append=points)
    if len(places) == 0 or places[0] < 0 or bool((counts < 1).any()) or int(places[-1] + counts[-1]) > points:
        raise CorruptData("The index of the annotations leads out of their coordinates")
    return places, counts


def _points(flat: NDArray[np.float64], group: Group, places: Ints, counts: Ints) -> NDArray[np.float64]:
    first, last = int(places[0]), int(places[-1] + counts[-1])
    whole = np.asarray(flat[first * group.dimensions : last * group.dimensions], np.float64)
    return whole.reshape(-1, group.dimensions)[:, :2]


def _shapes(group: Group, points: NDArray[np.float64], counts: Ints) -> Shapes:
    if group.kind == "ELLIPSE":
        points, counts = _ellipses(points), np.full(len(counts), _AROUND, np.int64)
    roles = np.full(len(counts), _ROLES[group.kind], np.uint8)
    if group.kind == "POLYGON":
        # The first point may be repeated at the end.
        starts = begins(counts)
        again = (counts > 1) & (points[starts] == points[starts + counts - 1]).all(axis=1)
        keep = np.ones(len(points), bool)
        keep[(starts + counts - 1)[again]] = False
        points, counts = points[keep], counts - again
    return Shapes(points, counts, roles, np.arange(len(counts)))


def _ellipses(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Outlines of ellipses given by both ends of both axes (PS3.3 §C.10.5.1.2)."""
    ends = points.reshape(-1, 4, 2)
    angles = np.arange(_AROUND) * (2 * np.pi / _AROUND)
    with np.errstate(invalid="ignore", over="ignore"):
        middle = ends.mean(axis=1)[:, None]
        long, short = (ends[:, 1] - ends[:, 0])[:, None] / 2, (ends[:, 3] - ends[:, 2])[:, None] / 2
        return (middle + long * np.cos(angles)[:, None] + short * np.sin(angles)[:, None]).reshape(-1, 2)


def _kept(shapes: Shapes, number: int) -> NDArray[np.bool_]:
    """Which annotations have places that can be."""
    with np.errstate(invalid="ignore", over="ignore"):
        bad = ~(np.abs(shapes.points) <= MAX_PX).all(axis=1)
    kept = np.ones(number, bool)
    kept[np.repeat(shapes.features, shapes.counts)[bad]] = False
    return kept


def _with_values(
    shapes: Shapes, kept: NDArray[np.bool_], ids: Ints, columns: Sequence[NDArray[np.float32]], used: int
) -> tuple[Batch, list[bytes]]:
    taken = shapes.take(np.flatnonzero(kept))
    table = np.stack(columns, axis=1) if columns else np.zeros((len(ids), 0), np.float32)
    there = np.isfinite(table)
    numbers = table[there].astype(np.float64)
    batch = Batch(
        Shapes(to_units(taken.points), taken.counts, taken.roles, np.arange(len(ids))),
        ids,
        there.sum(axis=1).astype(np.int64),
        np.nonzero(there)[1],
        used + np.arange(len(numbers)),
    )
    return batch, [value(float(f"{number:.7g}")) for number in numbers.tolist()]


def _column(group: Group, measurement: Measurement, arrays: Arrays) -> NDArray[np.float32]:
    """A value for each annotation, NaN for those without one."""
    values = cast("NDArray[np.float32]", arrays[measurement.values])
    if measurement.indices is None:
        if len(values) >= group.count:
            return values[: group.count]
        places = np.arange(len(values))
    else:
        places = np.asarray(arrays[measurement.indices], np.int64) - 1
        if len(places) != len(values) or bool(((places < 0) | (places >= group.count)).any()):
            raise CorruptData(f"The values of {measurement.name[:64]} belong to annotations that do not exist")
    column = np.full(group.count, np.nan, np.float32)
    column[places] = values[: len(places)]
    return column


__all__ = ["ANNOTATIONS", "Group", "Measurement", "batches", "groups_of"]
