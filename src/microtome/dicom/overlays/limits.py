"""How much of what lies over a slide is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class OverlayLimits:
    """``overlays`` of a slide; ``annotations`` of a group; ``frames`` of a segmentation, and ``overview_frames`` of one
    that is shown as a whole, for which all are decoded; ``disk``: bytes of indexes of annotations.
    """

    overlays: int = 200
    annotations: int = 5_000_000
    frames: int = 500_000
    overview_frames: int = 100_000
    disk: int = 16 << 30


DEFAULT_LIMITS: Final = OverlayLimits()
