"""The index in an SQL database, whichever it is."""

# ruff: noqa: S608  (all SQL is written here; what comes from outside is always an argument)

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import orjson

from microtome.dicom.index import answers, statement, writing
from microtome.dicom.index.base import Batch, Found, Match, Problem, SlideSeries, State, Totals
from microtome.dicom.index.database import Database, Row
from microtome.dicom.index.residual import fits, wanted_level
from microtome.dicom.index.schema import NO_NUMBER
from microtome.dicom.query import Query
from microtome.dicom.rows import SLIDE, WHOLE_SLIDE, Attributes, InstanceRow, Level, PixelPlace
from microtome.errors import LimitExceeded, NotFound

SCAN_LIMIT = 250_000
"""Headers read for one search whose attributes have no column."""
_CHUNK = 500
_LAST = "\U0010ffff"
_INSTANCE_COLUMNS = (
    "s.uid, e.uid, i.uid, i.sop_class, i.syntax, i.number, f.key, f.version, f.size, i.rows, i.columns, i.frames,"
    " i.bits, i.px_vr, i.px_offset, i.px_length, i.header_length"
)
_INSTANCE_TABLES = (
    "instance i JOIN series e ON e.id = i.series JOIN study s ON s.id = e.study JOIN file f ON f.id = i.file"
)
_RESULT = {
    Level.STUDY: "s.uid, '', '', s.js",
    Level.SERIES: "s.uid, e.uid, '', e.js",
    Level.INSTANCE: "s.uid, e.uid, i.uid, i.sop_class, i.syntax, i.number, i.rows, i.columns, i.frames, i.bits",
}
_HEADERS = {
    Level.STUDY: ("s.header",),
    Level.SERIES: ("s.header", "e.header"),
    Level.INSTANCE: ("COALESCE(t.data, ?)", "i.header"),
}


class SqlIndex:
    """See Index."""

    def __init__(self, database: Database, *, scan_limit: int = SCAN_LIMIT) -> None:
        self._database = database
        self._scan_limit = scan_limit

    @property
    def view(self) -> str:
        """All that is stored."""
        return ""

    async def search(self, query: Query) -> Found:
        """See Index."""
        if query.limit == 0:
            return Found((), more=False)
        made = statement.build(query, self._database)
        if made.rest or made.level != query.level:
            return await self._search_headers(query, made)
        source = f"{made.source} ORDER BY {made.order} LIMIT ? OFFSET ?"
        found = await self._results(query, source, [*made.arguments, query.limit + 1, query.offset])
        return Found(tuple(found[: query.limit]), more=len(found) > query.limit)

    async def _results(self, query: Query, source: str, arguments: Sequence[Any]) -> list[Match]:
        """Rows of ``source`` (SQL behind FROM) as answers."""
        parents = _parents(query)
        more = query.include_all or any(wanted_level(path) <= query.level for path in query.include)
        columns = _RESULT[query.level] + "".join(f", {each}" for each in parents)
        if not more:
            rows = await self._database.fetch(f"SELECT {columns} FROM {source}", *arguments)
            return [_match(query, row, len(parents)) for row in rows]
        headers = _HEADERS[query.level]
        start = f"SELECT {columns}, {', '.join(headers)} FROM "
        if query.level == Level.INSTANCE:
            source = source.replace("instance i ", "instance i LEFT JOIN template t ON t.id = i.template ", 1)
            arguments = [b"", *arguments]
        rows = await self._database.fetch(start + source, *arguments)
        return await asyncio.to_thread(_completed, query, rows, len(parents), len(headers))

    async def _search_headers(self, query: Query, made: statement.Statement) -> Found:
        """Attributes without a column: read the headers of all that the columns leave over, in order."""
        wanted = query.offset + query.limit + 1
        own, work = statement.ID[query.level], statement.ID[made.level]
        candidates = await self._database.fetch(
            f"SELECT {own}, {work} FROM {made.source} ORDER BY {made.order} LIMIT ?",
            *made.arguments, self._scan_limit + 1,
        )  # fmt: skip
        if len(candidates) > self._scan_limit:
            raise LimitExceeded(
                "Too many instances would have to be read for this search; add a study, a series, a date or a patient",
                limit="scan_limit", value=self._scan_limit,
            )  # fmt: skip
        found = dict[int, None]()
        for start in range(0, len(candidates), _CHUNK):
            part = candidates[start : start + _CHUNK]
            passed = await self._passed(made, [row[1] for row in part])
            found |= {row[0]: None for row in part if row[1] in passed}
            if len(found) >= wanted:
                break
        chosen = list(found)[query.offset : wanted]
        if not chosen:
            return Found((), more=False)
        results = dict[int, Match]()
        for start in range(0, len(chosen), _CHUNK):
            ids = chosen[start : start + _CHUNK]
            ordered = f"{statement.FROM[query.level]} WHERE {own} = ?"
            if len(ids) > 1:
                ordered = f"{statement.FROM[query.level]} WHERE {self._database.one_of(own)} ORDER BY {own}"
            listed = [self._database.listed(ids)] if len(ids) > 1 else ids
            matches = await self._results(query, ordered, listed)
            results |= zip(sorted(ids), matches, strict=True)
        answer = [results[each] for each in chosen]
        return Found(tuple(answer[: query.limit]), more=len(answer) > query.limit)

    async def _passed(self, made: statement.Statement, ids: Sequence[int]) -> set[int]:
        """Which of these studies, series or instances match the keys without a column."""
        columns, source = ", ".join(_HEADERS[made.level]), statement.FROM[made.level]
        arguments = list[Any]()
        if made.level == Level.INSTANCE:
            source = source.replace("instance i ", "instance i LEFT JOIN template t ON t.id = i.template ", 1)
            arguments.append(b"")
        own = statement.ID[made.level]
        rows = await self._database.fetch(
            f"SELECT {own}, {columns} FROM {source} WHERE {self._database.one_of(own)}",
            *arguments, self._database.listed(ids),
        )  # fmt: skip
        return await asyncio.to_thread(
            lambda: {row[0] for row in rows if fits(_header(made.level, row[1:]), made.rest)}
        )

    async def instance(self, study: str, series: str, sop: str) -> InstanceRow:
        """See Index."""
        found = await self._instance("i.uid = ? AND e.uid = ? AND s.uid = ?", sop, series, study)
        if found is None:
            raise NotFound("instance", sop)
        return found

    async def find_instance(self, sop: str) -> InstanceRow:
        """See Index."""
        found = await self._instance("i.uid = ?", sop)
        if found is None:
            raise NotFound("instance", sop)
        return found

    async def _instance(self, condition: str, *arguments: str) -> InstanceRow | None:
        rows = await self._database.fetch(
            f"SELECT {_INSTANCE_COLUMNS}, t.data FROM {_INSTANCE_TABLES}"
            f" LEFT JOIN frames t ON t.instance = i.id WHERE {condition}", *_clean(arguments),
        )  # fmt: skip
        return _instance(rows[0]) if rows else None

    async def instances(self, study: str, series: str | None = None) -> list[InstanceRow]:
        """See Index."""
        condition, arguments = _below(study, series)
        rows = await self._database.fetch(
            f"SELECT {_INSTANCE_COLUMNS}, NULL FROM {_INSTANCE_TABLES}"
            f" WHERE {condition} ORDER BY e.number, e.id, i.number, i.id", *arguments,
        )  # fmt: skip
        if not rows:
            raise _missing(study, series)
        return [_instance(row) for row in rows]

    async def headers(self, study: str, series: str | None = None, sop: str | None = None) -> list[bytes]:
        """See Index."""
        condition, arguments = _below(study, series)
        if sop is not None:
            condition, arguments = f"{condition} AND i.uid = ?", [*arguments, *_clean([sop])]
        rows = await self._database.fetch(
            "SELECT COALESCE(t.data, ?), i.header FROM instance i LEFT JOIN template t ON t.id = i.template"
            " JOIN series e ON e.id = i.series JOIN study s ON s.id = e.study"
            f" WHERE {condition} ORDER BY e.number, e.id, i.number, i.id", b"", *arguments,
        )  # fmt: skip
        if not rows:
            raise _missing(study, series) if sop is None else NotFound("instance", sop)
        return await asyncio.to_thread(lambda: [answers.unpacked(row[0], row[1]) for row in rows])

    async def revision(self, study: str, series: str | None = None) -> int:
        """See Index."""
        condition, arguments = _below(study, series)
        source = "study s" if series is None else "series e JOIN study s ON s.id = e.study"
        column = "s.revision" if series is None else "e.revision"
        rows = await self._database.fetch(f"SELECT {column} FROM {source} WHERE {condition}", *arguments)
        if not rows:
            raise _missing(study, series)
        return rows[0][0]

    async def changes(self) -> int:
        """See Index."""
        return int((await self._database.fetch("SELECT value FROM meta WHERE name = 'revision'"))[0][0])

    async def studies(self) -> Sequence[tuple[str, int]]:
        """See Index."""
        rows = await self._database.fetch("SELECT uid, revision FROM study")
        return [(row[0], row[1]) for row in rows]

    async def put(self, batch: Batch) -> None:
        """See Index."""
        await writing.put(self._database, batch)

    async def forget(self, keys: Collection[str]) -> None:
        """See Index."""
        await writing.forget(self._database, keys)

    async def files(
        self, after: str, last: str, limit: int, *, inclusive: bool = False
    ) -> Sequence[tuple[str, int, str, State]]:
        """See Index."""
        rows = await self._database.fetch(
            f"SELECT key, size, version, state FROM file WHERE key {'>=' if inclusive else '>'} ? AND key <= ?"
            " ORDER BY key LIMIT ?", after, last, limit,
        )  # fmt: skip
        return [(row[0], row[1], row[2], State(row[3])) for row in rows]

    async def problems(self, limit: int = 100, cursor: str = "", *, others: bool = False) -> Sequence[Problem]:
        """See Index."""
        wanted = "reason <> ''" if others else f"state >= 2 AND state <> {State.STALE}"
        rows = await self._database.fetch(
            f"SELECT key, state, reason, size FROM file WHERE {wanted} AND key > ? ORDER BY key LIMIT ?",
            *_clean([cursor]), limit,
        )  # fmt: skip
        return [Problem(row[0], State(row[1]), row[2], row[3]) for row in rows]

    async def totals(self) -> Totals:
        """See Index."""
        counts = list[int]()
        for sql in (
            "SELECT count(*) FROM study",
            "SELECT count(*) FROM series",
            "SELECT COALESCE(sum(n_instances), 0) FROM study",
            "SELECT count(*) FROM file",
            f"SELECT count(*) FROM file WHERE state >= 2 AND state <> {State.STALE}",
            f"SELECT COALESCE(sum(size), 0) FROM file WHERE state = {State.INDEXED}",
        ):
            counts.append(int((await self._database.fetch(sql))[0][0]))
        return Totals(*counts)

    async def slide_series(self) -> Sequence[SlideSeries]:
        """See Index."""
        rows = await self._database.fetch(
            "SELECT s.uid, e.uid, e.description FROM series e JOIN study s ON s.id = e.study WHERE EXISTS"
            " (SELECT 1 FROM instance i JOIN file f ON f.id = i.file WHERE i.series = e.id AND i.sop_class = ?"
            " AND NOT (f.key > ? AND f.key < ?))", WHOLE_SLIDE, SLIDE, SLIDE + _LAST,
        )  # fmt: skip
        return [SlideSeries(*row) for row in rows]

    async def holds_slides(self, key: str) -> bool:
        """See Index."""
        rows = await self._database.fetch(
            "SELECT count(*), COALESCE(max(CASE WHEN i.sop_class = ? THEN 1 ELSE 0 END), 0) FROM file f"
            " JOIN instance i ON i.file = f.id WHERE f.key = ? OR (f.key > ? AND f.key < ?)",
            WHOLE_SLIDE, *_clean([key, f"{key}/", f"{key}/{_LAST}"]),
        )  # fmt: skip
        return not rows[0][0] or bool(rows[0][1])

    def walking(self) -> AbstractAsyncContextManager[bool]:
        """See Index."""
        return self._database.only_one("walk")

    async def close(self) -> None:
        """See Index."""
        await self._database.close()


def _parents(query: Query) -> list[str]:
    """Ready answers of the levels above, which an answer contains when they are not fixed by the path."""
    parents = list[str]()
    if query.level >= Level.SERIES and query.study is None:
        parents.append("s.js")
    if query.level == Level.INSTANCE and query.series is None:
        parents.append("e.js")
    return parents


def _match(query: Query, row: Row, parents: int) -> Match:
    own = answers.instance_json(row) if query.level == Level.INSTANCE else bytes(row[3])
    if parents:
        start = 10 if query.level == Level.INSTANCE else 4
        own = answers.joined([*row[start : start + parents], own])
    return Match(row[0], row[1], row[2] if query.level == Level.INSTANCE else "", own)


def _completed(query: Query, rows: Sequence[Row], parents: int, headers: int) -> list[Match]:
    """Answers with the attributes asked for."""
    found = list[Match]()
    for row in rows:
        match = _match(query, row, parents)
        header = _header(query.level, row[len(row) - headers :])
        json = answers.with_fields(match.attributes, header, query.include, everything=query.include_all)
        found.append(Match(match.study_uid, match.series_uid, match.sop_uid, json))
    return found


def _header(level: Level, parts: Sequence[bytes]) -> Attributes:
    if level == Level.INSTANCE:
        return answers.without_large(orjson.loads(answers.unpacked(parts[0], parts[1])))
    return {tag: element for part in parts for tag, element in orjson.loads(part).items()}


def _instance(row: Row) -> InstanceRow:
    return InstanceRow(
        study_uid=row[0], series_uid=row[1], sop_uid=row[2], sop_class=row[3], transfer_syntax=row[4],
        number=None if row[5] == NO_NUMBER else row[5], key=row[6], version=row[7], size=row[8], rows=row[9],
        columns=row[10], frames=row[11], bits=row[12],
        pixel=PixelPlace(row[13], row[14], None if row[15] < 0 else row[15]) if row[14] >= 0 else None,
        header_length=row[16], frame_table=row[17],
    )  # fmt: skip


def _below(study: str, series: str | None) -> tuple[str, list[str]]:
    if series is None:
        return "s.uid = ?", _clean([study])
    return "s.uid = ? AND e.uid = ?", _clean([study, series])


def _missing(study: str, series: str | None) -> NotFound:
    return NotFound("study", study) if series is None else NotFound("series", series)


def _clean(values: Iterable[str]) -> list[str]:
    """What PostgreSQL takes: no NUL."""
    return [value.replace("\0", "\ufffd") for value in values]
