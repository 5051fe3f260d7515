"""One function for each type of file: what the original's readers do with their properties."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from microtome.errors import CorruptData, LimitExceeded, MicrotomeError, UnsupportedFormat
from microtome.scene import places
from microtome.scene.answers import Parts, outside
from microtome.scene.images import Image, Limits, describe, open_image
from microtome.scene.meshes import glb
from microtome.scene.mrml import volumes
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.files import meshes
from microtome.scene.mrml.files.before import (
    check_any,
    check_json,
    check_mesh,
    check_segmentation,
    check_table,
    check_transform,
    unpacked,
)
from microtome.scene.mrml.library import slicer
from microtome.scene.mrml.meshes import as_polydata
from microtome.scene.places import ending_of

MAX_FRAMES = 10_000
"""Volumes of a sequence: each becomes a node, which takes 2 ms."""
_GLTF = {".glb", ".gltf"}
_FALSE = {"", "0", "false"}
"""Qt makes false of these and true of every other text, "no" included."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to read: where it is, what its node is to be called, and the properties of the request."""

    path: Path
    name: str
    properties: Mapping[str, str]
    limits: Limits
    roots: tuple[Path, ...] = ()
    messages: list[str] = field(default_factory=list[str])

    def flag(self, name: str, *, default: bool) -> bool:
        """A property that is on or off."""
        text = self.properties.get(name)
        return default if text is None else text.strip().lower() not in _FALSE


Reader = Callable[[Application, Wanted], Parts[list[Any]]]
"""The file is read outside of the scene's thread as far as our own readers and those of VTK alone go."""


def wanted(application: Application, path: Path, name: str, properties: Mapping[str, str]) -> Wanted:
    """With the limits of this scene: files that a header names must lie beside it, inside the same roots."""
    roots = tuple(Path(root) for root in (*application.options.roots, application.folder))
    limits = Limits(application.options.max_voxels, partial(places.beside, path, roots=roots))
    return Wanted(path, name or places.stem(path.name), properties, limits, roots)


def read_volume(application: Application, file: Wanted) -> Parts[list[Any]]:
    """A scalar, vector or label volume, shown in the slice views unless told not to."""
    made = yield from outside(lambda: _volume(file))
    if made is None:
        node = _by_logic(application, file, "Volumes", "AddArchetypeVolume", file.name, 0)
    else:
        node = add_image(application, file, made)
    if file.flag("show", default=True):
        volumes.show(application, node)
    return [node]


def _volume(file: Wanted) -> volumes.Prepared | None:
    """The one volume of a file; None for diffusion weighted ones and tensors, which MRML reads."""
    image = open_image(file.path, file.limits)
    if image.frames:
        raise UnsupportedFormat(
            f"The file holds {len(image.frames)} volumes, one after the other; load it as SequenceFile", feature="4D"
        )
    tensors = "-matrix" in image.fields.get("kinds", "").lower() and image.components in {6, 7, 9}
    return None if tensors or image.fields.get("modality") == "DWMRI" else changed(file, image)


def changed(file: Wanted, image: Image) -> volumes.Prepared:
    """An image changed as the properties tell."""
    if file.flag("discardOrientation", default=False):
        image = volumes.unturned(image)
    if file.flag("center", default=False):
        image = volumes.centered(image)
    return volumes.prepared(image, label=file.flag("labelmap", default=False))


def add_image(application: Application, file: Wanted, made: volumes.Prepared) -> Any:
    """A volume node that knows its file."""
    node = volumes.add_volume(application, made, file.name)
    if (color := file.properties.get("colorNodeID")) and application.scene.GetNodeByID(color) is not None:
        node.GetDisplayNode().SetAndObserveColorNodeID(color)
    _remember(node, file.path)
    return node


def read_sequence(application: Application, file: Wanted) -> Parts[list[Any]]:
    """Volumes over time as a sequence, with a browser that shows the first."""
    frames = yield from outside(lambda: _frames(file))
    scene = application.scene
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", scene.GenerateUniqueName(file.name))
    sequence.SetIndexName("frame")
    sequence.SetIndexUnit("")
    for number, made in enumerate(frames):
        frame = slicer.vtkMRMLVectorVolumeNode() if made.components > 1 else slicer.vtkMRMLScalarVolumeNode()
        volumes.fill(frame, made)
        frame.SetName(f"{file.name}_{number}")
        sequence.SetDataNodeAtValue(frame, str(number))
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", scene.GenerateUniqueName(f"{file.name} browser"))
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    application.logics["Sequences"].UpdateProxyNodesFromSequences(browser)
    proxy = browser.GetProxyNode(sequence)
    if proxy is not None and file.flag("show", default=True):
        proxy.CreateDefaultDisplayNodes()
        volumes.show(application, proxy)
    return [sequence, browser, *([proxy] if proxy is not None else [])]


def _frames(file: Wanted) -> list[volumes.Prepared]:
    image = open_image(file.path, file.limits)
    if len(image.frames) > MAX_FRAMES:
        raise LimitExceeded(f"A sequence has at most {MAX_FRAMES} volumes", limit="MAX_FRAMES", value=len(image.frames))
    return [volumes.prepared(Image(voxels, image.ijk_to_ras)) for voxels in image.frames or [image.voxels]]


def read_segmentation(application: Application, file: Wanted) -> Parts[list[Any]]:
    """Segments of a labelmap (.seg.nrrd, .nrrd, .nii), or of surfaces."""
    folder = Path(tempfile.mkdtemp(dir=application.folder, prefix="segments-"))
    try:
        found = yield from outside(lambda: _segments(file, folder))
        color = application.scene.GetNodeByID(file.properties.get("colorNodeID", ""))
        if isinstance(found, volumes.Prepared):
            node = _of_labels(application, file, found, color)
        else:
            opacities = file.flag("autoOpacities", default=True)
            plain = replace(file, path=found)
            node = _by_logic(
                application, plain, "Segmentations", "LoadSegmentationFromFile", opacities, file.name, color
            )
            if found != file.path and node.GetStorageNode() is not None:
                node.GetStorageNode().SetFileName(str(file.path))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    node.CreateDefaultDisplayNodes()
    return [node]


def _segments(file: Wanted, folder: Path) -> Path | volumes.Prepared:
    """A labelmap of any of our formats; or a file that MRML reads, unpacked for it in ``folder``."""
    check_segmentation(file.path, file.limits)
    if describe(file.path) == "":
        return file.path
    if file.path.name.lower().endswith(".seg.nrrd"):
        return unpacked(file.path, folder, file.limits)
    image = open_image(file.path, file.limits)
    if image.components > 1 or image.voxels.dtype.kind not in "iub":
        raise UnsupportedFormat("Segments are made of one whole number a voxel", feature="segmentation")
    return volumes.prepared(image, label=True)


def _of_labels(application: Application, file: Wanted, made: volumes.Prepared, color: Any) -> Any:
    """Segments of a labelmap: one for each value."""
    labels = volumes.add_volume(application, made, f"{file.name} labels")
    if color is not None:
        labels.GetDisplayNode().SetAndObserveColorNodeID(color.GetID())
    node = application.scene.AddNewNodeByClass(
        "vtkMRMLSegmentationNode", application.scene.GenerateUniqueName(file.name)
    )
    node.SetReferenceImageGeometryParameterFromVolumeNode(labels)
    application.logics["Segmentations"].ImportLabelmapToSegmentationNode(labels, node)
    application.scene.RemoveNode(labels)
    return node


def read_model(application: Application, file: Wanted) -> Parts[list[Any]]:
    """A mesh. ``coordinateSystem``: RAS or LPS of files that do not tell; LPS."""
    mesh, ras = yield from outside(lambda: _mesh(file))
    scene = application.scene
    node = scene.AddNewNodeByClass("vtkMRMLModelNode", scene.GenerateUniqueName(file.name))
    node.SetAndObserveMesh(mesh)
    node.CreateDefaultDisplayNodes()
    if file.path.suffix.lower() not in _GLTF:
        _remember(node, file.path)
        kinds = slicer.vtkMRMLStorageNode
        node.GetStorageNode().SetCoordinateSystem(kinds.CoordinateSystemRAS if ras else kinds.CoordinateSystemLPS)
    return [node]


def _mesh(file: Wanted) -> tuple[Any, bool]:
    """A mesh in the scene's coordinates, and whether they are those of the file."""
    check_mesh(file.path)
    if file.path.suffix.lower() in _GLTF:
        return as_polydata(glb.read(file.path.read_bytes())), True
    ras = file.properties.get("coordinateSystem", "LPS").strip().upper() in {"RAS", "0"}
    return meshes.read(file.path, ras=ras, messages=file.messages)


def read_markups(application: Application, file: Wanted) -> Parts[list[Any]]:
    """Points, lines, angles, curves, planes and regions: all of a file."""
    if ending_of(file.path.name) == ".acsv":
        raise UnsupportedFormat("Annotations of Slicer 4 (.acsv) are not read; save them as .mrk.json", feature=".acsv")
    yield from outside(lambda: check_json(file.path))
    known = ids_of(application.scene)
    messages = slicer.vtkMRMLMessageCollection()
    first = application.logics["Markups"].LoadMarkups(str(file.path), file.name, messages)
    found = [node for node in new_since(application.scene, known) if node.IsA("vtkMRMLMarkupsNode")]
    if not first or not found:
        raise failed(file, messages)
    _told(file, messages)
    return found


def read_transform(application: Application, file: Wanted) -> Parts[list[Any]]:
    """A linear, grid, spline or composite transform."""
    yield from outside(lambda: check_transform(file.path, file.limits))
    node = _by_logic(application, file, "Transforms", "AddTransform", application.scene)
    return [_renamed(application, file, node)]


def read_table(application: Application, file: Wanted) -> Parts[list[Any]]:
    """Columns of a .csv, .tsv or .txt."""
    yield from outside(lambda: check_table(file.path))
    return [_by_logic(application, file, "Tables", "AddTable", file.name, True, "")]  # noqa: FBT003 - find a schema; VTK knows no keywords


def read_text(application: Application, file: Wanted) -> Parts[list[Any]]:
    """A text as it is."""
    text = yield from outside(lambda: _text(file.path))
    node = application.scene.AddNewNodeByClass("vtkMRMLTextNode", application.scene.GenerateUniqueName(file.name))
    node.SetText(text)
    return [node]


def _text(path: Path) -> str:
    check_table(path)
    try:
        return path.read_text("utf-8")
    except ValueError as error:
        raise CorruptData(f"Failed to load node from file: {path.name}. It is no text in UTF-8") from error


def read_colors(application: Application, file: Wanted) -> Parts[list[Any]]:
    """A colour table."""
    yield from outside(lambda: check_table(file.path))
    return [_by_logic(application, file, "Colors", "LoadColorFile", file.name)]


def read_transfer_function(application: Application, file: Wanted) -> Parts[list[Any]]:
    """Colours and opacities of volume rendering (.vp, .vp.json)."""
    yield from outside(lambda: check_json(file.path))
    node = application.logics["VolumeRendering"].AddVolumePropertyFromFile(str(file.path))
    if node is None:
        raise failed(file, None)
    return [_renamed(application, file, node)]


def failed(file: Wanted, messages: Any) -> MicrotomeError:
    """The original's sentence, with what the reader told."""
    told = "; ".join(_texts(file, messages)[:3])
    return CorruptData(f"Failed to load node from file: {file.path.name}" + (f". {told}" if told else ""))


def _by_logic(application: Application, file: Wanted, logic: str, method: str, *arguments: Any) -> Any:
    messages = slicer.vtkMRMLMessageCollection()
    if method == "AddArchetypeVolume":
        arguments = (*arguments, None)
    node = getattr(application.logics[logic], method)(str(file.path), *arguments, messages)
    if node is None:
        raise failed(file, messages)
    _told(file, messages)
    return node


def _told(file: Wanted, messages: Any) -> None:
    file.messages.extend(_texts(file, messages))


def _texts(file: Wanted, messages: Any) -> list[str]:
    """What readers say, without the places of files and of the library's source."""
    if messages is None:
        return []
    texts = [str(messages.GetNthMessageText(number)) for number in range(min(messages.GetNumberOfMessages(), 20))]
    return [text.split(" [vtk")[0].replace(str(file.path), file.path.name)[:300].strip() for text in texts]


def _renamed(application: Application, file: Wanted, node: Any) -> Any:
    if node.GetName() != file.name:
        node.SetName(application.scene.GenerateUniqueName(file.name))
    return node


def ids_of(scene: Any) -> set[str]:
    """Of all nodes."""
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}


def new_since(scene: Any, known: set[str]) -> list[Any]:
    """The nodes that were not there when ``known`` was taken."""
    nodes = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
    return [node for node in nodes if node.GetID() not in known]


def _remember(node: Any, path: Path) -> None:
    """The file a node came from, for reloading."""
    if node.AddDefaultStorageNode(str(path)) and node.GetStorageNode() is not None:
        node.GetStorageNode().SetFileName(str(path))


def look_again(file: Wanted, *, volume: bool) -> volumes.Prepared | None:
    """What a node is filled with again; None when MRML reads the file, which may be read. Any thread.

    Raises as reading does.
    """
    if volume and describe(file.path):
        return volumes.prepared(open_image(file.path, file.limits))
    check_any(file.path, file.limits)
    return None


READERS: dict[str, Reader] = {
    "VolumeFile": read_volume,
    "SequenceFile": read_sequence,
    "SegmentationFile": read_segmentation,
    "ModelFile": read_model,
    "MarkupsFile": read_markups,
    "AnnotationFile": read_markups,
    "TransformFile": read_transform,
    "TableFile": read_table,
    "TextFile": read_text,
    "ColorTableFile": read_colors,
    "TransferFunctionFile": read_transfer_function,
}
