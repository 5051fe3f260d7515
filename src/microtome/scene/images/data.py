"""The numbers behind a header, out of a compressed stream or not, into memory of the size the header tells."""

from __future__ import annotations

import bz2
import zlib
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt
from isal import igzip, isal_zlib

from microtome.errors import CorruptData
from microtome.scene.images.image import unsupported

MOST_DEFLATED = 1032
"""No byte of deflate becomes more bytes than this (RFC 1951: 258 from 2 bits, a little more with headers)."""
MOST_BZIPPED = 1 << 16
MAX_TEXT = 256 << 20
MAX_SKIP = 64 << 20
"""Bytes before the data in a compressed stream: they are unpacked for nothing."""
_PART = 1 << 20
_ISAL_ERROR = cast("type[Exception]", isal_zlib.error)
ENCODINGS = {
    "raw": "raw",
    "gz": "gzip",
    "gzip": "gzip",
    "bz2": "bzip2",
    "bzip2": "bzip2",
    "txt": "text",
    "text": "text",
    "ascii": "text",
    "hex": "hex",
}


def room_for(count: int, data: int, encoding: str) -> None:
    """Raises CorruptData when ``data`` bytes cannot become ``count`` bytes: the header promises what is not there."""
    most = {"raw": data, "gzip": data * MOST_DEFLATED, "zlib": data * MOST_DEFLATED, "bzip2": data * MOST_BZIPPED}
    if count > most.get(encoding, data):
        raise CorruptData(f"The header promises {count} bytes and the file has {data} ({encoding})")


def read_values(
    file: IO[bytes], dtype: np.dtype[Any], count: int, encoding: str, *, line_skip: int = 0, byte_skip: int = 0
) -> npt.NDArray[Any]:
    """``count`` numbers from where the file stands. ``byte_skip``: -1 for the last ones of it.

    Raises CorruptData when there are fewer, UnsupportedFormat.
    """
    for _ in range(line_skip):
        if not file.readline(1 << 20).endswith(b"\n"):
            raise CorruptData("The header tells to skip more lines than there are")
    left = _left(file)
    if encoding == "text":
        return _text(file, dtype, count, left)
    length = count * dtype.itemsize
    room_for(length, left, encoding)
    if encoding == "hex":
        return np.frombuffer(_hex(file, length), dtype)
    values = np.empty(count, dtype)
    into = memoryview(cast("Any", values)).cast("B")
    if encoding == "raw":
        file.seek(left - length if byte_skip == -1 else byte_skip, 1)
        _fill(file, into)
    elif encoding == "zlib":
        _inflate(file, into)
    else:
        stream: Any = igzip.IGzipFile(fileobj=file, mode="rb") if encoding == "gzip" else bz2.BZ2File(file, "rb")
        try:
            if byte_skip == -1:
                _last(stream, into)
            else:
                _skip(stream, byte_skip)
                _fill(stream, into)
        except (OSError, EOFError, zlib.error, _ISAL_ERROR, ValueError) as error:
            raise CorruptData("The compressed data is broken") from error
    return values


def _left(file: IO[bytes]) -> int:
    at = file.tell()
    end = file.seek(0, 2)
    file.seek(at)
    return end - at


def _fill(stream: IO[bytes], into: memoryview) -> None:
    at = 0
    while at < len(into):
        got = cast("Any", stream).readinto(into[at : at + (_PART << 4)])
        if not got:
            raise CorruptData(f"The data ends after {at} of {len(into)} bytes")
        at += got


def _skip(stream: IO[bytes], count: int) -> None:
    if count > MAX_SKIP:
        raise unsupported(f"compressed data that begins behind {count} bytes")
    while count > 0:
        got = stream.read(min(count, _PART))
        if not got:
            raise CorruptData("The header tells to skip more bytes than there are")
        count -= len(got)


def _last(stream: IO[bytes], into: memoryview) -> None:
    """The end of a stream, which may be longer by what a header takes."""
    _fill(stream, into)
    more = stream.read(_PART)
    if len(more) == _PART:
        raise unsupported("byte skip -1 over much more data than the volume has")
    if more:
        keep = len(into) - len(more)
        if keep < 0:
            into[:] = more[-len(into) :]
        else:
            into[:keep] = bytes(into[len(more) :])
            into[keep:] = more


def _inflate(file: IO[bytes], into: memoryview) -> None:
    """A stream of zlib (RFC 1950)."""
    machine, at = cast("Any", isal_zlib).decompressobj(), 0
    try:
        while at < len(into):
            part = machine.unconsumed_tail or file.read(_PART)
            if not part:
                raise CorruptData(f"The data ends after {at} of {len(into)} bytes")
            got = machine.decompress(part, min(len(into) - at, _PART << 4))
            into[at : at + len(got)] = got
            at += len(got)
            if machine.eof and at < len(into):
                raise CorruptData(f"The data ends after {at} of {len(into)} bytes")
    except _ISAL_ERROR as error:
        raise CorruptData("The compressed data is broken") from error


def _text(file: IO[bytes], dtype: np.dtype[Any], count: int, left: int) -> npt.NDArray[Any]:
    if left > MAX_TEXT:
        raise unsupported("more than 256 MiB of numbers written as text")
    if count * 2 - 1 > left:
        raise CorruptData(f"The header promises {count} numbers and there are {left} characters")
    words = file.read().replace(b",", b" ").split()
    if len(words) < count:
        raise CorruptData(f"The header promises {count} numbers and there are {len(words)}")
    try:
        kind = float if dtype.kind == "f" else _whole
        return np.array([kind(word) for word in words[:count]], dtype)
    except (ValueError, OverflowError) as error:
        raise CorruptData("Among the numbers is something else, or one too large for its type") from error


def _whole(word: bytes) -> int:
    """A whole number, with a point or an exponent too."""
    try:
        return int(word)
    except ValueError:
        number = float(word)
        if not number.is_integer():
            raise
        return int(number)


def _hex(file: IO[bytes], length: int) -> bytearray:
    if length > MAX_TEXT:
        raise unsupported("more than 256 MiB of numbers written as text")
    try:
        found = bytearray.fromhex(file.read(MAX_TEXT * 3).decode("ascii"))
    except ValueError as error:
        raise CorruptData("Among the hexadecimal digits is something else") from error
    if len(found) < length:
        raise CorruptData(f"The data ends after {len(found)} of {length} bytes")
    return found[:length]
