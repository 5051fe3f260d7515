"""Tiles, Deep Zoom tiles, thumbnails and associated images of the slides of one store.

Every answer carries a strong ETag made of the slide's version and what was asked, so the same bytes have the same
ETag in every process. Work on one answer is shared by all who ask for it at the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from microtome.caching import Cache, Flights
from microtome.errors import LimitExceeded, NotFound
from microtome.formats.threads import check_planes
from microtome.model import EncodedTile, Level, Raster, Rectangle, Size, SlideInfo, SlideRecord, TileIndex
from microtome.pixels import resample
from microtome.pixels.channels import ChannelStyle
from microtome.pixels.color import IccTransform, Intent
from microtome.pixels.options import RenderOptions
from microtome.pixels.render import is_untouched, render
from microtome.pixels.styles import AskedStyle, ChannelLook, looks, needs_styles, resolved
from microtome.telemetry import Counters
from microtome.tiles.answer import ImageAnswer, tile_key
from microtome.tiles.cache import TileCache
from microtome.tiles.pool import OpenSlide, SlidePool
from microtome.tiles.raster import read_raster
from microtome.tiles.region import FIRST_PLANE, Plane, covering, for_each_tile, read_region
from microtome.tiles.schemes import DeepZoom
from microtome.tiles.workers import RenderWorkers

T = TypeVar("T")

_TRANSFORMS_BUDGET = 256 << 20
_LOOKS_BUDGET = 32 << 20
_LOOK_BYTES = 4096
"""What is kept about a channel: mostly its histogram."""
_OVERVIEWS_BUDGET = 64 << 20
_KEPT_SIDE = 512
"""Thumbnails up to this side share what they are made of."""
_JUDGED_SIDE = 1024
"""The middle of the coarsest level, so many px wide and high, tells how channels look best."""


@dataclass(frozen=True, slots=True)
class RenderLimits:
    """``region_pixels``: px of a level rendered at once. ``thumbnail_tiles``: tiles read for one thumbnail."""

    region_pixels: int = 64_000_000
    thumbnail_tiles: int = 4096


class TileService:
    """Answers images of slides. All methods raise what ``formats.base.Slide`` raises, and Busy."""

    def __init__(
        self,
        pool: SlidePool,
        cache: TileCache,
        workers: RenderWorkers,
        *,
        limits: RenderLimits | None = None,
        counters: Counters | None = None,
    ) -> None:
        self.pool = pool
        self.cache = cache
        self.workers = workers
        self.limits = limits or RenderLimits()
        self.counters = counters or Counters()
        self._flights: Flights[str, EncodedTile] = Flights()
        self._appearance: Cache[str, tuple[ChannelLook, ...]] = Cache(
            _LOOKS_BUDGET, weigh=lambda found: _LOOK_BYTES * (1 + len(found))
        )
        self._overviews: Cache[str, NDArray[np.uint8]] = Cache(_OVERVIEWS_BUDGET, weigh=lambda pixels: pixels.nbytes)
        self._transforms: Cache[str, IccTransform] = Cache(_TRANSFORMS_BUDGET, weigh=lambda transform: transform.nbytes)

    async def info(self, record: SlideRecord) -> SlideInfo:
        """The facts of a slide."""
        return await self.pool.run(record, lambda entry: entry.slide.info())

    async def versioned_info(self, record: SlideRecord) -> tuple[SlideInfo, str]:
        """The facts of a slide and the ETag of the object they were read from."""

        async def work(entry: OpenSlide) -> tuple[SlideInfo, str]:
            return await entry.slide.info(), entry.version

        return await self.pool.run(record, work)

    # -- tiles -------------------------------------------------------------------------------------------------------

    def peek_tile(self, record: SlideRecord, index: TileIndex, options: RenderOptions) -> ImageAnswer | None:
        """The tile if it can be answered at once, without waiting or pixel work, else None. Never raises."""
        entry = self.pool.peek(record.handle)
        if entry is None:
            return None
        digest = tile_key(record.handle, entry.version, index, options)
        image = self.cache.get(digest)
        hit = image is not None
        if image is None:
            if not options.allow_stored:
                return None
            image = entry.slide.peek_tile(index)
            if image is None or not is_untouched(image, options):
                return None
            entry.ahead.visit(index)
            self.counters.add("tiles.untouched")
            self.cache.put(digest, image)
        return ImageAnswer(image, digest, hit, entry.checked + self.pool.revalidate)

    async def tile(self, record: SlideRecord, index: TileIndex, options: RenderOptions) -> ImageAnswer:
        """A tile of a native level, padding of edge tiles included. Raises InvalidRequest(level or tile)."""

        async def work(entry: OpenSlide) -> ImageAnswer:
            level = await entry.slide.level(index.level)
            level.check_tile(index)
            check_planes(await entry.slide.info(), index)
            entry.ahead.learn(index.level, level)
            entry.ahead.visit(index)
            digest = tile_key(record.handle, entry.version, index, options)
            return await self.answer(entry, digest, lambda: self._tile(entry, index, options))

        return await self.pool.run(record, work)

    async def _tile(self, entry: OpenSlide, index: TileIndex, options: RenderOptions) -> EncodedTile:
        styles = await self.styles(entry, options.styles)
        return await self._rendered(entry, await entry.slide.read_tile(index), options, styles)

    async def _rendered(
        self,
        entry: OpenSlide,
        tile: EncodedTile | Raster,
        options: RenderOptions,
        styles: Sequence[ChannelStyle] = (),
    ) -> EncodedTile:
        if isinstance(tile, EncodedTile) and (is_vector(tile) or (not styles and is_untouched(tile, options))):
            self.counters.add("tiles.untouched")
            return tile
        transform = await self._transform(entry, options)
        self.counters.add("tiles.rendered")
        return await self.workers.run(lambda: render(tile, options, transform, styles))

    async def _transform(self, entry: OpenSlide, options: RenderOptions) -> IccTransform | None:
        return None if options.intent is None else await self.transform(entry, options.intent)

    async def looks(self, record: SlideRecord) -> tuple[SlideInfo, tuple[ChannelLook, ...], str]:
        """The facts of a slide, how each of its channels looks best, and the ETag of its version."""

        async def work(entry: OpenSlide) -> tuple[SlideInfo, tuple[ChannelLook, ...], str]:
            return await entry.slide.info(), await self._looks(entry), entry.version

        return await self.pool.run(record, work)

    async def _looks(self, entry: OpenSlide) -> tuple[ChannelLook, ...]:
        """Judged once for each slide, by its coarsest level."""
        key = f"{entry.record.handle}\0{entry.version}"
        return await self._appearance.get_or_compute(key, lambda: self._judged(entry))

    async def _judged(self, entry: OpenSlide) -> tuple[ChannelLook, ...]:
        info = await entry.slide.info()
        if not info.channels:
            return ()
        number = max(range(len(info.levels)), key=lambda each: info.levels[each].downsample)
        width, height = info.levels[number].size
        side = _JUDGED_SIDE
        middle = Rectangle(
            max(0, (width - side) // 2), max(0, (height - side) // 2), min(width, side), min(height, side)
        )
        index = TileIndex(number, 0, 0, info.focal_planes // 2, 0)
        raster = await read_raster(
            entry.slide, self.workers, index, middle, (0, 0, 0), max_pixels=self.limits.region_pixels
        )
        return await self.workers.run(lambda: looks(raster.array, info.channels))

    async def styles(self, entry: OpenSlide, asked: Sequence[AskedStyle]) -> tuple[ChannelStyle, ...]:
        """How the channels of a slide are drawn; nothing for colour slides of which nothing was asked."""
        if not asked and not needs_styles(await entry.slide.info()):
            return ()
        return resolved(asked, await self._looks(entry))

    async def transform(self, entry: OpenSlide, intent: Intent = "perceptual") -> IccTransform | None:
        """From the slide's colours to sRGB, built once for each slide and intent; None without a profile."""
        profile = (await entry.slide.info()).icc_profile
        if profile is None:
            return None
        key = f"{entry.record.handle}\0{entry.version}\0{intent}"
        return await self._transforms.get_or_compute(
            key, lambda: self.workers.run(lambda: IccTransform.to_srgb(profile, intent))
        )

    async def answer(self, entry: OpenSlide, digest: str, compute: Callable[[], Awaitable[EncodedTile]]) -> ImageAnswer:
        """What is kept under ``digest``, or computed once for all who ask and kept."""
        image = self.cache.get(digest)
        hit = image is not None
        if image is None:

            async def keep() -> EncodedTile:
                made = await compute()
                self.cache.put(digest, made)
                return made

            image = await self._flights.run(digest, keep)
        return ImageAnswer(image, digest, hit, entry.checked + self.pool.revalidate)

    # -- Deep Zoom ---------------------------------------------------------------------------------------------------

    async def deep_zoom(self, record: SlideRecord) -> DeepZoom:
        """The Deep Zoom pyramid of a slide; its tile size is the tile width of level 0."""
        return await self.pool.run(record, self._deep_zoom)

    async def _deep_zoom(self, entry: OpenSlide) -> DeepZoom:
        level = await entry.slide.level(0)
        return DeepZoom(level.size, level.tile_size.width)

    async def deep_zoom_tile(self, record: SlideRecord, index: TileIndex, options: RenderOptions) -> ImageAnswer:
        """A Deep Zoom tile, cropped at the edges; ``index.level`` counts as Deep Zoom does, from 1 x 1 px up.

        The stored tile where the pyramids coincide.
        """

        async def work(entry: OpenSlide) -> ImageAnswer:
            scheme = await self._deep_zoom(entry)
            target = scheme.tile(index.level, index.column, index.row)
            check_planes(await entry.slide.info(), index)
            digest = tile_key(f"{record.handle}\0dz", entry.version, index, options)
            downsample, plane = scheme.downsample(index.level), (index.z, index.t)
            return await self.answer(
                entry, digest, lambda: self._deep_zoom_tile(entry, downsample, target, options, plane)
            )

        return await self.pool.run(record, work)

    async def _deep_zoom_tile(
        self, entry: OpenSlide, downsample: int, target: Rectangle, options: RenderOptions, plane: Plane
    ) -> EncodedTile:
        info = await entry.slide.info()
        number = nearest_level(info.levels, downsample)
        native = info.levels[number]
        scale = downsample / native.downsample
        index = _coinciding(native, number, scale, target)
        if index is not None:
            return await self._tile(entry, index._replace(z=plane[0], t=plane[1]), options)
        left, top = int(target.left * scale), int(target.top * scale)
        right = min(native.size.width, max(left + 1, round((target.left + target.width) * scale)))
        bottom = min(native.size.height, max(top + 1, round((target.top + target.height) * scale)))
        left, top = min(left, right - 1), min(top, bottom - 1)
        styles = await self.styles(entry, options.styles)
        pixels = await read_region(
            entry.slide,
            self.workers,
            number,
            Rectangle(left, top, right - left, bottom - top),
            max_pixels=self.limits.region_pixels,
            plane=plane,
            styles=styles,
        )
        return await self._encode(entry, pixels, Size(target.width, target.height), options, drawn=bool(styles))

    async def _encode(
        self, entry: OpenSlide, pixels: NDArray[np.uint8], size: Size, options: RenderOptions, *, drawn: bool
    ) -> EncodedTile:
        transform = None if drawn else await self._transform(entry, options)
        return await self.workers.run(
            lambda: render(Raster(resample.resize(pixels, size), ("R", "G", "B")), options, transform)
        )

    # -- thumbnails and associated images ----------------------------------------------------------------------------

    async def thumbnail(
        self, record: SlideRecord, max_size: int, options: RenderOptions, plane: Plane = FIRST_PLANE
    ) -> ImageAnswer:
        """The whole slide with its long side ``max_size`` px, from the nearest finer level, in one resampling."""

        async def work(entry: OpenSlide) -> ImageAnswer:
            index = TileIndex(max_size, 0, 0, *plane)
            check_planes(await entry.slide.info(), index)
            digest = tile_key(f"{record.handle}\0thumbnail", entry.version, index, options)
            return await self.answer(entry, digest, lambda: self._thumbnail(entry, max_size, options, plane))

        return await self.pool.run(record, work)

    async def _thumbnail(self, entry: OpenSlide, max_size: int, options: RenderOptions, plane: Plane) -> EncodedTile:
        info = await entry.slide.info()
        if not info.channels:
            raise NotFound("thumbnail of the vector tile set", entry.record.id)
        longest = max(info.size)
        size = Size(*(max(1, round(side * max_size / longest)) for side in info.size))
        number = nearest_level(info.levels, longest / max_size)
        styles = await self.styles(entry, options.styles)
        level = info.levels[number]
        with self.workers.room(3 * min(level.size.width * level.size.height, self.limits.region_pixels)):
            pixels = await self.reduced(entry, level, number, size, plane, styles)
            return await self._encode(entry, pixels, size, options, drawn=bool(styles))

    async def reduced(
        self,
        entry: OpenSlide,
        level: Level,
        number: int,
        size: Size,
        plane: Plane = FIRST_PLANE,
        styles: Sequence[ChannelStyle] = (),
    ) -> NDArray[np.uint8]:
        """A whole level, box-averaged tile by tile to at least twice ``size``: bounded memory whatever the level.

        What small sizes are made of is kept: catalogues ask for several of them.
        """
        info = await entry.slide.info()
        longest = max(info.size)
        kept = Size(*(max(1, round(side * _KEPT_SIDE / longest)) for side in info.size))
        if max(size) > _KEPT_SIDE or number != nearest_level(info.levels, longest / _KEPT_SIDE):
            return await self._reduced(entry, level, number, size, plane, styles)
        key = f"{entry.record.handle}\0{entry.version}\0{plane}\0{styles}"
        return await self._overviews.get_or_compute(
            key, lambda: self._reduced(entry, level, number, kept, plane, styles)
        )

    async def _reduced(
        self,
        entry: OpenSlide,
        level: Level,
        number: int,
        size: Size,
        plane: Plane,
        styles: Sequence[ChannelStyle],
    ) -> NDArray[np.uint8]:
        whole = Rectangle(0, 0, *level.size)
        count = level.columns * level.rows  # before they are listed: a forged level has billions of them
        if count > self.limits.thumbnail_tiles:
            raise LimitExceeded(
                f"A thumbnail of this slide would need all {count} tiles of its smallest level; the limit is"
                f" {self.limits.thumbnail_tiles}. Give the slide a pyramid, or ask for tiles",
                limit="thumbnail_tiles",
                value=count,
            )
        indices = covering(level, number, whole, plane)
        factor = max(1, min(level.size.width // size.width, level.size.height // size.height) // 2)
        if factor == 1:
            return await read_region(
                entry.slide,
                self.workers,
                number,
                whole,
                max_pixels=self.limits.region_pixels,
                plane=plane,
                styles=styles,
            )
        width, height = level.tile_size
        # Only a factor that divides the tile keeps the samples of neighbouring tiles on one grid.
        while width % factor or height % factor:
            factor -= 1
        shape = -(-level.size.height // factor), -(-level.size.width // factor), 3
        if shape[0] * shape[1] > self.limits.region_pixels:  # tiles of odd sizes, which no factor divides
            raise LimitExceeded(
                f"A thumbnail of this slide would be made of {shape[0] * shape[1]} px; the limit is"
                f" {self.limits.region_pixels}. Give the slide a pyramid, or ask for tiles",
                limit="max_region_pixels",
                value=shape[0] * shape[1],
            )
        canvas = await asyncio.to_thread(np.full, shape, 255, np.uint8)

        def place(index: TileIndex, pixels: NDArray[np.uint8]) -> None:
            left, top = index.column * width, index.row * height
            inside = pixels[: level.size.height - top, : level.size.width - left]
            small = resample.reduce(inside, factor)
            y, x = top // factor, left // factor
            canvas[y : y + small.shape[0], x : x + small.shape[1]] = small

        await for_each_tile(entry.slide, self.workers, indices, place, styles)
        return canvas

    async def associated(self, record: SlideRecord, name: str, options: RenderOptions) -> ImageAnswer:
        """A picture beside the pyramid. Raises NotFound(what="associated image")."""

        async def work(entry: OpenSlide) -> ImageAnswer:
            digest = tile_key(f"{record.handle}\0associated {name}", entry.version, TileIndex(0, 0, 0), options)

            async def compute() -> EncodedTile:
                return await self._rendered(entry, await entry.slide.read_associated(name), replace(options, styles=()))

            return await self.answer(entry, digest, compute)

        return await self.pool.run(record, work)

    async def close(self) -> None:
        """Close slides, threads and cache."""
        await self.pool.close()
        self.workers.close()
        self.cache.close()


def is_vector(tile: EncodedTile) -> bool:
    """Whether a tile is no picture at all."""
    return not tile.media_type.startswith("image/")


def nearest_level(levels: tuple[Level, ...], downsample: float) -> int:
    """The coarsest level that still has at least the resolution of ``downsample``, within 1 %; else level 0."""
    fitting = [number for number, level in enumerate(levels) if level.downsample <= downsample * 1.01]
    return max(fitting, key=lambda number: levels[number].downsample, default=0)


def _coinciding(level: Level, number: int, scale: float, target: Rectangle) -> TileIndex | None:
    """The native tile that is exactly the target: same scale, same grid, not at a padded edge."""
    if abs(scale - 1) > 0.001 or (target.width, target.height) != level.tile_size:
        return None
    if target.left % target.width or target.top % target.height:
        return None
    if target.left + target.width > level.size.width or target.top + target.height > level.size.height:
        return None
    return TileIndex(number, target.left // target.width, target.top // target.height)
