"""OME-TIFF: which directory of which file holds which plane, and which images are levels or pictures beside it."""

from __future__ import annotations

from typing import Any

from microtome.errors import CorruptData, LimitExceeded
from microtome.formats.tifffile import omexml, segments
from microtome.formats.tifffile.omexml import Ome, OmeImage
from microtome.formats.tifffile.pyramid import MAX_LEVELS, sub_levels
from microtome.formats.tifffile.source import TiffSource
from microtome.formats.tifffile.stack import MAX_CHANNELS, MAX_PLANES, RGB, Place, Plane, Planes, Stack, named
from microtome.model import Channel

_BESIDE = {"label": "label", "macro": "macro", "overview": "macro", "thumbnail": "thumbnail"}


def read(source: TiffSource, text: str) -> Stack | None:
    """The first image of the set. None when the metadata are in a file that is missing: then this is one plane.

    Raises CorruptData, UnsupportedFormat, LimitExceeded.
    """
    ome = omexml.parse(text)
    if ome.metadata_file is not None:
        companion = source.text(ome.metadata_file, omexml.MAX_XML_BYTES)
        if companion is None:
            return None
        own, ome = ome.uuid, omexml.parse(companion)
        ome.uuid = own
    images = [image for image in ome.images if image.width]
    main = next((image for image in images if _beside(image) is None), None)
    if main is None:
        raise CorruptData("The OME-XML of the file tells of no image")
    starts = _starts(images)
    first = _first(source, ome, main, starts)
    page = source.page(first)
    segments.check(page)
    groups, samples = _groups(main, page)
    base = _planes(source, ome, main, groups, starts)
    levels = [Planes(base), *(Planes(base, sub) for sub in range(sub_levels(source, first)))]
    used = [main]
    if len(levels) == 1:
        coarse = _coarser(images, main)
        levels += [Planes(_planes(source, ome, image, groups, starts)) for image in coarse]
        used += coarse
    associated = {
        name: _first(source, ome, image, starts)
        for image in reversed(images)
        if image not in used and (name := _beside(image)) is not None
    }
    properties = dict(main.properties)
    if main.name:
        properties["ome.ImageName"] = main.name
    if ome.creator:
        properties["ome.Creator"] = ome.creator
    return Stack(
        format_name="OME-TIFF",
        channels=_channels(main, page, groups, samples),
        levels=tuple(levels),
        groups=groups,
        z=main.z,
        t=main.t,
        spacing_um=main.spacing_um,
        magnification=ome.magnifications.get(main.objective) or next(iter(ome.magnifications.values()), None),
        associated=associated,
        properties=properties,
    )


def _beside(image: OmeImage) -> str | None:
    """What an image is by its name, None for one that is a slide of its own."""
    words = image.name.lower().replace("_", " ").split()
    return next((_BESIDE[word] for word in words[:1] + words[-2:] if word in _BESIDE), None) if len(words) < 4 else None


def _starts(images: list[OmeImage]) -> dict[int, int]:
    """The directory each image begins with where its TiffData do not say, by the identity of the image."""
    found: dict[int, int] = {}
    start = 0
    for image in images:
        found[id(image)] = start
        per_pixel = next((channel.samples for channel in image.channels if channel.samples), 1)
        start += max(1, image.c // per_pixel) * image.z * image.t
    return found


def _first(source: TiffSource, ome: Ome, image: OmeImage, starts: dict[int, int]) -> Place:
    """A directory of the image, whatever plane it holds."""
    for data in image.data:
        if data.count != 0:
            return Place(_file(source, ome, data.file, data.uuid), data.ifd or 0)
    return Place("", min(starts[id(image)], MAX_PLANES))


def _file(source: TiffSource, ome: Ome, file: str | None, uuid: str) -> str:
    """The name of a file of the set, "" for the main one, whatever it is called by now."""
    if file is None or file == source.name or (uuid.strip() and uuid.strip() == ome.uuid):
        return ""
    return file


def _groups(image: OmeImage, page: Any) -> tuple[int, int]:
    """How many directories make the channels of a plane, and how many channels each of them holds."""
    stored, shown = int(page.samplesperpixel), segments.samples_shown(page)
    groups = max(1, -(-image.c // stored))
    if groups * shown > MAX_CHANNELS:
        raise LimitExceeded(
            f"The file has {groups * shown} channels; at most {MAX_CHANNELS} are read", limit="channels"
        )
    return groups, shown


def _channels(image: OmeImage, page: Any, groups: int, samples: int) -> tuple[Channel, ...]:
    if groups == 1 and segments.is_color(page):
        return RGB
    told = image.channels
    if len(told) == groups and samples > 1:
        names = [f"{told[g].name or f'Channel {g}'} {s}" for g in range(groups) for s in range(samples)]
        return named(groups * samples, tuple(names))
    return named(groups * samples, tuple(each.name for each in told), tuple(each.color for each in told))


def _planes(source: TiffSource, ome: Ome, image: OmeImage, groups: int, starts: dict[int, int]) -> dict[Plane, Place]:
    """Every plane that the TiffData place somewhere; those nobody speaks of are missing (OME-TIFF specification)."""
    lengths = {"C": groups, "Z": image.z, "T": image.t}
    total = groups * image.z * image.t
    if total > MAX_PLANES:
        raise LimitExceeded(f"The image has {total} planes; at most {MAX_PLANES} are read", limit="planes")
    found: dict[Plane, Place] = {}
    placed = 0

    def put(start: int, count: int, file: str, ifd: int) -> None:
        nonlocal placed
        count = min(count, total - start)
        placed += count  # not the planes found: many TiffData may place the same ones
        if placed > MAX_PLANES:
            raise LimitExceeded(
                f"The TiffData of the image place more than {MAX_PLANES} planes, some of them repeatedly",
                limit="planes",
            )
        for number in range(count):
            at = omexml.position(image.order, lengths, start + number)
            found[Plane(at["C"], at["Z"], at["T"])] = Place(file, ifd + number)

    for data in image.data:
        start = omexml.linear(image.order, lengths, {"C": data.c, "Z": data.z, "T": data.t})
        if start is None:
            continue  # some writers forget these when an image is cropped
        count = data.count if data.count is not None else 1 if data.ifd is not None else total
        put(start, count, _file(source, ome, data.file, data.uuid), data.ifd or 0)
    if not image.data:
        put(0, total, "", min(starts[id(image)], MAX_PLANES))
    return found


def _coarser(images: list[OmeImage], main: OmeImage) -> list[OmeImage]:
    """Images that are the main one reduced by a whole factor: how levels were written before OME-TIFF 6."""
    found: list[OmeImage] = []
    for image in images:
        factor = round(main.width / image.width)
        last = found[-1] if found else main
        exact = abs(main.width / factor - image.width) <= 1 and abs(main.height / factor - image.height) <= 1
        if image.shape == main.shape and image.width < last.width and factor > 1 and exact:
            found.append(image)
    return found[:MAX_LEVELS]
