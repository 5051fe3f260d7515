"""What a slice view shows, taken out of the scene so that it can be drawn outside of the scene's thread."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microtome.scene.mrml.application import Application
from microtome.scene.mrml.arrays import bent_places, labelmap_of, matrix_of, points_of, to_world, volume_of
from microtome.scene.slices.display import Bytes, Layer, Window
from microtome.scene.slices.geometry import SliceGeometry
from microtome.scene.slices.overlay import Color, Cut, Markup, Overlay, Segment
from microtome.scene.slices.picture import Slice
from microtome.scene.slices.sampler import Volume

LABELMAP = "Binary labelmap"
_DEFINED = 2  # vtkMRMLMarkupsNode::PositionDefined
_TABLE = 256
_MAX_COLORS = 1 << 16


class Snapshot:
    """Collects what a view shows, and of which state it is."""

    def __init__(self, application: Application, view: str) -> None:
        self._scene = application.scene
        self._application = application
        self._view = view
        self._digest = hashlib.blake2b(f"{application.started}".encode(), digest_size=12)

    def take(self, geometry: SliceGeometry, overlay: Sequence[str]) -> Slice:
        """The slice with its layers and those overlays that are asked for."""
        layers = tuple(self._layers(geometry))
        segments = tuple(self._segments()) if "segments" in overlay else ()
        markups = tuple(self._markups()) if "markups" in overlay else ()
        cuts = tuple(self._cuts()) if "intersections" in overlay else ()
        thickness = layers[0].volume.spacing_along(geometry.normal) if layers else 1.0
        self._note(sorted(overlay))
        return Slice(
            geometry,
            layers,
            Overlay(segments, markups, cuts, "orientation" in overlay, "scale" in overlay, max(thickness, 1e-3)),
            self._digest.hexdigest(),
        )

    def _note(self, *state: object) -> None:
        self._digest.update(repr(state).encode())

    def _note_node(self, node: Any) -> None:
        self._note(node.GetID(), node.GetMTime())
        transform = node.GetParentTransformNode() if node.IsA("vtkMRMLTransformableNode") else None
        if transform is not None:
            self._note(transform.GetTransformToWorldMTime())

    def _layers(self, geometry: SliceGeometry) -> Iterator[Layer]:
        composite = self._application.slice_logics[self._view].GetSliceCompositeNode()
        outline = bool(self._application.slice_logics[self._view].GetSliceNode().GetUseLabelOutline())
        for node_id, opacity in (
            (composite.GetBackgroundVolumeID(), 1.0),
            (composite.GetForegroundVolumeID(), composite.GetForegroundOpacity()),
            (composite.GetLabelVolumeID(), composite.GetLabelOpacity()),
        ):
            node = self._scene.GetNodeByID(node_id) if node_id else None
            self._note(node_id, opacity, outline)
            if node is not None and (layer := self._layer(node, opacity, geometry, outline=outline)) is not None:
                yield layer

    def _layer(self, node: Any, opacity: float, geometry: SliceGeometry, *, outline: bool) -> Layer | None:
        volume, display = volume_of(node), node.GetDisplayNode()
        if volume is None or display is None:
            return None
        self._note_node(node)
        self._note(node.GetImageData().GetMTime(), display.GetMTime())
        places = None
        if to_world(node) is None:
            places = _places(node, geometry)
        if node.IsA("vtkMRMLLabelMapVolumeNode"):
            return Layer(
                volume, colors=label_colors(display), labels=True, opacity=opacity, outline=outline, places=places
            )
        components = volume.array.shape[3]
        if node.IsA("vtkMRMLDiffusionWeightedVolumeNode"):
            chosen = min(max(display.GetDiffusionComponent(), 0), components - 1)
            volume = Volume(volume.array[..., chosen : chosen + 1], volume.ijk_to_ras)
        elif components > 1 and (components not in {3, 4} or not node.IsA("vtkMRMLVectorVolumeNode")):
            volume = Volume(volume.array[..., :1], volume.ijk_to_ras)
        colors = volume.array.shape[3] >= 3
        return Layer(
            volume,
            window=None
            if colors and volume.array.dtype == np.uint8
            else Window(display.GetWindow(), display.GetLevel()),
            colors=None if colors else window_colors(display),
            linear=bool(display.GetInterpolate()),
            threshold=(display.GetLowerThreshold(), display.GetUpperThreshold())
            if display.GetApplyThreshold()
            else None,
            opacity=opacity,
            places=places,
        )

    def _segments(self) -> Iterator[Segment]:
        for node in nodes_of(self._scene, "vtkMRMLSegmentationNode"):
            display, segmentation = node.GetDisplayNode(), node.GetSegmentation()
            if display is None or not display.GetVisibility():
                continue
            self._note_node(node)
            self._note(display.GetMTime(), segmentation.GetMTime())
            world = to_world(node)
            labelmaps: dict[int, Volume | None] = {}
            for index in range(segmentation.GetNumberOfSegments()):
                segment_id = segmentation.GetNthSegmentID(index)
                segment = segmentation.GetSegment(segment_id)
                image = segment.GetRepresentation(LABELMAP) or _converted(segmentation, segment)
                if image is None or not display.GetSegmentVisibility(segment_id):
                    continue
                self._note(segment_id, image.GetMTime(), segment.GetMTime())
                address = id(image)
                if address not in labelmaps:
                    labelmaps[address] = labelmap_of(image, np.eye(4) if world is None else world)
                volume = labelmaps[address]
                if volume is not None:
                    yield Segment(
                        volume,
                        int(segment.GetLabelValue()),
                        color(segment.GetColor()),
                        fill=_opacity(display, segment_id, "2DFill"),
                        outline=_opacity(display, segment_id, "2DOutline"),
                    )

    def _markups(self) -> Iterator[Markup]:
        for node in nodes_of(self._scene, "vtkMRMLMarkupsNode"):
            display = node.GetDisplayNode()
            if display is None or not display.GetVisibility():
                continue
            self._note_node(node)
            self._note(display.GetMTime())
            chosen = [
                index
                for index in range(node.GetNumberOfControlPoints())
                if node.GetNthControlPointPositionStatus(index) == _DEFINED and node.GetNthControlPointVisibility(index)
            ]
            points = [node.GetNthControlPointPositionWorld(index) for index in chosen]
            labels = [node.GetNthControlPointLabel(index) for index in chosen]
            path = points_of(node.GetCurvePointsWorld())
            yield Markup(
                np.array(points, np.float64).reshape(-1, 3),
                tuple(labels) if display.GetPointLabelsVisibility() else ("",) * len(labels),
                color(display.GetSelectedColor()),
                path if len(path) and not node.IsA("vtkMRMLMarkupsFiducialNode") else None,
            )

    def _cuts(self) -> Iterator[Cut]:
        for name, logic in self._application.slice_logics.items():
            if name != self._view:
                node = logic.GetSliceNode()
                self._note(name, node.GetMTime())
                yield Cut(geometry_of(node), color(node.GetLayoutColor()))


def geometry_of(node: Any, size: tuple[int, int] | None = None) -> SliceGeometry:
    """Where a slice node lies. Of another ``size`` the field of view grows so that all of the node's is in it."""
    across, up, _ = node.GetFieldOfView()
    own = node.GetDimensions()[:2]
    size = (int(own[0]), int(own[1])) if size is None else size
    pitch = max(across / size[0], up / size[1])
    x, y, _ = node.GetXYZOrigin()
    return SliceGeometry(matrix_of(node.GetSliceToRAS()), (pitch * size[0], pitch * size[1]), size, (x, y))


def nodes_of(scene: Any, class_name: str) -> Iterator[Any]:
    """The nodes of a class, subclasses too."""
    found = scene.GetNodesByClass(class_name)
    found.UnRegister(None)
    for index in range(found.GetNumberOfItems()):
        yield found.GetItemAsObject(index)


def color(channels: Sequence[float]) -> Color:
    """Three channels from 0 to 1 as bytes."""
    red, green, blue = (min(255, max(0, round(channel * 255))) for channel in channels[:3])
    return red, green, blue


def window_colors(display: Any) -> Bytes | None:
    """The 256 colours a window is spread over (RGBA); None for the grey ramp."""
    node = display.GetColorNode()
    if node is None or node.GetID() == "vtkMRMLColorTableNodeGrey":
        return None
    table, count = node.GetLookupTable(), int(node.GetNumberOfColors())
    if table is not None and count > 0:
        count = min(count, _MAX_COLORS)
        # vtkLookupTable over 0 to 255: as many colours as there are, the last one at 255
        return _table(table, np.minimum(np.arange(_TABLE) * count // (_TABLE - 1), count - 1))
    function = node.GetColorTransferFunction() if hasattr(node, "GetColorTransferFunction") else None
    if function is None:
        return None
    low, high = function.GetRange()
    colors = np.full((_TABLE, 4), 255, np.uint8)
    for index in range(_TABLE):
        colors[index, :3] = color(function.GetColor(low + (high - low) * index / (_TABLE - 1)))
    return colors


def label_colors(display: Any) -> Bytes | None:
    """The colours of labels by number (RGBA)."""
    node = display.GetColorNode()
    if node is None or node.GetLookupTable() is None:
        return None
    return _table(node.GetLookupTable(), np.arange(min(int(node.GetNumberOfColors()), _MAX_COLORS)))


def _table(table: Any, indices: NDArray[np.intp]) -> Bytes:
    colors = np.zeros((len(indices), 4), np.uint8)
    for place, index in enumerate(indices):
        channels = table.GetTableValue(int(index))
        colors[place] = [min(255, max(0, round(channel * 255))) for channel in channels]
    return colors


def _opacity(display: Any, segment_id: str, what: str) -> float:
    """Of the fill or outline of a segment, 0 where it is not to be seen."""
    if not (getattr(display, f"GetVisibility{what}")() and getattr(display, f"GetSegmentVisibility{what}")(segment_id)):
        return 0.0
    share = getattr(display, f"GetOpacity{what}")() * getattr(display, f"GetSegmentOpacity{what}")(segment_id)
    return float(share * display.GetOpacity())


def _converted(segmentation: Any, segment: Any) -> Any:
    """The labelmap of a segment that came as a surface, made once."""
    segmentation.CreateRepresentation(LABELMAP)
    return segment.GetRepresentation(LABELMAP)


def _places(node: Any, geometry: SliceGeometry) -> Any:
    columns, rows = geometry.size
    x, y = np.meshgrid(np.arange(columns, dtype=float), np.arange(rows, dtype=float))
    flat = np.c_[x.ravel(), y.ravel(), np.zeros(x.size), np.ones(x.size)] @ geometry.rows_to_ras()[:3].T
    return bent_places(node, flat).T.reshape(3, rows, columns)
