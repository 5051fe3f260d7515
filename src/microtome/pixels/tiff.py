"""A TIFF of whole planes at full bit depth, for clients that reckon with samples (TIFF 6.0)."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from microtome.errors import LimitExceeded, UnsupportedFormat
from microtome.pixels.bands import bands
from microtome.pixels.deflate import deflated

_SHORT, _LONG, _RATIONAL, _ASCII = 3, 4, 5, 2
_SIZES = {_ASCII: 1, _SHORT: 2, _LONG: 4, _RATIONAL: 8}
_DEFLATE = 32946
_BLACK_IS_ZERO = 1
_SEPARATE = 2
_SAMPLE_FORMATS = {"u": 1, "i": 2, "f": 3}
_MAX_BYTES = 0xFFFFFFFF
_MAX_CHANNELS = 0xFFFF


class _Field(NamedTuple):
    """One entry of the directory (§2): what is stored, in the type's own bytes."""

    tag: int
    kind: int
    data: bytes


def encode(array: NDArray[np.generic]) -> bytes:
    """(height, width, channels) of any integer or floating point type as a classic little-endian TIFF of planes.

    One strip per channel, Deflate, black is zero also for colour; the description says {"shape": [channels, height,
    width]}. Raises UnsupportedFormat for samples that are not real numbers, LimitExceeded beyond 4 GB.
    """
    height, width, channels = (int(side) for side in array.shape)
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    if array.dtype.kind not in _SAMPLE_FORMATS:
        raise UnsupportedFormat(
            f"Samples of type {array.dtype.name} cannot be written as TIFF", feature=f"samples {array.dtype.name}"
        )
    if array.nbytes > _MAX_BYTES or channels > _MAX_CHANNELS:
        raise LimitExceeded(
            f"{channels} channels of {width} x {height} px are too much for a TIFF: ask for fewer channels or pixels",
            limit="TIFF bytes",
            value=array.nbytes,
        )
    strips = [b"".join(deflated(_plane(array, n))) for n in range(channels)]
    fields = _fields(array, [0] * channels, [len(strip) for strip in strips])
    begin = 8 + len(_directory(fields))
    offsets = [begin + sum(len(strip) for strip in strips[:n]) for n in range(channels)]
    if begin + sum(map(len, strips)) > _MAX_BYTES:
        raise LimitExceeded("The picture is too large for a TIFF: ask for fewer channels or pixels", limit="TIFF bytes")
    directory = _directory(_fields(array, offsets, [len(strip) for strip in strips]))
    return b"".join((b"II\x2a\0", struct.pack("<I", 8), directory, *strips))


def _plane(array: NDArray[np.generic], number: int) -> Iterator[NDArray[np.generic]]:
    """The samples of a channel, a band of rows at a time."""
    little_endian = array.dtype.newbyteorder("<")
    for rows in bands(int(array.shape[0]), int(array.shape[1])):
        yield np.ascontiguousarray(array[rows, :, number], little_endian)


def _fields(array: NDArray[np.generic], offsets: list[int], lengths: list[int]) -> list[_Field]:
    height, width, channels = (int(side) for side in array.shape)
    sample_format = _SAMPLE_FORMATS[array.dtype.kind]
    description = json.dumps({"shape": [channels, height, width]}).encode() + b"\0"
    fields = [
        _Field(256, _LONG, _longs(width)),
        _Field(257, _LONG, _longs(height)),
        _Field(258, _SHORT, _shorts(*[8 * array.dtype.itemsize] * channels)),
        _Field(259, _SHORT, _shorts(_DEFLATE)),
        _Field(262, _SHORT, _shorts(_BLACK_IS_ZERO)),
        _Field(270, _ASCII, description),
        _Field(273, _LONG, _longs(*offsets)),
        _Field(277, _SHORT, _shorts(channels)),
        _Field(278, _LONG, _longs(height)),
        _Field(279, _LONG, _longs(*lengths)),
        _Field(282, _RATIONAL, _longs(1, 1)),
        _Field(283, _RATIONAL, _longs(1, 1)),
    ]
    if channels > 1:
        fields.append(_Field(284, _SHORT, _shorts(_SEPARATE)))
    fields.append(_Field(296, _SHORT, _shorts(1)))
    if channels > 1:
        fields.append(_Field(338, _SHORT, _shorts(*[0] * (channels - 1))))
    if sample_format != 1:
        fields.append(_Field(339, _SHORT, _shorts(*[sample_format] * channels)))
    return fields


def _directory(fields: list[_Field]) -> bytes:
    """The directory at byte 8 and behind it the values that do not fit into it; as long whatever the values are."""
    at = 8 + 2 + 12 * len(fields) + 4
    entries: list[bytes] = [struct.pack("<H", len(fields))]
    values: list[bytes] = []
    for tag, kind, data in fields:
        count = len(data) // _SIZES[kind]
        if len(data) <= 4:
            entries.append(struct.pack("<HHI", tag, kind, count) + data.ljust(4, b"\0"))
            continue
        entries.append(struct.pack("<HHII", tag, kind, count, at))
        values.append(data + b"\0" * (len(data) % 2))
        at += len(values[-1])
    return b"".join((*entries, bytes(4), *values))


def _shorts(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}H", *numbers)


def _longs(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)
