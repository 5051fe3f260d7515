"""Softcopy presentation states applied to an image (PS3.3 §A.33, §C.10, §C.11; PS3.4 §N).

A state says how somebody saw an image: grey scale, shutter, displayed area, rotation and flip, graphics. Coordinates in
a state count pixels from 1, columns first except for shutters; here they are pixels from 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from microtome.dicom.dataset import Dataset
from microtome.dicom.image import ImageFacts
from microtome.dicom.lut import Lut, Reader, lut
from microtome.dicom.overlay import activated
from microtome.dicom.voi import Grayscale, Rescale, modality_of, voi_of
from microtome.errors import InvalidRequest

_SERIES, _IMAGES = 0x0008_1115, 0x0008_1140
_SOP_UID, _FRAME_NUMBERS = 0x0008_1155, 0x0008_1160
_SOFTCOPY_VOI = 0x0028_3110
_LUTS, _LUT_SHAPE = 0x2050_0010, 0x2050_0020
_AREAS, _TOP_LEFT, _BOTTOM_RIGHT = 0x0070_005A, 0x0070_0052, 0x0070_0053
_ROTATION, _FLIP = 0x0070_0042, 0x0070_0041
_SHUTTER, _SHUTTER_VALUE = 0x0018_1600, 0x0018_1622
_SIDES = (0x0018_1602, 0x0018_1604, 0x0018_1606, 0x0018_1608)
_CENTER, _RADIUS, _VERTICES = 0x0018_1610, 0x0018_1612, 0x0018_1620
_ANNOTATIONS, _GRAPHICS, _TEXTS = 0x0070_0001, 0x0070_0009, 0x0070_0008
_UNITS, _TEXT_UNITS, _ANCHOR_UNITS = 0x0070_0005, 0x0070_0003, 0x0070_0004
_GRAPHIC_DATA, _GRAPHIC_TYPE, _FILLED = 0x0070_0022, 0x0070_0023, 0x0070_0024
_TEXT, _BOX, _ANCHOR = 0x0070_0006, 0x0070_0010, 0x0070_0014
_MOST_GRAPHICS = 10_000
_MOST_NUMBERS = 200_000

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Graphic:
    """``kind`` as in the state, or TEXT; ``points`` (n, 2) in pixels, or with ``relative`` in parts of the picture."""

    kind: str
    points: Points
    text: str = ""
    relative: bool = False
    filled: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Presentation:
    """What a state says of one frame. ``area`` is left, top, right, bottom in px of the image.

    ``turns``: quarter turns clockwise, before ``flipped`` left to right. ``overlays``: groups of the image's overlays.
    """

    grayscale: Grayscale
    area: tuple[int, int, int, int]
    turns: int = 0
    flipped: bool = False
    shutter: NDArray[np.bool_] | None = None
    shutter_value: int = 0
    graphics: tuple[Graphic, ...] = ()
    overlays: tuple[int, ...] = ()
    state: Dataset | None = None


def presentation(
    state: Dataset, image: Dataset, facts: ImageFacts, shown: Grayscale, read: Reader, frame: int = 0
) -> Presentation:
    """What ``state`` says of a frame of ``image``, which counts from 0; ``shown`` is what the image says itself.

    Raises InvalidRequest when the state is none of this image, CorruptData.
    """
    uid = image.string(0x0008_0018)
    if not any(_refers(series, uid, frame, required=True) for series in state.items(_SERIES)):
        raise InvalidRequest("The presentation state does not refer to this image", parameter="presentation state")
    return Presentation(
        _grayscale(state, facts, shown, read, uid, frame),
        _area(state, facts, uid, frame),
        round(state.whole(_ROTATION) / 90) % 4,
        state.string(_FLIP) == "Y",
        _shutter(state, facts),
        min(max(state.whole(_SHUTTER_VALUE), 0), 0xFFFF) >> 8,
        tuple(_graphics(state, uid, frame)),
        activated(state),
        state,
    )


def _refers(item: Dataset, uid: str, frame: int, *, required: bool = False) -> bool:
    """Whether an item is about a frame of the image; one that names no images is about all."""
    images = item.items(_IMAGES)
    if not images:
        return not required
    for each in images:
        frames = each.numbers(_FRAME_NUMBERS)
        if each.string(_SOP_UID) == uid and (not frames or frame + 1 in frames):
            return True
    return False


def _grayscale(state: Dataset, facts: ImageFacts, shown: Grayscale, read: Reader, uid: str, frame: int) -> Grayscale:
    modality = modality_of(state, facts, read) or Rescale()
    voi = None
    for item in state.items(_SOFTCOPY_VOI):
        if _refers(item, uid, frame):
            voi = voi_of(item, facts, read, modality)
            break
    table: Lut | None = None
    for item in state.items(_LUTS)[:1]:
        table = lut(item, read, signed=False)
    inverted = state.string(_LUT_SHAPE) == "INVERSE"
    return Grayscale(modality, voi, _whole_range(facts), shown.padding, inverted, table)


def _whole_range(facts: ImageFacts) -> tuple[float, float] | None:
    """Without a VOI all of the modality's output is shown (PS3.4 §N.2.1), where the image alone shows its own range."""
    if facts.kind == "float":
        return None
    low = -(1 << (facts.stored - 1)) if facts.signed else 0
    return low, low + (1 << facts.stored) - 1


def _area(state: Dataset, facts: ImageFacts, uid: str, frame: int) -> tuple[int, int, int, int]:
    for item in state.items(_AREAS):
        first, last = item.numbers(_TOP_LEFT), item.numbers(_BOTTOM_RIGHT)
        if _refers(item, uid, frame) and len(first) == 2 and len(last) == 2:
            # The corners are those of the turned picture: either may be the smaller one in pixels of the image.
            left, right = sorted((int(first[0]), int(last[0])))
            top, bottom = sorted((int(first[1]), int(last[1])))
            area = max(0, left - 1), max(0, top - 1), min(facts.columns, right), min(facts.rows, bottom)
            if area[0] < area[2] and area[1] < area[3]:
                return area
    return 0, 0, facts.columns, facts.rows


def _shutter(state: Dataset, facts: ImageFacts) -> NDArray[np.bool_] | None:
    """What is hidden, (rows, columns); None when nothing is (PS3.3 §C.7.6.11)."""
    shapes = set(state.strings(_SHUTTER)) & {"RECTANGULAR", "CIRCULAR", "POLYGONAL"}
    if not shapes:
        return None
    shown = np.ones((facts.rows, facts.columns), np.bool_)
    if "RECTANGULAR" in shapes:
        left, right, top, bottom = (state.whole(tag) for tag in _SIDES)
        rectangle = np.zeros_like(shown)
        rectangle[max(0, top - 1) : max(0, bottom), max(0, left - 1) : max(0, right)] = True
        shown &= rectangle
    center = state.numbers(_CENTER)
    if "CIRCULAR" in shapes and len(center) == 2:
        rows, columns = np.ogrid[: facts.rows, : facts.columns]
        distance = (rows - (center[0] - 1)) ** 2 + (columns - (center[1] - 1)) ** 2
        shown &= distance <= min(state.whole(_RADIUS), 1 << 17) ** 2
    vertices = state.numbers(_VERTICES)[:_MOST_NUMBERS]
    if "POLYGONAL" in shapes and len(vertices) >= 6:
        mask = Image.new("1", (facts.columns, facts.rows))
        corners = [(vertices[n + 1] - 1, vertices[n] - 1) for n in range(0, len(vertices) - 1, 2)]
        ImageDraw.Draw(mask).polygon(corners, fill=1)
        shown &= np.asarray(mask)
    return ~shown


def _graphics(state: Dataset, uid: str, frame: int) -> Iterator[Graphic]:
    drawn = 0
    for layer in state.items(_ANNOTATIONS):
        if not _refers(layer, uid, frame):
            continue
        for item in (*layer.items(_GRAPHICS), *layer.items(_TEXTS)):
            drawn += 1
            found = _graphic(item)
            if drawn > _MOST_GRAPHICS:
                return
            if found is not None:
                yield found


def _graphic(item: Dataset) -> Graphic | None:
    kind = item.string(_GRAPHIC_TYPE)
    if not kind:
        box = item.numbers(_BOX) or item.numbers(_ANCHOR)
        units = item.string(_TEXT_UNITS) or item.string(_ANCHOR_UNITS)
        text = item.string(_TEXT)[:1000]
        return Graphic("TEXT", _points(box[:2], units), text, units == "DISPLAY") if text and len(box) == 2 else None
    numbers = item.numbers(_GRAPHIC_DATA)[:_MOST_NUMBERS]
    units = item.string(_UNITS)
    points = _points(numbers[: len(numbers) // 2 * 2], units)
    usable = len(points) > 0 and bool(np.isfinite(points).all()) and float(np.abs(points).max()) < 1e6
    return Graphic(kind, points, "", units == "DISPLAY", item.string(_FILLED) == "Y") if usable else None


def _points(numbers: Any, units: str) -> Points:
    points = np.array(numbers, np.float64).reshape(-1, 2)
    return points if units == "DISPLAY" else points - 1


def draw(picture: NDArray[np.uint8], shown: Presentation) -> NDArray[np.uint8]:
    """The graphics of a state over its finished picture (height, width, channels), in white."""
    if not shown.graphics:
        return picture
    height, width, channels = picture.shape
    canvas = Image.fromarray(picture[:, :, 0] if channels == 1 else picture)
    pen = ImageDraw.Draw(canvas)
    white: Any = 255 if channels == 1 else (255, 255, 255)
    for graphic in shown.graphics:
        if graphic.relative:
            points = graphic.points * (width, height)
        else:
            points = on_picture(graphic.points, shown, width, height)
        _draw(pen, graphic, points, white)
    drawn = np.asarray(canvas)
    return drawn[:, :, np.newaxis] if channels == 1 else drawn


def on_picture(points: Points, shown: Presentation, width: int, height: int) -> Points:
    """Pixels of the image as pixels of the cropped, turned, flipped and scaled picture."""
    left, top, right, bottom = shown.area
    x = (points[:, 0] + 0.5 - left) / (right - left)
    y = (points[:, 1] + 0.5 - top) / (bottom - top)
    for _ in range(shown.turns):
        x, y = 1 - y, x
    if shown.flipped:
        x = 1 - x
    return np.stack((x * width - 0.5, y * height - 0.5), axis=1)


def _draw(pen: ImageDraw.ImageDraw, graphic: Graphic, points: Points, white: Any) -> None:
    corners = [(float(x), float(y)) for x, y in points]
    match graphic.kind:
        case "TEXT":
            pen.text(corners[0], graphic.text, fill=white)
        case "POINT":
            x, y = corners[0]
            pen.line([(x - 3, y), (x + 3, y)], fill=white)
            pen.line([(x, y - 3), (x, y + 3)], fill=white)
        case "CIRCLE" if len(corners) > 1:
            radius = float(np.hypot(*(points[1] - points[0])))
            pen.circle(corners[0], radius, outline=white, fill=white if graphic.filled else None)
        case "ELLIPSE" if len(corners) > 3:
            turn = np.linspace(0, 2 * np.pi, 90)[:, np.newaxis]
            major, minor = (points[1] - points[0]) / 2, (points[3] - points[2]) / 2
            ring = (points[0] + points[1]) / 2 + np.cos(turn) * major + np.sin(turn) * minor
            pen.line([(float(x), float(y)) for x, y in ring], fill=white)
        case "POLYLINE" | "INTERPOLATED" if len(corners) > 1:
            if graphic.filled and len(corners) > 2:
                pen.polygon(corners, fill=white)
            pen.line(corners, fill=white)
        case _:
            pass
