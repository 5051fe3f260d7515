"""Points of lists."""

from __future__ import annotations

from microtome.errors import NotFound
from microtome.scene.calls.contents import GetFiducials, MoveFiducial, Point, PointList
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.choosing import first, of_class

FIDUCIAL = "vtkMRMLMarkupsFiducialNode"


def get_fiducials(application: Application, _: GetFiducials) -> dict[str, PointList]:
    """All lists."""
    found: dict[str, PointList] = {}
    for node in of_class(application, FIDUCIAL):
        display = node.GetDisplayNode()
        points = [
            Point(node.GetNthControlPointLabel(index), tuple(node.GetNthControlPointPosition(index)))
            for index in range(node.GetNumberOfControlPoints())
        ]
        color = (1.0, 0.5, 0.5) if display is None else tuple(display.GetSelectedColor())
        scale = 3.0 if display is None else display.GetGlyphScale()
        found[node.GetID()] = PointList(node.GetName() or "", color, scale, points)
    return found


def move_fiducial(application: Application, call: MoveFiducial) -> None:
    """One point."""
    node = first(application, call.pattern, FIDUCIAL)
    if not 0 <= call.index < node.GetNumberOfControlPoints():
        raise NotFound("point", str(call.index), f"{node.GetName()} has no point {call.index}")
    node.SetNthControlPointPosition(call.index, *call.position)
