"""What happens in the scene, told as it happens; and taking it back."""

from __future__ import annotations

from typing import Literal

import msgspec

from microtome.scene.calls.base import Call

Kind = Literal["added", "removed", "modified", "lost"]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A node came, went, or changed (however often since the event before). ``lost``: the scene itself did.

    ``number`` grows by one; ``scene`` tells scenes apart: numbers begin anew with each.
    """

    number: int
    kind: Kind
    scene: str = ""
    id: str = ""
    name: str = ""
    class_name: str = ""


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """Events that follow each other. ``missed``: there were others before them that are not kept any more."""

    scene: str
    events: list[Event]
    missed: bool = False


class Follow(Call[Events], frozen=True, kw_only=True):
    """Events from now on, or those behind number ``after`` of ``scene`` first; has many answers."""

    scene: str = ""
    after: int | None = None


class UndoState(msgspec.Struct, frozen=True, kw_only=True):
    """How many changes can be taken back, and made again."""

    undo: int
    redo: int


class Undo(Call[UndoState], frozen=True, kw_only=True):
    """Take the last change back: of voxels, segments, surfaces, markups, transforms, how nodes are shown; nodes that
    came or went.

    What data is kept for that has a limit, beyond which the oldest changes stay. Raises InvalidRequest when there is
    none.
    """


class Redo(Call[UndoState], frozen=True, kw_only=True):
    """Make the change again that was taken back last. Raises InvalidRequest when there is none."""
