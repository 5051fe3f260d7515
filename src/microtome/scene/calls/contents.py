"""Questions about what nodes hold: voxels, displacements, points, segments.

A ``pattern`` means the first node of the right kind whose name or id it fits (``*``, ``?``, ``[]``; case matters), as
the original has it: of nodes with the same name the last one counts.
"""

from __future__ import annotations

import msgspec

from microtome.scene.calls.base import Call, File
from microtome.scene.calls.nodes import Named


class Export(msgspec.Struct, frozen=True):
    """A file, or none when ``version`` is the one the asker has already. Same version: same bytes."""

    version: str
    file: File | None = None


class ListVolumes(Call[list[Named]], frozen=True, kw_only=True):
    """Scalar volumes, then label volumes."""


class ListGridTransforms(Call[list[Named]], frozen=True, kw_only=True):
    """Transforms that are a grid of displacements."""


class GetVolume(Call[Export], frozen=True, kw_only=True):
    """The voxels of a volume as NRRD, in the volume's own space (transforms not applied).

    ``type``: ``compatible`` is short or double where that keeps every value and else the volume's own; ``original`` the
    volume's own; or a type of NRRD to convert to (``short``, ``float`` ...), rounded and clamped. ``encoding``: raw,
    gzip, bzip2, text or hex. Raises NotFound, InvalidRequest.
    """

    pattern: str = "vtkMRMLScalarVolumeNode*"
    type: str = "compatible"
    encoding: str = "raw"
    known: str = ""


class PutVolume(Call[str], frozen=True, kw_only=True):
    """Fill a volume with an image file of the scene's own folder, or make one called ``pattern``; its id.

    It is shown in the slice views. Raises what reading the file raises.
    """

    path: str
    pattern: str


class GetGridTransform(Call[Export], frozen=True, kw_only=True):
    """Displacements in mm (left, posterior, superior) as NRRD of type float. Raises NotFound, InvalidRequest."""

    pattern: str = "vtkMRMLGridTransformNode*"
    encoding: str = "raw"
    known: str = ""


class PutGridTransform(Call[str], frozen=True, kw_only=True):
    """Fill a transform with displacements of a file of the scene's own folder, or make one called ``pattern``; its id.

    Raises what reading the file raises.
    """

    path: str
    pattern: str


class Point(msgspec.Struct, frozen=True):
    """``position``: mm right, anterior, superior, in the space of its list."""

    label: str
    position: tuple[float, float, float]


class PointList(msgspec.Struct, frozen=True):
    """``color``: red, green, blue 0..1. ``scale``: of its glyphs."""

    name: str
    color: tuple[float, float, float]
    scale: float
    markups: list[Point]


class GetFiducials(Call[dict[str, PointList]], frozen=True, kw_only=True):
    """Point lists by id."""


class MoveFiducial(Call[None], frozen=True, kw_only=True):
    """Move point ``index`` of a list. Raises NotFound (no list, no such point)."""

    position: tuple[float, float, float]
    pattern: str = "vtkMRMLMarkupsFiducialNode*"
    index: int = 0


class SegmentList(msgspec.Struct, frozen=True, rename="camel"):
    """Segments of a segmentation."""

    name: str
    segment_ids: list[str] = msgspec.field(name="segmentIDs")


class GetSegmentations(Call[dict[str, SegmentList]], frozen=True, kw_only=True):
    """Segmentations by id."""


SURFACES = ("stl", "ply", "obj", "vtk", "vtp", "glb")


class GetSegmentation(Call[Export], frozen=True, kw_only=True):
    """A segment, or all of a segmentation, as voxels or as surface.

    ``format``: ``seg.nrrd`` (names and colours too; all segments only), ``labelmap`` (NRRD: 1 inside of a segment; of
    all: 1, 2, 3 ... in their order), or one of ``SURFACES`` (glb: RAS, a node for each segment; others: LPS, as
    Slicer has it). "" is labelmap of a segment and seg.nrrd of all. ``segment``: id or name, "" for all.

    Raises NotFound, InvalidRequest.
    """

    pattern: str = "vtkMRMLSegmentationNode*"
    segment: str = ""
    format: str = ""
    known: str = ""
