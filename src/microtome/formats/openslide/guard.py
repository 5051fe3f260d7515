"""What OpenSlide must not be given: files that lead out of their folder, and those it does not survive.

OpenSlide opens whatever a slide of several files names, wherever that is, and follows symbolic links on the way. Its
readers of SQLite run any query that a view holds, and that of DICOM recurses as deep as a file nests its sequences.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from microtome.errors import CorruptData, UnsupportedFormat

INDEX_BYTES = 1 << 20
"""OpenSlide reads no longer index."""
MOST_FILES = 10_000

_NAMES = {
    ".mrxs": re.compile(rb"^[ \t]*(?:INDEXFILE|FILE_\d+)[ \t]*=[ \t]*([^\r\n]*)", re.M | re.I),
    ".vms": re.compile(
        rb"^[ \t]*(?:ImageFile[^=\r\n]*|MapFile|MacroImage|OptimisationFile)[ \t]*=[ \t]*([^\r\n]*)", re.M | re.I
    ),
}
_NAMES[".vmu"] = _NAMES[".vms"]


def check(path: Path) -> None:
    """Raise CorruptData or UnsupportedFormat for a file that OpenSlide must not open. Blocking."""
    suffix = path.suffix.lower()
    if suffix == ".svslide":
        _check_tables(path)
    elif suffix in _NAMES:
        index = path.with_suffix("") / "Slidedat.ini" if suffix == ".mrxs" else path
        _check_names(index, _NAMES[suffix])
        if suffix == ".mrxs":
            _check_links(path.with_suffix(""))
    elif _begins_as_dicom(path):
        raise UnsupportedFormat(
            "OpenSlide is not given DICOM files here: one with deeply nested sequences would end the server",
            feature="DICOM",
        )


def _check_names(index: Path, names: re.Pattern[bytes]) -> None:
    """Names of files beside the index, and nothing else."""
    if index.parent.is_symlink():
        raise UnsupportedFormat("A part of the slide is a symbolic link", feature="symbolic link")
    try:
        with index.open("rb") as file:
            text = file.read(INDEX_BYTES + 1)
    except OSError as error:
        raise CorruptData("The index of the slide is missing") from error
    for name in names.findall(text):
        if b"/" in name or b"\\" in name:
            raise CorruptData("The index of the slide names a file of another folder")
        if (index.parent / os.fsdecode(name.strip())).is_symlink():
            raise UnsupportedFormat("A part of the slide is a symbolic link", feature="symbolic link")


def _check_links(folder: Path) -> None:
    for number, entry in enumerate(_entries(folder)):
        if number >= MOST_FILES:
            raise UnsupportedFormat("The folder of the slide holds too many files", feature="folder of files")
        if entry.is_symlink():
            raise UnsupportedFormat("A part of the slide is a symbolic link", feature="symbolic link")


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    if folder.is_symlink():
        raise UnsupportedFormat("A part of the slide is a symbolic link", feature="symbolic link")
    if folder.is_dir():
        with os.scandir(folder) as entries:
            yield from entries


def _check_tables(path: Path) -> None:
    """A view may hold a query that never ends; Sakura's files have none."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)) as database:
            found = database.execute(
                "SELECT count(*) FROM sqlite_master WHERE type NOT IN ('table', 'index')"
            ).fetchone()
    except sqlite3.Error as error:
        raise CorruptData("The Sakura slide is no SQLite database that can be read") from error
    if found[0]:
        raise UnsupportedFormat("The Sakura slide holds views or triggers, as none of its kind does", feature="views")


def _begins_as_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False
