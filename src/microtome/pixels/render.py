"""From what a slide has to what a client asked for. The only place that looks inside ``EncodedTile | Raster``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from microtome.model import EncodedTile, Raster
from microtome.pixels import codecs
from microtome.pixels.channels import ChannelStyle, blend
from microtome.pixels.color import IccTransform
from microtome.pixels.options import RenderOptions


def is_untouched(tile: EncodedTile | Raster, options: RenderOptions) -> bool:
    """Whether the stored tile is already the answer."""
    return (
        isinstance(tile, EncodedTile)
        and options.allow_stored
        and options.intent is None
        and not options.styles
        and tile.media_type == options.media_type
        and tile.color != "other"
    )


def render(
    tile: EncodedTile | Raster,
    options: RenderOptions,
    transform: IccTransform | None = None,
    styles: Sequence[ChannelStyle] = (),
) -> EncodedTile:
    """The tile as asked: stored bytes where they will do, else decoded, drawn or converted to sRGB, encoded."""
    if isinstance(tile, EncodedTile) and not styles and is_untouched(tile, options):
        return tile
    raster = codecs.decode(tile) if isinstance(tile, EncodedTile) else tile
    pixels = blend(raster.array, styles) if styles else _eight_bits(raster)
    if not styles and transform is not None and pixels.shape[2] == 3:
        pixels = transform.apply(pixels)
    return codecs.encoded(pixels, options.media_type, options.quality)


def to_display(tile: EncodedTile | Raster, styles: Sequence[ChannelStyle] = ()) -> NDArray[np.uint8]:
    """Pixels (height, width, 3) for the eye, uint8 RGB."""
    raster = codecs.decode(tile) if isinstance(tile, EncodedTile) else tile
    if styles:
        return blend(raster.array, styles)
    pixels = _eight_bits(raster)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def _eight_bits(raster: Raster) -> NDArray[np.uint8]:
    """One or three channels of 8 bit.

    16-bit samples keep their high byte, wider ones are scaled from the range of their type, floats are taken from 0 to
    1. Of two channels, or of more than three, the first is shown; channel rendering is another request.
    """
    array = raster.array
    if array.shape[2] not in {1, 3}:
        array = array[:, :, :1]
    if array.dtype == np.uint8:
        return cast("NDArray[np.uint8]", array)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind == "f":
        finite = np.nan_to_num(array.astype(np.float32), nan=0.0, posinf=1.0, neginf=0.0)
        return (np.clip(finite, 0, 1) * 255 + 0.5).astype(np.uint8)
    bits = 8 * array.dtype.itemsize
    if array.dtype.kind == "i":
        return ((array.astype(np.int64) + (1 << (bits - 1))) >> (bits - 8)).astype(np.uint8)
    return (array.astype(np.uint64) >> np.uint64(bits - 8)).astype(np.uint8)
