"""What a slice view shows, taken out of the scene so that it can be drawn outside of the scene's thread."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microtome.scene.mrml.application import Application
from microtome.scene.mrml.arrays import (
    array_of,
    bent_places,
    color,
    geometry_of,
    matrix_of,
    nodes_of,
    pixel_places,
    to_world,
    volume_of,
)
from microtome.scene.mrml.library import vtk_math
from microtome.scene.mrml.overlays import Overlays
from microtome.scene.slices.display import Bytes, Layer, Window
from microtome.scene.slices.geometry import SliceGeometry
from microtome.scene.slices.picture import Slice
from microtome.scene.slices.sampler import Volume

__all__ = ["Snapshot", "color", "geometry_of", "label_colors", "nodes_of", "window_colors"]
_TABLE = 256
_MAX_COLORS = 1 << 16


class Snapshot:
    """Collects what a view shows, and of which state it is."""

    def __init__(self, application: Application, view: str) -> None:
        self._scene = application.scene
        self._application = application
        self._view = view
        self._digest = hashlib.blake2b(f"{application.started}".encode(), digest_size=12)
        self._overlays = Overlays(application, view, self._note)

    def take(self, geometry: SliceGeometry, overlay: Sequence[str]) -> Slice:
        """The slice with its layers and those overlays that are asked for."""
        layers = tuple(self._layers(geometry))
        thickness = layers[0].volume.spacing_along(geometry.normal) if layers else 1.0
        self._note(sorted(overlay))
        found = self._overlays.take(geometry, frozenset(overlay), max(thickness, 1e-3))
        return Slice(geometry, layers, found, self._digest.hexdigest())

    def _note(self, *state: object) -> None:
        self._digest.update(repr(state).encode())

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
        display: Any = node.GetDisplayNode()
        if display is None:
            return None
        volume = self._volume(node, display)
        if volume is None:
            return None
        self._overlays.note_node(node)
        self._note(node.GetImageData().GetMTime(), display.GetMTime())
        places = None
        if to_world(node) is None:
            columns, rows = geometry.size
            matrix = vtk_math.vtkMatrix4x4()
            node.GetIJKToRASMatrix(matrix)
            places = bent_places(node, pixel_places(geometry), matrix_of(matrix)).T.reshape(3, rows, columns)
        if node.IsA("vtkMRMLLabelMapVolumeNode"):
            return Layer(
                volume, colors=label_colors(display), labels=True, opacity=opacity, outline=outline, places=places
            )
        colors = volume.array.shape[3] >= 3
        return Layer(
            volume,
            window=_window(node, display, volume),
            colors=None if colors else window_colors(display),
            linear=bool(display.GetInterpolate()),
            threshold=(display.GetLowerThreshold(), display.GetUpperThreshold())
            if display.GetApplyThreshold()
            else None,
            opacity=opacity,
            places=places,
        )

    def _volume(self, node: Any, display: Any) -> Volume | None:
        """The voxels as they are shown: one component, or colours.

        Of a diffusion weighted volume the component that is chosen; of tensors what the display node measures; of
        vectors the first three numbers as red, green and blue, as 3D Slicer has it, and the length of those of two.
        """
        if node.IsA("vtkMRMLDiffusionTensorVolumeNode"):
            return self._tensors(node, display)
        volume = volume_of(node)
        if volume is None or node.IsA("vtkMRMLLabelMapVolumeNode"):
            return volume
        array, components = volume.array, volume.array.shape[3]
        if node.IsA("vtkMRMLDiffusionWeightedVolumeNode"):
            chosen = min(max(display.GetDiffusionComponent(), 0), components - 1)
            array = array[..., chosen : chosen + 1]
        elif node.IsA("vtkMRMLVectorVolumeNode"):
            if components == 2:
                array = np.hypot(*np.moveaxis(array.astype(np.float32), 3, 0))[..., None]
            elif components > 4 or (components == 4 and array.dtype != np.uint8):
                array = array[..., :3]
        elif components > 1:
            array = array[..., :1]
        return Volume(array, volume.ijk_to_ras)

    def _tensors(self, node: Any, display: Any) -> Volume | None:
        image = node.GetImageData()
        if image is None or image.GetPointData().GetTensors() is None:
            return None
        array = array_of(self._application.derived.invariant(node, display.GetScalarInvariant()))
        if array is None:
            return None
        matrix = vtk_math.vtkMatrix4x4()
        node.GetIJKToRASMatrix(matrix)
        world = to_world(node)
        return Volume(
            array[..., :3] if array.shape[3] > 3 else array,
            matrix_of(matrix) if world is None else world @ matrix_of(matrix),
        )


def _window(node: Any, display: Any, volume: Volume) -> Window | None:
    """None for colours of 8 bits that nobody has changed: photographs and slides keep their colours."""
    colors = volume.array.shape[3] >= 3 and volume.array.dtype == np.uint8
    if colors and (display.GetAutoWindowLevel() or node.IsA("vtkMRMLDiffusionTensorVolumeNode")):
        return None
    return Window(display.GetWindow(), display.GetLevel())


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
