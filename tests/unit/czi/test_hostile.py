"""Broken and hostile CZI: only errors of the house come out, quickly and in bounded memory."""

from __future__ import annotations

import asyncio
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microtome.errors import CorruptData, LimitExceeded, MicrotomeError, UnsupportedFormat
from microtome.formats.czi import CziFormat
from microtome.formats.czi.metadata import parse
from microtome.model import TileIndex
from microtome.storage.memory import MemoryStore
from microtome.storage.pinned import PinnedObject
from tests.unit.czi.czimaker import JPEG, JPEG_XR, UNCOMPRESSED, ZSTD0, ZSTD1, Block, czi, metadata

GRAY = (np.arange(64 * 64).reshape(64, 64, 1) * 7).astype(np.uint16)
COLOR = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None, None], (64, 64, 3)).copy()
GOOD = {
    compression: czi(
        [Block(COLOR if compression == JPEG else GRAY, 64 * n, 0, compression=compression, mosaic=n) for n in range(3)],
        metadata([("a", "#FFFF0000")]),
        [("Label", "CZI", czi([Block(COLOR, 0, 0)]))],
    )
    for compression in (UNCOMPRESSED, JPEG, JPEG_XR, ZSTD0, ZSTD1)
}


async def use(data: bytes) -> None:
    store = MemoryStore({"a.czi": data})
    slide = await CziFormat().open(await PinnedObject.open(store, "a.czi"))
    try:
        info = await slide.info()
        for number, level in enumerate(info.levels):
            for place in ((0, 0), (level.columns - 1, level.rows - 1)):
                await slide.read_tile(TileIndex(number, *place))
        for each in info.associated:
            await slide.read_associated(each.name)
    finally:
        await slide.close()


async def refusal(data: bytes) -> MicrotomeError:
    with pytest.raises(MicrotomeError) as refused:
        await use(data)
    assert len(refused.value.message) > 20
    return refused.value


@pytest.mark.parametrize("compression", list(GOOD))
async def test_a_file_cut_anywhere_is_refused(compression: int) -> None:
    data = GOOD[compression]
    await use(data)
    directory = struct.unpack_from("<q", data, 32 + 52)[0]
    for length in [*range(0, directory, 911), *range(directory, directory + 32 + 128, 13)]:
        await refusal(data[:length])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_mutations_raise_only_errors_of_the_house(data: st.DataObject) -> None:
    good = bytearray(GOOD[data.draw(st.sampled_from(list(GOOD)))])
    for _ in range(data.draw(st.integers(1, 5))):
        good[data.draw(st.integers(32, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        asyncio.run(asyncio.wait_for(use(bytes(good)), 20))
    except MicrotomeError:
        return


async def test_impossible_numbers() -> None:
    block = Block(GRAY, 0, 0)
    assert isinstance(await refusal(czi([])), UnsupportedFormat)
    assert isinstance(await refusal(czi([Block(GRAY, 1 << 30, 0), Block(GRAY, -(1 << 30), 0)])), LimitExceeded)
    assert isinstance(await refusal(czi([Block(GRAY, 0, 0, size=(0, 64))])), CorruptData)
    good = czi([block])
    directory = struct.unpack_from("<q", good, 32 + 52)[0]
    for value in (-1, 1 << 30):
        data = bytearray(good)
        struct.pack_into("<i", data, directory + 32, value)
        assert isinstance(await refusal(bytes(data)), UnsupportedFormat | LimitExceeded)
    data = bytearray(good)
    struct.pack_into("<q", data, 32 + 52, 0)
    assert "not finished" in (await refusal(bytes(data))).message
    data = bytearray(good)
    struct.pack_into("<i", data, 32 + 48, 1)
    refused = await refusal(bytes(data))
    assert isinstance(refused, UnsupportedFormat)
    assert refused.feature == "multi-file CZI"


async def test_a_block_that_claims_to_be_huge_is_not_allocated() -> None:
    """The stored size of a block is only in the directory; the entries are 72 bytes before their end."""
    for compression, payload in ((ZSTD0, None), (JPEG_XR, None), (UNCOMPRESSED, b"x")):
        data = bytearray(czi([Block(GRAY, 0, 0, compression=compression, payload=payload)]))
        directory = struct.unpack_from("<q", data, 32 + 52)[0]
        for dimension in range(2):
            at = directory + 32 + 128 + 32 + 20 * dimension
            struct.pack_into("<i", data, at + 8, 1 << 29)
            struct.pack_into("<i", data, at + 16, 1 << 29)
        tracemalloc.start()
        refused = await refusal(bytes(data))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert isinstance(refused, LimitExceeded | CorruptData)
        assert peak < 16 << 20


def test_entities_are_not_expanded() -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa">]><ImageDocument>&a;</ImageDocument>'
    assert parse(bomb).channels == ()
    assert parse("<not xml").channels == ()
    assert parse("").spacing_um is None
    assert parse(metadata(spacing_um=0, magnification=-1)).spacing_um is None
    assert parse(metadata([("x", "#FFFFFFFF")])).channels[0].color is None
