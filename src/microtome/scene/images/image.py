"""A volume as arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microtome.errors import CorruptData, LimitExceeded, NotFound, UnsupportedFormat

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
MAX_HEADER = 16 << 20
MAX_DIMENSION = 1 << 20
"""More voxels along one axis than any scanner makes; keeps products of sizes away from overflow."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What reading may take. ``voxels``: numbers in the array. ``beside``: another file by its name in the header,
    refused (raised) where it must not be read; None when the header stands alone (an upload).
    """

    voxels: int = 1 << 30
    beside: Callable[[str], Path] | None = None

    def neighbour(self, name: str) -> Path:
        """The file that a header names. Raises NotFound, Forbidden."""
        if self.beside is None:
            raise NotFound("file", name[:200], "The header names another file, and none came with it")
        path = self.beside(name)
        if not path.is_file():
            raise NotFound("file", name[:200], f"The header names a file that is not there: {name[:200]}")
        return path


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """``voxels``: (slices, rows, columns), or (slices, rows, columns, components).

    ``ijk_to_ras``: 4 x 4, from (column, row, slice) of the centre of a voxel to mm right, anterior, superior.
    ``frames``: the same volume at other times (first the one of ``voxels``); one in most files. ``fields``: what else
    the header says, as text.
    """

    voxels: npt.NDArray[Any]
    ijk_to_ras: npt.NDArray[np.float64]
    fields: Mapping[str, str] = field(default_factory=dict[str, str])
    frames: Sequence[npt.NDArray[Any]] = ()

    @property
    def components(self) -> int:
        """Numbers a voxel."""
        return self.voxels.shape[3] if self.voxels.ndim == 4 else 1


def checked_sizes(sizes: Sequence[int], itemsize: int, limits: Limits) -> int:
    """Bytes of an array of these sizes. Raises CorruptData for impossible ones, LimitExceeded for too many."""
    if not sizes or any(not 1 <= size <= MAX_DIMENSION for size in sizes):
        raise CorruptData(f"The header tells impossible sizes: {' x '.join(str(size) for size in sizes[:8])}")
    count = math.prod(sizes)
    if count > limits.voxels:
        raise LimitExceeded(
            f"The volume has {count} voxels, more than the {limits.voxels} this server takes",
            limit="scene_voxels",
            value=count,
        )
    return count * itemsize


def checked_matrix(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The matrix, if it places voxels at all. Raises CorruptData for a flat one or numbers that are none."""
    if not np.isfinite(matrix).all() or np.abs(matrix).max() > 1e9:
        raise CorruptData("The header tells a geometry with numbers that are none")
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if lengths.min() < 1e-9 or abs(np.linalg.det(matrix[:3, :3] / lengths)) < 1e-6:
        raise CorruptData("The axes of the volume lie in a plane: nothing can be placed with them")
    return matrix


def of_numbers(text: str, what: str, *, most: int = 4096) -> list[float]:
    """Numbers parted by blanks. Raises CorruptData."""
    words = text.split()
    if len(words) > most:
        raise CorruptData(f"The header tells too many numbers for {what}")
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise CorruptData(f"The header tells no numbers for {what}") from error


def of_integers(text: str, what: str) -> list[int]:
    """Whole numbers parted by blanks. Raises CorruptData."""
    try:
        return [int(word) for word in text.split()]
    except ValueError as error:
        raise CorruptData(f"The header tells no whole numbers for {what}") from error


def unsupported(what: str) -> UnsupportedFormat:
    """The error for a feature that is not read."""
    return UnsupportedFormat(f"This volume cannot be read: {what}", feature=what[:100])
