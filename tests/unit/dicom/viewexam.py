"""What the index without identities must do, whatever its database. Subclasses give the fixture ``place``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import parse_qsl

import orjson
import pytest

from microtome.dicom.deidentify.pseudonyms import Pseudonyms
from microtome.dicom.deidentify.view import DeidentifiedIndex
from microtome.dicom.index.base import Index
from microtome.dicom.index.database import Database
from microtome.dicom.index.url import open_database, open_index
from microtome.dicom.query import parse
from microtome.dicom.rows import Level
from microtome.errors import Conflict, Forbidden, NotFound
from tests.unit.dicom.indexexam import batch
from tests.unit.dicom.instances import archive, file, uid

KEY = "a key of thirty-two bytes or more"
REAL = [
    "PatientID=P-1", "PatientID=*-1", "PatientName=MÜLLER*", "PatientName=mu?ler^*", "PatientName=*yamada*",
    "PatientName=*山*", "AccessionNumber=acc", "AccessionNumber=?cc", "StudyDescription=*", "StudyDescription=Kopf",
    "StudyDate=20200115", "StudyDate=20200220", "StudyDate=20210101-", "StudyID=1", "PatientSex=M,F",
    "ReferringPhysicianName=*st*", f"StudyInstanceUID={uid(1)}", f"SeriesInstanceUID={uid(1, 1)}",
    f"SOPInstanceUID={uid(1, 1, 1)}", "RequestAttributesSequence.ScheduledProcedureStepID=S-1",
    "OperatorsName=*", "00090010=MICROTOME TEST&00091001=hidden", "AcquisitionDateTime=20200115-20200116",
]  # fmt: skip
"""Searches that find something where identities are shown, or mean everything where an attribute is not."""
UNIVERSAL = {"StudyDescription=*", "OperatorsName=*"}


def view(plain: Index, place: str, key: str = KEY, *, unmarked: bool = False) -> DeidentifiedIndex:
    async def opened(name: str) -> Database:
        return await open_database(place, beside=name)

    return DeidentifiedIndex(plain, opened, Pseudonyms(key), unmarked=unmarked)


async def studies(index: Index, query: str = "") -> list[str]:
    found = await index.search(parse(Level.STUDY, parse_qsl(query)))
    return [match.study_uid for match in found.matches]


class ViewExam:
    @pytest.fixture
    async def plain(self, place: str) -> AsyncIterator[Index]:
        opened = await open_index(place)
        await opened.put(batch(archive()))
        yield opened
        await opened.close()

    @pytest.fixture
    async def shown(self, plain: Index, place: str) -> AsyncIterator[DeidentifiedIndex]:
        opened = view(plain, place)
        yield opened
        await opened.close()

    @pytest.mark.parametrize("query", REAL)
    async def test_real_values_find_nothing(self, shown: DeidentifiedIndex, plain: Index, query: str) -> None:
        assert await studies(plain, query)
        found = await studies(shown, query)
        assert (len(found) == 4) if query in UNIVERSAL else not found

    async def test_what_is_found_leads_on(self, shown: DeidentifiedIndex, plain: Index) -> None:
        names = Pseudonyms(KEY)
        found = (await shown.search(parse(Level.INSTANCE, []))).matches
        real = (await plain.search(parse(Level.INSTANCE, []))).matches
        # The structured report is withheld.
        assert {each.sop_uid for each in found} == {names.uid(each.sop_uid) for each in real} - {
            names.uid(uid(1, 2, 1))
        }
        for match in found:
            row = await shown.instance(match.study_uid, match.series_uid, match.sop_uid)
            assert await shown.find_instance(match.sop_uid) == row
            original = await shown.original(row)
            assert names.uid(original.sop_uid) == row.sop_uid
            assert await shown.shown(original) == row
            (header,) = await shown.headers(match.study_uid, match.series_uid, match.sop_uid)
            patient = orjson.loads(header)["00100020"].get("Value", [""])[0]
            if patient:
                assert match.study_uid in await studies(shown, f"PatientID={patient}")
        with pytest.raises(NotFound):
            await shown.instance(uid(1), uid(1, 1), uid(1, 1, 1))
        with pytest.raises(NotFound):
            await shown.find_instance(uid(1, 1, 1))
        with pytest.raises(NotFound):
            await shown.shown(await plain.find_instance(uid(1, 2, 1)))

    async def test_studies_of_one_patient_belong_together(self, shown: DeidentifiedIndex, plain: Index) -> None:
        await plain.put(batch({"a9": file(9, PatientID="P-1", PatientName="Müller^Hans", StudyDate="20200130")}))
        (new,) = await studies(shown, f"StudyInstanceUID={Pseudonyms(KEY).uid(uid(9))}")
        documents = [orjson.loads((await shown.headers(each))[0]) for each in (new, Pseudonyms(KEY).uid(uid(1)))]
        assert documents[0]["00100020"] == documents[1]["00100020"]
        assert documents[0]["00100010"] == documents[1]["00100010"]

    async def test_what_changes_is_taken_over(self, shown: DeidentifiedIndex, plain: Index) -> None:
        names = Pseudonyms(KEY)
        (row,) = await shown.instances(names.uid(uid(4)))
        await plain.put(batch({"d1": file(4, 1, 1, Modality="SM", PatientID="other")}, modified=5.0))
        with pytest.raises(Conflict):
            await shown.original(row)
        (again,) = await shown.instances(names.uid(uid(4)))
        assert again.version != row.version
        assert await shown.original(again)

    async def test_what_goes_is_gone(self, shown: DeidentifiedIndex, plain: Index) -> None:
        names = Pseudonyms(KEY)
        rows = await shown.instances(names.uid(uid(1)))
        await plain.forget(["a1"])
        with pytest.raises(NotFound):
            await shown.original(next(row for row in rows if row.key == "a1"))
        await shown.take_over()
        assert [row.key for row in await shown.instances(names.uid(uid(1)))] == ["a2"]
        await plain.forget(["a2", "a3"])
        await shown.take_over()
        with pytest.raises(NotFound):
            await shown.instances(names.uid(uid(1)))
        assert len(await studies(shown)) == 3

    async def test_what_moves_stays(self, shown: DeidentifiedIndex, plain: Index) -> None:
        data = archive()["d1"]
        (before,) = await shown.instances(Pseudonyms(KEY).uid(uid(4)))
        await plain.forget(["d1"])
        await plain.put(batch({"elsewhere/d1": data}))
        await shown.take_over()
        (after,) = await shown.instances(before.study_uid)
        assert (before.key, after.key) == ("d1", "elsewhere/d1")
        assert (await shown.original(after)).key == "elsewhere/d1"

    async def test_what_is_burned_in_later_is_withheld(self, shown: DeidentifiedIndex, plain: Index) -> None:
        study = Pseudonyms(KEY).uid(uid(4))
        assert await shown.instances(study)
        await plain.put(batch({"d1": file(4, 1, 1, BurnedInAnnotation="YES")}, modified=5.0))
        await shown.take_over()
        with pytest.raises(NotFound):
            await shown.instances(study)

    async def test_another_process_finds_the_same(self, shown: DeidentifiedIndex, plain: Index, place: str) -> None:
        found = await studies(shown)
        assert len(found) == 4
        with_same_key, with_other = view(plain, place), view(plain, place, KEY[::-1])
        try:
            assert await studies(with_same_key) == found
            others = await studies(with_other)
            assert len(others) == 4
            assert not set(others) & set(found)
            assert with_same_key.view == shown.view != with_other.view
        finally:
            await with_same_key.close()
            await with_other.close()

    async def test_nothing_is_written_and_no_file_named(self, shown: DeidentifiedIndex) -> None:
        with pytest.raises(Forbidden):
            await shown.put(batch({"x": file(7)}))
        with pytest.raises(Forbidden):
            await shown.forget(["a1"])
        assert not await shown.files("", "\U0010ffff", 10)
        assert not await shown.problems(others=True)
