"""Parsed headers kept between two openings of a slide: in memory, and in files when a folder is given.

A header on disk is only a memory of bytes that belonged to one ETag. It is checked as any input is, and every read
made with its help stays pinned: a stale or forged file can cost a reopening, never mix two objects.

A file is ``MAGIC``, the SHA-256 of the rest, and the rest: store, key and ETag (each a 32-bit length and UTF-8), size
(64 bit), time of modification (float, NaN for none), number of ranges (32 bit), then for each range its start (64
bit), length (32 bit) and bytes. Numbers are little-endian.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import secrets
import stat
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from microtome.caching import Cache
from microtome.errors import CorruptData
from microtome.storage.base import ObjectInfo
from microtome.storage.pinned import Header
from microtome.telemetry import logger

MAGIC = b"microtome header 1\n"
FOLDER_BYTES = 1024 * 1024 * 1024
MAX_FILE_BYTES = 64 * 1024 * 1024
"""A longer header is not written to disk, and a longer file is not read."""

_DIGEST = hashlib.sha256().digest_size
_FACTS = struct.Struct("<QdI")
_LENGTH = struct.Struct("<I")
_RANGE = struct.Struct("<QI")
_NAME = re.compile(r"[0-9a-f]{64}\.header")
_UNFINISHED = re.compile(r"[0-9a-f]{64}\.[0-9a-f]{16}\.part")
_UNFINISHED_SECONDS = 3600.0


class HeaderCache:
    """Headers by key: at most ``budget`` bytes in memory, at most ``folder_budget`` bytes in ``folder``.

    ``store_id`` tells the stores that share a folder apart (their URL, for example). Files are readable by the owner
    only; of too many, those not used for longest are removed. A file that is damaged, or is none of ours, counts as
    missing and is removed. A folder that cannot be written is a reason for a warning, not for an error.
    """

    def __init__(
        self, budget: int, folder: Path | None = None, *, store_id: str = "", folder_budget: int = FOLDER_BYTES
    ) -> None:
        self._memory: Cache[str, Header] = Cache(budget, weigh=lambda header: header.nbytes)
        self._folder = folder
        self._store_id = store_id
        self._folder_budget = folder_budget
        self._folder_used: int | None = None

    @property
    def memory(self) -> Cache[str, Header]:
        """The headers in memory, for their counters."""
        return self._memory

    def get(self, key: str) -> Header | None:
        """The header last put for ``key``, of whatever version that was."""
        header = self._memory.get(key)
        if header is None and self._folder is not None:
            header = self._load(self._folder, key)
            if header is not None:
                self._memory.put(key, header)
        return header

    def put(self, header: Header) -> None:
        """Keep a header in place of an older one."""
        key = header.info.key
        known = self._memory.get(key) if key in self._memory else None
        self._memory.put(key, header)
        if self._folder is not None and header != known:
            self._save(self._folder, header)

    def drop(self, key: str) -> None:
        """Forget the header of ``key``."""
        self._memory.pop(key)
        if self._folder is not None:
            with suppress(OSError):
                (self._folder / self._name(key)).unlink()

    def _name(self, key: str) -> str:
        # surrogatepass: any string a client sends must have a name here, even one that is no key
        name = f"{len(self._store_id)}:{self._store_id}{key}".encode("utf-8", "surrogatepass")
        return hashlib.sha256(name).hexdigest() + ".header"

    def _load(self, folder: Path, key: str) -> Header | None:
        path = folder / self._name(key)
        try:
            data = _read_file(path)
            header = _unpack(data, self._store_id, key)
        except FileNotFoundError:
            return None
        except (OSError, CorruptData) as error:
            logger.warning("removed a kept header that cannot be read: %s", error)
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            os.utime(path)
        return header

    def _save(self, folder: Path, header: Header) -> None:
        data = _pack(header, self._store_id)
        if len(data) > min(MAX_FILE_BYTES, self._folder_budget):
            return
        name = self._name(header.info.key)
        unfinished = folder / f"{name.removesuffix('.header')}.{secrets.token_hex(8)}.part"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123
                file.write(data)
            unfinished.replace(folder / name)
            self._folder_used = len(data) + (
                self._trim(folder, self._folder_budget) if self._folder_used is None else self._folder_used
            )
            if self._folder_used > self._folder_budget:
                # Down to nine tenths, so that not every further header begins with reading the whole folder.
                self._folder_used = self._trim(folder, self._folder_budget * 9 // 10)
        except OSError as error:
            logger.warning("a header could not be kept on disk: %s", error.strerror)
            with suppress(OSError):
                unfinished.unlink()

    def _trim(self, folder: Path, budget: int) -> int:
        """Remove the files not used for longest until all are at most ``budget`` bytes; what they hold then."""
        files = sorted(_kept_files(folder))
        used = sum(size for _, size, _ in files)
        for _, size, path in files:
            if used <= budget:
                break
            with suppress(OSError):
                path.unlink()
            used -= size
        return used


def _kept_files(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """(last use, size, path) of every header; what a crash left unfinished long ago is removed on the way."""
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                if _NAME.fullmatch(entry.name):
                    yield status.st_mtime, status.st_size, Path(entry.path)
                elif _UNFINISHED.fullmatch(entry.name) and status.st_mtime < time.time() - _UNFINISHED_SECONDS:
                    Path(entry.path).unlink()


def _read_file(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
            raise CorruptData("not a header file")
        return file.read(MAX_FILE_BYTES + 1)


def _pack(header: Header, store_id: str) -> bytes:
    info = header.info
    parts: list[bytes] = []
    for text in (store_id, info.key, info.etag):
        encoded = text.encode()
        parts += (_LENGTH.pack(len(encoded)), encoded)
    modified = math.nan if info.modified is None else info.modified
    parts.append(_FACTS.pack(info.size, modified, len(header.ranges)))
    for start, data in header.ranges:
        parts += (_RANGE.pack(start, len(data)), data)
    body = b"".join(parts)
    return MAGIC + hashlib.sha256(body).digest() + body


def _unpack(data: bytes, store_id: str, key: str) -> Header:
    """The header in a file. Raises CorruptData for everything that ``_pack`` would not have written for this key."""
    begin = len(MAGIC) + _DIGEST
    if not data.startswith(MAGIC) or hashlib.sha256(data[begin:]).digest() != data[len(MAGIC) : begin]:
        raise CorruptData("damaged, or of another version")
    at = begin
    try:
        texts: list[str] = []
        for _ in range(3):
            (length,) = _LENGTH.unpack_from(data, at)
            at += _LENGTH.size
            texts.append(data[at : at + length].decode())
            at += length
        if texts[:2] != [store_id, key]:
            raise CorruptData("the header of another slide")
        size, modified, count = _FACTS.unpack_from(data, at)
        at += _FACTS.size
        ranges: list[tuple[int, bytes]] = []
        covered = 0
        for _ in range(count):
            start, length = _RANGE.unpack_from(data, at)
            at += _RANGE.size
            if start < covered or start + length > size or at + length > len(data):
                raise CorruptData("ranges overlap or lie outside", offset=at)
            ranges.append((start, data[at : at + length]))
            at += length
            covered = start + length
    except (struct.error, UnicodeDecodeError) as error:
        raise CorruptData("shorter than it says", offset=at) from error
    if at != len(data):
        raise CorruptData("longer than it says", offset=at)
    info = ObjectInfo(key, size, texts[2], None if math.isnan(modified) else modified)
    return Header(info, tuple(ranges))
