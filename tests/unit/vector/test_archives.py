"""MBTiles and PMTiles, written by other hands, read by ranges."""

from __future__ import annotations

import gzip
import io
import random
import sqlite3
from pathlib import Path
from typing import Any

import imagecodecs
import pytest
from pmtiles.tile import Compression, TileType, tileid_to_zxy, zxy_to_tileid
from pmtiles.writer import Writer

from microtome.errors import CorruptData, InvalidRequest, LimitExceeded, NotFound, UnsupportedFormat
from microtome.formats.vector import archive, plain
from microtome.formats.vector.pmtiles import tile_id
from microtome.model import EncodedTile, TileIndex
from microtome.storage.memory import MemoryStore
from tests.unit.vector.opening import a_tile, decoded, mbtiles, opened, tile


def pmtiles(
    tiles: dict[tuple[int, int, int], bytes], compression: Compression = Compression.NONE, **metadata: Any
) -> bytes:
    file = io.BytesIO()
    writer = Writer(file)
    for number in sorted(zxy_to_tileid(*place) for place in tiles):
        writer.write_tile(number, tiles[tileid_to_zxy(number)])
    header = {"tile_type": TileType.MVT, "tile_compression": compression, "min_lon_e7": -100000000,
              "min_lat_e7": -50000000, "max_lon_e7": 100000000, "max_lat_e7": 50000000, "center_zoom": 2,
              "center_lon_e7": 0, "center_lat_e7": 0}  # fmt: skip
    writer.finalize(header, metadata)
    writer.tile_f.close()
    return file.getvalue()


def test_places_on_the_curve_are_those_of_the_specification() -> None:
    chosen = random.Random(3)
    for _ in range(2000):
        zoom = chosen.randrange(27)
        column, row = chosen.randrange(1 << zoom), chosen.randrange(1 << zoom)
        assert tile_id(zoom, column, row) == zxy_to_tileid(zoom, column, row)


async def test_a_small_archive_is_read_with_one_request_for_a_tile() -> None:
    tiles = {(z, x, y): a_tile(f"t{z}-{x}-{y}") for z in range(4) for x in range(1 << z) for y in range(1 << z)}
    # Behind the head that opening reads, so that a tile needs a request of its own.
    padding = {(4, 0, 0): random.Random(1).randbytes(3 << 20)}
    store = MemoryStore({"set.pmtiles": pmtiles(tiles | padding, name="cells", vector_layers=[{"id": "a"}])})
    async with opened(store, "set.pmtiles") as slide:
        opening = store.requests
        assert opening == 2  # head and tail; header, root directory and metadata are in the head
        info = await slide.info()
        assert info.properties["bounds"] == "-10.0,-5.0,10.0,5.0"
        assert info.properties["name"] == "cells"
        assert info.levels[0].downsample == 1
        assert info.levels[4].size == (256, 256)
        for (z, x, y), data in tiles.items():
            assert (await tile(slide, z, x, y)).data == data
        assert store.requests == opening + len(tiles) - _within_the_header(slide)
        with pytest.raises(NotFound):
            await tile(slide, 4, 3, 3)
        with pytest.raises(InvalidRequest, match="outside"):
            await slide.read_tile(TileIndex(0, 16, 0))
        with pytest.raises(InvalidRequest, match="Level"):
            await slide.read_tile(TileIndex(5, 0, 0))
        with pytest.raises(InvalidRequest, match="focal plane"):
            await slide.read_tile(TileIndex(0, 0, 0, z=1))


def _within_the_header(slide: object) -> int:
    """Tiles whose bytes the header kept has anyway: those of the first 4 KB."""
    tiles = slide._tiles  # type: ignore[attr-defined]
    files, root, start = tiles._files, tiles._root, tiles._header.tiles[0]
    return sum(
        files.known(start + int(o), start + int(o) + int(n)) is not None
        for o, n in zip(root.offsets, root.lengths, strict=True)
    )


async def test_leaf_directories_are_read_once() -> None:
    chosen = random.Random(5)
    tiles = {(8, x, y): chosen.randbytes(chosen.randrange(20, 400)) for x in range(256) for y in range(256)}
    for place in list(tiles)[:20]:
        tiles[place] = a_tile("cells", 3)
    store = MemoryStore({"set.pmtiles": pmtiles(tiles)})
    async with opened(store, "set.pmtiles") as slide:
        tiles_of = slide._tiles  # type: ignore[attr-defined]
        assert 0 in tiles_of._root.runs
        before = store.requests
        assert (await tile(slide, 8, 200, 201)).data == tiles[8, 200, 201]
        assert store.requests == before + 2
        assert (await tile(slide, 8, 200, 200)).data == tiles[8, 200, 200]
        assert store.requests == before + 3
        assert slide.peek_tile(TileIndex(0, 200, 201)) is not None
        assert store.requests == before + 3
        for place in chosen.sample(sorted(tiles), 300):
            assert (await tile(slide, *place)).data == tiles[place]


async def test_runs_of_the_same_tile_and_offsets_left_out() -> None:
    tiles = {(5, x, y): a_tile("sea") for x in range(32) for y in range(32)}
    tiles[5, 7, 7] = a_tile("island", 2)
    async with opened({"set.pmtiles": pmtiles(tiles)}, "set.pmtiles") as slide:
        for place, data in tiles.items():
            assert (await tile(slide, *place)).data == data


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.BROTLI, Compression.ZSTD])
async def test_compressed_tiles(compression: Compression) -> None:
    compress = {
        Compression.GZIP: gzip.compress,
        Compression.BROTLI: imagecodecs.brotli_encode,
        Compression.ZSTD: imagecodecs.zstd_encode,
    }[compression]
    content = a_tile("cells", 500)
    async with opened({"set.pmtiles": pmtiles({(0, 0, 0): bytes(compress(content))}, compression)}, "set.pmtiles") as s:
        found = await tile(s, 0, 0, 0)
        assert (found.encoding == "gzip") == (compression is Compression.GZIP)
        assert plain(found).data == content


async def test_a_tile_that_would_unpack_to_gigabytes_is_refused() -> None:
    bomb = bytes(imagecodecs.zstd_encode(bytes(200 << 20)))
    async with opened({"set.pmtiles": pmtiles({(0, 0, 0): bomb}, Compression.ZSTD)}, "set.pmtiles") as slide:
        with pytest.raises(CorruptData, match="larger than"):
            await tile(slide, 0, 0, 0)
    with pytest.raises(LimitExceeded):
        plain(EncodedTile(gzip.compress(bytes(200 << 20)), "x", (1, 1), "other", "gzip"))  # type: ignore[arg-type]


# -- MBTiles ---------------------------------------------------------------------------------------------------------


async def test_mbtiles_from_a_bucket(tmp_path: Path) -> None:
    content = {(2, 1, y): gzip.compress(a_tile(f"row{y}"), mtime=0) for y in range(4)} | {(0, 0, 0): a_tile("all")}
    data = mbtiles(tmp_path / "a.mbtiles", content, {"name": "cells", "tile_size": "512", "bounds": "1,2,3,4"})
    async with opened({"case/a.mbtiles": data}, "case/a.mbtiles") as slide:
        info = await slide.info()
        assert info.properties["zooms"] == "2,0"
        assert [level.downsample for level in info.levels] == [1.0, 4.0]  # the gap keeps its true factor
        assert info.levels[0].size == (2048, 2048)
        assert info.properties["scheme"] == "tms"
        for row in range(4):  # stored rows count from the bottom
            found = await tile(slide, 2, 1, row)
            assert found.encoding == "gzip"
            assert list(decoded(found)) == [f"row{3 - row}"]
        with pytest.raises(NotFound):
            await tile(slide, 2, 0, 0)


async def test_mbtiles_that_say_xyz(tmp_path: Path) -> None:
    content = {(1, 0, y): a_tile(f"row{y}") for y in range(2)}
    data = mbtiles(tmp_path / "a.mbtiles", content, {"scheme": "xyz"})
    async with opened({"a.mbtiles": data}, "a.mbtiles") as slide:
        assert list(decoded(await tile(slide, 1, 0, 1))) == ["row1"]


async def test_an_empty_archive_and_tiles_of_the_wrong_type_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptData, match="no tiles"):
        async with opened({"a.mbtiles": mbtiles(tmp_path / "a", {})}, "a.mbtiles"):
            pass
    with pytest.raises(UnsupportedFormat, match="pictures"):
        async with opened({"a.mbtiles": mbtiles(tmp_path / "b", {(0, 0, 0): b"\xff\xd8\xff"})}, "a.mbtiles"):
            pass
    with pytest.raises(CorruptData, match="SQLite"):
        async with opened({"a.mbtiles": b"no database"}, "a.mbtiles"):
            pass


async def test_a_query_without_an_end_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "QUERY_SECONDS", 0.2)
    connection = sqlite3.connect(tmp_path / "a.mbtiles")
    connection.execute(
        "CREATE VIEW tiles AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
        " SELECT 0 AS zoom_level, 0 AS tile_column, i AS tile_row, x'1a' AS tile_data FROM n WHERE i < 0"
    )
    connection.commit()
    connection.close()
    with pytest.raises(LimitExceeded, match="took longer"):
        async with opened({"a.mbtiles": (tmp_path / "a.mbtiles").read_bytes()}, "a.mbtiles"):
            pass


async def test_a_value_made_out_of_nothing_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "a.mbtiles")
    connection.execute(
        "CREATE VIEW tiles AS SELECT 0 AS zoom_level, 0 AS tile_column, 0 AS tile_row, zeroblob(900000000) AS tile_data"
    )
    connection.commit()
    connection.close()
    with pytest.raises(CorruptData, match="too big"):
        async with opened({"a.mbtiles": (tmp_path / "a.mbtiles").read_bytes()}, "a.mbtiles"):
            pass
