"""Meshes read with VTK's own readers, which let other threads run meanwhile; MRML's storage of models does not.

Files tell their coordinates in words of 3D Slicer ("SPACE=RAS" in a comment or header, or an array SPACE).
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from microtome.errors import CorruptData
from microtome.scene.mrml.library import slicer
from microtome.scene.mrml.meshes import check_sound

_MODULES = {
    ".stl": ("vtkmodules.vtkIOGeometry", "vtkSTLReader"),
    ".obj": ("vtkmodules.vtkIOGeometry", "vtkOBJReader"),
    ".ply": ("vtkmodules.vtkIOPLY", "vtkPLYReader"),
}
_THROWING = {".vtp", ".vtu"}
"""They tell numbers in compressed data, for which memory is taken: nothing that could be looked at before."""
_SPACE = re.compile(r"SPACE\s*=\s*(RAS|LPS)\b")
_ALL = ("Scalars", "Vectors", "Normals", "Tensors", "ColorScalars", "TCoords", "Fields")
_MOST_MESSAGES = 20


def read(path: Path, *, ras: bool, messages: list[str]) -> tuple[Any, bool]:
    """A vtkPolyData or vtkUnstructuredGrid in mm right, anterior, superior; and whether the file has it like this.

    ``ras``: of a file that does not tell. What the reader says goes to ``messages``. Raises CorruptData.
    """
    if path.suffix.lower() in _THROWING:
        return _by_storage(path, ras=ras, messages=messages)
    told: list[str] = []
    errors: list[str] = []
    reader = _reader(path)
    _listen(reader, "ErrorEvent", errors)
    _listen(reader, "WarningEvent", told)
    reader.Update()
    mesh = reader.GetOutput()
    if errors or mesh is None:
        said = "; ".join(_plain(text, path) for text in errors[:3])
        raise CorruptData(f"Failed to load node from file: {path.name}" + (f". {said}" if said else ""))
    check_sound(mesh)
    messages.extend(_plain(text, path) for text in told)
    space = _space(reader, mesh)
    ras = ras if space is None else space == "RAS"
    if ras:
        # Without the reader, which would read it again.
        made = mesh.NewInstance()
        made.ShallowCopy(mesh)
        return made, True
    made = mesh.NewInstance()
    slicer.vtkMRMLModelStorageNode.ConvertBetweenRASAndLPS(mesh, made)
    return made, False


def _by_storage(path: Path, *, ras: bool, messages: list[str]) -> tuple[Any, bool]:
    """By MRML's storage, which catches what VTK's readers throw: that would end the process here."""
    storage, node = slicer.vtkMRMLModelStorageNode(), slicer.vtkMRMLModelNode()
    storage.SetFileName(str(path))
    storage.SetCoordinateSystem(storage.CoordinateSystemRAS if ras else storage.CoordinateSystemLPS)
    done = storage.ReadData(node)
    found = storage.GetUserMessages()
    texts = [str(found.GetNthMessageText(number)) for number in range(min(found.GetNumberOfMessages(), _MOST_MESSAGES))]
    mesh = node.GetMesh()
    if not done or mesh is None:
        said = "; ".join(_plain(text, path) for text in texts[:3])
        raise CorruptData(f"Failed to load node from file: {path.name}" + (f". {said}" if said else ""))
    check_sound(mesh)
    messages.extend(_plain(text, path) for text in texts)
    return mesh, storage.GetCoordinateSystem() == storage.CoordinateSystemRAS


def _reader(path: Path) -> Any:
    ending = path.suffix.lower()
    if ending != ".vtk":
        module, name = _MODULES[ending]
        found = getattr(import_module(module), name)()
        found.SetFileName(str(path))
        return found
    library: Any = import_module("vtkmodules.vtkIOLegacy")
    for name, check in (
        ("vtkPolyDataReader", "IsFilePolyData"),
        ("vtkUnstructuredGridReader", "IsFileUnstructuredGrid"),
    ):
        found = getattr(library, name)()
        found.SetFileName(str(path))
        if getattr(found, check)():
            for kind in _ALL:
                getattr(found, f"ReadAll{kind}On")()
            return found
    raise CorruptData(f"Failed to load node from file: {path.name}. It holds neither polygons nor an unstructured grid")


def _listen(reader: Any, event: str, into: list[str]) -> None:
    """Keep what a reader says; it does not go to the log then."""

    def keep(_: object, __: str, text: str) -> None:
        if len(into) < _MOST_MESSAGES:
            into.append(text)

    keep.CallDataType = "string0"  # pyright: ignore[reportFunctionMemberAccess] - how VTK's wrapping has it
    reader.AddObserver(event, keep)


def _plain(text: str, path: Path) -> str:
    """Without places of the library's source and of files."""
    text = text.split("): ", 1)[-1] if text.startswith(("ERROR", "Warning")) else text
    return text.replace(str(path), path.name)[:300].strip()


def _space(reader: Any, mesh: Any) -> str | None:
    """RAS or LPS, where a file tells."""
    if hasattr(reader, "GetHeader"):
        texts = [reader.GetHeader() or ""]
    elif hasattr(reader, "GetComments"):
        comments = reader.GetComments()
        texts = [comments.GetValue(index) for index in range(comments.GetNumberOfValues())]
    elif hasattr(reader, "GetComment"):
        texts = [reader.GetComment() or ""]
    else:
        array = mesh.GetFieldData().GetAbstractArray("SPACE")
        texts = [f"SPACE={array.GetValue(0)}"] if array is not None and array.GetNumberOfValues() else []
    return next((found[1] for text in texts if (found := _SPACE.search(text))), None)
