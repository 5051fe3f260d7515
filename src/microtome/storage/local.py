"""A folder of this machine, read without a thread when the page cache has the bytes.

A tile out of the page cache costs a few microseconds: files stay open, and ``preadv2(RWF_NOWAIT)`` answers at once or
says that it would have to wait for the disk. Only then a thread is used.
"""

from __future__ import annotations

import asyncio
import errno
import io
import os
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from microtome.caching import Cache
from microtome.errors import Conflict, InvalidRequest, MicrotomeError, NotFound, StorageUnavailable
from microtome.storage.base import ObjectInfo, RangeResult
from microtome.storage.keys import check_key, is_prefix
from microtome.storage.listing import list_files
from microtome.storage.ranges import check_range

OPEN_FILES = 512
LOOK_AGAIN = 1.0
"""After so many s the path of an open file is looked up anew, in case another file was put in its place."""
PEEK_BYTES = 4 * 1024 * 1024
"""Longer reads are copied in a thread even when they need no waiting."""
PAGE = 1000

# Without O_NONBLOCK, opening a FIFO would wait for a writer for ever.
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NO_SUCH_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.EINVAL}
_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)  # Linux only


class _OpenFile:
    """An open regular file and the version it had when it was opened. Closes with the last reference to it.

    Threads may still read from a file that has left the table of open files, hence no explicit close.
    """

    __slots__ = ("_descriptor", "_modified", "info", "looked_up")

    def __init__(self, descriptor: int, key: str, status: os.stat_result, looked_up: float) -> None:
        self._descriptor = descriptor
        self.looked_up = looked_up
        self._modified = status.st_mtime_ns
        self.info = _describe(key, status)

    def __del__(self) -> None:
        os.close(self._descriptor)

    def read_now(self, start: int, stop: int) -> bytes | None:
        """The bytes, cut at the end, or None when that would wait or the file is not the version opened."""
        length = min(stop, self.info.size) - start
        if length > PEEK_BYTES or _NOWAIT is None:
            return None
        buffer = io.BytesIO(bytes(max(length, 0)))  # whose bytes come out of it without being copied
        try:
            # Short when only some of the pages are in memory; an error when the file system cannot do this.
            with buffer.getbuffer() as view:
                if length > 0 and os.preadv(self._descriptor, [view], start, _NOWAIT) != length:
                    return None
        except OSError:
            return None
        return None if self._has_changed() else buffer.getvalue()

    def read(self, start: int, stop: int) -> bytes:
        """The bytes, cut at the end. May wait for the disk. Raises Conflict when the file was written to."""
        parts: list[bytes] = []
        stop = min(stop, self.info.size)
        while start < stop and (part := os.pread(self._descriptor, stop - start, start)):
            parts.append(part)
            start += len(part)
        # After the read: the time of modification is set before the bytes of a write arrive.
        if start < stop or self._has_changed():
            raise Conflict(f"Slide {self.info.key} was written to while it was read; try again")
        return b"".join(parts)

    def _has_changed(self) -> bool:
        status = os.fstat(self._descriptor)
        return status.st_mtime_ns != self._modified or status.st_size != self.info.size


class LocalStore:
    """The regular files below ``root``; when ``root`` is a file, only that one. Keys are paths relative to it.

    The ETag is made of inode, size and time of modification. At most ``open_files`` files are kept open. A symbolic
    link below the root is never followed, unless ``follow_symlinks``; then links may lead anywhere. What is not a
    regular file does not exist. Raises InvalidRequest(parameter="path") when there is nothing at ``root``.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        follow_symlinks: bool = False,
        open_files: int = OPEN_FILES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        path = Path(root).resolve()
        if not path.is_dir() and not path.is_file():
            raise InvalidRequest("There is no folder and no file at the path to serve", parameter="path")
        self._root, self._only = (path, None) if path.is_dir() else (path.parent, path.name)
        self._follow_symlinks = follow_symlinks
        self._clock = clock
        self._files: Cache[str, _OpenFile] = Cache(open_files, weigh=lambda _: 1, overhead=0)

    @property
    def distant(self) -> bool:
        """No."""
        return False

    async def head(self, key: str) -> ObjectInfo:
        """Size and ETag of the file that is at this path now."""
        file = await asyncio.to_thread(self._open, key)
        self._files.put(key, file)
        return file.info

    async def get_range(self, key: str, start: int, stop: int, *, etag: str | None = None) -> RangeResult:
        """The bytes, without a thread when the page cache has them."""
        check_range(start, stop)
        file = await self._file(key, etag)
        return RangeResult(await self._read(file, start, stop), start, file.info)

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], *, etag: str) -> list[bytes]:
        """The ranges, in the order asked."""
        for start, stop in ranges:
            check_range(start, stop)
        file = await self._file(key, etag)
        return [await self._read(file, start, stop) for start, stop in ranges]

    async def get_suffix(self, key: str, length: int) -> RangeResult:
        """The last ``length`` bytes."""
        check_range(0, length)
        file = await self._file(key, None)
        start = max(0, file.info.size - length)
        return RangeResult(await self._read(file, start, file.info.size), start, file.info)

    def peek(self, key: str, start: int, stop: int, *, etag: str) -> bytes | None:
        """The bytes if the file is open, was looked up lately, is that version, and the page cache has them."""
        file = self._files.get(key)
        if (
            file is None
            or file.info.etag != etag
            or self._clock() - file.looked_up >= LOOK_AGAIN
            or not 0 <= start <= stop
        ):
            return None
        return file.read_now(start, stop)

    def prefetch(self, key: str, ranges: Sequence[tuple[int, int]], *, etag: str) -> None:
        """Nothing to gain: the operating system reads ahead."""

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[Sequence[ObjectInfo]]:
        """Pages of files in bytewise key order."""
        if prefix and not is_prefix(prefix):
            return
        files = self._only_file(prefix, after) if self._only is not None else self._all_files(prefix, after)
        while page := await asyncio.to_thread(_take, files):
            yield page

    def local_path(self, key: str) -> Path | None:
        """The path, as long as no symbolic link on it leads out of the root."""
        check_key(key.rstrip("/"))
        path = self._root / key.rstrip("/")
        if not self._follow_symlinks and not path.resolve().is_relative_to(self._root):
            raise NotFound("slide", key)
        return path

    async def close(self) -> None:
        """Close the files."""
        self._files.clear()

    async def _file(self, key: str, etag: str | None) -> _OpenFile:
        """The open file, looked up not long ago. Raises Conflict unless it is the version ``etag``, when given."""
        file = self._files.get(key)
        if file is None or self._clock() - file.looked_up >= LOOK_AGAIN:
            self._files.pop(key)
            file = await self._files.get_or_compute(key, lambda: asyncio.to_thread(self._open, key))
        if etag is not None and file.info.etag != etag:
            raise Conflict(f"Slide {key} was replaced; open it again")
        return file

    async def _read(self, file: _OpenFile, start: int, stop: int) -> bytes:
        data = file.read_now(start, stop)
        if data is not None:
            return data
        try:
            return await asyncio.to_thread(file.read, start, stop)
        except Conflict:
            self._files.pop(file.info.key)
            raise
        except OSError as error:
            raise _translated(error, file.info.key) from error

    def _open(self, key: str) -> _OpenFile:
        check_key(key)
        if self._only is not None and key != self._only:
            raise NotFound("slide", key)
        now = self._clock()
        try:
            root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise StorageUnavailable("The folder of slides cannot be read; is it still there?") from error
        try:
            descriptor = os.open(key, _OPEN, dir_fd=root) if self._follow_symlinks else _open_beneath(root, key)
        except OSError as error:
            raise _translated(error, key) from error
        finally:
            os.close(root)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise NotFound("slide", key)
        return _OpenFile(descriptor, key, status, now)

    def _all_files(self, prefix: str, after: str) -> Iterator[ObjectInfo]:
        try:
            yield from list_files(
                self._root, prefix=prefix, after=after, follow_symlinks=self._follow_symlinks, describe=_describe
            )
        except OSError as error:
            raise StorageUnavailable("The folder of slides cannot be listed; is it still there?") from error

    def _only_file(self, prefix: str, after: str) -> Iterator[ObjectInfo]:
        if self._only is not None and self._only.startswith(prefix) and self._only > after:
            yield self._open(self._only).info


def _open_beneath(root: int, key: str) -> int:
    """Open step by step without following any symbolic link, so that nothing swapped in meanwhile can lead outside."""
    *folders, name = key.split("/")
    here = os.dup(root)
    try:
        for folder in folders:
            deeper = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = deeper
        return os.open(name, _OPEN | os.O_NOFOLLOW, dir_fd=here)
    finally:
        os.close(here)


def _take(files: Iterator[ObjectInfo]) -> list[ObjectInfo]:
    return list(islice(files, PAGE))


def _describe(key: str, status: os.stat_result) -> ObjectInfo:
    etag = f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"
    return ObjectInfo(key, status.st_size, etag, status.st_mtime)


def _translated(error: OSError, key: str) -> MicrotomeError:
    if error.errno in _NO_SUCH_FILE:
        return NotFound("slide", key)
    if isinstance(error, PermissionError):
        return StorageUnavailable(f"The server may not read slide {key}; check its permissions", permanent=True)
    return StorageUnavailable(f"Slide {key} could not be read from disk ({error.strerror})")
