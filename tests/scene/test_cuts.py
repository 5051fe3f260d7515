"""Surfaces cut by slices, against vtkCutter; and what else lies over a slice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from microtome.scene.calls.slices import RenderSlice, SetLayers, SliceMove
from tests.scene.scenes import add_volume, turned
from tests.scene.test_slices import shown

GREEN, RED = (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)


def ball(radius: float = 40.0, middle: tuple[float, float, float] = (10, -5, 3), *, fine: int = 40) -> Any:
    """A sphere as vtkPolyData, a little rough."""
    from vtkmodules.vtkFiltersSources import vtkSphereSource

    from microtome.scene.mrml.library import numpy_support

    source = vtkSphereSource()
    source.SetRadius(radius)
    source.SetCenter(*middle)
    source.SetThetaResolution(fine)
    source.SetPhiResolution(fine)
    source.Update()
    data = source.GetOutput()
    points = numpy_support.vtk_to_numpy(data.GetPoints().GetData())
    points += np.random.default_rng(3).normal(0, 0.7, points.shape).astype(points.dtype)
    return data


def add_model(application: Any, data: Any, **looks: Any) -> Any:
    """A model that is shown in slices."""
    node = application.scene.AddNewNodeByClass("vtkMRMLModelNode", "model")
    node.SetAndObserveMesh(data)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetColor(*GREEN)
    display.SetVisibility2D(1)
    for name, value in looks.items():
        getattr(display, f"Set{name}")(value)
    return node


def cutter(data: Any, normal: NDArray[np.float64], offset: float) -> NDArray[np.float64]:
    """Line segments of vtkCutter: (n, 2, 3)."""
    from vtkmodules.vtkCommonDataModel import vtkPlane
    from vtkmodules.vtkFiltersCore import vtkCutter

    from microtome.scene.mrml.library import numpy_support

    plane = vtkPlane()
    plane.SetNormal(*normal)
    plane.SetOrigin(*(normal * offset))
    found = vtkCutter()
    found.SetCutFunction(plane)
    found.SetInputData(data)
    found.Update()
    points = numpy_support.vtk_to_numpy(found.GetOutput().GetPoints().GetData())
    return points[numpy_support.vtk_to_numpy(found.GetOutput().GetLines().GetConnectivityArray()).reshape(-1, 2)]


def same_lines(ours: NDArray[np.float64], oracle: NDArray[np.float64]) -> None:
    """The same segments, whatever their order and direction, to 0.01 mm."""

    def both_ways(lines: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([lines.reshape(-1, 6), lines[:, ::-1].reshape(-1, 6)])

    assert len(ours) == pytest.approx(len(oracle), rel=0.01)
    for first, second in ((ours, oracle), (oracle, ours)):
        distance = np.abs(both_ways(first)[None] - second.reshape(-1, 1, 6)).max(2).min(1)
        long = np.abs(second[:, 1] - second[:, 0]).max(1) > 0.01  # vtkCutter merges the ends of shorter ones
        assert distance[long].max() < 0.01


def surfaces(application: Any, view: str = "Red") -> list[NDArray[np.float64]]:
    """Lines in the world of everything that a view cuts."""
    from microtome.scene.mrml.shown import Snapshot, geometry_of
    from microtome.scene.slices.cutting import cut

    geometry = geometry_of(application.slice_logics[view].GetSliceNode())
    plane = np.append(geometry.normal, -geometry.offset)
    taken = Snapshot(application, view).take(geometry, ("models", "segments", "markups"))
    return [cut(each.mesh, each.to_world, plane) for each in taken.overlay.surfaces]


@pytest.mark.parametrize("offset", [-20.0, 0.0, 7.3, 41.0, 90.0])
@pytest.mark.parametrize("turn", [(0.0, 0.0), (0.7, 0.3)])
def test_lines_are_those_of_vtks_cutter(offset: float, turn: tuple[float, float]) -> None:
    from microtome.scene.mrml.derived import triangles

    data = ball()
    normal = turned(*turn)[:3, 2]
    lines = triangles(data).cut(np.append(normal, -offset))
    if offset > 50:
        assert not len(lines)
    else:
        same_lines(lines, cutter(data, normal, offset))


def test_a_plane_through_corners_and_edges_cuts_each_edge_once() -> None:
    from microtome.scene.slices.cutting import box

    lines = box(np.eye(4), np.array([2.0, 2.0, 2.0])).cut(np.array([0, 0, 1.0, 1.0]))  # its lower side
    assert not len(lines)  # all points are in the plane or above it
    lines = box(np.eye(4), np.array([2.0, 2.0, 2.0])).cut(np.array([0, 0, 1.0, -1.0]))
    assert np.linalg.norm(lines[:, 1] - lines[:, 0], axis=1).sum() == pytest.approx(8)


def test_broken_triangles_are_left_out() -> None:
    from microtome.scene.slices.cutting import Mesh

    points = np.array([(0, 0, -1), (1, 0, 1), (0, 1, 1), (np.nan, 0, 0), (np.inf, 0, -5)])
    mesh = Mesh(points, np.array([(0, 1, 2), (0, 1, 99), (-1, 0, 1), (0, 1, 3), (4, 1, 2)]))
    assert len(mesh.cut(np.array([0, 0, 1.0, 0]))) == 1


@pytest.mark.parametrize("bent", [False, True])
def test_transforms_move_what_is_cut(application: Any, bent: bool) -> None:
    from vtkmodules.vtkCommonTransforms import vtkTransform
    from vtkmodules.vtkFiltersGeneral import vtkTransformPolyDataFilter

    from microtome.scene.mrml.arrays import vtk_matrix
    from tests.scene.scenes import bend

    data = ball()
    node = add_model(application, data)
    if bent:
        way = bend()
        transform = application.scene.AddNewNodeByClass("vtkMRMLTransformNode")
    else:
        matrix = turned(0.4, 0.9)
        matrix[:3, 3] = 3, -8, 11.0
        way = vtkTransform()
        way.SetMatrix(vtk_matrix(matrix))
        transform = application.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetAndObserveTransformToParent(way)
    node.SetAndObserveTransformNodeID(transform.GetID())
    moved = vtkTransformPolyDataFilter()
    moved.SetInputData(data)
    moved.SetTransform(way)
    moved.Update()
    (lines,) = surfaces(application)
    same_lines(lines, cutter(moved.GetOutput(), np.array([0, 0, 1.0]), 0.0))


def test_a_model_is_drawn_as_its_display_node_says(application: Any) -> None:
    node = add_model(application, ball(middle=(0, 0, 0)))
    display = node.GetDisplayNode()
    first = shown(application, overlay=("models",))
    drawn = first[..., 3] > 0
    rows, columns = np.nonzero(drawn)
    radius = np.hypot(rows - 256, columns - 256) * 250 / 512
    assert 38 < np.median(radius) < 41.5
    assert (first[drawn][:, :3].max(0) == (0, 255, 0)).all()
    assert not shown(application)[..., 3].any()  # nobody asked for it
    display.SetSliceIntersectionThickness(4)
    wide = (shown(application, overlay=("models",))[..., 3] > 0).sum()
    assert wide > 2 * drawn.sum()
    display.SetSliceIntersectionOpacity(0.5)
    assert shown(application, overlay=("models",))[..., 3].max() == 128
    display.SetVisibility2D(0)
    assert not shown(application, overlay=("models",))[..., 3].any()
    display.SetVisibility2D(1)
    display.AddViewNodeID("vtkMRMLSliceNodeGreen")
    assert not shown(application, overlay=("models",))[..., 3].any()
    assert shown(application, "Green", overlay=("models",))[..., 3].any()


def test_a_picture_is_another_when_the_model_is(application: Any) -> None:
    from microtome.scene.mrml.slices import render_slice

    def version() -> str:
        return render_slice(application, RenderSlice(overlay=("models",))).work().version  # type: ignore[union-attr]

    node = add_model(application, ball())
    seen = {version()}
    node.GetDisplayNode().SetColor(*RED)
    seen.add(version())
    node.SetAndObserveMesh(ball(30))
    seen.add(version())
    node.GetMesh().GetPoints().SetPoint(0, 0, 0, 0)
    node.GetMesh().GetPoints().Modified()
    node.GetMesh().Modified()
    seen.add(version())
    assert len(seen) == 4
    assert version() in seen


def test_other_cells_than_triangles(application: Any) -> None:
    """Quadrilaterals, strips and cells of volume are cut as the triangles of their surface."""
    from vtkmodules.vtkFiltersCore import vtkAppendFilter, vtkStripper
    from vtkmodules.vtkFiltersSources import vtkCubeSource

    cube = vtkCubeSource()
    cube.SetXLength(60)
    cube.SetYLength(60)
    cube.SetZLength(60)
    cube.Update()
    strips = vtkStripper()
    strips.SetInputData(ball())
    strips.Update()
    grid = vtkAppendFilter()
    grid.AddInputData(cube.GetOutput())
    grid.Update()
    for data in (cube.GetOutput(), strips.GetOutput(), grid.GetOutput()):
        add_model(application, data)
    quads, round_, cells = surfaces(application)
    for lines in (quads, cells):
        assert np.linalg.norm(lines[:, 1] - lines[:, 0], axis=1).sum() == pytest.approx(240)
    same_lines(round_, cutter(ball(), np.array([0, 0, 1.0]), 0.0))


def test_segments_that_are_surfaces_only(application: Any) -> None:
    """They are filled and outlined, and looking at them adds nothing to the scene."""
    from microtome.scene.mrml.library import slicer

    node = application.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.CreateDefaultDisplayNodes()
    segment = slicer.vtkSegment()
    segment.SetColor(*RED)
    segment.AddRepresentation("Closed surface", ball(middle=(0, 0, 0)))
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    node.GetSegmentation().AddSegment(segment, "S")
    picture = shown(application, overlay=("segments",))
    assert tuple(picture[256, 256][:3]) == (255, 0, 0)
    assert picture[256, 256, 3] == 128
    assert ((picture[..., 3] > 0).sum() * (250 / 512) ** 2) == pytest.approx(np.pi * 40**2, rel=0.06)
    assert not segment.GetRepresentation("Binary labelmap")


@pytest.mark.parametrize(("z", "seen"), [(0.0, True), (19.0, True), (21.0, False)])
def test_a_region_is_the_box_that_it_is(application: Any, z: float, seen: bool) -> None:
    node = application.scene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    node.CreateDefaultDisplayNodes()
    node.SetCenter(0, 0, 0)
    node.SetSize(100, 60, 40)
    node.GetDisplayNode().SetFillOpacity(0.2)
    picture = shown(application, overlay=("markups",), move=SliceMove(offset=z))
    assert picture[256, 256, 3] == (51 if seen else 0)
    if seen:
        assert (picture[..., 3] > 0).sum() * (250 / 512) ** 2 == pytest.approx(6000, rel=0.1)


def test_a_plane_is_the_line_where_it_is_cut(application: Any) -> None:
    node = application.scene.AddNewNodeByClass("vtkMRMLMarkupsPlaneNode")
    node.CreateDefaultDisplayNodes()
    node.SetCenter(20, 0, 0)
    node.SetNormal(1, 0, 0)
    node.SetSize(80, 80)
    (lines,) = surfaces(application)
    assert lines[..., 0] == pytest.approx(20, abs=1e-6)
    assert np.linalg.norm(lines[:, 1] - lines[:, 0], axis=1).sum() == pytest.approx(80)


def test_a_line_through_the_slice_leaves_a_dot(application: Any) -> None:
    node = application.scene.AddNewNodeByClass("vtkMRMLMarkupsLineNode")
    node.CreateDefaultDisplayNodes()
    node.AddControlPoint(0, 0, -50)
    node.AddControlPoint(0, 0, 50)
    through = shown(application, overlay=("markups",))
    assert through[256, 256, 3] == 255
    node.GetDisplayNode().LineSliceIntersectionPointVisibilityOff()
    assert (shown(application, overlay=("markups",))[..., 3] > 0).sum() < (through[..., 3] > 0).sum()


def test_a_slice_dragged_through_a_surface_looks_at_its_triangles_once(
    application: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is prepared for a direction is used by every slice along it, and by all three views."""
    from microtome.scene.mrml import derived
    from microtome.scene.slices import cutting

    made: list[str] = []
    triangles = derived.triangles
    monkeypatch.setattr(derived, "triangles", lambda *given: made.append("mesh") or triangles(*given))
    heights = cutting.Mesh._prepared
    monkeypatch.setattr(cutting.Mesh, "_prepared", lambda *given: made.append("direction") or heights(*given))
    add_model(application, ball())
    add_volume(application, np.zeros((4, 4, 4), np.int16))
    for step in range(5):
        for view in ("Red", "Yellow", "Green"):
            shown(application, view, overlay=("models",), move=SliceMove(offset=float(step)))
    assert made.count("mesh") == 1
    assert made.count("direction") == 3


@pytest.mark.parametrize("components", [2, 3, 6])
def test_vectors_are_colours(application: Any, components: int) -> None:
    """Three numbers or more: the first three as red, green and blue, as MRML shows them; of two the length."""
    from microtome.scene.mrml.slices import set_layers

    ramp = np.mgrid[0:20, 0:32, 0:32].sum(0)[..., None] * 3.0 * (1 + np.arange(components))
    node = add_volume(
        application, ramp.astype(np.float32), np.diag([4, 4, 4, 1.0]), class_name="vtkMRMLVectorVolumeNode"
    )
    set_layers(application, SetLayers(background=node.GetID()))
    application.slice_logics["Red"].FitSliceToAll()
    if components == 2:
        picture = shown(application)
        assert (picture[..., 0] == picture[..., 1]).all()
        assert picture[..., 0].std() > 20
        return
    from tests.scene.scenes import blend

    oracle, ours = blend(application, "Red")[..., :3], shown(application)[..., :3]
    assert (np.abs(oracle.astype(int) - ours.astype(int)).max(2) <= 2).mean() > 0.99
