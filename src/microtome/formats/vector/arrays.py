"""Many small shapes in a few large arrays: what the GeoJSON index, the cutting and the encoder share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

POINTS, LINE, EXTERIOR, INTERIOR = 0, 1, 2, 3
"""What a part is: all the points of a feature, a line, or a ring of a polygon. Interiors follow their exterior."""


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
    """Features made of parts made of points.

    ``points`` (n, 2) x and y; ``counts`` (parts) points of each part; ``roles`` (parts) one of POINTS, LINE, EXTERIOR,
    INTERIOR; ``features`` (parts) the feature of each part, ascending. Rings do not repeat their first point. A feature
    has parts of one kind only.
    """

    points: NDArray[Any]
    counts: Ints
    roles: NDArray[np.uint8]
    features: Ints

    @property
    def starts(self) -> Ints:
        """Where each part begins in ``points``."""
        return begins(self.counts)

    def keep_points(self, keep: NDArray[np.bool_]) -> Shapes:
        """Only those points; parts without points leave."""
        part = np.repeat(np.arange(len(self.counts)), self.counts)
        counts = np.bincount(part[keep], minlength=len(self.counts))
        some = counts > 0
        return Shapes(self.points[keep], counts[some], self.roles[some], self.features[some])

    def take(self, parts: Ints) -> Shapes:
        """Those parts, in that order."""
        points = ranges(self.starts[parts], self.counts[parts])
        return Shapes(self.points[points], self.counts[parts], self.roles[parts], self.features[parts])


def begins(counts: NDArray[Any]) -> Ints:
    """Where each of some groups begins when they stand one behind the other."""
    ends = np.cumsum(counts, dtype=np.int64)
    return ends - counts


def offsets(counts: NDArray[Any]) -> Ints:
    """As ``begins``, with the end of the last group: one longer than ``counts``."""
    found = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=found[1:])
    return found


def ranges(starts: NDArray[Any], counts: NDArray[Any]) -> Ints:
    """The indices ``starts[i] .. starts[i] + counts[i] - 1`` of all groups, one behind the other."""
    shifts = starts.astype(np.int64) - begins(counts)
    return np.repeat(shifts, counts) + np.arange(int(counts.sum()), dtype=np.int64)
