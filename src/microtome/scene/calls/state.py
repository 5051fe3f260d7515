"""Questions about the scene as a whole."""

from __future__ import annotations

import msgspec

from microtome.scene.calls.base import Call


class State(msgspec.Struct, frozen=True):
    """How the scene is. ``revision`` grows with every change; ``started`` (s since the epoch) tells processes apart."""

    revision: int
    nodes: int
    started: float
    restored: bool
    application: str
    renderer: str


class GetState(Call[State], frozen=True, kw_only=True):
    """How the scene is."""


class Stop(Call[None], frozen=True, kw_only=True):
    """End the process of the scene once this is answered."""
