"""Character sets against pydicom, PS3.5 Annexes H to K, and bytes that mean nothing."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microtome.dicom.charset import decoder
from microtome.dicom.dataset import Dataset
from microtome.dicom.part10 import Memory, scan
from tests.unit.dicom.corpus import dicom_files, name_of

NAMES = [
    "", "ISO_IR 6", "ISO_IR 13", "ISO_IR 100", "ISO_IR 101", "ISO_IR 109", "ISO_IR 110", "ISO_IR 126", "ISO_IR 127",
    "ISO_IR 138", "ISO_IR 144", "ISO_IR 148", "ISO_IR 166", "ISO_IR 192", "ISO_IR 203", "GB18030", "GBK",
    "ISO 2022 IR 58", "ISO 2022 IR 87", "ISO 2022 IR 149", "ISO 2022 IR 159", "nonsense",
]  # fmt: skip


def text_files() -> list[Path]:
    return [each for each in dicom_files() if each.parent.name == "charset_files"]


@pytest.mark.parametrize("path", text_files(), ids=name_of)
def test_text_is_that_of_pydicom(path: Path) -> None:
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pydicom.dcmread(path)
        theirs.decode()
        compare(scan(Memory(path.read_bytes())).dataset, theirs)


def compare(ours: Dataset, theirs: pydicom.Dataset) -> None:  # type: ignore[name-defined]  # noqa: F821
    for element in ours:
        other = theirs[element.tag]
        if isinstance(element.value, tuple):
            for mine, their in zip(element.value, other.value, strict=True):
                compare(mine, their)
        elif other.VR in {"PN", "LO", "SH", "LT", "ST", "UC", "UT"}:
            expected = [str(each) for each in other.value] if other.VM > 1 else [str(other.value)]
            found = list(ours.strings(element.tag)) or [""]
            assert [each.rstrip("=") for each in found] == [each.strip() for each in expected]


@pytest.mark.parametrize(
    ("names", "value", "expected"),
    [
        # PS3.5 §H.3.1, §H.3.2, §I.2, §J.1, §K.2
        (["", "ISO 2022 IR 87"],
         b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
         "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"],
         b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎"),
        (["", "ISO 2022 IR 149"],
         b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
         "Hong^Gildong=洪^吉洞=홍^길동"),
        (["ISO_IR 192"], "Wang^XiaoDong=王^小東".encode(), "Wang^XiaoDong=王^小東"),
        (["GB18030"], b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab", "Wang^XiaoDong=王^小东"),
        (["", "ISO 2022 IR 58"], b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab", "Zhang^XiaoDong=张^小东"),
        (["ISO 2022 IR 100", "ISO 2022 IR 144"], b"M\xfcller=\x1b-L\xbb\xee^\xfc", "Müller=Лю^ü"),
        (["ISO 2022 IR 100", "ISO 2022 IR 144"], b"\x1b-L\xbb\xee^\x1b(B\xfc", "Лю^ü"),
        (["ISO-IR 192"], "ü".encode(), "ü"),
        (["iso_ir_100 "], b"\xfc", "ü"),
        ([], b"\xfc", "ü"),
        (["nonsense"], b"\xfc", "ü"),
        (["ISO_IR 192"], b"\xff", "\ufffd"),
    ],
)  # fmt: skip
def test_names(names: list[str], value: bytes, expected: str) -> None:
    assert decoder(names)(value, "PN") == expected


def test_a_backslash_may_be_half_of_a_character() -> None:
    for names, value in ((["GB18030"], b"\x81\\"), (["", "ISO 2022 IR 87"], b"\x1b$B%\\\x1b(B")):
        assert b"\\" in value
        assert "\\" not in decoder(names)(value, "LO")


def test_only_text_is_in_the_character_set() -> None:
    assert decoder(["ISO_IR 144"])(b"\xbb", "CS") == "\xbb"


@settings(deadline=None)
@given(st.lists(st.sampled_from(NAMES), max_size=3), st.binary(max_size=60), st.sampled_from(["PN", "LO", "UT", "DS"]))
def test_nothing_ever_fails(names: list[str], value: bytes, vr: str) -> None:
    assert isinstance(decoder(names)(value, vr), str)


ESCAPES = st.sampled_from(
    [b"\x1b$B", b"\x1b(B", b"\x1b)I", b"\x1b$)C", b"\x1b$)A", b"\x1b-F", b"\x1b$(D", b"\x1b", b"\\", b"^"]
)


@settings(deadline=None)
@given(st.lists(st.sampled_from(NAMES), max_size=3), st.lists(ESCAPES | st.binary(max_size=5)).map(b"".join))
def test_no_escape_fails(names: list[str], value: bytes) -> None:
    decoder(names)(value, "PN").encode("utf-8")
