"""Sample data: made here, the same every time, with what the page and the benchmarks count on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from microtome.errors import NotFound
from microtome.scene.answers import at_once
from microtome.scene.calls.samples import SAMPLES, LoadSample
from microtome.scene.phantoms import chest, head


def load(application: Any, name: str) -> list[Any]:
    from microtome.scene.mrml.samples import load_sample

    return [
        application.scene.GetNodeByID(each) for each in at_once(load_sample(application, LoadSample(name=name))).ids
    ]


def test_the_head(application: Any) -> None:
    from microtome.scene.mrml.volumes import image_of

    (node,) = load(application, "MRHead")
    image = image_of(node)
    assert image is not None
    assert image.voxels.shape == (130, 256, 256)
    assert image.voxels.dtype == np.int16
    assert np.allclose(np.linalg.norm(image.ijk_to_ras[:3, :3], axis=0), (1, 1, 1.3))
    assert node.GetName() == "MRHead"
    assert application.logic.GetSelectionNode().GetActiveVolumeID() == node.GetID()
    # Dark around it, bright white matter inside, the left as heavy as the right.
    assert image.voxels[:, :10].mean() < 15
    assert 100 < image.voxels[70, 128, 100:120].mean() < 180
    left, right = image.voxels[..., :128].mean(), image.voxels[..., 128:].mean()
    assert abs(left - right) < 0.02 * left


def test_the_chest_has_seven_organs(application: Any) -> None:
    volume, organs = load(application, "CTChest")
    assert volume.GetImageData().GetDimensions() == (256, 256, 140)
    segmentation = organs.GetSegmentation()
    segments = [segmentation.GetNthSegment(index) for index in range(segmentation.GetNumberOfSegments())]
    assert [segment.GetName() for segment in segments] == [organ.name for organ in chest.ORGANS]
    assert [segment.GetColor() for segment in segments] == [pytest.approx(organ.color) for organ in chest.ORGANS]
    assert [segmentation.GetNthSegmentID(index) for index in range(7)] == [f"Segment_{n}" for n in range(1, 8)]
    image, labels = chest.chest()
    means = {organ.name: image.voxels[labels.voxels == n].mean() for n, organ in enumerate(chest.ORGANS, 1)}
    assert means["right lung"] < -700
    assert means["left lung"] < -700
    assert 30 < means["liver"] < 110
    assert means["aorta"] > 200
    assert means["vertebral column"] > 150
    assert np.bincount(labels.voxels.ravel(), minlength=8)[1:].min() > 10_000


def test_markups_measure(application: Any) -> None:
    nodes = {node.GetName(): node for node in load(application, "Markups")}
    assert nodes["Landmarks"].GetNumberOfControlPoints() == 4
    assert nodes["Width of the head"].GetMeasurement("length").GetValue() == pytest.approx(152)
    assert 60 < nodes["Angle at the vertex"].GetMeasurement("angle").GetValue() < 90
    assert len(nodes) == 6


def test_what_a_scene_begins_with(application: Any) -> None:
    from microtome.scene.mrml.samples import begin_with

    begin_with(application, ["CTChest", "Markups"])
    scene = application.scene
    organs = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    assert organs.GetDisplayNode().GetVisibility3D()
    assert organs.GetSegmentation().ContainsRepresentation("Closed surface")
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode") == 6
    assert not application.journal.changes, "it cannot be undone"
    assert application.saved_revision == application.revision, "it is not saved"
    # From in front, and all of it in view: no corner further from the axis than the view angle allows.
    camera = scene.GetFirstNodeByClass("vtkMRMLCameraNode")
    position, bounds = np.array(camera.GetPosition()), [0.0] * 6
    scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode").GetRASBounds(bounds)
    corners = np.array(np.meshgrid(bounds[:2], bounds[2:4], bounds[4:])).reshape(3, -1).T - position
    assert corners[:, 1].max() < 0
    slopes = np.abs(corners[:, [0, 2]]) / -corners[:, 1:2]
    assert 0.7 < slopes.max() / np.tan(np.radians(camera.GetCamera().GetViewAngle() / 2)) <= 1


def test_the_same_every_time() -> None:
    assert np.array_equal(head.head().voxels, head.head().voxels)
    first, second = chest.chest(), chest.chest()
    assert all(np.array_equal(one.voxels, other.voxels) for one, other in zip(first, second, strict=True))


def test_names(application: Any) -> None:
    assert {"MRHead", "CTChest"} <= set(SAMPLES)
    with pytest.raises(NotFound, match="sampledata Nonsense was not found"):
        load(application, "Nonsense")
