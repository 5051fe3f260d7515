"""A section stained with haematoxylin and eosin, painted block by block.

Light is absorbed as the law of Beer and Lambert has it: the amounts of both dyes are painted, and their optical
densities become colours at the end. One px is 0.499 µm, so a nucleus is some 14 px across.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microtome.demo.noise import Field, fractal, value

MARGIN = 48
"""Px by which things reach over the edge of a block."""
_HAEMATOXYLIN = np.array([0.650, 0.704, 0.286], np.float32)
_EOSIN = np.array([0.092, 0.954, 0.283], np.float32)
_STEPS = 4096
_DEEPEST = 4.0


@dataclass(frozen=True, slots=True)
class _Gland:
    """A duct: lumen in the middle, a wall of columnar cells around it."""

    x: float
    y: float
    radius: float
    stretch: float
    seed: int


@dataclass(frozen=True, slots=True)
class _Nuclei:
    """Nuclei of the whole section, one row each: centre, half axes, direction (unit vector), darkness, kind."""

    x: Field
    y: Field
    long: Field
    short: Field
    cos: Field
    sin: Field
    dark: Field


class Section:
    """The section. The same ``seed`` and size give the same pixels."""

    def __init__(self, width: int, height: int, seed: int) -> None:
        self.width, self.height, self.seed = width, height, seed
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._glands = self._place_glands()
        self._vacuoles = self._place_vacuoles()
        self._nuclei = self._place_nuclei()
        depth = np.linspace(0, _DEEPEST, _STEPS, dtype=np.float64)
        self._shade = np.rint(246 * np.exp(-depth)).astype(np.uint8)

    # -- where things are --------------------------------------------------------------------------------------------

    def tissue(self, x: Field, y: Field) -> Field:
        """How far inside the tissue a point lies: negative outside, about 1 in the middle."""
        across = (x - self.width * 0.5) / (self.width * 0.46)
        down = (y - self.height * 0.5) / (self.height * 0.45)
        edge = fractal(x / np.float32(900), y / np.float32(900), self.seed + 1, 4) - 0.5
        clefts = fractal(x / np.float32(1500), y / np.float32(230), self.seed + 2, 3)
        whole = 1.0 - (across * across + down * down) + 1.1 * edge
        return np.minimum(whole * 2.2, (np.float32(0.79) - clefts) * 30).astype(np.float32)

    def _place_glands(self) -> list[_Gland]:
        found: list[_Gland] = []
        wanted = max(4, self.width * self.height // 300_000)
        for _ in range(wanted * 12):
            x, y = self._random.random() * self.width, self._random.random() * self.height
            radius = 70 + 150 * self._random.random() ** 2
            point = np.array([x], np.float32), np.array([y], np.float32)
            crowd = float(value(point[0] / np.float32(1300), point[1] / np.float32(1300), self.seed + 3)[0])
            if float(self.tissue(*point)[0]) < 0.45 or crowd < 0.42:
                continue
            if all((x - g.x) ** 2 + (y - g.y) ** 2 > (1.32 * (radius + g.radius)) ** 2 for g in found):
                found.append(_Gland(x, y, radius, 0.7 + 0.6 * self._random.random(), len(found)))
            if len(found) >= wanted:
                break
        return found

    def _place_vacuoles(self) -> NDArray[np.float32]:
        """Fat cells: (x, y, radius)."""
        count = self.width * self.height // 16_000
        points = self._random.random((count, 3)).astype(np.float32)
        x, y = points[:, 0] * self.width, points[:, 1] * self.height
        fat = value(x / np.float32(1900), y / np.float32(1900), self.seed + 4)
        keep = (fat > 0.74) & (self.tissue(x, y) > 0.25)
        keep &= np.array([self._outside_glands(float(a), float(b), 60) for a, b in zip(x, y, strict=True)])
        return np.stack((x, y, 30 + 40 * points[:, 2]), axis=1).astype(np.float32)[keep]

    def _place_nuclei(self) -> _Nuclei:
        rows = [self._stroma_nuclei(), self._lymphocytes(), *(self._wall_nuclei(gland) for gland in self._glands)]
        table = np.concatenate(rows).astype(np.float32)
        x, y = table[:, 0], table[:, 1]
        table = table[(self.tissue(x, y) > 0.12) & self._outside_vacuoles(x, y)]
        length = np.sqrt(table[:, 4] ** 2 + table[:, 5] ** 2)
        cos, sin = (table[:, 4] / length).astype(np.float32), (table[:, 5] / length).astype(np.float32)
        return _Nuclei(table[:, 0], table[:, 1], table[:, 2], table[:, 3], cos, sin, table[:, 6])

    def _stroma_nuclei(self) -> NDArray[np.float32]:
        """Spindle-shaped, along the fibres."""
        random = self._random.random((self.width * self.height // 2600, 7)).astype(np.float32)
        x, y = random[:, 0] * self.width, random[:, 1] * self.height
        density = value(x / np.float32(420), y / np.float32(420), self.seed + 5)
        keep = random[:, 2] < density * np.float32(0.95)
        keep &= np.array([self._outside_glands(float(a), float(b)) for a, b in zip(x, y, strict=True)])
        slope = (value(x / np.float32(500), y / np.float32(500), self.seed + 6) - 0.5) * 1.8 + (
            random[:, 3] - 0.5
        ) * 0.8
        long = 8 + 6 * random[:, 4]
        table = (x, y, long, 2.8 + 2.2 * random[:, 5], np.ones_like(x), slope, 0.75 + 0.5 * random[:, 6])
        return np.stack(table, axis=1).astype(np.float32)[keep]

    def _lymphocytes(self) -> NDArray[np.float32]:
        """Small, round and dark, in crowds."""
        random = self._random.random((self.width * self.height // 1500, 5)).astype(np.float32)
        x, y = random[:, 0] * self.width, random[:, 1] * self.height
        crowd = value(x / np.float32(700), y / np.float32(700), self.seed + 7)
        keep = random[:, 2] < np.clip((crowd - np.float32(0.72)) * 5, 0, 1)
        keep &= np.array([self._outside_glands(float(a), float(b)) for a, b in zip(x, y, strict=True)])
        radius = 4.6 + 1.4 * random[:, 3]
        table = (x, y, radius, radius * 0.94, np.ones_like(x), random[:, 4] - 0.5, np.full_like(x, 1.45))
        return np.stack(table, axis=1)[keep]

    def _wall_nuclei(self, gland: _Gland) -> NDArray[np.float32]:
        """Two ragged rows of oval nuclei at the base of the wall, pointing to the lumen."""
        rows: list[NDArray[np.float32]] = []
        for ring in (0.80, 0.90):
            count = max(8, int(gland.radius * ring * 6.283 / 8))
            random = self._random.random((count, 6)).astype(np.float32)
            # Directions of unit length without sine or cosine: points of a disc, pushed to its rim.
            dx, dy = random[:, 0] * 2 - 1, random[:, 1] * 2 - 1
            length = np.sqrt(dx * dx + dy * dy) + np.float32(1e-3)
            dx, dy = dx / length, dy / length
            radius = gland.radius * (ring + 0.07 * (random[:, 2] - 0.5))
            wobble = self._wobble(gland, dx, dy)
            x, y = gland.x + dx * radius * wobble, gland.y + dy * radius * wobble * gland.stretch
            table = (x, y, 8.5 + 3 * random[:, 3], 4.6 + 1.6 * random[:, 4], dx, dy * gland.stretch,
                     0.85 + 0.5 * random[:, 5])  # fmt: skip
            rows.append(np.stack(table, axis=1))
        return np.concatenate(rows)

    def _wobble(self, gland: _Gland, dx: Field, dy: Field) -> Field:
        return 0.82 + 0.36 * value(dx * np.float32(1.6) + 7, dy * np.float32(1.6) + 7, self.seed + 900 + gland.seed)

    def _outside_glands(self, x: float, y: float, distance: float = 0.0) -> bool:
        return all(
            (x - g.x) ** 2 + ((y - g.y) / g.stretch) ** 2 > (g.radius * 1.14 + distance) ** 2
            for g in self._near(x, y)
        )  # fmt: skip

    def _outside_vacuoles(self, x: Field, y: Field) -> NDArray[np.bool_]:
        outside = np.ones(x.shape, bool)
        for left, top, radius in self._vacuoles:
            outside &= (x - left) ** 2 + (y - top) ** 2 > (radius + 5) ** 2
        return outside

    def _near(self, x: float, y: float, reach: float = 260.0) -> list[_Gland]:
        return [g for g in self._glands if abs(g.x - x) < g.radius + reach and abs(g.y - y) < g.radius + reach]

    # -- what they look like -----------------------------------------------------------------------------------------

    def block(self, left: int, top: int, width: int, height: int) -> NDArray[np.uint8]:
        """Pixels (height, width, 3) of a rectangle of the section."""
        x = (np.arange(width, dtype=np.float32) + left)[np.newaxis, :]
        y = (np.arange(height, dtype=np.float32) + top)[:, np.newaxis]
        inside = self._coarse(self.tissue, left, top, width, height)
        cover = np.clip(inside * 9, 0, 1)
        eosin, haematoxylin = self._stroma(x, y, left, top, width, height)
        self._paint_glands(x, y, left, top, eosin, haematoxylin)
        self._paint_vacuoles(left, top, eosin, haematoxylin)
        self._paint_nuclei(left, top, eosin, haematoxylin)
        eosin *= cover
        haematoxylin *= cover
        grain = value(x / np.float32(1.7), y / np.float32(1.7), self.seed + 30) - np.float32(0.5)
        eosin *= 1 + np.float32(0.16) * grain
        pixels = np.empty((height, width, 3), np.uint8)
        for channel in range(3):
            depth = eosin * _EOSIN[channel] + haematoxylin * _HAEMATOXYLIN[channel]
            steps = np.clip(depth * np.float32(_STEPS / _DEEPEST), 0, _STEPS - 1).astype(np.int32)
            pixels[:, :, channel] = self._shade[steps]
        return pixels

    def _coarse(self, field: Callable[[Field, Field], Field], left: int, top: int, width: int, height: int) -> Field:
        """A smooth field computed at every 8th px and interpolated between."""
        step = 8
        across, down = width // step + 2, height // step + 2
        x = np.arange(across, dtype=np.float32) * step + left
        y = np.arange(down, dtype=np.float32) * step + top
        rough = field(np.tile(x, (down, 1)), np.tile(y[:, np.newaxis], (1, across)))
        part = np.arange(step, dtype=np.float32) / np.float32(step)
        upper, lower = rough[:-1, np.newaxis, :], rough[1:, np.newaxis, :]
        rows = (upper + (lower - upper) * part[:, np.newaxis]).reshape((down - 1) * step, across)
        before, after = rows[:, :-1, np.newaxis], rows[:, 1:, np.newaxis]
        fine = (before + (after - before) * part).reshape((down - 1) * step, (across - 1) * step)
        return fine[:height, :width].astype(np.float32)

    def _stroma(self, x: Field, y: Field, left: int, top: int, width: int, height: int) -> tuple[Field, Field]:
        """Wavy bundles of collagen: eosin, with a breath of haematoxylin."""

        def bend(a: Field, b: Field) -> Field:
            return (fractal(a / np.float32(520), b / np.float32(520), self.seed + 10, 2) - 0.5) * 300

        def tone(a: Field, b: Field) -> Field:
            return fractal(a / np.float32(800), b / np.float32(800), self.seed + 11, 3)

        bent = y + self._coarse(bend, left, top, width, height)
        bundle = value(x / np.float32(150), bent / np.float32(17), self.seed + 12)
        fibre = value(x / np.float32(46), bent / np.float32(4.2), self.seed + 13)
        gap = np.clip((value(x / np.float32(95), bent / np.float32(11), self.seed + 14) - np.float32(0.66)) * 5, 0, 1)
        strength = 0.36 + 0.42 * self._coarse(tone, left, top, width, height)
        eosin = strength * (0.48 + 0.36 * bundle + 0.30 * fibre) * (1 - np.float32(0.72) * gap)
        return eosin.astype(np.float32), (0.05 + 0.05 * bundle).astype(np.float32)

    def _paint_glands(self, x: Field, y: Field, left: int, top: int, eosin: Field, haematoxylin: Field) -> None:
        for gland in self._glands:
            reach = gland.radius * 1.35
            x0, x1 = int(max(0, gland.x - reach - left)), int(min(eosin.shape[1], gland.x + reach - left))
            tall = reach * max(1.0, gland.stretch)
            y0, y1 = int(max(0, gland.y - tall - top)), int(min(eosin.shape[0], gland.y + tall - top))
            if x0 >= x1 or y0 >= y1:
                continue
            dx = (x[:, x0:x1] - np.float32(gland.x)) + np.zeros((y1 - y0, 1), np.float32)
            dy = ((y[y0:y1] - np.float32(gland.y)) / np.float32(gland.stretch)) + np.zeros((1, x1 - x0), np.float32)
            distance = np.sqrt(dx * dx + dy * dy) + np.float32(1e-3)
            ratio = distance / (gland.radius * self._wobble(gland, dx / distance, dy / distance))
            ratio = ratio + 0.06 * (value(dx / np.float32(13), dy / np.float32(13), self.seed + 20) - np.float32(0.5))
            wall = np.clip((1.03 - ratio) * 22, 0, 1)
            lumen = np.clip((0.46 - ratio) * 16, 0, 1)
            cells = value(dx / np.float32(6.5), dy / np.float32(6.5), self.seed + 21)
            cytoplasm = 0.40 + 0.20 * cells + 0.16 * np.clip((0.62 - ratio) * 6, 0, 1)
            rim = np.clip(1 - np.abs(ratio - 1.05) * 26, 0, 1) * np.float32(0.22)
            secretion = np.clip(
                value(dx / np.float32(30), dy / np.float32(30), self.seed + 22) - np.float32(0.62), 0, 1
            )
            part = (slice(y0, y1), slice(x0, x1))
            eosin[part] = eosin[part] * (1 - wall) + cytoplasm * wall + rim
            haematoxylin[part] = haematoxylin[part] * (1 - wall) + np.float32(0.15) * wall
            eosin[part] = eosin[part] * (1 - lumen) + secretion * lumen * np.float32(0.8)
            haematoxylin[part] *= 1 - lumen

    def _paint_vacuoles(self, left: int, top: int, eosin: Field, haematoxylin: Field) -> None:
        """Empty where fat was, with a thin membrane."""
        for x, y, radius in self._vacuoles:
            window = _window(float(x), float(y), float(radius) + 4, left, top, eosin.shape)
            if window is None:
                continue
            part, dx, dy = window
            distance = np.sqrt(dx * dx + dy * dy)
            empty = np.clip((radius - distance) * np.float32(0.5), 0, 1)
            membrane = np.clip(1 - np.abs(distance - radius) * np.float32(0.5), 0, 1)
            eosin[part] = eosin[part] * (1 - empty) + membrane * np.float32(0.30)
            haematoxylin[part] *= 1 - empty

    def _paint_nuclei(self, left: int, top: int, eosin: Field, haematoxylin: Field) -> None:
        n = self._nuclei
        height, width = eosin.shape
        near = (n.x > left - MARGIN) & (n.x < left + width + MARGIN)
        near &= (n.y > top - MARGIN) & (n.y < top + height + MARGIN)
        for i in np.flatnonzero(near):
            reach = float(n.long[i]) + 2
            window = _window(float(n.x[i]), float(n.y[i]), reach, left, top, eosin.shape)
            if window is None:
                continue
            part, dx, dy = window
            along = dx * n.cos[i] + dy * n.sin[i]
            across = dy * n.cos[i] - dx * n.sin[i]
            a, b = along / n.long[i], across / n.short[i]
            inside = a * a + b * b
            body = np.clip((1 - inside) * np.float32(2.6), 0, 1)
            chromatin = value((dx + n.x[i]) / np.float32(2.6), (dy + n.y[i]) / np.float32(2.6), self.seed + 40)
            rim = np.clip(1 - np.abs(inside - np.float32(0.78)) * np.float32(3.2), 0, 1)
            dye = n.dark[i] * (np.float32(0.52) + np.float32(0.55) * chromatin + np.float32(0.28) * rim)
            haematoxylin[part] = haematoxylin[part] * (1 - body) + dye * body
            eosin[part] *= 1 - np.float32(0.55) * body


def _window(
    x: float, y: float, reach: float, left: int, top: int, shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], Field, Field] | None:
    """The part of a block within ``reach`` of a point, and the distances to it in x and y."""
    x0, x1 = max(0, int(x - reach - left)), min(shape[1], int(x + reach - left) + 1)
    y0, y1 = max(0, int(y - reach - top)), min(shape[0], int(y + reach - top) + 1)
    if x0 >= x1 or y0 >= y1:
        return None
    dx = (np.arange(x0, x1, dtype=np.float32) + np.float32(left - x))[np.newaxis, :]
    dy = (np.arange(y0, y1, dtype=np.float32) + np.float32(top - y))[:, np.newaxis]
    return (slice(y0, y1), slice(x0, x1)), dx, dy
