"""The files of a set, opened with tifffile over ranges of their objects. Blocking: used in the threads of the slide.

tifffile parses directories and knows how segments are decoded; which bytes are read is decided here.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from typing import Any, BinaryIO, TypeVar, cast

from microtome.errors import CorruptData, LimitExceeded, NotFound, UnsupportedFormat
from microtome.formats.tifffile.stack import Place
from microtome.storage.file import RangeFile
from microtome.storage.keys import is_key
from microtome.storage.pinned import PinnedObject

MAX_VALUE_BYTES = 32 << 20
"""The longest value of a tag: four million offsets of 64 bit."""
MAX_FILES = 64
"""Files of a set that are open at the same time."""
_BLOCK_BYTES = 16 * 1024
_BLOCKS = 32
_KEPT_OFFSETS = 2_000_000
T = TypeVar("T")


class _Reader(RangeFile):
    """Reads in blocks and keeps the last ones: what belongs to a directory is spread over its file.

    Refuses to read what no honest directory holds, before memory is taken.
    """

    def __init__(self, files: PinnedObject, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(files, loop)
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def read(self, size: int | None = -1, /) -> bytes | None:
        """At most MAX_VALUE_BYTES."""
        if size is None or not 0 <= size <= MAX_VALUE_BYTES:
            raise LimitExceeded(
                f"A value in the file's directory is larger than {MAX_VALUE_BYTES >> 20} MB", limit="tag bytes"
            )
        return super().read(size)

    def readinto(self, buffer: object) -> int:
        """Out of kept blocks, unless it is long."""
        view = memoryview(cast("bytearray", buffer)).cast("B")
        if len(view) > _BLOCK_BYTES:
            return super().readinto(view)
        done = 0
        while done < len(view):
            number, offset = divmod(self._at, _BLOCK_BYTES)
            piece = self._block(number)[offset : offset + len(view) - done]
            if not piece:
                break
            view[done : done + len(piece)] = piece
            done += len(piece)
            self._at += len(piece)
        return done

    def _block(self, number: int) -> bytes:
        found = self._blocks.get(number)
        if found is None:
            start = number * _BLOCK_BYTES
            work = self._files.read(start, start + _BLOCK_BYTES)
            found = self._blocks[number] = asyncio.run_coroutine_threadsafe(work, self._loop).result()
            if len(self._blocks) > _BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return found


class _File:
    def __init__(self, files: PinnedObject, loop: asyncio.AbstractEventLoop) -> None:
        import tifffile

        self.files = files
        try:
            # The flags keep tifffile from walking whole files of vendors that are not read here.
            self.tiff: Any = tifffile.TiffFile(
                cast("BinaryIO", _Reader(files, loop)),
                name=files.key.rsplit("/", 1)[-1],
                is_lsm=False,
                is_scanimage=False,
                is_ndpi=False,
            )
        except tifffile.TiffFileError as error:
            raise UnsupportedFormat(f"The file is no TIFF: {str(error)[:100]}", feature="file signature") from error


class TiffSource:
    """Directories and bytes of the main file and of those beside it. One thread at a time parses."""

    def __init__(self, files: PinnedObject, loop: asyncio.AbstractEventLoop) -> None:
        self._main = files
        self._loop = loop
        self._lock = threading.Lock()
        self._files: OrderedDict[str, _File] = OrderedDict()
        self._pages: OrderedDict[Place, Any] = OrderedDict()
        self._kept = 0

    @property
    def size(self) -> int:
        """Bytes of the main file."""
        return self._main.size

    @property
    def name(self) -> str:
        """Name of the main file."""
        return self._main.key.rsplit("/", 1)[-1]

    def page(self, place: Place) -> Any:
        """The directory, a ``tifffile.TiffPage`` that is ready to decode.

        Raises CorruptData when there is none, LimitExceeded, Conflict, StorageUnavailable.
        """
        place = place._replace(shift=0)
        with self._lock:
            page = self._pages.get(place)
            if page is not None:
                self._pages.move_to_end(place)
                return page
            page = self._read(place)
            page.init_decode()
            self._pages[place] = page
            self._kept += len(page.dataoffsets)
            while self._kept > _KEPT_OFFSETS and len(self._pages) > 1:
                self._kept -= len(self._pages.popitem(last=False)[1].dataoffsets)
            return page

    def count(self, most: int) -> int:
        """Directories in the chain of the main file, at most ``most``."""
        with self._lock:
            pages = self._file("").tiff.pages
            for number in range(1, most):
                try:
                    pages._seek(number)
                except IndexError:
                    return number
        return most

    def read(self, file: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Bytes ``[start, stop)`` of a file of the set, in one round trip."""
        with self._lock:
            files = self._file(file).files
        return self._wait(files.read_many(ranges))

    def text(self, name: str, most: int) -> str | None:
        """A text file beside the main one, None when there is none. Raises LimitExceeded."""
        key = self._beside(name)
        if key is None:
            return None
        try:
            result = self._wait(self._main.store.get_range(key, 0, most))
        except NotFound:
            return None
        if result.info.size > most:
            raise LimitExceeded(f"{name} is larger than {most >> 20} MB", limit="metadata bytes")
        return result.data.decode("utf-8", "replace")

    def _read(self, place: Place) -> Any:
        pages = self._file(place.file).tiff.pages
        try:
            page = pages[place.page]
            if place.sub >= 0:
                page = page.pages[place.sub]
        except (IndexError, TypeError) as error:
            of = f" of {place.file}" if place.file else ""
            raise CorruptData(f"The file{of} has no image {place.page} that its metadata speak of") from error
        return page

    def _file(self, name: str) -> _File:
        found = self._files.get(name)
        if found is None:
            files = self._main if not name else self._companion(name)
            found = self._files[name] = _File(files, self._loop)
            if len(self._files) > MAX_FILES:
                oldest = next(each for each in self._files if each)
                del self._files[oldest]
        elif name:
            self._files.move_to_end(name)
        return found

    def _companion(self, name: str) -> PinnedObject:
        key = self._beside(name)
        if key is not None:
            try:
                return self._wait(PinnedObject.open(self._main.store, key))
            except NotFound:
                pass
        raise CorruptData(f"The file {name[:100]} of this set is missing; put it beside {self.name}")

    def _beside(self, name: str) -> str | None:
        """The key of a file in the same folder, None for a name that would lead elsewhere."""
        folder, slash, _ = self._main.key.rpartition("/")
        key = f"{folder}{slash}{name}"
        return key if "/" not in name and "\\" not in name and is_key(key) else None

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
