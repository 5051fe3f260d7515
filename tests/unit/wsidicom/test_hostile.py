"""Broken and hostile DICOM: only errors of the house come out."""

from __future__ import annotations

import asyncio
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microtome.errors import CorruptData, LimitExceeded, MicrotomeError, NotFound, UnsupportedFormat
from microtome.formats.wsidicom import WsidicomFormat
from microtome.model import EncodedTile, TileIndex
from microtome.pixels import codecs
from microtome.storage.folder import open_files
from microtome.storage.memory import MemoryStore
from tests.unit.wsidicom.dicommaker import JPEG, JPEG_2000, RAW, TILE, instance, tiles

GOOD = {
    (syntax, sparse): instance(tiles(2, 2), size=(2 * TILE, 2 * TILE), syntax=syntax, sparse=sparse)
    for syntax in (RAW, JPEG, JPEG_2000)
    for sparse in (False, True)
}


async def use(*files: bytes) -> None:
    store = MemoryStore({f"slide/{number}.dcm": data for number, data in enumerate(files)})
    slide = await WsidicomFormat().open(await open_files(store, "slide"))
    try:
        info = await slide.info()
        for number, level in enumerate(info.levels):
            index = TileIndex(number, level.columns - 1, level.rows - 1)
            for each in (TileIndex(number, 0, 0), index):
                slide.peek_tile(each)
                try:
                    tile = await slide.read_tile(each)
                    if isinstance(tile, EncodedTile):
                        codecs.decode(tile)
                except MicrotomeError:
                    continue
    finally:
        await slide.close()


async def refusal(*files: bytes) -> MicrotomeError:
    with pytest.raises(MicrotomeError) as refused:
        await use(*files)
    assert len(refused.value.message) > 20
    return refused.value


@pytest.mark.parametrize("syntax", [RAW, JPEG, JPEG_2000])
@pytest.mark.parametrize("sparse", [False, True])
async def test_a_file_cut_anywhere_is_refused_or_tells_which_frame_is_missing(syntax: str, sparse: bool) -> None:
    data = GOOD[syntax, sparse]
    for length in range(0, len(data), 97):
        try:
            await use(data[:length])
        except MicrotomeError as refused:
            assert len(refused.message) > 20


async def test_a_frame_that_breaks_off_is_corrupt() -> None:
    data = GOOD[JPEG, False]
    store = MemoryStore({"a.dcm": data[:-60]})
    slide = await WsidicomFormat().open(await open_files(store, "a.dcm"))
    await slide.read_tile(TileIndex(0, 0, 0))
    with pytest.raises(CorruptData):
        await slide.read_tile(TileIndex(0, 1, 1))
    await slide.close()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_mutations_raise_only_errors_of_the_house(data: st.DataObject) -> None:
    good = bytearray(GOOD[data.draw(st.sampled_from([RAW, JPEG, JPEG_2000])), data.draw(st.booleans())])
    for _ in range(data.draw(st.integers(1, 6))):
        good[data.draw(st.integers(128, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        asyncio.run(asyncio.wait_for(use(bytes(good)), 20))
    except MicrotomeError:
        return


async def test_sizes_that_make_no_sense() -> None:
    found = tiles(1, 1)
    assert isinstance(await refusal(instance(found, size=(0, 0))), CorruptData | UnsupportedFormat)
    huge = instance(found, size=(4_000_000_000, 4_000_000_000), sparse=True)
    assert isinstance(await refusal(huge), LimitExceeded)
    large = instance(found, size=(60000, 60000), Rows=60000, Columns=60000)
    assert isinstance(await refusal(large), LimitExceeded)
    many = instance(found, size=(TILE, TILE), TotalPixelMatrixFocalPlanes=2**31, sparse=True)
    assert isinstance(await refusal(many), LimitExceeded | CorruptData)


async def test_a_frame_outside_of_the_tiling_is_corrupt() -> None:
    found = {(0, 0, 5, 5): tiles(1, 1)[0, 0, 0, 0]}
    assert isinstance(await refusal(instance(found, size=(TILE, TILE), sparse=True)), CorruptData)


async def test_an_element_longer_than_the_file_is_not_read() -> None:
    data = GOOD[RAW, False]
    at = data.index(struct.pack("<HH", 0x0048, 0x0105) + b"SQ")
    hostile = data[: at + 8] + b"\xf0\xff\xff\xff" + data[at + 12 :]
    await refusal(hostile)
    at = data.index(struct.pack("<HH", 0x0008, 0x0070) + b"LO") if b"LO" in data[:2000] else at
    await refusal(data[:132] + struct.pack("<HH2sHI", 8, 5, b"UN", 0, 0xF0000000) + data[132:])


async def test_other_objects_beside_a_slide_are_left_out_and_alone_are_refused_by_name() -> None:
    segmentation = instance(tiles(1, 1), size=(TILE, TILE), SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4")
    refused = await refusal(segmentation)
    assert isinstance(refused, UnsupportedFormat)
    assert refused.feature == "Segmentation Storage (1.2.840.10008.5.1.4.1.1.66.4)"
    await use(segmentation, GOOD[RAW, False], b"not DICOM at all" * 20)
    assert isinstance(await refusal(b"not DICOM at all" * 20), CorruptData | UnsupportedFormat)


async def test_one_of_too_many_stains_or_planes() -> None:
    refused = await refusal(instance(tiles(1, 1), size=(TILE, TILE), PhotometricInterpretation="XYZ"))
    assert isinstance(refused, UnsupportedFormat)
    assert "XYZ" in refused.message


async def test_closing_twice_and_reading_afterwards() -> None:
    store = MemoryStore({"a.dcm": GOOD[JPEG, True]})
    slide = await WsidicomFormat().open(await open_files(store, "a.dcm"))
    await slide.close()
    await slide.close()
    with pytest.raises(MicrotomeError):
        await slide.read_tile(TileIndex(0, 0, 0))
    with pytest.raises(NotFound):
        await slide.read_associated("label")
