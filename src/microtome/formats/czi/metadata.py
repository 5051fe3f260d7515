"""The XML of a CZI file: what the channels are called and look like, how large a px is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from xml.etree import ElementTree

from microtome.model import Channel

MAX_XML_BYTES = 64 << 20
_COLOR = re.compile(r"#(?:[0-9A-Fa-f]{2})?([0-9A-Fa-f]{6})")


@dataclass(frozen=True, slots=True)
class Metadata:
    """``channels`` in the order of their index, ``properties`` of the instrument."""

    channels: tuple[Channel, ...] = ()
    spacing_um: tuple[float, float] | None = None
    magnification: float | None = None
    properties: dict[str, str] = field(default_factory=dict[str, str])


def parse(xml: str) -> Metadata:
    """What the XML tells. Never raises: a slide without it is still a slide. Entities are not expanded."""
    if not xml or "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        return Metadata()
    try:
        root = ElementTree.fromstring(xml)  # noqa: S314 - no document type, so no entities
    except (ElementTree.ParseError, ValueError, RecursionError):
        return Metadata()
    shown = {each.get("Id", ""): each for each in root.iterfind(".//DisplaySetting/Channels/Channel")}
    channels: list[Channel] = []
    for each in root.iterfind(".//Information/Image/Dimensions/Channels/Channel"):
        display = shown.get(each.get("Id", ""))
        name = each.get("Name") or (display.get("Name") if display is not None else None) or ""
        texts = [_text(display, "Color") if display is not None else "", _text(each, "Color")]
        channels.append(Channel(name[:200], _color(texts)))
    axes = {each.get("Id"): _number(_text(each, "Value")) for each in root.iterfind(".//Scaling/Items/Distance")}
    x, y = (1e6 * (axes.get(axis) or 0.0) for axis in "XY")
    magnification = _number(_text(root, ".//Information/Instrument/Objectives/Objective/NominalMagnification"))
    properties: dict[str, str] = {}
    for name, path in (
        ("Objective", ".//Information/Instrument/Objectives/Objective/Manufacturer/Model"),
        ("Microscope", ".//Information/Instrument/Microscopes/Microscope/System"),
        ("Software", ".//Information/Application/Name"),
        ("SoftwareVersion", ".//Information/Application/Version"),
        ("AcquisitionDateAndTime", ".//Information/Image/AcquisitionDateAndTime"),
    ):
        if text := _text(root, path):
            properties[f"czi.{name}"] = text[:1000]
    return Metadata(
        tuple(channels),
        (x, y) if 0 < x < 10_000 and 0 < y < 10_000 else None,
        magnification if magnification and 0 < magnification < 1000 else None,
        properties,
    )


def _text(element: ElementTree.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _color(texts: Iterable[str]) -> int | None:
    """0xRRGGBB of "#AARRGGBB"; white is what the writer puts for no colour."""
    for text in texts:
        match = _COLOR.fullmatch(text)
        if match and int(match[1], 16) != 0xFFFFFF:
            return int(match[1], 16)
    return None
