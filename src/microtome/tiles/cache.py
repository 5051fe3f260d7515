"""The seam of the tile cache: in memory for one process, shared between the workers of a machine."""

from __future__ import annotations

from typing import Protocol

from microtome.caching import Cache
from microtome.model import EncodedTile


class TileCache(Protocol):
    """Encoded tiles by ``tile_key``, bounded in bytes. Neither method waits on anything slower than memory."""

    def get(self, digest: str) -> EncodedTile | None:
        """The tile, or None."""
        ...

    def put(self, digest: str, tile: EncodedTile) -> None:
        """Keep a tile, dropping old ones beyond the budget."""
        ...

    def close(self) -> None:
        """Release what the cache holds."""
        ...


class MemoryTileCache:
    """The tile cache of a single process: true LRU, bounded by ``budget`` bytes."""

    def __init__(self, budget: int) -> None:
        self._cache: Cache[str, EncodedTile] = Cache(budget, weigh=_weight, overhead=400)

    def get(self, digest: str) -> EncodedTile | None:
        """The tile, or None."""
        return self._cache.get(digest)

    def put(self, digest: str, tile: EncodedTile) -> None:
        """Keep a tile, dropping the least recently used beyond the budget."""
        self._cache.put(digest, tile)

    def close(self) -> None:
        """Forget everything."""
        self._cache.clear()


def _weight(tile: EncodedTile) -> int:
    return len(tile.data)
