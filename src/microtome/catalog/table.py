"""Cases and slides written down in tables: one line for each slide, ids made of its columns."""

from __future__ import annotations

import asyncio
import csv
import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from microtome.catalog.addresses import key_of, mapped
from microtome.catalog.base import MappedSlide
from microtome.catalog.index import Index, IndexedMapper
from microtome.catalog.kinds import Kinds
from microtome.catalog.listing import FRESH
from microtome.errors import InvalidRequest, LimitExceeded, MicrotomeError, NotFound
from microtome.storage.base import ObjectInfo, Store
from microtome.storage.parallel import together
from microtome.telemetry import logger

SUFFIXES = (".csv", ".tsv")
LONGEST_GROUP = 5
TABLE_BYTES = 256 * 1024 * 1024
"""A larger table is refused."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column holds what, counted from 0, and what stands between them."""

    group_1: int = 0
    group_2: int = 1
    slide_id: int = 2
    case_id: int = 3
    path: int = 4
    separator: str = "\t"


@dataclass(frozen=True, slots=True)
class Row:
    """A slide as written down; ``line`` counts from 1."""

    case_id: str
    slide_id: str
    path: str
    line: int


class TableMapper(IndexedMapper):
    """Slides of the table ``source`` in ``tables``, or of all ``.csv`` and ``.tsv`` files below the folder ``source``.

    Ids are ``group_1.group_2.w.slide`` and ``group_1.group_2.c.case``; local ids are the same. Tables have no header
    line. Paths are relative to the root of the data, or absolute and below ``data_dir``; a line whose path leaves the
    root is left out with a warning. Of several lines with the same slide the last one counts. A table that is changed
    is read again; a broken one raises InvalidRequest when the mapper is started or refreshed, and is ignored with an
    error in the log when it breaks later, or when others in its folder are sound.
    """

    def __init__(
        self,
        store: Store,
        kinds: Kinds,
        *,
        tables: Store,
        source: str,
        data_dir: str,
        columns: Columns | None = None,
        fresh: float = FRESH,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(store, kinds, fresh=fresh, clock=clock)
        self._tables = tables
        self._owns_tables = tables is not store
        self._source = source.strip("/")
        self._data_dir = data_dir
        self._columns = columns or Columns()
        if len(self._columns.separator) != 1 or self._columns.separator in '"\r\n':
            raise InvalidRequest("CSWS_SEPARATOR must be one character, or \\t for a tab", parameter="CSWS_SEPARATOR")
        self._versions: list[tuple[str, str]] | None = None
        self._loaded: Index | None = None

    async def read(self) -> Index:
        """The index of the tables as they are now. Parses only when one has changed."""
        try:
            found = await self._find()
            if self._loaded is None or _versions(found) != self._versions:
                await self._load(found)
        except MicrotomeError as error:
            if self._loaded is None:
                raise
            logger.error("the tables of slides cannot be read, the last ones count: %s", error)
        return self._loaded or Index()

    async def check(self, slide: MappedSlide) -> MappedSlide:
        """The slide as the tables have it now, with all its files."""
        written = (await self._index()).slides.get(slide.id)
        if written is None:
            raise NotFound("slide", slide.id)
        return mapped(slide.id, slide.local_id, written.key, await self._listings.companions(written.key))

    async def slides(self, case_id: str) -> Sequence[MappedSlide]:
        """The slides of a case, sorted by id."""
        return await together([self.check(slide) for slide in await super().slides(case_id)])

    async def refresh(self) -> None:
        """Read the tables anew. Raises InvalidRequest when one is broken."""
        self._listings.forget()
        await self._load(await self._find())
        await super().refresh()

    async def close(self) -> None:
        """Close the store of the tables, when it is another one."""
        if self._owns_tables:
            await self._tables.close()

    async def _find(self) -> list[ObjectInfo]:
        if self._source:
            try:
                return [await self._tables.head(self._source)]
            except NotFound:
                pass
        prefix = self._source and self._source + "/"
        found = [
            info async for page in self._tables.list(prefix) for info in page if info.key.lower().endswith(SUFFIXES)
        ]
        if not found and prefix:
            raise InvalidRequest("There is no table of slides at CSWS_SOURCE", parameter="CSWS_SOURCE")
        return found

    async def _load(self, found: Sequence[ObjectInfo]) -> None:
        try:
            self._loaded = await self._parse(found)
        except (InvalidRequest, LimitExceeded):
            self._versions = _versions(found)  # tried and complained of once
            raise
        self._versions = _versions(found)

    async def _parse(self, found: Sequence[ObjectInfo]) -> Index:
        tables: list[list[Row]] = []
        failures: list[MicrotomeError] = []
        for info in found:
            try:
                if info.size > TABLE_BYTES:
                    raise LimitExceeded(
                        f"Table {info.key} has more than {TABLE_BYTES} bytes", limit="TABLE_BYTES", value=info.size
                    )
                content = await self._tables.get_range(info.key, 0, info.size, etag=info.etag)
                tables.append(await asyncio.to_thread(_rows, content.data, info.key, self._columns))
            except (InvalidRequest, LimitExceeded) as error:
                failures.append(error)
        if failures and not tables:
            raise failures[0]
        for failure in failures:
            logger.error("a table of slides is left out: %s", failure)
        return await asyncio.to_thread(_index, tables, self._data_dir)


def _versions(found: Sequence[ObjectInfo]) -> list[tuple[str, str]]:
    return [(info.key, info.etag) for info in found]


def _rows(data: bytes, name: str, columns: Columns) -> list[Row]:
    """The lines of a table that are not empty. Raises InvalidRequest(parameter="CSWS_SOURCE") naming the line."""
    try:
        return list(_parsed(data.decode("utf-8-sig"), name, columns))
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"Table {name} is not UTF-8 text", parameter="CSWS_SOURCE") from error
    except csv.Error as error:
        raise InvalidRequest(f"Table {name} cannot be read: {error}", parameter="CSWS_SOURCE") from error


def _parsed(text: str, name: str, columns: Columns) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=columns.separator)
    last = max(columns.group_1, columns.group_2, columns.slide_id, columns.case_id, columns.path)
    for cells in reader:
        if not any(cells):
            continue
        place = f"Table {name}, line {reader.line_num}"
        if len(cells) <= last:
            raise InvalidRequest(
                f"{place}: {len(cells)} columns, and {last + 1} are needed; is CSWS_SEPARATOR right?",
                parameter="CSWS_SOURCE",
            )
        groups = cells[columns.group_1], cells[columns.group_2]
        if any(len(group) > LONGEST_GROUP for group in groups):
            raise InvalidRequest(
                f"{place}: a group has more than {LONGEST_GROUP} characters; are the columns right?",
                parameter="CSWS_SOURCE",
            )
        start = ".".join(groups)
        case, slide = cells[columns.case_id], cells[columns.slide_id]
        yield Row(f"{start}.c.{case}", f"{start}.w.{slide}", cells[columns.path], reader.line_num)


def _index(tables: Sequence[Sequence[Row]], data_dir: str) -> Index:
    sound: list[Row] = []
    keys: dict[str, str] = {}
    for row in (row for table in tables for row in table):
        try:
            key = key_of(row.path, data_dir)
        except NotFound:
            logger.warning("slide %s (line %d) is left out: its path leaves the data", row.slide_id, row.line)
            continue
        if keys.get(row.slide_id, key) != key:
            logger.warning("slide %s has several paths; line %d counts", row.slide_id, row.line)
        keys[row.slide_id] = key
        sound.append(row)
    index = Index()
    for row in sound:
        index.add_case(row.case_id, row.case_id)
        index.add(row.case_id, mapped(row.slide_id, row.slide_id, keys[row.slide_id]))
    return index
