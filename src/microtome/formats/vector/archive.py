"""MBTiles (github.com/mapbox/mbtiles-spec, 1.3): an SQLite file with a table or view ``tiles``. Rows are TMS.

The file is hostile until proven otherwise: it is opened read-only and immutable, no value may be larger than a tile,
and a query that takes too long (views may hold any query) is interrupted.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from microtome.errors import CorruptData, LimitExceeded, UnsupportedFormat
from microtome.formats.threads import ThreadedSlide
from microtome.formats.vector.facts import MAX_ZOOM, TILE_SIZE, Grid, chosen_metadata, describe, zooms_of
from microtome.formats.vector.payload import GEOJSON, MAX_TILE_BYTES, MVT, encoded, kind_of
from microtome.formats.vector.slide import missing
from microtome.formats.vector.texts import parsed_object
from microtome.model import EncodedTile, SlideInfo, TileIndex
from microtome.storage.copies import local_copy
from microtome.storage.pinned import PinnedObject

SIGNATURE = b"SQLite format 3\0"
APPLICATION_ID = b"MPBX"
"""At byte 68 of an MBTiles file; tools that write it say so, most do not."""
QUERY_SECONDS = 10.0
MAX_METADATA = 200
_STEPS = 10_000
"""Instructions of SQLite's machine between two looks at the clock."""
_VECTOR_FORMATS = {"pbf", "mvt", "json", "geojson", MVT}


class MBTiles:
    """See ``formats.base.SyncSlide``."""

    at_once = 1

    def __init__(self, path: Path) -> None:
        self._deadline = 0.0
        try:
            self._connection = sqlite3.connect(
                f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True, check_same_thread=False, isolation_level=None
            )
        except sqlite3.Error as error:
            raise CorruptData("The MBTiles file cannot be opened as an SQLite database") from error
        try:
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_TILE_BYTES)
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
            self._connection.set_progress_handler(self._overdue, _STEPS)
            with self._query():
                self._connection.execute("PRAGMA trusted_schema = OFF")
                self._connection.execute("PRAGMA cell_size_check = ON")
            self._info, self._flip = self._describe()
            self._zooms = zooms_of(self._info)
        except BaseException:
            self._connection.close()
            raise

    def info(self) -> SlideInfo:
        """The facts."""
        return self._info

    def read_tile(self, index: TileIndex) -> EncodedTile:
        """The stored tile. Raises NotFound(what="tile"), CorruptData, LimitExceeded."""
        zoom = self._zooms[index.level]
        row = (1 << zoom) - 1 - index.row if self._flip else index.row
        with self._query():
            found = self._connection.execute(
                "SELECT tile_data FROM tiles WHERE zoom_level = ? AND tile_column = ? AND tile_row = ?",
                (zoom, index.column, row),
            ).fetchone()
        if found is None or found[0] is None:
            raise missing(zoom, index.column, index.row)
        data = _bytes(found[0])
        return encoded(data, GEOJSON if kind_of(data) == "json" else MVT, self._info.levels[0].tile_size.width)

    def read_associated(self, name: str) -> EncodedTile:
        """There are none."""
        raise AssertionError("unreachable: info names none")

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def _describe(self) -> tuple[SlideInfo, bool]:
        metadata = self._metadata()
        grids = [Grid.full(zoom) for zoom in self._stored_zooms()]
        if not grids:
            raise CorruptData("The MBTiles file holds no tiles")
        with self._query():
            sample = self._connection.execute(
                "SELECT tile_data FROM tiles WHERE tile_data IS NOT NULL LIMIT 1"
            ).fetchone()
        self._check_kind(metadata, _bytes(sample[0]) if sample else b"")
        scheme = str(metadata.get("scheme", "tms")).lower()
        size = str(metadata.get("tile_size", TILE_SIZE))
        stored = "gzip" if sample and _bytes(sample[0])[:2] == b"\x1f\x8b" else "none"
        properties: dict[str, object] = {
            **chosen_metadata(metadata),
            "scheme": scheme,
            "format": str(metadata.get("format", "pbf")),
            "compression": stored,
            "archive": "MBTiles",
        }
        tile_size = int(size) if size.isascii() and size.isdecimal() and len(size) < 7 else 0
        return describe(grids, tile_size, properties), scheme != "xyz"

    def _metadata(self) -> dict[str, object]:
        try:
            with self._query():
                rows = self._connection.execute("SELECT name, value FROM metadata LIMIT ?", (MAX_METADATA,)).fetchall()
        except _NoSuchTable:
            return {}
        found: dict[str, object] = {str(name): _said(value) for name, value in rows}
        inner = found.get("json")
        if isinstance(inner, str) and inner:
            found["vector_layers"] = parsed_object(inner.encode(), "metadata of the MBTiles file").get("vector_layers")
        return found

    def _stored_zooms(self) -> list[int]:
        """The zooms that have tiles, one look into the index for each."""
        found: list[int] = []
        while True:
            with self._query():
                row = self._connection.execute(
                    "SELECT zoom_level FROM tiles WHERE zoom_level > ? AND zoom_level <= ? ORDER BY zoom_level LIMIT 1",
                    (found[-1] if found else -1, MAX_ZOOM),
                ).fetchone()
            if row is None or not isinstance(row[0], int) or (found and row[0] <= found[-1]):
                return found
            found.append(row[0])

    @staticmethod
    def _check_kind(metadata: dict[str, object], sample: bytes) -> None:
        said, kind = str(metadata.get("format", "")).lower(), kind_of(sample)
        if kind == "raster" or (said and said not in _VECTOR_FORMATS):
            what = said if said not in {"", *_VECTOR_FORMATS} else "raster"
            raise UnsupportedFormat(
                f"The MBTiles file holds pictures ({what[:20]}), not vector tiles", feature="tile type"
            )
        if kind == "unknown":
            raise CorruptData("The tiles of the MBTiles file are no vector tiles")

    def _overdue(self) -> int:
        return time.monotonic() > self._deadline

    @contextmanager
    def _query(self) -> Generator[None]:
        self._deadline = time.monotonic() + QUERY_SECONDS
        try:
            yield
        except sqlite3.OperationalError as error:
            if "interrupted" in str(error):
                raise LimitExceeded(
                    f"A query of the MBTiles file took longer than {QUERY_SECONDS:g} s; does it have an index?",
                    limit="QUERY_SECONDS",
                ) from error
            if "no such table: metadata" in str(error):
                raise _NoSuchTable("The MBTiles file has no table metadata") from error
            raise CorruptData(f"The MBTiles file cannot be read: {str(error)[:100]}") from error
        except (sqlite3.Error, sqlite3.Warning, OverflowError, ValueError) as error:
            raise CorruptData(f"The MBTiles file cannot be read: {str(error)[:100]}") from error


class _NoSuchTable(CorruptData):
    pass


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise CorruptData("A tile of the MBTiles file is neither bytes nor text")


def _said(value: object) -> object:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


async def open_mbtiles(files: PinnedObject) -> ThreadedSlide:
    """Open an archive; one in a bucket is copied first. Raises CorruptData, UnsupportedFormat, LimitExceeded."""
    head = await files.read(0, len(SIGNATURE))
    files.settle()
    if head != SIGNATURE:
        raise CorruptData("The file is no MBTiles archive: it is no SQLite database", offset=0)
    copy = await local_copy(files)
    return await ThreadedSlide.open(lambda: MBTiles(copy.path), copy.release)
