"""The scene with the logics that keep it alive: what 3D Slicer is without its windows."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from microtome.scene.keeper import SceneOptions
from microtome.scene.mrml.derived import Derived
from microtome.scene.mrml.journal import Journal
from microtome.scene.mrml.library import slicer, vtk

SLICE_VIEWS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}
"""Slice views by name, each with the orientation it begins with."""
_VIEW_COLORS = {"Red": (0.952, 0.290, 0.200), "Yellow": (0.929, 0.835, 0.298), "Green": (0.431, 0.690, 0.294)}
_LOGICS = {
    "Colors": "vtkSlicerColorLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Models": "vtkSlicerModelsLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "Annotations": "vtkSlicerAnnotationModuleLogic",
    "Cameras": "vtkSlicerCamerasModuleLogic",
    "Units": "vtkSlicerUnitsLogic",
    "Data": "vtkSlicerDataModuleLogic",
}


class Application:
    """One scene and its logics. Made and used by one thread; ``stop`` may be called from it to end the process.

    ``revision`` grows with every change of the scene. ``restored``: it began with a bundle; ``saved``: when it was
    saved last by itself, s since the epoch. ``namespace`` is that of scripts.
    """

    def __init__(self, options: SceneOptions, *, stop: Callable[[], None] = lambda: None) -> None:
        self.options = options
        self.stop = stop
        self.folder = Path(options.folder)
        self.started = time.time()
        self.restored = False
        self.saved: float | None = None
        self.saved_revision = 0
        self.revision = 0
        self.namespace: dict[str, Any] = {}
        self.scene: Any = slicer.vtkMRMLScene()
        self.logic: Any = slicer.vtkSlicerApplicationLogic()
        self.logics: dict[str, Any] = {}
        self.slice_logics: dict[str, Any] = {}
        self.windows: dict[str, Any] = {}
        """The windows of 3D views by layout name, made when they are first drawn (``threed.view``)."""
        self.derived = Derived(self.scene)
        self._observers: list[int] = []
        self._others = False
        self._set_up()
        self.journal = Journal(self.scene, options.undo_memory)
        self.saved_revision = self.revision  # nothing is saved before anything has happened

    def look(self) -> None:
        """See what has changed; after each question."""
        others, self._others = self._others, False
        if self.journal.look(others=others):
            self.revision += 1

    def overlook(self) -> None:
        """See what has changed; it is nothing that anybody takes back, but what writing files leaves at the nodes."""
        others, self._others = self._others, False
        if self.journal.overlook(others=others):
            self.revision += 1

    def close(self) -> None:
        """Let go of the scene."""
        self.journal.close()
        for tag in self._observers:
            self.scene.RemoveObserver(tag)
        for window in self.windows.values():
            window.close()
        self.slice_logics.clear()

    def _set_up(self) -> None:
        scene, logic = self.scene, self.logic
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        scene.AddNode(crosshair)
        logic.SetMRMLScene(scene)
        logic.GetColorLogic().SetMRMLScene(scene)
        logic.SetSliceLogics(vtk.vtkCollection())
        logic.SetViewLogics(vtk.vtkCollection())
        logic.SetTemporaryPath(str(self.folder))
        logic.SetHomeDirectory(str(self.folder))  # where it would look for colour files of a desktop
        slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance().SetMRMLApplicationLogic(logic)
        slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance().SetMRMLApplicationLogic(logic)
        for name, class_name in _LOGICS.items():
            self._add_logic(name, getattr(slicer, class_name)())
        patient_right_is_screen_left = True
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, patient_right_is_screen_left)
        for name, orientation in SLICE_VIEWS.items():
            self.add_slice_view(name, orientation, label=name[0], color=_VIEW_COLORS[name])
        view = slicer.vtkMRMLViewNode()
        view.SetName("View1")
        view.SetLayoutName("1")
        view.SetLayoutLabel("1")
        view.SetSingletonTag("1")
        scene.AddNode(view)
        scene.AddNewNodeByClass("vtkMRMLCameraNode", "Default Scene Camera").SetLayoutName(view.GetLayoutName())
        for event in (
            slicer.vtkMRMLScene.NodeAddedEvent,
            slicer.vtkMRMLScene.NodeRemovedEvent,
            slicer.vtkMRMLScene.EndCloseEvent,
        ):
            self._observers.append(scene.AddObserver(event, self._changed))
        self._publish()

    def _add_logic(self, name: str, logic: Any) -> None:
        """Register with the application logic: without it volumes get no lookup table and the log floods."""
        logic.SetMRMLApplicationLogic(self.logic)
        logic.SetMRMLScene(self.scene)
        self.logic.SetModuleLogic(name, logic)
        self.logics[name] = logic

    def add_slice_view(self, name: str, orientation: str, *, label: str, color: tuple[float, float, float]) -> Any:
        """A slice view by a new name: its logic."""
        node = self.scene.CreateNodeByClass("vtkMRMLSliceNode")  # with the presets of orientation
        node.UnRegister(None)
        node.SetName(name)
        node.SetLayoutName(name)
        node.SetLayoutLabel(label)
        node.SetLayoutColor(*color)
        node.SetSingletonTag(name)
        node.SetMappedInLayout(1)
        self.scene.AddNode(node)
        node.SetOrientation(orientation)
        node.SetDimensions(512, 512, 1)
        return self.add_slice_logic(node)

    def add_slice_logic(self, node: Any) -> Any:
        """A logic for a slice view that is in the scene."""
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(self.logic)
        logic.SetMRMLScene(self.scene)
        self.logic.GetSliceLogics().AddItem(logic)
        logic.SetSliceNode(node)
        self.slice_logics[node.GetLayoutName()] = logic
        return logic

    def _publish(self) -> None:
        """``slicer.mrmlScene`` and ``slicer.util`` for scripts."""
        slicer.mrmlScene = self.scene

    def _changed(self, *_: object) -> None:
        """Nodes came or went."""
        self._others = True
        self.revision += 1
