"""Keeps one process of the scene alive for all processes of the server, and starts it when it is first needed."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import msgspec

from microtome.errors import Busy, StorageUnavailable, UnsupportedFormat
from microtome.telemetry import logger

START_SECONDS = 60.0
CRASHES, CRASH_PERIOD = 5, 60.0
"""So many ends within so many seconds, and the scene is not started again for a while."""
_POLL_SECONDS = 0.02


class SceneOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the process of the scene has to know, handed over as JSON in its first argument.

    ``roots``: folders whose files it may be told to read and write. ``autosave``: the bundle it saves into and begins
    with, "" for none, every ``autosave_seconds``. ``memory``: address space in bytes a file may make it take.
    """

    socket: str
    folder: str
    roots: tuple[str, ...] = ()
    autosave: str = ""
    autosave_seconds: float = 60.0
    max_voxels: int = 1 << 30
    parent: int = 0


@dataclass(slots=True)
class SceneKeeper:
    """Sees to it that a process listens at ``folder/socket``; several keepers may share a folder, one of them holds it.

    ``options`` are those of the process but for socket, folder and parent.
    """

    folder: Path
    options: SceneOptions
    _process: subprocess.Popen[bytes] | None = None
    _lock: IO[bytes] | None = None
    _ends: deque[float] = field(default_factory=lambda: deque[float](maxlen=CRASHES))
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    lost: int = 0
    """How often a scene was lost because its process ended."""

    @property
    def socket(self) -> Path:
        """Where the process listens."""
        return self.folder / "socket"

    async def present(self) -> None:
        """Start the process unless it is there. Raises UnsupportedFormat where MRML is not installed, Busy,
        StorageUnavailable when it cannot be started.
        """
        async with self._starting:
            if find_spec("slicer_core") is None:
                raise UnsupportedFormat(
                    "The scene needs the package slicer-core: pip install 'microtome[scene]'", feature="scene"
                )
            if not self._hold():
                await self._until_there()
                return
            if self._process is not None and (status := self._process.poll()) is not None:
                self._ended(status)
            if self._process is None:
                await self._start()

    async def end(self) -> None:
        """Kill the process: it does not answer."""
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    async def close(self) -> None:
        """End the process if it is ours, and give it up."""
        if self._process is not None:
            self._process.terminate()
            try:
                await asyncio.to_thread(self._process.wait, 5)
            except subprocess.TimeoutExpired:
                await self.end()
        if self._lock is not None:
            self._lock.close()

    def _hold(self) -> bool:
        """Whether this keeper is the one that starts the process."""
        if self._lock is None:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = (self.folder / "lock").open("wb")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                return False
            self._lock = file
        return True

    def _ended(self, status: int) -> None:
        logger.warning("The process of the scene ended (%s); its scene is lost", status)
        self._process = None
        self.lost += 1
        self._ends.append(time.monotonic())

    async def _start(self) -> None:
        if len(self._ends) == CRASHES and time.monotonic() - self._ends[0] < CRASH_PERIOD:
            raise StorageUnavailable(f"The scene ended {CRASHES} times within a minute; try again in a minute")
        self.socket.unlink(missing_ok=True)
        files = self.folder / "files"
        shutil.rmtree(files, ignore_errors=True)  # of a process that was killed
        files.mkdir(mode=0o700)
        options = msgspec.structs.replace(self.options, socket=str(self.socket), folder=str(files), parent=os.getpid())
        self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - our own program; starting takes a millisecond
            [sys.executable, "-m", "microtome.scene.process", msgspec.json.encode(options).decode()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **_environment()},
        )
        await self._until_there()

    async def _until_there(self) -> None:
        """Wait for the socket: the process makes it when its scene stands."""
        until = time.monotonic() + START_SECONDS
        while not self.socket.exists():
            if self._process is not None and (status := self._process.poll()) is not None:
                self._ended(status)
                raise StorageUnavailable("The process of the scene cannot be started; the log says why")
            if time.monotonic() > until:
                raise Busy("The scene is being started; try again in a moment")
            await asyncio.sleep(_POLL_SECONDS)


def _environment() -> dict[str, str]:
    """VTK looks for a display otherwise, and crashes without one; for matrices of 4 x 4 threads only burn time."""
    return {
        "OPENBLAS_NUM_THREADS": "1",
        "VTK_DEFAULT_OPENGL_WINDOW": "vtkEGLRenderWindow",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }


def private_folder() -> Path:
    """A folder for a scene of one server process."""
    return Path(tempfile.mkdtemp(prefix="microtome-scene-"))


def keeper_of(folder: Path, roots: Sequence[Path], **options: object) -> SceneKeeper:
    """The keeper of a scene whose files may come from ``roots``."""
    made = SceneOptions(socket="", folder="", roots=tuple(str(root.resolve()) for root in roots), **options)  # pyright: ignore[reportArgumentType]
    return SceneKeeper(folder, made)
