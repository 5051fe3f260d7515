"""What an instance holds, wherever it comes from: files of a store, or slides that are only shown as DICOM."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from microtome.dicom.dataset import Bulk, Dataset, Element
from microtome.dicom.rows import InstanceRow
from microtome.errors import NotFound

_PATH = re.compile(r"[0-9A-F]{8}(?:/[0-9]{1,9}/[0-9A-F]{8}){0,63}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Value:
    """A value of ``length`` bytes that need not be in memory; ``read`` gives those from ``start`` up to ``stop``."""

    length: int
    read: Callable[[int, int], AsyncIterator[bytes]]


def at_hand(data: bytes) -> Value:
    """A value that is in memory."""

    async def read(start: int, stop: int) -> AsyncIterator[bytes]:
        yield data[start:stop]

    return Value(len(data), read)


class Content(Protocol):
    """Reads instances that an index knows. Methods raise NotFound, CorruptData, UnsupportedFormat, LimitExceeded,
    Conflict (the file is another one than was indexed), StorageUnavailable.
    """

    async def header(self, row: InstanceRow) -> Dataset:
        """The data set without pixel data; large values may be ``Bulk``."""
        ...

    async def frames(self, row: InstanceRow, numbers: Sequence[int]) -> list[bytes]:
        """Frames (from 1, in the order asked) as they are stored, in the transfer syntax of the row.

        Native frames are little-endian whatever the file; frames of 1 bit begin in a byte of their own.
        Raises NotFound(what="frame").
        """
        ...

    def peek(self, row: InstanceRow, numbers: Sequence[int]) -> list[bytes] | None:
        """What ``frames`` would give if that needs no waiting, else None; also for whatever ``frames`` refuses."""
        ...

    def part10(self, row: InstanceRow) -> AsyncIterator[bytes]:
        """The whole file as it is stored (PS3.10 §7), in pieces."""
        ...

    async def bulk(self, row: InstanceRow, path: str) -> bytes:
        """The value of an element, named as in a BulkDataURI (``json.to_json``). Raises NotFound(what="bulk data")."""
        ...

    async def value(self, row: InstanceRow, path: str) -> Value:
        """As ``bulk``, of any length. Where it cannot be read piece by piece, it is ``at_hand(await bulk(...))``."""
        ...


def value_at(dataset: Dataset, path: str) -> bytes | Bulk:
    """What a path of ``json.to_json`` names: tags, numbers of items from 1. Raises NotFound(what="bulk data")."""
    if _PATH.fullmatch(path):
        tag, *rest = path.split("/")
        for number, inner in zip(rest[::2], rest[1::2], strict=True):
            items = dataset.items(int(tag, 16))
            if not 1 <= int(number) <= len(items):
                break
            dataset, tag = items[int(number) - 1], inner
        else:
            element = dataset.elements.get(int(tag, 16))
            if element is not None and isinstance(element.value, (bytes, Bulk)):
                return element.value
    raise NotFound("bulk data", path[:200])


def bulk_paths(header: Dataset, path: str = "") -> dict[str, tuple[Element, Bulk]]:
    """The values of a data set that were not read, by the path of each (``json.to_json``)."""
    found: dict[str, tuple[Element, Bulk]] = {}
    for tag, element in header.elements.items():
        if isinstance(element.value, Bulk):
            found[f"{path}{tag:08X}"] = element, element.value
        elif isinstance(element.value, tuple):
            for number, item in enumerate(element.value, 1):
                found |= bulk_paths(item, f"{path}{tag:08X}/{number}/")
    return found
