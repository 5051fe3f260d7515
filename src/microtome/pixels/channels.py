"""Which channels of a slide are seen, in which colours and how bright.

Arrays are (height, width, channels) with samples as stored. Brightness always comes from a fixed window, never from the
samples of the tile, so that neighbouring tiles fit together.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray
from PIL import Image

from microtome.errors import InvalidRequest, UnsupportedFormat
from microtome.model import Channel
from microtome.pixels.bands import bands

Samples = NDArray[np.generic]

WHITE = 0xFFFFFF
COLORS = (0xFF0000, 0x00FF00, 0x0000FF, 0x00FFFF, 0xFF00FF, 0xFFFF00, 0xFFFFFF)
"""For channels whose file names no colour, in turn; 0xRRGGBB."""

_UNIT_BITS = 4
_UNITS = 1 << _UNIT_BITS
"""Parts of a grey level in which contributions are added, so that the sum is rounded once and not each of them."""
_FULL = 255 * _UNITS
_HALF = 0x0001_0001_0001_0001 * (_UNITS // 2)
_BEFORE_CLIPPING = 0xFFFF // _FULL - 1
_STEPS = 0xFFFF


@dataclass(frozen=True, slots=True)
class Window:
    """The range of samples that is shown from black (``low``) to the full colour (``high``), in stored values.

    In between the brightness is ((sample - low) / (high - low)) ** gamma: a gamma below 1 brings out what is dark.
    Raises InvalidRequest for an empty window and a gamma that is not positive.
    """

    low: float
    high: float
    gamma: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.high - self.low) and self.low < self.high):
            raise InvalidRequest(
                f"A window from {self.low} to {self.high} is empty: give a low below a high", parameter="window"
            )
        if not (math.isfinite(self.gamma) and self.gamma > 0):
            raise InvalidRequest(f"A gamma of {self.gamma} is not a positive number", parameter="gamma")


@dataclass(frozen=True, slots=True)
class ChannelStyle:
    """How one channel is shown. ``color`` is 0xRRGGBB, None for white. ``window`` None is the range of the samples."""

    index: int
    color: int | None = None
    window: Window | None = None
    visible: bool = True

    def __post_init__(self) -> None:
        if self.color is not None and not 0 <= self.color <= WHITE:
            raise InvalidRequest(f"{self.color} is not a colour 0xRRGGBB", parameter="color")


def full_window(dtype: DTypeLike, bits: int | None = None) -> Window:
    """The window of all samples a type can hold, or all of ``bits`` significant bits; 0 to 1 for floating point.

    Raises UnsupportedFormat for complex numbers and the like, InvalidRequest for impossible ``bits``.
    """
    kind = np.dtype(dtype)
    if kind.kind in "fb":
        return Window(0, 1)
    if kind.kind not in "iu":
        raise UnsupportedFormat(f"Samples of type {kind.name} cannot be shown", feature=f"samples {kind.name}")
    count = _bits(kind, bits)
    return Window(-(1 << count - 1), (1 << count - 1) - 1) if kind.kind == "i" else Window(0, (1 << count) - 1)


def default_styles(channels: Sequence[Channel], window: Window | None = None) -> tuple[ChannelStyle, ...]:
    """All channels in the colours of the file; those without get ``COLORS`` in turn, a lone one white."""
    fallback = (WHITE,) if len(channels) == 1 else COLORS
    return tuple(
        ChannelStyle(index, fallback[index % len(fallback)] if channel.color is None else channel.color, window)
        for index, channel in enumerate(channels)
    )


def select(array: Samples, indices: Sequence[int]) -> Samples:
    """The channels ``indices`` in that order; the same array when these are all, in the file's order.

    Raises InvalidRequest for an index the array does not have.
    """
    _check_indices(array, indices)
    if list(indices) == list(range(array.shape[2])):
        return array
    return array[:, :, indices[0] : indices[0] + 1] if len(indices) == 1 else array[:, :, list(indices)]


def to_eight_bits(array: Samples, dtype: DTypeLike | None = None, bits: int | None = None) -> NDArray[np.uint8]:
    """Samples of any real type as 8 bit, by the highest of their ``bits`` significant bits (None: all of the type's).

    ``dtype`` is the type the samples are stored in, where the array is of another one. Fewer than 8 bits are spread
    over 0 to 255, signed samples begin at the lowest number, floating point is taken from 0 to 1, and what lies outside
    is clipped. Raises UnsupportedFormat, InvalidRequest.
    """
    kind = np.dtype(array.dtype if dtype is None else dtype)
    window = full_window(kind, bits)
    if array.dtype != kind:
        array = _stored_as(array, kind)
    if kind.kind == "f":
        finite = np.nan_to_num(array.astype(np.float32), nan=0.0, posinf=1.0, neginf=0.0)
        return (np.clip(finite, 0, 1) * 255 + 0.5).astype(np.uint8)
    if kind.kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    count = _bits(kind, bits)
    whole = cast("NDArray[np.integer[Any]]", array)
    if count < 8 * kind.itemsize:
        whole = np.clip(whole, int(window.low), int(window.high))
    elif kind == np.uint8:
        return cast("NDArray[np.uint8]", array)
    if kind.kind == "i":
        # In unsigned numbers of the same width the sum wraps around to what is meant.
        unsigned = np.dtype(f"u{kind.itemsize}")
        whole = whole.astype(unsigned) + unsigned.type(1 << count - 1)
    if count < 8:
        return (whole.astype(np.uint16) * 255 // ((1 << count) - 1)).astype(np.uint8)
    return (whole >> whole.dtype.type(count - 8)).astype(np.uint8)


def blend(
    array: Samples, styles: Sequence[ChannelStyle], dtype: DTypeLike | None = None, bits: int | None = None
) -> NDArray[np.uint8]:
    """(height, width, 3) RGB: the visible channels in their colours and windows, added up and clipped at 255.

    ``dtype`` and ``bits`` say which range is meant where a style has no window: that of the type the samples are stored
    in (None: the array's), or of its significant bits. Raises InvalidRequest for a channel the array does not have,
    UnsupportedFormat for samples that are not real numbers.
    """
    visible = [style for style in styles if style.visible]
    _check_indices(array, [style.index for style in visible])
    full = full_window(array.dtype if dtype is None else dtype, bits)
    height, width = array.shape[:2]
    picture = np.zeros((height, width, 3), np.uint8)
    if not visible:
        return picture
    for rows in bands(height, width):
        picture[rows] = _blend(array[rows], visible, full)
    return picture


def histogram(array: Samples, bins: int = 256, window: Window | None = None) -> NDArray[np.int64]:
    """How many samples of each channel fall into each of ``bins`` equal parts of a window: (channels, bins).

    The window is that of the array's type unless given; both ends belong to it, samples outside and NaN are not
    counted. Raises InvalidRequest, UnsupportedFormat.
    """
    if not 1 <= bins <= 1 << 16:
        raise InvalidRequest(f"A histogram has 1 to 65536 bins, not {bins}", parameter="bins")
    limits = full_window(array.dtype) if window is None else window
    counts = np.empty((array.shape[2], bins), np.int64)
    for channel in range(array.shape[2]):
        plane = array[:, :, channel]
        weights = None
        if plane.dtype.kind in "biu" and plane.dtype.itemsize <= 2:
            # Few values: each is sorted into its bin once, however many samples have it.
            slots, values = _slots(plane)
            weights, plane = np.bincount(slots.ravel(), minlength=values.size), values
        told, _ = np.histogram(cast("Any", plane), bins, (limits.low, limits.high), weights=weights)
        counts[channel] = told
    return counts


def _blend(array: Samples, styles: Sequence[ChannelStyle], full: Window) -> NDArray[np.uint8]:
    """One band: each channel is looked up once, in a table whose entries hold red, green and blue side by side."""
    total = np.full(array.shape[:2], _HALF, np.uint64)
    fields = total.view(np.uint16)
    for position, style in enumerate(styles, start=1):
        plane, color = array[:, :, style.index], WHITE if style.color is None else style.color
        window = full if style.window is None else style.window
        if plane.dtype.kind in "biu" and plane.dtype.itemsize <= 2:
            slots, kind = _slots(plane)[0], plane.dtype.newbyteorder("=").str
        else:
            slots, kind = _steps(plane, window), "u2"
            window = Window(0, _STEPS, window.gamma)
        if position % _BEFORE_CLIPPING == 0:
            _limit(fields, _FULL)
        total += _table(kind, window, color).take(slots)
    fields >>= _UNIT_BITS
    _limit(fields, 255)
    words = fields.astype(np.uint8)
    size = (int(array.shape[1]), int(array.shape[0]))
    return np.asarray(Image.frombuffer("RGBX", size, cast("Any", words), "raw", "RGBX", 0, 1).convert("RGB"))


def _limit(fields: NDArray[np.uint16], most: int) -> None:
    np.minimum(fields, np.full_like(fields, most), out=fields)  # four times as fast as with a number


@functools.lru_cache(maxsize=32)
def _table(kind: str, window: Window, color: int) -> NDArray[np.uint64]:
    """What each sample of a type of 8 or 16 bits adds to a pixel: red, green and blue, 16 bits each.

    Entries are in the order of the samples' bits as an unsigned number.
    """
    values = _values(np.dtype(kind)).astype(np.float64)
    with np.errstate(over="ignore"):
        shown = np.clip((values - window.low) / (window.high - window.low), 0, 1)
    if window.gamma != 1:
        shown **= window.gamma
    entries = np.zeros((values.size, 4), np.uint16)
    for place, shift in enumerate((16, 8, 0)):
        entries[:, place] = np.rint(shown * ((color >> shift & 0xFF) * _UNITS))
    table = entries.view(np.uint64)[:, 0]
    table.flags.writeable = False
    return table


def _slots(plane: Samples) -> tuple[NDArray[np.unsignedinteger[Any]], Samples]:
    """Samples of 8 or 16 bits as the unsigned numbers of the same bits, and what each of these numbers means."""
    native = plane.astype(plane.dtype.newbyteorder("="), copy=False)
    return native.view(f"u{native.dtype.itemsize}"), _values(native.dtype)


def _values(dtype: np.dtype[Any]) -> Samples:
    if dtype.kind == "b":
        return np.arange(256, dtype=np.uint8)
    return np.arange(1 << 8 * dtype.itemsize, dtype=f"u{dtype.itemsize}").view(dtype)


def _steps(plane: Samples, window: Window) -> NDArray[np.uint16]:
    """Samples of wide types as steps of a window: 0 at its low, 65535 at its high."""
    numbers = plane.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        numbers -= window.low
        numbers /= window.high - window.low
        numbers *= _STEPS
    np.nan_to_num(numbers, copy=False, nan=0.0)
    return np.rint(np.clip(numbers, 0, _STEPS)).astype(np.uint16)


def _bits(kind: np.dtype[Any], bits: int | None) -> int:
    most = 8 * kind.itemsize
    if bits is None:
        return most
    if not 1 <= bits <= most:
        raise InvalidRequest(f"Samples of type {kind.name} have 1 to {most} bits, not {bits}", parameter="bits")
    return bits


def _stored_as(array: Samples, kind: np.dtype[Any]) -> Samples:
    """The samples in another type, clipped where it cannot hold them."""
    if kind.kind in "fb" or array.dtype.kind == "b":
        return array.astype(kind)
    limits = np.iinfo(kind)
    low, high = int(limits.min), int(limits.max)
    if array.dtype.kind == "f":
        return np.clip(np.nan_to_num(array.astype(np.float64)), low, high).astype(kind)
    own = np.iinfo(cast("np.dtype[np.integer[Any]]", array.dtype))
    return np.clip(cast("Any", array), max(low, int(own.min)), min(high, int(own.max))).astype(kind)


def _check_indices(array: Samples, indices: Sequence[int]) -> None:
    wrong = [index for index in indices if not 0 <= index < array.shape[2]]
    if wrong:
        raise InvalidRequest(
            f"Channel {wrong[0]} was asked and there are {array.shape[2]}, numbered from 0", parameter="channels"
        )
