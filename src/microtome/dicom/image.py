"""What the Image Pixel module says of an instance's frames (PS3.3 §C.7.6.3), checked before anything relies on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from microtome.dicom.dataset import Dataset
from microtome.errors import CorruptData, NotFound, UnsupportedFormat

PIXEL_DATA = 0x7FE0_0010
FLOAT_PIXEL_DATA = 0x7FE0_0008
DOUBLE_PIXEL_DATA = 0x7FE0_0009

_SAMPLES, _PHOTOMETRIC, _PLANAR, _FRAMES = 0x0028_0002, 0x0028_0004, 0x0028_0006, 0x0028_0008
_ROWS, _COLUMNS = 0x0028_0010, 0x0028_0011
_ALLOCATED, _STORED, _REPRESENTATION = 0x0028_0100, 0x0028_0101, 0x0028_0103

_MAX_SIDE = 65535
"""Rows and Columns are US; a file that has them in a longer VR cannot say more either."""
_MAX_FRAMES = (1 << 31) - 1
"""Number of Frames is IS."""

Samples = NDArray[np.generic]
Kind = Literal["integer", "float"]


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Shape and encoding of every frame of an instance.

    ``rows`` and ``columns`` are 1 to 65535. ``allocated`` is 1, 8, 16, 32 or 64 bits, of which the lowest ``stored``
    are the sample's. ``planar``: native frames hold one plane after the other. ``words``: the VR is OW, which matters
    for big endian bytes.
    """

    rows: int
    columns: int
    samples: int
    photometric: str
    allocated: int
    stored: int
    signed: bool = False
    planar: bool = False
    frames: int = 1
    kind: Kind = "integer"
    words: bool = True

    @property
    def pixels(self) -> int:
        """Pixels of a frame."""
        return self.rows * self.columns

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of a decoded sample, little-endian; single bits become uint8."""
        if self.kind == "float":
            return np.dtype(f"<f{self.allocated // 8}")
        return np.dtype(f"<{'i' if self.signed and self.allocated > 1 else 'u'}{max(1, self.allocated // 8)}")

    @property
    def nbytes(self) -> int:
        """Bytes of a decoded frame."""
        return self.pixels * self.samples * self.dtype.itemsize

    @property
    def native_bits(self) -> int:
        """Bits a native frame takes. The chroma of YBR_FULL_422 is stored once for two pixels (§C.7.6.3.1.2)."""
        samples = 2 if self.photometric == "YBR_FULL_422" and self.samples == 3 else self.samples
        return self.pixels * samples * self.allocated

    @property
    def monochrome(self) -> bool:
        """One sample that is a shade of grey, or a label, not the number of a colour."""
        return self.samples == 1 and self.photometric != "PALETTE COLOR"

    def native_range(self, frame: int, *, big_endian: bool = False) -> NativeRange:
        """Where a native frame lies in the value of the pixel data; ``frame`` counts from 0.

        Big endian bytes in OW lie in swapped pairs, which are fetched whole (PS3.5 §7.3). Raises NotFound.
        """
        if not 0 <= frame < self.frames:
            raise NotFound("frame", str(frame + 1))
        begin, end = frame * self.native_bits, (frame + 1) * self.native_bits
        if big_endian and self.allocated == 8 and self.words:
            first = begin // 16 * 2
            return NativeRange(first, -(-end // 16) * 2 - first, begin % 16)
        return NativeRange(begin // 8, -(-end // 8) - begin // 8, begin % 8)


@dataclass(frozen=True, slots=True)
class NativeRange:
    """``length`` bytes from ``offset``. The frame begins at ``bit`` of them, counted from the lowest of the first."""

    offset: int
    length: int
    bit: int


def image_facts(dataset: Dataset, pixels_tag: int = PIXEL_DATA, pixels_vr: str = "OW") -> ImageFacts:
    """The facts of an instance's frames; ``pixels_tag`` and ``pixels_vr`` are of the element that holds them.

    Raises NotFound when the instance has no image, CorruptData for what contradicts itself, UnsupportedFormat.
    """
    if _ROWS not in dataset or _COLUMNS not in dataset:
        raise NotFound("image", "", "The instance has no image")
    rows, columns = dataset.whole(_ROWS), dataset.whole(_COLUMNS)
    if not (1 <= rows <= _MAX_SIDE and 1 <= columns <= _MAX_SIDE):
        raise CorruptData(f"An image of {columns} x {rows} px: both must be 1 to {_MAX_SIDE}")
    frames = dataset.whole(_FRAMES, 1) or 1
    if not 1 <= frames <= _MAX_FRAMES:
        raise CorruptData(f"Number of Frames is {frames}: it must be 1 or more")
    kind: Kind = "integer" if pixels_tag == PIXEL_DATA else "float"
    samples = dataset.whole(_SAMPLES, 1)
    photometric = dataset.string(_PHOTOMETRIC, "MONOCHROME2" if samples == 1 else "RGB").upper()
    allocated = {FLOAT_PIXEL_DATA: 32, DOUBLE_PIXEL_DATA: 64}.get(pixels_tag) or dataset.whole(_ALLOCATED)
    stored = allocated if kind == "float" else dataset.whole(_STORED) or allocated
    _check(samples, photometric, allocated, stored)
    return ImageFacts(
        rows,
        columns,
        samples,
        photometric,
        allocated,
        stored,
        signed=dataset.whole(_REPRESENTATION) == 1,
        planar=samples > 1 and dataset.whole(_PLANAR) == 1,
        frames=frames,
        kind=kind,
        words=pixels_vr != "OB",
    )


def _check(samples: int, photometric: str, allocated: int, stored: int) -> None:
    if samples not in {1, 3, 4}:
        raise UnsupportedFormat(f"Pixels of {samples} samples cannot be read", feature=f"{samples} samples per pixel")
    if allocated not in {1, 8, 16, 32, 64} or (allocated == 1 and samples != 1):
        raise UnsupportedFormat(f"Samples of {allocated} bits cannot be read", feature=f"{allocated} bits allocated")
    if not 1 <= stored <= allocated:
        raise CorruptData(f"{stored} bits of a sample of {allocated} bits are said to be stored")
    one = photometric.startswith("MONOCHROME") or photometric == "PALETTE COLOR"
    if one and samples != 1:
        raise CorruptData(f"{photometric} pixels have one sample and not {samples}")
    if photometric in {"YBR_PARTIAL_422", "YBR_PARTIAL_420"}:
        raise UnsupportedFormat(f"{photometric} pixels cannot be read", feature=photometric)
