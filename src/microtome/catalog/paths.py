"""Ids are paths relative to the root of the data: cases are folders, slides are files and folders in them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from microtome.catalog.addresses import mapped, relative
from microtome.catalog.base import Case, MappedSlide
from microtome.catalog.kinds import Kinds
from microtome.catalog.listing import FRESH, Folder, Listings
from microtome.errors import NotFound
from microtome.storage.base import Store


class PathsMapper:
    """Cases are the folders of a context, slides what is a slide in a folder.

    In ids and contexts ``>`` stands for ``/``; a leading ``/``, empty segments and ``.`` are ignored. What would leave
    the root of the data does not exist. Ids in answers begin with the context or case as it was asked for.
    """

    def __init__(
        self, store: Store, kinds: Kinds, *, fresh: float = FRESH, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._listings = Listings(store, kinds, fresh=fresh, clock=clock)

    async def cases(self, context: str | None) -> Sequence[Case]:
        """The folders of a context that are not themselves slides, sorted by name. Raises NotFound for no context."""
        if context is None:
            raise NotFound("context", "", "context is required")
        listed = await self._folder(context, 2)
        if listed is None:
            raise NotFound("context", context, f"Context folder '{context}' not found")
        found: list[Case] = []
        for name, folder in sorted(listed.folders.items()):
            if not folder.is_slide:
                case = f"{context}/{name}"
                slides = await self._listings.slides_in(folder)
                found.append(Case(case, case, tuple(f"{case}/{entry.name}" for entry in slides)))
        return found

    async def slides(self, case_id: str) -> Sequence[MappedSlide]:
        """The slides of a folder ("" is the root) sorted by name; a folder that is itself a slide holds that one."""
        folder = await self._folder(case_id, 1)
        if folder is None:
            raise NotFound("case", case_id, f"Case '{case_id}' not found")
        if folder.is_slide:
            entry = await self._listings.locate(relative(case_id.replace(">", "/")))
            return [mapped(case_id, entry.name, entry.key, entry.companions)]
        return [
            mapped(f"{case_id}/{entry.name}", entry.name, entry.key, entry.companions)
            for entry in await self._listings.slides_in(folder)
        ]

    async def slide(self, slide_id: str) -> MappedSlide:
        """The slide at a path. Its id and local id are the path with ``/`` for ``>``, unless its name has a ``>``."""
        for path in dict.fromkeys((slide_id.replace(">", "/"), slide_id)):
            try:
                entry = await self._listings.locate(relative(path))
            except NotFound:
                continue
            return mapped(path, path, entry.key, entry.companions)
        raise NotFound("slide", slide_id, f"Slide {slide_id} does not exist")

    async def refresh(self) -> None:
        """List everything anew."""
        self._listings.forget()

    async def close(self) -> None:
        """Nothing to release."""

    async def _folder(self, written: str, depth: int) -> Folder | None:
        """A folder that exists, listed; None for everything else."""
        try:
            path = relative(written.replace(">", "/"))
            folder = await self._listings.folder(path, depth)
            if not path or folder.files or folder.folders:
                return folder
            here = self._store.local_path(path)
        except NotFound:
            return None
        # An empty folder shows in no listing; only folders of this machine can be empty.
        return folder if here is not None and await asyncio.to_thread(here.is_dir) else None
