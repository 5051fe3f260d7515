"""Questions about the layout of the views."""

from __future__ import annotations

import msgspec

from microtome.scene.calls.base import Call, Picture


class ViewPlace(msgspec.Struct, frozen=True, kw_only=True):
    """A view of a layout. ``kind``: slice, 3D, or other (tables and plots, which are not drawn).

    ``place``: left, top, width and height in shares of the whole.
    """

    name: str
    kind: str
    label: str
    place: tuple[float, float, float, float]


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Which views there are: ``rows`` of names of views ("Red", "3D", "3D-2") that begin at the same height.

    ``views``: each with its place. ``layouts``: the names ``SetLayout.name`` takes.
    """

    name: str
    rows: tuple[tuple[str, ...], ...]
    views: tuple[ViewPlace, ...]
    layouts: tuple[str, ...]


class GetLayout(Call[Layout], frozen=True, kw_only=True):
    """The layout."""


class SetLayout(Call[Layout], frozen=True, kw_only=True):
    """Change the layout: a name such as FourUp or OneUpRedSlice, in any case. Raises InvalidRequest."""

    name: str


class Screenshot(Call[Picture], frozen=True, kw_only=True):
    """All views of the layout in one picture of ``size`` px, with their overlays."""

    size: tuple[int, int] = (1280, 960)
    format: str = "png"
    quality: int = 85
    overlay: tuple[str, ...] = ("segments", "models", "markups", "orientation", "scale")
