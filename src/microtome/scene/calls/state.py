"""Questions about the scene as a whole."""

from __future__ import annotations

import msgspec

from microtome.scene.calls.base import Call


class State(msgspec.Struct, frozen=True, kw_only=True):
    """How the scene is.

    ``revision`` grows with every change. ``scene`` and ``started`` (s since the epoch) tell scenes apart. ``lost``: how
    many scenes of this server were lost because their processes ended. ``restored``: it began with what was saved.
    ``saved``: when it was saved last by itself, s since the epoch, None when it was not. ``undo``, ``redo``: changes
    that can be taken back, and made again. ``memory``: resident bytes of the process.
    """

    revision: int
    nodes: int
    scene: str
    started: float
    restored: bool
    lost: int
    saved: float | None
    undo: int
    redo: int
    memory: int
    application: str
    renderer: str


class GetState(Call[State], frozen=True, kw_only=True):
    """How the scene is."""


class Stop(Call[None], frozen=True, kw_only=True):
    """End the process of the scene once this is answered."""
