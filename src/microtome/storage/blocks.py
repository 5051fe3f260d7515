"""The block cache: aligned blocks of remote objects, kept in memory within one budget for all objects."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from microtome.caching import Cache
from microtome.storage.base import RangeResult, Store
from microtome.storage.coalesce import Coalescing
from microtome.storage.parallel import together
from microtome.storage.ranges import check_range
from microtome.storage.wrapper import Wrapper

BLOCK_SIZE = 256 * 1024
BYPASS_BLOCKS = 32
AHEAD_BYTES = 16 * 1024 * 1024
"""The most that waits to be read ahead."""
AHEAD_BLOCKS = (3, 48)
"""The fewest and the most blocks that are read ahead at the same time."""


class BlockCache(Wrapper):
    """Keeps blocks of ``block_size`` bytes, at most ``budget`` bytes of them, least recently used ones leave first.

    Blocks belong to one version of an object (key and ETag), therefore only pinned reads use them. A block is asked
    once however many wait for it; neighbouring missing blocks, of one reader or of several at the same time, come
    with one request. Reads of more than ``bypass`` blocks go to the store directly and are not kept: they would
    sweep the cache.
    """

    def __init__(self, store: Store, budget: int, *, block_size: int = BLOCK_SIZE, bypass: int = BYPASS_BLOCKS) -> None:
        super().__init__(Coalescing(store))
        self._size = block_size
        self._longest = bypass * block_size
        self._blocks: Cache[tuple[str, str, int], RangeResult] = Cache(budget, weigh=lambda block: len(block.data))
        self._ahead: set[asyncio.Task[RangeResult]] = set()
        self._queue: list[tuple[str, str, int]] = []
        self._latency = 0.0
        """How long the store takes at least to answer, in s."""
        self._most_ahead = min(budget // 4, AHEAD_BYTES) // block_size
        self._closed = False

    @property
    def blocks(self) -> Cache[tuple[str, str, int], RangeResult]:
        """The cache, for its counters and its fill."""
        return self._blocks

    async def get_range(self, key: str, start: int, stop: int, *, etag: str | None = None) -> RangeResult:
        """The bytes, out of blocks when the read is pinned."""
        check_range(start, stop)
        if etag is None or stop - start > self._longest:
            result = await self._timed(key, start, stop, etag)
            self._keep(result)
            return result
        first, last = self._span(start, stop)
        blocks = await together([self._block(key, etag, index) for index in range(first, last + 1)])
        return RangeResult(self._cut(blocks, start, stop), start, blocks[0].info)

    async def get_suffix(self, key: str, length: int) -> RangeResult:
        """The last bytes; the whole blocks among them are kept."""
        result = await self._store.get_suffix(key, length)
        self._keep(result)
        return result

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], *, etag: str) -> list[bytes]:
        """The ranges in the order asked; all missing blocks are asked at the same time."""
        results = await together([self.get_range(key, start, stop, etag=etag) for start, stop in ranges])
        return [result.data for result in results]

    def prefetch(self, key: str, ranges: Sequence[tuple[int, int]], *, etag: str) -> None:
        """Have the blocks of these ranges read soon, the latest wish first; failures are not told."""
        wanted = {index for start, stop in ranges for first, last in (self._span(start, stop),)
                  for index in range(first, last + 1)}  # fmt: skip
        missing = [block for index in sorted(wanted, reverse=True) if (block := (key, etag, index)) not in self._blocks]
        self._queue = [*self._queue, *missing][max(0, len(self._queue) + len(missing) - self._most_ahead) :]
        self._begin()

    def _begin(self) -> None:
        """Start reads from the queue: two at a time for each ms that the store takes to answer, within limits."""
        few, many = AHEAD_BLOCKS
        while self._queue and not self._closed and len(self._ahead) < max(few, min(many, round(2000 * self._latency))):
            block = self._queue.pop()
            if block not in self._blocks:
                task = asyncio.ensure_future(self._block(*block))
                self._ahead.add(task)
                task.add_done_callback(self._arrived)

    def _arrived(self, task: asyncio.Task[RangeResult]) -> None:
        self._ahead.discard(task)
        if not task.cancelled():
            task.exception()  # whoever really needs the block hears of it when asking
            self._begin()

    def peek(self, key: str, start: int, stop: int, *, etag: str) -> bytes | None:
        """The bytes if all their blocks are here."""
        if not 0 <= start <= stop or stop - start > self._longest:
            return None
        first, last = self._span(start, stop)
        found: list[RangeResult] = []
        for index in range(first, last + 1):
            # Asked for first, because a look that finds nothing is no miss: the read that follows counts it.
            block = self._blocks.get((key, etag, index)) if (key, etag, index) in self._blocks else None
            if block is None:
                return None
            found.append(block)
        return self._cut(found, start, stop)

    async def close(self) -> None:
        """Forget the blocks and close the store below."""
        self._closed = True
        for task in self._ahead:
            task.cancel()
        await asyncio.gather(*self._ahead, return_exceptions=True)
        self._blocks.clear()
        await super().close()

    def _keep(self, result: RangeResult) -> None:
        """Keep the whole blocks of a longer answer, unless it would sweep the cache."""
        stop = result.start + len(result.data)
        if len(result.data) > self._longest:
            return
        info = result.info
        for index in range(-(-result.start // self._size), -(-stop // self._size)):
            start = index * self._size
            if min(start + self._size, info.size) <= stop:
                data = result.data[start - result.start : start - result.start + self._size]
                self._blocks.put((info.key, info.etag, index), RangeResult(data, start, info))

    def _span(self, start: int, stop: int) -> tuple[int, int]:
        return start // self._size, max(start, stop - 1) // self._size

    async def _block(self, key: str, etag: str, index: int) -> RangeResult:
        start = index * self._size
        return await self._blocks.get_or_compute(
            (key, etag, index), lambda: self._timed(key, start, start + self._size, etag)
        )

    async def _timed(self, key: str, start: int, stop: int, etag: str | None) -> RangeResult:
        clock = asyncio.get_running_loop().time
        begin = clock()
        result = await self._store.get_range(key, start, stop, etag=etag)
        # The quickest answer of late: a slow one may only have waited for others that were read ahead.
        took = clock() - begin
        self._latency = min(took, self._latency * 1.02) if self._latency else took
        return result

    def _cut(self, blocks: Sequence[RangeResult], start: int, stop: int) -> bytes:
        origin = start // self._size * self._size
        if len(blocks) == 1:
            return blocks[0].data[start - origin : stop - origin]
        first, *middle, last = (block.data for block in blocks)
        last_origin = origin + (len(blocks) - 1) * self._size
        return b"".join((first[start - origin :], *middle, last[: stop - last_origin]))
