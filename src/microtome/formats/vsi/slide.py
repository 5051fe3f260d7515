"""One image of a VSI file, read by fastslide. Everything here blocks; see ``formats.threads``."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microtome.errors import UnsupportedFormat
from microtome.formats.threads import reason
from microtome.model import AssociatedImage, Channel, EncodedTile, Level, Raster, Size, SlideInfo, TileIndex
from microtome.pixels.codecs import MAX_PIXELS

TILE = 512
CACHE_BYTES = 64 << 20
_PICTURES = {"label": "label", "macro": "macro", "overview": "macro", "thumbnail": "thumbnail"}


class VsiSlide:
    """See ``formats.base.SyncSlide``."""

    at_once = 4

    def __init__(self, path: str) -> None:
        """Raises UnsupportedFormat."""
        import fastslide  # pyright: ignore[reportMissingTypeStubs]

        try:
            self._slide: Any = fastslide.FastSlide.from_file_path(path, cache=CACHE_BYTES)
        except (NotImplementedError, ValueError) as error:
            raise UnsupportedFormat(f"The VSI file is not read: {reason(error)}", feature="VSI") from error
        self._info = self._described()

    def info(self) -> SlideInfo:
        """See ``formats.base.SyncSlide``."""
        return self._info

    def _described(self) -> SlideInfo:
        slide = self._slide
        width, height = slide.dimensions
        levels: list[Level] = []
        for w, h in slide.level_dimensions:
            downsample = (width / w + height / h) / 2 if levels else 1.0
            levels.append(Level(Size(int(w), int(h)), Size(TILE, TILE), downsample))
        probe = self._region(len(levels) - 1, 0, 0, 1, 1, 0, 0)
        if probe.shape[2] == 3 and probe.dtype == np.uint8:
            channels = tuple(Channel(name) for name in ("R", "G", "B"))
        else:
            known = list(slide.channel_metadata) if slide.num_channels == probe.shape[2] else []
            channels = tuple(_channel(known, n) for n in range(probe.shape[2]))
        x, y = (float(each) for each in slide.mpp)
        magnification = float(slide.properties.get("objective_magnification") or 0)
        self._pictures = {
            _PICTURES[name.lower()]: name for name in map(str, slide.associated_images.keys())
            if name.lower() in _PICTURES
        }  # fmt: skip
        return SlideInfo(
            format_name="Olympus VSI",
            levels=tuple(levels),
            channels=channels,
            dtype=probe.dtype.name,
            spacing_um=(x, y) if x > 0 and y > 0 else None,
            magnification=magnification if magnification > 0 else None,
            focal_planes=max(1, int(slide.z_count)),
            time_points=max(1, int(slide.t_count)),
            associated=tuple(
                AssociatedImage(name, Size(*(int(n) for n in slide.associated_images.get_dimensions(own))))
                for name, own in sorted(self._pictures.items())
            ),
            vendor="olympus",
            properties=MappingProxyType(
                {"vsi.Images": str(slide.num_images), "vsi.Codec": str(slide.properties.get("olympus_vsi.codec", ""))}
            ),
        )

    def read_tile(self, index: TileIndex) -> EncodedTile | Raster:
        """Samples, cropped to the level."""
        level = self._info.levels[index.level]
        x, y = index.column * TILE, index.row * TILE
        width, height = min(TILE, level.size.width - x), min(TILE, level.size.height - y)
        samples = self._region(index.level, x, y, width, height, index.z, index.t)
        return Raster(samples, tuple(channel.name for channel in self._info.channels))

    def read_associated(self, name: str) -> EncodedTile | Raster:
        """Label, macro or thumbnail."""
        size = next(image.size for image in self._info.associated if image.name == name)
        if size.width * size.height > MAX_PIXELS:
            raise UnsupportedFormat("The picture beside the slide is too large to be shown", feature=name)
        samples = _samples(self._slide.associated_images[self._pictures[name]])
        names = ("gray",) if samples.shape[2] == 1 else ("R", "G", "B")
        return Raster(samples[:, :, : len(names)], names)

    def close(self) -> None:
        """Close the files."""
        self._slide.close()

    def _region(self, level: int, x: int, y: int, width: int, height: int, z: int, t: int) -> NDArray[Any]:
        return _samples(self._slide.read_region((x, y), level, (width, height), z=z, t=t))


def _samples(image: Any) -> NDArray[Any]:
    """(height, width, channels), a copy: the library's memory goes with its image."""
    array = np.asarray(image.numpy())
    if array.ndim == 2:
        array = array[:, :, np.newaxis]
    elif image.is_separate:
        array = array.transpose(1, 2, 0)
    return array.copy()


def _channel(known: list[Any], number: int) -> Channel:
    if number >= len(known):
        return Channel("gray" if number == 0 and not known else f"channel {number}")
    name, color = str(known[number].get("name") or f"channel {number}"), known[number].get("color")
    red, green, blue = (int(value) & 255 for value in (color or (0, 0, 0))[:3])
    return Channel(name, red << 16 | green << 8 | blue or None)
