"""An open TIFF slide: level 0 as soon as its directory is read, the rest of the pyramid in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import MappingProxyType

import numpy as np

from microtome.errors import CorruptData, InvalidRequest, NotFound, UnsupportedFormat
from microtome.formats.tiff import description, pyramid, tags
from microtome.formats.tiff.decode import MAX_DECODED_BYTES, layout
from microtome.formats.tiff.directory import FIRST_WINDOW_BYTES, Directory, read_directory, walk
from microtome.formats.tiff.ifd import FileHeader
from microtome.formats.tiff.image import Image, StripImage, TiledImage, open_image
from microtome.model import AssociatedImage, Channel, EncodedTile, Level, Raster, SlideInfo, TileIndex, of_level
from microtome.pixels import codecs
from microtome.storage.pinned import PinnedObject

EAGER_ARRAY_BYTES = 4 << 20
"""Offset arrays up to this size in all are read completely in the background; larger ones page by page."""
_APERIO = "Aperio SVS"
_GENERIC = "Generic Pyramidal TIFF"


class _Rest:
    """What is known once all directories have been read."""

    def __init__(self, info: SlideInfo, images: list[Image], associated: dict[str, Directory]) -> None:
        self.info = info
        self.images = images
        self.associated = associated


class TiffSlide:
    """A slide of one TIFF file. See ``formats.base.Slide``."""

    def __init__(self, files: PinnedObject, header: FileHeader, first: Directory) -> None:
        self._files = files
        self._header = header
        self._first = first
        self._base: Image | None = None
        if pyramid.is_base(first):
            self._base = open_image(files, first, pyramid.facts(first, first))
        self._complete: _Rest | None = None
        self._rest = asyncio.ensure_future(self._read_rest())
        self._arrays: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether directories or offset arrays are still being read in the background."""
        return not self._rest.done() or (self._arrays is not None and not self._arrays.done())

    @property
    def base_is_unknown(self) -> bool:
        """Whether nothing can be answered before all directories are read."""
        return self._base is None

    async def _read_rest(self) -> _Rest:
        directories = [d async for d in walk(self._files, self._header, self._first)]
        levels = pyramid.levels(directories)
        if not levels:
            raise UnsupportedFormat("The file holds no image that could be shown as a slide", feature="no image")
        base = levels[0]
        images: list[Image] = []
        for directory in levels:
            if directory is self._first and self._base is not None:
                images.append(self._base)
                continue
            try:
                images.append(open_image(self._files, directory, pyramid.facts(directory, base)))
            except (UnsupportedFormat, CorruptData):
                if not images:
                    raise
                break  # a pyramid with a broken coarse end is still a slide
        associated = pyramid.associated(directories, levels)
        rest = _Rest(self._describe(directories[0], base, images, associated), images, associated)
        self._complete = rest
        self._files.settle()
        self._arrays = asyncio.ensure_future(self._load_arrays(images))
        return rest

    async def _load_arrays(self, images: list[Image]) -> None:
        arrays = [image.segments for image in images]
        if sum(each.nbytes for each in arrays) <= EAGER_ARRAY_BYTES:
            # What goes wrong here goes wrong again, and is told, when a tile needs it.
            await asyncio.gather(*(each.load_all() for each in arrays), return_exceptions=True)

    def _describe(
        self, first: Directory, base: Directory, images: list[Image], associated: dict[str, Directory]
    ) -> SlideInfo:
        told = description.parse(first.text(tags.IMAGE_DESCRIPTION))
        found = layout(base)
        names = found.channels
        if len(told.channel_names) == len(names) and names != ("R", "G", "B"):
            names = tuple(name or default for name, default in zip(told.channel_names, names, strict=True))
        properties = dict(told.properties)
        for name, tag in (("Make", tags.MAKE), ("Model", tags.MODEL), ("Software", tags.SOFTWARE),
                          ("DateTime", tags.DATE_TIME), ("ImageDescription", tags.IMAGE_DESCRIPTION)):  # fmt: skip
            if text := first.text(tag).strip():
                properties[f"tiff.{name}"] = text[:10_000]
        compression = base.number(tags.COMPRESSION, 1)
        properties["tiff.Compression"] = tags.COMPRESSION_NAMES.get(compression, str(compression))
        return SlideInfo(
            format_name=_APERIO if told.is_aperio else _GENERIC,
            levels=tuple(image.level for image in images),
            channels=tuple(Channel(name) for name in names),
            dtype=found.dtype.name,
            spacing_um=told.spacing_um or _resolution(base),
            magnification=told.magnification,
            icc_profile=base.data(tags.ICC_PROFILE) or first.data(tags.ICC_PROFILE),
            associated=tuple(AssociatedImage(name, directory.size) for name, directory in sorted(associated.items())),
            vendor="aperio" if told.is_aperio else None,
            properties=MappingProxyType(properties),
        )

    async def info(self) -> SlideInfo:
        """The facts, once all directories are read."""
        return (await self._whole()).info

    async def level(self, number: int) -> Level:
        """Level 0 at once when the first directory is the base of the pyramid, others when all are read."""
        return (await self._image(number)).level

    async def read_tile(self, index: TileIndex) -> EncodedTile | Raster:
        """See ``formats.base.Slide``. JPEG, JPEG 2000 and WebP tiles as stored, others as samples."""
        _check_plane(index)
        return await (await self._image(index.level)).read(index)

    def peek_tile(self, index: TileIndex) -> EncodedTile | None:
        """The stored JPEG tile if its bytes are in reach without waiting."""
        if index.z or index.t:
            return None
        if index.level == 0 and self._base is not None:
            return self._base.peek(index)
        rest = self._complete
        return rest.images[index.level].peek(index) if rest and 0 <= index.level < len(rest.images) else None

    def prefetch(self, indices: Sequence[TileIndex]) -> None:
        """Begin to read the bytes of tiles whose place is known."""
        images = self._complete.images if self._complete else [self._base] if self._base else []
        places = [images[i.level].place(i) for i in indices if 0 <= i.level < len(images)]
        self._files.prefetch([place for place in places if place is not None])

    async def read_associated(self, name: str) -> EncodedTile | Raster:
        """Label, macro or thumbnail."""
        directory = (await self._whole()).associated.get(name)
        if directory is None:
            raise NotFound("associated image", name)
        image = open_image(self._files, directory, Level(directory.size, directory.tile_size or directory.size, 1.0))
        if isinstance(image, StripImage):
            return await image.read_whole()
        return await _stitch(image)

    async def close(self) -> None:
        """Stop what is being read in the background."""
        for task in (self._rest, self._arrays):
            if task is not None and not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._rest.done() and not self._rest.cancelled():
            self._rest.exception()

    async def _whole(self) -> _Rest:
        return self._complete or await asyncio.shield(self._rest)

    async def _image(self, number: int) -> Image:
        if number == 0 and self._base is not None:
            return self._base
        return of_level((await self._whole()).images, number)


async def open_slide(files: PinnedObject, header: FileHeader) -> TiffSlide:
    """Read the first directory and begin with the rest."""
    first = await read_directory(files, header, header.first, window=FIRST_WINDOW_BYTES)
    slide = TiffSlide(files, header, first)
    if slide.base_is_unknown:
        try:
            await slide.info()
        except BaseException:
            await slide.close()
            raise
    return slide


def _resolution(directory: Directory) -> tuple[float, float] | None:
    """µm per px out of XResolution, YResolution and ResolutionUnit (2: inch, 3: centimetre), if they say so."""
    unit = {2: 25_400.0, 3: 10_000.0}.get(directory.number(tags.RESOLUTION_UNIT, 2))
    x, y = directory.real(tags.X_RESOLUTION), directory.real(tags.Y_RESOLUTION)
    if unit is None or not x or not y or x < 0 or y < 0:
        return None
    spacing = unit / x, unit / y
    # Screen resolutions (72 to 600 dpi) are what image editors write when they know nothing.
    return spacing if max(spacing) <= 40 else None


def _check_plane(index: TileIndex) -> None:
    if index.z or index.t:
        raise InvalidRequest("The slide has one focal plane and one time point (0)", parameter="z" if index.z else "t")


async def _stitch(image: TiledImage) -> Raster:
    """All of a small tiled image."""
    level = image.level
    pixels: list[list[Raster]] = []
    if level.size.width * level.size.height * 4 > MAX_DECODED_BYTES:
        raise UnsupportedFormat("The picture beside the slide is too large to be shown", feature="associated image")
    for row in range(level.rows):
        line: list[Raster] = []
        for column in range(level.columns):
            tile = await image.read(TileIndex(0, column, row))
            line.append(await asyncio.to_thread(codecs.decode, tile) if isinstance(tile, EncodedTile) else tile)
        pixels.append(line)
    array = np.concatenate([np.concatenate([tile.array for tile in line], axis=1) for line in pixels])
    return Raster(array[: level.size.height, : level.size.width], pixels[0][0].channels)
