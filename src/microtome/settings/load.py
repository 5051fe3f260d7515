"""Where values come from, the first that says something wins: command line, ``MICROTOME_*``, the compatible names in
the environment, ``.env`` in the working directory (as if it stood in the environment, which wins), one TOML file.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from microtome.errors import InvalidRequest
from microtome.settings.table import PREFIX, Option, Settings, flag, options, variable

CONFIG_VARIABLE = "MICROTOME_CONFIG"
DEFAULT_CONFIG = "microtome.toml"
DOT_ENV = ".env"
PLUGIN_PRIORITY = "WS_PLUGIN_PRIORITY_"
_THEIRS = ("WSI_", "WS_", "CSWS_", "WSIT_")
_WITHOUT_EFFECT = {"WS_CLIENT_ID", "WS_CLIENT_SECRET", "WS_ORGANIZATION_ID", "WS_CONNECTION_CHUNK_SIZE",
                   "WS_CONNECTION_LIMIT_PER_HOST", "WS_HTTP_CLIENT_TIMEOUT"}  # fmt: skip
"""They configure a client of the original that nothing uses."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, where each value came from, and what should be told to the operator."""

    settings: Settings
    origins: Mapping[str, str]
    warnings: tuple[str, ...]


def load(
    given: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> Loaded:
    """Read all sources. ``given`` are values of the command line. Raises InvalidRequest naming option and value."""
    environ = _with_dot_env(os.environ if environ is None else environ)
    known = options()
    named = config or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    path = named or Path(DEFAULT_CONFIG)
    table = _toml(path, required=named is not None)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, option in known.items():
        for origin, value in (
            (flag(name), (given or {}).get(name)),
            (variable(name), environ.get(variable(name))),
            (option.wsi or "", environ.get(option.wsi) if option.wsi else None),
            (option.ws or "", environ.get(option.ws) or None if option.ws else None),
            (str(path), table.get(name)),
        ):
            if value is not None:
                said = f"{path}: {name}" if origin == str(path) else origin
                values[name], origins[name] = _parsed(option, value, said), origin
                break
        else:
            origins[name] = "default"
    if plugins := _plugin_priorities(environ):
        values["format_priority"] = (*plugins, *values.get("format_priority", ()))
        origins["format_priority"] = f"{PLUGIN_PRIORITY}*"
    if (bucket := values.get("s3_bucket")) is not None and _is_weaker(origins["data"], origins["s3_bucket"]):
        values["data"], origins["data"] = f"s3://{bucket}", origins["s3_bucket"]
    return Loaded(Settings(**values), origins, tuple(_unknown(environ, table, path, known)))


def _with_dot_env(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The environment, completed from ``.env``; names of the servers we stand in for in any case."""
    path = Path(DOT_ENV)
    found = {name: value for name, value in dotenv_values(path, interpolate=False).items() if value is not None}
    spelled = {name.upper() if name.upper().startswith(_THEIRS) else name: value for name, value in environ.items()}
    return {**{name.upper(): value for name, value in found.items()}, **spelled}


def _plugin_priorities(environ: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    found: list[tuple[str, int]] = []
    for name, value in sorted(environ.items()):
        if name.startswith(PLUGIN_PRIORITY):
            try:
                found.append((name.removeprefix(PLUGIN_PRIORITY).lower(), int(value)))
            except ValueError:
                raise InvalidRequest(f"{name}: {value!r} must be a whole number", parameter=name) from None
    return tuple(found)


def _is_weaker(place: str, bucket: str) -> bool:
    """Whether what was said of ``data`` counts less than what was said of ``s3_bucket``, by where it was said."""

    def rank(origin: str) -> int:
        return 0 if origin.startswith("--") else 1 if origin.startswith((PREFIX, *_THEIRS)) else 2

    return place == "default" or rank(place) > rank(bucket)


def _parsed(option: Option, value: object, origin: str) -> Any:
    try:
        return option.parse(value)
    except ValueError as error:
        shown = "the value" if option.secret else repr(value)
        raise InvalidRequest(f"{origin}: {shown} {error}", parameter=origin) from error


def _toml(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        if required:
            raise InvalidRequest(f"The configuration file {path} does not exist", parameter="config") from error
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidRequest(f"The configuration file {path} cannot be read: {error}", parameter="config") from error
    return {name.replace("-", "_"): value for name, value in found.items()}


def _unknown(
    environ: Mapping[str, str], table: Mapping[str, Any], path: Path, known: Mapping[str, Option]
) -> list[str]:
    names = {variable(name): name for name in known}
    theirs = {name for option in known.values() for name in (option.wsi, option.ws) if name}
    ours = {*names, *theirs, *_WITHOUT_EFFECT, CONFIG_VARIABLE, "MICROTOME_TESTDATA"}
    strange = [
        name
        for name in sorted(environ)
        if name.startswith((PREFIX, "WS_", "CSWS_", "WSIT_"))
        and name not in ours
        and not name.startswith(PLUGIN_PRIORITY)
    ]
    told = [f"unknown environment variable {name}{_meant(name, {*names, *theirs})}" for name in strange]
    told += [f"unknown key {name} in {path}{_meant(name, known)}" for name in sorted(table) if name not in known]
    return told


def _meant(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else ""


def settings_values(settings: Settings) -> dict[str, Any]:
    """All values by name, secrets hidden."""
    known = options()
    return {
        name: "(hidden)" if known[name].secret and getattr(settings, name) else getattr(settings, name)
        for name in known
    }
