"""Value noise on a lattice: the same numbers for the same place and seed, however the plane is cut into blocks.

Only additions, multiplications and integer hashes are used, so that every machine paints the same pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]


def _lattice(x: NDArray[np.int64], y: NDArray[np.int64], seed: int) -> Field:
    """Numbers in [0, 1) at lattice points, by a 32-bit integer hash."""
    h = (x * 374761393 + y * 668265263 + seed * 2147483647).astype(np.uint32)
    h ^= h >> np.uint32(13)
    h *= np.uint32(1274126177)
    h ^= h >> np.uint32(16)
    return (h >> np.uint32(8)).astype(np.float32) * np.float32(1.0 / (1 << 24))


def value(x: Field, y: Field, seed: int) -> Field:
    """Smooth noise in [0, 1) at the points (x, y), in units of the lattice; ``x`` and ``y`` broadcast together."""
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    u, v = (x - left).astype(np.float32), (y - top).astype(np.float32)
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    upper = _lattice(left, top, seed) * (1 - u) + _lattice(left + 1, top, seed) * u
    lower = _lattice(left, top + 1, seed) * (1 - u) + _lattice(left + 1, top + 1, seed) * u
    return (upper * (1 - v) + lower * v).astype(np.float32)


def fractal(x: Field, y: Field, seed: int, octaves: int) -> Field:
    """Noise with finer and weaker octaves added, in [0, 1)."""
    total = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.float32)
    weight, sum_of_weights = np.float32(1.0), np.float32(0.0)
    for octave in range(octaves):
        scale = np.float32(1 << octave)
        total += weight * value(x * scale, y * scale, seed + 101 * octave)
        sum_of_weights += weight
        weight *= np.float32(0.5)
    return total / sum_of_weights
