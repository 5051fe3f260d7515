"""What is done with a file before it is given to MRML's own readers, which believe what headers tell.

Counts in a header may not be larger than the file can hold: memory is taken for them. Nothing here touches a scene: it
is done outside of the scene's thread.
"""

from __future__ import annotations

import math
import re
import struct
from pathlib import Path

import orjson

from microtome.errors import CorruptData, UnsupportedFormat
from microtome.pixels.headers import image_size
from microtome.scene.images import Limits, check_image, describe
from microtome.scene.images.packing import unpack_nrrd
from microtome.scene.meshes import ply
from microtome.scene.mrml.files.schema import check_markups, check_points
from microtome.scene.mrml.files.transforms import check_stated
from microtome.scene.places import ending_of

MAX_TEXT = 64 << 20
MAX_MESH = 2 << 30
MAX_COLORS = 1 << 20
_LEGACY = re.compile(
    rb"(?<!\S)(?:POINTS|VERTICES|LINES|POLYGONS|TRIANGLE_STRIPS|CELLS|CELL_TYPES|POINT_DATA|CELL_DATA|DIMENSIONS|FIELD"
    rb"|OFFSETS|CONNECTIVITY|LOOKUP_TABLE|[XYZ]_COORDINATES)\s+((?:-?[0-9]+\s+){1,6})",
    re.IGNORECASE,
)
_DIMENSIONS = re.compile(rb"(?<!\S)DIMENSIONS\s+((?:-?[0-9]+\s+){1,6})", re.IGNORECASE)
_ARRAY = re.compile(rb"^[A-Za-z_][^ \r\n]{0,80}[ \t]+([0-9]+)[ \t]+([0-9]+)[ \t]+[a-z_]{3,20}[ \t]*\r?$", re.MULTILINE)
_COUNT = re.compile(rb"(?:NumberOf[A-Za-z]+|offset|Extent|Dimensions)\s*=\s*[\"']([^\"']*)[\"']")
_NUMBER = re.compile(rb"-?[0-9]+")
_TEXTS = {
    *(".json", ".mrk.json", ".vp.json", ".vp", ".fcsv", ".acsv", ".ctbl", ".cxml", ".txt", ".csv", ".schema.csv"),
    *(".tsv", ".xml", ".html", ".htm", ".md", ".tfm", ".mat"),
}
_TRANSFORMS = {".tfm", ".txt", ".mat"}
_PICTURE_HEAD = 1 << 20
_MESHES = {".vtk", ".vtp", ".vtu", ".stl", ".ply", ".obj", ".glb", ".gltf"}
_DEFLATED = 1100
_BYTES = 8
"""Of the largest numbers."""


def check_mesh(path: Path) -> None:
    """Raises CorruptData, UnsupportedFormat."""
    size = path.stat().st_size
    if size > MAX_MESH:
        raise UnsupportedFormat("Meshes of more than 2 GiB are not read", feature="mesh")
    match ending_of(path.name):
        case ".vtk":
            data = path.read_bytes()
            counts = [number for found in _LEGACY.finditer(data) for number in _integers(found[1])]
            arrays = [int(found[1][:20]) * int(found[2][:20]) for found in _ARRAY.finditer(data)]
            arrays += [math.prod(_integers(found[1])[:3]) for found in _DIMENSIONS.finditer(data)]
            _promised(max([0, *counts, *arrays]), size)
            if any(number < 0 for number in counts):
                raise CorruptData("The mesh tells a negative count")
        case ".stl":
            _check_stl(path, size)
        case ".ply":
            ply.check(path)
        case ".vtp" | ".vtu":
            data = path.read_bytes()
            _check_xml(data)
            counts = [number for found in _COUNT.finditer(data) for number in _integers(found[1])]
            _promised(max([0, *counts]), size * _DEFLATED)
        case ending if ending not in _MESHES:
            raise UnsupportedFormat(f"Models are read from {', '.join(sorted(_MESHES))}", feature="mesh")
        case _:
            return


def _check_stl(path: Path, size: int) -> None:
    with path.open("rb") as file:
        head = file.read(84)
    if len(head) < 15:
        raise CorruptData("The mesh is cut off")
    if head[:5].lower() != b"solid" or (len(head) == 84 and b"\0" in head):
        (count,) = struct.unpack_from("<I", head.ljust(84, b"\0"), 80)
        if 84 + 50 * count > size:
            raise CorruptData(f"The mesh promises {count} triangles and the file has {size} bytes")


def _promised(count: int, size: int) -> None:
    if count > size:
        raise CorruptData(f"The mesh promises {count} numbers and the file has room for {size} at most")


def _integers(text: bytes) -> list[int]:
    return [int(number[:20]) for number in _NUMBER.findall(text)]


def _check_xml(data: bytes) -> None:
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise CorruptData("XML with entities is not read")


def check_json(path: Path) -> None:
    """JSON that is JSON and not deep, or text of a bearable size.

    Raises CorruptData, UnsupportedFormat, LimitExceeded.
    """
    check_table(path)
    if path.suffix.lower() == ".fcsv":
        check_points(sum(not line.startswith(b"#") for line in path.read_bytes().splitlines()))
    if path.suffix.lower() == ".json":
        try:
            found: object = orjson.loads(path.read_bytes())
        except ValueError as error:
            raise CorruptData(f"Failed to load node from file: {path.name}. It is no JSON") from error
        check_markups(found)


def check_table(path: Path) -> None:
    """Raises UnsupportedFormat for more than 64 MiB, CorruptData for colours without end."""
    if path.stat().st_size > MAX_TEXT:
        raise UnsupportedFormat("Files of text of more than 64 MiB are not read", feature="text")
    if ending_of(path.name) in {".ctbl", ".cxml"}:
        for line in path.read_bytes().splitlines():
            first = line.split(maxsplit=1)[:1]
            if first and _NUMBER.fullmatch(first[0]) and not 0 <= int(first[0][:20]) < MAX_COLORS:
                raise CorruptData(f"The colour table numbers its colours up to {int(first[0][:20])}")


def check_segmentation(path: Path, limits: Limits) -> None:
    """Raises CorruptData, UnsupportedFormat, LimitExceeded."""
    if describe(path):
        check_image(path, limits)
    elif ending_of(path.name) in _MESHES:
        check_mesh(path)
    else:
        raise UnsupportedFormat("Segmentations are read from labelmaps (.seg.nrrd, .nrrd, .nii.gz, .mha) and meshes")


def unpacked(path: Path, folder: Path, limits: Limits) -> Path:
    """The file, or a copy in ``folder`` that is not compressed: MRML's readers hold everybody up while they unpack.

    Raises CorruptData.
    """
    into = folder / path.name
    return into if unpack_nrrd(path, into, limits.voxels * _BYTES) else path


def check_transform(path: Path, limits: Limits) -> None:
    """Raises CorruptData, UnsupportedFormat, LimitExceeded."""
    if describe(path):
        check_image(path, limits)
        return
    if path.stat().st_size > MAX_TEXT * 8:
        raise UnsupportedFormat("Transforms of more than 512 MiB are not read", feature="transform")
    if ending_of(path.name) != ".h5":
        check_table(path)
    check_stated(path)


def check_any(path: Path, limits: Limits) -> None:
    """What a scene names: whatever it is. Raises CorruptData, UnsupportedFormat, LimitExceeded."""
    ending = ending_of(path.name)
    if describe(path):
        check_image(path, limits)
    elif ending in {".vtm", ".seg.vtm"}:
        raise UnsupportedFormat("Meshes that name files of their own (.vtm) are not read", feature=".vtm")
    elif ending in _MESHES:
        check_mesh(path)
    elif ending == ".h5" or (ending in _TRANSFORMS and b"Transform" in path.read_bytes()):
        check_transform(path, limits)
    elif ending in {".png", ".jpg", ".jpeg"}:
        _check_picture(path, limits)
    elif ending in _TEXTS:
        check_json(path)
    else:
        raise UnsupportedFormat("Files of this kind are not read", feature=ending[:20])


def _check_picture(path: Path, limits: Limits) -> None:
    """Pictures of scene views: ITK takes memory for what their headers tell."""
    found = image_size(
        path.read_bytes()[:_PICTURE_HEAD], "image/png" if ending_of(path.name) == ".png" else "image/jpeg"
    )
    if found is None or found.width * found.height * 4 > limits.voxels:
        raise CorruptData("The picture is too large, or none")
