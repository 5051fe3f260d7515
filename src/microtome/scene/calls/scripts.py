"""Scripts that clients run in the scene."""

from __future__ import annotations

import msgspec

from microtome.scene.calls.base import Call


class Executed(msgspec.Struct, frozen=True):
    """What a script left in ``__execResult``, as JSON, and what it printed (the end of it, where that is much)."""

    result: str
    output: str


class Execute(Call[Executed], frozen=True, kw_only=True):
    """Run Python in the namespace that scripts share.

    Raises Forbidden unless the operator wants it, InvalidRequest with the text of what the script raised,
    LimitExceeded when it takes too long; the process ends when it does not stop then.
    """

    source: str
