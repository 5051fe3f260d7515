"""The log of requests: one line for each when its answer is complete, and the last of them for people to look at.

It is for operators, and yet holds no secrets: values of signatures, tokens and their like are left out, also those
within addresses that stand in a query. What a client sends cannot look like another line: control characters are
written as escapes. Paths hold names of slides, studies and nodes, and queries what was searched for.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from heapq import nlargest
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from microtome.api.forwarded import Proxies
from microtome.telemetry import logger

CLIENT_GONE = 499
"""The status of an answer whose client did not wait for it; nginx has the same."""
MOST_CHARACTERS = 1000
"""Of the path and query of a request."""
_LEFT_OUT = "…"
_SECRET = re.compile(
    r"sig|token|secret|passw|pwd|key|auth|cred|jwt|session|code|^(?:vt|ct|state|source)$", re.IGNORECASE
)
"""Names of parameters whose values nobody should see; ``source`` is a script."""
_PERSON = re.compile(r"//[^/@]*@")
_OWN = re.compile(rb"(?:/.*)?/scene/v1/log", re.DOTALL)
"""Who looks at the log is not in it, else there would soon be nothing else."""
_FILES = 256

RequestHeaders = Iterable[tuple[bytes, bytes]]


class LoggedRequest(msgspec.Struct, frozen=True):
    """A request that was answered.

    ``time``: unix time in s at which the answer was complete. ``address`` of the caller. ``target``: path and query.
    ``bytes`` of the answer's body. ``ms`` from the end of its headers until the answer was complete. A websocket has
    status 101 and is told of when it is closed.
    """

    time: float
    address: str
    method: str
    target: str
    status: int
    bytes: int
    ms: float


class Kept(Protocol):
    """The last entries."""

    def add(self, entry: LoggedRequest) -> None:
        """Keep one more."""
        ...

    async def last(self, count: int) -> list[LoggedRequest]:
        """So many at most, the newest first."""
        ...


class KeptHere:
    """In the memory of this process."""

    def __init__(self, most: int) -> None:
        self._entries: deque[LoggedRequest] = deque(maxlen=most)

    def add(self, entry: LoggedRequest) -> None:
        """See ``Kept``."""
        self._entries.append(entry)

    async def last(self, count: int) -> list[LoggedRequest]:
        """See ``Kept``."""
        return list(self._entries)[: -count - 1 : -1]


class KeptTogether:
    """In a folder that several processes have in common: each writes files of its own, and reads those of all.

    A process has two files of ``most`` lines at most; the older one gives way when the newer is full.
    """

    def __init__(self, folder: Path, most: int) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _clean(folder)
        self._folder = folder
        self._most = most
        self._name = folder / f"{os.getpid()}-{time.time_ns()}"
        self._lines = 0
        self._file = self._open()

    def _open(self) -> int:
        return os.open(self._name.with_suffix(".new"), os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def add(self, entry: LoggedRequest) -> None:
        """See ``Kept``. Nothing is kept when there is no room for it."""
        try:
            if self._lines == self._most:
                os.close(self._file)
                self._name.with_suffix(".new").replace(self._name.with_suffix(".old"))
                self._file, self._lines = self._open(), 0
            os.write(self._file, msgspec.json.encode(entry) + b"\n")
            self._lines += 1
        except OSError:
            logger.debug("a request was not kept", exc_info=True)

    async def last(self, count: int) -> list[LoggedRequest]:
        """See ``Kept``."""
        return await asyncio.to_thread(self._read, min(count, self._most))

    def _read(self, count: int) -> list[LoggedRequest]:
        found: list[LoggedRequest] = []
        for file in self._folder.glob("*.*"):
            try:
                lines = file.read_bytes().split(b"\n")[:-1]  # a line may be about to be written
            except OSError:
                continue  # renamed just now
            for line in lines[-count:]:
                try:
                    found.append(msgspec.json.decode(line, type=LoggedRequest))
                except msgspec.DecodeError:
                    continue
        return nlargest(count, found, key=lambda entry: entry.time)


def _clean(folder: Path) -> None:
    """Remove the oldest files of processes that are gone."""
    found = sorted(folder.glob("*.*"), key=lambda file: file.name.partition("-")[2])
    for file in found[:-_FILES]:
        file.unlink(missing_ok=True)


class RequestLog:
    """Writes each request to the logger (``console``) and keeps the last ones (``kept``)."""

    def __init__(
        self,
        *,
        console: bool,
        kept: Kept | None,
        proxies: Proxies | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._lines = logger.getChild("requests") if console else None
        self.kept = kept
        self._proxies = proxies or Proxies()
        self._wall = wall

    def add(
        self, peer: str, headers: RequestHeaders, request: tuple[str, bytes], answer: tuple[int, int], begun: float
    ) -> None:
        """Log a request, its method and target, with status and bytes of its answer.

        ``begun``: when it came, by ``time.perf_counter``. ``peer`` is who has sent it, perhaps a proxy.
        """
        ms = round((time.perf_counter() - begun) * 1000, 3)
        method, target = request
        status, size = answer
        address = self._proxies.client(peer, headers)
        entry = LoggedRequest(self._wall(), address, method, readable(target), status, size, ms)
        if self._lines is not None:
            self._lines.info("%s %s %s %d %d bytes %.1f ms", address, method, entry.target, status, size, ms)
        if self.kept is not None and not _OWN.fullmatch(target.partition(b"?")[0]):
            self.kept.add(entry)


class LogRequests:
    """ASGI middleware: tells the log of every request and every websocket."""

    def __init__(self, app: ASGIApp, log: RequestLog) -> None:
        self.app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on, and count."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        method = scope.get("method", "GET")
        status = size = 0

        async def counted(message: Message) -> None:
            nonlocal status, size
            match message["type"]:
                case "http.response.start" | "websocket.http.response.start":
                    status = message["status"]
                case "websocket.accept":
                    status = 101
                case "websocket.close":
                    status = status or 403
                case _:
                    text = message.get("text")
                    size += len(message.get("body") or message.get("bytes") or (text or "").encode())
            await send(message)

        try:
            await self.app(scope, receive, counted)
        except Exception:
            status = status or 500
            raise
        finally:
            path: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogatepass")
            query: bytes = scope["query_string"]
            answer = status or CLIENT_GONE, 0 if method == "HEAD" else size
            peer = (scope.get("client") or ("-",))[0]
            target = path + b"?" + query if query else path
            self._log.add(peer, scope["headers"], (method, target), answer, begun)


def readable(target: bytes) -> str:
    """Path and query as text of one line without secrets, ``MOST_CHARACTERS`` at most."""
    cut = target[: 2 * MOST_CHARACTERS]
    path, mark, query = cut.decode("utf-8", "backslashreplace").partition("?")
    if "://" in path:
        path = _PERSON.sub(f"//{_LEFT_OUT}@", path)
    if mark:
        path += mark + "&".join(map(_parameter, query.split("&")))
    text = _on_one_line(path)
    return text if len(text) <= MOST_CHARACTERS and len(cut) == len(target) else text[: MOST_CHARACTERS - 1] + _LEFT_OUT


def _parameter(pair: str) -> str:
    name, equals, value = pair.partition("=")
    if not equals:
        return pair
    if _SECRET.search(unquote(name)):
        value = _LEFT_OUT
    elif "://" in (address := unquote(unquote(value))):
        place = re.split(r"[?#]", address, maxsplit=1)
        value = _PERSON.sub(f"//{_LEFT_OUT}@", quote(place[0], safe=":/@")) + (f"?{_LEFT_OUT}" if place[1:] else "")
    return f"{name}={value}"


def _on_one_line(text: str) -> str:
    """Characters that print nothing, or change how others are shown, as escapes."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
