"""Keeps one process of the scene alive for all processes of a server, and starts it when it is first needed.

They share a folder and find each other by locks on files in it, which the system lets go of whatever becomes of who
held them: ``alive`` is held by every keeper (shared) and by the process for as long as it looks whether there is one;
``process`` is held by the process, which writes its number into it and takes that away when it ends in good order;
``starting`` is held by the keeper that starts one. So a process outlives the worker that started it, but no server.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import msgspec

from microtome.errors import Busy, StorageUnavailable, UnsupportedFormat
from microtome.scene.said import pass_on
from microtome.telemetry import logger

START_SECONDS = 60.0
STOP_SECONDS = 15.0
"""For a last save."""
CRASHES, CRASH_PERIOD = 5, 60.0
"""So many ends within so many seconds, and the scene is not started again for a while."""
PREFIX = "microtome-scene-"
"""How folders of scenes in the folder for temporary files begin."""
UPLOAD = "upload-"
"""How the names of files begin that a server writes for the process."""
_POLL_SECONDS = 0.02
_SOCKET_PATH = 100
"""Bytes: sockets cannot have longer names (unix(7))."""
_ORPHAN_SECONDS = 60.0


class SceneOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the process of the scene has to know, handed over as JSON in its first argument.

    ``roots``: folders whose files it may be told to read and write. ``samples``: names of sample data it begins with
    when nothing was saved. ``autosave``: the bundle it saves into and begins with, "" for none, every
    ``autosave_seconds``. ``memory``: address space in bytes it may take, 0 for no limit.
    ``undo_memory``: bytes of data that it keeps to take changes back. ``max_waiting``: questions that wait for their
    answers; ``max_working``: how many of them may read, make or pack files at the same time.
    ``exec_seconds``: the longest run of a script, 0 where none are run. ``home``: the keepers' folder. ``lost``: how
    many scenes were lost before because their processes ended.
    """

    socket: str
    folder: str
    roots: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()
    autosave: str = ""
    autosave_seconds: float = 60.0
    max_voxels: int = 1 << 30
    memory: int = 0
    undo_memory: int = 1 << 30
    max_waiting: int = 256
    max_working: int = 2
    exec_seconds: float = 0.0
    home: str = ""
    lost: int = 0


class SceneKeeper:
    """Sees to it that a process listens at ``folder/socket``; keepers of several processes may share a folder.

    ``options`` are those of the process but for socket, folder and home.
    """

    def __init__(self, folder: Path, options: SceneOptions) -> None:
        self.folder = folder
        self.options = options
        self._held: IO[bytes] | None = None
        self._starting = asyncio.Lock()

    @property
    def socket(self) -> Path:
        """Where the process listens."""
        return self.folder / "socket"

    def files(self) -> Path:
        """Where the process finds and leaves files; its uploads are called ``UPLOAD`` and something."""
        self.hold()
        return self.folder / "files"

    def hold(self) -> None:
        """Be one of those for whom the process is there: it ends with the last of them."""
        if self._held is None:
            clean(self.folder.parent)
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.folder / "files").mkdir(mode=0o700, exist_ok=True)
            file = (self.folder / "alive").open("ab")
            fcntl.flock(file, fcntl.LOCK_SH)
            self._held = file

    async def present(self) -> int:
        """Start the process unless it is there. How many scenes were lost until now.

        Raises UnsupportedFormat where MRML is not installed, Busy, StorageUnavailable when it cannot be started.
        """
        if find_spec("slicer_core") is None:
            raise UnsupportedFormat(
                "The scene needs the package slicer-core: pip install 'microtome[scene]', make scene",
                feature="scene",
            )
        async with self._starting:
            self.hold()
            if not self._lives():
                async with self._alone():
                    if not self._lives():
                        await self._start()
            return len(self._ends())

    async def end(self) -> None:
        """Kill the process: it does not answer."""
        await self._signal(signal.SIGKILL)

    async def stop(self) -> None:
        """End the process in good order; its scene is not lost, it is given up."""
        await self._signal(signal.SIGTERM)

    async def close(self) -> None:
        """Let go of the process. The last one ends it and removes the folder."""
        if self._held is None:
            return
        self._held.close()
        self._held = None
        with (self.folder / "alive").open("rb") as file:
            if not _locked(file):
                return
            await self._signal(signal.SIGTERM)
            await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    @asynccontextmanager
    async def _alone(self) -> AsyncGenerator[None]:
        """No other keeper starts one meanwhile. Raises Busy."""
        with (self.folder / "starting").open("ab") as file:
            if not await _until(lambda: _locked(file), START_SECONDS):
                raise Busy("The scene is being started; try again in a moment")
            yield

    def _pid(self) -> int | None:
        """The number of the process; None when there is none, or none any more."""
        try:
            with (self.folder / "process").open("rb") as file:
                return None if _locked(file) else int(file.read() or b"0")
        except FileNotFoundError:
            return None

    def _lives(self) -> bool:
        return self._pid() is not None and self.socket.exists()

    async def _signal(self, number: int) -> None:
        pid = self._pid()
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            if not await _until(lambda: self._pid() is None, STOP_SECONDS):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                await _until(lambda: self._pid() is None, STOP_SECONDS)

    def _ends(self) -> list[float]:
        """When processes ended that were not told to, in s since the epoch."""
        try:
            return msgspec.json.decode((self.folder / "ends").read_bytes(), type=list[float])
        except (FileNotFoundError, msgspec.DecodeError):
            return []

    def _bury(self) -> list[float]:
        """Note the end of a process that did not take its number away; all ends."""
        ends, mark = self._ends(), self.folder / "process"
        if mark.exists() and mark.read_bytes():
            mark.write_bytes(b"")
            ends.append(time.time())
            (self.folder / "ends").write_bytes(msgspec.json.encode(ends[-1000:]))
            logger.error("The process of the scene ended; what was in its scene and not saved is lost")
        return ends

    async def _start(self) -> None:
        ends = self._bury()
        if len(ends) >= CRASHES and time.time() - ends[-CRASHES] < CRASH_PERIOD:
            raise StorageUnavailable(f"The scene ended {CRASHES} times within a minute; try again in a minute")
        self.socket.unlink(missing_ok=True)
        files = self.folder / "files"
        await asyncio.to_thread(_remove_all_but_uploads, files)
        options = msgspec.structs.replace(
            self.options, socket=str(self.socket), folder=str(files), home=str(self.folder), lost=len(ends)
        )
        process = subprocess.Popen(  # noqa: ASYNC220, S603 - our own program; starting takes a millisecond
            [sys.executable, "-m", "microtome.scene.process", msgspec.json.encode(options).decode()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, **_environment()},
            start_new_session=True,  # Ctrl-C at a terminal is for the server, which then ends the scene in good order
        )
        threading.Thread(target=_listen, args=(process,), name="scene-log", daemon=True).start()
        # Whoever leaves meanwhile leaves it to whoever asks next.
        if not await _until(lambda: self._lives() or process.poll() is not None, START_SECONDS):
            process.kill()
        if not self._lives():
            self._bury()
            raise StorageUnavailable("The process of the scene cannot be started; the log says why")


def clean(folder: Path) -> None:
    """Remove folders of scenes whose server and process are gone: killed, both of them."""
    for found in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):
            about = found.lstat()
            if about.st_uid != os.getuid() or time.time() - about.st_mtime < _ORPHAN_SECONDS:
                continue  # somebody else's; just being made
            with (found / "alive").open("rb") as file:
                if _locked(file):
                    shutil.rmtree(found, ignore_errors=True)


def _listen(process: subprocess.Popen[bytes]) -> None:
    """What the process says goes to our log; wait for its end, or it would stay as a zombie."""
    assert process.stderr is not None  # noqa: S101 - a pipe
    with process.stderr:
        pass_on(process.stderr)
    if (status := process.wait()) != 0:
        reason = signal.Signals(-status).name if status < 0 else f"status {status}"
        logger.error("The process of the scene ended with %s", reason)


def _remove_all_but_uploads(files: Path) -> None:
    """Of a process that was killed."""
    files.mkdir(mode=0o700, exist_ok=True)
    for found in files.iterdir():
        if not found.name.startswith(UPLOAD):
            shutil.rmtree(found, ignore_errors=True) if found.is_dir() else found.unlink(missing_ok=True)


def _locked(file: IO[bytes]) -> bool:
    """Take a lock for ``file``, until it is closed, if nobody has one."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


async def _until(true: Callable[[], bool], seconds: float) -> bool:
    """Wait for something; whether it came."""
    end = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < end:  # noqa: ASYNC110 - locks of other processes tell nobody
        await asyncio.sleep(_POLL_SECONDS)
    return found


def _environment() -> dict[str, str]:
    """VTK looks for a display otherwise, and crashes without one; for matrices of 4 x 4 threads only burn time."""
    return {
        "OPENBLAS_NUM_THREADS": "1",
        "VTK_DEFAULT_OPENGL_WINDOW": "vtkEGLRenderWindow",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }


def private_folder() -> Path:
    """A folder for a scene of one server process."""
    return shared_folder(f"{os.getpid()}-{os.urandom(4).hex()}")


def shared_folder(name: str) -> Path:
    """The folder of a scene that processes share which know each other by ``name``."""
    folder = Path(tempfile.gettempdir()) / f"{PREFIX}{name}"
    if len(os.fsencode(folder / "socket.new")) <= _SOCKET_PATH:
        return folder
    return Path("/tmp") / folder.name  # noqa: S108 - made with a name of its own, and for nobody else


def keeper_of(folder: Path, roots: Sequence[Path], **options: object) -> SceneKeeper:
    """The keeper of a scene whose files may come from ``roots``."""
    made = SceneOptions(socket="", folder="", roots=tuple(str(root.resolve()) for root in roots), **options)  # pyright: ignore[reportArgumentType]
    return SceneKeeper(folder, made)
