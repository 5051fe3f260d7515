"""Temporary folders of processes that were killed do not stay."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from microtome.storage.temporary import LEFT_SECONDS, TemporaryFolder

PROGRAM = """
import sys
from pathlib import Path
from microtome.storage.temporary import TemporaryFolder
folder = TemporaryFolder("kept-", Path(sys.argv[1]))
(folder.path / "file").touch()
print(folder.path, flush=True)
sys.stdin.read()
"""


def aged(path: Path) -> None:
    then = path.stat().st_mtime - 2 * LEFT_SECONDS
    os.utime(path, (then, then))


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    other = tmp_path / "other-folder"
    other.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    theirs = Path(process.stdout.readline().strip())
    for path in (theirs, other):
        aged(path)
    first = TemporaryFolder("kept-", tmp_path)
    assert (theirs / "file").exists(), "a living process lost its folder"
    process.kill()
    process.communicate()
    aged(theirs)
    second = TemporaryFolder("kept-", tmp_path)
    assert not theirs.exists()
    assert other.exists()
    assert first.path.exists()
    for folder in (first, second):
        folder.close()
        folder.close()
        assert not folder.path.exists()


def test_a_folder_that_was_just_made_is_nobodys_to_remove(tmp_path: Path) -> None:
    (tmp_path / "kept-young").mkdir()
    TemporaryFolder("kept-", tmp_path).close()
    assert (tmp_path / "kept-young").exists()
