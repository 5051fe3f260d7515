"""Making images smaller or larger; (height, width, channels) uint8 in, the same out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from microtome.model import Size


def resize(array: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resample (h, w, 3) or (h, w, 1) to ``size`` px with Lanczos over the covered area; the same array if it fits."""
    if (array.shape[1], array.shape[0]) == size:
        return array
    gray = array.shape[2] == 1
    image = Image.fromarray(array[:, :, 0] if gray else array)
    small = np.asarray(image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))
    return small[:, :, np.newaxis] if gray else small


def resize_plane(array: NDArray[np.generic], size: Size) -> NDArray[np.generic]:
    """Resample one channel (h, w) of any depth to ``size`` px; the type stays."""
    wide = Image.fromarray(np.ascontiguousarray(array, np.float32))
    small = np.asarray(wide.resize(size, Image.Resampling.BOX if max(size) > 1 else Image.Resampling.NEAREST))
    # An average lies between what it is made of, so nothing can overflow.
    return small.astype(array.dtype) if array.dtype.kind == "f" else np.rint(small).astype(array.dtype)


def reduce(array: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Box average over ``factor`` x ``factor`` px; a remainder at right and bottom is averaged over what there is."""
    if factor == 1:
        return array
    gray = array.shape[2] == 1
    image = Image.fromarray(array[:, :, 0] if gray else array)
    small = np.asarray(image.reduce(factor))
    return small[:, :, np.newaxis] if gray else small
