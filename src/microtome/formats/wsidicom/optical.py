"""Optical paths (PS3.3 C.8.12.5): what the channels are called, which colour they have, the ICC profile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from microtome.model import Channel

MAX_PROFILE_BYTES = 16 << 20


def channel(path: Any, identifier: str) -> Channel:
    """The channel of one item of the Optical Path Sequence (None when there is none)."""
    name = ""
    if path is not None:
        name = str(path.get("OpticalPathDescription") or "").strip()
        for sequence in () if name else ("IlluminationColorCodeSequence", "IlluminationTypeCodeSequence"):
            items = _items(path, sequence)
            if items and (meaning := str(items[0].get("CodeMeaning") or "").strip()):
                name = meaning if sequence == "IlluminationColorCodeSequence" else f"{meaning} {identifier}"
                break
    return Channel(name[:200] or identifier or "gray", None if path is None else _color(path))


def profile(paths: Iterable[Any]) -> bytes | None:
    """The ICC profile of the first optical path that has one."""
    for path in paths:
        data = path.get("ICCProfile")
        if isinstance(data, bytes) and 128 < len(data) <= MAX_PROFILE_BYTES:
            return data
    return None


def objective_power(paths: Iterable[Any]) -> float | None:
    """Objective Lens Power of the first optical path that has one."""
    for path in paths:
        value = path.get("ObjectiveLensPower")
        if value is not None and 0 < float(value) < 1000:
            return float(value)
    return None


def _color(path: Any) -> int | None:
    """0xRRGGBB at the bright end of the palette of the path (PS3.3 C.7.9), which is how its channel is to be shown.

    Palettes, and segmented ones (C.7.9.2) in which nothing but values and ramps are of use here, end with that value.
    """
    palettes = _items(path, "PaletteColorLookupTableSequence")
    if not palettes:
        return None
    color = 0
    for name in ("Red", "Green", "Blue"):
        entries = palettes[0].get(f"{name}PaletteColorLookupTableDescriptor")
        data = palettes[0].get(f"{name}PaletteColorLookupTableData")
        data = data or palettes[0].get(f"Segmented{name}PaletteColorLookupTableData")
        if not isinstance(data, bytes) or len(data) < 2 or entries is None or len(entries) != 3:
            return None
        if int(entries[2]) == 16:
            value = data[-1]
        elif len(data) == int(entries[0]):
            value = data[-1]  # bytes, not words
        else:
            value = data[-2]
        color = color << 8 | value
    return color or None


def _items(dataset: Any, name: str) -> Sequence[Any]:
    return cast("Sequence[Any]", dataset.get(name) or ())
