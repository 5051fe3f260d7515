"""The deflated transfer syntaxes (PS3.5 §A.5): a data set as one raw deflate stream (RFC 1951)."""

from __future__ import annotations

import zlib
from typing import Final

from microtome.errors import CorruptData, LimitExceeded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from microtome.dicom.encoding import Readable

INFLATED_BYTES: Final = 1 << 30
"""Bytes a deflated data set may become."""
_STEP: Final = 1 << 20


class Inflated:
    """The inflated data set as a file. Reads forward are cheap; a step back inflates from the beginning.

    At most two steps of a megabyte are in memory. Raises CorruptData for a broken stream, LimitExceeded for a bomb.
    """

    def __init__(self, file: Readable, begin: int) -> None:
        self._file = file
        self._begin = begin
        self._restart()
        self._size: int | None = None

    @property
    def size(self) -> int:
        """Bytes when inflated; they are counted at the first question."""
        if self._size is None:
            while self._more():
                pass
            self._size = self._at + len(self._data)
            self._restart()
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        """These bytes, fewer at the end."""
        if offset < self._at:
            self._restart()
        found: list[bytes] = []
        missing = length
        while missing > 0:
            skip = offset - self._at
            if skip < len(self._data):
                piece = self._data[skip : skip + missing]
                found.append(piece)
                offset += len(piece)
                missing -= len(piece)
            elif not self._more():
                break
        return b"".join(found)

    def _restart(self) -> None:
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._next = self._begin
        self._data = b""
        self._at = 0

    def _more(self) -> bool:
        """Replace the step in memory by the next; whether there is one."""
        while not self._inflate.eof:
            source = self._inflate.unconsumed_tail
            if not source:
                source = self._file.read_at(self._next, min(_STEP, self._file.size - self._next))
                self._next += len(source)
                if not source:
                    return False
            try:
                step = self._inflate.decompress(source, _STEP)
            except zlib.error as error:
                raise CorruptData("the deflated data set is broken", offset=self._next) from error
            if step:
                self._at += len(self._data)
                self._data = step
                if self._at > INFLATED_BYTES:
                    raise LimitExceeded("the deflated data set is too large", limit="INFLATED_BYTES", value=self._at)
                return True
        return False
