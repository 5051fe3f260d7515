"""Composition root: settings in, services wired, one ASGI application out. Nothing here knows how anything is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI

import microtome
from microtome.api.cors import Cors
from microtome.api.express.prepared import Express
from microtome.api.streamer import StreamerContext, mount_streamer
from microtome.auth.base import Authenticator
from microtome.auth.none import NoAuthentication
from microtome.auth.signed import SignedUrls
from microtome.catalog.folder import FolderCatalog
from microtome.errors import InvalidRequest
from microtome.formats.registry import FormatRegistry
from microtome.settings import Settings
from microtome.storage.base import Store
from microtome.storage.headers import HeaderCache
from microtome.storage.url import StoreOptions, open_store
from microtome.telemetry import Counters
from microtome.tiles.cache import MemoryTileCache, TileCache
from microtome.tiles.pool import SlidePool
from microtome.tiles.service import RenderLimits, TileService
from microtome.tiles.shared import SharedTileCache
from microtome.tiles.workers import RenderWorkers
from microtome.viewer import pages

_HOUSEKEEPING_SECONDS = 30.0


@dataclass(frozen=True)
class Services:
    """What one application is made of; kept at ``app.state.services`` for tests and for the command line."""

    store: Store
    catalog: FolderCatalog
    tiles: TileService
    express: Express
    counters: Counters


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


def build_services(settings: Settings, *, shared_cache: Path | None = None) -> Services:
    """Wire the services of one process. ``shared_cache`` is the folder of the tile cache it shares with others."""
    counters = Counters()
    store = open_storage(settings, counters)
    cache: TileCache = (
        MemoryTileCache(settings.cache_tiles)
        if shared_cache is None
        else SharedTileCache(shared_cache, settings.cache_tiles)
    )
    pool = SlidePool(
        store,
        FormatRegistry.from_entry_points(),
        HeaderCache(settings.cache_headers, settings.cache_dir, store_id=settings.data or ""),
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
    return Services(store, FolderCatalog(store), tiles, Express(budget=settings.cache_answers), counters)


def create_app(settings: Settings, *, shared_cache: Path | None = None) -> FastAPI:
    """The application of one process, ready to be served.

    ``app.state.express`` answers below ASGI what needs no waiting; ``microtome.server`` hands it to the protocol.
    """
    services = build_services(settings, shared_cache=shared_cache)
    auth: Authenticator = SignedUrls(settings.auth_secrets) if settings.auth_enabled else NoAuthentication()
    context = StreamerContext(
        service=services.tiles,
        catalog=services.catalog,
        auth=auth,
        cors=Cors(settings.cors_origins),
        pages=pages,
        default_quality=settings.jpeg_quality,
        cache_max_age=settings.cache_max_age,
        public_view=settings.public_view,
        frame_ancestors=settings.frame_ancestors,
        root_path=settings.root_path,
        version=microtome.__version__,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        housekeeping = asyncio.create_task(_housekeeping(services))
        try:
            yield
        finally:
            housekeeping.cancel()
            await services.tiles.close()
            await services.store.close()

    app = FastAPI(
        title="microtome",
        version=microtome.__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        root_path=settings.root_path,
    )
    app.state.services = services
    app.state.express = services.express
    mount_streamer(app, context, services.express)
    return app


async def _housekeeping(services: Services) -> None:
    while True:
        await asyncio.sleep(_HOUSEKEEPING_SECONDS)
        services.tiles.pool.close_idle()
