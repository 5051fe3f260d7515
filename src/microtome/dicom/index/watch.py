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
FEW = 100
"""So many changed paths are walked one by one; more are a reason to walk over everything."""


async def watch(
    walk: Walk, *, every: float = RESCAN, quiet: float = QUIET, tell: Callable[[Progress], None] = lambda _: None
) -> None:
    """Walk again and again until cancelled. A store that fails is tried again at the next turn.

    ``every``: s between walks over everything. In a folder of this machine changes are noticed earlier, ``quiet`` s
    after the last of them. ``tell`` is called after every walk.
    """
    news = _News(await _folder(walk), quiet)
    listening = asyncio.create_task(news.listen())
    try:
        while True:
            changed = await news.wait(every)
            try:
                await _walk(walk, changed, tell)
                if changed and walk.settle:
                    await asyncio.sleep(walk.settle)  # what was being written a moment ago is settled now
                    await _walk(walk, changed, tell)
            except StorageUnavailable as error:
                logger.warning("indexing stopped and will be tried again: %s", error.message)
    finally:
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening


async def _walk(walk: Walk, changed: set[str], tell: Callable[[Progress], None]) -> None:
    for prefix in sorted(changed) if 0 < len(changed) <= FEW else [""]:
        tell(await walk.run(prefix))


async def _folder(walk: Walk) -> Path | None:
    """The folder of a local store that holds anything."""
    async for page in walk.store.list():
        if page:
            try:
                path = walk.store.local_path(page[0].key)
            except NotFound:
                return None
            return None if path is None else Path(str(path)[: -len(page[0].key)])
    return None


class _News:
    """What the system tells of changes below ``root``."""

    def __init__(self, root: Path | None, quiet: float) -> None:
        self._root = root
        self._quiet = quiet
        self._arrived = asyncio.Event()
        self._changed = set[str]()

    async def wait(self, longest: float) -> set[str]:
        """Paths that have changed, relative to the root; none of them after ``longest`` s."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._arrived.wait(), longest)
        self._arrived.clear()
        changed = set(self._changed)
        self._changed.clear()
        return changed

    async def listen(self) -> None:
        """Collect news until cancelled. Where the system refuses, walks now and then must do."""
        if self._root is None:
            return
        import watchfiles

        watcher = cast("Callable[..., AsyncGenerator[set[tuple[int, str]]]]", cast("Any", watchfiles).awatch)
        step = int(self._quiet * 1000)
        try:
            async for changes in watcher(self._root, debounce=10 * step, step=step, watch_filter=None):
                paths = (Path(path).relative_to(self._root).as_posix() for _, path in changes)
                self._changed |= {"" if path == "." else path for path in paths}
                self._arrived.set()
        except (OSError, RuntimeError, ValueError) as error:
            logger.warning("changes in the folder are not told by the system: %s", error)
