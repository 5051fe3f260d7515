"""The storage seam: a Store answers byte ranges of named objects, each answer with the ETag of what was read.

Ranges are half-open ``[start, stop)`` in bytes, unlike RFC 9110 §14 whose last position is inclusive. Keys use ``/``,
are relative to the root of the store, and have passed ``storage.keys.check_key``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store says of an object.

    ``size`` in bytes, ``etag`` opaque and without quotes, ``modified`` in s since the epoch or None.
    """

    key: str
    size: int
    etag: str
    modified: float | None = None


@dataclass(frozen=True, slots=True)
class RangeResult:
    """Bytes of an object beginning at ``start``, and the object they belong to."""

    data: bytes
    start: int
    info: ObjectInfo


class Store(Protocol):
    """Bytes by range. Implementations raise NotFound(what="slide"), Conflict, StorageUnavailable, InvalidRequest.

    ``etag`` given: the read is pinned (If-Match); when the object is another one now, Conflict is raised. No bytes of
    another version are ever returned. A range that begins inside of the object and ends behind it is cut short; one
    that begins behind it gives no bytes.
    """

    @property
    def distant(self) -> bool:
        """Whether every read costs a round trip, so that reading ahead gains something."""
        ...

    async def head(self, key: str) -> ObjectInfo:
        """Size and ETag of the object now."""
        ...

    async def get_range(self, key: str, start: int, stop: int, *, etag: str | None = None) -> RangeResult:
        """The bytes ``[start, stop)``, cut at the end of the object."""
        ...

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], *, etag: str) -> list[bytes]:
        """Several ranges of one version of the object, in the order asked. Neighbours may be read as one."""
        ...

    async def get_suffix(self, key: str, length: int) -> RangeResult:
        """The last ``length`` bytes, or all of a shorter object."""
        ...

    def peek(self, key: str, start: int, stop: int, *, etag: str) -> bytes | None:
        """The bytes if they can be had without waiting (memory, cache, page cache), else None. Never blocks."""
        ...

    def prefetch(self, key: str, ranges: Sequence[tuple[int, int]], *, etag: str) -> None:
        """A hint that these bytes will probably be asked for soon. Does nothing unless ``distant``."""
        ...

    def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[Sequence[ObjectInfo]]:
        """Objects whose key starts with ``prefix`` and sorts behind ``after``, bytewise by key, in pages."""
        ...

    def local_path(self, key: str) -> Path | None:
        """Where the object or folder is on this machine, for libraries that open paths; None when it is elsewhere.

        Raises NotFound for a key that leaves the root.
        """
        ...

    async def close(self) -> None:
        """Release connections and files. The store is not used afterwards."""
        ...
