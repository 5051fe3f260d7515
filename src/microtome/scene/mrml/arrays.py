"""Arrays and matrices of VTK as those of numpy, without copying voxels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microtome.scene.mrml.library import numpy_support, slicer, vtk, vtk_math, vtk_transforms
from microtome.scene.slices.geometry import Matrix, SliceGeometry
from microtome.scene.slices.overlay import Color
from microtome.scene.slices.sampler import Volume


def matrix_of(matrix: Any) -> Matrix:
    """A vtkMatrix4x4 as (4, 4)."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)], np.float64)


def vtk_matrix(matrix: Matrix) -> Any:
    """(4, 4) as a vtkMatrix4x4."""
    made = vtk_math.vtkMatrix4x4()
    for row in range(4):
        for column in range(4):
            made.SetElement(row, column, float(matrix[row, column]))
    return made


def array_of(image: Any) -> NDArray[Any] | None:
    """The voxels of a vtkImageData: (k, j, i, components), sharing its memory. None when there are none."""
    if image is None:
        return None
    scalars = image.GetPointData().GetScalars()
    if scalars is None or not scalars.GetNumberOfTuples():
        return None
    i, j, k = image.GetDimensions()
    values: NDArray[Any] = numpy_support.vtk_to_numpy(scalars)
    return values.reshape(k, j, i, -1)


def points_of(points: Any) -> NDArray[np.float64]:
    """A vtkPoints as (n, 3)."""
    if points is None or not points.GetNumberOfPoints():
        return np.zeros((0, 3))
    return np.asarray(numpy_support.vtk_to_numpy(points.GetData()), np.float64)


def to_world(node: Any) -> Matrix | None:
    """From the coordinates of a transformable node to those of the world (4, 4); None when the way is bent."""
    transform = node.GetParentTransformNode()
    if transform is None:
        return np.eye(4)
    if not transform.IsTransformToWorldLinear():
        return None
    matrix = vtk_math.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(matrix)
    return matrix_of(matrix)


def volume_of(node: Any) -> Volume | None:
    """The voxels of a volume node where a linear transform puts them (bent ones: before bending); None when empty."""
    array = array_of(node.GetImageData())
    if array is None:
        return None
    matrix = vtk_math.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    world = to_world(node)
    return Volume(array, matrix_of(matrix) if world is None else world @ matrix_of(matrix))


def labelmap_of(image: Any, world: Matrix) -> Volume | None:
    """The voxels of a vtkOrientedImageData, which need not begin at index 0; None when it is empty."""
    array = array_of(image)
    if array is None:
        return None
    matrix = vtk_math.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    shift = np.eye(4)
    shift[:3, 3] = image.GetExtent()[::2]
    return Volume(array, world @ matrix_of(matrix) @ shift)


def bent_places(node: Any, points: NDArray[np.float64], ijk_to_node: Matrix) -> NDArray[np.float64]:
    """Where points of the world (n, 3) lie in voxels (i, j, k) of a node whose transforms are not linear."""
    local = transformed(points, None, node.GetParentTransformNode())
    return np.c_[local, np.ones(len(local))] @ np.linalg.inv(ijk_to_node)[:3].T


def transformed(points: NDArray[np.float64], source_node: Any, target_node: Any) -> NDArray[np.float64]:
    """Points (n, 3) from the coordinates below a transform node to those below another; None is the world."""
    way = vtk_transforms.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(source_node, target_node, way)
    source, found = vtk.vtkPoints(), vtk.vtkPoints()
    source.SetDataTypeToDouble()
    found.SetDataTypeToDouble()
    data = numpy_support.numpy_to_vtk(np.ascontiguousarray(points))
    source.SetData(data)
    way.TransformPoints(source, found)
    return points_of(found)


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


def pixel_places(geometry: SliceGeometry) -> NDArray[np.float64]:
    """Where the pixels of a slice are in the world: (rows x columns, 3)."""
    columns, rows = geometry.size
    x, y = np.meshgrid(np.arange(columns, dtype=float), np.arange(rows, dtype=float))
    return np.c_[x.ravel(), y.ravel(), np.zeros(x.size), np.ones(x.size)] @ geometry.rows_to_ras()[:3].T
