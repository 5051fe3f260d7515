"""The index in SQLite."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from microtome.dicom.index import ingest
from microtome.dicom.index.base import Batch, Index, State, Stored
from microtome.dicom.index.ingest import LocalFile, read_local
from microtome.dicom.index.url import open_index, usual_index
from microtome.dicom.index.walk import Walk
from microtome.dicom.index.watch import Following, watch
from microtome.dicom.index.workers import Workers
from microtome.errors import InvalidRequest, StorageUnavailable
from microtome.storage.local import LocalStore
from tests.unit.dicom.indexexam import IndexExam, batch
from tests.unit.dicom.instances import file


class TestSqlite(IndexExam):
    @pytest.fixture
    async def index(self, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Index]:
        opened = await open_index(str(tmp_path_factory.mktemp("index") / "deep" / "index.sqlite"))
        yield opened
        await opened.close()

    async def test_two_handles_of_one_file(self, tmp_path: Path) -> None:
        one, two = [await open_index(f"sqlite://{tmp_path}/i.sqlite") for _ in range(2)]
        await one.put(batch({"a": file(1)}))
        assert (await two.totals()).instances == 1
        await two.put(batch({"b": file(2)}))
        assert (await one.totals()).instances == 2
        async with one.walking() as first, two.walking() as second:
            assert (first, second) == (True, False)
        await asyncio.gather(
            *((one, two)[i % 2].put(batch({f"{i}.dcm": file(3, i)})) for i in range(30)),
            *((two, one)[i % 2].totals() for i in range(30)),
        )
        assert (await one.totals()).instances == 32
        await one.close()
        await two.close()


async def test_what_is_no_index_is_refused(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "other.sqlite")
    other.execute("CREATE TABLE precious (x)")
    other.close()
    with pytest.raises(InvalidRequest, match="no index"):
        await open_index(str(tmp_path / "other.sqlite"))
    (tmp_path / "text").write_text("no database at all " * 100)
    with pytest.raises(StorageUnavailable, match="damaged"):
        await open_index(str(tmp_path / "text"))
    for wrong in ("mysql://host/x", str(tmp_path), "", "sqlite://"):
        with pytest.raises(InvalidRequest) as caught:
            await open_index(wrong)
        assert caught.value.parameter == "index"


def test_the_usual_place_depends_on_what_is_indexed(tmp_path: Path) -> None:
    environ = {"XDG_CACHE_HOME": str(tmp_path)}
    here, there = usual_index(str(tmp_path), environ), usual_index("s3://bucket", environ)
    assert here != there
    assert here == usual_index(f"{tmp_path}/.", environ)
    assert here.is_relative_to(tmp_path)


def deadly(root: str, files: Sequence[Stored]) -> Batch:
    """A reader that takes its process with it."""
    if any(stored.key == "deadly" for stored in files):
        os._exit(9)
    return read_local(root, files)


async def test_a_file_that_kills_its_reader_is_listed(tmp_path: Path) -> None:
    listed = list[Stored]()
    for number, key in enumerate(["a", "b", "deadly", "z"], 1):
        (tmp_path / key).write_bytes(file(number))
        status = (tmp_path / key).stat()
        listed.append(Stored(key, status.st_size, "", status.st_mtime))
    workers = Workers(f"{tmp_path}/", 1, read=deadly)
    found = await workers.read(listed)
    await workers.close()
    assert [(scanned.file.key, scanned.state) for scanned in found.files] == [
        ("a", State.INDEXED), ("b", State.INDEXED), ("deadly", State.BROKEN), ("z", State.INDEXED)
    ]  # fmt: skip
    assert len(found.studies) == 3


def test_files_that_changed_since_the_listing_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(file(1))
    status = (tmp_path / "a").stat()
    stale = Stored("a", status.st_size, "", status.st_mtime - 1)
    gone = Stored("b", 1, "", 0.0)
    assert read_local(f"{tmp_path}/", [stale, gone]).files == []
    fresh = Stored("a", status.st_size, "", status.st_mtime)
    assert len(read_local(f"{tmp_path}/", [fresh]).files) == 1
    plain = ingest.Collector.add

    def slow(self: ingest.Collector, stored: Stored, file: LocalFile) -> None:
        plain(self, stored, file)
        os.utime(tmp_path / "a", (1, 1))

    monkeypatch.setattr(ingest.Collector, "add", slow)
    assert read_local(f"{tmp_path}/", [fresh]).files == []
    (tmp_path / "p").mkdir()
    assert read_local(f"{tmp_path}/", [Stored("p", 0, "", 0.0)]).files == []


async def test_watching_follows_changes(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a").write_bytes(file(1))
    index = await open_index(str(tmp_path / "index.sqlite"))
    walk = Walk(LocalStore(folder), index)
    await walk.run()
    told = asyncio.Queue[int]()
    watching = asyncio.create_task(
        watch(walk, Following(every=0.05, tell=lambda progress: told.put_nowait(progress.indexed)))
    )
    (folder / "b").write_bytes(file(2))
    while await asyncio.wait_for(told.get(), 30) != 1:
        pass
    assert (await index.totals()).instances == 2
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    await index.close()


async def test_news_of_the_system_start_a_walk(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a").write_bytes(file(1))
    index = await open_index(str(tmp_path / "index.sqlite"))
    walk = Walk(LocalStore(folder), index)
    await walk.run()
    walked = asyncio.Event()
    watching = asyncio.create_task(watch(walk, Following(every=3600, quiet=0.05, tell=lambda _: walked.set())))
    for number in range(2, 200):  # until the system has begun to watch
        (folder / f"{number}").write_bytes(file(number))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(walked.wait(), 0.2)
            break
    assert walked.is_set()
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    await index.close()
