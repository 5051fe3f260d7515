"""Volumes of the scene as arrays, both ways."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from microtome.scene.images import Image
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.arrays import array_of, matrix_of, vtk_matrix
from microtome.scene.mrml.library import numpy_support, vtk_data, vtk_math

LABELMAP, VECTOR, SCALAR = "vtkMRMLLabelMapVolumeNode", "vtkMRMLVectorVolumeNode", "vtkMRMLScalarVolumeNode"


def add_volume(application: Application, image: Image, name: str, *, label: bool = False) -> Any:
    """A new volume node with a display. ``name`` is made unique."""
    scene = application.scene
    kind = VECTOR if image.components > 1 else LABELMAP if label else SCALAR
    node = scene.AddNewNodeByClass(kind, scene.GenerateUniqueName(name or "Volume"))
    fill(node, image)
    node.CreateDefaultDisplayNodes()
    return node


def fill(node: Any, image: Image) -> None:
    """Give a volume node these voxels and this geometry."""
    node.SetIJKToRASMatrix(vtk_matrix(image.ijk_to_ras))
    node.SetAndObserveImageData(as_image_data(image.voxels))


def as_image_data(voxels: npt.NDArray[Any]) -> Any:
    """A vtkImageData with a copy of the voxels, in a grid of its own (spacing 1, origin 0)."""
    if voxels.dtype == np.bool_ or voxels.dtype == np.float16:
        voxels = voxels.astype(np.uint8 if voxels.dtype == np.bool_ else np.float32)
    data = vtk_data.vtkImageData()
    data.SetDimensions(voxels.shape[2], voxels.shape[1], voxels.shape[0])
    kind = numpy_support.get_vtk_array_type(voxels.dtype)
    data.AllocateScalars(kind, voxels.shape[3] if voxels.ndim == 4 else 1)
    scalars = data.GetPointData().GetScalars()
    np.copyto(numpy_support.vtk_to_numpy(scalars).reshape(voxels.shape), voxels)
    scalars.SetName("ImageScalars")
    return data


def image_of(node: Any) -> Image | None:
    """The voxels of a volume node, not copied, in its own geometry (no transforms applied); None when it is empty."""
    voxels = array_of(node.GetImageData())
    if voxels is None:
        return None
    matrix = vtk_math.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return Image(voxels if voxels.shape[3] > 1 else voxels[..., 0], matrix_of(matrix))


def centered(image: Image) -> Image:
    """The same with the middle of its bounds at the origin."""
    matrix = image.ijk_to_ras.copy()
    middle = (np.array(image.voxels.shape[2::-1]) - 1) / 2
    matrix[:3, 3] = -matrix[:3, :3] @ middle
    return replace(image, ijk_to_ras=matrix)


def unturned(image: Image) -> Image:
    """The same along the axes of the patient from the origin on: only the sizes of the voxels are kept."""
    lengths = np.linalg.norm(image.ijk_to_ras[:3, :3], axis=0)
    return replace(image, ijk_to_ras=np.diag([*lengths, 1.0]))


def show(application: Application, node: Any) -> None:
    """In all slice views, fitted."""
    selection = application.logic.GetSelectionNode()
    if node.IsA(LABELMAP):
        selection.SetActiveLabelVolumeID(node.GetID())
    else:
        selection.SetActiveVolumeID(node.GetID())
    application.logic.PropagateVolumeSelection()
