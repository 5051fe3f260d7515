"""Frame tables against pydicom, of every way to write them, and of forged ones."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microtome.dicom import syntaxes
from microtome.dicom.encapsulated import FrameTable, frame_table, item_of, offset_table
from microtome.dicom.part10 import Memory, PixelData, scan
from microtome.errors import CorruptData, InvalidRequest, LimitExceeded, MicrotomeError, NotFound
from tests.unit.dicom.corpus import CountingFile, dicom_files, name_of
from tests.unit.dicom.making import SEQUENCE_END, UNDEFINED, encapsulated, explicit, item, part10

JPEG = b"\xff\xd8\xff\xe0"
END = b"\xff\xd9"
MP4 = "1.2.840.10008.1.2.4.102"


def with_fragments() -> list[Path]:
    pixels = {each: scan(Memory(each.read_bytes())).pixels for each in dicom_files()}
    return [path for path, found in pixels.items() if found is not None and found.length is None]


@pytest.mark.parametrize("path", with_fragments(), ids=name_of)
def test_frames_are_those_of_pydicom(path: Path) -> None:
    file = Memory(path.read_bytes())
    header = scan(file)
    assert header.pixels is not None
    frames = header.dataset.whole(0x0028_0008, 1)
    table = frame_table(file, header.pixels, frames, header.transfer_syntax)
    if path.name == "emri_small_jpeg_2k_lossless_too_short.dcm":
        assert (table.frames, table.complete) == (10, False)
        return
    from pydicom.encaps import generate_frames

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = list(generate_frames(file.data[header.pixels.offset :], number_of_frames=frames))
    assert [frame(file, table, each) for each in range(table.frames)] == theirs
    assert table.complete
    assert_same(FrameTable.unpack(table.pack()), table)


def frame(file: Memory, table: FrameTable, number: int) -> bytes:
    return b"".join(file.read_at(*each) for each in table.ranges(number))


def assert_same(one: FrameTable, other: FrameTable) -> None:
    assert np.array_equal(one.offsets, other.offsets)
    assert np.array_equal(one.lengths, other.lengths)
    if one.first is None or other.first is None:
        assert one.first is other.first
    else:
        assert np.array_equal(one.first, other.first)
    assert one.complete == other.complete


def made(fragments: list[bytes], table: bytes = b"") -> tuple[CountingFile, PixelData]:
    file = CountingFile(encapsulated(fragments, table))
    return file, PixelData(0x7FE0_0010, "OB", 12, None)


def frames_of(
    fragments: list[bytes], frames: int, *, table: bytes = b"", syntax: str = syntaxes.JPEG_BASELINE
) -> list[bytes]:
    file, pixels = made(fragments, table)
    found = frame_table(file, pixels, frames, syntax)
    assert_same(FrameTable.unpack(found.pack()), found)
    return [frame(file, found, each) for each in range(found.frames)]


def test_one_fragment_each() -> None:
    assert frames_of([b"ab", b"cdef", b""], 3) == [b"ab", b"cdef", b""]


def test_one_frame_is_all_fragments() -> None:
    assert frames_of([b"ab", b"cdef"], 1) == [b"abcdef"]
    assert frames_of([b"ab", b"cdef"], 0) == [b"abcdef"]


def test_a_video_is_one_frame() -> None:
    assert frames_of([b"ab", b"cd", b"ef"], 300, syntax=MP4) == [b"abcdef"]


def test_the_basic_table_tells_which_fragments_belong_together() -> None:
    table = struct.pack("<2I", 0, 2 * 8 + 6)
    assert frames_of([b"ab", b"cdef", b"gh"], 2, table=table) == [b"abcdef", b"gh"]


@pytest.mark.parametrize(
    "table",
    [struct.pack("<2I", 0, 5), struct.pack("<2I", 0, 1 << 31), struct.pack("<2I", 8, 4), struct.pack("<I", 0), b"abc "],
)
def test_a_wrong_basic_table_is_not_believed(table: bytes) -> None:
    fragments = [JPEG + b"1 ", b"2 " + END, JPEG + b"3 ", b"4 " + END]
    assert frames_of(fragments, 2, table=table) == [b"".join(fragments[:2]), b"".join(fragments[2:])]


@pytest.mark.parametrize("start", [JPEG, b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ", b"\xff\x0a", b"\0\0\0\x0cJXL "])
def test_without_a_table_frames_begin_like_images(start: bytes) -> None:
    fragments = [start + b"1 ", b"2 ", b"3 ", start, start + b"4 ", b"5 "]
    assert frames_of(fragments, 3) == [b"".join(fragments[:3]), start, b"".join(fragments[4:])]


def test_when_nobody_can_tell_it_is_corrupt() -> None:
    with pytest.raises(CorruptData, match="3 fragments without an offset table for 2 frames"):
        frames_of([b"ab", b"cd", b"ef"], 2)


def test_missing_frames_are_not_found() -> None:
    file, pixels = made([b"ab", b"cd"])
    table = frame_table(file, pixels, 5, syntaxes.RLE)
    assert table.frames == 2
    with pytest.raises(NotFound) as caught:
        table.ranges(2)
    assert caught.value.name == "3"


def extended(lengths: list[int], fragments: list[bytes]) -> tuple[CountingFile, PixelData]:
    offsets = np.cumsum([0] + [8 + len(each) for each in fragments])[: len(lengths)]
    content = explicit(0x7FE0_0001, "OV", struct.pack(f"<{len(lengths)}Q", *offsets))
    content += explicit(0x7FE0_0002, "OV", struct.pack(f"<{len(lengths)}Q", *lengths))
    data = part10(content + encapsulated(fragments), syntaxes.JPEG_BASELINE)
    header = scan(Memory(data), large=16)
    assert header.pixels is not None
    return CountingFile(data), header.pixels


def test_the_extended_table_saves_the_walk_and_tells_odd_lengths() -> None:
    file, pixels = extended([1, 4, 5], [b"a\0", b"bcde", b"fghij\0"])
    table = frame_table(file, pixels, 3, syntaxes.JPEG_BASELINE)
    assert [frame(file, table, each) for each in range(3)] == [b"a", b"bcde", b"fghij"]
    many = [b"ab"] * 1000
    file, pixels = extended([2] * 1000, many)
    frame_table(file, pixels, 1000, syntaxes.JPEG_BASELINE)
    assert len(file.requests) < 10


@pytest.mark.parametrize(
    "lengths", [[9, 4, 5], [1, 4, 1 << 62], [1, (1 << 64) - 8, 5], [1 << 63, 4, 5], [1, 4], [1, 4, 500]]
)
def test_a_wrong_extended_table_is_not_believed(lengths: list[int]) -> None:
    file, pixels = extended(lengths, [b"a\0", b"bcde", b"fghij\0"])
    table = frame_table(file, pixels, 3, syntaxes.JPEG_BASELINE)
    assert [frame(file, table, each) for each in range(3)] == [b"a\0", b"bcde", b"fghij\0"]


def test_believing_the_basic_table_takes_a_dozen_reads() -> None:
    fragments = [bytes(each % 7 * 2) for each in range(5000)]
    file, pixels = made(fragments, offset_table([len(each) for each in fragments]))
    table = frame_table(file, pixels, 5000, syntaxes.JPEG_BASELINE, believe=True)
    assert len(file.requests) < 16
    assert_same(table, frame_table(file, pixels, 5000, syntaxes.JPEG_BASELINE))


def test_a_basic_table_of_several_fragments_is_not_believed_blindly() -> None:
    fragments = [JPEG + b"ab", b"cd", JPEG + b"ef"]
    file, pixels = made(fragments, struct.pack("<2I", 0, 8 + 6 + 8 + 2))
    table = frame_table(file, pixels, 2, syntaxes.JPEG_BASELINE, believe=True)
    assert [len(table.ranges(each)) for each in range(2)] == [2, 1]


def test_a_hundred_thousand_frames_in_a_few_requests_and_bytes() -> None:
    fragments = [bytes(2 + each % 300 * 2) for each in range(100_000)]
    file, pixels = made(fragments)
    table = frame_table(file, pixels, 100_000, syntaxes.JPEG_BASELINE, window=1 << 20)
    assert table.frames == 100_000
    assert len(file.requests) < file.size / (1 << 20) + 10
    packed = table.pack()
    assert len(packed) < 250_000
    assert_same(FrameTable.unpack(packed), table)
    assert frame(file, table, 99_999) == fragments[-1]


def test_a_walk_reads_only_headers() -> None:
    file, pixels = made([bytes(100_000)] * 20)
    frame_table(file, pixels, 20, syntaxes.JPEG_BASELINE)
    assert sum(file.requests) < 1000


# -- broken


def test_a_fragment_cut_off_is_told() -> None:
    file, pixels = made([b"ab", b"cdef"])
    cut = Memory(file.data[:-10])
    table = frame_table(cut, pixels, 2, syntaxes.JPEG_BASELINE)
    assert not table.complete
    assert [frame(cut, table, each) for each in range(2)] == [b"ab", b"cd"]
    assert sum(table.ranges(1)[0]) == cut.size


@pytest.mark.parametrize(
    "data",
    [b"", b"abcd", item(b"", length=UNDEFINED), item(b"", length=100), item() + b"nonsense", SEQUENCE_END],
)
def test_no_items_are_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptData):
        frame_table(Memory(data), PixelData(0x7FE0_0010, "OB", 0, None), 1, syntaxes.JPEG_BASELINE)


def test_native_pixels_need_no_table() -> None:
    with pytest.raises(InvalidRequest):
        frame_table(Memory(b"ab"), PixelData(0x7FE0_0010, "OW", 0, 2), 1, syntaxes.EXPLICIT_LITTLE)


def test_forged_numbers_of_frames_take_no_memory() -> None:
    file, pixels = made([b"ab", b"cd"])
    table = frame_table(file, pixels, (1 << 31) - 1, syntaxes.JPEG_BASELINE)
    assert table.frames == 2
    assert max(file.requests) <= 16


def test_fragments_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microtome.dicom.encapsulated.FRAGMENTS", 100)
    file, pixels = made([b""] * 200)
    with pytest.raises(LimitExceeded):
        frame_table(file, pixels, 200, syntaxes.JPEG_BASELINE)


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 1 << 40), st.booleans())
def test_any_bytes_make_a_table_or_an_error(data: bytes, frames: int, believe: bool) -> None:
    file = CountingFile(item() + data)
    pixels = PixelData(0x7FE0_0010, "OB", 0, None, frame_offsets=data[:16], frame_lengths=data[16:32])
    try:
        table = frame_table(file, pixels, frames, syntaxes.JPEG_BASELINE, believe=believe)
    except MicrotomeError:
        return
    for each in range(table.frames):
        assert all(offset + length <= file.size for offset, length in table.ranges(each))


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20), min_size=1, max_size=20))
def test_what_we_write_we_find(values: list[bytes]) -> None:
    data = item_of(offset_table([len(each) for each in values])) + b"".join(map(item_of, values)) + SEQUENCE_END
    file = Memory(data)
    table = frame_table(file, PixelData(0x7FE0_0010, "OB", 0, None), len(values), syntaxes.JPEG_BASELINE)
    assert [frame(file, table, each)[: len(value)] for each, value in enumerate(values)] == values


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_no_table_is_unpacked_of_other_bytes(data: bytes) -> None:
    with pytest.raises(CorruptData):
        FrameTable.unpack(data)
    with pytest.raises(CorruptData):
        FrameTable.unpack(b"FT1\0" + data)


def test_offsets_beyond_32_bits_make_an_empty_table() -> None:
    assert offset_table([2, 3, 4]) == struct.pack("<3I", 0, 10, 22)
    assert offset_table([1 << 31, 1 << 31, 5]) == b""
