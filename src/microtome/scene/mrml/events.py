"""Following what happens, and taking it back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from microtome.errors import InvalidRequest
from microtome.scene.answers import Many
from microtome.scene.calls.events import Events, Follow, Redo, Undo, UndoState
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.journal import Journal


def follow(application: Application, call: Follow) -> Many:
    """Events, many at once where they come fast."""
    return Many(_events(application.journal, call.after, call.scene))


async def _events(journal: Journal, after: int | None, scene: str) -> AsyncIterator[Events]:
    loop, wake = asyncio.get_running_loop(), asyncio.Event()

    def listener() -> None:
        loop.call_soon_threadsafe(wake.set)

    journal.listeners.add(listener)
    try:
        number = journal.number
        yield journal.after(after, scene)
        while True:
            await wake.wait()
            wake.clear()
            found = journal.after(number, journal.scene_id)
            if found.events:
                number = found.events[-1].number
                yield found
    finally:
        journal.listeners.discard(listener)


def undo(application: Application, _: Undo) -> UndoState:
    """Take a change back."""
    if not application.journal.replay(back=True):
        raise InvalidRequest("There is nothing to take back", parameter="undo")
    return _state(application)


def redo(application: Application, _: Redo) -> UndoState:
    """Make it again."""
    if not application.journal.replay(back=False):
        raise InvalidRequest("There is nothing to make again", parameter="redo")
    return _state(application)


def _state(application: Application) -> UndoState:
    return UndoState(undo=len(application.journal.changes), redo=len(application.journal.undone))
