"""What a person does with a slide, as requests: fit, zoom in, pan, jump, over six connections like a browser's."""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass, field
from typing import cast

SCREEN = (4, 3)
"""Tiles of one screen, across and down."""
CONNECTIONS = 6
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass
class Journey:
    """Times in s: ``first_picture`` until the fitted slide is complete, ``total`` for everything, each tile's wait."""

    first_picture: float = 0.0
    total: float = 0.0
    waits: list[float] = field(default_factory=list[float])
    nbytes: int = 0

    @property
    def tiles_per_second(self) -> float:
        return len(self.waits) / self.total

    def percentile(self, share: float) -> float:
        ordered = sorted(self.waits)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def screens(levels: list[dict[str, int]]) -> list[list[tuple[int, int, int]]]:
    """The tiles (level, column, row) of each screen of the journey; every tile is asked for once, as a browser does."""
    seen: set[tuple[int, int, int]] = set()
    journey: list[list[tuple[int, int, int]]] = []

    def screen(level: int, left: int, top: int, size: tuple[int, int] = SCREEN) -> None:
        columns, rows = levels[level]["tiles_x"], levels[level]["tiles_y"]
        wanted = [
            (level, x, y)
            for y in range(max(0, top), min(rows, top + size[1]))
            for x in range(max(0, left), min(columns, left + size[0]))
        ]
        journey.append([tile for tile in wanted if tile not in seen])
        seen.update(wanted)

    coarsest = len(levels) - 1
    screen(coarsest, 0, 0, (levels[coarsest]["tiles_x"], levels[coarsest]["tiles_y"]))
    for level in range(coarsest - 1, -1, -1):
        for step in (0.45, 0.5):
            screen(level, int(levels[level]["tiles_x"] * step), int(levels[level]["tiles_y"] * step))
    left, top = levels[0]["tiles_x"] // 2, levels[0]["tiles_y"] // 2
    for step in range(20):
        left, top = left + (3 if step % 4 < 3 else 0), top + (0 if step % 4 < 3 else 2)
        screen(0, left, top)
    screen(0, levels[0]["tiles_x"] // 5, levels[0]["tiles_y"] // 5)
    screen(0, levels[0]["tiles_x"] // 5 + 4, levels[0]["tiles_y"] // 5)
    return journey


class _Connection(asyncio.Protocol):
    """A keep-alive connection that does as little as a client can, so that the servers are measured and not it."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._end: tuple[int, int] | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._end is None:
            self._end = self._whole()
        if self._end is None or self._answer is None or len(self._received) < self._end[1]:
            return
        answer, (start, end) = self._answer, self._end
        body = bytes(self._received[start:end])
        good = self._received.startswith(b"HTTP/1.1 200")
        self._received.clear()
        self._end = self._answer = None
        if good:
            answer.set_result(body)
        else:
            answer.set_exception(RuntimeError(repr(body[:200])))

    def _whole(self) -> tuple[int, int] | None:
        """Where the body begins and ends, once the head is complete."""
        head, separator, _ = bytes(self._received).partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        start = len(head) + len(separator)
        return (start, start + int(length[1])) if separator and length else None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None:
            self._answer.set_exception(exc or ConnectionError("closed"))

    async def get(self, path: str) -> bytes:
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
        return await self._answer

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


async def travel(port: int, slide: str) -> Journey:
    """One journey through a slide of the server on ``port``, its metadata first."""
    loop = asyncio.get_running_loop()
    journey = Journey()
    connections = [(await loop.create_connection(_Connection, "127.0.0.1", port))[1] for _ in range(CONNECTIONS)]
    begin = time.perf_counter()
    levels = json.loads(await connections[0].get(f"/slides/{slide}"))["levels"]
    for number, screen in enumerate(screens(levels)):
        waiting = iter(screen)

        async def fetch(connection: _Connection, waiting: object = waiting) -> None:
            for level, column, row in waiting:  # type: ignore[attr-defined]
                start = time.perf_counter()
                body = await connection.get(f"/tiles/{slide}/{level}/{column}/{row}.jpg")
                journey.waits.append(time.perf_counter() - start)
                journey.nbytes += len(body)

        await asyncio.gather(*(fetch(connection) for connection in connections))
        if number == 0:
            journey.first_picture = time.perf_counter() - begin
    journey.total = time.perf_counter() - begin
    for connection in connections:
        connection.close()
    return journey
