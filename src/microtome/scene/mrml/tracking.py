"""The tracked device."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from microtome.errors import InvalidRequest
from microtome.scene.calls.tracking import Track
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.arrays import matrix_of, vtk_matrix
from microtome.scene.mrml.library import vtk, vtk_data

DEVICE, TRACKER = "trackingDevice", "tracker"
SIZE = (30.0, 70.0, 5.0)
"""Of the cube, in mm."""
_YELLOW = (1.0, 1.0, 0.0)


def track(application: Application, call: Track) -> None:
    """Move it."""
    transform = _transform(application)
    held = vtk_matrix(np.eye(4))
    transform.GetMatrixTransformToParent(held)
    matrix = matrix_of(held)
    if call.rotation is not None:
        matrix[:3, :3] = np.reshape(call.rotation, (3, 3))
    if call.position is not None:
        matrix[:3, 3] = call.position
    if call.quaternion is not None:
        matrix[:3, :3] = _turned(call.quaternion)
    transform.SetMatrixTransformToParent(vtk_matrix(matrix))


def _turned(quaternion: tuple[float, float, float, float]) -> npt.NDArray[np.float64]:
    """The rotation of a quaternion (w, x, y, z) of any length."""
    length = float(np.linalg.norm(quaternion))
    if length == 0:
        raise InvalidRequest("A quaternion of zeros turns nothing", parameter="q")
    w, x, y, z = (each / length for each in quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _transform(application: Application) -> Any:
    """The transform of the device, made with it when there is none."""
    scene = application.scene
    device = scene.GetFirstNode(DEVICE, "vtkMRMLModelNode")
    if device is None:
        device = scene.AddNewNodeByClass("vtkMRMLModelNode", DEVICE)
        device.SetAndObservePolyData(_cube())
        device.CreateDefaultDisplayNodes()
        device.GetDisplayNode().SetColor(*_YELLOW)
    transform = scene.GetFirstNode(TRACKER, "vtkMRMLLinearTransformNode")
    if transform is None:
        transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", TRACKER)
    device.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def _cube() -> Any:
    """Six faces around the origin, seen from outside."""
    corners = vtk.vtkPoints()
    for number in range(8):
        corners.InsertNextPoint(*(size / 2 * (1 if number >> axis & 1 else -1) for axis, size in enumerate(SIZE)))
    faces = vtk_data.vtkCellArray()
    for face in ((0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)):
        faces.InsertNextCell(4, face)
    cube = vtk_data.vtkPolyData()
    cube.SetPoints(corners)
    cube.SetPolys(faces)
    return cube
