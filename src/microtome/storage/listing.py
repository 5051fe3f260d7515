"""The regular files below a folder, in the order of their keys, without holding the whole tree.

Keys are ordered bytewise, as S3 does: a folder sorts as its name with ``/`` behind it. Python compares strings by code
point, which is the order of their UTF-8 bytes. Only one sorted folder for every level of depth is held at a time.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from microtome.storage.base import ObjectInfo
from microtome.storage.keys import is_key
from microtome.telemetry import logger

Describe = Callable[[str, os.stat_result], ObjectInfo]


class _Folder:
    """An open folder on the way down. The file descriptor closes with the last reference."""

    def __init__(self, descriptor: int, key: str, ancestors: frozenset[tuple[int, int]]) -> None:
        self.descriptor = descriptor
        self.key = key
        status = os.fstat(descriptor)
        self.identity = (status.st_dev, status.st_ino)
        self.is_loop = self.identity in ancestors
        self.ancestors = ancestors | {self.identity}
        self.entries: Iterator[tuple[str, str]] = iter(())

    def __del__(self) -> None:
        os.close(self.descriptor)


def list_files(
    root: Path, *, prefix: str, after: str, follow_symlinks: bool, describe: Describe
) -> Iterator[ObjectInfo]:
    """Files whose key starts with ``prefix`` and sorts behind ``after``. Raises OSError when the root is not readable.

    Names that cannot be keys, symbolic links (unless followed) and everything that is neither file nor folder are left
    out; so is what vanishes or may not be read meanwhile. Blocking: run it in a thread.
    """
    top = _Folder(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), "", frozenset())
    top.entries = _sorted_entries(top, prefix, after, follow_symlinks=follow_symlinks)
    way = [top]
    while way:
        folder = way[-1]
        entry = next(folder.entries, None)
        if entry is None:
            way.pop()
            continue
        name, key = entry
        try:
            if key.endswith("/"):
                deeper = _open_folder(folder, name, key, follow_symlinks=follow_symlinks)
                if not deeper.is_loop:
                    deeper.entries = _sorted_entries(deeper, prefix, after, follow_symlinks=follow_symlinks)
                    way.append(deeper)
                continue
            status = os.stat(name, dir_fd=folder.descriptor, follow_symlinks=follow_symlinks)
        except FileNotFoundError:
            continue
        except OSError as error:
            logger.warning("left out of the listing: %s (%s)", key, error.strerror)
            continue
        if stat.S_ISREG(status.st_mode):
            yield describe(key, status)


def _open_folder(parent: _Folder, name: str, key: str, *, follow_symlinks: bool) -> _Folder:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if follow_symlinks else os.O_NOFOLLOW)
    return _Folder(os.open(name, flags, dir_fd=parent.descriptor), key, parent.ancestors)


def _sorted_entries(folder: _Folder, prefix: str, after: str, *, follow_symlinks: bool) -> Iterator[tuple[str, str]]:
    """(name, key) of files and folders that can hold keys asked for; the key of a folder ends with ``/``."""
    found: list[tuple[str, str]] = []
    with os.scandir(folder.descriptor) as entries:
        for entry in entries:
            key = folder.key + entry.name
            try:
                is_folder = entry.is_dir(follow_symlinks=follow_symlinks)
                if not is_key(key) or not (is_folder or entry.is_file(follow_symlinks=follow_symlinks)):
                    continue
            except OSError:
                continue
            if is_folder:
                key += "/"
                wanted = (key.startswith(prefix) or prefix.startswith(key)) and (key > after or after.startswith(key))
            else:
                wanted = key.startswith(prefix) and key > after
            if wanted:
                found.append((entry.name, key))
    found.sort(key=lambda pair: pair[1])
    return iter(found)
