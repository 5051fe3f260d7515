"""What opening and reading cost at the store: a tile reads its own segments and no more."""

from __future__ import annotations

import io
from typing import Any

import pytest
import tifffile

from microtome.formats.tifffile import TifffileFormat
from microtome.model import TileIndex
from microtome.storage.memory import MemoryStore
from microtome.storage.pinned import PinnedObject
from tests.unit.tifffile.files import ome, opened, samples

LARGE: dict[str, Any] = {"tile": (512, 512)}


def segments(file: bytes, pages: list[int], numbers: list[int]) -> list[tuple[int, int]]:
    """``[start, stop)`` of segments of pages as tifffile sees them."""
    found: list[tuple[int, int]] = []
    with tifffile.TiffFile(io.BytesIO(file)) as oracle:
        for number in pages:
            page: Any = oracle.pages[number]
            found += [(page.dataoffsets[n], page.dataoffsets[n] + page.databytecounts[n]) for n in numbers]
    return sorted(found)


async def costs(file: bytes, *indices: TileIndex) -> list[list[tuple[int, int]]]:
    """The ranges asked for by each tile, sorted."""
    store = MemoryStore({"x.ome.tif": file})
    slide = await opened(store)
    found: list[list[tuple[int, int]]] = []
    for index in indices:
        before = len(store.log)
        await slide.read_tile(index)
        found.append(sorted((request.start, request.stop) for request in store.log[before:]))
    await slide.close()
    return found


@pytest.mark.parametrize("compression", [None, "zlib"])
async def test_a_tile_reads_its_own_segments(compression: Any) -> None:
    """Once its directories are known; these cost one read of 16 KB each."""
    file = ome(samples((2, 3, 2048, 2048)), "ZCYX", compression=compression, **LARGE)
    _, again = await costs(file, TileIndex(0, 3, 3, z=1), TileIndex(0, 1, 2, z=1))
    assert again == segments(file, [3, 4, 5], [9])


async def test_the_first_tile_of_a_plane_reads_its_directories_too() -> None:
    file = ome(samples((2, 3, 2048, 2048)), "ZCYX", **LARGE)
    [first] = await costs(file, TileIndex(0, 1, 2, z=1))
    wanted = segments(file, [3, 4, 5], [9])
    assert set(wanted) <= set(first)
    assert sum(stop - start for start, stop in set(first) - set(wanted)) <= 7 * 16_384


async def test_bare_rows_are_read_without_the_rest_of_their_strip() -> None:
    file = ome(samples((2, 1500, 2000)), "CYX")
    with tifffile.TiffFile(io.BytesIO(file)) as oracle:
        starts = [page.dataoffsets[0] for page in oracle.pages]  # type: ignore[union-attr]
    _, tile = await costs(file, TileIndex(0, 0, 0), TileIndex(0, 2, 1))
    assert tile == [(start + 512 * 4000, start + 1024 * 4000) for start in starts]


async def test_rows_of_neighbouring_strips_are_one_read() -> None:
    file = ome(samples((1500, 2000)), "YX", rowsperstrip=1)
    with tifffile.TiffFile(io.BytesIO(file)) as oracle:
        start = oracle.pages[0].dataoffsets[0]  # type: ignore[union-attr]
    _, tile = await costs(file, TileIndex(0, 0, 0), TileIndex(0, 2, 1))
    assert tile == [(start + 512 * 4000, start + 1024 * 4000)]


async def test_compressed_strips_are_decoded_once_for_the_tiles_of_a_row() -> None:
    file = ome(samples((1500, 2000)), "YX", compression="zlib", rowsperstrip=256)
    first, *others = await costs(file, *(TileIndex(0, column, 0) for column in range(4)))
    assert first == segments(file, [0], [0, 1])
    assert others == [[], [], []]


async def test_opening_reads_no_samples() -> None:
    """Head, tail and directories; the file has 50 MB."""
    file = ome(samples((3, 2048, 2048)), "CYX", [samples((3, 1024, 1024))], **LARGE)
    store = MemoryStore({"x.ome.tif": file})
    slide = await TifffileFormat().open(await PinnedObject.open(store, "x.ome.tif"))
    assert store.bytes_read < 1_500_000
    assert store.requests <= 5
    await slide.close()


async def test_the_header_is_settled() -> None:
    file = ome(samples((3, 2048, 2048)), "CYX", **LARGE)
    pinned = await PinnedObject.open(MemoryStore({"x.ome.tif": file}), "x.ome.tif")
    slide = await TifffileFormat().open(pinned)
    assert pinned.header().nbytes < 200_000
    await slide.close()
