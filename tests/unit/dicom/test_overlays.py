"""Annotations and segmentations made to annoy: refused, or drawn without what is wrong in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from microtome.dicom.build import dataset, item
from microtome.dicom.dataset import Dataset
from microtome.dicom.overlays.annotations import Group, Measurement, batches, groups_of
from microtome.dicom.overlays.codes import distinct
from microtome.dicom.overlays.limits import DEFAULT_LIMITS
from microtome.dicom.overlays.plane import Plane, applied, between, plane_of
from microtome.dicom.overlays.segments import segmentation_of
from microtome.errors import CorruptData, LimitExceeded
from microtome.formats.vector.geojson.cut import TileCutter
from microtome.formats.vector.geojson.index import append_batch, build_with
from microtome.model import Size

UNIT = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def group(kind: str = "POLYGON", count: int = 2, *measurements: Measurement, dimensions: int = 2) -> Group:
    starts = "starts" if kind in {"POLYGON", "POLYLINE"} else None
    return Group(1, "", "", kind, "", "", 0, count, "points", False, starts, dimensions, False, measurements)


def drawn(of: Group, points: Any, starts: Any = (), **arrays: NDArray[Any]) -> int:
    """How many annotations are left."""
    given = {"points": np.array(points, "<f4").ravel(), "starts": np.array(starts, "<u4"), **arrays}
    return sum(len(batch.ids) for batch, _ in batches(of, given, UNIT))


TRIANGLES = [[0, 0], [9, 0], [9, 9], [20, 20], [29, 20], [29, 29]]


def test_groups_of_points_and_lines() -> None:
    assert drawn(group(), TRIANGLES, [1, 7]) == 2
    assert drawn(group("POINT", 6), TRIANGLES) == 6
    assert drawn(group("ELLIPSE", 1), TRIANGLES[:4]) == 1
    heights = [[x, y, 5] for x, y in TRIANGLES]
    assert drawn(group(dimensions=3), heights, [1, 10]) == 2


@pytest.mark.parametrize("starts", [[1], [1, 7, 9], [1, 2], [7, 1], [0, 7], [1, 4_000_000_001], [1, 13], [1, 1]])
def test_an_index_that_leads_astray_is_refused(starts: list[int]) -> None:
    with pytest.raises(CorruptData):
        drawn(group(), TRIANGLES, starts)


def test_too_few_coordinates_are_refused() -> None:
    with pytest.raises(CorruptData):
        drawn(group("RECTANGLE", 2), TRIANGLES)


def test_places_that_cannot_be_are_left_out() -> None:
    points = [[np.nan, 0], [9, 0], [9, 9], [20, 20], [29, 20], [np.inf, 29]]
    assert drawn(group(), points, [1, 7]) == 0
    assert drawn(group("POINT", 6), points) == 4
    assert drawn(group("POINT", 6), [[1e30, 1], *points[1:]]) == 4


def test_measurements_of_annotations_that_do_not_exist_are_refused() -> None:
    measured = group("POINT", 6, Measurement("Area", "values", "numbers"))
    for numbers in ([0], [7], [1, 2]):
        with pytest.raises(CorruptData):
            drawn(measured, TRIANGLES, values=np.ones(1, "<f4"), numbers=np.array(numbers, "<u4"))
    assert drawn(measured, TRIANGLES, values=np.ones(2, "<f4"), numbers=np.array([2, 5], "<u4")) == 6


def test_a_million_announced_annotations_take_no_memory() -> None:
    header = dataset({"AnnotationGroupSequence": (item({
        "GraphicType": "POINT", "NumberOfAnnotations": DEFAULT_LIMITS.annotations + 1,
        "PointCoordinatesData": b"\0" * 8,
    }),)})  # fmt: skip
    with pytest.raises(LimitExceeded):
        groups_of(header)


def test_a_tile_looks_only_at_what_it_meets(tmp_path: Path) -> None:
    """A grid of a hundred squares: each tile has those that meet it and no other."""
    corners = np.array([[0, 0], [40, 0], [40, 40], [0, 40]])
    places = np.array([[100 * x + 30, 100 * y + 30] for y in range(10) for x in range(10)])
    points = (places[:, None] + corners).reshape(-1, 2)
    given = {"points": points.astype("<f4").ravel(), "starts": (np.arange(100) * 8 + 1).astype("<u4")}

    def read(spool: Any) -> dict[str, Any]:
        for batch, values in batches(group(count=100), given, UNIT):
            append_batch(spool, batch, values)
        return {"plane": "pixels", "skipped": 0, "keys": [], "kinds": {}, "name": "", "zoom": 1}

    build_with(read, tmp_path / "index", most=1 << 30)
    import mapbox_vector_tile

    cutter = TileCutter(tmp_path / "index", ("1", "1 clusters"))
    for column, row in ((0, 0), (1, 0), (0, 1), (1, 1)):
        found = mapbox_vector_tile.decode(cutter.tile(1, column, row) or b"")["1"]["features"]
        low, high = np.array([column, row]) * 512 - 8, np.array([column, row]) * 512 + 520
        meets = ((places <= high) & (places + 40 >= low)).all(axis=1)
        assert {each["id"] for each in found} == set((np.flatnonzero(meets) + 1).tolist())


def test_colours_are_never_the_same() -> None:
    found = distinct([None] * 20_000 + [0x2F9BFF] * 100)
    assert len(set(found)) == len(found)


def test_matrices_of_other_sizes_and_places() -> None:
    coarse, fine = Plane("a", Size(100, 50), None), Plane("b", Size(1000, 500), None)
    assert np.array_equal(applied(between(coarse, fine), np.array([[10.0, 5.0]])), [[100, 50]])
    shifted = np.array([[0.01, 0, 1.0], [0, 0.01, 2.0]])
    whole = np.array([[0.001, 0, 0.0], [0, 0.001, 0.0]])
    part = between(Plane("a", Size(10, 10), shifted), Plane("b", Size(9000, 9000), whole))
    assert np.allclose(applied(part, np.array([[0.0, 0.0], [10, 10]])), [[1000, 2000], [1100, 2100]])


def _segmentation(**values: Any) -> Dataset:
    usual = {
        "SegmentationType": "BINARY", "Rows": 10, "Columns": 10, "NumberOfFrames": "1", "TotalPixelMatrixRows": 20,
        "TotalPixelMatrixColumns": 20, "DimensionOrganizationType": "TILED_FULL",
        "SegmentSequence": (item({"SegmentNumber": 1, "SegmentLabel": "one"}),),
    }  # fmt: skip
    return dataset({**usual, **values})


@pytest.mark.parametrize("wrong", [
    {"TotalPixelMatrixRows": 0}, {"TotalPixelMatrixColumns": 4_000_000_000}, {"Rows": 0}, {"NumberOfFrames": "5"},
    {"NumberOfFrames": "2000000000"}, {"SegmentationType": "NONE"}, {"DimensionOrganizationType": "TILED_SPARSE"},
])  # fmt: skip
def test_segmentations_that_are_none(wrong: dict[str, Any]) -> None:
    with pytest.raises((CorruptData, LimitExceeded)):
        segmentation_of(_segmentation(**wrong))


def test_frames_of_a_full_grid() -> None:
    found = segmentation_of(_segmentation(NumberOfFrames="4"))
    assert list(zip(found.columns.tolist(), found.rows.tolist(), strict=True)) == [(0, 0), (10, 0), (0, 10), (10, 10)]
    assert plane_of(_segmentation()).size == Size(20, 20)
