"""The process of the scene: takes questions on a socket, answers them one after the other in the thread that owns MRML.

``python -m microtome.scene.process OPTIONS`` (JSON of ``keeper.SceneOptions``). The socket appears when the scene
stands. A handler may hand over work that needs no MRML (sampling, encoding): that is done in other threads meanwhile.
"""

from __future__ import annotations

import asyncio
import faulthandler
import fcntl
import logging
import os
import resource
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from microtome.errors import Busy, CorruptData, InvalidRequest, MicrotomeError, as_message
from microtome.scene import wire
from microtome.scene.answers import Handler, Later, Many
from microtome.scene.keeper import SceneOptions
from microtome.telemetry import logger

if TYPE_CHECKING:
    from microtome.scene.mrml.application import Application

MAX_WAITING = 256
"""Questions that wait for the scene's thread; more are told to come again."""
_KEEPER_SECONDS = 1.0
_IDLE_SECONDS = 0.05


class SceneServer:
    """Answers on a socket. ``handlers`` by class of call; each runs in the one thread that owns the application."""

    def __init__(self, handlers: dict[type, Handler]) -> None:
        self._handlers = {kind.__name__: (kind, handler) for kind, handler in handlers.items()}
        self._owner = ThreadPoolExecutor(1, thread_name_prefix="scene")
        self._others = ThreadPoolExecutor(max(2, os.cpu_count() or 2), thread_name_prefix="render")
        self._waiting = 0
        self._application: Application | None = None
        self.stopping = asyncio.Event()

    async def start(self, make: Callable[[], Application]) -> None:
        """Make the application in its thread."""
        self._application = await asyncio.get_running_loop().run_in_executor(self._owner, make)

    async def in_scene(self, work: Callable[[Application], Any]) -> Any:
        """Do something in the scene's thread, then see what it has changed."""
        application = self._application
        assert application is not None  # noqa: S101 - started before anything is asked

        def done() -> Any:
            try:
                return work(application)
            finally:
                application.look()

        return await asyncio.get_running_loop().run_in_executor(self._owner, done)

    @property
    def idle(self) -> bool:
        """Whether nobody waits for the scene."""
        return self._waiting == 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until it ends."""
        tasks: dict[int, asyncio.Task[None]] = {}
        try:
            while True:
                request = await wire.read_request(reader)
                if request.name == wire.CANCEL:
                    if (task := tasks.pop(request.number, None)) is not None:
                        task.cancel()
                    continue
                if request.name == wire.HELLO:
                    wire.send(writer, wire.Reply(request.number, wire.packed(None)))
                    continue
                task = tasks[request.number] = asyncio.create_task(self._answer(request, writer))
                task.add_done_callback(lambda _, number=request.number: tasks.pop(number, None))
        except (EOFError, ConnectionError, ValueError):
            pass
        finally:
            for task in tuple(tasks.values()):
                task.cancel()
            writer.close()

    async def _answer(self, request: wire.Request, writer: asyncio.StreamWriter) -> None:
        try:
            value = await self._value(request)
            if isinstance(value, Many):
                async for item in value.items:
                    wire.send(writer, wire.Reply(request.number, wire.packed(item), more=True))
                    await writer.drain()
                value = None
            reply = wire.Reply(request.number, wire.packed(value))
        except MicrotomeError as error:
            reply = wire.Reply(request.number, wire.packed(None), as_message(error))
        except Exception as error:  # noqa: BLE001 - one question must not end the scene
            logger.exception("the scene failed over %s", request.name)
            told = CorruptData(f"The scene cannot do this: {type(error).__name__}. The log of the server says more")
            reply = wire.Reply(request.number, wire.packed(None), as_message(told))
        with suppress(ConnectionError):
            wire.send(writer, reply)
            await writer.drain()

    async def _value(self, request: wire.Request) -> Any:
        found = self._handlers.get(request.name)
        if found is None:
            raise InvalidRequest(f"The scene knows no {request.name[:100]}", parameter="call")
        kind, handler = found
        try:
            call = _questions(request.body, kind)
        except msgspec.ValidationError as error:
            raise InvalidRequest(f"The scene cannot read a question: {error}", parameter="call") from error
        if self._waiting >= MAX_WAITING:
            raise Busy("Too many requests wait for the scene; try again in a moment")
        self._waiting += 1
        try:
            value = await self.in_scene(lambda application: handler(application, call))
        finally:
            self._waiting -= 1
        if isinstance(value, Later):
            value = await asyncio.get_running_loop().run_in_executor(self._others, value.work)
        return value


def _questions(body: msgspec.Raw, kind: type[Any]) -> Any:
    return msgspec.msgpack.decode(body, type=kind)


async def serve(options: SceneOptions) -> None:
    """Answer until told to stop."""
    from microtome.scene.mrml.application import Application  # VTK, and only in this process
    from microtome.scene.mrml.autosave import restore, save
    from microtome.scene.mrml.handlers import HANDLERS

    server = SceneServer(HANDLERS)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stopping.set)

    def stop() -> None:
        loop.call_soon_threadsafe(server.stopping.set)

    def begin() -> Application:
        application = Application(options, stop=stop)
        restore(application)
        return application

    await server.start(begin)
    # Under another name first: who sees the socket can connect.
    made = Path(options.socket + ".new")
    listening = await asyncio.start_unix_server(server.connected, made, limit=1 << 22)
    made.rename(options.socket)  # noqa: ASYNC240 - once
    saving = asyncio.create_task(_save(server, options)) if options.autosave else None
    async with listening:
        await server.stopping.wait()
        if saving is not None:
            saving.cancel()
            await server.in_scene(save)
        await server.in_scene(lambda application: application.close())


async def _save(server: SceneServer, options: SceneOptions) -> None:
    """Save the scene now and then, when it has changed and nobody waits for it."""
    from microtome.scene.mrml.autosave import save

    while True:
        await asyncio.sleep(options.autosave_seconds)
        while not server.idle:  # noqa: ASYNC110 - looked at seldom, and for a moment
            await asyncio.sleep(_IDLE_SECONDS)
        try:
            await server.in_scene(save)
        except Exception:  # noqa: BLE001 - what one save meets must not end the next
            logger.exception("The scene could not be saved")


def _claim(home: Path) -> IO[bytes] | None:
    """Be the process of a home: its number stands there until it ends in good order. None when there is another."""
    mark = (home / "process").open("ab")
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return None
    mark.truncate(0)
    mark.write(str(os.getpid()).encode())
    mark.flush()
    return mark


def _end_without_keepers(home: Path) -> None:
    """A scene that nobody can ask any more would stay for ever."""
    while True:
        time.sleep(_KEEPER_SECONDS)
        try:
            with (home / "alive").open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            break
        except OSError:
            continue
        shutil.rmtree(home, ignore_errors=True)
        break
    os._exit(0)


def _limit(memory: int) -> None:
    """A file that makes the scene take too much ends in an error, not with the machine."""
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def main() -> None:
    """The process."""
    options = msgspec.json.decode(sys.argv[1], type=SceneOptions)
    logging.basicConfig(format="%(levelname)s scene: %(message)s", level=logging.INFO)
    faulthandler.enable()
    mark = _claim(Path(options.home))
    if mark is None:
        raise SystemExit("There is a process of this scene already")
    _limit(options.memory)
    threading.Thread(target=_end_without_keepers, args=(Path(options.home),), daemon=True).start()
    asyncio.run(serve(options))
    mark.truncate(0)
    # VTK's own objects crash when the interpreter takes them down in an order of its own.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
