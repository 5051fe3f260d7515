"""Slides that OpenSlide reads: MIRAX, NDPI, SCN, BIF, Trestle, Philips, VMS and VMU, Sakura, DICOM, and more by name.

OpenSlide is a C library (LGPL 2.1, loaded as a shared library that anyone may replace) and opens paths: a slide that
is not on this machine is copied first, with the files it consists of.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from microtome.errors import Conflict, LimitExceeded, UnsupportedFormat
from microtome.formats.openslide import guard, signature
from microtome.formats.threads import ThreadedSlide
from microtome.storage.copies import local_copy
from microtome.storage.folder import Files, PinnedFolder
from microtome.storage.pinned import LocalPath, PinnedObject

if TYPE_CHECKING:
    import openslide

    from microtome.formats.openslide.slide import OpenSlideSlide

CACHE_BYTES = 128 << 20
"""Decoded tiles that all open slides together may keep."""
_KEPT = 4096
"""Of every object so many first bytes are kept."""


class OpenSlideFormat:
    """Asked before the TIFF reader, for vendors whose tiles overlap or are anything but a plain pyramid.

    Everything else that OpenSlide can read (Aperio, generic tiled TIFF) it opens when nothing else does, when its
    priority is raised, or when it is asked for by name. A single DICOM file is the slide of its series: the other
    instances are looked for beside it.
    """

    name = "openslide"
    priority = 110

    def __init__(self, cache_bytes: int = CACHE_BYTES) -> None:
        self._cache_bytes = cache_bytes
        self._cache: openslide.OpenSlideCache | None = None

    def recognises(self, head: bytes, name: str) -> bool:
        """By signature, and by the name where vendors have a suffix of their own."""
        return signature.vendor(head, name) is not None

    def can_read(self, head: bytes, name: str) -> bool:
        """Any TIFF may be one of Aperio or a plain tiled one."""
        return signature.is_tiff(head)

    def recognises_folder(self, names: Sequence[str]) -> bool:
        """The index of a slide of many files with these files, or DICOM files."""
        return bool(signature.slide_in(names))

    async def open(self, files: Files) -> ThreadedSlide:
        """Open. Raises UnsupportedFormat, CorruptData, LimitExceeded, Conflict, StorageUnavailable."""
        copy, paths = await _local(files)
        slide = await ThreadedSlide.open(lambda: self._opened(paths), copy.release)
        if isinstance(files, PinnedObject):
            try:
                await _check_version(files)
                await _settle(files)
            except BaseException:
                await slide.close()
                raise
        return slide

    def _opened(self, paths: Sequence[Path]) -> OpenSlideSlide:
        try:
            import openslide

            from microtome.formats.openslide.slide import open_one
        except ImportError as error:
            raise UnsupportedFormat("OpenSlide is not installed on this server", feature="openslide") from error
        if self._cache is None:
            self._cache = openslide.OpenSlideCache(self._cache_bytes)
        for path in paths:
            guard.check(path)
        return open_one(paths, self._cache)


async def _local(files: Files) -> tuple[LocalPath, list[Path]]:
    """What keeps the files on this machine, and their paths in the order they are to be tried."""
    if isinstance(files, PinnedFolder):
        names = signature.slide_in(list(files.entries))
        if not names:
            raise UnsupportedFormat("The folder holds no slide that OpenSlide reads", feature="folder of files")
        # The largest is no label.
        names.sort(key=lambda name: files.entries[name].size, reverse=True)
        return await _copied(files, names, whole=not signature.is_dicom(names[0]))
    base, _, name = files.key.rpartition("/")
    if base and files.head[128:132] == b"DICM" and files.store.local_path(files.key) is None:
        folder = await PinnedFolder.open(files.store, base)
        folder.copies = files.copies
        listed = folder.entries.get(name)
        if listed is None or listed.etag != files.info.etag:
            raise Conflict(f"Slide {files.key} was replaced while it was opened; try again")
        beside = [other for other in folder.entries if signature.is_dicom(other) and other != name]
        copy, paths = await _copied(folder, [name, *beside], whole=False)
        return copy, paths[:1]
    companions = [f"{base}/{part}" if base else part for part in signature.parts(files.head, name)]
    try:
        copy = await local_copy(files, companions)
    except LimitExceeded as error:
        if signature.is_tiff(files.head):
            # Others can read it where it is, if not as well.
            raise UnsupportedFormat(error.message, feature="local copy") from error
        raise
    return copy, [copy.path]


async def _copied(folder: PinnedFolder, names: Sequence[str], *, whole: bool) -> tuple[LocalPath, list[Path]]:
    """Objects of a folder by name; with ``whole`` the others are copied, too."""
    if not whole:
        copies, chosen = folder.copies, {name: folder.entries[name] for name in names}
        folder = PinnedFolder(folder.store, folder.key, chosen, complete=folder.complete)
        folder.copies = copies
    copy = await local_copy(folder)
    return copy, [copy.path / name for name in names]


async def _check_version(files: PinnedObject) -> None:
    """Conflict when what was opened in place is not the version that was asked for."""
    if files.store.local_path(files.key) is not None:
        current = await files.store.head(files.key)
        if current.etag != files.info.etag:
            raise Conflict(f"Slide {files.key} was replaced while it was opened; try again")


async def _settle(files: PinnedObject) -> None:
    """Forget what was read, but for what the file is recognised by when it is opened again."""
    name = files.key.rpartition("/")[2]
    if signature.vendor(files.head[:_KEPT], name) != signature.vendor(files.head, name):
        await files.read(0, signature.LOOKED_AT)
    files.settle()
