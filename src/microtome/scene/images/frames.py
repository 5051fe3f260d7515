"""The pixels of a DICOM file: decoded, rescaled (PS3.3 §C.11.1), in the smallest type that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import imagecodecs
import numpy as np
import numpy.typing as npt

from microtome.errors import CorruptData, UnsupportedFormat
from microtome.pixels.headers import image_size
from microtome.scene.images.image import unsupported

_JPEG = "1.2.840.10008.1.2.4."
_DECODERS = {
    **dict.fromkeys((_JPEG + "50", _JPEG + "51"), "jpeg8"),
    **dict.fromkeys((_JPEG + "57", _JPEG + "70"), "jpeg8"),
    **dict.fromkeys((_JPEG + "80", _JPEG + "81"), "jpegls"),
    **dict.fromkeys((_JPEG + "90", _JPEG + "91"), "jpeg2k"),
    **dict.fromkeys((_JPEG + "201", _JPEG + "202", _JPEG + "203"), "jpeg2k"),
}
_EOI = b"\xff\xd9"
_RLE = "1.2.840.10008.1.2.5"
_MEDIA = {"jpeg8": "image/jpeg", "jpeg2k": "image/j2c"}


def frames_of(path: Path, wanted: Sequence[int], most: int) -> list[npt.NDArray[Any]]:
    """Frames (rows, columns) or (rows, columns, 3), rescaled. ``most``: samples a frame may have.

    Raises CorruptData, UnsupportedFormat.
    """
    import pydicom

    try:
        dataset: Any = cast("Any", pydicom).dcmread(path)
        rows, columns = int(dataset.Rows), int(dataset.Columns)
        samples = int(dataset.get("SamplesPerPixel", 1))
        if samples not in {1, 3} or rows * columns * samples > most:
            raise unsupported(f"images of {columns} x {rows} px with {samples} samples")
        stored = _stored(dataset, wanted, (rows, columns))
        return [_rescaled(frame, dataset, number) for frame, number in zip(stored, wanted, strict=True)]
    except (UnsupportedFormat, CorruptData):
        raise
    except (ValueError, AttributeError, KeyError, TypeError, RuntimeError, EOFError, NotImplementedError) as error:
        raise CorruptData(f"An image of the series cannot be read: {str(error).splitlines()[0][:200]}") from error


def _stored(dataset: Any, wanted: Sequence[int], size: tuple[int, int]) -> list[npt.NDArray[Any]]:
    """Samples as stored, colours as RGB."""
    from pydicom.pixels.utils import get_expected_length

    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated or syntax == _RLE:
        if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
            raise CorruptData("The image has no pixels")
        if syntax != _RLE and "PixelData" in dataset and len(dataset.PixelData) < get_expected_length(dataset):
            raise CorruptData("The image has fewer pixels than its header tells")
        pixels = dataset.pixel_array
        single = int(dataset.get("NumberOfFrames") or 1) == 1
        frames = [pixels if single else pixels[number] for number in wanted]
        return [_rgb(frame, dataset) for frame in frames]
    decoder = _DECODERS.get(str(syntax))
    if decoder is None:
        raise unsupported(f"DICOM images of {syntax.name}")
    return [_decoded(data, decoder, dataset, size) for data in _compressed(dataset, wanted)]


def _compressed(dataset: Any, wanted: Sequence[int]) -> list[bytes]:
    from pydicom.encaps import generate_frames

    count = int(dataset.get("NumberOfFrames") or 1)
    frames = dict(enumerate(islice(generate_frames(dataset.PixelData, number_of_frames=count), max(wanted) + 1)))
    return [frames[number] for number in wanted]


def _decoded(data: bytes, decoder: str, dataset: Any, size: tuple[int, int]) -> npt.NDArray[Any]:
    told = image_size(data, _MEDIA.get(decoder, ""))
    if told is not None and (told.height, told.width) != size:
        raise CorruptData("A compressed image has another size than its header tells")
    if decoder == "jpegls" and int.from_bytes(data[data.find(b"\xff\xf7") + 5 :][:2], "big") != size[0]:
        raise CorruptData("A compressed image has another size than its header tells")
    if decoder == "jpegls" and not data[-16:].rstrip(b"\0").endswith(_EOI):
        data += _EOI  # behind a stream that breaks off the decoder would go on; it stops at a marker
    plain = decoder == "jpeg8" and dataset.PhotometricInterpretation == "RGB" and not _tells_color(data)
    more = {"colorspace": "RGB", "outcolorspace": "RGB"} if plain else {}
    frame: npt.NDArray[Any] = np.asarray(getattr(imagecodecs, f"{decoder}_decode")(data, **more))
    if frame.shape[:2] != size:
        raise CorruptData("A compressed image has another size than its header tells")
    if frame.ndim == 3 and frame.shape[2] == 1:
        frame = frame[..., 0]
    return _signed(frame, dataset)


def _tells_color(data: bytes) -> bool:
    """Whether a JPEG stream says itself what its components are."""
    return b"JFIF" in data[:1024] or b"Adobe" in data[:1024]


def _signed(frame: npt.NDArray[Any], dataset: Any) -> npt.NDArray[Any]:
    """Codestreams know no sign but that of JPEG 2000: it is the highest stored bit (PS3.5 §8.1.1)."""
    if not int(dataset.get("PixelRepresentation", 0)) or frame.dtype.kind != "u":
        return frame
    shift = frame.dtype.itemsize * 8 - int(dataset.BitsStored)
    return (frame << shift).view(f"i{frame.dtype.itemsize}") >> shift


def _rgb(frame: npt.NDArray[Any], dataset: Any) -> npt.NDArray[Any]:
    meaning = str(dataset.get("PhotometricInterpretation", ""))
    if meaning == "PALETTE COLOR" and frame.ndim == 2:
        from pydicom.pixels.processing import apply_color_lut

        colors = apply_color_lut(frame, dataset)[..., :3]
        return (colors >> 8).astype(np.uint8) if colors.dtype == np.uint16 else colors
    if frame.ndim == 3 and meaning.startswith("YBR_FULL"):
        from pydicom.pixels.processing import convert_color_space

        return convert_color_space(frame, "YBR_FULL", "RGB")
    return frame


def _rescaled(frame: npt.NDArray[Any], dataset: Any, number: int) -> npt.NDArray[Any]:
    slope, intercept = _line(dataset, number)
    if frame.ndim == 3 or (slope, intercept) == (1.0, 0.0):
        return frame
    if frame.dtype.kind in "iu" and slope.is_integer() and intercept.is_integer():
        low, high = sorted((int(frame.min()) * int(slope), int(frame.max()) * int(slope)))
        low, high = low + int(intercept), high + int(intercept)
        kind = next(
            (kind for kind in (np.int16, np.int32) if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max), None
        )
        if kind is not None:
            return (frame.astype(np.int64) * int(slope) + int(intercept)).astype(kind)
    return (frame * slope + intercept).astype(np.float32 if frame.dtype.itemsize <= 2 else np.float64)


def _line(dataset: Any, number: int) -> tuple[float, float]:
    places: list[Any] = [dataset]
    for name, index in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", number)):
        groups: Any = dataset.get(name) or []
        found: Any = groups[index].get("PixelValueTransformationSequence") if index < len(groups) else None
        if found:
            places.append(found[0])
    for place in reversed(places):
        if (slope := place.get("RescaleSlope")) is not None:
            return float(slope), float(place.get("RescaleIntercept") or 0.0)
    return 1.0, 0.0
