"""How much each point of a line or ring matters (Douglas and Peucker 1973), for many of them at once.

Instead of a recursion for every line, all stretches of all lines are split in step: each round finds the point
farthest from the chord of every stretch. The distance is kept as a rank; a zoom shows the points whose rank reaches it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from microtome.formats.vector.arrays import LINE, POINTS, Ints, Shapes, begins, ranges
from microtome.formats.vector.geojson.plane import UNITS

ALWAYS = 255
"""Rank of points that every zoom shows: the ends of a line, four points of a ring."""
MAX_ROUNDS = 48
"""Deeper splits, which only lines made to annoy need, take the rank of the stretch they are in."""
TOLERANCE = 0.4
"""px of a zoom a simplified outline may be off."""
_STEPS = 4
_ZERO = 64


def rank_of(distance_px: NDArray[np.float64] | float) -> NDArray[np.uint8]:
    """Rank of a distance in px of the highest zoom: four steps for each factor of two."""
    steps = np.rint(_STEPS * np.log2(np.maximum(distance_px, 1e-6))) + _ZERO
    return np.clip(steps, 1, ALWAYS - 1).astype(np.uint8)


def threshold(zooms_below: int) -> int:
    """The least rank shown ``zooms_below`` the highest zoom, where all points are."""
    return 0 if zooms_below == 0 else int(rank_of(TOLERANCE * 2.0**zooms_below))


def ranks(shapes: Shapes) -> NDArray[np.uint8]:
    """The rank of every point of ``shapes``, whose points are in units of the plane."""
    found = np.zeros(len(shapes.points), np.float64)
    starts, counts = shapes.starts, shapes.counts
    found[np.repeat(shapes.roles == POINTS, counts)] = np.inf
    found[starts[counts > 0]] = np.inf
    line = shapes.roles == LINE
    found[(starts + counts - 1)[line]] = np.inf
    ring = shapes.roles > LINE
    # A stretch is first, number of points behind it, and where it ends: for the last one of a ring at its first point.
    lines = line & (counts > 2)
    rings = ring & (counts > 2)
    first = np.concatenate((starts[lines], starts[rings]))
    inner = np.concatenate((counts[lines] - 2, counts[rings] - 1))
    end = np.concatenate(((starts + counts - 1)[lines], starts[rings]))
    bound = np.full(len(first), np.inf)
    always = np.concatenate((np.zeros(int(lines.sum()), np.int64), np.full(int(rings.sum()), 2)))
    points = shapes.points.astype(np.float64)
    for _ in range(MAX_ROUNDS):
        if len(first) == 0:
            break
        at, distance = _farthest(points, first, inner, end)
        distance = np.minimum(np.where(always > 0, np.inf, distance), bound)
        found[at] = distance
        before, behind = at - first - 1, inner - (at - first)
        first = np.concatenate((first, at))
        inner = np.concatenate((before, behind))
        end = np.concatenate((at, end))
        bound = np.concatenate((distance, distance))
        always = np.concatenate((always, always)) - 1
        # What is closer than a unit is never told apart again.
        go = (inner > 0) & ((bound > 1) | (always > 0))
        first, inner, end, bound, always = first[go], inner[go], end[go], bound[go], always[go]
    else:
        rest = ranges(first + 1, inner)
        found[rest] = np.maximum(found[rest], np.repeat(bound, inner))
    result = rank_of(found / UNITS)
    result[np.isinf(found)] = ALWAYS
    return result


def _farthest(points: NDArray[np.float64], first: Ints, inner: Ints, end: Ints) -> tuple[Ints, NDArray[np.float64]]:
    """Of the points of each stretch the one farthest from the chord between its ends, and that distance."""
    places = ranges(first + 1, inner)
    a, b = points[first], points[end]
    chord = b - a
    length = (chord**2).sum(axis=1)
    origin, along = np.repeat(a, inner, axis=0), np.repeat(chord, inner, axis=0)
    offset = points[places] - origin
    share = (offset * along).sum(axis=1) / np.repeat(np.where(length > 0, length, 1.0), inner)
    offset -= np.clip(share, 0.0, 1.0)[:, None] * along
    squares = (offset**2).sum(axis=1)
    groups = begins(inner)
    most = np.maximum.reduceat(squares, groups)
    hits = np.flatnonzero(squares == np.repeat(most, inner))
    _, one = np.unique(np.repeat(np.arange(len(inner)), inner)[hits], return_index=True)
    return places[hits[one]], np.sqrt(most)
