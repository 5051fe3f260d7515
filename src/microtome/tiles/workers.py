"""The one place with threads for pixel work: bounded, refusing rather than queueing without end."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from microtome.errors import Busy

T = TypeVar("T")

ROOM_BYTES = 1 << 30
"""Of all pictures that are being put together at the same time."""

_NICENESS = 5


class RenderWorkers:
    """``threads`` threads that decode and encode; at most ``queue`` jobs wait for one, the next gets Busy.

    A job whose asker has gone before it began is not run. The threads are a little less important to the scheduler
    than the event loop, so that a full load of transcoding does not delay answers that need none.
    """

    def __init__(self, threads: int, queue: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="render", initializer=_lower_priority)
        self._limit = threads + queue
        self._pending = 0
        self._taken = 0
        self._closed = False

    @property
    def limit(self) -> int:
        """How many jobs may run or wait."""
        return self._limit

    @property
    def pending(self) -> int:
        """Jobs running or waiting."""
        return self._pending

    @contextmanager
    def room(self, nbytes: int) -> Generator[None]:
        """Memory for a picture that is put together and then encoded. Raises Busy when others have taken all of it."""
        if self._taken and self._taken + nbytes > ROOM_BYTES:
            raise Busy(
                "The server is putting together as many large pictures as it has room for; try again in a moment"
            )
        self._taken += nbytes
        try:
            yield
        finally:
            self._taken -= nbytes

    async def run(self, job: Callable[[], T]) -> T:
        """The result of ``job()``, computed in a thread. Raises Busy when the queue is full."""
        if self._closed:
            raise Busy("The server is stopping; try again in a moment")
        if self._pending >= self._limit:
            raise Busy("The server is rendering as many tiles as it is configured to; try again in a moment")
        self._pending += 1
        future = self._executor.submit(job)
        future.add_done_callback(self._landed(asyncio.get_running_loop()))
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError as dropped:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise Busy("The server is stopping; try again in a moment") from dropped  # ``close`` has dropped the job

    def _landed(self, loop: asyncio.AbstractEventLoop) -> Callable[[object], None]:
        def release() -> None:
            self._pending -= 1

        def landed(_: object) -> None:
            # Called from the worker thread; the count belongs to the loop's thread.
            if not loop.is_closed():
                loop.call_soon_threadsafe(release)

        return landed

    def close(self) -> None:
        """Let running jobs finish, drop waiting ones: their askers get Busy."""
        self._closed = True
        self._executor.shutdown(wait=False, cancel_futures=True)


def _lower_priority() -> None:
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
    except (OSError, AttributeError):
        return  # a wish, not a need: some systems forbid it
