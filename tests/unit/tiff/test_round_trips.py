"""How many dependent round trips and bytes a cold slide costs, counted, not timed."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest

from microtome.formats.tiff import TiffFormat
from microtome.formats.tiff.slide import TiffSlide
from microtome.model import EncodedTile, TileIndex
from microtome.storage.base import ObjectInfo, RangeResult
from microtome.storage.pinned import PinnedObject

COLUMNS, ROWS, TILE = 157, 118, 256
TILES = COLUMNS * ROWS
JPEG = (
    bytes.fromhex("ffd8ffdb000300ffc0000b080100010001011100ffc4000300ffda0008010100003f00") + bytes(100) + b"\xff\xd9"
)
"""Enough of a JPEG for the surgery: nobody decodes it here."""


class SparseStore:
    """An object of gigabytes of which a few pieces are written; counts requests, bytes and dependent rounds.

    Requests that are made at the same time are answered together, in one round.
    """

    def __init__(self, size: int, pieces: dict[int, bytes]) -> None:
        self.info = ObjectInfo("slide.tif", size, "v1")
        self.pieces = pieces
        self.requests = self.bytes = self.rounds = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._clock: asyncio.Task[None] | None = None

    def local_path(self, key: str) -> None:
        return None

    async def _round(self) -> None:
        self.requests += 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        if self._clock is None or self._clock.done():
            self._clock = asyncio.ensure_future(self._tick())
        await future

    async def _tick(self) -> None:
        for _ in range(50):  # until everybody who can ask now has asked
            await asyncio.sleep(0)
        self.rounds += 1
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _cut(self, start: int, stop: int) -> bytes:
        stop = min(stop, self.info.size)
        out = bytearray(max(0, stop - start))
        for at, piece in self.pieces.items():
            first, last = max(start, at), min(stop, at + len(piece))
            if first < last:
                out[first - start : last - start] = piece[first - at : last - at]
        self.bytes += len(out)
        return bytes(out)

    async def head(self, key: str) -> ObjectInfo:
        await self._round()
        return self.info

    async def get_range(self, key: str, start: int, stop: int, *, etag: str | None = None) -> RangeResult:
        await self._round()
        return RangeResult(self._cut(start, stop), start, self.info)

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], *, etag: str) -> list[bytes]:
        results = await asyncio.gather(*(self.get_range(key, *each, etag=etag) for each in ranges))
        return [result.data for result in results]

    async def get_suffix(self, key: str, length: int) -> RangeResult:
        start = max(0, self.info.size - length)
        return await self.get_range(key, start, self.info.size)

    def peek(self, key: str, start: int, stop: int, *, etag: str) -> bytes | None:
        return None

    @property
    def distant(self) -> bool:
        return False

    def prefetch(self, key: str, ranges: Sequence[tuple[int, int]], *, etag: str) -> None:
        return None

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[Sequence[ObjectInfo]]:
        yield [self.info]

    async def close(self) -> None:
        return None


def slide(ifd_at: int, size: int, *, further: int = 3) -> SparseStore:
    """A 40000 x 30000 BigTIFF with its first directory and arrays at ``ifd_at``, further ones spread over the file."""
    pieces: dict[int, bytes] = {0: struct.pack("<2sHHHQ", b"II", 43, 8, 0, ifd_at)}
    data_at = 600 << 20

    def directory(at: int, width: int, height: int, following: int) -> None:
        tiles = -(-width // TILE) * -(-height // TILE)
        entries = [
            (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 7), (262, 3, 1, 1), (277, 3, 1, 1),
            (322, 3, 1, TILE), (323, 3, 1, TILE), (324, 16, tiles, at + 1024), (325, 4, tiles, at + 1024 + 8 * tiles),
        ]  # fmt: skip
        body = struct.pack("<Q", len(entries)) + b"".join(struct.pack("<HHQQ", *entry) for entry in entries)
        pieces[at] = body + struct.pack("<Q", following)
        offsets = [data_at + 1000 * n for n in range(tiles)]
        pieces[at + 1024] = struct.pack(f"<{tiles}Q", *offsets) + struct.pack(f"<{tiles}I", *[len(JPEG)] * tiles)

    places = [ifd_at, *((300 + 20 * n) << 20 for n in range(further)), 0]
    for number, (at, following) in enumerate(pairwise(places)):
        directory(at, 40000 // 4**number, 30000 // 4**number, following)
    for n in range(TILES):
        pieces[data_at + 1000 * n] = JPEG
    return SparseStore(size, pieces)


async def first_tile(store: SparseStore, files: PinnedObject | None = None) -> tuple[TiffSlide, PinnedObject, int]:
    """Open and read a tile in the middle; the rounds it took."""
    before = store.rounds
    files = files or await PinnedObject.open(store, "slide.tif")
    opened = await TiffFormat().open(files)
    tile = await opened.read_tile(TileIndex(0, 80, 60))
    assert isinstance(tile, EncodedTile)
    return opened, files, store.rounds - before


SIZE = 1 << 30
PLACES = [
    pytest.param(16, 2, id="first directory in the head"),
    pytest.param(SIZE - (256 << 10) + 100, 2, id="first directory in the tail"),
    pytest.param(200 << 20, 3, id="first directory in the middle"),
]


@pytest.mark.parametrize(("at", "most"), PLACES)
async def test_the_first_tile_of_a_cold_slide(at: int, most: int) -> None:
    store = slide(at, SIZE)
    opened, _, rounds = await first_tile(store)
    await opened.close()
    assert rounds <= most
    assert store.requests <= 8
    assert store.bytes <= 2 << 20


@pytest.mark.parametrize(("at", "most"), PLACES)
async def test_any_further_cold_tile_takes_one_round(at: int, most: int) -> None:
    store = slide(at, SIZE)
    opened, _, _ = await first_tile(store)
    info = await opened.info()
    assert len(info.levels) == 4
    while opened.busy:
        await asyncio.sleep(0)
    for index in (TileIndex(0, 0, 0), TileIndex(0, 156, 117), TileIndex(1, 20, 20), TileIndex(3, 0, 0)):
        before = store.rounds, store.requests, store.bytes
        assert isinstance(await opened.read_tile(index), EncodedTile)
        assert (store.rounds - before[0], store.requests - before[1]) == (1, 1)
        assert store.bytes - before[2] == len(JPEG)
    await opened.close()


@pytest.mark.parametrize(("at", "most"), PLACES)
async def test_a_kept_header_needs_one_round_for_a_tile(at: int, most: int) -> None:
    store = slide(at, SIZE)
    opened, files, _ = await first_tile(store)
    await opened.info()
    while opened.busy:
        await asyncio.sleep(0)
    await opened.close()
    header = files.header()
    assert header.nbytes < 1 << 20, "what is kept is what was needed"
    again, _, rounds = await first_tile(store, PinnedObject.replay(store, header))
    assert rounds == 1
    before = store.requests
    assert len((await again.info()).levels) == 4
    assert store.requests == before
    await again.close()


async def test_huge_offset_arrays_are_read_page_by_page() -> None:
    """A slide with more than 4 MB of offsets: a tile takes a page of each array, never the whole of them."""
    store = slide(200 << 20, SIZE, further=0)
    wide = 1 << 20
    tiles = wide // TILE * (wide // TILE)
    at = 200 << 20
    entries = [
        (256, 4, 1, wide), (257, 4, 1, wide), (258, 3, 1, 8), (259, 3, 1, 7), (262, 3, 1, 1), (277, 3, 1, 1),
        (322, 3, 1, TILE), (323, 3, 1, TILE), (324, 16, tiles, at + 1024), (325, 4, tiles, at + 1024 + 8 * tiles),
    ]  # fmt: skip
    body = struct.pack("<Q", len(entries)) + b"".join(struct.pack("<HHQQ", *entry) for entry in entries)
    store.pieces = {0: store.pieces[0], at: body + struct.pack("<Q", 0), 600 << 20: JPEG}
    number = 2000 * 4096 + 2000
    store.pieces[at + 1024 + 8 * number] = struct.pack("<Q", 600 << 20)
    store.pieces[at + 1024 + 8 * tiles + 4 * number] = struct.pack("<I", len(JPEG))
    opened = await TiffFormat().open(await PinnedObject.open(store, "slide.tif"))
    await opened.info()
    before = store.rounds, store.bytes
    assert isinstance(await opened.read_tile(TileIndex(0, 2000, 2000)), EncodedTile)
    assert store.rounds - before[0] == 2
    assert store.bytes - before[1] < 100_000
    await opened.close()
