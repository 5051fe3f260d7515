"""Processes that read files. One that dies over a file takes no other file with it."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context

from microtome.dicom.encoding import DEFAULT_LIMITS, ScanLimits
from microtome.dicom.index.base import Batch, Scanned, State, Stored
from microtome.dicom.index.ingest import Reader, joined, read_local

FEW = 24
"""So few files are read in a thread of this process: starting others would take longer."""
_LOOK = 2.0
_OBJECTS = 50_000
"""Headers are many small objects and no cycles: looking for those would be a tenth of the work."""


class Workers:
    """``count`` processes that call ``read`` with files below ``root``; started when they are needed."""

    def __init__(
        self, root: str, count: int, *, read: Reader = read_local, limits: ScanLimits = DEFAULT_LIMITS
    ) -> None:
        self._root = root
        self._count = count
        self._quick = read is read_local
        self._read: Reader = partial(read_local, limits=limits) if self._quick else read
        self._pool: ProcessPoolExecutor | None = None
        self._careful = asyncio.Lock()

    async def read(self, files: Sequence[Stored]) -> Batch:
        """What the files hold. A file over which a process died is BROKEN."""
        if len(files) <= FEW and self._quick:
            return await asyncio.to_thread(self._read, self._root, files)
        if self._pool is None:
            self._pool = _pool(self._count)
        pool = self._pool
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, self._read, self._root, files)
        except BrokenProcessPool:
            if self._pool is pool:
                self._pool = None
            return await self._read_singly(files)

    async def _read_singly(self, files: Sequence[Stored]) -> Batch:
        """Nobody knows which file it was: read each in a process that may die."""
        found = list[Batch]()
        async with self._careful:
            pool = _pool(1)
            for file in files:
                try:
                    found.append(await asyncio.get_running_loop().run_in_executor(pool, self._read, self._root, [file]))
                except BrokenProcessPool:
                    reason = "The process that read this file died over it"
                    found.append(Batch(files=[Scanned(file, state=State.BROKEN, reason=reason)]))
                    pool = _pool(1)
            await asyncio.to_thread(pool.shutdown)
        return joined(found)

    async def close(self) -> None:
        """End the processes; what they read is thrown away."""
        if self._pool is not None:
            await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)
            self._pool = None


def _pool(count: int) -> ProcessPoolExecutor:
    # Spawned: forks of a process with threads may hang.
    return ProcessPoolExecutor(count, get_context("spawn"), _begin, (os.getpid(),))


def _begin(parent: int) -> None:
    """In a new worker: Ctrl-C is for the parent, and no worker outlives it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.set_threshold(_OBJECTS)

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()
