"""Block cache, coalescing, retry, time limit, counting: by counting what reaches the store below."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microtome.errors import Conflict, NotFound, StorageUnavailable
from microtome.storage.base import ObjectInfo, RangeResult
from microtome.storage.blocks import BlockCache
from microtome.storage.coalesce import Coalescing
from microtome.storage.counting import Counting
from microtome.storage.memory import MemoryStore, Request
from microtome.storage.retry import Retrying
from microtome.storage.timeout import TimeLimited
from microtome.storage.wrapper import Wrapper
from microtome.telemetry import Counters

DATA = bytes(i * 7 % 251 for i in range(100_000))
ETAG = "version-1"


class Gate(Wrapper):
    """Reads wait until the gate is opened; the first ``failures`` of them fail."""

    def __init__(self, store: MemoryStore, failures: int = 0, error: StorageUnavailable | None = None) -> None:
        super().__init__(store)
        self.open = asyncio.Event()
        self.waiting = 0
        self.failures = failures
        self.error = error or StorageUnavailable("down")

    async def get_range(self, key: str, start: int, stop: int, *, etag: str | None = None) -> RangeResult:
        self.waiting += 1
        try:
            await self.open.wait()
        finally:
            self.waiting -= 1
        self.fail()
        return await super().get_range(key, start, stop, etag=etag)

    async def head(self, key: str) -> ObjectInfo:
        self.fail()
        return await super().head(key)

    def fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise self.error

    async def until_waiting(self, number: int) -> None:
        while self.waiting < number:
            await asyncio.sleep(0)


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore({"a.svs": DATA, "b.svs": DATA[::-1]})


def read(store: Wrapper, *places: tuple[int, int], key: str = "a.svs") -> list[asyncio.Task[RangeResult]]:
    return [asyncio.create_task(store.get_range(key, start, stop, etag=ETAG)) for start, stop in places]


# BlockCache


async def test_a_block_is_read_once(memory: MemoryStore) -> None:
    cache = BlockCache(memory, 10**6, block_size=1000)
    for start in range(3000, 3990, 10):
        assert (await cache.get_range("a.svs", start, start + 10, etag=ETAG)).data == DATA[start : start + 10]
        assert cache.peek("a.svs", start, start + 10, etag=ETAG) == DATA[start : start + 10]
    assert memory.log == [Request("range", "a.svs", 3000, 4000)]
    assert (cache.blocks.hits, cache.blocks.misses) == (98 + 99, 1)


async def test_one_read_of_many_blocks_is_one_request(memory: MemoryStore) -> None:
    cache = BlockCache(memory, 10**6, block_size=1000)
    assert (await cache.get_range("a.svs", 500, 8500, etag=ETAG)).data == DATA[500:8500]
    assert memory.log == [Request("range", "a.svs", 0, 9000)]


async def test_eight_adjacent_tiles_are_one_request(memory: MemoryStore) -> None:
    tiles = [(700 * i, 700 * (i + 1)) for i in range(8)]
    at_once = BlockCache(memory, 10**6, block_size=1000)
    assert await at_once.get_ranges("a.svs", tiles, etag=ETAG) == [DATA[start:stop] for start, stop in tiles]
    assert memory.log == [Request("range", "a.svs", 0, 6000)]
    memory.log.clear()
    by_many = BlockCache(memory, 10**6, block_size=1000)
    results = await asyncio.gather(*read(by_many, *tiles))
    assert [result.data for result in results] == [DATA[start:stop] for start, stop in tiles]
    assert memory.log == [Request("range", "a.svs", 0, 6000)]


async def test_only_missing_blocks_are_asked(memory: MemoryStore) -> None:
    cache = BlockCache(memory, 10**6, block_size=100_000 // 10)
    await cache.get_range("a.svs", 20_000, 20_001, etag=ETAG)
    memory.log.clear()
    assert (await cache.get_range("a.svs", 0, 50_000, etag=ETAG)).data == DATA[:50_000]
    assert sum(request.stop - request.start for request in memory.log) in (40_000, 50_000)


async def test_budget_holds_for_all_objects_and_the_oldest_leaves(memory: MemoryStore) -> None:
    cache = BlockCache(memory, 4 * 1200, block_size=1000)
    for key in ("a.svs", "b.svs"):
        etag = (await memory.head(key)).etag
        for start in (0, 1000):
            await cache.get_range(key, start, start + 1, etag=etag)
    assert len(cache.blocks) == 4
    await cache.get_range("a.svs", 0, 1, etag=ETAG)  # used again, so the second block of a.svs is the oldest
    await cache.get_range("a.svs", 5000, 5001, etag=ETAG)
    assert cache.blocks.used <= 4 * 1200
    assert cache.peek("a.svs", 0, 10, etag=ETAG) == DATA[:10]
    assert cache.peek("a.svs", 1000, 1010, etag=ETAG) is None


async def test_huge_reads_pass_by(memory: MemoryStore) -> None:
    cache = BlockCache(memory, 10**6, block_size=1000, bypass=4)
    assert (await cache.get_range("a.svs", 50, 90_000, etag=ETAG)).data == DATA[50:90_000]
    assert (await cache.get_range("a.svs", 0, 10**15, etag=ETAG)).data == DATA
    assert len(cache.blocks) == 0
    assert memory.requests == 2
    assert cache.peek("a.svs", 0, 10**15, etag=ETAG) is None


async def test_reads_without_etag_are_not_cached(memory: MemoryStore) -> None:
    cache = BlockCache(memory, 10**6, block_size=1000)
    for _ in range(2):
        assert (await cache.get_range("a.svs", 0, 10)).data == DATA[:10]
    assert memory.log == [Request("range", "a.svs", 0, 10)] * 2
    assert len(cache.blocks) == 0


async def test_cache_never_mixes_versions(memory: MemoryStore) -> None:
    cache = BlockCache(memory, 10**6, block_size=1000)
    await cache.get_range("a.svs", 0, 10, etag=ETAG)
    new = memory.put("a.svs", DATA[::-1])
    with pytest.raises(Conflict):
        await cache.get_range("a.svs", 0, 1500, etag=ETAG)  # one block known, the other gone
    assert (await cache.get_range("a.svs", 0, 1500, etag=new.etag)).data == DATA[::-1][:1500]
    assert cache.peek("a.svs", 0, 10, etag=ETAG) in (None, DATA[:10])


@given(st.lists(st.tuples(st.integers(0, 5200), st.integers(0, 700)), min_size=1, max_size=12), st.integers(1, 900))
@settings(deadline=None, max_examples=60)
def test_any_reads_through_blocks_are_slices(places: list[tuple[int, int]], block_size: int) -> None:
    data = DATA[:5000]

    async def check() -> None:
        store = MemoryStore({"a.svs": data})
        cache = BlockCache(store, 3000, block_size=block_size, bypass=5)
        ranges = [(start, start + length) for start, length in places]
        expected = [data[start:stop] for start, stop in ranges]
        assert await cache.get_ranges("a.svs", ranges, etag=ETAG) == expected
        assert [(await cache.get_range("a.svs", *place, etag=ETAG)).data for place in ranges] == expected
        for place, part in zip(ranges, expected, strict=True):
            assert cache.peek("a.svs", *place, etag=ETAG) in (None, part)
        assert cache.blocks.used <= 3000

    asyncio.run(check())


# Singleflight, and those who leave


@pytest.mark.parametrize("kind", ["blocks", "coalescing"])
async def test_a_leader_that_leaves_disturbs_nobody(memory: MemoryStore, kind: str) -> None:
    gate = Gate(memory)
    store: Wrapper = BlockCache(gate, 10**6, block_size=1000) if kind == "blocks" else Coalescing(gate)
    leader = read(store, (0, 1000))[0]
    await gate.until_waiting(1)
    followers = read(store, (0, 1000), (0, 1000))
    for _ in range(5):
        await asyncio.sleep(0)
    leader.cancel()
    gate.open.set()
    assert [(await follower).data for follower in followers] == [DATA[:1000]] * 2
    with pytest.raises(asyncio.CancelledError):
        await leader
    assert memory.requests == 1


async def test_when_all_have_left_the_request_ends(memory: MemoryStore) -> None:
    gate = Gate(memory)
    cache = BlockCache(gate, 10**6, block_size=1000)
    readers = read(cache, (0, 10), (1000, 1010), (5000, 5010))
    await gate.until_waiting(1)
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    while gate.waiting:
        await asyncio.sleep(0)
    assert memory.requests == 0
    gate.open.set()
    assert (await cache.get_range("a.svs", 0, 10, etag=ETAG)).data == DATA[:10]


async def test_leaving_before_the_batch_is_closed(memory: MemoryStore) -> None:
    store = Coalescing(memory, gap=0)
    readers = read(store, (0, 10), (10, 20), (20, 30))
    await asyncio.sleep(0)  # all have asked, nothing is sent yet
    readers[0].cancel()
    results = await asyncio.gather(*readers, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert [result.data for result in results[1:] if isinstance(result, RangeResult)] == [DATA[10:20], DATA[20:30]]
    assert memory.log == [Request("range", "a.svs", 10, 30)]
    alone = read(store, (50, 60))[0]
    await asyncio.sleep(0)
    alone.cancel()
    await asyncio.gather(alone, return_exceptions=True)
    await store.get_range("a.svs", 0, 10, etag=ETAG)
    assert memory.log[-1] == Request("range", "a.svs", 0, 10)  # nothing is left of what nobody wants


async def test_a_failure_reaches_all_and_is_not_kept(memory: MemoryStore) -> None:
    gate = Gate(memory, failures=1)
    gate.open.set()
    cache = BlockCache(gate, 10**6, block_size=1000)
    results = await asyncio.gather(*read(cache, (0, 10), (1000, 1010)), return_exceptions=True)
    assert [type(result) for result in results] == [StorageUnavailable] * 2
    assert (await cache.get_range("a.svs", 0, 10, etag=ETAG)).data == DATA[:10]


# Coalescing


async def test_neighbours_of_one_call_and_of_one_moment(memory: MemoryStore) -> None:
    store = Coalescing(memory, gap=10, limit=1000)
    places = [(0, 100), (105, 200), (300, 400), (390, 420)]
    assert await store.get_ranges("a.svs", places, etag=ETAG) == [DATA[start:stop] for start, stop in places]
    expected = [Request("range", "a.svs", 0, 200), Request("range", "a.svs", 300, 420)]
    assert memory.log == expected
    memory.log.clear()
    results = await asyncio.gather(*read(store, *places))
    assert [result.data for result in results] == [DATA[start:stop] for start, stop in places]
    assert memory.log == expected


async def test_versions_and_objects_are_not_merged(memory: MemoryStore) -> None:
    store = Coalescing(memory)
    other = (await memory.head("b.svs")).etag
    memory.log.clear()
    results = await asyncio.gather(
        store.get_range("a.svs", 0, 10, etag=ETAG),
        store.get_range("b.svs", 10, 20, etag=other),
        store.get_range("a.svs", 20, 30),
        store.get_range("a.svs", 20, 30, etag="never-was"),
        return_exceptions=True,
    )
    assert [result.data for result in results if isinstance(result, RangeResult)] == [
        DATA[:10], DATA[::-1][10:20], DATA[20:30],
    ]  # fmt: skip
    assert isinstance(results[3], Conflict)
    assert len(memory.log) == 4


# Retrying


class Times:
    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


def retrying(store: Gate, times: Times, *, deadline: float = 100.0, counters: Counters | None = None) -> Retrying:
    store.open.set()
    return Retrying(
        store, attempts=4, base_delay=1.0, max_delay=3.0, deadline=deadline, counters=counters,
        sleep=times.sleep, clock=times.clock, chance=lambda: 0.5,
    )  # fmt: skip


async def test_back_off_doubles_up_to_its_limit(memory: MemoryStore) -> None:
    times, counters = Times(), Counters()
    store = retrying(Gate(memory, failures=3), times, counters=counters)
    assert (await store.get_range("a.svs", 0, 10, etag=ETAG)).data == DATA[:10]
    assert times.pauses == [0.75, 1.5, 2.25]
    assert counters.get("storage.retries") == 3


async def test_attempts_are_bounded(memory: MemoryStore) -> None:
    times = Times()
    gate = Gate(memory, failures=100)
    with pytest.raises(StorageUnavailable, match="down"):
        await retrying(gate, times).head("a.svs")
    assert (gate.failures, len(times.pauses)) == (96, 3)


async def test_deadline_bounds_the_whole(memory: MemoryStore) -> None:
    times = Times()
    gate = Gate(memory, failures=100)
    with pytest.raises(StorageUnavailable):
        await retrying(gate, times, deadline=2.5).head("a.svs")
    assert times.pauses == [0.75, 1.5]


async def test_permanent_failures_and_other_errors_are_final(memory: MemoryStore) -> None:
    times = Times()
    gate = Gate(memory, failures=100, error=StorageUnavailable("denied", permanent=True))
    store = retrying(gate, times)
    with pytest.raises(StorageUnavailable, match="denied"):
        await store.head("a.svs")
    gate.failures = 0
    with pytest.raises(NotFound):
        await store.head("nothing.svs")
    with pytest.raises(Conflict):
        await store.get_range("a.svs", 0, 1, etag="never-was")
    assert times.pauses == []


class BreakingList(Wrapper):
    """A listing of one key a page, that breaks off before every second page."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.began: list[str] = []

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[Sequence[ObjectInfo]]:
        self.began.append(after)
        infos = [info async for page in self._store.list(prefix, after=after) for info in page]
        for info in infos[:1]:
            yield [info]
        if len(infos) > 1:
            raise StorageUnavailable("reset")


async def test_listing_goes_on_where_it_broke_off() -> None:
    keys = [f"{number}.svs" for number in range(6)]
    store = BreakingList(MemoryStore(dict.fromkeys(keys, b"1")))
    times = Times()
    again = Retrying(store, sleep=times.sleep, clock=times.clock)
    assert [info.key async for page in again.list() for info in page] == keys
    assert store.began == ["", *keys[:-1]]


# TimeLimited


async def test_a_read_that_takes_too_long(memory: MemoryStore) -> None:
    gate = Gate(memory)
    with pytest.raises(StorageUnavailable) as caught:
        await TimeLimited(gate, 0.0).get_range("a.svs", 0, 10, etag=ETAG)
    assert caught.value.timed_out
    assert gate.waiting == 0


class StalledList(Wrapper):
    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[Sequence[ObjectInfo]]:
        await asyncio.Event().wait()
        yield []


async def test_a_listing_that_takes_too_long(memory: MemoryStore) -> None:
    with pytest.raises(StorageUnavailable) as caught:
        await anext(TimeLimited(StalledList(memory), 0.0).list())
    assert caught.value.timed_out


# Counting


async def test_what_is_counted(memory: MemoryStore) -> None:
    counters = Counters()
    gate = Gate(memory)
    gate.open.set()
    store = Counting(gate, counters)
    await store.head("a.svs")
    await store.get_range("a.svs", 0, 10)
    await store.get_ranges("a.svs", [(0, 5), (10, 15)], etag=ETAG)
    await store.get_suffix("a.svs", 7)
    assert store.peek("a.svs", 0, 3, etag=ETAG) == DATA[:3]
    assert store.peek("a.svs", 0, 3, etag="never-was") is None
    assert len([page async for page in store.list()]) == 1
    gate.failures = 1
    with pytest.raises(StorageUnavailable):
        await store.head("a.svs")
    assert counters.snapshot() == {
        "storage.bytes": 10 + 10 + 7 + 3,
        "storage.failures": 1,
        "storage.peeks": 1,
        "storage.requests": 8,
        "storage.requests.head": 2,
        "storage.requests.list": 2,
        "storage.requests.range": 3,
        "storage.requests.suffix": 1,
    }
