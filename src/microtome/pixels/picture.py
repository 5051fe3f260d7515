"""Pictures of slides with any number of channels: which of them, how bright, in which colours, as which file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microtome.errors import InvalidRequest
from microtome.model import ColorSpace, EncodedTile, Raster, Size
from microtome.pixels import channels, images
from microtome.pixels.color import IccTransform, Intent
from microtome.pixels.styles import AskedStyle

RGB = ("R", "G", "B")


@dataclass(frozen=True, slots=True)
class PictureOptions:
    """How a picture is to look; hashable, part of cache keys.

    ``kind`` is a name of ``images.KINDS`` that is made of pixels. ``channels`` are indices in the order asked, None for
    all. ``styles`` blends channels in colours instead. ``intent`` converts colour to sRGB; ``strict`` makes a missing
    profile an error. ``padding`` is painted outside of the slide; ``pad`` completes tiles at its edge with it.
    ``allow_stored``: a stored JPEG tile is as good as an encoded one.
    """

    kind: str = "jpeg"
    quality: int = 90
    channels: tuple[int, ...] | None = None
    styles: tuple[AskedStyle, ...] = ()
    intent: Intent | None = None
    strict: bool = False
    padding: tuple[int, int, int] = (255, 255, 255)
    pad: bool = False
    allow_stored: bool = True

    def changes_pixels(self, count: int) -> bool:
        """Whether a stored tile of ``count`` channels would have to be decoded."""
        every = self.channels is None or (count in {1, 3} and self.channels == tuple(range(count)))
        return not (self.kind == "jpeg" and self.allow_stored and every and self.intent is None and not self.styles)


def check_channels(asked: tuple[int, ...] | None, count: int) -> None:
    """Raise InvalidRequest(parameter="channels") for channels that do not exist or are named twice."""
    if asked is None:
        return
    beyond = next((index for index in asked if not 0 <= index < count), None)
    if beyond is not None:
        raise InvalidRequest(
            f"Selected image channel exceeds channel bounds (selected: {beyond} max: {count - 1})", parameter="channels"
        )
    if len(set(asked)) != len(asked):
        raise InvalidRequest("No duplicates allowed in channels", parameter="channels")


def picture(
    raster: Raster,
    options: PictureOptions,
    transform: IccTransform | None = None,
    styles: Sequence[channels.ChannelStyle] = (),
) -> EncodedTile:
    """Encode samples (height, width, channels) as asked; ``styles`` are those of the options, filled in.

    Raises InvalidRequest(parameter="channels").
    """
    if styles:
        return _encoded(channels.blend(raster.array, styles), options)
    check_channels(options.channels, len(raster.channels))
    if options.kind == "tiff":
        return _encoded(_planes(raster, options, transform), options)
    shown = _shown(raster, options)
    if transform is not None and shown.shape[2] == 3:
        shown = transform.apply(shown)
    return _encoded(shown, options)


def _planes(raster: Raster, options: PictureOptions, transform: IccTransform | None) -> NDArray[np.generic]:
    """All channels, or those asked in their order, at full depth."""
    array = raster.array
    if transform is not None and raster.channels == RGB and array.dtype == np.uint8:
        array = transform.apply(np.asarray(array, np.uint8))
    return array if options.channels is None else channels.select(array, options.channels)


def _shown(raster: Raster, options: PictureOptions) -> NDArray[np.uint8]:
    """(height, width, 1 or 3), 8 bits.

    Of a colour picture, channels that were not asked are black. Of others the first three asked are shown as red, green
    and blue; a single one is grey.
    """
    if raster.channels == RGB:
        shown = channels.to_eight_bits(raster.array)
        if options.channels is not None and set(options.channels) != {0, 1, 2}:
            shown = shown.copy()
            shown[:, :, [index for index in range(3) if index not in options.channels]] = 0
        return shown
    asked = options.channels or tuple(range(len(raster.channels)))
    shown = channels.to_eight_bits(channels.select(raster.array, asked[:3]))
    if shown.shape[2] == 2:
        return np.concatenate((shown, np.zeros_like(shown[:, :, :1])), axis=2)
    return shown


def _encoded(array: NDArray[np.generic], options: PictureOptions) -> EncodedTile:
    data = images.encode(array, options.kind, options.quality)
    gray = array.shape[2] == 1
    color: ColorSpace = "gray" if gray else "ycbcr" if options.kind == "jpeg" else "rgb"
    return EncodedTile(data, images.media_type(options.kind), Size(int(array.shape[1]), int(array.shape[0])), color)
