"""Hostile bytes: only errors of the house come out, soon, whatever stands in the file."""

from __future__ import annotations

import asyncio
import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from microtome.errors import CorruptData, MicrotomeError, NotFound
from microtome.formats.vector import VectorFormat, plain
from microtome.formats.vector.arrays import EXTERIOR, Shapes
from microtome.formats.vector.geojson.simplify import ranks
from microtome.formats.vector.pmtiles import parse_directory
from microtome.formats.vector.texts import members
from microtome.model import EncodedTile, TileIndex
from tests.unit.vector.opening import a_tile, feature, geojson, mbtiles, opened, square
from tests.unit.vector.test_archives import pmtiles

ANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAMES = ["x.mvt", "x.pbf.gz", "x.json", "x.geojson", "x.geojson.gz", "x.mbtiles", "x.pmtiles", "x"]


async def use(name: str, data: bytes) -> None:
    """Open as whatever is asked for, look at the facts, read some tiles."""
    async with asyncio.timeout(20):
        try:
            async with opened({name: data}, name, chosen="mvt") as slide:
                info = await slide.info()
                for number, level in enumerate(info.levels[:3]):
                    for place in ((0, 0), (level.columns - 1, level.rows - 1)):
                        slide.peek_tile(TileIndex(number, *place))
                        try:
                            tile = await slide.read_tile(TileIndex(number, *place))
                        except NotFound:
                            continue
                        assert isinstance(tile, EncodedTile)
                        plain(tile)
        except MicrotomeError as error:
            assert len(error.message) > 10


@ANY
@given(st.sampled_from(NAMES), st.binary(max_size=200))
async def test_any_bytes(name: str, data: bytes) -> None:
    VectorFormat().recognises(data, name)
    await use(name, data)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Good files to be damaged."""
    folder: Path = tmp_path_factory.mktemp("whole")
    tiles = {(z, x, y): a_tile(f"{z}{x}{y}") for z in range(3) for x in range(1 << z) for y in range(1 << z)}
    features = [feature("Polygon", [square(i, i, 50)], n=i, t="x") for i in range(20)]
    return {
        "x.pmtiles": pmtiles(tiles),
        "x.mbtiles": mbtiles(folder / "x", tiles, {"json": '{"vector_layers":[]}', "bounds": "1,2,3,4"}),
        "x.geojson": geojson(features),
        "x.json.gz": gzip.compress(geojson(features)),
        "x.mvt": a_tile("x", 20),
    }


@ANY
@given(data=st.data())
async def test_damaged_files(whole: dict[str, bytes], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(whole)))
    damaged = bytearray(whole[name])
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    await use(name, bytes(damaged[: data.draw(st.integers(1, len(damaged)))] if data.draw(st.booleans()) else damaged))


@ANY
@given(st.binary(max_size=400))
@example(b"\xff\xff\xff\xff\x7f" + b"\1" * 20)
@example(b"\2" + b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f" * 8)
def test_any_directory(data: bytes) -> None:
    try:
        found = parse_directory(data)
    except CorruptData:
        return
    assert len(found.ids) == data[0] or len(found.ids) > 127
    assert (np.diff(found.ids) >= 0).all()
    assert (found.offsets >= 0).all()


def test_nothing_is_allocated_by_a_number_of_the_file() -> None:
    header = struct.pack("<7sB11Q6B4iB2i", b"PMTiles", 3, 127, 2**40, 0, 0, 0, 0, 127, 2**63, 0, 0, 0, 1, 2, 2, 1, 0, 3,
                         0, 0, 0, 0, 0, 0, 0)  # fmt: skip
    directory = bytes([1, 0, 1]) + b"\xff\xff\xff\xff\xff\xff\xff\x7f" + b"\1"
    compressed = gzip.compress(directory)
    lying = struct.pack("<7sB11Q6B4iB2i", b"PMTiles", 3, 127, len(compressed), 0, 0, 0, 0, 0, 300, 0, 0, 0, 1, 2, 2, 1,
                        0, 3, 0, 0, 0, 0, 0, 0, 0) + compressed + bytes(300)  # fmt: skip
    tracemalloc.start()
    for data in (header + bytes(100), lying):
        asyncio.run(use("x.pmtiles", data))
    assert tracemalloc.get_traced_memory()[1] < 30 << 20
    tracemalloc.stop()


def test_texts_made_to_be_slow() -> None:
    for text in (
        b'{"' + b'\\"' * 40_000,
        b"{" * 65_000,
        b'{"a' + b'"' * 65_000,
        b"[" * 65_000,
        b'{"a":"' + b"\\" * 65_001,
    ):
        members(text)
    # A comb whose points all lie on their chord but for one: every split takes one point off.
    number = 200_000
    comb = np.stack((np.arange(number), 2.0 ** (np.arange(number) % 30)), axis=1).astype(np.int32)
    counts = np.array([number])
    found = ranks(Shapes(comb, counts, np.array([EXTERIOR], np.uint8), np.array([0])))
    assert len(found) == number
