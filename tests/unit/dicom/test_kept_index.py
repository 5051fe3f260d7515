"""Instances that were asked for lately are not looked up again, for a second, and never after a change of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from microtome.dicom.index.kept import KEPT_SECONDS, KeptIndex
from microtome.dicom.index.sql import SqlIndex
from microtome.dicom.index.sqlite import SqliteDatabase
from microtome.dicom.rows import InstanceRow
from microtome.errors import NotFound
from tests.unit.dicom.indexexam import batch
from tests.unit.dicom.instances import file, uid

PLACE = uid(1), uid(1, 1), uid(1, 1, 1)


class Counted(SqlIndex):
    looked_up = 0

    async def instance(self, study: str, series: str, sop: str) -> InstanceRow:
        self.looked_up += 1
        return await super().instance(study, series, sop)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[Counted]:
    found = Counted(SqliteDatabase(tmp_path / "index.sqlite"))
    await found.put(batch({"a.dcm": file()}))
    yield found
    await found.close()


async def test_an_instance_is_kept_for_a_moment(index: Counted) -> None:
    clock = Clock()
    kept = KeptIndex(index, clock=clock)
    first = await kept.instance(*PLACE)
    assert await kept.instance(*PLACE) is first
    assert index.looked_up == 1
    clock.now += KEPT_SECONDS
    assert await kept.instance(*PLACE) == first
    assert index.looked_up == 2


async def test_a_change_is_seen_at_once(index: Counted) -> None:
    kept = KeptIndex(index, clock=Clock())
    before = await kept.instance(*PLACE)
    changes = await kept.changes()
    await kept.put(batch({"a.dcm": file(Rows=5, Columns=5)}, modified=1.0))
    after = await kept.instance(*PLACE)
    assert (before.rows, after.rows) == (0, 5)
    assert await kept.changes() > changes
    await kept.forget(["a.dcm"])
    with pytest.raises(NotFound):
        await kept.instance(*PLACE)


async def test_what_is_not_there_is_not_kept(index: Counted) -> None:
    kept = KeptIndex(index, clock=Clock())
    for _ in range(2):
        with pytest.raises(NotFound):
            await kept.instance(uid(1), uid(1, 1), uid(9))
        with pytest.raises(NotFound):
            await kept.instance(uid(2), uid(1, 1), uid(1, 1, 1))
    assert index.looked_up == 4


async def test_all_else_is_passed_on(index: Counted) -> None:
    kept = KeptIndex(index)
    assert kept.view == "" == index.view
    assert [row.sop_uid for row in await kept.instances(uid(1))] == [PLACE[2]]
    assert (await kept.find_instance(PLACE[2])).key == "a.dcm"
    assert await kept.headers(uid(1)) == await index.headers(uid(1))
    assert await kept.revision(uid(1)) == await index.revision(uid(1))
    assert (await kept.totals()).instances == 1
    assert await kept.problems() == []
    assert [row[0] for row in await kept.files("", "z", 10)] == ["a.dcm"]
    async with kept.walking() as mine, kept.walking() as other:
        assert (mine, other) == (True, False)
