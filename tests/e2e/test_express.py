"""The express lane over real sockets: the same bytes as the ordinary way, whatever a client does to a connection."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from microtome.api.express.prepared import Express, Prepared
from microtome.api.express.protocol import NEEDED, express_protocol

BODY = b"tile" * 1000
HEADERS = [(b"content-type", b"image/jpeg"), (b"etag", b'"x"'), (b"content-length", b"%d" % len(BODY))]
SAME = [(b"etag", b'"x"')]


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answers /tile as the express lane does, everything else with what was asked."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    asked = dict(scope["headers"])
    if scope["path"] == "/tile" and scope["method"] in {"GET", "HEAD"}:
        if asked.get(b"if-none-match") == b'"x"':
            await send({"type": "http.response.start", "status": 304, "headers": SAME})
            await send({"type": "http.response.body", "body": b""})
            return
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": BODY})
        return
    if scope["path"] == "/slow":
        await asyncio.sleep(0)
    text = b"%s %s %s" % (scope["method"].encode(), scope["path"].encode(), body)
    headers = [(b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


class Serving:
    """A running server, its express lane, and raw connections to it."""

    def __init__(self, port: int, express: Express, server: uvicorn.Server) -> None:
        self.port, self.express, self.server = port, express, server

    async def exchange(self, *pieces: bytes, answers: int) -> list[bytes]:
        """Send the pieces one after the other; the complete answers, dates removed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        found = [await self._answer(reader, head=b"HEAD" in pieces[0]) for _ in range(answers)]
        await close(writer)
        return found

    async def _answer(self, reader: asyncio.StreamReader, *, head: bool) -> bytes:
        async with asyncio.timeout(10):
            start = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", start)
            body = b"" if head or length is None or b" 304 " in start else await reader.readexactly(int(length[1]))
        return re.sub(rb"date: [^\r]*\r\n", b"", start) + body


@pytest.fixture
async def serving() -> AsyncGenerator[Serving, None]:
    def responder(target: bytes, _: bytes | None) -> Prepared | None:
        return Prepared(HEADERS, SAME, BODY, b'"x"', time.monotonic() + 1000) if target == b"/tile" else None

    express = Express([responder], budget=1 << 20)
    config = uvicorn.Config(
        application, port=0, http=express_protocol(express), log_config=None, server_header=False, lifespan="on"
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield Serving(server.servers[0].sockets[0].getsockname()[1], express, server)
    server.should_exit = True
    await task


def get(target: str = "/tile", extra: str = "", method: str = "GET", version: str = "1.1") -> bytes:
    return f"{method} {target} HTTP/{version}\r\nHost: localhost\r\n{extra}\r\n".encode()


ORDINARY = "Range: bytes=0-\r\n"
"""A header that the application ignores and that keeps a request off the express lane."""


def test_uvicorn_still_has_what_the_express_lane_uses() -> None:
    source = HttpToolsProtocol.__init__.__code__
    assert set(NEEDED) <= set(source.co_names), "uvicorn has changed inside: read its httptools_impl again"
    for method in ("on_message_begin", "on_header", "on_headers_complete", "on_body", "on_message_complete",
                   "on_response_complete", "data_received", "_unset_keepalive_if_required"):  # fmt: skip
        assert hasattr(HttpToolsProtocol, method)


@pytest.mark.parametrize("extra", ["", 'If-None-Match: "x"\r\n', "Origin: https://viewer.example\r\n"])
async def test_both_ways_write_the_same_bytes(serving: Serving, extra: str) -> None:
    fast = await serving.exchange(get(extra=extra), answers=1)
    assert serving.express.answered == 1
    ordinary = await serving.exchange(get(extra=extra + ORDINARY), answers=1)
    assert serving.express.answered == 1
    assert fast == ordinary


@pytest.mark.parametrize(
    "request_bytes",
    [
        get(method="HEAD"),
        get(method="POST", extra="Content-Length: 0\r\n"),
        get(version="1.0", extra="Connection: close\r\n"),
        get(extra="Connection: close\r\n"),
        get(extra='If-None-Match: "old"\r\n'),
        get(extra='If-None-Match: "x"\r\nIf-None-Match: "y"\r\n'),
        get("/other"),
        get("/tile?a=b"),
        get("http://localhost/tile"),
    ],
)
async def test_what_is_unusual_takes_the_ordinary_way(serving: Serving, request_bytes: bytes) -> None:
    (answer,) = await serving.exchange(request_bytes, answers=1)
    assert answer.startswith(b"HTTP/1.1 200")
    assert serving.express.answered == 0


async def test_pipelined_requests_are_answered_in_their_order(serving: Serving) -> None:
    requests = b"".join([get(), get("/slow"), get(), get("/other"), get(), get()])
    answers = await serving.exchange(requests, answers=6)
    assert [b"tile" in answer[-40:] and b"GET" not in answer for answer in answers] == [
        True, False, True, False, True, True,
    ]  # fmt: skip
    assert answers[1].endswith(b"GET /slow ")
    assert answers[3].endswith(b"GET /other ")


async def test_a_request_may_come_in_pieces_of_any_size(serving: Serving) -> None:
    whole = get() + get("/other") + get()
    expected = await serving.exchange(whole, answers=3)
    for cut in range(1, len(whole), 7):
        assert await serving.exchange(whole[:cut], whole[cut:], answers=3) == expected


async def test_a_body_behind_an_express_answer_is_not_mistaken_for_one(serving: Serving) -> None:
    upload = get("/upload", method="POST", extra="Content-Length: 5\r\n") + b"hello"
    answers = await serving.exchange(get() + upload + get(), answers=3)
    assert answers[1].endswith(b"POST /upload hello")


async def test_a_client_that_does_not_read_is_not_written_to_without_end(serving: Serving) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", serving.port, limit=1024)
    asked = 3000
    for _ in range(asked):
        writer.write(get())
    for _ in range(200):
        await asyncio.sleep(0)
    assert serving.express.answered < asked
    for _ in range(asked):
        start = await reader.readuntil(b"\r\n\r\n")
        assert start.startswith(b"HTTP/1.1 200")
        await reader.readexactly(len(BODY))
    await close(writer)


async def test_garbage_is_refused_and_the_server_lives_on(serving: Serving) -> None:
    for garbage in (b"\0\0\0\r\n\r\n", b"GET\r\n\r\n", b"GET /tile HTTP/9.9\r\n\r\n", get(extra="Bad Header: x\r\n")):
        reader, writer = await asyncio.open_connection("127.0.0.1", serving.port)
        writer.write(garbage)
        async with asyncio.timeout(10):
            assert (await reader.read(12)).startswith(b"HTTP/1.1 400")
        await close(writer)
    assert len(await serving.exchange(get(), answers=1)) == 1


async def test_a_draining_server_closes_each_connection_behind_its_answer(serving: Serving) -> None:
    serving.express.draining = True
    for request in (get(), get("/other")):
        reader, writer = await asyncio.open_connection("127.0.0.1", serving.port)
        writer.write(request)
        async with asyncio.timeout(10):
            answer = await reader.read()
        assert b"connection: close" in answer
        await close(writer)


async def test_expired_and_stale_answers_are_not_given() -> None:
    now, wall, asked = [100.0], [1000.0], []

    def responder(target: bytes, _: bytes | None) -> Prepared | None:
        asked.append(target)
        return Prepared(HEADERS, SAME, BODY, b'"x"', fresh_until=now[0] + 10, expires=1005.0)

    express = Express([responder], budget=1 << 20, clock=lambda: now[0], wall=lambda: wall[0])
    assert express.answer(b"/tile", None, None, [])
    assert express.answer(b"/tile", None, None, [])
    assert len(asked) == 1
    now[0] += 10
    assert express.answer(b"/tile", None, None, [])
    assert len(asked) == 2, "asked again once the content may be stale"
    wall[0] = 1005.9
    assert express.answer(b"/tile", None, None, [])
    wall[0] = 1006.0
    assert express.answer(b"/tile", None, None, []) is None, "an expired authorisation is the ordinary way's to refuse"
