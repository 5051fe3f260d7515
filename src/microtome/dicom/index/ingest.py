"""Reading files for the index: one file, many files of this machine in a worker process, one object from afar."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from microtome.dicom import encapsulated, json, part10, rows, syntaxes
from microtome.dicom.encoding import DEFAULT_LIMITS, Readable, ScanLimits
from microtome.dicom.index.answers import packed
from microtome.dicom.index.base import Batch, Scanned, State, Stored
from microtome.dicom.part10 import Part10
from microtome.dicom.rows import InstanceRow, Level, PixelPlace, attributes_of
from microtome.errors import (
    Conflict,
    CorruptData,
    LimitExceeded,
    MicrotomeError,
    NotFound,
    StorageUnavailable,
    UnsupportedFormat,
)
from microtome.storage.base import Store

DIRECTORY = "1.2.840.10008.1.3.10"
"""SOP class of a DICOMDIR, which only lists other files."""
HEAD = 64 * 1024
"""Bytes of a distant object read at once; most headers end before."""
WINDOW = 4 * 1024 * 1024
"""Bytes of a distant object read at once where item headers have to be looked for."""
_META_CLASS, _META_INSTANCE = 0x0002_0002, 0x0002_0003
_CLASS, _INSTANCE, _STUDY, _SERIES, _NUMBER = 0x0008_0016, 0x0008_0018, 0x0020_000D, 0x0020_000E, 0x0020_0013
_FRAMES, _ROWS, _COLUMNS, _BITS = 0x0028_0008, 0x0028_0010, 0x0028_0011, 0x0028_0100
_LARGEST = 1 << 53


@dataclass(slots=True)
class Collector:
    """Gathers files into a batch: attributes of studies and series, and headers as differences from the first."""

    batch: Batch = field(default_factory=Batch)
    limits: ScanLimits = DEFAULT_LIMITS
    _templates: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])

    def add(self, stored: Stored, file: Readable, *, distant: bool = False) -> None:
        """Read a file. Whatever is wrong with it becomes its reason; errors of the store and Conflict come through."""
        try:
            self._add(stored, file, distant=distant)
        except UnsupportedFormat as error:
            self.leave(stored, State.OTHER if error.feature == "no DICM" else State.BROKEN, error.message)
        except (CorruptData, LimitExceeded) as error:
            self.leave(stored, State.BROKEN, error.message)
        except (MicrotomeError, OSError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  (a file must never stop the others, whatever it does to a reader)
            self.leave(stored, State.BROKEN, f"The file could not be understood ({type(error).__name__})")

    def unreadable(self, stored: Stored, reason: str) -> None:
        """Note a file that could not be read; the next walk tries again, because no file has that version."""
        self.leave(Stored(stored.key, stored.size, "", stored.modified), State.BROKEN, reason)

    def leave(self, stored: Stored, state: State, reason: str) -> None:
        """Note a file without an instance."""
        self.batch.files.append(Scanned(stored, state=state, reason=reason))

    def _add(self, stored: Stored, file: Readable, *, distant: bool) -> None:
        header = part10.scan(file, limits=self.limits)
        if header.meta.string(_META_CLASS) == DIRECTORY:
            self.leave(stored, State.OTHER, "A DICOMDIR, which only lists other files")
            return
        row, problems = describe(stored, file, header, distant=distant)
        document = json.to_json(
            header.dataset, bulk_uri=_path, inline_up_to=json.INLINE, pixels=header.pixels, shared=True
        )
        text = orjson.dumps(document)
        place = row.study_uid, row.series_uid  # files break the rule that a series UID is in one study only
        template = self._templates.get(place)
        if template is None:
            template = self._templates[place] = len(self.batch.templates)
            self.batch.templates.append(text)
            study = self.batch.studies.setdefault(row.study_uid, {})
            study |= {**attributes_of(Level.STUDY, document), **study}
            series = self.batch.series.setdefault((row.study_uid, row.series_uid), {})
            series |= {**attributes_of(Level.SERIES, document), **series}
        compressed = packed(text, self.batch.templates[template])
        self.batch.files.append(
            Scanned(stored, row, template, compressed, reason="; ".join([*header.problems, *problems]))
        )


def describe(stored: Stored, file: Readable, header: Part10, *, distant: bool = False) -> tuple[InstanceRow, list[str]]:
    """The row of an instance, and what is wrong with its frames. Raises CorruptData for what cannot be served."""
    meta, dataset, pixels = header.meta, header.dataset, header.pixels
    uids = {
        "Study Instance UID": dataset.string(_STUDY),
        "Series Instance UID": dataset.string(_SERIES),
        "SOP Instance UID": dataset.string(_INSTANCE) or meta.string(_META_INSTANCE),
    }
    for name, uid in uids.items():
        if not rows.is_uid(uid):
            raise CorruptData(f"The {name} is not valid" if uid else f"There is no {name}")
    study, series, sop = uids.values()
    frames = _number(dataset.whole(_FRAMES, 1)) or 1
    problems, table = list[str](), None
    if pixels is not None and pixels.length is None:
        try:
            stream = part10.opened(file, header)
            window = WINDOW if distant else 0
            found = encapsulated.frame_table(
                stream, pixels, frames, header.transfer_syntax, believe=distant, window=window
            )
            table = found.pack()
        except (CorruptData, LimitExceeded) as error:
            problems.append(f"frames: {error.message}")
    number = dataset.number(_NUMBER)
    return InstanceRow(
        study_uid=study, series_uid=series, sop_uid=sop,
        sop_class=_uid(dataset.string(_CLASS) or meta.string(_META_CLASS)),
        transfer_syntax=_uid(header.transfer_syntax),
        number=int(number) if number is not None and abs(number) < _LARGEST else None,
        key=stored.key, version=stored.version, size=stored.size,
        rows=_number(dataset.whole(_ROWS)), columns=_number(dataset.whole(_COLUMNS)), frames=frames,
        bits=_number(dataset.whole(_BITS)),
        pixel=None if pixels is None else PixelPlace(pixels.vr, pixels.offset, pixels.length), frame_table=table,
        header_length=pixels.offset if pixels is not None and not _deflated(header) else stored.size,
    ), problems  # fmt: skip


def _deflated(header: Part10) -> bool:
    return syntaxes.find(header.transfer_syntax).deflated


def _path(path: str) -> str:
    return path


def _number(value: int) -> int:
    return value if 0 <= value < _LARGEST else 0


def _uid(text: str) -> str:
    return text if rows.is_uid(text) else ""


# -- files of this machine


class LocalFile:
    """An open file of this machine, as it is now."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self.size = size

    def read_at(self, offset: int, length: int) -> bytes:
        """These bytes, fewer at the end."""
        return os.pread(self._descriptor, max(min(length, self.size - offset), 0), offset)


def read_local(root: str, files: Sequence[Stored], *, limits: ScanLimits = DEFAULT_LIMITS) -> Batch:
    """Read files below ``root``. What has vanished or changed since it was listed is left out, to be met again."""
    collector = Collector(limits=limits)
    for stored in files:
        try:
            descriptor = os.open(f"{root}{stored.key}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except FileNotFoundError:
            continue
        except OSError as error:
            collector.unreadable(stored, f"The file cannot be opened ({error.strerror})")
            continue
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode) or _changed(stored, before):
                continue
            collector.add(stored, LocalFile(descriptor, before.st_size))
            if _changed(stored, os.fstat(descriptor)):
                collector.batch.files.pop()
        except OSError as error:
            collector.unreadable(stored, f"The file cannot be read ({error.strerror})")
        finally:
            os.close(descriptor)
    return collector.batch


def _changed(stored: Stored, status: os.stat_result) -> bool:
    return status.st_size != stored.size or status.st_mtime != stored.modified


# -- objects from afar


class _Distant:
    """An object of a distant store for a thread; the first bytes are at hand."""

    def __init__(self, head: bytes, stored: Stored, store: Store, loop: asyncio.AbstractEventLoop) -> None:
        self._head, self._stored, self._store, self._loop = head, stored, store, loop
        self.size = stored.size

    def read_at(self, offset: int, length: int) -> bytes:
        """These bytes of this version of the object, fewer at the end."""
        stop = min(offset + length, self.size)
        if stop <= len(self._head):
            return self._head[offset:stop]
        if offset >= stop:
            return b""
        reading = self._store.get_range(self._stored.key, offset, stop, etag=self._stored.version)
        return asyncio.run_coroutine_threadsafe(reading, self._loop).result().data


async def read_distant(
    store: Store, files: Sequence[Stored], *, at_once: int = 16, limits: ScanLimits = DEFAULT_LIMITS
) -> Batch:
    """Read objects, several at a time. Those that changed or vanished since the listing are left out.

    Raises StorageUnavailable, unless it concerns one object for good.
    """
    collector = Collector(limits=limits)
    loop, waiting = asyncio.get_running_loop(), iter(files)
    turn = asyncio.Lock()  # collecting is quick beside the round trips

    async def worker() -> None:
        for stored in waiting:
            try:
                head = await store.get_range(stored.key, 0, HEAD, etag=stored.version)
                async with turn:
                    file = _Distant(head.data, stored, store, loop)
                    await asyncio.to_thread(collector.add, stored, file, distant=True)
            except (Conflict, NotFound):
                continue
            except StorageUnavailable as error:
                if not error.permanent:
                    raise
                collector.unreadable(stored, error.message)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(at_once, len(files))):
            group.create_task(worker())
    return collector.batch


def joined(batches: Iterable[Batch]) -> Batch:
    """Several batches as one."""
    whole = Batch()
    for batch in batches:
        first = len(whole.templates)
        whole.templates += batch.templates
        whole.files += [
            Scanned(each.file, each.row, each.template + first, each.header, each.state, each.reason)
            for each in batch.files
        ]
        _merge(whole.studies, batch.studies)
        _merge(whole.series, batch.series)
    return whole


def _merge(into: dict[Any, dict[str, Any]], new: dict[Any, dict[str, Any]]) -> None:
    for key, attributes in new.items():
        into[key] = {**attributes, **into.get(key, {})}


Reader = Callable[[str, Sequence[Stored]], Batch]
"""``read_local`` and its like: runs in a worker process, so it must be importable by name."""
