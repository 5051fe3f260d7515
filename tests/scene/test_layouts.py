"""Every layout that Slicer names: its views where it has them, or a refusal."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from microtome.errors import InvalidRequest, NotFound, UnsupportedFormat
from microtome.scene.calls.layout import GetLayout, Screenshot, SetLayout
from microtome.scene.calls.slices import GetSlice, RenderSlice, SetLayers
from microtome.scene.calls.threed import GetCamera, RenderThreeD, Turn, TurnCamera
from tests.scene.scenes import add_volume, head
from tests.scene.test_slices import shown
from tests.scene.test_threed import needs_gl

SIZE = (642, 482)
NONE = {"None", "DicomBrowser", "Final", "Maximized", "Custom", "User"}


def chosen(application: Any, name: str) -> Any:
    from microtome.scene.mrml.layout import set_layout

    return set_layout(application, SetLayout(name=name))


def shot(application: Any, size: tuple[int, int] = SIZE) -> np.ndarray:
    from microtome.scene.mrml.layout import screenshot

    return np.asarray(Image.open(BytesIO(screenshot(application, Screenshot(size=size)).work().data)).convert("RGB"))


def test_every_layout_is_drawn_or_refused(application: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each view stands where it belongs, below the bar in its colour; the places fill the whole and do not overlap."""
    from microtome.scene.mrml.arrangement import names
    from microtome.scene.mrml.threed import view

    monkeypatch.setattr(view, "find_renderer", lambda: None)  # 3D is drawn by another test
    drawn = 0
    for name in names():
        if name in NONE:
            with pytest.raises(InvalidRequest, match="no views"):
                chosen(application, name)
            continue
        told = chosen(application, name)
        assert sum(width * height for *_, width, height in (each.place for each in told.views)) == pytest.approx(1)
        picture = shot(application)
        assert picture.shape == (SIZE[1], SIZE[0], 3)
        for each in told.views:
            if each.kind == "slice":
                left, top, width, _ = each.place
                x, y = round((left + width / 2) * SIZE[0]), round(top * (SIZE[1] + 2)) + 1
                color = application.slice_logics[each.name].GetSliceNode().GetLayoutColor()
                assert picture[y, x] == pytest.approx(np.array(color) * 255, abs=1), (name, each.name)
        drawn += 1
    assert drawn >= 28


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("FourUp", (("Red", "3D"), ("Green", "Yellow"))),
        ("Dual3D", (("3D", "3D-2"), ("Red", "Green", "Yellow"))),
        ("Triple3DEndoscopy", (("3D",), ("3D-2", "3D-3"))),
        ("ThreeOverThree", (("Red", "Green", "Yellow"), ("Red+", "Green+", "Yellow+"))),
        ("FourOverFour", (("3D", "Red", "Green", "Yellow"), ("3D-1+", "Red+", "Green+", "Yellow+"))),
        ("CompareGrid", (("Red", "3D"), ("Compare1",))),
        ("TabbedSlice", (("Red",),)),
        ("FourByTwoSlice", (("Red", "Yellow", "Green", "Slice4"), ("Slice5", "Slice6", "Slice7", "Slice8"))),
    ],
)  # fmt: skip
def test_views_of_a_layout(application: Any, name: str, rows: tuple[tuple[str, ...], ...]) -> None:
    from microtome.scene.mrml.layout import get_layout

    assert chosen(application, name).rows == rows
    assert get_layout(application, GetLayout()).name == name


def test_a_view_that_a_layout_brings_shows_what_the_red_one_does(application: Any) -> None:
    from microtome.scene.mrml.slices import fit, get_slice, render_slice, set_layers

    node = add_volume(application, head((32, 64, 64)))
    set_layers(application, SetLayers(background=node.GetID()))
    for view in ("Red", "Green"):
        fit(application, view)
    with pytest.raises(NotFound, match="Yellow"):
        render_slice(application, RenderSlice(view="Green+"))
    application.look()
    before = len(application.journal.changes)
    chosen(application, "ThreeOverThree")
    application.look()
    assert len(application.journal.changes) == before  # nothing that anybody would take back
    told = get_slice(application, GetSlice(view="green+"))
    assert (told.view, told.orientation, told.background) == ("Green+", "coronal", node.GetID())
    assert np.abs(shown(application, "Green+").astype(int) - shown(application, "Green")).max() <= 1


def test_slices_are_seen_in_those_of_their_group_and_layout(application: Any) -> None:
    def lines(view: str) -> int:
        return int((shown(application, view, overlay=("intersections",))[..., 3] > 0).any(0).sum())

    assert lines("Red") == 512
    chosen(application, "OneUpRedSlice")
    assert lines("Red") == 0
    chosen(application, "ThreeOverThree")
    assert lines("Red+") == 512
    chosen(application, "FourUp")
    assert lines("Red+") == 0


@needs_gl
def test_each_3d_view_has_a_camera_of_its_own(application: Any) -> None:
    from microtome.scene.mrml.threed.view import get_camera, render_threed, turn_camera

    chosen(application, "Dual3D")
    turn_camera(application, TurnCamera(view="3D-2", turn=Turn(look_from="superior")))
    first, second = (get_camera(application, GetCamera(view=name)) for name in ("3D", "2"))
    assert first.position == pytest.approx((0, 500, 0))
    assert second.position == pytest.approx((0, 0, 500), abs=1e-3)
    pictures = [
        render_threed(application, RenderThreeD(view=name, size=(320, 240))).work()  # type: ignore[union-attr]
        for name in ("3D", "3D-2", "vtkMRMLViewNode1")
    ]
    assert pictures[0].data == pictures[2].data
    assert pictures[0].data != pictures[1].data
    assert pictures[0].version != pictures[1].version
    sheet = shot(application)
    left, right = sheet[20:230, 10:310].astype(int), sheet[20:230, 332:632].astype(int)
    assert left.std() > 10
    assert right.std() > 10
    assert np.abs(left - right).max() > 50
    with pytest.raises(NotFound, match="3D-2"):
        get_camera(application, GetCamera(view="3D-9"))


@pytest.mark.parametrize(
    "description",
    ["<layout", "<!DOCTYPE a [<!ENTITY b 'c'>]><layout>&b;</layout>", "<layout>" * 100 + "<view/>" + "</layout>" * 100],
)
def test_a_hostile_description_is_no_layout(description: str) -> None:
    from microtome.scene.mrml.arrangement import places

    with pytest.raises(UnsupportedFormat):
        places(description)


def test_a_layout_of_a_file_that_nobody_knows(application: Any) -> None:
    """Its own description counts; without one that can be read the views are those of the default."""
    from microtome.scene.mrml.layout import get_layout

    get_layout(application, GetLayout())
    node = application.scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    view = '<view class="vtkMRMLSliceNode" singletontag="{}"/>'
    text = "".join(f"<item>{view.format(name)}</item>" for name in ("Yellow", "Mine"))
    node.AddLayoutDescription(501, f'<layout type="horizontal">{text}</layout>')
    node.SetViewArrangement(501)
    assert get_layout(application, GetLayout()).rows == (("Yellow", "Mine"),)
    node.AddLayoutDescription(502, "<layout><item><view")
    node.SetViewArrangement(502)
    assert get_layout(application, GetLayout()).rows == (("Red", "3D"), ("Green", "Yellow"))
