"""The libraries themselves. They come without types, so all of theirs is ``Any``; what we make of it is typed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

slicer: Any = import_module("slicer")
"""Kitware's slicer-core: MRML nodes, logics and ``slicer.util``."""
vtk: Any = import_module("vtkmodules.vtkCommonCore")
vtk_math: Any = import_module("vtkmodules.vtkCommonMath")
vtk_transforms: Any = import_module("vtkmodules.vtkCommonTransforms")
numpy_support: Any = import_module("vtkmodules.util.numpy_support")
vtk_data: Any = import_module("vtkmodules.vtkCommonDataModel")
filters: Any = import_module("vtkmodules.vtkFiltersCore")
geometry_filters: Any = import_module("vtkmodules.vtkFiltersGeometry")
