"""From what stands on the command line, in the environment or in TOML to values. All raise ValueError with advice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import cast

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
    """A list, text separated by commas, or a JSON list."""
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            raise ValueError('must be a list such as a,b or ["a", "b"]') from None
    parts = cast("Sequence[object]", value) if isinstance(value, (list, tuple)) else (value,)
    return tuple(item for part in parts for item in map(str.strip, text(part).split(",")) if item)


def networks(value: object) -> tuple[str, ...]:
    """Addresses and networks: ``127.0.0.1,10.0.0.0/8,::1``."""
    found = items(value)
    try:
        return tuple(str(ip_network(each, strict=False)) for each in found)
    except ValueError:
        raise ValueError("must be addresses or networks such as 127.0.0.1,10.0.0.0/8") from None


def color(value: object) -> tuple[int, int, int]:
    """``#RRGGBB``, ``255,255,255`` or ``[255, 255, 255]``."""
    if isinstance(value, str) and re.fullmatch(r"#[0-9A-Fa-f]{6}", value.strip()):
        number = int(value.strip()[1:], 16)
        return number >> 16, number >> 8 & 255, number & 255
    if isinstance(value, str):
        value = value.strip().removeprefix("[").removesuffix("]").split(",")
    listed = cast("Sequence[object]", value) if isinstance(value, (list, tuple)) else ()
    parts = [str(part).strip() for part in listed]
    if len(parts) != 3 or not all(re.fullmatch(r"\d{1,3}", part) and int(part) < 256 for part in parts):
        raise ValueError("must be a colour such as #FFFFFF or [255, 255, 255]")
    return int(parts[0]), int(parts[1]), int(parts[2])


def optional_path(value: object) -> Path | None:
    """A path; empty means none."""
    if isinstance(value, Path):
        return value
    return Path(value).expanduser() if (value := text(value)) else None


def priorities(value: object) -> tuple[tuple[str, int], ...]:
    """``openslide=200,tiff=-1``, or a table; names in lower case."""
    if isinstance(value, dict):
        pairs = [(str(name), str(number)) for name, number in cast("dict[object, object]", value).items()]
    elif isinstance(value, (list, tuple)):
        listed = cast("Sequence[Sequence[object]]", value)
        pairs = [(str(pair[0]), str(pair[1])) for pair in listed if len(pair) == 2 and not isinstance(pair, str)]
        pairs += [cast("tuple[str, str]", pair.partition("=")[::2]) for pair in listed if isinstance(pair, str)]
    else:
        pairs = [cast("tuple[str, str]", part.partition("=")[::2]) for part in items(value)]
    if not all(name.strip() and re.fullmatch(r"-?\d{1,6}", number.strip()) for name, number in pairs):
        raise ValueError("must be priorities such as openslide=200,tiff=-1")
    return tuple((name.strip().lower(), int(number)) for name, number in pairs)
