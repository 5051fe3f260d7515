"""Looking into JSON that anybody may have written. Nothing here raises but CorruptData and UnsupportedFormat."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from microtome.errors import CorruptData

Json = Mapping[str, Any]
MAX_SIDE = 1 << 40
"""No axis is longer than this."""


def parsed(data: bytes, name: str) -> Json:
    """The object a metadata file holds."""
    try:
        found: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CorruptData(f"{name} is no JSON: {str(error)[:100]}") from error
    if not isinstance(found, dict):
        raise CorruptData(f"{name} holds no JSON object")
    return cast("dict[str, Any]", found)


def mapping(value: object) -> Json:
    """The value if it is an object, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def sequence(value: object) -> Sequence[Any]:
    """The value if it is a list, else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else ()


def text(value: object, default: str = "") -> str:
    """The value if it is a text, else ``default``; never long."""
    return value[:1000] if isinstance(value, str) else default


def real(value: object) -> float | None:
    """The value if it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def sides(value: object, name: str, least: int) -> tuple[int, ...]:
    """A shape: whole numbers from ``least`` on. Raises CorruptData."""
    found = sequence(value)
    for side in found:
        if not isinstance(side, int) or isinstance(side, bool) or not least <= side <= MAX_SIDE:
            raise CorruptData(f"{name} must be whole numbers of at least {least}, not {str(side)[:40]}")
    if not 2 <= len(found) <= 5:
        raise CorruptData(f"{name} must have 2 to 5 numbers, not {len(found)}")
    return tuple(found)
