"""What a client wants to see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from microtome.pixels.color import Intent
from microtome.pixels.styles import AskedStyle

OutputType = Literal["image/jpeg", "image/png", "image/webp"]


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """How a tile is to be encoded; hashable, part of the tile cache key.

    ``quality`` is the IJG scale 1..100 (JPEG, WebP). ``allow_stored``: the stored tile is as good an answer as an
    encoded one, when it already has ``media_type``. ``intent``: convert by the slide's ICC profile to
    sRGB. ``styles``: the channels to draw, none for what the slide suggests.
    """

    media_type: OutputType = "image/jpeg"
    quality: int = 80
    allow_stored: bool = True
    intent: Intent | None = None
    styles: tuple[AskedStyle, ...] = ()
