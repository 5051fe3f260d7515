"""``microtome ohif``."""

from __future__ import annotations

from pathlib import Path

import click

from microtome import settings
from microtome.cli.options import Failure


@click.group()
def ohif() -> None:
    """The radiology viewer OHIF, served at /browse/ once it is installed."""


@ohif.command()
@click.option("--into", type=click.Path(file_okay=False, path_type=Path), help="Folder for its files.")
@click.option("--archive", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="An archive npm made.")
def install(into: Path | None, archive: Path | None) -> None:
    """Fetch OHIF through npm and make it ready to be served (60 MB)."""
    from microtome.viewer import ohif as files

    folder = into or settings.load().settings.ohif_dir or files.usual_folder()
    try:
        files.install(folder, archive)
    except OSError as error:
        raise Failure(f"{folder} cannot be written: {error.strerror}") from error
    click.echo(f"{files.PACKAGE} is in {folder}; microtome serve shows it at /browse/")
