"""Segmentations: how their segments are shown, and what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from microtome.errors import NotFound
from microtome.scene.calls.edit import (
    ListSegmentations,
    MeasureSegments,
    Segment,
    Segmentation,
    SegmentStatistics,
    UpdateSegment,
    UpdateSegmentation,
)
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.arrays import labelmap_of, to_world, volume_of
from microtome.scene.mrml.edit.values import channels, hexadecimal, name_of, node_of, share
from microtome.scene.mrml.shown import LABELMAP, nodes_of
from microtome.scene.mrml.slices import volume_node
from microtome.scene.slices.sampler import Volume, at

_CLASS = "vtkMRMLSegmentationNode"
_SURFACE = "Closed surface"
_BAND = 1 << 20
_ML = 1000.0  # mm^3


def list_segmentations(application: Application, _: ListSegmentations) -> list[Segmentation]:
    """All of them."""
    return [_told(node) for node in nodes_of(application.scene, _CLASS)]


def update_segmentation(application: Application, call: UpdateSegmentation) -> Segmentation:
    """Show one, or not."""
    node = node_of(application, call.id, _CLASS, "segmentation")
    name = None if call.name is None else name_of(call.name)
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


def measure_segments(application: Application, call: MeasureSegments) -> list[SegmentStatistics]:
    """Volumes of the segments, and the values of a volume in them."""
    node = node_of(application, call.id, _CLASS, "segmentation")
    volume = None if call.volume is None else volume_of(volume_node(application, call.volume))
    return [_measured(*each, volume) for each in _labelmaps(node)]


def _labelmaps(node: Any) -> Iterator[tuple[str, Any, Volume | None]]:
    segmentation, world = node.GetSegmentation(), to_world(node)
    segmentation.CreateRepresentation(LABELMAP)
    for index in range(segmentation.GetNumberOfSegments()):
        segment_id = segmentation.GetNthSegmentID(index)
        segment = segmentation.GetSegment(segment_id)
        yield (
            segment_id,
            segment,
            labelmap_of(segment.GetRepresentation(LABELMAP), np.eye(4) if world is None else world),
        )


def _measured(segment_id: str, segment: Any, labelmap: Volume | None, volume: Volume | None) -> SegmentStatistics:
    plain = SegmentStatistics(id=segment_id, name=segment.GetName(), voxels=0, volume_ml=0.0)
    if labelmap is None:
        return plain
    inside = np.flatnonzero(labelmap.array.reshape(-1) == segment.GetLabelValue())
    cell = abs(float(np.linalg.det(labelmap.ijk_to_ras[:3, :3])))
    values = None if volume is None or not inside.size else _values(labelmap, inside, volume)
    known = values is not None and values.size > 0
    return SegmentStatistics(
        id=segment_id,
        name=segment.GetName(),
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
