"""From a rectangle of a directory to the strips or tiles it lies on, the bytes to read, and the samples.

Everything a page claims is checked before bytes are read or memory is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microtome.errors import CorruptData, LimitExceeded, UnsupportedFormat
from microtome.formats.tifffile.source import TiffSource
from microtome.model import ColorSpace, Rectangle, Size
from microtome.pixels import headers

Samples = NDArray[np.generic]
MAX_TILE_BYTES = 512 << 20
"""Decoded bytes of all segments that are read for one tile."""
MAX_SEGMENTS = 4096
_SPARE = 1 << 16
_NONE, _JPEG = 1, 7
_BARE = {1, 5, 8, 32946, 32773, 34925, 50000}
_IMAGES = {7: "image/jpeg", 33004: "image/j2c", 33005: "image/j2c", 34712: "image/j2c", 50001: "image/webp"}
_YCBCR, _RGB = 6, 2
_SMALL, _LARGE = 64, 2048


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the data of a page: bytes ``[start, stop)`` of its file that become rows and columns of an image.

    ``segment`` is the number of the strip or tile; None when the bytes are bare rows. ``sample`` is the first sample
    they hold. ``start`` equals ``stop`` for a segment that was never written.
    """

    start: int
    stop: int
    segment: int | None
    sample: int
    left: int
    top: int
    size: Size


def check(page: Any) -> None:
    """Whether the page can be read at all. Raises UnsupportedFormat, CorruptData, LimitExceeded."""
    compression = int(page.compression)
    if compression not in _BARE and compression not in _IMAGES:
        raise UnsupportedFormat(
            f"The compression {compression} (tag 259) is not supported in this kind of TIFF",
            feature=f"compression {compression}",
        )
    if page.dtype is None or page.dtype.kind not in "biuf":
        raise UnsupportedFormat(
            f"Samples of {str(page.bitspersample)[:20]} bits in format {int(page.sampleformat)} are not supported",
            feature="sample format",
        )
    if page.imagedepth != 1 or page.tiledepth != 1:
        raise UnsupportedFormat("Volumes in one TIFF directory are not supported", feature="image depth")
    if page.photometric == _YCBCR and compression != _JPEG:
        raise UnsupportedFormat("YCbCr images are supported with JPEG compression only", feature="photometric")
    if not (0 < page.imagewidth < 1 << 31 and 0 < page.imagelength < 1 << 31 and 0 < page.samplesperpixel <= 1024):
        raise CorruptData(f"An image of the file has {page.imagewidth} x {page.imagelength} px")
    if page.is_tiled and not (0 < page.tilewidth < 1 << 20 and 0 < page.tilelength < 1 << 20):
        raise CorruptData(f"An image of the file has tiles of {page.tilewidth} x {page.tilelength} px")
    if not page.is_tiled and page.rowsperstrip < 1:
        raise CorruptData("The strips of an image have no rows")


def same_kind(page: Any, other: Any) -> bool:
    """Whether two pages can be parts of one image."""
    return (
        page.dtype == other.dtype
        and page.samplesperpixel == other.samplesperpixel
        and (page.imagewidth, page.imagelength) == (other.imagewidth, other.imagelength)
    )


def segment_size(page: Any) -> Size:
    """Of a tile, or a whole strip, in px."""
    return Size(page.tilewidth, page.tilelength) if page.is_tiled else Size(page.imagewidth, page.rowsperstrip)


def tile_size(page: Any) -> Size:
    """Tiles as stored where they are of a usual size; strips, and unusual ones, are cut anew."""
    if not page.is_tiled:
        side = 512 if max(page.imagewidth, page.imagelength) > 256 else 256
        return Size(side, side)
    return Size(*(-(-256 // s) * s if s < _SMALL else s if s <= _LARGE else 512 for s in segment_size(page)))


def is_color(page: Any) -> bool:
    """Whether the samples of a pixel are red, green, blue (and perhaps more, which is left out)."""
    return page.photometric in {_RGB, _YCBCR} and page.samplesperpixel in {3, 4}


def samples_shown(page: Any) -> int:
    """Samples of a pixel that are shown; alpha is not."""
    return 3 if is_color(page) else int(page.samplesperpixel)


def jpeg_color(page: Any) -> ColorSpace | None:
    """The colour space of JPEG segments that are complete images of a usual kind, None for all others."""
    if int(page.compression) != _JPEG or page.dtype != np.uint8 or not page.is_tiled:
        return None
    if page.samplesperpixel == 1 and page.photometric == 1:
        return "gray"
    if page.samplesperpixel == 3 and page.planarconfig == 1:
        return {_RGB: "rgb", _YCBCR: "ycbcr"}.get(int(page.photometric))  # type: ignore[return-value]
    return None


def parts(page: Any, area: Rectangle, shift: int = 0) -> list[Part]:
    """The pieces of the data that cover ``area``, which lies inside of the image.

    Raises LimitExceeded when they are too much for one tile, CorruptData when the directory does not tell them.
    """
    size = segment_size(page)
    across, down = -(-page.imagewidth // size.width), -(-page.imagelength // size.height)
    columns = range(area.left // size.width, -(-(area.left + area.width) // size.width))
    rows = range(area.top // size.height, -(-(area.top + area.height) // size.height))
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    shown = range(samples_shown(page)) if planes > 1 else range(1)
    count = len(columns) * len(rows) * len(shown)
    inner = page.samplesperpixel // planes
    needed = count * size.width * size.height * inner * page.dtype.itemsize
    if is_bare(page):
        needed = area.height * size.width * inner * len(shown) * page.dtype.itemsize
    if needed > MAX_TILE_BYTES or count > MAX_SEGMENTS:
        raise LimitExceeded(
            f"A tile of this image needs {count} strips or tiles of {size.width} x {size.height} px; at most"
            f" {MAX_TILE_BYTES >> 20} MB in {MAX_SEGMENTS} pieces are read at once. Convert it to a tiled pyramid",
            limit="decoded bytes",
            value=needed,
        )
    found: list[Part] = []
    for sample in shown:
        for row in rows:
            for column in columns:
                number = (sample * down + row) * across + column
                found.append(_part(page, number, Rectangle(column, row, *size), sample, area, shift))
    return list(_merged(found))


def decoded(page: Any, part: Part, data: bytes) -> Samples:
    """Samples (height, width, samples) of a piece, native byte order. Raises CorruptData, LimitExceeded."""
    inner = 1 if page.planarconfig == 2 else int(page.samplesperpixel)
    shape = (part.size.height, part.size.width, inner)
    if part.start == part.stop:
        return np.full(shape, page.nodata, page.dtype)
    if len(data) < part.stop - part.start:
        raise CorruptData("The data of a strip or tile lie behind the end of the file", offset=part.start)
    if part.segment is None:
        order = page.parent.byteorder
        return np.frombuffer(data, page.dtype.newbyteorder(order)).reshape(shape).astype(page.dtype)
    _check_stream(page, data)
    try:
        array, _, _ = page.decode(data, part.segment, jpegtables=page.jpegtables, _fullsize=True)
    except (RuntimeError, ValueError, TypeError, MemoryError, NotImplementedError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:150]
        raise CorruptData(f"A strip or tile cannot be decoded: {reason}", offset=part.start) from error
    return array[0, : shape[0]]


def is_bare(page: Any) -> bool:
    """Whether the rows of a strip are samples as they are, so that some of its rows can be read alone."""
    return (
        not page.is_tiled
        and int(page.compression) == _NONE
        and int(page.predictor) == 1
        and page.fillorder == 1
        and page.bitspersample == 8 * page.dtype.itemsize
    )


def _part(page: Any, number: int, place: Rectangle, sample: int, area: Rectangle, shift: int) -> Part:
    """``place`` is column and row of the segment, and its size in px."""
    if number >= len(page.dataoffsets) or number >= len(page.databytecounts):
        raise CorruptData(f"The directory does not tell where strip or tile {number} is")
    start, length = int(page.dataoffsets[number]) + shift, int(page.databytecounts[number])
    left, top = place.left * place.width, place.top * place.height
    height = place.height if page.is_tiled else min(place.height, page.imagelength - top)
    inner = 1 if page.planarconfig == 2 else int(page.samplesperpixel)
    row_bytes = place.width * inner * page.dtype.itemsize
    if length and is_bare(page):
        first = max(area.top - top, 0)
        last = min(area.top + area.height - top, height)
        if length < last * row_bytes:
            raise CorruptData(f"Strip {number} has {length} of the {height * row_bytes} bytes it must have")
        size = Size(place.width, last - first)
        return Part(start + first * row_bytes, start + last * row_bytes, None, sample, left, top + first, size)
    if length > 2 * row_bytes * place.height + _SPARE:
        raise CorruptData(f"Strip or tile {number} has {length} bytes, far more than it can hold")
    return Part(start, start + length, number, sample, left, top, Size(place.width, height))


def _merged(found: list[Part]) -> Iterator[Part]:
    """Bare rows of strips that follow each other in the file, as one piece."""
    last: Part | None = None
    for part in found:
        follows = (
            last is not None
            and last.segment is None
            and part.segment is None
            and (last.stop, last.sample, last.start < last.stop) == (part.start, part.sample, part.start < part.stop)
        )
        if last is not None and follows:
            size = Size(last.size.width, last.size.height + part.size.height)
            last = Part(last.start, part.stop, None, last.sample, last.left, last.top, size)
            continue
        if last is not None:
            yield last
        last = part
    if last is not None:
        yield last


def _check_stream(page: Any, data: bytes) -> None:
    """The size in a compressed image's own header, before its decoder takes memory for it."""
    media_type = _IMAGES.get(int(page.compression))
    if media_type is None:
        return
    size = headers.image_size(data, media_type)
    whole = segment_size(page)
    if size is None:
        raise CorruptData("A compressed tile of the file has no header")
    # One row of blocks more than the tile is what some writers do.
    if size.width > whole.width + 16 or size.height > whole.height + 16:
        raise CorruptData(f"A tile of {whole.width} x {whole.height} px holds one of {size.width} x {size.height} px")
    if headers.components(data, media_type) > max(4, page.samplesperpixel):
        raise CorruptData("A compressed tile of the file has more components than its image")


def plane_shift(source: TiffSource, page: Any, total: int, what: str) -> int:
    """Bytes from plane to plane where a single directory stands for all ``total``, 0 where every plane has its own.

    ``what`` the description is of, for the message. Raises CorruptData when the planes are not in the file.
    """
    if total == 1 or source.count(2) > 1:
        return 0
    plane = page.imagewidth * page.imagelength * page.samplesperpixel * page.dtype.itemsize
    if not is_bare(page) or int(page.dataoffsets[0]) + total * plane > source.size:
        raise CorruptData(f"The description of the {what} tells of {total} images; the file holds one")
    return plane
