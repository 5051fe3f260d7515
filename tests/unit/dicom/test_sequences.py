"""Sequences too large for memory: their items read one by one say what the whole would, and no enemy gains by them."""

from __future__ import annotations

import struct

import orjson
import pytest

from microtome.dicom import json, syntaxes, xml
from microtome.dicom.content import is_within_large, value_at
from microtome.dicom.dataset import Bulk, Dataset, LargeSequence
from microtome.dicom.encapsulated import frame_table
from microtome.dicom.encoding import ScanLimits
from microtome.dicom.files import FileContent
from microtome.dicom.overlays.segments import segmentation_of
from microtome.dicom.part10 import Memory, Part10, opened, read_value, scan
from microtome.dicom.sequences import NOTHING, ItemReader, has_large, with_item
from microtome.dicom.write import preamble, preamble_pieces
from microtome.errors import InvalidRequest, LimitExceeded, MicrotomeError, NotFound
from tests.dicomlarge import slide
from tests.unit.dicom.corpus import CountingFile, dicom_files
from tests.unit.dicom.making import ITEM_END, SEQUENCE_END, UNDEFINED, explicit, implicit, item, part10
from tests.unit.dicom.test_frame_requests import Distant, indexed

FRAMES = 0x5200_9230


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sequence with anything in it is large."""
    monkeypatch.setattr("microtome.dicom.scanner.SEQUENCE_ELEMENTS", 0)


def told(data: bytes) -> tuple[Part10, bytes]:
    file = Memory(data)
    header = scan(file)
    items = ItemReader(opened(file, header))
    return header, b"".join(json.pieces(header.dataset, items, bulk_uri=str, pixels=header.pixels))


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("implicit_vr", [False, True])
def test_nested_sequences(tiny: None, undefined: bool, implicit_vr: bool) -> None:
    def element(tag: int, vr: str, value: bytes) -> bytes:
        length = UNDEFINED if vr == "SQ" and undefined else None
        value = value + SEQUENCE_END if length else value
        return implicit(tag, value, length=length) if implicit_vr else explicit(tag, vr, value, length=length)

    def one(value: bytes) -> bytes:
        return item(value + ITEM_END, length=UNDEFINED) if undefined else item(value)

    deep = element(
        0x0008_1140, "SQ", one(element(0x0008_1150, "UI", b"1.2\0")) + one(element(0x0008_1155, "UI", b"3\0"))
    )
    value = bytes(range(200)) * 400
    first = one(deep + element(0x0028_2000, "OB", value))
    data = (
        element(0x0008_0060, "CS", b"CT")
        + element(0x0040_A730, "SQ", first + one(b""))
        + element(0x0070_0080, "CS", b"A ")
    )
    whole = part10(data, syntaxes.IMPLICIT_LITTLE if implicit_vr else syntaxes.EXPLICIT_LITTLE)
    header, text = told(whole)
    assert isinstance(header.dataset.elements[0x0040_A730].value, LargeSequence)
    assert header.dataset.string(0x0070_0080) == "A"
    assert header.problems == ()
    items = orjson.loads(text)["0040A730"]["Value"]
    assert [each["00081150"]["Value"] for each in items[0]["00081140"]["Value"][:1]] == [["1.2"]]
    assert items[0]["00282000"] == {"vr": "OB", "BulkDataURI": "0040A730/1/00282000"}
    assert items[1] == {}
    reader = ItemReader(Memory(whole))
    assert is_within_large(header.dataset, "0040A730/1/00282000")
    found = value_at(header.dataset, "0040A730/1/00282000", reader)
    assert isinstance(found, Bulk)
    assert reader.value(found) == value
    for missing in ("0040A730/3/00282000", "0040A730/2/00282000"):
        with pytest.raises(NotFound):
            value_at(header.dataset, missing, reader)
    assert reader.one(header.dataset.elements[0x0040_A730].value, header.dataset.text, 1) == Dataset({})
    assert xml.to_xml(header.dataset).count(b"<Item") == 0
    assert b"".join(xml.pieces(header.dataset, reader)).count(b"<Item") == 4
    with pytest.raises(InvalidRequest):
        preamble(header.dataset, syntaxes.EXPLICIT_LITTLE)


def test_every_file_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read with all of its sequences in memory, and with none."""
    large = 0
    for path in dicom_files():
        data = path.read_bytes()
        if len(data) > 4 << 20:
            continue
        monkeypatch.setattr("microtome.dicom.scanner.SEQUENCE_ELEMENTS", 1 << 40)
        try:
            header = scan(Memory(data))
        except MicrotomeError:
            continue
        expected = json.to_json(header.dataset, bulk_uri=str, pixels=header.pixels)
        monkeypatch.setattr("microtome.dicom.scanner.SEQUENCE_ELEMENTS", 0)
        again, text = told(data)
        assert orjson.loads(text) == expected, path.name
        if not has_large(again.dataset):
            continue
        large += 1
        source = opened(Memory(data), again)
        head = preamble_pieces(
            again.dataset, syntaxes.EXPLICIT_LITTLE, read=lambda bulk, file=source: read_value(file, bulk),
            items=ItemReader(source),
        )  # fmt: skip
        monkeypatch.setattr("microtome.dicom.scanner.SEQUENCE_ELEMENTS", 1 << 40)
        anew = scan(Memory(b"".join(head)))
        assert anew.problems == ()
        file = opened(Memory(data), header)
        plain = preamble(header.dataset, syntaxes.EXPLICIT_LITTLE, read=lambda bulk, file=file: read_value(file, bulk))
        written = [json.to_json(each.dataset, inline_up_to=1 << 30) for each in (anew, scan(Memory(plain)))]
        assert written[0] == written[1], path.name
    assert large > 20 or not dicom_files()


def test_an_item_stands_alone_at_its_number(tiny: None) -> None:
    items = b"".join(item(explicit(0x0028_0010, "US", struct.pack("<H", number))) for number in range(5))
    data = part10(explicit(FRAMES, "SQ", items))
    header = scan(Memory(data))
    for number in (0, 4):
        *before, found = with_item(header.dataset, FRAMES, number, ItemReader(Memory(data))).items(FRAMES)
        assert [each.elements for each in before] == [{}] * number
        assert found.whole(0x0028_0010) == number
    assert with_item(header.dataset, FRAMES, 5, ItemReader(Memory(data))).items(FRAMES) == ()


def large(dataset: Dataset) -> LargeSequence:
    value = dataset.elements[FRAMES].value
    assert isinstance(value, LargeSequence)
    return value


def endless(levels: int) -> bytes:
    return (explicit(0x0040_A730, "SQ", length=UNDEFINED) + item(length=UNDEFINED)) * levels


def test_elements_that_are_passed_over_are_counted() -> None:
    data = part10(explicit(FRAMES, "SQ", item(ITEM_END, length=UNDEFINED) * 40_000, length=UNDEFINED) + SEQUENCE_END)
    assert isinstance(scan(Memory(data)).dataset.elements[FRAMES].value, LargeSequence)
    with pytest.raises(LimitExceeded) as caught:
        scan(Memory(data), limits=ScanLimits(elements=30_000))
    assert caught.value.limit == "dicom_header_elements"


@pytest.mark.parametrize("length", [UNDEFINED, 6 << 20])
def test_bytes_that_are_passed_over_are_counted(length: int) -> None:
    content = item(explicit(0x0040_A160, "UT", b"x" * 50_000)) * 125
    content += item(bytes(0))
    content += b"" if length == UNDEFINED else item(bytes(length - len(content) - 8)) if length > len(content) else b""
    data = part10(explicit(FRAMES, "SQ", content, length=length if length == UNDEFINED else None) + SEQUENCE_END)
    assert has_large(scan(Memory(data)).dataset)
    with pytest.raises(LimitExceeded) as caught:
        scan(Memory(data), limits=ScanLimits(header_bytes=5 << 20))
    assert caught.value.limit == "dicom_header_size"


def test_a_forged_length_of_a_large_sequence(tiny: None) -> None:
    """It ends with the file, and costs nothing."""
    file = CountingFile(part10(explicit(FRAMES, "SQ", item(explicit(0x0008_0060, "CS", b"CT")), length=0xFFFF_FFF0)))
    header = scan(file)
    assert header.problems
    assert max(file.requests) <= 16384
    assert len(list(ItemReader(file).each(large(header.dataset), header.dataset.text))) == 1


def test_a_large_sequence_without_its_end(tiny: None) -> None:
    data = part10(explicit(FRAMES, "SQ", item(explicit(0x0008_0060, "CS", b"CT")) * 3, length=UNDEFINED))
    header = scan(Memory(data))
    assert "a sequence without its end" in header.problems
    items = list(ItemReader(Memory(data)).each(large(header.dataset), header.dataset.text))
    assert [each.string(0x0008_0060) for each in items] == ["CT"] * 3


def test_deep_nesting_within_a_large_sequence() -> None:
    content = item(explicit(0x0008_0060, "CS", b"CT")) * 30_000 + item(endless(200), length=UNDEFINED)
    with pytest.raises(LimitExceeded) as caught:
        scan(Memory(part10(explicit(FRAMES, "SQ", content, length=UNDEFINED))))
    assert caught.value.limit == "DEPTH"


def test_segments_of_many_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microtome.dicom.scanner.SEQUENCE_ELEMENTS", 10)

    def group(number: int) -> bytes:
        position = explicit(0x0048_021E, "SL", struct.pack("<i", 1 + 8 * number))
        position += explicit(0x0048_021F, "SL", struct.pack("<i", 1))
        segment = explicit(0x0062_000B, "US", struct.pack("<H", 1))
        return item(explicit(0x0048_021A, "SQ", item(position)) + explicit(0x0062_000A, "SQ", item(segment)))

    data = b"".join((
        explicit(0x0008_0018, "UI", b"1.2\0"), explicit(0x0028_0008, "IS", b"3 "),
        explicit(0x0028_0010, "US", struct.pack("<H", 8)), explicit(0x0028_0011, "US", struct.pack("<H", 8)),
        explicit(0x0048_0006, "UL", struct.pack("<I", 24)), explicit(0x0048_0007, "UL", struct.pack("<I", 8)),
        explicit(0x0062_0001, "CS", b"BINARY"), explicit(FRAMES, "SQ", b"".join(map(group, range(3)))),
    ))  # fmt: skip
    file = Memory(part10(data))
    header = scan(file).dataset
    found = segmentation_of(header, ItemReader(file))
    assert found.columns.tolist() == [0, 8, 16]
    assert found.of_segment.tolist() == [1, 1, 1]
    with pytest.raises(MicrotomeError):
        segmentation_of(header, NOTHING)


@pytest.mark.asyncio
async def test_any_frame_of_a_large_header_is_one_request(tmp_path_factory: pytest.TempPathFactory) -> None:
    """And the header is passed over: neither it nor the pixels are read."""
    path = tmp_path_factory.mktemp("large") / "a.dcm"
    slide(path, 40_000, 200)
    data = path.read_bytes()
    store = Distant({"a.dcm": data})
    row = await indexed(store)
    assert row.header_length > 4 << 20
    content = FileContent(store)
    store.log.clear()
    table = frame_table(Memory(data), scan(Memory(data)).pixels, 40_000, row.transfer_syntax)  # type: ignore[arg-type]
    for number in (1, 20_000, 40_000):
        (found,) = await content.frames(row, [number])
        ((offset, length),) = table.ranges(number - 1)
        assert found == data[offset : offset + length]
    assert len(store.log) == 3
    store.log.clear()
    header = await content.header(row)
    assert isinstance(header.elements[FRAMES].value, LargeSequence)
    assert len(store.log) < 12
    again = await content.header(row)
    assert again is header
