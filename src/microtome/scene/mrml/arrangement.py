"""Layouts of views as MRML describes them: which views there are, and where."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal
from xml.etree import ElementTree

from microtome.errors import UnsupportedFormat
from microtome.scene.mrml.library import slicer

Kind = Literal["slice", "3D", "other"]
_KINDS: dict[str, Kind] = {"vtkMRMLSliceNode": "slice", "vtkMRMLViewNode": "3D"}
_PREFIX, _SUFFIX = "SlicerLayout", "View"
_LONGEST = 1 << 16
_DEEPEST = 16


@dataclass(frozen=True, slots=True)
class Place:
    """A view and its rectangle in shares of the whole: ``left``, ``top``, ``width``, ``height``.

    ``name``: its layout name ("Red", "1"). ``properties``: what it has when it is made: orientation, viewlabel, ...
    """

    kind: Kind
    name: str
    left: float = 0.0
    top: float = 0.0
    width: float = 1.0
    height: float = 1.0
    properties: dict[str, str] = field(default_factory=dict[str, str])


@lru_cache(maxsize=1)
def names() -> dict[str, int]:
    """The layouts of vtkMRMLLayoutNode by name, without prefix and suffix."""
    found: dict[str, int] = {}
    for attribute in dir(slicer.vtkMRMLLayoutNode):
        value = getattr(slicer.vtkMRMLLayoutNode, attribute)
        if attribute.startswith(_PREFIX) and isinstance(value, int):
            found[attribute.removeprefix(_PREFIX).removesuffix(_SUFFIX)] = int(value)
    return found


@lru_cache(maxsize=1)
def descriptions() -> dict[int, str]:
    """What MRML's own logic says about each layout, in XML; those that it says nothing about are missing."""
    scene, logic = slicer.vtkMRMLScene(), slicer.vtkMRMLLayoutLogic()
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)  # noqa: FBT003 - VTK knows no keywords
    logic.SetMRMLScene(scene)
    node = logic.GetLayoutNode()
    found = {each: node.GetLayoutDescription(each) for each in names().values() if node.IsLayoutDescription(each)}
    logic.SetMRMLScene(None)
    return {number: text for number, text in found.items() if "<view" in text}


def places(description: str) -> list[Place]:
    """The views of a description. Of tabs the first; windows side by side. Raises UnsupportedFormat."""
    if len(description) > _LONGEST or "<!" in description:
        raise UnsupportedFormat("The layout of the scene cannot be read", feature="layout")
    try:
        root = ElementTree.fromstring(description)  # noqa: S314 - without a document type there are no entities
    except ElementTree.ParseError as error:
        raise UnsupportedFormat("The layout of the scene cannot be read", feature="layout") from error
    return list(_inside(root, Place("other", ""), 0))


def _inside(element: ElementTree.Element, within: Place, depth: int) -> list[Place]:
    if depth > _DEEPEST:
        raise UnsupportedFormat("The layout of the scene is nested too deeply", feature="layout")
    if element.tag == "view":
        return [_view(element, within)]
    children = [each for each in element if each.tag in {"layout", "item", "view"}]
    if not children:
        return []
    if element.tag == "item":
        return _inside(children[0], within, depth + 1)
    if element.get("type") == "tab":
        return _inside(children[0], within, depth + 1)
    upright = element.tag == "layout" and element.get("type") != "horizontal"
    sizes = [_number(each.get("splitSize")) for each in children]
    whole, passed = sum(sizes), 0.0
    found: list[Place] = []
    for child, size in zip(children, sizes, strict=True):
        share = size / whole
        if upright:
            part = replace(within, top=within.top + within.height * passed, height=within.height * share)
        else:
            part = replace(within, left=within.left + within.width * passed, width=within.width * share)
        found += _inside(child, part, depth + 1)
        passed += share
    return found


def _view(element: ElementTree.Element, within: Place) -> Place:
    kind = _KINDS.get(element.get("class", ""), "other")
    name = element.get("singletontag") or {"slice": "Red", "3D": "1", "other": ""}[kind]
    properties = {each.get("name", ""): (each.text or "").strip() for each in element.findall("property")}
    return replace(within, kind=kind, name=name[:50], properties=properties)


def _number(text: str | None) -> float:
    """A size of a part; equal parts where none is told. Sizes that are told are so in all parts of MRML's layouts."""
    try:
        found = float(text or 500)
    except ValueError:
        return 500.0
    return found if 1 <= found <= 1e6 else 500.0
