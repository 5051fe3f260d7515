"""An open picture: facts out of its header, pixels decoded once and cut into tiles."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, BinaryIO, cast

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, GifImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from microtome.errors import CorruptData, LimitExceeded, UnsupportedFormat
from microtome.formats.pillow.decoded import DecodedPictures, Pyramid, halved
from microtome.formats.threads import reason
from microtome.model import Channel, EncodedTile, Level, Raster, Size, SlideInfo, TileIndex
from microtome.pixels import headers, jpeg
from microtome.storage.file import as_file
from microtome.storage.pinned import PinnedObject

TILE = 256
WHOLE = 512
"""Pictures up to this side, in px, are one tile."""
COARSEST = 1024
"""Levels are made until both sides are at most so many px."""
MAX_SPACING_UM = 100.0
MAX_STORED_BYTES = 4 << 20
MAX_TEXTS = 100
MAX_TEXT = 10_000
_HEADER_BUFFER = 16 << 10
_BUFFER = 8 << 20
"""Read at a time, in bytes: little of what is kept as header, much of what is at a distance."""
_ORIENTATION = 0x0112

# Not Image.open: it looks at far more formats than these, and warns of sizes that have been checked here.
_OPENERS: dict[str, Callable[[BinaryIO], ImageFile.ImageFile]] = {
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}
_GRAY = frozenset({"1", "L", "LA"})


class PillowSlide:
    """See ``formats.base.SyncSlide``. Grey or RGB, transparency over white, turned as EXIF says."""

    at_once = 1

    def __init__(
        self,
        files: PinnedObject,
        loop: asyncio.AbstractEventLoop,
        kind: str | None,
        decoded: DecodedPictures,
        max_pixels: int,
    ) -> None:
        if kind is None:
            raise UnsupportedFormat("The file is no PNG, JPEG, BMP, WebP or GIF picture", feature="picture format")
        self._files = files
        self._loop = loop
        self._kind = kind
        self._decoded = decoded
        self._deep = kind == "PNG" and files.head[24:25] == b"\x10"
        if kind == "JPEG":
            _check_jpeg(files.head)
        elif kind == "WEBP":
            # Opening it allocates all of it.
            self._check_size(headers.image_size(files.head, "image/webp") or Size(0, 0), 4, max_pixels)
        with self._picture(_HEADER_BUFFER) as picture:
            # Pillow has no mode for 16-bit grey with transparency: the colour type (PNG §11.2.1) says what it is.
            self._gray = files.head[25:26] in {b"\0", b"\4"} if self._deep else picture.mode in _GRAY
            self._check_size(Size(*picture.size), self._sample_bytes(), max_pixels)
            self._orientation = _orientation(picture)
            self._info = self._described(picture)
            self._stored = self._may_be_stored(picture)

    def info(self) -> SlideInfo:
        """The facts."""
        return self._info

    def read_tile(self, index: TileIndex) -> EncodedTile | Raster:
        """A tile, cropped to its level; the file itself when it is a plain JPEG of one tile."""
        if self._stored:
            stored = self._stored_jpeg()
            if stored is not None:
                return stored
            self._stored = False
        level = self._info.levels[index.level]
        pixels = self._decoded.get(self, self._decode)[index.level]
        left, top = index.column * level.tile_size.width, index.row * level.tile_size.height
        part = pixels[top : top + level.tile_size.height, left : left + level.tile_size.width]
        return Raster(np.ascontiguousarray(part), tuple(channel.name for channel in self._info.channels))

    def read_associated(self, name: str) -> EncodedTile | Raster:
        """There are none."""
        raise CorruptData(f"The picture has no {name}")

    def close(self) -> None:
        """Forget the pixels."""
        self._decoded.forget(self)

    @contextmanager
    def _picture(self, buffer: int) -> Generator[ImageFile.ImageFile]:
        with as_file(self._files, self._loop, buffer=max(1, min(buffer, self._files.size))) as file:
            try:
                with _OPENERS[self._kind](file) as picture:
                    yield picture
            except (SyntaxError, EOFError) as error:  # Pillow's way to say that it is none
                raise CorruptData(f"The {self._kind} picture is broken: {reason(error)}") from error

    def _sample_bytes(self) -> int:
        return (2 if self._deep else 1) * 4

    def _check_size(self, size: Size, pixel_bytes: int, max_pixels: int) -> None:
        pixels = size.width * size.height
        if min(size) < 1:
            raise CorruptData("The picture has no size")
        if pixels * pixel_bytes > max_pixels * 4:
            raise LimitExceeded(
                f"A picture of {size.width} x {size.height} px is larger than the {max_pixels * 4 // pixel_bytes} px"
                " this server decodes; store it as a tiled TIFF",
                limit="picture pixels",
                value=pixels,
            )

    def _described(self, picture: ImageFile.ImageFile) -> SlideInfo:
        size, spacing = Size(*picture.size), _spacing(self._kind, picture.info)
        if self._orientation >= 5:
            size = Size(size.height, size.width)
            spacing = (spacing[1], spacing[0]) if spacing else None
        profile = picture.info.get("icc_profile")
        space = b"GRAY" if self._gray else b"RGB "
        # Pixels are converted to grey or RGB; a profile of another space says nothing of them (ICC.1 §7.2.6).
        fits = isinstance(profile, bytes) and profile[16:20] == space and picture.mode != "CMYK"
        texts = {f"pil.{name}": text[:MAX_TEXT] for name, text in picture.info.items() if isinstance(text, str)}
        return SlideInfo(
            format_name=f"{self._kind} picture",
            levels=levels(size),
            channels=tuple(Channel(name) for name in (("gray",) if self._gray else ("R", "G", "B"))),
            dtype="uint16" if self._deep else "uint8",
            spacing_um=spacing,
            icc_profile=profile if fits else None,
            properties=MappingProxyType({"pil.mode": picture.mode} | dict(list(texts.items())[:MAX_TEXTS])),
        )

    def _may_be_stored(self, picture: ImageFile.ImageFile) -> bool:
        return (
            self._kind == "JPEG"
            and self._orientation == 1
            and picture.mode in {"L", "RGB"}
            and not picture.info.get("progressive")
            and "icc_profile" not in picture.info  # what goes out is sRGB or says nothing
            and max(picture.size) <= WHOLE
            and self._files.size <= MAX_STORED_BYTES
        )

    def _stored_jpeg(self) -> EncodedTile | None:
        data = self._all()
        frame = jpeg.frame(data)
        if frame.size != self._info.size or frame.precision != 8:
            return None
        if frame.components == 1:
            return EncodedTile(jpeg.complete(None, data, color="gray"), "image/jpeg", frame.size, "gray")
        if frame.components == 3 and (frame.jfif or frame.adobe_transform == 1):
            return EncodedTile(jpeg.complete(None, data, color="ycbcr"), "image/jpeg", frame.size, "ycbcr")
        return None

    def _all(self) -> bytes:
        with as_file(self._files, self._loop, buffer=_BUFFER) as file:
            return file.read()

    def _decode(self) -> Pyramid:
        if self._deep:
            array = _deep(self._all(), gray=self._gray)
        else:
            with self._picture(_BUFFER) as picture:
                array = _eight_bits(picture, gray=self._gray)
        array = turned(array, self._orientation)
        if (array.shape[1], array.shape[0]) != self._info.size or array.shape[2] != len(self._info.channels):
            raise CorruptData("The pixels of the picture are not what its header says")
        made = [array]
        while len(made) < len(self._info.levels):
            made.append(halved(made[-1]))
        return tuple(made)


def levels(size: Size) -> tuple[Level, ...]:
    """Sizes halved, rounded up, until they are small. A small picture is one tile."""
    tile = Size(TILE, TILE) if max(size) > WHOLE else size
    found = [Level(size, tile, 1.0)]
    while max(found[-1].size) > COARSEST:
        last = found[-1].size
        half = Size(-(-last.width // 2), -(-last.height // 2))
        found.append(Level(half, tile, (size.width / half.width + size.height / half.height) / 2))
    return tuple(found)


def turned(array: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    """As the eye is to see it (Exif 2.32, Orientation 1 to 8)."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in {3, 4, 7, 8}:
        array = array[::-1]
    if orientation in {2, 3, 6, 7}:
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


def _check_jpeg(head: bytes) -> None:
    try:
        frame = jpeg.frame(head)
    except CorruptData:
        return  # or a long header: Pillow will tell
    if frame.precision != 8 or frame.components not in {1, 3, 4}:
        found = f"{frame.precision} bit and {frame.components} components"
        raise UnsupportedFormat(f"JPEG pictures of {found} are not read", feature=f"JPEG of {found}")


def _orientation(picture: ImageFile.ImageFile) -> int:
    # Pillow decodes all of a PNG to find EXIF data behind the pixels; it is taken from before them only.
    if isinstance(picture, PngImagePlugin.PngImageFile) and "exif" not in picture.info:
        return 1
    try:
        value: Any = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - EXIF data are often broken, the picture is not
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _spacing(kind: str, info: dict[str | tuple[int, int], Any]) -> tuple[float, float] | None:
    """µm per px where the file counts px per metre or centimetre: dots per inch say how large to print it."""
    metric = kind in {"PNG", "BMP"} or (kind == "JPEG" and info.get("jfif_unit") == 2)
    dpi = info.get("dpi")
    if not metric or not isinstance(dpi, tuple):
        return None
    found = [25_400.0 / float(each) if each else 0.0 for each in cast("tuple[float, ...]", dpi)]
    sane = len(found) == 2 and all(0 < each < MAX_SPACING_UM for each in found)
    return (found[0], found[1]) if sane else None


def _eight_bits(picture: ImageFile.ImageFile, *, gray: bool) -> NDArray[np.uint8]:
    mode = "L" if gray else "RGB"
    flat: Image.Image
    if picture.has_transparency_data:
        clear = picture.convert("LA" if gray else "RGBA")
        flat = Image.new(mode, picture.size, "white")
        flat.paste(clear.convert(mode), mask=clear.getchannel("A"))
    else:
        flat = picture.convert(mode)
    array = np.asarray(flat)
    return array[:, :, np.newaxis] if gray else array


def _deep(data: bytes, *, gray: bool) -> NDArray[np.uint16]:
    """A PNG of 16 bit, which Pillow would cut to 8 in colour."""
    try:
        array = cast("NDArray[np.uint16]", imagecodecs.png_decode(data))
    except (RuntimeError, ValueError) as error:
        raise CorruptData("The PNG picture cannot be decoded") from error
    array = array if array.ndim == 3 else array[:, :, np.newaxis]
    colors = 1 if gray else 3
    if array.shape[2] == colors:
        return array
    out = np.empty((*array.shape[:2], colors), np.uint16)
    for top in range(0, array.shape[0], 256):
        band = array[top : top + 256].astype(np.uint32)
        alpha = band[:, :, -1:]
        # At most 65535 * 65535 + 32767, which 32 bit hold.
        out[top : top + 256] = (band[:, :, :colors] * alpha + 65535 * (65535 - alpha) + 32767) // 65535
    return out
