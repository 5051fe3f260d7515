"""Several processes behind one port: the parent holds the socket and looks after the workers, and never serves.

SIGTERM, SIGINT   all workers finish their requests and stop.
SIGHUP            a new generation of workers starts; only when all of it is ready, the old one drains and stops.
A worker that dies is replaced, more slowly the more often it happens. When the parent dies, the workers stop as if told
to: left alone they would keep the port for ever.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from microtome.settings import Settings
from microtome.telemetry import logger

_READY = b"ready"
_START_SECONDS = 60.0
_MAX_PAUSE = 30.0
DRAIN = signal.SIGUSR1
"""To a worker: stop kindly, a successor is there."""


class Worker:
    """A child process and the pipe on which it tells that it is ready."""

    def __init__(self, settings: Settings, listening: socket.socket, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe(duplex=False)
        self.process: BaseProcess = context.Process(
            target=work, args=(settings, listening, folder, theirs), name="microtome-worker"
        )
        self.process.start()
        theirs.close()
        self.ready = False
        self.leaving = False
        self.born = time.monotonic()

    @property
    def pipe(self) -> Connection:
        """Readable when the worker is ready or gone."""
        return self._ours

    def hear(self) -> None:
        """Take what is on the pipe."""
        try:
            self.ready = self.ready or self._ours.recv_bytes() == _READY
        except (EOFError, OSError):
            self._ours.close()

    def tell(self, number: int) -> None:
        """Send a signal if it is alive."""
        self.leaving = True
        if self.process.pid is not None and self.process.is_alive():
            os.kill(self.process.pid, number)


def work(settings: Settings, listening: socket.socket, folder: Path, pipe: Connection) -> None:
    """The life of a worker."""
    from microtome.server.leave import leave
    from microtome.server.logs import set_up
    from microtome.server.run import DRAIN_SECONDS, build

    set_up(verbose=settings.verbose)
    threading.Thread(target=_stop_when_orphaned, args=(folder,), name="parent-watch", daemon=True).start()
    # The terminal sends SIGINT and SIGHUP to the whole group; the parent decides what they mean.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    server = build(settings, lambda: pipe.send_bytes(_READY), shared_cache=folder)

    def drain(*_: Any) -> None:
        server.drain = DRAIN_SECONDS
        server.should_exit = True

    signal.signal(DRAIN, drain)
    server.run(sockets=[listening])
    leave(0 if server.started else 1)


def _stop_when_orphaned(folder: Path) -> None:
    """Wait for the end of the parent, then do what it would have done: tell this worker to stop, remove the folder."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    wait([parent.sentinel])
    # A parent that ends in good order has waited for its workers.
    logger.error("the parent of this worker is gone; it stops, too")
    shutil.rmtree(folder, ignore_errors=True)  # what is mapped stays readable until the worker has ended
    os.kill(os.getpid(), signal.SIGTERM)


class Supervisor:
    """Keeps ``settings.workers`` workers alive."""

    def __init__(self, settings: Settings, listening: socket.socket, *, ready: Callable[[], None]) -> None:
        self._settings = settings
        self._listening = listening
        self._ready = ready
        self._folder = Path(tempfile.mkdtemp(prefix="microtome-", dir=_memory_folder(settings.cache_tiles)))
        self._workers: list[Worker] = []
        self._pause = 0.0
        self._stop = False
        self._renew = False
        self._wake, self._waker = socket.socketpair()

    def run(self) -> int:
        """Until told to stop; the exit status."""
        self._waker.settimeout(0)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_renew)
        try:
            self._workers = [self._spawn() for _ in range(self._settings.workers)]
            if not self._until_ready(self._workers):
                return 1
            self._ready()
            while not self._stop:
                self._look_after()
                if self._renew and not self._stop:
                    self._renew = False
                    self._replace_all()
            return 0
        finally:
            self._end()

    def _spawn(self) -> Worker:
        return Worker(self._settings, self._listening, self._folder)

    def _on_stop(self, *_: Any) -> None:
        if self._stop:
            for worker in self._workers:
                worker.process.kill()
        self._stop = True

    def _on_renew(self, *_: Any) -> None:
        self._renew = True

    def _wait(self, seconds: float | None) -> None:
        """Until a worker says something or dies, or a signal comes."""
        sources: list[Any] = [self._wake]
        for worker in self._workers:
            sources.append(worker.process.sentinel)
            if not worker.ready and not worker.pipe.closed:
                sources.append(worker.pipe)
        for source in wait(sources, seconds):
            if source is self._wake:
                self._wake.recv(1024)
            for worker in self._workers:
                if source is worker.pipe:
                    worker.hear()

    def _until_ready(self, workers: list[Worker]) -> bool:
        end = time.monotonic() + _START_SECONDS
        while not self._stop and not all(worker.ready for worker in workers):
            if any(not worker.process.is_alive() for worker in workers) or time.monotonic() > end:
                return False
            self._wait(1.0)
        return not self._stop

    def _look_after(self) -> None:
        self._wait(self._pause or None)
        for worker in [each for each in self._workers if not each.process.is_alive()]:
            self._workers.remove(worker)
            if worker.leaving or self._stop:
                continue
            logger.error("a worker ended with status %s and is replaced", worker.process.exitcode)
            lived = time.monotonic() - worker.born
            self._pause = 0.0 if lived > _MAX_PAUSE else min(_MAX_PAUSE, max(0.1, self._pause * 2))
        missing = self._settings.workers - sum(not worker.leaving for worker in self._workers)
        if missing > 0 and not self._stop:
            if self._pause > 0.1:
                self._wait(self._pause)
            self._workers += [self._spawn() for _ in range(missing) if not self._stop]

    def _replace_all(self) -> None:
        old = [worker for worker in self._workers if not worker.leaving]
        new = [self._spawn() for _ in range(self._settings.workers)]
        self._workers += new
        if self._until_ready(new):
            for worker in old:
                worker.tell(DRAIN)
            logger.info("%d new workers have taken over", len(new))
        elif not self._stop:
            logger.error("the new workers did not start; the old ones go on")
            for worker in new:
                worker.tell(signal.SIGTERM)

    def _end(self) -> None:
        for worker in self._workers:
            worker.tell(signal.SIGTERM)
        end = time.monotonic() + self._settings.shutdown_timeout + 5
        for worker in self._workers:
            worker.process.join(max(0.1, end - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._listening.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _memory_folder(budget: int) -> str | None:
    """A file system in memory for the shared cache, when there is one with room: a full one would end the workers."""
    folder = "/dev/shm"  # noqa: S108 - the folder made in it is our own
    try:
        free = os.statvfs(folder)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) and free.f_bavail * free.f_frsize > 3 * budget + (128 << 20) else None
