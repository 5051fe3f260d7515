"""Answers in parts: what is done in the scene's thread and what is not, who waits, and what remains of who has left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from microtome.errors import CorruptData
from microtome.scene.answers import Later, Parts, at_once, outside
from microtome.scene.process import SceneServer


class Scene:
    """Counts how often it was looked at; notes what happened in which thread."""

    def __init__(self) -> None:
        self.looks = 0
        self.noted: list[str] = []

    def look(self) -> None:
        self.looks += 1

    def note(self, what: str) -> None:
        self.noted.append(f"{what} in {threading.current_thread().name.split('_')[0]}")


def with_server(test: Callable[[SceneServer, Scene], Coroutine[Any, Any, None]], **options: int) -> None:
    scene = Scene()

    async def run() -> None:
        server = SceneServer({}, **options)
        await server.start(lambda: scene)  # pyright: ignore[reportArgumentType]
        await test(server, scene)

    asyncio.run(run())


def test_parts_take_turns() -> None:
    def handler(scene: Any) -> Parts[str]:
        scene.note("first")
        found = yield from outside(lambda: scene.note("work") or 7)
        scene.note("second")
        more = yield from outside(lambda: found + 1)
        return f"{found} {more}"

    async def test(server: SceneServer, scene: Scene) -> None:
        assert await server.in_scene(handler) == "7 8"
        assert scene.noted == ["first in scene", "work in long", "second in scene"]

    with_server(test)
    scene = Scene()
    assert at_once(handler(scene)) == "7 8"
    assert at_once(Later(lambda: 3)) == 3
    assert at_once(4) == 4


def test_others_are_answered_while_one_works() -> None:
    """Nothing but their answers lets the work end."""
    enough = threading.Event()

    def handler(_: Any) -> Parts[bool]:
        return (yield from outside(lambda: enough.wait(60)))

    async def test(server: SceneServer, scene: Scene) -> None:
        working = asyncio.ensure_future(server.in_scene(handler))
        for number in range(10):
            assert await server.in_scene(lambda _, number=number: number) == number
        assert not working.done()
        enough.set()
        assert await working

    with_server(test)


def test_errors_are_those_of_the_work() -> None:
    def work() -> None:
        raise CorruptData("The file is broken")

    def fails(_: Any) -> Parts[None]:
        yield from outside(work)

    def goes_on(_: Any) -> Parts[str]:
        try:
            yield from outside(work)
        except CorruptData:
            return (yield from outside(lambda: "another way"))
        return ""

    async def test(server: SceneServer, scene: Scene) -> None:
        with pytest.raises(CorruptData, match="broken"):
            await server.in_scene(fails)
        assert await server.in_scene(goes_on) == "another way"

    with_server(test, most_working=1)
    with pytest.raises(CorruptData, match="broken"):
        at_once(fails(None))
    assert at_once(goes_on(None)) == "another way"


def test_who_leaves_leaves_nothing_behind() -> None:
    """The work is finished, what lies behind it is not begun, and the parts are closed in the scene's thread."""
    begun, finish = threading.Event(), threading.Event()

    def handler(scene: Any) -> Parts[None]:
        def work() -> None:
            begun.set()
            finish.wait(60)
            scene.note("worked")

        try:
            yield from outside(work)
            scene.note("changed")
        finally:
            scene.note("closed")

    async def test(server: SceneServer, scene: Scene) -> None:
        working = asyncio.ensure_future(server.in_scene(handler))
        await asyncio.to_thread(begun.wait, 60)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        assert scene.noted == []
        waiting = asyncio.ensure_future(server.in_scene(lambda _: outside(lambda: "next")))
        finish.set()
        # There is room for one at a time: the next is answered when all of the first is over.
        assert await waiting == "next"
        assert scene.noted == ["worked in long", "closed in scene"]

    with_server(test, most_working=1)


def test_as_many_work_at_once_as_there_is_room_for() -> None:
    lock, running, most = threading.Lock(), 0, 0
    both = threading.Barrier(2)

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait(60)
        with lock:
            running -= 1

    def handler(_: Any) -> Parts[None]:
        yield from outside(work)

    async def test(server: SceneServer, scene: Scene) -> None:
        await asyncio.gather(*(server.in_scene(handler) for _ in range(6)))

    with_server(test, most_working=2)
    assert most == 2
