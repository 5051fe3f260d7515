"""What happened to the nodes of a scene: looked up after each question, kept as events, taken back as changes.

A look compares the modification time of every node with the one before (74 nodes: 0.2 ms), so whatever happens within
one question is one event of each node. Points, matrices, segments and voxels change without the time of their node:
for these a mark is left by the events that a node calls modifications of its content.

What is taken back of large nodes is kept by reference (``kept``), and what is held for that alone has a limit.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from microtome.scene.calls.events import Event, Events, Kind
from microtome.scene.mrml.kept import Kept, Sizes, bring_back, kept, sizes_of, state_of
from microtome.scene.mrml.library import slicer

MOST_EVENTS = 2000
MOST_CHANGES = 20
MOST_BYTES = 1 << 30
"""Of data that is no longer in the scene and kept to be brought back."""
_COPIED_SHARE = 8
"""All data of the scene is copied before a script when it is no more than this part of what may be kept."""
_VIEWS = (
    "vtkMRMLAbstractViewNode",
    "vtkMRMLCameraNode",
    "vtkMRMLCrosshairNode",
    "vtkMRMLInteractionNode",
    "vtkMRMLSelectionNode",
    "vtkMRMLSliceCompositeNode",
    "vtkMRMLSliceDisplayNode",
    "vtkMRMLLayoutNode",
    "vtkMRMLStorageNode",
    "vtkMRMLSubjectHierarchyNode",
)
"""What moves with looking at things: no change that anybody takes back."""
_WITH_OTHERS = ("vtkMRMLSelectionNode", "vtkMRMLSliceCompositeNode")
"""Brought back all the same, along with others."""


@dataclass(slots=True)
class Known:
    """A node when it was looked at last. ``kept``: what can be brought back of it."""

    node: Any
    time: int
    kept: Kept | None = None
    tags: list[int] = field(default_factory=list[int])


@dataclass(slots=True)
class Change:
    """What one question did. ``before`` and ``after``: nodes by id that it changed."""

    added: list[Any] = field(default_factory=list[Any])
    removed: list[Any] = field(default_factory=list[Any])
    before: dict[str, Kept] = field(default_factory=dict[str, Kept])
    after: dict[str, Kept] = field(default_factory=dict[str, Kept])

    def sizes(self) -> Sizes:
        """Of all data that it holds."""
        found: Sizes = {}
        for node in (*self.added, *self.removed):
            found |= sizes_of(node)
        for each in (*self.before.values(), *self.after.values()):
            found |= each.sizes
        return found


class Journal:
    """Events and changes of one scene. All but ``after`` and the listeners belong to the scene's thread.

    ``most_bytes`` of data that is no longer in the scene are kept for changes; the oldest are forgotten first.
    """

    def __init__(self, scene: Any, most_bytes: int = MOST_BYTES) -> None:
        self.scene_id = os.urandom(6).hex()
        self.undone: deque[Change] = deque(maxlen=MOST_CHANGES)
        self.changes: deque[Change] = deque(maxlen=MOST_CHANGES)
        self.listeners: set[Callable[[], None]] = set()
        self._scene = scene
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._events: deque[Event] = deque(maxlen=MOST_EVENTS)
        self._number = 0
        self._known: dict[str, Known] = {}
        self._marked: set[str] = set()
        self._replaying = False
        self._copied = False
        self._known |= self._all()

    @property
    def number(self) -> int:
        """Of the last event."""
        return self._number

    def look(self, *, others: bool) -> bool:
        """Find what happened since the last look; whether anything did. ``others``: nodes came or went."""
        change, told = Change(), list[tuple[Kind, Any]]()
        matters = others and self._members(change, told)
        marked = frozenset(self._marked)
        self._marked.clear()
        for node_id, known in self._known.items():
            time = known.node.GetMTime()
            if time != known.time or node_id in marked:
                known.time = time
                if known.node.IsA("vtkMRMLStorageNode"):  # saving is no change of a scene
                    continue
                told.append(("modified", known.node))
                self._compare(change, node_id, known)
        self._add_displays(change)
        if told:
            self._tell(told)
        if not self._replaying and (matters or any(not is_view(each.node) for each in change.before.values())):
            self._keep(change)
        self._share_again()
        return bool(told)

    def overlook(self, *, others: bool) -> bool:
        """As ``look``, and what happened is no change."""
        self._replaying = True
        try:
            return self.look(others=others)
        finally:
            self._replaying = False

    def before_writing(self) -> None:
        """Somebody may write into the data of any node: keep copies of it, if it is little enough."""
        sizes: Sizes = {}
        for known in self._known.values():
            sizes |= sizes_of(known.node)
        if sum(sizes.values()) * _COPIED_SHARE > self._most_bytes:
            return
        self._copied = True
        for known in self._known.values():
            if known.kept is not None and known.kept.state is not None and known.kept.sizes:
                known.kept = kept(known.node, deep=True)

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
        self._replaying = True  # looks are no changes meanwhile
        try:
            for node in gone:
                if node.GetScene() is not None:
                    self._scene.RemoveNode(node)
            for node in come:
                if node.GetScene() is None:
                    self._scene.AddNode(node)
            states = change.before if back else change.after
            # Data first: what shows it follows it.
            for node_id, was in sorted(states.items(), key=lambda pair: pair[1].state is None):
                node = self._scene.GetNodeByID(node_id)
                if node is not None:
                    bring_back(node, was)
            self.look(others=True)
        finally:
            self._replaying = False
        target.append(change)
        self._forget()
        return True

    def _all(self) -> dict[str, Known]:
        found: dict[str, Known] = {}
        nodes = self._scene.GetNodes()
        nodes.InitTraversal()
        while (node := nodes.GetNextItemAsObject()) is not None:
            node_id: str = node.GetID()
            known = self._known.get(node_id)
            if known is None or known.node is not node:
                was = None if is_view(node) and not _comes_along(node) else kept(node)
                known = Known(node, node.GetMTime(), was, self._observed(node, node_id))
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
                matters = matters or not is_view(known.node)
        for node_id, known in old.items():
            if node_id not in self._known or self._known[node_id].node is not known.node:
                told.append(("removed", known.node))
                for tag in known.tags:
                    known.node.RemoveObserver(tag)
                change.removed.append(known.node)
                matters = matters or not is_view(known.node)
        return matters

    def _compare(self, change: Change, node_id: str, known: Known) -> None:
        """Note what is different about a node."""
        was = known.kept
        if was is None or (was.state is not None and was.state == state_of(known.node)):
            return
        known.kept = kept(known.node)
        change.before[node_id], change.after[node_id] = was, known.kept
        if was.deep:  # the data that changes before it hold may have been written into
            for earlier in self.changes:
                after = earlier.after.get(node_id)
                if after is not None and after.state == was.state:
                    earlier.after[node_id] = was

    def _add_displays(self, change: Change) -> None:
        """How segments are shown goes with them, and without an event."""
        for node_id in tuple(change.before):
            node = self._known[node_id].node
            if not node.IsA("vtkMRMLSegmentationNode"):
                continue
            for index in range(node.GetNumberOfDisplayNodes()):
                display_id: str = node.GetNthDisplayNodeID(index) or ""
                known = self._known.get(display_id)
                if known is not None and known.kept is not None and display_id not in change.before:
                    change.before[display_id], known.kept = known.kept, kept(known.node)
                    change.after[display_id] = known.kept

    def _share_again(self) -> None:
        """Copies of what nobody has written into are not needed."""
        if self._copied:
            self._copied = False
            for known in self._known.values():
                if known.kept is not None and known.kept.deep:
                    known.kept = kept(known.node)

    def _keep(self, change: Change) -> None:
        self.undone.clear()
        self.changes.append(change)
        self._forget()

    def _forget(self) -> None:
        """Let go of the oldest changes while all of them hold too much data that is not in the scene."""
        sizes = [change.sizes() for change in (*self.changes, *self.undone)]
        if not any(sizes):
            return
        here = {address for known in self._known.values() for address in sizes_of(known.node)}
        while sizes:
            held: Sizes = {}
            for each in sizes:
                held |= each
            if sum(size for address, size in held.items() if address not in here) <= self._most_bytes:
                return
            (self.changes or self.undone).popleft()
            sizes.pop(0)

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


def is_view(node: Any) -> bool:
    """Whether a node is a view, or a part of one that the application keeps up."""
    if node.IsA("vtkMRMLModelNode"):  # slices are surfaces in 3D, too
        return bool(slicer.vtkMRMLSliceLogic.IsSliceModelNode(node))
    if node.IsA("vtkMRMLLinearTransformNode"):  # which a transform puts there
        return bool(node.GetHideFromEditors())
    return any(node.IsA(kind) for kind in _VIEWS)


def _comes_along(node: Any) -> bool:
    return any(node.IsA(kind) for kind in _WITH_OTHERS)
