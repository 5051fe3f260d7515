"""What every wrapper has in common: it is a Store, and passes on what it does not change."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from microtome.storage.base import ObjectInfo, RangeResult, Store


class Wrapper:
    """A Store that answers as ``store`` does. Subclasses override the methods they change."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def distant(self) -> bool:
        """As the store below."""
        return self._store.distant

    async def head(self, key: str) -> ObjectInfo:
        """As the store below."""
        return await self._store.head(key)

    async def get_range(self, key: str, start: int, stop: int, *, etag: str | None = None) -> RangeResult:
        """As the store below."""
        return await self._store.get_range(key, start, stop, etag=etag)

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], *, etag: str) -> list[bytes]:
        """As the store below."""
        return await self._store.get_ranges(key, ranges, etag=etag)

    async def get_suffix(self, key: str, length: int) -> RangeResult:
        """As the store below."""
        return await self._store.get_suffix(key, length)

    def peek(self, key: str, start: int, stop: int, *, etag: str) -> bytes | None:
        """As the store below."""
        return self._store.peek(key, start, stop, etag=etag)

    def prefetch(self, key: str, ranges: Sequence[tuple[int, int]], *, etag: str) -> None:
        """As the store below."""
        self._store.prefetch(key, ranges, etag=etag)

    def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[Sequence[ObjectInfo]]:
        """As the store below."""
        return self._store.list(prefix, after=after)

    def local_path(self, key: str) -> Path | None:
        """As the store below."""
        return self._store.local_path(key)

    async def close(self) -> None:
        """Close the store below."""
        await self._store.close()
