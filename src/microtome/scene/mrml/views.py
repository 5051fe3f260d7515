"""Views of the scene by name, made when a layout first has them."""

from __future__ import annotations

import re
from typing import Any

from microtome.errors import InvalidRequest, NotFound
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.arrangement import Place
from microtome.scene.mrml.arrays import nodes_of
from microtome.scene.mrml.library import slicer
from microtome.scene.mrml.values import channels

_THREE_D = re.compile(r"3d(?:-(.+))?", re.IGNORECASE)
_ORIENTATIONS = frozenset({"Axial", "Sagittal", "Coronal"})
_GREY = (0.55, 0.55, 0.55)


def slice_name(application: Application, name: str) -> str:
    """The slice view a name or an id means, in any case. Raises NotFound."""
    wanted = name.lower()
    for view, logic in application.slice_logics.items():
        if wanted in {view.lower(), logic.GetSliceNode().GetID().lower()}:
            return view
    there = ", ".join(application.slice_logics)
    raise NotFound("slice view", name[:100], f"There is no slice view {name[:100]}; there are {there}")


def threed_node(application: Application, name: str) -> Any:
    """The node of a 3D view: ``3D`` for the first, ``3D-2`` or ``2`` for another; its id. Raises NotFound."""
    found = _THREE_D.fullmatch(name)
    wanted = (found[1] or "1").lower() if found else name.lower()
    for node in nodes_of(application.scene, "vtkMRMLViewNode"):
        if wanted in {node.GetLayoutName().lower(), node.GetID().lower()}:
            return node
    there = ", ".join(threed_name(node) for node in nodes_of(application.scene, "vtkMRMLViewNode"))
    raise NotFound("3D view", name[:100], f"There is no 3D view {name[:100]}; there are {there}")


def threed_name(node: Any) -> str:
    """What clients call a 3D view: ``3D`` the first, ``3D-2`` the next."""
    return _threed_name(node.GetLayoutName())


def public_name(place: Place) -> str:
    """What clients call a view of a layout."""
    return _threed_name(place.name) if place.kind == "3D" else place.name


def _threed_name(name: str) -> str:
    return "3D" if name == "1" else f"3D-{name}"


def make(application: Application, place: Place) -> None:
    """See to it that a view of a layout is there."""
    if place.kind == "slice" and place.name not in application.slice_logics:
        _make_slice(application, place)
    elif place.kind == "3D":
        node = next(
            (each for each in nodes_of(application.scene, "vtkMRMLViewNode") if each.GetLayoutName() == place.name),
            None,
        )
        if node is None:
            _make_threed(application, place)


def show_only(application: Application, wanted: list[Place]) -> None:
    """Mark the views that are in the layout: only these show where the others cut them."""
    shown = {(place.kind, place.name) for place in wanted}
    for view, logic in application.slice_logics.items():
        logic.GetSliceNode().SetMappedInLayout(("slice", view) in shown)
    for node in nodes_of(application.scene, "vtkMRMLViewNode"):
        node.SetMappedInLayout(("3D", node.GetLayoutName()) in shown)


def _make_slice(application: Application, place: Place) -> None:
    """With the volumes that the red view shows."""
    for node in nodes_of(application.scene, "vtkMRMLSliceNode"):
        if node.GetLayoutName() == place.name:  # of a file
            application.add_slice_logic(node)
            return
    told = place.properties.get("orientation", "")
    logic = application.add_slice_view(
        place.name,
        told if told in _ORIENTATIONS else "Axial",
        label=place.properties.get("viewlabel", place.name)[:5],
        color=_channels(place.properties.get("viewcolor", "")),
    )
    node = logic.GetSliceNode()
    node.SetViewGroup(_group(place))
    source = application.slice_logics["Red"].GetSliceCompositeNode()
    target = logic.GetSliceCompositeNode()
    for layer in ("Background", "Foreground", "Label"):
        getattr(target, f"Set{layer}VolumeID")(getattr(source, f"Get{layer}VolumeID")())
    target.SetForegroundOpacity(source.GetForegroundOpacity())
    target.SetLabelOpacity(source.GetLabelOpacity())
    logic.FitSliceToBackground(*node.GetDimensions()[:2])
    logic.SnapSliceOffsetToIJK()


def _make_threed(application: Application, place: Place) -> None:
    view = slicer.vtkMRMLViewNode()
    view.SetName(f"View{place.name}")
    view.SetLayoutName(place.name)
    view.SetLayoutLabel(place.properties.get("viewlabel", place.name)[:5])
    view.SetSingletonTag(place.name)
    view.SetViewGroup(_group(place))
    application.scene.AddNode(view)
    camera = application.scene.AddNewNodeByClass("vtkMRMLCameraNode", f"Camera of view {place.name}")
    camera.SetLayoutName(place.name)


def _group(place: Place) -> int:
    text = place.properties.get("viewgroup", "0")
    return int(text) if text.isdecimal() and len(text) < 4 else 0


def _channels(text: str) -> tuple[float, float, float]:
    try:
        return channels(text)
    except InvalidRequest:
        return _GREY
