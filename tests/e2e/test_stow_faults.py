"""Storing on a disk that is full, and in a process that is killed: nothing that was acknowledged is ever lost."""

from __future__ import annotations

import errno
import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import generate_uid

from tests.dicommaker import CONTENT, made, message, place, reasons, sent, value, written
from tests.serving import served, until

KILLS = 4


def full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("call", ["write", "fsync", "mkstemp", "mkdir"])
def test_a_disk_that_says_it_is_full_at_any_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    (tmp_path / "data").mkdir()
    index = str(tmp_path / "index.sqlite")
    with served(tmp_path / "data", dicomweb=True, dicom_index=index, dicom_slides=False, dicom_store="in") as client:
        first = made()
        assert sent(client, message(written(first))).status == 200
        for size in (8, 1024):  # in one piece, and in several
            with monkeypatch.context() as patch:
                owner = {"mkstemp": "microtome.dicom.receive.tempfile", "mkdir": "pathlib.Path"}.get(
                    call, "microtome.dicom.receive.os"
                )
                patch.setattr(f"{owner}.{call}", full)
                answer = sent(client, message(written(made(size=size)), written(made(size=size)), b"no DICOM"))
            assert answer.status == 507
            assert sorted(reasons(answer)) == [0xA700, 0xA700, 0xC000]
        assert client.get(f"{place(first)}/frames/1").status == 200
        assert sent(client, message(written(made()))).status == 200, "the server lives on"
        left = list((tmp_path / "data").rglob(".incoming-*"))
        assert left == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 4 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if (
        os.geteuid()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("indexed", ["elsewhere", "on the same disk"])
def test_a_disk_that_is_full(small_disk: Path, tmp_path: Path, indexed: str) -> None:
    data, filler = small_disk / "data", small_disk / "filler"
    data.mkdir()
    index = str((tmp_path if indexed == "elsewhere" else small_disk) / "index.sqlite")
    with served(
        data, dicomweb=True, dicom_index=index, dicom_slides=False, dicom_store="in", dicom_rescan=0.2
    ) as client:
        kept = [made(size=256) for _ in range(3)]
        assert sent(client, message(*map(written, kept))).status == 200
        filler.write_bytes(b"x" * (os.statvfs(small_disk).f_bavail - 60) * os.statvfs(small_disk).f_bsize)
        small, large = made(size=8), [made(size=700) for _ in range(2)]
        answer = sent(client, message(written(large[0]), written(small), written(large[1])))
        assert answer.status in {202, 507}
        told = [value(each, "00081155") for each in answer.json().get("00081199", {"Value": []})["Value"]]
        assert reasons(answer).count(0xA700) == 3 - len(told) >= 2
        many = sent(client, message(*(written(made(size=64)) for _ in range(40))))
        assert many.status in {202, 507}
        assert set(reasons(many)) == {0xA700}
        for found in kept:
            assert client.get(f"{place(found)}/frames/1").status == 200
            assert client.get(f"{place(found)}/metadata").status == 200
        for name in told:
            assert client.get(f"/dicom/instances?SOPInstanceUID={name}").json()
        filler.unlink()
        again = sent(client, message(*map(written, large)))
        assert again.status == 200, again.body[:300]
        assert client.get(f"{place(large[1])}/frames/1").status == 200
        assert not list(data.rglob(".incoming-*"))


class Process:
    """A server of its own, and what it has acknowledged."""

    def __init__(self, root: Path) -> None:
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("MICROTOME_", "WSI_"))}
        self.running = subprocess.Popen(
            [sys.executable, "-m", "microtome", "serve", str(root / "data"), "--port", "0", "--dicom-store", "in",
             "--dicom-index", str(root / "index.sqlite"), "--dicom-rescan", "0.5s"],
            env=kept | {"XDG_CACHE_HOME": str(root)}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.running.stdout is not None
        found = re.search(r":(\d+)/", self.running.stdout.readline())
        assert found, "the server did not start"
        self.port = int(found[1])

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {"content-type": CONTENT} if body else {"accept": ACCEPT})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def kill(self) -> None:
        self.running.send_signal(signal.SIGKILL)
        self.running.wait(30)
        assert self.running.stdout is not None
        self.running.stdout.close()


ACCEPT = "application/dicom; transfer-syntax=*, application/dicom+json;q=0.9"


def test_a_killed_server_has_lost_nothing_it_acknowledged(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    acknowledged: dict[str, bytes] = {}
    sent_to: dict[str, bytes] = {}
    chance = random.Random(20261121)
    study = generate_uid()

    def upload(server: Process, enough: threading.Event) -> None:
        while True:
            found = [made(study, size=chance.choice((8, 64, 700))) for _ in range(chance.choice((1, 1, 5)))]
            files = {place(each): written(each) for each in found}
            sent_to.update(files)
            try:
                status, body = server.ask("POST", "/dicom/studies", message(*files.values()))
            except (OSError, http.client.HTTPException):
                return
            done = json.loads(body)["00081199"]["Value"] if status in {200, 202} else []
            names = {value(each, "00081155") for each in done}
            acknowledged.update({path: data for path, data in files.items() if path.rpartition("/")[2] in names})
            if len(acknowledged) >= goal:
                enough.set()

    for _ in range(KILLS):
        goal = len(acknowledged) + chance.randrange(1, 25)
        server, enough = Process(tmp_path), threading.Event()
        clients = [threading.Thread(target=upload, args=(server, enough)) for _ in range(3)]
        for each in clients:
            each.start()
        assert enough.wait(60), "nothing is acknowledged"
        threading.Event().wait(chance.random() * 0.05)  # somewhere in the middle of an upload
        server.kill()
        for each in clients:
            each.join(60)

    server = Process(tmp_path)
    try:

        def listed() -> set[str]:
            found = json.loads(server.ask("GET", "/dicom/instances?limit=9000")[1])
            return {value(each, "00081190").partition(str(server.port))[2] for each in found}

        until(lambda: acknowledged.keys() <= listed())
        assert len(acknowledged) > KILLS
        files = sum(1 for path in (tmp_path / "data").rglob("*.dcm"))
        until(lambda: len(listed()) == files)  # those that had their names are found by the walk
        for path in listed():
            status, data = server.ask("GET", path)
            assert (status, data == sent_to[path]) == (200, True), "whole, or not there at all"
        assert server.ask("POST", "/dicom/studies", message(written(made())))[0] == 200
    finally:
        server.kill()


def test_what_was_left_half_written_is_removed_in_time(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "in"
    folder.mkdir(parents=True)
    old, new = folder / ".incoming-old", folder / ".incoming-new"
    for path in (old, new):
        path.write_bytes(written(made()))
    os.utime(old, (1, 1))
    index = str(tmp_path / "index.sqlite")
    with served(tmp_path / "data", dicomweb=True, dicom_index=index, dicom_slides=False, dicom_store="in") as client:
        assert not old.exists()
        assert new.exists(), "another process may be writing it"
        stored = made()
        assert sent(client, message(written(stored))).status == 200
        assert [value(each, "00080018") for each in client.get("/dicom/instances").json()] == [stored.SOPInstanceUID]
