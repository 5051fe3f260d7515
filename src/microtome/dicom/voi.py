"""From stored values to shades of grey (PS3.3 §C.11.1, §C.11.2; PS3.4 §N.2): rescale or LUT, then window or LUT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from microtome.dicom.dataset import Dataset
from microtome.dicom.image import ImageFacts, Samples
from microtome.dicom.lut import Lut, Reader, grays, lut, to_bytes
from microtome.errors import CorruptData, InvalidRequest

Function = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]
FUNCTIONS: tuple[Function, ...] = ("LINEAR", "LINEAR_EXACT", "SIGMOID")

_CENTER, _WIDTH, _FUNCTION = 0x0028_1050, 0x0028_1051, 0x0028_1056
_INTERCEPT, _SLOPE = 0x0028_1052, 0x0028_1053
_MODALITY_LUTS, _VOI_LUTS = 0x0028_3000, 0x0028_3010
_SMALLEST, _LARGEST = 0x0028_0106, 0x0028_0107
_PADDING, _PADDING_LIMIT = 0x0028_0120, 0x0028_0121
_FRACTION = 0x0062_000E
_PIECE = 1 << 15
SHARED, PER_FRAME = 0x5200_9229, 0x5200_9230
_TRANSFORMATION, _FRAME_VOI = 0x0028_9145, 0x0028_9132


@dataclass(frozen=True, slots=True)
class Window:
    """Centre and width in values behind the modality transformation (§C.11.2.1.2)."""

    center: float
    width: float
    function: Function = "LINEAR"

    def __post_init__(self) -> None:
        numbers = np.array([self.center, self.width])
        if not np.isfinite(numbers).all() or self.width <= 0 or (self.function == "LINEAR" and self.width < 1):
            raise InvalidRequest(
                "A window has a centre and a width: 1 or more when linear, above 0 otherwise", parameter="window"
            )

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values as 0 (black) to 1."""
        match self.function:
            case "LINEAR":
                # At a width of 1 this is a threshold.
                low = self.center - 0.5 - (self.width - 1) / 2
                return grays(values, low, low + self.width - 1)
            case "LINEAR_EXACT":
                return grays(values, self.center - self.width / 2, self.center + self.width / 2)
            case "SIGMOID":
                exponent = np.clip(-4 * (values - self.center) / self.width, -700, 700)
                return 1 / (1 + np.exp(exponent))


@dataclass(frozen=True, slots=True)
class Rescale:
    """value = slope * stored + intercept (§C.11.1.1.2)."""

    slope: float = 1.0
    intercept: float = 0.0

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Stored values as those of the modality."""
        return values * self.slope + self.intercept


@dataclass(frozen=True, slots=True)
class Grayscale:
    """Everything between stored values and shades. ``bounds``: stored values to show when there is no window."""

    modality: Rescale | Lut = field(default_factory=Rescale)
    voi: Window | Lut | None = None
    bounds: tuple[float, float] | None = None
    padding: tuple[float, float] | None = None
    inverted: bool = False
    presentation: Lut | None = None

    def windowed(self, window: Window | None) -> Grayscale:
        """The same with another window."""
        return self if window is None else replace(self, voi=window)

    def is_identity(self, facts: ImageFacts) -> bool:
        """Whether 8-bit samples are already what is shown."""
        plain = self.voi is None and self.presentation is None and not self.inverted and self.padding is None
        return plain and self.bounds == (0, 255) and facts.dtype == np.uint8

    def apply(self, samples: Samples, facts: ImageFacts) -> NDArray[np.uint8]:
        """(rows, columns, 1) stored samples to (rows, columns, 1) shades, 0 black and 255 white."""
        windowed = isinstance(self.voi, Window) and isinstance(self.modality, Rescale) and self.presentation is None
        bounds = (0.0, 0.0) if windowed else self.bounds or self._bounds(samples)
        if facts.kind == "float" or facts.allocated > 16:
            return self._shades(samples.astype(np.float64), bounds)
        unsigned = samples.view(f"u{samples.dtype.itemsize}")
        low, high = int(samples.min()), int(samples.max())
        entries = 1 << 8 * samples.dtype.itemsize
        if windowed:
            # The slices of a series share a window, and a table of it when its ends are round.
            low, high = -(1 << (-1 - low).bit_length()) if low < 0 else 0, (1 << max(high, 0).bit_length()) - 1
            table = _windowed(replace(self, bounds=None), low, high, entries)
        else:
            table = self.table(low, high, entries, bounds)
        shades = np.empty(samples.shape, np.uint8)
        flat, out = unsigned.reshape(-1), shades.reshape(-1)
        # In pieces: numpy makes eight bytes of each sample on the way, which had better stay in the processor's cache.
        for start in range(0, flat.size, _PIECE):
            table.take(flat[start : start + _PIECE], out=out[start : start + _PIECE], mode="clip")
        return shades

    def table(self, low: int, high: int, entries: int, bounds: tuple[float, float]) -> NDArray[np.uint8]:
        """Shades of the samples from ``low`` to ``high`` among ``entries``, negative ones in the upper half."""
        values = np.arange(low, high + 1)
        found = np.zeros(entries, np.uint8)
        found[values & (entries - 1)] = self._shades(values.astype(np.float64), bounds)
        return found

    def _bounds(self, samples: Samples) -> tuple[float, float]:
        """Smallest and largest sample of a frame, padding left out."""
        values: NDArray[Any] = samples
        if self.padding is not None:
            shown = values[(values < self.padding[0]) | (values > self.padding[1])]
            values = shown if shown.size else values
        if values.dtype.kind == "f":
            finite = values[np.isfinite(values)]
            values = finite if finite.size else np.zeros(1)
        return float(values.min()), float(values.max())

    def _shades(self, stored: NDArray[np.float64], bounds: tuple[float, float]) -> NDArray[np.uint8]:
        values = self.modality.apply(stored)
        match self.voi:
            case Window():
                shades = self.voi.apply(values)
            case Lut():
                shades = self.voi.apply(values) / self.voi.top
            case None if isinstance(self.modality, Lut):
                shades = values / self.modality.top
            case None:
                low, high = sorted(self.modality.apply(np.array(bounds)))
                shades = grays(values, float(low), float(high))
        if self.presentation is not None:
            table = self.presentation
            places = np.rint(shades * (len(table.entries) - 1)) + table.first
            shades = table.apply(places) / table.top
        if self.inverted:
            shades = 1 - shades
        if self.padding is not None:
            shades = np.where((stored >= self.padding[0]) & (stored <= self.padding[1]), 0.0, shades)
        return to_bytes(shades)


@lru_cache(maxsize=64)
def _windowed(grayscale: Grayscale, low: int, high: int, entries: int) -> NDArray[np.uint8]:
    return grayscale.table(low, high, entries, (0, 0))


def grayscale(dataset: Dataset, facts: ImageFacts, read: Reader, frame: int = 0) -> Grayscale:
    """How a frame is shown by its own data set; ``frame`` counts from 0. Raises CorruptData.

    Functional groups go before the attributes of old (PS3.3 §C.7.6.16). Without any window, images of 8 bits are shown
    as they are, others from their smallest to their largest value.
    """
    modality = modality_of(_group(dataset, _TRANSFORMATION, frame), facts, read)
    if modality is None:
        modality = modality_of(dataset, facts, read) or Rescale()
    voi = voi_of(_group(dataset, _FRAME_VOI, frame), facts, read, modality)
    if voi is None:
        voi = voi_of(dataset, facts, read, modality, frame)
    return Grayscale(
        modality,
        voi,
        _default_bounds(dataset, facts),
        _padding(dataset, facts),
        inverted=facts.photometric == "MONOCHROME1",
    )


def _group(dataset: Dataset, tag: int, frame: int) -> Dataset:
    """The item of a functional group of a frame, an empty data set when there is none."""
    for groups in (*dataset.items(PER_FRAME)[frame : frame + 1], *dataset.items(SHARED)[:1]):
        for item in groups.items(tag)[:1]:
            return item
    return Dataset()


def modality_of(dataset: Dataset, facts: ImageFacts, read: Reader) -> Rescale | Lut | None:
    """The modality LUT or rescale of a data set. Raises CorruptData."""
    for item in dataset.items(_MODALITY_LUTS)[:1]:
        return lut(item, read, signed=facts.signed)
    slope, intercept = dataset.number(_SLOPE), dataset.number(_INTERCEPT)
    if slope is None and intercept is None:
        return None
    found = Rescale(1.0 if slope is None else slope, intercept or 0.0)
    if not np.isfinite((found.slope, found.intercept)).all() or max(abs(found.slope), abs(found.intercept)) > 1e30:
        raise CorruptData("Rescale slope or intercept is no usable number")
    return found


def voi_of(
    dataset: Dataset, facts: ImageFacts, read: Reader, modality: Rescale | Lut, frame: int = 0
) -> Window | Lut | None:
    """The first window or VOI LUT of a data set, of several windows for as many frames the frame's own."""
    centers, widths = dataset.numbers(_CENTER), dataset.numbers(_WIDTH)
    count = min(len(centers), len(widths))
    if count:
        name = dataset.string(_FUNCTION, "LINEAR")
        function = FUNCTIONS[FUNCTIONS.index(name)] if name in FUNCTIONS else "LINEAR"
        place = frame if 1 < count == facts.frames and frame < count else 0
        try:
            return Window(centers[place], widths[place], function)
        except InvalidRequest:
            return None  # many files hold a width of 0, and are not meant to be black
    for item in dataset.items(_VOI_LUTS)[:1]:
        negative = isinstance(modality, Rescale) and (facts.signed or modality.intercept < 0)
        return lut(item, read, signed=negative)
    return None


def _default_bounds(dataset: Dataset, facts: ImageFacts) -> tuple[float, float] | None:
    if facts.kind == "float":
        return None
    if facts.allocated == 1:
        return 0, 1
    if (largest := dataset.number(_FRACTION)) and largest > 0:
        return 0, largest
    if facts.stored <= 8 and not facts.signed:
        return 0, (1 << facts.stored) - 1
    low, high = dataset.number(_SMALLEST), dataset.number(_LARGEST)
    return (low, high) if low is not None and high is not None and high > low else None


def _padding(dataset: Dataset, facts: ImageFacts) -> tuple[float, float] | None:
    """Stored values that are no image (PS3.3 §C.7.5.1.1.2)."""
    low = dataset.number(_PADDING)
    if low is None or facts.kind == "float":
        return None
    high = dataset.number(_PADDING_LIMIT)
    ends = _signed((low, low if high is None else high), facts)
    return min(ends), max(ends)


def _signed(values: Sequence[float], facts: ImageFacts) -> list[float]:
    """Some writers give the padding value the wrong VR: a sign too much or too little."""
    span = 1 << facts.allocated
    if facts.signed:
        return [value - span if value >= span / 2 else value for value in values]
    return [value + span if value < 0 else value for value in values]
