from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microtome.errors import InvalidRequest
from microtome.storage.parallel import together
from microtome.storage.ranges import check_range, merge

ranges = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 80)).map(lambda r: (r[0], r[0] + r[1])), max_size=30)


@given(ranges, st.integers(0, 50), st.integers(1, 200))
def test_merged_runs(asked: list[tuple[int, int]], gap: int, limit: int) -> None:
    runs = merge(asked, gap=gap, limit=limit)
    assert set(runs) == set(asked)
    for (start, stop), (run_start, run_stop) in runs.items():
        assert run_start <= start
        assert stop <= run_stop
        assert run_stop - run_start <= max(limit, stop - start) or run_stop - run_start <= limit
    wanted = {byte for start, stop in asked for byte in range(start, stop)}
    for run_start, run_stop in set(runs.values()):
        idle = 0
        for byte in range(run_start, run_stop):  # no run reads through more unwanted bytes at a time than the gap
            idle = 0 if byte in wanted else idle + 1
            assert idle <= gap


def test_neighbours_and_gaps() -> None:
    assert merge([(0, 10), (10, 20), (25, 30)], gap=4, limit=100) == {
        (0, 10): (0, 20),
        (10, 20): (0, 20),
        (25, 30): (25, 30),
    }
    assert set(merge([(0, 10), (10, 20), (25, 30)], gap=5, limit=100).values()) == {(0, 30)}
    assert set(merge([(0, 10), (10, 20), (25, 30)], gap=5, limit=20).values()) == {(0, 20), (25, 30)}
    assert merge([], gap=5, limit=20) == {}


@pytest.mark.parametrize(("start", "stop"), [(-1, 0), (3, 2), (-5, -2)])
def test_no_ranges(start: int, stop: int) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_range(start, stop)
    assert caught.value.parameter == "range"


async def test_together_gives_the_first_error_and_ends_the_rest() -> None:
    ended: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("waits")

    async def fails() -> None:
        await asyncio.sleep(0)
        raise KeyError("first")

    with pytest.raises(KeyError, match="first"):
        await together([waits(), fails(), waits()])
    assert ended == ["waits", "waits"]


async def test_together_is_cancelled_together() -> None:
    running = 0

    async def waits() -> None:
        nonlocal running
        running += 1
        try:
            await asyncio.Event().wait()
        finally:
            running -= 1

    task = asyncio.ensure_future(together([waits(), waits()]))
    while running < 2:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert running == 0
    assert await together([]) == []
