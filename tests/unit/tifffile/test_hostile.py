"""Broken and hostile files: only errors of the house come out, and nothing large is taken into memory."""

from __future__ import annotations

import asyncio
import io
import logging
import struct
import tracemalloc
from typing import Any

import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microtome.errors import CorruptData, LimitExceeded, MicrotomeError, UnsupportedFormat
from microtome.formats.tifffile import TifffileFormat, omexml, qptiff
from microtome.model import TileIndex
from tests.unit.tifffile.files import ome, opened, read, samples
from tests.unit.tifffile.test_ome import described, with_xml


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)


async def use(data: bytes, name: str = "x.ome.tif") -> None:
    slide = await opened(data, name)
    try:
        info = await slide.info()
        for number, level in enumerate(info.levels[:3]):
            for column, row in ((0, 0), (level.columns - 1, level.rows - 1)):
                await read(slide, TileIndex(number, column, row, info.focal_planes - 1, info.time_points - 1))
        for picture in info.associated:
            await slide.read_associated(picture.name)
    finally:
        await slide.close()


async def refusal(data: bytes, name: str = "x.ome.tif") -> MicrotomeError:
    tracemalloc.start()
    try:
        with pytest.raises(MicrotomeError) as caught:
            async with asyncio.timeout(20):
                await use(data, name)
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()
    assert len(caught.value.message) > 15
    return caught.value


LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    '<OME><Image Name="&b;"><Pixels SizeX="4"/></Image></OME>'
)
OUTSIDE = '<?xml version="1.0"?><!DOCTYPE OME SYSTEM "file:///etc/passwd"><OME><Image/></OME>'


@pytest.mark.parametrize(
    ("xml", "kind"),
    [
        ("<OME", CorruptData),
        ("<OME></Image>", CorruptData),
        ("<OME/>", CorruptData),
        ("<OME><Image/></OME>", CorruptData),
        (LAUGHS, CorruptData),
        (OUTSIDE, CorruptData),
        ("<OME>" + "<a>" * 5000 + "</a>" * 5000 + "</OME>", CorruptData),
        (described(c=1, SizeZ="0"), CorruptData),
        (described(c=1, SizeZ="-1"), CorruptData),
        (described(c=1, SizeZ="many"), CorruptData),
        (described(c=1, SizeZ="9" * 30), CorruptData),
        (described(c=1, SizeZ="2000000000"), LimitExceeded),
        (described(c=1, SizeZ="100000", SizeT="100000"), LimitExceeded),
        (described(c=2000, channels=[]), LimitExceeded),
        (described(c=1, channels=["<Channel/>"] * 2000), LimitExceeded),
        (described(c=1, channels=['<Channel SamplesPerPixel="0"/>']), CorruptData),
        (described(c=1, data='<TiffData IFD="99999999999"/>'), CorruptData),
        (described(c=1, data='<TiffData IFD="-5"/>'), CorruptData),
        (described(c=1, data='<TiffData IFD="77" PlaneCount="1"/>'), CorruptData),
        (described(c=1, data='<TiffData FirstZ="5" IFD="0"/>'), CorruptData),
        (described(c=1, data='<TiffData PlaneCount="0"/>'), CorruptData),
        ("<OME>" + "<Image/>" * 1500 + "</OME>", LimitExceeded),
    ],
)
async def test_xml_that_is_refused(xml: str, kind: type[MicrotomeError]) -> None:
    assert type(await refusal(with_xml(xml, 1))) is kind


def test_many_plane_counts_are_bounded() -> None:
    xml = described(c=1, data='<TiffData IFD="0" PlaneCount="1"/>' * 100_001)
    with pytest.raises(LimitExceeded):
        omexml.parse(xml)


def test_xml_of_qptiff_expands_nothing() -> None:
    with pytest.raises(CorruptData):
        qptiff.elements(LAUGHS)
    assert qptiff.elements("<a><b>") == {}


def patched(data: bytes, page: int, tag: int, value: int | bytes, *, count: int | None = None) -> bytes:
    """The file with another value (a number that fits, or an offset) in an entry of a directory."""
    found = bytearray(data)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        entry: Any = file.pages[page].tags[tag]  # type: ignore[union-attr]
    if count is not None:
        struct.pack_into("<I", found, entry.offset + 4, count)
    code = "<H" if entry.dtype == 3 and entry.count == 1 and count is None else "<I"
    struct.pack_into(code, found, entry.offset + 8, value)
    return bytes(found)


TILED = ome(samples((2, 100, 90)), "CYX", tile=(64, 64), compression="zlib")
STRIPS = ome(samples((100, 90)), "YX")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"II*\0", TILED[:100], STRIPS[:16], b"II*\0" + bytes(200), b"II*\0" + struct.pack("<I", 1 << 31),
        b"II+\0" + struct.pack("<HHQ", 8, 0, 1 << 62) + bytes(50), b"II+\0" + struct.pack("<HHQ", 4, 0, 16),
        patched(TILED, 0, 322, 0), patched(TILED, 0, 323, 0), patched(TILED, 0, 256, 0), patched(TILED, 0, 257, 0),
        patched(TILED, 0, 277, 0), patched(TILED, 0, 277, 65535), patched(TILED, 0, 259, 9999),
        patched(TILED, 0, 259, 50002), patched(TILED, 0, 258, 63), patched(TILED, 0, 258, 24),
        patched(TILED, 1, 256, 91), patched(STRIPS, 0, 279, 100),
        patched(STRIPS, 0, 273, 1 << 31), patched(STRIPS, 0, 262, 6), patched(TILED, 0, 324, 1 << 31, count=1),
    ],
)  # fmt: skip
async def test_directories_that_are_refused(data: bytes) -> None:
    await refusal(data)


async def test_no_tiff_is_unsupported() -> None:
    assert isinstance(await refusal(b"GIF89a" + bytes(500)), UnsupportedFormat)


async def test_huge_values_are_not_read() -> None:
    """An array of offsets that fills a large file would become Python numbers of ten times its size."""
    data = patched(TILED, 0, 324, 8, count=20 << 20) + bytes(81 << 20)
    assert isinstance(await refusal(data), MicrotomeError)


async def test_huge_strips_are_refused_before_they_are_decoded() -> None:
    data = patched(patched(ome(samples((64, 64)), "YX", compression="zlib"), 0, 256, 60_000), 0, 257, 60_000)
    assert isinstance(await refusal(patched(data, 0, 278, 60_000)), LimitExceeded)


async def test_a_tile_that_decodes_to_more_than_it_may() -> None:
    """JPEG, WebP and JPEG 2000 tell their own size."""
    import imagecodecs
    import numpy as np

    big = np.zeros((8000, 8000, 3), "uint8")
    for compression, stored in (("jpeg", imagecodecs.jpeg8_encode(big)), ("webp", imagecodecs.webp_encode(big))):
        data = ome(samples((60, 60, 3), "uint8"), "YXS", photometric="rgb", planarconfig="contig", rowsperstrip=64,
                   compression=compression)  # fmt: skip
        file = patched(patched(data, 0, 273, len(data)), 0, 279, min(len(stored), 80_000)) + bytes(stored)
        assert isinstance(await refusal(file), CorruptData)


async def test_directories_in_a_circle() -> None:
    data = bytearray(with_xml(described(c=1, SizeZ="500", data=""), 2))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        second: Any = file.pages[1]
        struct.pack_into("<I", data, second.offset + 2 + 12 * len(second.tags), file.pages[0].offset)  # type: ignore[union-attr]
    async with asyncio.timeout(20):
        try:
            await use(bytes(data))
        except MicrotomeError as refused:
            assert len(refused.message) > 15


@pytest.mark.parametrize(
    "file", [TILED, STRIPS, ome(samples((3, 100, 90)), "ZYX", [samples((3, 50, 45))], tile=(64, 64))]
)
async def test_every_way_to_cut_a_file(file: bytes) -> None:
    for length in range(0, len(file), max(1, len(file) // 40)):
        try:
            await use(file[:length])
        except MicrotomeError as refused:
            assert len(refused.message) > 15


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
async def test_any_bytes_anywhere_in_the_directories(data: st.DataObject) -> None:
    file = bytearray(data.draw(st.sampled_from([TILED, STRIPS])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 1500))
        file[at : at + 4] = data.draw(st.binary(min_size=1, max_size=4))
    TifffileFormat().recognises(bytes(file), "x.tif")
    async with asyncio.timeout(20):
        try:
            await use(bytes(file))
        except MicrotomeError as refused:
            assert len(refused.message) > 15


NAMES = ["OME", "Image", "Pixels", "Channel", "TiffData", "UUID", "BinaryOnly", "Objective", "StructuredAnnotations"]
KEYS = ["SizeX", "SizeY", "SizeC", "SizeZ", "SizeT", "IFD", "PlaneCount", "FirstC", "Name", "Color", "FileName",
        "DimensionOrder", "SamplesPerPixel", "PhysicalSizeX", "PhysicalSizeXUnit", "ID", "MetadataFile"]  # fmt: skip
VALUES = st.sampled_from(["", "0", "1", "3", "-1", "1e400", "nan", "99999999999", "XYZCT", "µm", "../x", "x.ome.tif"])


def _element(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    attributes = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6)
    return st.builds(
        lambda name, told, inner: (
            f"<{name} " + " ".join(f'{k}="{v}"' for k, v in told.items()) + f">{''.join(inner)}</{name}>"
        ),
        st.sampled_from(NAMES),
        attributes,
        st.lists(children, max_size=3),
    )


@settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(xml=st.recursive(st.text(alphabet="ab<&; ", max_size=5), _element, max_leaves=12) | st.text(max_size=50))
async def test_any_xml(xml: str) -> None:
    xml = xml.replace("\0", "")
    try:
        omexml.parse(f"<OME>{xml}</OME>")
    except MicrotomeError as refused:
        assert len(refused.message) > 15
    whole = f'<OME><Image><Pixels SizeX="40" SizeY="30">{xml}</Pixels></Image></OME>'
    try:
        await use(with_xml(whole, 2))
    except MicrotomeError as refused:
        assert len(refused.message) > 15
