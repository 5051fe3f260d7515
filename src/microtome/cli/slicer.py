"""``microtome slicer``."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from typing import Any

import click

from microtome import settings
from microtome.cli.options import Failure, load, settings_options
from microtome.cli.serve import run
from microtome.server import logs

PORT = 2016
"""Where the original listens, and its clients look for it."""
_PORT = re.compile(r"\bport\s*=\s*(\d{1,5})\b")


@click.command()
@click.argument("place", required=False, metavar="[PATH|URL]")
@click.option("--python-code", metavar="CODE", help="As clients start the original: port=NUMBER in it is heeded.")
@click.option("--alias", type=click.Path(path_type=Path), help="Make this an alias of the program that ends in .exe, as"
              " SLICER_EXECUTABLE of slicerio has to, and end.")  # fmt: skip
@click.option("--port", "-p", metavar="PORT", help=f"Port to listen on; 0 takes a free one. [default: {PORT}]")
@settings_options(only=settings.options().keys() - {"port", "scene"})
def slicer(place: str | None, python_code: str | None, alias: Path | None, **given: Any) -> None:
    """Serve a Slicer scene where clients of 3D Slicer look for it: microtome serve --scene --scene-stop --port 2016.

    Without a folder the scene reads and writes files of the current one, which is not searched for slides or DICOM.
    """
    if alias is not None:
        click.echo(_made(alias))
        return
    if given["port"] is None and python_code and (found := _PORT.search(python_code)):
        given["port"] = found[1]
    loaded = load(given, place)
    made, origins = loaded.settings, loaded.origins
    changed: dict[str, Any] = {"scene": True}
    if origins["scene_stop"] == "default":
        changed["scene_stop"] = True
    if origins["port"] == "default":
        changed["port"] = PORT
    if made.data is None:
        changed |= {"data": str(Path.cwd()), "dicomweb": False}
    logs.set_up(verbose=made.verbose)
    run(dataclasses.replace(made, **changed))


def _made(alias: Path) -> Path:
    """A link to this program."""
    link = alias if alias.suffix.lower() == ".exe" else alias.with_name(f"{alias.name}.exe")
    try:
        link.symlink_to(Path(sys.argv[0]).resolve())
    except OSError as error:
        raise Failure(f"{link} cannot be made: {error.strerror}") from error
    return link
