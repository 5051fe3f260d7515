"""What is made of nodes for slices and kept until they change: surfaces as triangles, tensors as colours."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from importlib import import_module
from typing import Any, TypeVar

import numpy as np

from microtome.scene.mrml.arrays import points_of, to_world, transformed
from microtome.scene.mrml.library import numpy_support, slicer, vtk_math
from microtome.scene.slices.cutting import Mesh

T = TypeVar("T")
_COLORS = frozenset(
    getattr(slicer.vtkMRMLDiffusionTensorDisplayPropertiesNode, f"ColorOrientation{which}")
    for which in ("", "MiddleEigenvector", "MinEigenvector")
)
"""What of tensors is a colour: the direction of an eigenvector, as bright as it is pronounced."""
_SCALE = 1000
"""Of these colours, as 3D Slicer has them."""


class Derived:
    """One thing of each owner (the id of a node, or that of a segment), made again when its state is another."""

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self._found: dict[tuple[str, str], tuple[Hashable, Any]] = {}

    def mesh(self, node: Any, data: Any, owner: str = "") -> Mesh:
        """The surface of ``data`` (vtkPolyData, or a grid of cells) of a node.

        In the coordinates of the node; in those of the world where a bent transform takes it there.
        """
        transform = node.GetParentTransformNode() if to_world(node) is None else None
        state = (data.GetAddressAsString(""), data.GetMTime(), _state(transform))
        return self._kept(node, owner, state, lambda: triangles(data, transform))

    def invariant(self, node: Any, number: int) -> Any:
        """A vtkImageData of what a tensor volume is shown as: colours by orientation, fractional anisotropy, ..."""
        image = node.GetImageData()
        state = (image.GetAddressAsString(""), image.GetMTime(), node.GetMTime(), number)
        return self._kept(node, "invariant", state, lambda: _invariant(node, number))

    def _kept(self, node: Any, owner: str, state: Hashable, make: Callable[[], T]) -> T:
        key = (node.GetID(), owner)
        found = self._found.get(key)
        if found is None or found[0] != state:
            for each in [each for each in self._found if self._scene.GetNodeByID(each[0]) is None]:
                del self._found[each]
            found = self._found[key] = (state, make())
        return found[1]


def _state(transform: Any) -> Hashable:
    return None if transform is None else (transform.GetID(), transform.GetTransformToWorldMTime())


def triangles(data: Any, transform: Any = None) -> Mesh:
    """The surface of data as triangles; of the world, where a transform node is given that takes it there."""
    surface = data
    if not data.IsA("vtkPolyData"):
        extract: Any = import_module("vtkmodules.vtkFiltersGeometry").vtkDataSetSurfaceFilter()
        extract.SetInputData(data)
        extract.Update()
        surface = extract.GetOutput()
    cells = surface.GetPolys()
    if surface.GetNumberOfStrips() or cells.IsHomogeneous() != 3:
        split: Any = import_module("vtkmodules.vtkFiltersCore").vtkTriangleFilter()
        split.SetInputData(surface)
        split.PassLinesOff()
        split.PassVertsOff()
        split.Update()
        surface = split.GetOutput()
        cells = surface.GetPolys()
    points = points_of(surface.GetPoints())
    if not cells.GetNumberOfCells():
        return Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
    if transform is not None:
        points = transformed(points, transform, None)
    # Copies: others may write into the node while this is drawn.
    return Mesh(np.array(points), np.array(numpy_support.vtk_to_numpy(cells.GetConnectivityArray())))


def _invariant(node: Any, number: int) -> Any:
    measured: Any = slicer.vtkDiffusionTensorMathematics()
    measured.SetInputData(node.GetImageData())
    measured.SetOperation(number)
    frame = vtk_math.vtkMatrix4x4()
    node.GetMeasurementFrameMatrix(frame)
    measured.SetTensorRotationMatrix(frame)
    if number in _COLORS:
        measured.SetScaleFactor(_SCALE)
    measured.Update()
    return measured.GetOutput()
