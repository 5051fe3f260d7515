"""The one place where libraries that block meet the event loop: their calls run in threads, a few for each slide."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from microtome.errors import Conflict, CorruptData, InvalidRequest, MicrotomeError, NotFound
from microtome.formats.base import SyncSlide
from microtome.model import EncodedTile, Level, Raster, SlideInfo, TileIndex, of_level
from microtome.telemetry import logger

T = TypeVar("T")
_PATH = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?(?:[\\/][^\\/\s'\":;,]+)*[\\/](?=[^\\/\s'\":;,])")


class ThreadedSlide:
    """A ``Slide`` over a ``SyncSlide``. Its threads are its own: a slow slide delays no other.

    What the library raises becomes CorruptData with the first line of its message; errors of the house pass.
    """

    def __init__(
        self, slide: SyncSlide, info: SlideInfo, threads: ThreadPoolExecutor, release: Callable[[], None]
    ) -> None:
        self._slide = slide
        self._info = info
        self._threads = threads
        self._release = release
        self._closed = False

    @classmethod
    async def open(cls, opener: Callable[[], SyncSlide], release: Callable[[], None] = lambda: None) -> ThreadedSlide:
        """Open in a thread. ``release`` is called once: when the slide is closed, or could not be opened.

        Both only after the library has let go, even if whoever asked has left.
        """
        threads = ThreadPoolExecutor(1, thread_name_prefix="slide")
        opened: list[SyncSlide] = []

        def opening() -> SlideInfo:
            opened.append(opener())
            return opened[0].info()

        def undo() -> None:
            for slide in opened:
                with suppress(Exception):  # the reason why it cannot be opened is on its way already
                    slide.close()

        try:
            info = await _called(threads, opening)
        except BaseException as error:
            # There is one thread: this comes after an opening under way.
            undone = asyncio.get_running_loop().run_in_executor(threads, undo)
            undone.add_done_callback(lambda _: release())
            threads.shutdown(wait=False)
            if not isinstance(error, asyncio.CancelledError):
                await asyncio.shield(undone)
            raise
        slide = opened[0]
        if slide.at_once > 1:
            threads.shutdown(wait=False)
            threads = ThreadPoolExecutor(slide.at_once, thread_name_prefix="slide")
        return cls(slide, info, threads, release)

    async def info(self) -> SlideInfo:
        """See ``formats.base.Slide``."""
        return self._info

    async def level(self, number: int) -> Level:
        """See ``formats.base.Slide``."""
        return of_level(self._info.levels, number)

    async def read_tile(self, index: TileIndex) -> EncodedTile | Raster:
        """See ``formats.base.Slide``."""
        (await self.level(index.level)).check_tile(index)
        check_planes(self._info, index)
        return await self._call(lambda: self._slide.read_tile(index))

    def peek_tile(self, index: TileIndex) -> EncodedTile | None:
        """Nothing can be had without waiting."""
        return None

    def prefetch(self, indices: Sequence[TileIndex]) -> None:
        """Nothing to gain."""

    async def read_associated(self, name: str) -> EncodedTile | Raster:
        """See ``formats.base.Slide``."""
        if name not in {image.name for image in self._info.associated}:
            raise NotFound("associated image", name)
        return await self._call(lambda: self._slide.read_associated(name))

    async def close(self) -> None:
        """Close once no call is under way."""
        if self._closed:
            return
        self._closed = True
        # A thread of its own: a call that takes long must not take the place of others' work.
        closer = ThreadPoolExecutor(1, thread_name_prefix="slide-close")
        closed = asyncio.get_running_loop().run_in_executor(closer, self._finish)
        closed.add_done_callback(lambda _: self._release())
        closer.shutdown(wait=False)
        await asyncio.shield(closed)

    def _finish(self) -> None:
        self._threads.shutdown(wait=True)
        try:
            self._slide.close()
        except Exception as error:  # noqa: BLE001 - libraries raise whatever they like, and nobody waits for this
            logger.warning("a slide could not be closed: %s", reason(error))

    async def _call(self, call: Callable[[], T]) -> T:
        def still_open() -> T:
            # Once more when its turn has come: what waited for a thread must not delay the closing.
            self._check_open()
            return call()

        self._check_open()
        return await _called(self._threads, still_open)

    def _check_open(self) -> None:
        if self._closed:
            raise Conflict("The slide was closed; ask again")


def check_planes(info: SlideInfo, index: TileIndex) -> None:
    """Raise InvalidRequest(parameter="z" or "t") for a focal plane or time point that does not exist."""
    for name, what, place, count in (
        ("z", "focal plane", index.z, info.focal_planes),
        ("t", "time point", index.t, info.time_points),
    ):
        if not 0 <= place < count:
            raise InvalidRequest(f"There is no {what} {place}; the slide has {count} (0-{count - 1})", parameter=name)


def reason(error: BaseException) -> str:
    """The first line of a library's message, for clients: of a path in it only the last name is left."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return _PATH.sub("", (text.splitlines() or [""])[0][:1000])[:200] or type(error).__name__


async def _called(threads: ThreadPoolExecutor, call: Callable[[], T]) -> T:
    def guarded() -> T:
        # Here and not outside: a StopIteration would never get out of the thread.
        try:
            return call()
        except MicrotomeError:
            raise
        except Exception as error:  # libraries raise whatever they like
            raise CorruptData(f"The slide cannot be read: {reason(error)}") from error

    return await asyncio.get_running_loop().run_in_executor(threads, guarded)
