"""Every option once: its default, unit, help, and the names it has on the command line, in the environment and TOML.

Sources, the first that says something wins: command line, ``MICROTOME_*``, the compatible ``WSI_*``, one TOML file,
default. Secrets never appear in ``repr``.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from microtome.errors import InvalidRequest

PREFIX = "MICROTOME_"
CONFIG_VARIABLE = "MICROTOME_CONFIG"
DEFAULT_CONFIG = "microtome.toml"
MIN_SECRET_BYTES = 16

OFF = False
_CORES = os.cpu_count() or 2
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30,
          "ti": 1 << 40}  # fmt: skip
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
_LONGEST = 10 * 365 * 86400
_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def text(value: object) -> str:
    """Any text."""
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value


def optional_text(value: object) -> str | None:
    """Text; empty means none."""
    return text(value) or None


def name_of_bucket(value: object) -> str:
    """Text that is not empty: an unset variable of a script must not serve something else."""
    if not text(value):
        raise ValueError("must not be empty")
    return text(value)


def boolean(value: object) -> bool:
    """``true`` or ``false``, also yes/no, on/off, 1/0."""
    if isinstance(value, bool):
        return value
    found = _BOOLEANS.get(str(value).strip().lower())
    if found is None:
        raise ValueError("must be true or false")
    return found


def whole(low: int, high: int) -> Callable[[object], int]:
    """A whole number from ``low`` to ``high``."""

    def parse(value: object) -> int:
        if (
            isinstance(value, bool)
            or not re.fullmatch(r"\d+", str(value).strip())
            or not low <= int(str(value)) <= high
        ):
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(str(value))

    return parse


def size(low: int, high: int = 1 << 50) -> Callable[[object], int]:
    """A number of bytes: ``104857600``, ``100MB`` (decimal), ``100 MiB`` (binary)."""

    def parse(value: object) -> int:
        found = _SIZE.fullmatch(str(value).strip())
        unit = _UNITS.get(found[2].lower()) if found else None
        if found is None or unit is None:
            raise ValueError("must be a size such as 104857600, 100MB or 100MiB")
        number = float(found[1]) * unit
        if not low <= number <= high:
            raise ValueError(f"must be from {low} to {high} bytes")
        return int(number)

    return parse


def duration(value: object) -> float:
    """A time in s: ``10``, ``10s``, ``1.5m``, ``250ms``."""
    found = _DURATION.fullmatch(str(value).strip())
    if found is None or isinstance(value, bool):
        raise ValueError("must be a time such as 10s or 5m")
    seconds = float(found[1]) * _SECONDS[found[2].lower() if found[2] else None]
    if seconds > _LONGEST:
        raise ValueError(f"must be at most {_LONGEST} s")
    return seconds


def items(value: object) -> tuple[str, ...]:
    """A list, or text separated by commas."""
    parts = cast("Sequence[object]", value) if isinstance(value, (list, tuple)) else (value,)
    return tuple(item for part in parts for item in map(str.strip, text(part).split(",")) if item)


def optional_path(value: object) -> Path | None:
    """A path; empty means none."""
    if isinstance(value, Path):
        return value
    return Path(value).expanduser() if (value := text(value)) else None


@dataclass(frozen=True, slots=True)
class Option:
    """How an option is called, read and explained. ``wsi`` is its compatible environment name."""

    parse: Callable[[object], Any]
    help: str
    wsi: str | None = None
    flags: tuple[str, ...] = ()
    unit: str = ""
    group: str = "server"
    secret: bool = False


def _option(default: object, parse: Callable[[object], Any], help_: str, **more: Any) -> Any:
    return field(default=default, repr=not more.get("secret", False), metadata={"option": Option(parse, help_, **more)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one server."""

    data: str | None = _option(None, optional_text, "Folder, file or URL to serve: PATH, s3://bucket/prefix, gs://,"
                               " az://, https://", group="storage")  # fmt: skip
    host: str = _option("127.0.0.1", text, "Address to listen on; 0.0.0.0 for every one", wsi="WSI_HOST")
    port: int = _option(3000, whole(0, 65535), "Port to listen on; 0 takes a free one", wsi="WSI_PORT", flags=("-p",))
    workers: int = _option(1, whole(1, 64), "Processes that share the port and the tile cache")
    root_path: str = _option("", text, "Path under which a proxy shows the server, such as /slides")

    s3_bucket: str | None = _option(None, name_of_bucket, "Bucket to serve, as s3://BUCKET", wsi="WSI_S3_BUCKET",
                                    group="storage")  # fmt: skip
    s3_endpoint: str | None = _option(None, optional_text, "Address of an S3-compatible server", wsi="WSI_S3_ENDPOINT",
                                      group="storage")  # fmt: skip
    s3_region: str | None = _option(None, optional_text, "Region of the bucket (us-east-1 when nothing else says)",
                                    wsi="WSI_S3_REGION", group="storage")  # fmt: skip
    s3_anonymous: bool = _option(OFF, boolean, "Read a public bucket without credentials", group="storage")
    follow_symlinks: bool = _option(OFF, boolean, "Follow symbolic links out of the served folder", group="storage")
    storage_timeout: float = _option(30.0, duration, "Longest wait for one answer of the store", unit="s",
                                     group="storage")  # fmt: skip
    storage_attempts: int = _option(4, whole(1, 20), "Tries of one request to the store", group="storage")
    revalidate: float = _option(10.0, duration, "How often an open slide is checked for having been replaced", unit="s",
                                group="storage")  # fmt: skip

    auth_enabled: bool = _option(OFF, boolean, "Require signed URLs", wsi="WSI_AUTH_ENABLED", group="access")
    auth_secret: tuple[str, ...] = _option((), items, "Secret of the signatures, at least 16 bytes; several for"
                                           " rotation, the first signs", wsi="WSI_AUTH_SECRET", group="access",
                                           secret=True)  # fmt: skip
    public_view: bool = _option(OFF, boolean, "Let everybody open /view, although signed URLs are required",
                                group="access")  # fmt: skip
    cors_origins: tuple[str, ...] = _option(("*",), items, "Origins whose pages may read answers; * for all",
                                            wsi="WSI_CORS_ORIGINS", group="access")  # fmt: skip
    frame_ancestors: str = _option("'self'", text, "Who may show the pages in a frame, in words of a Content-Security-"
                                   "Policy", group="access")  # fmt: skip

    cache_slides: int = _option(100, whole(1, 100_000), "Slides kept open", wsi="WSI_CACHE_SLIDES", group="caches")
    cache_blocks: int = _option(1024, whole(1, 1 << 24), "Blocks of remote objects kept in memory, over all slides",
                                wsi="WSI_CACHE_BLOCKS", group="caches")  # fmt: skip
    block_size: int = _option(262144, size(1024, 16 << 20), "Size of such a block", wsi="WSI_BLOCK_SIZE", unit="bytes",
                              group="caches")  # fmt: skip
    cache_tiles: int = _option(104857600, size(1), "Encoded tiles kept, over all processes", wsi="WSI_CACHE_TILES",
                               unit="bytes", group="caches")  # fmt: skip
    cache_answers: int = _option(64 << 20, size(1), "Answers kept ready for the wire, in each process", unit="bytes",
                                 group="caches")  # fmt: skip
    cache_headers: int = _option(64 << 20, size(1), "Headers of slides kept in memory", unit="bytes", group="caches")
    cache_dir: Path | None = _option(None, optional_path, "Folder in which headers of slides are kept over restarts",
                                     group="caches")  # fmt: skip
    cache_max_age: int = _option(3600, whole(0, (1 << 32) - 1), "How long clients may keep a tile",
                                 wsi="WSI_CACHE_MAX_AGE", unit="s", group="caches")  # fmt: skip
    slide_idle: float = _option(600.0, duration, "An open slide is closed after this time without use", unit="s",
                                group="caches")  # fmt: skip

    jpeg_quality: int = _option(80, whole(1, 100), "Default quality; stored JPEG tiles are answered untouched at it",
                                wsi="WSI_JPEG_QUALITY", group="pixels")  # fmt: skip
    render_threads: int = _option(_CORES, whole(1, 256), "Threads that decode and encode", group="pixels")
    render_queue: int = _option(128, whole(0, 100_000), "Tiles that may wait for a thread before clients are told to"
                                " try again", group="pixels")  # fmt: skip
    max_region_pixels: int = _option(64_000_000, whole(1, 1 << 34), "Pixels of a level rendered for one answer",
                                     unit="px", group="pixels")  # fmt: skip
    thumbnail_tiles: int = _option(4096, whole(1, 1 << 24), "Tiles read for one thumbnail", group="pixels")

    keep_alive: float = _option(75.0, duration, "An idle connection is closed after this time", unit="s")
    shutdown_timeout: float = _option(30.0, duration, "Time for requests in flight when the server stops", unit="s")
    verbose: bool = _option(OFF, boolean, "Log more", flags=("-v",))
    no_tracing: bool = _option(OFF, boolean, "Do not log requests")

    def __post_init__(self) -> None:
        if self.auth_enabled and not self.auth_secret:
            raise InvalidRequest("--auth-enabled needs --auth-secret", parameter="auth_secret")
        if self.root_path and (not self.root_path.startswith("/") or self.root_path.endswith("/")):
            raise InvalidRequest("--root-path must begin with / and not end with one", parameter="root_path")

    @property
    def auth_secrets(self) -> tuple[str, ...]:
        """All secrets, the signing one first."""
        return self.auth_secret


def options() -> dict[str, Option]:
    """All options by name, in order."""
    return {each.name: each.metadata["option"] for each in dataclasses.fields(Settings)}


def default_of(name: str) -> Any:
    """The default of an option."""
    return next(each.default for each in dataclasses.fields(Settings) if each.name == name)


def flag(name: str) -> str:
    """The name on the command line."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """Our name in the environment."""
    return PREFIX + name.upper()


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
    environ = os.environ if environ is None else environ
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
            (str(path), table.get(name)),
        ):
            if value is not None:
                said = f"{path}: {name}" if origin == str(path) else origin
                values[name], origins[name] = _parsed(option, value, said), origin
                break
        else:
            origins[name] = "default"
    if (bucket := values.get("s3_bucket")) is not None and _is_weaker(origins["data"], origins["s3_bucket"]):
        values["data"], origins["data"] = f"s3://{bucket}", origins["s3_bucket"]
    return Loaded(Settings(**values), origins, tuple(_unknown(environ, table, path, known)))


def _is_weaker(place: str, bucket: str) -> bool:
    """Whether what was said of ``data`` counts less than what was said of ``s3_bucket``, by where it was said."""

    def rank(origin: str) -> int:
        return 0 if origin.startswith("--") else 1 if origin.startswith((PREFIX, "WSI_")) else 2

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
    ours = {*names, CONFIG_VARIABLE, "MICROTOME_TESTDATA"}
    strange = [name for name in sorted(environ) if name.startswith(PREFIX) and name not in ours]
    told = [f"unknown environment variable {name}{_meant(name, names)}" for name in strange]
    told += [f"unknown key {name} in {path}{_meant(name, known)}" for name in sorted(table) if name not in known]
    return told


def _meant(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else ""


def settings_values(settings: Settings) -> dict[str, Any]:
    """All values by name, secrets hidden."""
    known = options()
    return {
        name: "(hidden)" if known[name].secret and getattr(settings, name) else getattr(settings, name)
        for name in known
    }
