"""Scripts: Python of clients whom the operator trusts with all that the server may do."""

from __future__ import annotations

import ctypes
import io
import json
import os
import signal
import sys
import threading
import time
import urllib
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from types import TracebackType
from typing import Any

from microtome.errors import Forbidden, InvalidRequest, LimitExceeded
from microtome.scene.calls.scripts import Execute, Executed
from microtome.scene.mrml.application import Application
from microtome.telemetry import logger

GRACE_SECONDS = 5.0
"""How long a script that was interrupted may go on before the process ends."""
MOST_OUTPUT = 1 << 20
MOST_RESULT = 64 << 20
RESULT = "__execResult"


class _OutOfTime(BaseException):
    """Raised within a script, which cannot take it for an error of its own."""


def execute(application: Application, call: Execute) -> Executed:
    """Run a script."""
    seconds = application.options.exec_seconds
    if seconds <= 0:
        raise Forbidden("Scripts are not run here; the operator turns them on with --scene-exec and --scene-token")
    namespace = _namespace(application)
    namespace[RESULT] = {}
    application.journal.before_writing()
    output = _End()
    try:
        code = compile(call.source, "<script>", "exec", dont_inherit=True)
        with redirect_stdout(output), redirect_stderr(output), _Limit(seconds):
            exec(code, namespace)  # noqa: S102 - this is what the call is for
        result = json.dumps(namespace.get(RESULT))
    except _OutOfTime as error:
        raise LimitExceeded(f"The script took longer than {seconds:g} s", limit="scene_exec_seconds") from error
    except SystemExit as error:
        raise InvalidRequest(f"The script wanted to end the program: {error}", parameter="source") from error
    except BaseException as error:  # also what ends programs: it is the script's, not ours
        raise InvalidRequest(str(error) or type(error).__name__, parameter="source") from error
    if len(result) > MOST_RESULT:
        raise LimitExceeded("The result of the script is too large", limit="result", value=len(result))
    return Executed(result, output.text())


def _namespace(application: Application) -> dict[str, Any]:
    """One for all scripts: what one leaves there the next finds."""
    if not application.namespace:
        names = ("slicer", "vtk", "numpy", "json", "os", "time", "sys")
        application.namespace |= {name: import_module(name) for name in names}
        import_module("urllib.request")
        application.namespace |= {"urllib": urllib, "__name__": "__main__", "__builtins__": __builtins__}
        application.namespace["np"] = application.namespace["numpy"]
    return application.namespace


class _End(io.TextIOBase):
    """The end of what was printed, as much as is kept."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._parts.append(text)
        self._length += len(text)
        if self._length > 2 * MOST_OUTPUT:
            kept = "".join(self._parts)[-MOST_OUTPUT:]
            self._parts, self._length = [kept], len(kept)
        return len(text)

    def text(self) -> str:
        return "".join(self._parts)[-MOST_OUTPUT:]


class _Limit:
    """Interrupts the thread that is inside when time is over; ends the process when that does not help."""

    def __init__(self, seconds: float) -> None:
        self._thread = threading.get_ident()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._seconds = seconds

    def __enter__(self) -> None:
        threading.Thread(target=self._watch, name="script-limit", daemon=True).start()

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        with self._lock:
            self._over.set()
            # Not raised any more, if it was about to be.
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), None)

    def _watch(self) -> None:
        if self._over.wait(self._seconds):
            return
        end = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < end:
            with self._lock:
                if self._over.is_set():
                    return
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), ctypes.py_object(_OutOfTime))
            if self._over.wait(0.5):
                return
        logger.error("A script does not stop; the process of the scene ends")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)
