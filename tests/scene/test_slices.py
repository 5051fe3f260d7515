"""Slices against MRML's own slice logic, whose pixels 3D Slicer shows, and against resampling by SimpleITK."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from microtome.errors import InvalidRequest, NotFound
from microtome.scene.calls.slices import (
    GetDisplay,
    GetSlice,
    MoveSlice,
    RenderSlice,
    SetDisplay,
    SetLayers,
    SliceMove,
)
from tests.scene.scenes import RAS, add_volume, bend, blend, head, turned

VIEWS = ("Red", "Yellow", "Green")


def shown(application: Any, view: str = "Red", **asked: Any) -> NDArray[np.uint8]:
    """Our picture of a view, as RGBA."""
    from microtome.scene.mrml.slices import render_slice

    answer = render_slice(application, RenderSlice(view=view, **asked))
    return np.asarray(Image.open(BytesIO(answer.work().data)).convert("RGBA"))  # type: ignore[union-attr]


def check(application: Any, view: str, *, equal: float = 0.99) -> None:
    """Within 2 grey levels on 99 % of the pixels, and transparent in the same places."""
    oracle, ours = blend(application, view), shown(application, view)
    difference = np.abs(oracle.astype(int) - ours.astype(int)).max(2)
    assert ours.shape == oracle.shape
    assert (difference <= 2).mean() >= equal
    assert (oracle[..., 3] != ours[..., 3]).mean() < 0.001
    assert oracle[..., :3].std() > 1  # there is something to see


@pytest.fixture
def scene(application: Any) -> Any:
    """A scene with a volume in all views, windowed so that both ends are cut off."""
    from microtome.scene.mrml.slices import fit, set_display, set_layers

    node = add_volume(application, head())
    set_layers(application, SetLayers(background=node.GetID()))
    set_display(application, SetDisplay(id=node.GetID(), window=500, level=300))
    for view in VIEWS:
        fit(application, view)
    return application


def moved(scene: Any, view: str, **change: Any) -> None:
    from microtome.scene.mrml.slices import move

    move(scene, view, SliceMove(**change))


@pytest.mark.parametrize("view", VIEWS)
def test_a_fitted_view_shows_what_slicer_shows(scene: Any, view: str) -> None:
    check(scene, view, equal=0.999)


@pytest.mark.parametrize("offset", [-83.3, -3.77, 0.0, 12.37, 60.0])
@pytest.mark.parametrize("view", VIEWS)
def test_every_offset(scene: Any, view: str, offset: float) -> None:
    moved(scene, view, offset=offset)
    assert scene.slice_logics[view].GetSliceOffset() == pytest.approx(offset, abs=1e-9)
    check(scene, view)


@pytest.mark.parametrize("width", [31.4, 97.3, 640.0])
@pytest.mark.parametrize("view", VIEWS)
def test_every_field_of_view(scene: Any, view: str, width: float) -> None:
    moved(scene, view, field_of_view=width)
    check(scene, view)


@pytest.mark.parametrize(("x", "z"), [(0.4, 0.4), (0.0, 0.785), (1.2, 0.05), (-0.3, 2.9)])
def test_oblique_slices(scene: Any, x: float, z: float) -> None:
    moved(scene, "Red", slice_to_ras=tuple(turned(x, z).ravel()))
    check(scene, "Red")


@pytest.mark.parametrize("view", VIEWS)
def test_a_volume_under_a_linear_transform(scene: Any, view: str) -> None:
    from microtome.scene.mrml.arrays import vtk_matrix
    from microtome.scene.mrml.slices import fit

    matrix = turned(0.2, 0.5)
    matrix[:3, 3] = 10, -7, 3.3
    transform = scene.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(vtk_matrix(matrix))
    scene.scene.GetFirstNodeByName("MR").SetAndObserveTransformNodeID(transform.GetID())
    fit(scene, view)
    check(scene, view)


def test_a_volume_under_a_bent_transform(scene: Any) -> None:
    transform = scene.scene.AddNewNodeByClass("vtkMRMLTransformNode")
    transform.SetAndObserveTransformToParent(bend())
    scene.scene.GetFirstNodeByName("MR").SetAndObserveTransformNodeID(transform.GetID())
    check(scene, "Red", equal=0.98)


def test_nearest_voxels_and_a_threshold(scene: Any) -> None:
    display = scene.scene.GetFirstNodeByName("MR").GetDisplayNode()
    display.SetInterpolate(0)
    display.SetThreshold(100, 500)
    display.SetApplyThreshold(1)
    check(scene, "Green")
    assert (shown(scene, "Green")[..., 3] == 0).mean() > 0.2


@pytest.mark.parametrize("table", ["Rainbow", "Iron", "InvertedGrey", "fMRIPA"])
def test_colour_tables(scene: Any, table: str) -> None:
    from microtome.scene.mrml.slices import set_display

    node = scene.scene.GetFirstNodeByName("MR")
    assert set_display(scene, SetDisplay(id=node.GetID(), colors=table)).colors == table
    check(scene, "Yellow")


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
def test_every_kind_of_voxel(scene: Any, kind: Any) -> None:
    from microtome.scene.mrml.slices import set_display, set_layers

    values = np.clip(head((40, 64, 64)), 0, 250).astype(kind)
    node = add_volume(scene, values, RAS @ np.diag([4, 4, 3.25, 1.0]), name="other")
    set_layers(scene, SetLayers(background=node.GetID()))
    set_display(scene, SetDisplay(id=node.GetID(), window=200, level=120))
    check(scene, "Red")
    check(scene, "Green")


def test_colours_in_the_voxels(scene: Any) -> None:
    from microtome.scene.mrml.slices import set_layers

    values = np.random.default_rng(2).integers(0, 255, (20, 32, 32, 3)).astype(np.uint8)
    node = add_volume(scene, values, RAS @ np.diag([8, 8, 6.5, 1.0]), name="rgb", class_name="vtkMRMLVectorVolumeNode")
    set_layers(scene, SetLayers(background=node.GetID()))
    check(scene, "Red")


@pytest.mark.parametrize("view", VIEWS)
def test_layers_on_each_other(scene: Any, view: str) -> None:
    from microtome.scene.mrml.slices import set_layers

    k, j, i = np.mgrid[0:130, 0:256, 0:256]
    labels = ((i // 40 + j // 50 + k // 30) % 5).astype(np.uint8)
    label = add_volume(scene, labels, name="label", class_name="vtkMRMLLabelMapVolumeNode")
    second = add_volume(scene, head().astype(np.float32) * 2, name="second")
    set_layers(scene, SetLayers(foreground=second.GetID(), foreground_opacity=0.4))
    check(scene, view)
    set_layers(scene, SetLayers(foreground="", label=label.GetID(), label_opacity=0.6))
    check(scene, view)
    set_layers(scene, SetLayers(foreground=second.GetID()))
    check(scene, view)


def test_values_are_those_of_simpleitk(scene: Any) -> None:
    """Sampled values of an oblique slice, before any window: the geometry is right to 0.01 mm."""
    import SimpleITK as sitk  # noqa: N813

    from microtome.scene.mrml.arrays import volume_of
    from microtome.scene.mrml.shown import geometry_of
    from microtome.scene.slices.sampler import sample

    moved(scene, "Red", slice_to_ras=tuple(turned(0.3, 0.7).ravel()), field_of_view=150.0)
    node = scene.scene.GetFirstNodeByName("MR")
    volume = volume_of(node)
    assert volume is not None
    smooth = np.fromfunction(lambda k, j, i: 10 * i + 3 * j + 5 * k, volume.array.shape[:3], dtype=np.float64)
    volume = type(volume)(smooth[..., None], volume.ijk_to_ras)
    geometry = geometry_of(scene.slice_logics["Red"].GetSliceNode())
    flip = np.diag([-1.0, -1, 1, 1])
    image = sitk.GetImageFromArray(smooth)
    lps = flip @ volume.ijk_to_ras
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    place = flip @ geometry.rows_to_ras()
    pitch = np.linalg.norm(place[:3, :3], axis=0)
    found = sitk.Resample(
        image, [*geometry.size, 1], sitk.Transform(), sitk.sitkLinear, place[:3, 3].tolist(), pitch.tolist(),
        (place[:3, :3] / pitch).ravel().tolist(), -1.0, sitk.sitkFloat64,
    )  # fmt: skip
    oracle = sitk.GetArrayFromImage(found)[0]
    ours = sample(volume, geometry).values[..., 0]
    both = (oracle != -1) & (ours != 0)
    assert both.mean() > 0.5
    assert np.abs(oracle - ours)[both].max() < 0.03  # the steepest slope is 10 a millimetre


def test_pixel_and_patient(scene: Any) -> None:
    """Red: R = 128 - 0.5 x, A = -128 + 0.5 y; the patient's right is on the left of the screen."""
    from microtome.scene.mrml.slices import get_slice

    info = get_slice(scene, GetSlice(view="Red"))
    matrix = np.array(info.xy_to_ras).reshape(4, 4)
    assert matrix @ (0, 0, 0, 1) == pytest.approx([128, -128, 0.65, 1])
    assert matrix @ (10, 20, 0, 1) == pytest.approx([123, -118, 0.65, 1])
    assert info.field_of_view == (256, 256)
    assert (info.slices, info.step) == (130, pytest.approx(1.3))
    assert info.offsets == pytest.approx((-83.85, 83.85))


@pytest.mark.parametrize(("view", "offset"), [("Red", 0.65), ("Yellow", 0.5), ("Green", 0.5)])
def test_fitting_snaps_to_the_middle_voxel(scene: Any, view: str, offset: float) -> None:
    from microtome.scene.mrml.slices import get_slice

    assert get_slice(scene, GetSlice(view=view)).offset == pytest.approx(offset)


def test_zero_is_a_place(scene: Any) -> None:
    moved(scene, "Red", scroll_to=0.0)
    assert scene.slice_logics["Red"].GetSliceOffset() == pytest.approx(-84.5)
    moved(scene, "Red", scroll_to=7.0)
    assert scene.slice_logics["Red"].GetSliceOffset() == pytest.approx(84.5)
    moved(scene, "Red", offset=0.0)
    assert scene.slice_logics["Red"].GetSliceOffset() == pytest.approx(0)


def test_a_view_that_is_only_looked_at_stays_where_it_was(scene: Any) -> None:
    from microtome.scene.mrml.slices import get_slice

    before = get_slice(scene, GetSlice(view="Red"))
    still = shown(scene)
    for change in (
        SliceMove(offset=20.0),
        SliceMove(orientation="sagittal", offset=3.0),
        SliceMove(slice_to_ras=tuple(turned(1, 1).ravel()), field_of_view=50.0),
        SliceMove(copy_from="Green", center=(5.0, 6.0, 7.0)),
    ):
        assert np.abs(shown(scene, move=change, keep=False).astype(int) - still).max() > 50
    assert get_slice(scene, GetSlice(view="Red")) == before
    assert (shown(scene) == still).all()


def test_another_orientation_is_that_of_the_other_view(scene: Any) -> None:
    moved(scene, "Red", orientation="sagittal")
    assert (shown(scene, "Red") == shown(scene, "Yellow")).all()
    moved(scene, "Red", copy_from="green")
    assert (shown(scene, "Red") == shown(scene, "Green")).all()


@pytest.mark.parametrize("size", [(256, 256), (900, 300), (40, 700)])
def test_a_size_is_kept_to_and_all_of_the_view_is_in_it(scene: Any, size: tuple[int, int]) -> None:
    from microtome.scene.mrml.shown import geometry_of

    picture = shown(scene, size=size)
    assert picture.shape == (size[1], size[0], 4)
    geometry = geometry_of(scene.slice_logics["Red"].GetSliceNode(), size)
    assert min(geometry.field_of_view) == pytest.approx(256)
    assert geometry.field_of_view[0] / size[0] == pytest.approx(geometry.field_of_view[1] / size[1])


def test_a_version_changes_with_what_is_seen_and_only_then(scene: Any) -> None:
    from microtome.scene.mrml.slices import render_slice, set_display, set_layers

    def version(**asked: Any) -> str:
        return render_slice(scene, RenderSlice(**asked)).work().version  # type: ignore[union-attr]

    node = scene.scene.GetFirstNodeByName("MR")
    first = version()
    assert version() == first
    changes: list[Callable[[], Any]] = [
        lambda: moved(scene, "Red", offset=4.0),
        lambda: set_display(scene, SetDisplay(id=node.GetID(), level=200)),
        lambda: set_layers(scene, SetLayers(foreground=node.GetID(), foreground_opacity=0.5)),
        lambda: node.GetImageData().Modified(),
    ]
    seen = {first}
    for change in changes:
        change()
        seen.add(version())
    assert len(seen) == 1 + len(changes)
    assert len({version(), version(format="jpeg"), version(size=(100, 100)), version(overlay=("scale",))}) == 4
    known = render_slice(scene, RenderSlice(known=version()))
    assert known.data == b""  # type: ignore[union-attr]
    scene.scene.AddNewNodeByClass("vtkMRMLModelNode")
    assert version() == known.version  # type: ignore[union-attr]


def test_formats(scene: Any) -> None:
    from microtome.scene.mrml.slices import render_slice

    for name, kind in (("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")):
        picture = render_slice(scene, RenderSlice(format=name)).work()  # type: ignore[union-attr]
        opened = Image.open(BytesIO(picture.data))
        assert (opened.format, opened.size, picture.media_type) == (kind, (512, 512), f"image/{name}")


def test_an_empty_view_is_transparent(application: Any) -> None:
    assert shown(application).max() == 0


def test_presets_and_automatic_windows(scene: Any) -> None:
    from microtome.scene.mrml.slices import get_display, set_display

    node_id = scene.scene.GetFirstNodeByName("MR").GetID()
    for preset in get_display(scene, GetDisplay(id=node_id)).presets:
        assert set_display(scene, SetDisplay(id=node_id, preset=preset)).window > 0
    lung = set_display(scene, SetDisplay(id=node_id, preset="CT-Lung"))
    assert (lung.window, lung.level, lung.automatic) == (1400, -500, False)
    automatic = set_display(scene, SetDisplay(id=node_id, automatic=True))
    low, high = np.percentile(head(), [0.1, 99.9])
    assert automatic.level == pytest.approx((low + high) / 2, abs=8)
    assert automatic.window == pytest.approx(high - low, abs=16)


@pytest.mark.parametrize(
    "wrong",
    [
        RenderSlice(size=(0, 10)),
        RenderSlice(size=(5000, 10)),
        RenderSlice(format="bmp"),
        RenderSlice(overlay=("rainbows",)),
        RenderSlice(move=SliceMove(offset=float("nan"))),
        RenderSlice(move=SliceMove(slice_to_ras=(1.0,) * 16)),
        RenderSlice(move=SliceMove(slice_to_ras=(1.0,) * 3)),
        RenderSlice(move=SliceMove(slice_to_ras=(1e308,) * 15 + (1.0,))),
        RenderSlice(move=SliceMove(slice_to_ras=(1, 0, 0, 1e73, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1))),
        RenderSlice(move=SliceMove(offset=1e73)),
        RenderSlice(keep=False, move=SliceMove(offset=-1e73)),
        RenderSlice(move=SliceMove(center=(0.0, -1e73, 0.0))),
        RenderSlice(move=SliceMove(orientation="upside")),
        RenderSlice(move=SliceMove(field_of_view=-3.0)),
    ],
)
def test_what_cannot_be_is_refused(scene: Any, wrong: RenderSlice) -> None:
    from microtome.scene.mrml.slices import get_slice, render_slice

    before = get_slice(scene, GetSlice())
    with pytest.raises(InvalidRequest):
        render_slice(scene, wrong)
    assert get_slice(scene, GetSlice()).field_of_view == before.field_of_view


def test_views_and_volumes_that_are_not_there(scene: Any) -> None:
    from microtome.scene.mrml.slices import get_display, move_slice, render_slice, set_layers

    with pytest.raises(NotFound):
        render_slice(scene, RenderSlice(view="Blue"))
    with pytest.raises(NotFound):
        move_slice(scene, MoveSlice(view="Blue"))
    with pytest.raises(NotFound):
        get_display(scene, GetDisplay(id="vtkMRMLSliceNodeRed"))
    with pytest.raises(NotFound):
        set_layers(scene, SetLayers(background="nothing"))
