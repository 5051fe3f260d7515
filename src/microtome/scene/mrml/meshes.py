"""Surfaces of the scene as arrays, both ways. Coordinates of glTF files are those of the scene: mm, RAS."""

from __future__ import annotations

from typing import Any

import numpy as np

from microtome.errors import CorruptData, InvalidRequest
from microtome.scene.meshes.glb import Mesh
from microtome.scene.mrml.arrays import points_of
from microtome.scene.mrml.library import filters, geometry_filters, numpy_support, vtk, vtk_data


def check_sound(mesh: Any) -> None:
    """Raises CorruptData where cells name points that are not there: VTK's readers do not look, its filters crash."""
    every = [mesh.GetVerts(), mesh.GetLines(), mesh.GetPolys(), mesh.GetStrips()] if mesh.IsA("vtkPolyData") else []
    if mesh.IsA("vtkUnstructuredGrid"):
        every = [mesh.GetCells()]
    for cells in every:
        if cells is None or not cells.GetNumberOfConnectivityIds():
            continue
        offsets = numpy_support.vtk_to_numpy(cells.GetOffsetsArray())
        corners = numpy_support.vtk_to_numpy(cells.GetConnectivityArray())
        if offsets[0] < 0 or (np.diff(offsets) < 0).any() or offsets[-1] > len(corners):
            raise CorruptData("The cells of the mesh have no end")
        if not 0 <= corners.min() <= corners.max() < mesh.GetNumberOfPoints():
            raise CorruptData("The cells of the mesh name points that are not there")


def as_polydata(mesh: Mesh) -> Any:
    """A vtkPolyData of triangles."""
    points = vtk.vtkPoints()
    points.SetData(numpy_support.numpy_to_vtk(np.ascontiguousarray(mesh.points), deep=True))
    cells = vtk_data.vtkCellArray()
    offsets = np.arange(0, mesh.faces.size + 1, 3, dtype=np.int64)
    cells.SetData(
        numpy_support.numpy_to_vtkIdTypeArray(offsets, deep=True),
        numpy_support.numpy_to_vtkIdTypeArray(np.ascontiguousarray(mesh.faces.ravel(), np.int64), deep=True),
    )
    made = vtk_data.vtkPolyData()
    made.SetPoints(points)
    made.SetPolys(cells)
    return made


def mesh_of(data: Any, name: str = "", color: tuple[float, float, float, float] = (0.8, 0.8, 0.8, 1.0)) -> Mesh:
    """The triangles of a vtkPolyData, polygons and strips cut into them, with normals; of other meshes their surface.

    Raises InvalidRequest when there are none.
    """
    if data is None or not data.GetNumberOfCells():
        raise InvalidRequest("There is no surface to write", parameter="nodes")
    surface = geometry_filters.vtkGeometryFilter()
    surface.SetInputData(data)
    triangles = filters.vtkTriangleFilter()
    triangles.SetInputConnection(surface.GetOutputPort())
    triangles.PassVertsOff()
    triangles.PassLinesOff()
    normals = filters.vtkPolyDataNormals()
    normals.SetInputConnection(triangles.GetOutputPort())
    normals.SplittingOff()
    normals.ConsistencyOff()
    normals.Update()
    made = normals.GetOutput()
    if not made.GetNumberOfCells():
        raise InvalidRequest("There is no surface to write", parameter="nodes")
    faces = numpy_support.vtk_to_numpy(made.GetPolys().GetConnectivityArray()).astype(np.int64).reshape(-1, 3)
    found = made.GetPointData().GetNormals()
    pointing = numpy_support.vtk_to_numpy(found) if found is not None else None
    return Mesh(points_of(made.GetPoints()), faces, name, color, pointing)
