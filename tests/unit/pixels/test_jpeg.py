"""Surgery on JPEG streams: what is put in, what may never change, and what is refused."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from microtome.errors import CorruptData
from microtome.model import ColorSpace
from microtome.pixels import jpeg

EOI = b"\xff\xd9"
DQT, DHT, SOF, APP0, APP14 = 0xDB, 0xC4, {0xC0, 0xC1, 0xC2}, 0xE0, 0xEE
TABLES = {DQT, DHT}

ROWS, COLUMNS = np.mgrid[0:40, 0:56]
PICTURE = np.stack((ROWS * 5, COLUMNS * 4, (ROWS + COLUMNS) * 2), axis=-1).astype(np.uint8)


def jpg(array: NDArray[np.uint8] = PICTURE, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "JPEG", **options)
    return stream.getvalue()


def pixels(data: bytes) -> NDArray[np.int16]:
    return np.asarray(Image.open(io.BytesIO(data))).astype(np.int16)


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """The segments before the first scan, and everything from SOS on; for valid streams only."""
    assert data[:2] == b"\xff\xd8"
    at, segments = 2, list[bytes]()
    while data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        segments.append(data[at : at + 2 + length])
        at += 2 + length
        assert segments[-1][0] == 0xFF
    return segments, data[at:]


def stream(segments: list[bytes], rest: bytes = EOI) -> bytes:
    return b"\xff\xd8" + b"".join(segments) + rest


def only(data: bytes, *markers: int) -> list[bytes]:
    return [segment for segment in split(data)[0] if segment[1] in markers]


def plain(data: bytes) -> bytes:
    """The stream without any APPn segment, so that nothing declares its colour space."""
    segments, rest = split(data)
    return stream([s for s in segments if not 0xE0 <= s[1] <= 0xEF], rest)


def with_ids(data: bytes, ids: bytes) -> bytes:
    """The stream with other identifiers of its three components in SOF and SOS."""
    edited = bytearray(data)
    frame, scan = data.index(only(data, *SOF)[0]), len(data) - len(split(data)[1])
    edited[frame + 10 : frame + 19 : 3] = edited[scan + 5 : scan + 11 : 2] = ids
    return bytes(edited)


def adobe(data: bytes) -> list[int]:
    return [s[15] for s in only(data, APP14) if s[4:9] == b"Adobe"]


RGB_WITHOUT_A_WORD = with_ids(plain(jpg(keep_rgb=True, subsampling=0, quality=95)), b"\0\1\2")


@pytest.mark.parametrize("in_tables", [TABLES, {DQT}, {DHT}, TABLES | SOF], ids=["both", "DQT", "DHT", "and SOF"])
@pytest.mark.parametrize("color", ["ycbcr", "rgb"])
def test_tables_are_merged(in_tables: set[int], color: ColorSpace) -> None:
    whole = plain(jpg()) if color == "ycbcr" else RGB_WITHOUT_A_WORD
    segments, rest = split(whole)
    tables = stream([s for s in segments if s[1] in in_tables])
    tile = stream([s for s in segments if s[1] not in in_tables], rest)
    merged = jpeg.complete(tables, tile, color=color)
    assert split(merged)[1] == rest
    assert sorted(s for s in split(merged)[0] if s[1] != APP14) == sorted(segments)
    assert jpeg.frame(tile, tables) == jpeg.frame(whole)
    assert adobe(merged) == ([] if color == "ycbcr" else [0])
    truth, tolerance = (pixels(whole), 0) if color == "ycbcr" else (PICTURE, 12)
    assert np.abs(pixels(merged) - truth).max() <= tolerance
    assert jpeg.complete(tables, merged, color=color) == merged


@pytest.mark.parametrize("own", [TABLES, {DQT}])
def test_own_tables_win_over_shared_ones(own: set[int]) -> None:
    whole, other = plain(jpg(quality=90)), plain(jpg(quality=20))
    tile = stream(only(whole, *own, *SOF), split(whole)[1])
    tables = stream(only(other, DQT) + only(whole, DHT))
    told = jpeg.complete(tables, tile, color="ycbcr")
    np.testing.assert_array_equal(pixels(told), pixels(whole))
    assert own != TABLES or told == tile
    bare = stream(only(whole, *SOF), split(whole)[1])
    assert jpeg.Completion(tables, bare, color="ycbcr").apply(tile) == told, "tiles that begin otherwise"


def test_a_restart_interval_of_the_tables_does_not_reach_the_tile() -> None:
    tables = stream([*only(jpg(), *TABLES), b"\xff\xdd\0\x04\0\x02"])
    merged = jpeg.complete(tables, stream(only(jpg(), *SOF), split(jpg())[1]), color="ycbcr")
    assert not only(merged, 0xDD)


def test_rgb_with_ids_0_1_2_is_declared() -> None:
    assert np.abs(pixels(RGB_WITHOUT_A_WORD) - PICTURE).max() > 60, "a decoder would guess right anyway"
    declared = jpeg.complete(None, RGB_WITHOUT_A_WORD, color="rgb")
    assert np.abs(pixels(declared) - PICTURE).max() <= 12
    assert only(declared, APP14) == [b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"]


def test_nothing_is_declared_where_decoders_guess_right() -> None:
    gray, named = plain(jpg(PICTURE[:, :, 0])), with_ids(RGB_WITHOUT_A_WORD, b"RGB")
    assert jpeg.complete(None, gray, color="rgb") == jpeg.complete(None, gray, color="gray") == gray
    assert jpeg.complete(None, named, color="rgb") == named
    assert jpeg.complete(None, plain(jpg()), color="ycbcr") == plain(jpg())
    assert jpeg.complete(None, jpg(keep_rgb=True), color="rgb") == jpg(keep_rgb=True)


def test_luma_named_as_rgb_is_declared() -> None:
    declared = jpeg.complete(None, with_ids(plain(jpg()), b"RGB"), color="ycbcr")
    np.testing.assert_array_equal(pixels(declared), pixels(jpg()))


def test_a_wrong_adobe_segment_is_replaced() -> None:
    right = jpg(keep_rgb=True, subsampling=0)
    lying = right.replace(only(right, APP14)[0], only(right, APP14)[0][:-1] + b"\1")
    told = jpeg.complete(None, lying, color="rgb")
    assert (adobe(told), split(told)[1]) == ([0], split(right)[1])
    np.testing.assert_array_equal(pixels(told), pixels(right))


@pytest.mark.parametrize("data", [jpg(subsampling=0), plain(jpg(subsampling=2)), plain(jpg(subsampling=1))])
def test_jfif_and_subsampled_streams_are_luma_whatever_the_file_says(data: bytes) -> None:
    told = jpeg.complete(None, data, color="rgb")
    assert told == data
    assert np.abs(pixels(told) - PICTURE).mean() < 12


END = b"\xff\xda\0\x02"
STREAMS = {
    "baseline": jpg(),
    "EOI in a comment": jpg(comment=EOI),
    "progressive": jpg(progressive=True),
    "restarts": jpg(restart_marker_blocks=1),
    "noise": jpg(np.random.default_rng(5).integers(0, 256, (64, 64, 3), dtype=np.uint8), quality=100),
    "gray": jpg(PICTURE[:, :, 0]),
    "rgb": RGB_WITHOUT_A_WORD,
}


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("color", ["rgb", "ycbcr"])
@settings(max_examples=15)
@given(junk=st.binary(max_size=40).filter(lambda junk: EOI not in junk and not junk.startswith(b"\xd9")))
def test_the_scan_stays_and_what_follows_goes(name: str, color: ColorSpace, junk: bytes) -> None:
    data = STREAMS[name]
    told = jpeg.complete(None, data + junk, color=color)
    assert split(told)[1] == split(data)[1]
    assert jpeg.complete(None, told, color=color) == told
    assert jpeg.complete(None, data[:-2], color=color) == told, "a missing EOI is not put back"
    assert jpeg.Completion(None, data, color=color).apply(data + junk) == told


@pytest.mark.parametrize("name", STREAMS)
def test_the_frame_is_what_pillow_reads(name: str) -> None:
    frame, image = jpeg.frame(STREAMS[name]), Image.open(io.BytesIO(STREAMS[name]))
    assert (frame.size, frame.components) == (image.size, len(image.getbands()))
    layers: list[tuple[int, int, int, int]] = vars(image)["layer"]
    assert [(i, *s) for i, s in zip(frame.component_ids, frame.sampling, strict=True)] == [x[:3] for x in layers]
    declared = "jfif" in image.info, image.info.get("adobe_transform")
    assert (frame.precision, frame.jfif, frame.adobe_transform) == (8, *declared)


@pytest.mark.parametrize("name", STREAMS)
def test_heads_cut_off_anywhere_are_corrupt(name: str) -> None:
    for cut in range(STREAMS[name].index(b"\xff\xda") + 1):
        with pytest.raises(CorruptData):
            jpeg.complete(STREAMS[name], STREAMS[name][:cut], color="rgb")


SOF0 = bytes.fromhex("ffc0 000b 08 0010 0010 01 01 11 00")
HOSTILE = {
    "no SOI": b"\x89PNG", "no frame": stream([], END), "no marker": stream([SOF0], b"\0" + END),
    "length 0": stream([b"\xff\xdb\0\0"], END), "length beyond the end": stream([b"\xff\xdb\xff\xff"], bytes(100)),
    "frame too short": stream([b"\xff\xc0\0\x05\x08\0\x10"], END),
    "more components than bytes": stream([SOF0[:9] + b"\xff" + SOF0[10:]], END),
    "no components": stream([SOF0[:9] + b"\0" + SOF0[10:]], END),
    "no width": stream([SOF0[:7] + b"\0\0" + SOF0[9:]], END),
    "no height": stream([SOF0[:5] + b"\0\0" + SOF0[7:]], END),
    "endless segments": stream([SOF0, *[b"\xff\xfe\0\x02"] * 100_000], END),
    "endless restarts": stream([SOF0, b"\xff\xd0" * 100_000], END),
    "endless fill": stream([b"\xff" * 1_000_000], b""),
}  # fmt: skip


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_streams_are_corrupt(name: str) -> None:
    for call in (
        lambda: jpeg.complete(None, HOSTILE[name], color="rgb"),
        lambda: jpeg.Completion(None, jpg(), color="rgb").apply(HOSTILE[name]),
        lambda: jpeg.complete(HOSTILE[name], stream([], split(jpg())[1]), color="rgb"),
    ):
        with pytest.raises(CorruptData):
            call()


@given(data=st.binary(max_size=200), at=st.integers(0, 700), color=st.sampled_from(["rgb", "ycbcr", "gray"]))
def test_any_bytes_give_a_stream_or_corrupt_data(data: bytes, at: int, color: ColorSpace) -> None:
    whole = jpg()
    for hostile in (data, b"\xff\xd8" + data, whole[:at] + data + whole[at + len(data) :]):
        with contextlib.suppress(CorruptData):
            told = jpeg.complete(None, hostile, color=color)
            assert jpeg.complete(None, told, color=color) == told
            if EOI not in hostile[:-2]:  # the other case stands below
                assert jpeg.Completion(None, whole, color=color).apply(hostile) == told


def test_the_short_way_cuts_junk_that_ends_like_an_image() -> None:
    completion = jpeg.Completion(None, jpg() + b"padding", color="ycbcr")
    assert completion.apply(jpg() + b"junk" + EOI) == completion.apply(jpg()) == jpg()


def test_every_tile_of_a_real_slide(testdata: Path) -> None:
    with tifffile.TiffFile(testdata / "svs" / "CMU-1-Small-Region.svs") as file:
        page = file.pages.first
        tables, places = page.jpegtables, zip(page.dataoffsets, page.databytecounts, strict=True)
        tiles = [os.pread(file.filehandle.fileno(), count, offset) for offset, count in places]
        completion = jpeg.Completion(tables, tiles[0], color="rgb")
        for number, data in enumerate(tiles):
            told = completion.apply(data)
            assert told == jpeg.complete(tables, data, color="rgb")
            assert split(told)[1] == split(data)[1]
            decoded = page.decode(data, number, jpegtables=tables)[0]
            assert decoded is not None
            np.testing.assert_array_equal(pixels(told), decoded[0])
