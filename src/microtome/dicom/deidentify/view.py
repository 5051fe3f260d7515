"""The index of what is shown without identities: an index of its own, made of the plain one and kept up with it.

It holds pseudonyms only, so no search, however it is meant, can tell anything of real values. Beside its tables it has
the way back, from each instance shown to the stored one; nothing but ``original`` goes it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from typing import Any

import orjson

from microtome.caching import Cache, Late
from microtome.dicom import syntaxes
from microtome.dicom.deidentify.profile import EDITION
from microtome.dicom.deidentify.pseudonyms import Pseudonyms
from microtome.dicom.deidentify.transform import Deidentifier
from microtome.dicom.deidentify.withheld import withheld
from microtome.dicom.index.answers import packed
from microtome.dicom.index.base import Batch, Found, Index, Problem, Scanned, State, Stored, Totals
from microtome.dicom.index.database import Database
from microtome.dicom.index.sql import SqlIndex
from microtome.dicom.query import Query
from microtome.dicom.rows import InstanceRow, Level, attributes_of
from microtome.errors import Conflict, Forbidden, MicrotomeError, NotFound
from microtome.telemetry import logger

AT_ONCE = 500
"""Instances of a transaction."""
PATIENCE = 3.0
"""A request waits so many s for what is being taken over, then is answered from what there is."""
_EVERY = 1.0
"""So many s pass before a request looks for changes of the plain index again."""
_BUDGET = 8 << 20
_ROW_BYTES = 1000
_TABLES = (
    "CREATE TABLE IF NOT EXISTS original (uid {text} PRIMARY KEY, study {text}, series {text}, sop {text})",
    "CREATE TABLE IF NOT EXISTS taken (study {text} PRIMARY KEY, revision {int})",
)


class DeidentifiedIndex:
    """``Index`` over the plain one. ``opened`` gives the database of a view by its name; nobody writes from outside."""

    def __init__(
        self,
        plain: Index,
        opened: Callable[[str], Awaitable[Database]],
        pseudonyms: Pseudonyms,
        *,
        unmarked: bool = False,
    ) -> None:
        self._plain = plain
        self._opened = opened
        self._pseudonyms = pseudonyms
        self._deidentifier = Deidentifier(pseudonyms)
        self._unmarked = unmarked
        self._name = pseudonyms.name(f"view {EDITION} {unmarked}")
        self._late = Late(self._open)
        self._seen = -1
        self._looked = 0.0
        self._rows: Cache[tuple[str, str, str], InstanceRow] = Cache(_BUDGET, weigh=lambda _: _ROW_BYTES)
        self._ways: Cache[str, tuple[str, str, str]] = Cache(_BUDGET, weigh=lambda _: _ROW_BYTES)
        self._taking: asyncio.Task[None] | None = None
        self._since = 0.0

    @property
    def deidentifier(self) -> Deidentifier:
        """What data sets are treated with."""
        return self._deidentifier

    @property
    def view(self) -> str:
        """Known to nobody without the key."""
        return self._name

    async def _open(self) -> tuple[Database, SqlIndex]:
        database = await self._opened(f"deidentified_{self._name[:16]}")
        async with database.writing() as writer:
            for table in _TABLES:
                await writer.execute(table.format(text="TEXT NOT NULL", int="BIGINT NOT NULL"), [()])
        return database, SqlIndex(database)

    # -- what is asked for -------------------------------------------------------------------------------------------

    async def search(self, query: Query) -> Found:
        """See ``Index``."""
        return await (await self._fresh()).search(query)

    async def instance(self, study: str, series: str, sop: str) -> InstanceRow:
        """See ``Index``."""
        index = await self._fresh()
        key = study, series, sop
        return await self._rows.get_or_compute(key, lambda: index.instance(study, series, sop))

    async def find_instance(self, sop: str) -> InstanceRow:
        """See ``Index``."""
        return await (await self._fresh()).find_instance(sop)

    async def instances(self, study: str, series: str | None = None) -> list[InstanceRow]:
        """See ``Index``."""
        return await (await self._fresh()).instances(study, series)

    async def headers(self, study: str, series: str | None = None, sop: str | None = None) -> list[bytes]:
        """See ``Index``."""
        return await (await self._fresh()).headers(study, series, sop)

    async def revision(self, study: str, series: str | None = None) -> int:
        """See ``Index``."""
        return await (await self._fresh()).revision(study, series)

    async def changes(self) -> int:
        """See ``Index``."""
        return await (await self._fresh()).changes()

    async def studies(self) -> Sequence[tuple[str, int]]:
        """See ``Index``."""
        return await (await self._fresh()).studies()

    async def totals(self) -> Totals:
        """See ``Index``."""
        return await (await self._fresh()).totals()

    async def original(self, row: InstanceRow) -> InstanceRow:
        """The stored instance that one of the view stands for. Raises NotFound, and Conflict when it was replaced."""
        try:
            stored = await self._plain.instance(*await self._ways.get_or_compute(row.sop_uid, lambda: self._way(row)))
        except NotFound as error:
            raise NotFound("instance", row.sop_uid) from error
        if (stored.key, stored.version) != (row.key, row.version):
            self._looked = 0.0
            raise Conflict("The instance was replaced; look it up again")
        return stored

    async def _way(self, row: InstanceRow) -> tuple[str, str, str]:
        database, _ = await self._late.get()
        found = await database.fetch("SELECT study, series, sop FROM original WHERE uid = ?", row.sop_uid)
        if not found:
            raise NotFound("instance", row.sop_uid)
        return found[0][0], found[0][1], found[0][2]

    async def shown(self, stored: InstanceRow) -> InstanceRow:
        """The instance of the view that stands for a stored one. Raises NotFound for one that is withheld."""
        try:
            return await self.find_instance(self._pseudonyms.uid(stored.sop_uid))
        except NotFound as error:
            raise NotFound("instance", stored.sop_uid) from error

    # -- what nobody may do here -------------------------------------------------------------------------------------

    async def put(self, batch: Batch) -> None:
        """Nothing is stored through a view: raises Forbidden."""
        raise Forbidden("Nothing can be stored where identities are not shown")

    async def forget(self, keys: Collection[str]) -> None:
        """As ``put``."""
        raise Forbidden("Nothing can be removed where identities are not shown")

    async def files(
        self, after: str, last: str, limit: int, *, inclusive: bool = False
    ) -> Sequence[tuple[str, int, str, State]]:
        """Nothing: names of files may be those of patients."""
        return []

    async def problems(self, limit: int = 100, cursor: str = "", *, others: bool = False) -> Sequence[Problem]:
        """Nothing, as ``files``."""
        return []

    def walking(self) -> AbstractAsyncContextManager[bool]:
        """See ``Index``."""
        return self._plain.walking()

    async def close(self) -> None:
        """Let go of the database of the view; the plain index is somebody else's."""
        if self._taking is not None:
            self._taking.cancel()
            with suppress(asyncio.CancelledError, MicrotomeError):
                await self._taking
        if (opened := self._late.at_hand()) is not None:
            await opened[1].close()

    # -- keeping up --------------------------------------------------------------------------------------------------

    async def _fresh(self) -> SqlIndex:
        """The view, up to date unless that takes long."""
        _, index = await self._late.get()
        now = time.monotonic()
        if self._taking is None and now - self._looked > _EVERY:
            self._looked = now
            if await self._plain.changes() != self._seen and self._taking is None:
                self._taking, self._since = asyncio.create_task(self._take_over()), now
        if (task := self._taking) is not None and (left := self._since + PATIENCE - time.monotonic()) > 0:
            await asyncio.wait([task], timeout=left)
        return index

    async def take_over(self) -> None:
        """Bring the view up to date, however long that takes."""
        await self._take_over()

    async def _take_over(self) -> None:
        try:
            database, index = await self._late.get()
            while True:
                changes = await self._plain.changes()
                async with database.only_one(f"take-{self._name[:16]}") as mine:
                    if mine:
                        await self._all(database, index)
                if mine:
                    break
                await asyncio.sleep(_EVERY / 4)  # another process does it
            self._seen = changes
            self._rows.clear()
            self._ways.clear()
        except MicrotomeError as error:
            logger.warning("The view without identities could not be brought up to date: %s", error.message)
        finally:
            self._taking = None

    async def _all(self, database: Database, index: SqlIndex) -> None:
        """Take over every study that changed, drop those that are gone."""
        known = {row[0]: row[1] for row in await database.fetch("SELECT study, revision FROM taken")}
        stored = [(uid, revision, self._pseudonyms.uid(uid)) for uid, revision in await self._plain.studies()]
        for gone in known.keys() - {shown for *_, shown in stored}:
            await self._replace(database, index, gone, [])
            await _run(database, "DELETE FROM taken WHERE study = ?", [(gone,)])
        for uid, revision, shown in sorted(stored, key=lambda each: each[1]):
            if known.get(shown) != revision:
                await self._study(database, index, uid, revision, shown)

    async def _study(self, database: Database, index: SqlIndex, uid: str, revision: int, shown: str) -> None:
        try:
            rows, headers = await self._plain.instances(uid), await self._plain.headers(uid)
        except NotFound:
            return  # it goes with the next look
        if len(rows) != len(headers):
            return
        parts = [slice(start, start + AT_ONCE) for start in range(0, len(rows), AT_ONCE)]
        work = [(rows[part], headers[part]) for part in parts]
        batches = [await asyncio.to_thread(self._batch, *each, revision) for each in work]
        await self._replace(database, index, shown, batches)
        await _run(
            database,
            "INSERT INTO taken VALUES (?, ?) ON CONFLICT (study) DO UPDATE SET revision = excluded.revision",
            [(shown, revision)],
        )

    async def _replace(
        self, database: Database, index: SqlIndex, shown: str, batches: Sequence[tuple[Batch, list[tuple[str, ...]]]]
    ) -> None:
        """Let a study of the view consist of these instances."""
        try:
            before = await index.instances(shown)
        except NotFound:
            before = []
        kept = {(each.file.key, each.row.sop_uid) for batch, _ in batches for each in batch.files if each.row}
        if gone := [row for row in before if (row.key, row.sop_uid) not in kept]:
            await index.forget({row.key for row in gone})
            await _run(database, "DELETE FROM original WHERE uid = ?", [(row.sop_uid,) for row in gone])
        for batch, ways in batches:
            await _run(
                database,
                "INSERT INTO original VALUES (?, ?, ?, ?) ON CONFLICT (uid) DO UPDATE SET study = excluded.study,"
                " series = excluded.series, sop = excluded.sop",
                ways,
            )
            await index.put(batch)

    def _batch(
        self, rows: Sequence[InstanceRow], headers: Iterable[bytes], revision: int
    ) -> tuple[Batch, list[tuple[str, ...]]]:
        """What is shown of instances, and the way back to each. Blocks."""
        batch, templates, ways = Batch(), dict[str, int](), list[tuple[str, ...]]()
        for row, header in zip(rows, headers, strict=True):
            made = self._document(row, header)
            if made is None:
                continue
            text = orjson.dumps(made)
            shown = self._row(row)
            if shown.series_uid not in templates:
                templates[shown.series_uid] = len(batch.templates)
                batch.templates.append(text)
            batch.studies.setdefault(shown.study_uid, {}).update(attributes_of(Level.STUDY, made))
            series = batch.series.setdefault((shown.study_uid, shown.series_uid), {})
            series.update(attributes_of(Level.SERIES, made))
            number = templates[shown.series_uid]
            stored = Stored(row.key, row.size, row.version, float(revision))
            batch.files.append(Scanned(stored, shown, number, packed(text, batch.templates[number])))
            ways.append((shown.sop_uid, row.study_uid, row.series_uid, row.sop_uid))
        return batch, ways

    def _document(self, row: InstanceRow, header: bytes) -> dict[str, Any] | None:
        """What is shown of an instance; None when it is withheld, as is what nobody can make sense of."""
        try:
            document = orjson.loads(header)
            if withheld(document, unmarked=self._unmarked):
                return None
            return self._deidentifier.document(document)
        except Exception:  # noqa: BLE001 - whatever it is, it must neither be shown nor stop the others
            logger.exception("Instance %s is withheld: its identities cannot be taken out", row.sop_uid)
            return None

    def _row(self, row: InstanceRow) -> InstanceRow:
        """The row of the view. What it stands for is written anew, so its data set is explicit little-endian."""
        uid, syntax = self._pseudonyms.uid, syntaxes.find(row.transfer_syntax)
        plain = syntax.implicit or syntax.big_endian or syntax.deflated
        return replace(
            row,
            study_uid=uid(row.study_uid),
            series_uid=uid(row.series_uid),
            sop_uid=uid(row.sop_uid),
            transfer_syntax=syntaxes.EXPLICIT_LITTLE if plain else row.transfer_syntax,
            frame_table=None,
        )


async def _run(database: Database, sql: str, rows: Sequence[Sequence[object]]) -> None:
    async with database.writing() as writer:
        await writer.execute(sql, rows)
