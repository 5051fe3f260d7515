"""Surfaces, and the lines where a plane cuts them."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from microtome.scene.slices.geometry import Matrix, Vector

Points = NDArray[np.float64]
Lines = NDArray[np.float64]
"""Begin and end of line segments: (n, 2, coordinates)."""
MOST_DIRECTIONS = 4
"""Directions of planes a surface is prepared for: three views, and one that is turned."""
_SAME = 1e-12


class _Heights(NamedTuple):
    """Of all points along a direction, and the lowest and the highest of each triangle."""

    points: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


class Mesh:
    """Triangles: ``points`` (n, 3) in mm and ``triangles`` (m, 3), indices of points. Both stay as they are.

    What depends on the direction of a plane only is kept, so that one moved along its normal looks at two numbers of
    each triangle. May be used by several threads.
    """

    def __init__(self, points: Points, triangles: NDArray[Any]) -> None:
        self.points = np.ascontiguousarray(points, np.float64).reshape(-1, 3)
        found = np.ascontiguousarray(triangles, np.int64).reshape(-1, 3)
        inside = ((found >= 0) & (found < len(self.points))).all(1)
        self.triangles = found if inside.all() else found[inside]
        self._kept: OrderedDict[bytes, _Heights] = OrderedDict()
        self._lock = Lock()

    def cut(self, plane: Vector) -> Lines:
        """Where a plane (a, b, c, d: a x + b y + c z + d = 0) cuts the triangles: (n, 2, 3).

        A point in the plane counts as above it, so that an edge in the plane is cut once (as vtkCutter has it).
        """
        if not len(self.triangles):
            return np.zeros((0, 2, 3))
        normal, level = plane[:3], -float(plane[3])
        heights = self._heights(normal)
        chosen = np.flatnonzero((heights.low < level) & (heights.high >= level))
        corners = self.triangles[chosen]
        above = heights.points[corners] - level
        # The corner that is alone on its side comes first: both of its edges are cut.
        side = above >= 0
        alone = np.where(side.sum(1, keepdims=True) == 1, side, ~side).argmax(1)
        order = (alone[:, None] + np.arange(3)) % 3
        corners, above = np.take_along_axis(corners, order, 1), np.take_along_axis(above, order, 1)
        first, others = self.points[corners[:, :1]], self.points[corners[:, 1:]]
        with np.errstate(invalid="ignore", over="ignore"):
            share = above[:, :1] / (above[:, :1] - above[:, 1:])
            lines = first + (others - first) * share[..., None]
            lengths = np.abs(lines[:, 1] - lines[:, 0]).max(1, initial=0)
        return lines[(lengths > _SAME) & np.isfinite(lengths)]

    def _heights(self, normal: Vector) -> _Heights:
        key = normal.tobytes()
        with self._lock:
            if (found := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return found
        made = self._prepared(normal)
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > MOST_DIRECTIONS:
                self._kept.popitem(last=False)
        return made

    def _prepared(self, normal: Vector) -> _Heights:
        with np.errstate(invalid="ignore", over="ignore"):
            points = self.points @ normal
        a, b, c = (points.take(self.triangles[:, corner]) for corner in range(3))
        return _Heights(points, np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c))


def cut(mesh: Mesh, to_world: Matrix, plane: Vector) -> Lines:
    """Where a plane of the world cuts a surface that a matrix (4 x 4) puts there: (n, 2, 3) in the world."""
    found = mesh.cut(plane @ to_world)
    return found @ to_world[:3, :3].T + to_world[:3, 3]


def box(center_to_world: Matrix, size: Vector) -> Mesh:
    """The surface of a box of a size (mm) about the origin of a matrix (4 x 4)."""
    signs = np.array([(i, j, k) for k in (-0.5, 0.5) for j in (-0.5, 0.5) for i in (-0.5, 0.5)])
    corners = (signs * size) @ center_to_world[:3, :3].T + center_to_world[:3, 3]
    sides = ((0, 1, 3, 2), (4, 5, 7, 6), (0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5))
    return Mesh(corners, np.array([half for a, b, c, d in sides for half in ((a, b, c), (a, c, d))]))
