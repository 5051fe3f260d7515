"""The side file of an index: named arrays one behind the other, read by mapping them; what they are stands at the end.

Layout: arrays, each at a multiple of 64 bytes; a JSON object; its length in 8 bytes, little-endian; MAGIC.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from microtome.errors import CorruptData, LimitExceeded

MAGIC = b"MTVINDX1"
_ALIGN = 64
_MAX_FACTS = 64 << 20


class ArrayWriter:
    """Writes arrays in pieces, then the facts. ``most`` bytes at most. Use as a context manager."""

    def __init__(self, path: Path, most: int) -> None:
        self._file = path.open("wb")
        self._most = most
        self._arrays: dict[str, tuple[str, list[int], int]] = {}

    def __enter__(self) -> ArrayWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def array(self, name: str, dtype: str, pieces: Iterable[NDArray[Any]]) -> None:
        """An array out of pieces along its first axis. Raises LimitExceeded."""
        self._file.write(bytes(-self._file.tell() % _ALIGN))
        start, length, rest = self._file.tell(), 0, list[int]()
        for piece in pieces:
            data = np.ascontiguousarray(piece, dtype)
            self._file.write(data.data)
            length, rest = length + len(data), list(data.shape[1:])
            check_size(self._file.tell(), self._most)
        self._arrays[name] = (dtype, [length, *rest], start)

    def finish(self, facts: Mapping[str, object]) -> None:
        """Write what the arrays are, and ``facts``."""
        text = json.dumps({"arrays": self._arrays, "facts": facts}).encode()
        self._file.write(text + struct.pack("<Q", len(text)) + MAGIC)


class ArrayFile:
    """The arrays of a finished file, mapped. Raises CorruptData for another file."""

    def __init__(self, path: Path) -> None:
        try:
            self._bytes: NDArray[np.uint8] = np.memmap(path, np.uint8, "r")
            size = len(self._bytes)
            (length,) = struct.unpack("<Q", self._bytes[size - 16 : size - 8].tobytes())
            if self._bytes[size - 8 :].tobytes() != MAGIC or length > min(size - 16, _MAX_FACTS):
                raise CorruptData("The index of a GeoJSON file is broken; remove it")
            found = cast("dict[str, Any]", json.loads(self._bytes[size - 16 - length : size - 16].tobytes()))
            self.facts: dict[str, Any] = found["facts"]
            self._arrays: dict[str, NDArray[Any]] = {
                name: self._view(dtype, shape, start) for name, (dtype, shape, start) in found["arrays"].items()
            }
        except (OSError, ValueError, KeyError, struct.error) as error:
            raise CorruptData("The index of a GeoJSON file is broken; remove it") from error

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name]

    def _view(self, dtype: str, shape: list[int], start: int) -> NDArray[Any]:
        count = int(np.prod(shape))
        stop = start + count * np.dtype(dtype).itemsize
        return self._bytes[start:stop].view(dtype).reshape(shape)


class Spool:
    """Arrays that grow on disk while a file is read."""

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder
        self._most = most
        self._size = 0
        self._files: dict[str, tuple[Any, str]] = {}

    def append(self, name: str, dtype: str, data: NDArray[Any]) -> None:
        """More of an array. Raises LimitExceeded."""
        if name not in self._files:
            self._files[name] = (self._folder.joinpath(name).open("wb"), dtype)
        piece = np.ascontiguousarray(data, dtype)
        self._size += piece.nbytes
        check_size(self._size, self._most)
        self._files[name][0].write(piece.data)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of them, flat and mapped. Nothing is appended afterwards."""
        found: dict[str, NDArray[Any]] = {}
        for name, (file, dtype) in self._files.items():
            empty = file.tell() == 0
            file.close()
            found[name] = np.zeros(0, dtype) if empty else np.memmap(self._folder / name, dtype, "r")
        return found

    def close(self) -> None:
        """Close what is open; the files stay for who owns the folder."""
        for file, _ in self._files.values():
            with suppress(OSError):  # what could not be written on a full disk; whoever wrote it has been told
                file.close()


def check_size(size: int, most: int) -> None:
    """Raise LimitExceeded when an index has become too large."""
    if size > most:
        raise LimitExceeded(
            f"The index of the GeoJSON file needs more than {most >> 20} MB", limit="indexes", value=size
        )
