"""Questions that change nodes: markups, segments, transforms, and what every node has. Positions in RAS (mm)."""

from __future__ import annotations

from typing import Literal

import msgspec

from microtome.scene.calls.base import Call

Point = tuple[float, float, float]
MarkupKind = Literal["points", "line", "angle", "curve", "closed_curve", "plane", "roi"]


class Markup(msgspec.Struct, frozen=True, kw_only=True):
    """A list of control points. ``measurements`` by name with their units ("length (mm)": 12.3)."""

    id: str
    name: str
    kind: str
    color: str
    visible: bool
    locked: bool
    points: tuple[Point, ...]
    labels: tuple[str, ...]
    measurements: dict[str, float]


class ListMarkups(Call[list[Markup]], frozen=True, kw_only=True):
    """All markups with their points and measurements."""


class GetMarkup(Call[Markup], frozen=True, kw_only=True):
    """One of the markups."""

    id: str


class CreateMarkup(Call[Markup], frozen=True, kw_only=True):
    """A new markup. ``labels``: of the points, made up where there are none. ``color`` as #rrggbb."""

    kind: MarkupKind = "points"
    name: str = ""
    points: tuple[Point, ...] = ()
    labels: tuple[str, ...] = ()
    color: str | None = None


class UpdateMarkup(Call[Markup], frozen=True, kw_only=True):
    """Change a markup; None leaves it. ``points`` replaces all of them."""

    id: str
    name: str | None = None
    points: tuple[Point, ...] | None = None
    labels: tuple[str, ...] | None = None
    color: str | None = None
    visible: bool | None = None
    locked: bool | None = None


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A segment as it is shown. ``fill`` and ``outline``: opacities in slices, 0 to 1; ``opacity`` in 3D."""

    id: str
    name: str
    color: str
    visible: bool
    fill: float
    outline: float
    opacity: float


class Segmentation(msgspec.Struct, frozen=True, kw_only=True):
    """Segments that belong together. ``surfaces``: whether they are shown in 3D."""

    id: str
    name: str
    visible: bool
    surfaces: bool
    segments: tuple[Segment, ...]


class ListSegmentations(Call[list[Segmentation]], frozen=True, kw_only=True):
    """All segmentations with their segments."""


class UpdateSegmentation(Call[Segmentation], frozen=True, kw_only=True):
    """Change how a segmentation is shown; None leaves it. ``surfaces``: show it in 3D, too."""

    id: str
    visible: bool | None = None
    surfaces: bool | None = None
    name: str | None = None


class UpdateSegment(Call[Segmentation], frozen=True, kw_only=True):
    """Change a segment; None leaves it."""

    id: str
    segment: str
    name: str | None = None
    color: str | None = None
    visible: bool | None = None
    fill: float | None = None
    outline: float | None = None
    opacity: float | None = None


class RemoveSegment(Call[Segmentation], frozen=True, kw_only=True):
    """Take a segment out of its segmentation."""

    id: str
    segment: str


class SegmentStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a segment. Values are those of the volume at the segment's voxels, None without a volume."""

    id: str
    name: str
    voxels: int
    volume_ml: float
    mean: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    deviation: float | None = None


class MeasureSegments(Call[list[SegmentStatistics]], frozen=True, kw_only=True):
    """Measure the segments of a segmentation; with ``volume`` the values of a volume at their voxels, too."""

    id: str
    volume: str | None = None


class Transform(msgspec.Struct, frozen=True, kw_only=True):
    """A transform. ``matrix``: to its parent, 16 numbers row by row; None when it is bent. ``nodes`` are under it."""

    id: str
    name: str
    matrix: tuple[float, ...] | None
    parent: str | None
    nodes: tuple[str, ...]


class ListTransforms(Call[list[Transform]], frozen=True, kw_only=True):
    """All transforms."""


class GetTransform(Call[Transform], frozen=True, kw_only=True):
    """One of the transforms."""

    id: str


class CreateTransform(Call[Transform], frozen=True, kw_only=True):
    """A new linear transform, of a matrix (16 numbers row by row) or one that changes nothing."""

    name: str = ""
    matrix: tuple[float, ...] | None = None


class PutTransform(Call[Transform], frozen=True, kw_only=True):
    """Another matrix for a linear transform."""

    id: str
    matrix: tuple[float, ...]


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """What every node has; None where this one has not."""

    id: str
    name: str
    class_name: str
    visible: bool | None
    color: str | None
    opacity: float | None
    transform: str | None


class GetNode(Call[Node], frozen=True, kw_only=True):
    """A node."""

    id: str


class UpdateNode(Call[Node], frozen=True, kw_only=True):
    """Change a node; None leaves it. ``transform``: put it under this transform, "" under none."""

    id: str
    name: str | None = None
    visible: bool | None = None
    color: str | None = None
    opacity: float | None = None
    transform: str | None = None


class RemoveNode(Call[None], frozen=True, kw_only=True):
    """Take a node out of the scene."""

    id: str


class HardenTransform(Call[Node], frozen=True, kw_only=True):
    """Apply the transforms above a node to its data, for good."""

    id: str
