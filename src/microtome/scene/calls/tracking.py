"""Questions of devices that follow a hand or a tool."""

from __future__ import annotations

from microtome.scene.calls.base import Call


class Track(Call[None], frozen=True, kw_only=True):
    """Move the tracked device (made when there is none): a yellow cube under the transform ``tracker``.

    Each part that is given replaces the one there was, in this order. ``rotation``: 9 numbers, row by row.
    ``position`` in RAS (mm). ``quaternion``: w, x, y, z. Raises InvalidRequest for a quaternion of zeros.
    """

    rotation: tuple[float, float, float, float, float, float, float, float, float] | None = None
    position: tuple[float, float, float] | None = None
    quaternion: tuple[float, float, float, float] | None = None
