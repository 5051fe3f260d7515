"""The items of pixel data out of a stored file while it is read: what stands before and behind them stays behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from microtome.errors import CorruptData

_ITEM: Final = b"\xfe\xff\x00\xe0"
_HEAD: Final = 8
_UNDEFINED: Final = 0xFFFF_FFFF
_NOTHING: Final[bytes] = b""


async def of(pieces: AsyncIterator[bytes], offset: int) -> AsyncIterator[bytes]:
    """The items of encapsulated pixel data (PS3.5 §A.4) from ``offset``, without the delimiter at their end."""
    reader = _Reader(pieces)
    await reader.skip(offset)
    while True:
        head = b"".join([piece async for piece in reader.take(_HEAD)])
        length = int.from_bytes(head[4:], "little")
        if head[:4] != _ITEM:
            return
        if length == _UNDEFINED:
            raise CorruptData("An item of the pixel data has no length")
        yield head
        async for piece in reader.take(length):
            yield piece


class _Reader:
    """Bytes out of pieces, in order."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._held: bytes = b""

    async def skip(self, count: int) -> None:
        async for _ in self.take(count):
            pass

    async def take(self, count: int) -> AsyncIterator[bytes]:
        while count:
            if not self._held:
                self._held = await anext(self._pieces, _NOTHING)
            if not self._held:
                raise CorruptData("The instance ends before its pixels do")
            piece, self._held = self._held[:count], self._held[count:]
            count -= len(piece)
            yield piece
