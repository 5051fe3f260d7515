"""Files we write against pydicom and our own scanner."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import pytest

from microtome.dicom import syntaxes
from microtome.dicom.dataset import Bulk, Dataset, Element
from microtome.dicom.json import from_json, to_json
from microtome.dicom.part10 import Memory, opened, read_value, scan
from microtome.dicom.write import part10, pixel_data_header, preamble
from microtome.errors import InvalidRequest, LimitExceeded
from tests.unit.dicom.corpus import dicom_files, name_of
from tests.unit.dicom.making import encapsulated, explicit, item
from tests.unit.dicom.making import part10 as made
from tests.unit.dicom.test_part10 import compare

ODD = {"nested_priv_SQ.dcm", "meta_missing_tsyntax.dcm"}
PIXEL_TAGS = {0x7FE0_0001, 0x7FE0_0002}


@pytest.mark.parametrize("path", dicom_files(), ids=name_of)
def test_what_we_write_says_the_same(path: Path) -> None:
    file = Memory(path.read_bytes())
    header = scan(file, large=1000)
    source = opened(file, header)
    written = part10(header.dataset, syntaxes.EXPLICIT_LITTLE, read=lambda bulk: read_value(source, bulk))
    again = scan(Memory(written), large=1 << 40)
    assert again.problems == ()
    whole = scan(file, large=1 << 40).dataset
    if path.name not in ODD:
        assert to_json(again.dataset) == to_json(whole)
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compare(again.dataset, pydicom.dcmread(io.BytesIO(written)), same_order=True)


def small() -> Dataset:
    return from_json(
        {
            "00080016": {"vr": "UI", "Value": ["1.2.3"]},
            "00080018": {"vr": "UI", "Value": ["1.2.3.4"]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller^Ä"}]},
            "00280008": {"vr": "IS", "Value": [3]},
            "7FE10010": {"vr": "LO", "Value": ["MINE"]},
        },
        {},
    )


def test_native_pixels_and_what_follows_them() -> None:
    import pydicom

    data = part10(small(), syntaxes.EXPLICIT_LITTLE, b"abc", vr="OB")
    found = pydicom.dcmread(io.BytesIO(data))
    assert found.file_meta.MediaStorageSOPInstanceUID == "1.2.3.4"
    assert found.file_meta.TransferSyntaxUID == syntaxes.EXPLICIT_LITTLE
    assert found.file_meta.FileMetaInformationGroupLength == len(data[144 : data.index(b"\x08\0\x05\0CS")])
    assert found.PatientName == "Müller^Ä"
    assert found.PixelData == b"abc\0"
    assert found[0x7FE1_0010].value == "MINE"


def test_encapsulated_frames() -> None:
    import pydicom
    from pydicom.encaps import generate_frames, parse_basic_offsets

    frames = [b"ab", b"cde", b"f" * 1000]
    found = pydicom.dcmread(io.BytesIO(part10(small(), syntaxes.JPEG_BASELINE, frames)))
    assert [
        each[: len(frame)]
        for each, frame in zip(generate_frames(found.PixelData, number_of_frames=3), frames, strict=True)
    ] == frames
    assert parse_basic_offsets(found.PixelData) == [0, 10, 22]


def test_a_short_vr_with_a_long_value_becomes_un() -> None:
    dataset = Dataset({0x0018_9999: Element(0x0018_9999, "DS", b"1\\" * 40_000 + b"1 ")})
    header = scan(Memory(part10(dataset, syntaxes.EXPLICIT_LITTLE)), large=1 << 20)
    assert header.dataset.elements[0x0018_9999].value == b"1\\" * 40_000 + b"1 "
    assert header.problems == ()


def test_an_encapsulated_icon_stays_encapsulated() -> None:
    content = explicit(0x0088_0200, "SQ", item(explicit(0x0028_0010, "US", b"\1\0") + encapsulated([b"1234"])))
    for large in (8, 1 << 20):
        file = Memory(made(content, syntaxes.JPEG_BASELINE))
        header = scan(file, large=large)
        written = part10(header.dataset, syntaxes.JPEG_BASELINE, read=lambda bulk: read_value(file, bulk))  # noqa: B023
        assert encapsulated([b"1234"]) in written


def test_meta_information_and_group_lengths_are_made_anew() -> None:
    dataset = scan(Memory(made(explicit(0x0008_0000, "UL", b"\4\0\0\0") + explicit(0x0008_0060, "CS", b"CT")))).dataset
    again = scan(Memory(preamble(dataset, syntaxes.EXPLICIT_LITTLE)))
    assert list(again.dataset.elements) == [0x0008_0060]
    assert list(again.meta.elements) == [0x2_0000, 0x2_0001, 0x2_0002, 0x2_0003, 0x2_0010, 0x2_0012, 0x2_0013]


@pytest.mark.parametrize("uid", [syntaxes.IMPLICIT_LITTLE, syntaxes.EXPLICIT_BIG, syntaxes.DEFLATED_LITTLE])
def test_only_explicit_little_endian_is_written(uid: str) -> None:
    with pytest.raises(InvalidRequest):
        preamble(small(), uid)


def test_a_value_that_was_not_read_must_be_readable() -> None:
    dataset = Dataset({0x0042_0011: Element(0x0042_0011, "OB", Bulk(0, 4))})
    with pytest.raises(InvalidRequest):
        preamble(dataset, syntaxes.EXPLICIT_LITTLE)


def test_native_pixels_beyond_32_bits_are_refused() -> None:
    with pytest.raises(LimitExceeded):
        pixel_data_header("OW", 1 << 32)
