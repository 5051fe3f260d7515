"""uvicorn's HTTP/1.1 protocol with an express lane.

httptools parses every request. When its headers are complete and it is a plain GET on an idle, writable connection,
``Express`` is asked; what it gives is written at once. Everything else is handed to uvicorn unchanged: other methods,
bodies, upgrades, requests behind one that is still being answered, a client that does not read.

This leans on the inside of ``uvicorn.protocols.http.httptools_impl`` (see NEEDED, checked by a test) and therefore on
the pinned minor version of uvicorn.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from microtome.api.express.prepared import Express
from microtome.api.requestlog import RequestLog

NEEDED = ("cycle", "flow", "headers", "parser", "pipeline", "server_state", "timeout_keep_alive", "transport")
"""Attributes of uvicorn's protocol that the express lane uses."""

_SPECIAL = frozenset(
    {
        b"authorization", b"content-length", b"cookie", b"expect", b"if-match", b"if-modified-since", b"if-range",
        b"if-unmodified-since", b"range", b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip


MAX_HEAD_BYTES = 64 * 1024
"""Request line, headers, trailers and the framing of chunks; a body may have as much framing as content besides."""
_MOST_HELD = 1 << 20
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class ExpressProtocol(HttpToolsProtocol):
    """One connection. ``express`` is set on the class by ``express_protocol``."""

    express: Express

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._plain = True
        self._answered = False
        self._origin: bytes | None = None
        self._if_none_match: bytes | None = None
        self._heard = 0.0
        self._spare = MAX_HEAD_BYTES
        self._idle: asyncio.TimerHandle | None = None
        self._writer: _OneWrite | None = None

    # -- idle connections --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection begins, and with it the watch over its idleness."""
        super().connection_made(transport)
        self._heard = self.loop.time()
        self._idle = self.loop.call_later(self.timeout_keep_alive, self._check_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        super().connection_lost(exc)

    def _check_idle(self) -> None:
        # One timer for each connection, moved only when it fires: a timer for each answer costs more than the answer.
        busy = not self._is_idle()
        left = self._heard + self.timeout_keep_alive - self.loop.time()
        if busy or left > 0:
            self._idle = self.loop.call_later(self.timeout_keep_alive if busy else left, self._check_idle)
        elif not self.transport.is_closing():
            self.transport.close()

    def on_response_complete(self) -> None:
        """An ordinary answer is complete. The watch over idleness is ours, uvicorn's own timer is not wanted."""
        if self._writer is not None:
            self._writer.flush()  # before whatever answers the next request
            self._writer = None
        super().on_response_complete()
        self._heard = self.loop.time()
        self._unset_keepalive_if_required()
        if self.express.draining and not self.pipeline and not self.transport.is_closing():
            self.transport.close()

    # -- requests ----------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes of one or more requests, or of a part of one.

        The parser keeps whatever comes until a header is complete, hence the limit. What was in ``data`` in front of
        the request under way is not counted: a complete request refills what is to spare.
        """
        self._spare -= len(data)
        super().data_received(data)
        if self._spare < 0 and not self.transport.is_closing():
            if self._is_idle() and not self.pipeline:
                self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins; its ASGI scope is made only when it leaves the express lane."""
        self._heard = self.loop.time()  # not at every byte: a head that trickles in is an idle connection
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._plain, self._answered = True, False
        self._origin = self._if_none_match = None

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; those the express lane does not understand take the request out of it."""
        name = name.lower()
        if name == b"if-none-match":
            self._plain = self._plain and self._if_none_match is None
            self._if_none_match = value
        elif name == b"origin":
            self._plain = self._plain and self._origin is None
            self._origin = value
        elif name in _SPECIAL:
            self._plain = False
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Answer at once if possible, else go on as uvicorn does."""
        if self._plain and self._may_answer():
            response = self._prepared()
            if response is not None:
                self._answered = True
                self.server_state.total_requests += 1
                self.transport.write(response)
                if self.express.draining:
                    self.transport.close()
                return
        self._take_the_ordinary_way()

    def _prepared(self) -> bytes | None:
        """What the express lane gives, None where it has nothing."""
        return self.express.answer(self.url, self._origin, self._if_none_match, self.server_state.default_headers)

    def _may_answer(self) -> bool:
        parser: httptools.HttpRequestParser = self.parser  # pyright: ignore[reportAssignmentType]
        return (
            parser.get_method() == b"GET"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and self._is_idle()
            and not self.pipeline
            and not self.flow.write_paused
            and not self.transport.is_closing()
        )

    def _is_idle(self) -> bool:
        """Whether no ordinary answer is under way."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is None or cycle.response_complete

    def _take_the_ordinary_way(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        super().on_headers_complete()
        if not self._is_idle():
            # It runs when this is over, so it has written nothing yet.
            self._writer = _OneWrite(self.transport, self.loop)
            self.cycle.transport = cast("asyncio.Transport", self._writer)
            if self.express.draining:
                self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """A piece of a body; express requests have none."""
        self._heard = self.loop.time()
        self._spare += 2 * len(body)
        if not self._answered:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request has been received completely."""
        self._spare = MAX_HEAD_BYTES
        if not self._answered:
            super().on_message_complete()


class _OneWrite:
    """The transport of one ordinary answer: what is written at once becomes one system call.

    uvicorn writes head and body one by one, and waking the client twice takes longer than most answers. Pieces wait
    until the answer is complete, the loop comes round or there are ``_MOST_HELD`` bytes of them.
    """

    __slots__ = ("_held", "_loop", "_pieces", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []
        self._held = 0

    def write(self, data: bytes) -> None:
        """See ``asyncio.Transport``."""
        if not self._pieces:
            self._loop.call_soon(self.flush)
        self._pieces.append(data)
        self._held += len(data)
        if self._held >= _MOST_HELD:
            self.flush()

    def flush(self) -> None:
        """Hand everything on."""
        if self._pieces:
            pieces, self._pieces, self._held = self._pieces, [], 0
            self._transport.writelines(pieces)

    def close(self) -> None:
        """End the connection when everything is written."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """See ``asyncio.Transport``."""
        return self._transport.is_closing()


class LoggedProtocol(ExpressProtocol):
    """The same where requests are logged. Those that leave the express lane are told of by ``LogRequests``."""

    log: RequestLog

    def _prepared(self) -> bytes | None:
        begun = time.perf_counter()
        response = super()._prepared()
        if response is not None:
            peer = self.client[0] if self.client else "-"
            size = len(response) - response.index(b"\r\n\r\n") - 4
            self.log.add(peer, self.headers, ("GET", self.url), (int(response[9:12]), size), begun)
        return response


def express_protocol(express: Express, log: RequestLog | None = None) -> type[ExpressProtocol]:
    """The protocol class for ``uvicorn.Config(http=...)``, with its express answers.

    Without a log there is nothing in it that looks for one.
    """
    if log is None:
        return type("ExpressProtocol", (ExpressProtocol,), {"express": express})
    return type("LoggedProtocol", (LoggedProtocol,), {"express": express, "log": log})
