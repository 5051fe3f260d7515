"""Large pictures in bands of rows, so that what a calculation needs beside them stays small."""

from __future__ import annotations

from collections.abc import Iterator

_BAND_PIXELS = 1 << 17


def bands(height: int, width: int) -> Iterator[slice]:
    """Slices of rows that cover ``height`` x ``width`` px, each about 131072 px (one row at least)."""
    rows = max(1, _BAND_PIXELS // max(1, width))
    for begin in range(0, height if width else 0, rows):
        yield slice(begin, min(begin + rows, height))
