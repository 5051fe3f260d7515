"""An open TIFF of channels and planes: tiles out of the segments a tile needs. Blocking; see ``ThreadedSlide``."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from microtome.errors import CorruptData, LimitExceeded, NotFound, UnsupportedFormat
from microtome.formats.tifffile import imagej, ome, plain, qptiff, segments
from microtome.formats.tifffile.segments import Part, Samples
from microtome.formats.tifffile.source import TiffSource
from microtome.formats.tifffile.stack import Place, Plane, Stack
from microtome.model import AssociatedImage, EncodedTile, Level, Raster, Rectangle, Size, SlideInfo, TileIndex
from microtome.pixels import jpeg
from microtome.storage.pinned import PinnedObject

CACHE_BYTES = 64 << 20
"""Decoded segments that are larger than a tile and so serve several of them."""
PICTURE_BYTES = 64 << 20
_ICC_PROFILE = 34675


class _Wanted(NamedTuple):
    """A rectangle of one directory, and the pieces it is made of."""

    place: Place
    page: Any
    area: Rectangle
    parts: list[Part]


class TifffileSlide:
    """A slide of one TIFF or a set of them. See ``formats.base.SyncSlide``."""

    at_once = 4

    def __init__(self, source: TiffSource, stack: Stack) -> None:
        self._source = source
        self._stack = stack
        self._pages = [source.page(_any_place(stack, number)) for number in range(len(stack.levels))]
        self._info = _info(stack, self._pages, self._pictures())
        self._names = tuple(channel.name for channel in stack.channels)
        self._lock = threading.Lock()
        self._decoded: OrderedDict[tuple[Place, int | None], Samples] = OrderedDict()
        self._held = 0

    def info(self) -> SlideInfo:
        """The facts."""
        return self._info

    def read_tile(self, index: TileIndex) -> EncodedTile | Raster:
        """All channels of a tile, dtype as stored, edge tiles cut at the level; a JPEG tile of one directory as it is.

        Planes the file does not hold are zero.
        """
        level = self._info.levels[index.level]
        left, top = index.column * level.tile_size.width, index.row * level.tile_size.height
        area = Rectangle(
            left,
            top,
            min(level.tile_size.width, level.size.width - left),
            min(level.tile_size.height, level.size.height - top),
        )
        expected = self._pages[index.level]
        places = [
            self._stack.levels[index.level].find(Plane(group, index.z, index.t)) for group in range(self._stack.groups)
        ]
        if (stored := self._stored(places, level, area)) is not None:
            return stored
        wanted = [self._wanted(place, expected, area) for place in places if place is not None]
        needed = len(wanted) * area.width * area.height * segments.samples_shown(expected) * expected.dtype.itemsize
        if needed > segments.MAX_TILE_BYTES:
            raise LimitExceeded(
                f"A tile of all {len(self._names)} channels would take {needed >> 20} MB", limit="decoded bytes"
            )
        arrays = iter(self._samples(wanted))
        empty = np.zeros((area.height, area.width, segments.samples_shown(expected)), expected.dtype)
        return Raster(
            np.concatenate([empty if place is None else next(arrays) for place in places], axis=2), self._names
        )

    def read_associated(self, name: str) -> EncodedTile | Raster:
        """Label, macro or thumbnail."""
        place = self._stack.associated.get(name)
        if place is None:
            raise NotFound("associated image", name)
        page = self._source.page(place)
        area = Rectangle(0, 0, page.imagewidth, page.imagelength)
        [array] = self._samples([self._wanted(place, page, area)])
        shown = array.shape[2] if array.shape[2] in {1, 3} else 1
        return Raster(array[:, :, :shown], ("R", "G", "B") if shown == 3 else ("gray",))

    def close(self) -> None:
        """Forget what was decoded; the store is not ours."""
        self._decoded.clear()

    def _pictures(self) -> tuple[AssociatedImage, ...]:
        found: list[AssociatedImage] = []
        for name, place in sorted(self._stack.associated.items()):
            try:
                page = self._source.page(place)
                segments.check(page)
            except (CorruptData, UnsupportedFormat, LimitExceeded):
                continue  # the slide does not depend on them
            if page.imagewidth * page.imagelength * page.samplesperpixel * page.dtype.itemsize <= PICTURE_BYTES:
                found.append(AssociatedImage(name, Size(page.imagewidth, page.imagelength)))
        return tuple(found)

    def _stored(self, places: list[Place | None], level: Level, area: Rectangle) -> EncodedTile | None:
        """The tile as it is in the file, if it is a complete JPEG of all channels."""
        if len(places) != 1 or places[0] is None:
            return None
        page = self._source.page(places[0])
        color = segments.jpeg_color(page)
        if color is None or segments.segment_size(page) != level.tile_size:
            return None
        [part] = segments.parts(page, area)
        if part.start == part.stop:
            return None
        [data] = self._source.read(places[0].file, [(part.start, part.stop)])
        return EncodedTile(jpeg.complete(page.jpegtables, data, color=color), "image/jpeg", level.tile_size, color)

    def _wanted(self, place: Place, expected: Any, area: Rectangle) -> _Wanted:
        page = self._source.page(place)
        segments.check(page)
        if not segments.same_kind(page, expected):
            raise CorruptData("The planes of the image differ in size or type")
        return _Wanted(place, page, area, segments.parts(page, area, place.shift))

    def _samples(self, wanted: list[_Wanted]) -> list[Samples]:
        """The samples of each rectangle; the bytes of all of them in one round trip for each file."""
        data: dict[tuple[Place, Part], bytes] = {}
        for file in dict.fromkeys(each.place.file for each in wanted):
            needed = [
                (each.place, part)
                for each in wanted
                if each.place.file == file
                for part in each.parts
                if part.start < part.stop and (each.place, part.segment) not in self._decoded
            ]
            read = self._source.read(file, [(part.start, part.stop) for _, part in needed])
            data.update(zip(needed, read, strict=True))
        return [self._assembled(each, data) for each in wanted]

    def _assembled(self, wanted: _Wanted, data: dict[tuple[Place, Part], bytes]) -> Samples:
        place, page, area, parts = wanted
        canvas = np.empty((area.height, area.width, segments.samples_shown(page)), page.dtype)
        for part in parts:
            array = self._piece(page, place, part, area, data.get((place, part)))
            left, top = max(part.left, area.left), max(part.top, area.top)
            right = min(part.left + part.size.width, area.left + area.width)
            bottom = min(part.top + part.size.height, area.top + area.height)
            inside = array[top - part.top : bottom - part.top, left - part.left : right - part.left]
            count = min(inside.shape[2], canvas.shape[2] - part.sample)
            canvas[
                top - area.top : bottom - area.top,
                left - area.left : right - area.left,
                part.sample : part.sample + count,
            ] = inside[:, :, :count]
        return canvas

    def _piece(self, page: Any, place: Place, part: Part, area: Rectangle, data: bytes | None) -> Samples:
        """Samples of a segment; those that reach beyond this tile are kept for its neighbours."""
        key = (place, part.segment)
        if data is None and part.start < part.stop:
            with self._lock:
                kept = self._decoded.get(key)
                if kept is not None:
                    self._decoded.move_to_end(key)
                    return kept
            [data] = self._source.read(place.file, [(part.start, part.stop)])  # dropped meanwhile
        array = segments.decoded(page, part, data or b"")
        larger = part.size.width > area.width or part.size.height > area.height
        if part.segment is not None and larger and part.start < part.stop and array.nbytes <= CACHE_BYTES:
            with self._lock:
                if key not in self._decoded:
                    self._held += array.nbytes
                self._decoded[key] = array
                while self._held > CACHE_BYTES:
                    self._held -= self._decoded.popitem(last=False)[1].nbytes
        return array


def open_slide(files: PinnedObject, loop: asyncio.AbstractEventLoop) -> TifffileSlide:
    """Find out what kind of file it is, and what it holds. Blocking.

    Raises UnsupportedFormat, CorruptData, LimitExceeded, Conflict, StorageUnavailable.
    """
    source = TiffSource(files, loop)
    text = source.page(Place("", 0)).description
    if "<OME" in text or ":OME" in text[:4096]:
        # Without its metadata file, a file of a set is a picture like any other.
        stack = ome.read(source, text) or replace(plain.read(source, text), format_name="OME-TIFF")
    elif text.startswith("ImageJ="):
        stack = imagej.read(source, text)
    elif "PerkinElmer-QPI" in text[:4096]:
        stack = qptiff.read(source)
    else:
        stack = plain.read(source, text)
    return TifffileSlide(source, stack)


def _any_place(stack: Stack, level: int) -> Place:
    """A directory of a level. Raises CorruptData when the file holds none of its planes."""
    planes = stack.levels[level]
    for plane in planes.places:
        place = planes.find(plane)
        if place is not None:
            return place
    raise CorruptData("The metadata of the file place none of its planes")


def _info(stack: Stack, pages: list[Any], pictures: tuple[AssociatedImage, ...]) -> SlideInfo:
    base = pages[0]
    levels: list[Level] = []
    for page in pages:
        segments.check(page)
        size = Size(page.imagewidth, page.imagelength)
        downsample = (base.imagewidth / size.width + base.imagelength / size.height) / 2
        levels.append(Level(size, segments.tile_size(page), downsample))
    profile = base.tags.valueof(_ICC_PROFILE)
    properties = dict(stack.properties)
    properties["tiff.Compression"] = getattr(base.compression, "name", str(base.compression))
    if base.software:
        properties["tiff.Software"] = base.software[:200]
    return SlideInfo(
        format_name=stack.format_name,
        levels=tuple(levels),
        channels=stack.channels,
        dtype=base.dtype.name,
        spacing_um=stack.spacing_um,
        magnification=stack.magnification,
        focal_planes=stack.z,
        time_points=stack.t,
        icc_profile=profile if isinstance(profile, bytes) else None,
        associated=pictures,
        vendor=stack.vendor,
        properties=MappingProxyType(properties),
    )
