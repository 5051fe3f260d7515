"""Instances as a ZIP file (PS3.18 §8.7.3.6, PS3.12 Annex V), written while it is sent: only its directory is kept.

Entries are stored, not compressed: pixel data gains little by it, and would go out more slowly than it is read.
Names are file IDs of DICOM media (PS3.10 §8.2), made of numbers alone: nothing of a file gets into a path.
"""

from __future__ import annotations

import asyncio
import zipfile
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from itertools import count

from starlette.responses import Response

from microtome.api.dicomweb import answers
from microtome.dicom.rows import InstanceRow
from microtome.errors import LimitExceeded

MOST_ENTRIES = 200_000
"""The directory of so many entries takes some 100 MB of memory."""
_LARGE = 1 << 31
"""Entries that may come to more are written with lengths of 64 bits."""
_MOST_SAMPLES = 4
_THREAD_FROM = 64 << 10


async def answer(
    found: Sequence[InstanceRow], files: AsyncIterator[tuple[bool, AsyncIterator[bytes]]], headers: dict[str, str]
) -> Response:
    """All instances as one file. ``files``: for each whether it is sent as it is stored, and its bytes.

    Raises LimitExceeded for more than ``MOST_ENTRIES``, and whatever the first file raises.
    """
    if len(found) > MOST_ENTRIES:
        raise LimitExceeded(
            f"{len(found)} instances are too many for one ZIP file; ask for the series one by one",
            limit="archive entries",
            value=len(found),
        )
    name = "study" if len({row.series_uid for row in found}) > 1 else "series" if len(found) > 1 else "instance"
    headers = {
        **headers,
        "content-type": "application/zip",
        "content-disposition": f'attachment; filename="{name}.zip"',
        "x-content-type-options": "nosniff",
    }
    return answers.Streamed(await answers.begun(_written(found, files)), headers=headers)


def names(found: Iterable[InstanceRow]) -> list[str]:
    """``DICOM/SE000001/IM000001``: components of at most eight letters and digits, a folder for each series."""
    series: dict[str, tuple[int, count[int]]] = {}
    made: list[str] = []
    for row in found:
        number, images = series.setdefault(row.series_uid, (len(series) + 1, count(1)))
        made.append(f"DICOM/SE{number:06}/IM{next(images):06}")
    return made


async def _written(
    found: Sequence[InstanceRow], files: AsyncIterator[tuple[bool, AsyncIterator[bytes]]]
) -> AsyncIterator[bytes]:
    sink, entries = _Sink(), iter(zip(names(found), found, strict=True))
    with zipfile.ZipFile(sink, "w") as archive:  # type: ignore[arg-type] - it writes, and asks for nothing else
        async for as_stored, pieces in files:
            name, row = next(entries)
            pixels = 0 if as_stored else row.rows * row.columns * row.frames * max(row.bits, 8) // 8 * _MOST_SAMPLES
            with archive.open(_entry(name), "w", force_zip64=row.size + pixels >= _LARGE) as entry:
                async for piece in pieces:
                    if len(piece) >= _THREAD_FROM:
                        await asyncio.to_thread(entry.write, piece)
                    else:
                        entry.write(piece)
                    yield sink.taken()
    yield sink.taken()


def _entry(name: str) -> zipfile.ZipInfo:
    now = datetime.now(UTC)
    entry = zipfile.ZipInfo(name, (max(now.year, 1980), now.month, now.day, now.hour, now.minute, now.second))
    entry.external_attr = 0o100644 << 16
    return entry


class _Sink:
    """What ``zipfile`` writes into: a stream that cannot be rewound."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Everything is taken from here at once."""

    def taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
