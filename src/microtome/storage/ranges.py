"""Arithmetic of byte ranges ``[start, stop)``: check, merge."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from microtome.errors import InvalidRequest

Range: TypeAlias = tuple[int, int]


def check_range(start: int, stop: int) -> None:
    """Raise InvalidRequest(parameter="range") unless ``0 <= start <= stop``."""
    if not 0 <= start <= stop:
        raise InvalidRequest(f"Bytes {start} to {stop} are not a range", parameter="range")


def merge(ranges: Iterable[Range], *, gap: int, limit: int) -> dict[Range, Range]:
    """For every range the longer one to read in its place.

    Neighbours at most ``gap`` bytes apart are read together as long as the whole is at most ``limit`` bytes. A range
    that alone is longer stays as it is.
    """
    merged: dict[Range, Range] = {}
    run: list[Range] = []
    run_start = run_stop = 0
    for start, stop in sorted(set(ranges)):
        if run and start <= run_stop + gap and max(run_stop, stop) - run_start <= limit:
            run_stop = max(run_stop, stop)
        else:
            merged.update(dict.fromkeys(run, (run_start, run_stop)))
            run = []
            run_start, run_stop = start, stop
        run.append((start, stop))
    merged.update(dict.fromkeys(run, (run_start, run_stop)))
    return merged
