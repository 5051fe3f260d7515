"""Shapes clipped to a square, all at once: rings by Sutherland and Hodgman (1974), lines by Liang and Barsky (1984)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from microtome.formats.vector.arrays import LINE, POINTS, Ints, Shapes, begins

Reals = NDArray[np.float64]


def clip(shapes: Shapes, low: float, high: float) -> Shapes:
    """What of ``shapes`` lies within [low, high] in x and y. Parts outside leave; a line may become several parts."""
    if len(shapes.points) == 0:
        return shapes
    shapes = _without_empty(shapes)
    starts = shapes.starts
    least = np.minimum.reduceat(shapes.points, starts)
    most = np.maximum.reduceat(shapes.points, starts)
    within = ((least >= low) & (most <= high)).all(axis=1)
    outside = ((most < low) | (least > high)).any(axis=1)
    crossing = ~within & ~outside
    if not bool(crossing.any()):
        return shapes if bool(within.all()) else shapes.take(np.flatnonzero(within))
    pieces, places = [shapes.take(np.flatnonzero(within))], [np.flatnonzero(within)]
    for chosen, work in ((POINTS, _points), (LINE, _lines), (None, _rings)):
        some = crossing & (shapes.roles == chosen if chosen is not None else shapes.roles > LINE)
        if bool(some.any()):
            piece, part = work(shapes.take(np.flatnonzero(some)), low, high)
            pieces.append(piece)
            places.append(np.flatnonzero(some)[part])
    # Back into the order of the parts: holes stay behind their polygon, large features in front of small ones.
    return _joined(pieces).take(np.argsort(np.concatenate(places), kind="stable"))


def _joined(pieces: list[Shapes]) -> Shapes:
    return Shapes(
        np.concatenate([piece.points for piece in pieces]),
        np.concatenate([piece.counts for piece in pieces]),
        np.concatenate([piece.roles for piece in pieces]),
        np.concatenate([piece.features for piece in pieces]),
    )


def _without_empty(shapes: Shapes) -> Shapes:
    some = shapes.counts > 0
    if bool(some.all()):
        return shapes
    return Shapes(shapes.points, shapes.counts[some], shapes.roles[some], shapes.features[some])


def _selected(shapes: Shapes, points: Any, counts: Ints) -> tuple[Shapes, Ints]:
    """Parts with new points, those without any left out, and which they were."""
    kept = np.flatnonzero(counts)
    return Shapes(points, counts[kept], shapes.roles[kept], shapes.features[kept]), kept


def _points(shapes: Shapes, low: float, high: float) -> tuple[Shapes, Ints]:
    part = np.repeat(np.arange(len(shapes.counts)), shapes.counts)
    keep = ((shapes.points >= low) & (shapes.points <= high)).all(axis=1)
    return _selected(shapes, shapes.points[keep], np.bincount(part[keep], minlength=len(shapes.counts)))


def _rings(shapes: Shapes, low: float, high: float) -> tuple[Shapes, Ints]:
    """One half-plane after the other: of each edge its first point if inside, and where it crosses the border."""
    part = np.arange(len(shapes.counts))
    points: Reals = shapes.points
    counts = shapes.counts
    for axis, sign, border in ((0, 1.0, high), (0, -1.0, -low), (1, 1.0, high), (1, -1.0, -low)):
        inside = sign * points[:, axis] <= border
        if bool(inside.all()):
            continue
        starts = begins(counts)
        following = np.arange(1, len(points) + 1)
        following[starts + counts - 1] = starts
        crosses = inside != inside[following]
        number = inside.astype(np.int64) + crosses
        at = begins(number)
        out = np.empty((int(number.sum()), 2))
        out[at[inside]] = points[inside]
        a, b = points[crosses], points[following[crosses]]
        share = (sign * border - a[:, axis]) / (b[:, axis] - a[:, axis])
        met = a + share[:, None] * (b - a)
        met[:, axis] = sign * border
        out[at[crosses] + inside[crosses]] = met
        counts = np.add.reduceat(number, starts)
        points = out
        some = counts > 0
        part, counts = part[some], counts[some]
        if len(counts) == 0:
            break
    return Shapes(points, counts, shapes.roles[part], shapes.features[part]), part


def _lines(shapes: Shapes, low: float, high: float) -> tuple[Shapes, Ints]:
    """Every segment clipped; a part ends where a segment was cut at its end, or is gone."""
    part = np.repeat(np.arange(len(shapes.counts)), shapes.counts)
    first = np.flatnonzero(part[1:] == part[:-1])  # segments lie within one part
    a, b = shapes.points[first], shapes.points[first + 1]
    enter, leave = np.zeros(len(first)), np.ones(len(first))
    for axis in range(2):
        step = b[:, axis] - a[:, axis]
        flat = step == 0
        safe = np.where(flat, 1.0, step)
        near, far = (low - a[:, axis]) / safe, (high - a[:, axis]) / safe
        gone = flat & ((a[:, axis] < low) | (a[:, axis] > high))
        enter = np.maximum(enter, np.where(flat, 0.0, np.minimum(near, far)))
        leave = np.where(gone, -1.0, np.minimum(leave, np.where(flat, 1.0, np.maximum(near, far))))
    kept = np.flatnonzero(enter <= leave)
    if len(kept) == 0:
        none = np.zeros(0, np.int64)
        return Shapes(np.zeros((0, 2)), none, np.zeros(0, np.uint8), none), none
    a, b, enter, leave, of = a[kept], b[kept], enter[kept], leave[kept], part[first[kept]]
    begin, end = a + enter[:, None] * (b - a), a + leave[:, None] * (b - a)
    joins = np.zeros(len(kept), bool)
    joins[1:] = (kept[1:] == kept[:-1] + 1) & (of[1:] == of[:-1]) & (leave[:-1] == 1) & (enter[1:] == 0)
    new = np.flatnonzero(~joins)
    segments = np.diff(np.append(new, len(kept)))
    counts = segments + 1
    out = np.empty((int(counts.sum()), 2))
    starts = begins(counts)
    out[starts] = begin[new]
    others = np.ones(len(out), bool)
    others[starts] = False
    out[others] = end
    return Shapes(out, counts, shapes.roles[of[new]], shapes.features[of[new]]), of[new]
