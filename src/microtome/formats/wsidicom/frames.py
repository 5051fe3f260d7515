"""Frames as tiles: stored ones where a browser or the house's codecs read them, samples otherwise."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from microtome.errors import CorruptData, UnsupportedFormat
from microtome.formats.wsidicom.instances import Instance
from microtome.model import ColorSpace, EncodedTile, Raster
from microtome.pixels import codecs, jpeg

_JPEG = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"}
_JPEG_2000 = {"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"}
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_RGB = ("R", "G", "B")
Samples = NDArray[np.generic]


def is_stored_jpeg(instance: Instance) -> bool:
    """Whether frames are JPEG of 8 bit, so that they can be handed out as they are."""
    return instance.syntax in _JPEG and instance.stored == 8


def tile(instance: Instance, data: bytes, name: str) -> EncodedTile | Raster:
    """One frame; ``name`` is that of its channel when it has one sample. Raises CorruptData, UnsupportedFormat."""
    if is_stored_jpeg(instance):
        return EncodedTile(jpeg_tile(instance, data), "image/jpeg", instance.tile, _color(instance, data))
    if instance.syntax in _JPEG_2000:
        return EncodedTile(_codestream(data), "image/j2c", instance.tile, _color(instance, data))
    array = _samples(instance, data)
    return Raster(array, _RGB if array.shape[2] == 3 else (name,))


def samples(instance: Instance, data: bytes) -> Samples:
    """The samples of one frame, (height, width, 1 or 3), colour as RGB."""
    found = tile(instance, data, "")
    return codecs.decode(found).array if isinstance(found, EncodedTile) else found.array


def blank(instance: Instance, names: tuple[str, ...]) -> Raster:
    """A tile that is not stored: white in colour images, 0 in others."""
    dtype = np.uint8 if instance.allocated == 8 else np.uint16
    shape = (instance.tile.height, instance.tile.width, len(names))
    return Raster(np.full(shape, 255 if instance.samples == 3 else 0, dtype), names)


def jpeg_tile(instance: Instance, data: bytes) -> bytes:
    """A stored JPEG frame, complete, without the byte that pads it (PS3.5 A.4)."""
    return jpeg.complete(None, data, color=_color(instance, data))


def _color(instance: Instance, data: bytes) -> ColorSpace:
    """Photometric Interpretation (PS3.5 §8.2.1, §8.2.4).

    RGB in a JPEG stream that says by its own header that it is YCbCr is a wide-spread error of converters; the stream
    knows better. The component transformations of JPEG 2000 are undone by its decoder.
    """
    if instance.samples == 1:
        return "gray"
    if is_stored_jpeg(instance):
        header = jpeg.frame(data)
        if header.adobe_transform is not None:
            return "ycbcr" if header.adobe_transform else "rgb"
        return "ycbcr" if header.jfif or instance.photometric.startswith("YBR") else "rgb"
    return "ycbcr" if instance.photometric in {"YBR_FULL", "YBR_FULL_422"} else "rgb"


def _codestream(data: bytes) -> bytes:
    """A JPEG 2000 frame without its padding byte."""
    if not data.startswith(b"\xff\x4f"):
        raise CorruptData("A JPEG 2000 frame does not begin with a codestream")
    return data[:-1] if data.endswith(b"\xff\xd9\0") else data


def _samples(instance: Instance, data: bytes) -> Samples:
    """Uncompressed frames, and those of compressions the house has no codec for."""
    from pydicom.uid import UID

    width, height = instance.tile
    if not UID(instance.syntax).is_encapsulated:
        dtype = np.dtype(np.uint8 if instance.allocated == 8 else np.uint16)
        order = ">" if instance.syntax == _BIG_ENDIAN else "<"
        array = np.frombuffer(data, dtype.newbyteorder(order)).reshape(height, width, instance.samples)
        array = array.astype(dtype, copy=False)
        if instance.samples == 3 and instance.photometric == "YBR_FULL":
            return codecs.ycbcr_to_rgb(cast("NDArray[np.uint8]", array))
        return array
    array = _decoded(instance, data)
    if array.ndim == 2:
        array = array[:, :, np.newaxis]
    if array.shape != (height, width, instance.samples):
        raise CorruptData(
            f"A frame has the shape {array.shape} where {(height, width, instance.samples)} was announced"
        )
    return array


def _decoded(instance: Instance, data: bytes) -> Samples:
    from pydicom.uid import UID
    from wsidicom.codec import Codec  # pyright: ignore[reportMissingTypeStubs]
    from wsidicom.geometry import Size  # pyright: ignore[reportMissingTypeStubs]

    try:
        codec: Any = Codec.create(
            UID(instance.syntax), instance.samples, instance.stored, Size(*instance.tile), instance.photometric
        )
    except ValueError as error:
        raise UnsupportedFormat(
            f"Frames in {UID(instance.syntax).name} cannot be decoded", feature=f"transfer syntax {instance.syntax}"
        ) from error
    return cast("Samples", np.asarray(codec.decoder.decode(data)))
