"""Grey scale and palettes against pydicom's, and tables nobody should trust."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut

from microtome.dicom.dataset import Bulk, Dataset, Element
from microtome.dicom.image import image_facts
from microtome.dicom.lut import lut, no_reader, palette
from microtome.dicom.render import StoredFrame, pixels
from microtome.dicom.voi import Rescale, Window, grayscale
from microtome.errors import CorruptData, InvalidRequest
from tests.unit.dicom.images import Real, converted, dataset, element, image

EXPLICIT = "1.2.840.10008.1.2.1"
ARRAY = np.arange(-2048, 2048, dtype=np.int16).reshape(64, 64)


def _shades(array: NDArray[Any], *more: tuple[int, str, Any], photometric: str = "", stored: int = 16) -> NDArray[Any]:
    made = image(array, photometric, stored, *more)
    return grayscale(made, image_facts(made), no_reader).apply(array[:, :, np.newaxis], image_facts(made))[:, :, 0]


def _window(center: str, width: str, function: str = "", slope: str = "1", intercept: str = "0") -> list[Any]:
    return [
        (0x00281050, "DS", center), (0x00281051, "DS", width), (0x00281052, "DS", intercept), (0x00281053, "DS", slope),
        *([(0x00281056, "CS", function)] if function else []),
    ]  # fmt: skip


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [("40", "400"), ("-100.5", "1"), ("0", "4096"), ("1000", "3.5")])
@pytest.mark.parametrize(("slope", "intercept"), [("1", "0"), ("2.5", "-1024"), ("-1", "7")])
def test_windows_are_pydicoms(function: str, center: str, width: str, slope: str, intercept: str) -> None:
    found = pydicom.Dataset()
    found.WindowCenter, found.WindowWidth, found.VOILUTFunction = center, width, function
    found.RescaleSlope, found.RescaleIntercept = slope, intercept
    found.BitsStored, found.PixelRepresentation, found.PhotometricInterpretation = 16, 1, "MONOCHROME2"
    values = apply_modality_lut(ARRAY, found)
    with np.errstate(over="ignore"):
        expected = apply_voi_lut(values, found)
    # Its output range is that of the stored bits behind the rescale, ends as it computes them; ours is 0 to 255.
    low, high = -32768 * float(slope) + float(intercept), 32767 * float(slope) + float(intercept)
    scaled = (expected - low) / (high - low) * 255
    shades = _shades(ARRAY, *_window(center, width, function, slope, intercept))
    np.testing.assert_allclose(shades, scaled, atol=0.51)


def test_a_window_of_its_own_frame() -> None:
    more = [*_window("0\\100", "10\\10"), (0x00280008, "IS", "2")]
    made = image(ARRAY, "", 16, *more)
    facts = image_facts(made)
    centers = [grayscale(made, facts, no_reader, n).voi for n in range(2)]
    assert [each.center for each in centers if isinstance(each, Window)] == [0, 100]


def test_functional_groups_go_first() -> None:
    def groups(center: str, slope: str) -> Dataset:
        return dataset(
            (0x00289132, "SQ", [dataset((0x00281050, "DS", center), (0x00281051, "DS", "10"))]),
            (0x00289145, "SQ", [dataset((0x00281052, "DS", "5"), (0x00281053, "DS", slope))]),
        )

    made = image(
        ARRAY, "", 16, *_window("999", "1"), (0x00280008, "IS", "2"),
        (0x52009229, "SQ", [groups("1", "2")]), (0x52009230, "SQ", [groups("3", "4"), dataset()]),
    )  # fmt: skip
    facts = image_facts(made)
    first, second = (grayscale(made, facts, no_reader, n) for n in range(2))
    assert (first.modality, first.voi) == (Rescale(4, 5), Window(3, 10))
    assert (second.modality, second.voi) == (Rescale(2, 5), Window(1, 10))


def test_without_a_window_everything_is_shown() -> None:
    shades = _shades(ARRAY)
    assert (shades[0, 0], shades[-1, -1]) == (0, 255)
    eight = np.array([[10, 20]], np.uint8)
    assert _shades(eight, stored=8).tolist() == [[10, 20]]
    assert _shades(eight, stored=8, photometric="MONOCHROME1").tolist() == [[245, 235]]
    bits = np.array([[0, 1]], np.uint8)
    assert _shades(bits, (0x00280100, "US", 1), stored=1).tolist() == [[0, 255]]
    assert _shades(np.full((2, 2), 7, np.uint16)).tolist() == [[0, 0], [0, 0]]


def test_padding_is_black_and_does_not_count() -> None:
    array = np.array([[-2000, 0, 50, 100]], np.int16)
    padded = (0x00280120, "SS", -2000)
    assert _shades(array, padded).tolist() == [[0, 0, 128, 255]]
    assert _shades(array, padded, photometric="MONOCHROME1").tolist() == [[0, 255, 128, 0]]
    assert _shades(array, (0x00280120, "US", 65536 - 2000), photometric="MONOCHROME2").tolist() == [[0, 0, 128, 255]]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e300])
def test_numbers_that_are_none(number: float) -> None:
    array = np.array([[number, -1.0, 1.0, 3.0]], np.float64)
    made = image(array)
    facts = image_facts(made, 0x7FE00009)
    shades = grayscale(made, facts, no_reader).apply(array[:, :, np.newaxis], facts)[0, :, 0]
    assert shades.dtype == np.uint8
    assert shades[1] <= shades[2] <= shades[3]
    with pytest.raises(CorruptData):
        _shades(ARRAY, (0x00281053, "DS", str(number)))


@pytest.mark.parametrize(("center", "width"), [(1, 0), (1, -5), (float("nan"), 1), (1, float("inf"))])
def test_windows_that_are_none(center: float, width: float) -> None:
    with pytest.raises(InvalidRequest):
        Window(center, width)
    # In a file they are passed over.
    assert _shades(ARRAY, *_window(str(center), str(width)))[-1, -1] == 255


# Look-up tables


def _table(entries: list[int], first: int, bits: int = 16, vr: str = "OW") -> Dataset:
    data = np.array(entries, "<u2").tobytes()
    descriptor = element(0x00283002, "US", [len(entries) & 0xFFFF, first & 0xFFFF, bits])
    return Dataset({0x00283002: descriptor, 0x00283006: Element(0x00283006, vr, data)})


def test_voi_and_modality_tables_are_pydicoms() -> None:
    array = np.arange(-5, 11, dtype=np.int16).reshape(4, 4)
    entries = [0, 900, 100, 4095, 2000, 7]
    shades = _shades(array, (0x00283010, "SQ", [_table(entries, -2)]))
    found = pydicom.Dataset()
    item = pydicom.Dataset()
    item.add_new(0x00283002, "SS", [6, -2, 16])
    item.add_new(0x00283006, "US", entries)
    found.VOILUTSequence = [item]
    np.testing.assert_allclose(shades, apply_voi_lut(array, found) / 65535 * 255, atol=0.51)
    modality = _shades(array, (0x00283000, "SQ", [_table(entries, -2)]), *_window("1000", "2000"))
    found.ModalityLUTSequence = [item]
    expected = np.clip((apply_modality_lut(array, found) - 999.5) / 1999 + 0.5, 0, 1) * 255
    np.testing.assert_allclose(modality, expected, atol=0.51)


def test_tables_of_65536_entries_and_of_bytes() -> None:
    whole = lut(_table(list(range(65536)), 0), no_reader, signed=False)
    assert whole.apply(np.array([-1.0, 0, 65535, 1e9])).tolist() == [0, 0, 65535, 65535]
    octets = Dataset(
        {0x00283002: element(0x00283002, "US", [4, 0, 8]), 0x00283006: Element(0x00283006, "OW", b"\1\2\3\4")}
    )
    assert lut(octets, no_reader, signed=False).apply(np.array([0.0, 3])).tolist() == [1, 4]


def test_large_tables_are_fetched() -> None:
    data = np.arange(65536, dtype="<u2").tobytes()
    item = Dataset({
        0x00283002: element(0x00283002, "US", [0, 0, 16]), 0x00283006: Element(0x00283006, "OW", Bulk(1000, len(data))),
    })  # fmt: skip
    asked: list[Bulk] = []

    def read(bulk: Bulk) -> bytes:
        asked.append(bulk)
        return data

    assert lut(item, read, signed=False).entries[-1] == 65535
    assert asked == [Bulk(1000, 131072)]


@pytest.mark.parametrize(
    "item",
    [
        Dataset(),
        Dataset({0x00283002: element(0x00283002, "US", [4, 0])}),
        Dataset({0x00283002: element(0x00283002, "US", [4, 0, 16])}),
        Dataset({0x00283002: element(0x00283002, "US", [0, 0, 16]), 0x00283006: Element(0x00283006, "OW", b"xx")}),
        Dataset({0x00283002: element(0x00283002, "US", [4, 0, 0]), 0x00283006: Element(0x00283006, "OW", b"x" * 8)}),
        Dataset({0x00283002: element(0x00283002, "US", [4, 0, 17]), 0x00283006: Element(0x00283006, "OW", b"x" * 8)}),
        Dataset({0x00283002: element(0x00283002, "US", [4, 0, 16]),
                 0x00283006: Element(0x00283006, "OW", Bulk(0, 1 << 40))}),
    ],
)  # fmt: skip
def test_broken_tables(item: Dataset) -> None:
    with pytest.raises(CorruptData):
        lut(item, no_reader, signed=False)


# Palettes


@pytest.mark.parametrize("file", ["TestPattern_Palette.dcm", "TestPattern_Palette_16.dcm", "no-pixel-spacing.dcm"])
def test_palettes_are_pydicoms(testdata: Path, file: str) -> None:
    real = Real(testdata / "dicom" / "ts" / "cornerstone" / file)
    raw, _ = real.expected(0)
    expected = apply_color_lut(raw[:, :, 0], real.found)
    shown = pixels(StoredFrame(real.encoded(0)[0], real.dataset, real.facts, real.syntax))
    np.testing.assert_array_equal(shown, expected >> 8 if expected.dtype == np.uint16 else expected)


def _palette(first: int, count: int, data: bytes, segmented: bool = False) -> Dataset:
    elements = {}
    for n in range(3):
        elements[0x00281101 + n] = element(0x00281101 + n, "US", [count & 0xFFFF, first & 0xFFFF, 16])
        tag = (0x00281221 if segmented else 0x00281201) + n
        elements[tag] = Element(tag, "OW", data)
    return Dataset(elements)


def test_numbers_of_colours_that_do_not_exist() -> None:
    """CVE-2026-5443, CVE-2026-5445: an index is never read from behind the table."""
    table = _palette(10, 2, np.array([0x0100, 0x0200], "<u2").tobytes())
    for dtype, samples in (("u1", [0, 9, 10, 11, 12, 255]), ("u2", [0, 9, 10, 11, 12, 65535])):
        array = np.array([samples], dtype)
        made = image(array, "PALETTE COLOR")
        shown = pixels(
            StoredFrame(array.tobytes(), Dataset({**made.elements, **table.elements}), image_facts(made), EXPLICIT)
        )
        assert shown[0, :, 0].tolist() == [1, 1, 1, 2, 2, 2]


def test_palettes_that_are_too_short() -> None:
    array = np.zeros((2, 2), np.uint8)
    made = image(array, "PALETTE COLOR")
    for table in (_palette(0, 256, b"ab"), _palette(0, 0, bytes(1000)), Dataset()):
        with pytest.raises(CorruptData):
            pixels(
                StoredFrame(array.tobytes(), Dataset({**made.elements, **table.elements}), image_facts(made), EXPLICIT)
            )


def test_segmented_palettes_are_pydicoms() -> None:
    words = np.array([0, 2, 0, 1000, 1, 6, 40000, 1, 6, 300, 0, 1, 65535], "<u2")
    found = pydicom.Dataset()
    count = 2 + 6 + 6 + 1
    for n in range(3):
        found.add_new(0x00281101 + n, "US", [count, 0, 16])
        found.add_new(0x00281221 + n, "OW", words.tobytes())
    found.set_original_encoding(is_implicit_vr=False, is_little_endian=True)
    array = np.arange(count, dtype=np.uint8).reshape(3, 5)
    expected = apply_color_lut(array, found)
    made = converted(found)
    table = palette(made, image_facts(image(array, "PALETTE COLOR")), no_reader)
    assert table is not None
    np.testing.assert_array_equal(table.apply(array[:, :, np.newaxis]), expected >> 8)


def test_segments_that_are_repeated() -> None:
    """§C.7.9.2.3: the offset counts bytes, whatever the width of an entry."""
    facts = image_facts(image(np.zeros((2, 2), "u1")))
    ramp = [0, 2, 0, 1 << 8, 1, 2, 3 << 8, 0, 1, 0]
    table = palette(
        _palette(0, 7, np.array([*ramp, 2, 1, 4 * 2, 0], "<u2").tobytes(), segmented=True), facts, no_reader
    )
    assert table is not None
    assert table.colors[:, 0].tolist() == [0, 1, 2, 3, 0, 1, 3]
    octets = bytes([0, 2, 0, 1, 1, 2, 3, 0, 1, 0, 2, 1, 4, 0, 0, 0])
    made = _palette(0, 7, octets, segmented=True)
    eight = Dataset(
        {tag: element(tag, "US", [7, 0, 8]) if tag < 0x00281200 else each for tag, each in made.elements.items()}
    )
    table = palette(eight, facts, no_reader)
    assert table is not None
    assert table.colors[:, 1].tolist() == [0, 1, 2, 3, 0, 2, 3]


@pytest.mark.parametrize(
    "words",
    [[2, 1, 0, 0], [2, 60000, 0, 0] * 50, [3, 1, 1], [1, 5], [0, 9, 1], [], [0, 0] * 1000, [2, 9, 65535, 65535]],
)
def test_segments_that_lead_nowhere(words: list[int]) -> None:
    table = _palette(0, 300, np.array(words, "<u2").tobytes(), segmented=True)
    facts = image_facts(image(np.zeros((2, 2), "u1")))
    with pytest.raises(CorruptData):
        palette(table, facts, no_reader)
