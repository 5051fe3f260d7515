"""Segmentations over a slide (PS3.3 §A.51, §A.89, §C.8.20): binary, fractional and label maps, tiled full or sparse.

A tile of labels is painted out of the frames it meets; a px shows the segment its middle is in. Of segments over each
other the one that comes last in the file is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from microtome.dicom.dataset import Dataset, LargeSequence
from microtome.dicom.overlays.codes import distinct, meaning, recommended_color
from microtome.dicom.overlays.limits import DEFAULT_LIMITS, OverlayLimits
from microtome.dicom.overlays.plane import Affine, Plane, plane_of
from microtome.dicom.sequences import NOTHING, Items, all_items
from microtome.errors import CorruptData, LimitExceeded
from microtome.formats.vector.arrays import Ints

SEGMENTATION, LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"
"""SOP classes."""
MOST_SEGMENTS = 65535

Kind = Literal["BINARY", "FRACTIONAL", "LABELMAP"]

_TYPE, _MAXIMUM = 0x0062_0001, 0x0062_000E
_SEGMENTS, _NUMBER, _LABEL, _DESCRIPTION = 0x0062_0002, 0x0062_0004, 0x0062_0005, 0x0062_0006
_CATEGORY, _PROPERTY = 0x0062_0003, 0x0062_000F
_IDENTIFICATION, _REFERENCED = 0x0062_000A, 0x0062_000B
_SHARED, _PER_FRAME = 0x5200_9229, 0x5200_9230
_POSITIONS, _COLUMN, _ROW = 0x0048_021A, 0x0048_021E, 0x0048_021F
_ORGANISATION, _PLANES = 0x0020_9311, 0x0048_0303
_ROWS, _COLUMNS, _FRAMES, _PADDING = 0x0028_0010, 0x0028_0011, 0x0028_0008, 0x0028_0120
_DESCRIPTORS, _TABLES = (0x0028_1101, 0x0028_1102, 0x0028_1103), (0x0028_1201, 0x0028_1202, 0x0028_1203)


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment. ``color`` is 0xRRGGBB, another one for each."""

    number: int
    label: str
    description: str
    category: str
    property_type: str
    color: int


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """A segmentation. Of each frame: column and row of its first px in the matrix, from 0, and its segment.

    Frames of label maps have the segment 0. ``full``: the value of a fraction of 1. ``padding``: the value of a label
    map that is no segment, beside 0.
    """

    kind: Kind
    plane: Plane
    segments: tuple[Segment, ...]
    tile: tuple[int, int]
    """Columns and rows of a frame."""
    columns: Ints
    rows: Ints
    of_segment: Ints
    full: int
    padding: int | None

    @property
    def nbytes(self) -> int:
        """What it takes in memory, about."""
        return 24 * len(self.columns) + 500 * len(self.segments)


def segmentation_of(header: Dataset, items: Items = NOTHING, limits: OverlayLimits = DEFAULT_LIMITS) -> Segmentation:
    """What the header of a segmentation of a slide says; ``items`` reads what was too large of it. Blocks.

    Raises CorruptData, LimitExceeded; CorruptData also for one that is not of a total pixel matrix.
    """
    plane = plane_of(header)
    kind = header.string(_TYPE)
    if kind not in {"BINARY", "FRACTIONAL", "LABELMAP"}:
        raise CorruptData(f"A segmentation of the type {kind[:16]!r} is not known")
    frames = header.whole(_FRAMES, 1)
    tile = header.whole(_COLUMNS), header.whole(_ROWS)
    if not 1 <= frames <= limits.frames:
        raise LimitExceeded(
            f"A segmentation of {frames} frames: 1 to {limits.frames}", limit="dicom_overlay_frames", value=frames
        )
    if min(tile) < 1 or max(tile) > 65535:
        raise CorruptData("The frames of the segmentation have no size")
    segments = _segments(header, cast("Kind", kind))
    if header.string(_ORGANISATION) == "TILED_FULL" and not _has_items(header, _PER_FRAME):
        columns, rows, of_segment = _tiled_full(header, plane, tile, frames, segments, label_map=kind == "LABELMAP")
    else:
        columns, rows, of_segment = _tiled_sparse(header, frames, items)
    if kind == "LABELMAP":
        of_segment = np.zeros(frames, np.int64)
    padding = header.whole(_PADDING, -1)
    return Segmentation(
        cast("Kind", kind), plane, segments, tile, columns, rows, of_segment, header.whole(_MAXIMUM, 1) or 1,
        padding if padding > 0 else None,
    )  # fmt: skip


def _segments(header: Dataset, kind: Kind) -> tuple[Segment, ...]:
    items = [each for each in header.items(_SEGMENTS) if kind != "LABELMAP" or each.whole(_NUMBER) > 0]
    if len(items) > MOST_SEGMENTS:
        raise LimitExceeded(f"More than {MOST_SEGMENTS} segments", limit="segments", value=len(items))
    table = _palette(header)
    colors = distinct([_color(each, table) for each in items])
    return tuple(
        Segment(
            each.whole(_NUMBER), each.string(_LABEL), each.string(_DESCRIPTION), meaning(each, _CATEGORY),
            meaning(each, _PROPERTY), color,
        )
        for each, color in zip(items, colors, strict=True)
    )  # fmt: skip


def _color(segment: Dataset, table: Sequence[int] | None) -> int | None:
    number = segment.whole(_NUMBER)
    if table is not None and 0 <= number < len(table):
        return table[number]
    return recommended_color(segment)


def _palette(header: Dataset) -> list[int] | None:
    """The colours of a label map that is a picture, too (PS3.3 §C.7.6.3.1.5), by segment; None when there are none."""
    planes: list[NDArray[np.int64]] = []
    for descriptor, table in zip(_DESCRIPTORS, _TABLES, strict=True):
        told = header.numbers(descriptor)
        element = header.elements.get(table)
        if len(told) != 3 or element is None or not isinstance(element.value, bytes) or told[1] != 0:
            return None
        wide = told[2] == 16
        values = np.frombuffer(element.value[: len(element.value) // 2 * 2], "<u2" if wide else "|u1").astype(np.int64)
        planes.append((values >> 8 if wide else values)[: int(told[0]) or 65536])
    red, green, blue = planes
    length = min(map(len, planes))
    return (red[:length] << 16 | green[:length] << 8 | blue[:length]).tolist()


def _tiled_full(
    header: Dataset, plane: Plane, tile: tuple[int, int], frames: int, segments: Sequence[Segment], *, label_map: bool
) -> tuple[Ints, Ints, Ints]:
    """Columns run fastest, then rows, focal planes, segments (PS3.3 §C.7.6.17.3)."""
    across, down = -(-plane.size.width // tile[0]), -(-plane.size.height // tile[1])
    depth = max(1, header.whole(_PLANES, 1))
    number = np.arange(frames)
    column, rest = number % across, number // across
    row, rest = rest % down, rest // down
    order = rest // depth
    if label_map:
        order = np.zeros(frames, np.int64)
    elif int(order[-1]) >= len(segments):
        raise CorruptData(f"There are frames for more than the {len(segments)} segments")
    numbers = np.array([each.number for each in segments] or [0], np.int64)
    return column * tile[0], row * tile[1], numbers[order]


def _has_items(header: Dataset, tag: int) -> bool:
    element = header.elements.get(tag)
    return element is not None and (isinstance(element.value, LargeSequence) or bool(header.items(tag)))


def _tiled_sparse(header: Dataset, frames: int, items: Items) -> tuple[Ints, Ints, Ints]:
    shared = next(iter(header.items(_SHARED)), Dataset())
    common = _segment_of(shared, 0)
    found = np.zeros((frames, 3), np.int64)
    count = 0
    for number, each in enumerate(all_items(header, _PER_FRAME, items)):
        count = number + 1
        if count > frames:
            break
        positions = each.items(_POSITIONS) or shared.items(_POSITIONS)
        if not positions:
            raise CorruptData(f"Frame {number + 1} of the segmentation does not say where it is")
        found[number] = (positions[0].whole(_COLUMN) - 1, positions[0].whole(_ROW) - 1, _segment_of(each, common))
    if count != frames:
        raise CorruptData(f"{count} of {frames} frames of the segmentation say where they are")
    return found[:, 0], found[:, 1], found[:, 2]


def _segment_of(groups: Dataset, default: int) -> int:
    return next((each.whole(_REFERENCED, default) for each in groups.items(_IDENTIFICATION)), default)


# -- painting ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """Labels to be painted: which px of the matrix is the middle of each column and row, -1 outside of it.

    ``labels`` (rows, columns) are places of segments from 1, 0 for none; ``strength`` how much of one, 0 to 255.
    """

    columns: Ints
    rows: Ints
    labels: NDArray[np.uint16]
    strength: NDArray[np.uint8]

    @classmethod
    def over(cls, plane: Plane, columns: NDArray[np.float64], rows: NDArray[np.float64]) -> Canvas:
        """An empty one; ``columns`` and ``rows`` are places in px of the matrix."""
        shape = len(rows), len(columns)
        return cls(
            _inside(columns, plane.size.width), _inside(rows, plane.size.height),
            np.zeros(shape, np.uint16), np.zeros(shape, np.uint8),
        )  # fmt: skip


def _inside(places: NDArray[np.float64], side: int) -> Ints:
    found = np.floor(places)
    return np.where((found >= 0) & (found < side), found, -1).astype(np.int64)


def is_upright(affine: Affine) -> bool:
    """Whether rows stay rows: nothing else is painted."""
    scale = np.abs(affine[:, :2])
    return bool(max(scale[0, 1], scale[1, 0]) <= 1e-4 * min(scale[0, 0], scale[1, 1]))


def frames_under(found: Segmentation, canvas: Canvas, chosen: frozenset[int] | None) -> Ints:
    """The frames, from 0, that may show on a canvas, in the order in which they are painted."""
    columns, rows = canvas.columns[canvas.columns >= 0], canvas.rows[canvas.rows >= 0]
    if len(columns) == 0 or len(rows) == 0:
        return np.zeros(0, np.int64)
    meets = (found.columns <= columns.max()) & (found.columns + found.tile[0] > columns.min())
    meets &= (found.rows <= rows.max()) & (found.rows + found.tile[1] > rows.min())
    if chosen is not None and found.kind != "LABELMAP":
        meets &= np.isin(found.of_segment, sorted(chosen))
    return np.flatnonzero(meets)


def paint(
    found: Segmentation, canvas: Canvas, frame: int, samples: NDArray[np.generic], chosen: frozenset[int] | None
) -> None:
    """Paint a decoded frame (rows, columns) onto a canvas. ``chosen``: numbers of the segments that are shown."""
    column, row = int(found.columns[frame]), int(found.rows[frame])
    across = np.flatnonzero((canvas.columns >= max(column, 0)) & (canvas.columns < column + samples.shape[1]))
    down = np.flatnonzero((canvas.rows >= max(row, 0)) & (canvas.rows < row + samples.shape[0]))
    if len(across) == 0 or len(down) == 0:
        return
    seen = samples[np.ix_(canvas.rows[down] - row, canvas.columns[across] - column)]
    at = np.ix_(down, across)
    if found.kind == "LABELMAP":
        labels = _places(found, chosen, seen)
        strength = np.where(labels > 0, 255, 0)
    else:
        place = next((p for p, each in enumerate(found.segments, 1) if each.number == found.of_segment[frame]), 0)
        share = seen.astype(np.float64) / (found.full if found.kind == "FRACTIONAL" else 1)
        strength = np.rint(255 * np.clip(share, 0, 1))
        labels = np.where(strength > 0, place, 0)
        strength = strength if place else np.zeros_like(strength)
    there = labels > 0
    canvas.labels[at] = np.where(there, labels, canvas.labels[at])
    canvas.strength[at] = np.where(there, strength, canvas.strength[at])


def _places(found: Segmentation, chosen: frozenset[int] | None, values: NDArray[np.generic]) -> NDArray[np.uint16]:
    """Places of segments out of the values of a label map."""
    table = np.zeros(65536, np.uint16)
    for place, each in enumerate(found.segments, 1):
        if 0 < each.number < 65536 and each.number != found.padding and (chosen is None or each.number in chosen):
            table[each.number] = place
    return table[np.clip(values.astype(np.int64), 0, 65535)]


def colored(found: Segmentation, labels: NDArray[np.uint16], strength: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(rows, columns, 4): red, green, blue and how opaque, not premultiplied."""
    table = np.zeros((len(found.segments) + 1, 3), np.uint8)
    for place, each in enumerate(found.segments, 1):
        table[place] = each.color >> 16 & 255, each.color >> 8 & 255, each.color & 255
    return np.concatenate((table[labels], strength[:, :, None]), axis=2)
