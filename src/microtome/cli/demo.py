"""``microtome demo``."""

from __future__ import annotations

from pathlib import Path

import click

from microtome.cli.options import Failure


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), default=Path("microtome-demo.svs"))
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same bytes.")
@click.option("--width", type=click.IntRange(512, 100_000), default=8192, show_default=True, help="Width in px.")
@click.option("--height", type=click.IntRange(512, 100_000), default=6144, show_default=True, help="Height in px.")
def demo(file: Path, seed: int, width: int, height: int) -> None:
    """Paint a slide for demonstration: an H&E section with label and macro, written as SVS."""
    from microtome.demo.svs import write_demo

    try:
        write_demo(file, seed=seed, width=width, height=height)
    except OSError as error:
        raise Failure(f"{file} cannot be written: {error.strerror}") from error
    click.echo(f"{file} ({file.stat().st_size / 1e6:.1f} MB)")
