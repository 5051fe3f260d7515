"""Formats that are prone to crash, each slide in a process of its own.

A child that dies costs the reads under way one ReaderDied and is replaced at the next read. Children start when they
are first needed, rest when there are too many of them, and never outlive the server. See ``isolated_wire`` for what
they may say.

What it costs, measured on two cores with a slide of 130 tiles: 0.2 s more for the opening of a slide, 0.35 ms more
for a tile (stored JPEG 0.01 -> 0.36 ms, OpenSlide 1.1 -> 1.5 ms), 40 MB of memory for each child, of which there are
``CHILDREN``; nothing for the formats that are not named.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any

from microtome.errors import Conflict, CorruptData, MicrotomeError, NotFound, as_message, from_message
from microtome.formats.base import Configurable, FolderFormat, Format, FormatOptions, Suffixed
from microtome.formats.isolated_wire import (
    Line,
    Message,
    from_object,
    from_options,
    to_info,
    to_tile,
)
from microtome.formats.threads import check_planes
from microtome.model import EncodedTile, Level, Raster, SlideInfo, TileIndex, of_level
from microtome.storage.base import Store
from microtome.storage.copies import local_copy
from microtome.storage.folder import LISTED, Files, PinnedFolder
from microtome.storage.pinned import LocalPath, PinnedObject
from microtome.telemetry import logger

SECONDS = 60.0
START_SECONDS = 60.0
CHILDREN = 8
CRASHES, CRASH_PERIOD = 3, 60.0
"""A slide whose reader crashed so often in so many s is left alone until that time is over."""
_KNOWN_CRASHES = 10_000
MAX_ASKED_BYTES = 1 << 30
_PATIENCE = 10
"""So many times the limit in all, however much it asked of the store meanwhile."""


class ReaderDied(MicrotomeError):
    """The process that read a slide crashed, hung or talked nonsense: neither the request's fault nor for sure the
    file's, so no other error says it, and every API answers as to a mistake of its own.
    """


class Isolated:
    """A ``Format`` (and ``FolderFormat``) that opens each slide with ``inner`` in a child process.

    ``inner`` is made anew in the child, by its class and without arguments, and told the same options. ``seconds`` is
    how long a call may take without a word to the store. At most ``children`` processes run, more only while all of
    them work.
    """

    def __init__(self, inner: Format | FolderFormat, *, seconds: float = SECONDS, children: int = CHILDREN) -> None:
        self.name = inner.name
        self.priority: int = getattr(inner, "priority", 0)
        self.suffixes: Sequence[str] = inner.suffixes if isinstance(inner, Suffixed) else ()
        self.seconds = seconds
        self.options = FormatOptions()
        self._inner = inner
        self._children = children
        self._running: OrderedDict[IsolatedSlide, None] = OrderedDict()
        self._crashes: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def configure(self, options: FormatOptions) -> None:
        """See ``formats.base.Configurable``; for the children."""
        self.options = options
        if isinstance(self._inner, Configurable):
            self._inner.configure(options)

    def recognises(self, head: bytes, name: str) -> bool:
        """As ``inner`` does; pure, so it needs no child."""
        recognises = getattr(self._inner, "recognises", None)
        return recognises is not None and bool(recognises(head, name))

    def recognises_folder(self, names: Sequence[str]) -> bool:
        """As ``inner`` does, never when it takes no folders."""
        return isinstance(self._inner, FolderFormat) and self._inner.recognises_folder(names)

    async def open(self, files: Files) -> IsolatedSlide:
        """Open in a child. Raises what ``inner.open`` raises, and ReaderDied when the child dies or takes too long."""
        if isinstance(files, PinnedObject):
            files.settle()  # the child reads the header
        slide = IsolatedSlide(self, files)
        try:
            await slide.info()
        except BaseException:
            await slide.close()
            raise
        return slide

    async def start(self) -> None:
        """Nothing: children start when they are needed."""

    async def stop(self) -> None:
        """End all children."""
        for slide in list(self._running):
            await slide.close()

    @property
    def running(self) -> int:
        """How many children there are."""
        return len(self._running)

    @property
    def command(self) -> str:
        """How the child finds the format."""
        kind = type(self._inner)
        return f"{kind.__module__}:{kind.__qualname__}"

    async def make_room(self, slide: IsolatedSlide) -> None:
        """Count a slide as running; the longest unused child that has nothing to do ends for it."""
        for other in list(self._running):
            if len(self._running) < self._children:
                break
            if other is not slide and other.idle:
                await other.rest()
        self._running[slide] = None
        self._running.move_to_end(slide)

    def used(self, slide: IsolatedSlide) -> None:
        """A slide is being read."""
        if slide in self._running:
            self._running.move_to_end(slide)

    def crashes(self, files: Files) -> deque[float]:
        """When the last children of this version of a slide crashed, s of the loop's clock; the oldest first."""
        identity = (files.key, files.info.etag)
        found = self._crashes.setdefault(identity, deque(maxlen=CRASHES))
        self._crashes.move_to_end(identity)
        if len(self._crashes) > _KNOWN_CRASHES:
            self._crashes.popitem(last=False)
        return found

    def ended(self, slide: IsolatedSlide) -> None:
        """The child of a slide has ended."""
        self._running.pop(slide, None)


class IsolatedSlide:
    """See ``formats.base.Slide``. Its child may end and begin again without anyone noticing."""

    def __init__(self, family: Isolated, files: Files) -> None:
        self._family = family
        self._files = files
        self._child: _Child | None = None
        self._info: SlideInfo | None = None
        self._starting = asyncio.Lock()
        self._crashes = family.crashes(files)
        self._closed = False

    @property
    def idle(self) -> bool:
        """Whether the child has nothing to do."""
        return self._child is not None and not self._child.busy and not self._starting.locked()

    async def info(self) -> SlideInfo:
        """See ``formats.base.Slide``."""
        if self._info is None:
            await self._ready()
        assert self._info is not None  # noqa: S101 - ready means that it is known
        return self._info

    async def level(self, number: int) -> Level:
        """See ``formats.base.Slide``."""
        return of_level((await self.info()).levels, number)

    async def read_tile(self, index: TileIndex) -> EncodedTile | Raster:
        """See ``formats.base.Slide``."""
        (await self.level(index.level)).check_tile(index)
        check_planes(await self.info(), index)
        return await self._tile("tile", index=list(index))

    def peek_tile(self, index: TileIndex) -> EncodedTile | None:
        """Nothing can be had without waiting."""
        return None

    def prefetch(self, indices: Sequence[TileIndex]) -> None:
        """Nothing to gain."""

    async def read_associated(self, name: str) -> EncodedTile | Raster:
        """See ``formats.base.Slide``."""
        if name not in {image.name for image in (await self.info()).associated}:
            raise NotFound("associated image", name)
        return await self._tile("associated", name=name)

    async def close(self) -> None:
        """End the child. Reads under way fail with Conflict."""
        self._closed = True
        async with self._starting:
            await self.rest()

    async def rest(self) -> None:
        """End the child until the slide is read again."""
        child, self._child = self._child, None
        self._family.ended(self)
        if child is not None:
            await child.end(Conflict("The slide was closed; ask again"))

    async def _tile(self, what: str, **arguments: Any) -> EncodedTile | Raster:
        child = await self._ready()
        while child.dead:  # it was told to rest, or died, before it could be called
            child = await self._ready()
        self._family.used(self)
        message, payload = await self._called(child, what, **arguments)
        try:
            return to_tile(message["tile"], payload)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise await self._crashed(child, "talked nonsense", error) from error

    async def _ready(self) -> _Child:
        async with self._starting:
            if self._closed:
                raise Conflict("The slide was closed; ask again")
            if self._child is not None and not self._child.dead:
                return self._child
            now = asyncio.get_running_loop().time()
            if len(self._crashes) == CRASHES and now - self._crashes[0] < CRASH_PERIOD:
                raise ReaderDied(
                    f"The reader of this format crashed on this slide {CRASHES} times; it is not tried again now"
                )
            await self._family.make_room(self)
            try:
                child = self._child = await _Child.start(self._family.command, self._files)
                options = from_options(self._family.options)
                message, _ = await self._called(child, "open", options=options, **child.place)
            except BaseException:
                await self.rest()
                raise
            try:
                self._info = to_info(message["info"])
            except (ValueError, TypeError, KeyError, OverflowError) as error:
                raise await self._crashed(child, "talked nonsense", error) from error
            return child

    async def _called(self, child: _Child, what: str, **arguments: Any) -> tuple[Message, bytes]:
        try:
            if what == "open":
                await child.ready()
            return await child.call(self._family.seconds, what, **arguments)
        except TimeoutError as error:
            why = f"took longer than {self._family.seconds:g} s"
            raise await self._crashed(child, why, error) from error
        except (ConnectionError, EOFError) as error:
            raise await self._crashed(child, "crashed", error) from error

    async def _crashed(self, child: _Child, what: str, error: Exception) -> MicrotomeError:
        """End a child that is of no more use, and say why; those who called it at the same time learn the same."""
        if not child.ended:
            self._crashes.append(asyncio.get_running_loop().time())
            if self._child is child:
                self._child = None
                self._family.ended(self)
            why = ReaderDied(f"The reader of this format {what} on this slide")
            status = await child.end(why, kill=not isinstance(error, ConnectionError | EOFError))
            logger.warning("the reader of %s %s on a slide (%s)", self._family.name, what, status)
        return child.reason or ReaderDied(f"The reader of this format {what} on this slide")


class _Child:
    """A process with one slide, and the connection to it."""

    def __init__(self, process: subprocess.Popen[bytes], line: Line, files: Files) -> None:
        self.ended = False
        self.reason: MicrotomeError | None = None
        self._process = process
        self._line = line
        self._files = files
        self._calls: dict[int, asyncio.Future[tuple[Message, bytes]]] = {0: asyncio.get_running_loop().create_future()}
        self._last = 0
        self._heard = asyncio.get_running_loop().time()
        self._copies: list[LocalPath] = []
        self._errands: set[asyncio.Task[None]] = set()
        self._listening = asyncio.ensure_future(self._listen())

    @classmethod
    async def start(cls, format_name: str, files: Files) -> _Child:
        """Start a child. Not in a thread: it would die with the thread that made it."""
        ours, theirs = socket.socketpair()
        try:
            number = str(theirs.fileno())
            process = subprocess.Popen(  # noqa: ASYNC220, S603 - our own program; starting takes a millisecond
                [sys.executable, "-m", "microtome.formats.isolated_child", number, format_name, str(os.getpid())],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=(theirs.fileno(),),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )  # fmt: skip
        except OSError as error:
            ours.close()
            raise ReaderDied("No process can be started to read this slide; try again later") from error
        finally:
            theirs.close()
        return cls(process, Line(*await asyncio.open_connection(sock=ours)), files)

    @property
    def place(self) -> dict[str, Any]:
        """Where the slide is, for the child."""
        path = self._files.store.local_path(self._files.key)
        folder = isinstance(self._files, PinnedFolder)
        return {"key": self._files.key, "etag": self._files.info.etag, "folder": folder,
                "path": None if path is None else str(path)}  # fmt: skip

    @property
    def busy(self) -> bool:
        """Whether calls are under way."""
        return bool(self._calls)

    @property
    def dead(self) -> bool:
        """Whether it does not listen any more."""
        return self.ended or self._listening.done()

    async def ready(self) -> None:
        """Wait until it listens; on a busy machine an interpreter takes its time. Raises as ``call``."""
        await self._answer(0, START_SECONDS, None)

    async def call(self, seconds: float, what: str, **arguments: Any) -> tuple[Message, bytes]:
        """Raises the child's error, TimeoutError after ``seconds`` without an answer, EOFError when the child died."""
        if self.dead:
            raise self.reason or EOFError
        self._last += 1
        number = self._last
        self._calls[number] = asyncio.get_running_loop().create_future()
        return await self._answer(number, seconds, {"call": number, "what": what, **arguments})

    async def _answer(self, number: int, seconds: float, message: Message | None) -> tuple[Message, bytes]:
        loop = asyncio.get_running_loop()
        answer = self._calls[number]
        began = loop.time()
        try:
            if message is not None:
                await self._line.send(message)
            while not answer.done():
                # Waiting for the store is not the child's fault.
                remaining = max(began, self._heard) + seconds - loop.time()
                if (remaining <= 0 and not self._errands) or loop.time() - began > _PATIENCE * seconds:
                    raise TimeoutError
                await asyncio.wait({answer}, timeout=max(remaining, 0.05))
            return answer.result()
        finally:
            del self._calls[number]
            if answer.done() and not answer.cancelled():
                answer.exception()

    async def end(self, why: MicrotomeError, *, kill: bool = False) -> str:
        """Hang up, fail the calls under way, release the copies; what became of the process, in words."""
        self.ended = True
        self.reason = why
        if kill:
            self._process.kill()
        self._line.close()
        self._listening.cancel()
        for task in self._errands:
            task.cancel()
        await asyncio.gather(self._listening, *self._errands, return_exceptions=True)
        self._fail(why)
        status = await asyncio.shield(asyncio.ensure_future(asyncio.to_thread(self._wait)))
        for copy in self._copies:
            copy.release()
        self._copies.clear()
        return status

    def _wait(self) -> str:
        """A child that was hung up on ends at once, unless a library keeps it."""
        try:
            code = self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit {code}"

    async def _listen(self) -> None:
        failure: Exception = EOFError()
        try:
            while True:
                message, payload = await self._line.receive()
                self._heard = asyncio.get_running_loop().time()
                if "ask" in message:
                    task = asyncio.ensure_future(self._run_errand(message))
                    self._errands.add(task)
                    task.add_done_callback(self._errands.discard)
                    continue
                answer = self._calls.get(int(message["reply"]))
                if answer is None or answer.done():
                    continue
                if "error" in message:
                    answer.set_exception(from_message(message))
                else:
                    answer.set_result((message, payload))
        except (OSError, EOFError):
            pass
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._process.kill()
            failure = EOFError(f"nonsense: {error}")
        finally:
            self._fail(failure)

    def _fail(self, error: Exception) -> None:
        for answer in self._calls.values():
            if not answer.done():
                answer.set_exception(error)

    async def _run_errand(self, message: Message) -> None:
        payload = b""
        try:
            answer, payload = await self._asked(message)
        except MicrotomeError as error:
            answer = as_message(error)
        except (ValueError, TypeError, KeyError, AttributeError):
            answer = as_message(CorruptData("The reader asked for something that makes no sense"))
        self._heard = asyncio.get_running_loop().time()
        try:
            await self._line.send({**answer, "answer": message["ask"]}, payload)
        except OSError:
            return  # the child has died; the listener says so

    async def _asked(self, message: Message) -> tuple[Message, bytes]:
        """What the child may have of the store: objects of the slide, and those beside it."""
        store: Store = self._files.store
        what = message["what"]
        key = str(message["prefix"] if what == "list" else message["key"])
        folder = self._files.key.rstrip("/").rpartition("/")[0]
        if folder and not key.startswith(f"{folder}/"):
            raise NotFound("slide", key)
        etag = None if message.get("etag") is None else str(message["etag"])
        match what:
            case "head":
                return {"info": from_object(await store.head(key))}, b""
            case "range":
                start, stop = int(message["start"]), int(message["stop"])
                _check_length(stop - start)
                result = await store.get_range(key, start, stop, etag=etag)
                return {"info": from_object(result.info)}, result.data
            case "ranges":
                ranges = [(int(start), int(stop)) for start, stop in message["ranges"]]
                _check_length(sum(stop - start for start, stop in ranges))
                parts = await store.get_ranges(key, ranges, etag=etag or "")
                return {"lengths": [len(part) for part in parts]}, b"".join(parts)
            case "suffix":
                length = int(message["length"])
                _check_length(length)
                result = await store.get_suffix(key, length)
                return {"info": from_object(result.info), "start": result.start}, result.data
            case "list":
                infos: list[Any] = []
                async for page in store.list(key, after=str(message["after"])):
                    infos += [from_object(info) for info in page]
                    if len(infos) > LISTED:
                        break
                return {"infos": infos}, b""
            case "copy":
                return {"path": await self._copy(key, [str(each) for each in message["companions"]])}, b""
            case _:
                raise ValueError(what)

    async def _copy(self, key: str, companions: list[str]) -> str:
        files = self._files
        if key != files.key:
            files = await PinnedObject.open(files.store, key)
            files.copies = self._files.copies
        copy = await local_copy(files, companions)
        self._copies.append(copy)
        return str(copy.path)


def _check_length(length: int) -> None:
    if not 0 <= length <= MAX_ASKED_BYTES:
        raise ValueError("so many bytes are not read at once")
