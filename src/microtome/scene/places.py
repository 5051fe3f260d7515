"""Where files may be: inside the folders that the operator named, however the path is written."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from microtome.errors import CorruptData, Forbidden, InvalidRequest, NotFound

OUTSIDE = "Files of the server are read and written only inside its data folders"
MAX_PATH = 4096
MAX_NAME = 255
"""Bytes of the name of a file or folder, as file systems have it."""


def existing(path: str, roots: Iterable[str | Path]) -> Path:
    """The file or folder that is meant, links resolved.

    ``path`` may be absolute, a ``file:`` address of this machine, or relative to one of the roots. Raises Forbidden
    outside of the roots, whether there is something or not, and NotFound.
    """
    folders = [Path(root).resolve() for root in roots]
    candidates = _candidates(path, folders)
    inside = [found for found in candidates if _within(found, folders)]
    if not inside:
        raise Forbidden(OUTSIDE)
    for found in inside:
        if found.is_file() or found.is_dir():  # what is neither (a pipe, a device) could be read for ever
            return found
    raise NotFound("file", Path(path).name[:200])


def writable(path: str, roots: Iterable[str | Path]) -> Path:
    """Where a new file may be written: its folder exists inside a root. Raises as ``existing``; InvalidRequest."""
    folders = [Path(root).resolve() for root in roots]
    inside = [found for found in _candidates(path, folders) if _within(found, folders)]
    if not inside:
        raise Forbidden(OUTSIDE)
    for found in inside:
        if found.is_dir():
            raise InvalidRequest("This is the name of a folder", parameter="path")
        if found.parent.is_dir():
            return found
    raise NotFound("folder", Path(path).parent.name[:200])


def _candidates(path: str, folders: list[Path]) -> list[Path]:
    if not path or len(path) > MAX_PATH or "\0" in path:
        raise InvalidRequest("This is no path of a file", parameter="path")
    if path[:5].lower() == "file:":
        address = urlsplit(path)
        if address.netloc not in {"", "localhost"}:
            raise Forbidden(OUTSIDE)
        path = unquote(address.path)
        if "\0" in path:
            raise InvalidRequest("This is no path of a file", parameter="path")
    given = Path(path)
    if _has_long_part(given):
        raise InvalidRequest("This is no path of a file", parameter="path")
    try:
        return [given.resolve()] if given.is_absolute() else [(folder / given).resolve() for folder in folders]
    except (OSError, RuntimeError) as error:  # a circle of links
        raise Forbidden(OUTSIDE) from error


def _within(path: Path, folders: list[Path]) -> bool:
    return any(path == folder or folder in path.parents for folder in folders)


def beside(path: Path, name: str, roots: Iterable[str | Path]) -> Path:
    """The file that a header calls ``name``, in the folder of the header or below it.

    Raises Forbidden; CorruptData for a name that no file can have.
    """
    given = Path(name)
    if not name or "\0" in name or "\\" in name or given.is_absolute() or ".." in given.parts:
        raise Forbidden("The header names a file outside of its own folder")
    if _has_long_part(given):
        raise CorruptData(f"The header names a file with more than {MAX_NAME} bytes in its name")
    found = (path.parent / given).resolve()
    if not _within(found, [Path(root).resolve() for root in roots]):
        raise Forbidden("The header names a file outside of its own folder")
    return found


def _has_long_part(path: Path) -> bool:
    return any(len(part.encode(errors="surrogateescape")) > MAX_NAME for part in path.parts)


def remove(path: str) -> None:
    """Remove a file that was written for one answer, with the folder that was made for it and all that is in it."""
    shutil.rmtree(Path(path).parent, ignore_errors=True)


def stem(name: str) -> str:
    """The name of a file without its ending, double ones too: ``a.seg.nrrd`` is ``a``."""
    lowered = name.lower()
    for ending in ENDINGS:
        if lowered.endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return Path(name).stem


ENDINGS = (
    ".seg.nrrd",
    ".seg.nhdr",
    ".seg.vtm",
    ".seq.nrrd",
    ".nii.gz",
    ".hdr.gz",
    ".mrk.json",
    ".vp.json",
    ".schema.csv",
)
"""Endings with two dots; all others have one."""


def ending_of(name: str) -> str:
    """The ending of a name in lower case, double ones too; "" for none."""
    lowered = name.lower()
    return next((ending for ending in ENDINGS if lowered.endswith(ending)), Path(lowered).suffix)
