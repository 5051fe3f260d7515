"""What happened to the nodes of a scene: looked up after each question, kept as events, taken back as changes.

A look compares the modification time of every node with the one before (74 nodes: 0.2 ms), so whatever happens within
one question is one event of each node. Points, matrices, segments and voxels change without the time of their node:
for these a mark is left by the events that a node calls modifications of its content.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from microtome.scene.calls.events import Event, Events, Kind
from microtome.scene.mrml.library import slicer

MOST_EVENTS = 2000
MOST_CHANGES = 20
MOST_BYTES = 1 << 30
"""Of nodes that were removed and are kept to be brought back."""
_VIEWS = (
    "vtkMRMLAbstractViewNode",
    "vtkMRMLCameraNode",
    "vtkMRMLCrosshairNode",
    "vtkMRMLInteractionNode",
    "vtkMRMLSelectionNode",
    "vtkMRMLSliceCompositeNode",
    "vtkMRMLLayoutNode",
    "vtkMRMLStorageNode",
    "vtkMRMLSubjectHierarchyNode",
)
"""What moves with looking at things: no change that anybody takes back, but brought back along with others."""
_LIGHT = ("vtkMRMLMarkupsNode", "vtkMRMLLinearTransformNode", "vtkMRMLDisplayNode", "vtkMRMLSliceCompositeNode",
          "vtkMRMLSelectionNode", "vtkMRMLTextNode")  # fmt: skip
"""Nodes small enough to be copied at each change."""


@dataclass(slots=True)
class Known:
    """A node as it was when it was looked at. ``copy`` holds what can be brought back of it."""

    node: Any
    time: int
    copy: Any = None
    tags: list[int] = field(default_factory=list[int])


@dataclass(slots=True)
class Change:
    """What one question did. ``before`` and ``after``: copies by id of nodes that it changed."""

    added: list[Any] = field(default_factory=list[Any])
    removed: list[Any] = field(default_factory=list[Any])
    before: dict[str, Any] = field(default_factory=dict[str, Any])
    after: dict[str, Any] = field(default_factory=dict[str, Any])
    weight: int = 0


class Journal:
    """Events and changes of one scene. All but ``after`` and the listeners belong to the scene's thread."""

    def __init__(self, scene: Any) -> None:
        self.scene_id = os.urandom(6).hex()
        self.undone: deque[Change] = deque(maxlen=MOST_CHANGES)
        self.changes: deque[Change] = deque(maxlen=MOST_CHANGES)
        self.listeners: set[Callable[[], None]] = set()
        self._scene = scene
        self._lock = threading.Lock()
        self._events: deque[Event] = deque(maxlen=MOST_EVENTS)
        self._number = 0
        self._known: dict[str, Known] = {}
        self._marked: set[str] = set()
        self._replaying = False
        self._known |= self._all()

    @property
    def number(self) -> int:
        """Of the last event."""
        return self._number

    def look(self, *, others: bool) -> bool:
        """Find what happened since the last look; whether anything did. ``others``: nodes came or went."""
        change, told = Change(), list[tuple[Kind, Any]]()
        looked = False
        if others:
            looked = self._members(change, told)
        marked = frozenset(self._marked)
        self._marked.clear()
        for node_id, known in self._known.items():
            time = known.node.GetMTime()
            if time != known.time or node_id in marked:
                known.time = time
                looked = looked or not _is_view(known.node)
                told.append(("modified", known.node))
                if known.copy is not None:
                    change.before[node_id], change.after[node_id] = known.copy, _copied(known.node)
                    known.copy = change.after[node_id]
        if told:
            self._tell(told)
        if looked and not self._replaying and (change.added or change.removed or _matters(change)):
            self._keep(change)
        return bool(told)

    def after(self, number: int | None, scene: str) -> Events:
        """Events behind a number. Any thread."""
        with self._lock:
            kept, last = list(self._events), self._number
        if number is None:
            return Events(scene=self.scene_id, events=[])
        if scene != self.scene_id:
            number = 0  # of a scene that is no more: all of this one is new
        first = last - len(kept)
        found = kept[max(0, number - first) :] if number <= last else []
        return Events(scene=self.scene_id, events=found, missed=number < first)

    def replay(self, *, back: bool) -> bool:
        """Take the last change back, or make it again; whether there was one."""
        source, target = (self.changes, self.undone) if back else (self.undone, self.changes)
        if not source:
            return False
        change = source.pop()
        gone, come = (change.added, change.removed) if back else (change.removed, change.added)
        self._replaying = True
        try:
            for node in gone:
                if node.GetScene() is not None:
                    self._scene.RemoveNode(node)
            for node in come:
                if node.GetScene() is None:
                    self._scene.AddNode(node)
            for node_id, copy in (change.before if back else change.after).items():
                node = self._scene.GetNodeByID(node_id)
                if node is not None:
                    node.Copy(copy)
            self.look(others=True)
        finally:
            self._replaying = False
        target.append(change)
        return True

    def _all(self) -> dict[str, Known]:
        found: dict[str, Known] = {}
        nodes = self._scene.GetNodes()
        nodes.InitTraversal()
        while (node := nodes.GetNextItemAsObject()) is not None:
            node_id: str = node.GetID()
            known = self._known.get(node_id)
            if known is None or known.node is not node:
                copy = _copied(node) if any(node.IsA(kind) for kind in _LIGHT) else None
                known = Known(node, node.GetMTime(), copy, self._observed(node, node_id))
            found[node_id] = known
        return found

    def close(self) -> None:
        """Observe nothing any more: nodes may outlive us."""
        for known in self._known.values():
            for tag in known.tags:
                known.node.RemoveObserver(tag)
        self._known = {}

    def _observed(self, node: Any, node_id: str) -> list[int]:
        """Mark a node whenever its content changes."""

        def mark(*_: object) -> None:
            self._marked.add(node_id)

        events: Any = node.GetContentModifiedEvents()
        if events is None:
            return []
        return [node.AddObserver(events.GetValue(index), mark) for index in range(events.GetNumberOfValues())]

    def _members(self, change: Change, told: list[tuple[Kind, Any]]) -> bool:
        """Who came and went."""
        old, self._known = self._known, self._all()
        matters = False
        for node_id, known in self._known.items():
            if node_id not in old or old[node_id].node is not known.node:
                told.append(("added", known.node))
                change.added.append(known.node)
                matters = matters or not _is_view(known.node)
        for node_id, known in old.items():
            if node_id not in self._known or self._known[node_id].node is not known.node:
                told.append(("removed", known.node))
                for tag in known.tags:
                    known.node.RemoveObserver(tag)
                change.removed.append(known.node)
                change.weight += _weight(known.node)
                matters = matters or not _is_view(known.node)
        return matters

    def _keep(self, change: Change) -> None:
        self.undone.clear()
        self.changes.append(change)
        while self.changes and sum(each.weight for each in self.changes) > MOST_BYTES:
            self.changes.popleft()

    def _tell(self, told: list[tuple[Kind, Any]]) -> None:
        with self._lock:
            for kind, node in told:
                self._number += 1
                self._events.append(
                    Event(
                        number=self._number,
                        kind=kind,
                        scene=self.scene_id,
                        id=node.GetID() or "",
                        name=node.GetName() or "",
                        class_name=node.GetClassName(),
                    )
                )
        for listener in tuple(self.listeners):
            listener()


def _matters(change: Change) -> bool:
    return any(not _is_view(copy) for copy in change.before.values())


def _is_view(node: Any) -> bool:
    return any(node.IsA(kind) for kind in _VIEWS)


def _copied(node: Any) -> Any:
    copy = getattr(slicer, node.GetClassName())()
    copy.Copy(node)
    return copy


def _weight(node: Any) -> int:
    """Bytes of what a node holds."""
    for method in ("GetImageData", "GetPolyData", "GetMesh"):
        data = getattr(node, method, lambda: None)()
        if data is not None:
            return int(data.GetActualMemorySize()) * 1024
    return 0
