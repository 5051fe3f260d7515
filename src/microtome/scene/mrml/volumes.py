"""Volumes of the scene as arrays, both ways."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from microtome.scene.images import Image
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.arrays import array_of, matrix_of, vtk_matrix
from microtome.scene.mrml.library import numpy_support, vtk, vtk_data, vtk_math
from microtome.scene.slices.geometry import Matrix

LABELMAP, VECTOR, SCALAR = "vtkMRMLLabelMapVolumeNode", "vtkMRMLVectorVolumeNode", "vtkMRMLScalarVolumeNode"


_TAILS = (0.1, 99.9)
"""Percentiles between which values are shown at first: those of vtkMRMLScalarVolumeDisplayNode."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A volume before it is in a scene: a vtkImageData that nobody else sees, and its place.

    ``levels``: the values that are shown black and white at first; None where MRML finds them itself (labels, colours).
    """

    data: Any
    ijk_to_ras: Matrix
    label: bool = False
    levels: tuple[float, float] | None = None

    @property
    def components(self) -> int:
        """Numbers a voxel."""
        return int(self.data.GetNumberOfScalarComponents())


def prepared(image: Image, *, label: bool = False) -> Prepared:
    """A volume of an image, of which it holds a copy. Any thread: VTK lets others run while it counts."""
    data = as_image_data(image.voxels)
    if image.components > 1 or label:
        return Prepared(data, image.ijk_to_ras, label)
    _remember_range(data.GetPointData().GetScalars(), image.voxels)
    histogram: Any = import_module("vtkmodules.vtkImagingStatistics").vtkImageHistogramStatistics()
    histogram.SetAutoRangePercentiles(*_TAILS)
    histogram.SetAutoRangeExpansionFactors(0, 0)
    histogram.SetInputData(data)
    histogram.Update()
    low, high = histogram.GetAutoRange()
    return Prepared(data, image.ijk_to_ras, levels=(low, high))


def _remember_range(scalars: Any, voxels: npt.NDArray[Any]) -> None:
    """Tell VTK the range of the values, as it would remember it: it takes ten times as long as numpy to find out."""
    low, high = float(voxels.min()), float(voxels.max())
    if not np.isfinite([low, high]).all():
        return
    keys = vtk.vtkDataArray
    component, components = vtk.vtkInformation(), vtk.vtkInformationVector()
    component.Set(keys.COMPONENT_RANGE(), (low, high), 2)
    components.SetInformationObject(0, component)
    scalars.GetInformation().Set(keys.PER_COMPONENT(), components)


def add_volume(application: Application, made: Prepared, name: str) -> Any:
    """A new volume node with a display. ``name`` is made unique."""
    scene = application.scene
    kind = VECTOR if made.components > 1 else LABELMAP if made.label else SCALAR
    node = scene.AddNewNodeByClass(kind, scene.GenerateUniqueName(name or "Volume"))
    if made.levels is None:
        fill(node, made)
        node.CreateDefaultDisplayNodes()
        return node
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAutoWindowLevel(False)  # noqa: FBT003 - VTK knows no keywords
    display.SetWindowLevelMinMax(*made.levels)
    fill(node, made)
    # Automatic, as it was: but told so, it would count all voxels again.
    display.SetDisableModifiedEvent(1)
    display.SetAutoWindowLevel(True)  # noqa: FBT003
    display.SetDisableModifiedEvent(0)
    return node


def fill(node: Any, made: Prepared) -> None:
    """Give a volume node these voxels and this geometry."""
    node.SetIJKToRASMatrix(vtk_matrix(made.ijk_to_ras))
    node.SetAndObserveImageData(made.data)


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
