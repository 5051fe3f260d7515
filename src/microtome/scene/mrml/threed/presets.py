"""Transfer functions for kinds of volumes, under the names that clients of 3D Slicer know. The curves are our own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

Points = tuple[tuple[float, float], ...]
Colors = tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Preset:
    """Opacity (value, share) and colours (value, red, green, blue from 0 to 1) over the values of a volume.

    ``relative``: values are shares of the volume's range, for modalities without units. ``gradient``: opacity by slope.
    """

    opacity: Points
    colors: Colors
    gradient: Points = ((0, 1), (255, 1))
    relative: bool = False
    shaded: bool = True
    ambient: float = 0.15
    diffuse: float = 0.85
    specular: float = 0.2

    def value(self, value: float, low: float, high: float) -> float:
        """A value of the preset in a volume whose values lie between ``low`` and ``high``."""
        return low + value * (high - low) if self.relative else value


_BONE: Colors = ((-1000, 0, 0, 0), (100, 0.55, 0.25, 0.15), (300, 0.9, 0.8, 0.6), (700, 1, 0.98, 0.92), (3000, 1, 1, 1))
_VESSEL: Colors = (
    (-1000, 0, 0, 0),
    (120, 0.5, 0.1, 0.08),
    (220, 0.85, 0.25, 0.15),
    (400, 1, 0.85, 0.7),
    (3000, 1, 1, 1),
)
_TISSUE: Colors = (
    (-1000, 0, 0, 0),
    (-200, 0.62, 0.36, 0.18),
    (0, 0.88, 0.6, 0.29),
    (150, 0.87, 0.37, 0.3),
    (300, 1, 0.94, 0.9),
    (3000, 1, 1, 1),
)
_GREY: Colors = ((0, 0, 0, 0), (1, 1, 1, 1))
_FLESH: Colors = ((0, 0, 0, 0), (0.1, 0.17, 0, 0), (0.25, 0.4, 0.01, 0.01), (0.5, 0.78, 0.55, 0.36), (1, 1, 1, 0.98))

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "CT-AAA": Preset(((-3000, 0), (140, 0), (170, 0.6), (220, 0.7), (420, 0.8), (3000, 0.8)), _VESSEL),
        "CT-Air": Preset(
            ((-3000, 0.75), (-820, 0.7), (-650, 0), (3000, 0)),
            ((-3000, 0.2, 0.2, 0.4), (-900, 0.35, 0.5, 0.95), (-600, 1, 1, 1)),
        ),
        "CT-Bone": Preset(((-3000, 0), (150, 0), (600, 0.72), (3000, 0.75)), _BONE),
        "CT-Cardiac": Preset(((-3000, 0), (60, 0), (150, 0.3), (300, 0.7), (3000, 0.8)), _VESSEL),
        "CT-Chest-Contrast-Enhanced": Preset(((-3000, 0), (70, 0), (180, 0.45), (350, 0.65), (3000, 0.7)), _TISSUE),
        "CT-Chest-Vessels": Preset(((-3000, 0), (100, 0), (180, 0.55), (350, 0.75), (3000, 0.75)), _VESSEL),
        "CT-Coronary-Arteries": Preset(((-3000, 0), (130, 0), (200, 0.4), (330, 0.75), (3000, 0.8)), _VESSEL),
        "CT-Lung": Preset(
            ((-3000, 0), (-950, 0), (-700, 0.12), (-500, 0.2), (-350, 0), (3000, 0)),
            ((-1000, 0.3, 0.3, 1), (-700, 0.55, 0.85, 0.85), (-500, 0.95, 0.9, 0.8), (-350, 1, 1, 1)),
        ),
        "CT-MIP": Preset(
            ((-3000, 0), (-500, 0), (600, 1), (3000, 1)), ((-1000, 0, 0, 0), (1500, 1, 1, 1)), shaded=False
        ),
        "CT-Muscle": Preset(((-3000, 0), (-120, 0), (30, 0.35), (110, 0.6), (3000, 0.7)), _TISSUE),
        "CT-Soft-Tissue": Preset(((-3000, 0), (-150, 0), (-60, 0.15), (120, 0.3), (3000, 0.3)), _TISSUE),
        "CT-X-ray": Preset(
            ((-3000, 0), (-700, 0), (400, 0.03), (3000, 0.15)), ((-1000, 1, 1, 1), (3000, 1, 1, 1)), shaded=False
        ),
        "MR-Angio": Preset(
            ((0, 0), (0.35, 0), (0.5, 0.3), (0.7, 0.8), (1, 0.9)),
            ((0, 0, 0, 0), (0.4, 0.5, 0.1, 0.1), (0.6, 0.9, 0.35, 0.2), (1, 1, 0.95, 0.85)),
            relative=True,
        ),
        "MR-Default": Preset(((0, 0), (0.07, 0), (0.25, 0.15), (0.5, 0.3), (1, 0.6)), _FLESH, relative=True),
        "MR-MIP": Preset(((0, 0), (0.2, 0), (0.8, 1), (1, 1)), _GREY, relative=True, shaded=False),
        "MR-T2-Brain": Preset(((0, 0), (0.12, 0), (0.3, 0.2), (0.6, 0.35), (1, 0.8)), _GREY, relative=True),
        "US-Fetal": Preset(
            ((0, 0), (0.2, 0), (0.35, 0.4), (0.7, 0.8), (1, 0.95)),
            ((0, 0, 0, 0), (0.3, 0.6, 0.3, 0.12), (0.6, 0.95, 0.7, 0.5), (1, 1, 0.95, 0.88)),
            relative=True,
        ),
        "uCT-Bone-8bit": Preset(
            ((0, 0), (90, 0), (130, 0.6), (255, 0.8)), ((0, 0, 0, 0), (130, 0.85, 0.7, 0.5), (255, 1, 1, 1))
        ),
    }
)


def fitting(low: float, high: float) -> str:
    """The preset for a volume that nobody says anything of: air far below 0 is CT's."""
    return "CT-Chest-Contrast-Enhanced" if low < -500 and high > 200 else "MR-Default"
