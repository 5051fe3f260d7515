"""What lies over a slice view: segments, models, markups and other slices, taken out of the scene."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from microtome.scene.mrml.application import Application
from microtome.scene.mrml.arrays import (
    bent_places,
    color,
    geometry_of,
    labelmap_of,
    matrix_of,
    nodes_of,
    pixel_places,
    points_of,
    to_world,
)
from microtome.scene.mrml.library import slicer, vtk, vtk_math
from microtome.scene.slices.cutting import Mesh, box
from microtome.scene.slices.geometry import SliceGeometry
from microtome.scene.slices.overlay import Cut, Markup, Overlay, Segment, Surface
from microtome.scene.slices.sampler import Volume

LABELMAP, CLOSED_SURFACE = "Binary labelmap", "Closed surface"
_DEFINED = 2  # vtkMRMLMarkupsNode::PositionDefined


class Overlays:
    """Collects what lies over one view. ``note``: told of every state that the picture depends on."""

    def __init__(self, application: Application, view: str, note: Callable[..., None]) -> None:
        self._application = application
        self._scene = application.scene
        self._view = view
        self._view_id: str = application.slice_logics[view].GetSliceNode().GetID()
        self._note = note

    def take(self, geometry: SliceGeometry, kinds: frozenset[str], thickness: float) -> Overlay:
        """Those of some kinds."""
        surfaces = list(self._models()) if "models" in kinds else []
        segments = list(self._segments(geometry, surfaces)) if "segments" in kinds else []
        markups = list(self._markups(surfaces)) if "markups" in kinds else []
        cuts = list(self._cuts()) if "intersections" in kinds else []
        return Overlay(
            tuple(segments), tuple(surfaces), tuple(markups), tuple(cuts),
            orientation="orientation" in kinds, scale="scale" in kinds, thickness=thickness,
        )  # fmt: skip

    def note_node(self, node: Any) -> None:
        """Note a node, and where its transform puts it."""
        self._note(node.GetID(), node.GetMTime())
        transform = node.GetParentTransformNode() if node.IsA("vtkMRMLTransformableNode") else None
        if transform is not None:
            self._note(transform.GetTransformToWorldMTime())

    def _visible(self, display: Any) -> bool:
        """Whether a display node is to be seen in this view."""
        return bool(
            display is not None
            and display.GetVisibility()
            and display.GetVisibility2D()
            and display.IsDisplayableInView(self._view_id)
        )

    def _models(self) -> Iterator[Surface]:
        for node in nodes_of(self._scene, "vtkMRMLModelNode"):
            if node.GetMesh() is None or slicer.vtkMRMLSliceLogic.IsSliceModelNode(node):
                continue
            for index in range(node.GetNumberOfDisplayNodes()):
                display = node.GetNthDisplayNode(index)
                if not self._visible(display):
                    continue
                self.note_node(node)
                self._note(node.GetMesh().GetMTime(), display.GetMTime())
                yield Surface(
                    self._application.derived.mesh(node, node.GetMesh()),
                    _matrix(node),
                    color(display.GetColor()),
                    outline=float(display.GetSliceIntersectionOpacity()) * float(display.GetOpacity()),
                    width=float(display.GetSliceIntersectionThickness()),
                )

    def _segments(self, geometry: SliceGeometry, surfaces: list[Surface]) -> Iterator[Segment]:
        """Segments of labelmaps; surfaces of segments that have nothing else are put to ``surfaces``."""
        for node in nodes_of(self._scene, "vtkMRMLSegmentationNode"):
            display, segmentation = node.GetDisplayNode(), node.GetSegmentation()
            if not self._visible(display):
                continue
            self.note_node(node)
            self._note(display.GetMTime(), segmentation.GetMTime())
            labelmaps: dict[str, tuple[Volume, Any] | None] = {}
            for index in range(segmentation.GetNumberOfSegments()):
                segment_id = segmentation.GetNthSegmentID(index)
                segment = segmentation.GetSegment(segment_id)
                image, surface = segment.GetRepresentation(LABELMAP), segment.GetRepresentation(CLOSED_SURFACE)
                data = surface if image is None else image
                if data is None or not display.GetSegmentVisibility(segment_id):
                    continue
                self._note(segment_id, data.GetMTime(), segment.GetMTime())
                rgb = color(segment.GetColor())
                fill, outline = _opacity(display, segment_id, "2DFill"), _opacity(display, segment_id, "2DOutline")
                if image is None:
                    mesh = self._application.derived.mesh(node, surface, segment_id)
                    surfaces.append(Surface(mesh, _matrix(node), rgb, outline, fill, width=2))
                    continue
                address = image.GetAddressAsString("")
                if address not in labelmaps:
                    labelmaps[address] = _labelmap(node, image, geometry)
                found = labelmaps[address]
                if found is not None:
                    volume, places = found
                    yield Segment(volume, int(segment.GetLabelValue()), rgb, fill, outline, places)

    def _markups(self, surfaces: list[Surface]) -> Iterator[Markup]:
        """Points and lines; planes and regions are put to ``surfaces`` instead."""
        for node in nodes_of(self._scene, "vtkMRMLMarkupsNode"):
            display = node.GetDisplayNode()
            if not self._visible(display):
                continue
            self.note_node(node)
            self._note(display.GetMTime())
            rgb, opacity = color(display.GetSelectedColor()), float(display.GetOpacity())
            area = _area(node)
            if area is not None:
                outline = opacity * float(display.GetOutlineOpacity()) if display.GetOutlineVisibility() else 0.0
                fill = opacity * float(display.GetFillOpacity()) if display.GetFillVisibility() else 0.0
                closed = node.IsA("vtkMRMLMarkupsROINode")
                surfaces.append(Surface(area, np.eye(4), rgb, outline, fill if closed else 0.0, width=2))
                continue  # its points are there to be dragged
            chosen = [
                index
                for index in range(node.GetNumberOfControlPoints())
                if node.GetNthControlPointPositionStatus(index) == _DEFINED and node.GetNthControlPointVisibility(index)
            ]
            points = [node.GetNthControlPointPositionWorld(index) for index in chosen]
            labels = [node.GetNthControlPointLabel(index) for index in chosen]
            path = points_of(node.GetCurvePointsWorld())
            joined = len(path) > 1 and not node.IsA("vtkMRMLMarkupsFiducialNode")
            yield Markup(
                np.array(points, np.float64).reshape(-1, 3),
                tuple(labels) if display.GetPointLabelsVisibility() else ("",) * len(labels),
                rgb,
                np.array(path) if joined else None,
                opacity=opacity,
                text=(node.GetPropertiesLabelText() or "").strip() if display.GetPropertiesLabelVisibility() else "",
                crossings=bool(display.GetLineSliceIntersectionPointVisibility()),
                projected=float(display.GetSliceProjectionOpacity()) if display.GetSliceProjection() else 0.0,
            )

    def _cuts(self) -> Iterator[Cut]:
        """The other slices of the same group of views."""
        own = self._application.slice_logics[self._view].GetSliceNode()
        for name, logic in self._application.slice_logics.items():
            node = logic.GetSliceNode()
            if name != self._view and node.GetViewGroup() == own.GetViewGroup() and node.IsMappedInLayout():
                self._note(name, node.GetMTime())
                yield Cut(geometry_of(node), color(node.GetLayoutColor()))


def _matrix(node: Any) -> Any:
    """From the coordinates of a node to the world; what is bent has been put there before."""
    world = to_world(node)
    return np.eye(4) if world is None else world


def _labelmap(node: Any, image: Any, geometry: SliceGeometry) -> tuple[Volume, Any] | None:
    """A labelmap of a segmentation, and where the pixels lie in it when it is bent."""
    volume = labelmap_of(image, _matrix(node))
    if volume is None:
        return None
    if to_world(node) is not None:
        return volume, None
    columns, rows = geometry.size
    places = bent_places(node, pixel_places(geometry), volume.ijk_to_ras)
    return volume, places.T.reshape(3, rows, columns)


def _area(node: Any) -> Mesh | None:
    """The rectangle of a plane, or the box of a region, in the world."""
    if node.IsA("vtkMRMLMarkupsPlaneNode") and node.GetIsPlaneValid():
        corners = vtk.vtkPoints()
        node.GetPlaneCornerPointsWorld(corners)
        points = points_of(corners)
        return Mesh(points, np.array([(0, 1, 2), (0, 2, 3)])) if len(points) == 4 else None
    if node.IsA("vtkMRMLMarkupsROINode"):
        matrix = vtk_math.vtkMatrix4x4()
        matrix.DeepCopy(node.GetObjectToWorldMatrix())
        size = np.array(node.GetSize())
        return box(matrix_of(matrix), size) if (size > 0).all() else None
    return None


def _opacity(display: Any, segment_id: str, what: str) -> float:
    """Of the fill or outline of a segment, 0 where it is not to be seen."""
    if not (getattr(display, f"GetVisibility{what}")() and getattr(display, f"GetSegmentVisibility{what}")(segment_id)):
        return 0.0
    share = getattr(display, f"GetOpacity{what}")() * getattr(display, f"GetSegmentOpacity{what}")(segment_id)
    return float(share * display.GetOpacity())
