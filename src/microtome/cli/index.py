"""``microtome index``."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from microtome.app import open_storage
from microtome.app.services import scan_limits
from microtome.cli.options import Failure, load, settings_options
from microtome.server import logs
from microtome.settings import Settings

if TYPE_CHECKING:
    from microtome.dicom.index.base import Index
    from microtome.dicom.index.walk import Progress

_STORAGE = ("s3_bucket", "s3_endpoint", "s3_region", "s3_anonymous", "follow_symlinks", "storage_timeout",
            "dicom_header_size", "dicom_header_elements", "verbose")  # fmt: skip
_SHOWN = 20


@click.command()
@click.argument("place", required=False, metavar="[PATH|URL]")
@click.option(
    "--index", "where", metavar="FILE|URL",
    help="Where the index is kept: a file (SQLite) or postgresql://user:password@host/database."
    " [default: the setting dicom_index, else a file in the cache folder of the user]",
)  # fmt: skip
@click.option(
    "--processes", type=click.IntRange(1, 64), help="Processes that read files of this machine. [default: one a core]",
)  # fmt: skip
@click.option("--problems", is_flag=True, help="List every file that is not served, with the reason.")
@click.option("--watch", "watching", is_flag=True, help="Stay, and follow what changes, until interrupted.")
@click.option("--may-be-empty", is_flag=True, help="Forget everything when nothing at all is found any more.")
@settings_options(only=_STORAGE)
def index(
    place: str | None, where: str | None, processes: int | None, *, problems: bool, watching: bool, may_be_empty: bool,
    **given: Any,
) -> None:  # fmt: skip
    """Index the DICOM files of a folder or bucket, so that they can be searched and served.

    Only what is new or has changed is read. After an interruption it goes on where it was.
    """
    settings = load(given, place).settings
    logs.set_up(verbose=settings.verbose)
    if settings.data is None:
        raise Failure("nothing to index: give a folder or a URL such as s3://bucket")
    target = where or settings.dicom_index
    count = processes or os.cpu_count() or 2
    try:
        asyncio.run(_index(settings, target, count, problems=problems, watching=watching, may_be_empty=may_be_empty))
    except KeyboardInterrupt:
        click.echo("microtome: interrupted; what was read stays in the index", err=True)
        raise


async def _index(
    settings: Settings, target: str | None, processes: int, *, problems: bool, watching: bool, may_be_empty: bool
) -> None:
    from microtome.dicom.index.url import open_index, usual_index
    from microtome.dicom.index.walk import Walk
    from microtome.dicom.index.watch import Following, is_index, watch

    place = target or str(usual_index(settings.data or ""))
    opened = await open_index(place)
    store = open_storage(settings)
    limits = scan_limits(settings)
    try:
        async with opened.walking() as mine:
            if not mine:
                raise Failure("another process is indexing into this index already")
            with _Display() as display:
                walk = Walk(store, opened, processes, may_be_empty=may_be_empty, tell=display.show, limits=limits)
                progress = await walk.run()
            await _summary(opened, progress, everything=problems)
            if watching:
                click.echo("Following changes; Ctrl-C ends")
                following = Following(tell=_changes, ignored=is_index(place))
                await watch(Walk(store, opened, processes, settle=2.0, limits=limits), following)
    finally:
        await store.close()
        await opened.close()


class _Display:
    """A line that tells how far it is: redrawn on a terminal, else written now and then."""

    _EVERY = 10.0

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._plain = not console.is_terminal
        columns = (TextColumn("indexing"), BarColumn(), TextColumn("{task.description}"))
        self._bar = Bar(*columns, console=console, transient=True, disable=self._plain)
        self._task = self._bar.add_task("", total=None)
        self._told = time.monotonic()

    def __enter__(self) -> _Display:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, progress: Progress) -> None:
        """Called by the walk."""
        now = time.monotonic()
        if not self._plain:
            done, total = progress.read + progress.postponed, progress.changed
            self._bar.update(self._task, completed=done, total=total, description=told(progress, now))
        elif now - self._told >= self._EVERY:
            self._told = now
            click.echo(f"indexing: {told(progress, now)}", err=True)


def told(progress: Progress, now: float) -> str:
    """How far a walk is, in a line: files, speed, time to go."""
    of = "" if progress.changed is None else f" of {progress.changed:,}"
    words = [f"{progress.read:,}{of} files", f"{progress.speed(now):,.0f}/s"]
    left = progress.remaining(now)
    if left is not None:
        minutes, seconds = divmod(round(left), 60)
        words.append(f"{minutes // 60}:{minutes % 60:02}:{seconds:02} left")
    if progress.broken:
        words.append(f"{progress.broken:,} broken")
    return ", ".join(words)


async def _summary(opened: Index, progress: Progress, *, everything: bool) -> None:
    seconds = time.monotonic() - progress.began
    unchanged = progress.listed - progress.read - progress.postponed
    click.echo(
        f"Read {progress.read:,} files in {seconds:.1f} s ({progress.speed(time.monotonic()):,.0f}/s):"
        f" {progress.indexed:,} instances, {progress.others:,} no DICOM instances, {progress.broken:,} broken;"
        f" {max(unchanged, 0):,} unchanged, {progress.gone:,} gone"
    )
    if progress.postponed:
        click.echo(f"{progress.postponed:,} files changed while they were read; the next run reads them")
    totals = await opened.totals()
    click.echo(
        f"The index holds {totals.studies:,} studies, {totals.series:,} series, {totals.instances:,} instances"
        f" ({totals.stored_bytes / 1e9:.2f} GB)"
    )
    cursor, shown = "", 0
    while page := await opened.problems(1000, cursor):
        for problem in page:
            if not everything and shown == _SHOWN:
                click.echo(f"... {totals.problems:,} in all; --problems lists them")
                return
            click.echo(f"✗ {problem.key}: {problem.reason}")
            shown += 1
        cursor = page[-1].key


def _changes(progress: Progress) -> None:
    if progress.read or progress.gone:
        click.echo(f"{progress.indexed:,} instances read, {progress.broken:,} broken, {progress.gone:,} gone")
