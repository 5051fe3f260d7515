"""What a window shows, as glTF 2.0 (Khronos) in one JSON document."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def exported(window: Any) -> bytes:
    """Surfaces of a window with their normals, buffers inline in base64; RAS, mm."""
    library: Any = import_module("vtkmodules.vtkIOExport")
    exporter = library.vtkGLTFExporter()
    exporter.SetInlineData(True)  # noqa: FBT003
    exporter.SetSaveNormal(True)  # noqa: FBT003
    exporter.SetRenderWindow(window)
    return str(exporter.WriteToString()).encode()
