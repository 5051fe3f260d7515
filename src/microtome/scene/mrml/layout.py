"""The layout of the views, and all of them in one picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from microtome.errors import InvalidRequest, StorageUnavailable
from microtome.scene.answers import Later
from microtome.scene.calls.base import Picture
from microtome.scene.calls.layout import GetLayout, Layout, Screenshot, SetLayout
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.library import slicer
from microtome.scene.mrml.shown import Snapshot, color, geometry_of
from microtome.scene.mrml.threed.view import window_of
from microtome.scene.slices.display import Bytes, flattened, rgba
from microtome.scene.slices.picture import Slice, check_format, check_size, encoded, rendered
from microtome.scene.slices.sheet import framed, joined, message

THREE_D = "3D"
_PREFIX, _SUFFIX = "SlicerLayout", "View"
_FOUR_UP = (("Red", THREE_D), ("Green", "Yellow"))
_ROWS: dict[str, tuple[tuple[str, ...], ...]] = {
    "Conventional": ((THREE_D,), ("Red", "Green", "Yellow")),
    "ConventionalWidescreen": ((THREE_D, "Red"), ("Green", "Yellow")),
    "FourUp": _FOUR_UP,
    "OneUp3D": ((THREE_D,),),
    "Tabbed3D": ((THREE_D,),),
    "Dual3D": ((THREE_D,), ("Red", "Green", "Yellow")),
    "OneUpRedSlice": (("Red",),),
    "OneUpYellowSlice": (("Yellow",),),
    "OneUpGreenSlice": (("Green",),),
    "TabbedSlice": (("Red",),),
    "SideBySide": (("Red", "Yellow"),),
    "TwoOverTwo": (("Red", "Yellow"), ("Green", THREE_D)),
    "ThreeOverThree": (("Red", "Green", "Yellow"),),
    "ThreeByThreeSlice": (("Red", "Green", "Yellow"),),
}
"""Views by layout. Layouts of tables, plots and comparison show the four views there are."""
_GAP = 2
_LABEL_OF_3D = (128, 128, 128)


def names() -> dict[str, int]:
    """The layouts of vtkMRMLLayoutNode by name, without prefix and suffix."""
    found: dict[str, int] = {}
    for attribute in dir(slicer.vtkMRMLLayoutNode):
        value = getattr(slicer.vtkMRMLLayoutNode, attribute)
        if attribute.startswith(_PREFIX) and isinstance(value, int):
            found[attribute.removeprefix(_PREFIX).removesuffix(_SUFFIX)] = value
    return found


def get_layout(application: Application, _: GetLayout) -> Layout:
    """The layout of the scene."""
    number = _node(application).GetViewArrangement()
    name = next((name for name, each in names().items() if each == number and name in _ROWS), "FourUp")
    return Layout(name=name, rows=_ROWS.get(name, _FOUR_UP))


def set_layout(application: Application, call: SetLayout) -> Layout:
    """Change it."""
    wanted = next((number for name, number in names().items() if name.lower() == call.name.lower()), None)
    if wanted is None:
        raise InvalidRequest(f"Unknown layout name: {call.name[:100].lower()}", parameter="viewersLayout")
    node = _node(application)
    _know(node, wanted)
    node.SetViewArrangement(wanted)
    return get_layout(application, GetLayout())


def screenshot(application: Application, call: Screenshot) -> Later:
    """All views: 3D is drawn here, slices and the rest outside of this thread."""
    size = check_size(*call.size)
    check_format(call.format)
    rows = get_layout(application, GetLayout()).rows
    height = max(1, (size[1] - _GAP * (len(rows) - 1)) // len(rows))
    parts: list[list[Callable[[], Bytes]]] = []
    for row in rows:
        width = max(1, (size[0] - _GAP * (len(row) - 1)) // len(row))
        parts.append([_part(application, name, (width, height), call.overlay) for name in row])

    def work() -> Picture:
        picture = joined([[part() for part in row] for row in parts], size, _GAP)
        data, media_type = encoded(picture, call.format, call.quality)
        return Picture(data, media_type, *size)

    return Later(work)


def _part(application: Application, name: str, size: tuple[int, int], overlay: tuple[str, ...]) -> Callable[[], Bytes]:
    """What draws one view."""
    if name != THREE_D:
        node = application.slice_logics[name].GetSliceNode()
        of = Snapshot(application, name).take(geometry_of(node, size), overlay)
        return lambda: _slice(of, name, color(node.GetLayoutColor()))
    try:
        pixels = window_of(application).pixels(size)
    except StorageUnavailable as error:
        told = error.message
        return lambda: message(told, size)
    return lambda: framed(_opaque(pixels), "1", _LABEL_OF_3D)


def _slice(of: Slice, name: str, frame: tuple[int, int, int]) -> Bytes:
    ground = flattened(rendered(of))
    picture = np.full((*ground.shape[:2], 4), 255, np.uint8)
    picture[..., :3] = ground
    return framed(picture, name[0], frame)


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
    """A layout has to have a description, which only the original's windows read."""
    if not node.IsLayoutDescription(number):
        node.AddLayoutDescription(number, "<layout/>")
