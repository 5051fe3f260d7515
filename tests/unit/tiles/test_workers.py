"""The render threads: bounded, refusing when full, not working for those who have gone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from microtome.errors import Busy
from microtome.tiles.workers import RenderWorkers


class Gate:
    """A job that holds its thread until told; ``started`` can be awaited."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._open = threading.Event()

    def __call__(self) -> str:
        self._loop.call_soon_threadsafe(self.started.set)
        self._open.wait()
        return "through"

    def open(self) -> None:
        self._open.set()


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    it = Gate()
    yield it
    it.open()


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def idle(workers: RenderWorkers) -> None:
    """Until all jobs have landed: the count falls in the loop, after the result was given."""
    while workers.pending:
        await asyncio.sleep(0)


async def test_the_result_comes_from_a_thread() -> None:
    workers = RenderWorkers(1, 0)
    assert await workers.run(threading.get_ident) != threading.get_ident()
    await idle(workers)
    workers.close()


async def test_an_error_of_the_job_reaches_the_asker_and_frees_the_place() -> None:
    workers = RenderWorkers(1, 0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await workers.run(lambda: 1 // 0)
        await idle(workers)
    assert await workers.run(lambda: "fine") == "fine"
    workers.close()


async def test_as_many_jobs_run_at_once_as_there_are_threads() -> None:
    workers = RenderWorkers(3, 10)
    meeting = threading.Barrier(3)  # nobody passes before all three are there
    await asyncio.gather(*(workers.run(meeting.wait) for _ in range(3)))
    running = most = 0
    lock = threading.Lock()

    def job() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        with lock:
            running -= 1

    await idle(workers)
    await asyncio.gather(*(workers.run(job) for _ in range(13)))
    assert most <= 3
    workers.close()


@pytest.mark.parametrize(("threads", "queue"), [(1, 0), (1, 2), (2, 3)])
async def test_a_full_queue_is_busy_with_a_hint_when_to_come_again(gate: Gate, threads: int, queue: int) -> None:
    workers = RenderWorkers(threads, queue)
    ran: list[int] = []
    waiting = [asyncio.ensure_future(workers.run(gate)) for _ in range(threads + queue)]
    await gate.started.wait()
    assert workers.pending == threads + queue
    for _ in range(3):
        with pytest.raises(Busy, match="rendering") as caught:
            await workers.run(lambda: ran.append(1))
        assert caught.value.retry_after >= 1
    assert workers.pending == threads + queue
    gate.open()
    assert await asyncio.gather(*waiting) == ["through"] * (threads + queue)
    await idle(workers)
    assert ran == []
    await workers.run(lambda: ran.append(1))
    assert ran == [1]
    workers.close()


async def test_a_job_whose_asker_has_gone_is_taken_out_of_the_queue(gate: Gate) -> None:
    workers = RenderWorkers(1, 2)
    ran: list[str] = []
    first = asyncio.ensure_future(workers.run(gate))
    await gate.started.wait()
    leaving = asyncio.ensure_future(workers.run(lambda: ran.append("leaving")))
    staying = asyncio.ensure_future(workers.run(lambda: ran.append("staying")))
    await turns()
    with pytest.raises(Busy):
        await workers.run(lambda: None)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await turns()
    assert workers.pending == 2
    late = asyncio.ensure_future(workers.run(lambda: ran.append("late")))
    gate.open()
    await asyncio.gather(first, staying, late)
    assert ran == ["staying", "late"]
    workers.close()


async def test_a_running_job_keeps_its_place_when_its_asker_goes(gate: Gate) -> None:
    workers = RenderWorkers(1, 0)
    leaving = asyncio.ensure_future(workers.run(gate))
    await gate.started.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await turns()
    assert workers.pending == 1
    with pytest.raises(Busy):
        await workers.run(lambda: None)
    gate.open()
    await idle(workers)
    assert await workers.run(lambda: "next") == "next"
    workers.close()


async def test_closing_lets_the_running_job_finish_and_drops_the_waiting(gate: Gate) -> None:
    workers = RenderWorkers(1, 5)
    ran: list[int] = []
    running = asyncio.ensure_future(workers.run(gate))
    await gate.started.wait()
    waiting = [asyncio.ensure_future(workers.run(lambda: ran.append(1))) for _ in range(3)]
    await turns()
    workers.close()
    dropped = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(each, BaseException) for each in dropped)
    gate.open()
    assert await running == "through"
    await idle(workers)
    assert ran == []


async def test_closed_workers_refuse_with_an_error_of_the_house() -> None:
    workers = RenderWorkers(1, 5)
    workers.close()
    with pytest.raises(Busy):
        await workers.run(lambda: None)
    assert workers.pending == 0
