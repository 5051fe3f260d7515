"""Composition root: settings in, services wired, one ASGI application out. Nothing here knows how anything is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

import microtome
from microtome.api.browse import mount_browse
from microtome.api.cors import Cors
from microtome.api.dicomweb import mount_dicomweb
from microtome.api.login import LoginGate
from microtome.api.root_path import RootPath
from microtome.api.streamer import StreamerContext, mount_streamer
from microtome.api.wsi_v3 import mount_wsi_v3
from microtome.app.dicom import Dicom
from microtome.app.services import Services, build_services
from microtome.app.v3 import LateMapper, open_policy, page_options, v3_context
from microtome.auth.base import Authenticator
from microtome.auth.none import NoAuthentication
from microtome.auth.signed import SignedUrls
from microtome.settings import Settings
from microtome.viewer import ohif, pages

_HOUSEKEEPING_SECONDS = 30.0


def create_app(settings: Settings, *, shared_cache: Path | None = None) -> FastAPI:
    """The application of one process, ready to be served.

    ``app.state.express`` answers below ASGI what needs no waiting; ``microtome.server`` hands it to the protocol.
    """
    services = build_services(settings, shared_cache=shared_cache)
    policy = open_policy(settings)
    dicom = Dicom(settings, services) if settings.dicomweb else None
    # A login is for every slide: where no signatures guard the other families, they ask for it, too.
    gated = policy is not None and policy.enabled and not settings.auth_enabled
    auth: Authenticator = (
        SignedUrls(settings.auth_secrets) if settings.auth_enabled else NoAuthentication(private=gated)
    )
    context = StreamerContext(
        service=services.tiles,
        catalog=services.catalog,
        auth=auth,
        cors=Cors(settings.cors_origins, credentials=settings.cors_credentials),
        pages=pages,
        default_quality=settings.jpeg_quality,
        cache_max_age=settings.cache_max_age,
        public_view=settings.public_view,
        frame_ancestors=settings.frame_ancestors,
        root_path=settings.root_path,
        version=microtome.__version__,
        private=gated or auth.enabled,
    )

    mapper = LateMapper(settings, services)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        await services.formats.start()
        if settings.local_mode is not None:
            await mapper.open()  # what is wrong with it is told at the start
        if dicom is not None:
            dicom.start()
        housekeeping = asyncio.create_task(_housekeeping(services))
        try:
            yield
        finally:
            housekeeping.cancel()
            if dicom is not None:
                await dicom.close()
            await mapper.close()
            if policy is not None:
                await policy.aclose()
            await services.tiles.close()
            await services.formats.stop()
            services.copies.close()
            await services.store.close()

    app = FastAPI(
        title=settings.title,
        description=settings.description,
        version=settings.api_version or microtome.__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None if settings.disable_openapi else "/openapi.json",
    )
    app.state.services = services
    app.state.express = services.express
    mount_streamer(app, context, None if gated else services.express)
    mount_wsi_v3(app, v3_context(settings, services, auth, policy, mapper), page_options(settings, auth))
    if dicom is not None:
        folder = settings.ohif_dir or ohif.usual_folder()
        mount_browse(
            app,
            folder if ohif.is_installed(folder) else None,
            pages.error_page(404, ohif.MISSING_TITLE, ohif.MISSING, config={"base": settings.root_path}),
            frame_ancestors=settings.frame_ancestors,
        )
        mount_dicomweb(app, dicom.context(auth, private=gated))
    if policy is not None and gated:
        app.add_middleware(LoginGate, policy=policy, cors=context.cors)
    app.add_middleware(RootPath, root_path=settings.root_path)
    return app


async def _housekeeping(services: Services) -> None:
    while True:
        await asyncio.sleep(_HOUSEKEEPING_SECONDS)
        services.tiles.pool.close_idle()
