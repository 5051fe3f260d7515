"""Annotations and segmentations over slides as tiles: against highdicom, which reads and makes the same objects."""

from __future__ import annotations

import asyncio
import io
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom as hd
import mapbox_vector_tile
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom import dcmread

from microtome.dicom.index.url import open_index
from microtome.dicom.matching import OneOf
from microtome.dicom.overlays.annotations import ANNOTATIONS
from microtome.dicom.query import Key, Query
from microtome.dicom.rows import Level
from tests.dicommaker import message, sent, written
from tests.overlaymaker import Marked, bulk_annotations, images, segmentation
from tests.serving import Client, served, until

SLIDE = "folder/small slide.svs"
PLACE = "/slides/folder%2Fsmall%20slide.svs"
WIDTH, HEIGHT = 2220, 2967
SQUARE = np.array([[300, 320], [700, 320], [700, 720], [300, 720]], np.float32)
ELLIPSE = np.array([[1000, 1500], [1400, 1500], [1200, 1400], [1200, 1600]], np.float32)
LINE = np.array([[100, 2000], [900, 2400], [1800, 2100]], np.float32)


@dataclass(frozen=True)
class Marks:
    """A server, and what was stored."""

    client: Client
    shapes: Any
    on_glass: Any
    segments: dict[str, Any]
    mask: NDArray[np.uint8]

    def told(self, found: Any) -> dict[str, Any]:
        """What the list says of an object."""
        listed = self.client.get(f"{PLACE}/overlays").json()["overlays"]
        return next(each for each in listed if each["id"] == found.SOPInstanceUID)


def _groups(source: Any, *, on_glass: bool) -> list[Marked]:
    def placed(points: NDArray[Any]) -> NDArray[Any]:
        if not on_glass:
            return points
        spacing = [
            float(each) for each in source.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
        ]
        origin = source.TotalPixelMatrixOriginSequence[0]
        transformer = hd.spatial.ImageToReferenceTransformer(
            (float(origin.XOffsetInSlideCoordinateSystem), float(origin.YOffsetInSlideCoordinateSystem), 0.0),
            [float(each) for each in source.ImageOrientationSlide], spacing,
        )  # fmt: skip
        return np.asarray(transformer(points.astype(np.float64)), np.float64)

    return [
        Marked("Square", "POLYGON", [placed(SQUARE), placed(SQUARE + 900)], (200, 30, 60), [16.5, 99.25]),
        Marked("Round", "ELLIPSE", [placed(ELLIPSE)]),
        Marked("Path", "POLYLINE", [placed(LINE)]),
        Marked("Dots", "POINT", [placed(np.array([[40.0, 60.0]])), placed(np.array([[2000.0, 2900.0]]))]),
        Marked("Box", "RECTANGLE", [placed(SQUARE - 250)]),
    ]


@pytest.fixture(scope="module")
def marks(testdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Marks]:
    root = tmp_path_factory.mktemp("overlays")
    (root / "data" / "folder").mkdir(parents=True)
    shutil.copy(testdata / "svs" / "CMU-1-Small-Region.svs", root / "data" / SLIDE)
    options = {"dicomweb": True, "dicom_index": str(root / "index.sqlite"), "dicom_store": "received"}
    with served(root / "data", **options) as client:
        until(lambda: client.get("/dicom/series?Modality=SM").body not in {b"", b"[]"})
        (source,) = images(client)
        rng = np.random.default_rng(7)
        mask = np.kron(rng.integers(0, 3, (93, 70), dtype=np.uint8), np.ones((32, 32), np.uint8))[:HEIGHT, :WIDTH]
        fractions = (mask / 2).astype(np.float32)
        names = ("Tumour", "Stroma")
        made = {
            "BINARY": segmentation(source, mask, names=names),
            "LABELMAP": segmentation(source, mask, "LABELMAP", names),
            "FRACTIONAL": segmentation(source, fractions, "FRACTIONAL", names[:1], max_fractional_value=200),
            "TILED_FULL": segmentation(
                source, mask, names=names, dimension_organization_type="TILED_FULL", omit_empty_frames=False
            ),
        }
        shapes = bulk_annotations(source, _groups(source, on_glass=False))
        glass = bulk_annotations(source, _groups(source, on_glass=True), on_glass=True)
        answer = sent(client, message(*map(written, [shapes, glass, *made.values()])))
        assert answer.status == 200, answer.body
        yield Marks(client, shapes, glass, made, mask)


def vector(marks: Marks, found: Any, zoom: int, x: int, y: int) -> dict[str, Any]:
    """A vector tile, with y running down."""
    answer = marks.client.get(f"{PLACE}/overlays/{found.SOPInstanceUID}/{zoom}/{x}/{y}.mvt")
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/vnd.mapbox-vector-tile"
    return mapbox_vector_tile.decode(answer.body, default_options={"y_coord_down": True})


def whole(marks: Marks, found: Any, *, alpha: bool = False, query: str = "") -> NDArray[np.uint8]:
    """All label tiles of the finest level put together: (height, width, 4), or how opaque they are."""
    side = 240
    picture = np.zeros((-(-HEIGHT // side) * side, -(-WIDTH // side) * side, 4), np.uint8)
    for y in range(picture.shape[0] // side):
        for x in range(picture.shape[1] // side):
            answer = marks.client.get(f"{PLACE}/overlays/{found.SOPInstanceUID}/0/{x}/{y}.png{query}")
            assert answer.status == 200, answer.body
            picture[y * side :, x * side :][:side, :side] = np.asarray(Image.open(io.BytesIO(answer.body)))
    assert not picture[HEIGHT:].any()
    assert not picture[:, WIDTH:].any()
    return picture[:HEIGHT, :WIDTH, 3] if alpha else picture[:HEIGHT, :WIDTH]


def test_the_list_says_what_highdicom_reads(marks: Marks) -> None:
    told = marks.told(marks.shapes)
    read = hd.ann.MicroscopyBulkSimpleAnnotations.from_dataset(dcmread(io.BytesIO(written(marks.shapes))))
    for group, wanted in zip(told["groups"], read.get_annotation_groups(), strict=True):
        assert group["number"] == wanted.number
        assert (group["label"], group["type"]) == (wanted.label, wanted.graphic_type.value)
        assert (group["property"], group["count"]) == (
            wanted.annotated_property_type.meaning,
            wanted.number_of_annotations,
        )
        if "RecommendedDisplayCIELabValue" in wanted:
            color = [int(group["color"][at : at + 2], 16) for at in (1, 3, 5)]
            lab = hd.color.CIELabColor(*_cielab(wanted.RecommendedDisplayCIELabValue))
            assert np.abs(np.subtract(color, lab.to_rgb())).max() <= 4  # it goes by way of 8 bits
    assert told["groups"][0]["measurements"] == ["Area (square micrometer)"]
    segments = marks.told(marks.segments["LABELMAP"])["segments"]
    assert [(each["number"], each["label"], each["property"]) for each in segments] == [
        (1, "Tumour", "Neoplasm"), (2, "Stroma", "Neoplasm")
    ]  # fmt: skip
    assert len({each["color"] for each in segments}) == 2


def _cielab(stored: Any) -> tuple[float, float, float]:
    """PS3.3 §C.10.7.1.1."""
    lightness, a, b = (int(each) for each in stored)
    return lightness / 65535 * 100, a / 65535 * 255 - 128, b / 65535 * 255 - 128


@pytest.mark.parametrize("which", ["shapes", "on_glass"])
def test_annotations_are_where_highdicom_put_them(marks: Marks, which: str) -> None:
    """Of every kind, given in px or in mm: to a half px, and two px at a fourth of the resolution."""
    found = getattr(marks, which)
    top = marks.told(found)["zoom"]
    assert 512 << top >= HEIGHT > 512 << (top - 1)
    for zoom, off in ((top, 0.5), (top - 2, 2.0)):
        scale = 512 * 2 ** (top - zoom) / 4096
        seen: dict[str, list[Any]] = {}
        for x in range(1 << zoom):
            for y in range(1 << zoom):
                for name, layer in vector(marks, found, zoom, x, y).items():
                    for feature in layer["features"]:
                        geometry = feature["geometry"]
                        points = np.array(_flat(geometry["coordinates"]), np.float64)
                        points = (points + np.array([x, y]) * 4096) * scale
                        seen.setdefault(name, []).append((feature["id"], points, feature["properties"]))
        for name, wanted in (("1", SQUARE), ("3", LINE), ("5", SQUARE - 250)):
            points = np.concatenate([each for number, each, _ in seen[name] if number == 1])
            for corner in wanted:
                assert np.abs(points - corner).max(axis=1).min() <= off, (name, zoom, corner)
        dots = np.concatenate([points for _, points, _ in seen["4"]])
        for dot in ((40, 60), (2000, 2900)):
            assert np.abs(dots - dot).max(axis=1).min() <= off
        ellipse = np.concatenate([points for _, points, _ in seen["2"]])
        low, high = ellipse.min(axis=0), ellipse.max(axis=0)
        assert np.abs(np.concatenate((low, high)) - (1000, 1400, 1400, 1600)).max() <= 2 * off
        areas = {number: properties["Area (square micrometer)"] for number, _, properties in seen["1"]}
        assert areas == {1: 16.5, 2: 99.25}


def _flat(coordinates: Any) -> list[Any]:
    if isinstance(coordinates[0], (int, float)):
        return [coordinates]
    return [point for each in coordinates for point in _flat(each)]


def test_areas_cover_what_a_picture_of_them_covers(marks: Marks) -> None:
    """All tiles of a zoom filled in, against the polygon filled by another library."""
    wanted = Image.new("L", (WIDTH, HEIGHT))
    for each in (SQUARE, SQUARE + 900):
        ImageDraw.Draw(wanted).polygon([tuple(map(float, point)) for point in each], fill=1)
    found = Image.new("L", (WIDTH, HEIGHT))
    top = marks.told(marks.shapes)["zoom"]
    for x in range(1 << top):
        for y in range(1 << top):
            layer = vector(marks, marks.shapes, top, x, y).get("1", {"features": []})
            for feature in layer["features"]:
                (ring,) = feature["geometry"]["coordinates"]
                points = [(x * 512 + px / 8, y * 512 + py / 8) for px, py in ring]
                ImageDraw.Draw(found).polygon(points, fill=1)
    assert int((np.asarray(found) != np.asarray(wanted)).sum()) < 2 * 4 * 400 * 2


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "TILED_FULL"])
def test_labels_are_those_highdicom_reads(marks: Marks, kind: str) -> None:
    """Every px of the slide: segments in their colours, nothing where there is none."""
    found = marks.segments[kind]
    read = hd.seg.Segmentation.from_dataset(dcmread(io.BytesIO(written(found))))
    wanted = read.get_total_pixel_matrix(combine_segments=True)
    assert np.array_equal(wanted, marks.mask)
    segments = {each["number"]: each["color"] for each in marks.told(found)["segments"]}
    table = np.zeros((3, 4), np.uint8)
    for number, color in segments.items():
        table[number] = *(int(color[at : at + 2], 16) for at in (1, 3, 5)), 255
    assert np.array_equal(whole(marks, found), table[wanted])


def test_fractions_shine_through(marks: Marks) -> None:
    found = marks.segments["FRACTIONAL"]
    assert np.abs(whole(marks, found, alpha=True).astype(int) - np.rint(marks.mask / 2 * 255)).max() <= 2


def test_segments_are_chosen(marks: Marks) -> None:
    found = marks.segments["BINARY"]
    for query, wanted in (("?segments=2", marks.mask == 2), ("?segments=", marks.mask == 9)):
        assert np.array_equal(whole(marks, found, alpha=True, query=query) == 255, wanted)
    assert marks.client.get(f"{PLACE}/overlays/{found.SOPInstanceUID}/0/0/0.png?segments=x").status == 400


def test_answers_are_kept_by_clients(marks: Marks) -> None:
    for path in (
        f"/{marks.shapes.SOPInstanceUID}/0/0/0.mvt",
        f"/{marks.segments['BINARY'].SOPInstanceUID}/0/0/0.png",
        "",
    ):
        answer = marks.client.get(f"{PLACE}/overlays{path}")
        again = marks.client.get(f"{PLACE}/overlays{path}", {"If-None-Match": answer.headers["etag"]})
        assert (answer.status, again.status, again.body) == (200, 304, b""), path


@pytest.mark.parametrize("path", [
    "1.2.3/0/0/0.png", "1.2.3/0/0/0.mvt", "{shapes}/0/0/0.png", "{segments}/0/0/0.mvt", "{shapes}/0/1/0.mvt",
    "{shapes}/99/0/0.mvt", "{segments}/7/0/0.png", "{segments}/0/99/0.png", "{segments}/0/0/0.gif",
])  # fmt: skip
def test_what_is_not_there(marks: Marks, path: str) -> None:
    uids = {"shapes": marks.shapes.SOPInstanceUID, "segments": marks.segments["BINARY"].SOPInstanceUID}
    answer = marks.client.get(f"{PLACE}/overlays/{path.format(**uids)}")
    assert (answer.status, bool(answer.error)) == (404, True)


def test_other_slides_have_none_of_it(marks: Marks, testdata: Path) -> None:
    root = Path(marks.client.services.store.local_path(SLIDE) or "").parent
    # In one step: who asks while a slide is written is told to come again.
    shutil.copy(testdata / "svs" / "CMU-1-Small-Region.svs", root.parent.parent / "other.svs")
    (root.parent.parent / "other.svs").rename(root / "other.svs")
    assert marks.client.get("/slides/folder%2Fother.svs/overlays").json() == {"overlays": []}


def test_marks_are_for_those_who_may_see_them(testdata: Path, tmp_path: Path) -> None:
    """Of two objects over her slide, a person sees the one that she may see."""
    data = tmp_path / "data"
    for name in ("alice", "bob"):
        (data / name).mkdir(parents=True)
    shutil.copy(testdata / "svs" / "CMU-1-Small-Region.svs", data / "alice" / "a.svs")
    options = {"dicomweb": True, "dicom_index": str(tmp_path / "index.sqlite")}
    with served(data, **options) as client:
        until(lambda: client.get("/dicom/series?Modality=SM").body not in {b"", b"[]"})
        (source,) = images(client)
    mine, theirs = (bulk_annotations(source, [Marked("Square", "POLYGON", [SQUARE])]) for _ in range(2))
    (data / "alice" / "mine.dcm").write_bytes(written(mine))
    (data / "bob" / "theirs.dcm").write_bytes(written(theirs))
    place, alice = "/slides/alice%2Fa.svs/overlays", {"authorization": "Bearer alice"}
    with served(data, integration="tests.api.test_login:ByFolder", **options) as client:
        until(lambda: client.get(place, alice).json()["overlays"] != [])
        until(lambda: asyncio.run(_totals(tmp_path / "index.sqlite")) >= 2)
        assert [each["id"] for each in client.get(place, alice).json()["overlays"]] == [mine.SOPInstanceUID]
        assert client.get(f"{place}/{mine.SOPInstanceUID}/0/0/0.mvt", alice).status == 200
        assert client.get(f"{place}/{theirs.SOPInstanceUID}/0/0/0.mvt", alice).status == 404
        assert client.get(place, {"authorization": "Bearer bob"}).status == 404
        assert client.get(f"{place}/{mine.SOPInstanceUID}/0/0/0.mvt").status == 401


async def _totals(path: Path) -> int:
    """How many annotations an index knows."""
    index = await open_index(str(path))
    try:
        kinds = Key(("00080016",), "UI", OneOf((ANNOTATIONS,)))
        return len((await index.search(Query(level=Level.INSTANCE, keys=(kinds,)))).matches)
    finally:
        await index.close()


def test_slides_without_an_index_have_none(slides: Path) -> None:
    with served(slides) as client:
        assert client.get("/slides/test.tif/overlays").json() == {"overlays": []}
        assert client.get("/slides/test.tif/overlays/1.2.3/0/0/0.png").status == 404


def test_a_stored_slide_has_overlays_too(testdata: Path, tmp_path: Path) -> None:
    """Real files: a slide with its annotations and segmentations of every kind, as highdicom's own tests have them."""
    for path in (testdata / "dicom" / "wsi").glob("*sm_*.dcm"):
        shutil.copy(path, tmp_path / path.name)
    image = dcmread(tmp_path / "sm_image_control.dcm")
    wanted = hd.seg.segread(tmp_path / "seg_image_sm_control.dcm")
    slide = f"dicom:%2F{image.StudyInstanceUID}%2F{image.SeriesInstanceUID}"
    with served(tmp_path, dicomweb=True, dicom_index=str(tmp_path / "index.sqlite")) as client:
        until(lambda: client.get(f"/slides/{slide}/overlays").status == 200)

        def listed() -> list[dict[str, Any]]:
            return client.get(f"/slides/{slide}/overlays").json()["overlays"]

        until(lambda: any(each["id"] == wanted.SOPInstanceUID for each in listed()))
        facts = client.get(f"/slides/{slide}").json()
        level = facts["levels"][0]
        matrix = np.zeros((level["tiles_y"] * level["tile_height"], level["tiles_x"] * level["tile_width"]), np.uint8)
        for y in range(level["tiles_y"]):
            for x in range(level["tiles_x"]):
                tile = client.get(f"/slides/{slide}/overlays/{wanted.SOPInstanceUID}/0/{x}/{y}.png")
                seen = np.asarray(Image.open(io.BytesIO(tile.body)))[:, :, 3]
                matrix[y * seen.shape[0] :, x * seen.shape[1] :][: seen.shape[0], : seen.shape[1]] = seen
        truth = wanted.get_total_pixel_matrix(combine_segments=True)
        assert np.array_equal(matrix[: truth.shape[0], : truth.shape[1]] > 0, truth > 0)
