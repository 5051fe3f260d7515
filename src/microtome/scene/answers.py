"""What a handler of the scene's process may answer besides a value.

A module of its own: ``process`` runs as the main program, and what is imported from there would be another class.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microtome.scene.mrml.application import Application


@dataclass(frozen=True, slots=True)
class Later:
    """The rest of an answer, which needs no MRML: done outside of the scene's thread."""

    work: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Many:
    """Answers that go on until the asker leaves."""

    items: AsyncIterator[Any]


Handler = Callable[["Application", Any], Any]
"""Answers one kind of question, in the scene's thread."""
