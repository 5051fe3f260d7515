"""The scene over the services: where its process lives, what it may do, and the routes to it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import FastAPI

import microtome
from microtome.api.cors import Cors
from microtome.api.docs import Docs
from microtome.api.forwarded import Proxies
from microtome.api.requestlog import Kept
from microtome.api.slicer import Guard, SlicerContext, mount_slicer
from microtome.api.slicer.page import page_route
from microtome.api.slicer.sources import Sources
from microtome.auth.base import Authenticator
from microtome.scene.client import SceneClient
from microtome.scene.keeper import SceneKeeper, SceneOptions, private_folder, shared_folder
from microtome.settings import Settings
from microtome.viewer import pages


class Scene:
    """The scene of one server. Its process is started with the first request.

    ``shared``: a folder that all processes of the server have in common; they share one scene, too. ``login``: who asks
    has logged in, and may not see every slide: then the data folder is no root unless the operator says so.
    """

    def __init__(self, settings: Settings, shared: Path | None = None, *, login: bool = False) -> None:
        self._login = login
        self._settings = settings
        folder = private_folder() if shared is None else shared_folder(shared.name)
        self.keeper = SceneKeeper(folder, _options(settings, login=login))
        self.client = SceneClient(
            self.keeper.socket, self.keeper.present, self.keeper.end, seconds=settings.scene_timeout
        )

    def mount(
        self, app: FastAPI, auth: Authenticator, sources: Sources, *, log: Kept | None = None, docs: Docs | None = None
    ) -> None:
        """Add the routes that the settings want.

        ``log``: the last requests to the server, where they are kept. ``docs``: the pages about routes.
        """
        settings = self._settings
        public = urlsplit(settings.public_url or "").hostname
        guard = Guard(
            auth,
            names=(*settings.scene_names, *([public] if public else [])),
            origins=settings.scene_origins,
            token=settings.scene_token,
            login=self._login,
        )
        context = SlicerContext(
            self.client,
            files=self.keeper.files,
            stop=self._stop,
            hosts=settings.scene_hosts,
            private_hosts=settings.scene_private_hosts,
            exec_seconds=settings.scene_exec_seconds if settings.scene_exec else 0.0,
            max_upload=settings.scene_max_upload,
            proxies=Proxies(settings.trusted_proxies),
            sources=sources,
            roots=self.keeper.options.roots,
            log=log,
            admins=frozenset(settings.admins) if self._login else None,
        )
        config = {"base": settings.root_path, "version": microtome.__version__, "log": log is not None}
        page = page_route(
            lambda: pages.scene_page(config=config), pages.content_security_policy(settings.frame_ancestors)
        )
        mount_slicer(
            app,
            context,
            guard,
            Cors(settings.scene_origins),
            compatible=settings.slicer_api,
            safe=settings.scene_api,
            page=page if settings.pages else None,
            docs=docs,
        )

    def start(self) -> None:
        """From now on the process stays, once it is there, until all processes of the server are closed."""
        self.keeper.hold()

    async def close(self) -> None:
        """End the process unless others use it."""
        await self.client.close()
        await self.keeper.close()

    async def _stop(self) -> None:
        if self._settings.scene_stop:
            os.kill(os.getpid() if self._settings.workers == 1 else os.getppid(), signal.SIGTERM)
        else:
            await self.keeper.stop()


def _options(settings: Settings, *, login: bool) -> SceneOptions:
    roots = [Path(root).expanduser() for root in settings.scene_roots]
    if not roots and not login and (data := Path(settings.data or "")).exists():
        roots = [data if data.is_dir() else data.parent]
    return SceneOptions(
        socket="",
        folder="",
        roots=tuple(str(root.resolve()) for root in roots),
        samples=settings.scene_samples,
        autosave=str(settings.scene_autosave.expanduser().resolve()) if settings.scene_autosave else "",
        autosave_seconds=settings.scene_autosave_seconds,
        max_voxels=settings.scene_max_voxels,
        memory=settings.scene_memory,
        undo_memory=settings.scene_undo_memory,
        max_waiting=settings.scene_max_waiting,
        max_working=settings.scene_max_working,
        exec_seconds=settings.scene_exec_seconds if settings.scene_exec else 0.0,
    )
