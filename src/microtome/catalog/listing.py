"""Folders of a store and the slides in them, by names alone: nothing is opened, large subfolders are passed over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from microtome.caching import Cache
from microtome.catalog.kept import Kept
from microtome.catalog.kinds import DICOM, HEAD_BYTES, Kinds
from microtome.errors import Conflict, LimitExceeded, NotFound, UnsupportedFormat
from microtome.storage.base import Store
from microtome.storage.keys import check_key, is_prefix
from microtome.storage.parallel import together
from microtome.telemetry import logger

FRESH = 5.0
"""So many s a listing is kept: new files appear after that time at the latest."""
SAMPLED = 100
"""So many objects of a folder within a folder slide (levels of a pyramid, zooms of vector tiles) are listed."""
INSIDE = 20_000
"""So many objects of what may be a folder slide are listed."""
OBJECTS = 1_000_000
"""So many objects one listing may have."""
LOOKS = 100
"""Into so many files of a folder whose names leave it open it is looked."""
EVERYTHING = 1024
"""A depth that no key has."""
LAST = "\U0010fffd"
"""Sorts behind every character that a store can be asked for."""
MIRAX = ".mrxs"
"""Such a slide has its data in the folder of the same name."""

_KEPT_BYTES = 256 * 1024 * 1024
_BYTES_OF_AN_OBJECT = 200


@dataclass(slots=True)
class Folder:
    """A folder as listed: ``files`` with their ETags and ``folders``, by name, in bytewise order of their keys.

    ``slides`` are the entries that are slides by their names, ``unsure`` the files into which must be looked.
    ``objects`` counts everything listed below the top of a listing.
    """

    files: dict[str, str] = field(default_factory=dict[str, str])
    folders: dict[str, Folder] = field(default_factory=dict[str, "Folder"])
    is_slide: bool = False
    slides: dict[str, Entry] = field(default_factory=dict[str, "Entry"])
    unsure: list[str] = field(default_factory=list[str])
    objects: int = 0

    def names(self) -> list[str]:
        """Names of all objects listed below, relative to the folder."""
        found: list[str] = []
        waiting: list[tuple[str, Folder]] = [("", self)]
        while waiting:
            path, folder = waiting.pop()
            found += [path + name for name in folder.files]
            waiting += [(f"{path}{name}/", deeper) for name, deeper in folder.folders.items()]
        return found

    def walk(self, path: str = "") -> Iterator[tuple[str, int, Folder]]:
        """(path, depth, folder) of this folder and all below, each before those in it; this one is at ``path``."""
        waiting: list[tuple[str, int, Folder]] = [(path, 0, self)]
        while waiting:
            here, depth, folder = waiting.pop()
            yield here, depth, folder
            deeper = [(below(here, name), depth + 1, each) for name, each in folder.folders.items()]
            waiting += reversed(deeper)


@dataclass(frozen=True, slots=True)
class Entry:
    """A slide in a folder: its name, its key, and the keys of the other files it has, sorted."""

    name: str
    key: str
    companions: tuple[str, ...] = ()


def below(folder: str, name: str) -> str:
    """The key of ``name`` in a folder; "" is the root."""
    return f"{folder}/{name}" if folder else name


async def survey(store: Store, prefix: str, depth: int) -> Folder:
    """List the objects below ``prefix`` ("" or ending with ``/``), completely only to the ``depth`` of folders.

    A folder ``depth`` levels below the prefix may be a folder slide: only ``INSIDE`` of its objects are listed, and
    ``SAMPLED`` of each folder in it. The rest is passed over without being read: one request for each large folder.
    Raises LimitExceeded, StorageUnavailable, UnsupportedFormat (a store that cannot list).
    """
    top = Folder()
    after, passed = "", ""
    counted = {depth: ("", 0), depth + 1: ("", 0)}
    complete = False
    while not complete:
        complete = True
        async for page in store.list(prefix, after=after):
            for info in page:
                if passed and info.key.startswith(passed):
                    continue
                *folders, name = info.key[len(prefix) :].split("/")
                here = top
                for step in folders:
                    deeper = here.folders.get(step)
                    if deeper is None:
                        deeper = here.folders[step] = Folder()
                    here = deeper
                here.files[name] = info.etag
                top.objects += 1
                for level, most in ((depth, INSIDE), (depth + 1, SAMPLED)):
                    if len(folders) < level:
                        continue
                    folder = prefix + "".join(f"{step}/" for step in folders[:level])
                    number = counted[level][1] + 1 if counted[level][0] == folder else 1
                    counted[level] = (folder, number)
                    if number >= most:
                        passed = folder
                        break
            if top.objects > OBJECTS:
                raise LimitExceeded(
                    f"The folder holds more than {OBJECTS} files; ask for one further down",
                    limit="objects of a listing",
                )
            if passed and page and page[-1].key.startswith(passed):
                after, complete = passed + LAST, False
                break
    return top


class Listings:
    """The folders of one store, each listed at most every ``fresh`` s, and which of their entries are slides."""

    def __init__(
        self, store: Store, kinds: Kinds, *, fresh: float = FRESH, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._kinds = kinds
        self._folders: Kept[tuple[str, int], Folder] = Kept(
            fresh, budget=_KEPT_BYTES, weigh=lambda folder: folder.objects * _BYTES_OF_AN_OBJECT, clock=clock
        )
        self._entries: Kept[str, Entry] = Kept(
            fresh, budget=_KEPT_BYTES // 8, weigh=lambda entry: 500 + 100 * len(entry.companions), clock=clock
        )
        self._looks: Cache[tuple[str, str], bool] = Cache(_KEPT_BYTES // 64, weigh=lambda _: 100)

    def forget(self) -> None:
        """List anew from now on."""
        self._folders.forget()
        self._entries.forget()

    async def folder(self, path: str, depth: int) -> Folder:
        """The folder with the key ``path`` ("" is the root) as ``survey`` lists it; empty when there is none.

        Which folders are slides is told to the ``depth``, which entries are slides for the folders above it.
        """
        if path and not is_prefix(path + "/"):
            return Folder()
        return await self._folders.get((path, depth), lambda: self._list(path, depth))

    async def slides_in(self, folder: Folder) -> list[Entry]:
        """The slides directly in a folder that was listed, files and folders, sorted by name."""
        if folder.unsure:
            if len(folder.unsure) > LOOKS:
                logger.warning(
                    "%s and %d more may be slides: too many to look", folder.unsure[0], len(folder.unsure) - 1
                )
            unsure = folder.unsure[:LOOKS]
            looks = [self._looks_like_slide(key, folder.files[_name(key)]) for key in unsure]
            for key, is_slide in zip(unsure, await together(looks), strict=True):
                if is_slide:
                    folder.slides[_name(key)] = Entry(_name(key), key)
            folder.unsure = []
        entries = [folder.slides[name] for name in sorted(folder.slides)]
        shown = await together([self._is_shown(entry, folder.folders.get(entry.name)) for entry in entries])
        return [entry for entry, is_shown in zip(entries, shown, strict=True) if is_shown]

    async def _is_shown(self, entry: Entry, folder: Folder | None) -> bool:
        """Whether an entry that is a slide by its name is one: DICOM may be anything."""
        dicom = folder is not None and self._kinds.is_dicom_folder(folder.names())
        if self._kinds.holds_slides is None or not (dicom or entry.name.lower().endswith(DICOM)):
            return True
        return await self._kinds.holds_slides(entry.key)

    async def _list(self, path: str, depth: int) -> Folder:
        folder = await survey(self._store, path and path + "/", depth)
        # In a thread, so that no tile waits while a hundred thousand names are judged.
        await asyncio.to_thread(self._judge, path, folder, depth)
        return folder

    def _judge(self, path: str, top: Folder, depth: int) -> None:
        for here, level, folder in reversed([each for each in top.walk(path) if each[1] <= depth]):
            names = folder.names() if here else []
            folder.is_slide = self._kinds.is_one_slide(names)
            if level == depth or folder.is_slide:
                continue
            for name, each in folder.folders.items():
                if each.is_slide:
                    key = below(here, name)
                    folder.slides[name] = Entry(name, key, _dicom_files(key, each))
            for name in folder.files:
                verdict = self._kinds.is_slide(name, None)
                key = below(here, name)
                if verdict:
                    folder.slides[name] = Entry(name, key, _mirax_files(key, folder.folders.get(_stem(name))))
                elif verdict is None:
                    folder.unsure.append(key)

    async def locate(self, key: str) -> Entry:
        """The slide with this key, if there is one now. Raises NotFound. Kept as listings are."""
        check_key(key)
        return await self._entries.get(key, lambda: self._locate(key))

    async def companions(self, key: str) -> tuple[str, ...]:
        """Keys of what belongs to the file or folder at ``key``, without asking whether it is there."""
        if _stem(key):
            return _mirax_files(key, await self.folder(_stem(key), 0))
        if self._kinds.is_slide(_name(key), None) is False:
            return _dicom_files(key, await self.folder(key, 0))
        return ()

    async def _locate(self, key: str) -> Entry:
        verdict = self._kinds.is_slide(_name(key), None)
        if verdict is not False:
            try:
                info = await self._store.head(key)
                found = Entry(_name(key), key, await self.companions(key))
                if (verdict or await self._looks_like_slide(key, info.etag)) and await self._is_shown(found, None):
                    return found
            except NotFound:
                pass
        try:
            folder = await self.folder(key, 0)
        except UnsupportedFormat as error:  # a store that cannot list knows no folders
            raise NotFound("slide", key) from error
        found = Entry(_name(key), key, _dicom_files(key, folder))
        if not folder.is_slide or not await self._is_shown(found, folder):
            raise NotFound("slide", key)
        return found

    async def _looks_like_slide(self, key: str, etag: str) -> bool:
        known = self._looks.get((key, etag))
        if known is None:
            try:
                head = await self._store.get_range(key, 0, HEAD_BYTES, etag=etag)
            except (NotFound, Conflict):  # gone or replaced since it was listed: the next listing will tell
                return False
            known = bool(self._kinds.is_slide(_name(key), head.data))
            self._looks.put((key, etag), known)
        return known


def _name(key: str) -> str:
    return key.rpartition("/")[2]


def _stem(name: str) -> str:
    """Where the data of a MIRAX slide are: its name without suffix; "" for every other file."""
    return name[: -len(MIRAX)] if name.lower().endswith(MIRAX) else ""


def _mirax_files(key: str, data: Folder | None) -> tuple[str, ...]:
    """Keys of everything directly in the folder of a MIRAX slide."""
    if not _stem(key) or data is None:
        return ()
    return tuple(sorted(below(_stem(key), name) for name in (*data.files, *data.folders)))


def _dicom_files(key: str, folder: Folder) -> tuple[str, ...]:
    """Keys of the DICOM files directly in a folder slide."""
    return tuple(sorted(below(key, name) for name in folder.files if name.lower().endswith(".dcm")))
