"""A folder of objects as one slide: DICOM series, OME-Zarr, vector tiles in z/x/y, MIRAX with its data files."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from microtome.errors import Conflict, NotFound
from microtome.storage.base import ObjectInfo, Store
from microtome.storage.pinned import Copies, PinnedObject

LISTED = 20_000
"""So many objects of a folder are listed at most; formats with more of them ask by name."""


class PinnedFolder:
    """The objects below ``key`` + "/", as they were listed. ``etag`` changes with any of those listed.

    Reads of an object are pinned to the version it had in the listing.
    """

    def __init__(self, store: Store, key: str, entries: Mapping[str, ObjectInfo], *, complete: bool) -> None:
        self.store = store
        self.key = key
        self.entries = entries
        """By name relative to the folder, in bytewise order."""
        self.copies: Copies | None = None
        """Where local copies may be made; see ``copies.local_copy``."""
        self.complete = complete
        """Whether all objects are listed."""
        digest = blake2b(digest_size=16)
        for name, info in entries.items():
            digest.update(f"{name}\0{info.size}\0{info.etag}\n".encode())
        size = sum(info.size for info in entries.values())
        self.info = ObjectInfo(key, size, f"folder-{digest.hexdigest()}", None)

    @classmethod
    async def open(cls, store: Store, key: str, *, most: int = LISTED) -> PinnedFolder:
        """List the folder. Raises NotFound(what="slide") when nothing is in it."""
        prefix = key.rstrip("/") + "/"
        entries: dict[str, ObjectInfo] = {}
        async for page in store.list(prefix):
            for info in page:
                if len(entries) >= most:
                    return cls(store, key, entries, complete=False)
                entries[info.key.removeprefix(prefix)] = info
        if not entries:
            raise NotFound("slide", key)
        return cls(store, key, entries, complete=True)

    @property
    def head(self) -> bytes:
        """Nothing: a folder has no first bytes."""
        return b""

    def path(self, name: str) -> str:
        """The key of an object of the folder."""
        return f"{self.key.rstrip('/')}/{name}"

    async def object(self, name: str) -> PinnedObject:
        """One of the objects. Raises NotFound, and Conflict when it is another one than listed."""
        pinned = await PinnedObject.open(self.store, self.path(name))
        listed = self.entries.get(name)
        if listed is not None and pinned.info.etag != listed.etag:
            raise Conflict(f"Slide {self.key} was changed; open it again")
        pinned.copies = self.copies
        return pinned

    async def read(self, name: str) -> bytes:
        """All bytes of a small object of the folder. Raises NotFound, Conflict."""
        listed = self.entries.get(name)
        if listed is None:
            listed = await self.store.head(self.path(name))
        result = await self.store.get_range(listed.key, 0, listed.size, etag=listed.etag)
        return result.data


Files = PinnedObject | PinnedFolder


async def open_files(store: Store, key: str, copies: Copies | None = None) -> Files:
    """The object at ``key``, or the folder there is in its place. Raises NotFound(what="slide") for neither."""
    files: Files
    try:
        files = await PinnedObject.open(store, key)
    except NotFound:
        files = await PinnedFolder.open(store, key)
    files.copies = copies
    return files
