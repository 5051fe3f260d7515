"""What the text of an ImageDescription says: Aperio's ``key = value`` pairs, OME-XML. Pure, and never fails."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_UNITS_UM = {"m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "um": 1.0, "micrometer": 1.0, "nm": 1e-3, "": 1.0}
_MAX_TEXT = 4 << 20
_MAX_PROPERTIES = 500
_ATTRIBUTE = re.compile(r'([A-Za-z]\w*)\s*=\s*"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Description:
    """Facts out of a description; ``spacing_um`` is µm per px."""

    is_aperio: bool = False
    is_ome: bool = False
    spacing_um: tuple[float, float] | None = None
    magnification: float | None = None
    channel_names: tuple[str, ...] = ()
    properties: dict[str, str] = field(default_factory=dict[str, str])


def parse(text: str) -> Description:
    """Read a description of whatever kind."""
    if "Aperio" in text[:1024]:
        return _aperio(text)
    if "<OME" in text[:2048] and len(text) <= _MAX_TEXT:
        return _ome(text)
    return Description()


def _aperio(text: str) -> Description:
    properties: dict[str, str] = {}
    for part in text.split("|")[1 : _MAX_PROPERTIES + 1]:
        name, equals, value = part.partition("=")
        if equals and name.strip():
            properties[f"aperio.{name.strip()}"] = value.strip()
    mpp = number(properties.get("aperio.MPP", ""))
    return Description(
        is_aperio=True,
        spacing_um=(mpp, mpp) if mpp else None,
        magnification=number(properties.get("aperio.AppMag", "")),
        properties=properties,
    )


def _ome(text: str) -> Description:
    """Attributes of the first Pixels element and the names of its channels (OME 2016-06). No XML entity is expanded."""
    pixels = re.search(r"<(?:\w+:)?Pixels\b([^>]*)>", text)
    spacing = None
    if pixels:
        found = dict(_ATTRIBUTE.findall(pixels[1]))
        x, y = (_length(found, axis) for axis in "XY")
        if x and y:
            spacing = x, y
        end = text.find("</", pixels.end())
        block = text[pixels.end() : text.find("Pixels>", pixels.end()) if end >= 0 else None]
        channels = tuple(
            dict(_ATTRIBUTE.findall(attributes)).get("Name", "")
            for attributes in re.findall(r"<(?:\w+:)?Channel\b([^>]*)>", block)[:256]
        )
    else:
        channels = ()
    objective = re.search(r"<(?:\w+:)?Objective\b([^>]*)>", text)
    power = dict(_ATTRIBUTE.findall(objective[1])).get("NominalMagnification", "") if objective else ""
    return Description(is_ome=True, spacing_um=spacing, magnification=number(power), channel_names=channels)


def _length(attributes: dict[str, str], axis: str) -> float | None:
    value = number(attributes.get(f"PhysicalSize{axis}", ""))
    unit = _UNITS_UM.get(attributes.get(f"PhysicalSize{axis}Unit", "µm"))
    return value * unit if value and unit else None


def number(text: str) -> float | None:
    """A positive finite number, or None."""
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    return value if 0 < value < 1e9 else None


def associated_name(text: str) -> str | None:
    """``label`` or ``macro`` when the description of a small image says so; Aperio writes it on the second line."""
    lines = text.lower().splitlines()
    for line in lines[1:2] if "aperio" in text[:1024].lower() and len(lines) > 1 else lines[:2]:
        for name in ("label", "macro", "thumbnail"):
            if line.lstrip().startswith(name) or f"{name} image" in line or line.strip() == name:
                return name
    return None
