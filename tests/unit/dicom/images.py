"""Real images as pydicom reads them, and data sets for those that are made here."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import generate_fragments, get_frame
from pydicom.pixels.decoders.base import get_decoder

from microtome.dicom import syntaxes
from microtome.dicom.dataset import Dataset, Element
from microtome.dicom.image import ImageFacts, image_facts

TAGS = {"PixelData": 0x7FE00010, "FloatPixelData": 0x7FE00008, "DoubleFloatPixelData": 0x7FE00009}


def element(tag: int, vr: str, value: Any) -> Element:
    """An element of numbers, text, bytes or items."""
    if vr in {"US", "SS", "UL", "SL", "FL", "FD"}:
        code = {"US": "<u2", "SS": "<i2", "UL": "<u4", "SL": "<i4", "FL": "<f4", "FD": "<f8"}[vr]
        return Element(tag, vr, np.atleast_1d(np.asarray(value)).astype(code).tobytes())
    if isinstance(value, str):
        return Element(tag, vr, value.encode())
    if isinstance(value, list):
        return Element(tag, vr, tuple(value))
    return Element(tag, vr, value)


def dataset(*elements: tuple[int, str, Any]) -> Dataset:
    """A data set of (tag, VR, value)."""
    return Dataset({tag: element(tag, vr, value) for tag, vr, value in sorted(elements, key=lambda each: each[0])})


def image(array: NDArray[Any], photometric: str = "", stored: int = 0, *more: tuple[int, str, Any]) -> Dataset:
    """The Image Pixel module of an array (rows, columns[, samples])."""
    samples = array.shape[2] if array.ndim == 3 else 1
    bits = 8 * array.dtype.itemsize
    given: dict[int, tuple[int, str, Any]] = {
        each[0]: each
        for each in (
            (0x00280002, "US", samples),
            (0x00280004, "CS", photometric or ("RGB" if samples == 3 else "MONOCHROME2")),
            (0x00280010, "US", array.shape[0]),
            (0x00280011, "US", array.shape[1]),
            (0x00280100, "US", bits),
            (0x00280101, "US", stored or bits),
            (0x00280103, "US", int(array.dtype.kind == "i")),
            *more,
        )
    }
    return dataset(*given.values())


def converted(found: pydicom.Dataset) -> Dataset:
    """The elements of a pydicom data set, values in little-endian bytes, pixel data left out."""
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_data_element

    elements: dict[int, Element] = {}
    for raw in found:
        tag = int(raw.tag)
        if tag in TAGS.values():
            continue
        if raw.VR == "SQ":
            elements[tag] = Element(tag, "SQ", tuple(converted(item) for item in raw.value))
            continue
        stream = DicomBytesIO()
        stream.is_little_endian, stream.is_implicit_VR = True, True
        if raw.VR in {"UN", "OB or OW"}:
            continue
        try:
            write_data_element(stream, raw, [])
        except Exception:  # noqa: BLE001 values pydicom cannot write are of no use here
            continue
        elements[tag] = Element(tag, raw.VR, stream.getvalue()[8:])
    return Dataset(dict(sorted(elements.items())))


class Real:
    """A file with an image, as pydicom reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found = pydicom.dcmread(path)
        self.keyword = next(name for name in TAGS if name in self.found)
        self.raw = self.found.get_item(self.keyword)
        self.syntax = self.found.file_meta.TransferSyntaxUID
        vr = self.found[self.keyword].VR
        self.value: bytes = self.found[self.keyword].value
        self.dataset = converted(self.found)
        self.facts: ImageFacts = image_facts(self.dataset, TAGS[self.keyword], vr)

    @property
    def native(self) -> bool:
        return not syntaxes.find(self.syntax).encapsulated

    @property
    def frames(self) -> int:
        return self.facts.frames

    def encoded(self, frame: int) -> tuple[bytes, int]:
        """What ``decode`` is given: the bytes of a frame, and the bit it begins at."""
        if self.native:
            at = self.facts.native_range(frame, big_endian=syntaxes.find(self.syntax).big_endian)
            return self.value[at.offset : at.offset + at.length], at.bit
        if self.frames == 1:
            fragments = list(generate_fragments(self.value))
            return b"".join(fragments[1:]), 0
        return get_frame(self.value, frame, number_of_frames=self.frames), 0

    def expected(self, frame: int) -> tuple[NDArray[Any], str]:
        """The samples pydicom reads (rows, columns, samples), and their photometric interpretation."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array, properties = get_decoder(self.syntax).as_array(self.found, index=frame, raw=True)
        return array.reshape(*array.shape[:2], -1), str(properties["photometric_interpretation"])


def real_images(folder: Path) -> Iterator[Path]:
    """Every file of a folder that pydicom finds an image in, without a long series of images that are all alike."""
    for path in sorted(each for each in folder.rglob("*") if each.is_file() and "slicer-cthead" not in each.parts):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = pydicom.dcmread(path, stop_before_pixels=False, defer_size=1 << 16)
                if any(name in found for name in TAGS) and "TransferSyntaxUID" in found.file_meta and "Rows" in found:
                    yield path
            except Exception:  # noqa: BLE001 files that are broken on purpose
                continue
