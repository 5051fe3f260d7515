"""The dictionary and the transfer syntaxes against pydicom's."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microtome.dicom import dictionary, syntaxes


@pytest.mark.parametrize(
    ("tag", "vr", "keyword"),
    [
        (0x0010_0010, "PN", "PatientName"), (0x0028_0106, "US or SS", "SmallestImagePixelValue"),
        (0x6002_3000, "OB or OW", "OverlayData"), (0x0009_0010, "LO", ""), (0x0009_1010, "UN", ""),
        (0x0008_0000, "UL", ""), (0x0008_FFFF, "UN", ""),
    ],
)  # fmt: skip
def test_entries(tag: int, vr: str, keyword: str) -> None:
    assert (dictionary.vr(tag), dictionary.keyword(tag)) == (vr, keyword)


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("PatientName", 0x0010_0010),
        ("00100010", 0x0010_0010), ("7fe00010", 0x7FE0_0010), ("(0010,0010)", 0x0010_0010),
        ("patientname", None), ("0010001", None), ("001000100", None), ("", None), ("0010 0010", None),
        ("\u0660" * 8, None),
    ],
)  # fmt: skip
def test_tags(text: str, tag: int | None) -> None:
    assert dictionary.tag(text) == tag


@settings(deadline=None)
@given(st.integers(0, 0xFFFF_FFFF))
def test_any_tag_has_an_answer(tag: int) -> None:
    assert dictionary.vr(tag)
    assert dictionary.tag(dictionary.digits(tag)) == tag
    word = dictionary.keyword(tag)
    assert not word or word.isidentifier()


def test_every_transfer_syntax_that_is_not_retired_is_known() -> None:
    from pydicom import uid

    live = {str(each) for each in uid.AllTransferSyntaxes if ".1.2.7." not in each}
    assert live <= set(syntaxes.ALL)
    for each in live:
        known, theirs = syntaxes.find(each), uid.UID(each)
        assert known.deflated == (theirs.is_deflated or ("Deflate" in theirs.name and known.codec == "jpip"))
        assert known.implicit == theirs.is_implicit_VR
        assert known.big_endian == (not theirs.is_little_endian)
        if known.codec != "jpip":
            assert known.encapsulated == theirs.is_compressed or known.uid.endswith((".1.98", ".1.99"))


def test_one_default_for_each_media_type() -> None:
    named: dict[str, list[str]] = {}
    for each in syntaxes.ALL.values():
        if each.encapsulated and each.media_type != "application/octet-stream":
            named.setdefault(each.media_type, []).append(each.uid)
    for found in named.values():
        assert sum(syntaxes.ALL[uid].default for uid in found) == 1


def test_a_private_syntax_can_be_handed_out() -> None:
    found = syntaxes.find("1.2.3.4")
    assert (found.encapsulated, found.codec, found.implicit) == (True, "unknown", False)


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    rooms = ", ".join(f"microtome.dicom.{each}" for each in ("part10", "json", "xml", "write", "encapsulated"))
    code = f"import sys, {rooms}; assert 'pydicom' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
