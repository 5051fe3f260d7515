"""The 3D view: what is drawn, from where, how well; and what of it becomes glTF."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from microtome.errors import InvalidRequest, NotFound
from microtome.scene.calls.layout import GetLayout, Screenshot, SetLayout
from microtome.scene.calls.threed import (
    Camera,
    ExportThreeD,
    GetCamera,
    GetVolumeRendering,
    RenderThreeD,
    SetThreeDView,
    SetVolumeRendering,
    Turn,
    TurnCamera,
)
from microtome.scene.gl import find_renderer
from tests.scene.scenes import add_volume, head

needs_gl = pytest.mark.skipif(find_renderer() is None, reason="nothing here draws 3D: install libegl1 libgl1-mesa-dri")


def picture(application: Any, **asked: Any) -> np.ndarray:
    from microtome.scene.mrml.threed.view import render_threed

    answer = render_threed(application, RenderThreeD(**asked))
    return np.asarray(Image.open(BytesIO(answer.work().data)).convert("RGB")).astype(int)  # type: ignore[union-attr]


@pytest.fixture
def ball(application: Any) -> Any:
    """An orange ball of radius 50 mm, 60 mm to the right of the patient."""
    from vtkmodules.vtkFiltersSources import vtkSphereSource

    source = vtkSphereSource()
    source.SetRadius(50)
    source.SetCenter(60, 0, 0)
    source.SetThetaResolution(60)
    source.SetPhiResolution(60)
    source.Update()
    node = application.scene.AddNewNodeByClass("vtkMRMLModelNode", "ball")
    node.SetAndObservePolyData(source.GetOutput())
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetColor(1, 0.5, 0)
    return application


def orange(pixels: np.ndarray) -> np.ndarray:
    """Columns of what is orange."""
    return np.nonzero((pixels[..., 0] - pixels[..., 2] > 60).any(0))[0]


@needs_gl
def test_the_view_looks_as_slicers_does(application: Any) -> None:
    pixels = picture(application)
    assert pixels.shape == (512, 512, 3)
    assert pixels[-1, 256] == pytest.approx([0.7569 * 255, 0.7647 * 255, 0.9098 * 255], abs=4)
    assert pixels[0, 256] == pytest.approx([0.4549 * 255, 0.4706 * 255, 0.7451 * 255], abs=4)
    assert ((pixels[..., 0] > 200) & (pixels[..., 1] < 80)).any()  # the magenta box


@needs_gl
@pytest.mark.parametrize(("axis", "side"), [("anterior", "left"), ("Posterior", "right"), ("s", "left"), ("I", "left")])
def test_the_patients_right_is_where_it_belongs(ball: Any, axis: str, side: str) -> None:
    columns = orange(picture(ball, turn=Turn(look_from=axis)))
    if axis.lower().startswith("i"):
        assert columns.size
    elif side == "left":
        assert columns.mean() < 240
    else:
        assert columns.mean() > 270


@needs_gl
def test_a_picture_that_keeps_nothing_moves_no_camera(ball: Any) -> None:
    from microtome.scene.mrml.threed.view import get_camera

    before = get_camera(ball, GetCamera())
    first = picture(ball)
    assert np.abs(picture(ball, turn=Turn(look_from="left", zoom=2.0), keep=False) - first).max() > 50
    assert get_camera(ball, GetCamera()) == before
    assert np.abs(picture(ball) - first).max() == 0


@needs_gl
def test_the_camera_turns_pans_and_comes_nearer(ball: Any) -> None:
    from microtome.scene.mrml.threed.view import get_camera, turn_camera

    start = get_camera(ball, GetCamera())
    assert start.position == pytest.approx((0, 500, 0))
    near = turn_camera(ball, TurnCamera(turn=Turn(zoom=2.0)))
    assert near.position == pytest.approx((0, 250, 0))
    turned = turn_camera(ball, TurnCamera(turn=Turn(azimuth=90.0)))
    assert np.linalg.norm(turned.position) == pytest.approx(250)
    assert abs(turned.position[0]) == pytest.approx(250, abs=1e-3)
    placed = Camera(position=(0, 0, 300), focal_point=(0, 0, 0), view_up=(0, 1, 0), view_angle=40)
    assert turn_camera(ball, TurnCamera(turn=Turn(camera=placed))) == placed
    panned = turn_camera(ball, TurnCamera(turn=Turn(pan=(0.5, 0.0))))
    assert np.linalg.norm(np.subtract(panned.position, placed.position)) == pytest.approx(
        300 * np.tan(np.radians(20)), rel=1e-3
    )
    turn_camera(ball, TurnCamera(turn=Turn(reset=True)))
    assert get_camera(ball, GetCamera()).focal_point == pytest.approx((60, 0, 0), abs=1)


@needs_gl
@pytest.mark.parametrize(
    "wrong",
    [
        Turn(look_from="x"),
        Turn(zoom=0.0),
        Turn(azimuth=float("nan")),
        Turn(camera=Camera(position=(0, 0, 1), focal_point=(0, 0, 0), view_up=(0, 0, 1))),
        Turn(camera=Camera(position=(float("inf"), 0, 1), focal_point=(0, 0, 0), view_up=(0, 1, 0))),
    ],
)
def test_a_wrong_move_is_refused(ball: Any, wrong: Turn) -> None:
    from microtome.scene.mrml.threed.view import turn_camera

    with pytest.raises(InvalidRequest):
        turn_camera(ball, TurnCamera(turn=wrong))


@needs_gl
def test_a_version_changes_with_what_is_seen(ball: Any) -> None:
    from microtome.scene.mrml.threed.view import render_threed, set_threed_view

    def version() -> str:
        return render_threed(ball, RenderThreeD()).work().version  # type: ignore[union-attr]

    first = version()
    assert version() == first
    assert render_threed(ball, RenderThreeD(known=first)).data == b""  # type: ignore[union-attr]
    ball.scene.GetFirstNodeByName("ball").GetDisplayNode().SetOpacity(0.5)
    second = version()
    set_threed_view(ball, SetThreeDView(box=False, axis_labels=False))
    assert len({first, second, version()}) == 3


@needs_gl
def test_looks(ball: Any) -> None:
    from microtome.scene.mrml.threed.view import set_threed_view

    told = set_threed_view(ball, SetThreeDView(background=("#000000", "#000000"), box=False, axis_labels=False))
    assert (told.background, told.box) == (("#000000", "#000000"), False)
    pixels = picture(ball)
    assert pixels[0, 0].max() == 0
    assert set_threed_view(ball, SetThreeDView(parallel=True)).parallel
    with pytest.raises(InvalidRequest):
        set_threed_view(ball, SetThreeDView(background=("red", "#000000")))


@needs_gl
def test_a_volume_in_three_dimensions(application: Any) -> None:
    from microtome.scene.mrml.threed.rendering import get_volume_rendering, set_volume_rendering

    node_id = add_volume(application, head((65, 128, 128))).GetID()
    assert not get_volume_rendering(application, GetVolumeRendering(id=node_id)).visible
    empty = picture(application, turn=Turn(look_from="anterior"))
    told = set_volume_rendering(application, SetVolumeRendering(id=node_id, visible=True))
    assert (told.visible, told.preset) == (True, "MR-Default")
    full = picture(application)
    assert (np.abs(full - empty).max(2) > 20).mean() > 0.02
    coarse = picture(application, effort="interactive")
    assert 0 < np.abs(coarse - full).mean() < 10
    shifted = set_volume_rendering(application, SetVolumeRendering(id=node_id, shift=300.0))
    assert shifted.shift == 300
    assert np.abs(picture(application) - full).mean() > 0.1
    for preset in told.presets:
        assert set_volume_rendering(application, SetVolumeRendering(id=node_id, preset=preset)).preset == preset
    set_volume_rendering(application, SetVolumeRendering(id=node_id, visible=False))
    assert np.abs(picture(application) - empty).max() < 60
    with pytest.raises(InvalidRequest):
        set_volume_rendering(application, SetVolumeRendering(id=node_id, preset="Gold"))
    with pytest.raises(NotFound):
        get_volume_rendering(application, GetVolumeRendering(id="nothing"))


@needs_gl
def test_edges_are_smooth_once_nothing_moves(ball: Any) -> None:
    from microtome.scene.gl import find_renderer

    picture(ball, turn=Turn(look_from="anterior", reset=True))
    full, moving, again = picture(ball), picture(ball, effort="interactive"), picture(ball)
    assert np.array_equal(full, again)
    renderer = find_renderer()
    assert renderer is not None
    changed = (np.abs(full - moving).max(2) > 8).mean()
    assert changed == 0 if not renderer.software else 0.0005 < changed < 0.05


@needs_gl
def test_gltf_holds_what_is_visible(ball: Any) -> None:
    from microtome.scene.mrml.threed.view import export_threed

    document = json.loads(export_threed(ball, ExportThreeD()))
    assert document["asset"]["version"] == "2.0"
    points = [each for each in document["accessors"] if each["type"] == "VEC3" and "max" in each]
    highest = np.max([each["max"] for each in points], 0)
    assert highest == pytest.approx([110, 50, 50], abs=0.5)
    assert all(each["uri"].startswith("data:") for each in document["buffers"])
    ball.scene.GetFirstNodeByName("ball").GetDisplayNode().SetVisibility(0)
    assert len(export_threed(ball, ExportThreeD())) < 2000


def test_layouts_and_screenshots(application: Any) -> None:
    from microtome.scene.mrml.layout import get_layout, screenshot, set_layout

    assert get_layout(application, GetLayout()).name == "FourUp"
    assert set_layout(application, SetLayout(name="oneupredslice")).rows == (("Red",),)
    shot = Image.open(BytesIO(screenshot(application, Screenshot(size=(320, 200))).work().data))
    assert shot.size == (320, 200)
    assert set_layout(application, SetLayout(name="FourUp")).rows == (("Red", "3D"), ("Green", "Yellow"))
    four = np.asarray(Image.open(BytesIO(screenshot(application, Screenshot(size=(322, 202))).work().data)))
    assert (four[0, 40, :3] == [243, 74, 51]).all()  # the bar of the red view
    with pytest.raises(InvalidRequest, match="Unknown layout name: sixup"):
        set_layout(application, SetLayout(name="SixUp"))


def test_without_gl_the_rest_works(application: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from microtome.errors import StorageUnavailable
    from microtome.scene.mrml.layout import screenshot
    from microtome.scene.mrml.threed import view

    monkeypatch.setattr(view, "find_renderer", lambda: None)
    with pytest.raises(StorageUnavailable, match="libegl1"):
        view.render_threed(application, RenderThreeD())
    assert screenshot(application, Screenshot()).work().data.startswith(b"\x89PNG")
