"""Which format opens a file, and how libraries that block are kept from blocking others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from microtome.errors import (
    Conflict,
    CorruptData,
    InvalidRequest,
    LimitExceeded,
    NotFound,
    StorageUnavailable,
    UnsupportedFormat,
)
from microtome.formats import registry as registry_module
from microtome.formats.base import Slide
from microtome.formats.registry import FormatRegistry
from microtome.formats.threads import ThreadedSlide, reason
from microtome.model import AssociatedImage, Channel, Level, Raster, Size, SlideInfo, TileIndex
from microtome.storage.folder import Files, PinnedFolder
from microtome.storage.memory import MemoryStore
from microtome.storage.pinned import PinnedObject

WAIT = 30
INFO = SlideInfo(
    "fake",
    (Level(Size(20, 10), Size(10, 10), 1.0),),
    (Channel("gray"),),
    focal_planes=2,
    time_points=3,
    associated=(AssociatedImage("label", Size(1, 1)),),
)


class FakeSlide:
    """A library that blocks. ``work`` is done in its read, ``log`` tells what was called."""

    def __init__(self, work: Callable[[TileIndex], None] = lambda _: None, *, at_once: int = 1) -> None:
        self.at_once = at_once
        self.work = work
        self.log: list[str] = []
        self.threads: set[int] = set()

    def info(self) -> SlideInfo:
        self.log.append("info")
        return INFO

    def read_tile(self, index: TileIndex) -> Raster:
        self.threads.add(threading.get_ident())
        self.log.append(f"tile {index.column}")
        self.work(index)
        return Raster(np.full((10, 10, 1), index.column, np.uint8), ("gray",))

    def read_associated(self, name: str) -> Raster:
        self.log.append(name)
        return Raster(np.zeros((1, 1, 1), np.uint8), ("gray",))

    def close(self) -> None:
        self.log.append("close")


class FakeFormat:
    """Recognises by the first letter of the name and opens unless it is told to fail."""

    def __init__(self, name: str, priority: int = 0, *, letters: str = "a", fails: Exception | None = None) -> None:
        self.name = name
        self.priority = priority
        self.letters = letters
        self.fails = fails
        self.log: list[str] = []

    def recognises(self, head: bytes, name: str) -> bool:
        return name[:1] in self.letters and head == b"head"

    async def open(self, files: Files) -> Slide:
        self.log.append("open")
        if self.fails is not None:
            raise self.fails
        return await ThreadedSlide.open(FakeSlide)


class FakeFolderFormat(FakeFormat):
    def recognises_folder(self, names: Sequence[str]) -> bool:
        return "index" in names

    async def start(self) -> None:
        self.log.append("start")

    async def stop(self) -> None:
        self.log.append("stop")


def file(name: str = "folder/a.x") -> PinnedObject:
    store = MemoryStore({name: b"head"})
    return PinnedObject(store, store._objects[name][1], [(0, b"head")])  # pyright: ignore[reportPrivateUsage]


def tiff_file() -> PinnedObject:
    head = b"II*\0" + bytes(4092)
    store = MemoryStore({"slide.tif": head})
    return PinnedObject(store, store._objects["slide.tif"][1], [(0, head)])  # pyright: ignore[reportPrivateUsage]


def names(formats: FormatRegistry, files: Files) -> list[str]:
    return [each.name for each in formats.recognising(files)]


class TestChoice:
    def test_higher_priority_first_then_by_name(self) -> None:
        formats = FormatRegistry([FakeFormat("c", 1), FakeFormat("b", 1), FakeFormat("z", 2), FakeFormat("a")])
        assert names(formats, file()) == ["z", "b", "c", "a"]
        assert formats.priorities == {"z": 2, "b": 1, "c": 1, "a": 0}

    def test_priorities_can_be_overridden(self) -> None:
        formats = FormatRegistry([FakeFormat("a", 10), FakeFormat("b", 5), FakeFormat("c")], {"c": 20, "a": 1, "x": 9})
        assert names(formats, file()) == ["c", "b", "a"]

    def test_a_negative_priority_keeps_a_format_out(self) -> None:
        formats = FormatRegistry(
            [FakeFolderFormat("a", 10), FakeFormat("b", -1), FakeFormat("c", -5)], {"a": -1, "c": 0}
        )
        assert names(formats, file()) == ["c"]

    def test_only_those_that_recognise_it(self) -> None:
        formats = FormatRegistry([FakeFormat("a", letters="xy"), FakeFormat("b", letters="a")])
        assert names(formats, file("deep/folder/a")) == ["b"]
        assert names(formats, file("x")) == ["a"]

    async def test_folders_are_for_formats_of_folders(self) -> None:
        formats = FormatRegistry([FakeFormat("file"), FakeFolderFormat("folder")])
        store = MemoryStore({"a/index": b"", "b/other": b""})
        assert names(formats, await PinnedFolder.open(store, "a")) == ["folder"]
        assert names(formats, await PinnedFolder.open(store, "b")) == []


class TestOpening:
    async def test_the_first_that_can(self) -> None:
        failing = FakeFormat("first", 3, fails=UnsupportedFormat("no"))
        broken = FakeFormat("second", 2, fails=CorruptData("broken"))
        third, never = FakeFormat("third", 1), FakeFormat("fourth")
        slide = await FormatRegistry([never, third, broken, failing]).open(file())
        assert [each.log for each in (failing, broken, third, never)] == [["open"], ["open"], ["open"], []]
        await slide.close()

    async def test_the_failure_of_the_first_choice_is_told(self) -> None:
        formats = FormatRegistry(
            [FakeFormat("a", 2, fails=CorruptData("told")), FakeFormat("b", 1, fails=UnsupportedFormat("not told"))]
        )
        with pytest.raises(CorruptData, match=r"^told$"):
            await formats.open(file())

    @pytest.mark.parametrize("error", [Conflict("c"), StorageUnavailable("s"), NotFound("slide", "a")])
    async def test_what_is_no_fault_of_the_format_is_not_tried_again(self, error: Exception) -> None:
        second = FakeFormat("second")
        with pytest.raises(type(error)):
            await FormatRegistry([FakeFormat("first", 1, fails=error), second]).open(file())
        assert second.log == []

    async def test_by_name(self) -> None:
        """Whether it recognises the file or not, whatever its priority, and no other."""
        wanted, other = FakeFormat("wanted", -1, letters=""), FakeFormat("other", 9)
        formats = FormatRegistry([wanted, other])
        await (await formats.open(file(), "wanted")).close()
        assert (wanted.log, other.log) == (["open"], [])
        wanted.fails = UnsupportedFormat("no")
        with pytest.raises(UnsupportedFormat):
            await formats.open(file(), "wanted")
        assert other.log == []

    async def test_a_name_that_nobody_has(self) -> None:
        with pytest.raises(InvalidRequest, match="there are a, b") as failure:
            await FormatRegistry([FakeFormat("b"), FakeFormat("a")]).open(file(), "nobody")
        assert failure.value.parameter == "format"

    async def test_unknown_files(self) -> None:
        formats = FormatRegistry([FakeFormat("a", letters="x")])
        with pytest.raises(UnsupportedFormat, match="68 65 61 64") as failure:
            await formats.open(file())
        assert failure.value.feature == "file signature"
        folder = await PinnedFolder.open(MemoryStore({"a/b": b""}), "a")
        with pytest.raises(UnsupportedFormat) as failure:
            await formats.open(folder)
        assert failure.value.feature == "folder of files"

    async def test_starting_and_stopping(self) -> None:
        served = FakeFolderFormat("a")
        formats = FormatRegistry([served, FakeFormat("b")])
        await formats.start()
        await formats.stop()
        assert served.log == ["start", "stop"]


class TestEntryPoints:
    def test_ours_are_installed_like_others(self) -> None:
        assert "tiff" in {each.name for each in FormatRegistry.from_entry_points().formats}

    def test_one_that_cannot_be_loaded_is_left_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        points = [
            EntryPoint("good", f"{__name__}:made", registry_module.GROUP),
            EntryPoint("bad", "microtome_no_such_module:Format", registry_module.GROUP),
        ]
        monkeypatch.setattr(registry_module, "entry_points", lambda *, group: points if group else [])
        formats = FormatRegistry.from_entry_points({"made": 7})
        assert formats.priorities == {"made": 7}


def made() -> FakeFormat:
    return FakeFormat("made")


class TestThreads:
    async def test_reads_are_not_in_the_thread_of_the_loop(self) -> None:
        library = FakeSlide()
        slide = await ThreadedSlide.open(lambda: library)
        tile = await slide.read_tile(TileIndex(0, 1, 0, z=1, t=2))
        assert isinstance(tile, Raster)
        assert tile.array[0, 0, 0] == 1
        assert threading.get_ident() not in library.threads
        await slide.read_associated("label")
        assert await slide.info() is INFO
        assert await slide.level(0) is INFO.levels[0]
        assert slide.peek_tile(TileIndex(0, 0, 0)) is None
        slide.prefetch([TileIndex(9, 9, 9)])
        await slide.close()
        assert library.log == ["info", "tile 1", "label", "close"]

    @pytest.mark.parametrize(
        ("index", "parameter"),
        [
            (TileIndex(1, 0, 0), "level"), (TileIndex(-1, 0, 0), "level"), (TileIndex(0, 2, 0), "tile"),
            (TileIndex(0, 0, -1), "tile"), (TileIndex(0, 0, 0, z=2), "z"), (TileIndex(0, 0, 0, z=-1), "z"),
            (TileIndex(0, 0, 0, t=3), "t"),
        ],
    )  # fmt: skip
    async def test_what_does_not_exist_never_reaches_the_library(self, index: TileIndex, parameter: str) -> None:
        library = FakeSlide()
        slide = await ThreadedSlide.open(lambda: library)
        with pytest.raises(InvalidRequest) as failure:
            await slide.read_tile(index)
        assert failure.value.parameter == parameter
        with pytest.raises(NotFound):
            await slide.read_associated("macro")
        await slide.close()
        assert library.log == ["info", "close"]

    @pytest.mark.parametrize("at_once", [1, 2, 3])
    async def test_as_many_at_once_as_the_library_bears(self, at_once: int) -> None:
        running: list[int] = []
        most: list[int] = []
        lock, together = threading.Lock(), threading.Barrier(at_once)

        def work(index: TileIndex) -> None:
            with lock:
                running.append(index.column)
                most.append(len(running))
            together.wait(WAIT)  # nobody goes on before so many are here
            with lock:
                running.remove(index.column)

        slide = await ThreadedSlide.open(lambda: FakeSlide(work, at_once=at_once))
        await asyncio.gather(*(slide.read_tile(TileIndex(0, 0, 0)) for _ in range(4 * at_once)))
        assert max(most) == at_once
        await slide.close()

    async def test_a_slow_slide_delays_no_other(self) -> None:
        gate, begun = threading.Event(), threading.Semaphore(0)

        def work(_: TileIndex) -> None:
            begun.release()
            _wait(gate)

        slow = [await ThreadedSlide.open(lambda: FakeSlide(work)) for _ in range(40)]
        waiting = [asyncio.ensure_future(slide.read_tile(TileIndex(0, 0, 0))) for slide in slow for _ in range(2)]
        for _ in slow:
            assert await asyncio.to_thread(begun.acquire, timeout=WAIT)
        quick = await ThreadedSlide.open(FakeSlide)
        await quick.read_tile(TileIndex(0, 0, 0))
        closing = [asyncio.ensure_future(slide.close()) for slide in slow]
        await asyncio.sleep(0)
        await quick.close()
        await asyncio.to_thread(lambda: None)  # not even the threads that all share are taken
        assert not any(task.done() for task in closing)
        gate.set()
        await asyncio.gather(*waiting, *closing, return_exceptions=True)

    async def test_a_client_that_leaves_leaves_the_library_in_peace(self) -> None:
        gate, begun = threading.Event(), threading.Event()

        def work(_: TileIndex) -> None:
            begun.set()
            _wait(gate)

        library = FakeSlide(work)
        slide = await ThreadedSlide.open(lambda: library)
        reading = asyncio.ensure_future(slide.read_tile(TileIndex(0, 0, 0)))
        await asyncio.to_thread(begun.wait, WAIT)
        reading.cancel()
        closing = asyncio.ensure_future(slide.close())
        await asyncio.sleep(0)
        assert library.log == ["info", "tile 0"]
        gate.set()
        await closing
        assert library.log == ["info", "tile 0", "close"]


class TestErrorsOfLibraries:
    @pytest.mark.parametrize(
        "error",
        [ValueError("bad\nsecond line"), KeyError("bad"), RuntimeError(), StopIteration("bad"), MemoryError("bad")],
    )
    async def test_become_ours(self, error: Exception) -> None:
        def work(_: TileIndex) -> None:
            raise error

        slide = await ThreadedSlide.open(lambda: FakeSlide(work))
        with pytest.raises(CorruptData, match="cannot be read") as failure:
            await slide.read_tile(TileIndex(0, 0, 0))
        assert "second line" not in failure.value.message
        assert failure.value.__cause__ is error
        await slide.close()

    @pytest.mark.parametrize("error", [UnsupportedFormat("u"), LimitExceeded("l", limit="x"), Conflict("c")])
    async def test_those_of_the_house_pass(self, error: Exception) -> None:
        def work(_: TileIndex) -> None:
            raise error

        slide = await ThreadedSlide.open(lambda: FakeSlide(work))
        with pytest.raises(type(error)) as failure:
            await slide.read_tile(TileIndex(0, 0, 0))
        assert failure.value is error
        await slide.close()

    @pytest.mark.parametrize(
        ("error", "told"),
        [
            (ValueError("bad tile at 24/7 of a/b"), "bad tile at 24/7 of a/b"),
            (ValueError("Reading /srv/secret/x.dcm: bad"), "Reading x.dcm: bad"),
            (ValueError("in '/srv/secret/x.dcm'"), "in 'x.dcm'"),
            (ValueError(r"C:\secret\x.dcm is bad"), "x.dcm is bad"),
            (FileNotFoundError(2, "No such file", "/srv/secret/x"), "No such file"),
            (OSError("cannot open /srv/secret/x"), "cannot open x"),
            (ValueError(), "ValueError"),
            (ValueError("x" * 1000), "x" * 200),
        ],
    )
    def test_never_with_a_path_of_the_server(self, error: Exception, told: str) -> None:
        assert reason(error) == told


class TestOpeningAndClosing:
    async def test_a_library_that_cannot_open(self) -> None:
        released: list[int] = []

        def opener() -> FakeSlide:
            raise ValueError("no slide")

        with pytest.raises(CorruptData, match="no slide"):
            await ThreadedSlide.open(opener, lambda: released.append(1))
        assert released == [1]

    async def test_a_library_that_opens_and_knows_nothing(self) -> None:
        released: list[list[str]] = []
        library = FakeSlide()

        def info() -> SlideInfo:
            raise UnsupportedFormat("no image")

        library.info = info
        with pytest.raises(UnsupportedFormat):
            await ThreadedSlide.open(lambda: library, lambda: released.append(list(library.log)))
        assert released == [["close"]], "released once, after closing"

    async def test_whoever_opens_leaves(self) -> None:
        """The library goes on opening; what it used is released when it is done with it, not before."""
        gate, begun, released = threading.Event(), threading.Event(), asyncio.Event()
        library = FakeSlide()

        def opener() -> FakeSlide:
            begun.set()
            _wait(gate)
            return library

        opening = asyncio.ensure_future(ThreadedSlide.open(opener, released.set))
        await asyncio.to_thread(begun.wait, WAIT)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await asyncio.sleep(0)
        assert not released.is_set()
        gate.set()
        await asyncio.wait_for(released.wait(), WAIT)
        assert library.log[-1] == "close"

    async def test_close_waits_for_calls_under_way_and_lets_no_more_in(self) -> None:
        gate, begun = threading.Event(), threading.Event()
        released: list[list[str]] = []

        def work(index: TileIndex) -> None:
            begun.set()
            _wait(gate)

        library = FakeSlide(work)
        slide = await ThreadedSlide.open(lambda: library, lambda: released.append(list(library.log)))
        reading = asyncio.ensure_future(slide.read_tile(TileIndex(0, 0, 0)))
        await asyncio.to_thread(begun.wait, WAIT)
        queued = asyncio.ensure_future(slide.read_tile(TileIndex(0, 1, 0)))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(slide.close())
        await asyncio.sleep(0)
        with pytest.raises(Conflict):
            await slide.read_tile(TileIndex(0, 0, 0))
        with pytest.raises(Conflict):
            await slide.read_associated("label")
        assert not closing.done()
        gate.set()
        assert isinstance(await reading, Raster)
        with pytest.raises(Conflict):
            await queued
        await closing
        assert released == [["info", "tile 0", "close"]]
        await slide.close()
        assert library.log.count("close") == len(released) == 1

    async def test_a_library_that_cannot_close_releases_all_the_same(self, caplog: pytest.LogCaptureFixture) -> None:
        released: list[int] = []
        library = FakeSlide()

        def close() -> None:
            raise ValueError("stuck")

        library.close = close
        slide = await ThreadedSlide.open(lambda: library, lambda: released.append(1))
        await slide.close()
        assert released == [1]
        assert "stuck" in caplog.text


def _wait(gate: threading.Event) -> None:
    if not gate.wait(WAIT):
        raise TimeoutError


def test_a_raised_priority_brings_forward_what_a_format_leaves_to_others() -> None:
    def chosen(**priorities: int) -> list[str]:
        registry = FormatRegistry.from_entry_points(priorities)
        return [each.name for each in registry.recognising(tiff_file())]

    assert chosen()[-1] == "tiff"
    assert "openslide" not in chosen()
    assert chosen(openslide=20000)[0] == "openslide"
    assert chosen(tiff=-1, tifffile=-1) == ["openslide"]
    assert "openslide" not in chosen(openslide=-1, tiff=-1, tifffile=-1)
