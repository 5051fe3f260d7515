"""``microtome``: which command, and how its errors look."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

import microtome
from microtome.cli.check import check
from microtome.cli.demo import demo
from microtome.cli.index import index
from microtome.cli.inspect import inspect
from microtome.cli.ohif import ohif
from microtome.cli.options import Failure
from microtome.cli.serve import serve
from microtome.cli.settings import settings
from microtome.cli.sign import sign
from microtome.cli.slicer import slicer
from microtome.errors import MicrotomeError
from microtome.server.leave import leave

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class _Commands(click.Group):
    """A group whose command may be left out: ``microtome s3://bucket`` and ``microtome FOLDER`` serve."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command named first, or serve."""
        if args and self.get_command(ctx, args[0]) is None and (_URL.match(args[0]) or Path(args[0]).exists()):
            args = ["serve", *args]
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Options without a command belong to serve; ``--python-code`` is how clients start the original."""
        own = {"--help", "-h", "--version", "-V"}
        if args and args[0].startswith("-") and args[0] not in own:
            args = ["slicer" if args[0] == "--python-code" else "serve", *args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Errors on purpose become one line; others keep their traceback."""
        try:
            return super().invoke(ctx)
        except MicrotomeError as error:
            raise Failure(error.message) from error


_HELP: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(cls=_Commands, context_settings=_HELP)
@click.version_option(microtome.__version__, "-V", "--version", message="microtome %(version)s")
def commands() -> None:
    """Serve whole-slide images from a folder or a bucket.

    microtome FOLDER, microtome slide.svs and microtome s3://bucket are short for microtome serve.
    """


for command in (serve, slicer, demo, inspect, check, index, ohif, sign, settings):
    command.context_settings.update(_HELP)
    commands.add_command(command)


def main() -> None:
    """The entry point of the console script."""
    try:
        commands(prog_name="microtome")
    except KeyboardInterrupt:
        leave(130)
    except SystemExit as end:
        leave(end.code if isinstance(end.code, int) else int(end.code is not None))
