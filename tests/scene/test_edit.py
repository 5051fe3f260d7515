"""Markups, segments and transforms, changed and measured by the calls of the safe API."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from microtome.errors import InvalidRequest, MicrotomeError, NotFound
from microtome.scene.answers import at_once
from microtome.scene.calls.edit import (
    CreateMarkup,
    CreateTransform,
    GetMarkup,
    GetTransform,
    HardenTransform,
    ListMarkups,
    ListSegmentations,
    ListTransforms,
    MeasureSegments,
    PutTransform,
    RemoveNode,
    UpdateMarkup,
    UpdateNode,
    UpdateSegment,
    UpdateSegmentation,
)
from tests.scene.scenes import RAS, add_volume, head, turned


def measured(markup: Any, name: str) -> float:
    return next(value for key, value in markup.measurements.items() if key.startswith(name))


def test_lengths_angles_and_areas(application: Any) -> None:
    from microtome.scene.mrml.edit import markups

    line = markups.create_markup(application, CreateMarkup(kind="line", points=((0, 0, 0), (3, 4, 12))))
    assert measured(line, "length") == pytest.approx(13)
    angle = markups.create_markup(application, CreateMarkup(kind="angle", points=((10, 0, 0), (0, 0, 0), (0, 5, 0))))
    assert measured(angle, "angle") == pytest.approx(90)
    square = ((0, 0, 0), (10, 0, 0), (10, 10, 0), (0, 10, 0))
    curve = markups.create_markup(application, CreateMarkup(kind="closed_curve", points=square))
    assert 25 < measured(curve, "length") < 45
    assert {each.kind for each in markups.list_markups(application, ListMarkups())} == {"line", "angle", "closed_curve"}


def test_points_are_made_changed_and_removed(application: Any) -> None:
    from microtome.scene.mrml.edit import markups, transforms

    made = markups.create_markup(
        application,
        CreateMarkup(name="tips", points=((1, 2, 3), (4, 5, 6)), labels=("left", "right"), color="#ff8000"),
    )
    assert (made.name, made.points, made.labels, made.color) == (
        "tips", ((1, 2, 3), (4, 5, 6)), ("left", "right"), "#ff8000",
    )  # fmt: skip
    changed = markups.update_markup(
        application, UpdateMarkup(id=made.id, points=((7, 8, 9),), name="tip", visible=False)
    )
    assert (changed.points, changed.name, changed.visible) == (((7, 8, 9),), "tip", False)
    locked = markups.update_markup(application, UpdateMarkup(id=made.id, locked=True, labels=("here",)))
    assert (locked.locked, locked.labels) == (True, ("here",))
    transforms.remove_node(application, RemoveNode(id=made.id))
    with pytest.raises(NotFound):
        markups.get_markup(application, GetMarkup(id=made.id))


def test_a_region_has_two_corners(application: Any) -> None:
    from microtome.scene.mrml.edit import markups

    made = markups.create_markup(application, CreateMarkup(kind="roi", points=((-10, 0, 5), (30, 20, 10))))
    node = application.scene.GetNodeByID(made.id)
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    assert bounds == pytest.approx([-10, 30, 0, 20, 5, 10])


@pytest.mark.parametrize(
    "wrong",
    [
        CreateMarkup(kind="line", points=((0, 0, 0),) * 3),
        CreateMarkup(points=((float("nan"), 0, 0),)),
        CreateMarkup(points=((1e9, 0, 0),)),
        CreateMarkup(color="red"),
        CreateMarkup(name="a\x00b"),
        CreateMarkup(points=((0, 0, 0),) * 20_000),
    ],
)
def test_a_wrong_markup_leaves_nothing_behind(application: Any, wrong: CreateMarkup) -> None:
    from microtome.scene.mrml.edit import markups

    before = application.scene.GetNumberOfNodes()
    with pytest.raises(MicrotomeError):
        markups.create_markup(application, wrong)
    assert application.scene.GetNumberOfNodes() == before


def segmentation(application: Any) -> tuple[Any, Any]:
    """A segmentation of two balls, and the volume it was made on."""
    from microtome.scene.mrml.library import slicer

    k, j, i = np.mgrid[0:130, 0:256, 0:256]
    labels = np.zeros((130, 256, 256), np.uint8)
    labels[(i - 80) ** 2 + (j - 100) ** 2 + (1.3 * (k - 60)) ** 2 < 30**2] = 1
    labels[(i - 180) ** 2 + (j - 150) ** 2 + (1.3 * (k - 70)) ** 2 < 20**2] = 2
    volume = add_volume(application, head())
    labelmap = add_volume(application, labels, name="labels", class_name="vtkMRMLLabelMapVolumeNode")
    node = application.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "balls")
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(labelmap, node)
    node.CreateDefaultDisplayNodes()
    application.scene.RemoveNode(labelmap)
    return node, volume


def test_segments_are_measured(application: Any) -> None:
    from microtome.scene.mrml.edit import segments

    node, volume = segmentation(application)
    first, second = at_once(
        segments.measure_segments(application, MeasureSegments(id=node.GetID(), volume=volume.GetID()))
    )
    assert first.volume_ml == pytest.approx(4 / 3 * np.pi * 30**3 / 1000, rel=0.01)
    assert second.volume_ml == pytest.approx(4 / 3 * np.pi * 20**3 / 1000, rel=0.01)
    k, j, i = np.mgrid[0:130, 0:256, 0:256]
    inside = head()[(i - 80) ** 2 + (j - 100) ** 2 + (1.3 * (k - 60)) ** 2 < 30**2].astype(float)
    assert first.voxels == inside.size
    assert first.mean == pytest.approx(inside.mean())
    assert (first.minimum, first.maximum) == (inside.min(), inside.max())
    assert first.deviation == pytest.approx(inside.std())


def test_statistics_of_a_volume_with_another_grid(application: Any) -> None:
    from microtome.scene.mrml.edit import segments

    node, _ = segmentation(application)
    coarse = add_volume(application, np.full((20, 20, 20), 7, np.int16), RAS @ np.diag([5, 5, 5, 1.0]), name="coarse")
    found = at_once(segments.measure_segments(application, MeasureSegments(id=node.GetID(), volume=coarse.GetID())))
    assert found[0].mean == 7
    assert found[1].mean is None  # the second ball is outside of it


def test_segments_are_shown_as_asked(application: Any) -> None:
    from microtome.scene.mrml.edit import segments
    from tests.scene.test_slices import shown

    _, volume = segmentation(application)
    from microtome.scene.calls.slices import SetLayers, SliceMove
    from microtome.scene.mrml.slices import set_layers

    set_layers(application, SetLayers(background=volume.GetID()))
    move = SliceMove(fit=True, offset=-5.0)
    plain = shown(application, move=move)
    with_segments = shown(application, overlay=("segments",))
    changed = (plain != with_segments).any(2).mean()
    assert 0.02 < changed < 0.2
    (told,) = segments.list_segmentations(application, ListSegmentations())
    first = told.segments[0]
    segments.update_segment(
        application,
        UpdateSegment(id=told.id, segment=first.id, color="#00ff00", fill=1.0, outline=1.0, name="liver"),
    )
    segments.update_segment(application, UpdateSegment(id=told.id, segment=told.segments[1].id, visible=False))
    picture = shown(application, overlay=("segments",))
    green = (picture[..., 1].astype(int) - picture[..., 0]) > 60
    assert green.mean() == pytest.approx(changed * 900 / 1300, rel=0.6)
    (told,) = segments.list_segmentations(application, ListSegmentations())
    assert (told.segments[0].name, told.segments[0].visible) == ("liver", True)
    assert not told.segments[1].visible
    hidden = at_once(segments.update_segmentation(application, UpdateSegmentation(id=told.id, visible=False)))
    assert not hidden.visible
    assert (shown(application, overlay=("segments",)) == plain).all()
    assert at_once(segments.update_segmentation(application, UpdateSegmentation(id=told.id, surfaces=True))).surfaces


def test_markups_are_drawn_where_they_are(application: Any) -> None:
    from microtome.scene.calls.slices import SetLayers, SliceMove
    from microtome.scene.mrml.edit import markups
    from microtome.scene.mrml.slices import set_layers
    from tests.scene.test_slices import shown

    volume = add_volume(application, head())
    set_layers(application, SetLayers(background=volume.GetID()))
    markups.create_markup(application, CreateMarkup(points=((40, 30, 0.65),), labels=("",), color="#ff0000"))
    plain = shown(application, move=SliceMove(fit=True))
    picture = shown(application, overlay=("markups",))
    rows, columns = np.nonzero((plain != picture).any(2))
    # R = 128 - 0.5 x, A = -128 + 0.5 y counted from below
    assert columns.mean() == pytest.approx((128 - 40) / 0.5, abs=1.5)
    assert 511 - rows.mean() == pytest.approx((30 + 128) / 0.5, abs=1.5)
    far = shown(application, overlay=("markups",), move=SliceMove(offset=30.0))
    assert (far == shown(application)).all()


def test_transforms(application: Any) -> None:
    from microtome.scene.mrml.arrays import volume_of
    from microtome.scene.mrml.edit import transforms

    volume = add_volume(application, head((10, 20, 30)))
    matrix = turned(0.3, 0.2)
    matrix[:3, 3] = 5, 6, 7
    made = transforms.create_transform(application, CreateTransform(name="move"))
    assert made.matrix == tuple(np.eye(4).ravel())
    assert transforms.put_transform(application, PutTransform(id=made.id, matrix=tuple(matrix.ravel()))).matrix == (
        pytest.approx(tuple(matrix.ravel()))
    )
    transforms.update_node(application, UpdateNode(id=volume.GetID(), transform=made.id))
    assert transforms.get_transform(application, GetTransform(id=made.id)).nodes == (volume.GetID(),)
    placed = volume_of(volume)
    assert placed is not None
    assert placed.ijk_to_ras == pytest.approx(matrix @ RAS)
    hardened = transforms.harden_transform(application, HardenTransform(id=volume.GetID()))
    assert hardened.transform is None
    still = volume_of(volume)
    assert still is not None
    assert still.ijk_to_ras == pytest.approx(matrix @ RAS)
    for own in ("vtkMRMLModelNode1", "vtkMRMLLinearTransformNode1"):  # of the red slice
        with pytest.raises(InvalidRequest, match="belongs to a view"):
            transforms.harden_transform(application, HardenTransform(id=own))
        with pytest.raises(InvalidRequest, match="belongs to a view"):
            transforms.remove_node(application, RemoveNode(id=own))
        with pytest.raises(InvalidRequest, match="belongs to a view"):
            transforms.update_node(application, UpdateNode(id=own, transform=made.id))
    with pytest.raises(InvalidRequest, match="belongs to a view"):
        transforms.put_transform(application, PutTransform(id=own, matrix=tuple(matrix.ravel())))
    assert [each.id for each in transforms.list_transforms(application, ListTransforms())] == [made.id]
    with pytest.raises(InvalidRequest):
        transforms.update_node(application, UpdateNode(id=made.id, transform=made.id))
    with pytest.raises(InvalidRequest):
        transforms.put_transform(application, PutTransform(id=made.id, matrix=(0.0,) * 16))
    with pytest.raises(InvalidRequest):
        transforms.remove_node(application, RemoveNode(id="vtkMRMLSliceNodeRed"))
