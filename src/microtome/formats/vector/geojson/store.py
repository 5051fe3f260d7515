"""Where indexes are kept and how they come to be: built once for each version of a file, whoever asks.

The name of an index is made of key and ETag, so a changed file gets a new one. Several processes may share the folder:
a lock file lets one of them build. The oldest leave when the folder has grown beyond its budget.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import sys
import weakref
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path

from microtome.errors import Busy, CorruptData, LimitExceeded, MicrotomeError, UnsupportedFormat
from microtome.formats.vector.geojson.plane import OtherPlaneError, Plane
from microtome.formats.vector.geojson.worker import understood
from microtome.storage.pinned import PinnedObject
from microtome.storage.temporary import TemporaryFolder

SMALL_BYTES = 1 << 20
"""Files up to this size are indexed in a thread; larger ones in a process of their own."""
BUDGET = 32 << 30
PATIENCE = 20.0
"""So many s an opening waits for an index; then it is told to come back."""
AT_ONCE = 2
PIECE = 4 << 20
_VERSION = 1
_FAILURES = 1000
_LOOK_AGAIN = 0.2


class Indexes:
    """Indexes in ``folder``; None means one that is removed with this object."""

    def __init__(self, folder: Path | None = None, *, budget: int = BUDGET, patience: float = PATIENCE) -> None:
        self.built = 0
        """How many indexes were built here."""
        self._given = folder
        self._folder: Path | None = None
        self._own: TemporaryFolder | None = None
        self._budget = budget
        self._patience = patience
        self._builds: dict[str, asyncio.Task[Path]] = {}
        self._read: dict[str, int] = {}
        self._failures: dict[str, MicrotomeError] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def of(self, files: PinnedObject) -> Path:
        """The index of this version of a file.

        Raises Busy while it is still being built after ``patience`` s (the building goes on), CorruptData,
        LimitExceeded, UnsupportedFormat for a file that cannot be indexed, and what the store raises.
        """
        name = blake2b(f"{_VERSION}\0{files.key}\0{files.info.etag}".encode(), digest_size=16).hexdigest()
        if name in self._failures:
            raise self._failures[name]
        path = self._root() / f"{name}.index"
        if _is_there(path):
            return path
        task = self._builds.get(name)
        if task is None:
            task = self._builds[name] = asyncio.ensure_future(self._build(name, files, path))
            task.add_done_callback(lambda done: self._landed(name, done))
        await asyncio.wait({task}, timeout=self._patience)
        if not task.done():
            share = 100 * self._read.get(name, 0) // max(files.size, 1)
            raise Busy(f"The GeoJSON file is being indexed ({min(share, 99)} % read); ask again soon", retry_after=5)
        return task.result()

    async def close(self) -> None:
        """Stop building, remove a folder of our own."""
        tasks = list(self._builds.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._own is not None:
            self._own.close()
            self._own = self._folder = None

    def _root(self) -> Path:
        if self._folder is None:
            if self._given is None:
                self._own = TemporaryFolder("microtome-indexes-")
                weakref.finalize(self, self._own.close)
                self._folder = self._own.path
            else:
                self._given.mkdir(parents=True, exist_ok=True)
                self._folder = self._given
        return self._folder

    def _landed(self, name: str, task: asyncio.Task[Path]) -> None:
        self._builds.pop(name, None)
        self._read.pop(name, None)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, CorruptData | UnsupportedFormat | LimitExceeded):
            if len(self._failures) >= _FAILURES:
                self._failures.clear()
            self._failures[name] = error

    async def _build(self, name: str, files: PinnedObject, path: Path) -> Path:
        async with self._slots, _locked(path.with_suffix(".lock")):
            if _is_there(path):  # another process was quicker
                return path
            self._make_room(path)
            part = path.with_suffix(f".{os.getpid()}.part")
            plane: Plane | None = None
            for _ in range(3):  # px, then as a late ``crs`` says, then px after all
                try:
                    await self._attempt(name, files, part, plane)
                except OtherPlaneError as other:
                    plane = other.plane
                    continue
                finally:
                    self._read.pop(name, None)
                part.replace(path)
                self.built += 1
                return path
            raise CorruptData("The coordinates of the GeoJSON file fit none of the systems it names")

    async def _attempt(self, name: str, files: PinnedObject, part: Path, plane: Plane | None) -> None:
        if files.size <= SMALL_BYTES:
            from microtome.formats.vector.geojson.index import build

            data = await files.read(0, files.size)
            await asyncio.to_thread(build, [data], part, plane=plane, most=self._budget)
            return
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "microtome.formats.vector.geojson.worker",
            str(part), plane or "", str(self._budget),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            assert process.stdin is not None  # noqa: S101 - asked for above
            assert process.stdout is not None  # noqa: S101
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has seen enough
                for start in range(0, files.size, PIECE):
                    process.stdin.write(await files.read(start, start + PIECE))
                    await process.stdin.drain()
                    self._read[name] = start
                process.stdin.close()
            answer = await process.stdout.read()
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
                _remove(part)
        understood(answer)

    def _make_room(self, path: Path) -> None:
        """Remove the indexes longest unused beyond the budget, and what killed processes left of this one."""
        for each in path.parent.glob(f"{path.stem}.*.part*"):
            _remove(each)
        found = sorted((status.st_mtime, status.st_size, each) for each, status in _statuses(path.parent))
        used = sum(size for _, size, _ in found)
        for _, size, each in found:
            if used <= self._budget:
                return
            each.unlink(missing_ok=True)  # who has mapped it reads on
            each.with_suffix(".lock").unlink(missing_ok=True)
            used -= size


def _is_there(path: Path) -> bool:
    """Whether there is an index; it was used just now."""
    try:
        os.utime(path)
    except OSError:
        return path.exists()
    return True


def _statuses(folder: Path) -> list[tuple[Path, os.stat_result]]:
    found: list[tuple[Path, os.stat_result]] = []
    for each in folder.glob("*.index"):
        with contextlib.suppress(OSError):
            found.append((each, each.stat()))
    return found


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
    for work in path.parent.glob(f"{path.name}-*"):
        shutil.rmtree(work, ignore_errors=True)


@asynccontextmanager
async def _locked(path: Path) -> AsyncGenerator[None]:
    """Held by one process at a time; the others look again now and then."""
    with path.open("wb") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(_LOOK_AGAIN)
        yield
