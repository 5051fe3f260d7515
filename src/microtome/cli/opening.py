"""Opening slides for commands: one store, one slide at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from microtome.app import open_storage
from microtome.catalog.folder import FolderCatalog
from microtome.formats.base import Slide
from microtome.formats.registry import FormatRegistry
from microtome.settings import Settings
from microtome.storage.base import Store
from microtome.storage.pinned import PinnedObject


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncGenerator[Store]:
    """The store of the settings, closed at the end."""
    store = open_storage(settings)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def opened_slide(store: Store, key: str) -> AsyncGenerator[Slide]:
    """A slide, closed at the end."""
    record = FolderCatalog(store).resolve(key)
    slide = await FormatRegistry.from_entry_points().open(await PinnedObject.open(store, record.key))
    try:
        yield slide
    finally:
        await slide.close()


def split_place(place: str) -> tuple[str, str | None]:
    """A place and, when it names a single slide, its key there."""
    if "://" not in place:
        path = Path(place)
        return (str(path.parent), path.name) if path.is_file() else (place, None)
    parent, _, name = place.rstrip("/").rpartition("/")
    if name.lower().endswith((".svs", ".tif", ".tiff")) and not parent.endswith(":/"):
        return parent, name
    return place, None
