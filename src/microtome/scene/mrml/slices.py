"""Slice views: where they are, what they show, their pictures."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from microtome.errors import InvalidRequest, NotFound
from microtome.scene.answers import Later
from microtome.scene.calls.base import Picture
from microtome.scene.calls.slices import (
    Display,
    GetDisplay,
    GetSlice,
    MoveSlice,
    RenderSlice,
    SetDisplay,
    SetLayers,
    SliceInfo,
    SliceMove,
)
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.arrays import matrix_of, volume_of, vtk_matrix
from microtome.scene.mrml.shown import Snapshot, geometry_of
from microtome.scene.mrml.values import FARTHEST, finite, place, share
from microtome.scene.mrml.views import slice_name
from microtome.scene.slices.geometry import SliceGeometry, along, orientation_of
from microtome.scene.slices.overlay import KINDS
from microtome.scene.slices.picture import check_format, check_size, pictured, version_of

ORIENTATIONS = {"axial": "Axial", "sagittal": "Sagittal", "coronal": "Coronal"}
PRESETS = {
    "CT-Abdomen": (350.0, 40.0),
    "CT-Air": (1000.0, -426.0),
    "CT-Bone": (1000.0, 400.0),
    "CT-Brain": (100.0, 50.0),
    "CT-Liver": (150.0, 80.0),
    "CT-Lung": (1400.0, -500.0),
    "CT-Mediastinum": (400.0, 40.0),
    "PET": (10000.0, 6000.0),
}
"""Window and level for a kind of tissue, in the units of the modality (HU, Bq/ml)."""
_RIGID = 1e-3


def render_slice(application: Application, call: RenderSlice) -> Later | Picture:
    """The picture of a view, drawn outside of this thread."""
    view = slice_name(application, call.view)
    size = None if call.size is None else check_size(*call.size)
    check_format(call.format)
    if unknown := set(call.overlay) - set(KINDS):
        raise InvalidRequest(
            f"No overlay is called {min(unknown)[:50]}; there are {', '.join(KINDS)}", parameter="overlay"
        )
    node = application.slice_logics[view].GetSliceNode()
    if not call.keep and call.move in {SliceMove(), SliceMove(offset=call.move.offset)}:
        # Most pictures: nothing of the scene has to move for them.
        geometry = geometry_of(node, size)
        if call.move.offset is not None:
            geometry = geometry.at(place(call.move.offset, "offset"))
        return _picture(application, view, geometry, call)
    before = None if call.keep else _state(node)
    try:
        move(application, view, call.move)
        return _picture(application, view, geometry_of(node, size), call)
    finally:
        if before is not None:
            _restore(node, before)


def _picture(application: Application, view: str, geometry: SliceGeometry, call: RenderSlice) -> Later | Picture:
    of = Snapshot(application, view).take(geometry, call.overlay)
    version = version_of(of, call.format, call.quality)
    if call.known == version:
        return Picture(b"", "", *of.geometry.size, version)
    return Later(lambda: pictured(of, call.format, call.quality))


def get_slice(application: Application, call: GetSlice) -> SliceInfo:
    """How a view is."""
    return slice_info(application, slice_name(application, call.view))


def move_slice(application: Application, call: MoveSlice) -> SliceInfo:
    """Move a view for good."""
    view = slice_name(application, call.view)
    if call.size is not None:
        _resize(application.slice_logics[view].GetSliceNode(), check_size(*call.size))
    move(application, view, call.move)
    return slice_info(application, view)


def set_layers(application: Application, call: SetLayers) -> SliceInfo:
    """Change what one view or all views show."""
    views = list(application.slice_logics) if call.view is None else [slice_name(application, call.view)]
    given = {"Background": call.background, "Foreground": call.foreground, "Label": call.label}
    for node_id in given.values():
        if node_id:
            volume_node(application, node_id)
    for view in views:
        composite = application.slice_logics[view].GetSliceCompositeNode()
        for layer, node_id in given.items():
            if node_id is not None:
                getattr(composite, f"Set{layer}VolumeID")(node_id or None)
        if call.foreground_opacity is not None:
            composite.SetForegroundOpacity(share(call.foreground_opacity, "foreground_opacity"))
        if call.label_opacity is not None:
            composite.SetLabelOpacity(share(call.label_opacity, "label_opacity"))
        if call.label_outline is not None:
            application.slice_logics[view].GetSliceNode().SetUseLabelOutline(call.label_outline)
    application.revision += 1
    return slice_info(application, views[0])


def get_display(application: Application, call: GetDisplay) -> Display:
    """How a volume is shown."""
    return _display(volume_node(application, call.id))


def set_display(application: Application, call: SetDisplay) -> Display:
    """Change how a volume is shown."""
    node = volume_node(application, call.id)
    display = node.GetDisplayNode()
    if display is None or not hasattr(display, "GetWindow"):
        raise InvalidRequest("A labelmap has no window; change its colours instead", parameter="id")
    if call.preset is not None:
        if call.preset not in PRESETS:
            raise InvalidRequest(
                f"There is no preset {call.preset[:50]}; there are {', '.join(PRESETS)}", parameter="preset"
            )
        display.SetAutoWindowLevel(0)
        display.SetWindowLevel(*PRESETS[call.preset])
    if call.automatic is not None:
        display.SetAutoWindowLevel(call.automatic)
    if call.window is not None or call.level is not None:
        display.SetAutoWindowLevel(0)
        window = display.GetWindow() if call.window is None else finite(call.window, "window")
        display.SetWindowLevel(window, display.GetLevel() if call.level is None else finite(call.level, "level"))
    if call.threshold is not None:
        display.SetAutoThreshold(0)
        display.SetApplyThreshold(len(call.threshold) == 2)
        if call.threshold:
            if len(call.threshold) != 2:
                raise InvalidRequest("A threshold is two numbers, or none", parameter="threshold")
            display.SetThreshold(*(finite(each, "threshold") for each in call.threshold))
    if call.interpolate is not None:
        display.SetInterpolate(call.interpolate)
    if call.colors is not None:
        display.SetAndObserveColorNodeID(_colors(application, call.colors))
    application.revision += 1
    return _display(node)


def move(application: Application, view: str, change: SliceMove) -> None:
    """Move a view: scroll, offset, copy, orientation as the original does, then what it cannot."""
    logic = application.slice_logics[view]
    node = logic.GetSliceNode()
    if change.scroll_to is not None:
        bounds = _bounds(application, view)
        if bounds is not None:
            along_stack = min(max(finite(change.scroll_to, "scrollTo"), 0.0), 1.0)
            logic.SetSliceOffset(bounds[0] + along_stack * (bounds[1] - bounds[0]))
    if change.offset is not None:
        logic.SetSliceOffset(place(change.offset, "offset"))
    if change.copy_from is not None:
        source = application.slice_logics[slice_name(application, change.copy_from)].GetSliceNode()
        node.GetSliceToRAS().DeepCopy(source.GetSliceToRAS())
        across, up, _ = node.GetFieldOfView()
        scale = source.GetFieldOfView()[0] / across
        node.SetFieldOfView(across * scale, up * scale, 1)
        node.UpdateMatrices()
    if change.orientation is not None:
        wanted = ORIENTATIONS.get(change.orientation.lower())
        if wanted is None:
            raise InvalidRequest(
                f"A slice is axial, sagittal or coronal, not {change.orientation[:50]}", parameter="orientation"
            )
        if node.GetOrientation() != wanted:
            node.SetOrientation(wanted)
            fit(application, view)
    if change.slice_to_ras is not None:
        _turn(node, change.slice_to_ras)
    if change.fit:
        fit(application, view)
    if change.center is not None:
        node.JumpSliceByCentering(*(place(each, "center") for each in change.center))
    if change.field_of_view is not None:
        width = finite(change.field_of_view, "field_of_view")
        if not 1e-3 <= width <= 1e5:
            raise InvalidRequest("A field of view is 0.001 to 100000 mm wide", parameter="field_of_view")
        columns, rows, _ = node.GetDimensions()
        node.SetFieldOfView(width, width * rows / columns, 1)


def fit(application: Application, view: str) -> None:
    """All of the background in view, the slice through the voxel centres nearest to its middle."""
    logic = application.slice_logics[view]
    columns, rows, _ = logic.GetSliceNode().GetDimensions()
    logic.FitSliceToBackground(columns, rows)
    logic.SnapSliceOffsetToIJK()


def slice_info(application: Application, view: str) -> SliceInfo:
    """A view in plain values."""
    logic = application.slice_logics[view]
    node, composite = logic.GetSliceNode(), logic.GetSliceCompositeNode()
    geometry = geometry_of(node)
    bounds = _bounds(application, view)
    step = abs(float(logic.GetLowestVolumeSliceSpacing()[2])) or 1.0
    centers = None if bounds is None else (bounds[0] + step / 2, bounds[1] - step / 2)
    return SliceInfo(
        view=view,
        orientation=(orientation_of(geometry.slice_to_ras) or "reformat"),
        offset=geometry.offset,
        offsets=centers,
        step=step,
        slices=0 if bounds is None else max(1, round((bounds[1] - bounds[0]) / step)),
        field_of_view=geometry.field_of_view,
        size=geometry.size,
        slice_to_ras=tuple(geometry.slice_to_ras.ravel().tolist()),
        xy_to_ras=tuple(geometry.xy_to_ras.ravel().tolist()),
        background=composite.GetBackgroundVolumeID() or None,
        foreground=composite.GetForegroundVolumeID() or None,
        label=composite.GetLabelVolumeID() or None,
        foreground_opacity=composite.GetForegroundOpacity(),
        label_opacity=composite.GetLabelOpacity(),
        label_outline=bool(node.GetUseLabelOutline()),
    )


def volume_node(application: Application, node_id: str) -> Any:
    """The volume of an id. Raises NotFound."""
    node = application.scene.GetNodeByID(node_id)
    if node is None or not node.IsA("vtkMRMLVolumeNode"):
        raise NotFound("volume", node_id[:100])
    return node


def _bounds(application: Application, view: str) -> tuple[float, float] | None:
    """Where the lowest volume of a view begins and ends along its normal, in mm."""
    logic = application.slice_logics[view]
    composite = logic.GetSliceCompositeNode()
    for node_id in (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID(), composite.GetLabelVolumeID()):
        node = application.scene.GetNodeByID(node_id) if node_id else None
        volume = None if node is None else volume_of(node)
        if volume is not None:
            axes = geometry_of(logic.GetSliceNode()).slice_to_ras[:3, :3]
            low, high = along(axes / np.linalg.norm(axes, axis=0), volume.bounds)
            return float(low[2]), float(high[2])
    return None


def _turn(node: Any, numbers: tuple[float, ...]) -> None:
    if len(numbers) != 16 or not all(abs(number) <= FARTHEST for number in numbers):  # NaN is not
        raise InvalidRequest("slice_to_ras is 16 numbers, row by row", parameter="slice_to_ras")
    matrix = np.array(numbers, float).reshape(4, 4)
    turn = matrix[:3, :3]
    if np.abs(turn.T @ turn - np.eye(3)).max() > _RIGID or np.abs(matrix[3] - (0, 0, 0, 1)).max() > _RIGID:
        raise InvalidRequest("slice_to_ras turns and moves, and does nothing else", parameter="slice_to_ras")
    node.GetSliceToRAS().DeepCopy(vtk_matrix(matrix))
    node.UpdateMatrices()


def _state(node: Any) -> tuple[Any, ...]:
    return matrix_of(node.GetSliceToRAS()), node.GetFieldOfView(), node.GetXYZOrigin(), node.GetOrientation()


def _restore(node: Any, state: tuple[Any, ...]) -> None:
    matrix, field, origin, orientation = state
    if orientation in ORIENTATIONS.values() and node.GetOrientation() != orientation:
        node.SetOrientation(orientation)
    node.GetSliceToRAS().DeepCopy(vtk_matrix(matrix))
    node.SetFieldOfView(*field)
    node.SetXYZOrigin(*origin)
    node.UpdateMatrices()


def _resize(node: Any, size: tuple[int, int]) -> None:
    """Another size in px at the same pitch of the longer way."""
    geometry = geometry_of(node, size)
    node.SetDimensions(*size, 1)
    node.SetFieldOfView(*geometry.field_of_view, 1)


def _display(node: Any) -> Display:
    volume = volume_of(node)
    low, high = (0.0, 0.0) if volume is None else (float(volume.array.min()), float(volume.array.max()))
    shown: Any = node.GetDisplayNode()
    plain = Display(id=node.GetID(), name=node.GetName() or "", range=(low, high))
    if shown is None:
        return plain
    table = shown.GetColorNode()
    colors = "" if table is None else table.GetName()
    if not hasattr(shown, "GetWindow"):
        return msgspec.structs.replace(plain, colors=colors)
    return msgspec.structs.replace(
        plain,
        window=shown.GetWindow(),
        level=shown.GetLevel(),
        automatic=bool(shown.GetAutoWindowLevel()),
        threshold=(shown.GetLowerThreshold(), shown.GetUpperThreshold()) if shown.GetApplyThreshold() else None,
        colors=colors,
        interpolate=bool(shown.GetInterpolate()),
        presets=tuple(PRESETS),
    )


def _colors(application: Application, name: str) -> str:
    found = application.scene.GetNodeByID(name) or application.scene.GetFirstNodeByName(name)
    if found is None or not found.IsA("vtkMRMLColorNode"):
        raise NotFound("colour table", name[:100])
    return str(found.GetID())
