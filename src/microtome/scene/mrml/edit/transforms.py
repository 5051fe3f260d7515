"""Transforms, and what every node has."""

from __future__ import annotations

from typing import Any

from microtome.errors import InvalidRequest
from microtome.scene.calls.edit import (
    CreateTransform,
    GetNode,
    GetTransform,
    HardenTransform,
    ListTransforms,
    Node,
    PutTransform,
    RemoveNode,
    Transform,
    UpdateNode,
)
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.arrays import matrix_of, vtk_math, vtk_matrix
from microtome.scene.mrml.journal import is_view
from microtome.scene.mrml.kept import detach
from microtome.scene.mrml.shown import nodes_of
from microtome.scene.mrml.values import channels, hexadecimal, matrix, name_of, node_of, share

_CLASS = "vtkMRMLTransformNode"


def list_transforms(application: Application, _: ListTransforms) -> list[Transform]:
    """All that are no part of a view."""
    return [_told(application, node) for node in nodes_of(application.scene, _CLASS) if not node.GetHideFromEditors()]


def get_transform(application: Application, call: GetTransform) -> Transform:
    """One of them."""
    return _told(application, node_of(application, call.id, _CLASS, "transform"))


def create_transform(application: Application, call: CreateTransform) -> Transform:
    """A new linear one."""
    found = None if call.matrix is None else matrix(call.matrix)
    name = name_of(call.name) if call.name else application.scene.GenerateUniqueName("LinearTransform")
    node = application.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    if found is not None:
        node.SetMatrixTransformToParent(vtk_matrix(found))
    return _told(application, node)


def put_transform(application: Application, call: PutTransform) -> Transform:
    """Another matrix."""
    node = _theirs(node_of(application, call.id, _CLASS, "transform"))
    if not node.IsLinear():
        raise InvalidRequest("The transform is bent: it has no matrix", parameter="id")
    node.SetMatrixTransformToParent(vtk_matrix(matrix(call.matrix)))
    return _told(application, node)


def get_node(application: Application, call: GetNode) -> Node:
    """What every node has."""
    return _node(node_of(application, call.id, "vtkMRMLNode", "node"))


def update_node(application: Application, call: UpdateNode) -> Node:
    """Change a node: all of it, or nothing when something of it is wrong."""
    node = node_of(application, call.id, "vtkMRMLNode", "node")
    display: Any = _display(node)
    name = None if call.name is None else name_of(call.name)
    rgb = None if call.color is None else channels(call.color)
    opacity = None if call.opacity is None else share(call.opacity, "opacity")
    if display is None and (call.visible is not None or rgb is not None or opacity is not None):
        raise InvalidRequest("This node is not shown in any view", parameter="visible")
    if call.transform is not None:
        _put_under(application, node, call.transform)
    if name is not None:
        node.SetName(name)
    _show(display, call.visible, rgb, opacity)
    return _node(node)


def _show(display: Any, visible: bool | None, rgb: tuple[float, float, float] | None, opacity: float | None) -> None:  # noqa: FBT001
    if visible is not None:
        display.SetVisibility(visible)
    if rgb is not None:
        display.SetColor(*rgb)
    if opacity is not None:
        display.SetOpacity(opacity)


def remove_node(application: Application, call: RemoveNode) -> None:
    """Take it out of the scene. Views and other singletons stay."""
    node = node_of(application, call.id, "vtkMRMLNode", "node")
    if node.GetSingletonTag():
        raise InvalidRequest("This node belongs to the application and stays", parameter="id")
    application.scene.RemoveNode(_theirs(node))


def harden_transform(application: Application, call: HardenTransform) -> Node:
    """Apply the transforms above it to its data."""
    node = _theirs(node_of(application, call.id, "vtkMRMLTransformableNode", "node"))
    if node.GetParentTransformNode() is not None:
        detach(node)
        if not node.HardenTransform():
            raise InvalidRequest("The transform cannot be applied to this node", parameter="id")
    return _node(node)


def _theirs(node: Any) -> Any:
    """The node, if it is no part of a view: VTK ends its process over slices that somebody else has moved."""
    if is_view(node):
        raise InvalidRequest("This node belongs to a view, which keeps it up itself", parameter="id")
    return node


def _put_under(application: Application, node: Any, transform_id: str) -> None:
    if not _theirs(node).IsA("vtkMRMLTransformableNode"):
        raise InvalidRequest("This node has no place in space", parameter="transform")
    above = node_of(application, transform_id, _CLASS, "transform") if transform_id else None
    parent = above
    while parent is not None:
        if parent.GetID() == node.GetID():
            raise InvalidRequest("A transform cannot be under itself", parameter="transform")
        parent = parent.GetParentTransformNode()
    node.SetAndObserveTransformNodeID(transform_id or None)


def _told(application: Application, node: Any) -> Transform:
    found = None
    if node.IsLinear():
        to_parent = vtk_math.vtkMatrix4x4()
        node.GetMatrixTransformToParent(to_parent)
        found = tuple(matrix_of(to_parent).ravel().tolist())
    below = [
        each.GetID()
        for each in nodes_of(application.scene, "vtkMRMLTransformableNode")
        if each.GetTransformNodeID() == node.GetID()
    ]
    return Transform(
        id=node.GetID(),
        name=node.GetName() or "",
        matrix=found,
        parent=node.GetTransformNodeID() or None,
        nodes=tuple(below),
    )


def _display(node: Any) -> Any:
    found: Any = None
    if node.IsA("vtkMRMLDisplayableNode"):
        found = node.GetDisplayNode()
    return found


def _node(node: Any) -> Node:
    display = _display(node)
    shown = display is not None
    return Node(
        id=node.GetID(),
        name=node.GetName() or "",
        class_name=node.GetClassName(),
        visible=bool(display.GetVisibility()) if shown else None,
        color=hexadecimal(display.GetColor()) if shown else None,
        opacity=float(display.GetOpacity()) if shown else None,
        transform=(node.GetTransformNodeID() or None) if node.IsA("vtkMRMLTransformableNode") else None,
    )
