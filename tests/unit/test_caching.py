"""The one cache: budget, recency, singleflight that survives its leader."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microtome.caching import Cache, Flights


def cache(budget: int, **options: int) -> Cache[str, bytes]:
    return Cache(budget, weigh=len, overhead=options.get("overhead", 0))


def test_the_least_recently_used_value_leaves_first() -> None:
    kept = cache(30)
    for key in "abc":
        kept.put(key, bytes(10))
    assert kept.get("a") is not None
    kept.put("d", bytes(10))
    assert list(kept) == ["c", "a", "d"]
    assert kept.evictions == 1


def test_a_value_larger_than_the_budget_is_not_kept() -> None:
    kept = cache(5)
    kept.put("a", bytes(3))
    kept.put("b", bytes(6))
    assert list(kept) == ["a"]


def test_replacing_a_value_accounts_for_the_old_one() -> None:
    kept = cache(100)
    kept.put("a", bytes(60))
    kept.put("a", bytes(10))
    assert kept.used == 10


def test_overhead_bounds_the_number_of_tiny_values() -> None:
    kept = cache(1000, overhead=100)
    for number in range(50):
        kept.put(str(number), b"")
    assert len(kept) == 10


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 40)), max_size=60))
def test_the_account_always_matches_what_is_held(steps: list[tuple[str, int]]) -> None:
    held: dict[str, bytes] = {}
    kept: Cache[str, bytes] = Cache(100, weigh=len, overhead=1, on_evict=lambda key, value: held.pop(key, None))
    for key, size in steps:
        kept.put(key, bytes(size))
        if key in kept:
            held[key] = bytes(size)
    assert kept.used == sum(len(value) + 1 for value in held.values()) <= 100
    assert set(kept) == set(held)


async def test_many_askers_share_one_computation() -> None:
    calls = 0
    release = asyncio.Event()

    async def compute() -> bytes:
        nonlocal calls
        calls += 1
        await release.wait()
        return b"x"

    kept = cache(10)
    askers = [asyncio.create_task(kept.get_or_compute("k", compute)) for _ in range(20)]
    await asyncio.sleep(0)
    release.set()
    assert set(await asyncio.gather(*askers)) == {b"x"}
    assert calls == 1


async def test_a_leader_that_leaves_neither_hangs_nor_fails_the_others() -> None:
    started, release = asyncio.Event(), asyncio.Event()
    calls = 0

    async def compute() -> int:
        nonlocal calls
        calls += 1
        started.set()
        await release.wait()
        return 7

    flights: Flights[str, int] = Flights()
    leader = asyncio.create_task(flights.run("k", compute))
    await started.wait()
    follower = asyncio.create_task(flights.run("k", compute))
    await asyncio.sleep(0)
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    release.set()
    assert await follower == 7
    assert calls == 1
    assert len(flights) == 0


async def test_work_nobody_waits_for_is_cancelled_and_can_be_asked_again() -> None:
    started = asyncio.Event()
    ends: list[str] = []

    async def endless() -> int:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise
        return 0

    async def quick() -> int:
        return 1

    flights: Flights[str, int] = Flights()
    asker = asyncio.create_task(flights.run("k", endless))
    await started.wait()
    asker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asker
    assert await flights.run("k", quick) == 1
    assert ends == ["cancelled"]


async def test_a_failure_reaches_everyone_and_is_not_kept() -> None:
    attempts = 0

    async def compute() -> bytes:
        nonlocal attempts
        attempts += 1
        await asyncio.sleep(0)
        if attempts == 1:
            raise ValueError("first")
        return b"x"

    kept = cache(10)
    results = await asyncio.gather(*(kept.get_or_compute("k", compute) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(result, ValueError) for result in results)
    assert await kept.get_or_compute("k", compute) == b"x"
