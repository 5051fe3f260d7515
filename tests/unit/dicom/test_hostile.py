"""Bytes of an enemy: every answer is a data set or an error of ours, in bounded memory and few reads."""

from __future__ import annotations

import struct
from functools import cache

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from microtome.dicom import syntaxes
from microtome.dicom.encapsulated import frame_table
from microtome.dicom.fromjson import from_json
from microtome.dicom.json import to_json
from microtome.dicom.part10 import Part10, opened, read_value, scan
from microtome.dicom.write import part10 as written
from microtome.dicom.xml import from_xml, to_xml
from microtome.errors import MicrotomeError
from tests.unit.dicom.corpus import CountingFile
from tests.unit.dicom.making import ITEM_END, SEQUENCE_END, UNDEFINED, encapsulated, explicit, implicit, item, part10

SYNTAXES = [
    syntaxes.EXPLICIT_LITTLE,
    syntaxes.IMPLICIT_LITTLE,
    syntaxes.EXPLICIT_BIG,
    syntaxes.DEFLATED_LITTLE,
    "1.2.3",
]
VRS = "AE AT CS DA DS FD FL IS LO OB OW PN SH SQ UC UI UL UN US UT UV XX".split()  # noqa: SIM905
TAGS = [
    0x0008_0005, 0x0008_0060, 0x0008_1140, 0x0009_0010, 0x0009_1001, 0x0010_0010, 0x0028_0103, 0x0028_3002, 0x0028_3006,
    0x0040_A730, 0x7FE0_0001, 0x7FE0_0002, 0x7FE0_0010, 0xFFFE_E000, 0xFFFE_E00D, 0xFFFE_E0DD, 0xFFFC_FFFC, 0,
    0xFFFF_FFFF,
]  # fmt: skip
LENGTHS = st.sampled_from([0, 1, 2, 4, 8, 100, 65535, 0xFFFE, UNDEFINED, UNDEFINED - 1, 1 << 31])
VALUES = st.binary(max_size=12) | st.sampled_from(
    [b"ISO_IR 192", b"\\ISO 2022 IR 87", b"1\\2\\nan", b"^=^", b"\xff\xfe"]
)


@cache
def sample() -> bytes:
    """A small file with a bit of everything."""
    nested = explicit(0x0040_A730, "SQ", item(explicit(0x0040_A160, "UT", b"text")) + item())
    endless = explicit(0x0008_1140, "UN", item(implicit(0x0008_1150, b"1.2\0"), length=UNDEFINED), length=UNDEFINED)
    return b"".join(
        (
            explicit(0x0008_0005, "CS", b"\\ISO 2022 IR 87 "),
            explicit(0x0008_0060, "CS", b"CT"),
            endless + ITEM_END + SEQUENCE_END,
            explicit(0x0010_0010, "PN", b"A^B=\x1b$B;3ED\x1b(B"),
            explicit(0x0018_0050, "DS", b"1.5\\2 "),
            explicit(0x0028_0008, "IS", b"2 "),
            explicit(0x0028_9001, "UL", b"\1\2\3\4"),
            nested,
            explicit(0x7FE0_0001, "OV", struct.pack("<2Q", 0, 10)),
            explicit(0x7FE0_0002, "OV", struct.pack("<2Q", 2, 2)),
            encapsulated([b"ab", b"cd"]),
        )
    )


def survive(data: bytes) -> Part10 | None:
    """Everything that is done with a file; None when it was refused."""
    file = CountingFile(data)
    try:
        header = scan(file, large=64)
    except MicrotomeError as error:
        assert str(error)
        return None
    assert max(file.requests) <= 1 << 20
    assert sum(file.requests) <= 4 * len(data) + (64 << 10)
    found = to_json(header.dataset, bulk_uri=str, pixels=header.pixels)
    assert orjson.loads(orjson.dumps(found)) == found
    source = opened(file, header)
    try:
        frames = header.dataset.whole(0x0028_0008, 1)
        if header.pixels is not None and header.pixels.length is None:
            frame_table(source, header.pixels, frames, header.transfer_syntax)
        again = written(header.dataset, syntaxes.EXPLICIT_LITTLE, read=lambda bulk: read_value(source, bulk))
        from_json(to_json(header.dataset, inline_up_to=0), {})
        from_xml(to_xml(header.dataset, bulk_uri=str), {})
    except MicrotomeError:
        return header
    assert survives_again(again)
    return header


def survives_again(data: bytes) -> bool:
    """What we wrote ourselves is never broken, though it may hold nothing."""
    try:
        return not scan(CountingFile(data)).problems
    except MicrotomeError as error:
        return "no data element" in str(error)


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    survive(data)


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from(SYNTAXES))
def test_any_data_set(data: bytes, uid: str) -> None:
    survive(part10(data, uid))


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(VRS), VALUES, st.none() | LENGTHS), max_size=12))
def test_any_elements(elements: list[tuple[int, str, bytes, int | None]]) -> None:
    content = b""
    for tag, vr, value, length in elements:
        short = vr not in {"OB", "OW", "SQ", "UC", "UN", "UT", "UV"}
        content += explicit(
            tag, vr, value, length=None if length is None else length & (0xFFFF if short else UNDEFINED)
        )
    survive(part10(content))


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(TAGS), VALUES, st.none() | LENGTHS), max_size=12))
def test_any_implicit_elements(elements: list[tuple[int, bytes, int | None]]) -> None:
    content = b"".join(implicit(tag, value, length=length) for tag, value, length in elements)
    survive(part10(content, syntaxes.IMPLICIT_LITTLE))


@settings(deadline=None)
@given(st.integers(0, 600), st.binary(min_size=1, max_size=8))
def test_any_damage_to_a_good_file(place: int, damage: bytes) -> None:
    good = part10(sample(), syntaxes.JPEG_BASELINE)
    survive(good[:place] + damage + good[place + len(damage) :])


@settings(deadline=None)
@given(st.integers(0, 600))
def test_any_end_of_a_good_file(length: int) -> None:
    survive(part10(sample(), syntaxes.JPEG_BASELINE)[:length])


def test_the_good_file_is_good() -> None:
    header = survive(part10(sample(), syntaxes.JPEG_BASELINE))
    assert header is not None
    assert header.problems == ()
    assert header.dataset.string(0x0010_0010) == "A^B=山田"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["00100010", "0040A730", "00282000", "vr", "Value", "InlineBinary", "BulkDataURI", "Alphabetic"]
            ),
            inner | st.sampled_from(VRS),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(JSON)
def test_any_json(document: object) -> None:
    try:
        dataset = from_json(document, {"x": b"y"})
    except MicrotomeError:
        return
    assert survives_again(written(dataset, syntaxes.EXPLICIT_LITTLE))


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text("<>/=\"' abDicomAttributeValueItem!&;", max_size=100).map(str.encode))
def test_any_xml(document: bytes) -> None:
    try:
        from_xml(document, {})
    except MicrotomeError:
        return
