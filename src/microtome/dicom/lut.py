"""Look-up tables: modality, VOI and presentation LUTs (PS3.3 §C.11), palettes and segmented palettes (§C.7.9).

A sample below the first or above the last mapped value takes the first or the last entry, so no sample of a hostile
file leads out of a table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microtome.dicom.dataset import Bulk, Dataset
from microtome.dicom.image import ImageFacts, Samples
from microtome.errors import CorruptData

Reader = Callable[[Bulk], bytes]
"""Fetches a value that was too large to be read with the data set."""

_DESCRIPTOR, _DATA = 0x0028_3002, 0x0028_3006
_PALETTE, _PALETTE_DATA, _PALETTE_SEGMENTED = 0x0028_1101, 0x0028_1201, 0x0028_1221
_MOST_ENTRIES = 65536
_MOST_BYTES = 2 * _MOST_ENTRIES + 2


def no_reader(bulk: Bulk) -> bytes:
    """A reader where there is no file: nothing can be fetched."""
    raise CorruptData("A value of the data set is not at hand", offset=bulk.offset)


def value(dataset: Dataset, tag: int, read: Reader, most: int) -> bytes:
    """The bytes of a value, at most ``most``; b"" when it is missing. Raises CorruptData when it is longer."""
    element = dataset.elements.get(tag)
    if element is None or not isinstance(element.value, (bytes, Bulk)):
        return b""
    length = element.value.length if isinstance(element.value, Bulk) else len(element.value)
    if length > most:
        raise CorruptData(f"The value of ({tag >> 16:04X},{tag & 0xFFFF:04X}) is {length} bytes long, over {most}")
    return read(element.value) if isinstance(element.value, Bulk) else element.value


@dataclass(frozen=True, slots=True, eq=False)
class Lut:
    """``entries`` for the values ``first``, ``first + 1`` ... ; 0 is black and ``top`` white."""

    first: int
    entries: NDArray[np.uint16]
    top: int

    def apply(self, samples: NDArray[np.float64]) -> NDArray[np.float64]:
        """The entries of samples, as numbers."""
        return self.entries[_places(samples, self.first, len(self.entries))].astype(np.float64)


def _places(samples: Samples, first: int, count: int) -> NDArray[np.intp]:
    """Places in a table, within it whatever the samples are."""
    numbers = np.nan_to_num(samples.astype(np.float64), nan=first, posinf=first + count, neginf=first)
    return np.clip(np.floor(numbers) - first, 0, count - 1).astype(np.intp)


def _descriptor(dataset: Dataset, tag: int, *, signed: bool) -> tuple[int, int, int]:
    """Entries, first value mapped, bits of an entry. The first value has the sign of the samples, the others none."""
    numbers = dataset.numbers(tag)
    if len(numbers) < 3:
        raise CorruptData("The descriptor of a look-up table has fewer than three values")
    count, first, bits = (int(number) for number in numbers[:3])
    count, bits = count & 0xFFFF or _MOST_ENTRIES, bits & 0xFFFF
    first &= 0xFFFF
    if signed and first > 0x7FFF:
        first -= 0x10000
    if not 1 <= bits <= 16:
        raise CorruptData(f"The entries of a look-up table have {bits} bits")
    return count, first, bits


def _entries(data: bytes, count: int, bits: int) -> NDArray[np.uint16]:
    """Entries of 16 bits, or of 8 when there are too few bytes for that."""
    if len(data) >= 2 * count:
        return np.frombuffer(data, "<u2", count)
    if bits <= 8 and len(data) >= count:
        return np.frombuffer(data, np.uint8, count).astype(np.uint16)
    raise CorruptData(f"A look-up table of {count} entries has {len(data)} bytes")


def lut(item: Dataset, read: Reader, *, signed: bool) -> Lut:
    """An item of a LUT sequence (§C.11.1.1, §C.11.2.1.1). Raises CorruptData."""
    count, first, bits = _descriptor(item, _DESCRIPTOR, signed=signed)
    entries = _entries(value(item, _DATA, read, _MOST_BYTES), count, bits)
    return Lut(first, entries, max((1 << bits) - 1, 1))


@dataclass(frozen=True, slots=True, eq=False)
class Palette:
    """``colors`` (entries, 3) of 8 bits for the values ``first``, ``first + 1`` ..."""

    first: int
    colors: NDArray[np.uint8]

    def apply(self, samples: Samples) -> NDArray[np.uint8]:
        """(rows, columns, 1) numbers of colours to (rows, columns, 3) RGB."""
        return self.colors[_places(samples[:, :, 0], self.first, len(self.colors))]


def palette(dataset: Dataset, facts: ImageFacts, read: Reader) -> Palette | None:
    """The palette of a PALETTE COLOR image, None when it has none. Raises CorruptData."""
    if _PALETTE not in dataset:
        return None
    planes: list[NDArray[np.uint8]] = []
    first = 0
    for n in range(3):
        count, first, bits = _descriptor(dataset, _PALETTE + n, signed=facts.signed)
        if _PALETTE_DATA + n in dataset:
            entries = _entries(value(dataset, _PALETTE_DATA + n, read, _MOST_BYTES), count, bits)
        else:
            segments = value(dataset, _PALETTE_SEGMENTED + n, read, 2 * _MOST_BYTES)
            entries = _expanded(segments, count, bits)
        planes.append((entries >> (bits - 8) if bits > 8 else entries).astype(np.uint8))
    if len({len(plane) for plane in planes}) != 1:
        raise CorruptData("The three tables of a palette differ in length")
    return Palette(first, np.stack(planes, axis=1))


def _expanded(data: bytes, count: int, bits: int) -> NDArray[np.uint16]:
    """A segmented table (§C.7.9.2): discrete runs, linear ramps, and repetitions of earlier segments."""
    words = list(data) if bits == 8 else np.frombuffer(data[: len(data) // 2 * 2], "<u2").tolist()
    found: list[int] = []
    _segments(words, 0, len(words), found, count, offset_words=4 if bits == 8 else 2)
    if len(found) < count:
        raise CorruptData(f"A segmented look-up table has {len(found)} of {count} entries")
    return np.array(found[:count], np.uint16)


def _segments(words: list[int], at: int, most: int, found: list[int], count: int, *, offset_words: int) -> None:
    """Expand up to ``most`` segments from ``at``; every step goes on or ends, so hostile tables end soon.

    ``offset_words`` make the byte offset of an indirect segment, 0 within one, where no other may stand.
    """
    for _ in range(most):
        if at + 1 >= len(words) or len(found) >= count:
            return
        kind, length = words[at], words[at + 1]
        match kind:
            case 0:
                found += words[at + 2 : at + 2 + length]
                at += 2 + length
            case 1 if at + 2 < len(words) and found:
                start, stop = found[-1], words[at + 2]
                found += [round(start + (stop - start) * n / length) for n in range(1, length + 1)]
                at += 3
            case 2 if offset_words and at + 2 + offset_words <= len(words):
                width = 4 // offset_words
                offset = sum(words[at + 2 + n] << 8 * width * n for n in range(offset_words))
                _segments(words, offset // width, length, found, count, offset_words=0)
                at += 2 + offset_words
            case _:
                raise CorruptData("A segmented look-up table has a segment of no known kind")


def grays(samples: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Samples from ``low`` to ``high`` as 0 to 1."""
    span = high - low
    if not span > 0:
        return (samples > low).astype(np.float64)
    return np.clip((samples - low) / span, 0, 1)


def to_bytes(shades: NDArray[np.float64]) -> NDArray[np.uint8]:
    """0 to 1 as 0 to 255; what is no number is black."""
    return np.rint(np.nan_to_num(np.clip(shades, 0, 1), nan=0) * 255).astype(np.uint8)
