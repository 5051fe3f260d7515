"""An object as a Python file behaves like any other."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microtome.errors import Conflict
from microtome.storage.file import RangeFile, as_file
from microtome.storage.memory import MemoryStore
from microtome.storage.pinned import PinnedObject

T = TypeVar("T")

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(-1, 400), st.just(0)),
        st.tuples(st.just("readinto"), st.integers(0, 400), st.just(0)),
        st.tuples(st.just("readline"), st.integers(-1, 50), st.just(0)),
        st.tuples(st.just("seek"), st.integers(-500, 500), st.sampled_from([io.SEEK_SET, io.SEEK_CUR, io.SEEK_END])),
        st.tuples(st.just("tell"), st.just(0), st.just(0)),
    ),
    max_size=30,
)


def done(file: BinaryIO, step: tuple[str, int, int]) -> object:
    """What a step gives; an error by its name, where Python's own files do not agree."""
    what, number, whence = step
    try:
        match what:
            case "read":
                return file.read(number)
            case "readinto":
                buffer = bytearray(number)
                count = file.readinto(buffer)  # type: ignore[attr-defined]
                return count, bytes(buffer)
            case "readline":
                return file.readline(number)
            case "seek":
                return file.seek(number, whence)
            case _:
                return file.tell()
    except (OSError, ValueError):
        return "error"


def in_a_thread(data: bytes, use: Callable[[PinnedObject, asyncio.AbstractEventLoop], T]) -> T:
    async def run() -> T:
        files = await PinnedObject.open(MemoryStore({"a": data}), "a")
        return await asyncio.to_thread(use, files, asyncio.get_running_loop())

    return asyncio.run(run())


class _Plain(io.RawIOBase):
    """The oracle: a raw file over bytes, with the errors of raw files."""

    def __init__(self, data: bytes) -> None:
        self._bytes = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._bytes.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._bytes.tell(), io.SEEK_END: len(self._bytes.getvalue())}[whence]
        return self._bytes.seek(base + offset)

    def readinto(self, buffer: Any) -> int:
        return self._bytes.readinto(buffer)


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=300), STEPS, st.sampled_from([1, 7, 64, 1000]))
def test_buffered_it_does_what_a_file_does(data: bytes, steps: list[tuple[str, int, int]], buffer: int) -> None:
    plain = io.BufferedReader(_Plain(data), buffer)

    def use(files: PinnedObject, loop: asyncio.AbstractEventLoop) -> None:
        with as_file(files, loop, buffer=buffer) as file:
            for step in steps:
                assert done(file, step) == done(plain, step), step

    in_a_thread(data, use)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=300), STEPS)
def test_it_does_what_bytes_in_memory_do(data: bytes, steps: list[tuple[str, int, int]]) -> None:
    plain = io.BytesIO(data)

    def use(files: PinnedObject, loop: asyncio.AbstractEventLoop) -> None:
        file = RangeFile(files, loop)
        for step in steps:
            if step[0] == "seek" and step[2] != io.SEEK_SET:
                # BytesIO takes the beginning for what is before it when it does not count from there.
                place = {io.SEEK_CUR: plain.tell(), io.SEEK_END: len(data)}[step[2]] + step[1]
                if place < 0:
                    assert done(file, step) == "error"  # type: ignore[arg-type]
                    continue
            assert done(file, step) == done(plain, step), step  # type: ignore[arg-type]

    in_a_thread(data, use)


def test_what_it_says_of_itself() -> None:
    def use(files: PinnedObject, loop: asyncio.AbstractEventLoop) -> None:
        file = as_file(files, loop)
        assert file.readable()
        assert file.seekable()
        assert not file.writable()
        assert file.name == "a"
        with pytest.raises(OSError, match="before the beginning"):
            file.seek(-1)
        with pytest.raises((OSError, ValueError)):
            file.seek(0, 7)
        file.close()
        with pytest.raises(ValueError, match="closed"):
            file.read()

    in_a_thread(b"abc", use)


async def test_errors_of_the_store_come_out_as_they_are() -> None:
    store = MemoryStore({"a": bytes(5_000_000)})
    files = await PinnedObject.open(store, "a")
    files.settle()
    store.put("a", bytes(5_000_000))

    def use() -> bytes:
        with as_file(files, loop) as file:
            file.seek(2_000_000)
            return file.read(10)

    loop = asyncio.get_running_loop()
    with pytest.raises(Conflict):
        await asyncio.to_thread(use)


async def test_neighbouring_reads_share_requests() -> None:
    store = MemoryStore({"a": bytes(range(256)) * 4000})
    files = await PinnedObject.open(store, "a")
    files.settle()
    before = store.requests
    loop = asyncio.get_running_loop()

    def use() -> bytes:
        with as_file(files, loop, buffer=100_000) as file:
            file.seek(500_000)
            return b"".join(file.read(100) for _ in range(900))

    assert await asyncio.to_thread(use) == (bytes(range(256)) * 4000)[500_000:590_000]
    assert store.requests == before + 1


async def test_many_threads_with_files_of_their_own() -> None:
    data = bytes(range(256)) * 20_000
    files = await PinnedObject.open(MemoryStore({"a": data}), "a")
    loop = asyncio.get_running_loop()
    together = threading.Barrier(4)

    def use(start: int) -> bytes:
        with as_file(files, loop, buffer=1000) as file:
            together.wait(30)
            file.seek(start)
            return file.read(50_000)

    starts = [1, 300_000, 2_000_003, 4_000_000]
    found = await asyncio.gather(*(asyncio.to_thread(use, start) for start in starts))
    assert found == [data[start : start + 50_000] for start in starts]
