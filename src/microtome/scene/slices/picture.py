"""A slice as a picture: everything that needs no scene any more."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from microtome.errors import InvalidRequest
from microtome.pixels import images, png
from microtome.scene.calls.base import Picture
from microtome.scene.slices.display import Bytes, Layer, blended, flattened, rgba, shown
from microtome.scene.slices.drawing import drawn
from microtome.scene.slices.geometry import SliceGeometry
from microtome.scene.slices.overlay import Overlay

FORMATS = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
MAX_SIDE = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """All that a picture of a slice is made of. ``version`` names the state of what it shows."""

    geometry: SliceGeometry
    layers: tuple[Layer, ...]
    overlay: Overlay
    version: str = ""


def rendered(of: Slice) -> Bytes:
    """Gray and alpha, or RGBA (rows, columns, channels): transparent outside of the volumes."""
    picture = blended([(shown(layer, of.geometry), layer.opacity) for layer in of.layers], of.geometry.size)
    if of.overlay.empty:
        return picture
    return drawn(rgba(picture), of.geometry, of.overlay)


def encoded(array: Bytes, image_format: str = "png", quality: int = 85) -> tuple[bytes, str]:
    """A picture as a file, and its media type; without transparency where the format has none."""
    if image_format == "png":
        opaque = array.shape[2] == 2 and array[..., 1].min(initial=255) == 255
        return png.encode(np.ascontiguousarray(array[..., :1] if opaque else array)), FORMATS["png"]
    return images.encode(flattened(array), check_format(image_format), quality), FORMATS[image_format]


def check_format(name: str) -> str:
    """The name if it is one. Raises InvalidRequest."""
    if name not in FORMATS:
        raise InvalidRequest(f"A picture can be {', '.join(FORMATS)}, not {name[:20]}", parameter="format")
    return name


def check_size(width: int, height: int) -> tuple[int, int]:
    """Width and height in px if they can be. Raises InvalidRequest."""
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise InvalidRequest(f"A picture is 1 to {MAX_SIDE} px wide and high", parameter="size")
    return width, height


def pictured(of: Slice, image_format: str = "png", quality: int = 85) -> Picture:
    """A slice as an encoded picture; its version is made of what is shown and how."""
    data, media_type = encoded(rendered(of), image_format, quality)
    width, height = of.geometry.size
    return Picture(data, media_type, width, height, version_of(of, image_format, quality))


def version_of(of: Slice, image_format: str, quality: int) -> str:
    """The same for the same picture, other for another."""
    digest = hashlib.blake2b(digest_size=12)
    geometry = of.geometry
    digest.update(geometry.xy_to_ras.tobytes())
    digest.update(repr((geometry.size, image_format, quality if image_format != "png" else 0, of.version)).encode())
    return digest.hexdigest()
