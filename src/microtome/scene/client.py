"""The server's side: asks the process of the scene, however it comes to be there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from microtome.errors import Busy, InvalidRequest, StorageUnavailable, from_message
from microtome.scene import wire
from microtome.scene.calls.base import Call, answer_type
from microtome.scene.calls.state import GetState

R = TypeVar("R")
CONNECT_ATTEMPTS, CONNECT_SECONDS = 20, 0.05
GREET_SECONDS = 5.0
MOST_BEHIND = 2000
"""Answers that are kept for one who follows and does not read them."""


class Connection:
    """One connection to the process; any number of questions at once."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._waiting: dict[int, asyncio.Queue[wire.Reply | None]] = {}
        self._last = 0
        self._listening = asyncio.ensure_future(self._listen())

    @property
    def dead(self) -> bool:
        """Whether the other side has gone."""
        return self._listening.done()

    async def greeted(self) -> bool:
        """Whether somebody listens: a process that is about to end is connected to, too, by the system."""
        replies = self._waiting[0] = asyncio.Queue()
        try:
            wire.send(self._writer, wire.Request(0, wire.HELLO, wire.packed(None)))
            async with asyncio.timeout(GREET_SECONDS):
                return not self.dead and await replies.get() is not None
        except (TimeoutError, OSError):
            return False
        finally:
            del self._waiting[0]

    @asynccontextmanager
    async def asked(self, call: Call[Any]) -> AsyncGenerator[Callable[[], Awaitable[wire.Reply | None]]]:
        """Send a question; inside, each call of the yielded function awaits its next ``wire.Reply`` or None.

        Who leaves before the last one takes the question back.
        """
        if self.dead:
            raise ConnectionError
        try:
            body = wire.packed(call)
        except (OverflowError, UnicodeEncodeError) as error:
            raise InvalidRequest("A number is too large, or a text is none", parameter="request") from error
        self._last += 1
        number = self._last
        replies = self._waiting[number] = asyncio.Queue()
        open_ = True

        async def reply() -> wire.Reply | None:
            nonlocal open_
            found = await replies.get()
            open_ = found is not None and found.more
            return found

        try:
            wire.send(self._writer, wire.Request(number, type(call).__name__, body))
            await self._writer.drain()
            yield reply
        finally:
            self._waiting.pop(number, None)
            if open_ and not self.dead:
                wire.send(self._writer, wire.Request(number, wire.CANCEL, wire.packed(None)))

    async def _listen(self) -> None:
        try:
            while True:
                reply = await wire.read_reply(self._reader)
                if (queue := self._waiting.get(reply.number)) is None:
                    continue
                if queue.qsize() > MOST_BEHIND // 10:
                    await asyncio.sleep(0)  # who reads has had no turn: here is much at once
                if queue.qsize() < MOST_BEHIND:
                    queue.put_nowait(reply)
                else:
                    self._leave_behind(reply.number)
        except (EOFError, OSError, ValueError):
            pass
        finally:
            for queue in self._waiting.values():
                queue.put_nowait(None)
            self._writer.close()

    def _leave_behind(self, number: int) -> None:
        """Who follows and does not read finds the end of the answers: nothing more is kept for them."""
        self._waiting.pop(number).put_nowait(wire.Reply(number))
        wire.send(self._writer, wire.Request(number, wire.CANCEL, wire.packed(None)))

    async def close(self) -> None:
        """Hang up."""
        self._listening.cancel()
        with suppress(asyncio.CancelledError):
            await self._listening


class SceneClient:
    """Asks the scene that listens at ``path``.

    ``present`` is awaited before connecting: it sees to it that a process is there, and says how many scenes were lost
    until now. Who used one that was lost is told so, once. ``seconds``: the longest wait for an answer, after which
    ``hung`` is awaited, which ends the process, unless that answers others.
    """

    def __init__(
        self,
        path: Path,
        present: Callable[[], Awaitable[int]],
        hung: Callable[[], Awaitable[None]],
        *,
        seconds: float = 120.0,
    ) -> None:
        self._path = path
        self._present = present
        self._hung = hung
        self._seconds = seconds
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._lost: int | None = None
        self._told = False

    async def ask(self, call: Call[R], *, seconds: float | None = None) -> R:
        """The answer. Raises what the scene raised, StorageUnavailable when it died over it, Busy when it is away."""
        connection = await self._connected()
        try:
            async with connection.asked(call) as reply, asyncio.timeout(seconds or self._seconds):
                return self._value(await reply(), answer_type(type(call)))
        except TimeoutError as error:
            if await self._goes_on(connection):  # with others: this one is long, and taken back
                raise StorageUnavailable("The scene did not finish this in time", timed_out=True) from error
            self._told = True
            await self._hung()
            raise StorageUnavailable("The scene did not answer in time and is started again", timed_out=True) from error
        except ConnectionError as error:
            raise self._ended() from error

    async def follow(self, call: Call[R]) -> AsyncGenerator[R]:
        """The answers to a question that has many, until the caller leaves. Raises as ``ask``."""
        connection = await self._connected()
        try:
            async with connection.asked(call) as reply:
                while True:
                    found = await reply()
                    if found is not None and not found.more and found.error is None:
                        return
                    yield self._value(found, answer_type(type(call)))
        except ConnectionError as error:
            raise self._ended() from error

    async def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            await self._connection.close()

    async def _connected(self) -> Connection:
        async with self._connecting:
            if self._connection is None or self._connection.dead:
                self._connection, lost = await self._connect()
                new, self._lost = self._lost is not None and lost > self._lost, lost
                told, self._told = self._told, False
                if new and not told:
                    raise _gone()
            return self._connection

    async def _connect(self) -> tuple[Connection, int]:
        """See to it that there is a process, and connect; and how many scenes were lost until now.

        A process that is about to end is there and does not listen: it takes the system a while to write a core.
        """
        silent = 0
        for attempt in range(CONNECT_ATTEMPTS):
            lost = await self._present()
            try:
                made = Connection(*await asyncio.open_unix_connection(self._path, limit=1 << 22))
            except OSError:
                await asyncio.sleep(CONNECT_SECONDS * (attempt + 1))
                continue
            if await made.greeted():
                return made, lost
            await made.close()
            silent += 1
        if silent == CONNECT_ATTEMPTS:  # it is there and has answered nobody all the time
            await self._hung()
        raise Busy("The scene is being started; try again in a moment")

    async def _goes_on(self, connection: Connection) -> bool:
        """Whether the scene's thread answers: it is not over what took too long that it hangs."""
        try:
            async with connection.asked(GetState()) as reply, asyncio.timeout(GREET_SECONDS):
                return await reply() is not None
        except (TimeoutError, ConnectionError):
            return False

    def _ended(self) -> StorageUnavailable:
        """The process ended while somebody waited, who is told; who comes next meets another scene and need not be."""
        self._told = True
        return _gone()

    def _value(self, reply: wire.Reply | None, kind: type[R]) -> R:
        if reply is None:
            raise self._ended()
        if reply.error is not None:
            raise from_message(reply.error)
        return msgspec.msgpack.decode(reply.body, type=kind)


def _gone() -> StorageUnavailable:
    return StorageUnavailable(
        "The process of the scene ended over this; a new one is started. What was in the scene and not saved is lost",
        unreachable=True,
    )
