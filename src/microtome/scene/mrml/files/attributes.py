"""Numbers in the text of a scene, for which MRML takes memory or time without looking."""

from __future__ import annotations

_FARTHEST = 1e9
_MOST = {
    "numcolors": 1 << 20,
    "dimensions": 1 << 14,
    "uvwdimensions": 1 << 14,
    "layoutgridrows": 16,
    "layoutgridcolumns": 16,
    "numberofpointsperinterpolatingsegment": 1000,
}
"""The largest whole number of an attribute."""
_COUNTED = {"scalaropacity", "gradientopacity", "colortransfer", "isosurfacevalues"}
"""Attributes that begin with the count of the numbers behind it."""


def is_bearable(key: str, value: str) -> bool:
    """Whether an attribute may go on to MRML: numbers alone must be finite, no larger than what they stand for."""
    name = key.lower()
    try:
        numbers = [float(word) for word in value.split()]
    except ValueError:
        return name not in _MOST and name not in _COUNTED  # no numbers; or numbers that are none
    if not all(abs(number) <= _FARTHEST for number in numbers):
        return False
    if name in _COUNTED:
        return bool(numbers) and 0 <= numbers[0] <= len(numbers) - 1
    return all(0 <= number <= _MOST[name] for number in numbers) if name in _MOST else True
