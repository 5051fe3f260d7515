"""One function for each type of file: what the original's readers do with their properties."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from microtome.errors import CorruptData, MicrotomeError, UnsupportedFormat
from microtome.scene import places
from microtome.scene.images import Image, Limits, describe, open_image
from microtome.scene.meshes import glb
from microtome.scene.mrml import volumes
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.files.before import (
    check_any,
    check_json,
    check_mesh,
    check_segmentation,
    check_table,
    check_transform,
)
from microtome.scene.mrml.library import slicer
from microtome.scene.mrml.meshes import as_polydata
from microtome.scene.places import ending_of

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


Reader = Callable[[Application, Wanted], list[Any]]


def wanted(application: Application, path: Path, name: str, properties: Mapping[str, str]) -> Wanted:
    """With the limits of this scene: files that a header names must lie beside it, inside the same roots."""
    roots = tuple(Path(root) for root in (*application.options.roots, application.folder))
    limits = Limits(application.options.max_voxels, partial(places.beside, path, roots=roots))
    return Wanted(path, name or places.stem(path.name), properties, limits, roots)


def read_volume(application: Application, file: Wanted) -> list[Any]:
    """A scalar, vector or label volume, shown in the slice views unless told not to."""
    image = open_image(file.path, file.limits)
    if image.frames:
        raise UnsupportedFormat(
            f"The file holds {len(image.frames)} volumes, one after the other; load it as SequenceFile", feature="4D"
        )
    if image.fields.get("modality") == "DWMRI":
        node = _by_logic(application, file, "Volumes", "AddArchetypeVolume", file.name, 0)
    else:
        node = add_image(application, file, image)
    if file.flag("show", default=True):
        volumes.show(application, node)
    return [node]


def add_image(application: Application, file: Wanted, image: Image) -> Any:
    """A volume node of an image, changed as the properties tell, that knows its file."""
    if file.flag("discardOrientation", default=False):
        image = volumes.unturned(image)
    if file.flag("center", default=False):
        image = volumes.centered(image)
    node = volumes.add_volume(application, image, file.name, label=file.flag("labelmap", default=False))
    if (color := file.properties.get("colorNodeID")) and application.scene.GetNodeByID(color) is not None:
        node.GetDisplayNode().SetAndObserveColorNodeID(color)
    _remember(node, file.path)
    return node


def read_sequence(application: Application, file: Wanted) -> list[Any]:
    """Volumes over time as a sequence, with a browser that shows the first."""
    image = open_image(file.path, file.limits)
    scene = application.scene
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", scene.GenerateUniqueName(file.name))
    sequence.SetIndexName("frame")
    sequence.SetIndexUnit("")
    for number, voxels in enumerate(image.frames or [image.voxels]):
        frame = slicer.vtkMRMLVectorVolumeNode() if voxels.ndim == 4 else slicer.vtkMRMLScalarVolumeNode()
        volumes.fill(frame, Image(voxels, image.ijk_to_ras))
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


def read_segmentation(application: Application, file: Wanted) -> list[Any]:
    """Segments of a labelmap (.seg.nrrd, .nrrd, .nii), or of surfaces."""
    check_segmentation(file.path, file.limits)
    color = application.scene.GetNodeByID(file.properties.get("colorNodeID", ""))
    opacities = file.flag("autoOpacities", default=True)
    if describe(file.path) == "" or file.path.name.lower().endswith(".seg.nrrd"):
        node = _by_logic(application, file, "Segmentations", "LoadSegmentationFromFile", opacities, file.name, color)
    else:
        node = _of_labels(application, file, color)
    node.CreateDefaultDisplayNodes()
    return [node]


def _of_labels(application: Application, file: Wanted, color: Any) -> Any:
    """A labelmap of any of our formats as segments: one for each value."""
    image = open_image(file.path, file.limits)
    if image.components > 1 or image.voxels.dtype.kind not in "iub":
        raise UnsupportedFormat("Segments are made of one whole number a voxel", feature="segmentation")
    labels = volumes.add_volume(application, image, f"{file.name} labels", label=True)
    if color is not None:
        labels.GetDisplayNode().SetAndObserveColorNodeID(color.GetID())
    node = application.scene.AddNewNodeByClass(
        "vtkMRMLSegmentationNode", application.scene.GenerateUniqueName(file.name)
    )
    node.SetReferenceImageGeometryParameterFromVolumeNode(labels)
    application.logics["Segmentations"].ImportLabelmapToSegmentationNode(labels, node)
    application.scene.RemoveNode(labels)
    return node


def read_model(application: Application, file: Wanted) -> list[Any]:
    """A mesh. ``coordinateSystem``: RAS or LPS of files that do not tell; LPS."""
    check_mesh(file.path)
    if file.path.suffix.lower() in {".glb", ".gltf"}:
        return [_of_gltf(application, file)]
    ras = file.properties.get("coordinateSystem", "LPS").strip().upper() in {"RAS", "0"}
    storage = slicer.vtkMRMLStorageNode
    system = storage.CoordinateSystemRAS if ras else storage.CoordinateSystemLPS
    return [_renamed(application, file, _by_logic(application, file, "Models", "AddModel", system))]


def _of_gltf(application: Application, file: Wanted) -> Any:
    scene = application.scene
    mesh = glb.read(file.path.read_bytes())
    node = scene.AddNewNodeByClass("vtkMRMLModelNode", scene.GenerateUniqueName(file.name))
    node.SetAndObservePolyData(as_polydata(mesh))
    node.CreateDefaultDisplayNodes()
    return node


def read_markups(application: Application, file: Wanted) -> list[Any]:
    """Points, lines, angles, curves, planes and regions: all of a file."""
    if ending_of(file.path.name) == ".acsv":
        raise UnsupportedFormat("Annotations of Slicer 4 (.acsv) are not read; save them as .mrk.json", feature=".acsv")
    check_json(file.path)
    known = ids_of(application.scene)
    messages = slicer.vtkMRMLMessageCollection()
    first = application.logics["Markups"].LoadMarkups(str(file.path), file.name, messages)
    found = [node for node in new_since(application.scene, known) if node.IsA("vtkMRMLMarkupsNode")]
    if not first or not found:
        raise failed(file, messages)
    _told(file, messages)
    return found


def read_transform(application: Application, file: Wanted) -> list[Any]:
    """A linear, grid, spline or composite transform."""
    check_transform(file.path, file.limits)
    node = _by_logic(application, file, "Transforms", "AddTransform", application.scene)
    return [_renamed(application, file, node)]


def read_table(application: Application, file: Wanted) -> list[Any]:
    """Columns of a .csv, .tsv or .txt."""
    check_table(file.path)
    return [_by_logic(application, file, "Tables", "AddTable", file.name, True, "")]  # noqa: FBT003 - find a schema; VTK knows no keywords


def read_text(application: Application, file: Wanted) -> list[Any]:
    """A text as it is."""
    check_table(file.path)
    node = application.scene.AddNewNodeByClass("vtkMRMLTextNode", application.scene.GenerateUniqueName(file.name))
    try:
        node.SetText(file.path.read_text("utf-8"))
    except ValueError as error:
        application.scene.RemoveNode(node)
        raise CorruptData(f"Failed to load node from file: {file.path.name}. It is no text in UTF-8") from error
    return [node]


def read_colors(application: Application, file: Wanted) -> list[Any]:
    """A colour table."""
    check_table(file.path)
    return [_by_logic(application, file, "Colors", "LoadColorFile", file.name)]


def read_transfer_function(application: Application, file: Wanted) -> list[Any]:
    """Colours and opacities of volume rendering (.vp, .vp.json)."""
    check_json(file.path)
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


def reread(application: Application, node: Any, path: Path) -> bool:
    """Fill a node again from its file. Raises as reading does."""
    file = wanted(application, path, node.GetName(), {})
    if node.IsA("vtkMRMLVolumeNode") and not node.IsA("vtkMRMLDiffusionWeightedVolumeNode") and describe(path):
        volumes.fill(node, open_image(path, file.limits))
        return True
    check_any(path, file.limits)
    return bool(node.GetStorageNode().ReadData(node))


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
