"""``microtome serve``."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from pathlib import Path
from typing import Any

import click

from microtome.cli.options import Failure, load, settings_options
from microtome.errors import MicrotomeError, UnsupportedFormat
from microtome.server import logs
from microtome.settings import Settings


@click.command()
@click.argument("place", required=False, metavar="[PATH|URL]")
@settings_options()
def serve(place: str | None, **given: Any) -> None:
    """Serve slides of a folder, a file or a bucket; without one, a slide painted for demonstration."""
    settings = load(given, place).settings
    logs.set_up(verbose=settings.verbose)
    if settings.data is None:
        settings = dataclasses.replace(settings, data=str(demo_folder()))
    run(settings)


def run(settings: Settings) -> None:
    """Serve until told to stop; ends the program."""
    _check_storage(settings)
    _check_formats(settings)
    _check_secrets(settings)
    from microtome.server.run import serve as run_server  # the web server is loaded only by commands that need it

    try:
        status = run_server(settings)
    except OSError as error:
        raise Failure(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; choose another with --port"
        ) from error
    raise SystemExit(status)


def demo_folder() -> Path:
    """The folder with the demonstration slide, painted when it is not there yet."""
    from microtome.demo.svs import write_demo

    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "microtome" / "demo"
    slide = folder / "microtome-demo.svs"
    if not slide.exists():
        click.echo("Nothing to serve was named: painting a slide for demonstration, once ...", err=True)
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / f".unfinished-{os.getpid()}.svs"
        write_demo(unfinished)
        unfinished.replace(slide)
    return folder


def _check_secrets(settings: Settings) -> None:
    if settings.auth_enabled:
        from microtome.auth.signed import SignedUrls

        SignedUrls(settings.auth_secrets)


def _check_formats(settings: Settings) -> None:
    """Fail here, in one line, for names of formats that do not exist; each worker would tell it otherwise."""
    from microtome.app.services import open_formats

    open_formats(settings)


def _check_storage(settings: Settings) -> None:
    """Fail before the port is taken when there is nothing to be served."""
    from microtome.app import open_storage

    async def look() -> None:
        store = open_storage(settings)
        try:
            async for _ in store.list():
                return
        finally:
            await store.close()

    try:
        asyncio.run(look())
    except UnsupportedFormat:
        return  # a plain web server cannot list; its slides are asked for by path
    except MicrotomeError as error:
        raise Failure(f"cannot serve {settings.data}: {error.message}") from error
