"""An open slide of OpenSlide, with the library's habits: it blocks, opens paths, and fails for good once it failed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import Image

from microtome.errors import Conflict, CorruptData, MicrotomeError, UnsupportedFormat
from microtome.formats.threads import reason
from microtome.model import AssociatedImage, Channel, Level, Raster, Size, SlideInfo, TileIndex

TILE = 256
"""Tile side in px where the file's own tiles are too small, too large or none."""
SANE_TILE = range(64, 2049)
MAX_ASSOCIATED_PIXELS = 64_000_000
MAX_ASSOCIATED = 100
MAX_PROPERTIES = 2000
MAX_TEXT = 10_000
MAX_LEVELS = 64
MAX_TRIES = 16
"""So many files of a folder are tried before it is given up."""

_RGB = ("R", "G", "B")
_NAMES = {
    "aperio": "Aperio SVS",
    "dicom": "DICOM whole slide",
    "generic-tiff": "Generic tiled TIFF",
    "hamamatsu": "Hamamatsu",
    "leica": "Leica SCN",
    "mirax": "3DHISTECH MIRAX",
    "philips": "Philips TIFF",
    "sakura": "Sakura",
    "synthetic": "Synthetic",
    "trestle": "Trestle TIFF",
    "ventana": "Ventana",
    "zeiss": "Zeiss CZI",
}

T = TypeVar("T")


class OpenSlideSlide:
    """See ``formats.base.SyncSlide``. Tiles are RGB over the slide's background colour, cropped to their level."""

    at_once = 2

    def __init__(self, path: Path, cache: openslide.OpenSlideCache) -> None:
        self._path = path
        self._cache = cache
        self._version = _version(path)
        self._lock = threading.Lock()
        self._handle: openslide.OpenSlide | None = _opened(path, cache)
        self._check_version()
        self._info = _describe(self._handle, path)
        self._background = _background(self._info.properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR))

    def info(self) -> SlideInfo:
        """The facts."""
        return self._info

    def read_tile(self, index: TileIndex) -> Raster:
        """The pixels from the level-0 px left and above of the tile's corner on, as far as the level reaches.

        Raises CorruptData, Conflict.
        """
        level = self._info.levels[index.level]
        width, height = level.tile_size
        left, top = index.column * width, index.row * height
        size = min(width, level.size.width - left), min(height, level.size.height - top)
        # read_region takes level-0 px: https://openslide.org/api/openslide_8h.html
        corner = int(left * level.downsample), int(top * level.downsample)
        return self._flat(self._read(lambda handle: handle.read_region(corner, index.level, size)))

    def read_associated(self, name: str) -> Raster:
        """One of the pictures that ``info`` names. Raises CorruptData, Conflict."""
        return self._flat(self._read(lambda handle: handle.associated_images[name]))

    def close(self) -> None:
        """Close the file."""
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()

    def _read(self, call: Callable[[openslide.OpenSlide], T]) -> T:
        """``call`` with a handle that is in order.

        A handle fails for ever once it failed, and for all threads: what fails is tried again on a fresh one that
        nobody else has. A failed one closes when the last thread lets go of it.
        """
        handle = self._handle
        if handle is not None:
            try:
                return self._current(call(handle))
            except openslide.OpenSlideError:
                with self._lock:
                    if self._handle is handle:
                        self._handle = None
        self._check_version()
        handle = _opened(self._path, self._cache)
        try:
            result = self._current(call(handle))
        except openslide.OpenSlideError as error:
            self._check_version()
            raise _told(error, self._path) from error
        with self._lock:
            if self._handle is None:
                self._handle = handle
        return result

    def _current(self, result: T) -> T:
        self._check_version()
        return result

    def _check_version(self) -> None:
        """OpenSlide opens the path anew for every read, and would mix two versions of a file."""
        if _version(self._path) != self._version:
            raise Conflict("The slide was replaced; open it again")

    def _flat(self, image: Image.Image) -> Raster:
        return Raster(over(np.asarray(image), self._background), _RGB)


def open_one(paths: Sequence[Path], cache: openslide.OpenSlideCache) -> OpenSlideSlide:
    """The first of several files that opens. Raises what the first failed with."""
    failures: list[MicrotomeError] = []
    for path in paths[:MAX_TRIES]:
        try:
            return OpenSlideSlide(path, cache)
        except (UnsupportedFormat, CorruptData) as error:
            failures.append(error)
    # A file that is a slide and broken says more than one that is none.
    raise next((error for error in failures if isinstance(error, CorruptData)), failures[0])


def over(rgba: NDArray[np.uint8], background: tuple[int, int, int]) -> NDArray[np.uint8]:
    """(height, width, 4) with straight alpha over one colour: (height, width, 3)."""
    alpha = rgba[:, :, 3:].astype(np.uint16)
    if alpha.size and alpha.min() == 255:
        return np.ascontiguousarray(rgba[:, :, :3])
    below = np.array(background, np.uint16) * (255 - alpha)
    return ((rgba[:, :, :3] * alpha + below + 127) // 255).astype(np.uint8)


def _opened(path: Path, cache: openslide.OpenSlideCache) -> openslide.OpenSlide:
    try:
        handle = openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError as error:
        raise UnsupportedFormat("OpenSlide does not know the format of this file", feature="openslide") from error
    except openslide.OpenSlideError as error:
        raise _told(error, path) from error
    handle.set_cache(cache)
    return handle


def _told(error: openslide.OpenSlideError, path: Path) -> MicrotomeError:
    """In the words of the house, without the path. OpenSlide has one error for all that is wrong with a file."""
    text = str(error)
    for known in (f"{path.parent}{os.sep}", f"{path.parent.resolve()}{os.sep}"):
        text = text.replace(known, "")
    message = f"OpenSlide cannot read this slide: {reason(Exception(text))}"
    if "unsupported" in text.lower() or "not supported" in text.lower():
        return UnsupportedFormat(message, feature="openslide")
    return CorruptData(message)


def _version(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise Conflict("The slide is gone; open it again") from error
    return status.st_ino, status.st_size, status.st_mtime_ns


def _describe(handle: openslide.OpenSlide, path: Path) -> SlideInfo:
    try:
        sizes, downsamples = handle.level_dimensions, handle.level_downsamples
        properties = {name: text[:MAX_TEXT] for name, text in list(handle.properties.items())[:MAX_PROPERTIES]}
        associated = _associated(handle)
        profile: bytes | None = handle.read_region((0, 0), 0, (0, 0)).info.get("icc_profile")
    except openslide.OpenSlideError as error:
        raise _told(error, path) from error
    if not 0 < len(sizes) <= MAX_LEVELS or any(min(size) < 1 for size in sizes):
        raise CorruptData("OpenSlide reports levels that cannot be")
    vendor = properties.get(openslide.PROPERTY_NAME_VENDOR, "")
    tile_size = _tile_size(properties)
    mpp = [_positive(properties.get(name)) for name in (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)]
    return SlideInfo(
        format_name=_NAMES.get(vendor, vendor or "OpenSlide"),
        levels=tuple(
            Level(Size(*size), tile_size, downsample) for size, downsample in zip(sizes, downsamples, strict=True)
        ),
        channels=tuple(Channel(name) for name in _RGB),
        spacing_um=(mpp[0], mpp[1]) if mpp[0] and mpp[1] else None,
        magnification=_positive(properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER)),
        icc_profile=profile,
        associated=associated,
        vendor=vendor or None,
        properties=MappingProxyType(properties),
    )


def _associated(handle: openslide.OpenSlide) -> tuple[AssociatedImage, ...]:
    """The pictures beside the slide, without decoding them. What is too large to be shown is left out."""
    found: list[AssociatedImage] = []
    properties = handle.properties
    for name in handle.associated_images:
        sides = [_whole(properties.get(f"openslide.associated.{name}.{side}")) for side in ("width", "height")]
        if 0 < sides[0] * sides[1] <= MAX_ASSOCIATED_PIXELS:
            found.append(AssociatedImage(name, Size(*sides)))
    return tuple(found[:MAX_ASSOCIATED])


def _tile_size(properties: dict[str, str]) -> Size:
    """That of level 0, for all levels."""
    sides = [_whole(properties.get(f"openslide.level[0].tile-{side}")) for side in ("width", "height")]
    return Size(*sides) if all(side in SANE_TILE for side in sides) else Size(TILE, TILE)


def _background(text: str | None) -> tuple[int, int, int]:
    try:
        colour = bytes.fromhex((text or "").removeprefix("#"))
    except ValueError:
        colour = b""
    return (colour[0], colour[1], colour[2]) if len(colour) == 3 else (255, 255, 255)


def _positive(text: str | None) -> float | None:
    try:
        value = float((text or "").replace(",", "."))
    except ValueError:
        return None
    return value if 0 < value < 1e9 else None


def _whole(text: str | None) -> int:
    return int(text) if text and len(text) < 16 and text.isascii() and text.isdigit() else 0
