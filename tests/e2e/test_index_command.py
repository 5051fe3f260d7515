"""``microtome index`` as a process: what it prints, and what is left of it when it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from microtome.dicom.index.base import Index
from microtome.dicom.index.url import open_index
from microtome.dicom.query import parse
from microtome.dicom.rows import Level
from tests.e2e.postgresserver import NoServer, PostgresServer
from tests.unit.dicom.instances import file, uid

PROGRAM = [sys.executable, "-m", "microtome", "index"]
STUDIES, INSTANCES = 30, 100


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MICROTOME_", "WSI_", "AWS_"))}
    return {**kept, "XDG_CACHE_HOME": str(home), "HOME": str(home)}


def run(*arguments: str | Path, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)], env=environment(home), cwd=home, capture_output=True, text=True, timeout=100
    )


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with so many files that indexing them can be interrupted."""
    folder = tmp_path_factory.mktemp("many")
    pattern = file(7, 1, 99999)
    for study in range(STUDIES):
        (folder / f"{study:03}").mkdir()
        for instance in range(INSTANCES):
            other = pattern.replace(uid(7, 1, 99999).encode(), uid(7, 1, 10000 + study * INSTANCES + instance).encode())
            other = other.replace(uid(7, 1).encode(), uid(study % 8 + 1, 1).encode()) if study % 8 != 6 else other
            other = other.replace(uid(7).encode() + b"\0", uid(study % 8 + 1).encode() + b"\0")
            (folder / f"{study:03}" / f"{instance:03}.dcm").write_bytes(other)
    return folder


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer | None]:
    server = PostgresServer()
    try:
        server.__enter__()
    except NoServer:
        yield None
        return
    try:
        yield server
    finally:
        server.__exit__(None, None, None)


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer | None) -> str:
    """Where an index may be made."""
    if request.param == "sqlite":
        return str(tmp_path / "index.sqlite")
    if postgres is None:
        pytest.skip("no PostgreSQL")
    return postgres.database()


@pytest.fixture
async def watched(where: str) -> AsyncIterator[Index]:
    """The index, open beside the process that writes it."""
    opened = await open_index(where)
    yield opened
    await opened.close()


async def consistent(index: Index) -> int:
    """Check every count against what is there; the number of instances."""
    found = 0
    for study in (await index.search(parse(Level.STUDY, []))).matches:
        instances = await index.instances(study.study_uid)
        assert study.attributes["00201208"]["Value"] == [len(instances)]
        series = (await index.search(parse(Level.SERIES, [], study=study.study_uid))).matches
        assert study.attributes["00201206"]["Value"] == [len(series)]
        for each in series:
            inside = await index.instances(study.study_uid, each.series_uid)
            assert each.attributes["00201209"]["Value"] == [len(inside)]
            assert len(await index.headers(study.study_uid, each.series_uid)) == len(inside)
        found += len(instances)
    assert found == (await index.totals()).instances
    return found


async def test_killing_it_leaves_a_whole_index(many: Path, where: str, watched: Index, tmp_path: Path) -> None:
    process = subprocess.Popen(  # noqa: ASYNC220
        [*PROGRAM, str(many), "--index", where, "--processes", "1"], env=environment(tmp_path), cwd=tmp_path,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while process.poll() is None and (await watched.totals()).files == 0:
            pass
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL, "it was ready before it could be killed"
    before = await consistent(watched)
    assert 0 < before < STUDIES * INSTANCES
    done = run(many, "--index", where, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"Read {STUDIES * INSTANCES - before:,} files" in done.stdout
    assert await consistent(watched) == STUDIES * INSTANCES


def test_what_it_prints(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(1, 4):
        (folder / f"{number}.dcm").write_bytes(file(number))
    (folder / "copy.dcm").write_bytes(file(3))
    (folder / "short.dcm").write_bytes(file(4)[:140])
    (folder / "notes.txt").write_text("no DICOM")
    first = run(folder, home=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "Read 6 files" in first.stdout
    assert "3 studies, 3 series, 3 instances" in first.stdout
    assert "✗ short.dcm: " in first.stdout
    assert "which is served" in first.stdout
    again = run(folder, home=tmp_path)
    assert "Read 0 files" in again.stdout
    assert "6 unchanged" in again.stdout
    (kept,) = (tmp_path / "microtome" / "dicom").glob("*.sqlite")
    (folder / "1.dcm").unlink()
    named = run(folder, "--index", kept, home=tmp_path)
    assert "1 gone" in named.stdout


def test_refusals(tmp_path: Path) -> None:
    for arguments in (
        (tmp_path / "nowhere",), (tmp_path, "--index", "mysql://host/x"), (), (tmp_path, "--index", tmp_path)
    ):  # fmt: skip
        done = run(*arguments, home=tmp_path)
        assert done.returncode == 1
        assert done.stderr.startswith("microtome: ")
        assert "Traceback" not in done.stderr


async def test_a_second_one_is_sent_away(tmp_path: Path) -> None:
    folder, where = tmp_path / "data", str(tmp_path / "index.sqlite")
    folder.mkdir()
    index = await open_index(where)
    async with index.walking():
        done = run(folder, "--index", where, home=tmp_path)
    await index.close()
    assert done.returncode == 1
    assert "another process" in done.stderr
