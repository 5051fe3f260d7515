"""The catalogue of a folder or a bucket: every object whose name ends like a slide's, its key as its id."""

from __future__ import annotations

from collections.abc import Iterable

from microtome.catalog.base import Page
from microtome.errors import InvalidRequest
from microtome.model import SlideRecord
from microtome.storage.base import Store
from microtome.storage.keys import check_key

SLIDE_SUFFIXES = (".svs", ".tif", ".tiff")
"""Names that are listed. Other objects can still be opened by their key."""


class FolderCatalog:
    """Slides of one store. Ids are keys; the cursor of a listing is the last key of the page before."""

    def __init__(self, store: Store, suffixes: Iterable[str] = SLIDE_SUFFIXES) -> None:
        self._store = store
        self._suffixes = tuple(suffix.lower() for suffix in suffixes)

    def resolve(self, slide_id: str) -> SlideRecord:
        """The record of a key. Raises NotFound for keys that could leave the root of the store."""
        return SlideRecord(slide_id, check_key(slide_id))

    async def list(self, *, limit: int, cursor: str | None = None, prefix: str = "", search: str = "") -> Page:
        """A full page, in bytewise key order, over the whole store. Raises InvalidRequest(parameter="cursor")."""
        if cursor is not None and not cursor:
            raise InvalidRequest("The cursor is empty; leave it out to begin at the first page", parameter="cursor")
        wanted = search.lower()
        found: list[SlideRecord] = []
        async for objects in self._store.list(prefix, after=cursor or ""):
            for stored in objects:
                lowered = stored.key.lower()
                if not lowered.endswith(self._suffixes) or wanted not in lowered:
                    continue
                if len(found) == limit:
                    return Page(tuple(found), next_cursor=found[-1].key)
                found.append(SlideRecord(stored.key, stored.key))
        return Page(tuple(found), next_cursor=None)
