"""Sample data into the scene."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from microtome.errors import NotFound
from microtome.scene.answers import Parts, at_once, outside
from microtome.scene.calls.files import Loaded
from microtome.scene.calls.samples import SAMPLES, LoadSample
from microtome.scene.mrml import volumes
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.library import vtk, vtk_data
from microtome.scene.phantoms import chest as chests
from microtome.scene.phantoms import head as heads


def load_sample(application: Application, call: LoadSample) -> Parts[Loaded]:
    """Make them."""
    kind = SAMPLES.get(call.name)
    if kind is None:
        raise NotFound("sample data", call.name[:100], f"sampledata {call.name[:100]} was not found")
    nodes = yield from _MAKERS[kind](application, call.name)
    return Loaded([node.GetID() for node in nodes])


def begin_with(application: Application, names: Sequence[str]) -> None:
    """Sample data as what the scene begins with: organs in 3D, too, and nothing of it is a change to be taken back."""
    box = vtk_data.vtkBoundingBox()
    for name in names:
        for node in at_once(_MAKERS[SAMPLES[name]](application, name)):
            bounds = [0.0] * 6
            if node.IsA("vtkMRMLSegmentationNode"):
                node.CreateClosedSurfaceRepresentation()
                node.GetDisplayNode().SetVisibility3D(1)
            node.GetRASBounds(bounds)
            box.AddBounds(bounds)
    _look_at(application, box)
    application.look()
    application.journal.changes.clear()
    application.saved_revision = application.revision


def _look_at(application: Application, box: Any) -> None:
    """All of a box from in front."""
    camera, center = application.scene.GetFirstNodeByClass("vtkMRMLCameraNode"), [0.0] * 3
    box.GetCenter(center)
    half_angle = np.radians(camera.GetCamera().GetViewAngle() / 2)
    distance = box.GetLength(1) / 2 + box.GetMaxLength() / 2 / np.tan(half_angle)
    camera.SetFocalPoint(center)
    camera.SetPosition(center[0], center[1] + distance, center[2])
    camera.SetViewUp(0.0, 0.0, 1.0)


def _head(application: Application, name: str) -> Parts[list[Any]]:
    made = yield from outside(lambda: volumes.prepared(heads.head()))
    node = volumes.add_volume(application, made, name)
    volumes.show(application, node)
    return [node]


def _painted_chest() -> tuple[volumes.Prepared, volumes.Prepared]:
    image, labels = chests.chest()
    return volumes.prepared(image), volumes.prepared(labels, label=True)


def _chest(application: Application, name: str) -> Parts[list[Any]]:
    made, labels = yield from outside(_painted_chest)
    node = volumes.add_volume(application, made, name)
    display = node.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(400, 40)
    volumes.show(application, node)
    return [node, segmented(application, labels, node, f"{name} organs")]


def segmented(application: Application, labels: volumes.Prepared, volume: Any, name: str) -> Any:
    """A segmentation of the organs of a labelmap, with surfaces."""
    scene = application.scene
    map_node = volumes.add_volume(application, labels, f"{name} labels")
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", scene.GenerateUniqueName(name))
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    ids = vtk.vtkStringArray()
    for number, organ in enumerate(chests.ORGANS, 1):
        # With ids of their own: those that are made up differ from run to run.
        ids.InsertNextValue(node.GetSegmentation().AddEmptySegment(f"Segment_{number}", organ.name, organ.color))
    application.logics["Segmentations"].ImportLabelmapToSegmentationNode(map_node, node, ids)
    scene.RemoveNode(map_node)
    return node


def _markups(application: Application, name: str) -> Parts[list[Any]]:
    yield from ()  # there is nothing to be done before

    def added(kind: str, title: str, points: dict[str, tuple[float, float, float]]) -> Any:
        scene = application.scene
        node = scene.AddNewNodeByClass(f"vtkMRMLMarkups{kind}Node", scene.GenerateUniqueName(title))
        node.CreateDefaultDisplayNodes()
        for label, place in points.items():
            index = node.AddControlPoint(*place)
            node.SetNthControlPointLabel(index, label)
        return node

    points = heads.LANDMARKS
    ears = {label: points[label] for label in ("Left ear", "Right ear")}
    angle = {label: points[label] for label in ("Left ear", "Vertex", "Right ear")}
    turns = np.linspace(0, 2 * np.pi, 9)[:-1]
    ring = {f"C-{n + 1}": (66 * float(np.cos(t)), 82 * float(np.sin(t)) - 4, 30.0) for n, t in enumerate(turns)}
    region = added("ROI", "Brain region", {})
    region.SetCenter(*heads.BRAIN_CENTER)
    region.SetSize(*(2 * radius for radius in heads.BRAIN_RADII))
    plane = added("Plane", "Midsagittal plane", {})
    plane.SetCenter(*heads.BRAIN_CENTER)
    plane.SetNormal(1, 0, 0)
    plane.SetSize(160, 160)
    return [
        added("Fiducial", "Landmarks", points),
        added("Line", "Width of the head", ears),
        added("Angle", "Angle at the vertex", angle),
        added("ClosedCurve", "Circumference", ring),
        region,
        plane,
    ]


_MAKERS: dict[str, Callable[[Application, str], Parts[list[Any]]]] = {
    "head": _head,
    "chest": _chest,
    "markups": _markups,
}
