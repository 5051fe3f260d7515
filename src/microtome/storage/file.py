"""An object as a Python file, for libraries that read from one in their own threads."""

from __future__ import annotations

import asyncio
import errno
import io
from typing import BinaryIO, cast

from microtome.storage.pinned import PinnedObject

BUFFER = 256 * 1024


class RangeFile(io.RawIOBase):
    """Reads ranges of ``files`` through ``loop``, in which its store lives. Must not be used in the loop's own thread.

    Errors of the store come out as they are; libraries that swallow them say that the file is broken.
    """

    def __init__(self, files: PinnedObject, loop: asyncio.AbstractEventLoop) -> None:
        self._files = files
        self._loop = loop
        self._at = 0
        self.name = files.key.rsplit("/", 1)[-1]

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move. Raises OSError before the beginning, as files do: a broken file leads libraries there."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._files.size}.get(whence)
        if base is None or base + offset < 0:
            raise OSError(errno.EINVAL, "A place before the beginning of the file was asked for")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: object) -> int:
        """Fill ``buffer`` as far as the object reaches."""
        view = memoryview(cast("bytearray", buffer)).cast("B")
        reading = asyncio.run_coroutine_threadsafe(self._files.read(self._at, self._at + len(view)), self._loop)
        data = reading.result()
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


def as_file(files: PinnedObject, loop: asyncio.AbstractEventLoop, *, buffer: int = BUFFER) -> BinaryIO:
    """A buffered file over the object."""
    return cast("BinaryIO", io.BufferedReader(RangeFile(files, loop), buffer))
