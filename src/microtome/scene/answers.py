"""What a handler of the scene's process may answer besides a value.

A module of its own: ``process`` runs as the main program, and what is imported from there would be another class.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from microtome.scene.mrml.application import Application

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Later:
    """The rest of an answer that takes a moment and needs no MRML: done outside of the scene's thread."""

    work: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Many:
    """Answers that go on until the asker leaves."""

    items: AsyncIterator[Any]


Parts = Generator[Callable[[], Any], Any, T]
"""An answer in parts. Between two ``yield`` a handler is in the scene's thread; what it yields takes long, touches no
object of the scene, and is done in another thread, while others are answered: ``image = yield from outside(read)``.

What it raises is raised at the ``yield``; there GeneratorExit comes, too, when the asker has left. So a handler that
changes the scene behind its last ``yield`` alone changes all or nothing, in one step of undoing; and what it has found
out about the scene before a ``yield`` may no longer be so behind it.
"""

Handler = Callable[["Application", Any], Any]
"""Answers one kind of question, in the scene's thread: with a value, or one of the above."""


def outside(work: Callable[[], T]) -> Generator[Callable[[], T], T, T]:
    """What ``work`` returns, done outside of the scene's thread."""
    return (yield work)


def at_once(answer: Any) -> Any:
    """All of an answer in this thread: for those who have the scene to themselves."""
    parts = parts_of(answer)
    if parts is not None:
        answer = _through(parts)
    return answer.work() if isinstance(answer, Later) else answer


def parts_of(answer: Any) -> Parts[Any] | None:
    """An answer in parts; None when it is none."""
    return cast("Parts[Any]", answer) if isinstance(answer, Generator) else None


def _through(parts: Parts[Any]) -> Any:
    try:
        work = next(parts)
        while True:
            try:
                found = work()
            except Exception as error:  # noqa: BLE001 - the handler's to deal with
                work = parts.throw(error)
            else:
                work = parts.send(found)
    except StopIteration as end:
        return end.value
