"""Nodes of the scene: which are meant, what they say of themselves, how they leave."""

from __future__ import annotations

from typing import Any

from microtome.errors import NotFound
from microtome.scene.calls.base import Nodes
from microtome.scene.calls.nodes import ListNodes, Named, NodeProperties, RemoveNodes, SelectVolume
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.properties import properties_of

NOTHING = "No nodes matched the filter criteria"


def selected(application: Application, nodes: Nodes) -> list[Any]:
    """The nodes that are meant, in the order of the scene."""
    scene = application.scene
    if nodes.id:
        found = scene.GetNodeByID(nodes.id)
        return [] if found is None else [found]
    chosen: list[Any] = []
    for index in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(index)
        if (not nodes.class_name or node.IsA(nodes.class_name)) and (not nodes.name or node.GetName() == nodes.name):
            chosen.append(node)
    return chosen


def some(application: Application, nodes: Nodes) -> list[Any]:
    """The nodes that are meant. Raises NotFound when there are none."""
    found = selected(application, nodes)
    if not found:
        raise NotFound("node", nodes.id or nodes.name or nodes.class_name or "", NOTHING)
    return found


def list_nodes(application: Application, call: ListNodes) -> list[Named]:
    """Their ids, names and classes."""
    return [
        Named(node.GetID(), node.GetName() or "", node.GetClassName()) for node in selected(application, call.nodes)
    ]


def node_properties(application: Application, call: NodeProperties) -> dict[str, dict[str, Any]]:
    """What they say of themselves."""
    return {node.GetID(): properties_of(node) for node in some(application, call.nodes)}


def remove_nodes(application: Application, call: RemoveNodes) -> None:
    """Remove them, or clear the scene: singletons (views, colours) stay."""
    if call.nodes is None:
        application.scene.Clear(0)
        return
    for node in some(application, call.nodes):
        application.scene.RemoveNode(node)


def select_volume(application: Application, call: SelectVolume) -> Named:
    """Show the next volume, or the one before."""
    every = selected(application, Nodes(class_name="vtkMRMLVolumeNode"))
    volumes = [node for node in every if not node.GetHideFromEditors()]
    if not volumes:
        raise NotFound("volume", "", "There is no volume in the scene")
    shown = application.logic.GetSelectionNode().GetActiveVolumeID()
    at = next((index for index, node in enumerate(volumes) if node.GetID() == shown), -1 if call.forward else 0)
    chosen = volumes[(at + (1 if call.forward else -1)) % len(volumes)]
    selection = application.logic.GetSelectionNode()
    selection.SetActiveVolumeID(chosen.GetID())
    application.logic.PropagateBackgroundVolumeSelection(1)
    return Named(chosen.GetID(), chosen.GetName() or "", chosen.GetClassName())
