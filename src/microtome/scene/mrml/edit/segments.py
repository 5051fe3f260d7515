"""Segmentations: how their segments are shown, and what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from microtome.errors import InvalidRequest, NotFound
from microtome.scene.answers import Parts, outside
from microtome.scene.calls.edit import (
    ListSegmentations,
    MeasureSegments,
    RemoveSegment,
    Segment,
    Segmentation,
    SegmentStatistics,
    UpdateSegment,
    UpdateSegmentation,
)
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.arrays import labelmap_of, to_world, volume_of
from microtome.scene.mrml.kept import detach
from microtome.scene.mrml.segmentations import LABELMAP, segment_ids, surfaces_of
from microtome.scene.mrml.shown import nodes_of
from microtome.scene.mrml.slices import volume_node
from microtome.scene.mrml.values import channels, hexadecimal, name_of, node_of, share
from microtome.scene.slices.sampler import Volume, at

_CLASS = "vtkMRMLSegmentationNode"
_SURFACE = "Closed surface"
_BAND = 1 << 20
_ML = 1000.0  # mm^3


def list_segmentations(application: Application, _: ListSegmentations) -> list[Segmentation]:
    """All of them."""
    return [_told(node) for node in nodes_of(application.scene, _CLASS)]


def update_segmentation(application: Application, call: UpdateSegmentation) -> Parts[Segmentation]:
    """Show one, or not."""
    node = node_of(application, call.id, _CLASS, "segmentation")
    name = None if call.name is None else name_of(call.name)
    if call.surfaces:
        made = yield from _surfaces(node)
        node = node_of(application, call.id, _CLASS, "segmentation")
        for segment_id, surface in made.items():
            if (segment := node.GetSegmentation().GetSegment(segment_id)) is not None:
                segment.AddRepresentation(_SURFACE, surface)
    node.CreateDefaultDisplayNodes()
    if name is not None:
        node.SetName(name)
    if call.visible is not None:
        node.GetDisplayNode().SetVisibility(call.visible)
    if call.surfaces is not None:
        if call.surfaces:
            node.CreateClosedSurfaceRepresentation()
        node.GetDisplayNode().SetVisibility3D(call.surfaces)
    return _told(node)


def update_segment(application: Application, call: UpdateSegment) -> Segmentation:
    """Change a segment: all of it, or nothing when something of it is wrong."""
    node = node_of(application, call.id, _CLASS, "segmentation")
    node.CreateDefaultDisplayNodes()
    segment, display = node.GetSegmentation().GetSegment(call.segment), node.GetDisplayNode()
    if segment is None:
        raise NotFound("segment", call.segment[:100])
    rgb = None if call.color is None else channels(call.color)
    name = None if call.name is None else name_of(call.name)
    opacities = {
        what: share(value, parameter)
        for what, parameter, value in (
            ("2DFill", "fill", call.fill),
            ("2DOutline", "outline", call.outline),
            ("3D", "opacity", call.opacity),
        )
        if value is not None
    }
    if name is not None:
        segment.SetName(name)
    if rgb is not None:
        segment.SetColor(*rgb)
    if call.visible is not None:
        display.SetSegmentVisibility(call.segment, call.visible)
    for what, value in opacities.items():
        getattr(display, f"SetSegmentOpacity{what}")(call.segment, value)
    return _told(node)


def remove_segment(application: Application, call: RemoveSegment) -> Segmentation:
    """Without one."""
    node = node_of(application, call.id, _CLASS, "segmentation")
    if node.GetSegmentation().GetSegment(call.segment) is None:
        raise NotFound("segment", call.segment[:100])
    detach(node)  # its voxels are wiped out of what it shares with others
    node.GetSegmentation().RemoveSegment(call.segment)
    return _told(node)


def _surfaces(node: Any) -> Parts[dict[str, Any]]:
    """Surfaces of the segments that have none."""
    segmentation = node.GetSegmentation()
    lacking = [each for each in segment_ids(node) if segmentation.GetSegment(each).GetRepresentation(_SURFACE) is None]
    try:
        return (yield from surfaces_of(node, lacking))
    except InvalidRequest:  # as of nothing at all; MRML goes by itself then
        return {}


def measure_segments(application: Application, call: MeasureSegments) -> Parts[list[SegmentStatistics]]:
    """Volumes of the segments, and the values of a volume in them."""
    node = node_of(application, call.id, _CLASS, "segmentation")
    volume = None if call.volume is None else volume_of(volume_node(application, call.volume))
    found = list(_labelmaps(node))
    return (yield from outside(lambda: [_measured(each, volume) for each in found]))


class _Segment(NamedTuple):
    """A segment, and the labelmap in which its voxels have ``value``."""

    id: str
    name: str
    value: int
    labelmap: Volume | None


def _labelmaps(node: Any) -> Iterator[_Segment]:
    segmentation, world = node.GetSegmentation(), to_world(node)
    segmentation.CreateRepresentation(LABELMAP)
    for index in range(segmentation.GetNumberOfSegments()):
        segment_id = segmentation.GetNthSegmentID(index)
        segment = segmentation.GetSegment(segment_id)
        yield _Segment(
            segment_id,
            segment.GetName(),
            segment.GetLabelValue(),
            labelmap_of(segment.GetRepresentation(LABELMAP), np.eye(4) if world is None else world),
        )


def _measured(segment: _Segment, volume: Volume | None) -> SegmentStatistics:
    labelmap = segment.labelmap
    if labelmap is None:
        return SegmentStatistics(id=segment.id, name=segment.name, voxels=0, volume_ml=0.0)
    inside = np.flatnonzero(labelmap.array.reshape(-1) == segment.value)
    cell = abs(float(np.linalg.det(labelmap.ijk_to_ras[:3, :3])))
    values = None if volume is None or not inside.size else _values(labelmap, inside, volume)
    known = values is not None and values.size > 0
    return SegmentStatistics(
        id=segment.id,
        name=segment.name,
        voxels=int(inside.size),
        volume_ml=inside.size * cell / _ML,
        mean=float(values.mean()) if known and values is not None else None,
        minimum=float(values.min()) if known and values is not None else None,
        maximum=float(values.max()) if known and values is not None else None,
        deviation=float(values.std()) if known and values is not None else None,
    )


def _values(labelmap: Volume, inside: np.ndarray[Any, Any], volume: Volume) -> np.ndarray[Any, Any]:
    """The volume's values nearest to the voxels of a segment; voxels outside of the volume have none."""
    to_volume = np.linalg.inv(volume.ijk_to_ras) @ labelmap.ijk_to_ras
    shape = labelmap.array.shape[:3]
    found: list[np.ndarray[Any, Any]] = []
    for begin in range(0, inside.size, _BAND):
        k, j, i = np.unravel_index(inside[begin : begin + _BAND], shape)
        places = np.c_[i, j, k, np.ones(len(i))] @ to_volume[:3].T
        sampled = at(volume.array, places[:, 0], places[:, 1], places[:, 2], linear=False)
        values = sampled.values[..., 0].astype(np.float64)
        found.append(values if sampled.inside is None else values[sampled.inside])
    return np.concatenate(found)


def _told(node: Any) -> Segmentation:
    display, segmentation = node.GetDisplayNode(), node.GetSegmentation()
    segments: list[Segment] = []
    for index in range(segmentation.GetNumberOfSegments()):
        segment_id = segmentation.GetNthSegmentID(index)
        segment = segmentation.GetSegment(segment_id)
        plain = Segment(
            id=segment_id, name=segment.GetName(), color=hexadecimal(segment.GetColor()), visible=False,
            fill=0.0, outline=0.0, opacity=0.0,
        )  # fmt: skip
        if display is not None:
            plain = Segment(
                id=segment_id,
                name=segment.GetName(),
                color=hexadecimal(segment.GetColor()),
                visible=bool(display.GetSegmentVisibility(segment_id)),
                fill=display.GetSegmentOpacity2DFill(segment_id),
                outline=display.GetSegmentOpacity2DOutline(segment_id),
                opacity=display.GetSegmentOpacity3D(segment_id),
            )
        segments.append(plain)
    return Segmentation(
        id=node.GetID(),
        name=node.GetName() or "",
        visible=bool(display is not None and display.GetVisibility()),
        surfaces=bool(
            display is not None and display.GetVisibility3D() and segmentation.ContainsRepresentation(_SURFACE)
        ),
        segments=tuple(segments),
    )
