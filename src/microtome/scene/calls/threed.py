"""Questions about 3D views.

``view``: ``3D`` is the first; ``3D-2`` and others are there when a layout had them.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from microtome.scene.calls.base import Call, Picture

Effort = Literal["full", "interactive"]


class Camera(msgspec.Struct, frozen=True, kw_only=True):
    """Where the eye is. Positions in RAS (mm), ``view_angle`` in degrees (vertical).

    ``parallel_scale``: half the height seen, in mm, of a parallel projection; None for a perspective.
    """

    position: tuple[float, float, float]
    focal_point: tuple[float, float, float]
    view_up: tuple[float, float, float]
    view_angle: float = 30.0
    parallel_scale: float | None = None


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """How to move the camera, in this order; None leaves it.

    ``look_from``: left, right, superior, inferior, anterior, posterior (the first letter counts). ``reset``: all that
    is visible in view. ``azimuth``, ``elevation``, ``roll`` in degrees; ``zoom`` above 1 comes nearer; ``pan`` in
    shares of the height of the picture to the right and up.
    """

    camera: Camera | None = None
    look_from: str | None = None
    reset: bool = False
    azimuth: float = 0.0
    elevation: float = 0.0
    roll: float = 0.0
    zoom: float = 1.0
    pan: tuple[float, float] = (0.0, 0.0)


class RenderThreeD(Call[Picture], frozen=True, kw_only=True):
    """A 3D view as a picture, the camera moved before.

    ``effort``: "interactive" draws volumes coarsely, for views that move. ``size`` in px. ``keep``: the camera stays
    where it was moved to. ``known``: when the picture is still of this version, its ``data`` comes empty.
    """

    view: str = "3D"
    turn: Turn = Turn()
    size: tuple[int, int] | None = None
    format: str = "png"
    quality: int = 85
    effort: Effort = "full"
    keep: bool = True
    known: str = ""


class GetCamera(Call[Camera], frozen=True, kw_only=True):
    """Where the camera is."""

    view: str = "3D"


class TurnCamera(Call[Camera], frozen=True, kw_only=True):
    """Move the camera for good."""

    view: str = "3D"
    turn: Turn = Turn()


class ThreeDView(msgspec.Struct, frozen=True, kw_only=True):
    """How a 3D view looks. Colours as #rrggbb, of the lower and upper edge."""

    view: str
    box: bool
    axis_labels: bool
    background: tuple[str, str]
    parallel: bool
    size: tuple[int, int]
    renderer: str


class GetThreeDView(Call[ThreeDView], frozen=True, kw_only=True):
    """How a 3D view looks."""

    view: str = "3D"


class SetThreeDView(Call[ThreeDView], frozen=True, kw_only=True):
    """Change how a 3D view looks; None leaves it."""

    view: str = "3D"
    box: bool | None = None
    axis_labels: bool | None = None
    background: tuple[str, str] | None = None
    parallel: bool | None = None
    size: tuple[int, int] | None = None


class ExportThreeD(Call[bytes], frozen=True, kw_only=True):
    """What is visible in 3D as glTF 2.0 with everything inline. ``box``: the box and its letters, too."""

    view: str = "3D"
    box: bool = False


class VolumeRendering(msgspec.Struct, frozen=True, kw_only=True):
    """How a volume is shown in 3D. ``presets``: the names that ``SetVolumeRendering.preset`` takes.

    ``shift``: how far the transfer functions are moved along the values.
    """

    id: str
    visible: bool
    preset: str | None
    shift: float
    cropping: bool
    presets: tuple[str, ...]


class GetVolumeRendering(Call[VolumeRendering], frozen=True, kw_only=True):
    """How a volume is shown in 3D."""

    id: str


class SetVolumeRendering(Call[VolumeRendering], frozen=True, kw_only=True):
    """Show a volume in 3D, or not; None leaves it."""

    id: str
    visible: bool | None = None
    preset: str | None = None
    shift: float | None = None
    cropping: bool | None = None
