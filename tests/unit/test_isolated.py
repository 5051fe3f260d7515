"""Readers that crash, hang or lie in a child process, and what of it reaches the server."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from microtome.errors import Conflict, CorruptData, InvalidRequest, NotFound, StorageUnavailable, UnsupportedFormat
from microtome.formats import isolated_wire as wire
from microtome.formats.base import FolderFormat
from microtome.formats.isolated import CRASHES, Isolated, IsolatedSlide, ReaderDied
from microtome.formats.registry import FormatRegistry
from microtome.model import EncodedTile, Raster, TileIndex
from microtome.storage.base import RangeResult
from microtome.storage.copies import LocalCopies
from microtome.storage.folder import open_files
from microtome.storage.local import LocalStore
from microtome.storage.memory import MemoryStore
from tests.unit.crashing import CopyingFormat, CrashingFormat

GOOD, ABORT, HANG, RAISE, EXIT, PROCESS = range(6)
DATA = b"12345678 and more"
ROOT = Path(__file__).resolve().parents[2]


def alive(process: int) -> bool:
    """Whether there is such a process, and it is not just waiting to be buried."""
    try:
        return not Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].strip().startswith("Z")
    except FileNotFoundError:
        return False


@pytest.fixture
async def family() -> AsyncIterator[Isolated]:
    made = Isolated(CrashingFormat(), seconds=20)
    yield made
    await made.stop()


async def opened(family: Isolated, data: bytes = DATA) -> IsolatedSlide:
    return await family.open(await open_files(MemoryStore({"case/a.crash": data}), "case/a.crash"))


async def process(slide: IsolatedSlide) -> int:
    tile = await slide.read_tile(TileIndex(0, PROCESS, 0))
    assert isinstance(tile, EncodedTile)
    assert (tile.media_type, tile.encoding, tile.color) == ("application/geo+json", "gzip", "other")
    return int(tile.data)


async def test_a_slide_in_a_child_is_like_one_in_the_server(family: Isolated) -> None:
    slide = await opened(family)
    plain = await CrashingFormat().open(await open_files(MemoryStore({"case/a.crash": DATA}), "case/a.crash"))
    assert await slide.info() == await plain.info()
    for index in (TileIndex(0, GOOD, 0), TileIndex(0, 7, 0, 1, 2), TileIndex(1, 0, 0)):
        found, wanted = await slide.read_tile(index), await plain.read_tile(index)
        assert isinstance(found, Raster)
        assert isinstance(wanted, Raster)
        np.testing.assert_array_equal(found.array, wanted.array)
        assert (found.array.dtype, found.channels) == (wanted.array.dtype, wanted.channels)
    assert await slide.read_associated("label") == await plain.read_associated("label")
    with pytest.raises(NotFound):
        await slide.read_associated("macro")
    for index in (TileIndex(0, 99, 0), TileIndex(0, 0, 0, 2), TileIndex(0, 0, 0, 0, 3), TileIndex(9, 0, 0)):
        with pytest.raises(InvalidRequest):
            await slide.read_tile(index)
    assert await process(slide) != os.getpid()
    await plain.close()


async def test_it_stands_in_for_the_format(family: Isolated) -> None:
    assert (family.name, family.priority) == ("crashing", 7)
    assert family.recognises(b"", "a.crash")
    assert not family.recognises(b"", "a.svs")
    assert not family.recognises_folder(["a.crash"])
    assert Isolated(CopyingFormat()).recognises_folder(["a.crash"])
    assert isinstance(family, FolderFormat)
    registry = FormatRegistry([family])
    slide = await registry.open(await open_files(MemoryStore({"a.crash": DATA}), "a.crash"))
    assert (await slide.info()).vendor == "none"
    await registry.stop()
    assert family.running == 0


@pytest.mark.parametrize("column", [ABORT, EXIT])
async def test_a_crash_costs_one_read_and_the_child_is_replaced(family: Isolated, column: int) -> None:
    slide = await opened(family)
    first = await process(slide)
    with pytest.raises(ReaderDied, match="crashed on this slide"):
        await slide.read_tile(TileIndex(0, column, 0))
    assert not alive(first)
    assert isinstance(await slide.read_tile(TileIndex(0, GOOD, 0)), Raster)
    second = await process(slide)
    assert second != first
    await slide.close()
    assert not alive(second)


async def test_a_child_killed_from_outside_is_replaced(family: Isolated) -> None:
    slide = await opened(family)
    os.kill(await process(slide), signal.SIGKILL)
    try:
        await slide.read_tile(TileIndex(0, GOOD, 0))
    except ReaderDied:  # when the kill was not noticed before the call
        await slide.read_tile(TileIndex(0, GOOD, 0))


async def test_a_slide_that_always_crashes_is_left_alone(family: Isolated) -> None:
    slide = await opened(family)
    for _ in range(CRASHES):
        with pytest.raises(ReaderDied, match="crashed"):
            await slide.read_tile(TileIndex(0, ABORT, 0))
    with pytest.raises(ReaderDied, match="not tried again"):
        await slide.read_tile(TileIndex(0, GOOD, 0))
    assert family.running == 0


async def test_a_hanging_read_is_given_up() -> None:
    family = Isolated(CrashingFormat(), seconds=1)
    slide = await opened(family)
    first = await process(slide)
    with pytest.raises(ReaderDied, match="took longer than 1 s"):
        await slide.read_tile(TileIndex(0, HANG, 0))
    assert not alive(first)
    assert isinstance(await slide.read_tile(TileIndex(0, GOOD, 0)), Raster)
    await family.stop()


async def test_opening_may_crash_hang_or_be_refused() -> None:
    family = Isolated(CrashingFormat(), seconds=2)
    with pytest.raises(ReaderDied, match="crashed"):
        await opened(family, b"abort....")
    with pytest.raises(ReaderDied, match="took longer"):
        await opened(family, b"hang.....")
    with pytest.raises(UnsupportedFormat, match="refused for a reason") as refused:
        await opened(family, b"refuse...")
    assert refused.value.feature == "testing"
    assert family.running == 0


async def test_what_a_library_raises_is_corrupt_data_without_paths(family: Isolated) -> None:
    slide = await opened(family)
    with pytest.raises(CorruptData, match=r"no such luck in slide\.xyz"):
        await slide.read_tile(TileIndex(0, RAISE, 0))
    assert family.running == 1


async def test_many_calls_at_once_share_one_child_and_fail_together(family: Isolated) -> None:
    slide = await opened(family)
    tiles = await asyncio.gather(*(slide.read_tile(TileIndex(0, 6 + n % 4, 0)) for n in range(200)))
    for n, tile in enumerate(tiles):
        assert isinstance(tile, Raster)
        assert tile.array[0, 0, 0] == ord("1") + 256 * (6 + n % 4)
    assert len(set(await asyncio.gather(*(process(slide) for _ in range(20))))) == 1
    columns = [HANG, HANG, ABORT, HANG]
    results = await asyncio.gather(
        *(slide.read_tile(TileIndex(0, column, 0)) for column in columns), return_exceptions=True
    )
    assert [type(result) for result in results] == [ReaderDied] * 4
    again = await asyncio.gather(*(slide.read_tile(TileIndex(0, GOOD, 0)) for _ in range(20)))
    assert len(again) == 20
    assert family.running == 1


async def test_a_cancelled_read_disturbs_nobody(family: Isolated) -> None:
    slide = await opened(family)
    first = await process(slide)
    hanging = asyncio.ensure_future(slide.read_tile(TileIndex(0, HANG, 0)))
    await process(slide)
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)
    assert await process(slide) == first


async def test_closing_ends_the_child_and_the_reads_under_way(family: Isolated) -> None:
    slide = await opened(family)
    first = await process(slide)
    hanging = asyncio.ensure_future(slide.read_tile(TileIndex(0, HANG, 0)))
    await process(slide)
    await slide.close()
    await slide.close()
    with pytest.raises(Conflict):
        await hanging
    assert not alive(first)
    with pytest.raises(Conflict):
        await slide.read_tile(TileIndex(0, GOOD, 0))


async def test_children_rest_when_there_are_too_many() -> None:
    family = Isolated(CrashingFormat(), seconds=20, children=2)
    slides = [await opened(family) for _ in range(3)]
    assert family.running == 2
    processes = [await process(slide) for slide in slides]
    assert len(set(processes)) == 3
    assert family.running == 2
    assert [alive(each) for each in processes] == [False, True, True]
    await family.stop()
    assert not any(alive(each) for each in processes)


async def test_children_die_with_the_server(tmp_path: Path) -> None:
    """Even one whose library never returns."""
    (tmp_path / "a.crash").write_bytes(DATA)
    program = """
import asyncio, sys
from pathlib import Path
from microtome.formats.isolated import Isolated
from microtome.model import TileIndex
from microtome.storage.folder import open_files
from microtome.storage.local import LocalStore
from tests.unit.crashing import CrashingFormat
async def main():
    slide = await Isolated(CrashingFormat()).open(await open_files(LocalStore(Path(sys.argv[1])), "a.crash"))
    child = (await slide.read_tile(TileIndex(0, 5, 0))).data.decode()
    asyncio.ensure_future(slide.read_tile(TileIndex(0, 2, 0)))
    await slide.read_tile(TileIndex(0, 5, 0))
    print(child, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)  # noqa: ASYNC220
    try:
        assert server.stdout is not None
        child = int(await asyncio.to_thread(server.stdout.readline))
        assert alive(child)
    finally:
        server.kill()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()
    async with asyncio.timeout(20):
        while alive(child):
            await asyncio.sleep(0.01)


async def test_copies_and_folders(tmp_path: Path) -> None:
    copies = LocalCopies(tmp_path, 1 << 20)
    store = MemoryStore({"case/slide/a.crash": DATA, "case/b.crash": DATA})
    family = Isolated(CopyingFormat(), seconds=20)
    for key in ("case/slide", "case/b.crash"):
        slide = await family.open(await open_files(store, key, copies))
        assert isinstance(await slide.read_tile(TileIndex(0, GOOD, 0)), Raster)
        assert os.listdir(tmp_path)  # noqa: PTH208
        await slide.close()
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a.crash").write_bytes(DATA)
    requests = store.requests
    slide = await family.open(await open_files(LocalStore(tmp_path), "real/a.crash"))
    assert isinstance(await slide.read_tile(TileIndex(0, GOOD, 0)), Raster)
    assert store.requests == requests
    await family.stop()
    copies.close()


async def test_errors_of_the_store_come_through_the_child(family: Isolated) -> None:
    class Failing(MemoryStore):
        async def get_range(self, key: str, start: int, stop: int, *, etag: str | None = None) -> RangeResult:
            if stop - start > 1 << 20:
                raise StorageUnavailable("The store did not answer in time", timed_out=True)
            return await super().get_range(key, start, stop, etag=etag)

    with pytest.raises(StorageUnavailable) as failed:
        # More than the head and the tail that are asked for at first.
        await family.open(await open_files(Failing({"a.crash": DATA + bytes(3 << 20)}), "a.crash"))
    assert failed.value.timed_out
    assert family.running == 0


async def test_a_slide_that_was_replaced_while_its_child_rested_is_another_one(family: Isolated) -> None:
    store = MemoryStore({"a.crash": DATA})
    slide = await family.open(await open_files(store, "a.crash"))
    await slide.rest()
    assert isinstance(await slide.read_tile(TileIndex(0, GOOD, 0)), Raster)
    store.put("a.crash", DATA)
    await slide.rest()
    with pytest.raises(Conflict):
        await slide.read_tile(TileIndex(0, GOOD, 0))


@pytest.mark.parametrize(
    "message",
    [
        {"shape": [1 << 40, 1, 1], "dtype": "uint8", "channels": ["a"]},
        {"shape": [-1, -1, 1], "dtype": "uint8", "channels": ["a"]},
        {"shape": [1, 1, 1], "dtype": "O", "channels": ["a"]},
        {"shape": [1, 1, 1], "dtype": "uint8", "channels": ["a", "b"]},
        {"media_type": "image/jpeg", "size": [1, 1], "color": "loud", "encoding": None},
        {"shape": "x"},
        {},
    ],
)
def test_nonsense_in_a_message_is_noticed(message: wire.Message) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        wire.to_tile(message, b"x")


def test_every_error_of_a_reader_survives_the_way() -> None:
    from microtome import errors

    for error in (
        errors.NotFound("slide", "x"), errors.InvalidRequest("a", parameter="z"), errors.CorruptData("a", offset=3),
        errors.LimitExceeded("a", limit="b", value=3), errors.UnsupportedFormat("a", feature="b"), errors.Conflict("a"),
        errors.StorageUnavailable("a", unreachable=True), errors.Busy("a"),
    ):  # fmt: skip
        back = errors.from_message(errors.as_message(error))
        assert type(back) is type(error)
        assert back.message == error.message
        for name in ("feature", "limit", "value", "parameter", "unreachable", "what", "name"):
            assert getattr(back, name, None) == getattr(error, name, None)
    assert type(errors.from_message({"error": "SystemExit", "message": "x"})) is CorruptData
