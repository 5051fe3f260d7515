"""Files against pydicom, and files that no writer of ours would make."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import pytest

from microtome.dicom import syntaxes
from microtome.dicom.dataset import Bulk, Dataset
from microtome.dicom.part10 import Memory, PixelData, opened, read_value, scan
from microtome.errors import CorruptData, LimitExceeded, UnsupportedFormat
from tests.unit.dicom.corpus import CountingFile, all_files, dicom_files, name_of
from tests.unit.dicom.making import ITEM_END, SEQUENCE_END, UNDEFINED, encapsulated, explicit, implicit, item, part10

PIXELS = {0x7FE0_0008, 0x7FE0_0009, 0x7FE0_0010}
PYDICOM_LOSES = {"emri_small_jpeg_2k_lossless_too_short.dcm"}
CUT_OFF = {"rtplan_truncated.dcm", "DICOMDIR-nooffset"}


# -- every real file


@pytest.mark.parametrize("path", [each for each in all_files() if each not in dicom_files()], ids=name_of)
def test_what_is_no_dicom_is_refused_with_a_reason(path: Path) -> None:
    with pytest.raises(UnsupportedFormat, match="not a DICOM file"):
        scan(Memory(path.read_bytes()))


@pytest.mark.parametrize("path", [each for each in dicom_files() if each.name not in PYDICOM_LOSES], ids=name_of)
def test_elements_are_those_of_pydicom(path: Path) -> None:
    header = scan(Memory(path.read_bytes()), large=1 << 40)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pydicom

        theirs = pydicom.dcmread(path, force=True)
        same = not syntaxes.find(header.transfer_syntax).big_endian
        if path.name not in CUT_OFF:
            compare(header.dataset, theirs, same_order=same)
        assert header.meta.string(0x0002_0010) == str(theirs.file_meta.get("TransferSyntaxUID", ""))
        found = [tag for tag in tags_of(theirs) if tag in PIXELS]
        assert ([header.pixels.tag] if header.pixels else []) == found


def compare(ours: Dataset, theirs: Any, *, same_order: bool) -> None:
    """Tags, values byte by byte, and items, all the way down."""
    tags = set(tags_of(theirs)) - PIXELS - {0xFFFC_FFFC}
    assert set(ours.elements) - PIXELS - {0xFFFC_FFFC} == tags
    assert list(ours.elements) == sorted(ours.elements)
    for element in ours:
        raw = theirs.get_item(element.tag)
        if isinstance(element.value, tuple):
            items = theirs[element.tag].value
            assert len(element.value) == len(items), hex(element.tag)
            for mine, other in zip(element.value, items, strict=True):
                compare(mine, other, same_order=same_order)
        elif same_order and hasattr(raw, "value_tell") and isinstance(raw.value, bytes):
            assert element.value == raw.value, hex(element.tag)


def with_native_pixels() -> list[Path]:
    pixels = {each: scan(Memory(each.read_bytes())).pixels for each in dicom_files()}
    return [path for path, found in pixels.items() if found is not None and found.length is not None]


def tags_of(theirs: Any) -> list[int]:
    """Iterating over it would convert every element."""
    return [int(tag) for tag in theirs.keys()]  # noqa: SIM118


@pytest.mark.parametrize("path", with_native_pixels(), ids=name_of)
def test_pixels_lie_where_pydicom_finds_them(path: Path) -> None:
    file = Memory(path.read_bytes())
    header = scan(file)
    assert header.pixels is not None
    assert header.pixels.length is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pydicom

        theirs = pydicom.dcmread(path, force=True)[header.pixels.tag].value
    assert opened(file, header).read_at(header.pixels.offset, header.pixels.length) == theirs


def test_a_large_value_is_passed_over_and_found_again(testdata: Path) -> None:
    path = testdata / "dicom/ts/pydicom/test_files/waveform_ecg.dcm"
    file = CountingFile(path.read_bytes())
    whole, passed = scan(file, large=1 << 30), scan(file, large=1000)
    data, bulk = (each.dataset.items(0x5400_0100)[0].elements[0x5400_1010].value for each in (whole, passed))
    assert isinstance(bulk, Bulk)
    assert read_value(file, bulk) == data
    assert len(data) == bulk.length > 100_000  # type: ignore[arg-type]


def test_a_header_is_one_small_read(testdata: Path) -> None:
    file = CountingFile((testdata / "dicom/rt/ct.0.dcm").read_bytes())
    scan(file)
    assert file.requests == [16384]


def test_pixels_of_any_size_are_never_read() -> None:
    content = explicit(0x0008_0060, "CS", b"CT") + explicit(0x7FE0_0010, "OW", length=3 << 30)
    file = CountingFile(part10(content), size=(3 << 30) + 4000)
    header = scan(file)
    assert header.pixels == PixelData(0x7FE0_0010, "OW", len(part10(content)), 3 << 30)
    assert sum(file.requests) < 4 << 20


# -- encodings


NESTED = explicit(0x0040_0275, "SQ", item(explicit(0x0040_0009, "SH", b"1 ")) + item())


def test_explicit_and_implicit_say_the_same() -> None:
    first = scan(Memory(part10(explicit(0x0008_0060, "CS", b"CT") + explicit(0x0028_0010, "US", b"\2\0") + NESTED)))
    content = (
        implicit(0x0008_0060, b"CT")
        + implicit(0x0028_0010, b"\2\0")
        + implicit(0x0040_0275, item(implicit(0x0040_0009, b"1 ")) + item())
    )
    second = scan(Memory(part10(content, syntaxes.IMPLICIT_LITTLE)))
    assert first.dataset.elements == second.dataset.elements
    assert [each.string(0x0040_0009) for each in first.dataset.items(0x0040_0275)] == ["1", ""]


def test_big_endian_values_are_turned() -> None:
    content = b"".join(
        (
            explicit(0x0020_9165, "AT", b"\0\x10\0\x20", order=">"),
            explicit(0x0028_0010, "US", b"\1\2\3\4", order=">"),
            explicit(0x0028_9001, "UL", b"\1\2\3\4", order=">"),
            explicit(0x0040_A30A, "DS", b"1.25", order=">"),
            explicit(0x0066_0022, "OD", struct.pack(">2d", 1.5, -2), order=">"),
            explicit(0x0066_0016, "OF", struct.pack(">20f", *range(20)), order=">"),
        )
    )
    file = Memory(part10(content, syntaxes.EXPLICIT_BIG))
    dataset = scan(file, large=64).dataset
    assert dataset.elements[0x0020_9165].value == b"\x10\0\x20\0"
    assert dataset.numbers(0x0028_0010) == (0x0102, 0x0304)
    assert dataset.number(0x0028_9001) == 0x01020304
    assert dataset.number(0x0040_A30A) == 1.25
    assert dataset.elements[0x0066_0022].value == struct.pack("<2d", 1.5, -2)
    bulk = dataset.elements[0x0066_0016].value
    assert isinstance(bulk, Bulk)
    assert read_value(file, bulk) == struct.pack("<20f", *range(20))


def test_deflated() -> None:
    content = explicit(0x0008_0060, "CS", b"CT") + explicit(0x7FE0_0010, "OW", bytes(range(256)) * 20_000)
    packer = zlib.compressobj(wbits=-15)
    file = CountingFile(part10(packer.compress(content) + packer.flush(), syntaxes.DEFLATED_LITTLE))
    header = scan(file)
    assert header.pixels is not None
    assert header.pixels.length == 5_120_000
    inflated = opened(file, header)
    assert inflated.size == len(content)
    assert inflated.read_at(header.pixels.offset + 5_000_000, 3) == content[-120_000:-119_997]
    assert inflated.read_at(header.pixels.offset, 4) == b"\0\1\2\3"


def test_a_deflate_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microtome.dicom.inflated.INFLATED_BYTES", 10 << 20)
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(bytes(30 << 20)) + packer.flush()
    with pytest.raises(LimitExceeded) as caught:
        scan(Memory(part10(packed, syntaxes.DEFLATED_LITTLE)))
    assert caught.value.limit == "INFLATED_BYTES"


def test_broken_deflate_is_corrupt() -> None:
    with pytest.raises(CorruptData, match="deflated"):
        scan(Memory(part10(b"\xff" * 100, syntaxes.DEFLATED_LITTLE)))


@pytest.mark.parametrize(
    ("content", "announced"),
    [
        (implicit(0x0008_0060, b"CT"), syntaxes.EXPLICIT_LITTLE),
        (explicit(0x0008_0060, "CS", b"CT"), syntaxes.IMPLICIT_LITTLE),
    ],
)
def test_what_is_there_counts_not_what_was_announced(content: bytes, announced: str) -> None:
    header = scan(Memory(part10(content, announced)))
    assert header.dataset.string(0x0008_0060) == "CT"
    assert any("announced" in each for each in header.problems)


@pytest.mark.parametrize(
    ("content", "uid"),
    [
        (explicit(0x0008_0016, "UI", b"1.2\0") + explicit(0x0008_0060, "CS", b"CT"), syntaxes.EXPLICIT_LITTLE),
        (implicit(0x0008_0016, b"1.2\0") + implicit(0x0008_0060, b"CT"), syntaxes.IMPLICIT_LITTLE),
        (
            explicit(0x0008_0016, "UI", b"1.2\0", order=">") + explicit(0x0008_0060, "CS", b"CT", order=">"),
            syntaxes.EXPLICIT_BIG,
        ),
    ],
)
def test_without_preamble_and_meta(content: bytes, uid: str) -> None:
    header = scan(Memory(content))
    assert (header.transfer_syntax, header.dataset.string(0x0008_0060)) == (uid, "CT")
    assert "no preamble" in header.problems


def test_unknown_vr_is_kept_as_un() -> None:
    content = (
        explicit(0x0008_0060, "CS", b"CT") + explicit(0x0009_1001, "XY", b"ab") + explicit(0x0010_0020, "LO", b"1")
    )
    dataset = scan(Memory(part10(content))).dataset
    assert dataset.elements[0x0009_1001][1:] == ("UN", b"ab")
    assert dataset.string(0x0010_0020) == "1"


def test_unknown_vr_of_the_future_has_a_long_length() -> None:
    content = struct.pack("<HH2s2xI", 0x0009, 0x1001, b"XY", 70_000) + bytes(70_000) + explicit(0x0010_0020, "LO", b"1")
    dataset = scan(Memory(part10(content)), large=1 << 20).dataset
    assert dataset.elements[0x0009_1001].value == bytes(70_000)
    assert dataset.string(0x0010_0020) == "1"


def test_un_of_a_known_tag_gets_its_vr() -> None:
    inner = implicit(0x0008_1150, b"1.2\0")
    content = (
        explicit(0x0008_1140, "UN", item(inner))
        + explicit(0x0008_1199, "UN", item(inner, length=UNDEFINED) + ITEM_END + SEQUENCE_END, length=UNDEFINED)
        + explicit(0x0009_0010, "UN", b"MINE")
        + explicit(0x0009_1001, "UN", b"text")
        + explicit(0x0010_0010, "UN", b"A^B ")
    )
    dataset = scan(Memory(part10(content))).dataset
    assert [dataset.items(tag)[0].string(0x0008_1150) for tag in (0x0008_1140, 0x0008_1199)] == ["1.2", "1.2"]
    assert {each.tag: each.vr for each in dataset} == {
        0x0008_1140: "SQ", 0x0008_1199: "SQ", 0x0009_0010: "LO", 0x0009_1001: "UN", 0x0010_0010: "PN",
    }  # fmt: skip


def test_us_or_ss_follows_the_pixels_even_in_items() -> None:
    content = implicit(0x0028_0103, b"\1\0") + implicit(0x0028_0106, b"\xff\xff")
    content += implicit(
        0x0028_3000, item(implicit(0x0028_3002, b"\2\0\xf0\xff\x10\0") + implicit(0x0028_3006, b"\1\0"))
    )
    dataset = scan(Memory(part10(content, syntaxes.IMPLICIT_LITTLE))).dataset
    assert dataset.number(0x0028_0106) == -1
    lut = dataset.items(0x0028_3000)[0]
    assert lut.numbers(0x0028_3002) == (2, -16, 16)
    assert lut.elements[0x0028_3006].vr == "OW"


def test_items_inherit_the_character_set_or_bring_their_own() -> None:
    own = explicit(0x0008_0005, "CS", b"ISO_IR 144") + explicit(0x0010_0010, "PN", b"\xbb\xee")
    content = explicit(0x0008_0005, "CS", b"ISO_IR 192") + explicit(
        0x0008_1140, "SQ", item(explicit(0x0010_0010, "PN", "Ü ".encode())) + item(own)
    )
    first, second = scan(Memory(part10(content))).dataset.items(0x0008_1140)
    assert (first.string(0x0010_0010), second.string(0x0010_0010)) == ("Ü", "Лю")


def test_elements_after_native_pixels_are_read() -> None:
    content = explicit(0x7FE0_0010, "OW", bytes(100_000)) + explicit(0x7FE1_0010, "LO", b"MINE")
    header = scan(Memory(part10(content)))
    assert header.dataset.string(0x7FE1_0010) == "MINE"


def test_an_encapsulated_icon_is_no_pixel_data() -> None:
    icon = item(encapsulated([b"1234"]))
    content = explicit(0x0088_0200, "SQ", icon) + explicit(0x0088_0904, "LO", b"ok") + encapsulated([b"ab", b"cd"])
    header = scan(Memory(part10(content, syntaxes.JPEG_BASELINE)))
    assert header.dataset.string(0x0088_0904) == "ok"
    assert header.pixels is not None
    assert header.pixels.length is None
    assert header.pixels.offset == len(part10(content)) + 2 - len(encapsulated([b"ab", b"cd"])) + 12


# -- broken


def test_pixels_cut_off_are_told(testdata: Path) -> None:
    file = Memory((testdata / "dicom/ts/pydicom/test_files/MR_truncated.dcm").read_bytes())
    header = scan(file)
    assert header.problems == ("pixel data is cut off: 8130 of 8192 bytes",)
    assert header.pixels is not None
    assert header.pixels.offset + (header.pixels.length or 0) == file.size


def test_what_stands_before_the_cut_is_kept() -> None:
    content = explicit(0x0008_0060, "CS", b"CT") + explicit(0x0010_0020, "LO", b"123", length=5000)
    header = scan(Memory(part10(content)))
    assert list(header.dataset.elements) == [0x0008_0060]
    assert "cut off" in header.problems[0]


def test_a_value_beyond_its_item_does_not_spoil_the_rest() -> None:
    broken = explicit(0x0040_0009, "SH", b"ab", length=4000)
    content = explicit(0x0040_0275, "SQ", item(broken) + item()) + explicit(0x0040_2017, "LO", b"ok")
    header = scan(Memory(part10(content)))
    assert header.dataset.string(0x0040_2017) == "ok"
    assert len(header.dataset.items(0x0040_0275)) == 2
    assert "beyond the end of its item" in header.problems[0]


def test_a_value_beyond_its_item_is_not_taken_from_what_follows() -> None:
    filler = explicit(0x0008_1030, "LO", bytes(16_200))  # the item ends with the first bytes that are read, or nearly
    broken = explicit(0x0040_0009, "SH", b"ab", length=4000)
    content = filler + explicit(0x0040_0275, "SQ", item(broken)) + explicit(0x0040_2017, "LO", b"x" * 8000)
    header = scan(Memory(part10(content)))
    assert header.dataset.items(0x0040_0275)[0].elements == {}
    assert header.dataset.string(0x0040_2017) == "x" * 8000


def test_meta_information_cut_off_is_corrupt() -> None:
    data = part10(b"")
    with pytest.raises(CorruptData, match="meta information is cut off"):
        scan(Memory(data[:-5]))


def test_a_large_value_cut_off_is_corrupt() -> None:
    with pytest.raises(CorruptData, match="cut off"):
        read_value(Memory(b"abc"), Bulk(1, 3))


def test_elements_out_of_order_are_sorted() -> None:
    content = (
        explicit(0x0010_0020, "LO", b"1 ") + explicit(0x0008_0060, "CS", b"CT") + explicit(0x0010_0020, "LO", b"2 ")
    )
    header = scan(Memory(part10(content)))
    assert list(header.dataset.elements) == [0x0008_0060, 0x0010_0020]
    assert header.dataset.string(0x0010_0020) == "2"
    assert header.problems == ("elements that are not in order",)


def nested(depth: int) -> bytes:
    content = b""
    for _ in range(depth):
        content = explicit(0x0040_A730, "SQ", item(content))
    return part10(content)


def test_nesting_is_limited() -> None:
    assert scan(Memory(nested(64)))
    with pytest.raises(LimitExceeded) as caught:
        scan(Memory(nested(65)))
    assert caught.value.limit == "DEPTH"
    endless = explicit(0x0040_A730, "SQ", length=UNDEFINED) + item(length=UNDEFINED)
    with pytest.raises(LimitExceeded):
        scan(Memory(part10(endless * 100_000)))


def test_items_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microtome.dicom.scanner.ELEMENTS", 1000)
    with pytest.raises(LimitExceeded) as caught:
        scan(Memory(part10(explicit(0x0040_A730, "SQ", item() * 2000))))
    assert caught.value.limit == "ELEMENTS"


def test_elements_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microtome.dicom.scanner.ELEMENTS", 5000)
    content = b"".join(explicit(0x0009_1000 + each, "LO") for each in range(10_000))
    with pytest.raises(LimitExceeded) as caught:
        scan(Memory(part10(content)))
    assert caught.value.limit == "ELEMENTS"


def test_bytes_of_a_header_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microtome.dicom.scanner.HEADER_BYTES", 1 << 20)
    content = b"".join(explicit(0x0009_1000 + each, "LO", bytes(60_000)) for each in range(100))
    with pytest.raises(LimitExceeded) as caught:
        scan(Memory(part10(content)))
    assert caught.value.limit == "HEADER_BYTES"


class Zeros(CountingFile):
    """A file of a terabyte that was never written."""

    def read_at(self, offset: int, length: int) -> bytes:
        return super().read_at(offset, length).ljust(length, b"\0")


@pytest.mark.parametrize("uid", [syntaxes.EXPLICIT_LITTLE, syntaxes.IMPLICIT_LITTLE, syntaxes.EXPLICIT_BIG])
def test_an_endless_file_of_nothing_ends(uid: str) -> None:
    file = Zeros(part10(b"", uid), size=1 << 40)
    with pytest.raises(CorruptData, match="not in order"):
        scan(file)
    assert max(file.requests) <= 1 << 20
    assert sum(file.requests) <= 8 << 20


@pytest.mark.parametrize("vr", ["OB", "UT", "UN", "SQ"])
def test_a_forged_length_takes_no_memory(vr: str) -> None:
    content = explicit(0x0008_0060, "CS", b"CT") + explicit(0x0009_1001, vr, b"abc", length=0xFFFF_FFF0)
    file = CountingFile(part10(content))
    header = scan(file)
    assert header.problems
    assert max(file.requests) <= 16384


def test_group_length_is_not_believed() -> None:
    data = part10(explicit(0x0008_0060, "CS", b"CT"))
    for forged in (0, 4, 1000, 0xFFFF_FFFF):
        wrong = data[:140] + struct.pack("<I", forged) + data[144:]
        header = scan(Memory(wrong))
        assert header.transfer_syntax == syntaxes.EXPLICIT_LITTLE
        assert header.dataset.string(0x0008_0060) == "CT"


@pytest.mark.parametrize("data", [b"", b"\0" * 131, b"\0" * 128 + b"DICM", part10(b""), part10(b"\1\2\3")])
def test_nothing_readable_is_refused(data: bytes) -> None:
    with pytest.raises((CorruptData, UnsupportedFormat)):
        scan(Memory(data))
