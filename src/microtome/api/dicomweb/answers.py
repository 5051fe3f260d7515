"""JSON and parts as they go out: conditions, compression, streams."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from microtome.api import conditional
from microtome.api.compression import Coding, compressed, preferred
from microtome.api.dicomweb import multipart
from microtome.errors import MicrotomeError
from microtome.telemetry import logger
from microtome.tiles.answer import key_of

_JOINED = 64 << 10
"""Shorter bodies are one piece."""
HELD = 4 << 20
"""Bytes of an answer that are made before the first of them is sent."""
JSON_VARY = "accept, accept-encoding, origin"


class Document(NamedTuple):
    """A text as it goes out. ``coding`` is its content coding, "" for none; ``etag`` is quoted."""

    data: bytes
    etag: str
    coding: Coding


def accepted_coding(request: Request) -> Coding:
    """The content coding of texts for this client."""
    return preferred(request.headers.get("accept-encoding", ""))


def finished(body: bytes, media_type: str, coding: Coding, *, level: int = 1) -> Document:
    """A text in a coding, if it is long enough for one. Takes milliseconds for megabytes."""
    etag = key_of(f"{media_type}\0{len(body)}\0{_digest(body)}")
    data, suffix = compressed(body, coding, level=level)
    return Document(data, f'"{etag}{suffix}"', coding if suffix else "")


def document(
    request: Request, body: bytes, media_type: str, *, private: bool, warnings: Iterable[str] = ()
) -> Response:
    """A text that may change: revalidated each time, compressed when the client takes it."""
    made = finished(body, media_type, accepted_coding(request))
    return sent(request, made, media_type, private=private, warnings=warnings)


def changing(*, private: bool) -> dict[str, str]:
    """Headers of a text that may change."""
    return {
        "cache-control": f"{'private' if private else 'public'}, no-cache",
        "vary": JSON_VARY,
        "x-content-type-options": "nosniff",
    }


def sent(request: Request, made: Document, media_type: str, *, private: bool, warnings: Iterable[str] = ()) -> Response:
    """The answer of a text, or 304 where the client has it."""
    headers = changing(private=private)
    if made.coding:
        headers["content-encoding"] = made.coding
    headers["etag"] = made.etag
    told = ", ".join(f'299 microtome "{_plain(each)}"' for each in warnings)
    if told:
        headers["warning"] = told
    if conditional.matches(conditional.asked(request.scope), made.etag.encode()):
        headers.pop("content-encoding", None)
        return Response(status_code=304, headers=headers)
    return Response(made.data, headers=headers, media_type=media_type)


def _digest(body: bytes) -> str:
    from hashlib import blake2b

    return blake2b(body, digest_size=16).hexdigest()


def _plain(text: str) -> str:
    return "".join(letter if " " <= letter <= "~" and letter not in '"\\' else "?" for letter in text)


def fixed(
    request: Request, etag: str, control: str, headers: Mapping[str, str] | None = None, *, weak: bool = False
) -> Response | None:
    """304 when the client has what never changes under this ETag, else None. ``weak``: its bytes may differ."""
    quoted = f'"{etag}"'
    if conditional.matches(conditional.asked(request.scope), quoted.encode()):
        told = f"W/{quoted}" if weak else quoted
        return Response(status_code=304, headers={"etag": told, "cache-control": control, **(headers or {})})
    return None


def parts(root_type: str, found: Iterable[tuple[str, str | None, bytes]], headers: Mapping[str, str]) -> Response:
    """A multipart answer of parts at hand: (content type, location, bytes)."""
    writer = multipart.Writer(root_type)
    pieces: list[bytes] = []
    for content_type, location, data in found:
        pieces += [writer.opening(content_type, location=location, length=len(data)), data]
    pieces.append(writer.closing())
    headers = {**headers, "content-type": writer.content_type}
    length = sum(map(len, pieces))
    return Response(b"".join(pieces), headers=headers) if length < _JOINED else _Pieces(pieces, length, headers)


class _Pieces(Response):
    """An answer whose pieces are sent as they are: to join them would be to copy them."""

    def __init__(self, pieces: Sequence[bytes], length: int, headers: Mapping[str, str]) -> None:
        super().__init__(b"", headers={**headers, "content-length": str(length)})
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for piece in self._pieces[:-1]:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": self._pieces[-1], "more_body": False})


class Streamed(StreamingResponse):
    """An answer that is read while it is sent. What fails in its midst cannot be told any more: it ends unfinished, so
    that the server closes the connection and the client knows that something is missing; the log says what.
    """

    async def stream_response(self, send: Send) -> None:
        """Send it."""
        try:
            await super().stream_response(send)
        except MicrotomeError as error:
            logger.warning("An answer broke off while it was sent: %s", error.message)


async def begun(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same pieces, of which the first ``HELD`` bytes are at hand.

    What fails within them still becomes an answer: a short body is never sent in part.
    """
    first: list[bytes] = []
    size = 0
    async for piece in pieces:
        first.append(piece)
        size += len(piece)
        if size >= HELD:
            break

    async def whole() -> AsyncIterator[bytes]:
        for piece in first:
            yield piece
        first.clear()
        async for piece in pieces:
            yield piece

    return whole()


async def gzipped(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same pieces as one gzip member (RFC 1952)."""
    deflate = zlib.compressobj(1, wbits=31)
    async for piece in pieces:
        if data := await asyncio.to_thread(deflate.compress, piece):
            yield data
    yield deflate.flush()


async def streamed_parts(
    root_type: str, found: AsyncIterator[tuple[str, str | None, AsyncIterator[bytes]]], headers: Mapping[str, str]
) -> Response:
    """A multipart answer whose parts are read while they are sent: (content type, location, bytes)."""
    writer = multipart.Writer(root_type)

    async def body() -> AsyncIterator[bytes]:
        async for content_type, location, data in found:
            opening = writer.opening(content_type, location=location)
            async for piece in data:
                yield opening + piece
                opening = b""
        yield writer.closing()

    pieces = await begun(body())
    return Streamed(pieces, headers={**headers, "content-type": writer.content_type})
