"""Following a store: a walk now and then, and at once where the system tells what has changed."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from microtome.dicom.index.walk import Progress, Walk
from microtome.dicom.rows import INCOMING
from microtome.errors import NotFound, StorageUnavailable
from microtome.storage.keys import is_key
from microtome.telemetry import logger

RESCAN = 600.0
"""Seconds between walks over everything: network drives and buckets tell nothing."""
QUIET = 2.0
"""Seconds without news before the news are looked at."""
PATIENCE = 10
"""News are looked at after so many times ``quiet`` s, even when they never end."""
FEW = 100
"""So many changed paths are walked one by one; more are a reason to walk over everything."""
AGAIN = 30.0
"""Seconds after which a store that failed is tried again, at the latest."""
READY = 5.0
"""So many seconds the first walk waits for the system to begin telling what changes."""

Turn = Callable[[], AbstractAsyncContextManager[bool]]
"""Whether it is our turn to walk, for as long as the block lasts."""


@asynccontextmanager
async def _always() -> AsyncGenerator[bool]:
    yield True


async def _nothing(_: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Following:
    """How to follow a store.

    ``every``: s between walks over everything. In a folder of this machine changes are noticed earlier, ``quiet`` s
    after the last of them. ``now``: begin with a walk over everything. ``turn`` is taken for each walk: where several
    follow the same store, one walks. ``after`` is called with each prefix that was walked, within the turn; ``tell``
    with what a walk did. Changes of ``ignored`` files (absolute paths) are none.
    """

    every: float = RESCAN
    quiet: float = QUIET
    now: bool = False
    turn: Turn = _always
    after: Callable[[str], Awaitable[None]] = _nothing
    tell: Callable[[Progress], None] = lambda _: None
    ignored: Callable[[Path], bool] = lambda _: False


async def watch(walk: Walk, following: Following) -> None:
    """Walk again and again until cancelled. A store that fails is tried again."""
    news = _News(_folder(walk), following)
    listening = asyncio.create_task(news.listen())
    due = time.monotonic() + (0 if following.now else following.every)
    told = ""
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(news.ready.wait(), READY)
        while True:
            changed = await news.wait(due - time.monotonic())
            everything = time.monotonic() >= due or len(changed) > FEW
            try:
                async with following.turn() as mine:
                    if mine:
                        unsettled = await _walk(walk, following, [""] if everything else sorted(changed))
                        if unsettled:  # they are settled then
                            news.later(unsettled, max(walk.settle, following.quiet))
                    elif not everything:
                        news.later(changed, following.quiet)  # whoever walks now may have passed them already
                if everything:
                    due = time.monotonic() + following.every
                told = ""
            except StorageUnavailable as error:
                if error.message != told:  # once, however long it lasts
                    logger.warning("indexing stopped and will be tried again: %s", error.message)
                told = error.message
                due = time.monotonic() + min(following.every, AGAIN)
    finally:
        news.stop()
        await listening


async def _walk(walk: Walk, following: Following, prefixes: Collection[str]) -> set[str]:
    """Those of the prefixes where something could not be read yet.

    What was moved is met at its new place while the old one still counts; so those places are looked at twice.
    """
    unsettled: set[str] = set()
    gone = 0
    for prefix in prefixes:
        progress = await walk.run(prefix)
        following.tell(progress)
        await following.after(prefix)
        gone += progress.gone
        if progress.fresh or progress.postponed:
            unsettled.add(prefix)
    if gone and len(prefixes) > 1:
        for prefix in prefixes:
            following.tell(await walk.run(prefix))
    return unsettled


def is_index(place: str) -> Callable[[Path], bool]:
    """Whether a path is that of the index at ``place`` (see ``url.open_index``), which changes with every walk."""
    if "://" in place and not place.startswith("sqlite://"):
        return lambda _: False
    file = Path(place.removeprefix("sqlite://")).resolve()
    return lambda path: path.parent == file.parent and path.name.startswith(file.name)


def _folder(walk: Walk) -> Path | None:
    """The folder of a local store."""
    name = ".nothing-of-this-name"
    try:
        path = walk.store.local_path(name)
    except NotFound:
        return None
    return path.parent if path is not None and path.name == name else None


class _News:
    """What the system tells of changes below ``root``. Belongs to one event loop."""

    def __init__(self, root: Path | None, following: Following) -> None:
        self._root = root
        self._following = following
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._stopping = threading.Event()
        self._changed = set[str]()
        self._heard = 0.0
        self.ready = asyncio.Event()
        """Set when changes are noticed from now on, or never will be."""

    async def wait(self, longest: float) -> set[str]:
        """Paths that have changed, relative to the root, when it is quiet again; none of them after ``longest`` s."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._arrived.wait(), max(longest, 0))
        quiet = self._following.quiet
        patience = time.monotonic() + PATIENCE * quiet
        while self._changed and (left := min(self._heard + quiet, patience) - time.monotonic()) > 0:  # noqa: ASYNC110 - silence is waited for
            await asyncio.sleep(left)
        self._arrived.clear()
        changed = set(self._changed)
        self._changed.clear()
        return changed

    def later(self, changed: Collection[str], seconds: float) -> None:
        """Tell these changes again after some time."""
        self._loop.call_later(seconds, self._add, set(changed))

    def _add(self, changed: set[str]) -> None:
        if changed:
            self._changed |= changed
            self._heard = time.monotonic()
            self._arrived.set()

    def stop(self) -> None:
        """End ``listen``."""
        self._stopping.set()

    async def listen(self) -> None:
        """Collect news until stopped. Where the system refuses, walks now and then must do."""
        try:
            if self._root is not None:
                with ThreadPoolExecutor(1, thread_name_prefix="watch") as thread:
                    try:
                        await self._loop.run_in_executor(thread, self._listen, self._root)
                    finally:
                        # Cancelled by a process that ends in a hurry: leaving the executor waits for its thread.
                        self.stop()
        except (OSError, RuntimeError, ValueError) as error:
            logger.warning("changes in the folder are not told by the system: %s", error)
        finally:
            self.ready.set()

    def _listen(self, root: Path) -> None:
        """In a thread: setting up takes long in large folders."""
        import watchfiles

        for changes in watchfiles.watch(
            root, watch_filter=None, debounce=500, step=50, rust_timeout=200, yield_on_timeout=True,
            stop_event=self._stopping, raise_interrupt=False, ignore_permission_denied=True,
        ):  # fmt: skip
            self._loop.call_soon_threadsafe(self.ready.set)
            paths = [Path(path) for _, path in changes]
            found = {path.relative_to(root).as_posix() for path in paths if not self._is_ignored(path)}
            if found:
                self._loop.call_soon_threadsafe(self._add, {path if is_key(path) else "" for path in found})

    def _is_ignored(self, path: Path) -> bool:
        return path.name.startswith(INCOMING) or self._following.ignored(path)
