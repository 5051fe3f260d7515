"""Temporary folders that do not outlive their process for long, whatever ends it: the next one removes what was left.

A folder belongs to the process that holds the lock of it, which falls with the process.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

LEFT_SECONDS = 60.0
"""A folder younger than this may belong to a process that has not locked it yet."""


class TemporaryFolder:
    """A new folder called ``prefix`` and something, in ``parent`` (the system's place for such when None).

    Those of the same prefix and user that nobody holds any more are removed first. Blocks. Raises OSError.
    """

    def __init__(self, prefix: str, parent: Path | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        _remove_left(self.path.parent, prefix)
        self._lock = _locked(self.path)

    def close(self) -> None:
        """Remove the folder. Blocks."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def _locked(folder: Path) -> int:
    """A descriptor that holds the lock of a folder for as long as this process lives. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove_left(parent: Path, prefix: str) -> None:
    """Remove what processes left behind that were killed: nobody holds the lock of it any more."""
    for folder in parent.glob(f"{prefix}*"):
        with suppress(OSError):
            status = folder.lstat()
            if status.st_uid != os.getuid() or time.time() - status.st_mtime < LEFT_SECONDS:
                continue
            descriptor = _locked(folder)
            try:
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
