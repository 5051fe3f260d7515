"""The child's side of ``isolated``: one slide, opened by a format, its bytes asked of the server."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from microtome.errors import Conflict, CorruptData, MicrotomeError, as_message, from_message
from microtome.formats.base import Configurable, Serving, Slide
from microtome.formats.isolated_wire import (
    Line,
    Message,
    from_info,
    from_tile,
    to_object,
    to_options,
)
from microtome.formats.threads import reason
from microtome.model import TileIndex
from microtome.storage.base import ObjectInfo, RangeResult
from microtome.storage.folder import Files, PinnedFolder
from microtome.storage.pinned import PinnedObject

_SET_SIGNAL_OF_PARENTS_DEATH = 1  # PR_SET_PDEATHSIG of prctl(2)
_FAREWELL_SECONDS = 1.0


class _Parent:
    """Questions of the child to the server."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._questions: dict[int, asyncio.Future[tuple[Message, bytes]]] = {}
        self._last = 0

    async def ask(self, what: str, **arguments: Any) -> tuple[Message, bytes]:
        self._last += 1
        number = self._last
        future = self._questions[number] = asyncio.get_running_loop().create_future()
        try:
            await self._line.send({"ask": number, "what": what, **arguments})
            return await future
        finally:
            del self._questions[number]

    def answered(self, message: Message, payload: bytes) -> None:
        future = self._questions.get(int(message["answer"]))
        if future is None or future.done():
            return
        if "error" in message:
            future.set_exception(from_message(message))
        else:
            future.set_result((message, payload))


class _ParentStore:
    """The server's store. See ``storage.base.Store``."""

    def __init__(self, parent: _Parent, *, root: str, path: str | None) -> None:
        self._parent = parent
        self._root = root
        self._path = path

    @property
    def distant(self) -> bool:
        return False  # reading ahead is the server's business

    async def head(self, key: str) -> ObjectInfo:
        message, _ = await self._parent.ask("head", key=key)
        return to_object(message["info"])

    async def get_range(self, key: str, start: int, stop: int, *, etag: str | None = None) -> RangeResult:
        message, data = await self._parent.ask("range", key=key, start=start, stop=stop, etag=etag)
        return RangeResult(data, start, to_object(message["info"]))

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], *, etag: str) -> list[bytes]:
        message, data = await self._parent.ask("ranges", key=key, ranges=list(ranges), etag=etag)
        found: list[bytes] = []
        for length in message["lengths"]:
            found.append(data[:length])
            data = data[length:]
        return found

    async def get_suffix(self, key: str, length: int) -> RangeResult:
        message, data = await self._parent.ask("suffix", key=key, length=length)
        return RangeResult(data, int(message["start"]), to_object(message["info"]))

    def peek(self, key: str, start: int, stop: int, *, etag: str) -> bytes | None:
        return None

    def prefetch(self, key: str, ranges: Sequence[tuple[int, int]], *, etag: str) -> None:
        return

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[Sequence[ObjectInfo]]:
        message, _ = await self._parent.ask("list", prefix=prefix, after=after)
        yield [to_object(values) for values in message["infos"]]

    def local_path(self, key: str) -> Path | None:
        if self._path is None:
            return None
        if key == self._root:
            return Path(self._path)
        prefix = self._root.rstrip("/") + "/"
        return Path(self._path) / key.removeprefix(prefix) if key.startswith(prefix) else None

    async def close(self) -> None:
        return


class _ParentPath:
    def __init__(self, path: Path) -> None:
        self.path = path

    def release(self) -> None:
        return  # the server releases all copies of a slide when its child has ended


class _ParentCopies:
    """The server's local copies. See ``storage.pinned.Copies``."""

    def __init__(self, parent: _Parent) -> None:
        self._parent = parent

    async def of(self, files: Any, companions: Sequence[str] = ()) -> _ParentPath:
        message, _ = await self._parent.ask("copy", key=files.key, companions=list(companions))
        return _ParentPath(Path(message["path"]))


class _Reader:
    def __init__(self, line: Line, format_name: str) -> None:
        self._line = line
        self._format_name = format_name
        self._parent = _Parent(line)
        self._slide: Slide | None = None
        self._format: object = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        await self._line.send({"reply": 0})  # ready: the time limits of calls begin to count
        while True:
            message, payload = await self._line.receive()
            if "answer" in message:
                self._parent.answered(message, payload)
                continue
            task = asyncio.ensure_future(self._answer(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, message: Message) -> None:
        payload = b""
        try:
            answer, payload = await self._called(message)
        except MicrotomeError as error:
            answer = as_message(error)
        except Exception as error:  # noqa: BLE001 - libraries raise whatever they like
            answer = as_message(CorruptData(f"The slide cannot be read: {reason(error)}"))
        await self._line.send({**answer, "reply": message["call"]}, payload)

    async def _called(self, message: Message) -> tuple[Message, bytes]:
        if message["what"] == "open":
            return {"info": from_info(await (await self._opened(message)).info())}, b""
        if self._slide is None:
            raise CorruptData("The slide is not open")
        match message["what"]:
            case "tile":
                facts, payload = from_tile(await self._slide.read_tile(TileIndex(*message["index"])))
                return {"tile": facts}, payload
            case "associated":
                facts, payload = from_tile(await self._slide.read_associated(message["name"]))
                return {"tile": facts}, payload
            case _:
                await self._slide.close()
                return {}, b""

    async def _opened(self, message: Message) -> Slide:
        module, _, name = self._format_name.partition(":")
        made: Any = import_module(module)
        for part in name.split("."):
            made = getattr(made, part)
        reader: Any = made()
        self._format = reader
        if isinstance(self._format, Configurable):
            self._format.configure(to_options(message["options"]))
        if isinstance(self._format, Serving):
            await self._format.start()
        key = message["key"]
        store = _ParentStore(self._parent, root=key, path=message["path"])
        files: Files = await (PinnedFolder if message["folder"] else PinnedObject).open(store, key)
        if files.info.etag != message["etag"]:
            raise Conflict(f"Slide {key} was replaced while it was opened; try again")
        files.copies = _ParentCopies(self._parent)
        slide: Slide = await reader.open(files)
        self._slide = slide
        return slide

    async def stop(self) -> None:
        """Let the format clear away what it keeps for as long as it serves; not for long."""
        if isinstance(self._format, Serving):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._format.stop()


def _die_with_the_parent(parent: int) -> None:
    """Hanging up ends the child, too; this is for one that is stuck in a library that keeps the interpreter."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_SET_SIGNAL_OF_PARENTS_DEATH, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


async def _main(descriptor: int, format_name: str) -> None:
    connection = socket.socket(fileno=descriptor)
    reader = _Reader(Line(*await asyncio.open_connection(sock=connection)), format_name)
    try:
        await reader.serve()
    except (ConnectionError, asyncio.IncompleteReadError):
        try:
            await reader.stop()
        finally:
            os._exit(0)  # the server has hung up; threads of libraries must not keep the process


if __name__ == "__main__":
    _die_with_the_parent(int(sys.argv[3]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server decides when a child ends
    asyncio.run(_main(int(sys.argv[1]), sys.argv[2]))
