"""Where a slice lies in the patient.

Coordinates are RAS (right, anterior, superior) in mm, as MRML has them. A slice has axes of its own: x to the right of
the screen, y up, z along the normal towards the viewer. Pixel (0, 0) is the lower left one; its position is the corner
of the field of view and the pitch is field / size, so there is no shift by half a pixel (vtkMRMLSliceNode's XYToRAS).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Orientation = Literal["axial", "sagittal", "coronal"]

_AXES: dict[Orientation, tuple[tuple[float, ...], ...]] = {
    "axial": ((-1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "sagittal": ((0, -1, 0), (0, 0, 1), (-1, 0, 0)),
    "coronal": ((-1, 0, 0), (0, 0, 1), (0, 1, 0)),
}
"""x, y, normal of the standard orientations; the patient's right is on the left of the screen."""
_SAME = 1e-4


def oriented(orientation: Orientation) -> Matrix:
    """The 4 x 4 SliceToRAS of a standard orientation through the origin."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(_AXES[orientation], float).T
    return matrix


def orientation_of(matrix: Matrix) -> Orientation | None:
    """The standard orientation of a SliceToRAS, None for another (Slicer says "Reformat")."""
    for name in _AXES:
        if np.abs(matrix[:3, :3] - oriented(name)[:3, :3]).max() < _SAME:
            return name
    return None


@dataclass(frozen=True, slots=True, eq=False)
class SliceGeometry:
    """A slice: ``slice_to_ras`` (4 x 4), field of view (width, height) in mm, size (width, height) in px.

    ``origin``: the centre of the field of view in slice coordinates (mm), for panning.
    """

    slice_to_ras: Matrix
    field_of_view: tuple[float, float]
    size: tuple[int, int]
    origin: tuple[float, float] = (0.0, 0.0)

    @property
    def normal(self) -> Vector:
        """The unit normal in RAS."""
        normal = self.slice_to_ras[:3, 2]
        return normal / np.linalg.norm(normal)

    @property
    def offset(self) -> float:
        """Projection of the slice's origin on its normal, in mm."""
        return float(self.normal @ self.slice_to_ras[:3, 3])

    def at(self, offset: float) -> SliceGeometry:
        """The parallel slice at another offset."""
        matrix = self.slice_to_ras.copy()
        matrix[:3, 3] += self.normal * (offset - self.offset)
        return replace(self, slice_to_ras=matrix)

    def turned(self, orientation: Orientation) -> SliceGeometry:
        """The slice of a standard orientation through the same centre."""
        matrix = oriented(orientation)
        matrix[:3, 3] = self.slice_to_ras[:3, 3]
        return replace(self, slice_to_ras=matrix)

    @property
    def xy_to_ras(self) -> Matrix:
        """From pixels (x to the right, y up from the lowest row) to RAS."""
        (width, height), (across, up) = self.size, self.field_of_view
        xy_to_slice = np.eye(4)
        xy_to_slice[0, 0], xy_to_slice[1, 1] = across / width, up / height
        xy_to_slice[0, 3] = self.origin[0] - across / 2
        xy_to_slice[1, 3] = self.origin[1] - up / 2
        return self.slice_to_ras @ xy_to_slice

    def rows_to_ras(self) -> Matrix:
        """From column and row of a picture (row 0 on top) to RAS."""
        flip = np.eye(4)
        flip[1, 1], flip[1, 3] = -1, self.size[1] - 1
        return self.xy_to_ras @ flip

    def fitted(self, bounds: Bounds) -> SliceGeometry:
        """Centred on a box, so that all of it is in view; the offset stays.

        ``bounds``: the box as ``Volume.bounds`` gives it.
        """
        low, high = along(self.slice_to_ras[:3, :3], bounds)
        middle = (low + high) / 2
        matrix = self.slice_to_ras.copy()
        matrix[:3, 3] = matrix[:3, :3] @ np.array([middle[0], middle[1], self.offset])
        extent = np.maximum(high - low, 1e-3)
        width, height = self.size
        pitch = max(extent[0] / width, extent[1] / height)
        return replace(
            self, slice_to_ras=matrix, field_of_view=(float(pitch * width), float(pitch * height)), origin=(0.0, 0.0)
        )


Bounds = NDArray[np.float64]
"""The eight corners of a box in RAS: (8, 3), mm."""


def along(axes: Matrix, corners: Bounds) -> tuple[Vector, Vector]:
    """Lowest and highest projection of corners on the columns of ``axes`` (3 x 3, orthonormal): (3,) each, mm."""
    projected = corners @ axes
    return projected.min(0), projected.max(0)
