"""The services of one process, wired from its settings."""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from microtome.api.express.prepared import Express
from microtome.catalog.base import Catalog
from microtome.catalog.folder import FolderCatalog
from microtome.catalog.kinds import Kinds, kinds_of, without_dicom
from microtome.catalog.series import SeriesCatalog
from microtome.dicom.encoding import ScanLimits
from microtome.dicom.index.base import SlideIndex
from microtome.dicom.index.kept import KeptIndex
from microtome.dicom.index.late import LateIndex
from microtome.dicom.index.url import open_index, usual_index
from microtome.dicom.series import FOLDER, SeriesList, SeriesStore
from microtome.errors import InvalidRequest
from microtome.formats.base import FormatOptions
from microtome.formats.registry import FormatRegistry
from microtome.settings import Settings
from microtome.storage.base import Store
from microtome.storage.copies import LocalCopies
from microtome.storage.headers import HeaderCache
from microtome.storage.url import StoreOptions, open_store
from microtome.telemetry import Counters, logger
from microtome.tiles.cache import MemoryTileCache, TileCache
from microtome.tiles.pool import SlidePool
from microtome.tiles.service import RenderLimits, TileService
from microtome.tiles.shared import SharedTileCache
from microtome.tiles.workers import RenderWorkers


@dataclass(frozen=True)
class Services:
    """What one application is made of; kept at ``app.state.services`` for tests and for the command line."""

    store: Store
    """The data; where there is an index, the DICOM series in it are folders, too."""
    catalog: Catalog
    """All slides."""
    files: Catalog
    """Those that are no DICOM where there is an index of that, else all."""
    index: SlideIndex | None
    tiles: TileService
    express: Express
    counters: Counters
    formats: FormatRegistry
    kinds: Kinds
    copies: LocalCopies


def open_storage(settings: Settings, counters: Counters | None = None) -> Store:
    """The store that the settings name. Raises InvalidRequest when they name none, or one that cannot be."""
    data = settings.data
    if data is None:
        raise InvalidRequest("Nothing to serve: give a folder, a file or a URL such as s3://bucket", parameter="data")
    return open_store(
        data,
        StoreOptions(
            s3_endpoint=settings.s3_endpoint,
            s3_region=settings.s3_region,
            s3_anonymous=settings.s3_anonymous,
            follow_symlinks=settings.follow_symlinks,
            block_size=settings.block_size,
            block_budget=settings.cache_blocks * settings.block_size,
            timeout=settings.storage_timeout,
            retries=settings.storage_attempts - 1,
            counters=counters or Counters(),
        ),
    )


async def place_of_index(settings: Settings) -> str:
    """Where the DICOM index is: a URL, or a path whose folder is there."""
    place = settings.dicom_index
    if not place:
        return str(await asyncio.to_thread(_usual_place, usual_index(settings.data or "")))
    if "://" not in place:
        await asyncio.to_thread(Path(place).parent.mkdir, parents=True, exist_ok=True)
    return place


def _usual_place(usual: Path) -> Path:
    """The usual place; where we may not write there, as without a home, one that is lost with the machine's /tmp."""
    with suppress(OSError):
        usual.parent.mkdir(parents=True, exist_ok=True)
        if os.access(usual.parent, os.W_OK):
            return usual
    folder = Path(tempfile.gettempdir(), f"microtome-{os.getuid()}")
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        folder = Path(tempfile.mkdtemp(prefix="microtome-"))  # the name is another's
    logger.warning("The DICOM index cannot be kept between restarts: name a place for it with --dicom-index")
    return folder / usual.name


def scan_limits(settings: Settings) -> ScanLimits:
    """What headers of DICOM files may have."""
    return ScanLimits(settings.dicom_header_size, settings.dicom_header_elements)


def _open_index(settings: Settings) -> SlideIndex:
    async def opened() -> SlideIndex:
        return await open_index(await place_of_index(settings))

    return KeptIndex(LateIndex(opened))


def open_formats(settings: Settings) -> FormatRegistry:
    """The formats as the settings want them. Raises InvalidRequest(parameter="isolate")."""
    return FormatRegistry.from_entry_points(
        dict(reversed(settings.format_priority)),
        isolate=settings.isolate,
        options=FormatOptions(cache_dir=settings.cache_dir),
    )


def build_services(settings: Settings, *, shared_cache: Path | None = None) -> Services:
    """Wire the services of one process. ``shared_cache`` is the folder of the tile cache it shares with others."""
    counters = Counters()
    store = open_storage(settings, counters)
    cache: TileCache = (
        MemoryTileCache(settings.cache_tiles)
        if shared_cache is None
        else SharedTileCache(shared_cache, settings.cache_tiles)
    )
    formats = open_formats(settings)
    kinds = kinds_of(formats)
    files: Catalog = FolderCatalog(store, kinds)
    catalog = files
    index = _open_index(settings) if settings.dicomweb else None
    if index is not None:
        series = SeriesList(index)
        store = SeriesStore(store, index, series)
        files = FolderCatalog(store, without_dicom(kinds))
        catalog = SeriesCatalog(files, series, FOLDER)
        kinds = replace(kinds, holds_slides=index.holds_slides)
    copies = LocalCopies(settings.cache_dir, settings.local_copies)
    pool = SlidePool(
        store,
        formats,
        HeaderCache(settings.cache_headers, settings.cache_dir, store_id=settings.data or ""),
        copies=copies,
        capacity=settings.cache_slides,
        idle=settings.slide_idle,
        revalidate=settings.revalidate,
        counters=counters,
    )
    tiles = TileService(
        pool,
        cache,
        RenderWorkers(settings.render_threads, settings.render_queue),
        limits=RenderLimits(settings.max_region_pixels, settings.thumbnail_tiles),
        counters=counters,
    )
    express = Express(budget=settings.cache_answers)
    return Services(store, catalog, files, index, tiles, express, counters, formats, kinds, copies)
