"""PerkinElmer / Akoya QPTIFF: one directory for each channel of each level, told apart by XML in its description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from microtome.errors import CorruptData
from microtome.formats.tifffile import segments
from microtome.formats.tifffile.omexml import MAX_XML_BYTES, real
from microtome.formats.tifffile.pyramid import MAX_LEVELS, is_coarser, spacing_um
from microtome.formats.tifffile.source import TiffSource
from microtome.formats.tifffile.stack import MAX_CHANNELS, RGB, Place, Plane, Planes, Stack, named
from microtome.model import Channel

MAX_PAGES = 4096
_MAX_TEXT = 1000
_BESIDE = {"thumbnail": "thumbnail", "overview": "macro", "label": "label"}


@dataclass(slots=True)
class _Group:
    """Directories of one kind and size, one for each channel."""

    kind: str
    page: Any
    places: list[Place] = field(default_factory=list[Place])


def read(source: TiffSource) -> Stack:
    """The slide. Raises CorruptData, UnsupportedFormat, LimitExceeded."""
    groups: list[_Group] = []
    names: list[str] = []
    colors: list[int | None] = []
    facts: Mapping[str, str] = {}
    for number in range(source.count(MAX_PAGES)):
        place = Place("", number)
        page = source.page(place)
        told = elements(page.description)
        kind = told.get("ImageType", "").lower()
        last = groups[-1] if groups else None
        if last is None or last.kind != kind or not segments.same_kind(last.page, page):
            groups.append(last := _Group(kind, page))
        last.places.append(place)
        if len(groups) == 1:
            facts = facts or told
            names.append(told.get("Name", ""))
            colors.append(_color(told.get("Color")))
    if not groups or len(groups[0].places) > MAX_CHANNELS:
        raise CorruptData("The QPTIFF holds no image, or too many channels")
    base = groups[0]
    segments.check(base.page)
    levels = [_planes(base)]
    last = base.page
    for group in groups[1:]:
        reduced = "reduced" in group.kind or not group.kind
        if reduced and len(group.places) == len(base.places) and is_coarser(group.page, last):
            levels.append(_planes(group))
            last = group.page
    samples = segments.samples_shown(base.page)
    count = len(base.places)
    return Stack(
        format_name="PerkinElmer QPTIFF",
        channels=_channels(base.page, count, samples, tuple(names), tuple(colors)),
        levels=tuple(levels[:MAX_LEVELS]),
        groups=count,
        spacing_um=spacing_um(base.page),
        magnification=real(facts.get("Objective", "").lower().rstrip("x")),
        vendor="perkinelmer",
        associated={_BESIDE[g.kind]: g.places[0] for g in reversed(groups) if g.kind in _BESIDE},
        properties={f"qptiff.{name}": value for name, value in facts.items() if name not in {"Name", "Color"}},
    )


def elements(description: str) -> dict[str, str]:
    """The text of the elements directly below the root, by name; {} for what is no such XML. Expands no entity."""
    found: dict[str, str] = {}
    path: list[str] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        path.append(tag.rpartition(":")[2])

    def characters(text: str) -> None:
        if len(path) == 2:
            found[path[1]] = (found.get(path[1], "") + text)[:_MAX_TEXT]

    def refuse(*_: object) -> None:
        raise CorruptData("The XML of a QPTIFF declares a document type")

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda tag: path.pop()
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(description.encode("utf-8", "replace")[:MAX_XML_BYTES], True)  # noqa: FBT003
    except expat.ExpatError:
        return {}
    return {name: text.strip() for name, text in found.items() if text.strip()}


def _planes(group: _Group) -> Planes:
    return Planes({Plane(number, 0, 0): place for number, place in enumerate(group.places)})


def _channels(
    page: Any, count: int, samples: int, names: tuple[str, ...], colors: tuple[int | None, ...]
) -> tuple[Channel, ...]:
    if count == 1 and segments.is_color(page):
        return RGB
    return named(count * samples, names, colors) if samples == 1 else named(count * samples)


def _color(text: str | None) -> int | None:
    """``r,g,b`` of 0 to 255."""
    parts = (text or "").split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() and len(part.strip()) <= 3 for part in parts):
        return None
    red, green, blue = (min(int(part), 255) for part in parts)
    return red << 16 | green << 8 | blue
