"""What a client wants to see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OutputType = Literal["image/jpeg", "image/png", "image/webp"]


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """How a tile is to be encoded; hashable, part of the tile cache key.

    ``quality`` is the IJG scale 1..100 (JPEG, WebP). ``allow_stored``: the stored tile is as good an answer as an
    encoded one, when it already has ``media_type``. ``to_srgb``: apply the slide's ICC profile.
    """

    media_type: OutputType = "image/jpeg"
    quality: int = 80
    allow_stored: bool = True
    to_srgb: bool = False
