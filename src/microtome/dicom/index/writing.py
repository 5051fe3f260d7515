"""How a batch gets into the tables: one transaction, counts and ready answers kept along with it."""

# ruff: noqa: S608  (all SQL is written here; what comes from outside is always an argument)

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from microtome.dicom import matching, rows
from microtome.dicom.index.answers import UNKNOWN_MODALITY, dumped, packed_template, series_json, study_json
from microtome.dicom.index.base import Batch, Scanned, State
from microtome.dicom.index.database import Database, Row, Writer
from microtome.dicom.index.schema import NO_NUMBER
from microtome.dicom.rows import Attributes, InstanceRow

_FILE = "INSERT INTO file (id, key, size, version, modified, state, reason, sop_uid) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_REFILE = "UPDATE file SET size = ?, version = ?, modified = ?, state = ?, reason = ?, sop_uid = ? WHERE id = ?"
_INSTANCE = f"INSERT INTO instance VALUES ({', '.join('?' * 17)})"
_SERIES = f"INSERT INTO series VALUES ({', '.join('?' * 15)})"
_RESERIES = """UPDATE series SET modality = ?, number = ?, description = ?, date = ?, time = ?, body_part = ?,
    pps_date = ?, pps_time = ?, n_instances = ?, revision = ?, js = ?, header = ? WHERE id = ?"""
_STUDY = f"INSERT INTO study VALUES ({', '.join('?' * 24)})"
_RESTUDY = """UPDATE study SET patient_id = ?, patient_a = ?, patient_i = ?, patient_p = ?, patient_words = ?,
    birth = ?, sex = ?, date = ?, time = ?, accession = ?, description = ?, referring_a = ?, referring_i = ?,
    referring_p = ?, referring_words = ?, study_id = ?, modalities = ?, n_series = ?, n_instances = ?, revision = ?,
    js = ?, header = ? WHERE id = ?"""


@dataclass(slots=True)
class _Holder:
    """The instance of a UID, stored already or of this batch."""

    file: int
    key: str
    rank: tuple[bool, float]
    """Whether nothing is wrong with the file, and when it was modified; the highest one is served."""
    study: str
    series: str
    stored: int | None = None
    scanned: Scanned | None = None


@dataclass(slots=True)
class _Work:
    """What a transaction has found out and is going to write."""

    writer: Writer
    revision: int
    touched: set[int] = field(default_factory=set[int])
    studies: set[int] = field(default_factory=set[int])
    """Ids of series whose instances changed, and of studies whose series did."""


async def put(database: Database, batch: Batch) -> None:
    """See Index.put."""

    async def written(writer: Writer) -> None:
        work = await _begin(writer)
        holders = await _settle_files(work, batch)
        fresh = {uid: each for uid, each in holders.items() if each.scanned is not None}
        await _insert(work, batch, fresh)
        await _finish(work, batch)

    await database.transaction(written)


async def forget(database: Database, keys: Collection[str]) -> None:
    """See Index.forget."""

    async def written(writer: Writer) -> None:
        work = await _begin(writer)
        gone = await writer.fetch(f"SELECT id FROM file WHERE {writer.one_of('key')}", writer.listed(keys))
        ids = [row[0] for row in gone]
        freed = await _remove_instances(work, await _instances_of(writer, "i.file", ids))
        await writer.execute("DELETE FROM file WHERE id = ?", [(each,) for each in ids])
        await _wake(writer, freed)
        await _finish(work, Batch())

    if keys:
        await database.transaction(written)


async def _begin(writer: Writer) -> _Work:
    found = await writer.fetch("SELECT value FROM meta WHERE name = 'revision'")
    revision = int(found[0][0]) + 1
    await writer.execute("UPDATE meta SET value = ? WHERE name = 'revision'", [(str(revision),)])
    return _Work(writer, revision)


async def _instances_of(writer: Writer, column: str, values: Iterable[Any]) -> Sequence[Row]:
    """id, series, uid, file, key, modified, study UID, series UID, problems of instances."""
    return await writer.fetch(
        "SELECT i.id, i.series, i.uid, i.file, f.key, f.modified, s.uid, e.uid, f.reason FROM instance i"
        " JOIN series e ON e.id = i.series JOIN study s ON s.id = e.study JOIN file f ON f.id = i.file"
        f" WHERE {writer.one_of(column)}",
        writer.listed(values),
    )  # fmt: skip


async def _remove_instances(work: _Work, found: Sequence[Row]) -> set[str]:
    """Delete instances; their UIDs."""
    ids = [(row[0],) for row in found]
    work.touched |= {row[1] for row in found}
    await work.writer.execute("DELETE FROM frames WHERE instance = ?", ids)
    await work.writer.execute("DELETE FROM instance WHERE id = ?", ids)
    return {row[2] for row in found}


async def _wake(writer: Writer, uids: Collection[str]) -> None:
    """Files that stood back behind an instance which is gone are to be read again."""
    if uids:
        await writer.execute(
            f"UPDATE file SET state = {State.STALE}, reason = '' WHERE state = {State.DUPLICATE}"
            f" AND {writer.one_of('sop_uid')}", [(writer.listed(uids),)],
        )  # fmt: skip


async def _settle_files(work: _Work, batch: Batch) -> dict[str, _Holder]:
    """Write the files; decide which of several files of one instance is it: of the sound ones the one modified last."""
    writer = work.writer
    latest = {scanned.file.key: scanned for scanned in batch.files}
    known = await writer.fetch(f"SELECT key, id FROM file WHERE {writer.one_of('key')}", writer.listed(latest))
    ids: dict[str, int] = {row[0]: row[1] for row in known}
    freed = await _remove_instances(work, await _instances_of(writer, "i.file", ids.values()))
    uids = {scanned.row.sop_uid for scanned in latest.values() if scanned.row is not None}
    stored = {row[0]: row for row in await _instances_of(writer, "i.uid", uids)}
    holders = {
        row[2]: _Holder(row[3], row[4], (not row[8], row[5]), row[6], row[7], stored=row[0]) for row in stored.values()
    }
    following = await _next(writer, "file")
    fresh, again, displaced = list[list[Any]](), list[list[Any]](), list[Row]()
    told = dict[int, list[Any]]()
    for key, scanned in latest.items():
        number = ids.get(key)
        if number is None:
            number, following = following, following + 1
        file, row = scanned.file, scanned.row
        facts: list[Any] = [file.size, file.version, file.modified, int(scanned.state), _plain(scanned.reason), ""]
        told[number] = facts
        if row is not None:
            mine = _Holder(
                number, key, (not scanned.reason, file.modified), row.study_uid, row.series_uid, scanned=scanned
            )
            other = holders.get(row.sop_uid)
            if other is not None and other.rank >= mine.rank:
                facts[3:] = [int(State.DUPLICATE), _reason(mine, other), row.sop_uid]
            else:
                if other is not None and other.stored is not None:
                    displaced.append(stored[other.stored])
                if other is not None:
                    shadow = [int(State.DUPLICATE), _reason(other, mine), row.sop_uid]
                    if other.file in told:
                        told[other.file][3:] = shadow
                    else:
                        again.append([other.file, *shadow])
                holders[row.sop_uid] = mine
        (fresh if key not in ids else []).append([number, key, facts])
    await _remove_instances(work, displaced)
    await writer.execute(_FILE, [[number, key, *facts] for number, key, facts in fresh])
    await writer.execute(_REFILE, [[*told[number], number] for number in ids.values()])
    await writer.execute(
        "UPDATE file SET state = ?, reason = ?, sop_uid = ? WHERE id = ?", [[*each[1:], each[0]] for each in again]
    )
    await _wake(writer, freed - holders.keys())
    return holders


def _reason(loser: _Holder, winner: _Holder) -> str:
    same = (loser.study, loser.series) == (winner.study, winner.series)
    where = "" if same else ", in another study or series"
    return f"The same SOP Instance UID is in {winner.key}{where}, which is served"


async def _insert(work: _Work, batch: Batch, fresh: Mapping[str, _Holder]) -> None:
    """Instances, and rows for studies and series that are not there yet."""
    if not fresh:
        return
    writer = work.writer
    parents = await _parents(work, {(each.study, each.series) for each in fresh.values()})
    template_at, templates = await _next(writer, "template"), dict[int, int]()
    following = await _next(writer, "instance")
    instances, frames, headers = list[Sequence[Any]](), list[Sequence[Any]](), list[Sequence[Any]]()
    for holder in fresh.values():
        scanned = cast("Scanned", holder.scanned)
        row = cast("InstanceRow", scanned.row)
        if batch.templates and scanned.template not in templates:
            templates[scanned.template] = template_at
            headers.append((template_at, row.series_uid, packed_template(batch.templates[scanned.template])))
            template_at += 1
        series = parents[row.study_uid, row.series_uid]
        work.touched.add(series)
        pixel = row.pixel
        instances.append((
            following, series, row.sop_uid, row.sop_class, row.transfer_syntax,
            NO_NUMBER if row.number is None else row.number, row.rows, row.columns, row.frames, row.bits, holder.file,
            pixel.vr if pixel else "", pixel.offset if pixel else -1,
            -1 if pixel is None or pixel.length is None else pixel.length, row.header_length,
            templates.get(scanned.template, 0), scanned.header,
        ))  # fmt: skip
        if row.frame_table is not None:
            frames.append((following, row.frame_table))
        following += 1
    await writer.execute("INSERT INTO template VALUES (?, ?, ?)", headers)
    await writer.execute(_INSTANCE, instances)
    await writer.execute("INSERT INTO frames VALUES (?, ?)", frames)


async def _parents(work: _Work, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Ids of series by UIDs of study and series; those that are missing are made."""
    writer = work.writer
    studies = writer.listed({study for study, _ in wanted})
    study_ids = {
        row[0]: row[1] for row in await writer.fetch(f"SELECT uid, id FROM study WHERE {writer.one_of('uid')}", studies)
    }
    missing = sorted({study for study, _ in wanted} - study_ids.keys())
    first = await _next(writer, "study")
    study_ids |= {uid: first + i for i, uid in enumerate(missing)}
    await writer.execute(
        _STUDY, [(study_ids[uid], uid, *[""] * 17, 0, 0, work.revision, b"", b"{}") for uid in missing]
    )
    found = await writer.fetch(
        "SELECT s.uid, e.uid, e.id FROM series e JOIN study s ON s.id = e.study"
        f" WHERE {writer.one_of('s.uid')} AND {writer.one_of('e.uid')}",
        studies, writer.listed({series for _, series in wanted}),
    )  # fmt: skip
    ids = {(row[0], row[1]): row[2] for row in found}
    absent = sorted(wanted - ids.keys())
    first = await _next(writer, "series")
    ids |= {pair: first + i for i, pair in enumerate(absent)}
    await writer.execute(
        _SERIES,
        [
            (ids[pair], study_ids[pair[0]], pair[1], "", NO_NUMBER, *[""] * 6, 0, work.revision, b"", b"{}")
            for pair in absent
        ],
    )
    return ids


async def _finish(work: _Work, batch: Batch) -> None:
    """Count again what changed, drop what is empty, make the ready answers."""
    writer = work.writer
    if not work.touched:
        return
    touched = writer.listed(work.touched)
    found = await writer.fetch(
        "SELECT e.id, e.study, s.uid, e.uid, e.header,"
        " (SELECT count(*) FROM instance i WHERE i.series = e.id)"
        f" FROM series e JOIN study s ON s.id = e.study WHERE {writer.one_of('e.id')}", touched,
    )  # fmt: skip
    work.studies |= {row[1] for row in found}
    empty = [row for row in found if row[5] == 0]
    await writer.execute("DELETE FROM series WHERE id = ?", [(row[0],) for row in empty])
    for row in empty:
        others = await writer.fetch("SELECT 1 FROM series WHERE uid = ?", row[3])
        if not others:
            await writer.execute("DELETE FROM template WHERE series_uid = ?", [(row[3],)])
    await writer.execute(_RESERIES, [_series(work, batch, row) for row in found if row[5]])
    await _finish_studies(work, batch)


def _series(work: _Work, batch: Batch, row: Row) -> list[Any]:
    number, _, study, uid, header, instances = row
    attributes = _merged(orjson.loads(header), batch.series.get((study, uid), {}))
    modality = rows.text(attributes, rows.MODALITY) or UNKNOWN_MODALITY
    index = rows.whole(attributes, "00200011", bits=62)
    return [
        modality, NO_NUMBER if index is None else index, rows.text(attributes, "0008103E"),
        _moment("DA", attributes, "00080021"), _moment("TM", attributes, "00080031"),
        rows.text(attributes, "00180015"), _moment("DA", attributes, "00400244"),
        _moment("TM", attributes, "00400245"), instances, work.revision,
        series_json(attributes, study, modality, instances), dumped(attributes), number,
    ]  # fmt: skip


async def _finish_studies(work: _Work, batch: Batch) -> None:
    writer = work.writer
    studies = writer.listed(work.studies)
    counted = await writer.fetch(
        f"SELECT study, modality, count(*), sum(n_instances) FROM series WHERE {writer.one_of('study')}"
        " GROUP BY study, modality ORDER BY study, modality", studies,
    )  # fmt: skip
    facts = dict[int, tuple[list[str], int, int]]()
    for study, modality, series, instances in counted:
        modalities, all_series, all_instances = facts.setdefault(study, ([], 0, 0))
        modalities.append(modality)
        facts[study] = (modalities, all_series + series, all_instances + int(instances))
    found = await writer.fetch(f"SELECT id, uid, header FROM study WHERE {writer.one_of('id')}", studies)
    await writer.execute("DELETE FROM study WHERE id = ?", [(row[0],) for row in found if row[0] not in facts])
    await writer.execute(_RESTUDY, [_study(work, batch, row, *facts[row[0]]) for row in found if row[0] in facts])


def _study(work: _Work, batch: Batch, row: Row, modalities: list[str], series: int, instances: int) -> list[Any]:
    number, uid, header = row
    attributes = _merged(orjson.loads(header), batch.studies.get(uid, {}))
    return [
        rows.text(attributes, "00100020"), *_names(attributes, "00100010"), _moment("DA", attributes, "00100030"),
        rows.text(attributes, "00100040"), _moment("DA", attributes, "00080020"),
        _moment("TM", attributes, "00080030"), rows.text(attributes, "00080050"), rows.text(attributes, "00081030"),
        *_names(attributes, "00080090"), rows.text(attributes, "00200010"), "\\".join(modalities), series, instances,
        work.revision, study_json(attributes, modalities, series, instances), dumped(attributes), number,
    ]  # fmt: skip


def _merged(old: Attributes, new: Attributes) -> dict[str, Any]:
    """What newer files say, and what only older ones do."""
    told = {tag: element for tag, element in new.items() if len(element) > 1 or tag not in old}
    return {**old, **told}


def _names(attributes: Attributes, tag: str) -> tuple[str, str, str, str]:
    name = rows.first(attributes, tag)
    return (*matching.normal_names(name), matching.name_words(name))


def _moment(kind: str, attributes: Attributes, tag: str) -> str:
    return matching.normal_moment(kind, rows.first(attributes, tag))


def _plain(text: str) -> str:
    return text.replace("\0", "")[:2000]


async def _next(writer: Writer, table: str) -> int:
    """The first free id. Nobody else writes meanwhile."""
    return (await writer.fetch(f"SELECT COALESCE(MAX(id), 0) + 1 FROM {table}"))[0][0]
