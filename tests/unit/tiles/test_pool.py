"""The pool: one opening, versions never mixed, idle and surplus slides closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from microtome.errors import Conflict, NotFound, StorageUnavailable
from microtome.formats.registry import FormatRegistry
from microtome.model import EncodedTile, Level, Raster, Size, SlideInfo, SlideRecord, TileIndex
from microtome.storage.base import ObjectInfo, RangeResult
from microtome.storage.pinned import Header, PinnedObject
from microtome.tiles.pool import OpenSlide, SlidePool

RECORD = SlideRecord("a.svs", "a.svs")


class FakeStore:
    """Objects of a few bytes with a version number as ETag; counts what it is asked."""

    def __init__(self) -> None:
        self.objects = {"a.svs": 1, "b.svs": 1, "c.svs": 1}
        self.asked: list[str] = []
        self.down = False

    def local_path(self, key: str) -> None:
        return None

    def _info(self, key: str) -> ObjectInfo:
        if self.down:
            raise StorageUnavailable("The store does not answer")
        if key not in self.objects:
            raise NotFound("slide", key)
        return ObjectInfo(key, 4, f"v{self.objects[key]}")

    async def head(self, key: str) -> ObjectInfo:
        self.asked.append("head")
        return self._info(key)

    async def get_range(self, key: str, start: int, stop: int, *, etag: str | None = None) -> RangeResult:
        self.asked.append("range")
        info = self._info(key)
        if etag not in (None, info.etag):
            raise Conflict("replaced")
        return RangeResult(info.etag.encode().ljust(4)[start:stop], start, info)

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], *, etag: str) -> list[bytes]:
        return [(await self.get_range(key, *r, etag=etag)).data for r in ranges]

    async def get_suffix(self, key: str, length: int) -> RangeResult:
        return await self.get_range(key, 0, 4)

    def peek(self, key: str, start: int, stop: int, *, etag: str) -> bytes | None:
        return None

    @property
    def distant(self) -> bool:
        return False

    def prefetch(self, key: str, ranges: Sequence[tuple[int, int]], *, etag: str) -> None:
        return None

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[Sequence[ObjectInfo]]:
        yield [self._info(key) for key in sorted(self.objects) if key.startswith(prefix) and key > after]

    async def close(self) -> None:
        return None


class FakeSlide:
    def __init__(self, files: PinnedObject, closed: list[str]) -> None:
        self.files = files
        self.closed = closed

    async def info(self) -> SlideInfo:
        return SlideInfo("fake", (await self.level(0),), ())

    async def level(self, number: int) -> Level:
        return Level(Size(10, 10), Size(10, 10), 1.0)

    async def read_tile(self, index: TileIndex) -> EncodedTile | Raster:
        result = await self.files.store.get_range(self.files.key, 0, 4, etag=self.files.info.etag)
        return EncodedTile(result.data, "image/jpeg", Size(10, 10), "rgb")

    def peek_tile(self, index: TileIndex) -> EncodedTile | None:
        return None

    def prefetch(self, indices: Sequence[TileIndex]) -> None:
        return None

    async def read_associated(self, name: str) -> EncodedTile | Raster:
        raise NotFound("associated image", name)

    async def close(self) -> None:
        self.closed.append(self.files.key)


class FakeFormat:
    name = "fake"
    priority = 0

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.closed: list[str] = []

    def recognises(self, head: bytes, name: str) -> bool:
        return True

    async def open(self, files: PinnedObject) -> FakeSlide:
        self.opened.append(f"{files.key} {files.info.etag}")
        await asyncio.sleep(0)
        return FakeSlide(files, self.closed)


class FakeHeaders:
    def __init__(self) -> None:
        self.kept: dict[str, Header] = {}

    def get(self, key: str) -> Header | None:
        return self.kept.get(key)

    def put(self, header: Header) -> None:
        self.kept[header.info.key] = header

    def drop(self, key: str) -> None:
        self.kept.pop(key, None)


class House:
    """A pool with its fakes and a clock that moves only when told."""

    def __init__(self, capacity: int = 10) -> None:
        self.now = 100.0
        self.store = FakeStore()
        self.format = FakeFormat()
        self.headers = FakeHeaders()
        self.pool = SlidePool(
            self.store,
            FormatRegistry([self.format]),
            self.headers,
            capacity=capacity,
            idle=60,
            revalidate=10,
            clock=lambda: self.now,
        )

    async def version(self, key: str = "a.svs") -> str:
        async def work(entry: OpenSlide) -> str:
            tile = await entry.slide.read_tile(TileIndex(0, 0, 0))
            assert isinstance(tile, EncodedTile)
            assert tile.data.decode().strip() == entry.version
            return entry.version

        return await self.pool.run(SlideRecord(key, key), work)

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


async def test_a_slide_is_opened_once_however_many_ask() -> None:
    house = House()
    assert set(await asyncio.gather(*(house.version() for _ in range(20)))) == {"v1"}
    assert house.format.opened == ["a.svs v1"]


async def test_a_client_that_leaves_during_opening_does_not_poison_the_slide() -> None:
    house = House()
    first = asyncio.create_task(house.version())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await house.version() == "v1"


async def test_a_replaced_object_is_noticed_by_the_read_and_reopened() -> None:
    house = House()
    assert await house.version() == "v1"
    house.store.objects["a.svs"] = 2
    assert await house.version() == "v2"
    assert house.format.opened == ["a.svs v1", "a.svs v2"]
    await house.settle()
    assert house.format.closed == ["a.svs"]


async def test_the_store_is_asked_again_only_after_the_revalidation_time() -> None:
    house = House()
    await house.version()
    house.store.asked.clear()
    house.now += 9
    await house.version()
    assert "head" not in house.store.asked
    house.now += 1
    await asyncio.gather(house.version(), house.version())
    assert house.store.asked.count("head") == 1


async def test_peek_gives_nothing_once_the_version_may_be_stale() -> None:
    house = House()
    await house.version()
    assert house.pool.peek("a.svs") is not None
    house.now += 10
    assert house.pool.peek("a.svs") is None


async def test_a_deleted_object_is_not_found_after_revalidation() -> None:
    house = House()
    await house.version()
    del house.store.objects["a.svs"]
    house.now += 10
    with pytest.raises(NotFound):
        await house.version()


async def test_an_unreachable_store_does_not_close_what_is_open() -> None:
    house = House()
    await house.version()
    house.store.down = True
    house.now += 10

    async def facts(entry: OpenSlide) -> str:
        return (await entry.slide.info()).format_name

    assert await house.pool.run(RECORD, facts) == "fake"


async def test_surplus_and_idle_slides_are_closed_but_never_one_in_use() -> None:
    house = House(capacity=1)
    release = asyncio.Event()

    async def slow(entry: OpenSlide) -> str:
        await release.wait()
        return entry.version

    busy = asyncio.create_task(house.pool.run(RECORD, slow))
    await house.settle()
    await house.version("b.svs")
    await house.version("c.svs")
    await house.settle()
    assert "a.svs" not in house.format.closed
    release.set()
    assert await busy == "v1"
    house.now += 61
    house.pool.close_idle()
    await house.settle()
    assert sorted(house.format.closed) == ["a.svs", "b.svs", "c.svs"]
    assert len(house.pool) == 0


async def test_a_kept_header_opens_without_a_request_and_a_stale_one_is_dropped() -> None:
    house = House()
    await house.version()
    await house.pool.close()
    assert "a.svs" in house.headers.kept
    house.store.asked.clear()
    house.format.opened.clear()

    async def nothing(entry: OpenSlide) -> str:
        return entry.version

    assert await house.pool.run(RECORD, nothing) == "v1"
    assert "range" not in house.store.asked
    await house.settle()
    await house.pool.close()
    house.store.objects["a.svs"] = 2
    assert await house.version() == "v2"
    await house.settle()
    assert house.headers.kept["a.svs"].info.etag == "v2"
