"""Decoded pictures of all open slides, bounded in bytes: what leaves is decoded again when it is asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Pyramid = tuple[NDArray[np.generic], ...]
"""Arrays (height, width, channels), full resolution first."""

BAND = 512
"""Rows halved at a time; even."""


class DecodedPictures:
    """Least recently used, for many threads. ``keys`` are the slides themselves."""

    def __init__(self, budget: int) -> None:
        self.used = 0
        self._budget = budget
        self._lock = threading.Lock()
        self._pyramids: OrderedDict[object, Pyramid] = OrderedDict()

    def get(self, key: object, decode: Callable[[], Pyramid]) -> Pyramid:
        """What is kept for ``key``, or the result of ``decode``. Called by one thread for each key."""
        with self._lock:
            found = self._pyramids.get(key)
            if found is not None:
                self._pyramids.move_to_end(key)
                return found
        made = decode()
        with self._lock:
            self._pyramids[key] = made
            self.used += _nbytes(made)
            while self.used > self._budget:
                self.used -= _nbytes(self._pyramids.popitem(last=False)[1])
        return made

    def forget(self, key: object) -> None:
        """Drop what is kept for ``key``."""
        with self._lock:
            found = self._pyramids.pop(key, None)
            if found is not None:
                self.used -= _nbytes(found)


def halved(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """Each px the rounded mean of 2 x 2 px, at the right and lower edge of those there are."""
    height, width, channels = array.shape
    out = np.empty((-(-height // 2), -(-width // 2), channels), array.dtype)
    wide = np.uint16 if array.dtype.itemsize == 1 else np.uint32
    for top in range(0, height, BAND):
        band = array[top : top + BAND].astype(wide)
        band = np.pad(band, ((0, band.shape[0] % 2), (0, width % 2), (0, 0)), "edge")
        total = band[0::2, 0::2] + band[0::2, 1::2] + band[1::2, 0::2] + band[1::2, 1::2]
        out[top // 2 : top // 2 + total.shape[0]] = (total + 2) >> 2
    return out


def _nbytes(pyramid: Pyramid) -> int:
    return sum(array.nbytes for array in pyramid)
