"""JSON and parts as they go out: conditions, compression, streams."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Iterable, Mapping

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from microtome.api import conditional
from microtome.api.compression import COMPRESS_FROM, accepts_gzip
from microtome.api.dicomweb import multipart
from microtome.tiles.answer import key_of

JSON_VARY = "accept, accept-encoding, origin"


def document(
    request: Request, body: bytes, media_type: str, *, private: bool, warnings: Iterable[str] = ()
) -> Response:
    """A text that may change: revalidated each time, compressed when the client takes it."""
    headers = {
        "cache-control": f"{'private' if private else 'public'}, no-cache",
        "vary": JSON_VARY,
        "x-content-type-options": "nosniff",
    }
    etag = key_of(f"{media_type}\0{len(body)}\0{_digest(body)}")
    if len(body) >= COMPRESS_FROM and accepts_gzip(request.headers.get("accept-encoding", "")):
        etag += "-gz"
        headers["content-encoding"] = "gzip"
    headers["etag"] = f'"{etag}"'
    told = ", ".join(f'299 microtome "{_plain(each)}"' for each in warnings)
    if told:
        headers["warning"] = told
    if conditional.matches(conditional.asked(request.scope), headers["etag"].encode()):
        headers.pop("content-encoding", None)
        return Response(status_code=304, headers=headers)
    data = gzip.compress(body, 1, mtime=0) if "content-encoding" in headers else body
    return Response(data, headers=headers, media_type=media_type)


def _digest(body: bytes) -> str:
    from hashlib import blake2b

    return blake2b(body, digest_size=16).hexdigest()


def _plain(text: str) -> str:
    return "".join(letter if " " <= letter <= "~" and letter not in '"\\' else "?" for letter in text)


def fixed(request: Request, etag: str, control: str, headers: Mapping[str, str] | None = None) -> Response | None:
    """304 when the client has what never changes under this ETag, else None."""
    quoted = f'"{etag}"'
    if conditional.matches(conditional.asked(request.scope), quoted.encode()):
        return Response(status_code=304, headers={"etag": quoted, "cache-control": control, **(headers or {})})
    return None


def parts(root_type: str, found: Iterable[tuple[str, str | None, bytes]], headers: Mapping[str, str]) -> Response:
    """A multipart answer of parts at hand: (content type, location, bytes)."""
    writer = multipart.Writer(root_type)
    pieces: list[bytes] = []
    for content_type, location, data in found:
        pieces += [writer.opening(content_type, location=location, length=len(data)), data]
    pieces.append(writer.closing())
    return Response(b"".join(pieces), headers={**headers, "content-type": writer.content_type})


async def begun(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same pieces, the first of which is at hand: what fails at the beginning still becomes an answer."""
    first = await anext(pieces, b"")

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for piece in pieces:
            yield piece

    return whole()


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
    return StreamingResponse(pieces, headers={**headers, "content-type": writer.content_type})
