"""Which node a pattern means."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from microtome.errors import InvalidRequest, NotFound
from microtome.scene.calls.nodes import Named
from microtome.scene.mrml.application import Application

MAX_PATTERN = 256


def of_class(application: Application, *classes: str) -> list[Any]:
    """All nodes of these classes, class after class, in the order of the scene; subclasses too, each once."""
    scene = application.scene
    nodes = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
    found: dict[str, Any] = {}
    for name in classes:
        found.update({node.GetID(): node for node in nodes if node.IsA(name)})
    return list(found.values())


def first(application: Application, pattern: str, *classes: str) -> Any:
    """The node that is meant. Raises NotFound with the original's sentence."""
    found = maybe_first(application, pattern, *classes)
    if found is None:
        raise NotFound("node", pattern, f"could not find nodes in the scene by name or id '{pattern}'")
    return found


def maybe_first(application: Application, pattern: str, *classes: str) -> Any | None:
    """The node that is meant, or None. An exact id comes before everything."""
    if len(pattern) > MAX_PATTERN or pattern.count("*") > 8:
        raise InvalidRequest("This is no name or id of a node", parameter="id")
    nodes = of_class(application, *classes)
    exact = next((node for node in nodes if node.GetID() == pattern), None)
    if exact is not None:
        return exact
    by_name = {
        node.GetName(): node
        for node in nodes
        if fnmatchcase(node.GetName() or "", pattern) or fnmatchcase(node.GetID(), pattern)
    }
    return next(iter(by_name.values()), None)


def named(nodes: list[Any]) -> list[Named]:
    """As lists show them; of the same name only the last."""
    by_name = {node.GetName() or "": node for node in nodes}
    return [Named(node.GetID(), name, node.GetClassName()) for name, node in by_name.items()]
