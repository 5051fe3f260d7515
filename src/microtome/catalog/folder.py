"""The catalogue of a folder or a bucket: every file and folder that is a slide by its name, its key as its id.

Nothing is opened. The store is read in pages in the order of its keys and no further than a page of slides needs;
folders that are slides are passed over, with one request where they are large.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from itertools import takewhile

from microtome.catalog.base import Page
from microtome.catalog.kinds import PICTURES, Kinds, by_suffix, is_part
from microtome.catalog.listing import LAST
from microtome.errors import InvalidRequest
from microtome.model import SlideRecord
from microtome.storage.base import Store
from microtome.storage.keys import check_key

JUDGED = 256
"""By the names of so many of its first objects a folder is told to be a slide or not."""

FILES_ONLY = Kinds(by_suffix(), lambda _: False)
"""The rules when no formats are known that read folders."""


class FolderCatalog:
    """Slides of one store. Ids are keys, those of folders without a ``/`` behind them.

    Listed is what ``kinds`` takes for a slide by its name alone, except pictures: too many of them are parts or
    previews. Everything can be opened by its key, listed or not.
    """

    def __init__(self, store: Store, kinds: Kinds = FILES_ONLY) -> None:
        self._store = store
        self._kinds = kinds

    def resolve(self, slide_id: str) -> SlideRecord:
        """The record of a key. Raises NotFound for keys that could leave the root of the store."""
        return SlideRecord(slide_id, check_key(slide_id))

    async def list(self, *, limit: int, cursor: str | None = None, prefix: str = "", search: str = "") -> Page:
        """A full page, in bytewise key order, over the whole store. Raises InvalidRequest(parameter="cursor").

        A folder has its place where its objects have theirs, as if its key ended with ``/``.
        """
        if cursor is not None and not cursor:
            raise InvalidRequest("The cursor is empty; leave it out to begin at the first page", parameter="cursor")
        wanted = search.lower()
        found: list[SlideRecord] = []
        last = ""
        async for key, place in self._slides(prefix, cursor or ""):
            if wanted not in key.lower():
                continue
            if len(found) == limit:
                return Page(tuple(found), next_cursor=last)
            found.append(SlideRecord(key, key))
            last = place
        return Page(tuple(found), next_cursor=None)

    async def _slides(self, prefix: str, cursor: str) -> AsyncIterator[tuple[str, str]]:
        """(key, cursor behind it) of all slides behind a cursor."""
        if not cursor and await self._is_within_slide(prefix):
            return
        ahead = _Ahead(self._store, prefix, cursor + LAST if cursor.endswith("/") else cursor)
        # What the listing begins in is no slide: either it was just asked, or it was when the cursor was made.
        here = _folder(cursor.removesuffix("/") if cursor else prefix)
        while await ahead.has(1):
            key = ahead.keys[0]
            while not key.startswith(here):
                here = _folder(here.removesuffix("/"))
            deeper = key.find("/", len(here)) + 1
            if deeper:
                here = key[:deeper]
                names = await ahead.names(here, JUDGED)
                is_slide = self._kinds.is_one_slide(names)
                if is_slide:
                    yield here.removesuffix("/"), here
                many = len(names) == JUDGED  # else it is as quick to go through
                if is_slide or is_part(here) or (many and self._kinds.is_dicom_alone(names)):
                    await ahead.pass_over(here)
                continue
            ahead.keys.popleft()
            name = key[len(here) :]
            if self._kinds.is_slide(name, None) and not name.lower().endswith(PICTURES):
                yield key, key

    async def _is_within_slide(self, prefix: str) -> bool:
        """Whether one of the folders in a prefix is a slide, so that nothing with this prefix is one."""
        folder = ""
        for step in prefix.split("/")[:-1]:
            folder += f"{step}/"
            if is_part(folder) or self._kinds.is_one_slide(await _Ahead(self._store, folder, "").names(folder, JUDGED)):
                return True
        return False


class _Ahead:
    """The keys of a listing, read as far ahead as it is asked for."""

    def __init__(self, store: Store, prefix: str, after: str) -> None:
        self.keys: deque[str] = deque()
        self._store = store
        self._prefix = prefix
        self._pages = store.list(prefix, after=after)
        self._ended = False

    async def has(self, number: int) -> bool:
        """Whether there are so many more keys; they are in ``keys`` then."""
        while len(self.keys) < number and not self._ended:
            page = await anext(self._pages, None)
            if page is None:
                self._ended = True
            else:
                self.keys.extend(info.key for info in page)
        return len(self.keys) >= number

    async def names(self, folder: str, most: int) -> list[str]:
        """Names, relative to the folder ahead, of ``most`` of its objects."""
        while len(self.keys) < most and (not self.keys or self.keys[-1].startswith(folder)):
            if not await self.has(len(self.keys) + 1):
                break
        found = takewhile(lambda key: key.startswith(folder), self.keys)
        return [key[len(folder) :] for key, _ in zip(found, range(most), strict=False)]

    async def pass_over(self, folder: str) -> None:
        """Drop the keys in a folder; where it has many, they are not even listed."""
        while self.keys and self.keys[0].startswith(folder):
            self.keys.popleft()
        if not self.keys and not self._ended:
            self._pages = self._store.list(self._prefix, after=folder + LAST)


def _folder(path: str) -> str:
    """The folder that holds it, with a ``/`` behind it; "" is the root."""
    return path[: path.rfind("/") + 1]
