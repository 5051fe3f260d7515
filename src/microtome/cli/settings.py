"""``microtome settings``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from microtome.cli.options import load
from microtome.settings import options, settings_values

_LINE = 500
"""Columns of a line for a pipe."""


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="TOML file with options.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def settings(config: Path | None, *, as_json: bool) -> None:
    """List all settings with value, origin and meaning."""
    loaded = load({}, config=config)
    values = settings_values(loaded.settings)
    if as_json:
        rows: dict[str, Any] = {name: {"value": values[name], "origin": loaded.origins[name]} for name in values}
        click.echo(json.dumps(rows, indent=2, default=str))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("setting", "value", "origin", "meaning"):
        table.add_column(column, overflow="fold")
    for name, option in options().items():
        table.add_row(name, str(values[name]), loaded.origins[name], option.help)
    # A pipe has no width: a value must not be cut into lines there.
    Console(width=None if sys.stdout.isatty() else _LINE).print(table)
