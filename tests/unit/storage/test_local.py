"""What only a folder can do wrong: links, pipes, files written to, files put in the place of others."""

# ruff: noqa: ASYNC240 - tests may touch files

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microtome.errors import Conflict, InvalidRequest, NotFound, StorageUnavailable
from microtome.storage import local
from microtome.storage.local import LocalStore

DATA = bytes(range(256)) * 64


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "slides"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.svs").write_bytes(DATA)
    (folder / "sub/b.svs").write_bytes(DATA)
    (tmp_path / "secret.svs").write_bytes(b"secret")
    return folder


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_peek_answers_from_the_page_cache_once_the_file_is_open(root: Path) -> None:
    store = LocalStore(root)
    etag = (await store.head("a.svs")).etag
    assert store.peek("a.svs", 10, 200, etag=etag) == DATA[10:200]
    assert store.peek("a.svs", len(DATA) - 5, len(DATA) + 5, etag=etag) == DATA[-5:]
    assert store.peek("sub/b.svs", 0, 1, etag=etag) is None  # not open: opening could wait


async def test_reads_that_need_no_waiting_use_no_thread(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(root)
    etag = (await store.head("a.svs")).etag

    async def no_thread(*_: object) -> None:
        raise AssertionError("a thread was used")

    monkeypatch.setattr(asyncio, "to_thread", no_thread)
    assert (await store.get_range("a.svs", 0, 100, etag=etag)).data == DATA[:100]
    assert await store.get_ranges("a.svs", [(5, 9), (0, 3)], etag=etag) == [DATA[5:9], DATA[:3]]


async def test_bytes_on_disk_are_read_in_a_thread(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(root)
    etag = (await store.head("a.svs")).etag
    threads: list[int] = []
    real = os.pread

    def not_in_memory(*_: object) -> int:
        raise BlockingIOError

    def pread(descriptor: int, length: int, offset: int) -> bytes:
        threads.append(threading.get_ident())
        return real(descriptor, min(length, 100), offset)  # short reads go on

    monkeypatch.setattr(os, "preadv", not_in_memory)
    monkeypatch.setattr(os, "pread", pread)
    assert store.peek("a.svs", 0, 250, etag=etag) is None
    assert (await store.get_range("a.svs", 0, 250, etag=etag)).data == DATA[:250]
    assert len(threads) == 3
    assert threading.get_ident() not in threads


async def test_half_of_the_bytes_in_memory_is_not_enough(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(root)
    etag = (await store.head("a.svs")).etag
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, offset, flags: real(fd, buffers, offset, flags) // 2)
    assert store.peek("a.svs", 0, 100, etag=etag) is None
    assert (await store.get_range("a.svs", 0, 100, etag=etag)).data == DATA[:100]


@pytest.mark.parametrize("error", [OSError(95, "not supported"), OSError(5, "input/output error")])
async def test_file_system_that_cannot_read_without_waiting(
    root: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def refuse(*_: object) -> int:
        raise error

    monkeypatch.setattr(os, "preadv", refuse)
    store = LocalStore(root)
    etag = (await store.head("a.svs")).etag
    assert store.peek("a.svs", 0, 100, etag=etag) is None
    assert (await store.get_range("a.svs", 0, 100, etag=etag)).data == DATA[:100]


async def test_failing_disk(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error", "/a/server/path")

    monkeypatch.setattr(os, "preadv", fail)
    monkeypatch.setattr(os, "pread", fail)
    store = LocalStore(root)
    with pytest.raises(StorageUnavailable) as caught:
        await store.get_range("a.svs", 0, 100)
    assert "/a/server/path" not in caught.value.message


async def test_file_written_to_in_place(root: Path) -> None:
    store = LocalStore(root)
    old = (await store.get_range("a.svs", 0, 10)).info
    with (root / "a.svs").open("r+b") as file:
        file.write(b"other bytes of the same length"[:10])
    os.utime(root / "a.svs", ns=(1, 1))  # a coarse clock of the file system must not make this test pass or fail
    assert store.peek("a.svs", 0, 10, etag=old.etag) is None
    with pytest.raises(Conflict):
        await store.get_range("a.svs", 0, 10, etag=old.etag)
    with pytest.raises(Conflict):
        await store.get_ranges("a.svs", [(0, 5), (500, 510)], etag=old.etag)
    new = await store.get_range("a.svs", 0, 10)
    assert new.data == b"other byte"
    assert new.info.etag != old.etag


@pytest.mark.parametrize("nowait", [True, False])
async def test_file_written_to_during_the_read(root: Path, monkeypatch: pytest.MonkeyPatch, *, nowait: bool) -> None:
    """The first half is read before the writer comes, the second behind it: a mixture, and never given."""
    if not nowait:
        monkeypatch.setattr(local, "_NOWAIT", None)
    store = LocalStore(root)
    etag = (await store.head("a.svs")).etag

    def overwritten() -> None:
        (root / "a.svs").write_bytes(DATA[::-1])
        os.utime(root / "a.svs", ns=(1, 1))

    real_v, real = os.preadv, os.pread

    def preadv(*arguments: object) -> int:
        result = real_v(*arguments)  # type: ignore[arg-type]
        overwritten()
        return result

    def pread(descriptor: int, length: int, offset: int) -> bytes:
        part = real(descriptor, length // 2 or length, offset)
        overwritten()
        return part

    monkeypatch.setattr(os, "preadv", preadv)
    monkeypatch.setattr(os, "pread", pread)
    with pytest.raises(Conflict):
        await store.get_range("a.svs", 0, 1000, etag=etag)


async def test_truncated_file(root: Path) -> None:
    store = LocalStore(root)
    etag = (await store.head("a.svs")).etag
    os.truncate(root / "a.svs", 5)
    with pytest.raises(Conflict):
        await store.get_range("a.svs", 0, 100, etag=etag)
    assert (await store.get_range("a.svs", 0, 100)).data == DATA[:5]


async def test_file_put_in_the_place_of_another_is_noticed_within_a_second(root: Path, clock: Clock) -> None:
    store = LocalStore(root, clock=clock)
    old = (await store.get_range("a.svs", 0, 10)).info
    (root / "new").write_bytes(DATA[::-1])
    (root / "new").replace(root / "a.svs")
    # For a second the old file, whole and unchanged, may still be read; then nothing of it.
    assert (await store.get_range("a.svs", 0, 10, etag=old.etag)).data == DATA[:10]
    clock.now += 1.0
    assert store.peek("a.svs", 0, 10, etag=old.etag) is None
    with pytest.raises(Conflict):
        await store.get_range("a.svs", 0, 10, etag=old.etag)
    assert (await store.get_range("a.svs", 0, 10)).data == DATA[::-1][:10]


async def test_head_sees_the_file_that_is_there_now(root: Path, clock: Clock) -> None:
    store = LocalStore(root, clock=clock)
    old = (await store.get_range("a.svs", 0, 10)).info
    (root / "new").write_bytes(DATA[::-1])
    (root / "new").replace(root / "a.svs")
    assert (await store.head("a.svs")).etag != old.etag
    with pytest.raises(Conflict):
        await store.get_range("a.svs", 0, 10, etag=old.etag)
    (root / "a.svs").unlink()
    with pytest.raises(NotFound):
        await store.head("a.svs")


async def test_removed_file(root: Path, clock: Clock) -> None:
    store = LocalStore(root, clock=clock)
    etag = (await store.head("a.svs")).etag
    (root / "a.svs").unlink()
    clock.now += 1.0
    with pytest.raises(NotFound):
        await store.get_range("a.svs", 0, 10, etag=etag)


async def test_path_is_looked_up_once_a_second_at_most(
    root: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, *args, **more: (opened.append(path), real(path, *args, **more))[1])
    store = LocalStore(root, clock=clock)
    for _ in range(50):
        await store.get_range("a.svs", 0, 10)
    await asyncio.gather(*(store.get_range("a.svs", 0, 10) for _ in range(50)))
    assert opened.count("a.svs") == 1
    clock.now += 1.5
    await asyncio.gather(*(store.get_range("a.svs", 0, 10) for _ in range(50)))
    assert opened.count("a.svs") == 2


@pytest.mark.parametrize("make", ["file", "folder", "inside"])
async def test_symbolic_links_lead_nowhere_unless_allowed(root: Path, tmp_path: Path, make: str) -> None:
    if make == "folder":
        (root / "link").symlink_to(tmp_path)
        key, expected = "link/secret.svs", b"secret"
    elif make == "file":
        (root / "link.svs").symlink_to(tmp_path / "secret.svs")
        key, expected = "link.svs", b"secret"
    else:
        (root / "link").symlink_to(root / "sub")
        key, expected = "link/b.svs", DATA
    strict, loose = LocalStore(root), LocalStore(root, follow_symlinks=True)
    for read in (strict.head(key), strict.get_range(key, 0, 10), strict.get_suffix(key, 10)):
        with pytest.raises(NotFound):
            await read
    assert key not in [info.key async for page in strict.list() for info in page]
    assert (await loose.get_range(key, 0, 10**6)).data == expected
    assert key in [info.key async for page in loose.list() for info in page]


async def test_folder_swapped_for_a_link_after_it_was_seen(root: Path, tmp_path: Path) -> None:
    """No moment between the check and the opening: the way is opened step by step."""
    store = LocalStore(root)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/b.svs").write_bytes(b"secret")
    real = os.open

    def swap(path: object, flags: int, *args: object, **more: object) -> int:
        if path == "sub":
            (root / "sub").rename(root / "sub-moved")
            (root / "sub").symlink_to(tmp_path / "elsewhere")
        return real(path, flags, *args, **more)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", swap)
        with pytest.raises(NotFound):
            await store.get_range("sub/b.svs", 0, 10)


async def test_loops_of_links_end(root: Path) -> None:
    (root / "sub/up").symlink_to(root)
    (root / "self.svs").symlink_to(root / "self.svs")
    store = LocalStore(root, follow_symlinks=True)
    assert [info.key async for page in store.list() for info in page] == ["a.svs", "sub/b.svs"]
    with pytest.raises(NotFound):
        await store.head("self.svs")


@pytest.mark.timeout(20)
async def test_what_is_no_regular_file_does_not_exist(root: Path) -> None:
    os.mkfifo(root / "pipe.svs")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket.svs"))
        for store in (LocalStore(root), LocalStore(root, follow_symlinks=True)):
            for key in ("pipe.svs", "socket.svs", "sub"):
                with pytest.raises(NotFound):
                    await store.get_range(key, 0, 10)
            assert [info.key async for page in store.list() for info in page] == ["a.svs", "sub/b.svs"]
    (root / "null.svs").symlink_to("/dev/zero")
    with pytest.raises(NotFound):
        await LocalStore(root, follow_symlinks=True).get_range("null.svs", 0, 10)


@given(
    key=st.lists(
        st.sampled_from(["..", ".", "/", "link", "sub", "a.svs", "secret.svs", "%2e%2e", "\0"]), max_size=7
    ).map("".join)
)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_key_reads_outside(root: Path, tmp_path: Path, key: str) -> None:
    if not (root / "link").is_symlink():
        (root / "link").symlink_to(tmp_path)

    async def read() -> bytes:
        return (await LocalStore(root).get_range(key, 0, 10)).data

    try:
        data = asyncio.run(read())
    except NotFound:
        return
    assert data == DATA[:10]


async def test_single_file(root: Path) -> None:
    store = LocalStore(root / "a.svs")
    (root / "aa.svs").write_bytes(b"1")
    assert [info.key async for page in store.list() for info in page] == ["a.svs"]
    assert [info async for info in store.list("b")] == []
    assert [info async for info in store.list(after="a.svs")] == []
    assert (await store.get_range("a.svs", 0, 10)).data == DATA[:10]
    for key in ("aa.svs", "sub/b.svs", "../slides/a.svs"):
        with pytest.raises(NotFound):
            await store.get_range(key, 0, 10)


def test_nothing_to_serve(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "nothing", tmp_path / "pipe"):
        with pytest.raises(InvalidRequest) as caught:
            LocalStore(path)
        assert str(tmp_path) not in caught.value.message


async def test_root_that_went_away(root: Path) -> None:
    store = LocalStore(root)
    root.rename(root.with_name("moved"))
    with pytest.raises(StorageUnavailable):
        await store.head("a.svs")
    with pytest.raises(StorageUnavailable):
        await anext(store.list())


def descriptors(root: Path) -> int:
    """Open files and folders at and below ``root``; others of this process are none of our business."""
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(str(entry.readlink()))
    return sum(link.startswith(str(root)) for link in links)


async def test_open_files_are_bounded_and_closed(root: Path) -> None:
    await asyncio.to_thread(gc.collect)  # no leftovers of other tests; the pool of threads is there before counting
    before = descriptors(root)
    for number in range(50):
        (root / f"{number}.svs").write_bytes(b"1")
    store = LocalStore(root, open_files=8)
    for number in range(50):
        await store.get_range(f"{number}.svs", 0, 1)
    assert descriptors(root) - before == 8
    with pytest.raises(NotFound):
        await store.head("sub")
    await store.close()
    assert descriptors(root) == before


async def test_listing_that_is_left_closes_its_folders(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "PAGE", 1)
    await asyncio.to_thread(gc.collect)
    before = descriptors(root)
    pages = LocalStore(root).list()
    assert len(await anext(pages)) == 1
    assert descriptors(root) > before
    await pages.aclose()  # type: ignore[attr-defined]
    del pages
    gc.collect()
    assert descriptors(root) == before


async def test_listing_reads_only_folders_that_matter(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        (root / f"folder-{number:02}").mkdir()
        (root / f"folder-{number:02}/slide.svs").write_bytes(b"1")
    seen = 0
    real = os.scandir

    def count(place: int) -> object:
        nonlocal seen
        seen += 1
        return real(place)

    monkeypatch.setattr(os, "scandir", count)
    store = LocalStore(root)
    assert [info.key async for page in store.list("folder-07/") for info in page] == ["folder-07/slide.svs"]
    assert seen == 2
    seen = 0
    assert len([info async for page in store.list("folder", after="folder-17/slide.svs") for info in page]) == 2
    assert seen == 4  # the root, folder-17 whose other files could follow, and the last two


async def test_listing_leaves_out_names_that_are_no_keys(root: Path) -> None:
    (root / "back\\slash.svs").write_bytes(b"1")
    (root / "new\nline.svs").write_bytes(b"1")
    (root / "%2e%2e").mkdir()
    (root / "%2e%2e/x.svs").write_bytes(b"1")
    (root / os.fsdecode(b"\xff.svs")).write_bytes(b"1")
    (root / ".hidden.svs").write_bytes(b"1")
    keys = [info.key async for page in LocalStore(root).list() for info in page]
    assert keys == [".hidden.svs", "a.svs", "sub/b.svs"]


names = st.lists(st.sampled_from(["a", "b", "a-", "a.", "a0", "ä", "\U0001f52c"]), min_size=1, max_size=4).map("/".join)


@given(paths=st.sets(names, max_size=12), prefix=names | st.just(""), after=names | st.just(""), page=st.integers(1, 4))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_listing_is_the_sorted_set_of_keys(
    tmp_path_factory: pytest.TempPathFactory, paths: set[str], prefix: str, after: str, page: int
) -> None:
    root = tmp_path_factory.mktemp("tree")
    keys = {path + ".svs" for path in paths}
    for key in keys:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(b"1")

    async def listed() -> list[str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(local, "PAGE", page)
            return [info.key async for found in LocalStore(root).list(prefix, after=after) for info in found]

    expected = sorted((key for key in keys if key.startswith(prefix) and key > after), key=str.encode)
    assert asyncio.run(listed()) == expected


async def test_file_that_may_not_be_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refuse(path: object, *args: object, **more: object) -> int:
        if path == "a.svs":
            raise PermissionError(13, "Permission denied", str(root / "a.svs"))
        return real(path, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageUnavailable) as caught:
        await LocalStore(root).head("a.svs")
    assert caught.value.permanent
    assert str(root) not in caught.value.message
