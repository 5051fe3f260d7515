"""Whole slide instances as small as they may be: tiled full or sparse, planes, optical paths, concatenations."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
RAW = str(ExplicitVRLittleEndian)
JPEG = "1.2.840.10008.1.2.4.50"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
JPEG_LS = "1.2.840.10008.1.2.4.80"
RLE = "1.2.840.10008.1.2.5"
TILE = 16
Key = tuple[int, int, int, int]
"""Optical path, focal plane, row, column."""


def encoded(array: NDArray[Any], syntax: str) -> bytes:
    """A frame (height, width, 1 or 3) in a transfer syntax."""
    picture = np.ascontiguousarray(array if array.shape[2] == 3 else array[..., 0])
    match syntax:
        case "1.2.840.10008.1.2.4.50":
            return bytes(imagecodecs.jpeg8_encode(picture, level=95))
        case "1.2.840.10008.1.2.4.90":
            return bytes(imagecodecs.jpeg2k_encode(picture, level=0, codecformat="J2K", reversible=True))
        case "1.2.840.10008.1.2.4.80":
            return bytes(imagecodecs.jpegls_encode(picture))
        case _:
            return picture.tobytes()


def instance(
    frames: Mapping[Key, NDArray[Any]],
    *,
    size: tuple[int, int],
    sparse: bool = False,
    syntax: str = RAW,
    planes: Sequence[float] = (0.0,),
    paths: Sequence[str] = ("0",),
    part: tuple[int, list[Key]] | None = None,
    **changed: Any,
) -> bytes:
    """A file. ``size`` is (width, height), ``planes`` are µm; ``part`` is the frame offset and the frames of one of a
    concatenation."""
    first = next(iter(frames.values()))
    color = first.shape[2] == 3
    keys = part[1] if part else list(frames)
    data = Dataset()
    data.SOPClassUID = WHOLE_SLIDE
    data.SOPInstanceUID = f"1.2.3.{size[0]}.{part[0] if part else 0}"
    data.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    data.Modality = "SM"
    data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = "1.2.3.1", "1.2.3.2", "1.2.3.3"
    data.SamplesPerPixel = 3 if color else 1
    data.PhotometricInterpretation = "MONOCHROME2"
    if color:
        data.PhotometricInterpretation = {JPEG: "YBR_FULL_422", JPEG_2000: "YBR_RCT"}.get(syntax, "RGB")
        data.PlanarConfiguration = 0
    data.Rows = data.Columns = TILE
    bits = 8 * first.dtype.itemsize
    data.BitsAllocated = data.BitsStored = bits
    data.HighBit, data.PixelRepresentation = bits - 1, 0
    data.NumberOfFrames = len(keys)
    data.TotalPixelMatrixColumns, data.TotalPixelMatrixRows = size
    data.TotalPixelMatrixFocalPlanes = len(planes)
    data.NumberOfOpticalPaths = len(paths)
    data.ImagedVolumeWidth, data.ImagedVolumeHeight = size[0] * 0.0005, size[1] * 0.0005
    data.DimensionOrganizationType = "TILED_SPARSE" if sparse else "TILED_FULL"
    data.OpticalPathSequence = []
    for number, path in enumerate(paths):
        item = Dataset()
        item.OpticalPathIdentifier = path
        item.OpticalPathDescription = f"stain {number}"
        item.ObjectiveLensPower = 40.0
        data.OpticalPathSequence.append(item)
    measures, shared, origin = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.0004, 0.0005], 0.001
    if len(planes) > 1:
        measures.SpacingBetweenSlices = (planes[1] - planes[0]) / 1000
    shared.PixelMeasuresSequence = [measures]
    data.SharedFunctionalGroupsSequence = [shared]
    origin.XOffsetInSlideCoordinateSystem = origin.YOffsetInSlideCoordinateSystem = 0
    data.TotalPixelMatrixOriginSequence = [origin]
    if sparse:
        data.PerFrameFunctionalGroupsSequence = [_position(key, planes, paths) for key in keys]
    if part:
        data.SOPInstanceUIDOfConcatenationSource = "1.2.3.9"
        data.ConcatenationUID, data.ConcatenationFrameOffsetNumber = "1.2.3.9.1", part[0]
    stored = [encoded(frames[key], syntax) for key in keys]
    raw = syntax == RAW
    data.PixelData = b"".join(stored) if raw else encapsulate(stored, has_bot=True)
    data["PixelData"].VR = "OB" if not raw or bits == 8 else "OW"
    for name, value in changed.items():
        setattr(data, name, value)
    return written(data, syntax)


def written(data: Dataset, syntax: str = RAW) -> bytes:
    """A Part 10 file."""
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.file_meta.TransferSyntaxUID = UID(syntax)
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _position(key: Key, planes: Sequence[float], paths: Sequence[str]) -> Dataset:
    path, plane, row, column = key
    place, identification, item = Dataset(), Dataset(), Dataset()
    place.ColumnPositionInTotalImagePixelMatrix = column * TILE + 1
    place.RowPositionInTotalImagePixelMatrix = row * TILE + 1
    place.XOffsetInSlideCoordinateSystem = place.YOffsetInSlideCoordinateSystem = 0
    place.ZOffsetInSlideCoordinateSystem = planes[plane]
    identification.OpticalPathIdentifier = paths[path]
    item.PlanePositionSlideSequence = [place]
    item.OpticalPathIdentificationSequence = [identification]
    return item


def tiles(columns: int, rows: int, *, paths: int = 1, planes: int = 1, samples: int = 3, dtype: str = "uint8") -> Any:
    """Frames in the order of tiled full (PS3.3 C.7.6.17.3), each unlike all others, smooth enough for JPEG."""
    found: dict[Key, NDArray[Any]] = {}
    y, x = np.mgrid[0:TILE, 0:TILE]
    for path in range(paths):
        for plane in range(planes):
            for row in range(rows):
                for column in range(columns):
                    base = 20 + 60 * path + 25 * plane + 10 * row + 5 * column + (x + 2 * y) // 2
                    pixels = np.stack([base + 7 * n for n in range(samples)], axis=-1)
                    found[path, plane, row, column] = (pixels * (1 if dtype == "uint8" else 200)).astype(dtype)
    return found
