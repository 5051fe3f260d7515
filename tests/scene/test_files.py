"""Files of every kind into a scene and out of it; those that lie or reach out of their place are refused."""

from __future__ import annotations

import io
import json
import stat
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microtome.errors import (
    CorruptData,
    Forbidden,
    InvalidRequest,
    LimitExceeded,
    MicrotomeError,
    NotFound,
    UnsupportedFormat,
)
from microtome.scene.answers import at_once
from microtome.scene.calls.base import Nodes
from microtome.scene.calls.files import LoadFile, SaveNode, SaveScene
from microtome.scene.images import Image, writing

STL = (
    b"solid x\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 9 0 0\nvertex 0 9 0\nendloop\nendfacet\nendsolid\n"
)
MARKUPS = {
    "@schema": "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#",
    "markups": [
        {"type": "Fiducial", "coordinateSystem": "LPS",
         "controlPoints": [{"id": "1", "label": "a", "position": [1, 2, 3], "positionStatus": "defined"}]},
        {"type": "Line", "coordinateSystem": "LPS",
         "controlPoints": [{"id": "1", "label": "b", "position": [0, 0, 0]}, {"id": "2", "position": [3, 4, 0]}]},
    ],
}  # fmt: skip
SCENE = '<MRML version="Slicer4.4.0">\n{body}</MRML>\n'
STORAGE = '<ModelStorage id="vtkMRMLModelStorageNode1" fileName="{name}"></ModelStorage>\n'
MODEL = '<Model id="vtkMRMLModelNode1" name="part" storageNodeRef="vtkMRMLModelStorageNode1"></Model>\n'


def load(application: Any, path: Path, file_type: str = "", **properties: str) -> list[Any]:
    from microtome.scene.mrml.files.load import load_file

    found = at_once(load_file(application, LoadFile(path=str(path), file_type=file_type, properties=properties)))
    assert all(str(path.parent) not in message for message in found.messages)
    return [application.scene.GetNodeByID(each) for each in found.ids]


def save(application: Any, node: Any, name: str, **properties: str) -> Path:
    from microtome.scene.mrml.files.save import save_node

    call = SaveNode(nodes=Nodes(id=node.GetID()), file_name=name, properties=properties)
    return Path(at_once(save_node(application, call)).path)


def volume(path: Path, array: np.ndarray[Any, Any]) -> Path:
    with path.open("wb") as file:
        writing.write(file, Image(array, np.diag([-2.0, -3.0, 4.0, 1.0])))
    return path


@pytest.fixture
def counting() -> np.ndarray[Any, Any]:
    return np.arange(60, dtype=np.int16).reshape(3, 4, 5)


def test_properties_of_volumes(application: Any, tmp_path: Path, counting: np.ndarray[Any, Any]) -> None:
    path = volume(tmp_path / "a.nrrd", counting)
    (plain,) = load(application, path)
    assert plain.GetName() == "a"
    assert application.logic.GetSelectionNode().GetActiveVolumeID() == plain.GetID()
    (label,) = load(application, path, labelmap="true", show="false")
    assert label.GetClassName() == "vtkMRMLLabelMapVolumeNode"
    assert application.logic.GetSelectionNode().GetActiveLabelVolumeID() is None
    (centered,) = load(application, path, center="1")
    bounds = [0.0] * 6
    centered.GetRASBounds(bounds)
    assert np.allclose(np.add(bounds[::2], bounds[1::2]), 0)
    (unturned,) = load(application, path, discardOrientation="True")
    assert unturned.GetOrigin() == (0, 0, 0)
    assert [plain.GetName(), label.GetName(), centered.GetName()] == ["a", "a_1", "a_2"]


def test_an_upload_leaves_no_path_behind(application: Any, tmp_path: Path, counting: np.ndarray[Any, Any]) -> None:
    """Its file is gone afterwards, and properties of nodes are told to clients."""
    load(application, volume(tmp_path / "a.nrrd", counting))
    (tmp_path / "b.stl").write_bytes(STL)
    load(application, tmp_path / "b.stl")
    scene = application.scene
    text = "".join(str(scene.GetNthNode(index)) for index in range(scene.GetNumberOfNodes()))
    assert "a.nrrd" not in text
    assert "b.stl" not in text


def test_volumes_over_time(application: Any, tmp_path: Path) -> None:
    import nibabel

    array = np.arange(48, dtype=np.int16).reshape(2, 2, 3, 4)
    nibabel.save(nibabel.Nifti1Image(array.T, np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(UnsupportedFormat, match="SequenceFile"):
        load(application, tmp_path / "a.nii")
    sequence, browser, proxy = load(application, tmp_path / "a.nii", "SequenceFile")
    assert sequence.GetNumberOfDataNodes() == 2
    assert browser.GetMasterSequenceNode() is sequence
    assert proxy.GetImageData().GetDimensions() == (4, 3, 2)


def test_markups_of_one_file(application: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.mrk.json"
    path.write_text(json.dumps(MARKUPS))
    points, line = load(application, path)
    assert tuple(points.GetNthControlPointPosition(0)) == (-1, -2, 3)
    assert line.GetMeasurement("length").GetValue() == pytest.approx(5)
    again = load(application, save(application, points, "n.mrk.json"))[0]
    assert tuple(again.GetNthControlPointPosition(0)) == (-1, -2, 3)


def test_tables_text_colors_and_transfer_functions(application: Any, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,mm\na,1.5\nb,2\n")
    (table,) = load(application, tmp_path / "t.csv")
    assert (table.GetNumberOfRows(), table.GetNumberOfColumns()) == (2, 2)
    assert save(application, table, "u.tsv").read_text().splitlines()[1].replace('"', "") == "a\t1.5"
    (tmp_path / "t.txt").write_text("Grüße")
    (text,) = load(application, tmp_path / "t.txt", "TextFile")
    assert text.GetText() == "Grüße"
    (tmp_path / "c.ctbl").write_text("0 none 0 0 0 0\n1 bone 255 250 220 255\n")
    (colors,) = load(application, tmp_path / "c.ctbl")
    assert "1 bone 255 250 220 255" in save(application, colors, ".ctbl").read_text()
    node = application.scene.AddNewNodeByClass("vtkMRMLVolumePropertyNode", "p")
    node.GetScalarOpacity().AddPoint(100, 0.5)
    for ending in (".vp.json", ".vp"):
        (again,) = load(application, save(application, node, ending))
        assert again.GetScalarOpacity().GetValue(100) == pytest.approx(0.5)


def test_models_of_every_kind(application: Any, tmp_path: Path) -> None:
    (tmp_path / "a.stl").write_bytes(STL)
    (model,) = load(application, tmp_path / "a.stl")
    assert model.GetPolyData().GetBounds() == (-9, 0, -9, 0, 0, 0)  # LPS in the file, RAS in the scene
    for ending in (".stl", ".ply", ".obj", ".vtk", ".vtp", ".glb"):
        (again,) = load(application, save(application, model, f"b{ending}"))
        assert np.allclose(again.GetPolyData().GetBounds(), model.GetPolyData().GetBounds()), ending
    (right,) = load(application, tmp_path / "a.stl", coordinateSystem="RAS")
    assert right.GetPolyData().GetBounds() == (0, 9, 0, 9, 0, 0)
    with pytest.raises(InvalidRequest, match="no known file format was found"):
        save(application, model, "b.nrrd")


def test_transforms_are_applied_to_what_is_written(application: Any, tmp_path: Path) -> None:
    from microtome.scene.mrml.files.save import save_node

    (tmp_path / "a.stl").write_bytes(STL)
    (model,) = load(application, tmp_path / "a.stl")
    (tmp_path / "t.txt").write_text(
        "#Insight Transform File V1.0\nTransform: AffineTransform_double_3_3\n"
        "Parameters: 1 0 0 0 1 0 0 0 1 0 0 -100\nFixedParameters: 0 0 0\n"
    )
    (transform,) = load(application, tmp_path / "t.txt", "TransformFile")
    model.SetAndObserveTransformNodeID(transform.GetID())
    count = application.scene.GetNumberOfNodes()
    call = SaveNode(nodes=Nodes(id=model.GetID()), file_name="b.stl", apply_transforms=True)
    (moved,) = load(application, Path(at_once(save_node(application, call)).path), show="false")
    assert moved.GetPolyData().GetBounds()[4:] == (100, 100)
    assert model.GetPolyData().GetBounds()[4:] == (0, 0)
    assert application.scene.GetNumberOfNodes() == count + 2  # the model that was loaded, and its display


@pytest.mark.parametrize("ending", [".h5", ".tfm", ".txt", ".mat"])
def test_transforms_of_every_kind(application: Any, tmp_path: Path, ending: str) -> None:
    from microtome.scene.mrml.arrays import matrix_of

    (tmp_path / "t.tfm").write_text(
        "#Insight Transform File V1.0\nTransform: AffineTransform_double_3_3\n"
        "Parameters: 0 1 0 -1 0 0 0 0 1 10 20 30\nFixedParameters: 0 0 0\n"
    )
    (transform,) = load(application, tmp_path / "t.tfm")
    (again,) = load(application, save(application, transform, f"a{ending}"), "TransformFile")
    before, after = (matrix_of(each.GetMatrixTransformToParent()) for each in (transform, again))
    assert np.allclose(before, after)
    assert not np.allclose(before, np.eye(4))


def test_segments_of_a_labelmap(application: Any, tmp_path: Path) -> None:
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1:3, 1:3, 1:3] = 1
    labels[3, 4, 5] = 7
    (node,) = load(application, volume(tmp_path / "l.nrrd", labels), "SegmentationFile")
    segmentation = node.GetSegmentation()
    assert [segmentation.GetNthSegment(index).GetLabelValue() for index in range(2)] == [1, 7]
    segmentation.GetNthSegment(0).SetName("cube")
    segmentation.GetNthSegment(0).SetColor(0.1, 0.2, 0.3)
    (again,) = load(application, save(application, node, "m.seg.nrrd"))
    first = again.GetSegmentation().GetNthSegment(0)
    assert first.GetName() == "cube"
    assert first.GetColor() == pytest.approx((0.1, 0.2, 0.3))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.vtk", b"# vtk DataFile Version 3.0\nx\nASCII\nDATASET POLYDATA\nPOINTS 99999999999 float\n0 0 0\n"),
        ("a.vtk", b"# vtk DataFile Version 5.1\nx\nBINARY\nDATASET POLYDATA\nPOINTS -4 float\n"),
        ("a.vtk", b"# vtk DataFile Version 3.0\nx\nASCII\nDATASET STRUCTURED_POINTS\nDIMENSIONS 9999999 9999999 9\n"),
        ("a.stl", b"\0" * 80 + struct.pack("<I", 2**31) + b"\0" * 50),
        ("a.ply", b"ply\nformat ascii 1.0\nelement vertex 9999999999\nproperty float x\nend_header\n"),
        ("a.vtp", b'<VTKFile type="PolyData"><PolyData><Piece NumberOfPoints="99999999999999"/></PolyData></VTKFile>'),
        ("a.vtp", b'<!DOCTYPE x [<!ENTITY a "b">]><VTKFile type="PolyData"><PolyData>&a;</PolyData></VTKFile>'),
        ("a.glb", b"glTF" + struct.pack("<IIII", 2, 999, 999, 0x4E4F534A) + b"{}"),
        ("a.gltf", b'{"asset":{"version":"2.0"},"scenes":[{"nodes":[0]}],"nodes":[{"children":[0]}]}'),
        ("a.gltf", b'{"nodes":[{"mesh":0}],"meshes":[{"primitives":[{"attributes":{"POSITION":0}}]}],"buffers":[{}],'
         b'"accessors":[{"bufferView":0,"componentType":5126,"type":"VEC3","count":99999999999}],'
         b'"bufferViews":[{"buffer":0,"byteLength":4}]}'),
        ("a.ctbl", b"99999999999 huge 1 2 3 4\n"),
        ("a.mrk.json", b"[" * 100000),
        ("a.mrk.json", b'{"markups": 5}'),
        ("a.tfm", b"#Insight Transform File V1.0\nTransform: BSplineTransform_double_3_3\nParameters: 1 2 3\n"
         b"FixedParameters: 99999 99999 99999 0 0 0 1 1 1 1 0 0 0 1 0 0 0 1\n"),
        ("a.tfm", b"no transform at all"),
        ("a.seg.nrrd", b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 9999 9999 9999\nencoding: raw\n\n123"),
        ("a.nrrd", b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 99 99 99\nencoding: gzip\n\n123"),
    ],
)  # fmt: skip
def test_files_that_lie_are_refused(application: Any, tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    count = application.scene.GetNumberOfNodes()
    with pytest.raises(MicrotomeError) as caught:
        load(application, tmp_path / name)
    assert not isinstance(caught.value, InvalidRequest)
    assert str(tmp_path) not in caught.value.message
    assert application.scene.GetNumberOfNodes() == count


def bundle(path: Path, files: Mapping[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def test_a_bundle_and_back(application: Any, tmp_path: Path, counting: np.ndarray[Any, Any]) -> None:
    from microtome.scene.mrml.files.bundle import save_scene

    load(application, volume(tmp_path / "a.nrrd", counting))
    (tmp_path / "a.stl").write_bytes(STL)
    load(application, tmp_path / "a.stl")
    path = Path(at_once(save_scene(application, SaveScene())).path)
    application.scene.Clear(0)
    nodes = {node.GetClassName(): node for node in load(application, path) if not node.GetHideFromEditors()}
    from microtome.scene.mrml.volumes import image_of

    image = image_of(nodes["vtkMRMLScalarVolumeNode"])
    assert image is not None
    assert np.array_equal(image.voxels, counting)
    assert nodes["vtkMRMLModelNode"].GetPolyData().GetNumberOfPoints() == 3
    before = application.scene.GetNumberOfNodes()
    load(application, path, clear="true")
    assert application.scene.GetNumberOfNodes() <= before


@pytest.mark.parametrize("letter", ["x", "山"])
def test_nodes_of_one_long_name_have_files_of_their_own(
    application: Any, tmp_path: Path, counting: np.ndarray[Any, Any], letter: str
) -> None:
    from microtome.scene.mrml.files.bundle import save_scene

    nodes = [*load(application, volume(tmp_path / "a.nrrd", counting)), *load(application, tmp_path / "a.nrrd")]
    for node in nodes:
        node.SetName(letter * 500)
        assert save(application, node, ".nrrd").stat().st_size > 100
    with zipfile.ZipFile(at_once(save_scene(application, SaveScene())).path) as bundle:
        assert sum(name.endswith(".nrrd") for name in bundle.namelist()) == 2
    with pytest.raises(InvalidRequest, match="no name of a file"):
        save(application, nodes[0], letter * 256 + ".nrrd")


@pytest.mark.parametrize(
    "name", ["../out.mrml", "/tmp/out.mrml", "a/../../out.mrml", "a\\..\\..\\out.mrml", "C:\\out.mrml", "C:/out.mrml"]
)
def test_bundles_that_lead_out(application: Any, tmp_path: Path, name: str) -> None:
    info = zipfile.ZipInfo("x")
    info.filename = name
    with zipfile.ZipFile(tmp_path / "a.mrb", "w") as archive:
        archive.writestr("s.mrml", SCENE.format(body=""))
        archive.writestr(info, "x")
    with pytest.raises(Forbidden):
        load(application, tmp_path / "a.mrb")
    assert not list(tmp_path.parent.glob("out.mrml"))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("bundle-")]


def test_bundles_with_links(application: Any, tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.mrb", "w") as archive:
        archive.writestr(info, "/etc/passwd")
        archive.writestr("s.mrml", SCENE.format(body=""))
    with pytest.raises(Forbidden):
        load(application, tmp_path / "a.mrb")


def test_bundles_that_are_bombs(application: Any, tmp_path: Path) -> None:
    bombs = {"s.mrml": SCENE.format(body="").encode(), "bomb": b"\0" * (64 << 20)}
    path = bundle(tmp_path / "a.mrb", bombs)
    data = bytearray(path.read_bytes())
    directory = data.rfind(b"PK\1\2")
    # The list of contents tells 100 bytes: what comes out is counted all the same.
    struct.pack_into("<I", data, directory + 24, 100)
    (tmp_path / "b.mrb").write_bytes(data)
    with pytest.raises((LimitExceeded, CorruptData)):
        load(application, tmp_path / "b.mrb")
    from microtome.scene.mrml.files.bundle import unpack

    (tmp_path / "into").mkdir()
    with pytest.raises(LimitExceeded):
        unpack(path, tmp_path / "into", 1 << 20)
    many = bundle(tmp_path / "c.mrb", {f"{number}": b"" for number in range(20_001)})
    with pytest.raises(LimitExceeded):
        load(application, many)
    (tmp_path / "d.mrb").write_bytes(b"PK\3\4 no zip")
    with pytest.raises(MicrotomeError):
        load(application, tmp_path / "d.mrb")


@pytest.mark.parametrize(
    ("name", "error"),
    [("/etc/passwd", Forbidden), ("../secret.stl", Forbidden), ("%2e%2e/secret.stl", Forbidden),
     ("%2Fetc%2Fpasswd", Forbidden), ("link.stl", Forbidden), ("lie.stl", CorruptData)],
)  # fmt: skip
def test_scenes_that_reach_out(application: Any, tmp_path: Path, name: str, error: type[MicrotomeError]) -> None:
    """Names in a scene are percent-encoded, as MRML reads them."""
    folder = tmp_path / "scene"
    folder.mkdir()
    secret = tmp_path.parent / f"{tmp_path.name}-secret.stl"
    secret.write_bytes(STL)
    (folder / "link.stl").symlink_to(secret)
    (folder / "lie.stl").write_bytes(b"\0" * 80 + struct.pack("<I", 2**31))
    (folder / "s.mrml").write_text(SCENE.format(body=STORAGE.format(name=name) + MODEL))
    with pytest.raises(error):
        load(application, folder / "s.mrml")


def test_a_scene_with_the_files_beside_it(application: Any, tmp_path: Path) -> None:
    (tmp_path / "a b.stl").write_bytes(STL)
    (tmp_path / "s.mrml").write_text(SCENE.format(body=STORAGE.format(name="a%20b.stl") + MODEL))
    model = next(node for node in load(application, tmp_path / "s.mrml") if node.IsA("vtkMRMLModelNode"))
    assert model.GetPolyData().GetNumberOfPoints() == 3


def test_scenes_fetch_nothing_and_know_no_entities(application: Any, tmp_path: Path) -> None:
    storage = STORAGE.format(name="").replace("fileName", 'uri="http://127.0.0.1:9/a.stl" fileName')
    (tmp_path / "s.mrml").write_text(SCENE.format(body=storage + MODEL))
    from microtome.scene.mrml.files.load import load_file

    found = at_once(load_file(application, LoadFile(path=str(tmp_path / "s.mrml"))))
    assert any("not fetched" in message for message in found.messages)
    for text in (
        '<!DOCTYPE MRML [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + SCENE.format(body="&a;"),
        '<!DOCTYPE MRML [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>' + SCENE.format(body="&b;"),
        "<MRML>" + "<a>" * 100 + "</a>" * 100 + "</MRML>",
        "no xml",
    ):
        (tmp_path / "t.mrml").write_text(text)
        with pytest.raises(CorruptData):
            load(application, tmp_path / "t.mrml")


def test_headers_below_a_scene_name_files_from_where_they_lie(application: Any, tmp_path: Path) -> None:
    storage = '<VolumeArchetypeStorage id="vtkMRMLVolumeArchetypeStorageNode1" fileName="Data/v.nhdr"/>'
    node = '<Volume id="vtkMRMLScalarVolumeNode1" name="v" storageNodeRef="vtkMRMLVolumeArchetypeStorageNode1"/>'
    head = (
        "NRRD0004\ntype: uchar\ndimension: 3\nspace: left-posterior-superior\nsizes: 2 3 4\n"
        "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\nencoding: raw\ndata file: {name}\n"
    )
    for name, good in (("v.raw", True), ("../v.raw", False), ("/etc/hostname", False)):
        files = {"s.mrml": SCENE.format(body=storage + node), "Data/v.nhdr": head.format(name=name)}
        path = bundle(tmp_path / "a.mrb", {**files, "Data/v.raw": b"\1" * 24, "v.raw": b"\1" * 24})
        if good:
            found = next(each for each in load(application, path) if each.GetName() == "v")
            assert found.GetImageData().GetDimensions() == (2, 3, 4)
        else:
            with pytest.raises(Forbidden):
                load(application, path)


def test_a_bundle_with_a_volume_that_lies(application: Any, tmp_path: Path) -> None:
    storage = '<VolumeArchetypeStorage id="vtkMRMLVolumeArchetypeStorageNode1" fileName="{name}"/>'
    node = '<Volume id="vtkMRMLScalarVolumeNode1" name="v" storageNodeRef="vtkMRMLVolumeArchetypeStorageNode1"/>'
    stream = io.BytesIO()
    writing.write(stream, Image(np.zeros((2, 3, 4), np.int16), np.eye(4)))
    good = stream.getvalue()
    lie = good.replace(b"sizes: 4 3 2", b"sizes: 40000 30000 20000")
    for data, error in ((lie, (CorruptData, LimitExceeded)), (good + b"", None)):
        path = bundle(
            tmp_path / "a.mrb", {"s/s.mrml": SCENE.format(body=storage.format(name="d.nrrd") + node), "s/d.nrrd": data}
        )
        if error is None:
            assert any(node.GetName() == "v" for node in load(application, path))
        else:
            with pytest.raises(error):
                load(application, path)


def test_a_series_in_a_zip(application: Any, tmp_path: Path, testdata: Path) -> None:
    from microtome.scene.mrml.volumes import image_of

    series = testdata / "dicom" / "series" / "dcmqi-adc"
    path = bundle(tmp_path / "a.zip", {f"s/{each.name}": each.read_bytes() for each in series.iterdir()})
    (node,) = load(application, path, "DicomFile")
    image = image_of(node)
    assert image is not None
    assert image.voxels.shape == (20, 256, 256)
    assert not [each for each in tmp_path.iterdir() if each.name.startswith("series-")]
    with pytest.raises(Forbidden):
        load(application, bundle(tmp_path / "b.zip", {"../x.dcm": b""}), "DicomFile")
    with pytest.raises((NotFound, UnsupportedFormat)):
        load(application, bundle(tmp_path / "c.zip", {"x.txt": b"no"}), "DicomFile")


def test_unknown_types_and_places(application: Any, tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text("x")
    with pytest.raises(InvalidRequest):
        load(application, tmp_path / "a.xyz")
    with pytest.raises(InvalidRequest):
        load(application, tmp_path / "a.xyz", "Nonsense")
    with pytest.raises(NotFound):
        load(application, tmp_path / "b.nrrd")
    with pytest.raises(Forbidden):
        load(application, Path("/etc/passwd"), "TextFile")
    with pytest.raises(InvalidRequest):
        load(application, tmp_path, "ModelFile")


def test_reloading(application: Any, tmp_path: Path, counting: np.ndarray[Any, Any], monkeypatch: Any) -> None:
    """From its file inside a root, with the same care."""
    from microtome.scene.calls.nodes import ReloadNodes
    from microtome.scene.mrml.files import load as loading
    from microtome.scene.mrml.volumes import image_of

    root = tmp_path / "root"
    root.mkdir()
    application.folder = tmp_path / "own"
    application.folder.mkdir()
    import msgspec

    application.options = msgspec.structs.replace(application.options, roots=(str(root),))
    path = volume(root / "a.nrrd", counting)
    (node,) = load(application, path)
    volume(path, counting + 1)
    assert at_once(loading.reload_nodes(application, ReloadNodes(nodes=Nodes(id=node.GetID())))) == [node.GetID()]
    image = image_of(node)
    assert image is not None
    assert image.voxels[0, 0, 0] == 1
    node.GetStorageNode().SetFileName("/etc/passwd")
    with pytest.raises(Forbidden):
        at_once(loading.reload_nodes(application, ReloadNodes(nodes=Nodes(id=node.GetID()))))
