"""Facts of the Image Pixel module, and what hostile ones come to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from microtome.dicom.image import DOUBLE_PIXEL_DATA, FLOAT_PIXEL_DATA, NativeRange, image_facts
from microtome.errors import CorruptData, NotFound, UnsupportedFormat
from tests.unit.dicom.images import dataset, image


def gray(*more: tuple[int, str, Any]) -> Any:
    return image(np.zeros((5, 7), np.uint16), "", 12, *more)


def test_facts_of_an_image() -> None:
    facts = image_facts(gray((0x00280008, "IS", "12"), (0x00280103, "US", 1)))
    assert (facts.rows, facts.columns, facts.samples, facts.frames) == (5, 7, 1, 12)
    assert (facts.allocated, facts.stored, facts.dtype) == (16, 12, np.dtype("<i2"))
    assert facts.nbytes == 70
    assert facts.native_range(11) == NativeRange(770, 70, 0)
    for frame in (-1, 12):
        with pytest.raises(NotFound):
            facts.native_range(frame)


def test_what_is_left_out_has_defaults() -> None:
    facts = image_facts(dataset((0x00280010, "US", 2), (0x00280011, "US", 3), (0x00280100, "US", 8)))
    assert (facts.samples, facts.photometric, facts.stored, facts.frames, facts.signed) == (
        1,
        "MONOCHROME2",
        8,
        1,
        False,
    )


@pytest.mark.parametrize(("tag", "dtype"), [(FLOAT_PIXEL_DATA, "<f4"), (DOUBLE_PIXEL_DATA, "<f8")])
def test_numbers_with_a_fraction(tag: int, dtype: str) -> None:
    facts = image_facts(gray(), tag)
    assert facts.dtype == np.dtype(dtype)
    assert facts.native_range(0).length == 35 * np.dtype(dtype).itemsize


def test_single_bits_begin_within_a_byte() -> None:
    facts = image_facts(image(np.zeros((3, 3), np.uint8), "", 1, (0x00280100, "US", 1), (0x00280008, "IS", "4")))
    assert [facts.native_range(n) for n in range(4)] == [
        NativeRange(0, 2, 0),
        NativeRange(1, 2, 1),
        NativeRange(2, 2, 2),
        NativeRange(3, 2, 3),
    ]


def test_swapped_pairs_are_fetched_whole() -> None:
    facts = image_facts(image(np.zeros((1, 1, 3), np.uint8), "", 0, (0x00280008, "IS", "2")))
    assert facts.native_range(1) == NativeRange(3, 3, 0)
    assert facts.native_range(0, big_endian=True) == NativeRange(0, 4, 0)
    assert facts.native_range(1, big_endian=True) == NativeRange(2, 4, 8)


def test_chroma_for_two_pixels() -> None:
    facts = image_facts(image(np.zeros((2, 4, 3), np.uint8), "YBR_FULL_422"))
    assert (facts.native_range(0).length, facts.nbytes) == (16, 24)


def test_no_image() -> None:
    for without in (dataset(), dataset((0x00280010, "US", 4))):
        with pytest.raises(NotFound):
            image_facts(without)


@pytest.mark.parametrize(
    "element",
    [
        (0x00280010, "UL", 65536),  # CVE-2026-5442: dimensions in a longer VR
        (0x00280011, "UL", 0xFFFFFFFF),
        (0x00280010, "US", 0),
        (0x00280010, "SS", -1),
        (0x00280010, "FD", float("nan")),
        (0x00280008, "IS", "-3"),
        (0x00280008, "IS", "99999999999"),
        (0x00280101, "US", 17),
        (0x00280004, "CS", "RGB         \0MONOCHROME2"[:3]),
        (0x00280002, "US", 3),
    ],
)
def test_contradictions(element: tuple[int, str, Any]) -> None:
    if element[2] == "RGB":
        assert image_facts(gray(element)).photometric == "RGB"
        return
    with pytest.raises(CorruptData):
        image_facts(gray(element, *([(0x00280004, "CS", "MONOCHROME2")] if element[0] == 0x00280002 else [])))


@pytest.mark.parametrize(
    "element",
    [(0x00280100, "US", 12), (0x00280100, "US", 0), (0x00280002, "US", 2), (0x00280002, "US", 65535),
     (0x00280004, "CS", "YBR_PARTIAL_420")],
)  # fmt: skip
def test_what_is_not_read(element: tuple[int, str, Any]) -> None:
    with pytest.raises(UnsupportedFormat):
        image_facts(gray(element, *([(0x00280101, "US", 0)] if element[0] == 0x00280100 else [])))
