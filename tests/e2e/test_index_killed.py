"""A server and ``microtome index`` killed again and again while they index: nothing is lost or half there."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson

from microtome.demo.svs import write_demo
from microtome.dicom.index.base import Index
from microtome.dicom.index.url import open_index
from microtome.dicom.query import parse
from microtome.dicom.rows import Level
from tests.unit.dicom.instances import file, uid

FILES, SLIDES = 1200, 4
SECONDS = 120.0


def folder_of(place: Path) -> Path:
    """Many small files in folders, some that are broken, and slides of another format."""
    pattern = file(7, 1, 99999)
    for number in range(FILES):
        path = place / f"{number % 12:02}" / f"{number:05}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        other = pattern.replace(uid(7, 1, 99999).encode(), uid(7, 1, 10000 + number).encode())
        path.write_bytes(other if number % 100 else other[:200])
    for number in range(SLIDES):
        write_demo(place / f"{number}.svs", width=500, height=400, seed=number)
    return place


def command(kind: str, folder: Path, index: Path) -> list[str]:
    start = [sys.executable, "-m", "microtome"]
    if kind == "index":
        return [*start, "index", str(folder), "--index", str(index), "--processes", "1"]
    return [*start, "serve", str(folder), "--port", "0", "--dicom-index", str(index), "--dicom-settle", "0"]


async def content(index: Index) -> dict[str, object]:
    """All that an index says, apart from numbers of its own."""
    instances: list[object] = []
    studies = (await index.search(parse(Level.STUDY, [("limit", "1000")]))).matches
    for study in studies:
        rows = await index.instances(study.study_uid)
        headers = await index.headers(study.study_uid)
        assert len(rows) == len(headers) == study.attributes["00201208"]["Value"][0]
        instances += [
            (row.key, row.version, row.study_uid, row.series_uid, row.sop_uid, row.frames, orjson.loads(header))
            for row, header in zip(rows, headers, strict=True)
        ]
    files: list[object] = []
    after = ""
    while page := await index.files(after, "\U0010ffff", 1000):
        files += [tuple(each) for each in page]
        after = page[-1][0]
    told = [(each.key, each.reason) for each in await index.problems(10_000)]
    return {
        "studies": sorted(orjson.dumps(study.attributes, option=orjson.OPT_SORT_KEYS) for study in studies),
        "instances": sorted(instances, key=str),
        "files": files,
        "problems": told,
    }


async def until(index: Index, true: Callable[[int], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + SECONDS
    while not true((await index.totals()).instances):
        assert time.monotonic() < end, "it did not happen in time"
        if process.poll() is not None:
            return


async def run(kind: str, folder: Path, where: Path, true: Callable[[int], bool]) -> None:
    """Start a process, kill it as soon as the number of instances is as wanted."""
    index = await open_index(str(where))
    process = subprocess.Popen(  # noqa: ASYNC220
        command(kind, folder, where), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        await until(index, true, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        await index.close()


async def test_killed_at_any_moment_it_ends_with_the_same_index(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "data")
    everything = FILES - FILES // 100 + SLIDES * 5
    await run("serve", folder, tmp_path / "calm.sqlite", lambda count: count >= everything)
    index = await open_index(str(tmp_path / "calm.sqlite"))
    wanted = await content(index)
    await index.close()
    assert len(wanted["problems"]) == FILES // 100  # type: ignore[arg-type]
    dice = random.Random()
    seed = dice.randrange(1 << 32)
    dice.seed(seed)
    where = tmp_path / "killed.sqlite"
    reached = 0
    for number in range(5):
        goal = min(reached + dice.randrange(1, everything // 4), everything)
        await run("serve" if number % 2 else "index", folder, where, lambda count, goal=goal: count >= goal)  # type: ignore[misc]
        index = await open_index(str(where))
        try:
            found = await content(index)  # whole in itself, whenever it was killed
        finally:
            await index.close()
        now = len(found["instances"])  # type: ignore[arg-type]
        assert now >= reached, f"something was lost (seed {seed})"
        reached = now
    await run("serve", folder, where, lambda count: count >= everything)
    index = await open_index(str(where))
    assert await content(index) == wanted, f"seed {seed}"
    await index.close()
