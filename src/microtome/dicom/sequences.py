"""Sequences that are too large for memory: their items are read out of the file one after the other, and let go.

Everything here blocks: call it in threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from microtome.dicom.charset import Decoder
from microtome.dicom.dataset import Bulk, Dataset, Element, LargeSequence
from microtome.dicom.encoding import DEFAULT_LIMITS, Readable, ScanLimits, Tally
from microtome.dicom.part10 import LARGE, read_value
from microtome.dicom.scanner import Scanner

Places = NDArray[np.uint64]


class Items(Protocol):
    """Reads items of large sequences. Methods raise LimitExceeded, CorruptData, StorageUnavailable, Conflict."""

    def each(self, sequence: LargeSequence, text: Decoder) -> Iterator[Dataset]:
        """All of them, in order; ``text`` is of the data set that the sequence stands in."""
        ...

    def one(self, sequence: LargeSequence, text: Decoder, number: int) -> Dataset | None:
        """The one with a number, from 0; None where there are fewer."""
        ...

    def value(self, bulk: Bulk) -> bytes:
        """A large value of an item, little-endian."""
        ...


class NoItems:
    """Where no sequence is large."""

    def each(self, sequence: LargeSequence, text: Decoder) -> Iterator[Dataset]:
        """See ``Items``."""
        return iter(())

    def one(self, sequence: LargeSequence, text: Decoder, number: int) -> Dataset | None:
        """See ``Items``."""
        return None

    def value(self, bulk: Bulk) -> bytes:
        """See ``Items``."""
        return b""


NOTHING: Final[Items] = NoItems()


class ItemReader:
    """``Items`` of one file, as ``part10.opened`` gives it. What it reads in all is limited; make one for each use.

    ``places``: finds where the items of a sequence begin, for callers that keep that.
    """

    def __init__(
        self,
        file: Readable,
        *,
        limits: ScanLimits = DEFAULT_LIMITS,
        large: int = LARGE,
        places: Callable[[LargeSequence], Places] | None = None,
    ) -> None:
        self._file = file
        self._limits = limits
        self._large = large
        self._places = places or self.places
        # Each sequence within a large one that is large itself is passed over once more.
        self._tally = Tally(_ROUNDS * limits.elements)

    def each(self, sequence: LargeSequence, text: Decoder) -> Iterator[Dataset]:
        """See ``Items``."""
        return self._scanner().items(sequence, text)

    def one(self, sequence: LargeSequence, text: Decoder, number: int) -> Dataset | None:
        """See ``Items``."""
        places = self._places(sequence)
        if not 0 <= number < len(places):
            return None
        return next(self._scanner().items(sequence, text, begin=int(places[number])), None)

    def value(self, bulk: Bulk) -> bytes:
        """See ``Items``."""
        return read_value(self._file, bulk)

    def places(self, sequence: LargeSequence) -> Places:
        """Where the items of a sequence begin, in bytes from the beginning of the file."""
        return np.fromiter(self._scanner().places(sequence), np.uint64)

    def _scanner(self) -> Scanner:
        return Scanner(self._file, large=self._large, limits=self._limits, tally=self._tally)


_ROUNDS: Final = 4


class Changed:
    """``Items`` with something done to each."""

    def __init__(self, items: Items, change: Callable[[Dataset], Dataset]) -> None:
        self._items = items
        self._change = change

    def each(self, sequence: LargeSequence, text: Decoder) -> Iterator[Dataset]:
        """See ``Items``."""
        return map(self._change, self._items.each(sequence, text))

    def one(self, sequence: LargeSequence, text: Decoder, number: int) -> Dataset | None:
        """See ``Items``."""
        found = self._items.one(sequence, text, number)
        return None if found is None else self._change(found)

    def value(self, bulk: Bulk) -> bytes:
        """See ``Items``."""
        return self._items.value(bulk)


def has_large(dataset: Dataset) -> bool:
    """Whether there is a large sequence directly in a data set; there is none in what is in memory below it."""
    return any(isinstance(each.value, LargeSequence) for each in dataset)


def all_items(dataset: Dataset, tag: int, items: Items) -> Iterator[Dataset]:
    """The items of a sequence, large or not."""
    element = dataset.elements.get(tag)
    if element is not None and isinstance(element.value, LargeSequence):
        return items.each(element.value, dataset.text)
    return iter(dataset.items(tag))


def with_item(dataset: Dataset, tag: int, number: int, items: Items) -> Dataset:
    """The same where a large sequence is empty up to the item with the number, from 0, and ends with it."""
    element = dataset.elements.get(tag)
    if element is None or not isinstance(element.value, LargeSequence):
        return dataset
    found = items.one(element.value, dataset.text, number)
    inside = () if found is None else (Dataset(),) * number + (found,)
    return replace(dataset, elements={**dataset.elements, tag: Element(tag, "SQ", inside)})


def joined(pieces: Iterator[bytes], least: int) -> Iterator[bytes]:
    """The same bytes in pieces of ``least`` or more."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= least:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


def runs(dataset: Dataset) -> Iterator[Dataset | tuple[int, LargeSequence]]:
    """A data set in order: what is in memory, as data sets of their own, and large sequences by their tags."""
    held: dict[int, Element] = {}
    for tag, element in dataset.elements.items():
        if not isinstance(element.value, LargeSequence):
            held[tag] = element
            continue
        if held:
            yield Dataset(held, dataset.text)
            held = {}
        yield tag, element.value
    if held:
        yield Dataset(held, dataset.text)
