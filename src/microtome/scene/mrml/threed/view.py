"""3D views: their cameras, their looks, their pictures."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from microtome.errors import InvalidRequest, StorageUnavailable
from microtome.scene.answers import Later
from microtome.scene.calls.base import Picture
from microtome.scene.calls.threed import (
    Camera,
    ExportThreeD,
    GetCamera,
    GetThreeDView,
    RenderThreeD,
    SetThreeDView,
    ThreeDView,
    Turn,
    TurnCamera,
)
from microtome.scene.gl import HELP, find_renderer
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.library import slicer
from microtome.scene.mrml.threed import rendering
from microtome.scene.mrml.threed.gltf import exported
from microtome.scene.mrml.threed.window import DEFAULT_SIZE, Window
from microtome.scene.mrml.values import FARTHEST, channels, hexadecimal
from microtome.scene.mrml.views import threed_name, threed_node
from microtome.scene.slices.picture import check_format, check_size, encoded

_AXES = {"r": "Right", "l": "Left", "s": "Superior", "i": "Inferior", "a": "Anterior", "p": "Posterior"}


def window_of(application: Application, node: Any) -> Window:
    """The window of a 3D view. Raises StorageUnavailable where nothing can draw it."""
    found = application.windows.get(node.GetID())
    if found is not None and found.node is not node:  # the scene was closed meanwhile
        found.close()
        found = None
    if found is None:
        renderer = find_renderer()
        if renderer is None:
            raise StorageUnavailable(HELP, permanent=True)
        found = application.windows[node.GetID()] = Window(application.scene, application.logic, node, renderer)
    return found


def render_threed(application: Application, call: RenderThreeD) -> Later | Picture:
    """The picture of the view: drawn in this thread, encoded outside of it."""
    window = window_of(application, threed_node(application, call.view))
    size = check_size(*(call.size or _size(application, window.node)))
    check_format(call.format)
    node = window.camera_node()
    before = None if call.keep else _camera(node)
    try:
        turn(application, window, call.turn)
        version = _version(application, window.node, node, call, size)
        if call.known == version:
            return Picture(b"", "", *size, version)
        with rendering.effort(application, window, call.effort):
            pixels = window.pixels(size)
    finally:
        if before is not None:
            _place(node, before)

    def work() -> Picture:
        data, media_type = encoded(_opaque(pixels), call.format, call.quality)
        return Picture(data, media_type, *size, version)

    return Later(work)


def get_camera(application: Application, call: GetCamera) -> Camera:
    """Where the camera is."""
    return _camera(window_of(application, threed_node(application, call.view)).camera_node())


def turn_camera(application: Application, call: TurnCamera) -> Camera:
    """Move it."""
    window = window_of(application, threed_node(application, call.view))
    turn(application, window, call.turn)
    return _camera(window.camera_node())


def set_threed_view(application: Application, call: SetThreeDView) -> ThreeDView:
    """Change how the view looks."""
    node = threed_node(application, call.view)
    if call.box is not None:
        node.SetBoxVisible(call.box)
    if call.axis_labels is not None:
        node.SetAxisLabelsVisible(call.axis_labels)
    if call.parallel is not None:
        node.SetRenderMode(slicer.vtkMRMLViewNode.Orthographic if call.parallel else slicer.vtkMRMLViewNode.Perspective)
    if call.background is not None:
        lower, upper = (channels(each, "background") for each in call.background)
        node.SetBackgroundColor(*lower)
        node.SetBackgroundColor2(*upper)
    if call.size is not None:
        window_of(application, node).window.SetSize(*check_size(*call.size))
    return get_threed_view(application, GetThreeDView(view=call.view))


def get_threed_view(application: Application, call: GetThreeDView) -> ThreeDView:
    """How the view looks."""
    node, renderer = threed_node(application, call.view), find_renderer()
    return ThreeDView(
        view=threed_name(node),
        box=bool(node.GetBoxVisible()),
        axis_labels=bool(node.GetAxisLabelsVisible()),
        background=(hexadecimal(node.GetBackgroundColor()), hexadecimal(node.GetBackgroundColor2())),
        parallel=node.GetRenderMode() == slicer.vtkMRMLViewNode.Orthographic,
        size=_size(application, node),
        renderer="" if renderer is None else renderer.name,
    )


def export_threed(application: Application, call: ExportThreeD) -> bytes:
    """What is visible, as glTF; the box only when asked for."""
    node = threed_node(application, call.view)
    window = window_of(application, node)
    box, labels = node.GetBoxVisible(), node.GetAxisLabelsVisible()
    node.SetBoxVisible(call.box)
    node.SetAxisLabelsVisible(call.box)
    try:
        window.draw(_size(application, node))
        return exported(window.window)
    finally:
        node.SetBoxVisible(box)
        node.SetAxisLabelsVisible(labels)


def turn(application: Application, window: Window, change: Turn) -> None:
    """Move the camera; where the move is out of all bounds, it stays."""
    node = window.camera_node()
    before = _camera(node)
    _turned(application, window, node, change)
    after = _camera(node)
    numbers = (*after.position, *after.focal_point, *after.view_up, after.parallel_scale or 0.0)
    if not all(abs(number) <= FARTHEST for number in numbers):  # NaN is not
        _place(node, before)
        raise InvalidRequest("The camera would be out of all bounds", parameter="camera")


def _turned(application: Application, window: Window, node: Any, change: Turn) -> None:
    if change.camera is not None:
        _place(node, change.camera)
    if change.look_from:
        axis = _AXES.get(change.look_from[0].lower())
        if axis is None:
            raise InvalidRequest(
                "One looks from left, right, superior, inferior, anterior or posterior", parameter="lookFromAxis"
            )
        node.RotateTo(getattr(slicer.vtkMRMLCameraNode, axis))
    if change.reset:
        window.draw(_size(application, window.node))  # bounds are known of what was drawn
        window.reset()
    camera = node.GetCamera()
    for angle, name in ((change.azimuth, "Azimuth"), (change.elevation, "Elevation"), (change.roll, "Roll")):
        if angle:
            getattr(camera, name)(_finite(angle))
            camera.OrthogonalizeViewUp()
    if change.zoom != 1.0:
        if not 0.01 <= change.zoom <= 100:
            raise InvalidRequest("zoom is 0.01 to 100", parameter="zoom")
        _zoom(camera, change.zoom)
    if any(change.pan):
        _pan(camera, change.pan)


def _zoom(camera: Any, factor: float) -> None:
    if camera.GetParallelProjection():
        camera.SetParallelScale(camera.GetParallelScale() / factor)
    else:
        camera.Dolly(factor)


def _pan(camera: Any, shares: tuple[float, float]) -> None:
    """Move eye and focal point together, by shares of the height seen at the focal point."""
    position, focal = np.array(camera.GetPosition()), np.array(camera.GetFocalPoint())
    forward = focal - position
    distance = float(np.linalg.norm(forward))
    up = np.array(camera.GetViewUp())
    right = np.cross(forward / distance, up)
    height = (
        2 * camera.GetParallelScale()
        if camera.GetParallelProjection()
        else 2 * distance * np.tan(np.radians(camera.GetViewAngle() / 2))
    )
    step = -(right * _finite(shares[0]) + up * _finite(shares[1])) * height
    camera.SetPosition(*(position + step))
    camera.SetFocalPoint(*(focal + step))


def _camera(node: Any) -> Camera:
    return Camera(
        position=node.GetPosition(),
        focal_point=node.GetFocalPoint(),
        view_up=node.GetViewUp(),
        view_angle=node.GetViewAngle(),
        parallel_scale=node.GetParallelScale() if node.GetParallelProjection() else None,
    )


def _place(node: Any, camera: Camera) -> None:
    numbers = (*camera.position, *camera.focal_point, *camera.view_up, camera.view_angle)
    if not all(abs(_finite(number)) <= FARTHEST for number in numbers) or not 0.1 <= camera.view_angle <= 170:
        raise InvalidRequest("The camera is out of all bounds", parameter="camera")
    forward = np.subtract(camera.focal_point, camera.position)
    if np.linalg.norm(np.cross(forward, camera.view_up)) < 1e-9:
        raise InvalidRequest("view_up may not point where the camera looks", parameter="camera")
    node.SetPosition(*camera.position)
    node.SetFocalPoint(*camera.focal_point)
    node.SetViewUp(*camera.view_up)
    node.SetViewAngle(camera.view_angle)
    if camera.parallel_scale is not None:
        node.SetParallelScale(max(_finite(camera.parallel_scale), 1e-6))


def _size(application: Application, node: Any) -> tuple[int, int]:
    window = application.windows.get(node.GetID())
    if window is None:
        return DEFAULT_SIZE
    width, height = window.window.GetSize()
    return int(width), int(height)


def _version(application: Application, view: Any, camera_node: Any, call: RenderThreeD, size: tuple[int, int]) -> str:
    """Of everything that could be seen: every change in the scene has a later time."""
    digest = hashlib.blake2b(f"{application.started}".encode(), digest_size=12)
    scene = application.scene
    for index in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(index)
        if node.IsA("vtkMRMLCameraNode") or node.IsA("vtkMRMLViewNode"):
            continue  # drawing itself changes them; what counts of them is below
        digest.update(b"%d," % node.GetMTime())
        if node.IsA("vtkMRMLModelNode") and node.GetMesh() is not None:
            digest.update(b"%d," % node.GetMesh().GetMTime())
        elif node.IsA("vtkMRMLVolumeNode") and node.GetImageData() is not None:
            digest.update(b"%d," % node.GetImageData().GetMTime())
        elif node.IsA("vtkMRMLSegmentationNode"):
            digest.update(b"%d," % node.GetSegmentation().GetMTime())
    looks = (view.GetBoxVisible(), view.GetAxisLabelsVisible(), view.GetBackgroundColor(), view.GetBackgroundColor2())
    asked = (view.GetLayoutName(), size, call.format, call.quality, call.effort)
    digest.update(repr((_camera(camera_node), view.GetRenderMode(), looks, asked)).encode())
    return digest.hexdigest()


def _opaque(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Any:
    picture = np.full((*pixels.shape[:2], 4), 255, np.uint8)
    picture[..., :3] = pixels
    return picture


def _finite(value: float) -> float:
    if not np.isfinite(value):
        raise InvalidRequest("A number of the camera is none", parameter="camera")
    return value
