"""Whole scenes as text: written with their data beside it, read again, and what the text tells of the server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest

from microtome.errors import Forbidden
from microtome.scene.answers import at_once
from microtome.scene.calls import contents, edit
from microtome.scene.calls.base import Nodes
from microtome.scene.calls.files import GetSceneText, LoadFile, SaveNode, SaveScene
from microtome.scene.calls.samples import LoadSample
from microtome.scene.images import Image, writing


@pytest.fixture
def roots(application: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of clients beside the scene's own."""
    found = tmp_path_factory.mktemp("a place of the server")
    application.options = msgspec.structs.replace(application.options, roots=(str(found),))
    return found


def ask(application: Any, call: Any) -> Any:
    from microtome.scene.mrml.handlers import HANDLERS

    try:
        return at_once(HANDLERS[type(call)](application, call))
    finally:
        application.look()


@pytest.fixture
def full(application: Any, roots: Path) -> dict[str, Any]:
    """Volume, label volume, segmentation, model, markups, transforms, a table; what they hold."""
    for name in ("chest & <lungs>", "chest & <lungs>"):
        with (roots / "v.nrrd").open("wb") as file:
            voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
            writing.write(
                file, Image(voxels, np.array([[-2, 0.5, 0, 7], [0.5, -3, 0, 8], [0, 0, 4, 9], [0, 0, 0, 1.0]]))
            )
        ask(application, LoadFile(path=str(roots / "v.nrrd"), name=name))
    labels = np.zeros((6, 7, 8), np.uint8)
    labels[1:3, 2:5, 1:4], labels[3:5, 2:5, 4:7] = 1, 2
    with (roots / "l.nrrd").open("wb") as file:
        writing.write(file, Image(labels, np.diag([-2.0, -3.0, 4.0, 1.0])))
    (segmented,) = ask(
        application, LoadFile(path=str(roots / "l.nrrd"), file_type="SegmentationFile", name="organs")
    ).ids
    (segmentation,) = ask(application, edit.ListSegmentations())
    for segment, name, color in zip(segmentation.segments, ("liver", "spleen"), ("#102030", "#a0b0c0"), strict=True):
        ask(application, edit.UpdateSegment(id=segmented, segment=segment.id, name=name, color=color, fill=0.25))
    (roots / "part.obj").write_text("v 0 0 0\nv 9 0 0\nv 0 9 0\nf 1 2 3\n")
    (part,) = ask(application, LoadFile(path=str(roots / "part.obj"))).ids
    ask(application, edit.UpdateNode(id=part, color="#304050", opacity=0.5))
    ask(application, LoadSample(name="Markups"))
    moved = ask(
        application, edit.CreateTransform(name="moved", matrix=(1, 0, 0, 5, 0, 1, 0, 6, 0, 0, 1, 7, 0, 0, 0, 1))
    )
    ask(application, edit.UpdateNode(id=segmented, transform=moved.id))
    with (roots / "g.nrrd").open("wb") as file:
        writing.write(file, Image(np.full((3, 3, 3, 3), 2.0, np.float32), np.eye(4)))
    application.folder.joinpath("g.nrrd").write_bytes((roots / "g.nrrd").read_bytes())
    ask(application, contents.PutGridTransform(path=str(application.folder / "g.nrrd"), pattern="bent"))
    (roots / "t.csv").write_text("a,b\n1,2\n3,4\n")
    ask(application, LoadFile(path=str(roots / "t.csv"), file_type="TableFile"))
    return told(application)


def told(application: Any) -> dict[str, Any]:
    """All that matters, by name: of a node that was read again the id may be another."""
    from microtome.scene.mrml.arrays import labelmap_of
    from microtome.scene.mrml.volumes import image_of

    found: dict[str, Any] = {}
    scene = application.scene
    for index in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(index)
        name = f"{node.GetClassName()} {node.GetName()}"
        if node.IsA("vtkMRMLVolumeNode"):
            image = image_of(node)
            assert image is not None
            found[name] = (image.voxels.dtype.str, image.voxels.tolist(), image.ijk_to_ras.round(4).tolist())
        elif node.IsA("vtkMRMLSegmentationNode"):
            for number in range(node.GetSegmentation().GetNumberOfSegments()):
                segment = node.GetSegmentation().GetNthSegment(number)
                labelmap = labelmap_of(segment.GetRepresentation("Binary labelmap"), np.eye(4))
                assert labelmap is not None
                k, j, i = np.nonzero(labelmap.array[..., 0] == segment.GetLabelValue())
                places = np.c_[i, j, k, np.ones(len(i))] @ labelmap.ijk_to_ras[:3].T
                color = [round(each, 4) for each in segment.GetColor()]
                found[f"{name} {segment.GetName()}"] = (color, sorted(map(tuple, places.round(3).tolist())))
            found[name] = node.GetParentTransformNode().GetName()
        elif node.IsA("vtkMRMLModelNode") and not node.GetHideFromEditors():
            display = node.GetDisplayNode()
            points = [node.GetPolyData().GetPoint(each) for each in range(node.GetPolyData().GetNumberOfPoints())]
            found[name] = (np.round(points, 3).tolist(), np.round(display.GetColor(), 3).tolist(), display.GetOpacity())
        elif node.IsA("vtkMRMLTableNode"):
            found[name] = [[str(node.GetCellText(row, column)) for column in range(2)] for row in range(2)]
        elif node.IsA("vtkMRMLTransformNode") and not node.GetHideFromEditors():
            out = [0.0] * 3
            node.GetTransformToParent().TransformPoint((0.5, 0.5, 0.5), out)
            found[name] = np.round(out, 3).tolist()
    for markup in ask(application, edit.ListMarkups()):
        points = np.round(markup.points, 3).tolist()
        found[f"markup {markup.name}"] = (markup.kind, markup.color, points, markup.labels)
    return found


def attributes(text: bytes) -> Iterator[tuple[str, str]]:
    for element in ElementTree.fromstring(text).iter():
        yield from element.attrib.items()


def files(text: bytes) -> dict[str, str]:
    """Files by the ids of the nodes whose data they hold."""
    elements = [element.attrib for element in ElementTree.fromstring(text).iter()]
    names = {each["id"]: each["fileName"] for each in elements if "fileName" in each}
    found: dict[str, str] = {}
    for each in elements:
        storage = re.search(r"storage:([^;]+);", each.get("references", ""))
        name = names.get(each.get("storageNodeRef", "") or (storage[1] if storage else ""))
        if name is not None:
            found[each["id"]] = name
    return found


def test_a_scene_as_text_with_its_data_beside_it(application: Any, roots: Path, full: dict[str, Any]) -> None:
    target = roots / "out" / "my scene.mrml"
    target.parent.mkdir()
    for _ in range(2):  # the second time beside the data of the first
        file = ask(application, SaveScene(path=str(target)))
        assert file.media_type == "application/x-slicer-mrml"
    assert [path.name for path in sorted(target.parent.iterdir())] == [
        "my scene.mrml", "my scene_Data", "my scene_Data_1",
    ]  # fmt: skip
    text = target.read_bytes()
    assert str(roots).encode() not in text
    assert str(application.folder).encode() not in text
    named = [unquote(value) for key, value in attributes(text) if key == "fileName" and value]
    assert sorted(target.parent / name for name in named) == sorted((target.parent / "my scene_Data_1").iterdir())
    assert len(full) >= 15
    revision = application.revision
    ask(application, SaveScene())
    assert application.revision == revision  # or it would be saved again and again
    found = ask(application, LoadFile(path=str(target), properties={"clear": "true"}))
    assert found.messages == []
    assert told(application) == full
    assert list(application.folder.glob("bundle-*")) == []


def test_the_text_alone_tells_no_place(application: Any, roots: Path, full: dict[str, Any]) -> None:
    ask(application, GetSceneText())  # the hierarchy is put in order once
    nodes, revision = application.scene.GetNumberOfNodes(), application.revision
    steps = len(application.journal.changes)
    text = ask(application, GetSceneText())
    assert (application.scene.GetNumberOfNodes(), application.revision) == (nodes, revision)
    assert len(application.journal.changes) == steps
    assert ask(application, GetSceneText()) == text
    assert str(roots).encode() not in text
    assert str(application.folder).encode() not in text
    named = [value for key, value in attributes(text) if key == "fileName"]
    assert all(value.startswith("Data/") and "/" not in value[5:] and " " not in value for value in named)
    assert len(set(named)) == len(named) > 8
    # With the files of its nodes beside it, it is the scene.
    target = roots / "text" / "scene.mrml"
    (target.parent / "Data").mkdir(parents=True)
    target.write_bytes(text)
    for node_id, name in files(text).items():
        ask(application, SaveNode(nodes=Nodes(id=node_id), path=str(target.parent / unquote(name))))
    ask(application, LoadFile(path=str(target), properties={"clear": "true"}))
    assert told(application) == full


def test_scenes_are_written_inside_of_roots_only(application: Any, roots: Path) -> None:
    with pytest.raises(Forbidden):
        ask(application, SaveScene(path=str(roots.parent / "outside.mrml")))
    assert not (roots.parent / "outside.mrml").exists()


def test_one_that_cannot_be_written_leaves_nothing(
    application: Any, roots: Path, full: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from microtome.scene.mrml.files import text

    def broken(*_: object) -> bytes:
        raise MemoryError

    assert full
    (roots / "old").mkdir()
    (roots / "old" / "a.mrml").write_text("as it was")
    monkeypatch.setattr(text, "rewritten", broken)
    with pytest.raises(MemoryError):
        ask(application, SaveScene(path=str(roots / "old" / "a.mrml")))
    assert [path.name for path in (roots / "old").iterdir()] == ["a.mrml"]
    assert (roots / "old" / "a.mrml").read_text() == "as it was"
