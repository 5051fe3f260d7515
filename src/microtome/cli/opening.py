"""Opening slides for commands: the store, the formats and the catalogue of the settings, one slide at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from microtome.app import open_storage
from microtome.app.services import open_formats
from microtome.catalog.folder import FolderCatalog
from microtome.catalog.kinds import kinds_of
from microtome.formats.base import Slide
from microtome.formats.registry import FormatRegistry
from microtome.settings import Settings
from microtome.storage.base import Store
from microtome.storage.copies import LocalCopies
from microtome.storage.folder import Files, open_files


@dataclass(frozen=True)
class Place:
    """Where the slides of a command are, and how they are read."""

    store: Store
    catalog: FolderCatalog
    formats: FormatRegistry
    copies: LocalCopies

    @asynccontextmanager
    async def opened(self, key: str) -> AsyncGenerator[tuple[Slide, Files]]:
        """A slide and its file or folder; closed at the end."""
        record = self.catalog.resolve(key)
        files = await open_files(self.store, record.key, self.copies)
        slide = await self.formats.open(files)
        try:
            yield slide, files
        finally:
            await slide.close()


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncGenerator[Store]:
    """The store of the settings, closed at the end."""
    store = open_storage(settings)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def opened_place(settings: Settings) -> AsyncGenerator[Place]:
    """The place that the settings name, closed at the end."""
    formats = open_formats(settings)
    copies = LocalCopies(settings.cache_dir, settings.local_copies)
    async with opened_store(settings) as store:
        try:
            await formats.start()
            yield Place(store, FolderCatalog(store, kinds_of(formats)), formats, copies)
        finally:
            await formats.stop()
            copies.close()


def split_place(place: str) -> tuple[str, str]:
    """The folder or bucket that holds the file or folder named, and its key there, "" for a root."""
    if "://" not in place:
        path = Path(place).resolve()
        return str(path.parent), path.name
    parent, _, name = place.rstrip("/").rpartition("/")
    return (place, "") if parent.endswith(":/") else (parent, name)
