"""A volume that shapes are painted into, in mm right, anterior, superior."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from microtome.scene.images import Image

Floats = npt.NDArray[np.float32]
Triple = tuple[float, float, float]
_NOISE = 61
"""Voxels of the noise that is laid out again and again; no divisor of the usual sizes."""


class Canvas:
    """``size``: columns, rows, slices. ``spacing`` in mm. Columns run to the left, rows to the back, slices upwards."""

    def __init__(self, size: tuple[int, int, int], spacing: Triple, background: float) -> None:
        self.spacing = spacing
        signs = (1, 1, -1)
        self.start = tuple((sign * (size[axis] - 1)) / 2 * spacing[axis] for axis, sign in enumerate(signs))
        self.values = np.full(size[::-1], background, np.float32)
        self.labels = np.zeros(size[::-1], np.uint8)

    def axes(self, where: tuple[slice, slice, slice]) -> tuple[Floats, Floats, Floats]:
        """Coordinates of a part: right, anterior and superior, each along its own axis of (slices, rows, columns)."""
        found: list[Floats] = []
        for axis, (sign, shape) in enumerate(((-1, (1, 1, -1)), (-1, (1, -1, 1)), (1, (-1, 1, 1)))):
            part = where[2 - axis]
            steps = np.arange(part.start, part.stop, dtype=np.float32) * np.float32(self.spacing[axis])
            found.append((np.float32(self.start[axis]) + np.float32(sign) * steps).reshape(shape))
        return found[0], found[1], found[2]

    def around(self, center: Triple, radii: Triple, margin: float = 2.0) -> tuple[slice, slice, slice]:
        """The part that a box around a centre touches: slices, rows, columns."""
        parts: list[slice] = []
        for axis in (2, 1, 0):
            sign = 1 if axis == 2 else -1
            count = self.values.shape[2 - axis]
            middle = sign * (center[axis] - self.start[axis]) / self.spacing[axis]
            reach = (radii[axis] + margin) / self.spacing[axis]
            first, last = int(np.floor(middle - reach)), int(np.ceil(middle + reach)) + 1
            parts.append(slice(min(max(first, 0), count), min(max(last, 0), count)))
        return parts[0], parts[1], parts[2]

    def ellipsoid(
        self, center: Triple, radii: Triple, value: float, *, label: int = 0, power: float = 2.0, soft: float = 1.0
    ) -> None:
        """Paint one. ``power`` above 2 makes it boxier; ``soft``: width of its edge in mm; ``label``: of its inside."""
        where = self.around(center, radii)
        distance = self.distance(where, center, radii, power)
        self.blend(where, distance, min(radii), value, label=label, soft=soft)

    def distance(self, where: tuple[slice, slice, slice], center: Triple, radii: Triple, power: float = 2.0) -> Floats:
        """0 in the centre, 1 at the surface."""
        total = np.float32(0)
        for values, middle, radius in zip(self.axes(where), center, radii, strict=True):
            total = total + np.abs((values - np.float32(middle)) / np.float32(radius)) ** np.float32(power)
        return np.asarray(total, np.float32) ** np.float32(1 / power)

    def blend(
        self,
        where: tuple[slice, slice, slice],
        distance: Floats,
        radius: float,
        value: float,
        *,
        label: int,
        soft: float,
    ) -> None:
        """Paint where ``distance`` is below 1; the edge is as wide as ``soft``."""
        share = np.clip((1 - distance) * np.float32(radius / soft) + np.float32(0.5), 0, 1)
        part = self.values[where]
        part += share * (np.float32(value) - part)
        if label:
            self.labels[where][share > 0.5] = label

    def image(self, noise: float, seed: int, *, lowest: float | None = None) -> Image:
        """The volume as int16 with noise of this deviation."""
        grain = np.random.default_rng(seed).normal(0, noise, (_NOISE, _NOISE, _NOISE)).astype(np.float32)
        depth, height, width = self.values.shape
        rows = np.arange(height) % _NOISE
        columns = np.arange(width) % _NOISE
        made = np.empty(self.values.shape, np.int16)
        for number in range(depth):
            # Turned from slice to slice, so that no pattern repeats in depth.
            plane = grain[number % _NOISE][np.ix_((rows + 17 * number) % _NOISE, (columns + 29 * number) % _NOISE)]
            plane = plane + self.values[number]
            if lowest is not None:
                np.maximum(np.abs(plane) if lowest == 0 else plane, lowest, out=plane)
            made[number] = np.rint(plane)
        return Image(made, self.matrix())

    def matrix(self) -> npt.NDArray[np.float64]:
        """Voxels to mm."""
        matrix = np.diag([-self.spacing[0], -self.spacing[1], self.spacing[2], 1.0])
        matrix[:3, 3] = self.start
        return matrix
