"""Folders of objects as slides: what is in them, which version it is."""

from __future__ import annotations

import pytest

from microtome.errors import Conflict, NotFound
from microtome.storage.copies import LocalCopies
from microtome.storage.folder import PinnedFolder, open_files
from microtome.storage.memory import MemoryStore
from microtome.storage.pinned import PinnedObject

OBJECTS = {"a/1.dcm": b"one", "a/b/2.dcm": b"two", "a.txt": b"beside", "ab/3.dcm": b"other", "z": b"file"}


async def test_what_is_below_it_and_nothing_beside() -> None:
    for key in ("a", "a/"):
        folder = await PinnedFolder.open(MemoryStore(OBJECTS), key)
        assert list(folder.entries) == ["1.dcm", "b/2.dcm"]
        assert folder.complete
        assert folder.info.size == 6
        assert folder.info.key == key
        assert folder.head == b""
        assert folder.path("b/2.dcm") == "a/b/2.dcm"


@pytest.mark.parametrize("key", ["nothing", "z", "a/1.dcm", "a/1"])
async def test_where_nothing_is_below_there_is_no_folder(key: str) -> None:
    with pytest.raises(NotFound) as failure:
        await PinnedFolder.open(MemoryStore(OBJECTS), key)
    assert failure.value.what == "slide"


@pytest.mark.parametrize(("most", "complete"), [(1, False), (2, True), (3, True)])
async def test_large_folders_are_listed_in_part(most: int, *, complete: bool) -> None:
    folder = await PinnedFolder.open(MemoryStore(OBJECTS), "a", most=most)
    assert folder.complete == complete
    assert len(folder.entries) == min(most, 2)


async def test_more_than_a_page() -> None:
    store = MemoryStore({f"a/{n:05}": b"x" for n in range(2500)})
    folder = await PinnedFolder.open(store, "a")
    assert len(folder.entries) == 2500
    before = store.requests
    assert len((await PinnedFolder.open(store, "a", most=1500)).entries) == 1500
    assert store.requests - before == 2, "what is behind the limit is not asked for"


class TestVersion:
    async def test_stays_while_nothing_changes(self) -> None:
        store = MemoryStore(OBJECTS)
        assert (await PinnedFolder.open(store, "a")).info.etag == (await PinnedFolder.open(store, "a")).info.etag

    async def test_changes_with_anything_in_it(self) -> None:
        store = MemoryStore(OBJECTS)
        seen = {(await PinnedFolder.open(store, "a")).info.etag}
        store.put("a/b/2.dcm", b"two")
        seen.add((await PinnedFolder.open(store, "a")).info.etag)
        store.put("a/new", b"")
        seen.add((await PinnedFolder.open(store, "a")).info.etag)
        store.delete("a/1.dcm")
        seen.add((await PinnedFolder.open(store, "a")).info.etag)
        assert len(seen) == 4
        store.put("ab/3.dcm", b"changed beside")
        assert (await PinnedFolder.open(store, "a")).info.etag in seen

    async def test_reads_are_of_the_version_listed(self) -> None:
        store = MemoryStore(OBJECTS)
        folder = await PinnedFolder.open(store, "a")
        assert await folder.read("1.dcm") == b"one"
        opened = await folder.object("1.dcm")
        assert await opened.read(0, 3) == b"one"
        store.put("a/1.dcm", b"ONE")
        with pytest.raises(Conflict):
            await folder.read("1.dcm")
        with pytest.raises(Conflict):
            await folder.object("1.dcm")

    async def test_what_was_not_listed_can_be_asked_for(self) -> None:
        store = MemoryStore(OBJECTS)
        folder = await PinnedFolder.open(store, "a", most=1)
        assert await folder.read("b/2.dcm") == b"two"
        assert await (await folder.object("b/2.dcm")).read(0, 9) == b"two"
        with pytest.raises(NotFound):
            await folder.read("nothing")
        with pytest.raises(NotFound):
            await folder.object("nothing")

    async def test_nothing_outside_of_it_can_be(self) -> None:
        folder = await PinnedFolder.open(MemoryStore(OBJECTS), "a")
        for name in ("../z", "b/../../z", "/z"):
            with pytest.raises(NotFound):
                await folder.read(name)
            with pytest.raises(NotFound):
                await folder.object(name)


class TestOpening:
    async def test_an_object_comes_before_a_folder_of_its_name(self) -> None:
        store = MemoryStore(OBJECTS | {"a": b"an object"})
        assert isinstance(await open_files(store, "a"), PinnedObject)
        store.delete("a")
        assert isinstance(await open_files(store, "a"), PinnedFolder)
        with pytest.raises(NotFound):
            await open_files(store, "nothing")

    async def test_copies_are_handed_on(self) -> None:
        store, copies = MemoryStore(OBJECTS), LocalCopies(None, 100)
        assert (await open_files(store, "z", copies)).copies is copies
        folder = await open_files(store, "a", copies)
        assert isinstance(folder, PinnedFolder)
        assert folder.copies is copies
        assert (await folder.object("1.dcm")).copies is copies
