"""Compressed blocks to samples. Blocking; sizes are checked before a decoder allocates them."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microtome.errors import CorruptData, LimitExceeded, UnsupportedFormat
from microtome.formats.czi.segments import Block
from microtome.pixels import codecs, jpeg
from microtome.pixels.codecs import MAX_PIXELS

Samples = NDArray[Any]
PIXEL_TYPES = {
    0: ("uint8", 1), 1: ("uint16", 1), 2: ("float32", 1), 3: ("uint8", 3), 4: ("uint16", 3), 8: ("float32", 3),
    9: ("uint8", 4), 12: ("uint32", 1),
}  # fmt: skip
"""Gray8, Gray16, Gray32Float, Bgr24, Bgr48, Bgr96Float, Bgra32, Gray32: dtype and samples stored."""
COMPRESSIONS = {0: "none", 1: "JPEG", 2: "LZW", 4: "JPEG XR", 5: "Zstandard", 6: "Zstandard"}
_WIDTH, _HEIGHT = 0xBC80, 0xBC81
_HIGH_LOW = 1


def layout(pixel_type: int) -> tuple[np.dtype[Any], int]:
    """The dtype of samples and how many of them a px has, alpha not counted. Raises UnsupportedFormat."""
    known = PIXEL_TYPES.get(pixel_type)
    if known is None:
        raise UnsupportedFormat(f"CZI pixels of type {pixel_type} are not read", feature=f"pixel type {pixel_type}")
    return np.dtype(known[0]), min(known[1], 3)


def decode(block: Block, data: bytes) -> Samples:
    """The samples (height, width, 1 or 3), colour as RGB. Raises CorruptData, UnsupportedFormat, LimitExceeded."""
    dtype, samples = layout(block.pixel_type)
    width, height = block.stored_width, block.stored_height
    if width * height > MAX_PIXELS:
        raise LimitExceeded(
            f"A block of {width} x {height} px is larger than {MAX_PIXELS} px", limit="max_pixels", value=width * height
        )
    try:
        match block.compression:
            case 0:
                array = _plain(data, block)
            case 1:
                array = _jpeg(data, block)
            case 4:
                array = _jpeg_xr(data, block)
            case 5:
                array = _plain(codecs.inflate("zstd", data, _nbytes(block)), block)
            case 6:
                array = _plain(_zstd1(data, block), block)
            case other:
                name = COMPRESSIONS.get(other, str(other))
                raise UnsupportedFormat(f"CZI blocks in {name} are not read", feature=f"compression {name}")
    except (RuntimeError, ValueError, TypeError, MemoryError, struct.error) as error:
        raise CorruptData(
            f"A block of a CZI file cannot be decompressed: {error}"[:300], offset=block.position
        ) from error
    if array.dtype != dtype or array.shape[2] < samples:
        raise CorruptData(
            f"A block holds {array.shape[2]} samples of {array.dtype} where {samples} of {dtype} were announced",
            offset=block.position,
        )
    return array[:, :, :samples]


def _nbytes(block: Block) -> int:
    name, samples = PIXEL_TYPES[block.pixel_type]
    return block.stored_width * block.stored_height * samples * np.dtype(name).itemsize


def _plain(data: bytes, block: Block) -> Samples:
    name, samples = PIXEL_TYPES[block.pixel_type]
    if len(data) < _nbytes(block):
        raise CorruptData("A block of a CZI file holds too few pixels", offset=block.position)
    array = np.frombuffer(data, np.dtype(name).newbyteorder("<"), _nbytes(block) // np.dtype(name).itemsize)
    array = array.reshape(block.stored_height, block.stored_width, samples)
    return array if samples == 1 else array[:, :, 2::-1]  # stored as blue, green, red (and alpha)


def _zstd1(data: bytes, block: Block) -> bytes:
    """Zstandard behind a header of tagged chunks; low and high bytes of 16-bit samples may stand apart."""
    if not data:
        raise CorruptData("A block of a CZI file is empty", offset=block.position)
    length, halves, at = data[0], False, 1
    if length & 0x80 or length > len(data):
        raise CorruptData("A block of a CZI file has a header that makes no sense", offset=block.position)
    while at + 1 < length:
        if data[at] == _HIGH_LOW:
            halves = bool(data[at + 1] & 1)
            at += 2
        else:
            raise UnsupportedFormat("CZI blocks with an unknown header are not read", feature="zstd1 header")
    plain = codecs.inflate("zstd", data[length:], _nbytes(block))
    if not halves:
        return plain
    if len(plain) != _nbytes(block) or len(plain) % 2:
        raise CorruptData("A block of a CZI file holds too few pixels", offset=block.position)
    return np.frombuffer(plain, np.uint8).reshape(2, -1).T.tobytes()


def _jpeg(data: bytes, block: Block) -> Samples:
    import imagecodecs

    _check_size(*jpeg.frame(data).size, block)
    return _fitted(imagecodecs.jpeg8_decode(data), block)


def _jpeg_xr(data: bytes, block: Block) -> Samples:
    import imagecodecs

    _check_size(*_jpeg_xr_size(data, block), block)
    return _fitted(imagecodecs.jpegxr_decode(data), block)


def _jpeg_xr_size(data: bytes, block: Block) -> tuple[int, int]:
    """Width and height out of the container (T.832 Annex A), a directory like that of TIFF."""
    if data[:3] != b"II\xbc":
        raise CorruptData("A block of a CZI file is no JPEG XR image", offset=block.position)
    at = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, at)[0]
    sizes: dict[int, int] = {}
    for n in range(min(count, 100)):
        tag, kind, _ = struct.unpack_from("<HHI", data, at + 2 + 12 * n)
        if tag in {_WIDTH, _HEIGHT}:
            sizes[tag] = struct.unpack_from({1: "<B", 3: "<H"}.get(kind, "<I"), data, at + 10 + 12 * n)[0]
    return sizes.get(_WIDTH, 0), sizes.get(_HEIGHT, 0)


def _check_size(width: int, height: int, block: Block) -> None:
    """Some writers round up; more than that is no honest block."""
    if not (0 < width <= block.stored_width + 64 and 0 < height <= block.stored_height + 64):
        raise CorruptData(
            f"A block says it is {width} x {height} px where the directory says"
            f" {block.stored_width} x {block.stored_height} px",
            offset=block.position,
        )


def _fitted(array: Samples, block: Block) -> Samples:
    """(height, width, samples) of the size of the directory: what is beyond is cut off, what is missing is 0."""
    array = array[:, :, np.newaxis] if array.ndim == 2 else array
    height, width = block.stored_height, block.stored_width
    array = array[:height, :width]
    if array.shape[:2] == (height, width):
        return array
    whole = np.zeros((height, width, array.shape[2]), array.dtype)
    whole[: array.shape[0], : array.shape[1]] = array
    return whole
