"""What every index must do, whatever its database. Subclasses give the fixture ``index``."""

from __future__ import annotations

import asyncio
import fnmatch
import os
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pydicom
import pytest

from microtome.dicom.index.base import Batch, Found, Index, State, Stored
from microtome.dicom.index.ingest import Collector
from microtome.dicom.index.walk import Walk
from microtome.dicom.part10 import Memory
from microtome.dicom.query import parse
from microtome.dicom.rows import Level
from microtome.errors import LimitExceeded, NotFound, StorageUnavailable
from microtome.storage.base import RangeResult
from microtome.storage.local import LocalStore
from microtome.storage.memory import MemoryStore
from tests.unit.dicom.instances import ROOT, archive, file, uid

Parameters = Iterable[tuple[str, str]]


def batch(files: dict[str, bytes], *, modified: float = 0.0) -> Batch:
    """Files as a batch."""
    collector = Collector()
    for key, data in files.items():
        collector.add(Stored(key, len(data), f"v{modified}", modified), Memory(data))
    return collector.batch


async def search(index: Index, level: Level, parameters: Parameters, **more: Any) -> Found:
    return await index.search(parse(level, parameters, **more))


def letters(found: Found) -> str:
    """Studies as the letters of ``archive``, sorted."""
    return "".join(sorted("?abcd"[int(match.study_uid.rpartition(".")[2])] for match in found.matches))


def names(found: Found) -> list[str]:
    """The numbers at the end of the UIDs of what was found."""
    return [(m.sop_uid or m.series_uid or m.study_uid).removeprefix(f"{ROOT}.") for m in found.matches]


STUDIES: list[tuple[str, str]] = [
    # single values and wildcards (PS3.4 C.2.2.2.1, C.2.2.2.4)
    ("", "abcd"),
    ("PatientID=P-1", "a"),
    ("00100020=P-1", "a"),
    ("PatientID=*-1", "ab"),
    ("PatientID=?-1", "ab"),
    ("PatientID=P?1", "a"),
    ("PatientID=P[1]", "c"),
    ("PatientID=P[*", "c"),
    ("PatientID=*", "abcd"),
    ("PatientID=", "abcd"),
    ("StudyDescription=Thorax 100%_x'", "a"),
    ("StudyDescription=Thorax*%*", "a"),
    ("StudyDescription=T%", ""),
    ("StudyDescription=Kop_", ""),
    ("StudyDescription=*'*", "a"),
    ("StudyDescription=' OR 1=1 --", ""),
    ("AccessionNumber=acc", "a"),
    ("PatientSex=M", "a"),
    ("PatientSex=M,F", "ab"),
    ("PatientSex=M\\F", "ab"),
    ("PatientSex=M&PatientSex=F", "ab"),
    # names, whatever case and accents
    ("PatientName=muller^hans", "a"),
    ("PatientName=MÜLLER*", "ac"),
    ("PatientName=mu?ler^*", "ac"),
    ("PatientName=Müller", ""),
    ("PatientName=Müller^Hans^^", "a"),
    ("PatientName=山田*", "b"),
    ("PatientName=やまだ^たろう", "b"),
    ("PatientName=Yamada*=山田*", "b"),
    ("PatientName=Yamada*=鈴木*", ""),
    ("PatientName==*=やまだ*", "b"),
    ("ReferringPhysicianName=stork^aesa", "a"),
    ("ReferringPhysicianName=STØRK*", "a"),
    ("PatientName=hans&fuzzymatching=true", "a"),
    ("PatientName=Anna Müller&fuzzymatching=true", "c"),
    ("PatientName=mul&fuzzymatching=true", "ac"),
    ("PatientName=uller&fuzzymatching=true", ""),
    ("PatientName=*uller*&fuzzymatching=true", "ac"),
    ("PatientName=太郎&fuzzymatching=true", "b"),
    # ranges
    ("StudyDate=20200115", "a"),
    ("StudyDate=20200115-20200220", "ab"),
    ("StudyDate=20200116-", "bc"),
    ("StudyDate=-20200115", "a"),
    ("StudyDate=202001-202002", "ab"),
    ("StudyDate=2020-01-15", "a"),
    ("StudyTime=1015", "a"),
    ("StudyTime=0930-1015", "ab"),
    ("StudyTime=235959.4-", "c"),
    ("StudyTime=-093000", "b"),
    ("StudyDate=20200115-20200220&StudyTime=1200-1000", "b"),
    # UIDs
    (f"StudyInstanceUID={uid(1)}", "a"),
    (f"StudyInstanceUID={uid(1)},{uid(3)}", "ac"),
    (f"StudyInstanceUID={uid(1)}\\{uid(3)}", "ac"),
    (f"StudyInstanceUID={uid(1)}&0020000d={uid(3)}", "ac"),
    ("StudyInstanceUID=1.2.3", ""),
    # of the levels below
    ("ModalitiesInStudy=CT", "a"),
    ("ModalitiesInStudy=CT,MR", "ab"),
    ("ModalitiesInStudy=CT\\SM", "ad"),
    ("ModalitiesInStudy=CT&ModalitiesInStudy=MR", "ab"),
    ("ModalitiesInStudy=S*", "ad"),
    ("ModalitiesInStudy=OT", "c"),
    ("SOPClassesInStudy=1.2.840.10008.5.1.4.1.1.88.33", "a"),
    ("Modality=SR", "a"),
    ("Modality=SR&SeriesDescription=Report", "a"),
    ("Modality=CT&SeriesDescription=Report", ""),
    ("InstanceNumber=9", "b"),
    ("NumberOfStudyRelatedInstances=3", "a"),
    # what has no column
    ("KVP=80", "a"),
    ("KVP=120.0", "c"),
    ("ImageType=SECONDARY", "a"),
    ("OperatorsName=grun^*", "b"),
    ("RequestAttributesSequence.ScheduledProcedureStepID=S-2", "c"),
    ("00400275.00400009=S-?", "c"),
    ("00400275.00400009=S-1&00400275.00401001=R-1", "c"),
    ("00400275.00400009=S-1&00400275.00401001=R-2", ""),
    ("AcquisitionDateTime=20200115091500", "a"),
    ("AcquisitionDateTime=20200115101400+0100-20200115101600+0100", "a"),
    ("AcquisitionDateTime=20200115101400-", ""),
    ("00090010=MICROTOME TEST&00091001=hidden", "c"),
    ("00090020=MICROTOME TEST&00092001=hidden", "c"),
    ("00090010=SOMEBODY ELSE&00091001=hidden", ""),
    ("00091001=hid*", "c"),
    # empty values
    ('PatientID=""&emptyvaluematching=true', "d"),
    ('PatientName=""&emptyvaluematching=true', "d"),
    ('StudyDate=""&emptyvaluematching=true', "d"),
    ('PatientID=""', ""),
    # ignored with a warning
    ("Nonsense=1", "abcd"),
]


class IndexExam:
    """The exam."""

    @pytest.fixture
    async def index(self) -> Index:
        raise NotImplementedError

    # -- searching

    async def test_studies(self, filled: Index) -> None:
        wrong = dict[str, str]()
        for query, expected in STUDIES:
            parts = [part.partition("=") for part in query.split("&") if part]
            found = await search(filled, Level.STUDY, [(name, value) for name, _, value in parts])
            if letters(found) != expected:
                wrong[query] = f"{letters(found)} instead of {expected}"
        assert wrong == {}

    @pytest.fixture
    async def filled(self, index: Index) -> Index:
        await index.put(batch(archive()))
        return index

    async def test_wildcards_agree_with_fnmatch(self, index: Index) -> None:
        rng = random.Random(7)
        ids = {"".join(rng.choices("ab%_\\'é", k=rng.randint(1, 5))) for _ in range(60)}
        ids = {each for each in ids if "\\" not in each}
        await index.put(batch({str(i): file(i, PatientID=each) for i, each in enumerate(sorted(ids), 1)}))
        for _ in range(40):
            pattern = "".join(rng.choices("ab%_'é*?", k=rng.randint(1, 5)))
            expected = {each for each in ids if fnmatch.fnmatchcase(each, pattern)}
            found = await search(index, Level.STUDY, [("PatientID", pattern)])
            assert {match.attributes["00100020"]["Value"][0] for match in found.matches} == expected, pattern

    async def test_default_attributes_of_a_study(self, filled: Index) -> None:
        (study,) = (await search(filled, Level.STUDY, [("PatientID", "P-1")])).matches
        told = study.attributes
        assert list(told) == sorted(told)
        assert told["00080061"] == {"vr": "CS", "Value": ["CT", "SR"]}
        assert told["00201206"] == {"vr": "IS", "Value": [2]}
        assert told["00201208"] == {"vr": "IS", "Value": [3]}
        assert told["00080056"]["Value"] == ["ONLINE"]
        assert told["00100010"]["Value"] == [{"Alphabetic": "Müller^Hans"}]
        assert told["00100030"] == {"vr": "DA"}  # type 2, without a value
        assert "00081190" not in told  # URLs are for whoever knows them

    async def test_a_series_uid_in_two_studies(self, index: Index) -> None:
        """Files break the rule; both studies keep what they say of themselves."""
        same: dict[str, Any] = {"SeriesInstanceUID": uid(9, 9), "Modality": "MR"}
        await index.put(batch({"a": file(1, PatientID="A", **same), "b": file(2, PatientID="B", **same)}))
        found = (await search(index, Level.STUDY, [])).matches
        assert {match.attributes["00100020"]["Value"][0] for match in found} == {"A", "B"}
        assert all(match.attributes["0020000D"]["Value"] == [match.study_uid] for match in found)
        assert all(match.attributes["00080061"]["Value"] == ["MR"] for match in found)

    async def test_modalities_are_never_empty(self, filled: Index) -> None:
        for match in (await search(filled, Level.STUDY, [])).matches:
            assert match.attributes["00080061"]["Value"]
        (series,) = (await search(filled, Level.SERIES, [], study=uid(3))).matches
        assert series.attributes["00080060"] == {"vr": "CS", "Value": ["OT"]}

    async def test_series_and_instances(self, filled: Index) -> None:
        series = await search(filled, Level.SERIES, [], study=uid(1))
        assert names(series) == ["1.1", "1.2"]
        first, second = (match.attributes for match in series.matches)
        assert first["00201209"] == {"vr": "IS", "Value": [2]}
        assert first["00080060"]["Value"] == ["CT"]
        assert second["00200011"] == {"vr": "IS"}
        assert "00100010" not in first
        await filled.put(batch({"a0": file(1, 3, 1, SeriesNumber=0)}))
        assert names(await search(filled, Level.SERIES, [], study=uid(1))) == ["1.3", "1.1", "1.2"]  # by number
        instances = await search(filled, Level.INSTANCE, [], study=uid(2), series=uid(2, 1))
        assert names(instances) == ["2.1.9", "2.1.10"]  # by number
        told = (await search(filled, Level.INSTANCE, [], study=uid(1), series=uid(1, 1))).matches[0].attributes
        assert told["00083002"] == {"vr": "UI", "Value": ["1.2.840.10008.1.2.1"]}
        assert told["00280010"] == {"vr": "US", "Value": [4]}
        assert told["00280011"] == {"vr": "US", "Value": [6]}
        assert told["00280100"] == {"vr": "US", "Value": [16]}
        assert told["00200013"] == {"vr": "IS", "Value": [1]}
        assert list(told) == sorted(told)

    async def test_relational_searches(self, filled: Index) -> None:
        assert names(await search(filled, Level.SERIES, [("StudyInstanceUID", uid(1)), ("Modality", "SR")])) == ["1.2"]
        assert names(await search(filled, Level.INSTANCE, [("SeriesInstanceUID", uid(2, 1))])) == ["2.1.9", "2.1.10"]
        assert names(await search(filled, Level.INSTANCE, [("PatientID", "p-1"), ("InstanceNumber", "10")])) == [
            "2.1.10"
        ]
        found = await search(filled, Level.INSTANCE, [("Modality", "SM")])
        told = found.matches[0].attributes
        assert told["00080060"]["Value"] == ["SM"]  # of the series
        assert told["00200010"]["Value"] == ["4"]  # of the study
        assert names(await search(filled, Level.INSTANCE, [], study=uid(1))) == ["1.1.1", "1.1.2", "1.2.1"]
        parameters = [("00080016", "1.2.840.10008.5.1.4.1.1.88.33"), ("00080060", "SR"), ("0020000E", uid(1, 2))]
        assert names(await search(filled, Level.INSTANCE, parameters, study=uid(1))) == ["1.2.1"]
        assert names(await search(filled, Level.INSTANCE, [], study=uid(9))) == []

    async def test_includefield(self, filled: Index) -> None:
        async def told(level: Level, *fields: str, **more: Any) -> dict[str, Any]:
            found = await search(filled, level, [("includefield", field) for field in fields], **more)
            return found.matches[0].attributes

        c = {"study": uid(3), "series": uid(3, 1)}
        assert "00180060" not in await told(Level.INSTANCE, **c)
        assert (await told(Level.INSTANCE, "KVP", **c))["00180060"] == {"vr": "DS", "Value": [120]}
        several = await told(Level.INSTANCE, "00180060,PatientID", "00091001", **c)
        assert {"00180060", "00100020", "00091001"} <= several.keys()
        items = await told(Level.INSTANCE, "RequestAttributesSequence.RequestedProcedureID", **c)
        assert items["00400275"]["Value"] == [
            {"00401001": {"vr": "SH", "Value": ["R-1"]}}, {"00401001": {"vr": "SH", "Value": ["R-2"]}}
        ]  # fmt: skip
        everything = await told(Level.INSTANCE, "all", **c)
        assert {"00180060", "00091001", "00400275", "00080056"} <= everything.keys()
        of_study = await told(Level.STUDY, "all")
        assert "00100040" in of_study
        assert not {"00180060", "00080060", "00080018"} & of_study.keys()
        assert "00180060" not in await told(Level.STUDY, "KVP")

    async def test_keys_are_returned(self, filled: Index) -> None:
        found = await search(filled, Level.INSTANCE, [("KVP", "120")], study=uid(3), series=uid(3, 1))
        assert found.matches[0].attributes["00180060"]["Value"] == [120]

    async def test_pages_are_stable_and_complete(self, filled: Index) -> None:
        for level, parameters in (
            (Level.STUDY, []), (Level.SERIES, []), (Level.INSTANCE, []), (Level.INSTANCE, [("KVP", "80")]),
            (Level.STUDY, [("PatientID", "*1*")]),
        ):  # fmt: skip
            whole = names(await search(filled, level, parameters))
            for size in (1, 2, 3):
                paged = list[str]()
                while True:
                    page = [("limit", str(size)), ("offset", str(len(paged)))]
                    found = await search(filled, level, [*parameters, *page])
                    paged += names(found)
                    assert found.more == (len(paged) < len(whole))
                    if not found.more:
                        break
                assert paged == whole
            assert names(await search(filled, level, [*parameters, ("limit", "0")])) == []
            assert names(await search(filled, level, [*parameters, ("offset", "1000")])) == []

    async def test_newest_study_first(self, filled: Index) -> None:
        assert names(await search(filled, Level.STUDY, [])) == ["3", "2", "1", "4"]

    async def test_reading_headers_has_a_limit(self, filled: Index) -> None:
        filled._scan_limit = 3  # type: ignore[attr-defined]
        assert letters(await search(filled, Level.STUDY, [("KVP", "80"), ("PatientID", "P-1")])) == "a"
        with pytest.raises(LimitExceeded):
            await search(filled, Level.STUDY, [("KVP", "80")])

    async def test_hostile_values(self, filled: Index) -> None:
        for value in ("'; DROP TABLE study; --", "a\0b", "%" * 16_000, "*a" * 8_000, "\\", "\U0001f600", "?" * 9_000):
            for name in ("PatientID", "PatientName", "StudyDescription", "StudyInstanceUID", "OperatorsName"):
                await search(filled, Level.STUDY, [(name, value)])
        with pytest.raises(NotFound):
            await filled.instance("\0", "\0", "\0")
        assert letters(await search(filled, Level.STUDY, [])) == "abcd"

    # -- instances

    async def test_instances_and_headers(self, filled: Index) -> None:
        row = await filled.instance(uid(1), uid(1, 1), uid(1, 1, 2))
        assert (row.key, row.number, row.rows, row.columns, row.bits) == ("a2", 2, 4, 6, 16)
        assert await filled.find_instance(uid(1, 1, 2)) == row
        for wrong in ((uid(2), uid(1, 1), uid(1, 1, 2)), (uid(1), uid(1, 2), uid(1, 1, 2)), (uid(1), uid(1, 1), "1")):
            with pytest.raises(NotFound):
                await filled.instance(*wrong)
        assert [row.key for row in await filled.instances(uid(1))] == ["a1", "a2", "a3"]
        assert [row.key for row in await filled.instances(uid(2), uid(2, 1))] == ["b2", "b1"]
        with pytest.raises(NotFound):
            await filled.instances(uid(1), uid(2, 1))
        headers = [orjson.loads(header) for header in await filled.headers(uid(1))]
        assert [header["00080018"]["Value"] for header in headers] == [
            [uid(1, 1, 1)], [uid(1, 1, 2)], [uid(1, 2, 1)]
        ]  # fmt: skip
        (one,) = await filled.headers(uid(3), uid(3, 1), uid(3, 1, 1))
        assert orjson.loads(one)["00091001"] == {"vr": "LO", "Value": ["hidden"]}
        with pytest.raises(NotFound):
            await filled.headers(uid(3), uid(3, 1), uid(1, 1, 1))

    async def test_counts_and_revisions_follow(self, filled: Index) -> None:
        before, other = await filled.revision(uid(1), uid(1, 1)), await filled.revision(uid(2))
        await filled.put(batch({"a4": file(1, 1, 3, PatientName="Müller^Hans", PatientSex="O")}))
        assert await filled.revision(uid(1), uid(1, 1)) > before
        assert await filled.revision(uid(1)) > before
        assert await filled.revision(uid(2)) == other
        (study,) = (await search(filled, Level.STUDY, [("0020000D", uid(1))])).matches
        assert study.attributes["00201208"]["Value"] == [4]
        assert study.attributes["00100040"]["Value"] == ["O"]
        assert study.attributes["00081030"]["Value"] == ["Thorax 100%_x'"]  # only older files know it
        await filled.forget(["a1", "a2", "a4"])
        (study,) = (await search(filled, Level.STUDY, [("0020000D", uid(1))])).matches
        assert study.attributes["00080061"]["Value"] == ["SR"]
        assert study.attributes["00201206"]["Value"] == [1]
        with pytest.raises(NotFound):
            await filled.revision(uid(1), uid(1, 1))
        await filled.forget(["a3"])
        assert letters(await search(filled, Level.STUDY, [])) == "bcd"
        with pytest.raises(NotFound):
            await filled.revision(uid(1))

    async def test_a_file_may_become_another_instance(self, filled: Index) -> None:
        await filled.put(batch({"b1": file(7, 1, 1)}, modified=1.0))
        assert [row.key for row in await filled.instances(uid(2))] == ["b2"]
        assert [row.key for row in await filled.instances(uid(7))] == ["b1"]
        with pytest.raises(NotFound):
            await filled.find_instance(uid(2, 1, 10))

    async def test_of_duplicates_the_newest_is_served(self, index: Index) -> None:
        await index.put(batch({"old": file(1, 1, 1, PatientSex="M")}, modified=1.0))
        await index.put(batch({"new": file(1, 1, 1, PatientSex="F")}, modified=2.0))
        await index.put(batch({"older": file(1, 2, 1, SOPInstanceUID=uid(1, 1, 1))}, modified=0.5))
        assert (await index.find_instance(uid(1, 1, 1))).key == "new"
        problems = {problem.key: problem for problem in await index.problems()}
        assert problems.keys() == {"old", "older"}
        assert all(problem.state == State.DUPLICATE and "new" in problem.reason for problem in problems.values())
        assert "another study or series" in problems["older"].reason
        assert (await index.totals()).instances == 1
        await index.forget(["new"])
        assert {key: state for key, _, _, state in await index.files("", "~", 10)} == {
            "old": State.STALE, "older": State.STALE
        }  # fmt: skip
        assert (await index.totals()).studies == 0

    async def test_problems_come_in_pages(self, index: Index) -> None:
        await index.put(batch({f"{i}.dcm": file(i)[: 132 + 20 * i] for i in range(1, 6)}))
        keys, cursor = list[str](), ""
        while page := await index.problems(2, cursor):
            keys += [problem.key for problem in page]
            assert all(problem.reason for problem in page)
            cursor = page[-1].key
        assert keys == [f"{i}.dcm" for i in range(1, 6)]

    # -- walking

    async def test_a_walk_reads_only_what_is_new(self, index: Index, tmp_path: Path) -> None:
        for key, data in archive().items():
            (tmp_path / key).write_bytes(data)
        (tmp_path / "readme.txt").write_text("no DICOM")
        (tmp_path / "broken.dcm").write_bytes(archive()["a1"][:140])
        store = LocalStore(tmp_path)
        walk = Walk(store, index)
        first = await walk.run()
        assert (first.listed, first.read, first.indexed, first.others, first.broken) == (9, 9, 7, 1, 1)
        assert first.changed == 9
        assert [problem.key for problem in await index.problems()] == ["broken.dcm"]
        assert {problem.key for problem in await index.problems(others=True)} == {"broken.dcm", "readme.txt"}
        assert (await walk.run()).read == 0
        (tmp_path / "b1").write_bytes(file(2, 1, 10, PatientName="Changed"))
        (tmp_path / "a3").unlink()
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep" / "new").write_bytes(file(5))
        third = await walk.run()
        assert (third.read, third.gone) == (2, 1)
        assert letters(await search(index, Level.STUDY, [("PatientName", "changed")])) == "b"
        totals = await index.totals()
        assert (totals.studies, totals.instances, totals.files) == (5, 7, 9)
        await store.close()

    async def test_a_part_may_be_walked_alone(self, index: Index, tmp_path: Path) -> None:
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
        (tmp_path / "one" / "x").write_bytes(file(1))
        (tmp_path / "two" / "x").write_bytes(file(2))
        walk = Walk(LocalStore(tmp_path), index)
        await walk.run()
        (tmp_path / "one" / "x").unlink()
        (tmp_path / "two" / "x").unlink()
        assert (await walk.run("one/")).gone == 1
        assert [key for key, *_ in await index.files("", "~", 10)] == ["two/x"]

    async def test_a_duplicate_takes_the_place_of_what_is_gone(self, index: Index, tmp_path: Path) -> None:
        for modified, name in enumerate(("b-oldest", "c-newest"), 1000):
            (tmp_path / name).write_bytes(file(1))
            os.utime(tmp_path / name, (modified, modified))
        walk = Walk(LocalStore(tmp_path), index)
        await walk.run()
        assert (await index.find_instance(uid(1, 1, 1))).key == "c-newest"
        (tmp_path / "c-newest").unlink()
        await walk.run()
        assert (await index.find_instance(uid(1, 1, 1))).key == "b-oldest"
        assert await index.problems() == []

    async def test_an_empty_place_is_not_believed(self, index: Index, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(file(1))
        store = LocalStore(tmp_path)
        await Walk(store, index).run()
        (tmp_path / "x").unlink()
        with pytest.raises(StorageUnavailable, match="mounted"):
            await Walk(store, index).run()
        assert (await index.totals()).instances == 1
        await Walk(store, index, may_be_empty=True).run()
        assert (await index.totals()).instances == 0

    async def test_settling_files_wait(self, index: Index, tmp_path: Path) -> None:
        (tmp_path / "old").write_bytes(file(1))
        os.utime(tmp_path / "old", (1000, 1000))
        (tmp_path / "young").write_bytes(file(2))
        progress = await Walk(LocalStore(tmp_path), index, settle=3600).run()
        assert progress.read == 1
        assert [key for key, *_ in await index.files("", "~", 10)] == ["old"]

    async def test_a_bucket(self, index: Index) -> None:
        big = file(1, 1, 1, TextValue="x" * 300_000)
        store = MemoryStore({"a/1.dcm": big, "a/2.dcm": file(1, 1, 2), "b.txt": b"nothing"})
        progress = await Walk(store, index).run()
        assert (progress.indexed, progress.others) == (2, 1)
        reads = [request for request in store.log if request.kind == "range"]
        assert sum(request.stop - request.start for request in reads if request.key == "a/1.dcm") < 200_000
        assert len([request for request in reads if request.key == "a/2.dcm"]) == 1
        before = len(store.log)
        await Walk(store, index).run()
        assert all(request.kind == "list" for request in store.log[before:])
        store.put("a/2.dcm", file(1, 1, 2))  # another version
        assert (await Walk(store, index).run()).read == 1
        assert (await index.find_instance(uid(1, 1, 2))).version == "version-4"

    async def test_an_object_that_may_not_be_read(self, index: Index) -> None:
        class Closed(MemoryStore):
            closed = True

            async def get_range(self, key: str, start: int, stop: int, *, etag: str | None = None) -> RangeResult:
                if key == "a" and self.closed:
                    raise StorageUnavailable("access denied", permanent=True)
                return await super().get_range(key, start, stop, etag=etag)

        store = Closed({"a": file(1), "b": file(2)})
        progress = await Walk(store, index).run()
        assert (progress.indexed, progress.broken) == (1, 1)
        assert [problem.reason for problem in await index.problems()] == ["access denied"]
        store.closed = False
        assert (await Walk(store, index).run()).indexed == 1
        assert await index.problems() == []

    async def test_a_store_that_fails_stops_the_walk(self, index: Index) -> None:
        class Failing(MemoryStore):
            async def get_range(self, key: str, start: int, stop: int, *, etag: str | None = None) -> RangeResult:
                raise StorageUnavailable("nobody there", unreachable=True)

        with pytest.raises(StorageUnavailable, match="nobody there"):
            await Walk(Failing({"a": file(1)}), index).run()
        assert (await index.totals()).files == 0

    async def test_headers_agree_with_pydicom(self, index: Index, testdata: Path) -> None:
        folder = testdata / "dicom" / "derived"
        await Walk(LocalStore(folder), index).run()
        for problem in await index.problems():
            assert problem.reason
        seen = 0
        for match in (await search(index, Level.INSTANCE, [("includefield", "all")])).matches:
            row = await index.find_instance(match.sop_uid)
            oracle = pydicom.dcmread(folder / row.key, stop_before_pixels=True)
            assert match.attributes["00080018"]["Value"] == [oracle.SOPInstanceUID]
            assert match.attributes["00100020"].get("Value", [""])[0] == (oracle.PatientID or "")
            assert (row.rows, row.columns) == (oracle.get("Rows") or 0, oracle.get("Columns") or 0)
            assert row.frames == int(oracle.get("NumberOfFrames") or 1)
            seen += 1
        assert seen == (await index.totals()).instances > 20

    async def test_one_walker_at_a_time(self, index: Index) -> None:
        async with index.walking() as first, index.walking() as second:
            assert (first, second) == (True, False)
        async with index.walking() as again:
            assert again

    async def test_many_writers_and_readers(self, index: Index) -> None:
        async def write(number: int) -> None:
            await index.put(batch({f"{number}-{i}": file(number % 3 + 1, number, i) for i in range(1, 4)}))

        async def read() -> None:
            for match in (await search(index, Level.STUDY, [])).matches:
                assert match.attributes["00201208"]["Value"][0] % 3 == 0  # never half of a batch

        await asyncio.gather(*(write(i) for i in range(1, 10)), *(read() for _ in range(20)))
        assert (await index.totals()).instances == 27
        for match in (await search(index, Level.STUDY, [])).matches:
            assert match.attributes["00201208"]["Value"] == [9]

    async def test_a_failed_batch_leaves_nothing(self, filled: Index) -> None:
        before = await filled.totals()
        bad = batch({"x": file(8, 1, 1), "y": file(8, 1, 2)})
        object.__setattr__(bad.files[1].row, "bits", "many")
        object.__setattr__(bad.files[1], "header", object())
        with pytest.raises(Exception):  # noqa: B017, PT011  (whatever the driver says to an object)
            await filled.put(bad)
        assert await filled.totals() == before
        await filled.put(batch({"x": file(8, 1, 1)}))
        assert (await filled.totals()).instances == before.instances + 1
