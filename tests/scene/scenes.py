"""Scenes for tests: volumes made of formulas, in an application of this process."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

RAS = np.array([[-1, 0, 0, 127.5], [0, -1, 0, 127.5], [0, 0, 1.3, -83.85], [0, 0, 0, 1.0]])
"""Of a volume of 256 x 256 x 130 voxels: patient left and posterior first, as scanners store it."""


def head(shape: tuple[int, int, int] = (130, 256, 256)) -> NDArray[np.int16]:
    """Smooth and noisy values between about -150 and 750."""
    k, j, i = np.mgrid[0 : shape[0], 0 : shape[1], 0 : shape[2]]
    k_share, j_share, i_share = k / shape[0], j / shape[1], i / shape[2]
    bell = np.exp(-(((i_share - 0.5) / 0.31) ** 2 + ((j_share - 0.5) / 0.35) ** 2 + ((k_share - 0.5) / 0.35) ** 2))
    noise = np.random.default_rng(1).normal(0, 20, shape)
    return (600 * bell + 80 * np.sin(i / 7) * np.cos(j / 9) + noise).astype(np.int16)


def add_volume(
    application: Any,
    array: NDArray[Any],
    matrix: NDArray[np.float64] = RAS,
    *,
    name: str = "MR",
    class_name: str = "vtkMRMLScalarVolumeNode",
) -> Any:
    """A volume node with its display nodes; ``array`` is (k, j, i) or (k, j, i, components)."""
    from vtkmodules.vtkCommonDataModel import vtkImageData

    from microtome.scene.mrml.arrays import vtk_matrix
    from microtome.scene.mrml.library import numpy_support

    node = application.scene.AddNewNodeByClass(class_name, name)
    image = vtkImageData()
    image.SetDimensions(array.shape[2], array.shape[1], array.shape[0])
    values = array.reshape(-1, *array.shape[3:])
    scalars = numpy_support.numpy_to_vtk(values, deep=1)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(vtk_matrix(matrix))
    node.CreateDefaultDisplayNodes()
    return node


def turned(x: float, z: float) -> NDArray[np.float64]:
    """A rotation about z, then x, in radians (4 x 4)."""
    about_z, about_x = np.eye(4), np.eye(4)
    about_z[:2, :2] = [[np.cos(z), -np.sin(z)], [np.sin(z), np.cos(z)]]
    about_x[1:3, 1:3] = [[np.cos(x), -np.sin(x)], [np.sin(x), np.cos(x)]]
    return about_z @ about_x


def blend(application: Any, view: str) -> NDArray[np.uint8]:
    """What the slice logic of MRML makes of a view: RGBA, the upper row first. It is our oracle."""
    from microtome.scene.mrml.library import numpy_support

    producer = application.slice_logics[view].GetImageDataConnection().GetProducer()
    producer.Update()
    image = producer.GetOutput()
    width, height, _ = image.GetDimensions()
    values = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    return values.reshape(height, width, -1)[::-1]


def bend() -> Any:
    """A thin plate spline of VTK that moves points by up to 7 mm."""
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonTransforms import vtkThinPlateSplineTransform

    spline = vtkThinPlateSplineTransform()
    source, target = vtkPoints(), vtkPoints()
    for point in ((-60, -60, -30), (60, -60, 30), (60, 60, -30), (-60, 60, 30), (0, 0, 0)):
        source.InsertNextPoint(*point)
        target.InsertNextPoint(*(coordinate + 7 * np.sin(coordinate) for coordinate in point))
    spline.SetSourceLandmarks(source)
    spline.SetTargetLandmarks(target)
    spline.SetBasisToR()
    return spline
