"""Chunks of a Zarr array in a store: whole objects, or ranges of shards. Missing ones are None."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from microtome.caching import Cache
from microtome.errors import Conflict, CorruptData, NotFound
from microtome.formats.ngff.array import Shards, ZarrArray
from microtome.formats.ngff.codecs import Samples
from microtome.storage.folder import PinnedFolder

INDEX_CACHE_BYTES = 8 << 20
CHUNK_CACHE_BYTES = 64 << 20

Position = tuple[int, ...]
_Index = tuple[bytes, str]
"""The index of a shard, and the ETag of the shard it was read from."""


class Chunks:
    """Reads and decodes the chunks of the arrays of one image.

    Every object is pinned: to its version in the listing of the folder, or, where the listing was cut, to the one that
    was met first. Kept are the indices of shards, and chunks that serve more than one tile.
    """

    def __init__(self, folder: PinnedFolder) -> None:
        self._folder = folder
        self._indices: Cache[str, _Index | None] = Cache(
            INDEX_CACHE_BYTES, weigh=lambda found: len(found[0]) if found else 0
        )
        self._decoded: Cache[tuple[str, Position], Samples | None] = Cache(
            CHUNK_CACHE_BYTES, weigh=lambda array: array.nbytes if array is not None else 0
        )

    async def read(self, path: str, array: ZarrArray, position: Position, *, keep: bool) -> Samples | None:
        """The samples of a chunk, shape ``array.chunk``; None when it was never written.

        Raises CorruptData, Conflict, StorageUnavailable.
        """
        if keep:
            return await self._decoded.get_or_compute((path, position), lambda: self._read(path, array, position))
        return await self._read(path, array, position)

    def place(self, path: str, array: ZarrArray, position: Position) -> tuple[str, str, int] | None:
        """Key, ETag and size of a chunk that is an object of its own, as far as the listing knows it."""
        name = f"{path}/{array.name(position)[0]}"
        listed = None if array.shards else self._folder.entries.get(name)
        return None if listed is None else (listed.key, listed.etag, listed.size)

    async def _read(self, path: str, array: ZarrArray, position: Position) -> Samples | None:
        name, inner = array.name(position)
        name = f"{path}/{name}"
        most = array.pipeline.most_stored
        if array.shards is None:
            data = await self._whole(name, most)
        else:
            data = await self._of_shard(name, array.shards, inner, most)
        return None if data is None else await asyncio.to_thread(array.pipeline.decode, data)

    async def _whole(self, name: str, most: int) -> bytes | None:
        listed = self._folder.entries.get(name)
        if listed is None and self._folder.complete:
            return None
        if listed is not None and listed.size > most:
            raise CorruptData(f"The chunk {name} has {listed.size} bytes, far more than it can hold")
        return await self._range(name, lambda size: (0, most if size is None else size))

    async def _of_shard(self, name: str, shards: Shards, inner: Position, most: int) -> bytes | None:
        found = await self._indices.get_or_compute(name, lambda: self._index(name, shards))
        place = shards.place(found[0], inner) if found else None
        if found is None or place is None:
            return None
        start, stop = place
        if stop - start > most or stop >= 1 << 63:
            raise CorruptData(f"A chunk of the shard {name} has {stop - start} bytes, far more than it can hold")
        result = await self._folder.store.get_range(self._folder.path(name), start, stop, etag=found[1])
        if len(result.data) != stop - start:
            raise CorruptData(f"A chunk of the shard {name} lies behind its end")
        return result.data

    async def _index(self, name: str, shards: Shards) -> _Index | None:
        listed = self._folder.entries.get(name)
        if listed is None and self._folder.complete:
            return None
        length = shards.index_bytes
        if listed is None and shards.at_end:
            try:
                result = await self._folder.store.get_suffix(self._folder.path(name), length)
            except NotFound:
                return None
            return shards.parse(result.data), result.info.etag
        start = max(0, listed.size - length) if shards.at_end and listed is not None else 0
        try:
            result = await self._folder.store.get_range(
                self._folder.path(name), start, start + length, etag=listed.etag if listed else None
            )
        except NotFound as error:
            return self._gone(name, error)
        return shards.parse(result.data), result.info.etag

    async def _range(self, name: str, of: Callable[[int | None], tuple[int, int]]) -> bytes | None:
        listed = self._folder.entries.get(name)
        start, stop = of(listed.size if listed else None)
        try:
            result = await self._folder.store.get_range(
                self._folder.path(name), start, stop, etag=listed.etag if listed else None
            )
        except NotFound as error:
            return self._gone(name, error)
        return result.data

    def _gone(self, name: str, error: NotFound) -> None:
        """What was never listed is no chunk; what was listed has been removed since."""
        if name in self._folder.entries:
            raise Conflict(f"Slide {self._folder.key} was changed; open it again") from error
