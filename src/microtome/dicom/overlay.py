"""Overlay planes of an image or a presentation state (PS3.3 §C.9.2): single bits to draw over the picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from microtome.dicom.dataset import Bulk, Dataset
from microtome.dicom.image import ImageFacts
from microtome.dicom.lut import Reader, value

_GROUPS = range(0x6000, 0x6020, 2)
_ROWS, _COLUMNS, _FRAMES, _ORIGIN, _FRAME_ORIGIN = 0x10, 0x11, 0x15, 0x50, 0x51
_ALLOCATED, _POSITION, _ACTIVATION, _DATA = 0x100, 0x102, 0x1001, 0x3000
_MOST_BYTES = 64 << 20
Mask = NDArray[np.bool_]


def groups(dataset: Dataset) -> tuple[int, ...]:
    """The groups (6000, 6002, ...) that hold overlays of their own."""
    return tuple(group for group in _GROUPS if group << 16 | _ROWS in dataset)


def activated(state: Dataset) -> tuple[int, ...]:
    """The groups of an image's overlays that a presentation state shows (PS3.3 §C.11.7)."""
    return tuple(group for group in _GROUPS if state.string(group << 16 | _ACTIVATION))


def overlay(
    dataset: Dataset,
    group: int,
    facts: ImageFacts,
    frame: int,
    read: Reader,
    native: NDArray[np.unsignedinteger] | None,
) -> Mask | None:
    """Where an overlay is drawn, (rows, columns) of the image; None when it has nothing for the frame.

    ``native``: the samples of an uncompressed frame with all their bits, for overlays that lie among them, which the
    standard has retired. An overlay that is cut short is no reason to withhold the image: it is left out.
    """
    base = group << 16
    rows, columns = dataset.whole(base | _ROWS), dataset.whole(base | _COLUMNS)
    frames = max(1, dataset.whole(base | _FRAMES, 1))
    nth = frame - (dataset.whole(base | _FRAME_ORIGIN, 1) - 1)
    if not (1 <= rows <= 65535 and 1 <= columns <= 65535) or (frames > 1 and not 0 <= nth < frames):
        return None
    if base | _DATA in dataset:
        bits = _bits(dataset, base | _DATA, rows * columns, nth if frames > 1 else 0, read)
        plane = None if bits is None else bits.reshape(rows, columns)
    else:
        position = dataset.whole(base | _POSITION)
        among = dataset.whole(base | _ALLOCATED, 1) > 1 and native is not None and 0 <= position < facts.allocated
        plane = ((native >> position) & 1).astype(np.bool_) if among and native is not None else None
        if plane is not None and plane.shape != (rows, columns):
            plane = None
    if plane is None:
        return None
    origin = dataset.numbers(base | _ORIGIN)
    top, left = (int(origin[0]) - 1, int(origin[1]) - 1) if len(origin) == 2 else (0, 0)
    return _placed(plane, top, left, facts)


def _bits(dataset: Dataset, tag: int, count: int, nth: int, read: Reader) -> Mask | None:
    held = dataset.elements[tag].value
    if not isinstance(held, (bytes, Bulk)):
        return None
    length = held.length if isinstance(held, Bulk) else len(held)
    if 8 * length < (nth + 1) * count or length > _MOST_BYTES:
        return None
    data = np.frombuffer(value(dataset, tag, read, _MOST_BYTES), np.uint8)
    begin, end = nth * count, (nth + 1) * count
    if 8 * len(data) < end:
        return None
    unpacked = np.unpackbits(data[begin // 8 : -(-end // 8)], bitorder="little")
    return unpacked[begin % 8 : begin % 8 + count].astype(np.bool_)


def _placed(plane: Mask, top: int, left: int, facts: ImageFacts) -> Mask | None:
    """The part of a plane that lies on the image."""
    whole = np.zeros((facts.rows, facts.columns), np.bool_)
    rows = slice(max(0, top), min(facts.rows, top + plane.shape[0]))
    columns = slice(max(0, left), min(facts.columns, left + plane.shape[1]))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return None
    whole[rows, columns] = plane[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return whole
