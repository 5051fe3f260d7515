"""Volumes in 3D: which mapper draws them, how well, and through which transfer functions."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from microtome.errors import InvalidRequest
from microtome.scene.calls.threed import Effort, GetVolumeRendering, SetVolumeRendering, VolumeRendering
from microtome.scene.gl import find_renderer
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.shown import nodes_of
from microtome.scene.mrml.slices import volume_node
from microtome.scene.mrml.threed.presets import PRESETS, Preset, fitting
from microtome.scene.mrml.threed.window import Window

_COARSE = 2.0
"""Pixels of a picture that moves for which one ray is cast, each way."""
_PRESET = "microtome.preset"
_SHIFT = "microtome.shift"
_CPU = "vtkMRMLCPURayCastVolumeRenderingDisplayNode"
_GPU = "vtkMRMLGPURayCastVolumeRenderingDisplayNode"


@contextmanager
def effort(application: Application, window: Window, wanted: Effort) -> Generator[None]:
    """Draw volumes coarsely and edges as they are inside, when that is wanted and the processor draws them."""
    mappers = list(_mappers(application, window)) if window.software else []
    coarse = wanted == "interactive"
    view = window.node
    before = view.GetVolumeRenderingOversamplingFactor()
    if mappers:
        view.SetVolumeRenderingOversamplingFactor(1.0 if coarse else max(before, 1.0))
    for mapper in mappers:
        mapper.SetImageSampleDistance(_COARSE if coarse else 1.0)
    window.renderer.SetUseFXAA(not (coarse and window.software))
    try:
        yield
    finally:
        window.renderer.UseFXAAOn()
        if mappers:
            view.SetVolumeRenderingOversamplingFactor(before)


def get_volume_rendering(application: Application, call: GetVolumeRendering) -> VolumeRendering:
    """How a volume is shown in 3D."""
    return _told(volume_node(application, call.id))


def set_volume_rendering(application: Application, call: SetVolumeRendering) -> VolumeRendering:
    """Show a volume in 3D, or not, and how."""
    node = volume_node(application, call.id)
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise InvalidRequest("A labelmap is shown in 3D as a segmentation, not by volume rendering", parameter="id")
    if call.preset is not None and call.preset not in PRESETS:
        raise InvalidRequest(
            f"There is no preset {call.preset[:50]}; there are {', '.join(PRESETS)}", parameter="preset"
        )
    if call.shift is not None and not np.isfinite(call.shift):
        raise InvalidRequest("shift is no number", parameter="shift")
    display = _display(node)
    if display is None:
        display = _add(application, node)
        _apply(node, display, fitting(*_range(node)), 0.0)
    if call.preset is not None or call.shift is not None:
        preset = call.preset or display.GetAttribute(_PRESET) or fitting(*_range(node))
        shift = call.shift if call.shift is not None else float(display.GetAttribute(_SHIFT) or 0)
        _apply(node, display, preset, shift)
    if call.cropping is not None:
        if call.cropping and display.GetROINode() is None:
            application.logics["VolumeRendering"].CreateROINode(display)
        display.SetCroppingEnabled(call.cropping)
    if call.visible is not None:
        display.SetVisibility(call.visible)
    application.revision += 1
    return _told(node)


def _told(node: Any) -> VolumeRendering:
    display = _display(node)
    if display is None:
        return VolumeRendering(
            id=node.GetID(), visible=False, preset=None, shift=0.0, cropping=False, presets=tuple(PRESETS)
        )
    return VolumeRendering(
        id=node.GetID(),
        visible=bool(display.GetVisibility()),
        preset=display.GetAttribute(_PRESET) or None,
        shift=float(display.GetAttribute(_SHIFT) or 0),
        cropping=bool(display.GetCroppingEnabled()),
        presets=tuple(PRESETS),
    )


def _display(node: Any) -> Any:
    for index in range(node.GetNumberOfDisplayNodes()):
        display = node.GetNthDisplayNode(index)
        if display is not None and display.IsA("vtkMRMLVolumeRenderingDisplayNode"):
            return display
    return None


def _add(application: Application, node: Any) -> Any:
    """A display node for this machine: without a graphics card GPU ray casting takes a second a frame."""
    renderer = find_renderer()
    logic = application.logics["VolumeRendering"]
    display = logic.CreateVolumeRenderingDisplayNode(_CPU if renderer is None or renderer.software else _GPU)
    if display.GetScene() is None:
        display = application.scene.AddNode(display)
    node.AddAndObserveDisplayNodeID(display.GetID())
    logic.UpdateDisplayNodeFromVolumeNode(display, node)
    display.SetVisibility(0)
    return display


def _mappers(application: Application, window: Window) -> Iterator[Any]:
    manager = window.manager("vtkMRMLVolumeRenderingDisplayableManager")
    for display in nodes_of(application.scene, "vtkMRMLVolumeRenderingDisplayNode"):
        volume = display.GetVolumeNode()
        mapper = manager.GetVolumeMapper(volume) if volume is not None and display.GetVisibility() else None
        if mapper is not None and hasattr(mapper, "SetImageSampleDistance"):
            yield mapper


def _range(node: Any) -> tuple[float, float]:
    low, high = node.GetImageData().GetScalarRange()
    return float(low), float(high)


def _apply(node: Any, display: Any, name: str, shift: float) -> None:
    preset: Preset = PRESETS[name]
    low, high = _range(node)
    transfer: Any = import_module("vtkmodules.vtkRenderingCore").vtkColorTransferFunction()
    piecewise: Any = import_module("vtkmodules.vtkCommonDataModel").vtkPiecewiseFunction
    opacity, gradient = piecewise(), piecewise()
    for value, share in preset.opacity:
        opacity.AddPoint(preset.value(value, low, high) + shift, share)
    for value, red, green, blue in preset.colors:
        transfer.AddRGBPoint(preset.value(value, low, high) + shift, red, green, blue)
    for slope, share in preset.gradient:
        gradient.AddPoint(slope, share)
    made = display.GetVolumePropertyNode()
    made.SetScalarOpacity(opacity)
    made.SetColor(transfer)
    made.SetGradientOpacity(gradient)
    found = made.GetVolumeProperty()
    found.SetShade(preset.shaded)
    found.SetInterpolationTypeToLinear()
    found.SetAmbient(preset.ambient)
    found.SetDiffuse(preset.diffuse)
    found.SetSpecular(preset.specular)
    found.SetSpecularPower(10)
    display.SetAttribute(_PRESET, name)
    display.SetAttribute(_SHIFT, repr(float(shift)))
