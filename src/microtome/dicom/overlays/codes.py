"""What annotations and segmentations have in common: how things are called, and in which colour they are shown."""

from __future__ import annotations

from collections.abc import Sequence

from microtome.dicom.dataset import Dataset

CONCEPT_NAME, CODE_MEANING, CODE_VALUE = 0x0040_A043, 0x0008_0104, 0x0008_0100
CIELAB = 0x0062_000D
PALETTE = (0x2F9BFF, 0xFF9F1C, 0x19C37D, 0xE4448F, 0x9B6BFF, 0xF4D03F, 0x17BECF, 0xFF5A3C, 0x8FD14F, 0xB98A5E)
"""RGB of what recommends no colour: those of the viewer."""
_NEAR = 16
_WHITE = (0.96422, 1.0, 0.82521)
"""Of the profile connection space, D50 (PS3.3 §C.10.7.1.1, ICC.1)."""
_TO_SRGB = (
    (3.1338561, -1.6168667, -0.4906146),
    (-0.9787684, 1.9161415, 0.0334540),
    (0.0719453, -0.2289914, 1.4052427),
)
"""XYZ relative to D50 -> linear sRGB: the inverse of the colorants of its profile (IEC 61966-2-1, ICC.1 annex E)."""


def meaning(dataset: Dataset, tag: int) -> str:
    """What the first code of a sequence means; "" when there is none."""
    for each in dataset.items(tag):
        return each.string(CODE_MEANING) or each.string(CODE_VALUE)
    return ""


def recommended_color(dataset: Dataset) -> int | None:
    """The recommended display colour as 0xRRGGBB; None when there is none (PS3.3 §C.10.7.1.1)."""
    found = dataset.numbers(CIELAB)
    return _rgb(found) if len(found) == 3 else None


def distinct(colors: Sequence[int | None]) -> list[int]:
    """A colour for each: as recommended, else one of the palette; no two alike, so that pixels tell what they are."""
    taken = set[int]()
    found: list[int] = []
    for number, each in enumerate(colors):
        color = PALETTE[number % len(PALETTE)] if each is None else each
        tries = 0
        while color in taken:
            tries += 1  # a little different first; the step behind that visits all colours
            color = (color + 1 if tries < _NEAR else color * 1103515245 + 12345) & 0xFFFFFF
        taken.add(color)
        found.append(color)
    return found


def _rgb(encoded: Sequence[float]) -> int:
    lightness = encoded[0] * 100 / 0xFFFF
    a, b = (value * 255 / 0xFFFF - 128 for value in encoded[1:])
    y = (lightness + 16) / 116
    xyz = [white * _cube(each) for white, each in zip(_WHITE, (y + a / 500, y, y - b / 200), strict=True)]
    linear = (sum(factor * value for factor, value in zip(row, xyz, strict=True)) for row in _TO_SRGB)
    red, green, blue = (round(255 * _companded(min(1.0, max(0.0, value)))) for value in linear)
    return red << 16 | green << 8 | blue


def _cube(value: float) -> float:
    """The inverse of f of CIE 1976 L*a*b*."""
    return value**3 if value > 6 / 29 else 3 * (6 / 29) ** 2 * (value - 4 / 29)


def _companded(value: float) -> float:
    return 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055
