"""The end of a process that has used the storage client."""

from __future__ import annotations

import atexit
import os
import sys
from typing import NoReturn


def leave(status: int) -> NoReturn:
    """End the process with what ``atexit`` holds, but without taking the interpreter down.

    Threads of obstore may still hand over results, even of finished calls; an interpreter in its last moments is
    aborted by that (https://github.com/PyO3/pyo3-async-runtimes/issues/40). Everything of ours is closed before.
    """
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage] - the only way to do it early
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # whoever read it has gone
            status = status or 1
    os._exit(status)
