"""The store of indexes: built once whoever asks, in a process of its own when large, kept, given up, cleared away."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from microtome.errors import Busy, CorruptData, LimitExceeded
from microtome.formats.vector import VectorFormat
from microtome.formats.vector.geojson import store as index_store
from microtome.formats.vector.geojson.cut import TileCutter
from microtome.formats.vector.geojson.store import Indexes
from microtome.storage.base import RangeResult
from microtome.storage.memory import MemoryStore
from microtome.storage.pinned import PinnedObject
from tests.unit.vector.opening import decoded, feature, geojson, opened, tile


def points(number: int, **members: Any) -> bytes:
    return geojson([feature("Point", [i % 500, i // 500], n=i) for i in range(number)], **members)


def left_in(folder: Path) -> list[Path]:
    """What is there beside lock files."""
    return [each for each in folder.iterdir() if each.suffix != ".lock"]


async def pinned(store: MemoryStore, key: str = "a.geojson") -> PinnedObject:
    files = await PinnedObject.open(store, key)
    files.settle()
    return files


async def test_built_once_for_all_who_ask(tmp_path: Path) -> None:
    store = MemoryStore({"a.geojson": points(10)})
    indexes = Indexes(tmp_path)
    paths = await asyncio.gather(*[indexes.of(await pinned(store)) for _ in range(8)])
    assert len(set(paths)) == 1
    assert indexes.built == 1
    again = Indexes(tmp_path)  # as after a restart, or in another process
    assert await again.of(await pinned(store)) == paths[0]
    assert again.built == 0
    store.put("a.geojson", points(20))
    assert await again.of(await pinned(store)) != paths[0]
    assert again.built == 1
    await indexes.close()
    assert paths[0].exists()


async def test_two_builders_of_one_folder_wait_for_each_other(tmp_path: Path) -> None:
    store = MemoryStore({"a.geojson": points(10)})
    both = Indexes(tmp_path), Indexes(tmp_path)
    await asyncio.gather(*[each.of(await pinned(store)) for each in both])
    assert sum(each.built for each in both) == 1


async def test_a_process_of_its_own_gives_the_same_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in (points(300), points(300, crs={"properties": {"name": "CRS84"}})):  # the second is read three times
        store = MemoryStore({"a.geojson": text})
        thread = await Indexes(tmp_path / "thread").of(await pinned(store))
        with monkeypatch.context() as patch:
            patch.setattr(index_store, "SMALL_BYTES", 10)
            process = await Indexes(tmp_path / "process").of(await pinned(store))
        assert thread.read_bytes() == process.read_bytes()
        assert TileCutter(process).facts["plane"] == "pixels"


async def test_what_a_process_says_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_store, "SMALL_BYTES", 10)
    text = points(300)
    store = MemoryStore({"a.geojson": text[:-200]})
    indexes = Indexes(tmp_path)
    with pytest.raises(CorruptData, match="ends"):
        await indexes.of(await pinned(store))
    before = store.requests
    with pytest.raises(CorruptData, match="ends"):
        await indexes.of(await pinned(store))  # not tried again
    assert store.requests == before + 2
    small = Indexes(tmp_path, budget=1000)
    with pytest.raises(LimitExceeded, match="more than"):
        await small.of(await pinned(MemoryStore({"a.geojson": text})))
    assert not left_in(tmp_path)


class Stuck(MemoryStore):
    """Reads behind the head wait for ``go``."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        super().__init__(objects)
        self.go = asyncio.Event()

    async def get_range(self, key: str, start: int, stop: int, *, etag: str | None = None) -> RangeResult:
        if start > 0:
            await self.go.wait()
        return await super().get_range(key, start, stop, etag=etag)


async def test_who_waits_too_long_is_told_to_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_store, "SMALL_BYTES", 10)
    monkeypatch.setattr(index_store, "PIECE", 100_000)
    store = Stuck({"a.geojson": points(20_000)})
    form = VectorFormat(tmp_path)
    form.indexes = Indexes(tmp_path, patience=0.01)
    for _ in range(2):
        with pytest.raises(Busy, match="being indexed") as caught:
            async with opened(store, "a.geojson", form):
                pass
        assert caught.value.retry_after > 0
    store.go.set()
    (build,) = form.indexes._builds.values()
    await build
    async with opened(store, "a.geojson", form) as slide:
        found = decoded(await tile(slide, 0, 0, 0))
        assert len(found["features"]["features"]) == 20_000
    assert form.indexes.built == 1


async def test_closing_ends_the_process_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_store, "SMALL_BYTES", 10)
    monkeypatch.setattr(index_store, "PIECE", 100_000)
    store = Stuck({"a.geojson": points(20_000)})
    indexes = Indexes(tmp_path, patience=0.01)
    with pytest.raises(Busy):
        await indexes.of(await pinned(store))
    await indexes.close()
    assert not left_in(tmp_path)
    own = Indexes()
    path = await own.of(await pinned(MemoryStore({"a.geojson": points(3)})))
    await own.close()
    assert not path.parent.exists()


async def test_the_longest_unused_leave(tmp_path: Path) -> None:
    store = MemoryStore({f"{n}.geojson": points(2000) for n in range(4)})
    size = (await Indexes(tmp_path / "x").of(await pinned(store, "0.geojson"))).stat().st_size
    indexes = Indexes(tmp_path / "y", budget=size * 5 // 2)
    paths = [await indexes.of(await pinned(store, f"{n}.geojson")) for n in range(4)]
    assert [path.exists() for path in paths] == [False, True, True, True]


async def test_a_broken_index_is_no_riddle(tmp_path: Path) -> None:
    for content in (b"", b"short", bytes(1000), b"{}" + (2).to_bytes(8, "little") + b"MTVINDX1"):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(CorruptData, match="index"):
            TileCutter(tmp_path / "x")
