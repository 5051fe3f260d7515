"""Settings as options of a command: made from the table in ``settings``, so that no option is written twice."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from microtome import settings

F = TypeVar("F", bound=Callable[..., Any])


class Failure(click.ClickException):
    """What went wrong, in one line on standard error; exit status 1."""

    def show(self, file: Any = None) -> None:
        """As click does, in our words."""
        click.echo(f"microtome: {self.format_message()}", err=True)


def settings_options(*, only: Collection[str] | None = None) -> Callable[[F], F]:
    """Add the options of ``Settings`` (all, or those named) and ``--config`` to a command."""

    def decorate(command: F) -> F:
        for name, option in reversed(settings.options().items()):
            if name == "data" or (only is not None and name not in only):
                continue
            command = click.option(*_declaration(name, option), **_explanation(name, option))(command)
        return click.option(
            "--config",
            type=click.Path(path_type=Path),
            help=f"TOML file with options (also {settings.CONFIG_VARIABLE}; ./{settings.DEFAULT_CONFIG} if it exists).",
        )(command)

    return decorate


def _declaration(name: str, option: settings.Option) -> list[str]:
    long = settings.flag(name)
    if option.parse is settings.boolean:
        return [*option.flags, f"{long}/--no-{long[2:]}" if not name.startswith("no_") else long, name]
    return [*option.flags, long, name]


def _explanation(name: str, option: settings.Option) -> dict[str, Any]:
    names = " ".join(filter(None, (settings.variable(name), option.wsi, option.ws)))
    default = settings.default_of(name)
    shown = (
        ""
        if default in (None, (), "", False)
        else f" [default: {_shown(default)}{' ' + option.unit if option.unit else ''}]"
    )
    explanation: dict[str, Any] = {"help": f"{option.help}.{shown} [{names}]", "default": None}
    if name.startswith("no_"):
        explanation |= {"is_flag": True, "flag_value": True, "type": click.BOOL}
    if option.parse is not settings.boolean:
        explanation["metavar"] = name.rsplit("_", 1)[-1].upper()
        if option.parse is settings.items:
            explanation["multiple"] = True
    return explanation


def _shown(value: object) -> str:
    return ",".join(map(str, cast("tuple[object, ...]", value))) if isinstance(value, tuple) else str(value)


def load(given: Mapping[str, Any], place: str | None = None, config: Path | None = None) -> settings.Loaded:
    """Settings from a command's options and the other sources; warnings are told on standard error."""
    values = {name: value for name, value in given.items() if value is not None and value != ()}
    if place is not None:
        values["data"] = place
    if config is None and isinstance(values.get("config"), Path):
        config = values["config"]
    values.pop("config", None)
    loaded = settings.load(values, config=config)
    for warning in loaded.warnings:
        click.echo(f"microtome: warning: {warning}", err=True)
    return loaded
