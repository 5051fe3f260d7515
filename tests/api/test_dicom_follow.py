"""How soon a running server notices what happens in its folder, alone and beside others that share its index."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from microtome.demo.svs import write_demo
from microtome.dicom.index.url import open_index
from microtome.dicom.index.walk import Walk
from microtome.storage.local import LocalStore
from tests.dicommaker import made, written
from tests.serving import Client, served, until

NEVER = 3600.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "first.dcm").write_bytes(written(made("1.2.1")))
    return folder


@pytest.fixture
def client(folder: Path) -> Iterator[Client]:
    """A server that walks over everything once, when it starts."""
    with served(folder, dicomweb=True, dicom_rescan=NEVER, dicom_settle=0.3, revalidate=0.1) as client:
        until(lambda: studies(client) == {"1.2.1"})
        yield client


def studies(client: Client) -> set[str]:
    """UIDs of what is stored as files."""
    found = client.get("/dicom/studies?ModalitiesInStudy=CT").json()
    return {each["0020000D"]["Value"][0] for each in found}


def slides(client: Client) -> set[str]:
    """Names of slides of other formats that are there as studies."""
    found = client.get("/dicom/studies?includefield=StudyDescription&ModalitiesInStudy=SM").json()
    return {each["00081030"]["Value"][0] for each in found}


def test_files_that_come_change_move_and_go(client: Client, folder: Path) -> None:
    (folder / "new").mkdir()
    (folder / "new" / "a.dcm").write_bytes(written(made("1.2.2")))
    until(lambda: studies(client) == {"1.2.1", "1.2.2"})
    (folder / "new" / "a.dcm").write_bytes(written(made("1.2.3")))
    until(lambda: studies(client) == {"1.2.1", "1.2.3"})
    (folder / "new").rename(folder / "moved")
    (folder / "marker.dcm").write_bytes(written(made("1.2.4")))
    until(lambda: studies(client) == {"1.2.1", "1.2.3", "1.2.4"})
    shutil.rmtree(folder / "moved")
    until(lambda: studies(client) == {"1.2.1", "1.2.4"})


def test_slides_of_other_formats_that_come_and_go(client: Client, folder: Path) -> None:
    (folder / "deep" / "er").mkdir(parents=True)
    write_demo(folder / "deep" / "er" / "a.svs", width=300, height=200)
    until(lambda: slides(client) == {"a.svs"})
    tifffile.imwrite(folder / "b.tif", np.zeros((300, 300, 3), np.uint8), tile=(256, 256), photometric="rgb")
    until(lambda: slides(client) == {"a.svs", "b.tif"})
    shutil.rmtree(folder / "deep")
    until(lambda: slides(client) == {"b.tif"})
    (folder / "b.tif").unlink()
    until(lambda: slides(client) == set())


def test_a_folder_that_is_empty_at_first_is_watched(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    with served(folder, dicomweb=True, dicom_rescan=NEVER) as client:
        assert studies(client) == set()
        for number in range(1, 200):  # until the system has begun to tell
            (folder / f"{number}.dcm").write_bytes(written(made(f"1.2.{number}")))
            if studies(client):
                break
        until(lambda: "1.2.1" in studies(client))


def test_an_index_in_the_folder_is_no_news(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walks: list[str] = []
    plain = Walk.run

    async def counted(self: Walk, prefix: str = "") -> object:
        walks.append(prefix)
        return await plain(self, prefix)

    monkeypatch.setattr(Walk, "run", counted)
    with served(folder, dicomweb=True, dicom_rescan=NEVER, dicom_index=str(folder / "index.sqlite")) as client:
        until(lambda: studies(client) == {"1.2.1"})
        (folder / "b.dcm").write_bytes(written(made("1.2.2")))
        until(lambda: studies(client) == {"1.2.1", "1.2.2"})
        (folder / "c.dcm").write_bytes(written(made("1.2.3")))
        until(lambda: studies(client) == {"1.2.1", "1.2.2", "1.2.3"})
    assert not [each for each in walks if each.startswith("index.sqlite")]


def test_servers_share_an_index(folder: Path, tmp_path: Path) -> None:
    options = {
        "dicomweb": True,
        "dicom_rescan": NEVER,
        "dicom_settle": 0.3,
        "dicom_index": str(tmp_path / "index.sqlite"),
    }
    with served(folder, **options) as second:
        with served(folder, **options) as first:
            until(lambda: studies(first) == studies(second) == {"1.2.1"})
            (folder / "b.dcm").write_bytes(written(made("1.2.2")))
            until(lambda: studies(first) == studies(second) == {"1.2.1", "1.2.2"})
        (folder / "c.dcm").write_bytes(written(made("1.2.3")))
        until(lambda: studies(second) == {"1.2.1", "1.2.2", "1.2.3"})
        write_demo(folder / "a.svs", width=300, height=200)
        until(lambda: slides(second) == {"a.svs"})


async def test_files_that_are_being_written_are_left_for_later(folder: Path, tmp_path: Path) -> None:
    index = await open_index(str(tmp_path / "index.sqlite"))
    walk = Walk(LocalStore(folder), index, settle=60)
    progress = await walk.run()
    assert (progress.read, progress.fresh) == (0, 1)
    os.utime(folder / "first.dcm", (time.time() - 61, time.time() - 61))
    progress = await walk.run()
    assert (progress.indexed, progress.fresh) == (1, 0)
    os.utime(folder / "first.dcm", (time.time() + 900, time.time() + 900))  # a clock that is wrong stops nothing
    assert (await walk.run()).indexed == 1
    await index.close()


def test_what_has_settled_is_read_without_further_news(folder: Path) -> None:
    with served(folder, dicomweb=True, dicom_rescan=NEVER, dicom_settle=0.5) as client:
        until(lambda: studies(client) == {"1.2.1"})
        data = written(made("1.2.2"))
        with (folder / "slow.dcm").open("wb") as file:
            for start in range(0, len(data), 50):  # longer than one look, never quiet for half a second
                file.write(data[start : start + 50])
                file.flush()
                problems = client.get("/admin/dicom/problems").body
                assert b"slow.dcm" not in problems
        until(lambda: studies(client) == {"1.2.1", "1.2.2"})
