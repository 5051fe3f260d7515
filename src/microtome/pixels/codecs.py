"""Compressed bytes to samples and back. Every function releases the GIL in its C code and bounds what it allocates."""

from __future__ import annotations

import zlib
from typing import Literal, cast

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from microtome.errors import CorruptData, LimitExceeded, UnsupportedFormat
from microtome.model import EncodedTile, Raster, Size
from microtome.pixels import headers, jpeg
from microtome.pixels.options import OutputType

MAX_PIXELS = 64_000_000
"""Pixels of one compressed image, whatever its header says."""

_MORE = 1 << 20
Scheme = Literal["deflate", "lzw", "zstd", "packbits"]
Samples = NDArray[np.generic]


def decode(tile: EncodedTile, *, max_pixels: int = MAX_PIXELS) -> Raster:
    """The samples of a compressed tile; colour is RGB or grey afterwards, whatever it was.

    The size in the stream's own header is compared with ``max_pixels`` and with the size the tile claims before
    anything is allocated. Raises CorruptData, UnsupportedFormat, LimitExceeded.
    """
    _check_size(tile, max_pixels)
    try:
        match tile.media_type:
            case "image/jpeg":
                array = imagecodecs.jpeg8_decode(tile.data)
            case "image/j2c" | "image/jp2":
                array = _decode_jpeg2000(tile)
            case "image/webp":
                array = imagecodecs.webp_decode(tile.data, hasalpha=False)
            case "image/png":
                array = imagecodecs.png_decode(tile.data)
            case other:
                raise UnsupportedFormat(f"Tiles of type {other} cannot be decoded", feature=other)
    except (RuntimeError, ValueError, TypeError, MemoryError) as error:
        raise CorruptData(f"The {tile.media_type} data of a tile cannot be decoded: {_reason(error)}") from error
    return raster(cast("Samples", array))


def raster(array: Samples) -> Raster:
    """An array (height, width) or (height, width, channels) as a Raster; alpha is dropped."""
    if array.ndim == 2:
        array = array[:, :, np.newaxis]
    count = int(array.shape[2])
    if count == 2:
        array, count = array[:, :, :1], 1
    elif count == 4:
        array, count = array[:, :, :3], 3
    names = ("gray",) if count == 1 else ("R", "G", "B") if count == 3 else tuple(str(n) for n in range(count))
    return Raster(array, names)


def _check_size(tile: EncodedTile, max_pixels: int) -> None:
    size = headers.image_size(tile.data, tile.media_type)
    if size is None:
        raise CorruptData(f"The {tile.media_type} data of a tile has no readable header")
    count = headers.components(tile.data, tile.media_type)
    if size.width * size.height * max(1, count / 4) > max_pixels:
        raise LimitExceeded(
            f"A tile of {size.width} x {size.height} px is larger than {max_pixels} px", limit="max_pixels",
            value=size.width * size.height,
        )  # fmt: skip
    if size != tile.size:
        raise CorruptData(
            f"A tile says it is {size.width} x {size.height} px where the file says"
            f" {tile.size.width} x {tile.size.height} px"
        )


def _decode_jpeg2000(tile: EncodedTile) -> Samples:
    array = cast("Samples", imagecodecs.jpeg2k_decode(tile.data))
    if tile.color == "ycbcr" and array.ndim == 3 and array.shape[2] == 3 and headers.has_plain_components(tile.data):
        return ycbcr_to_rgb(cast("NDArray[np.uint8]", array))
    return array


def ycbcr_to_rgb(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Full-range BT.601 (T.871 §7) of (height, width, 3) uint8."""
    y = array[..., 0].astype(np.float32)
    cb = array[..., 1].astype(np.float32) - 128
    cr = array[..., 2].astype(np.float32) - 128
    rgb = np.stack((y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb), axis=-1)
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)


def encode(array: NDArray[np.uint8], media_type: OutputType, quality: int) -> bytes:
    """Encode (height, width, 3) RGB or (height, width[, 1]) grey, uint8. ``quality`` is the IJG scale 1..100."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    array = np.ascontiguousarray(array)
    match media_type:
        case "image/jpeg":
            if array.ndim == 2:
                return bytes(imagecodecs.jpeg8_encode(array, level=quality))
            return bytes(imagecodecs.jpeg8_encode(array, level=quality, colorspace="RGB", subsampling="420"))
        case "image/png":
            return bytes(imagecodecs.png_encode(array, level=3))
        case "image/webp":
            rgb = array if array.ndim == 3 else np.repeat(array[:, :, np.newaxis], 3, axis=2)
            return bytes(imagecodecs.webp_encode(rgb, level=quality, method=0, lossless=False))


def encoded(array: NDArray[np.uint8], media_type: OutputType, quality: int) -> EncodedTile:
    """``encode``, with its facts."""
    gray = array.ndim == 2 or array.shape[2] == 1
    color = "gray" if gray else "ycbcr" if media_type == "image/jpeg" else "rgb"
    size = Size(int(array.shape[1]), int(array.shape[0]))
    return EncodedTile(encode(array, media_type, quality), media_type, size, color)


def inflate(scheme: Scheme, data: bytes, nbytes: int) -> bytes:
    """The first ``nbytes`` bytes of what a stream holds, fewer when it holds fewer.

    Some writers fill the last strip beyond the image; up to twice as much as asked, and a MB, is decompressed for
    that. Raises CorruptData.
    """
    if nbytes == 0:
        return b""
    try:
        if scheme == "deflate":
            return zlib.decompressobj().decompress(data, nbytes)  # stops at a length by itself
        if scheme == "lzw":
            return bytes(imagecodecs.lzw_decode(data, out=bytearray(nbytes)))
        decode = imagecodecs.zstd_decode if scheme == "zstd" else imagecodecs.packbits_decode
        try:
            return bytes(decode(data, out=bytearray(nbytes)))
        except (RuntimeError, ValueError):
            return bytes(decode(data, out=bytearray(2 * nbytes + _MORE)))[:nbytes]
    except (zlib.error, RuntimeError, ValueError, TypeError) as error:
        raise CorruptData(f"{scheme} data cannot be decompressed: {_reason(error)}") from error


def jpeg_frame(data: bytes) -> jpeg.JpegFrame:
    """The frame header of a JPEG tile."""
    return jpeg.frame(data)


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
