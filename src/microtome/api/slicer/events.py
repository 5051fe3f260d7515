"""``GET /scene/v1/events``: what happens in the scene, as server-sent events (HTML standard §9.2).

``event`` is ``added``, ``removed`` or ``modified`` with a node as data, ``lost`` when the scene itself was, ``missed``
when more happened than is kept. Ids grow; a client that comes back with Last-Event-ID misses nothing that is kept.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

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
        """A stream. Raises Busy beyond ``MOST_CLIENTS``, and what the scene raises."""
        if self._open >= MOST_CLIENTS:
            raise Busy("Too many clients follow the scene; try again later", retry_after=10)
        last = _ID.fullmatch(request.headers.get("last-event-id", ""))
        call = Follow(scene=last[1], after=int(last[2])) if last else Follow()
        answers = self._context.scene.follow(call)
        first = await anext(answers)
        if request.method == "HEAD":
            await answers.aclose()
            return Response(media_type="text/event-stream")
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(self._lines(first, answers), media_type="text/event-stream", headers=headers)

    async def _lines(self, first: Events, answers: AsyncGenerator[Events]) -> AsyncIterator[bytes]:
        self._open += 1
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
            self._open -= 1
            await answers.aclose()


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
