"""Files made to harm: what other readers would see in them, counts that lie, cells that lead out of their mesh."""

from __future__ import annotations

import bz2
import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from microtome.errors import CorruptData, LimitExceeded, MicrotomeError, UnsupportedFormat
from microtome.scene.answers import at_once
from microtome.scene.calls.files import LoadFile

NRRD = (
    b"NRRD0004\ntype: uchar\ndimension: 3\nspace: left-posterior-superior\nsizes: 3 3 3\n"
    b"space directions: (1,0,0) (0,1,0) (0,0,1)\nkinds: domain domain domain\nencoding: raw\nspace origin: (0,0,0)\n"
)
PLY = b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
FACES = b"element face 1\nproperty list uchar int vertex_indices\nend_header\n"
VTP = (
    b'<VTKFile type="PolyData" version="1.0" byte_order="LittleEndian"><PolyData><Piece NumberOfPoints="3"'
    b' NumberOfPolys="1"><Points><DataArray type="Float32" NumberOfComponents="3" format="ascii">0 0 0 1 0 0 0 1 0'
    b'</DataArray></Points><Polys><DataArray type="Int64" Name="connectivity" format="ascii">%s</DataArray>'
    b'<DataArray type="Int64" Name="offsets" format="ascii">%s</DataArray></Polys></Piece></PolyData></VTKFile>'
)
VTK = b"# vtk DataFile Version 3.0\nx\nASCII\nDATASET POLYDATA"


def load(application: Any, path: Path, file_type: str = "") -> list[Any]:
    from microtome.scene.mrml.files.load import load_file

    found = at_once(load_file(application, LoadFile(path=str(path), file_type=file_type)))
    return [application.scene.GetNodeByID(each) for each in found.ids]


def given(folder: Path, name: str, data: bytes) -> Path:
    """A file as it is uploaded: alone in a folder of the scene's."""
    path = folder / "upload-1" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def secret(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The path of a file that nobody may read."""
    path = tmp_path_factory.mktemp("outside") / "secret.raw"
    path.write_bytes(bytes(range(1, 28)))
    return str(path).encode()


@pytest.mark.parametrize(
    "smuggled",
    [
        lambda outside: NRRD + b"# x\rdata file: " + outside + b"\n\n" + bytes(27),
        lambda outside: NRRD + b"content: x\rdata file: " + outside + b"\n\n" + bytes(27),
        lambda outside: NRRD + b"key:=x\rdata file: " + outside + b"\n\n" + bytes(27),
        lambda outside: NRRD.replace(b"NRRD0004", b"NRRD0004\rdata file: " + outside) + b"\n" + bytes(27),
        lambda outside: NRRD + b" \t\ndata file: " + outside + b"\n\n" + bytes(27),
        lambda outside: NRRD + b"\f\ndata file: " + outside + b"\n\n" + bytes(27),
        lambda outside: NRRD + b"content: x\0\ndata file: " + outside + b"\n\n" + bytes(27),
        lambda outside: NRRD + b"data file: LISTS\n" + outside + b"\n",
    ],
)
@pytest.mark.parametrize("name", ["x.seg.nrrd", "x.nrrd"])
def test_a_header_names_no_file_that_only_another_reader_would_see(
    application: Any,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    smuggled: Callable[[bytes], bytes],
    name: str,
) -> None:
    nodes = application.scene.GetNumberOfNodes()
    with pytest.raises(MicrotomeError):
        load(application, given(tmp_path, name, smuggled(secret(tmp_path_factory))))
    assert application.scene.GetNumberOfNodes() == nodes


def test_lines_may_end_as_windows_ends_them(application: Any, tmp_path: Path) -> None:
    data = (NRRD + b"\n").replace(b"\n", b"\r\n") + bytes(26) + b"\1"
    (node,) = load(application, given(tmp_path, "x.seg.nrrd", data))
    assert node.IsA("vtkMRMLSegmentationNode")


@pytest.mark.parametrize(
    "line",
    ["Comment = x\rElementDataFile = {}", "Comment = x\0", "DimSize = 9999 9999 9999", "ElementDataFile = {}"],
)
def test_a_metaimage_is_what_it_says_once(
    application: Any, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, line: str
) -> None:
    head = f"ObjectType = Image\nNDims = 3\n{line.format(secret(tmp_path_factory).decode())}\nDimSize = 3 3 3\n"
    data = f"{head}ElementType = MET_UCHAR\nElementDataFile = LOCAL\n".encode() + bytes(27)
    with pytest.raises(MicrotomeError):
        load(application, given(tmp_path, "x.mha", data))


@pytest.mark.parametrize(
    ("line", "data"),
    [
        (b"encoding: gzip\nbyte skip: 4611686018427387904\n", gzip.compress(bytes(1 << 20))),
        (b"encoding: gzip\nbyte skip: 100000000\n", gzip.compress(bytes(101 << 20), 1)),
        (b"encoding: bz2\nbyte skip: 100000000\n", bz2.compress(bytes(101 << 20))),
        (b"encoding: raw\nbyte skip: 9223372036854775807\n", b"abc"),
        (b"encoding: raw\nbyte skip: 99999999999999999999999\n", b"abc"),
        (b"encoding: raw\nbyte skip: -2\n", b"abc"),
    ],
)
def test_nothing_is_unpacked_to_be_skipped(application: Any, tmp_path: Path, line: bytes, data: bytes) -> None:
    head = b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 1 1 1\n" + line
    with pytest.raises((CorruptData, UnsupportedFormat)):
        load(application, given(tmp_path, "x.nrrd", head + b"\n" + data))


@pytest.mark.parametrize(
    "keys",
    [
        b"Segment0_ID:=a\nSegment0_Extent:=0 2000000000 0 2000000000 0 2000000000\n",
        b"Segment0_ID:=a\nSegment0_Extent:=-1000000 2 0 2 0 2\n",
        b"Segment12_Extent:=0 2 0 2 0\n",
        b"Segment0_Extent:=a b c d e f\n",
        b"Segmentation_ReferenceImageExtentOffset:=2000000000 0 0\n",
    ],
)
def test_segments_lie_in_their_volume(application: Any, tmp_path: Path, keys: bytes) -> None:
    with pytest.raises(CorruptData):
        load(application, given(tmp_path, "x.seg.nrrd", NRRD + keys + b"\n" + bytes(27)))


def test_a_sequence_has_an_end(application: Any, tmp_path: Path) -> None:
    head = (
        b"NRRD0004\ntype: uchar\ndimension: 4\nspace: left-posterior-superior\nsizes: 1 1 1 %d\nencoding: raw\n"
        b"space directions: (1,0,0) (0,1,0) (0,0,1) none\nkinds: domain domain domain list\nspace origin: (0,0,0)\n\n"
    )
    with pytest.raises(LimitExceeded):
        load(application, given(tmp_path, "x.nrrd", head % 20000 + bytes(20000)), "SequenceFile")


def binary_ply(kind: bytes, count: bytes, corners: list[int], more: bytes = b"") -> bytes:
    head = (PLY + b"element face 1\nproperty list %s int vertex_indices\nend_header\n" % kind).replace(
        b"ascii", b"binary_little_endian"
    )
    return head + bytes(36) + count + struct.pack(f"<{len(corners)}i", *corners) + more


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.ply", PLY + FACES + b"0 0 0\n1 0 0\n0 1 0\n3 0 99999 2\n"),
        ("x.ply", PLY + FACES + b"0 0 0\n1 0 0\n0 1 0\n3 0 1 -4\n"),
        ("x.ply", PLY + FACES + b"0 0 0\n1 0 0\n0 1 0\n99999 0 1 2\n"),
        ("x.ply", PLY + FACES + b"0 0 0\n1 0 0\n"),
        ("x.ply", PLY + FACES + b"0 0 0\n1 0 0\n0 1 x\n3 0 1 2\n"),
        ("x.ply", PLY.replace(b"float x", b"list int float x") + b"end_header\n2000000000 0 0\n"),
        ("x.ply", PLY + b"element face 1\nproperty int vertex_indices\nend_header\n0 0 0 1 1 1 2 2 2 5"),
        ("x.ply", PLY.replace(b"element v", b"comment " + b"x" * 70000 + b"\nelement v").replace(b" 3\n", b" 999999\n")
         + b"end_header\n0 0 0\n"),
        ("x.ply", binary_ply(b"uint", struct.pack("<I", 0x7FFFFFFF), [0, 1, 2])),
        ("x.ply", binary_ply(b"int", struct.pack("<i", -3), [0, 1, 2])),
        ("x.ply", binary_ply(b"uchar", b"\3", [0, 1, 3])),
        ("x.ply", binary_ply(b"uchar", b"\3", [0, 1])),
        ("x.vtp", VTP % (b"0 1 99999999", b"3")),
        ("x.vtp", VTP % (b"0 1 -2", b"3")),
        ("x.vtp", VTP % (b"0 1 2", b"4000000000")),
        ("x.vtp", VTP % (b"0 1 2", b"-3")),
        ("x.vtp", (VTP % (b"0 1 2" + b" " * 2000, b"3")).replace(b'"3" format', b'"2000000" format').replace(
            b'Points="3"', b'Points="2000000"')),
        ("x.vtk", VTK + b"\nPOINTS 1 float\n0 0 0\nPOLYGONS 1 4\n3 0 1000000 -5\n"),
        ("x.vtk", VTK + b"\nPOINTS 1 float\n0 0 0\nVERTICES 1 2\n1 7\n"),
        ("x.vtk", VTK + b"\npoints 4000000000 float\n"),
        ("x.vtk", VTK + b" POINTS 4000000000 float\n"),
        ("x.vtk", VTK + b"\nPOINTS\n4000000000 float\n"),
        ("x.vtk", VTK.replace(b"POLYDATA", b"UNSTRUCTURED_GRID") + b"\nPOINTS 1 float\n0 0 0\nCELLS 1 3\n2 0 9\n"
         b"CELL_TYPES 1\n3\n"),
        ("x.obj", b"mtllib /etc/passwd\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 999999999\n"),
    ],
)  # fmt: skip
def test_meshes_hold_what_they_tell(application: Any, tmp_path: Path, name: str, data: bytes) -> None:
    nodes = application.scene.GetNumberOfNodes()
    with pytest.raises(CorruptData):
        load(application, given(tmp_path, name, data))
    assert application.scene.GetNumberOfNodes() == nodes


@pytest.mark.parametrize(
    ("name", "data", "cells"),
    [
        ("x.ply", PLY + FACES + b"0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", 1),
        ("x.ply", PLY.replace(b"element", b"comment a\nobj_info b\nelement") + b"end_header\n0 0 0 1 0 0 0 1 0\n", 0),
        ("x.ply", binary_ply(b"uchar", b"\3", [0, 1, 2]), 1),
        ("x.ply", binary_ply(b"uchar", b"\3", [0, 1, 2], b"\4" + struct.pack("<4i", 0, 1, 2, 0)).replace(
            b"face 1", b"face 2"), 2),
        ("x.vtp", VTP % (b"0 1 2", b"3"), 1),
        ("x.obj", b"mtllib /etc/passwd\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", 1),
    ],
)  # fmt: skip
def test_meshes_that_do_are_read(application: Any, tmp_path: Path, name: str, data: bytes, cells: int) -> None:
    (node,) = load(application, given(tmp_path, name, data))
    assert node.GetMesh().GetNumberOfPoints() == 3
    assert node.GetMesh().GetNumberOfCells() == cells


def gltf(**more: Any) -> bytes:
    return json.dumps({"asset": {"version": "2.0"}, **more}).encode()


@pytest.mark.parametrize(
    "data",
    [
        gltf(scenes=[{"nodes": [0]}], nodes=[*({"children": [n + 1, n + 1]} for n in range(60)), {}]),
        gltf(scenes=[{"nodes": [0]}], nodes=[{"children": [0]}]),
        gltf(nodes=[{"children": [1]}, {}]),
        b"[" * 100_000,
    ],
)
def test_nodes_of_gltf_are_trees(application: Any, tmp_path: Path, data: bytes) -> None:
    with pytest.raises(CorruptData):
        load(application, given(tmp_path, "x.gltf", data))


def test_a_mesh_shown_at_many_places_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import base64

    from microtome.scene.meshes import glb

    monkeypatch.setattr(glb, "MAX_POINTS", 100)
    buffer = "data:application/octet-stream;base64," + base64.b64encode(bytes(36)).decode()
    shape = {
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "type": "VEC3", "count": 3}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "buffers": [{"uri": buffer, "byteLength": 36}],
    }
    assert len(glb.read(gltf(nodes=[{"mesh": 0}] * 25, **shape)).points) == 75
    with pytest.raises(UnsupportedFormat):
        glb.read(gltf(nodes=[{"mesh": 0}] * 26, **shape))


def scene(body: bytes) -> bytes:
    return b'<MRML version="Slicer5.13" userTags="">' + body + b"</MRML>"


@pytest.mark.parametrize(
    "body",
    [
        b'<ColorTable id="vtkMRMLColorTableNode77" name="c" type="14" numcolors="900000000" colors="0 \'a\' 0 0 0 1"/>',
        b'<ColorTable id="vtkMRMLColorTableNode77" name="c" type="14" numcolors=" 0x7fffffff"/>',
        b'<VolumeProperty id="vtkMRMLVolumePropertyNode1" name="p" scalarOpacity="900000000 0 0 1 1"/>',
        b'<VolumeProperty id="vtkMRMLVolumePropertyNode1" name="p" colorTransfer="-4 0 0 1 1"/>',
        b'<Slice id="vtkMRMLSliceNodeRed" name="Red" layoutName="Red" singletonTag="Red" dimensions="90000000 2 1"/>',
        b'<Slice id="vtkMRMLSliceNodeRed" name="Red" layoutName="Red" singletonTag="Red" fieldOfView="nan 1 1"/>',
        b'<Slice id="vtkMRMLSliceNodeRed" name="Red" layoutName="Red" singletonTag="Red" layoutGridRows="100000"/>',
        b'<View id="vtkMRMLViewNode1" singletonTag="1" layoutName="1" fieldOfView="1e308"/>',
    ],
)
def test_numbers_in_scenes_are_bearable(application: Any, tmp_path: Path, body: bytes) -> None:
    from microtome.scene.mrml.files.load import load_file

    path = given(tmp_path, "x.mrml", scene(body))
    found = at_once(load_file(application, LoadFile(path=str(path), file_type="SceneFile")))
    assert any("passed over" in message for message in found.messages)


def test_transforms_below_each_other_are_no_circle(application: Any, tmp_path: Path) -> None:
    body = b"".join(
        b'<LinearTransform id="vtkMRMLLinearTransformNode%d" references="transform:vtkMRMLLinearTransformNode%d;"/>'
        % pair
        for pair in ((11, 11), (12, 13), (13, 12))
    )
    load(application, given(tmp_path, "x.mrml", scene(body)), "SceneFile")
    for number in (11, 12, 13):
        node = application.scene.GetNodeByID(f"vtkMRMLLinearTransformNode{number}")
        steps = 0
        while node is not None and steps < 5:
            node, steps = node.GetParentTransformNode(), steps + 1
        assert steps < 5


@pytest.mark.parametrize(
    "body",
    [
        b"<LinearTransform/>" * 20000,
        b'<TableStorage id="vtkMRMLTableStorageNode1" name="s" schemaFileName="/etc/passwd"/>',
        b'<SceneViewStorage id="vtkMRMLSceneViewStorageNode1" name="s" fileName="x.tif"/>',
        b'<SceneViewStorage id="vtkMRMLSceneViewStorageNode1" name="s" fileName="large.png"/>',
        b'<TransformStorage id="vtkMRMLTransformStorageNode1" name="s" fileName="late.tfm"/>',
    ],
)
def test_scenes_and_what_they_name_have_an_end(application: Any, tmp_path: Path, body: bytes) -> None:
    path = given(tmp_path, "x.mrml", scene(body))
    (path.parent / "x.tif").write_bytes(b"II*\0" + bytes(100))
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">IIBBBBB", 60000, 60000, 16, 6, 0, 0, 0)
    (path.parent / "large.png").write_bytes(head + bytes(100))
    (path.parent / "late.tfm").write_bytes(
        b"#Insight Transform File V1.0\n" + b"#" * 5000 + b"\nTransform: BSplineTransform_double_3_3\nParameters: 0\n"
        b"FixedParameters: 100000 100000 100000 0 0 0 1 1 1 1 0 0 0 1 0 0 0 1\n"
    )
    with pytest.raises(MicrotomeError):
        load(application, path, "SceneFile")


def markups(**change: Any) -> bytes:
    point = {"id": "1", "label": "x", "position": [1, 2, 3]}
    plain = {"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": [point], "display": {"visibility": True}}
    address = "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    return json.dumps({"@schema": f"{address}markups-schema-v1.0.3.json#", "markups": [{**plain, **change}]}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b'{"@schema": "x", "markups": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"@schema": "x", "markups": ["x"]}',
        b'{"@schema": "x", "markups": {}}',
        b'{"@schema": "x", "markups": [{"type": NaN}]}',
        b"[" * 100_000,
        markups(type=5),
        markups(controlPoints={}),
        markups(controlPoints=["x"]),
        markups(controlPoints=[{"position": "x"}]),
        markups(controlPoints=[{"position": [1, 2]}]),
        markups(controlPoints=[{"orientation": [[]]}]),
        markups(display=[]),
        markups(display={"color": [1]}),
        markups(measurements=5),
        markups(locked="x"),
    ],
)
def test_markups_are_what_their_schema_says(application: Any, tmp_path: Path, data: bytes) -> None:
    with pytest.raises(CorruptData):
        load(application, given(tmp_path, "x.mrk.json", data))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.fcsv", b"# columns = id,x,y,z\n" + b"1,1,2,3\n" * 10_001),
        ("x.mrk.json", markups(controlPoints=[{"position": [1, 2, 3]}] * 10_001)),
        ("x.mrk.json", json.dumps({"markups": [{"type": "Fiducial"}] * 1_001}).encode()),
    ],
)
def test_markups_without_end(application: Any, tmp_path: Path, name: str, data: bytes) -> None:
    with pytest.raises(LimitExceeded):
        load(application, given(tmp_path, name, data))


def test_points_of_markups_are_known_by_their_ending(application: Any, tmp_path: Path) -> None:
    with pytest.raises(CorruptData, match=r"x\.txt"):
        load(application, given(tmp_path, "x.txt", b"# columns = id,x,y,z\n1,1,2,3\n"), "MarkupsFile")
