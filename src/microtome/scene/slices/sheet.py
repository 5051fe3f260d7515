"""Several views on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from microtome.scene.slices.display import Bytes

_BAR = 3
_GROUND = (32, 34, 38)
_INK = (220, 222, 226)


def framed(picture: Bytes, label: str, color: tuple[int, int, int]) -> Bytes:
    """An RGBA picture with a bar of its view's colour above, and the view's letter in the corner."""
    result = picture.copy()
    result[:_BAR, :, :3] = color
    result[:_BAR, :, 3] = 255
    sheet = Image.fromarray(result)
    font = ImageFont.load_default(14)
    ImageDraw.Draw(sheet).text(
        (7, _BAR + 4), label, fill=(*color, 255), font=font, stroke_width=1, stroke_fill=(0, 0, 0)
    )
    return np.array(sheet)


def message(text: str, size: tuple[int, int]) -> Bytes:
    """A sentence in place of a view."""
    sheet = Image.new("RGBA", size, (*_GROUND, 255))
    lines = "\n".join(wrap(text, max(10, size[0] // 9)))
    ImageDraw.Draw(sheet).multiline_text(
        (size[0] / 2, size[1] / 2),
        lines,
        fill=(*_INK, 255),
        font=ImageFont.load_default(14),
        anchor="mm",
        align="center",
    )
    return np.array(sheet)


def laid(parts: Sequence[tuple[Bytes, tuple[int, int]]], size: tuple[int, int]) -> Bytes:
    """RGBA pictures on one sheet, each with its left and upper edge in px; the ground is seen between them."""
    sheet = np.zeros((size[1], size[0], 4), np.uint8)
    sheet[...] = (*_GROUND, 255)
    for picture, (left, top) in parts:
        below = sheet[top : top + picture.shape[0], left : left + picture.shape[1]]
        below[...] = picture[: below.shape[0], : below.shape[1]]
    return sheet
