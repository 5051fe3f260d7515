"""Kept headers: in memory, on disk, and what happens to files that are damaged or forged."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microtome.storage import headers
from microtome.storage.base import ObjectInfo
from microtome.storage.headers import MAGIC, HeaderCache
from microtome.storage.memory import MemoryStore
from microtome.storage.pinned import Header, PinnedObject

HEADER = Header(ObjectInfo("a/b.svs", 1000, "etag", 1234.5), ((0, b"head"), (900, b"t" * 100)))


def other(key: str, length: int = 100) -> Header:
    return Header(ObjectInfo(key, length, "etag"), ((0, b"x" * length),))


def kept(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "headers"


def test_in_memory_only() -> None:
    cache = HeaderCache(1000)
    assert cache.get("a/b.svs") is None
    cache.put(HEADER)
    assert cache.get("a/b.svs") == HEADER
    cache.drop("a/b.svs")
    assert cache.get("a/b.svs") is None


def test_memory_is_bounded(folder: Path) -> None:
    cache = HeaderCache(1000, folder)
    for number in range(20):
        cache.put(other(f"{number}.svs"))
    assert cache.memory.used <= 1000
    assert all(cache.get(f"{number}.svs") == other(f"{number}.svs") for number in range(20))  # the rest is on disk


def test_survives_a_restart(folder: Path) -> None:
    HeaderCache(1000, folder).put(HEADER)
    again = HeaderCache(1000, folder)
    assert again.get("a/b.svs") == HEADER
    assert again.memory.get("a/b.svs") == HEADER
    without_time = Header(ObjectInfo("c", 0, "", None), ())
    again.put(without_time)
    assert HeaderCache(1000, folder).get("c") == without_time
    again.drop("a/b.svs")
    assert HeaderCache(1000, folder).get("a/b.svs") is None
    again.drop("never.svs")


def test_newer_header_replaces_the_older(folder: Path) -> None:
    cache = HeaderCache(1000, folder)
    cache.put(HEADER)
    newer = Header(ObjectInfo("a/b.svs", 7, "new etag"), ((0, b"newer"),))
    cache.put(newer)
    assert HeaderCache(1000, folder).get("a/b.svs") == newer
    assert len(kept(folder)) == 1


def test_a_header_already_kept_is_not_written_again(folder: Path) -> None:
    cache = HeaderCache(1000, folder)
    cache.put(HEADER)
    inode = kept(folder)[0].stat().st_ino
    cache.put(HEADER)
    assert kept(folder)[0].stat().st_ino == inode


def test_stores_are_told_apart(folder: Path) -> None:
    HeaderCache(1000, folder, store_id="s3://one").put(HEADER)
    assert HeaderCache(1000, folder, store_id="s3://two").get("a/b.svs") is None
    assert HeaderCache(1000, folder, store_id="s3://one").get("a/b.svs") == HEADER


def test_only_the_owner_may_read(folder: Path) -> None:
    HeaderCache(1000, folder).put(HEADER)
    assert folder.stat().st_mode & 0o777 == 0o700
    (file,) = kept(folder)
    assert file.stat().st_mode & 0o777 == 0o600
    assert "b.svs" not in file.name


@pytest.mark.parametrize("key", ["\ud800", "../../etc/passwd", "", "x" * 5000])
def test_any_string_may_be_asked(folder: Path, key: str) -> None:
    cache = HeaderCache(1000, folder)
    cache.put(HEADER)
    assert cache.get(key) is None
    cache.drop(key)


@given(st.integers(0, 400), st.integers(1, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_damage_is_noticed_and_removed(folder: Path, place: int, change: int) -> None:
    HeaderCache(1000, folder).put(HEADER)
    (file,) = kept(folder)
    data = bytearray(file.read_bytes())
    data[place % len(data)] ^= change
    file.write_bytes(data)
    assert HeaderCache(1000, folder).get("a/b.svs") is None
    assert kept(folder) == []


@given(st.integers(0, 400))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_truncated_file(folder: Path, length: int) -> None:
    HeaderCache(1000, folder).put(HEADER)
    (file,) = kept(folder)
    data = file.read_bytes()
    file.write_bytes(data[: length % len(data)])
    assert HeaderCache(1000, folder).get("a/b.svs") is None
    assert kept(folder) == []


def forge(*ranges: tuple[int, int, bytes], size: int = 1000, key: str = "a/b.svs", count: int | None = None) -> bytes:
    body = b"".join(struct.pack("<I", len(text)) + text for text in (b"", key.encode(), b"etag"))
    body += struct.pack("<QdI", size, 0.0, len(ranges) if count is None else count)
    body += b"".join(struct.pack("<QI", start, length) + data for start, length, data in ranges)
    return MAGIC + hashlib.sha256(body).digest() + body


@pytest.mark.parametrize(
    "data",
    [
        forge((0, 4, b"head"), key="other.svs"),
        forge((0, 2**32 - 1, b"head")),
        forge((0, 5, b"head")),
        forge((0, 3, b"head")),
        forge((10, 4, b"head"), (12, 4, b"tail")),
        forge((10, 4, b"head"), (0, 4, b"tail")),
        forge((998, 4, b"head")),
        forge((2**64 - 1, 4, b"head")),
        forge((0, 4, b"head"), count=2**32 - 1),
        forge((0, 4, b"head"), count=0),
        forge((0, 4, b"head")) + b"more",
        MAGIC,
        b"",
        b"\0" * 1000,
    ],
)
def test_forged_files_with_a_right_checksum_are_refused(folder: Path, data: bytes) -> None:
    HeaderCache(1000, folder).put(HEADER)
    (file,) = kept(folder)
    file.write_bytes(data)
    assert HeaderCache(1000, folder).get("a/b.svs") is None
    assert kept(folder) == []


def test_the_forgery_of_the_tests_is_a_good_one(folder: Path) -> None:
    HeaderCache(1000, folder).put(HEADER)
    (file,) = kept(folder)
    file.write_bytes(forge((0, 4, b"head"), (900, 2, b"ta")))
    header = HeaderCache(1000, folder).get("a/b.svs")
    assert header is not None
    assert header.ranges == ((0, b"head"), (900, b"ta"))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "huge"])
def test_what_is_no_file_of_ours(folder: Path, tmp_path: Path, kind: str) -> None:
    cache = HeaderCache(0, folder)
    cache.put(HEADER)
    (file,) = kept(folder)
    good = file.read_bytes()
    file.unlink()
    if kind == "link":
        (tmp_path / "elsewhere").write_bytes(good)
        file.symlink_to(tmp_path / "elsewhere")
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        file.write_bytes(b"")
        os.truncate(file, headers.MAX_FILE_BYTES + 1)
    assert cache.get("a/b.svs") is None
    if kind == "link":
        assert (tmp_path / "elsewhere").read_bytes() == good


def test_folder_is_bounded_and_the_longest_unused_leave(folder: Path) -> None:
    length = 1000
    cache = HeaderCache(0, folder, folder_budget=10 * 1200)
    for number in range(9):
        cache.put(other(f"{number}.svs", length))
        newest = max(kept(folder), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (number, number))
    # Ages 0 to 8; the oldest is used once more.
    assert cache.get("0.svs") is not None
    for number in range(9, 15):
        cache.put(other(f"{number}.svs", length))
    assert sum(path.stat().st_size for path in kept(folder)) <= 10 * 1200
    assert cache.get("0.svs") is not None
    assert cache.get("1.svs") is None
    assert cache.get("14.svs") is not None


def test_bound_counts_what_was_there_before(folder: Path) -> None:
    for number in range(20):
        HeaderCache(0, folder).put(other(f"{number}.svs", 1000))
    HeaderCache(0, folder, folder_budget=5000).put(other("new.svs", 1000))
    assert sum(path.stat().st_size for path in kept(folder)) <= 5000


def test_larger_than_the_bound_is_not_written(folder: Path) -> None:
    cache = HeaderCache(10**6, folder, folder_budget=500)
    cache.put(other("a.svs", 1000))
    assert not folder.exists()
    assert cache.get("a.svs") is not None


def test_unfinished_and_foreign_files(folder: Path) -> None:
    folder.mkdir(parents=True)
    old, young = folder / f"{'a' * 64}.{'b' * 16}.part", folder / f"{'c' * 64}.{'d' * 16}.part"
    foreign = folder / "precious.txt"
    for path in (old, young, foreign):
        path.write_bytes(b"1" * 5000)
    os.utime(old, (1, 1))
    os.utime(foreign, (1, 1))
    HeaderCache(0, folder, folder_budget=2000).put(other("a.svs", 1000))
    assert not old.exists()
    assert young.exists()
    assert foreign.exists()


@pytest.mark.parametrize("where", ["in the way", "read-only"])
def test_a_folder_that_cannot_be_written_is_no_error(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "in the way":
        (tmp_path / "cache").write_bytes(b"a file")
    else:
        (tmp_path / "cache").mkdir()
        monkeypatch.setattr(Path, "replace", _refuse)
    cache = HeaderCache(1000, tmp_path / "cache")
    cache.put(HEADER)
    assert cache.get("a/b.svs") == HEADER
    if where == "read-only":
        assert kept(tmp_path / "cache") == []


def _refuse(*_: object) -> None:
    raise PermissionError(13, "Permission denied")


async def test_a_slide_opens_from_a_kept_header_without_a_request(folder: Path) -> None:
    store = MemoryStore({"a.svs": bytes(range(256)) * 4000})
    first = await PinnedObject.open(store, "a.svs")
    await first.read(500_000, 500_100)
    HeaderCache(10**7, folder).put(first.header())
    store.log.clear()
    header = HeaderCache(10**7, folder).get("a.svs")
    assert header is not None
    again = PinnedObject.replay(store, header)
    assert await again.read(500_000, 500_100) == await first.read(500_000, 500_100)
    assert again.head[:10] == bytes(range(10))
    assert store.requests == 0
