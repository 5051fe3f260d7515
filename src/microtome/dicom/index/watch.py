"""Following a store: a walk now and then, and at once where the system tells what has changed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, cast

from microtome.dicom.index.walk import Progress, Walk
from microtome.errors import NotFound, StorageUnavailable
from microtome.telemetry import logger

RESCAN = 600.0
"""Seconds between walks over everything: network drives and buckets tell nothing."""
QUIET = 2.0
"""Seconds without news before the news are looked at."""


async def watch(
    walk: Walk, *, every: float = RESCAN, quiet: float = QUIET, tell: Callable[[Progress], None] = lambda _: None
) -> None:
    """Walk again and again until cancelled. A store that fails is tried again at the next turn.

    ``every``: s between walks. In a folder of this machine changes are noticed earlier, ``quiet`` s after the last of
    them. ``tell`` is called after every walk.
    """
    root = await _folder(walk)
    news = _news(root, quiet) if root is not None else None
    try:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every):
                    if news is None:
                        await asyncio.Event().wait()
                    else:
                        await anext(news)
            try:
                # Files that were being written a moment ago are settled by the next walk, so a second one follows.
                progress = await walk.run()
                tell(progress)
                if news is not None:
                    await asyncio.sleep(walk.settle)
                    tell(await walk.run())
            except StorageUnavailable as error:
                logger.warning("indexing stopped and will be tried again: %s", error.message)
    finally:
        if news is not None:
            await news.aclose()


async def _folder(walk: Walk) -> Path | None:
    """The folder of a local store."""
    async for page in walk.store.list():
        if page:
            try:
                path = walk.store.local_path(page[0].key)
            except NotFound:
                return None
            return None if path is None else Path(str(path)[: -len(page[0].key)])
    return None


async def _news(root: Path, quiet: float) -> AsyncGenerator[None]:
    """One item whenever something below ``root`` has changed and it is quiet again."""
    import watchfiles

    # Its own types are partly unknown to checkers.
    awatch = cast("Callable[..., AsyncGenerator[object]]", cast("Any", watchfiles).awatch)
    async for _ in awatch(root, debounce=int(quiet * 4000), step=int(quiet * 1000), recursive=True):
        yield None
