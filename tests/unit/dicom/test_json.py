"""The JSON model against pydicom and DCMTK, rule by rule, and back."""

from __future__ import annotations

import json
import math
import shutil
import struct
import subprocess
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microtome.dicom import syntaxes
from microtome.dicom.dataset import Dataset
from microtome.dicom.json import from_json, number, to_json
from microtome.dicom.part10 import Memory, scan
from microtome.errors import CorruptData, LimitExceeded
from tests.unit.dicom.corpus import dicom_files, name_of
from tests.unit.dicom.making import explicit, item, part10

PIXELS = ("7FE00008", "7FE00009", "7FE00010")
CUT_OFF = {"rtplan_truncated.dcm", "DICOMDIR-nooffset"}
PYDICOM_FAILS = {"emri_small_jpeg_2k_lossless_too_short.dcm", "badVR.dcm"}
ODD = {"nested_priv_SQ.dcm", "meta_missing_tsyntax.dcm"}
"""A value of odd length, which gets the byte of padding it lacks."""
DCMTK_FAILS = {
    "MR_truncated.dcm": "cut off",
    "SC_rgb_jpeg.dcm": "implicit VR where explicit was announced",
    "chrSQEncoding.dcm": "writes what is no UTF-8",
    "emri_small_jpeg_2k_lossless_too_short.dcm": "cut off",
    "rtdose_rle.dcm": "implicit VR in explicit: everything becomes UN",
    "rtdose_rle_1frame.dcm": "implicit VR in explicit: everything becomes UN",
    **dict.fromkeys(CUT_OFF, "cut off"),
}


def ours(path: Path) -> dict[str, Any]:
    header = scan(Memory(path.read_bytes()), large=1 << 40)
    return json.loads(orjson.dumps(to_json(header.dataset)))


def described(content: bytes, uid: str = syntaxes.EXPLICIT_LITTLE, **options: Any) -> dict[str, Any]:
    return to_json(scan(Memory(part10(content, uid))).dataset, **options)


# -- oracles


@pytest.mark.parametrize("path", [each for each in dicom_files() if each.name not in PYDICOM_FAILS], ids=name_of)
def test_as_pydicom_says(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pydicom

        dataset = pydicom.dcmread(path, force=True)
        for tag in PIXELS:
            if tag in dataset:
                del dataset[tag]
        theirs = json.loads(json.dumps(dataset.to_json_dict(bulk_data_threshold=1 << 40)))
    if path.name not in CUT_OFF:
        big = dataset.file_meta.get("TransferSyntaxUID") == syntaxes.EXPLICIT_BIG
        assert differences(ours(path), theirs, big_endian=big) == []


@pytest.mark.parametrize("path", [each for each in dicom_files() if each.name not in DCMTK_FAILS], ids=name_of)
def test_as_dcmtk_says(path: Path, tmp_path: Path) -> None:
    program = shutil.which("dcm2json")
    if program is None:
        pytest.skip("dcm2json is not installed (Debian: dcmtk)")
    data = path.read_bytes()
    header = scan(Memory(data))
    if header.pixels is not None and header.pixels.length is None:
        # DCMTK refuses compressed pixel data: give it the header, as native.
        begin = data.rfind(b"\xe0\x7f\x10\0", 0, header.pixels.offset)
        data = part10(data[header.begin : begin])
    copy = tmp_path / "copy.dcm"
    copy.write_bytes(data)
    done = subprocess.run([program, "-q", copy], capture_output=True, check=False)
    if done.returncode:
        reason = subprocess.run([program, copy], capture_output=True, check=False).stderr
        assert b"Cannot open character encoding" in reason
        pytest.skip("a character set that iconv has not")
    assert differences(ours(path), json.loads(done.stdout), big_endian=False) == []


def differences(mine: dict[str, Any], theirs: dict[str, Any], *, big_endian: bool, path: str = "") -> list[str]:
    """Where two documents differ, but for what is known of the oracles."""
    found: list[str] = []
    skipped = {"00080005", "FFFCFFFC", *PIXELS}
    for tag in sorted(set(mine) | set(theirs)):
        if tag in skipped or tag.endswith("0000"):
            continue
        where = path + tag
        if tag not in mine or tag not in theirs:
            found.append(f"{where} only {'there' if tag in theirs else 'here'}")
            continue
        one, other = mine[tag], theirs[tag]
        if one["vr"] == "UN" and int(tag[3], 16) % 2:
            continue  # both guess from dictionaries of private elements; the file says UN, or nothing
        if one["vr"] != other["vr"]:
            found.append(f"{where} {one['vr']} {other['vr']}")
        elif one["vr"] == "SQ":
            items, others = one.get("Value", []), other.get("Value", [])
            if len(items) != len(others):
                found.append(f"{where} {len(items)} items, not {len(others)}")
            for index, (inner, outer) in enumerate(zip(items, others, strict=False), 1):
                found += differences(inner, outer, big_endian=big_endian, path=f"{where}/{index}/")
        elif one["vr"] in {"OB", "OD", "OF", "OL", "OV", "OW", "UN"}:
            # pydicom leaves binary values in the byte order of the file.
            if one.get("InlineBinary") != other.get("InlineBinary") and not big_endian:
                found.append(f"{where} binary")
        elif not same(one["vr"], one.get("Value", []), other.get("Value", [])):
            found.append(f"{where} {one} {other}")
    return found


def same(vr: str, mine: list[Any], theirs: list[Any]) -> bool:
    if vr == "PN":
        return [names(each) for each in mine if names(each)] == [names(each) for each in theirs if names(each)]
    if len(mine) != len(theirs):
        return False
    return all(alike(vr, one, other) for one, other in zip(mine, theirs, strict=True))


def names(value: Any) -> dict[str, str]:
    """Without empty components at the end, which DCMTK drops."""
    return {group: text.rstrip("^ ") for group, text in (value or {}).items() if text.rstrip("^ ")}


def alike(vr: str, mine: Any, theirs: Any) -> bool:
    if mine == theirs or (mine is None and theirs == ""):
        return True
    if vr in {"DS", "IS", "FL", "FD"} and mine is not None and theirs is not None:
        return math.isclose(float(mine), float(theirs), rel_tol=1e-7)  # DCMTK writes nine digits
    return isinstance(mine, str) and isinstance(theirs, str) and mine.strip() == theirs.strip()


# -- rules of the model


def test_tags_ascend_and_group_lengths_are_absent() -> None:
    content = (
        explicit(0x0008_0000, "UL", b"\1\0\0\0")
        + explicit(0x0010_0020, "LO", b"1 ")
        + explicit(0x0008_0060, "CS", b"CT")
    )
    content += explicit(0xFFFC_FFFC, "OB", bytes(10))
    assert list(described(content)) == ["00080060", "00100020"]


def test_text_is_utf8_and_says_so_in_items_too() -> None:
    inner = explicit(0x0008_0005, "CS", b"ISO_IR 126") + explicit(0x0008_0104, "LO", b"\xc4\xe9")
    content = explicit(0x0008_0005, "CS", b"ISO_IR 100") + explicit(0x0010_0010, "PN", b"M\xfcller")
    found = described(content + explicit(0x0008_1140, "SQ", item(inner)))
    assert found["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert found["00100010"]["Value"] == [{"Alphabetic": "Müller"}]
    assert found["00081140"]["Value"] == [
        {"00080005": {"vr": "CS", "Value": ["ISO_IR 192"]}, "00080104": {"vr": "LO", "Value": ["Δι"]}}
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("A^B", [{"Alphabetic": "A^B"}]),
        ("=山田^太郎=やまだ", [{"Ideographic": "山田^太郎", "Phonetic": "やまだ"}]),
        ("A==C", [{"Alphabetic": "A", "Phonetic": "C"}]),
        ("A^B\\\\C", [{"Alphabetic": "A^B"}, None, {"Alphabetic": "C"}]),
        ("^^^^", [{"Alphabetic": "^^^^"}]),
        ("  ", None),
    ],
)
def test_names(value: str, expected: Any) -> None:
    data = value.encode()
    content = explicit(0x0008_0005, "CS", b"ISO_IR 192") + explicit(0x0010_0010, "PN", data + b" " * (len(data) % 2))
    assert described(content)["00100010"].get("Value") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.684", 0.684), ("1.0", 1.0), ("512", 512), ("-1.5e-3", -0.0015), ("+7", 7), (".5", 0.5), ("5.", 5.0),
        ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        ("0.12345678901234567", "0.12345678901234567"), ("1e999", "1e999"), ("9007199254740993", "9007199254740993"),
        ("1A", "1A"), ("nan", "nan"), ("inf", "inf"), ("1_000", "1_000"), ("٣", "٣"), ("", None), ("0x10", "0x10"),
        ("1" * 5000, "1" * 5000), ("0" * 60 + "1", 1),
    ],
)  # fmt: skip
def test_decimal_strings_are_numbers_where_nothing_is_lost(text: str, expected: Any) -> None:
    found = number(text)
    assert found == expected
    assert type(found) is type(expected)


@settings(deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False).map(str))
def test_a_number_says_exactly_what_the_text_says(text: str) -> None:
    found = number(text)
    written = orjson.dumps(found).decode().strip('"')
    assert Decimal(written) == Decimal(text)


@pytest.mark.parametrize(("text", "expected"), [("12", 12), ("1.0", 1), ("1.5", "1.5"), ("1A", "1A"), ("-3", -3)])
def test_integer_strings(text: str, expected: Any) -> None:
    found = number(text, whole=True)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("vr", "code", "values", "expected"),
    [
        ("FD", "3d", (math.nan, math.inf, -math.inf), ["NaN", "Infinity", "-Infinity"]),
        ("FL", "2f", (math.nan, 0.5), ["NaN", 0.5]),
        ("UV", "3Q", (1, 1 << 53, (1 << 64) - 1), [1, 1 << 53, "18446744073709551615"]),
        ("SV", "2q", (-1, -(1 << 63)), [-1, "-9223372036854775808"]),
        ("AT", "4H", (0x0020, 0x0032, 0x7FE0, 0x0010), ["00200032", "7FE00010"]),
        ("US", "2H", (0, 65535), [0, 65535]),
        ("SL", "2i", (-1, 1), [-1, 1]),
    ],
)
def test_binary_numbers(vr: str, code: str, values: tuple[float, ...], expected: list[Any]) -> None:
    found = described(explicit(0x0009_1001, vr, struct.pack("<" + code, *values)))["00091001"]
    assert found == {"vr": vr, "Value": expected}
    assert orjson.loads(orjson.dumps(found)) == found
    assert from_json({"00091001": found}, {}).elements[0x0009_1001].value == struct.pack("<" + code, *values)


def test_big_endian_words_are_written_little_endian() -> None:
    content = explicit(0x6000_3000, "OW", b"\1\2\3\4", order=">")
    assert described(content, syntaxes.EXPLICIT_BIG)["60003000"] == {"vr": "OW", "InlineBinary": "AgEEAw=="}


def test_empty_and_partly_empty_values() -> None:
    content = b"".join(
        (
            explicit(0x0008_0008, "CS", b"A\\\\B "),
            explicit(0x0008_0050, "SH"),
            explicit(0x0008_1140, "SQ", item()),
            explicit(0x0008_1199, "SQ"),
            explicit(0x0010_0010, "PN"),
        )
    )
    assert described(content) == {
        "00080008": {"vr": "CS", "Value": ["A", None, "B"]},
        "00080050": {"vr": "SH"},
        "00081140": {"vr": "SQ", "Value": [{}]},
        "00081199": {"vr": "SQ"},
        "00100010": {"vr": "PN"},
    }


def test_backslashes_split_short_text_only() -> None:
    content = (
        explicit(0x0008_1030, "LO", b"a\\b ")
        + explicit(0x0010_4000, "LT", b"a\\b ")
        + explicit(0x0040_A160, "UT", b" a\\b")
    )
    found = described(content)
    assert [found[tag]["Value"] for tag in ("00081030", "00104000", "0040A160")] == [["a", "b"], ["a\\b"], [" a\\b"]]


def test_binary_is_inline_or_has_a_uri() -> None:
    lut = explicit(0x0028_3000, "SQ", item() + item(explicit(0x0028_3006, "OW", bytes(2000))))
    content = explicit(0x0009_1001, "UN", b"ab") + lut + explicit(0x0040_A160, "UT", b"x" * 70_000)
    header = scan(Memory(part10(content + explicit(0x7FE0_0010, "OW", bytes(64)))))
    found = to_json(header.dataset, bulk_uri="/bulk/{}".format, pixels=header.pixels)
    assert found["00091001"] == {"vr": "UN", "InlineBinary": "YWI="}
    assert found["00283000"]["Value"][1] == {"00283006": {"vr": "OW", "BulkDataURI": "/bulk/00283000/2/00283006"}}
    assert found["0040A160"] == {"vr": "UT", "BulkDataURI": "/bulk/0040A160"}
    assert found["7FE00010"] == {"vr": "OW", "BulkDataURI": "/bulk/7FE00010"}
    assert list(found) == sorted(found)
    without = to_json(header.dataset)
    assert "0040A160" not in without
    assert len(without["00283000"]["Value"][1]["00283006"]["InlineBinary"]) == 2668


# -- back


@pytest.mark.parametrize("path", [each for each in dicom_files() if each.name not in ODD], ids=name_of)
def test_there_and_back_is_the_same_document(path: Path) -> None:
    first = ours(path)
    again = json.loads(orjson.dumps(to_json(from_json(first, {}))))
    for document in (first, again):
        document.pop("00080005", None)
    assert rounded(again) == rounded(first)


def rounded(value: Any) -> Any:
    """Numbers by value: a DS of more than 16 characters is shortened to what DS can hold."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, list):
        return [rounded(each) for each in value]
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return value


def test_bulk_data_comes_from_the_parts() -> None:
    document = {"00282000": {"vr": "OB", "BulkDataURI": "cid:1"}, "00104000": {"BulkDataURI": "cid:2"}}
    dataset = from_json(document, {"cid:1": b"abc", "cid:2": b"odd"})
    assert dataset.elements[0x0028_2000].value == b"abc\0"
    assert dataset.elements[0x0010_4000][1:] == ("LT", b"odd ")


@pytest.mark.parametrize(
    "document",
    [
        [], "text", None, {"PatientID": {"vr": "LO"}}, {"0010002G": {}}, {"00100020": []}, {"00100020": {"vr": "XX"}},
        {"00100020": {"vr": "LO", "Value": "text"}}, {"00100020": {"vr": "LO", "Value": [1]}},
        {"00100020": {"vr": "LO", "Value": ["a\\b"]}}, {"00100020": {"vr": "LO", "Value": [{}]}},
        {"00100020": {"vr": "LO", "InlineBinary": "YWI="}}, {"00280010": {"vr": "US", "Value": [65536]}},
        {"00280010": {"vr": "US", "Value": [-1]}}, {"00280010": {"vr": "US", "Value": [1.5]}},
        {"00280010": {"vr": "US", "Value": [True]}}, {"00280010": {"vr": "US", "Value": ["9" * 5000]}},
        {"00282000": {"vr": "OB", "InlineBinary": "%%%"}}, {"00282000": {"vr": "OB", "InlineBinary": 5}},
        {"00282000": {"vr": "OB", "BulkDataURI": "elsewhere"}}, {"00282000": {"vr": "OB", "BulkDataURI": 5}},
        {"00282000": {"vr": "OB", "Value": [1]}}, {"00081140": {"vr": "SQ", "Value": [5]}},
        {"00081140": {"vr": "SQ", "BulkDataURI": "x"}}, {"00209165": {"vr": "AT", "Value": ["0020"]}},
        {"00100010": {"vr": "PN", "Value": [{"Alphabetic": 5}]}}, {"00100010": {"vr": "PN", "Value": [5]}},
        {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "a=b"}]}}, {"00180050": {"vr": "DS", "Value": [1e400]}},
        {"00189087": {"vr": "FL", "Value": [1e300]}}, {"FFFEE00D": {"vr": "UN"}}, {"00100020": {"vr": 5}},
    ],
)  # fmt: skip
def test_what_is_no_dicom_json_is_refused(document: Any) -> None:
    with pytest.raises(CorruptData):
        from_json(document, {"x": b""})


def test_depth_is_limited() -> None:
    document: dict[str, Any] = {}
    for _ in range(70):
        document = {"00081140": {"vr": "SQ", "Value": [document]}}
    with pytest.raises(LimitExceeded):
        from_json(document, {})


TEXT = st.text(st.characters(exclude_characters="\\=", exclude_categories=("Cs", "Cc")), max_size=12).map(str.strip)
ATTRIBUTES = st.fixed_dictionaries(
    {},
    optional={
        "00080060": st.builds(lambda each: {"vr": "CS", "Value": [each]}, st.sampled_from(["CT", "MR"])),
        "00081030": TEXT.filter(bool).map(lambda each: {"vr": "LO", "Value": [each, None, each]}),
        "00100010": TEXT.filter(bool).map(lambda each: {"vr": "PN", "Value": [{"Alphabetic": each, "Phonetic": each}]}),
        "00180050": st.floats(-1e6, 1e6).map(lambda each: {"vr": "DS", "Value": [float(f"{each:.9g}")]}),
        "00189087": st.floats(width=32, allow_nan=False, allow_infinity=False).map(
            lambda each: {"vr": "FD", "Value": [each]}
        ),
        "00200013": st.integers(-(1 << 31), (1 << 31) - 1).map(lambda each: {"vr": "IS", "Value": [each]}),
        "00280010": st.integers(0, 65535).map(lambda each: {"vr": "US", "Value": [each]}),
    },
)
DOCUMENTS = st.recursive(
    ATTRIBUTES,
    lambda inner: st.builds(
        lambda top, items: {**top, "0040A730": {"vr": "SQ", "Value": items}},
        ATTRIBUTES,
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(DOCUMENTS)
def test_any_document_survives(document: dict[str, Any]) -> None:
    dataset: Dataset = from_json(document, {})
    found = orjson.loads(orjson.dumps(to_json(dataset)))
    assert found.pop("00080005") == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert found == document
