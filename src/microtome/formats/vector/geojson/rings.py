"""Shapes on the grid of a tile as the specification wants them (§4.3.4): no repeated points, rings wound by role."""

from __future__ import annotations

import numpy as np

from microtome.formats.vector.arrays import EXTERIOR, INTERIOR, LINE, POINTS, Ints, Shapes, begins, ranges


def wound(shapes: Shapes) -> Shapes:
    """Rounded to whole units; rings without area and lines without length leave, holes with their polygon.

    Exteriors get a positive area by the surveyor's formula, which is clockwise where y runs down; interiors a negative.
    """
    if len(shapes.points) == 0:
        return shapes
    shapes = Shapes(np.rint(shapes.points).astype(np.int64), shapes.counts, shapes.roles, shapes.features)
    shapes = shapes.keep_points(~_repeated(shapes))
    if len(shapes.points) == 0:
        return shapes
    ring = shapes.roles > LINE
    areas = np.where(ring, _areas(shapes), 0.0)
    good = (shapes.roles == POINTS) | ((shapes.roles == LINE) & (shapes.counts >= 2)) | (ring & (areas != 0))
    # A hole goes with the exterior it stands behind.
    polygon = np.cumsum(shapes.roles != INTERIOR)
    exteriors = np.zeros(int(polygon[-1]) + 1, bool)
    exteriors[polygon[(shapes.roles == EXTERIOR) & good]] = True
    good &= (shapes.roles != INTERIOR) | exteriors[polygon]
    backwards = ring & ((areas > 0) != (shapes.roles == EXTERIOR))
    order = _reversing(shapes, backwards)
    turned = Shapes(shapes.points[order], shapes.counts, shapes.roles, shapes.features)
    return turned if bool(good.all()) else turned.take(np.flatnonzero(good))


def _repeated(shapes: Shapes) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Points of lines and rings equal to the one before; of a ring the last one, too, when it equals the first."""
    points, counts = shapes.points, shapes.counts
    starts = begins(counts)
    repeated = np.zeros(len(points), bool)
    repeated[1:] = (points[1:] == points[:-1]).all(axis=1)
    repeated[starts] = False
    repeated &= np.repeat(shapes.roles != POINTS, counts)
    # The last point that stays of a ring is compared with the first.
    last = _last_kept(repeated, starts, counts)
    closing = (shapes.roles > LINE) & (last > starts) & (points[last] == points[starts]).all(axis=1)
    repeated[last[closing]] = True
    return repeated


def _last_kept(repeated: np.ndarray[tuple[int], np.dtype[np.bool_]], starts: Ints, counts: Ints) -> Ints:
    places = np.where(repeated, -1, np.arange(len(repeated)))
    return np.maximum.reduceat(places, starts)


def _areas(shapes: Shapes) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Twice the signed area of each part taken as a ring."""
    starts, counts = shapes.starts, shapes.counts
    following = np.arange(1, len(shapes.points) + 1)
    following[starts + counts - 1] = starts
    x, y = shapes.points[:, 0], shapes.points[:, 1]
    return np.add.reduceat(x * y[following] - x[following] * y, starts).astype(np.float64)


def _reversing(shapes: Shapes, backwards: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Ints:
    """The order of points that turns those parts round."""
    starts, counts = shapes.starts, shapes.counts
    order = np.arange(len(shapes.points))
    some = ranges(starts[backwards], counts[backwards])
    mirrored = np.repeat(2 * starts[backwards] + counts[backwards] - 1, counts[backwards]) - some
    order[some] = mirrored
    return order
