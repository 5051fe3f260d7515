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
from microtome.api.deidentified import OnlyDicomweb
from microtome.api.dicomweb import mount_dicomweb
from microtome.api.docroot import mount_docroot
from microtome.api.docs import mount_docs
from microtome.api.express.prepared import Express
from microtome.api.forwarded import Proxies
from microtome.api.login import LoginGate
from microtome.api.requestlog import Kept, KeptHere, KeptTogether, LogRequests, RequestLog
from microtome.api.root_path import RootPath
from microtome.api.streamer import StreamerContext, mount_streamer
from microtome.api.wsi_v3 import mount_wsi_v3
from microtome.app.dicom import Dicom, identity_rule
from microtome.app.scene import Scene
from microtome.app.services import Services, build_services
from microtome.app.sources import SceneSources
from microtome.app.v3 import LateMapper, documentation, open_policy, page_options, v3_context
from microtome.auth.base import Authenticator
from microtome.auth.none import NoAuthentication
from microtome.auth.signed import SignedUrls
from microtome.settings import Settings
from microtome.viewer import pages

_HOUSEKEEPING_SECONDS = 30.0


def create_app(settings: Settings, *, shared_cache: Path | None = None) -> FastAPI:
    """The application of one process, ready to be served.

    ``app.state.express`` answers below ASGI what needs no waiting; ``microtome.server`` hands it to the protocol, with
    ``app.state.request_log``, which is None where requests are not logged.
    """
    services = build_services(settings, shared_cache=shared_cache)
    policy = open_policy(settings)
    mapper = LateMapper(settings, services)
    dicom = Dicom(settings, services, services.index, mapper) if services.index is not None else None
    # A login is for every slide: where no signatures guard the other families, they ask for it, too.
    gated = policy is not None and policy.enabled and not settings.auth_enabled
    scene = Scene(settings, shared_cache, login=gated) if settings.serves_scene else None
    rule = identity_rule(settings, gated=gated)
    auth: Authenticator = (
        SignedUrls(settings.auth_secrets) if settings.auth_enabled else NoAuthentication(private=gated)
    )
    private = gated or auth.enabled
    log = _request_log(settings, shared_cache)
    context = StreamerContext(
        service=services.tiles,
        catalog=services.catalog,
        auth=auth,
        cors=Cors(
            settings.cors_origins,
            credentials=settings.cors_credentials,
            families={"/dicom": "GET,HEAD,POST,OPTIONS" if _pages_may_store(settings) else "GET,HEAD,OPTIONS"},
            apart=(("/slicer", "/system") if scene is not None and settings.slicer_api else ())
            + (("/scene",) if settings.serves_scene_api else ()),
        ),
        pages=pages,
        default_quality=settings.jpeg_quality,
        cache_max_age=settings.cache_max_age,
        public_view=settings.public_view,
        frame_ancestors=settings.frame_ancestors,
        root_path=settings.root_path,
        version=microtome.__version__,
        private=private,
        parts=frozenset(name for name, on in (("slides", settings.slides_api), ("pages", settings.pages)) if on),
        elsewhere=_elsewhere(settings),
        overlays=None if dicom is None else dicom.overlays,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        if settings.reads_slides:
            await services.formats.start()
        if settings.local_mode is not None and settings.v3_api:
            await mapper.open()  # what is wrong with it is told at the start
        if dicom is not None:
            dicom.start()
        if scene is not None:
            scene.start()
        housekeeping = asyncio.create_task(_housekeeping(services))
        try:
            yield
        finally:
            housekeeping.cancel()
            if scene is not None:
                await scene.close()
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
    # Below ASGI nobody is asked who they are.
    app.state.express = Express(budget=settings.cache_answers) if rule.everyone else services.express
    mount_streamer(app, context, None if gated else services.express)
    if (docs := documentation(settings, private=private)) is not None:
        mount_docs(app, docs)
    if settings.v3_api:
        mount_wsi_v3(app, v3_context(settings, services, auth, policy, mapper), page_options(settings, auth, docs))
    if dicom is not None:
        if settings.pages:
            mount_browse(app, dicom.browse_context(auth, private=gated))
        mount_dicomweb(app, dicom.context(auth, rule, private=gated))
    if scene is not None:
        scene.mount(app, auth, SceneSources(services, dicom), log=None if log is None else log.kept, docs=docs)
    if settings.docroot is not None:
        mount_docroot(app, settings.docroot)
    if policy is not None and gated:
        hides = rule.hides if rule.by_claim else None
        app.add_middleware(LoginGate, policy=policy, cors=context.cors, hides=hides)
    if rule.everyone:
        app.add_middleware(OnlyDicomweb, cors=context.cors)
    app.add_middleware(RootPath, root_path=settings.root_path)
    app.state.request_log = log
    if log is not None:
        app.add_middleware(LogRequests, log=log)
    return app


def _request_log(settings: Settings, shared: Path | None) -> RequestLog | None:
    """Who is told of requests, None for nobody. ``shared``: a folder of all processes of the server."""
    console, most = settings.request_log or settings.verbose, settings.request_log_kept
    if settings.no_tracing or not (console or most):
        return None
    kept: Kept | None = None
    if most:
        kept = KeptHere(most) if shared is None else KeptTogether(shared / "requests", most)
    return RequestLog(console=console, kept=kept, proxies=Proxies(settings.trusted_proxies))


def _elsewhere(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Pages besides those of slides."""
    found = {
        "Studies": ("/studies", settings.dicomweb),
        "Scene": ("/scene", settings.serves_scene_api),
        "Interfaces": ("/docs", not settings.disable_openapi),
    }
    return tuple((title, path) for title, (path, there) in found.items() if there)


def _pages_may_store(settings: Settings) -> bool:
    """Whether pages of other origins may send instances: of those that were named, never of all."""
    return settings.dicom_store is not None and "*" not in settings.cors_origins


async def _housekeeping(services: Services) -> None:
    while True:
        await asyncio.sleep(_HOUSEKEEPING_SECONDS)
        services.tiles.pool.close_idle()
