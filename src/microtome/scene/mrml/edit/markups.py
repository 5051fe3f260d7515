"""Markups: made, changed, measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from microtome.errors import InvalidRequest, LimitExceeded
from microtome.scene.calls.edit import CreateMarkup, GetMarkup, ListMarkups, Markup, UpdateMarkup
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.files.schema import MAX_POINTS
from microtome.scene.mrml.shown import nodes_of
from microtome.scene.mrml.values import channels, hexadecimal, name_of, node_of, position

MAX_CURVE = 2000
"""Points of a curve, which is drawn anew for each of them."""
_CLASSES = {
    "points": "vtkMRMLMarkupsFiducialNode",
    "line": "vtkMRMLMarkupsLineNode",
    "angle": "vtkMRMLMarkupsAngleNode",
    "curve": "vtkMRMLMarkupsCurveNode",
    "closed_curve": "vtkMRMLMarkupsClosedCurveNode",
    "plane": "vtkMRMLMarkupsPlaneNode",
    "roi": "vtkMRMLMarkupsROINode",
}
_LOOKED_AT = frozenset({"area", "length", "volume"})
_LETTERS = {"points": "F", "line": "L", "angle": "A", "curve": "C", "closed_curve": "CC", "plane": "P", "roi": "R"}


def list_markups(application: Application, _: ListMarkups) -> list[Markup]:
    """All of them."""
    return [_told(node) for node in nodes_of(application.scene, "vtkMRMLMarkupsNode")]


def get_markup(application: Application, call: GetMarkup) -> Markup:
    """One of them."""
    return _told(node_of(application, call.id, "vtkMRMLMarkupsNode", "markup"))


def create_markup(application: Application, call: CreateMarkup) -> Markup:
    """A new one."""
    scene = application.scene
    name = name_of(call.name) if call.name else scene.GenerateUniqueName(_LETTERS[call.kind])
    points = _checked(call.points, call.kind)
    rgb = None if call.color is None else channels(call.color)
    node = scene.AddNewNodeByClass(_CLASSES[call.kind], name)
    node.CreateDefaultDisplayNodes()
    _set_points(node, points, call.labels)
    if rgb is not None:
        _set_color(node, rgb)
    return _told(node)


def update_markup(application: Application, call: UpdateMarkup) -> Markup:
    """Change one: all of it, or nothing when something of it is wrong."""
    node = node_of(application, call.id, "vtkMRMLMarkupsNode", "markup")
    points = None if call.points is None else _checked(call.points, _kind(node))
    rgb = None if call.color is None else channels(call.color)
    name = None if call.name is None else name_of(call.name)
    if call.labels is not None and points is None and len(call.labels) > node.GetNumberOfControlPoints():
        raise InvalidRequest("There are more labels than points", parameter="labels")
    if name is not None:
        node.SetName(name)
    if points is not None:
        _set_points(node, points, call.labels or ())
    elif call.labels is not None:
        for index, label in enumerate(call.labels):
            node.SetNthControlPointLabel(index, label[:500])
    if rgb is not None:
        _set_color(node, rgb)
    if call.visible is not None:
        node.GetDisplayNode().SetVisibility(call.visible)
    if call.locked is not None:
        node.SetLocked(call.locked)
    return _told(node)


def _checked(points: Sequence[Sequence[float]], kind: str) -> list[tuple[float, float, float]]:
    bound = MAX_CURVE if kind.endswith("curve") else MAX_POINTS
    if len(points) > bound:
        raise LimitExceeded(f"A markup of this kind has at most {bound} points", limit="points", value=len(points))
    most = {"line": 2, "angle": 3}.get(kind)
    if most is not None and len(points) > most:
        raise InvalidRequest(f"This kind of markup has {most} points", parameter="points")
    return [position(point) for point in points]


def _set_points(node: Any, points: Sequence[tuple[float, float, float]], labels: Sequence[str]) -> None:
    before = node.StartModify()
    try:
        if node.IsA("vtkMRMLMarkupsROINode"):
            _set_box(node, points)
            return
        node.RemoveAllControlPoints()
        for index, point in enumerate(points):
            node.AddControlPointWorld(point)
            if index < len(labels):
                node.SetNthControlPointLabel(index, labels[index][:500])
    finally:
        node.EndModify(before)


def _set_box(node: Any, points: Sequence[tuple[float, float, float]]) -> None:
    """Two opposite corners of a box along the axes."""
    if len(points) != 2:
        raise InvalidRequest("A region has two points: opposite corners", parameter="points")
    first, second = points
    node.SetCenterWorld(*((a + b) / 2 for a, b in zip(first, second, strict=True)))
    node.SetSizeWorld(*(abs(a - b) for a, b in zip(first, second, strict=True)))


def _set_color(node: Any, rgb: tuple[float, float, float]) -> None:
    display = node.GetDisplayNode()
    display.SetSelectedColor(*rgb)
    display.SetColor(*rgb)


def _kind(node: Any) -> str:
    return next((kind for kind, name in _CLASSES.items() if node.GetClassName() == name), "other")


def _told(node: Any) -> Markup:
    display = node.GetDisplayNode()
    count = node.GetNumberOfControlPoints()
    return Markup(
        id=node.GetID(),
        name=node.GetName() or "",
        kind=_kind(node),
        color="#ffffff" if display is None else hexadecimal(display.GetSelectedColor()),
        visible=bool(display is not None and display.GetVisibility()),
        locked=bool(node.GetLocked()),
        points=tuple(tuple(node.GetNthControlPointPositionWorld(index)) for index in range(count)),
        labels=tuple(node.GetNthControlPointLabel(index) for index in range(count)),
        measurements=_measured(node),
    )


def _measured(node: Any) -> dict[str, float]:
    """What the node measures itself: length, angle, area; those that are off are only looked at."""
    before = node.GetDisableModifiedEvent()
    node.SetDisableModifiedEvent(1)  # it is looked at, not changed
    try:
        return _values(node)
    finally:
        node.SetDisableModifiedEvent(before)


def _values(node: Any) -> dict[str, float]:
    found: dict[str, float] = {}
    node.UpdateAllMeasurements()
    for index in range(node.GetNumberOfMeasurements()):
        measurement = node.GetNthMeasurement(index)
        enabled = measurement.GetEnabled()
        if not enabled:
            if measurement.GetName() not in _LOOKED_AT:
                continue
            measurement.SetInputMRMLNode(node)
            measurement.SetEnabled(1)
            measurement.Compute()
        if measurement.GetValueDefined():
            value = measurement.GetValue() * measurement.GetDisplayCoefficient()
            found[f"{measurement.GetName()} ({measurement.GetUnits()})"] = float(value)
        measurement.SetEnabled(enabled)
    return found
