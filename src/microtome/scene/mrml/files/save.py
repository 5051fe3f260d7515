"""Writes nodes into files. A node keeps the storage it has: what is written is a copy."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from microtome.errors import InvalidRequest, StorageUnavailable
from microtome.scene import places
from microtome.scene.answers import Parts, outside
from microtome.scene.calls.base import File
from microtome.scene.calls.files import SaveNode
from microtome.scene.images import writing
from microtome.scene.images.packing import pack_gzip, pack_nrrd
from microtome.scene.meshes import glb
from microtome.scene.mrml import exporting, volumes
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.library import slicer
from microtome.scene.mrml.meshes import mesh_of
from microtome.scene.mrml.nodes import some

MEDIA_TYPES = {
    ".stl": "model/stl",
    ".obj": "model/obj",
    ".glb": "model/gltf-binary",
    ".ply": "application/octet-stream",
    ".mrk.json": "application/json",
    ".json": "application/json",
    ".vp.json": "application/json",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
    ".nii.gz": "application/gzip",
}
_VOLUME = "vtkMRMLVolumeArchetypeStorageNode"
_VOLUMES = (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd", ".hdr", ".img")
_MODELS = (".vtk", ".vtp", ".stl", ".ply", ".obj", ".glb", ".vtu")
_GRIDS = (".vtk", ".vtu", ".glb")
_SEGMENTATIONS = (".seg.nrrd", ".nrrd", ".seg.nhdr", ".nhdr", ".seg.vtm", ".vtm")
_MARKUPS = (".mrk.json", ".json", ".fcsv")
_TRANSFORMS = (".h5", ".tfm", ".mat", ".txt", ".nrrd", ".nhdr", ".mha", ".mhd", ".nii", ".nii.gz")
_TABLES = (".tsv", ".csv", ".txt")
_COLORS = (".ctbl", ".txt", ".csv", ".labels.csv")
_PROPERTIES = (".vp.json", ".json", ".vp")
_ENDINGS: dict[str, tuple[tuple[str, ...], str]] = {
    "vtkMRMLSegmentationNode": (_SEGMENTATIONS, "vtkMRMLSegmentationStorageNode"),
    "vtkMRMLDiffusionWeightedVolumeNode": ((".nrrd", ".nhdr"), "vtkMRMLNRRDStorageNode"),
    "vtkMRMLVolumeNode": (_VOLUMES, _VOLUME),
    "vtkMRMLModelNode": (_MODELS, "vtkMRMLModelStorageNode"),
    "vtkMRMLMarkupsROINode": (_MARKUPS[:2], "vtkMRMLMarkupsROIJsonStorageNode"),
    "vtkMRMLMarkupsPlaneNode": (_MARKUPS[:2], "vtkMRMLMarkupsPlaneJsonStorageNode"),
    "vtkMRMLMarkupsFiducialNode": (_MARKUPS, "vtkMRMLMarkupsJsonStorageNode"),
    "vtkMRMLMarkupsNode": (_MARKUPS[:2], "vtkMRMLMarkupsJsonStorageNode"),
    "vtkMRMLTransformNode": (_TRANSFORMS, "vtkMRMLTransformStorageNode"),
    "vtkMRMLTableNode": (_TABLES, "vtkMRMLTableStorageNode"),
    "vtkMRMLColorNode": (_COLORS, "vtkMRMLColorTableStorageNode"),
    "vtkMRMLTextNode": ((".txt", ".json", ".xml", ".csv"), "vtkMRMLTextStorageNode"),
    "vtkMRMLVolumePropertyNode": (_PROPERTIES, "vtkMRMLVolumePropertyJsonStorageNode"),
    "vtkMRMLSequenceNode": ((".seq.nrrd", ".nrrd"), "vtkMRMLVolumeSequenceStorageNode"),
}
_OTHER = {".fcsv": "vtkMRMLMarkupsFiducialStorageNode", ".vp": "vtkMRMLVolumePropertyStorageNode"}
_FALSE = {"", "0", "false"}


def save_node(application: Application, call: SaveNode) -> Parts[File]:
    """Write one node."""
    found = some(application, call.nodes)
    if len(found) > 1:
        raise InvalidRequest("/mrml/file can only be used for a single node", parameter="nodes")
    node = found[0]
    path = destination(application, call.path, call.file_name, node.GetName() or "node")
    try:
        ending, storage_class = _how(node, path)
        copy = _moved(application, node) if call.apply_transforms else node
        compress = call.properties.get("useCompression", "1").strip().lower() not in _FALSE
        if ending == ".glb":
            yield from _write_glb(copy, path, node.GetName() or "", _color(node))
        elif ending == ".nrrd" and storage_class == _VOLUME and _is_plain(copy, call.properties):
            yield from _write_nrrd(copy, path, compress=compress)
        else:
            yield from write_packed(application, copy, path, storage_class, call.properties, compress=compress)
    except BaseException:
        if call.path is None:
            shutil.rmtree(path.parent, ignore_errors=True)
        raise
    return File(str(path), path.name, MEDIA_TYPES.get(ending, "application/octet-stream"))


def destination(application: Application, path: str | None, file_name: str, name: str) -> Path:
    """Where a file is to be written: inside a root, or in a new folder of the scene's own."""
    if path is not None:
        return places.writable(path, application.options.roots)
    file_name = Path(file_name.replace("\0", "").replace("\\", "/")).name if file_name else ""
    if file_name.startswith("."):
        file_name = exporting.file_name(name, file_name)
    if len(file_name.encode()) > places.MAX_NAME:
        raise InvalidRequest("This is no name of a file", parameter="filename")
    return Path(tempfile.mkdtemp(dir=application.folder)) / (file_name or "node")


def _is_plain(node: Any, properties: Mapping[str, str]) -> bool:
    """Whether our own writer can write a volume."""
    return volumes.image_of(node) is not None and not properties.get("fileFormat")


def _write_nrrd(node: Any, path: Path, *, compress: bool) -> Parts[None]:
    image = volumes.image_of(node)
    assert image is not None  # noqa: S101 - looked at before

    def work() -> None:
        with in_place(path) as made, made.open("wb") as file:
            writing.write(file, image, "gzip" if compress else "raw")

    yield from outside(work)


def _write_glb(node: Any, path: Path, name: str, color: tuple[float, float, float, float]) -> Parts[None]:
    if (mesh := node.GetMesh()) is not None:
        copy = mesh.NewInstance()  # VTK builds what it needs to go through cells into the mesh
        copy.DeepCopy(mesh)
        mesh = copy

    def work() -> None:
        with in_place(path) as made:
            made.write_bytes(glb.write([mesh_of(mesh, name, color)]))

    yield from outside(work)


@contextmanager
def in_place(path: Path) -> Generator[Path]:
    """A new file that takes the place of another when it is complete. Raises StorageUnavailable."""
    made = path.with_name(f".{path.name[:100]}.{os.urandom(4).hex()}")
    try:
        yield made
        made.replace(path)
    except OSError as error:
        raise StorageUnavailable(f"{path.name} could not be written", permanent=True) from error
    finally:
        made.unlink(missing_ok=True)


def write_packed(
    application: Application,
    node: Any,
    path: Path,
    storage_class: str,
    properties: Mapping[str, str],
    *,
    compress: bool = True,
) -> Parts[None]:
    """As ``write``; files that are packed are packed outside of the scene's thread.

    Raises StorageUnavailable.
    """
    name = path.name.lower()
    if not compress or not name.endswith((".nrrd", ".nii.gz")):
        write(node, path, storage_class, properties, compress=compress)
        return
    folder = Path(tempfile.mkdtemp(dir=application.folder))
    try:
        plain = folder / (path.name if name.endswith(".nrrd") else path.name[: -len(".gz")])
        write(node, plain, storage_class, properties, compress=False)

        def work() -> None:
            with in_place(path) as made:
                (pack_nrrd if name.endswith(".nrrd") else pack_gzip)(plain, made)

        yield from outside(work)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write(node: Any, path: Path, storage_class: str, properties: Any, *, compress: bool = True) -> None:
    """Write with a storage of its own. Raises StorageUnavailable."""
    storage = getattr(slicer, storage_class)()
    storage.SetScene(node.GetScene())
    storage.SetFileName(str(path))
    storage.SetUseCompression(compress)
    if file_format := properties.get("fileFormat"):
        storage.SetWriteFileFormat(file_format[:200])
    if (system := properties.get("coordinateSystem", "").strip().upper()) and hasattr(storage, "SetCoordinateSystem"):
        kinds = slicer.vtkMRMLStorageNode
        ras = system in {"RAS", "0"}
        storage.SetCoordinateSystem(kinds.CoordinateSystemRAS if ras else kinds.CoordinateSystemLPS)
    if not storage.WriteData(node) or not path.exists():
        told = storage.GetUserMessages().GetAllMessagesAsString().replace(str(path), path.name)[:300].strip()
        raise StorageUnavailable(f"{path.name} could not be written" + (f": {told}" if told else ""), permanent=True)


def _how(node: Any, path: Path) -> tuple[str, str]:
    """Ending and class of storage. Raises InvalidRequest with the original's sentence."""
    name = path.name.lower()
    for kind, (endings, storage) in _ENDINGS.items():
        if not node.IsA(kind):
            continue
        if node.IsA("vtkMRMLModelNode") and node.GetMesh() is not None and node.GetPolyData() is None:
            endings = _GRIDS
        ending = max((ending for ending in endings if name.endswith(ending)), key=len, default="")
        if not ending:
            break
        return ending, _OTHER.get(ending, storage)
    raise InvalidRequest(
        f"Failed to export {node.GetID()} - no known file format was found for filename {path.name}", parameter="path"
    )


def _moved(application: Application, node: Any) -> Any:
    """A copy with its transforms hardened, in no scene; the node itself when there are none."""
    transform = node.GetParentTransformNode() if node.IsA("vtkMRMLTransformableNode") else None
    if transform is None:
        return node
    scene = application.scene
    copy = scene.AddNewNodeByClass(node.GetClassName())
    try:
        copy.CopyContent(node)
        copy.SetAndObserveTransformNodeID(transform.GetID())
        if not copy.HardenTransform():
            raise InvalidRequest("The transform of this node cannot be applied to it", parameter="applytransforms")
        copy.SetName(node.GetName())
    finally:
        scene.RemoveNode(copy)
    return copy


def _color(node: Any) -> tuple[float, float, float, float]:
    display = node.GetDisplayNode()
    if display is None:
        return (0.8, 0.8, 0.8, 1.0)
    red, green, blue = display.GetColor()
    return (red, green, blue, display.GetOpacity())
