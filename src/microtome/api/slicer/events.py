"""``GET /scene/v1/events``: what happens in the scene, as server-sent events (HTML standard §9.2).

``event`` is ``added``, ``removed`` or ``modified`` with a node as data, ``lost`` when the scene itself was, ``missed``
when more happened than is kept. Ids grow; a client that comes back with Last-Event-ID misses nothing that is kept.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from microtome.api.slicer.context import SlicerContext, encoded
from microtome.errors import Busy, MicrotomeError, StorageUnavailable
from microtome.scene.calls.events import Event, Events, Follow

ALIVE_SECONDS = 15.0
"""A word at least so often: proxies close what is silent, and we hear of clients that are gone."""
MOST_CLIENTS = 100
_ID = re.compile(r"([0-9a-f]{12})-([0-9]{1,15})")


class EventStreams:
    """The streams of one process."""

    def __init__(self, context: SlicerContext) -> None:
        self._context = context
        self._open = 0

    async def answer(self, request: Request) -> Response:
        """What happens in the scene, as server-sent events.

        `event` is `added`, `removed` or `modified`, its data the `id`, `name` and `class_name` of a node; `lost` when
        the scene itself was, `missed` when more has happened since Last-Event-ID than is kept. Busy (503) when too many
        follow.
        """
        if self._open >= MOST_CLIENTS:
            raise Busy("Too many clients follow the scene; try again later", retry_after=10)
        last = _ID.fullmatch(request.headers.get("last-event-id", ""))
        call = Follow(scene=last[1], after=int(last[2])) if last else Follow()
        answers = self._context.scene.follow(call)
        self._open += 1  # at once: others ask while this one waits
        try:
            first = await anext(answers)
        except BaseException:
            self._open -= 1
            raise
        if request.method == "HEAD":
            await answers.aclose()
            self._open -= 1
            return Response(media_type="text/event-stream")
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return _Stream(self._lines(first, answers), self._left, media_type="text/event-stream", headers=headers)

    def _left(self) -> None:
        self._open -= 1

    async def _lines(self, first: Events, answers: AsyncGenerator[Events]) -> AsyncIterator[bytes]:
        try:
            yield b"retry: 2000\n\n" + _told(first)
            while True:
                try:
                    async with aclosing(_or_silence(answers)) as parts:
                        async for part in parts:
                            yield b": \n\n" if part is None else _told(part)
                    return  # the scene was ended in good order
                except StorageUnavailable:
                    yield _line(Event(number=0, kind="lost"), "")
                try:
                    answers = self._context.scene.follow(Follow(after=0))  # all of the new one
                    yield _told(await anext(answers))
                except MicrotomeError:
                    return  # the client comes again
        finally:
            await answers.aclose()


class _Stream(StreamingResponse):
    """``left`` is called when the answer ends, whether it ever began or not."""

    def __init__(self, content: AsyncIterator[bytes], left: Callable[[], None], **more: Any) -> None:
        super().__init__(content, **more)
        self._left = left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._left()


async def _or_silence(answers: AsyncGenerator[Events]) -> AsyncGenerator[Events | None]:
    """The answers, and None whenever there was none for a while."""
    while True:
        waiting = asyncio.ensure_future(anext(answers, None))
        try:
            while not (await asyncio.wait({waiting}, timeout=ALIVE_SECONDS))[0]:
                yield None
            found = waiting.result()
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)  # a generator that runs cannot be closed
        if found is None:
            return
        yield found


def _told(found: Events) -> bytes:
    missed = b"event: missed\ndata: {}\n\n" if found.missed else b""
    return missed + b"".join(_line(event, f"{event.scene}-{event.number}") for event in found.events)


def _line(event: Event, number: str) -> bytes:
    data = {"id": event.id, "name": event.name, "class_name": event.class_name} if event.id else {}
    head = f"id: {number}\n" if number else ""
    return f"{head}event: {event.kind}\ndata: ".encode() + encoded(data) + b"\n\n"
