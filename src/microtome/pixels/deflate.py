"""Compression of samples on the way out (RFC 1950 and 1951): fast first, since a tile is sent once or twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

_LEVEL = 1


def deflate(data: NDArray[np.generic]) -> bytes:
    """A zlib stream of the bytes of a contiguous array. Releases the GIL."""
    compress = cast("Callable[..., bytes]", isal_zlib.compress)  # pyright: ignore[reportUnknownMemberType]
    return compress(data, _LEVEL)


def deflated(pieces: Iterable[NDArray[np.generic]]) -> Iterator[bytes]:
    """One zlib stream of contiguous arrays, in parts. An array is done with when the next one is asked for."""
    start = cast("Callable[[int], Any]", isal_zlib.compressobj)  # pyright: ignore[reportUnknownMemberType]
    stream = start(_LEVEL)
    for piece in pieces:
        if part := stream.compress(piece):
            yield part
    yield stream.flush()


def crc32(data: bytes, before: int = 0) -> int:
    """The checksum of PNG (ISO 3309) of ``data`` behind what ``before`` is the checksum of."""
    checksum = cast("Callable[..., int]", isal_zlib.crc32)  # pyright: ignore[reportUnknownMemberType]
    return checksum(data, before)
