"""Lines and areas into pixels, with smooth edges, many at once.

Places are column and row; whole numbers are the middles of pixels. What is drawn comes as ``Ink``: only the pixels that
it touches.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from microtome.scene.slices.cutting import Lines
from microtome.scene.slices.display import Bytes

_MOST = 1 << 18
"""Pixels looked at together."""
_FLAT = 1e-9


Floats = NDArray[np.float32]


class Ink(NamedTuple):
    """Pixels (numbers of a picture of so many columns, row by row) and how much of each is covered, 0 to 1."""

    pixels: NDArray[np.intp]
    share: NDArray[np.float32]


def stroked(lines: Lines, size: tuple[int, int], width: float) -> Ink:
    """Line segments (n, 2, 2) with round ends, ``width`` px wide."""
    columns, rows = size
    covered = np.zeros(rows * columns, np.float32)
    half = max(width, 0.1) / 2
    reach = half + 0.5
    begin, end = _clipped(lines, size, reach + 1)
    each = (np.abs(end - begin).max(1, initial=0) + 2 * reach + 2) * (2 * np.ceil(1.5 * reach) + 1)
    groups = np.cumsum(each) // _MOST
    for group in range(int(groups[-1]) + 1 if len(groups) else 0):
        some = groups == group
        _cover(covered, size, begin[some], end[some], half)
    pixels = np.flatnonzero(covered > 0)
    return Ink(pixels, covered[pixels])


def _cover(
    covered: Floats, size: tuple[int, int], begin: NDArray[np.float64], end: NDArray[np.float64], half: float
) -> None:
    """Look at the pixels beside each line: along its longer way all of them, across it those within reach."""
    reach = half + 0.5
    way = end - begin
    steep = np.abs(way[:, 1]) > np.abs(way[:, 0])
    turned = (begin[:, ::-1], way[:, ::-1])
    begin, way = (np.where(steep[:, None], other, same) for same, other in zip((begin, way), turned, strict=True))
    low = np.minimum(begin[:, 0], begin[:, 0] + way[:, 0])
    first = np.floor(low - reach).astype(np.intp)
    count = np.ceil(low + np.abs(way[:, 0]) + reach).astype(np.intp) - first + 1
    line = np.repeat(np.arange(len(begin)), count)
    main = np.arange(line.size) - np.repeat(np.cumsum(count) - count, count) + first[line]
    per_square = way / np.maximum((way**2).sum(1, keepdims=True), _FLAT)
    (x, y), (across, up), (along, upward) = (each[line].T.astype(np.float32) for each in (begin, way, per_square))
    dx = main.astype(np.float32) - x
    # Where the line is beside this pixel; beyond its ends, where it ends.
    beside = y + up * np.clip(dx / np.where(np.abs(across) > _FLAT, across, np.float32(1)), 0, 1)
    span = int(np.ceil(1.5 * reach))
    cross = np.rint(beside).astype(np.intp)[:, None] + np.arange(-span, span + 1)
    dy = cross.astype(np.float32) - y[:, None]
    nearest = np.clip((dx * along)[:, None] + dy * upward[:, None], 0, 1)
    away = np.sqrt((dx[:, None] - nearest * across[:, None]) ** 2 + (dy - nearest * up[:, None]) ** 2)
    ink = np.minimum(np.float32(half + 0.5) - away, np.float32(min(1.0, 2 * half)))
    columns, rows = size
    turn = steep[line]
    most, stride = (
        np.where(turn, [[rows], [columns]], [[columns], [rows]]),
        np.where(turn, [[columns], [1]], [[1], [columns]]),
    )
    inked = (ink > 0) & ((main >= 0) & (main < most[0]))[:, None] & (cross >= 0) & (cross < most[1][:, None])
    pixels = (main * stride[0])[:, None] + cross * stride[1][:, None]
    np.maximum.at(covered, pixels[inked], ink[inked])


def _clipped(lines: Lines, size: tuple[int, int], margin: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Begin and end of what of the lines lies in the picture and ``margin`` px around it."""
    begin, way = lines[:, 0], lines[:, 1] - lines[:, 0]
    low, high = np.zeros(len(lines)), np.ones(len(lines))
    seen = np.isfinite(lines).all((1, 2))
    for axis in (0, 1):
        flat = np.abs(way[:, axis]) < _FLAT
        step = np.where(flat, 1, way[:, axis])
        enter, leave = (-margin - begin[:, axis]) / step, (size[axis] - 1 + margin - begin[:, axis]) / step
        inside = (begin[:, axis] >= -margin) & (begin[:, axis] <= size[axis] - 1 + margin)
        seen &= ~flat | inside
        low = np.where(flat, low, np.maximum(low, np.minimum(enter, leave)))
        high = np.where(flat, high, np.minimum(high, np.maximum(enter, leave)))
    seen &= low <= high
    begin, way = begin[seen], way[seen]
    return begin + way * low[seen, None], begin + way * high[seen, None]


def filled(lines: Lines, size: tuple[int, int]) -> Ink:
    """The inside of closed outlines (n, 2, 2) in any order: pixels with an odd number of lines on their left."""
    columns, rows = size
    lines = lines[np.isfinite(lines).all((1, 2))]
    upper = np.where((lines[:, 0, 1] <= lines[:, 1, 1])[:, None], lines[:, 0], lines[:, 1])
    lower = np.where((lines[:, 0, 1] <= lines[:, 1, 1])[:, None], lines[:, 1], lines[:, 0])
    first = np.clip(np.ceil(upper[:, 1]), 0, rows).astype(np.intp)
    count = np.maximum(np.clip(np.ceil(lower[:, 1]), 0, rows).astype(np.intp) - first, 0)
    line = np.repeat(np.arange(len(lines)), count)
    row = np.arange(line.size) - np.repeat(np.cumsum(count) - count, count) + first[line]
    height = np.maximum(lower[:, 1] - upper[:, 1], _FLAT)
    x = upper[line, 0] + (lower[line, 0] - upper[line, 0]) * ((row - upper[line, 1]) / height[line])
    column = np.clip(np.ceil(x), 0, columns).astype(np.intp)
    crossings = np.bincount(row * (columns + 1) + column, minlength=rows * (columns + 1))
    odd = (np.cumsum(crossings.reshape(rows, columns + 1), 1) & 1)[:, :columns]
    pixels = np.flatnonzero(odd)
    return Ink(pixels, np.ones(pixels.size, np.float32))


def ring(place: tuple[float, float], size: tuple[int, int], radius: float, width: float) -> Ink:
    """A circle, ``width`` px wide; a disc where the width reaches the middle."""
    columns, rows = size
    reach = radius + width / 2 + 1
    left, right = max(0, int(place[0] - reach)), min(columns, int(place[0] + reach) + 2)
    top, bottom = max(0, int(place[1] - reach)), min(rows, int(place[1] + reach) + 2)
    if left >= right or top >= bottom:
        return Ink(np.zeros(0, np.intp), np.zeros(0, np.float32))
    y, x = np.mgrid[top:bottom, left:right]
    away = np.abs(np.hypot(x - place[0], y - place[1]) - radius)
    share = np.clip(width / 2 + 0.5 - away, 0, 1).ravel()
    pixels = (y * columns + x).ravel()
    return Ink(pixels[share > 0], share[share > 0].astype(np.float32))


def painted(picture: Bytes, ink: Ink, color: tuple[int, int, int], opacity: float = 1.0) -> None:
    """Put ink on an RGBA picture (not premultiplied), which changes."""
    flat = picture.reshape(-1, 4)
    down = flat[ink.pixels].astype(np.float32)
    alpha = (ink.share * np.float32(min(max(opacity, 0.0), 1.0)))[:, None]
    under = down[:, 3:] * ((1 - alpha) / 255)
    total = alpha + under
    mixed = (np.array(color, np.float32) * alpha + down[:, :3] * under) / np.maximum(total, 1e-6)
    flat[ink.pixels, :3] = np.rint(mixed)
    flat[ink.pixels, 3] = np.rint(total[:, 0] * 255)
