"""Voxels and displacements of nodes, out of the scene and into it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from microtome.errors import InvalidRequest, UnsupportedFormat
from microtome.scene import places
from microtome.scene.answers import Parts, outside
from microtome.scene.calls.contents import (
    Export,
    GetGridTransform,
    GetVolume,
    ListGridTransforms,
    ListVolumes,
    PutGridTransform,
    PutVolume,
)
from microtome.scene.calls.nodes import Named
from microtome.scene.images import Image, open_image, writing
from microtome.scene.mrml import volumes
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.arrays import array_of, vtk_matrix
from microtome.scene.mrml.choosing import first, maybe_first, named, of_class
from microtome.scene.mrml.exporting import file_name, version, written
from microtome.scene.mrml.files.readers import wanted
from microtome.scene.mrml.library import slicer

GRID = "vtkMRMLGridTransformNode"
_LPS = np.array([-1.0, -1.0, 1.0])


def list_volumes(application: Application, _: ListVolumes) -> list[Named]:
    """Scalar, then label volumes."""
    both = of_class(application, volumes.SCALAR)  # a label volume is a scalar volume, too
    labels = [node for node in both if node.IsA(volumes.LABELMAP)]
    return named([*(node for node in both if not node.IsA(volumes.LABELMAP)), *labels])


def list_grid_transforms(application: Application, _: ListGridTransforms) -> list[Named]:
    """Grids."""
    return named(of_class(application, GRID))


def get_volume(application: Application, call: GetVolume) -> Parts[Export]:
    """As NRRD."""
    node = first(application, call.pattern, volumes.SCALAR)
    encoding = writing.encoding_of(call.encoding)
    if call.type not in {"compatible", "original"}:
        writing.converted(np.zeros(1), call.type)  # whether there is such a type
    made = version(application, node, "volume", call.type, encoding)
    if made == call.known:
        return Export(made)
    image = volumes.image_of(node)
    if image is None:
        raise InvalidRequest("The volume has no voxels", parameter="id")

    def write(file: Any) -> None:
        match call.type:
            case "original":
                voxels = image.voxels
            case "compatible":
                voxels = writing.compatible(image.voxels)
            case _:
                voxels = writing.converted(image.voxels, call.type)
        writing.write(file, replace(image, voxels=voxels), encoding)

    return (yield from written(application, file_name(node.GetName(), ".nrrd"), made, write))


def put_volume(application: Application, call: PutVolume) -> Parts[str]:
    """From NRRD, or another image file."""
    made = yield from outside(lambda: volumes.prepared(_image(application, call.path)))
    node = maybe_first(application, call.pattern, "vtkMRMLVolumeNode")
    if node is None or (made.components > 1) != bool(node.IsA(volumes.VECTOR)):
        node = volumes.add_volume(application, made, call.pattern)
    else:
        volumes.fill(node, made)
    volumes.show(application, node)
    return node.GetID()


def get_grid_transform(application: Application, call: GetGridTransform) -> Parts[Export]:
    """As NRRD."""
    node = first(application, call.pattern, GRID)
    encoding = writing.encoding_of(call.encoding)
    made = version(application, node, "grid", encoding)
    if made == call.known:
        return Export(made)
    grid = _grid(node)
    array = None if grid is None else array_of(grid.GetDisplacementGrid())
    if grid is None or array is None or array.shape[3] != 3:
        raise InvalidRequest("The transform has no displacements", parameter="id")
    matrix = _place(grid)

    def write(file: Any) -> None:
        writing.write(file, Image((array * _LPS).astype(np.float32), matrix), encoding)

    return (yield from written(application, file_name(node.GetName(), ".nrrd"), made, write))


def put_grid_transform(application: Application, call: PutGridTransform) -> Parts[str]:
    """From NRRD with three components."""
    grid = yield from outside(lambda: _made(_image(application, call.path)))
    node = maybe_first(application, call.pattern, GRID)
    if node is None:
        node = application.scene.AddNewNodeByClass(GRID, application.scene.GenerateUniqueName(call.pattern))
        node.CreateDefaultDisplayNodes()
    node.SetAndObserveTransformFromParent(grid)
    return node.GetID()


def _made(image: Image) -> Any:
    """A transform of displacements, that nobody else sees. Raises UnsupportedFormat."""
    if image.components != 3:
        raise UnsupportedFormat("A displacement has three components", feature="grid transform")
    lengths = np.linalg.norm(image.ijk_to_ras[:3, :3], axis=0)
    turned = np.eye(4)
    turned[:3, :3] = image.ijk_to_ras[:3, :3] / lengths
    data = volumes.as_image_data(image.voxels * _LPS)
    data.SetSpacing(*(float(length) for length in lengths))
    data.SetOrigin(*(float(value) for value in image.ijk_to_ras[:3, 3]))
    grid = slicer.vtkOrientedGridTransform()
    grid.SetDisplacementGridData(data)
    grid.SetGridDirectionMatrix(vtk_matrix(turned))
    grid.SetInterpolationModeToCubic()
    return grid


def _image(application: Application, path: str) -> Image:
    """A file of the scene's own folder. Any thread."""
    found = places.existing(path, [application.folder])
    image = open_image(found, wanted(application, found, "", {}).limits)
    if image.frames:
        raise UnsupportedFormat("Can only read 3D volumes", feature="4D")
    return image


def _grid(node: Any) -> Any | None:
    """Of displacements from the parent as files have it, or to it."""
    for transform in (node.GetTransformFromParent(), node.GetTransformToParent()):
        if transform is not None and transform.IsA("vtkGridTransform"):
            transform.Update()
            if transform.GetDisplacementGrid() is not None:
                return transform
    return None


def _place(grid: Any) -> Any:
    """Voxels to mm of a grid, from spacing, origin and directions."""
    data = grid.GetDisplacementGrid()
    matrix = np.eye(4)
    directions = grid.GetGridDirectionMatrix() if hasattr(grid, "GetGridDirectionMatrix") else None
    if directions is not None:
        matrix[:3, :3] = [[directions.GetElement(row, column) for column in range(3)] for row in range(3)]
    matrix[:3, :3] *= data.GetSpacing()
    matrix[:3, 3] = data.GetOrigin()
    return matrix
