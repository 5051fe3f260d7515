"""Processes that are killed without a word: nothing of them may stay that harms the next one."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from microtome.storage.copies import LocalCopies
from microtome.storage.memory import MemoryStore
from microtome.storage.pinned import PinnedObject
from tests import tiffmaker
from tests.e2e.test_workers import Running, until

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes in /proc")


def shared_folders(pid: int) -> set[Path]:
    """The folders of shared caches that a process has mapped."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    paths = (Path(line.split(maxsplit=5)[-1]) for line in lines if "/microtome-" in line)
    return {parent for path in paths for parent in path.parents if parent.name.startswith("microtome-")}


def test_workers_do_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiffmaker.classic())
    running = Running(tmp_path, "--workers", "2")
    workers = running.workers()
    try:
        assert len(workers) == 2
        assert running.get("/tiles/a.tif/0/0/0.jpg")[0] == 200
        folders = {folder for worker in workers for folder in shared_folders(worker)}
        assert folders
        running.stop(signal.SIGKILL)
        until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    finally:
        for worker in workers:
            if Path(f"/proc/{worker}").exists():
                os.kill(worker, signal.SIGKILL)
    assert not any(folder.exists() for folder in folders)
    with socket.socket() as next_one:
        next_one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        next_one.bind(("127.0.0.1", running.port))
        next_one.listen()


_COPIES = """
import asyncio, sys, time
from pathlib import Path
from microtome.storage.copies import LocalCopies
from microtome.storage.memory import MemoryStore
from microtome.storage.pinned import PinnedObject

async def main():
    files = await PinnedObject.open(MemoryStore({"a.svs": b"x" * 1000}), "a.svs")
    print((await LocalCopies(Path(sys.argv[1]), 10_000).of(files)).path, flush=True)
    time.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("killed", [True, False])
def test_copies_of_a_process_that_was_killed_are_removed_by_the_next(tmp_path: Path, killed: bool) -> None:
    process = subprocess.Popen([sys.executable, "-c", _COPIES, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    copies = LocalCopies(tmp_path, 10_000)

    async def next_one() -> bytes:
        files = await PinnedObject.open(MemoryStore({"b.svs": b"y"}), "b.svs")
        return (await copies.of(files)).path.read_bytes()

    try:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        assert left.read_bytes() == b"x" * 1000
        if killed:
            process.kill()
            process.wait(30)
        long_ago = time.time() - 3600
        os.utime(next(tmp_path.iterdir()), (long_ago, long_ago))
        assert asyncio.run(next_one()) == b"y"
        assert left.exists() is not killed
    finally:
        copies.close()
        process.kill()
        process.communicate(timeout=30)
