"""``/slicer/slice``, ``/slicer/threeD``, ``/slicer/threeDGraphics``, ``/slicer/screenshot``: pictures of the views.

Beyond the original: ``size``, zeros, ``format``, ``quality``, ``overlay`` and ``keep=false`` (a picture that moves no
view) are honoured, and pictures have an ETag.
"""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

from microtome.api import conditional
from microtome.api.slicer.context import JSON, Asked, SlicerContext, whole
from microtome.errors import InvalidRequest
from microtome.scene.calls.base import Picture
from microtome.scene.calls.layout import Screenshot
from microtome.scene.calls.slices import RenderSlice, SliceMove
from microtome.scene.calls.threed import ExportThreeD, RenderThreeD, Turn
from microtome.scene.slices.overlay import KINDS

_VIEWS = {"yellow": "Yellow", "green": "Green", "sagittal": "Yellow", "coronal": "Green"}
_MORE_VIEWS = re.compile(r"(?:red|green|yellow)\+|(?:slice|compare)[0-9]{1,2}", re.IGNORECASE)
"""Views that other layouts have; where they are not there, the scene says so."""
_THREE_D = re.compile(r"(?:3d-|view)?([0-9]{1,2}\+?)", re.IGNORECASE)
_ORIENTATIONS = frozenset({"axial", "sagittal", "coronal"})
_AXES = frozenset("rlsiap")
_SIZE = re.compile(r"([0-9]{1,5})(?:[x,]([0-9]{1,5}))?")
_FALSE = frozenset({"0", "false", "no", "off"})
_TAG = re.compile(rb'"([0-9a-f]{8,64})"')


async def slice_picture(context: SlicerContext, asked: Asked) -> Response:
    """A slice view as a picture, after the view was moved; a view by a name that no layout has is red."""
    query = asked.query
    orientation = query.get("orientation", "").lower()
    call = RenderSlice(
        view=_slice_view(query.get("view", "")),
        move=SliceMove(
            scroll_to=asked.number("scrollTo"),
            offset=asked.number("offset"),
            copy_from=query.get("copySliceGeometryFrom"),
            orientation=orientation if orientation in _ORIENTATIONS else None,
        ),
        size=size_of(query.get("size")),
        format=format_of(query.get("format")),
        quality=_quality(asked),
        overlay=overlay_of(query.get("overlay")),
        keep=_keeps(asked),
        known=known_of(asked.request),
    )
    return pictured(asked, await context.scene.ask(call))


async def threed_picture(context: SlicerContext, asked: Asked) -> Response:
    """A 3D view (``view=2``; else the first) as a picture, looked at from an axis."""
    axis = asked.query.get("lookFromAxis", "")[:1].lower()
    call = RenderThreeD(
        view=_threed_view(asked.query.get("view", "")),
        turn=Turn(look_from=axis if axis in _AXES else None),
        size=size_of(asked.query.get("size")),
        format=format_of(asked.query.get("format")),
        quality=_quality(asked),
        effort="interactive" if asked.query.get("quality", "").lower() == "interactive" else "full",
        keep=_keeps(asked),
        known=known_of(asked.request),
    )
    return pictured(asked, await context.scene.ask(call))


async def threed_graphics(context: SlicerContext, asked: Asked) -> Response:
    """What is visible in 3D as glTF with everything inline; ``widgetIndex=1`` for the second 3D view."""
    kind = asked.query.get("format", "gltf")
    if kind.lower() != "gltf":
        raise InvalidRequest(f"format {kind[:50]} not supported", parameter="format")
    box = asked.query.get("boxVisible", "false").lower() != "false"
    index = int(asked.number("widgetIndex") or 0)
    view = "3D" if index <= 0 else f"3D-{index + 1}"
    return whole(asked.request, await context.scene.ask(ExportThreeD(view=view, box=box)), JSON)


async def screenshot(context: SlicerContext, asked: Asked) -> Response:
    """All views of the layout in one picture."""
    width, height = asked.number("width"), asked.number("height")
    size = size_of(asked.query.get("size")) or (int(width or 1280), int(height or 960))
    overlay = overlay_of(asked.query["overlay"]) if "overlay" in asked.query else Screenshot().overlay
    call = Screenshot(size=size, format=format_of(asked.query.get("format")), quality=_quality(asked), overlay=overlay)
    found = await context.scene.ask(call)
    return whole(asked.request, found.data, found.media_type)


def _slice_view(name: str) -> str:
    return name if _MORE_VIEWS.fullmatch(name) else _VIEWS.get(name.lower(), "Red")


def _threed_view(name: str) -> str:
    found = _THREE_D.fullmatch(name)
    return f"3D-{found[1]}" if found else "3D"


def pictured(asked: Asked, found: Picture) -> Response:
    """200 with the picture, 304 when the client has it."""
    if not found.data:
        return Response(status_code=304, headers={"etag": f'"{found.version}"', "cache-control": "no-cache"})
    return whole(asked.request, found.data, found.media_type, found.version)


def size_of(text: str | None) -> tuple[int, int] | None:
    """``512`` for a square, ``640x480`` or ``640,480``; None for none. Raises InvalidRequest."""
    if text is None:
        return None
    found = _SIZE.fullmatch(text)
    if found is None:
        raise InvalidRequest("size is a number of pixels, or width x height as in 640x480", parameter="size")
    width = int(found[1])
    return width, int(found[2] or width)


def format_of(text: str | None) -> str:
    """The name of a format in lower case; the scene knows which there are."""
    name = (text or "png").lower()
    return "jpeg" if name == "jpg" else name


def overlay_of(text: str | None) -> tuple[str, ...]:
    """Names separated by commas, ``all`` or ``none``; the scene knows which there are."""
    names = tuple(name.strip().lower() for name in (text or "none").split(",")[:20])
    if names == ("all",):
        return KINDS
    return () if names == ("none",) else names


def known_of(request: Request) -> str:
    """The one version a client has, "" for none; several are compared when the picture is there."""
    tag = conditional.asked(request.scope)
    found = _TAG.fullmatch(tag) if tag and request.method in {"GET", "HEAD"} else None
    return found[1].decode() if found else ""


def _quality(asked: Asked) -> int:
    number = asked.number("quality")
    if number is None:
        return 85
    if not 1 <= number <= 100:
        raise InvalidRequest("quality is 1 to 100", parameter="quality")
    return int(number)


def _keeps(asked: Asked) -> bool:
    """Whether the view stays where it was moved to: it does in the original."""
    return asked.query.get("keep", "true").lower() not in _FALSE
