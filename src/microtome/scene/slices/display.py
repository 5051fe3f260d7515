"""From values to what the eye sees: window and level, colours, layers on each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microtome.scene.slices.geometry import SliceGeometry
from microtome.scene.slices.sampler import Sampled, Volume, at, sample

Bytes = NDArray[np.uint8]
THICK = 700
"""Pictures with a longer side have borders of two pixels."""
GREY = bytes(range(256))
"""The table of a grey ramp, from black to white."""


@dataclass(frozen=True, slots=True)
class Window:
    """``width`` and ``level`` (its middle) of the values shown from the first to the last colour."""

    width: float
    level: float

    @property
    def low(self) -> float:
        """The value of the first colour."""
        return self.level - self.width / 2


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A volume as it is shown.

    ``window``: None for volumes whose values are colours (3 or 4 components of 8 bits) or numbers of labels.
    ``colors``: RGBA (n, 4) the window is spread over, or by number of the label; None is grey. Labels without a
    colour are transparent. ``outline``: of labels only the borders. ``threshold``: values outside are transparent.
    ``opacity`` from 0 to 1. ``places``: in a bent volume, where each pixel lies in voxels (i j k, rows, columns).
    """

    volume: Volume
    window: Window | None = None
    colors: Bytes | None = None
    labels: bool = False
    linear: bool = True
    threshold: tuple[float, float] | None = None
    opacity: float = 1.0
    outline: bool = False
    places: NDArray[np.float64] | None = None


def shown(layer: Layer, geometry: SliceGeometry) -> Bytes:
    """A layer on a slice: gray and alpha (rows, columns, 2) where there are no colours, else RGBA; alpha 0 outside."""
    linear = layer.linear and not layer.labels
    if layer.places is None:
        return colored(layer, sample(layer.volume, geometry, linear=linear))
    return colored(layer, at(layer.volume.array, *layer.places, linear=linear))


def colored(layer: Layer, sampled: Sampled) -> Bytes:
    """As ``shown``, of values sampled before."""
    values = sampled.values
    if layer.labels:
        picture = _of_labels(values[..., 0], layer.colors)
        if layer.outline:
            picture[~borders(values[..., 0], thick=max(values.shape) > THICK)] = 0
    elif layer.window is None or values.shape[2] >= 3:
        picture = _of_colors(values, layer.window)
    else:
        picture = _of_window(values[..., 0], layer.window, layer.colors)
    if sampled.inside is not None:
        picture[..., -1][~sampled.inside] = 0
    if layer.threshold is not None and not layer.labels:
        low, high = layer.threshold
        picture[..., -1][(values[..., 0] < low) | (values[..., 0] > high)] = 0
    return picture


def _of_window(values: NDArray[Any], window: Window, colors: Bytes | None) -> Bytes:
    """floor((v - low) * 255 / width), as vtkImageMapToWindowLevelColors has it; through a table where one is small."""
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 2:
        table = _steps_table(values.dtype.str, window)
        steps = table.take(values.view(f"u{values.dtype.itemsize}"), mode="clip")
    else:
        steps = _steps(values.astype(np.float64), window)
    if colors is None:
        picture = np.empty((*values.shape, 2), np.uint8)
        picture[..., 0] = steps
        picture[..., 1] = 255
        return picture
    spread = colors if len(colors) == len(GREY) else colors[np.arange(len(GREY)) * len(colors) // len(GREY)]
    return spread.take(steps, 0, mode="clip")


@lru_cache(maxsize=64)
def _steps_table(kind: str, window: Window) -> Bytes:
    """The step of every value of a type of at most 16 bits, by its bits."""
    dtype = np.dtype(kind)
    bits = np.arange(1 << (8 * dtype.itemsize), dtype=f"u{dtype.itemsize}")
    return _steps(bits.view(dtype).astype(np.float64), window)


def _steps(values: NDArray[np.float64], window: Window) -> Bytes:
    if window.width <= 0:
        return np.where(values < window.level, 0, 255).astype(np.uint8)
    steps = np.floor((np.nan_to_num(values) - window.low) * (255 / window.width))
    return np.clip(steps, 0, 255).astype(np.uint8)


def _of_labels(values: NDArray[Any], colors: Bytes | None) -> Bytes:
    table = np.zeros((1, 4), np.uint8) if colors is None or not len(colors) else colors
    numbers = values.astype(np.int64)
    numbers[(numbers < 0) | (numbers >= len(table))] = 0
    return table.take(numbers, 0)


def _of_colors(values: NDArray[Any], window: Window | None) -> Bytes:
    """Values that are colours, each channel windowed when there is a window."""
    channels = np.clip(values, 0, 255).astype(np.uint8) if window is None else _steps(values.astype(float), window)
    picture = np.full((*values.shape[:2], 4), 255, np.uint8)
    picture[..., :3] = channels[..., :3] if channels.shape[2] >= 3 else channels[..., :1]
    if channels.shape[2] == 4:
        picture[..., 3] = channels[..., 3]
    return picture


def blended(layers: Sequence[tuple[Bytes, float]], size: tuple[int, int]) -> Bytes:
    """Pictures (gray and alpha, or RGBA) with their opacities, the lowest first: gray and alpha, or RGBA.

    Every layer covers what is below it (vtkImageBlend, normal mode); the lowest stays as it is. ``size`` (width,
    height) counts where there are no layers.
    """
    if not layers:
        return np.zeros((size[1], size[0], 2), np.uint8)
    (first, opacity), *others = layers
    picture = first if not others else rgba(first)
    if opacity < 1:
        picture = picture.copy()
        picture[..., -1] = np.rint(picture[..., -1] * opacity)
    for layer, opacity in others:
        picture = over(picture, rgba(layer), opacity)
    return picture


def over(below: Bytes, above: Bytes, opacity: float = 1.0) -> Bytes:
    """RGBA on RGBA (not premultiplied): rows and columns where nothing is above stay untouched."""
    chosen = np.flatnonzero(above[..., 3])
    if not chosen.size or opacity <= 0:
        return below
    result = below.copy()
    flat = result.reshape(-1, 4)
    down, up = flat[chosen].astype(np.float32), above.reshape(-1, 4)[chosen].astype(np.float32)
    alpha = up[:, 3:] * np.float32(min(opacity, 1.0) / 255)
    under = down[:, 3:] * ((1 - alpha) / 255)
    total = alpha + under
    flat[chosen, :3] = np.rint((up[:, :3] * alpha + down[:, :3] * under) / np.maximum(total, 1e-6))
    flat[chosen, 3] = np.rint(total[:, 0] * 255)
    return result


def rgba(picture: Bytes) -> Bytes:
    """A picture of any kind as RGBA."""
    if picture.shape[2] == 4:
        return picture
    wide = np.empty((*picture.shape[:2], 4), np.uint8)
    wide[..., :3] = picture[..., :1]
    wide[..., 3] = picture[..., 1]
    return wide


def flattened(picture: Bytes, background: tuple[int, int, int] = (0, 0, 0)) -> Bytes:
    """Without alpha, on a background: gray (rows, columns, 1) where picture and background are, else RGB."""
    gray = picture.shape[2] == 2 and len(set(background)) == 1
    base = picture[..., :1] if gray else rgba(picture)[..., :3]
    alpha = picture[..., -1]
    if alpha.min(initial=255) == 255:
        return np.ascontiguousarray(base)
    ground = np.array(background[:1] if gray else background, np.float32)
    share = alpha[..., None].astype(np.float32) / 255
    return np.rint(base * share + ground * (1 - share)).astype(np.uint8)


def borders(numbers: NDArray[Any], *, thick: bool) -> NDArray[np.bool_]:
    """Pixels of a label (rows, columns; above 0) with a neighbour of another."""
    border = np.zeros(numbers.shape, np.bool_)
    for step in (1, 2) if thick else (1,):
        for axis in (0, 1):
            ahead, behind = [slice(None), slice(None)], [slice(None), slice(None)]
            ahead[axis], behind[axis] = slice(step, None), slice(None, -step)
            differs = numbers[tuple(ahead)] != numbers[tuple(behind)]
            border[tuple(ahead)] |= differs
            border[tuple(behind)] |= differs
    return border & (numbers > 0)
