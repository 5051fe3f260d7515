"""What a person does with a slide, as requests: fit, zoom in, pan, jump, over six connections like a browser's."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

SCREEN = (4, 3)
"""Tiles of one screen, across and down."""
CONNECTIONS = 6


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


class _Connection:
    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> bytes:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
        )
        body = await reader.readexactly(length)
        if b" 200 " not in head.split(b"\r\n", 1)[0] + b" ":
            raise RuntimeError(f"{path}: {head.decode()}{body[:200]!r}")
        return body

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


async def travel(port: int, slide: str) -> Journey:
    """One journey through a slide of the server on ``port``, its metadata first."""
    import json

    journey = Journey()
    connections = [_Connection(port) for _ in range(CONNECTIONS)]
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
