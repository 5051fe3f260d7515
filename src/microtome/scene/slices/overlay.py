"""What is drawn over a slice: segments, models, markups, where other slices cut it, letters of orientation, a scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microtome.scene.slices.cutting import Mesh
from microtome.scene.slices.geometry import Matrix, SliceGeometry
from microtome.scene.slices.sampler import Volume

Color = tuple[int, int, int]
KINDS = ("segments", "models", "markups", "intersections", "orientation", "scale")
"""What can be asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """The voxels of ``volume`` with the value ``label``, filled and outlined with these opacities (0 to 1).

    ``places``: in a bent volume, where each pixel lies in voxels (i j k, rows, columns).
    """

    volume: Volume
    label: int
    color: Color
    fill: float = 0.5
    outline: float = 1.0
    places: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """A surface, shown as the lines where the slice cuts it, and filled where it is closed.

    ``to_world``: 4 x 4, from the points of the mesh to RAS. ``outline`` and ``fill``: opacities, 0 to 1. ``width`` of
    the lines in px of a picture 512 px wide.
    """

    mesh: Mesh
    to_world: Matrix
    color: Color
    outline: float = 1.0
    fill: float = 0.0
    width: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Markup:
    """Control points in RAS (n, 3) with their labels, joined by ``path`` (m, 3) where the markup is a line or curve.

    ``size`` of the glyphs in px of a picture 512 px wide. ``opacity`` of all of it. ``text``: what is measured, beside
    the part of the path that is seen. ``crossings``: a dot where the path goes through the slice. ``projected``:
    opacity (0 to 1) of points that are not on the slice.
    """

    points: NDArray[np.float64]
    labels: tuple[str, ...]
    color: Color
    path: NDArray[np.float64] | None = None
    size: float = 5.0
    opacity: float = 1.0
    text: str = ""
    crossings: bool = False
    projected: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """Another slice, shown as the line where it cuts this one."""

    geometry: SliceGeometry
    color: Color


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """All that is drawn. ``thickness``: how far from the slice (mm, both sides together) markups are still shown."""

    segments: tuple[Segment, ...] = ()
    surfaces: tuple[Surface, ...] = ()
    markups: tuple[Markup, ...] = ()
    cuts: tuple[Cut, ...] = ()
    orientation: bool = False
    scale: bool = False
    thickness: float = 1.0

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not (
            self.segments or self.surfaces or self.markups or self.cuts or self.orientation or self.scale
        )  # fmt: skip
