"""Any rectangle of a level has the pixels numpy would cut out of it, with white around the level.

So have the images that are made of rectangles: Deep Zoom tiles and thumbnails, from the level that fits best.
"""

from __future__ import annotations

import asyncio
import io
import random
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from microtome.errors import CorruptData, InvalidRequest, LimitExceeded
from microtome.formats.base import Slide
from microtome.formats.registry import FormatRegistry
from microtome.formats.tiff import TiffFormat
from microtome.model import EncodedTile, Level, Raster, Rectangle, Size, SlideInfo, SlideRecord, TileIndex
from microtome.pixels.options import RenderOptions
from microtome.storage.headers import HeaderCache
from microtome.storage.memory import MemoryStore
from microtome.storage.pinned import PinnedObject
from microtome.telemetry import Counters
from microtome.tiles.answer import ImageAnswer
from microtome.tiles.cache import MemoryTileCache
from microtome.tiles.pool import SlidePool
from microtome.tiles.region import TILES_AT_ONCE, covering, for_each_tile, read_region
from microtome.tiles.service import RenderLimits, TileService, nearest_level
from microtome.tiles.workers import RenderWorkers

TILE = 32
RECORD = SlideRecord("a", "a.tif")
ORIGIN = TileIndex(0, 0, 0)
PNG = RenderOptions("image/png")
JPEG = RenderOptions("image/jpeg")
ASKERS = 12
PLENTY = 10**9
Pixels = NDArray[np.uint8]


def noise(height: int, width: int, seed: int, channels: int = 3) -> Pixels:
    shape = (height, width, 3) if channels == 3 else (height, width)
    return np.random.default_rng(seed).integers(0, 255, shape, np.uint8)  # never 255, the white of the padding


def tiff(*levels: Pixels, compression: str | None = None, tile: tuple[int, int] = (TILE, TILE)) -> bytes:
    """A pyramid of exactly these levels, which need not look alike. ``tile`` is (height, width)."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for number, pixels in enumerate(levels):
            writer.write(
                pixels,
                tile=tile,
                photometric="rgb" if pixels.ndim == 3 else "minisblack",
                compression=compression,
                subfiletype=1 if number else 0,
                metadata=None,
            )
    return file.getvalue()


class CountingSlide:
    """A slide that counts what is read, how much of it at once, and can hold, fail or be replaced meanwhile."""

    def __init__(self, slide: Slide) -> None:
        self.slide = slide
        self.reads: list[TileIndex] = []
        self.hints = 0
        self.running = self.most = self.cancelled = self.closed = 0
        self.failures: list[Exception] = []
        self.started = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def info(self) -> SlideInfo:
        return await self.slide.info()

    async def level(self, number: int) -> Level:
        return await self.slide.level(number)

    async def read_tile(self, index: TileIndex) -> EncodedTile | Raster:
        self.reads.append(index)
        self.running += 1
        self.most = max(self.most, self.running)
        self.started.set()
        try:
            await self.gate.wait()
            await asyncio.sleep(0)
            if self.failures:
                raise self.failures.pop(0)
            return await self.slide.read_tile(index)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    def peek_tile(self, index: TileIndex) -> EncodedTile | None:
        return self.slide.peek_tile(index)

    def prefetch(self, indices: Sequence[TileIndex]) -> None:
        self.hints += 1
        self.slide.prefetch(indices)

    async def read_associated(self, name: str) -> EncodedTile | Raster:
        return await self.slide.read_associated(name)

    async def close(self) -> None:
        self.closed += 1
        await self.slide.close()


class CountingFormat:
    """TIFF, counting openings. While ``hold`` is set, the reads of new slides wait at their gate."""

    name = "counting"
    priority = 0

    def __init__(self) -> None:
        self.slides: list[CountingSlide] = []
        self.hold = False

    def recognises(self, head: bytes, name: str) -> bool:
        return TiffFormat().recognises(head, name)

    async def open(self, files: PinnedObject) -> CountingSlide:
        await asyncio.sleep(0)
        slide = CountingSlide(await TiffFormat().open(files))
        if self.hold:
            slide.gate.clear()
        self.slides.append(slide)
        return slide


class House:
    """A service with its parts, and a clock that moves only when told."""

    def __init__(
        self,
        objects: dict[str, bytes],
        *,
        workers: RenderWorkers | None = None,
        limits: RenderLimits | None = None,
        capacity: int = 10,
    ) -> None:
        self.now = 100.0
        self.store = MemoryStore(objects)
        self.format = CountingFormat()
        self.counters = Counters()
        self.cache = MemoryTileCache(10_000_000)
        self.pool = SlidePool(
            self.store,
            FormatRegistry([self.format]),
            HeaderCache(1_000_000),
            capacity=capacity,
            idle=60,
            revalidate=10,
            clock=lambda: self.now,
            counters=self.counters,
        )
        self.workers = workers or RenderWorkers(2, 100)
        self.service = TileService(self.pool, self.cache, self.workers, limits=limits, counters=self.counters)

    @property
    def slide(self) -> CountingSlide:
        """The slide opened last."""
        return self.format.slides[-1]

    async def tile(self, index: TileIndex = ORIGIN, options: RenderOptions = PNG) -> ImageAnswer:
        return await self.service.tile(RECORD, index, options)

    async def hold(self) -> CountingSlide:
        """Open the slide so that its reads wait."""
        self.format.hold = True
        await self.service.info(RECORD)
        self.format.hold = False
        return self.slide


@asynccontextmanager
async def house(data: bytes | None = None, **options: object) -> AsyncGenerator[House]:
    objects = {"a.tif": tiff(noise(70, 100, 1)) if data is None else data}
    it = House(objects, **options)  # type: ignore[arg-type]
    try:
        yield it
    finally:
        for slide in it.format.slides:
            slide.gate.set()
        await it.service.close()


def pixels(answer: ImageAnswer | EncodedTile) -> NDArray[np.uint8]:
    image = answer.image if isinstance(answer, ImageAnswer) else answer
    return np.asarray(Image.open(io.BytesIO(image.data)).convert("RGB"))


@asynccontextmanager
async def opened(data: bytes) -> AsyncGenerator[tuple[CountingSlide, RenderWorkers]]:
    slide = CountingSlide(await TiffFormat().open(await PinnedObject.open(MemoryStore({"a.tif": data}), "a.tif")))
    workers = RenderWorkers(2, 100)
    try:
        yield slide, workers
    finally:
        await slide.close()
        workers.close()


def cut(pixels: Pixels, rectangle: Rectangle) -> Pixels:
    """The oracle: the level on a sheet of white, and the rectangle cut out of it."""
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, np.newaxis], 3, axis=2)
    margin = 1000
    sheet = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), constant_values=255)
    top, left = rectangle.top + margin, rectangle.left + margin
    return sheet[top : top + rectangle.height, left : left + rectangle.width]


SHAPES = [
    Rectangle(0, 0, 100, 70),
    Rectangle(0, 0, 32, 32),
    Rectangle(32, 32, 32, 32),
    Rectangle(31, 31, 2, 2),
    Rectangle(99, 69, 1, 1),
    Rectangle(96, 64, 32, 32),
    Rectangle(-10, -20, 300, 200),
    Rectangle(-40, 10, 41, 5),
    Rectangle(100, 0, 10, 10),
    Rectangle(0, 70, 10, 10),
    Rectangle(-500, -500, 10, 10),
    Rectangle(500, 500, 10, 10),
    Rectangle(17, 0, 1, 70),
    Rectangle(0, 5, 0, 5),
]


@pytest.mark.parametrize("rectangle", SHAPES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_pixels_are_those_of_numpy(rectangle: Rectangle, channels: int, compression: str | None) -> None:
    pixels = noise(70, 100, 1, channels)
    async with opened(tiff(pixels, compression=compression)) as (slide, workers):
        region = await read_region(slide, workers, 0, rectangle, max_pixels=PLENTY)
        assert region.shape == (rectangle.height, rectangle.width, 3)
        assert region.dtype == np.uint8
        np.testing.assert_array_equal(region, cut(pixels, rectangle))


async def test_any_rectangle_of_any_level_with_tiles_that_are_not_square() -> None:
    levels = noise(190, 130, 1), noise(95, 65, 2), noise(48, 33, 3)
    chance = random.Random(7)
    async with opened(tiff(*levels, tile=(16, 48))) as (slide, workers):
        for _ in range(60):
            number = chance.randrange(3)
            rectangle = Rectangle(
                chance.randrange(-60, 200),
                chance.randrange(-60, 200),
                chance.randrange(1, 250),
                chance.randrange(1, 250),
            )
            region = await read_region(slide, workers, number, rectangle, max_pixels=PLENTY)
            np.testing.assert_array_equal(region, cut(levels[number], rectangle))


@pytest.mark.parametrize("rectangle", SHAPES)
async def test_each_tile_that_is_touched_is_read_once_and_no_other(rectangle: Rectangle) -> None:
    """The grid of 4 x 3 tiles is larger than the level: a tile that is touched in its padding counts as touched."""
    touched = {
        TileIndex(0, x // TILE, y // TILE)
        for x in range(max(0, rectangle.left), min(4 * TILE, rectangle.left + rectangle.width))
        for y in range(max(0, rectangle.top), min(3 * TILE, rectangle.top + rectangle.height))
    }
    async with opened(tiff(noise(70, 100, 1))) as (slide, workers):
        level = await slide.level(0)
        await read_region(slide, workers, 0, rectangle, max_pixels=PLENTY)
        assert sorted(slide.reads) == sorted(touched)
        assert sorted(covering(level, 0, rectangle)) == sorted(touched)


def test_covering_goes_row_by_row() -> None:
    level = Level(Size(100, 70), Size(32, 32), 1.0)
    indices = covering(level, 5, Rectangle(33, 0, 40, 64))
    assert indices == [TileIndex(5, 1, 0), TileIndex(5, 2, 0), TileIndex(5, 1, 1), TileIndex(5, 2, 1)]


async def test_tiles_are_read_at_the_same_time_but_not_all() -> None:
    async with opened(tiff(noise(320, 320, 1))) as (slide, workers):
        await read_region(slide, workers, 0, Rectangle(0, 0, 320, 320), max_pixels=PLENTY)
        assert len(slide.reads) == 100
        assert slide.most == TILES_AT_ONCE


async def test_too_many_pixels_are_refused_before_anything_is_read() -> None:
    async with opened(tiff(noise(70, 100, 1))) as (slide, workers):
        assert (await read_region(slide, workers, 0, Rectangle(0, 0, 10, 10), max_pixels=100)).shape == (10, 10, 3)
        slide.reads.clear()
        for rectangle in (Rectangle(0, 0, 10, 11), Rectangle(0, 0, 10**9, 10**9)):
            with pytest.raises(LimitExceeded) as caught:
                await read_region(slide, workers, 0, rectangle, max_pixels=100)
            assert (caught.value.limit, caught.value.value) == ("max_region_pixels", rectangle.width * rectangle.height)
        assert slide.reads == []


async def test_a_failing_tile_fails_the_region_with_its_own_error_and_stops_the_rest() -> None:
    async with opened(tiff(noise(320, 320, 1))) as (slide, workers):
        slide.failures.append(CorruptData("The tile is broken"))
        with pytest.raises(CorruptData, match="The tile is broken"):
            await read_region(slide, workers, 0, Rectangle(0, 0, 320, 320), max_pixels=PLENTY)
        assert slide.running == 0
        assert len(slide.reads) < 100


async def test_a_region_nobody_waits_for_reads_no_further() -> None:
    async with opened(tiff(noise(320, 320, 1))) as (slide, workers):
        slide.gate.clear()
        region = asyncio.ensure_future(read_region(slide, workers, 0, Rectangle(0, 0, 320, 320), max_pixels=PLENTY))
        await slide.started.wait()
        region.cancel()
        with pytest.raises(asyncio.CancelledError):
            await region
        assert (slide.running, len(slide.reads), slide.cancelled) == (0, TILES_AT_ONCE, TILES_AT_ONCE)


async def test_each_tile_is_placed_in_a_render_thread() -> None:
    threads: set[int] = set()
    async with opened(tiff(noise(70, 100, 1))) as (slide, workers):
        indices = [TileIndex(0, 2, 1), TileIndex(0, 0, 0)]
        placed: dict[TileIndex, tuple[int, ...]] = {}

        def place(index: TileIndex, pixels: Pixels) -> None:
            threads.add(threading.get_ident())
            placed[index] = pixels.shape

        await for_each_tile(slide, workers, indices, place)
        await for_each_tile(slide, workers, [], place)
    assert placed == dict.fromkeys(indices, (TILE, TILE, 3))
    assert threading.get_ident() not in threads


async def test_a_region_whose_jobs_were_dropped_is_no_white_image() -> None:
    async with opened(tiff(noise(70, 100, 1))) as (slide, _):
        workers, hold, held = RenderWorkers(1, 100), threading.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def job() -> None:
            loop.call_soon_threadsafe(held.set)
            hold.wait()

        running = asyncio.ensure_future(workers.run(job))
        await held.wait()
        region = asyncio.ensure_future(read_region(slide, workers, 0, Rectangle(0, 0, 64, 64), max_pixels=PLENTY))
        while workers.pending < 1 + 4:  # all tiles are read, all jobs wait
            await asyncio.sleep(0)
        workers.close()
        hold.set()
        await running
        (result,) = await asyncio.gather(region, return_exceptions=True)
        assert isinstance(result, BaseException)


# -- levels, Deep Zoom, thumbnails ------------------------------------------------------------------------------------

LEVELS = tuple(Level(Size(1000 // d, 1000 // d), Size(100, 100), float(d)) for d in (1, 4, 16))


@pytest.mark.parametrize(
    ("downsample", "number"),
    [(0.1, 0), (1, 0), (2, 0), (3.9, 0), (3.97, 1), (4, 1), (4.1, 1), (15, 1), (15.9, 2), (16, 2), (1000, 2)],
)
def test_the_level_is_the_coarsest_that_is_fine_enough(downsample: float, number: int) -> None:
    assert nearest_level(LEVELS, downsample) == number
    assert nearest_level(LEVELS[:1], downsample) == 0


def test_levels_need_not_be_in_order() -> None:
    assert nearest_level((LEVELS[0], LEVELS[2], LEVELS[1]), 5) == 2


PYRAMID = noise(200, 300, 1), noise(100, 150, 2), noise(25, 38, 3)
"""Downsamples 1, 2 and about 8; Deep Zoom has levels 9, 8, 7, 6 ... of 300, 150, 75, 38 px."""


@pytest.mark.parametrize(("level", "native"), [(9, 0), (8, 1), (7, 1), (6, 2), (5, 2), (0, 2)])
async def test_a_deep_zoom_tile_is_read_from_the_nearest_finer_level(level: int, native: int) -> None:
    async with house(tiff(*PYRAMID)) as it:
        scheme = await it.service.deep_zoom(RECORD)
        assert (scheme.size, scheme.tile_size, scheme.max_level) == (Size(300, 200), TILE, 9)
        size = scheme.level_size(level)
        for column in range(-(-size.width // TILE)):
            answer = await it.service.deep_zoom_tile(RECORD, TileIndex(level, column, 0), PNG)
            width, height = min(TILE, size.width - column * TILE), min(TILE, size.height)
            assert answer.image.size == (width, height)
            assert pixels(answer).shape == (height, width, 3)
        assert {index.level for index in it.slide.reads} == {native}


@pytest.mark.parametrize(("level", "native"), [(9, 0), (8, 1)])
async def test_deep_zoom_tiles_of_a_stored_level_have_its_very_pixels(level: int, native: int) -> None:
    async with house(tiff(*PYRAMID)) as it:
        height, width = PYRAMID[native].shape[:2]
        whole = np.zeros((height, width, 3), np.uint8)
        for row in range(-(-height // TILE)):
            for column in range(-(-width // TILE)):
                part = pixels(await it.service.deep_zoom_tile(RECORD, TileIndex(level, column, row), PNG))
                whole[row * TILE : row * TILE + part.shape[0], column * TILE : column * TILE + part.shape[1]] = part
        np.testing.assert_array_equal(whole, PYRAMID[native])


async def test_a_deep_zoom_tile_that_is_a_stored_tile_is_that_tile() -> None:
    async with house(tiff(noise(70, 100, 1), compression="jpeg")) as it:
        answer = await it.service.deep_zoom_tile(RECORD, TileIndex(7, 1, 0), JPEG)
        assert answer.image == await it.slide.slide.read_tile(TileIndex(0, 1, 0))
        assert it.counters.get("tiles.rendered") == 0
        edge = await it.service.deep_zoom_tile(
            RECORD, TileIndex(7, 3, 2), JPEG
        )  # stored with padding, answered without
        assert edge.image.size == (100 - 3 * TILE, 70 - 2 * TILE)


async def test_deep_zoom_tiles_are_shared_and_cached_apart_from_native_ones() -> None:
    async with house() as it:
        answers = await asyncio.gather(
            *(it.service.deep_zoom_tile(RECORD, TileIndex(7, 0, 0), PNG) for _ in range(ASKERS))
        )
        assert len(it.slide.reads) == 1
        assert len({answer.etag for answer in answers}) == 1
        assert (await it.service.deep_zoom_tile(RECORD, TileIndex(7, 0, 0), PNG)).cache_hit
        assert (await it.tile()).etag != answers[0].etag


async def test_deep_zoom_refuses_what_does_not_exist() -> None:
    async with house() as it:
        for place, parameter in [
            ((8, 0, 0), "level"),
            ((-1, 0, 0), "level"),
            ((7, 4, 0), "tile"),
            ((7, 0, -1), "tile"),
        ]:
            with pytest.raises(InvalidRequest) as caught:
                await it.service.deep_zoom_tile(RECORD, TileIndex(*place), PNG)
            assert caught.value.parameter == parameter
        assert it.slide.reads == []


def ramp(height: int, width: int) -> NDArray[np.uint8]:
    """Red grows to the right, green down: any place can be told from its color."""
    y, x = np.mgrid[:height, :width]
    return np.stack((x * 200 // width, y * 200 // height, np.full_like(x, 90)), axis=2).astype(np.uint8)


@pytest.mark.parametrize(("max_size", "size"), [(300, (300, 200)), (150, (150, 100)), (40, (40, 27)), (6, (6, 4))])
async def test_a_thumbnail_shows_the_whole_slide_where_it_belongs(max_size: int, size: tuple[int, int]) -> None:
    """Against the ramp evaluated at the centres of the thumbnail's pixels, whatever way the averaging goes."""
    async with house(tiff(ramp(200, 300))) as it:
        answer = await it.service.thumbnail(RECORD, max_size, PNG)
        assert answer.image.size == size
        found = pixels(answer).astype(float)
        width, height = size
        red = (np.arange(width) + 0.5) / width * 200 - 0.5
        green = (np.arange(height) + 0.5) / height * 200 - 0.5
        near = 3 if max_size > 10 else 10  # a kernel wider than the image is not symmetric
        assert np.abs(found[1:-1, 1:-1, 0] - red[None, 1:-1]).max() <= near
        assert np.abs(found[1:-1, 1:-1, 1] - green[1:-1, None]).max() <= near
        assert np.abs(found[:, :, 2] - 90).max() <= 1  # nor does the padding of edge tiles shine through
        assert len(it.slide.reads) == len(set(it.slide.reads)) == 10 * 7


@pytest.mark.parametrize(("max_size", "native"), [(300, 0), (160, 0), (150, 1), (39, 1), (38, 2), (10, 2)])
async def test_a_thumbnail_is_made_of_the_nearest_finer_level(max_size: int, native: int) -> None:
    async with house(tiff(*PYRAMID)) as it:
        await asyncio.gather(*(it.service.thumbnail(RECORD, max_size, PNG) for _ in range(ASKERS)))
        assert {index.level for index in it.slide.reads} == {native}
        assert len(it.slide.reads) == len(set(it.slide.reads))
        assert (await it.service.thumbnail(RECORD, max_size, PNG)).cache_hit


async def test_a_thumbnail_of_too_many_tiles_is_refused_unread() -> None:
    async with house(limits=RenderLimits(thumbnail_tiles=11)) as it:
        with pytest.raises(LimitExceeded) as caught:
            await it.service.thumbnail(RECORD, 50, PNG)
        assert (caught.value.limit, caught.value.value) == ("thumbnail_tiles", 12)
        assert it.slide.reads == []
