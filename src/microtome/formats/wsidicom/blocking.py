"""Where wsidicom and pydicom run: in a thread of the slide, their errors told in the house's words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from microtome.errors import CorruptData, MicrotomeError
from microtome.formats.threads import reason

T = TypeVar("T")


async def called(threads: ThreadPoolExecutor, call: Callable[[], T]) -> T:
    """The result of a blocking call. Errors of the house pass, also through a library; others become CorruptData."""
    return await asyncio.get_running_loop().run_in_executor(threads, guarded, call)


def guarded(call: Callable[[], T]) -> T:
    """``call()``; whatever a library raises becomes CorruptData."""
    try:
        return call()
    except MicrotomeError:
        raise
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, MicrotomeError):
                raise cause from error
            cause = cause.__cause__ or cause.__context__
        raise CorruptData(f"The DICOM object cannot be read: {reason(error)}") from error
