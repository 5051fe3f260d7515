"""Questions about slice views."""

from __future__ import annotations

import msgspec

from microtome.scene.calls.base import Call, Picture


class SliceMove(msgspec.Struct, frozen=True, kw_only=True):
    """What to change of a slice, in this order; None leaves it.

    ``scroll_to`` from 0 to 1 through the background volume. ``offset`` in mm along the normal. ``copy_from``: another
    view. ``orientation``: axial, sagittal, coronal. ``center``: a point in RAS (mm) that shall be in the middle.
    ``slice_to_ras``: 16 numbers, row by row. ``field_of_view``: width in mm. ``fit``: all of the background in view.
    """

    scroll_to: float | None = None
    offset: float | None = None
    copy_from: str | None = None
    orientation: str | None = None
    slice_to_ras: tuple[float, ...] | None = None
    fit: bool = False
    center: tuple[float, float, float] | None = None
    field_of_view: float | None = None


class RenderSlice(Call[Picture], frozen=True, kw_only=True):
    """A slice view as a picture, moved before.

    ``size``: width and height in px, None for the view's own. ``overlay``: of ``slices.overlay.KINDS``.
    ``keep``: the view stays where it was moved to. ``known``: when the picture is still of this version, its ``data``
    comes empty.
    """

    view: str = "Red"
    move: SliceMove = SliceMove()
    size: tuple[int, int] | None = None
    format: str = "png"
    quality: int = 85
    overlay: tuple[str, ...] = ()
    keep: bool = True
    known: str = ""


class SliceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A slice view. Offsets and sizes in mm; ``offsets``: lowest and highest (voxel centres) of the background volume.

    ``slices``: how many of them there are, a ``step`` apart. Layers by node id, None where there is none.
    """

    view: str
    orientation: str
    offset: float
    offsets: tuple[float, float] | None
    step: float
    slices: int
    field_of_view: tuple[float, float]
    size: tuple[int, int]
    slice_to_ras: tuple[float, ...]
    xy_to_ras: tuple[float, ...]
    background: str | None
    foreground: str | None
    label: str | None
    foreground_opacity: float
    label_opacity: float
    label_outline: bool


class GetSlice(Call[SliceInfo], frozen=True, kw_only=True):
    """How a view is."""

    view: str = "Red"


class MoveSlice(Call[SliceInfo], frozen=True, kw_only=True):
    """Move a view for good."""

    view: str = "Red"
    move: SliceMove = SliceMove()
    size: tuple[int, int] | None = None


class SetLayers(Call[SliceInfo], frozen=True, kw_only=True):
    """Which volumes a view shows (all views without one): a node id, "" for none, None leaves it."""

    view: str | None = None
    background: str | None = None
    foreground: str | None = None
    label: str | None = None
    foreground_opacity: float | None = None
    label_opacity: float | None = None
    label_outline: bool | None = None


class Display(msgspec.Struct, frozen=True, kw_only=True):
    """How a volume is shown. ``range``: of its values. ``presets``: names ``SetDisplay.preset`` takes."""

    id: str
    name: str
    window: float = 0.0
    level: float = 0.0
    automatic: bool = False
    threshold: tuple[float, float] | None = None
    colors: str = ""
    interpolate: bool = False
    range: tuple[float, float] = (0.0, 0.0)
    presets: tuple[str, ...] = ()


class GetDisplay(Call[Display], frozen=True, kw_only=True):
    """How a volume is shown."""

    id: str


class SetDisplay(Call[Display], frozen=True, kw_only=True):
    """Change how a volume is shown; None leaves it. ``threshold``: () takes it away. ``colors``: id or name of a table.

    ``preset``: window and level for a kind of tissue, one of ``Display.presets``.
    """

    id: str
    window: float | None = None
    level: float | None = None
    automatic: bool | None = None
    threshold: tuple[float, ...] | None = None
    colors: str | None = None
    interpolate: bool | None = None
    preset: str | None = None
