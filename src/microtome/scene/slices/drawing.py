"""An overlay, drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import floor, log10

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from microtome.scene.slices.cutting import Lines, cut
from microtome.scene.slices.display import THICK, Bytes, borders, over
from microtome.scene.slices.geometry import Matrix, SliceGeometry, Vector
from microtome.scene.slices.overlay import Color, Cut, Markup, Overlay, Segment, Surface
from microtome.scene.slices.sampler import at, sample
from microtome.scene.slices.strokes import filled, painted, ring, stroked

_LETTERS = ("RL", "AP", "SI")
_SECOND_LETTER = 0.35
_INK: Color = (235, 235, 235)
_SHADOW: Color = (0, 0, 0)
_LONGEST_TEXT = 100


def drawn(picture: Bytes, geometry: SliceGeometry, overlay: Overlay) -> Bytes:
    """An RGBA picture with an overlay on it."""
    for segments in _by_volume(overlay.segments):
        picture = over(picture, _segments(segments, geometry))
    pen = _Pen(np.ascontiguousarray(picture).copy(), geometry)
    for surface in overlay.surfaces:
        pen.surface(surface)
    for each in overlay.cuts:
        pen.cut(each)
    for markup in overlay.markups:
        pen.markup(markup, overlay.thickness)
    if overlay.orientation:
        pen.letters()
    if overlay.scale:
        pen.scale_bar()
    return pen.picture


def letters(direction: Vector) -> str:
    """The side of the patient a direction in RAS points to: "R", or "RA" where it lies between two."""
    named = sorted(
        ((abs(float(part)), pair[0] if part > 0 else pair[1]) for part, pair in zip(direction, _LETTERS, strict=True)),
        reverse=True,
    )
    return "".join(letter for share, letter in named[:2] if share == named[0][0] or share > _SECOND_LETTER)


def _by_volume(segments: Iterable[Segment]) -> list[list[Segment]]:
    """Segments that share a labelmap need one look at it."""
    found: dict[int, list[Segment]] = {}
    for segment in segments:
        found.setdefault(id(segment.volume), []).append(segment)
    return list(found.values())


def _segments(segments: Sequence[Segment], geometry: SliceGeometry) -> Bytes:
    """RGBA of segments of one labelmap: the inside of each, and the pixels at its border."""
    volume, places = segments[0].volume, segments[0].places
    sampled = (
        sample(volume, geometry, linear=False) if places is None else at(volume.array, *places, linear=False)
    )  # fmt: skip
    values = sampled.values[..., 0]
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


class _Pen:
    """Draws on a picture, in the pixels of a slice."""

    def __init__(self, picture: Bytes, geometry: SliceGeometry) -> None:
        self.picture = picture
        self._geometry = geometry
        self._from_ras: Matrix = np.asarray(np.linalg.inv(geometry.rows_to_ras()), np.float64)
        self._plane = np.append(geometry.normal, -geometry.offset)
        self._width, self._height = geometry.size
        self._unit = max(min(geometry.size) / 512, 0.5)
        self._font = max(9, round(15 * self._unit))

    def surface(self, surface: Surface) -> None:
        """Where the slice cuts a surface."""
        lines = self._placed(cut(surface.mesh, surface.to_world, self._plane))[..., :2]
        if not len(lines):
            return
        if surface.fill > 0:
            painted(self.picture, filled(lines, self._geometry.size), surface.color, surface.fill)
        if surface.outline > 0:
            self._stroke(lines, surface.color, surface.width, surface.outline)

    def cut(self, cut: Cut) -> None:
        """The line of the points of this slice that lie in the other, as far as the picture goes."""
        plane = np.append(cut.geometry.normal, -cut.geometry.offset)
        a, b, _, c = plane @ self._geometry.rows_to_ras()
        square = a * a + b * b
        if square < 1e-24:
            return
        foot, way = np.array([-a * c, -b * c]) / square, np.array([-b, a]) / square**0.5
        middle = float((np.array([self._width, self._height]) / 2 - foot) @ way)
        far = self._width + self._height
        self._stroke((foot + way * np.array([[middle - far], [middle + far]]))[None], cut.color, 1, 1.0)

    def markup(self, markup: Markup, thickness: float) -> None:
        """Glyphs and labels of the points near the slice, and the part of the path that is."""
        reach = thickness / 2 + 1e-6
        if markup.path is not None and len(markup.path) > 1:
            self._path(self._placed(markup.path), markup, reach)
        radius = max(2.0, markup.size * self._unit)
        for (x, y, depth), label in zip(self._placed(markup.points), markup.labels, strict=True):
            opacity = markup.opacity * (1.0 if abs(depth) <= reach else markup.projected)
            if opacity > 0 and -radius <= x <= self._width + radius and -radius <= y <= self._height + radius:
                self._ring((x, y), radius, 1.6, markup.color, opacity)
                self._ring((x, y), 0, 2, markup.color, opacity)
                self._text((x + 1.6 * radius, y), label, markup.color, "lm")

    def _path(self, path: NDArray[np.float64], markup: Markup, reach: float) -> None:
        lines = near(np.stack([path[:-1], path[1:]], 1), reach)
        self._stroke(lines, markup.color, 2, markup.opacity)
        if markup.crossings:
            depth = path[:, 2]
            for index in np.flatnonzero((depth[:-1] < 0) != (depth[1:] < 0))[:_LONGEST_TEXT]:
                share = depth[index] / (depth[index] - depth[index + 1])
                x, y, _ = path[index] + (path[index + 1] - path[index]) * share
                self._ring((float(x), float(y)), 0, 5 * self._unit, markup.color, markup.opacity)
        if markup.text and len(lines):
            x, y, _ = lines[len(lines) // 2].mean(0)
            self._text((float(x) + 8 * self._unit, float(y) - 8 * self._unit), markup.text, markup.color, "ld")

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
        gap, tick = round(12 * self._unit), round(4 * self._unit)
        left, right, y = self._width - gap - length / pitch, self._width - gap, self._height - gap
        corners = np.array([(left, y - tick), (left, y), (right, y), (right, y - tick)], np.float64)
        lines = np.stack([corners[:-1], corners[1:]], 1)
        self._stroke(lines, _SHADOW, 3, 0.7)
        self._stroke(lines, _INK, 1, 1.0)
        self._text((right, y - tick - 2), f"{length:g} mm" if length < 1000 else f"{length / 10:g} cm", _INK, "rd")

    def _placed(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Column, row and distance (mm) of points (..., 3)."""
        placed = points @ self._from_ras[:3, :3].T + self._from_ras[:3, 3]
        placed[..., 2] = points @ self._plane[:3] + self._plane[3]
        return placed

    def _stroke(self, lines: Lines, color: Color, width: float, opacity: float) -> None:
        """Lines (n, 2, columns and rows), as wide as a picture of 512 px would have them."""
        ink = stroked(lines[..., :2], self._geometry.size, max(1.0, width * self._unit))
        painted(self.picture, ink, color, opacity)

    def _ring(self, place: tuple[float, float], radius: float, width: float, color: Color, opacity: float) -> None:
        painted(self.picture, ring(place, self._geometry.size, radius, width), color, opacity)

    def _text(self, place: tuple[float, float], text: str, color: Color, anchor: str) -> None:
        if not text:
            return
        stamp, (left, top) = _stamp(text[:_LONGEST_TEXT], self._font, color, anchor)
        left, top = left + round(place[0]), top + round(place[1])
        rows, columns = stamp.shape[:2]
        inside = (
            slice(max(top, 0), max(min(top + rows, self._height), 0)),
            slice(max(left, 0), max(min(left + columns, self._width), 0)),
        )
        below = self.picture[inside]
        if below.size:
            shown = stamp[inside[0].start - top :, inside[1].start - left :][: below.shape[0], : below.shape[1]]
            self.picture[inside] = over(np.ascontiguousarray(below), np.ascontiguousarray(shown))


@lru_cache(maxsize=128)
def _stamp(text: str, size: int, color: Color, anchor: str) -> tuple[Bytes, tuple[int, int]]:
    """A text with a shadow (RGBA), and where its upper left corner is from its anchor, in px."""
    font = ImageFont.load_default(size)
    left, top, right, bottom = (int(edge) for edge in font.getbbox(text, anchor=anchor))
    sheet = Image.new("RGBA", (max(1, right - left + 3), max(1, bottom - top + 3)), (0, 0, 0, 0))
    pen = ImageDraw.Draw(sheet)
    for shift, ink in ((2, _SHADOW), (1, color)):
        pen.text((shift - left, shift - top), text, fill=(*ink, 255), font=font, anchor=anchor)
    return np.array(sheet), (left - 1, top - 1)


def near(lines: Lines, reach: float) -> Lines:
    """The parts of lines (n, 2: column, row, distance) no further away than ``reach``."""
    begin, way = lines[:, 0], lines[:, 1] - lines[:, 0]
    flat = np.abs(way[:, 2]) < 1e-9
    step = np.where(flat, 1, way[:, 2])
    enter, leave = (-reach - begin[:, 2]) / step, (reach - begin[:, 2]) / step
    low = np.where(flat, 0, np.maximum(0, np.minimum(enter, leave)))
    high = np.where(flat, np.where(np.abs(begin[:, 2]) <= reach, 1, -1), np.minimum(1, np.maximum(enter, leave)))
    seen = low <= high
    begin, way = begin[seen], way[seen]
    return np.stack([begin + way * low[seen, None], begin + way * high[seen, None]], 1)


def _round_length(most: float) -> float:
    """The largest of 1, 2, 5, 10, 20 ... that is not above."""
    power = 10.0 ** floor(log10(max(most, 1e-9)))
    return max(step * power for step in (1, 2, 5) if step * power <= most * (1 + 1e-9))
