"""Several reads at the same time: all of them, or the first error."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


async def together(works: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results in order. When one fails the others are cancelled and its own error is raised, not a group."""
    if len(works) == 1:
        return [await works[0]]
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        # Waited for, so that nothing of this read is still under way when the caller hears of the failure.
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
