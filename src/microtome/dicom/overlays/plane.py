"""Where the pixels of an image lie on the glass: total pixel matrices, and how to get from one to another.

Places in a matrix are px, the origin at the upper left corner of its first px, x along the rows. Places on the glass
are mm in the slide coordinate system (PS3.3 §C.8.12.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microtome.dicom.dataset import Dataset
from microtome.errors import CorruptData
from microtome.model import Size

Affine = NDArray[np.float64]
"""(2, 3): the columns are what a step in x and in y makes, and the place of the origin."""

COLUMNS, ROWS = 0x0048_0006, 0x0048_0007
_ORIGINS, _X, _Y = 0x0048_0008, 0x0040_072A, 0x0040_073A
_ORIENTATION = 0x0048_0102
_SHARED, _MEASURES, _SPACING = 0x5200_9229, 0x0028_9110, 0x0028_0030
_SOP_INSTANCE = 0x0008_0018
_MOST_SIDE = 1 << 26


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """A total pixel matrix. ``to_glass`` is None where the data set does not say where it lies."""

    sop_uid: str
    size: Size
    to_glass: Affine | None


def plane_of(dataset: Dataset) -> Plane:
    """The matrix of an image or segmentation. Raises CorruptData for sizes that cannot be."""
    size = Size(dataset.whole(COLUMNS), dataset.whole(ROWS))
    if not (1 <= size.width <= _MOST_SIDE and 1 <= size.height <= _MOST_SIDE):
        raise CorruptData(f"A total pixel matrix of {size.width} x {size.height} px is none")
    return Plane(dataset.string(_SOP_INSTANCE), size, _to_glass(dataset))


def _to_glass(dataset: Dataset) -> Affine | None:
    origins = dataset.items(_ORIGINS)
    spacing = next((m.numbers(_SPACING) for s in dataset.items(_SHARED) for m in s.items(_MEASURES)), ())
    orientation = dataset.numbers(_ORIENTATION)
    x, y = (origins[0].number(_X), origins[0].number(_Y)) if origins else (None, None)
    if x is None or y is None or len(spacing) != 2 or len(orientation) != 6:
        return None
    across = np.array(orientation[:2]) * spacing[1]
    down = np.array(orientation[3:5]) * spacing[0]
    # The origin is the middle of the first px.
    found: Affine = np.column_stack((across, down, np.array((x, y)) - (across + down) / 2)).astype(np.float64)
    steps = abs(float(np.linalg.det(found[:, :2]))) if bool(np.isfinite(found).all()) else 0.0
    return found if steps > 1e-14 else None


def between(a: Plane, b: Plane) -> Affine:
    """From px of ``a`` to px of ``b``.

    Matrices over the same part of the glass differ by the ratio of their sizes exactly; others, by what they say of
    the glass; those that do not say are taken to be over the same part.
    """
    across, down = b.size.width / a.size.width, b.size.height / a.size.height
    ratio = np.array([[across, 0.0, 0.0], [0.0, down, 0.0]])
    if a.to_glass is None or b.to_glass is None:
        return ratio
    found = joined(a.to_glass, inverse(b.to_glass))
    corners = np.array([[0, 0], [a.size.width, a.size.height], [a.size.width, 0]], np.float64)
    # Levels are rounded to whole px, and begin up to a px of the coarser one apart.
    reach = 2 * np.array([max(1.0, across), max(1.0, down)])
    same = np.abs(applied(found, corners) - applied(ratio, corners)) <= reach
    return ratio if bool(same.all()) else found


def inverse(affine: Affine) -> Affine:
    """The way back."""
    back = np.linalg.inv(affine[:, :2]).astype(np.float64)
    return np.column_stack((back, -back @ affine[:, 2]))


def joined(first: Affine, then: Affine) -> Affine:
    """One behind the other."""
    return np.column_stack((then[:, :2] @ first[:, :2], then[:, :2] @ first[:, 2] + then[:, 2]))


def applied(affine: Affine, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (n, 2) on the other side; what is no number stays none."""
    with np.errstate(invalid="ignore", over="ignore"):
        return points @ affine[:, :2].T + affine[:, 2]
