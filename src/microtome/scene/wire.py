"""What passes between the server and the process of the scene: length, then MessagePack, both ways.

Neither side trusts the other's lengths, and values are checked against their types when they are read.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import msgspec

MAX_MESSAGE = 1 << 30
CANCEL = ""
"""The name of a request that takes another of the same number back: nobody waits for its answers any more."""
HELLO = "?"
"""The name of a request that is answered at once: somebody listens."""
_LENGTH = struct.Struct(">I")


class Request(msgspec.Struct, frozen=True):
    """A question: ``name`` is the class of the call, ``body`` its fields."""

    number: int
    name: str
    body: msgspec.Raw


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer, or the error in its place (``errors.as_message``). ``more``: others to the same question follow."""

    number: int
    body: msgspec.Raw = msgspec.Raw()
    error: dict[str, Any] | None = None
    more: bool = False


_encoder = msgspec.msgpack.Encoder()
_requests = msgspec.msgpack.Decoder(Request)
_replies = msgspec.msgpack.Decoder(Reply)


def packed(value: object) -> msgspec.Raw:
    """A value as the body of a message. Raises TypeError for what has no place in one."""
    return msgspec.Raw(_encoder.encode(value))


def send(writer: asyncio.StreamWriter, message: Request | Reply) -> None:
    """Write a message whole; the caller drains."""
    data = _encoder.encode(message)
    if len(data) > MAX_MESSAGE:
        raise ValueError("a message is too long")
    writer.write(_LENGTH.pack(len(data)))
    writer.write(data)


async def read_request(reader: asyncio.StreamReader) -> Request:
    """The next question. Raises IncompleteReadError at the end, ValueError for nonsense (msgspec's errors are such)."""
    return _requests.decode(await _read(reader))


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    """The next answer. Raises as ``read_request``."""
    return _replies.decode(await _read(reader))


async def _read(reader: asyncio.StreamReader) -> bytes:
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > MAX_MESSAGE:
        raise ValueError("a message is too long")
    return await reader.readexactly(length)
