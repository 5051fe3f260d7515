"""Segments as voxels and as surfaces. What is asked for is made in copies: a question changes no segmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microtome.errors import InvalidRequest, NotFound
from microtome.scene.answers import Parts, outside
from microtome.scene.calls.base import File
from microtome.scene.calls.contents import SURFACES, Export, GetSegmentation, GetSegmentations, SegmentList
from microtome.scene.images import Image, writing
from microtome.scene.meshes import glb
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.arrays import labelmap_of
from microtome.scene.mrml.choosing import first, of_class
from microtome.scene.mrml.exporting import file_name, new_file, version, written
from microtome.scene.mrml.files.save import MEDIA_TYPES, write, write_packed
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


def get_segmentation(application: Application, call: GetSegmentation) -> Parts[Export]:
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
        parts = _parts(node, chosen)
        return (
            yield from written(
                application,
                file_name(name, ".nrrd"),
                made,
                lambda file: writing.write(file, labels(parts, len(chosen)), "gzip"),
            )
        )
    if kind == "seg.nrrd" and not call.segment:
        with new_file(application, file_name(name, ".seg.nrrd")) as path:
            yield from write_packed(application, node, path, "vtkMRMLSegmentationStorageNode", {})
        return Export(made, File(str(path), path.name))
    if kind in SURFACES:
        with new_file(application, file_name(name, f".{kind}")) as path:
            yield from _write_surface(node, chosen, path)
        return Export(made, File(str(path), path.name, MEDIA_TYPES.get(path.suffix, "application/octet-stream")))
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


_Part = tuple[int, int, Volume]
"""A segment: its number in the labelmap to be made, its value in its own, and that."""


def _parts(node: Any, chosen: list[str]) -> list[_Part]:
    segmentation = _with(node, chosen, LABELMAP)
    parts: list[_Part] = []
    for segment_id in chosen:
        segment = segmentation.GetSegment(segment_id)
        found = labelmap_of(segment.GetRepresentation(LABELMAP), np.eye(4))
        if found is not None:
            parts.append((chosen.index(segment_id) + 1, segment.GetLabelValue(), found))
    if not parts:
        raise InvalidRequest("The segment is empty", parameter="segment")
    return parts


def labels(parts: list[_Part], count: int) -> Image:
    """A labelmap that holds ``count`` segments, 1, 2, 3 ... in their order; later ones lie above earlier ones."""
    base = parts[0][2].ijk_to_ras
    corners = np.array([_corners(base, part) for *_, part in parts])
    low, high = corners[:, 0].min(0), corners[:, 1].max(0)
    whole = np.zeros((high - low)[::-1], np.uint8 if count < 256 else np.uint16)
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


def surfaces_of(node: Any, chosen: list[str]) -> Parts[dict[str, Any]]:
    """Surfaces of segments by id, copies of those that are there. One after the other: others are answered between.

    Raises InvalidRequest.
    """
    found: dict[str, Any] = {}
    for segment_id in chosen:
        if found:
            yield from outside(_pause)
        if node.GetSegmentation().GetSegment(segment_id) is None:
            continue  # removed meanwhile
        surface = _with(node, [segment_id], SURFACE).GetSegment(segment_id).GetRepresentation(SURFACE)
        found[segment_id] = vtk_data.vtkPolyData()
        found[segment_id].DeepCopy(surface)
    return found


def _pause() -> None:
    """Nothing: somebody else's turn."""


def _write_surface(node: Any, chosen: list[str], path: Path) -> Parts[None]:
    found = yield from surfaces_of(node, chosen)
    segmentation = node.GetSegmentation()
    surfaces = [
        (segment.GetName(), segment.GetColor(), found[each])
        for each in chosen
        if (segment := segmentation.GetSegment(each)) is not None and each in found and found[each].GetNumberOfCells()
    ]
    if not surfaces:
        raise InvalidRequest("The segment is empty", parameter="segment")
    if path.suffix == ".glb":
        yield from outside(
            lambda: path.write_bytes(
                glb.write([mesh_of(surface, title, (*color, 1.0)) for title, color, surface in surfaces])
            )
        )
        return
    together = filters.vtkAppendPolyData()
    for *_, surface in surfaces:
        together.AddInputData(surface)
    yield from outside(together.Update)
    model = slicer.vtkMRMLModelNode()
    polydata = vtk_data.vtkPolyData()
    polydata.ShallowCopy(together.GetOutput())
    model.SetAndObservePolyData(polydata)
    write(model, path, "vtkMRMLModelStorageNode", {})
