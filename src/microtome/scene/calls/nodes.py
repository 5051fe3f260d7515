"""Questions about nodes of the scene."""

from __future__ import annotations

from typing import Any

import msgspec

from microtome.scene.calls.base import Call, Nodes


class Named(msgspec.Struct, frozen=True):
    """A node as lists show it."""

    id: str
    name: str
    class_name: str


class ListNodes(Call[list[Named]], frozen=True, kw_only=True):
    """The selected nodes in the order of the scene, hidden ones included."""

    nodes: Nodes = Nodes()


class NodeProperties(Call[dict[str, dict[str, Any]]], frozen=True, kw_only=True):
    """What the selected nodes say of themselves, by id. Raises NotFound when none is selected."""

    nodes: Nodes = Nodes()


class RemoveNodes(Call[None], frozen=True, kw_only=True):
    """Remove the selected nodes, or clear the scene (``nodes`` None). Raises NotFound when none is selected."""

    nodes: Nodes | None = None


class ReloadNodes(Call[list[str]], frozen=True, kw_only=True):
    """Read the selected nodes again from their files; the ids of those that were. Raises NotFound for no node."""

    nodes: Nodes = Nodes()


class SelectVolume(Call[Named], frozen=True, kw_only=True):
    """Show the next volume in the slice views, or the one before; around at the end. Raises NotFound."""

    forward: bool = True
