"""A plain web server in memory that can be told to know less than it should. For tests of HTTP stores."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from urllib.parse import unquote

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(eq=False)
class Origin:
    """``etags`` is strong, weak, unquoted or none; ``dates``: whether Last-Modified is sent.

    ``suffixes`` and ``ranges``: whether the last bytes, or parts at all, can be asked for.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    etags: str = "strong"
    dates: bool = True
    suffixes: bool = True
    ranges: bool = True
    asked: list[str] = field(default_factory=list)
    url: str = ""

    async def __aenter__(self) -> Origin:
        self._tasks: set[asyncio.Task[None]] = set()
        self._modified: dict[str, float] = {}
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def replace(self, key: str, data: bytes) -> None:
        """Put other bytes there, a second later on the clock of the server."""
        self.objects[key] = data
        self._modified[key] = self._modified.get(key, 1_700_000_000.0) + 1

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, target, _ = head[0].split(" ", 2)
                pairs = (line.split(":", 1) for line in head[1:] if line)
                headers = {name.lower(): value.strip() for name, value in pairs}
                self.asked.append(f"{method} {headers.get('range', '')}".strip())
                status, extra, body = self.answer(unquote(target.partition("?")[0]).lstrip("/"), headers)
                lines = "".join(f"{name}: {value}\r\n" for name, value in extra.items())
                writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{lines}\r\n".encode("latin-1"))
                writer.write(body if method == "GET" else b"")
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    def answer(self, key: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        data = self.objects.get(key)
        if data is None:
            return 404, {}, b"nothing here"
        known: dict[str, str] = {"content-type": "application/octet-stream"}
        opaque = hashlib.sha256(data).hexdigest()[:16]
        etag = {"strong": f'"{opaque}"', "weak": f'W/"{opaque}"', "unquoted": opaque, "none": ""}[self.etags]
        if etag:
            known["etag"] = etag
        if self.dates:
            known["last-modified"] = formatdate(self._modified.get(key, 1_700_000_000.0), usegmt=True)
        # Strong comparison, RFC 9110 §13.1.1: a weak ETag never matches.
        if "if-match" in headers and (self.etags != "strong" or headers["if-match"] != etag):
            return 412, known, b""
        match = _RANGE.fullmatch(headers.get("range", ""))
        if match is None or not self.ranges or (not match[1] and not self.suffixes):
            return 200, known, data
        first = int(match[1]) if match[1] else max(0, len(data) - int(match[2]))
        last = min(int(match[2]), len(data) - 1) if match[1] and match[2] else len(data) - 1
        if first >= len(data):
            return 416, {**known, "content-range": f"bytes */{len(data)}"}, b""
        return 206, {**known, "content-range": f"bytes {first}-{last}/{len(data)}"}, data[first : last + 1]
