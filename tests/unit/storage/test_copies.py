"""Local copies for libraries that open paths: complete, of one version, within the budget, never taken away in use."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from microtome.errors import Conflict, LimitExceeded, NotFound, StorageUnavailable, UnsupportedFormat
from microtome.storage import copies as module
from microtome.storage.base import ObjectInfo, RangeResult
from microtome.storage.copies import LocalCopies, LocalCopy, local_copy
from microtome.storage.folder import PinnedFolder, open_files
from microtome.storage.local import LocalStore
from microtome.storage.memory import MemoryStore
from microtome.storage.pinned import PinnedObject

OBJECTS = {
    "case/a.mrxs": b"index",
    "case/a/1.dat": bytes(range(256)) * 10,
    "case/a/deeper/2.dat": b"two",
    "case/a.txt": b"beside",
    "case/b.svs": b"b" * 40,
    "c": b"c" * 40,
    "d": b"d" * 40,
    "empty": b"",
}


class Slow(MemoryStore):
    """Reads wait until they are let through; what fails is told."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        super().__init__(objects)
        self.gate = asyncio.Event()
        self.gate.set()
        self.started = asyncio.Event()
        self.fails: Callable[[int], Exception | None] = lambda _: None

    async def get_range(self, key: str, start: int, stop: int, *, etag: str | None = None) -> RangeResult:
        if etag is not None:
            self.started.set()
            await self.gate.wait()
            error = self.fails(start)
            if error is not None:
                raise error
        return await super().get_range(key, start, stop, etag=etag)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def nbytes(folder: Path) -> int:
    return sum(len(data) for data in tree(folder).values())


async def pinned(store: MemoryStore, key: str) -> PinnedObject:
    """Without the bytes known from opening, which are none of the copy's business."""
    return PinnedObject(store, await store.head(key))


class TestWhatIsCopied:
    async def test_an_object_under_its_own_name(self, tmp_path: Path) -> None:
        copies, store = LocalCopies(tmp_path, 1000), MemoryStore(OBJECTS)
        for key in ("case/b.svs", "c", "empty"):
            copy = await copies.of(await pinned(store, key))
            assert copy.path.name == key.rpartition("/")[2]
            assert tree(copy.path.parent) == {copy.path.name: OBJECTS[key]}
            copy.release()

    @pytest.mark.parametrize("pieces", [1, 7, 100, 5000])
    async def test_in_pieces(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pieces: int) -> None:
        monkeypatch.setattr(module, "PIECE", pieces)
        data = random.Random(1).randbytes(1000)
        store = MemoryStore({"a": data})
        copy = await LocalCopies(tmp_path, 1000).of(await pinned(store, "a"))
        assert copy.path.read_bytes() == data
        assert store.bytes_read == 1000

    async def test_companions_stand_beside_it(self, tmp_path: Path) -> None:
        files = await pinned(MemoryStore(OBJECTS), "case/a.mrxs")
        copy = await LocalCopies(tmp_path, 10_000).of(files, ["case/a/"])
        assert copy.path.name == "a.mrxs"
        assert tree(copy.path.parent) == {
            key.removeprefix("case/"): OBJECTS[key] for key in ("case/a.mrxs", "case/a/1.dat", "case/a/deeper/2.dat")
        }

    async def test_each_object_is_copied_and_counted_once(self, tmp_path: Path) -> None:
        store = MemoryStore(OBJECTS)
        size = sum(len(data) for key, data in OBJECTS.items() if key.startswith("case/a"))
        copy = await LocalCopies(tmp_path, size).of(await pinned(store, "case/a.mrxs"), ["case/a", "case/a/"])
        assert nbytes(copy.path.parent) == size == store.bytes_read

    async def test_with_and_without_companions_are_two_copies(self, tmp_path: Path) -> None:
        copies, files = LocalCopies(tmp_path, 10_000), await pinned(MemoryStore(OBJECTS), "case/a.mrxs")
        alone, whole = await copies.of(files), await copies.of(files, ["case/a/"])
        assert len(tree(alone.path.parent)) == 1
        assert len(tree(whole.path.parent)) == 3

    async def test_a_folder(self, tmp_path: Path) -> None:
        for key in ("case/a", "case/a/"):
            folder = await PinnedFolder.open(MemoryStore(OBJECTS), key)
            copy = await LocalCopies(tmp_path, 10_000).of(folder)
            assert copy.path.name == "a"
            assert tree(copy.path) == {"1.dat": OBJECTS["case/a/1.dat"], "deeper/2.dat": b"two"}

    async def test_a_folder_that_was_not_listed_whole_is_refused(self, tmp_path: Path) -> None:
        folder = await PinnedFolder.open(MemoryStore(OBJECTS), "case", most=2)
        with pytest.raises(UnsupportedFormat, match="too many"):
            await LocalCopies(tmp_path, 10_000).of(folder)

    async def test_nothing_is_written_outside(self, tmp_path: Path) -> None:
        """A store that lists what cannot be a key."""

        class Hostile(MemoryStore):
            async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[Sequence[ObjectInfo]]:
                yield [ObjectInfo("case/a/../../../evil", 3, "x"), ObjectInfo("/evil", 3, "x")]

        inner = tmp_path / "deep" / "inner"
        copy = await LocalCopies(inner, 10_000).of(await pinned(Hostile(OBJECTS), "case/a.mrxs"), ["case/a/"])
        assert set(tree(copy.path.parent)) == {"a.mrxs"}
        assert names(tmp_path) == {"deep"}
        assert names(tmp_path / "deep") == {"inner"}

    async def test_files_of_this_machine_stay_in_place(self, tmp_path: Path) -> None:
        (tmp_path / "slides/sub").mkdir(parents=True)
        (tmp_path / "slides/sub/a.svs").write_bytes(b"abc")
        store = LocalStore(tmp_path / "slides")
        copies = LocalCopies(tmp_path / "copies", 0)
        for key in ("sub/a.svs", "sub"):
            copy = await copies.of(await open_files(store, key))
            assert copy.path == tmp_path / "slides" / key
            copy.release()
        assert not (tmp_path / "copies").exists()


class TestVersions:
    async def test_one_copy_for_all_who_ask(self, tmp_path: Path) -> None:
        store, copies = Slow(OBJECTS), LocalCopies(tmp_path, 1000)
        files = await pinned(store, "c")
        store.gate.clear()
        asking = [asyncio.ensure_future(copies.of(files)) for _ in range(5)]
        await store.started.wait()
        late = asyncio.ensure_future(copies.of(await pinned(store, "c")))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not late.done(), "a copy that is not complete is nobody's"
        store.gate.set()
        found = [*await asyncio.gather(*asking), await late]
        assert len({copy.path for copy in found}) == 1
        assert found[0].path.read_bytes() == OBJECTS["c"]
        assert sum(request.kind == "range" for request in store.log) == 1

    async def test_all_who_asked_use_it(self, tmp_path: Path) -> None:
        """While any one of them does, it stays."""
        store, copies = Slow(OBJECTS), LocalCopies(tmp_path, 40)
        files = await pinned(store, "c")
        store.gate.clear()
        asking = [asyncio.ensure_future(copies.of(files)) for _ in range(3)]
        await store.started.wait()
        store.gate.set()
        found = await asyncio.gather(*asking)
        for copy in found:
            with pytest.raises(LimitExceeded):
                await copies.of(await pinned(store, "d"))
            assert copy.path.read_bytes() == OBJECTS["c"]
            copy.release()
        await copies.of(await pinned(store, "d"))

    async def test_a_new_version_is_another_copy(self, tmp_path: Path) -> None:
        store, copies = MemoryStore(OBJECTS), LocalCopies(tmp_path, 1000)
        old = await copies.of(await pinned(store, "c"))
        store.put("c", b"new")
        new = await copies.of(await pinned(store, "c"))
        assert (old.path.read_bytes(), new.path.read_bytes()) == (OBJECTS["c"], b"new")

    async def test_an_object_replaced_while_it_is_copied(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "PIECE", 1000)
        store = Slow({"a": bytes(20_000)})

        def replace(start: int) -> None:
            if start == 8000:
                store.put("a", bytes(20_000))

        store.fails = replace
        with pytest.raises(Conflict):
            await LocalCopies(tmp_path, 100_000).of(await pinned(store, "a"))
        assert not tree(tmp_path)

    async def test_a_companion_replaced_meanwhile(self, tmp_path: Path) -> None:
        store = Slow(OBJECTS)
        store.gate.clear()
        asking = asyncio.ensure_future(
            LocalCopies(tmp_path, 10_000).of(await pinned(store, "case/a.mrxs"), ["case/a/"])
        )
        await store.started.wait()
        store.put("case/a/deeper/2.dat", b"TWO")
        store.gate.set()
        with pytest.raises(Conflict):
            await asking
        assert not tree(tmp_path)


class TestBudget:
    async def test_the_longest_unused_leaves(self, tmp_path: Path) -> None:
        store, copies = MemoryStore(OBJECTS | {"e": b"e" * 40}), LocalCopies(tmp_path, 80)
        for key in ("c", "d", "c", "e"):
            (await copies.of(await pinned(store, key))).release()
            assert nbytes(tmp_path) <= 80
        assert files_in(tmp_path) == {"c", "e"}
        assert len(store.log) == 4 + 3, "four times asked for the version, three times copied"

    async def test_what_is_in_use_stays(self, tmp_path: Path) -> None:
        store, copies = MemoryStore(OBJECTS), LocalCopies(tmp_path, 80)
        used = await copies.of(await pinned(store, "c"))
        again = await copies.of(await pinned(store, "c"))
        (await copies.of(await pinned(store, "d"))).release()
        (await copies.of(await pinned(store, "case/b.svs"))).release()
        assert used.path.read_bytes() == OBJECTS["c"]
        used.release()
        used.release()
        big = MemoryStore({"big": bytes(80)})
        with pytest.raises(LimitExceeded) as failure:
            await copies.of(await pinned(big, "big"))
        assert failure.value.limit == "local_copies"
        assert again.path.read_bytes() == OBJECTS["c"], "released twice by one is not released by the other"
        again.release()
        assert (await copies.of(await pinned(big, "big"))).path.read_bytes() == bytes(80)
        assert nbytes(tmp_path) == 80

    async def test_a_refusal_drives_nothing_out(self, tmp_path: Path) -> None:
        store, copies = MemoryStore(OBJECTS), LocalCopies(tmp_path, 80)
        used = await copies.of(await pinned(store, "c"))
        (await copies.of(await pinned(store, "d"))).release()
        with pytest.raises(LimitExceeded):
            await copies.of(await pinned(MemoryStore({"big": bytes(80)}), "big"))
        assert files_in(tmp_path) == {"c", "d"}
        used.release()

    async def test_too_large_is_known_before_anything_is_read(self, tmp_path: Path) -> None:
        store = MemoryStore(OBJECTS)
        with pytest.raises(LimitExceeded) as failure:
            await LocalCopies(tmp_path, 39).of(await pinned(store, "c"))
        assert (failure.value.limit, failure.value.value) == ("local_copies", 40)
        assert store.bytes_read == 0

    async def test_companions_count(self, tmp_path: Path) -> None:
        with pytest.raises(LimitExceeded):
            await LocalCopies(tmp_path, 100).of(await pinned(MemoryStore(OBJECTS), "case/a.mrxs"), ["case/a/"])

    async def test_many_at_once_stay_within_it(self, tmp_path: Path) -> None:
        """Every path handed out is complete as long as it is held, whatever the others ask for."""
        store = MemoryStore({str(n): bytes([n]) * 40 for n in range(8)})
        copies, choice = LocalCopies(tmp_path, 120), random.Random(7)
        refused = 0

        async def use() -> None:
            nonlocal refused
            for _ in range(25):
                key = str(choice.randrange(8))
                try:
                    copy = await copies.of(await pinned(store, key))
                except LimitExceeded:
                    refused += 1
                    await asyncio.sleep(0)
                    continue
                for _ in range(choice.randrange(4)):
                    assert copy.path.read_bytes() == bytes([int(key)]) * 40
                    await asyncio.sleep(0)
                copy.release()

        await asyncio.gather(*(use() for _ in range(6)))
        assert nbytes(tmp_path) <= 120
        assert refused < 150


class TestFailures:
    @pytest.mark.parametrize("at", [0, 3000, 19_000])
    async def test_leave_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        monkeypatch.setattr(module, "PIECE", 1000)
        store, copies = Slow({"a": bytes(20_000)}), LocalCopies(tmp_path, 20_000)
        store.fails = lambda start: StorageUnavailable("The store is gone") if start == at else None
        with pytest.raises(StorageUnavailable, match="The store is gone"):
            await copies.of(await pinned(store, "a"))
        assert not tree(tmp_path)
        store.fails = lambda _: None
        copy = await copies.of(await pinned(store, "a"))
        assert copy.path.read_bytes() == bytes(20_000)

    async def test_a_missing_object(self, tmp_path: Path) -> None:
        store = MemoryStore(OBJECTS)
        files = await pinned(store, "c")
        store.delete("c")
        with pytest.raises(NotFound):
            await LocalCopies(tmp_path, 1000).of(files)
        assert not tree(tmp_path)

    async def test_whoever_asked_has_left(self, tmp_path: Path) -> None:
        store, copies = Slow(OBJECTS), LocalCopies(tmp_path, 40)
        store.gate.clear()
        asking = asyncio.ensure_future(copies.of(await pinned(store, "c")))
        await store.started.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        store.gate.set()
        copy = await copies.of(await pinned(store, "c"))
        assert copy.path.read_bytes() == OBJECTS["c"]
        copy.release()
        while len(tree(tmp_path)) > 1:  # the one given up is removed in a thread
            await asyncio.sleep(0)
        assert (await copies.of(await pinned(store, "d"))).path.read_bytes() == OBJECTS["d"], "its room was given back"

    async def test_one_who_leaves_does_not_disturb_others(self, tmp_path: Path) -> None:
        store, copies = Slow(OBJECTS), LocalCopies(tmp_path, 1000)
        files = await pinned(store, "c")
        store.gate.clear()
        first, second = (asyncio.ensure_future(copies.of(files)) for _ in range(2))
        await store.started.wait()
        first.cancel()
        store.gate.set()
        assert (await second).path.read_bytes() == OBJECTS["c"]

    async def test_a_disk_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(StorageUnavailable, match="could not be copied") as failure:
            await LocalCopies(tmp_path / "file", 1000).of(await pinned(MemoryStore(OBJECTS), "c"))
        assert str(tmp_path) not in str(failure.value)

    async def test_an_object_and_a_folder_of_one_name(self, tmp_path: Path) -> None:
        store = MemoryStore({"x/a": b"object", "x/a/b": b"below"})
        with pytest.raises(StorageUnavailable):
            await LocalCopies(tmp_path, 1000).of(await pinned(store, "x/a"), ["x/a/"])
        assert not tree(tmp_path)


async def test_closing_removes_all(tmp_path: Path) -> None:
    (tmp_path / "somebody else's").write_bytes(b"")
    copies = LocalCopies(tmp_path, 1000)
    await copies.of(await pinned(MemoryStore(OBJECTS), "c"))
    copies.close()
    assert names(tmp_path) == {"somebody else's"}
    await copies.of(await pinned(MemoryStore(OBJECTS), "c"))
    copies.close()


async def test_a_folder_is_made_where_none_is_given() -> None:
    copies = LocalCopies(None, 1000)
    copy = await copies.of(await pinned(MemoryStore(OBJECTS), "c"))
    assert copy.path.read_bytes() == OBJECTS["c"]
    copies.close()
    assert not copy.path.exists()


class TestWithoutCopies:
    async def test_local_files_can_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"abc")
        copy = await local_copy(await open_files(LocalStore(tmp_path), "a"))
        assert isinstance(copy, LocalCopy)
        assert copy.path == tmp_path / "a"
        copy.release()

    async def test_others_cannot(self) -> None:
        with pytest.raises(UnsupportedFormat, match="local files"):
            await local_copy(await open_files(MemoryStore(OBJECTS), "c"))

    async def test_with_copies_they_can(self, tmp_path: Path) -> None:
        copies = LocalCopies(tmp_path, 1000)
        copy = await local_copy(await open_files(MemoryStore(OBJECTS), "c", copies))
        assert copy.path.read_bytes() == OBJECTS["c"]
