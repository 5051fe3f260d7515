"""Volumes, and their values on a slice.

Values are those of vtkImageReslice, which 3D Slicer shows: linear between voxel centres and rounded to the type of the
volume, or those of the nearest voxel; half a voxel around the outer centres still belongs to the volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microtome.scene.slices.geometry import Bounds, Matrix, SliceGeometry

Array = NDArray[Any]
_BORDER = 0.5
_TOLERANCE = 1.0 / (1 << 17)
_BAND = 1 << 14
_ALIGNED = 1e-7
"""An entry of a matrix of voxels per pixel that counts as none."""


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """Voxels (slices k, rows j, columns i, components) and ``ijk_to_ras`` (4 x 4): index (i, j, k) to RAS in mm."""

    array: Array
    ijk_to_ras: Matrix

    @property
    def dimensions(self) -> tuple[int, int, int]:
        """Number of voxels along i, j, k."""
        k, j, i = self.array.shape[:3]
        return i, j, k

    @property
    def bounds(self) -> Bounds:
        """The corners of the box that holds all voxels whole."""
        ends = [(-0.5, count - 0.5) for count in self.dimensions]
        corners = np.array([(i, j, k, 1.0) for i in ends[0] for j in ends[1] for k in ends[2]])
        return (corners @ self.ijk_to_ras.T)[:, :3]

    def spacing_along(self, normal: NDArray[np.float64]) -> float:
        """How far voxels lie apart along a direction (the axis nearest to it), in mm."""
        axes = self.ijk_to_ras[:3, :3]
        lengths = np.linalg.norm(axes, axis=0)
        nearest = int(np.argmax(np.abs(normal @ (axes / np.where(lengths > 0, lengths, 1)))))
        return float(lengths[nearest])


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """Values (rows, columns, components) on a slice, row 0 on top; ``inside`` (rows, columns) or None for all."""

    values: Array
    inside: NDArray[np.bool_] | None


def sample(volume: Volume, geometry: SliceGeometry, *, linear: bool = True) -> Sampled:
    """The values of a volume on a slice; zero outside."""
    to_ijk = np.linalg.inv(volume.ijk_to_ras) @ geometry.rows_to_ras()
    columns, rows = geometry.size
    axes = _axes(to_ijk)
    if axes is not None:
        return _aligned(volume.array, to_ijk, axes, (rows, columns), linear=linear)
    grid = _grid(to_ijk, rows, columns)
    return at(volume.array, grid[0], grid[1], grid[2], linear=linear)


def _axes(to_ijk: Matrix) -> tuple[int, int] | None:
    """The axes of the volume that columns and rows of the picture run along; None when one is oblique."""
    turn = np.abs(to_ijk[:3, :2])
    significant = turn > _ALIGNED * max(float(turn.max()), 1.0)
    if (significant.sum(0) != 1).any():
        return None
    along_column, along_row = int(np.argmax(significant[:, 0])), int(np.argmax(significant[:, 1]))
    return None if along_column == along_row else (along_column, along_row)


def _aligned(array: Array, to_ijk: Matrix, axes: tuple[int, int], shape: tuple[int, int], *, linear: bool) -> Sampled:
    """Columns and rows run along axes of the volume: interpolate one axis after the other."""
    rows, columns = shape
    across, down = axes
    fixed = 3 - across - down
    counts = (array.shape[2], array.shape[1], array.shape[0])
    place = float(to_ijk[fixed, 3])
    xs = to_ijk[across, 0] * np.arange(columns) + to_ijk[across, 3]
    ys = to_ijk[down, 1] * np.arange(rows) + to_ijk[down, 3]
    inside_x, inside_y = _inside(xs, counts[across]), _inside(ys, counts[down])
    values = np.zeros((rows, columns, array.shape[3]), array.dtype)
    if not (inside_x.any() and inside_y.any() and _inside(np.array([place]), counts[fixed])[0]):
        return Sampled(values, np.zeros((rows, columns), np.bool_))
    flat = array[..., 0] if array.shape[3] == 1 else array  # short inner loops cost most of the time
    plane = _plane(flat, 2 - fixed, place, counts[fixed], linear=linear)
    if down < across:  # the remaining axes stand as (larger, smaller) axis
        plane = plane.swapaxes(0, 1)
    x_range, y_range = _span(inside_x), _span(inside_y)
    part = _crossed(plane, ys[y_range], xs[x_range], linear=linear)
    values[y_range, x_range] = _as(part, array.dtype).reshape(*part.shape[:2], -1)
    whole = inside_x.all() and inside_y.all()
    return Sampled(values, None if whole else inside_y[:, None] & inside_x[None, :])


def _plane(array: Array, axis: int, place: float, count: int, *, linear: bool) -> Array:
    """The plane at ``place`` along an axis: (larger axis, smaller axis, components)."""
    if not linear:
        return np.moveaxis(array, axis, 0)[_nearest(np.array([place]), count)[0]]
    low, high, weight = _neighbours(np.array([place]), count)
    planes = np.moveaxis(array, axis, 0)
    below = planes[low[0]]
    if weight[0] == 0:
        return below
    kind = _working(array.dtype)
    return below * kind(1 - weight[0]) + planes[high[0]] * kind(weight[0])


def _crossed(plane: Array, ys: NDArray[np.float64], xs: NDArray[np.float64], *, linear: bool) -> Array:
    """A plane at the crossings of rows and columns. Whole rows are copied, which is quick: so it is turned for columns,
    while it is small.
    """
    if len(ys) < plane.shape[0]:
        return _turned(_resampled(_turned(_resampled(plane, ys, linear=linear)), xs, linear=linear))
    return _resampled(_turned(_resampled(_turned(plane), xs, linear=linear)), ys, linear=linear)


def _turned(plane: Array) -> Array:
    return np.ascontiguousarray(plane.swapaxes(0, 1))


def _resampled(plane: Array, places: NDArray[np.float64], *, linear: bool) -> Array:
    """The rows at some places, a new array."""
    count = plane.shape[0]
    if not linear:
        return plane.take(_nearest(places, count), 0, mode="clip")
    low, high, weight = _neighbours(places, count)
    if not weight.any():
        return plane.take(low, 0, mode="clip")
    kind = _working(plane.dtype)
    shaped = weight.astype(kind).reshape(-1, *[1] * (plane.ndim - 1))
    plane = plane.astype(kind, copy=False)
    below = plane.take(low, 0, mode="clip")
    difference = plane.take(high, 0, mode="clip")
    difference -= below
    difference *= shaped
    difference += below
    return difference


def at(
    array: Array, i: NDArray[np.float64], j: NDArray[np.float64], k: NDArray[np.float64], *, linear: bool = True
) -> Sampled:
    """The values at any places (rows, columns) of a volume, in voxels."""
    counts = (array.shape[2], array.shape[1], array.shape[0])
    inside = _inside(i, counts[0]) & _inside(j, counts[1]) & _inside(k, counts[2])
    values = np.zeros((*i.shape, array.shape[3]), array.dtype)
    chosen = np.flatnonzero(inside)
    into = values.reshape(-1, array.shape[3])
    found_at = _trilinear if linear else _nearest_voxels
    for begin in range(0, chosen.size, _BAND):  # intermediate results stay in the cache
        some = chosen[begin : begin + _BAND]
        into[some] = _as(found_at(array, [axis.reshape(-1)[some] for axis in (i, j, k)]), array.dtype)
    return Sampled(values, None if chosen.size == inside.size else inside)


def _trilinear(array: Array, places: list[NDArray[np.float64]]) -> Array:
    k_count, j_count, i_count = array.shape[:3]
    kind = _working(array.dtype)
    flat = array.reshape(-1, array.shape[3])
    (i0, i1, wi), (j0, j1, wj), (k0, k1, wk) = (
        _neighbours(axis, count) for axis, count in zip(places, (i_count, j_count, k_count), strict=True)
    )
    wi, wj, wk = (weight.astype(kind)[:, None] for weight in (wi, wj, wk))

    def line(j: NDArray[np.intp], k: NDArray[np.intp]) -> Array:
        start = (k * j_count + j) * i_count
        below = flat.take(start + i0, 0, mode="clip").astype(kind, copy=False)
        difference = flat.take(start + i1, 0, mode="clip").astype(kind, copy=False)
        difference -= below
        difference *= wi
        difference += below
        return difference

    def plane(k: NDArray[np.intp]) -> Array:
        below = line(j0, k)
        difference = line(j1, k)
        difference -= below
        difference *= wj
        difference += below
        return difference

    below = plane(k0)
    difference = plane(k1)
    difference -= below
    difference *= wk
    difference += below
    return difference


def _nearest_voxels(array: Array, places: list[NDArray[np.float64]]) -> Array:
    k_count, j_count, i_count = array.shape[:3]
    i, j, k = (_nearest(axis, count) for axis, count in zip(places, (i_count, j_count, k_count), strict=True))
    return array.reshape(-1, array.shape[3]).take((k * j_count + j) * i_count + i, 0)


def _grid(to_ijk: Matrix, rows: int, columns: int) -> NDArray[np.float64]:
    """Places in voxels of all pixels: (3, rows, columns)."""
    x, y = np.arange(columns, dtype=float), np.arange(rows, dtype=float)
    return (
        to_ijk[:3, 0, None, None] * x[None, None, :]
        + to_ijk[:3, 1, None, None] * y[None, :, None]
        + to_ijk[:3, 3, None, None]
    )


def _inside(places: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    return (places >= -_BORDER - _TOLERANCE) & (places <= count - 1 + _BORDER + _TOLERANCE)


def _span(inside: NDArray[np.bool_]) -> slice:
    """The pixels inside: places grow or fall steadily, so they are neighbours."""
    first = int(np.argmax(inside))
    return slice(first, first + int(inside.sum()))


def _neighbours(
    places: NDArray[np.float64], count: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    clamped = np.clip(places, 0, count - 1)
    low = np.floor(clamped + _TOLERANCE)
    weight = clamped - low
    weight[weight < _TOLERANCE] = 0  # numbers that are whole but for rounding
    first = low.astype(np.intp)
    return first, np.minimum(first + 1, count - 1), weight


def _nearest(places: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    return np.clip(np.floor(places + (0.5 + _TOLERANCE)), 0, count - 1).astype(np.intp)


def _working(kind: np.dtype[Any]) -> type[np.floating[Any]]:
    """Wide enough to interpolate in: float32 holds 24 bits exactly."""
    return np.float32 if kind.itemsize <= 2 else np.float64


def _as(values: Array, kind: np.dtype[Any]) -> Array:
    """Rounded in place: whoever asks has made the values."""
    if values.dtype == kind or kind.kind == "f":
        return values.astype(kind, copy=False)
    values += values.dtype.type(0.5)
    return (values if kind.kind == "u" else np.floor(values, out=values)).astype(kind)
