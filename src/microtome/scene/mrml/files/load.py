"""Reads files into the scene."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from microtome.errors import InvalidRequest, StorageUnavailable
from microtome.scene import places
from microtome.scene.answers import Parts, outside
from microtome.scene.calls.files import FILE_TYPES, Loaded, LoadFile
from microtome.scene.calls.nodes import ReloadNodes
from microtome.scene.mrml import volumes
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.files.bundle import read_scene
from microtome.scene.mrml.files.dicom import read_dicom
from microtome.scene.mrml.files.readers import READERS, Reader, Wanted, look_again, wanted
from microtome.scene.mrml.kept import detach, replace_segments
from microtome.scene.mrml.library import slicer
from microtome.scene.mrml.nodes import some
from microtome.telemetry import logger

_READERS: dict[str, Reader] = {**READERS, "DicomFile": read_dicom, "SceneFile": read_scene}
_BY_ENDING = {
    ".seg.nrrd": "SegmentationFile",
    ".seg.nhdr": "SegmentationFile",
    ".seq.nrrd": "SequenceFile",
    ".mrk.json": "MarkupsFile",
    ".vp.json": "TransferFunctionFile",
    ".json": "MarkupsFile",
    ".fcsv": "MarkupsFile",
    ".acsv": "MarkupsFile",
    ".vp": "TransferFunctionFile",
    ".ctbl": "ColorTableFile",
    ".csv": "TableFile",
    ".tsv": "TableFile",
    ".tfm": "TransformFile",
    ".h5": "TransformFile",
    ".mat": "TransformFile",
    ".mrml": "SceneFile",
    ".mrb": "SceneFile",
    ".dcm": "DicomFile",
    **dict.fromkeys((".vtk", ".vtp", ".vtu", ".stl", ".ply", ".obj", ".glb", ".gltf"), "ModelFile"),
    **dict.fromkeys((".nrrd", ".nhdr", ".nii", ".nii.gz", ".hdr", ".hdr.gz", ".mha", ".mhd"), "VolumeFile"),
}


def load_file(application: Application, call: LoadFile) -> Parts[Loaded]:
    """Read a file of a type that is known."""
    own = [application.folder] if Path(call.path).is_absolute() else []
    path = places.existing(call.path, [*application.options.roots, *own])
    file_type = call.file_type or type_of(path)
    reader = _READERS.get(file_type)
    if reader is None:
        raise InvalidRequest(
            f"No file type is called {file_type[:50]}. There are: {', '.join(FILE_TYPES)}", parameter="filetype"
        )
    if path.is_dir() and file_type not in {"DicomFile", "VolumeFile"}:
        raise InvalidRequest("This is the name of a folder", parameter="path")
    file = wanted(application, path, call.name, call.properties)
    try:
        nodes = yield from (read_dicom if _is_dicom(path, file_type) else reader)(application, file)
    except OSError as error:
        logger.warning("a file could not be read: %s", error)
        raise StorageUnavailable(f"{path.name} cannot be read", permanent=True) from error
    if application.folder in path.parents:
        _forget(application, nodes)
    return Loaded([node.GetID() for node in nodes if node.GetScene() is not None], file.messages)


def _is_dicom(path: Path, file_type: str) -> bool:
    """A folder, or a volume that is a file of DICOM (PS3.10 §7.1): the original reads its series, too."""
    if path.is_dir() or file_type != "VolumeFile":
        return path.is_dir() or file_type == "DicomFile"
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def type_of(path: Path) -> str:
    """The type that a name tells. Raises InvalidRequest."""
    if path.is_dir():
        return "DicomFile"
    found = _BY_ENDING.get(places.ending_of(path.name))
    if found is None:
        raise InvalidRequest(f"The name of {path.name[:100]} does not tell its type; give one", parameter="filetype")
    return found


def reload_nodes(application: Application, call: ReloadNodes) -> Parts[list[str]]:
    """Read those that came from a file again, with the same care: all, or none when one cannot be read.

    Raises as ``load_file``.
    """
    found: list[tuple[Any, volumes.Prepared | None]] = []
    for node in some(application, call.nodes):
        file = _file_of(application, node)
        if file is not None:
            volume = node.IsA("vtkMRMLVolumeNode") and not node.IsA("vtkMRMLDiffusionWeightedVolumeNode")
            found.append((node, (yield from outside(partial(look_again, file, volume=volume)))))
    return [node.GetID() for node, made in found if node.GetScene() is not None and _refilled(node, made)]


def _file_of(application: Application, node: Any) -> Wanted | None:
    """What a node came from; None for one that came from no file."""
    storage = node.GetStorageNode() if node.IsA("vtkMRMLStorableNode") else None
    if storage is None or not storage.GetFileName():
        return None
    path = places.existing(storage.GetFullNameFromFileName(), [*application.options.roots, application.folder])
    return wanted(application, path, node.GetName(), {})


def _refilled(node: Any, made: volumes.Prepared | None) -> bool:
    if made is None and node.IsA("vtkMRMLSegmentationNode"):
        found = slicer.vtkMRMLSegmentationNode()  # MRML leaves segments that are there as they are
        done = bool(node.GetStorageNode().ReadData(found))
        if done:
            replace_segments(node, found.GetSegmentation())
        return done
    if made is None:
        detach(node)  # MRML reads into what the node holds, which may be kept to be brought back
        return bool(node.GetStorageNode().ReadData(node))
    volumes.fill(node, made)
    return True


def _forget(application: Application, nodes: list[Any]) -> None:
    """What was uploaded has no file afterwards: its storage would tell a path of the server."""
    for node in nodes:
        storage = node.GetStorageNode() if node.IsA("vtkMRMLStorableNode") else None
        if storage is not None:
            application.scene.RemoveNode(storage)
