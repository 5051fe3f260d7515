"""From a URL or path to an Index."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from microtome.dicom import dictionary
from microtome.dicom.index.base import SlideIndex
from microtome.dicom.index.database import Database
from microtome.dicom.index.sql import SqlIndex
from microtome.errors import InvalidRequest

HELP = "Give the path of a file, sqlite:///path, or postgresql://user:password@host/database"


async def open_index(url: str) -> SlideIndex:
    """The index at a path, ``sqlite:///absolute/path`` or ``postgresql://...``; made where there is none.

    Raises InvalidRequest(parameter="index") for other URLs, StorageUnavailable when there is no way to it.
    """
    await asyncio.to_thread(dictionary.tag, "")  # reading its tables takes long; searches must not wait for it
    return SqlIndex(await open_database(url))


async def open_database(url: str, *, beside: str = "") -> Database:
    """The database of an index. ``beside``, a word: another one of that name beside it, in a file or schema of its own.

    Raises as ``open_index``.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme in {"postgresql", "postgres"}:
        from microtome.dicom.index.postgres import PostgresDatabase

        return await PostgresDatabase.open(url, space=beside)
    if separator and scheme != "sqlite":
        raise InvalidRequest(f"An index cannot be at {scheme}://. {HELP}", parameter="index")
    path = unquote(rest) if separator else url
    if not path or "\0" in path or await asyncio.to_thread(Path(path).is_dir):
        raise InvalidRequest(f"The index is a file. {HELP}", parameter="index")
    from microtome.dicom.index.sqlite import SqliteDatabase

    return await asyncio.to_thread(SqliteDatabase, Path(f"{path}.{beside}" if beside else path))


def usual_index(place: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the index of a folder or bucket is kept when nothing else is said: in the cache folder of the user."""
    cache = environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    where = place if "://" in place else str(Path(place).resolve())
    return Path(cache) / "microtome" / "dicom" / f"{hashlib.sha256(where.encode()).hexdigest()[:24]}.sqlite"
