"""What a slide returns: a tile as it is stored, or an array of samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from microtome.model.geometry import Size

ColorSpace = Literal["gray", "rgb", "ycbcr", "other"]
"""How the samples of an encoded tile are to be read; ``other`` is for what a browser would not show as a picture."""


@dataclass(frozen=True, slots=True)
class EncodedTile:
    """A complete, self-contained compressed tile.

    JPEG: quantisation and Huffman tables merged, colour space declared in the stream itself (APP14 where JFIF rules
    would misread it), nothing after EOI. ``media_type`` is the IANA name ("image/jpeg", "image/j2c" for a JPEG 2000
    codestream, "image/webp"). ``size`` is in px and includes the padding of an edge tile. Vector tiles have the type of
    their payload ("application/vnd.mapbox-vector-tile", "application/geo+json") and the colour "other"; ``encoding`` is
    "gzip" when the data is stored compressed.
    """

    data: bytes
    media_type: str
    size: Size
    color: ColorSpace
    encoding: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """Decoded samples, dtype as stored.

    ``array`` has shape (height, width, channels); ``channels`` names them ("R", "G", "B" or the file's names).
    """

    array: NDArray[np.generic]
    channels: tuple[str, ...]

    def __post_init__(self) -> None:
        shape: tuple[Any, ...] = self.array.shape
        if len(shape) != 3 or shape[2] != len(self.channels):
            raise ValueError(f"a raster is (height, width, {len(self.channels)}), not {shape}")

    @property
    def size(self) -> Size:
        """Width and height in px."""
        return Size(int(self.array.shape[1]), int(self.array.shape[0]))
