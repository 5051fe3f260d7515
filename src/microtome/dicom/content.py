"""What an instance holds, wherever it comes from: files of a store, or slides that are only shown as DICOM."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from microtome.dicom.dataset import Bulk, Dataset, Element, LargeSequence
from microtome.dicom.rows import InstanceRow
from microtome.dicom.sequences import Items, has_large
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


async def in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Pieces whose making blocks."""
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


class Content(Protocol):
    """Reads instances that an index knows. Methods raise NotFound, CorruptData, UnsupportedFormat, LimitExceeded,
    Conflict (the file is another one than was indexed), StorageUnavailable.
    """

    async def header(self, row: InstanceRow) -> Dataset:
        """The data set without pixel data; large values may be ``Bulk``, large sequences ``LargeSequence``."""
        ...

    async def items(self, row: InstanceRow) -> Items:
        """Reads the items of the large sequences of ``header``, for one use, in a thread."""
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


def value_at(dataset: Dataset, path: str, items: Items | None = None) -> bytes | Bulk:
    """What a path of ``json.to_json`` names: tags, numbers of items from 1. Raises NotFound(what="bulk data").

    Blocks where it leads through a large sequence; see ``is_within_large``.
    """
    if _PATH.fullmatch(path):
        tag, *rest = path.split("/")
        for number, inner in zip(rest[::2], rest[1::2], strict=True):
            item = _item(dataset, int(tag, 16), int(number) - 1, items)
            if item is None:
                break
            dataset, tag = item, inner
        else:
            element = dataset.elements.get(int(tag, 16))
            if element is not None and isinstance(element.value, (bytes, Bulk)):
                return element.value
    raise NotFound("bulk data", path[:200])


def _item(dataset: Dataset, tag: int, number: int, items: Items | None) -> Dataset | None:
    element = dataset.elements.get(tag)
    if element is not None and isinstance(element.value, LargeSequence):
        return None if items is None else items.one(element.value, dataset.text, number)
    found = dataset.items(tag)
    return found[number] if 0 <= number < len(found) else None


def is_within_large(dataset: Dataset, path: str) -> bool:
    """Whether a path leads through a large sequence."""
    tag, slash, _ = path.partition("/")
    if not slash or not has_large(dataset) or not _PATH.fullmatch(path):
        return False
    element = dataset.elements.get(int(tag, 16))
    return element is not None and isinstance(element.value, LargeSequence)


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
