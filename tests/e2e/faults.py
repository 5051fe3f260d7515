"""A small HTTP proxy that counts requests, delays answers and breaks them on purpose.

``async with FaultProxy("http://127.0.0.1:9000") as proxy``: clients use ``proxy.endpoint``. ``proxy.faults`` holds what
happens to the next object reads (GET with a Range), one fault for each; None lets one pass. ``proxy.latency`` in s is
added before every answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def head(self) -> bytes:
        """Status line and headers as sent. The length is that of the body unless a fault says otherwise."""
        headers = {"content-length": str(len(self.body)), **self.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status} Status\r\n{lines}\r\n".encode("latin-1")


@dataclass(slots=True, eq=False)
class Asked:
    """A request the proxy has seen. ``began`` and ``ended`` are positions in the order of all events."""

    method: str
    target: str
    headers: dict[str, str]
    began: int
    ended: int | None = None
    sent: int = 0


Fault = Callable[[Answer, asyncio.StreamWriter], Awaitable[Answer | None]]
"""Gives the answer to send, or None when it has dealt with the connection, which is then closed."""


async def whole_body(answer: Answer, writer: asyncio.StreamWriter) -> Answer | None:
    """A 200 in place of the 206, as a server sends that does not know ranges."""
    return replace(answer, status=200, headers=_without(answer, "content-range", "content-length"))


async def short_body(answer: Answer, writer: asyncio.StreamWriter) -> Answer | None:
    """The connection ends in the middle of the body."""
    writer.write(replace(answer, headers={**_without(answer, "content-length")}).head())
    writer.write(answer.body[: len(answer.body) // 2])
    return None


async def short_but_closed(answer: Answer, writer: asyncio.StreamWriter) -> Answer | None:
    """Half of the body, with a length that agrees with it, under the old Content-Range."""
    return replace(answer, headers=_without(answer, "content-length"), body=answer.body[: len(answer.body) // 2])


async def wrong_range(answer: Answer, writer: asyncio.StreamWriter) -> Answer | None:
    """A Content-Range one byte beside the one asked for."""
    unit, _, rest = answer.headers["content-range"].partition(" ")
    place, _, size = rest.partition("/")
    first, _, last = place.partition("-")
    shifted = f"{unit} {int(first) + 1}-{int(last) + 1}/{size}"
    return replace(answer, headers={**answer.headers, "content-range": shifted})


async def other_etag(answer: Answer, writer: asyncio.StreamWriter) -> Answer | None:
    """The ETag of another version, as when the object is replaced behind a server that ignores If-Match."""
    return replace(answer, headers={**answer.headers, "etag": '"another-version"'})


async def no_etag(answer: Answer, writer: asyncio.StreamWriter) -> Answer | None:
    """No ETag at all."""
    return replace(answer, headers=_without(answer, "etag"))


async def slow_down(answer: Answer, writer: asyncio.StreamWriter) -> Answer | None:
    """503 SlowDown, as S3 answers under load."""
    body = (
        b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
    )
    return Answer(503, {"content-type": "application/xml"}, body)


async def stall(answer: Answer, writer: asyncio.StreamWriter) -> Answer | None:
    """Headers and half of the body, then silence for as long as the client stays."""
    writer.write(replace(answer, headers=_without(answer, "content-length")).head())
    writer.write(answer.body[: len(answer.body) // 2])
    await writer.drain()
    await asyncio.Event().wait()
    return None


async def reset(answer: Answer, writer: asyncio.StreamWriter) -> Answer | None:
    """The connection is reset before an answer."""
    writer.transport.abort()
    return None


def _without(answer: Answer, *names: str) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in names}


@dataclass(eq=False)
class FaultProxy:
    """The proxy. ``asked`` lists what was requested; ``during`` runs before each read is passed on, if set."""

    upstream: str
    latency: float = 0.0
    faults: deque[Fault | None] = field(default_factory=deque)
    asked: list[Asked] = field(default_factory=list)
    during: Callable[[Asked], None] | None = None
    endpoint: str = ""

    async def __aenter__(self) -> FaultProxy:
        self._events = 0
        self._connections: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.endpoint = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def reads(self) -> list[Asked]:
        """The requests for parts of objects."""
        return [asked for asked in self.asked if asked.method == "GET" and "range" in asked.headers]

    @property
    def rounds(self) -> int:
        """Round trips one after the other: the longest chain of requests each begun after the one before had ended."""
        chains: list[tuple[int, int]] = []  # (ended, length)
        for asked in sorted(self.asked, key=lambda asked: asked.began):
            before = [length for ended, length in chains if ended < asked.began]
            chains.append((asked.ended if asked.ended is not None else self._events, 1 + max(before, default=0)))
        return max((length for _, length in chains), default=0)

    @property
    def bytes_sent(self) -> int:
        """Bytes of bodies sent to clients."""
        return sum(asked.sent for asked in self.asked)

    def forget(self) -> None:
        """Begin counting anew."""
        self.asked.clear()

    def _tick(self) -> int:
        self._events += 1
        return self._events

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        try:
            while await self._serve_one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client, or the test, has gone
        finally:
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = await reader.readuntil(b"\r\n\r\n")
        line, headers = _parsed(request)
        method, target, _ = line.split(" ", 2)
        asked = Asked(method, target, headers, self._tick())
        self.asked.append(asked)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        is_read = method == "GET" and "range" in headers
        fault = self.faults.popleft() if is_read and self.faults else None
        if is_read and self.during is not None:
            self.during(asked)
        if self.latency:
            await asyncio.sleep(self.latency)
        answer = await self._ask(method, request + body)
        if fault is not None:
            broken = await fault(answer, writer)
            if broken is None:
                asked.ended = self._tick()
                return False
            answer = broken
        asked.ended = self._tick()
        asked.sent = len(answer.body)
        writer.write(answer.head() + (b"" if method == "HEAD" else answer.body))
        await writer.drain()
        return True

    async def _ask(self, method: str, request: bytes) -> Answer:
        """Pass the request on as it is, for its signature covers host and headers."""
        place = urlsplit(self.upstream)
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        try:
            writer.write(request)
            line, headers = _parsed(await reader.readuntil(b"\r\n\r\n"))
            status = int(line.split(" ")[1])
            body = b""
            if method != "HEAD" and status not in {204, 304}:
                if headers.get("transfer-encoding", "").lower() == "chunked":
                    body = await _chunks(reader)
                    del headers["transfer-encoding"]
                else:
                    body = await reader.readexactly(int(headers.get("content-length", "0")))
                    headers.pop("content-length", None)
            return Answer(status, headers, body)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readline()
    await reader.readline()
    return b"".join(parts)


def _parsed(head: bytes) -> tuple[str, dict[str, str]]:
    line, *rest = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (header.split(":", 1) for header in rest)
    return line, {name.strip().lower(): value.strip() for name, value in pairs}
