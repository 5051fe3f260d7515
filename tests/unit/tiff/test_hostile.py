"""Hostile files: whatever the bytes, only errors of the house come out, quickly and in bounded memory."""

from __future__ import annotations

import asyncio
import struct
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microtome.errors import CorruptData, LimitExceeded, MicrotomeError, UnsupportedFormat
from microtome.formats.tiff import TiffFormat
from microtome.formats.tiff.ifd import FileHeader, parse_directory
from microtome.model import EncodedTile, TileIndex
from microtome.pixels import codecs
from microtome.storage.memory import MemoryStore
from microtome.storage.pinned import PinnedObject

Entry = tuple[int, int, int, int]
"""Tag, field type, count, value or offset."""


def tiff(*directories: list[Entry], order: str = "<", links: list[int] | None = None, tail: bytes = b"") -> bytes:
    """A classic TIFF of directories without data; ``links`` replaces the offset of the next directory of each."""
    magic = b"II" if order == "<" else b"MM"
    body, at = b"", 8
    offsets: list[int] = []
    for entries in directories:
        offsets.append(at)
        at += 2 + 12 * len(entries) + 4
    for number, entries in enumerate(directories):
        following = offsets[number + 1] if number + 1 < len(offsets) else 0
        if links is not None:
            following = links[number]
        body += struct.pack(order + "H", len(entries))
        for tag, kind, count, value in entries:
            body += struct.pack(order + "HHI", tag, kind, count)
            body += struct.pack(order + "HH", value, 0) if kind == 3 and count == 1 else struct.pack(order + "I", value)
        body += struct.pack(order + "I", following)
    return struct.pack(order + "2sHI", magic, 42, 8) + body + tail.ljust(64, b"\0")


def image(width: int = 512, height: int = 512, tile: int = 256, **changed: int) -> list[Entry]:
    """A directory of a tiled RGB image whose four tiles are one and the same 16 bytes."""
    values = {"compression": 1, "photometric": 2, "offsets": 100, "counts": 100, "number": 4, **changed}
    return [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, values["compression"]),
        (262, 3, 1, values["photometric"]), (277, 3, 1, 1), (322, 3, 1, tile), (323, 3, 1, tile),
        (324, 4, values["number"], values["offsets"]), (325, 4, values["number"], values["counts"]),
    ]  # fmt: skip


async def use(data: bytes) -> None:
    """Open, look at everything, read a few tiles of each level."""
    store = MemoryStore({"x.tif": data})
    slide = await TiffFormat().open(await PinnedObject.open(store, "x.tif"))
    try:
        info = await slide.info()
        for number, level in enumerate(info.levels[:4]):
            for index in (TileIndex(number, 0, 0), TileIndex(number, level.columns - 1, level.rows - 1)):
                slide.peek_tile(index)
                tile = await slide.read_tile(index)
                if isinstance(tile, EncodedTile):
                    codecs.decode(tile)
        for picture in info.associated:
            await slide.read_associated(picture.name)
    finally:
        await slide.close()


async def refusal(data: bytes) -> MicrotomeError:
    with pytest.raises(MicrotomeError) as caught:
        async with asyncio.timeout(5):
            await use(data)
    assert len(caught.value.message) > 15
    return caught.value


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", UnsupportedFormat),
        (b"II*\0", UnsupportedFormat),
        (b"GIF89a" + bytes(100), UnsupportedFormat),
        (b"II*\0" + struct.pack("<I", 1 << 31) + bytes(100), CorruptData),
        (b"II+\0" + struct.pack("<HHQ", 8, 0, 1 << 63) + bytes(100), CorruptData),
        (b"II+\0" + struct.pack("<HHQ", 4, 0, 16) + bytes(100), UnsupportedFormat),
        (b"II*\0" + struct.pack("<IH", 8, 65535) + bytes(100), CorruptData),
        (b"II*\0" + struct.pack("<IH", 8, 0) + bytes(100), CorruptData),
        (tiff(image(), links=[8]), CorruptData),
        (tiff(image(), image(256, 256), links=[134, 134]), CorruptData),
        (tiff(image(), links=[1 << 30]), CorruptData),
        (tiff(image(tile=0)), CorruptData),
        (tiff(image(tile=60000)), (CorruptData, LimitExceeded)),
        (tiff(image(0, 0)), UnsupportedFormat),
        (tiff(image(offsets=1 << 31)), CorruptData),
        (tiff(image(number=(1 << 32) - 1)), CorruptData),
        (tiff(image(compression=6)), UnsupportedFormat),
        (tiff(image(compression=34933)), UnsupportedFormat),
        (tiff(image(photometric=8)), UnsupportedFormat),
        (tiff([(256, 4, 1, 1 << 31), (257, 4, 1, 1 << 31), (258, 3, 1, 8), (259, 3, 1, 5), (262, 3, 1, 1),
               (273, 4, 1, 100), (278, 4, 1, 1 << 31), (279, 4, 1, 100)]), LimitExceeded),
        (tiff([*image(), (34675, 7, 1 << 30, 8)]), (LimitExceeded, CorruptData)),
        (tiff([*image(), (330, 4, 1, 8)]), MicrotomeError),
        (tiff([*image(), (270, 2, 1000, 1 << 20)]), CorruptData),
    ],
)  # fmt: skip
async def test_a_broken_file_is_refused_with_a_reason(
    data: bytes, kind: type[MicrotomeError] | tuple[type[MicrotomeError], ...]
) -> None:
    assert isinstance(await refusal(data), kind)


async def test_a_sub_ifd_that_is_its_own_parent_is_followed_once() -> None:
    data = tiff([*image(offsets=300, counts=300), (330, 4, 1, 8)], tail=bytes(400))
    await use(data)  # all tiles sparse


async def test_numbers_of_the_file_do_not_decide_how_much_memory_is_taken() -> None:
    huge = [
        tiff(image(1 << 30, 1 << 30, 256, number=(1 << 30))),
        tiff(image(1 << 30, 1 << 30, 16384)),
        tiff([*image(), (347, 7, (1 << 32) - 1, 8)]),
    ]
    for data in huge:
        tracemalloc.start()
        await refusal(data)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 << 20


@given(st.binary(max_size=400), st.booleans(), st.sampled_from("<>"))
def test_any_bytes_as_a_directory(data: bytes, big: bool, order: str) -> None:
    header = FileHeader(order, big, 8)  # type: ignore[arg-type]
    try:
        entries, _ = parse_directory(data, header, 8)
    except CorruptData:
        return
    assert len(entries) * header.entry_bytes <= len(data)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_mutations_of_a_good_file_raise_only_errors_of_the_house(data: st.DataObject) -> None:
    good = bytearray(tiff(image(offsets=300, counts=316), image(256, 256, offsets=300, counts=316), tail=bytes(400)))
    for _ in range(data.draw(st.integers(1, 6))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(good)))
    try:
        asyncio.run(asyncio.wait_for(use(bytes(good[:cut])), 5))
    except MicrotomeError:
        return
