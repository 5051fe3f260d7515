"""Changes of every kind taken back and made again: what nodes hold is then what it was, to the last voxel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microtome.errors import InvalidRequest
from microtome.scene.answers import at_once
from microtome.scene.calls import contents, edit, events, slices, threed
from microtome.scene.calls.base import Call, Nodes
from microtome.scene.calls.files import LoadFile, SaveNode, SaveScene
from microtome.scene.calls.nodes import ReloadNodes
from microtome.scene.calls.samples import LoadSample
from microtome.scene.calls.scripts import Execute
from microtome.scene.images import Image, writing

SIZE = (6, 7, 8)
VOXELS = np.arange(6 * 7 * 8, dtype=np.int16).reshape(SIZE)


@pytest.fixture
def ask(application: Any) -> Callable[[Call[Any]], Any]:
    """A question as the process asks it: answered, then looked at."""
    from microtome.scene.mrml.handlers import HANDLERS

    def asking(call: Call[Any]) -> Any:
        try:
            return at_once(HANDLERS[type(call)](application, call))
        finally:
            application.look()

    return asking


def image(path: Path, voxels: np.ndarray[Any, Any]) -> Path:
    with path.open("wb") as file:
        writing.write(file, Image(voxels, np.diag([-2.0, -3.0, 4.0, 1.0])))
    return path


def values(application: Any, node_id: str) -> np.ndarray[Any, Any]:
    from microtome.scene.mrml.volumes import image_of

    found = image_of(application.scene.GetNodeByID(node_id))
    assert found is not None
    return found.voxels.copy()


def origin(application: Any, node_id: str) -> tuple[float, ...]:
    return tuple(application.scene.GetNodeByID(node_id).GetOrigin())


def steps(application: Any) -> int:
    return len(application.journal.changes)


@pytest.fixture
def volume(application: Any, ask: Any, tmp_path: Path) -> str:
    return ask(LoadFile(path=str(image(tmp_path / "a.nrrd", VOXELS)))).ids[0]


@pytest.fixture
def segmented(application: Any, ask: Any, tmp_path: Path) -> str:
    labels = np.zeros(SIZE, np.uint8)
    labels[1:3, 2:5, 1:4] = 1
    labels[3:5, 2:5, 4:7] = 2
    path = image(tmp_path / "organs.nrrd", labels)
    return ask(LoadFile(path=str(path), file_type="SegmentationFile")).ids[0]


def inside(application: Any, node_id: str) -> dict[str, list[tuple[float, ...]]]:
    """Where the voxels of each segment lie (mm)."""
    from microtome.scene.mrml.arrays import labelmap_of

    segmentation, found = application.scene.GetNodeByID(node_id).GetSegmentation(), {}
    for index in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(index)
        labelmap = labelmap_of(segment.GetRepresentation("Binary labelmap"), np.eye(4))
        assert labelmap is not None
        k, j, i = np.nonzero(labelmap.array[..., 0] == segment.GetLabelValue())
        places = np.c_[i, j, k, np.ones(len(i))] @ labelmap.ijk_to_ras[:3].T
        found[segment.GetName()] = sorted(tuple(place) for place in places.round(3).tolist())
    return found


def test_replaced_voxels(application: Any, ask: Any, volume: str, tmp_path: Path) -> None:
    other = image(tmp_path / "b.nrrd", (VOXELS[:3] * 2).astype(np.float32))
    before = steps(application)
    ask(contents.PutVolume(path=str(other), pattern=volume))
    assert values(application, volume).shape == (3, 7, 8)
    assert steps(application) == before + 1
    for _ in range(2):
        ask(events.Undo())
        assert values(application, volume).dtype == np.int16
        assert np.array_equal(values(application, volume), VOXELS)
        ask(events.Redo())
        assert np.array_equal(values(application, volume), VOXELS[:3] * 2)
    assert np.array_equal(application.scene.GetNodeByID(volume).GetImageData().GetDimensions(), (8, 7, 3))


def test_a_name_and_a_transform_of_a_volume(application: Any, ask: Any, volume: str) -> None:
    moved = ask(edit.CreateTransform(matrix=(1, 0, 0, 5, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1)))
    ask(edit.UpdateNode(id=volume, name="renamed", transform=moved.id))
    ask(events.Undo())
    node = ask(edit.GetNode(id=volume))
    assert (node.name, node.transform) == ("a", None)
    ask(events.Redo())
    node = ask(edit.GetNode(id=volume))
    assert (node.name, node.transform) == ("renamed", moved.id)


def test_hardening_of_volumes(application: Any, ask: Any, volume: str, tmp_path: Path) -> None:
    moved = ask(edit.CreateTransform(matrix=(1, 0, 0, 5, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1)))
    ask(edit.UpdateNode(id=volume, transform=moved.id))
    before = origin(application, volume)
    ask(edit.HardenTransform(id=volume))
    assert origin(application, volume) == (before[0] + 5, *before[1:])
    ask(events.Undo())
    assert origin(application, volume) == before
    assert ask(edit.GetNode(id=volume)).transform == moved.id
    ask(events.Undo())
    bent = image(tmp_path / "bent.nrrd", np.full((12, 12, 12, 3), 7.0, np.float32))
    grid = ask(contents.PutGridTransform(path=str(bent), pattern="bent"))
    ask(edit.UpdateNode(id=volume, transform=grid))
    ask(edit.HardenTransform(id=volume))
    hardened = application.scene.GetNodeByID(volume).GetImageData()
    assert origin(application, volume) != before
    ask(events.Undo())
    assert application.scene.GetNodeByID(volume).GetImageData() is not hardened
    assert origin(application, volume) == before
    assert np.array_equal(values(application, volume), VOXELS)
    assert ask(edit.GetNode(id=volume)).transform == grid


def test_replaced_displacements(application: Any, ask: Any, tmp_path: Path) -> None:
    def put(value: float) -> str:
        path = image(tmp_path / "grid.nrrd", np.full((3, 3, 3, 3), value, np.float32))
        return ask(contents.PutGridTransform(path=str(path), pattern="bent"))

    def displaced() -> float:
        node = application.scene.GetNodeByID(put_id)
        return round(node.GetTransformFromParent().TransformPoint(0, 0, 0)[0], 3)

    put_id = put(2.0)
    first = displaced()
    assert put(3.0) == put_id
    second = displaced()
    assert first != second
    ask(events.Undo())
    assert displaced() == first
    ask(events.Redo())
    assert displaced() == second


def test_hardening_of_surfaces(application: Any, ask: Any, tmp_path: Path) -> None:
    (tmp_path / "part.obj").write_text("v 0 0 0\nv 9 0 0\nv 0 9 0\nf 1 2 3\n")
    (part,) = ask(LoadFile(path=str(tmp_path / "part.obj"))).ids
    node = application.scene.GetNodeByID(part)
    before = node.GetPolyData().GetBounds()
    moved = ask(edit.CreateTransform(matrix=(1, 0, 0, 5, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1)))
    ask(edit.UpdateNode(id=part, transform=moved.id))
    for _ in range(2):
        ask(edit.HardenTransform(id=part))
        assert node.GetPolyData().GetBounds()[0] == before[0] + 5
        ask(events.Undo())
        assert node.GetPolyData().GetBounds() == before
    ask(events.Redo())
    assert node.GetPolyData().GetBounds()[0] == before[0] + 5
    assert node.GetTransformNodeID() is None


def test_hardening_of_segments(application: Any, ask: Any, segmented: str) -> None:
    before = inside(application, segmented)
    moved = ask(edit.CreateTransform(matrix=(1, 0, 0, 5, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1)))
    ask(edit.UpdateNode(id=segmented, transform=moved.id))
    ask(edit.HardenTransform(id=segmented))
    after = inside(application, segmented)
    assert after == {name: [(x + 5, y, z) for x, y, z in places] for name, places in before.items()}
    ask(events.Undo())
    assert inside(application, segmented) == before
    ask(events.Redo())
    assert inside(application, segmented) == after


def test_segments_edited_and_removed(application: Any, ask: Any, segmented: str) -> None:
    plain, voxels = ask(edit.ListSegmentations()), inside(application, segmented)
    first, second = (segment.id for segment in plain[0].segments)
    ask(edit.UpdateSegment(id=segmented, segment=first, name="liver", color="#102030", fill=0.25))
    changed = ask(edit.ListSegmentations())
    ask(edit.RemoveSegment(id=segmented, segment=first))
    assert [segment.id for segment in ask(edit.ListSegmentations())[0].segments] == [second]
    ask(events.Undo())
    assert ask(edit.ListSegmentations()) == changed
    assert list(inside(application, segmented).values()) == list(voxels.values())
    ask(events.Undo())
    assert ask(edit.ListSegmentations()) == plain
    assert inside(application, segmented) == voxels
    ask(events.Redo())
    assert ask(edit.ListSegmentations()) == changed
    ask(events.Redo())
    assert len(inside(application, segmented)) == 1


def test_what_is_kept_is_not_written_into(application: Any, ask: Any, segmented: str) -> None:
    """A segment that is brought back twice is a new one each time."""
    (segmentation,) = ask(edit.ListSegmentations())
    first = segmentation.segments[0].id
    for name in ("one", "two", "three"):
        ask(edit.UpdateSegment(id=segmented, segment=first, name=name))
    for name in ("two", "one", segmentation.segments[0].name):
        ask(events.Undo())
        assert ask(edit.ListSegmentations())[0].segments[0].name == name
    for name in ("one", "two", "three"):
        ask(events.Redo())
        assert ask(edit.ListSegmentations())[0].segments[0].name == name


@pytest.fixture
def scripted(application: Any) -> None:
    import msgspec

    application.options = msgspec.structs.replace(application.options, exec_seconds=30.0)


@pytest.mark.usefixtures("scripted")
def test_scripts_that_write_into_voxels(application: Any, ask: Any, volume: str) -> None:
    double = Execute(
        source=f"n = slicer.mrmlScene.GetNodeByID('{volume}')\nslicer.util.arrayFromVolume(n)[:] *= 2\n"
        "slicer.util.arrayFromVolumeModified(n)"
    )
    for _ in range(2):
        ask(double)
    assert np.array_equal(values(application, volume), VOXELS * 4)
    before = steps(application)
    ask(Execute(source="1 + 1"))
    assert steps(application) == before
    for factor in (2, 1):
        ask(events.Undo())
        assert np.array_equal(values(application, volume), VOXELS * factor)
    for factor in (2, 4):
        ask(events.Redo())
        assert np.array_equal(values(application, volume), VOXELS * factor)


def test_the_oldest_are_forgotten_when_they_hold_too_much(
    application: Any, ask: Any, volume: str, tmp_path: Path
) -> None:
    voxels = VOXELS.nbytes
    application.journal._most_bytes = 3 * 2048  # KiB are counted: each of these is one
    assert voxels <= 1024
    application.journal.changes.clear()
    for number in range(10):
        ask(contents.PutVolume(path=str(image(tmp_path / "n.nrrd", VOXELS + number)), pattern=volume))
    kept = steps(application)
    assert 3 <= kept < 9
    for number in range(kept):
        ask(events.Undo())
        assert values(application, volume)[0, 0, 0] == 8 - number
    with pytest.raises(InvalidRequest):
        ask(events.Undo())
    for number in range(kept):
        ask(events.Redo())
        assert values(application, volume)[0, 0, 0] == 10 - kept + number
    application.journal._most_bytes = 0
    ask(contents.PutVolume(path=str(image(tmp_path / "n.nrrd", VOXELS)), pattern=volume))
    assert steps(application) == 0
    ask(edit.UpdateNode(id=volume, name="small changes need no memory"))
    assert steps(application) == 1


def test_looking_at_things_is_no_change(application: Any, ask: Any) -> None:
    """Whatever is asked for: pictures, measurements, files. What is made of data for them is no change of it."""
    volume, segmented = ask(LoadSample(name="CTChest")).ids
    ask(LoadSample(name="Markups"))
    ask(edit.UpdateSegmentation(id=segmented, surfaces=True))
    ask(threed.RenderThreeD(size=(60, 60), keep=False))  # curves are made of their points when they are drawn first
    before = steps(application), application.journal.changes[-1]
    for call in (
        edit.ListMarkups(),
        edit.ListSegmentations(),
        edit.ListTransforms(),
        edit.MeasureSegments(id=segmented, volume=volume),
        slices.RenderSlice(view="Red", keep=False, overlay=("segments", "markups")),
        slices.GetSlice(view="Green"),
        slices.GetDisplay(id=volume),
        threed.GetVolumeRendering(id=volume),
        threed.RenderThreeD(size=(60, 60), keep=False),
        contents.GetVolume(pattern=volume),
        contents.GetSegmentation(pattern=segmented, format="stl"),
        SaveScene(),
    ):
        ask(call)
        assert (steps(application), application.journal.changes[-1]) == before, (call, application.journal.changes[-1])


def test_what_was_read_again(application: Any, ask: Any, tmp_path: Path) -> None:
    """MRML reads into what a node holds: what is kept of it must not change with it."""
    import msgspec

    application.options = msgspec.structs.replace(application.options, roots=(str(tmp_path),))
    application.folder = tmp_path / "own"
    application.folder.mkdir()
    for name, last in (("one", 4), ("two", 6)):
        labels = np.zeros(SIZE, np.uint8)
        labels[1:5, 2:5, 1:last] = 1
        path = image(tmp_path / f"{name}.nrrd", labels)
        (node,) = ask(LoadFile(path=str(path), file_type="SegmentationFile")).ids
        ask(SaveNode(nodes=Nodes(id=node), path=str(tmp_path / f"{name}.seg.nrrd")))
    (node,) = ask(LoadFile(path=str(tmp_path / "one.seg.nrrd"))).ids
    before = inside(application, node)
    (tmp_path / "two.seg.nrrd").replace(tmp_path / "one.seg.nrrd")
    ask(ReloadNodes(nodes=Nodes(id=node)))
    after = inside(application, node)
    assert [len(each) for each in (*before.values(), *after.values())] == [36, 60]
    ask(events.Undo())
    assert inside(application, node) == before
    ask(events.Redo())
    assert inside(application, node) == after
