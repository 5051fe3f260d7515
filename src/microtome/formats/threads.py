"""The one place where libraries that block meet the event loop: their calls run in threads, a few for each slide."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from microtome.errors import Conflict, CorruptData, InvalidRequest, MicrotomeError, NotFound
from microtome.formats.base import SyncSlide
from microtome.model import EncodedTile, Level, Raster, SlideInfo, TileIndex

T = TypeVar("T")


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
        """Open in a thread. ``release`` is called once when the slide is closed, or cannot be opened."""
        threads = ThreadPoolExecutor(1, thread_name_prefix="slide")
        slide: SyncSlide | None = None
        try:
            slide = await _called(threads, opener)
            info = await _called(threads, slide.info)
        except BaseException:
            if slide is not None:
                threads.submit(slide.close)
            threads.shutdown(wait=False)
            release()
            raise
        if slide.at_once > 1:
            threads.shutdown(wait=False)
            threads = ThreadPoolExecutor(slide.at_once, thread_name_prefix="slide")
        return cls(slide, info, threads, release)

    async def info(self) -> SlideInfo:
        """See ``formats.base.Slide``."""
        return self._info

    async def level(self, number: int) -> Level:
        """See ``formats.base.Slide``."""
        if not 0 <= number < len(self._info.levels):
            raise InvalidRequest(
                f"Level {number} does not exist; the slide has {len(self._info.levels)} levels"
                f" (0-{len(self._info.levels) - 1})",
                parameter="level",
            )
        return self._info.levels[number]

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
        threads, loop = self._threads, asyncio.get_running_loop()
        # Joining the threads waits for calls under way, in a thread that has nothing else to do.
        await loop.run_in_executor(None, lambda: threads.shutdown(wait=True, cancel_futures=True))
        try:
            await asyncio.to_thread(self._slide.close)
        finally:
            self._release()

    async def _call(self, call: Callable[[], T]) -> T:
        if self._closed:
            raise Conflict("The slide was closed; ask again")
        return await _called(self._threads, call)


def check_planes(info: SlideInfo, index: TileIndex) -> None:
    """Raise InvalidRequest(parameter="z" or "t") for a focal plane or time point that does not exist."""
    for name, what, place, count in (
        ("z", "focal plane", index.z, info.focal_planes),
        ("t", "time point", index.t, info.time_points),
    ):
        if not 0 <= place < count:
            raise InvalidRequest(f"There is no {what} {place}; the slide has {count} (0-{count - 1})", parameter=name)


async def _called(threads: ThreadPoolExecutor, call: Callable[[], T]) -> T:
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, call)
    except (MicrotomeError, asyncio.CancelledError):
        raise
    except Exception as error:  # libraries raise whatever they like
        reason = (str(error).splitlines() or [""])[0][:200]
        raise CorruptData(f"The slide cannot be read: {reason or type(error).__name__}") from error
