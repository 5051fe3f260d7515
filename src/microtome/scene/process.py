"""The process of the scene: takes questions on a socket, answers them one after the other in the thread that owns MRML.

``python -m microtome.scene.process OPTIONS`` (JSON of ``keeper.SceneOptions``). The socket appears when the scene
stands. A handler may hand over work that needs no MRML (sampling, encoding; reading and packing files): that is done in
other threads, and other questions are answered meanwhile (``answers``).
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
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec
import uvloop

from microtome.errors import Busy, CorruptData, InvalidRequest, LimitExceeded, MicrotomeError, as_message
from microtome.scene import wire
from microtome.scene.answers import Handler, Later, Many, Parts, parts_of
from microtome.scene.keeper import SceneOptions
from microtome.telemetry import logger

if TYPE_CHECKING:
    from microtome.scene.mrml.application import Application

_KEEPER_SECONDS = 1.0
_IDLE_SECONDS = 0.05


class SceneServer:
    """Answers on a socket. ``handlers`` by class of call; each runs in the one thread that owns the application.

    ``most_waiting``: questions that wait for an answer; more are told to come again. ``most_working``: answers in parts
    that are worked on at once; others wait until one of them is finished and its memory is free.
    """

    def __init__(self, handlers: dict[type, Handler], *, most_waiting: int = 256, most_working: int = 2) -> None:
        self._handlers = {kind.__name__: (kind, handler) for kind, handler in handlers.items()}
        self._owner = ThreadPoolExecutor(1, thread_name_prefix="scene")
        self._others = ThreadPoolExecutor(max(2, os.cpu_count() or 2), thread_name_prefix="render")
        self._long = ThreadPoolExecutor(most_working, thread_name_prefix="long")
        self._room = asyncio.Semaphore(most_working)
        self._most_waiting = most_waiting
        self._waiting = 0
        self._application: Application | None = None
        self.stopping = asyncio.Event()

    async def start(self, make: Callable[[], Application]) -> None:
        """Make the application in its thread."""
        self._application = await asyncio.get_running_loop().run_in_executor(self._owner, make)

    async def in_scene(self, work: Callable[[Application], Any]) -> Any:
        """Do something in the scene's thread, then see what it has changed; an answer in parts is done part by part."""
        found, parts = await asyncio.wrap_future(self._owner.submit(self._looked, partial(self._begun, work)))
        return found if parts is None else await self._in_parts(found, parts)

    def _begun(self, work: Callable[[Application], Any]) -> tuple[Any, Parts[Any] | None]:
        """The answer; or the first work that is done outside, and the parts that go on behind it."""
        assert self._application is not None  # noqa: S101 - started before anything is asked
        answer = work(self._application)
        parts = parts_of(answer)
        if parts is None:
            return answer, None
        try:
            return next(parts), parts
        except StopIteration as end:
            return end.value, None

    def _looked(self, work: Callable[[], Any]) -> Any:
        assert self._application is not None  # noqa: S101 - as above
        try:
            return work()
        finally:
            self._application.look()

    async def _in_parts(self, work: Callable[[], Any], parts: Parts[Any]) -> Any:
        """What comes of an answer whose first ``work`` is to be done outside.

        When nobody waits for it any more, the part that is being done is still done, and none behind it.
        """
        loop = asyncio.get_running_loop()
        current: Future[Any] | None = None
        held = False

        def close(_: object = None) -> None:
            self._owner.submit(self._looked, parts.close).add_done_callback(release)

        def release(_: object) -> None:
            if held:
                with suppress(RuntimeError):  # the end of the process, and of its loop
                    loop.call_soon_threadsafe(self._room.release)

        try:
            held = await self._room.acquire()
            while True:
                current = self._long.submit(work)
                resumed = partial(parts.send, None)
                try:
                    resumed = partial(parts.send, await asyncio.wrap_future(current))
                except Exception as error:  # noqa: BLE001 - the handler's to deal with
                    resumed = partial(parts.throw, error)
                current = self._owner.submit(self._looked, partial(_advanced, resumed))
                del resumed  # with what was found: it may be large
                ended, work = await asyncio.wrap_future(current)
                if ended:
                    return work
        finally:
            close() if current is None else current.add_done_callback(close)

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
        except MemoryError:
            logger.warning("the scene had no memory left for %s", request.name)
            told = LimitExceeded(
                "The scene has no memory left for this: take something out of it", limit="scene_memory"
            )
            reply = wire.Reply(request.number, wire.packed(None), as_message(told))
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
        if self._waiting >= self._most_waiting:
            raise Busy("Too many requests wait for the scene; try again in a moment")
        self._waiting += 1
        try:
            value = await self.in_scene(lambda application: handler(application, call))
        finally:
            self._waiting -= 1
        if isinstance(value, Later):
            value = await asyncio.get_running_loop().run_in_executor(self._others, value.work)
        return value


def _advanced(resumed: Callable[[], Callable[[], Any]]) -> tuple[bool, Any]:
    """Whether an answer has ended, and with what; else what is to be done outside next."""
    try:
        return False, resumed()
    except StopIteration as end:
        return True, end.value


def _questions(body: msgspec.Raw, kind: type[Any]) -> Any:
    return msgspec.msgpack.decode(body, type=kind)


async def serve(options: SceneOptions) -> None:
    """Answer until told to stop."""
    from microtome.scene.mrml.application import Application  # VTK, and only in this process
    from microtome.scene.mrml.autosave import restore, save
    from microtome.scene.mrml.handlers import HANDLERS
    from microtome.scene.mrml.samples import begin_with

    server = SceneServer(HANDLERS, most_waiting=options.max_waiting, most_working=options.max_working)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stopping.set)

    def stop() -> None:
        loop.call_soon_threadsafe(server.stopping.set)

    def begin() -> Application:
        application = Application(options, stop=stop)
        restore(application)
        if options.samples and not application.restored:
            begin_with(application, options.samples)
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
    uvloop.run(serve(options))
    mark.truncate(0)
    # VTK's own objects crash when the interpreter takes them down in an order of its own.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
