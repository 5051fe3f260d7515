"""What is drawn over a slice: segments, markups, where other slices cut it, letters of orientation, a scale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import floor, hypot, log10

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from microtome.scene.slices.display import THICK, Bytes, borders, over
from microtome.scene.slices.geometry import Matrix, SliceGeometry, Vector
from microtome.scene.slices.sampler import Volume, sample

Color = tuple[int, int, int]
KINDS = ("segments", "markups", "intersections", "orientation", "scale")
"""What can be asked for."""
_LETTERS = ("RL", "AP", "SI")
_SECOND_LETTER = 0.35
_INK: Color = (235, 235, 235)
_SHADOW: Color = (0, 0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """The voxels of ``volume`` with the value ``label``, filled and outlined with these opacities (0 to 1)."""

    volume: Volume
    label: int
    color: Color
    fill: float = 0.5
    outline: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Markup:
    """Control points in RAS (n, 3) with their labels, joined by ``path`` (m, 3) where the markup is a line or curve.

    ``size`` of the glyphs in px of a picture 512 px wide.
    """

    points: NDArray[np.float64]
    labels: tuple[str, ...]
    color: Color
    path: NDArray[np.float64] | None = None
    size: float = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """Another slice, shown as the line where it cuts this one."""

    geometry: SliceGeometry
    color: Color


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """All that is drawn. ``thickness``: how far from the slice (mm, both sides together) markups are still shown."""

    segments: tuple[Segment, ...] = ()
    markups: tuple[Markup, ...] = ()
    cuts: tuple[Cut, ...] = ()
    orientation: bool = False
    scale: bool = False
    thickness: float = 1.0

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not (self.segments or self.markups or self.cuts or self.orientation or self.scale)


def drawn(picture: Bytes, geometry: SliceGeometry, overlay: Overlay) -> Bytes:
    """An RGBA picture with an overlay on it."""
    for volume, segments in _by_volume(overlay.segments):
        picture = over(picture, _segments(volume, segments, geometry))
    if overlay.markups or overlay.cuts or overlay.orientation or overlay.scale:
        sheet = Image.new("RGBA", geometry.size, (0, 0, 0, 0))
        pen = _Pen(ImageDraw.Draw(sheet), geometry)
        for cut in overlay.cuts:
            pen.cut(cut)
        for markup in overlay.markups:
            pen.markup(markup, overlay.thickness)
        if overlay.orientation:
            pen.letters()
        if overlay.scale:
            pen.scale_bar()
        picture = over(picture, np.asarray(sheet))
    return picture


def letters(direction: Vector) -> str:
    """The side of the patient a direction in RAS points to: "R", or "RA" where it lies between two."""
    named = sorted(
        ((abs(float(part)), pair[0] if part > 0 else pair[1]) for part, pair in zip(direction, _LETTERS, strict=True)),
        reverse=True,
    )
    return "".join(letter for share, letter in named[:2] if share == named[0][0] or share > _SECOND_LETTER)


def _by_volume(segments: Iterable[Segment]) -> list[tuple[Volume, list[Segment]]]:
    """Segments that share a labelmap need one look at it."""
    found: dict[int, tuple[Volume, list[Segment]]] = {}
    for segment in segments:
        found.setdefault(id(segment.volume), (segment.volume, []))[1].append(segment)
    return list(found.values())


def _segments(volume: Volume, segments: Sequence[Segment], geometry: SliceGeometry) -> Bytes:
    """RGBA: the inside of each segment, and the pixels at its border."""
    values = sample(volume, geometry, linear=False).values[..., 0]
    highest = max(segment.label for segment in segments)
    fill, line = np.zeros((highest + 1, 4), np.uint8), np.zeros((highest + 1, 4), np.uint8)
    for segment in segments:
        fill[segment.label] = (*segment.color, round(255 * segment.fill))
        line[segment.label] = (*segment.color, round(255 * segment.outline))
    numbers = np.where((values >= 0) & (values <= highest), values, 0).astype(np.intp)
    picture = fill.take(numbers, 0)
    border = borders(numbers, thick=max(geometry.size) > THICK)
    picture[border] = line.take(numbers[border], 0)
    return picture


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


class _Pen:
    """Draws in the pixels of a slice."""

    def __init__(self, draw: ImageDraw.ImageDraw, geometry: SliceGeometry) -> None:
        self._draw = draw
        self._geometry = geometry
        self._from_ras: Matrix = np.asarray(np.linalg.inv(geometry.rows_to_ras()), np.float64)
        self._width, self._height = geometry.size
        self._unit = max(min(geometry.size) / 512, 0.5)
        self._font = _font(max(9, round(15 * self._unit)))

    def cut(self, cut: Cut) -> None:
        """The line of the points of this slice that lie in the other."""
        plane = np.append(cut.geometry.normal, -cut.geometry.offset)
        a, b, _, c = plane @ self._geometry.rows_to_ras()
        ends = self._ends(float(a), float(b), float(c))
        if ends is not None:
            self._draw.line(ends, fill=(*cut.color, 255), width=max(1, round(self._unit)))

    def _ends(self, a: float, b: float, c: float) -> tuple[float, float, float, float] | None:
        """Where a x + b y + c = 0 enters and leaves the picture."""
        if hypot(a, b) < 1e-12:
            return None
        right, bottom = self._width - 1, self._height - 1
        found: list[tuple[float, float]] = []
        if abs(b) > 1e-12:
            found += [(x, -(a * x + c) / b) for x in (0.0, right) if -0.5 <= -(a * x + c) / b <= bottom + 0.5]
        if abs(a) > 1e-12:
            found += [(-(b * y + c) / a, y) for y in (0.0, bottom) if -0.5 <= -(b * y + c) / a <= right + 0.5]
        return (*min(found), *max(found)) if len(found) > 1 else None

    def markup(self, markup: Markup, thickness: float) -> None:
        """Glyphs and labels of the points near the slice, and the part of the path that is."""
        color = (*markup.color, 255)
        if markup.path is not None and len(markup.path) > 1:
            for begin, end in _near(self._placed(markup.path), self._reach(thickness)):
                self._draw.line((*begin, *end), fill=color, width=max(1, round(2 * self._unit)))
        radius = max(2.0, markup.size * self._unit)
        placed = self._placed(markup.points)
        for (x, y, depth), label in zip(placed, markup.labels, strict=True):
            if abs(depth) <= self._reach(thickness) and -radius <= x <= self._width + radius:
                self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=color, width=2)
                self._draw.point((x, y), fill=color)
                self._text((x + 1.6 * radius, y), label, markup.color, "lm")

    def _placed(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Column, row and distance (mm) of points."""
        placed = np.c_[points, np.ones(len(points))] @ self._from_ras.T
        placed[:, 2] = points @ self._geometry.normal - self._geometry.offset
        return placed[:, :3]

    @staticmethod
    def _reach(thickness: float) -> float:
        return thickness / 2 + 1e-6

    def letters(self) -> None:
        """At the middle of each side, where in the patient it lies."""
        across, up = self._geometry.slice_to_ras[:3, 0], self._geometry.slice_to_ras[:3, 1]
        gap = 6 * self._unit
        self._text((gap, self._height / 2), letters(-across), _INK, "lm")
        self._text((self._width - gap, self._height / 2), letters(across), _INK, "rm")
        self._text((self._width / 2, gap), letters(up), _INK, "ma")
        self._text((self._width / 2, self._height - gap), letters(-up), _INK, "md")

    def scale_bar(self) -> None:
        """A round number of mm, about a quarter of the width."""
        pitch = self._geometry.field_of_view[0] / self._width
        length = _round_length(pitch * self._width / 4)
        pixels = length / pitch
        gap, tick = 12 * self._unit, 4 * self._unit
        left, right, y = self._width - gap - pixels, self._width - gap, self._height - gap
        for offset, color in ((1, _SHADOW), (0, _INK)):
            shape = [(left, y - tick), (left, y), (right, y), (right, y - tick)]
            self._draw.line([(x + offset, row + offset) for x, row in shape], fill=(*color, 255), width=1)
        self._text((right, y - tick - 2), f"{length:g} mm" if length < 1000 else f"{length / 10:g} cm", _INK, "rd")

    def _text(self, place: tuple[float, float], text: str, color: Color, anchor: str) -> None:
        self._draw.text(
            place, text[:100], fill=(*color, 255), font=self._font, anchor=anchor, stroke_width=1, stroke_fill=_SHADOW
        )


def _near(placed: NDArray[np.float64], reach: float) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """The parts of a path (column, row, distance) no further away than ``reach``."""
    found: list[tuple[tuple[float, float], tuple[float, float]]] = []
    for begin, end in pairwise(placed):
        step = float(end[2] - begin[2])
        low, high = 0.0, 1.0
        if abs(step) < 1e-9:
            if abs(begin[2]) > reach:
                continue
        else:
            at = sorted(((-reach - float(begin[2])) / step, (reach - float(begin[2])) / step))
            low, high = max(low, at[0]), min(high, at[1])
            if low > high:
                continue
        first, last = begin + (end - begin) * low, begin + (end - begin) * high
        found.append(((float(first[0]), float(first[1])), (float(last[0]), float(last[1]))))
    return found


def _round_length(most: float) -> float:
    """The largest of 1, 2, 5, 10, 20 ... that is not above."""
    power = 10.0 ** floor(log10(max(most, 1e-9)))
    return max(step * power for step in (1, 2, 5) if step * power <= most * (1 + 1e-9))
