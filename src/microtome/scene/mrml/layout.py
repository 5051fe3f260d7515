"""The layout of the views, and all of them in one picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from microtome.errors import InvalidRequest, StorageUnavailable, UnsupportedFormat
from microtome.scene.answers import Later
from microtome.scene.calls.base import Picture
from microtome.scene.calls.layout import GetLayout, Layout, Screenshot, SetLayout, ViewPlace
from microtome.scene.mrml import views
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.arrangement import Place, descriptions, names, places
from microtome.scene.mrml.arrays import color, geometry_of
from microtome.scene.mrml.library import slicer
from microtome.scene.mrml.shown import Snapshot
from microtome.scene.mrml.threed.view import window_of
from microtome.scene.slices.display import Bytes, flattened, rgba
from microtome.scene.slices.picture import Slice, check_format, check_size, encoded, rendered
from microtome.scene.slices.sheet import framed, laid, message

_GAP = 2
_LABEL_OF_3D = (208, 212, 220)
_DEFAULT = "FourUp"


def get_layout(application: Application, _: GetLayout) -> Layout:
    """The layout of the scene."""
    name, found = _arranged(application)
    tops = sorted({round(place.top, 6) for place in found})
    return Layout(
        name=name,
        rows=tuple(
            tuple(views.public_name(place) for place in found if round(place.top, 6) == top and place.name)
            for top in tops
        ),
        views=tuple(
            ViewPlace(
                name=views.public_name(place),
                kind=place.kind,
                label=place.properties.get("viewlabel", place.name),
                place=(place.left, place.top, place.width, place.height),
            )
            for place in found
        ),
        layouts=tuple(sorted(name for name, number in names().items() if number in descriptions())),
    )


def set_layout(application: Application, call: SetLayout) -> Layout:
    """Change it."""
    wanted = next((number for name, number in names().items() if name.lower() == call.name.lower()), None)
    if wanted is None:
        raise InvalidRequest(f"Unknown layout name: {call.name[:100].lower()}", parameter="viewersLayout")
    if wanted not in descriptions():
        raise InvalidRequest(
            f"The layout {call.name[:100]} has no views that can be drawn here; see GET /scene/v1/layout for those"
            " that have",
            parameter="viewersLayout",
        )
    node = _node(application)
    _know(node, wanted)
    node.SetViewArrangement(wanted)
    _, found = _arranged(application)
    views.show_only(application, found)
    return get_layout(application, GetLayout())


def screenshot(application: Application, call: Screenshot) -> Later:
    """All views: 3D is drawn here, slices and the rest outside of this thread."""
    size = check_size(*call.size)
    check_format(call.format)
    parts: list[tuple[Callable[[], Bytes], tuple[int, int]]] = []
    for place in _arranged(application)[1]:
        left, width = _inset(place.left, place.width, size[0])
        top, height = _inset(place.top, place.height, size[1])
        parts.append((_part(application, place, (width, height), call.overlay), (left, top)))

    def work() -> Picture:
        picture = laid([(part(), corner) for part, corner in parts], size)
        data, media_type = encoded(picture, call.format, call.quality)
        return Picture(data, media_type, *size)

    return Later(work)


def _arranged(application: Application) -> tuple[str, list[Place]]:
    """Name and views of the layout there is; the views are made where they are missing.

    A layout of a file may come with a description of its own; where it has none that can be read, it is the default.
    """
    node = _node(application)
    number = int(node.GetViewArrangement())
    own = node.GetLayoutDescription(number) if node.IsLayoutDescription(number) else ""
    text = descriptions().get(number) or (own if own and "<view" in own else "")
    known = {each: name for name, each in reversed(names().items())}
    name = known.get(number, "Custom") if text else _DEFAULT
    try:
        found = places(text) if text else []
    except UnsupportedFormat:
        found = []
    if not found:
        name, found = _DEFAULT, places(descriptions()[names()[_DEFAULT]])
    for place in found:
        views.make(application, place)
    return name, found


def _inset(begin: float, share: float, whole: int) -> tuple[int, int]:
    """First pixel and size of a part, with a gap to the next."""
    first, last = round(begin * (whole + _GAP)), round((begin + share) * (whole + _GAP)) - _GAP
    return first, max(1, last - first)


def _part(
    application: Application, place: Place, size: tuple[int, int], overlay: tuple[str, ...]
) -> Callable[[], Bytes]:
    """What draws one view."""
    if place.kind == "slice":
        node = application.slice_logics[place.name].GetSliceNode()
        of = Snapshot(application, place.name).take(geometry_of(node, size), overlay)
        label, frame = node.GetLayoutLabel(), color(node.GetLayoutColor())
        return lambda: _slice(of, label, frame)
    if place.kind == "other":
        return lambda: message("Tables and plots are not drawn", size)
    try:
        node = views.threed_node(application, views.public_name(place))
        label = node.GetLayoutLabel() or place.name
        pixels = window_of(application, node).pixels(size)
    except StorageUnavailable as error:
        told = error.message
        return lambda: message(told, size)
    return lambda: framed(_opaque(pixels), label, _LABEL_OF_3D)


def _slice(of: Slice, label: str, frame: tuple[int, int, int]) -> Bytes:
    ground = flattened(rendered(of))
    picture = np.full((*ground.shape[:2], 4), 255, np.uint8)
    picture[..., :3] = ground
    return framed(picture, label, frame)


def _opaque(pixels: Any) -> Bytes:
    picture = np.full((*pixels.shape[:2], 4), 255, np.uint8)
    picture[..., :3] = pixels
    return rgba(picture)


def _node(application: Application) -> Any:
    scene = application.scene
    found = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    if found is None:
        found = scene.AddNewNodeByClass("vtkMRMLLayoutNode")
        _know(found, slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        found.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    return found


def _know(node: Any, number: int) -> None:
    """A layout has to have a description."""
    if not node.IsLayoutDescription(number):
        node.AddLayoutDescription(number, descriptions().get(number, "<layout/>"))
