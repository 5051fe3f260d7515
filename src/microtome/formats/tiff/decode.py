"""Samples of one tile or strip out of its stored bytes: decompression, predictor, bit depth, photometric meaning.

Synchronous CPU work. Sizes are those of the directory; what is larger than MAX_DECODED_BYTES is refused before
anything is allocated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from microtome.errors import CorruptData, LimitExceeded, UnsupportedFormat
from microtome.formats.tiff import tags
from microtome.formats.tiff.directory import Directory
from microtome.formats.tiff.ifd import ByteOrder
from microtome.model import ColorSpace, EncodedTile, Raster, Size
from microtome.pixels import codecs, jpeg

MAX_DECODED_BYTES = 64 << 20
_SCHEMES: dict[int, codecs.Scheme] = {
    tags.LZW: "lzw", tags.ADOBE_DEFLATE: "deflate", tags.DEFLATE: "deflate", tags.PACKBITS: "packbits",
    tags.ZSTD: "zstd",
}  # fmt: skip
_ENCODED = {
    tags.JPEG: "image/jpeg", tags.APERIO_J2K_YCBCR: "image/j2c", tags.APERIO_J2K_RGB: "image/j2c",
    tags.JPEG2000: "image/j2c", tags.WEBP: "image/webp",
}  # fmt: skip
_KINDS = {1: "u", 2: "i", 3: "f"}
Samples = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Layout:
    """How the samples of an image are stored. ``planes``: 1, or one per sample for PlanarConfiguration 2."""

    order: ByteOrder
    compression: int
    photometric: int
    samples: int
    bits: int
    kind: str
    predictor: int
    planes: int
    subsampling: tuple[int, int]
    jpeg_tables: bytes | None
    palette: tuple[int, ...]
    media_type: str | None
    """IANA type of a segment that is a complete image (after merging tables), None for bare samples."""

    @property
    def color(self) -> ColorSpace:
        """What the components of a compressed segment mean."""
        if self.compression == tags.JPEG and (self.samples not in {1, 3} or self.bits != 8):
            return "other"
        if self.samples == 1 or self.photometric in {tags.WHITE_IS_ZERO, tags.BLACK_IS_ZERO}:
            return "gray"
        if self.compression == tags.APERIO_J2K_YCBCR:
            return "ycbcr"
        if self.photometric == tags.YCBCR and self.compression != tags.APERIO_J2K_RGB:
            return "ycbcr"
        return "rgb"

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the samples once unpacked, native byte order."""
        return np.dtype(f"{self.kind}{max(8, self.bits) // 8}")

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels that ``decode`` gives."""
        if self.photometric == tags.PALETTE or (self.photometric in {tags.RGB, tags.YCBCR} and self.samples >= 3):
            return ("R", "G", "B")
        if self.photometric == tags.CMYK:
            return ("R", "G", "B")
        return ("gray",) if self.samples == 1 else tuple(f"{n}" for n in range(self.samples))


def layout(directory: Directory) -> Layout:
    """The layout of an image. Raises UnsupportedFormat with the reason for what cannot be read."""
    compression = directory.number(tags.COMPRESSION, 1)
    name = tags.COMPRESSION_NAMES.get(compression, f"unknown ({compression})")
    if compression != tags.NONE and compression not in _SCHEMES and compression not in _ENCODED:
        raise UnsupportedFormat(
            f"The compression {name} is not supported (tag 259 is {compression})", feature=f"compression {compression}"
        )
    samples = directory.number(tags.SAMPLES_PER_PIXEL, 1)
    depths = directory.numbers(tags.BITS_PER_SAMPLE) or (1,)
    if not 0 < samples <= 1024 or any(bits != depths[0] for bits in depths):
        raise UnsupportedFormat(
            f"{samples} samples of {'/'.join(map(str, depths[:8]))} bits are not supported", feature="bits per sample"
        )
    sample_format = directory.number(tags.SAMPLE_FORMAT, 1)
    kind = _KINDS.get(sample_format, "u" if sample_format == 4 else "")
    photometric = directory.number(tags.PHOTOMETRIC, tags.RGB if samples >= 3 else tags.BLACK_IS_ZERO)
    _check(kind, depths[0], photometric, directory)
    if photometric == tags.CMYK and compression in _ENCODED:
        raise UnsupportedFormat(f"CMYK images with {name} compression are not supported", feature="CMYK")
    subsampling = directory.numbers(tags.YCBCR_SUBSAMPLING)[:2] or (2, 2)
    planar = directory.number(tags.PLANAR_CONFIGURATION, 1) == 2 and samples > 1
    media_type = None if planar else _ENCODED.get(compression)
    if planar and compression in _ENCODED and compression != tags.JPEG:
        raise UnsupportedFormat(f"{name} in separate planes is not supported", feature="planar configuration")
    return Layout(
        order=directory.order,
        compression=compression,
        photometric=photometric,
        samples=samples,
        bits=depths[0],
        kind=kind,
        predictor=directory.number(tags.PREDICTOR, 1),
        planes=samples if planar else 1,
        subsampling=(subsampling[0], subsampling[-1]) if compression not in _ENCODED else (1, 1),
        jpeg_tables=directory.data(tags.JPEG_TABLES),
        palette=directory.numbers(tags.COLOR_MAP),
        media_type=media_type,
    )


def _check(kind: str, bits: int, photometric: int, directory: Directory) -> None:
    if not kind or (kind == "f" and bits not in {16, 32, 64}) or (kind != "f" and bits not in {1, 2, 4, 8, 16, 32, 64}):
        raise UnsupportedFormat(
            f"Samples of {bits} bits in format {directory.number(tags.SAMPLE_FORMAT, 1)} are not supported",
            feature="sample format",
        )
    if photometric not in {0, 1, 2, 3, 5, 6}:
        name = tags.PHOTOMETRIC_NAMES.get(photometric, str(photometric))
        raise UnsupportedFormat(f"Images of kind {name} (tag 262) are not supported", feature="photometric")
    if photometric == tags.PALETTE and not (bits <= 16 and len(directory.numbers(tags.COLOR_MAP)) == 3 << bits):
        raise UnsupportedFormat("A palette image lacks its colour map (tag 320)", feature="palette")
    if photometric == tags.CMYK and (bits != 8 or directory.number(tags.SAMPLES_PER_PIXEL, 1) < 4):
        raise UnsupportedFormat("CMYK images are supported with 8 bits and four inks only", feature="CMYK")
    if directory.number(tags.FILL_ORDER, 1) == 2 and bits < 8:
        raise UnsupportedFormat("FillOrder 2 is not supported", feature="fill order")
    if directory.number(tags.PREDICTOR, 1) not in {1, 2, 3}:
        raise UnsupportedFormat("An unknown predictor (tag 317) is used", feature="predictor")


def decoded_bytes(layout: Layout, size: Size) -> int:
    """Bytes of a segment of ``size`` px once decoded, all its samples."""
    return size.width * size.height * layout.samples * max(1, layout.bits // 8)


def check_size(layout: Layout, size: Size) -> None:
    """Refuse segments that would hurt. Raises LimitExceeded."""
    if (needed := decoded_bytes(layout, size)) > MAX_DECODED_BYTES:
        raise LimitExceeded(
            f"A single tile or strip of this file has {size.width} x {size.height} px ({needed >> 20} MB decoded);"
            f" at most {MAX_DECODED_BYTES >> 20} MB are read at once. Convert it to a tiled pyramid",
            limit="decoded bytes",
            value=needed,
        )


def complete(layout: Layout, data: bytes, size: Size) -> EncodedTile:
    """A compressed segment as an image of its own."""
    media_type = layout.media_type or ""
    if media_type == "image/jpeg":
        data = jpeg.complete(layout.jpeg_tables, data, color=layout.color)
    elif media_type == "image/j2c" and data[4:8] == b"jP  ":
        media_type = "image/jp2"
    return EncodedTile(data, media_type, size, layout.color)


def decode(layout: Layout, segments: list[bytes], size: Size) -> Raster:
    """Samples (height, width, channels) of a segment, one entry of ``segments`` for each stored plane.

    RGB for every colour image; alpha and other extra samples are left out. Raises CorruptData, LimitExceeded.
    """
    check_size(layout, size)
    if layout.media_type is not None:
        return codecs.decode(complete(layout, segments[0], size))
    try:
        planes = [_plane(layout, data, size) for data in segments]
    except (RuntimeError, ValueError, TypeError) as error:
        raise CorruptData(f"A tile or strip cannot be decoded: {str(error)[:200]}") from error
    array = planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)
    return Raster(_meaning(layout, array), layout.channels)


def _plane(layout: Layout, data: bytes, size: Size) -> Samples:
    """(height, width, samples of the plane) in native byte order."""
    samples = 1 if layout.planes > 1 else layout.samples
    if layout.compression == tags.JPEG:
        tile = EncodedTile(jpeg.complete(layout.jpeg_tables, data, color="gray"), "image/jpeg", size, "gray")
        return codecs.decode(tile).array
    if layout.photometric == tags.YCBCR and layout.subsampling != (1, 1) and layout.planes == 1:
        return _subsampled(layout, data, size)
    row = -(-size.width * samples * layout.bits // 8)
    raw = _unpacked(layout, data, row * size.height)
    if layout.bits < 8:
        bits = np.unpackbits(np.frombuffer(raw, np.uint8).reshape(size.height, row), axis=1)
        bits = bits[:, : size.width * samples * layout.bits].reshape(size.height, size.width, samples, layout.bits)
        weights = (1 << np.arange(layout.bits - 1, -1, -1)).astype(np.uint8)
        return (bits * weights).sum(axis=3, dtype=np.uint8)
    dtype = layout.dtype
    if layout.predictor == 3 and layout.kind == "f":
        shape = (size.height, size.width, samples)
        array = np.frombuffer(raw, np.dtype(f">{layout.kind}{layout.bits // 8}")).reshape(shape)
        return np.asarray(imagecodecs.floatpred_decode(array, axis=-2, dist=1)).astype(dtype)
    array = np.frombuffer(raw, dtype.newbyteorder(layout.order)).reshape(size.height, size.width, samples)
    array = array.astype(dtype)
    if layout.predictor == 2:
        # Differences wrap around in the width of the sample (TIFF 6.0 §14); those of floats are of their bits.
        whole = array.view(np.dtype(f"u{array.dtype.itemsize}"))
        return np.cumsum(whole, axis=1, dtype=whole.dtype).view(dtype)
    return array


def _unpacked(layout: Layout, data: bytes, nbytes: int) -> bytes:
    scheme = _SCHEMES.get(layout.compression)
    raw = data[:nbytes] if scheme is None else codecs.inflate(scheme, data, nbytes)
    if len(raw) < nbytes:
        # A last strip may be cut short by careless writers; nothing is guessed beyond a missing tail.
        raise CorruptData(f"A tile or strip holds {len(raw)} of the {nbytes} bytes it must have")
    return raw


def _subsampled(layout: Layout, data: bytes, size: Size) -> Samples:
    """Uncompressed YCbCr data units: h*v luma samples, Cb, Cr (TIFF 6.0 §21)."""
    across, down = layout.subsampling
    if across not in {1, 2, 4} or down not in {1, 2, 4} or layout.bits != 8 or layout.samples != 3:
        raise CorruptData("YCbCrSubSampling makes no sense")
    columns, rows = -(-size.width // across), -(-size.height // down)
    unit = across * down + 2
    raw = np.frombuffer(_unpacked(layout, data, columns * rows * unit), np.uint8).reshape(rows, columns, unit)
    luma = raw[:, :, :-2].reshape(rows, columns, down, across).transpose(0, 2, 1, 3)
    luma = luma.reshape(rows * down, columns * across)
    cb, cr = (np.repeat(np.repeat(raw[:, :, -2 + n], down, axis=0), across, axis=1) for n in range(2))
    return np.stack((luma, cb, cr), axis=2)[: size.height, : size.width]


def _meaning(layout: Layout, array: Samples) -> Samples:
    """What the numbers mean, as grey, RGB, or as they are."""
    match layout.photometric:
        case tags.YCBCR if layout.samples >= 3:
            return codecs.ycbcr_to_rgb(cast("NDArray[np.uint8]", array[:, :, :3]))
        case tags.RGB if layout.samples >= 3:
            return array[:, :, :3]
        case tags.PALETTE:
            table = np.array(layout.palette, np.uint16).reshape(3, -1).T
            index = cast("NDArray[np.uint8]", array)[:, :, 0]
            return (table[index] >> 8).astype(np.uint8)
        case tags.CMYK:
            ink = 255 - array[:, :, :4].astype(np.uint16)
            return (ink[:, :, :3] * ink[:, :, 3:4] // 255).astype(np.uint8)
        case _:
            if layout.bits < 8:
                array = (array.astype(np.uint16) * 255 // ((1 << layout.bits) - 1)).astype(np.uint8)
            if layout.photometric == tags.WHITE_IS_ZERO and layout.kind == "u":
                whole = cast("NDArray[np.uint8]", array)
                return np.iinfo(whole.dtype).max - whole
            return array
