"""The OME attributes of a group: axes, levels, scales, channels (OME-Zarr 0.4 §3, 0.5 §2).

Pure: from the JSON of the group to facts. Raises UnsupportedFormat with the reason for what is no image.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from microtome.errors import CorruptData, UnsupportedFormat
from microtome.formats.ngff.values import Json, mapping, real, sequence, text
from microtome.model import Channel

MAX_LEVELS = 64
MAX_CHANNELS = 1024
_SPACE_UM = {
    "yoctometer": 1e-18, "zeptometer": 1e-15, "attometer": 1e-12, "femtometer": 1e-9, "picometer": 1e-6,
    "angstrom": 1e-4, "nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "centimeter": 1e4, "decimeter": 1e5,
    "meter": 1e6, "decameter": 1e7, "hectometer": 1e8, "kilometer": 1e9, "megameter": 1e12, "gigameter": 1e15,
    "terameter": 1e18, "petameter": 1e21, "exameter": 1e24, "zettameter": 1e27, "yottameter": 1e30,
    "inch": 25_400.0, "foot": 304_800.0, "yard": 914_400.0, "mile": 1.609344e9, "parsec": 3.0856775814913674e22,
    # What writers put there instead of the names of UDUNITS.
    "nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6,
}  # fmt: skip
_OLD_AXES = ("t", "c", "z", "y", "x")
_RGB_LABELS = ({"r", "red"}, {"g", "green"}, {"b", "blue"})


@dataclass(frozen=True, slots=True)
class Multiscale:
    """One image: the names of its ``axes`` in the order of the arrays, and where its levels are.

    ``spacing_um`` is (x, y) µm per px of the first level, None when the file gives no unit of length.
    """

    version: str
    axes: tuple[str, ...]
    paths: tuple[str, ...]
    spacing_um: tuple[float, float] | None
    properties: dict[str, str]


def ome_attributes(attributes: Json) -> Json:
    """Where the OME metadata are: below ``ome`` since 0.5, at the top before."""
    return mapping(attributes["ome"]) if "ome" in attributes else attributes


def series_path(ome: Json) -> str | None:
    """The first image of a collection as bioformats2raw writes it, None for a group that is no such collection."""
    if ome.get("bioformats2raw.layout") is None or sequence(ome.get("multiscales")):
        return None
    return "0"


def multiscale(ome: Json) -> Multiscale:
    """The first image of the group."""
    _check_kind(ome)
    first = mapping((*sequence(ome.get("multiscales")), None)[0])
    axes, units = _axes(first.get("axes"))
    datasets = [mapping(each) for each in sequence(first.get("datasets"))]
    paths = tuple(text(each.get("path")).strip("/") for each in datasets)
    if not paths or len(paths) > MAX_LEVELS or len(set(paths)) != len(paths):
        raise CorruptData(f"The image lists {len(paths)} levels; 1 to {MAX_LEVELS} different ones are expected")
    scale = [
        a * b
        for a, b in zip(
            _scale(datasets[0].get("coordinateTransformations"), len(axes)),
            _scale(first.get("coordinateTransformations"), len(axes)),
            strict=True,
        )
    ]
    version = text(ome.get("version") or first.get("version"))
    return Multiscale(version, axes, paths, _spacing(axes, units, scale), _properties(ome, first, axes, units, scale))


def channels(ome: Json, count: int) -> tuple[Channel, ...]:
    """``count`` channels, named and coloured by ``omero`` as far as it goes. R, G, B for those of a colour image."""
    found: list[Channel] = []
    told = sequence(mapping(ome.get("omero")).get("channels"))
    for number in range(count):
        channel = mapping(told[number] if number < len(told) else None)
        name = text(channel.get("label")).strip() or f"Channel {number}"
        color = text(channel.get("color")).removeprefix("#")
        found.append(Channel(name, int(color[:6], 16) if re.fullmatch(r"[0-9A-Fa-f]{6}(..)?", color) else None))
    if count == 3 and all(each.name.lower() in names for each, names in zip(found, _RGB_LABELS, strict=True)):
        return tuple(Channel(name, color) for name, color in (("R", 0xFF0000), ("G", 0x00FF00), ("B", 0x0000FF)))
    return tuple(found)


def _check_kind(ome: Json) -> None:
    if "plate" in ome:
        wells = [text(mapping(well).get("path")) for well in sequence(mapping(ome["plate"]).get("wells"))]
        field = f"{wells[0]}/0" if wells and wells[0] else "A/1/0"
        raise UnsupportedFormat(
            f"The folder is a plate of {len(wells)} wells; open an image of one well instead, for example {field}",
            feature="plate",
        )
    if "well" in ome:
        images = [text(mapping(image).get("path")) for image in sequence(mapping(ome["well"]).get("images"))]
        raise UnsupportedFormat(
            f"The folder is a well of {len(images)} images; open one of them instead,"
            f" for example {images[0] if images else '0'}",
            feature="well",
        )
    if not sequence(ome.get("multiscales")):
        raise UnsupportedFormat("The Zarr group holds no OME image (multiscales)", feature="no image")


def _axes(value: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and units; before 0.3 there were none, and all images had five axes."""
    given = sequence(value)
    if not given:
        return _OLD_AXES, ("",) * 5
    names = tuple((text(each) or text(mapping(each).get("name"))).lower() for each in given)
    units = tuple(text(mapping(each).get("unit")) for each in given)
    if len(set(names)) != len(names) or not {"y", "x"} <= set(names) <= set(_OLD_AXES):
        raise UnsupportedFormat(
            f"Axes {', '.join(names[:8])[:80]} are not supported; y and x are needed, t, c and z may be there",
            feature="axes",
        )
    return names, units


def _scale(transformations: object, count: int) -> list[float]:
    """The product of the scales of a list of transformations; translations do not matter here."""
    product = [1.0] * count
    for each in sequence(transformations)[:16]:
        factors = [real(factor) for factor in sequence(mapping(each).get("scale"))]
        if mapping(each).get("type") == "scale" and len(factors) == count:
            product = [old * (new or 1.0) for old, new in zip(product, factors, strict=True)]
    return product


def _spacing(axes: tuple[str, ...], units: tuple[str, ...], scale: list[float]) -> tuple[float, float] | None:
    found: list[float] = []
    for axis in "xy":
        at = axes.index(axis)
        found.append(abs(scale[at]) * _SPACE_UM.get(units[at].lower(), 0.0))
    return (found[0], found[1]) if all(0 < each < 1e9 for each in found) else None


def _properties(
    ome: Json, first: Json, axes: tuple[str, ...], units: tuple[str, ...], scale: list[float]
) -> dict[str, str]:
    properties = {"ngff.axes": "".join(axes)}
    for key, value in (("name", first.get("name")), ("type", first.get("type"))):
        if text(value):
            properties[f"ngff.{key}"] = text(value)
    for axis, unit, factor in zip(axes, units, scale, strict=True):
        if axis != "c":
            properties[f"ngff.scale.{axis}"] = f"{factor:g} {unit}".strip()
    omero = mapping(ome.get("omero"))
    for number, channel in enumerate(sequence(omero.get("channels"))[:MAX_CHANNELS]):
        window = mapping(mapping(channel).get("window"))
        for key in ("start", "end", "min", "max"):
            value = real(window.get(key))
            if value is not None:
                properties[f"omero.channels[{number}].window.{key}"] = f"{value:g}"
        if isinstance(mapping(channel).get("active"), bool):
            properties[f"omero.channels[{number}].active"] = str(mapping(channel)["active"]).lower()
    return properties
