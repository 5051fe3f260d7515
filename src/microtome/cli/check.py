"""``microtome check``."""

from __future__ import annotations

import asyncio
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from microtome.cli.opening import Place, opened_place
from microtome.cli.options import Failure, load, settings_options
from microtome.errors import MicrotomeError, NotFound
from microtome.model import EncodedTile, TileIndex
from microtome.pixels import codecs
from microtome.server import logs
from microtome.settings import Settings

_STORAGE = ("s3_bucket", "s3_endpoint", "s3_region", "s3_anonymous", "follow_symlinks", "storage_timeout", "verbose")
_AT_ONCE = 8


@click.command()
@click.argument("place", required=False, metavar="[PATH|URL]")
@click.option("--test-slide", metavar="KEY", help="Open this slide and decode a tile of it.")
@click.option("--list-slides", is_flag=True, help="List all slides.")
@click.option("--all", "everything", is_flag=True, help="Open every slide and decode a tile of each.")
@settings_options(only=_STORAGE)
def check(place: str | None, test_slide: str | None, *, list_slides: bool, everything: bool, **given: Any) -> None:
    """Check that the storage answers and that slides open."""
    settings = load(given, place).settings
    logs.set_up(verbose=settings.verbose)
    if settings.data is None:
        raise Failure("nothing to check: give a folder or a URL such as s3://bucket")
    asyncio.run(_check(settings, test_slide, list_slides=list_slides, everything=everything))


async def _check(settings: Settings, test_slide: str | None, *, list_slides: bool, everything: bool) -> None:
    click.echo("microtome check\n===============")
    click.echo(f"✓ Place: {settings.data}")
    if settings.s3_endpoint:
        click.echo(f"✓ Endpoint: {settings.s3_endpoint}")
    async with opened_place(settings) as place:
        async for page in place.store.list():
            click.echo(f"✓ Listing works ({'objects found' if page else 'empty'})")
            break
        else:
            click.echo("✓ Listing works (nothing is there)")
        slides = await _slides(place) if list_slides or everything else []
        if list_slides:
            click.echo("Slides:")
            for key in slides:
                click.echo(f"  {key}")
            click.echo(f"Total: {len(slides)}")
        if test_slide is not None:
            await _test(place, test_slide)
        if everything:
            await _test_all(place, slides)
    click.echo("✓ All checks passed")


async def _slides(place: Place) -> list[str]:
    found, cursor = list[str](), None
    console = Console(stderr=True)
    with console.status("listing") as status:
        while True:
            page = await place.catalog.list(limit=1000, cursor=cursor)
            found += [record.key for record in page.slides]
            status.update(f"listing: {len(found)} slides")
            cursor = page.next_cursor
            if cursor is None:
                return found


async def _test(place: Place, key: str) -> None:
    try:
        told = await _open(place, key)
    except NotFound as error:
        click.echo(f"✗ Slide not found: {key}")
        raise Failure(error.message) from error
    except MicrotomeError as error:
        click.echo(f"✗ Slide cannot be read: {key}")
        raise Failure(error.message) from error
    click.echo(f"✓ Slide opens: {key} ({told})")


async def _open(place: Place, key: str) -> str:
    """Open a slide, decode a tile of its smallest level, tell what it is."""
    async with place.opened(key) as (slide, files):
        info = await slide.info()
        number = len(info.levels) - 1
        level = info.levels[number]
        if info.channels:
            tile = await slide.read_tile(TileIndex(number, level.columns // 2, level.rows // 2))
            if isinstance(tile, EncodedTile):
                await asyncio.to_thread(codecs.decode, tile)
        size = info.size
        return f"{info.format_name}, {size.width} x {size.height} px, {files.info.size / 1e6:.2f} MB"


async def _test_all(place: Place, slides: list[str]) -> None:
    broken: list[tuple[str, str]] = []
    waiting = iter(slides)
    columns = (TextColumn("checking"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("checking", total=len(slides))

        async def worker() -> None:
            for key in waiting:
                try:
                    await _open(place, key)
                except MicrotomeError as error:
                    broken.append((key, error.message))
                progress.advance(task)

        await asyncio.gather(*(worker() for _ in range(_AT_ONCE)))
    click.echo(f"Checked {len(slides)} slides, {len(broken)} broken")
    for key, reason in sorted(broken):
        click.echo(f"✗ {key}: {reason}")
    if broken:
        raise Failure(f"{len(broken)} of {len(slides)} slides cannot be read")
