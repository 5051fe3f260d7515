"""Instances that are sent to the server: written beside what is there, looked at, put into the index.

A file gets its name only when it is complete, on disk and understood; until then it is a temporary file that no walk
takes for an instance. Names are made of the SOP Instance UID by a hash: nothing a client says becomes a path.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Literal

from microtome.dicom.encoding import DEFAULT_LIMITS, ScanLimits
from microtome.dicom.index.base import Batch, State, Stored
from microtome.dicom.index.ingest import Collector, LocalFile
from microtome.dicom.rows import INCOMING
from microtome.errors import LimitExceeded
from microtome.storage.base import ObjectInfo

_INCOMPLETE = re.compile("cut off|beyond the end|without its end|frames:")
"""What a reader says of files that lost a part on their way."""
_META = re.compile(rb"\x02\0.\0(?:UL|OB|UI|SH)", re.DOTALL)
"""File meta information without the preamble that belongs before it (PS3.10 §7.1)."""

Failure = Literal["resources", "mismatch", "cannot understand", "transfer syntax"]
REASONS: dict[Failure, int] = {
    "resources": 0xA700,
    "mismatch": 0xA900,
    "cannot understand": 0xC000,
    "transfer syntax": 0xC122,
}
"""Failure Reason (0008,1197) of what was not stored (PS3.18 §I.2.2, PS3.7 §C.5)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one part. ``failure`` is None for what is stored now, or was before with the same bytes."""

    sop_class: str = ""
    sop_uid: str = ""
    study_uid: str = ""
    series_uid: str = ""
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A file that has its name now, ``key`` in the store, and what an index needs to know of it but its version."""

    key: str
    batch: Batch

    def at(self, info: ObjectInfo) -> Batch:
        """What the index is told, once the store has said which version it is."""
        (found,) = self.batch.files
        stored = Stored(self.key, info.size, info.etag, info.modified or 0.0)
        row = found.row and replace(found.row, key=self.key, version=info.etag, size=info.size)
        return Batch(
            [replace(found, file=stored, row=row)], self.batch.studies, self.batch.series, self.batch.templates
        )


class Incoming:
    """A file that is being received, without a buffer: what a full disk does not take is told at once."""

    def __init__(self, descriptor: int, path: Path, most: int) -> None:
        self.descriptor = descriptor
        self.path = path
        self.size = 0
        self._most = most

    def write(self, data: bytes) -> None:
        """Some more bytes. Raises LimitExceeded for a file too large, OSError when the disk is full."""
        if self.size == 0 and _META.match(data):
            data = b"\0" * 128 + b"DICM" + data  # some clients leave it out
        if self.size + len(data) > self._most:
            raise LimitExceeded(
                f"An instance of more than {self._most} bytes is not stored", limit="instance bytes", value=self._most
            )
        rest = memoryview(data)
        while rest:
            written = os.write(self.descriptor, rest)
            self.size += written
            rest = rest[written:]

    @property
    def readable(self) -> LocalFile:
        """What was written, to be read."""
        return LocalFile(self.descriptor, self.size)

    def close(self) -> None:
        """Nothing more is written; without a name the file is gone."""
        os.close(self.descriptor)
        with suppress(FileNotFoundError):
            self.path.unlink()


class Receiver:
    """Writes into ``folder``, whose key in the store is ``prefix``. Everything here blocks: call it in threads."""

    def __init__(self, folder: Path, prefix: str, *, most: int, limits: ScanLimits = DEFAULT_LIMITS) -> None:
        self._folder = folder
        self._prefix = prefix.rstrip("/") + "/" if prefix else ""
        self._most = most
        self._limits = limits

    def clean(self, older: float = 3600.0) -> None:
        """Remove what processes left that were ended while they wrote, ``older`` s ago or more."""
        with suppress(FileNotFoundError):
            for path in self._folder.iterdir():
                with suppress(FileNotFoundError):
                    if path.name.startswith(INCOMING) and time.time() - path.stat().st_mtime > older:
                        path.unlink()

    def begin(self) -> Incoming:
        """A temporary file for the next part, to be closed: it is gone then unless ``accept`` gave it a name.

        Raises OSError when the disk is full.
        """
        try:
            descriptor, name = tempfile.mkstemp(prefix=INCOMING, dir=self._folder)
        except FileNotFoundError:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=INCOMING, dir=self._folder)
        return Incoming(descriptor, Path(name), self._most)

    def accept(self, file: Incoming, study: str | None) -> tuple[Outcome, Accepted | None]:
        """Look at a complete part and give it its name. ``study`` is the one of the URL, that it must belong to.

        A file of the same instance is replaced. Raises OSError when the disk is full.
        """
        collector = Collector(limits=self._limits)
        collector.add(Stored("incoming", file.size, ""), file.readable)
        (found,) = collector.batch.files
        row = found.row
        if row is None or found.state is not State.INDEXED or _INCOMPLETE.search(found.reason):
            return Outcome(failure="cannot understand"), None
        if study is not None and row.study_uid != study:
            return Outcome(row.sop_class, row.sop_uid, failure="mismatch"), None
        os.fsync(file.descriptor)
        digest = sha256(row.sop_uid.encode()).hexdigest()
        name = f"{digest[:2]}/{digest[2:34]}.dcm"
        place = self._folder / name
        os.fchmod(file.descriptor, 0o644)
        try:
            file.path.replace(place)
        except FileNotFoundError:
            place.parent.mkdir(exist_ok=True)
            _sync(self._folder)
            file.path.replace(place)
        _sync(place.parent)
        told = Outcome(row.sop_class, row.sop_uid, row.study_uid, row.series_uid)
        return told, Accepted(self._prefix + name, collector.batch)


def _sync(folder: Path) -> None:
    """The name of a file survives, too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
