"""Tiles, regions and thumbnails for clients that choose channels, planes, colours and the kind of picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from microtome.errors import CorruptData, InvalidRequest, UnsupportedFormat
from microtome.formats.threads import check_planes
from microtome.model import EncodedTile, Level, Raster, Rectangle, Size, SlideInfo, SlideRecord, TileIndex
from microtome.pixels import resample
from microtome.pixels.channels import ChannelStyle
from microtome.pixels.color import IccTransform
from microtome.pixels.images import fit
from microtome.pixels.picture import PictureOptions, check_channels, picture
from microtome.tiles.answer import ImageAnswer, key_of
from microtome.tiles.pool import OpenSlide
from microtome.tiles.raster import Padding, blank, check_size, cropped, decoded, padded, read_raster
from microtome.tiles.service import TileService, is_vector, nearest_level


@dataclass(frozen=True, slots=True)
class OpenedInfo:
    """The facts of a slide, the ETag of its version, and the name of the format that reads it."""

    info: SlideInfo
    version: str
    format: str


class PictureService:
    """Answers pictures over the open slides, the cache and the threads of a ``TileService``.

    All methods raise what ``formats.base.Slide`` raises, InvalidRequest (level, tile, z, t, channels, profile), Busy.
    """

    def __init__(self, tiles: TileService, *, region_pixels: int = 25_000_000) -> None:
        self.tiles = tiles
        self.region_pixels = region_pixels

    async def info(self, record: SlideRecord) -> OpenedInfo:
        """What is known about a slide."""

        async def work(entry: OpenSlide) -> OpenedInfo:
            return OpenedInfo(await entry.slide.info(), entry.version, entry.format)

        return await self.tiles.pool.run(record, work)

    def peek_tile(self, record: SlideRecord, index: TileIndex, options: PictureOptions) -> ImageAnswer | None:
        """The tile if it can be answered at once, without waiting or pixel work, else None. Never raises."""
        entry = self.tiles.pool.peek(record.handle)
        level = None if entry is None else entry.ahead.level(index.level)
        if entry is None or level is None:
            return None
        key = _key("tile", entry, index, options)
        image = self.tiles.cache.get(key)
        hit = image is not None
        if image is None:
            image = entry.slide.peek_tile(index) if _is_whole(level, index) else None
            if image is None or not _untouched(image, 3, options):
                return None
            entry.ahead.visit(index)
            self.tiles.counters.add("tiles.untouched")
            self.tiles.cache.put(key, image)
        return ImageAnswer(image, key, hit, entry.checked + self.tiles.pool.revalidate)

    async def tile(self, record: SlideRecord, index: TileIndex, options: PictureOptions) -> ImageAnswer:
        """A tile, cropped to the level at its edges, or completed with the padding colour when ``options.pad``.

        Beyond the level there is only padding, or InvalidRequest(parameter="tile"). Tiles of vector sets come as they
        are, whatever the options.
        """

        async def work(entry: OpenSlide) -> ImageAnswer:
            level = await entry.slide.level(index.level)
            entry.ahead.learn(index.level, level)
            entry.ahead.visit(index)
            return await self.tiles.answer(
                entry, _key("tile", entry, index, options), lambda: self._tile(entry, level, index, options)
            )

        return await self.tiles.pool.run(record, work)

    async def region(
        self, record: SlideRecord, index: TileIndex, rectangle: Rectangle, options: PictureOptions
    ) -> ImageAnswer:
        """A rectangle of a level in its px, exactly as large as asked, padded outside; column and row do not matter."""

        async def work(entry: OpenSlide) -> ImageAnswer:
            await entry.slide.level(index.level)

            async def compute() -> EncodedTile:
                info = await self._checked(entry, index, options)
                transform = await self._transform(entry, info, options)
                workers, most = self.tiles.workers, self.region_pixels
                with workers.room(check_size(rectangle, info, most)):
                    raster = await read_raster(entry.slide, workers, index, rectangle, options.padding, max_pixels=most)
                    return await self._picture(entry, raster, options, transform)

            return await self.tiles.answer(entry, _key(f"region {rectangle}", entry, index, options), compute)

        return await self.tiles.pool.run(record, work)

    async def thumbnail(self, record: SlideRecord, largest: Size, options: PictureOptions) -> ImageAnswer:
        """The whole slide within ``largest``, its proportions kept, never enlarged, in one resampling."""

        async def work(entry: OpenSlide) -> ImageAnswer:
            async def compute() -> EncodedTile:
                info = await self._checked(entry, TileIndex(0, 0, 0), options)
                transform = await self._transform(entry, info, options)
                size = fit(info.size, *largest)
                number = nearest_level(info.levels, info.size.width / size.width)
                level = info.levels[number].size
                nbytes = level.width * level.height * len(info.channels) * np.dtype(info.dtype).itemsize
                with self.tiles.workers.room(min(nbytes, 4 * self.tiles.limits.region_pixels)):
                    if is_colour(info):
                        pixels = await self.tiles.reduced(entry, info.levels[number], number, size)
                        raster = Raster(resample.resize(pixels, size), ("R", "G", "B"))
                    else:
                        whole = Rectangle(0, 0, *info.levels[number].size)
                        raster = _resized(await self._raster(entry, number, whole, options.padding), size)
                    return await self._picture(entry, raster, options, transform)

            return await self.tiles.answer(
                entry, _key(f"thumbnail {largest}", entry, TileIndex(0, 0, 0), options), compute
            )

        return await self.tiles.pool.run(record, work)

    async def associated(self, record: SlideRecord, name: str, largest: Size, options: PictureOptions) -> ImageAnswer:
        """A picture beside the pyramid within ``largest``. Raises NotFound(what="associated image")."""

        async def work(entry: OpenSlide) -> ImageAnswer:
            async def compute() -> EncodedTile:
                info = await entry.slide.info()
                raster = decoded(await entry.slide.read_associated(name))
                transform = await self._transform(entry, info, options)
                return await self._picture(entry, _resized(raster, fit(raster.size, *largest)), options, transform)

            return await self.tiles.answer(
                entry, _key(f"associated {name} {largest}", entry, TileIndex(0, 0, 0), options), compute
            )

        return await self.tiles.pool.run(record, work)

    # -- pieces ------------------------------------------------------------------------------------------------------

    async def _tile(self, entry: OpenSlide, level: Level, index: TileIndex, options: PictureOptions) -> EncodedTile:
        info = await self._checked(entry, index, options)
        inside = 0 <= index.column < level.columns and 0 <= index.row < level.rows
        if not inside and not options.pad:
            level.check_tile(index)
        if not inside:
            shape = level.tile_size.height, level.tile_size.width
            names = [channel.name for channel in info.channels]
            return await self._picture(entry, blank(shape, names, np.dtype(info.dtype), options.padding), options, None)
        found = await entry.slide.read_tile(index)
        if isinstance(found, EncodedTile) and is_vector(found):
            return found
        width = min(level.tile_size.width, level.size.width - index.column * level.tile_size.width)
        height = min(level.tile_size.height, level.size.height - index.row * level.tile_size.height)
        whole = (width, height) == level.tile_size
        if whole and _untouched(found, len(info.channels), options):
            self.tiles.counters.add("tiles.untouched")
            return found  # type: ignore[return-value]
        transform = await self._transform(entry, info, options)
        styles = await self._styles(entry, options)

        def job() -> EncodedTile:
            raster = cropped(decoded(found), width, height)
            if options.pad and not whole:
                raster = padded(raster, *level.tile_size, options.padding)
            return picture(raster, options, transform, styles)

        self.tiles.counters.add("tiles.rendered")
        return await self.tiles.workers.run(job)

    async def _checked(self, entry: OpenSlide, index: TileIndex, options: PictureOptions) -> SlideInfo:
        info = await entry.slide.info()
        check_planes(info, index)
        check_channels(options.channels, len(info.channels))
        return info

    async def _transform(self, entry: OpenSlide, info: SlideInfo, options: PictureOptions) -> IccTransform | None:
        if options.intent is None:
            return None
        if info.icc_profile is None:
            if options.strict:
                raise InvalidRequest("Error: ICC Profile not available.", parameter="profile")
            return None
        try:
            return await self.tiles.transform(entry, options.intent)
        except (CorruptData, UnsupportedFormat):
            if options.strict:
                raise
            return None

    async def _picture(
        self, entry: OpenSlide, raster: Raster, options: PictureOptions, transform: IccTransform | None
    ) -> EncodedTile:
        styles = await self._styles(entry, options)
        return await self.tiles.workers.run(lambda: picture(raster, options, transform, styles))

    async def _styles(self, entry: OpenSlide, options: PictureOptions) -> Sequence[ChannelStyle]:
        return await self.tiles.styles(entry, options.styles) if options.styles else ()

    async def _raster(self, entry: OpenSlide, number: int, rectangle: Rectangle, padding: Padding) -> Raster:
        return await read_raster(
            entry.slide,
            self.tiles.workers,
            TileIndex(number, 0, 0),
            rectangle,
            padding,
            max_pixels=self.tiles.limits.region_pixels,
        )


def is_colour(info: SlideInfo) -> bool:
    """Whether the slide is an ordinary colour picture of 8 bits."""
    return tuple(channel.name for channel in info.channels) == ("R", "G", "B") and info.dtype == "uint8"


def _is_whole(level: Level, index: TileIndex) -> bool:
    """Whether all of a tile is in the level."""
    width, height = level.tile_size
    return (
        index.column >= 0
        and index.row >= 0
        and (index.column + 1) * width <= level.size.width
        and (index.row + 1) * height <= level.size.height
    )


def _untouched(found: EncodedTile | Raster, count: int, options: PictureOptions) -> bool:
    return (
        isinstance(found, EncodedTile)
        and found.media_type == "image/jpeg"
        and found.color != "other"
        and not options.changes_pixels(count)
    )


def _key(what: str, entry: OpenSlide, index: TileIndex, options: PictureOptions) -> str:
    return key_of(f"{entry.record.handle}\0{entry.version}\0{what}\0{tuple(index)}\0{options}")


def _resized(raster: Raster, size: Size) -> Raster:
    """All channels resampled at full depth."""
    array = raster.array
    if raster.size == size:
        return raster
    if array.dtype == np.uint8 and array.shape[2] in {1, 3}:
        return Raster(resample.resize(np.asarray(array, np.uint8), size), raster.channels)
    planes = [resample.resize_plane(array[:, :, number], size) for number in range(array.shape[2])]
    return Raster(np.stack(planes, axis=2), raster.channels)
