"""The window nobody sees: MRML's displayable managers, and the pixels they make."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microtome.scene.gl import Renderer
from microtome.scene.mrml.library import numpy_support, slicer, vtk

DEFAULT_SIZE = (512, 512)
_MANAGERS = (
    "vtkMRMLVolumeRenderingDisplayableManager",
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLThreeDReformatDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager3D",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLTransformsDisplayableManager3D",
    "vtkMRMLLinearTransformsDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
)


class Window:
    """Draws one view node. Made, used and closed by the scene's thread: a GL context belongs to its thread."""

    def __init__(self, scene: Any, logic: Any, view_node: Any, renderer: Renderer) -> None:
        rendering: Any = import_module("vtkmodules.vtkRenderingCore")
        import_module("vtkmodules.vtkRenderingOpenGL2")
        import_module("vtkmodules.vtkRenderingVolumeOpenGL2")
        import_module("vtkmodules.vtkRenderingFreeType")
        self.software = renderer.software
        self.renderer: Any = rendering.vtkRenderer()
        self.window: Any = rendering.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0 if self.software else 8)
        self.window.AddRenderer(self.renderer)
        self.window.SetSize(*DEFAULT_SIZE)
        self.renderer.UseFXAAOn()
        # Depth peeling costs a second a frame without a graphics card; surfaces are sorted instead.
        self.renderer.SetUseDepthPeeling(not self.software)
        self._interactor: Any = rendering.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self.window)
        self.managers: Any = slicer.vtkMRMLDisplayableManagerGroup()
        self.managers.SetRenderer(self.renderer)
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(logic)
        for name in _MANAGERS:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self.managers.Initialize(factory, self.renderer)
        self.managers.SetMRMLDisplayableNode(view_node)
        self.node = view_node

    def camera_node(self) -> Any:
        """The camera of the view."""
        return self.manager("vtkMRMLCameraDisplayableManager").GetCameraNode()

    def manager(self, name: str) -> Any:
        """One of the displayable managers."""
        return self.managers.GetDisplayableManagerByClassName(name)

    def draw(self, size: tuple[int, int]) -> None:
        """Draw at a size in px."""
        if tuple(self.window.GetSize()) != size:
            self.window.SetSize(*size)
        self.renderer.ResetCameraClippingRange()
        self.window.Render()

    def pixels(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Draw, and the picture: (height, width, 3), the upper row first."""
        self.draw(size)
        found = vtk.vtkUnsignedCharArray()
        width, height = size
        self.window.GetPixelData(0, 0, width - 1, height - 1, 0, found, 0)
        array: NDArray[np.uint8] = numpy_support.vtk_to_numpy(found).reshape(height, width, 3)
        return np.ascontiguousarray(array[::-1])

    def reset(self) -> None:
        """All that is visible in view, without the box."""
        box, labels = self.node.GetBoxVisible(), self.node.GetAxisLabelsVisible()
        self.node.SetBoxVisible(0)
        self.node.SetAxisLabelsVisible(0)
        self.renderer.ResetCamera()
        self.node.SetBoxVisible(box)
        self.node.SetAxisLabelsVisible(labels)
        self.node.InvokeEvent(slicer.vtkMRMLViewNode.ResetFocalPointRequestedEvent)

    def close(self) -> None:
        """Let go of the GL context."""
        self.managers.SetMRMLDisplayableNode(None)
        self.window.Finalize()
