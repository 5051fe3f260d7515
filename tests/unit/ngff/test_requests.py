"""What opening and reading cost: requests and bytes at the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from microtome.errors import Conflict
from microtome.model import Raster, TileIndex
from microtome.storage.memory import MemoryStore
from tests.unit.ngff.images import opened, pyramid, samples, stored, write


def objects_read(store: MemoryStore) -> list[tuple[str, int]]:
    """Name and bytes of every request since the log was cleared, sorted."""
    return sorted((request.key.partition("/")[2], request.stop - request.start) for request in store.log)


@pytest.mark.parametrize(("version", "group", "level"), [(2, ".zattrs", ".zarray"), (3, "zarr.json", "zarr.json")])
async def test_opening_reads_the_metadata_and_nothing_else(
    version: int, group: str, level: str, tmp_path: Path
) -> None:
    write(tmp_path / "i", pyramid((200, 200), "yx"), "yx", version=version, chunks=(64, 64))
    store = stored(tmp_path / "i")
    await opened(store)
    asked = sorted(request.key.partition("/")[2] for request in store.log if request.kind != "list")
    assert asked == sorted([group, *(f"{number}/{level}" for number in range(3))])


async def test_a_tile_reads_its_chunks_once(tmp_path: Path) -> None:
    write(tmp_path / "i", [samples((3, 5, 200, 200))], "czyx", chunks=(1, 1, 64, 64), compressors=None)
    store = stored(tmp_path / "i")
    slide = await opened(store)
    store.log.clear()
    await slide.read_tile(TileIndex(0, 1, 2, z=3))
    assert objects_read(store) == [(f"0/{c}.3.2.1", 64 * 64 * 2) for c in range(3)]


async def test_a_tile_of_small_chunks_reads_whole_ones(tmp_path: Path) -> None:
    write(tmp_path / "i", [samples((1000, 1000))], "yx", chunks=(50, 60), compressors=None)
    store = stored(tmp_path / "i")
    slide = await opened(store)
    store.log.clear()
    for column in range(4):
        for row in range(4):
            await slide.read_tile(TileIndex(0, column, row))
    names = [name for name, _ in objects_read(store)]
    assert len(names) == len(set(names)) == 17 * 20


async def test_a_tile_of_a_shard_reads_its_range(tmp_path: Path) -> None:
    write(
        tmp_path / "i", [samples((2, 512, 512))], "cyx", version=3, chunks=(1, 64, 64), shards=(2, 256, 256),
        compressors=None,
    )  # fmt: skip
    store = stored(tmp_path / "i")
    slide = await opened(store)
    store.log.clear()
    index_bytes = 16 * 2 * 4 * 4 + 4
    await slide.read_tile(TileIndex(0, 5, 1))
    assert objects_read(store) == [("0/c/0/0/1", 8192), ("0/c/0/0/1", 8192), ("0/c/0/0/1", index_bytes)] or (
        objects_read(store) == sorted([("0/c/0/0/1", 8192)] * 2 + [("0/c/0/0/1", index_bytes)])
    )
    store.log.clear()
    await slide.read_tile(TileIndex(0, 6, 2))
    assert objects_read(store) == [("0/c/0/0/1", 8192)] * 2, "the index is known by now"


async def test_a_missing_chunk_costs_nothing(tmp_path: Path) -> None:
    write(tmp_path / "i", [np.zeros((300, 300), "uint8")], "yx", chunks=(64, 64), fill_value=0)
    store = stored(tmp_path / "i")
    slide = await opened(store)
    store.log.clear()
    await slide.read_tile(TileIndex(0, 0, 0))
    assert store.log == []


async def test_large_chunks_are_read_once_for_their_tiles_and_planes(tmp_path: Path) -> None:
    data = samples((4, 2100, 2100), "uint8")
    write(tmp_path / "i", [data], "zyx", chunks=(4, 2100, 2100), compressors=None)
    store = stored(tmp_path / "i")
    slide = await opened(store)
    store.log.clear()
    for z in range(4):
        for column in range(5):
            tile = await slide.read_tile(TileIndex(0, column, 0, z))
            assert isinstance(tile, Raster)
            np.testing.assert_array_equal(tile.array[..., 0], data[z, :512, column * 512 : column * 512 + 512])
    assert objects_read(store) == [("0/0.0.0", data.nbytes)]


async def test_replaced_and_removed_chunks_are_conflicts(tmp_path: Path) -> None:
    write(tmp_path / "i", [samples((300, 300))], "yx", chunks=(64, 64), compressors=None)
    store = stored(tmp_path / "i")
    slide = await opened(store)
    store.put("slide.zarr/0/1.1", bytes(64 * 64 * 2))
    store.delete("slide.zarr/0/1.2")
    for column in (1, 2):
        with pytest.raises(Conflict):
            await slide.read_tile(TileIndex(0, column, 1))


async def test_reading_ahead_asks_for_the_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "i", [samples((2, 300, 300))], "cyx", chunks=(1, 64, 64), compressors=None)
    store = stored(tmp_path / "i")
    hints: list[tuple[str, list[tuple[int, int]]]] = []
    monkeypatch.setattr(store, "prefetch", lambda key, ranges, *, etag: hints.append((key, list(ranges))))
    slide = await opened(store)
    slide.prefetch([TileIndex(0, 1, 1), TileIndex(0, 99, 1), TileIndex(7, 0, 0)])
    assert hints == [(f"slide.zarr/0/{c}.1.1", [(0, 64 * 64 * 2)]) for c in range(2)]
