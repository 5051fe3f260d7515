"""Segments as voxels and as surfaces. What is asked for is made in copies: a question changes no segmentation."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microtome.errors import InvalidRequest, NotFound
from microtome.scene.answers import Later
from microtome.scene.calls.base import File
from microtome.scene.calls.contents import SURFACES, Export, GetSegmentation, GetSegmentations, SegmentList
from microtome.scene.images import Image, writing
from microtome.scene.meshes import glb
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.arrays import labelmap_of
from microtome.scene.mrml.choosing import first, of_class
from microtome.scene.mrml.exporting import file_name, version, written
from microtome.scene.mrml.files.save import MEDIA_TYPES, write
from microtome.scene.mrml.library import filters, slicer, vtk_data
from microtome.scene.mrml.meshes import mesh_of
from microtome.scene.slices.geometry import Matrix
from microtome.scene.slices.sampler import Volume

SEGMENTATION = "vtkMRMLSegmentationNode"
LABELMAP, SURFACE = "Binary labelmap", "Closed surface"


def get_segmentations(application: Application, _: GetSegmentations) -> dict[str, SegmentList]:
    """All of them."""
    return {
        node.GetID(): SegmentList(node.GetName() or "", segment_ids(node))
        for node in of_class(application, SEGMENTATION)
    }


def segment_ids(node: Any) -> list[str]:
    """In their order."""
    segmentation = node.GetSegmentation()
    return [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]


def get_segmentation(application: Application, call: GetSegmentation) -> Later | Export:
    """One segment or all, as a file."""
    node = first(application, call.pattern, SEGMENTATION)
    chosen = _chosen(node, call.segment)
    kind = call.format.strip().lower().lstrip(".") or ("labelmap" if call.segment else "seg.nrrd")
    made = version(application, node, "segmentation", call.segment, kind)
    if made == call.known:
        return Export(made)
    name = node.GetName() or "segmentation"
    if call.segment:
        name = f"{name} {node.GetSegmentation().GetSegment(chosen[0]).GetName()}"
    if kind in {"labelmap", "nrrd"}:
        image = labels(node, chosen)
        return written(application, file_name(name, ".nrrd"), made, lambda file: writing.write(file, image, "gzip"))
    if kind == "seg.nrrd" and not call.segment:
        path = Path(tempfile.mkdtemp(dir=application.folder)) / file_name(name, ".seg.nrrd")
        write(node, path, "vtkMRMLSegmentationStorageNode", {})
        return Export(made, File(str(path), path.name))
    if kind in SURFACES:
        return Export(made, _surface(application, node, chosen, file_name(name, f".{kind}")))
    raise InvalidRequest(
        f"format is labelmap, seg.nrrd (all segments) or one of {', '.join(SURFACES)}", parameter="format"
    )


def _chosen(node: Any, segment: str) -> list[str]:
    ids = segment_ids(node)
    if not segment:
        if not ids:
            raise NotFound("segment", "", "The segmentation has no segments")
        return ids
    if segment in ids:
        return [segment]
    segmentation = node.GetSegmentation()
    for candidate in ids:
        if segmentation.GetSegment(candidate).GetName() == segment:
            return [candidate]
    raise NotFound("segment", segment[:200])


def labels(node: Any, chosen: list[str]) -> Image:
    """A labelmap that holds the chosen segments, 1, 2, 3 ... in their order; later ones lie above earlier ones."""
    segmentation = _with(node, chosen, LABELMAP)
    parts: list[tuple[int, int, Volume]] = []
    for segment_id in chosen:
        segment = segmentation.GetSegment(segment_id)
        found = labelmap_of(segment.GetRepresentation(LABELMAP), np.eye(4))
        if found is not None:
            parts.append((chosen.index(segment_id) + 1, segment.GetLabelValue(), found))
    if not parts:
        raise InvalidRequest("The segment is empty", parameter="segment")
    base = parts[0][2].ijk_to_ras
    corners = np.array([_corners(base, part) for *_, part in parts])
    low, high = corners[:, 0].min(0), corners[:, 1].max(0)
    whole = np.zeros((high - low)[::-1], np.uint8 if len(chosen) < 256 else np.uint16)
    for number, value, part in parts:
        (i, j, k), (i2, j2, k2) = (corner - low for corner in _corners(base, part))
        whole[k:k2, j:j2, i:i2][part.array[..., 0] == value] = number
    matrix = base.copy()
    matrix[:3, 3] = (base @ [*low, 1.0])[:3]
    return Image(whole, matrix)


def _corners(base: Matrix, part: Volume) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last place of a part in the grid of the base. Raises InvalidRequest for another grid."""
    between = np.linalg.inv(base) @ part.ijk_to_ras
    start = np.rint(between[:3, 3]).astype(np.int64)
    if not np.allclose(between[:3, :3], np.eye(3), atol=1e-4) or not np.allclose(between[:3, 3], start, atol=1e-2):
        raise InvalidRequest("The segments lie in different grids; ask for one at a time", parameter="segment")
    return start, start + part.array.shape[2::-1]


def _with(node: Any, chosen: list[str], representation: str) -> Any:
    """A segmentation that has the representation: the node's own, or a copy in which it is made."""
    segmentation = node.GetSegmentation()
    if all(segmentation.GetSegment(each).GetRepresentation(representation) is not None for each in chosen):
        return segmentation
    copy = slicer.vtkSegmentation()
    copy.SetSourceRepresentationName(segmentation.GetSourceRepresentationName())
    for segment_id in chosen:
        copy.CopySegmentFromSegmentation(segmentation, segment_id)
    if not copy.CreateRepresentation(representation):
        raise InvalidRequest(f"A {representation.lower()} cannot be made of these segments", parameter="format")
    return copy


def _surface(application: Application, node: Any, chosen: list[str], name: str) -> File:
    segmentation = _with(node, chosen, SURFACE)
    surfaces = [
        (segmentation.GetSegment(each), segmentation.GetSegment(each).GetRepresentation(SURFACE)) for each in chosen
    ]
    surfaces = [(segment, surface) for segment, surface in surfaces if surface.GetNumberOfCells()]
    if not surfaces:
        raise InvalidRequest("The segment is empty", parameter="segment")
    path = Path(tempfile.mkdtemp(dir=application.folder)) / name
    media_type = MEDIA_TYPES.get(path.suffix, "application/octet-stream")
    if path.suffix == ".glb":
        meshes = [mesh_of(surface, segment.GetName(), (*segment.GetColor(), 1.0)) for segment, surface in surfaces]
        path.write_bytes(glb.write(meshes))
        return File(str(path), name, media_type)
    together = filters.vtkAppendPolyData()
    for _, surface in surfaces:
        together.AddInputData(surface)
    together.Update()
    model = slicer.vtkMRMLModelNode()
    polydata = vtk_data.vtkPolyData()
    polydata.ShallowCopy(together.GetOutput())
    model.SetAndObservePolyData(polydata)
    write(model, path, "vtkMRMLModelStorageNode", {})
    return File(str(path), name, media_type)
