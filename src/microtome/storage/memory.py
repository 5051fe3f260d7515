"""A store in memory, for tests and demonstrations: objects can be replaced, requests are recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from microtome.errors import Conflict, NotFound
from microtome.storage.base import ObjectInfo, RangeResult
from microtome.storage.keys import check_key
from microtome.storage.ranges import check_range

PAGE = 1000


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked: ``kind`` is head, range, suffix or list; the bytes ``[start, stop)``."""

    kind: str
    key: str
    start: int = 0
    stop: int = 0


class MemoryStore:
    """Objects in a dict. ``log`` holds every request, ``peeks`` counts what was answered without one."""

    def __init__(self, objects: Mapping[str, bytes] | None = None) -> None:
        self.log: list[Request] = []
        self.peeks = 0
        self._objects: dict[str, tuple[bytes, ObjectInfo]] = {}
        self._versions = 0
        for key, data in (objects or {}).items():
            self.put(key, data)

    @property
    def requests(self) -> int:
        """Number of requests so far."""
        return len(self.log)

    @property
    def bytes_read(self) -> int:
        """Sum of the bytes given by requests so far."""
        return sum(request.stop - request.start for request in self.log)

    def put(self, key: str, data: bytes) -> ObjectInfo:
        """Store an object. Its ETag is a new one, even when the bytes are the same."""
        self._versions += 1
        info = ObjectInfo(check_key(key), len(data), f"version-{self._versions}")
        self._objects[key] = (bytes(data), info)
        return info

    def delete(self, key: str) -> None:
        """Remove an object if it is there."""
        self._objects.pop(key, None)

    @property
    def distant(self) -> bool:
        """No."""
        return False

    async def head(self, key: str) -> ObjectInfo:
        """Size and ETag."""
        self.log.append(Request("head", key))
        return self._object(key)[1]

    async def get_range(self, key: str, start: int, stop: int, *, etag: str | None = None) -> RangeResult:
        """The bytes ``[start, stop)``."""
        return self._ranged("range", key, start, stop, etag)

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], *, etag: str) -> list[bytes]:
        """Every range is a request of its own."""
        return [self._ranged("range", key, start, stop, etag).data for start, stop in ranges]

    async def get_suffix(self, key: str, length: int) -> RangeResult:
        """The last ``length`` bytes."""
        check_range(0, length)
        size = self._object(key)[1].size
        return self._ranged("suffix", key, max(0, size - length), size, None)

    def peek(self, key: str, start: int, stop: int, *, etag: str) -> bytes | None:
        """The bytes, always at hand."""
        found = self._objects.get(key)
        if found is None or found[1].etag != etag or not 0 <= start <= stop:
            return None
        self.peeks += 1
        return found[0][start:stop]

    def prefetch(self, key: str, ranges: Sequence[tuple[int, int]], *, etag: str) -> None:
        """Nothing to gain: everything is here."""

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[Sequence[ObjectInfo]]:
        """Pages of objects in bytewise key order."""
        keys = sorted(key for key in self._objects if key.startswith(prefix) and key > after)
        for first in range(0, len(keys), PAGE):
            self.log.append(Request("list", prefix))
            yield [self._objects[key][1] for key in keys[first : first + PAGE] if key in self._objects]

    def local_path(self, key: str) -> Path | None:
        """None."""
        return None

    async def close(self) -> None:
        """Nothing to release."""

    def _object(self, key: str) -> tuple[bytes, ObjectInfo]:
        found = self._objects.get(check_key(key))
        if found is None:
            raise NotFound("slide", key)
        return found

    def _ranged(self, kind: str, key: str, start: int, stop: int, etag: str | None) -> RangeResult:
        check_range(start, stop)
        data, info = self._object(key)
        if etag is not None and etag != info.etag:
            self.log.append(Request(kind, key))
            raise Conflict(f"Slide {key} was replaced; open it again")
        part = data[start:stop]
        self.log.append(Request(kind, key, start, start + len(part)))
        return RangeResult(part, start, info)
