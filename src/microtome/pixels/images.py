"""Whole pictures as files, and what the kinds of answers of the WSI-Service interface are called."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Literal, cast

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from microtome.errors import InvalidRequest, LimitExceeded, NotAcceptable
from microtome.model import Size
from microtome.pixels import codecs, png, tiff

Samples = NDArray[np.generic]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of answer. ``passthrough``: no picture but the bytes as they are stored, which nothing is encoded to.

    ``largest_side`` in px is what encoders (of AVIF: decoders) take, None when there is no practical limit.
    """

    media_type: str
    extension: str
    aliases: tuple[str, ...] = ()
    passthrough: bool = False
    largest_side: int | None = None


_VECTOR_TILE = "application/vnd.mapbox-vector-tile"

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "jpeg": Kind("image/jpeg", "jpeg", ("jpg",), largest_side=65500),
        "png": Kind("image/png", "png"),
        "bmp": Kind("image/bmp", "bmp"),
        "gif": Kind("image/gif", "gif", largest_side=65535),
        "tiff": Kind("image/tiff", "tiff", ("tif",)),
        "webp": Kind("image/webp", "webp", largest_side=16382),
        "avif": Kind("image/avif", "avif", largest_side=32768),
        "raw": Kind("application/octet-stream", "raw", passthrough=True),
        "json": Kind("application/json", "json", passthrough=True),
        "geojson": Kind("application/geo+json", "geojson", ("geo+json",), passthrough=True),
        "mvt": Kind(_VECTOR_TILE, "mvt", ("mapbox-vector-tile",), passthrough=True),
        "pbf": Kind(_VECTOR_TILE, "pbf", passthrough=True),
    }
)
"""By name, in lower case as they are asked for."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {spelling: name for name, kind in KINDS.items() for spelling in (name, *kind.aliases)}
)
"""Every accepted spelling to its name."""

_AVIF_SPEED = 9
_COLOR = re.compile(r"#(?:([0-9a-fA-F]{6})|([0-9a-fA-F]{3}))")


def media_type(kind: str) -> str:
    """The IANA name of a kind. Raises NotAcceptable."""
    return _kind(kind).media_type


def available() -> tuple[str, ...]:
    """The names of the kinds pictures can be encoded to here."""
    return tuple(name for name, kind in KINDS.items() if not kind.passthrough and (name != "avif" or _has_avif()))


def encode(array: Samples, kind: str, quality: int = 90, *, profile: bytes | None = None) -> bytes:
    """A picture (height, width, channels) as a file of ``kind``, one of ``available()`` or an alias of it.

    One channel of uint8 is grey, three are RGB; PNG takes uint16 too, and TIFF any number of channels of any type.
    ``quality`` is 0 to 100, of which 0 is the same as 1 (JPEG, WebP, AVIF). ``profile`` is embedded in PNG; other kinds
    carry none, so their samples should be sRGB.

    JPEG is baseline with the standard tables (T.81 Annex K), 4:2:0. GIF has a palette of up to 256 colours. The layout
    of TIFF is that of ``tiff.encode``.

    Raises NotAcceptable for a kind nothing can be encoded to, and for channels or samples the kind cannot hold;
    LimitExceeded for a picture larger than the kind allows.
    """
    name, facts = ALIASES.get(kind, kind), _kind(kind)
    if facts.passthrough or (name == "avif" and not _has_avif()):
        raise NotAcceptable(f"Pictures cannot be encoded as {kind}", available=_available_types())
    _check(array, name, facts)
    quality = min(max(quality, 1), 100)
    if name == "tiff":
        return tiff.encode(array)
    if name == "png":
        return png.encode(cast("Bytes", array), profile)
    pixels = cast("Bytes", array)
    match name:
        case "bmp":
            return bytes(imagecodecs.bmp_encode(_rgb(pixels)))
        case "gif":
            return _gif(pixels)
        case "avif":
            return _avif(pixels, quality)
        case _:
            lossy = cast('Literal["image/jpeg", "image/webp"]', facts.media_type)
            return codecs.encode(pixels, lossy, quality)


def padding_color(text: str | None) -> tuple[int, int, int] | None:
    """Red, green and blue of ``#RRGGBB`` or ``#RGB``; None for anything else, which means the default colour."""
    found = _COLOR.fullmatch(text or "")
    if found is None:
        return None
    digits = found[1] or "".join(2 * digit for digit in found[2])
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)


def fit(size: Size, max_x: int, max_y: int) -> Size:
    """The largest size of the same proportions within ``max_x`` x ``max_y`` px, never larger than ``size``.

    The side that is not given by the limit is rounded to whichever neighbour keeps the proportions better; no side
    becomes 0. Raises InvalidRequest for a limit below 1.
    """
    if max_x < 1 or max_y < 1:
        raise InvalidRequest(f"No picture fits into {max_x} x {max_y} px: ask for 1 or more", parameter="size")
    width, height = size
    if width <= max_x and height <= max_y:
        return size
    wanted = Fraction(width, height)
    if max_x * height >= max_y * width:
        low = max_y * width // height
        return Size(_nearer(low, lambda side: abs(wanted - Fraction(side, max_y))), max_y)
    low = max_x * height // width
    return Size(max_x, _nearer(low, lambda side: abs(wanted - Fraction(max_x, side))))


def _nearer(low: int, distortion: Callable[[int], Fraction]) -> int:
    return min((low, low + 1), key=distortion) if low else 1


def _kind(name: str) -> Kind:
    found = KINDS.get(ALIASES.get(name, name))
    if found is None:
        raise NotAcceptable(f"Nothing can be answered as {name!r}", available=_available_types())
    return found


def _available_types() -> tuple[str, ...]:
    return tuple(KINDS[name].media_type for name in available())


def _has_avif() -> bool:
    return bool(imagecodecs.AVIF.available)


def _check(array: Samples, name: str, facts: Kind) -> None:
    height, width, channels = array.shape
    if not array.size:
        raise InvalidRequest(f"A picture of {width} x {height} px has no pixels", parameter="size")
    if name != "tiff":
        allowed = (np.uint8, np.uint16) if name == "png" else (np.uint8,)
        if channels not in {1, 3} or array.dtype.newbyteorder("=") not in allowed:
            raise NotAcceptable(
                f"{channels} channels of {array.dtype.name} cannot be written as {name}: choose 1 or 3 and 8 bits,"
                " or ask for tiff",
                available=("image/tiff",),
            )
    if facts.largest_side is not None and max(width, height) > facts.largest_side:
        raise LimitExceeded(
            f"A picture of {width} x {height} px is too large for {name}, whose sides end at {facts.largest_side} px:"
            " ask for png or tiff",
            limit=f"{name} side",
            value=max(width, height),
        )


def _rgb(array: Bytes) -> Bytes:
    return np.ascontiguousarray(array if array.shape[2] == 3 else np.repeat(array, 3, axis=2))


def _avif(array: Bytes, quality: int) -> bytes:
    return bytes(
        imagecodecs.avif_encode(_rgb(array), level=quality, speed=_AVIF_SPEED, pixelformat="420", numthreads=1)
    )


def _gif(array: Bytes) -> bytes:
    """The octree palette is 50 times cheaper than the median cut and about half a grey level worse."""
    if array.shape[2] == 1:
        image = Image.fromarray(np.ascontiguousarray(array[:, :, 0]))
    else:
        whole = Image.fromarray(np.ascontiguousarray(array))
        image = whole.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    stream = io.BytesIO()
    image.save(stream, "GIF")
    return stream.getvalue()
