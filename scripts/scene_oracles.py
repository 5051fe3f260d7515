"""What other libraries make of the files of a scene: nibabel, pynrrd, SimpleITK, meshio. None of ours is used here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
NRRD_SPACES = {"right-anterior-superior": np.eye(4), "left-posterior-superior": LPS}
Volume = tuple[npt.NDArray[Any], npt.NDArray[np.float64]]


def volume(path: Path) -> Volume:
    """Voxels as (..., slices, rows, columns), components and times first; and voxels to mm, RAS.

    By SimpleITK what the library of the format cannot read.
    """
    try:
        return _by_its_library(path)
    except Exception:  # noqa: BLE001 - each of them has errors of its own
        return by_simpleitk(path)


def _by_its_library(path: Path) -> Volume:
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz", ".hdr")):
        return by_nibabel(path)
    if name.endswith((".nrrd", ".nhdr")):
        return by_pynrrd(path)
    return by_simpleitk(path)


def by_nibabel(path: Path) -> Volume:
    """NIfTI."""
    import nibabel

    image: Any = nibabel.load(path)
    array = np.asarray(image.dataobj)
    voxels = _at_least_3d(array.T)
    return (np.squeeze(voxels, axis=tuple(range(array.ndim - 3))) if _flat(array) else voxels), image.affine


def by_pynrrd(path: Path) -> Volume:
    """NRRD."""
    import nrrd

    array, header = nrrd.read(str(path))
    directions = header.get("space directions")
    matrix = np.eye(4)
    if directions is None:
        for axis, step in enumerate(np.atleast_1d(header.get("spacings", np.ones(array.ndim)))[:3]):
            matrix[axis, axis] = step if np.isfinite(step) else 1.0
        return _at_least_3d(array.T), LPS @ matrix
    rows = [(axis, row) for axis, row in enumerate(directions) if row is not None and np.isfinite(row).all()]
    for column, (_, row) in enumerate(rows):
        matrix[:3, column] = row
    matrix[:3, 3] = header.get("space origin", np.zeros(3))
    spatial = [axis for axis, _ in rows]
    others = [axis for axis in range(array.ndim) if axis not in spatial]
    array = array.transpose([*others, *reversed(spatial)])
    return _at_least_3d(array), NRRD_SPACES[header["space"]] @ matrix


def by_simpleitk(path: Path) -> Volume:
    """Whatever ITK reads."""
    import SimpleITK

    return of_simpleitk(SimpleITK.ReadImage(str(path)))


def series_by_simpleitk(folder: Path) -> Volume:
    """The one series of a folder of DICOM files."""
    import SimpleITK

    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return of_simpleitk(reader.Execute())


def of_simpleitk(image: Any) -> Volume:
    """Components first."""
    import SimpleITK

    array = SimpleITK.GetArrayFromImage(image)
    count, flat = image.GetDimension(), min(image.GetDimension(), 3)
    matrix = np.eye(4)
    axes = np.array(image.GetDirection()).reshape(count, count) * image.GetSpacing()
    matrix[:flat, :flat], matrix[:flat, 3] = axes[:flat, :flat], image.GetOrigin()[:flat]
    if image.GetNumberOfComponentsPerPixel() > 1:
        array = np.moveaxis(array, -1, 0)
    return _at_least_3d(array), LPS @ matrix


def _flat(array: npt.NDArray[Any]) -> bool:
    return array.ndim > 3 and int(np.prod(array.shape[3:])) == 1


def _at_least_3d(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array.reshape((1,) * (3 - array.ndim) + array.shape) if array.ndim < 3 else array


def surface(path: Path) -> tuple[npt.NDArray[np.float64], float]:
    """Bounds of the points (2, 3), and the area of all polygons."""
    import meshio

    try:
        mesh = meshio.read(path)
    except (SystemExit, Exception):  # noqa: BLE001 - it even leaves the program over files that it cannot read
        return surface_by_vtk(path)
    area = 0.0
    for block in mesh.cells:
        if block.type in {"triangle", "quad", "polygon"}:
            corners = mesh.points[np.asarray(block.data)]
            for number in range(1, corners.shape[1] - 1):
                edges = corners[:, number] - corners[:, 0], corners[:, number + 1] - corners[:, 0]
                area += float(np.linalg.norm(np.cross(*edges), axis=1).sum()) / 2
    return np.array([mesh.points.min(0), mesh.points.max(0)]), area


def surface_by_vtk(path: Path) -> tuple[npt.NDArray[np.float64], float]:
    """The same by VTK alone, for files that meshio cannot read."""
    from vtkmodules.vtkFiltersCore import vtkMassProperties, vtkTriangleFilter
    from vtkmodules.vtkFiltersGeometry import vtkGeometryFilter
    from vtkmodules.vtkIOGeometry import vtkOBJReader, vtkSTLReader
    from vtkmodules.vtkIOLegacy import vtkDataSetReader
    from vtkmodules.vtkIOPLY import vtkPLYReader
    from vtkmodules.vtkIOXML import vtkXMLPolyDataReader

    readers: dict[str, Any] = {
        ".vtk": vtkDataSetReader,
        ".vtp": vtkXMLPolyDataReader,
        ".stl": vtkSTLReader,
        ".obj": vtkOBJReader,
        ".ply": vtkPLYReader,
    }
    reader = readers[path.suffix]()
    reader.SetFileName(str(path))
    triangles = vtkTriangleFilter()
    outside = vtkGeometryFilter()
    outside.SetInputConnection(reader.GetOutputPort())
    triangles.SetInputConnection(outside.GetOutputPort())
    mass = vtkMassProperties()
    mass.SetInputConnection(triangles.GetOutputPort())
    mass.Update()
    return np.array(reader.GetOutput().GetBounds()).reshape(3, 2).T, mass.GetSurfaceArea()


def glb_by_vtk(path: Path) -> tuple[npt.NDArray[np.float64], int]:
    """Bounds and number of triangles, by VTK's reader of glTF."""
    from vtkmodules.vtkFiltersGeometry import vtkCompositeDataGeometryFilter
    from vtkmodules.vtkIOGeometry import vtkGLTFReader

    reader = vtkGLTFReader()
    reader.SetFileName(str(path))
    geometry = vtkCompositeDataGeometryFilter()
    geometry.SetInputConnection(reader.GetOutputPort())
    geometry.Update()
    found = geometry.GetOutput()
    return np.array(found.GetBounds()).reshape(3, 2).T, found.GetNumberOfCells()


def segments(path: Path) -> dict[str, tuple[str, tuple[float, ...], int, npt.NDArray[np.float64]]]:
    """By id: name, colour, number of voxels, and the middle of them in mm (LPS)."""
    import nrrd

    array, header = nrrd.read(str(path))
    if array.ndim == 3:
        array = array[None]
    matrix = np.array([row for row in header["space directions"] if row is not None and np.isfinite(row).all()])
    found: dict[str, tuple[str, tuple[float, ...], int, npt.NDArray[np.float64]]] = {}
    for number in range(10_000):
        start = f"Segment{number}_"
        if f"{start}ID" not in header:
            break
        inside = array[int(header[f"{start}Layer"])] == int(header[f"{start}LabelValue"])
        places = np.argwhere(inside)
        middle = places.mean(0) @ matrix + header["space origin"] if len(places) else np.zeros(3)
        color = tuple(float(word) for word in header[f"{start}Color"].split())
        found[header[f"{start}ID"]] = header[f"{start}Name"], color, len(places), middle
    return found


def moved(path: Path, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Where a transform puts points (LPS)."""
    import SimpleITK

    transform = SimpleITK.ReadTransform(str(path))
    return np.array([transform.TransformPoint(point.tolist()) for point in points])


def parameters(path: Path) -> list[npt.NDArray[np.float64]]:
    """All numbers of a transform written as text, for kinds that SimpleITK knows nothing of."""
    lines = path.read_text().splitlines()
    return [
        np.array([float(word) for word in line.partition(":")[2].split()])
        for line in lines
        if line.startswith(("Parameters:", "FixedParameters:"))
    ]


def points_of_fcsv(path: Path) -> npt.NDArray[np.float64]:
    """Positions, RAS."""
    flip = np.ones(3)
    found: list[list[float]] = []
    for line in path.read_text().splitlines():
        if line.startswith("# CoordinateSystem") and line.split("=")[1].strip() in {"LPS", "1"}:
            flip = np.array([-1.0, -1.0, 1.0])
        words = line.split(",")
        if len(words) > 3 and not line.startswith("#"):
            numbers = words[1:4]
            found.append([float(word) for word in numbers])
    return np.array(found) * flip


def points_of_json(path: Path) -> npt.NDArray[np.float64]:
    """Positions, RAS."""
    markup = json.loads(path.read_text())["markups"][0]
    flip = np.array([-1.0, -1.0, 1.0]) if markup["coordinateSystem"] == "LPS" else np.ones(3)
    return np.array([point["position"] for point in markup["controlPoints"]]) * flip


def colors(path: Path) -> dict[int, tuple[str, ...]]:
    """Index to name and 0..255 of a .ctbl."""
    lines = [line.split() for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    return {int(words[0]): tuple(words[1:6]) for words in lines}
