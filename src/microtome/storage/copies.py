"""Local copies of objects for C libraries that open paths, bounded in bytes. Files of a local store stay in place.

A copy belongs to one version of an object (key and ETag). What is in use is never removed; what is not leaves when
others need the room, the longest unused first.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from microtome.caching import Flights
from microtome.errors import LimitExceeded, StorageUnavailable, UnsupportedFormat
from microtome.storage.base import ObjectInfo, Store
from microtome.storage.folder import Files, PinnedFolder
from microtome.storage.keys import is_key
from microtome.storage.pinned import LocalPath
from microtome.storage.temporary import TemporaryFolder

PIECE = 8 * 1024 * 1024
PIECES_AT_ONCE = 4
_PREFIX = "microtome-copies-"


@dataclass(eq=False, slots=True)
class _Copy:
    nbytes: int
    folder: Path | None = None
    """None until everything is in it."""
    uses: int = 0


class LocalCopy:
    """A path that stays valid until ``release``."""

    def __init__(self, path: Path, copy: _Copy | None = None) -> None:
        self.path = path
        self._copy = copy

    def release(self) -> None:
        """The path is not used any more."""
        if self._copy is not None:
            self._copy.uses -= 1
            self._copy = None


async def local_copy(files: Files, companions: Sequence[str] = ()) -> LocalPath:
    """A path for a library that opens paths; see ``LocalCopies.of``. Raises UnsupportedFormat where copies are off."""
    if files.copies is not None:
        return await files.copies.of(files, companions)
    direct = files.store.local_path(files.key)
    if direct is None:
        raise UnsupportedFormat("This format is only read from local files here", feature="local copy")
    return LocalCopy(direct)


class LocalCopies:
    """Copies in ``folder`` (made when first needed; a temporary one when None), at most ``budget`` bytes."""

    def __init__(self, folder: Path | None, budget: int) -> None:
        self._given = folder
        self._folder: TemporaryFolder | None = None
        self._budget = budget
        self._copies: OrderedDict[str, _Copy] = OrderedDict()
        self._flights: Flights[str, None] = Flights()

    async def of(self, files: Files, companions: Sequence[str] = ()) -> LocalCopy:
        """A path of this version of an object or a folder.

        ``companions`` are prefixes of keys beside it that the library opens, too ("case/slide/" for MIRAX). Raises
        LimitExceeded for what does not fit, Conflict when a part was replaced, StorageUnavailable.
        """
        direct = files.store.local_path(files.key)
        if direct is not None:
            return LocalCopy(direct)
        name = "\0".join((files.key, files.info.etag, *companions))
        while True:
            copy = self._copies.get(name)
            if copy is not None and copy.folder is not None:
                break
            # Looked up again afterwards: it may have made room for another before its askers woke up.
            await self._flights.run(name, lambda: self._made(name, files, companions))
        copy.uses += 1
        self._copies.move_to_end(name)
        return LocalCopy(copy.folder / files.key.rstrip("/").rsplit("/", 1)[-1], copy)

    def close(self) -> None:
        """Remove all copies."""
        if self._folder is not None:
            self._folder.close()
            self._folder = None
        self._copies.clear()

    async def _made(self, name: str, files: Files, companions: Sequence[str]) -> None:
        base = files.key.rstrip("/").rpartition("/")[0]
        wanted = await _wanted(files, companions)
        total = sum(info.size for info in wanted)
        if total > self._budget:
            raise LimitExceeded(
                f"The slide must be copied to be read: {total >> 20} MB, where copies may have {self._budget >> 20} MB",
                limit="local_copies",
                value=total,
            )
        self._copies.pop(name, None)  # one that is being given up, because nobody waited for it any more
        leaving = self._make_room(total)
        copy = self._copies[name] = _Copy(total, uses=1)  # in use while it is filled
        folder: Path | None = None
        try:
            await asyncio.to_thread(_remove, leaving)
            # Of its own name: a copy of the same may still be about to be removed.
            folder = Path(tempfile.mkdtemp(dir=self._root()))
            for info in wanted:
                await _copy(files.store, info, folder / info.key.removeprefix(f"{base}/" if base else ""))
        except BaseException as error:
            if self._copies.get(name) is copy:
                del self._copies[name]
            if folder is not None:
                await asyncio.to_thread(_remove, [folder])
            if isinstance(error, OSError):
                raise StorageUnavailable(
                    f"Slide {files.key} could not be copied to be read ({error.strerror}); is the disk full?"
                ) from error
            raise
        copy.folder, copy.uses = folder, 0

    def _root(self) -> Path:
        if self._folder is None:
            if self._given is not None:
                self._given.mkdir(parents=True, exist_ok=True)
            self._folder = TemporaryFolder(_PREFIX, self._given)
        return self._folder.path

    def _make_room(self, nbytes: int) -> list[Path]:
        """Forget copies until there is room; their folders are to be removed."""
        used = sum(copy.nbytes for copy in self._copies.values())
        leaving: list[str] = []
        for name, copy in self._copies.items():
            if used + nbytes <= self._budget:
                break
            if copy.uses == 0:
                leaving.append(name)
                used -= copy.nbytes
        if used + nbytes > self._budget:
            raise LimitExceeded(
                "All room for local copies is taken by slides in use; try again later or raise local_copies",
                limit="local_copies",
                value=nbytes,
            )
        return [folder for name in leaving if (folder := self._copies.pop(name).folder) is not None]


async def _wanted(files: Files, companions: Sequence[str]) -> list[ObjectInfo]:
    """What is to be copied, each object once."""
    if isinstance(files, PinnedFolder) and not files.complete:
        raise UnsupportedFormat("The folder holds too many objects to be copied", feature="local copy")
    listed = list(files.entries.values()) if isinstance(files, PinnedFolder) else [files.info]
    wanted = {info.key: info for info in listed}
    for prefix in companions:
        async for page in files.store.list(prefix):
            for info in page:
                wanted.setdefault(info.key, info)
    return [info for info in wanted.values() if is_key(info.key)]  # nothing is written outside of the copy


async def _copy(store: Store, info: ObjectInfo, target: Path) -> None:
    starts = iter(range(0, info.size, PIECE))

    async def worker() -> None:
        for start in starts:
            result = await store.get_range(info.key, start, min(start + PIECE, info.size), etag=info.etag)
            await asyncio.to_thread(_write, target, start, result.data)

    await asyncio.to_thread(_create, target)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(PIECES_AT_ONCE):
                group.create_task(worker())
    except ExceptionGroup as failures:
        # One reason is enough for the caller, who knows errors by their class.
        raise failures.exceptions[0] from failures


def _remove(folders: Sequence[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _create(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(exist_ok=False)


def _write(target: Path, start: int, data: bytes) -> None:
    # Opened for each piece: a write that outlives a copy given up must not hit another file's descriptor.
    with target.open("r+b") as file:
        file.seek(start)
        file.write(data)
