"""GeoJSON cut into tiles: what a decoder and a geometry library of others see in them."""

from __future__ import annotations

import gzip
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shapely.geometry import shape

from microtome.errors import CorruptData, LimitExceeded, NotFound
from microtome.formats.vector import tilejson
from microtome.formats.vector.geojson import parse
from microtome.formats.vector.geojson.cut import TileCutter
from microtome.formats.vector.geojson.index import SHAPES, build
from microtome.formats.vector.geojson.parse import FeatureStream
from tests.unit.vector.opening import Decoded, decoded, feature, geojson, opened, square, tile

UNIT = 512 / 4096
"""px of the highest zoom for one tile unit."""


def cutter(path: Path, text: bytes, **options: Any) -> TileCutter:
    build([text], path / "x.index", plane=options.pop("plane", None), most=1 << 30, **options)
    return TileCutter(path / "x.index")


def drawn(found: Decoded, layer: str = "features") -> list[dict[str, Any]]:
    return list(found[layer]["features"]) if layer in found else []


def nuclei(number: int, side: float, *, seed: int = 1) -> list[dict[str, Any]]:
    """Round polygons of 12 to 28 px in a square."""
    chosen = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    centres = chosen.uniform(20, side - 20, (number, 1, 2))
    radii = chosen.uniform(6, 14, (number, 1))
    around = np.stack((radii * np.cos(angles), radii * np.sin(angles)), axis=2)
    rings = (centres + around).round(2).tolist()
    kinds = ["Tumor", "Stroma", "Immune"]
    return [
        {
            "type": "Feature",
            "id": i,
            "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
            "properties": {"classification": {"name": kinds[i % 3]}, "area": i / 7},
        }
        for i, ring in enumerate(rings)
    ]


async def test_a_file_of_a_segmentation_becomes_a_pyramid() -> None:
    text = geojson([feature("Polygon", [square(1000, 2000, 100)], name="Tumor"), feature("Point", [5000, 300])])
    async with opened({"case/a.geojson": text}, "case/a.geojson") as slide:
        info = await slide.info()
        assert info.levels[0].size == (8192, 8192)
        assert info.levels[0].tile_size == (512, 512)
        assert [level.downsample for level in info.levels] == [1, 2, 4, 8, 16]
        assert info.properties["bounds_px"] == "1000,300,5000,2100"
        (layer,) = json.loads(info.properties["vector_layers"])
        assert layer["fields"] == {"name": "String"}
        west, south, east, north = tilejson(info, "u")["bounds"]
        assert math.isclose(west, 1000 / 8192 * 360 - 180, abs_tol=1e-6)
        assert math.isclose(east, 5000 / 8192 * 360 - 180, abs_tol=1e-6)
        assert south < north
        (found,) = drawn(decoded(await tile(slide, 4, 1, 3)))  # 512..1024, 1536..2048: the ring reaches beyond
        assert found["properties"] == {"name": "Tumor"}
        edge = (4096 + 64) * UNIT
        assert shape(found["geometry"]).bounds == (488 / UNIT, 464 / UNIT, edge / UNIT, edge / UNIT)
        with pytest.raises(NotFound):
            await tile(slide, 4, 0, 0)
        whole = drawn(decoded(await tile(slide, 0, 0, 0)))
        assert len(whole) == 2
        assert shape(whole[0]["geometry"]).bounds == (500, 1000, 550, 1050)
        assert (await slide.read_whole()).data == text  # type: ignore[attr-defined]


async def test_every_kind_of_geometry() -> None:
    features = [
        feature("Point", [10, 20], n=1),
        feature("MultiPoint", [[10, 20], [30, 40, 7]], n=2),
        feature("LineString", [[10, 10], [100, 10], [100, 100]], n=3),
        feature("MultiLineString", [[[0, 0], [10, 10]], [[20, 20], [30, 10]]], n=4),
        feature("Polygon", [square(100, 100, 100), square(120, 120, 20)[::-1], square(160, 160, 20)], n=5),
        feature("MultiPolygon", [[square(10, 200, 50)], [square(100, 300, 50), square(110, 310, 10)]], n=6),
        {"type": "Feature", "properties": {"n": 7}, "geometry": {"type": "GeometryCollection", "geometries": [
            {"type": "Point", "coordinates": [1, 1]}, {"type": "LineString", "coordinates": [[1, 1], [9, 9]]},
            {"type": "Point", "coordinates": [2, 2]}]}},
        {"type": "Feature", "properties": None, "geometry": None},
        feature("Polygon", [], n=8),
    ]  # fmt: skip
    async with opened({"a.json": geojson(features)}, "a.json") as slide:
        assert (await slide.info()).properties["features_without_geometry"] == "2"
        found = {}
        for each in drawn(decoded(await tile(slide, 0, 0, 0))):
            found.setdefault(each["properties"]["n"], []).append(shape(each["geometry"]))
        assert {n: sorted(g.geom_type for g in each) for n, each in found.items()} == {
            1: ["Point"], 2: ["MultiPoint"], 3: ["LineString"], 4: ["MultiLineString"], 5: ["Polygon"],
            6: ["MultiPolygon"], 7: ["LineString", "MultiPoint"],
        }  # fmt: skip
        assert found[5][0].area == pytest.approx((100**2 - 20**2 - 20**2) / UNIT**2)
        assert found[6][0].area == pytest.approx((2 * 50**2 - 10**2) / UNIT**2)
        assert found[4][0].length == pytest.approx(2 * math.sqrt(200) / UNIT)
        assert list(found[3][0].coords) == [(80, 80), (800, 80), (800, 800)]


async def test_properties_as_tags(testdata: Path) -> None:
    text = (testdata / "vector/geojson/properties.geojson").read_bytes()
    async with opened({"a.geojson": text}, "a.geojson") as slide:
        (found,) = drawn(decoded(await tile(slide, 0, 0, 0)))
        assert found["properties"] == {
            "prop_string": "hello", "prop_int_negative": -42, "prop_uint_large": 18446744073709551615,
            "prop_float": 3.5, "prop_bool_true": True, "prop_bool_false": False, "prop_array": "[1,2,3]",
            "prop_object.nested": "value",
        }  # fmt: skip


async def test_identities() -> None:
    features = [{**feature("Point", [1, 1]), "id": n} for n in (0, 2**62, "abc", -5, None, 1.5)]
    async with opened({"a.geojson": geojson(features)}, "a.geojson") as slide:
        found = drawn(decoded(await tile(slide, 0, 0, 0)))
    assert sorted((each.get("id", 0), str(each["properties"].get("id", ""))) for each in found) == [
        (0, ""), (0, ""), (0, "-5"), (0, "1.5"), (0, "abc"), (2**62, ""),
    ]  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_clipping_agrees_with_a_geometry_library(tmp_path: Path, data: st.DataObject) -> None:
    number = data.draw(st.integers(3, 12))
    centre = data.draw(st.tuples(st.integers(200, 900), st.integers(200, 900)))
    radii = data.draw(st.lists(st.integers(20, 700), min_size=number, max_size=number))
    ring = [
        (centre[0] + r * math.cos(2 * math.pi * i / number), centre[1] + r * math.sin(2 * math.pi * i / number))
        for i, r in enumerate(radii)
    ]
    line = data.draw(st.booleans())
    kind, coordinates = ("LineString", ring) if line else ("Polygon", [[*ring, ring[0]]])
    corner = feature("Point", [1000, 1000])
    cut = cutter(tmp_path, geojson([feature(kind, coordinates, n=1), corner]))
    assert cut.top == 1 or max(max(p) for p in ring) > 1024
    original = shape({"type": kind, "coordinates": coordinates})
    for column in range(2):
        for row in range(2):
            left, top = 512 * column, 512 * row
            window = shapely.box(left - 8, top - 8, left + 520, top + 520)
            expected = shapely.intersection(original.buffer(0) if not line else original, window)
            made = cut.tile(cut.top, column, row)
            found = [each for each in drawn(decoded(made or b"")) if each["properties"]]
            if not found:
                assert expected.length * 2 < 8 or expected.area < 8
                continue
            got = shapely.transform(shape(found[0]["geometry"]), lambda points: points * UNIT)
            got = shapely.affinity.translate(got, left, top)
            slack = 0.2  # half a unit each way, and 1/16 px
            if line:
                assert got.length == pytest.approx(expected.length, abs=1 + expected.length * 0.01)
            else:
                assert got.buffer(0).symmetric_difference(expected).area <= slack * (expected.length + got.length) + 1


def test_rings_are_wound_as_the_specification_wants(tmp_path: Path) -> None:
    both = [square(10, 10, 300), square(50, 50, 30)]
    for outer in (1, -1):
        for inner in (1, -1):
            text = geojson([feature("Polygon", [both[0][::outer], both[1][::inner]])])
            made = cutter(tmp_path, text).tile(0, 0, 0)
            assert made is not None
            areas = [_signed(ring) for ring in _commands(made)]
            assert areas[0] > 0 > areas[1]


def _commands(made: bytes) -> list[list[tuple[int, int]]]:
    """The rings of the only feature, from the numbers of the message itself."""
    from mapbox_vector_tile.Mapbox import vector_tile_pb2

    message = vector_tile_pb2.tile()  # pyright: ignore[reportAttributeAccessIssue]
    message.ParseFromString(made)
    numbers = list(message.layers[0].features[0].geometry)
    rings: list[list[tuple[int, int]]] = []
    x = y = at = 0
    while at < len(numbers):
        command, count = numbers[at] & 7, numbers[at] >> 3
        at += 1
        if command == 1:
            rings.append([])
        if command == 7:
            continue
        for _ in range(count):
            dx, dy = ((n >> 1) ^ -(n & 1) for n in numbers[at : at + 2])
            x, y, at = x + dx, y + dy, at + 2
            rings[-1].append((x, y))
    return rings


def _signed(ring: list[tuple[int, int]]) -> float:
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(ring, ring[1:] + ring[:1], strict=True)) / 2


def test_zooms_simplify_within_their_tolerance(tmp_path: Path) -> None:
    angles = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    radius = 3000 + 40 * np.sin(31 * angles) + 2 * np.sin(997 * angles)
    ring = np.stack((4096 + radius * np.cos(angles), 4096 + radius * np.sin(angles)), axis=1).round(2).tolist()
    cut = cutter(tmp_path, geojson([feature("Polygon", [[*ring, ring[0]]])]))
    original = shape({"type": "Polygon", "coordinates": [ring]})
    assert cut.top == 4
    counts = []
    for zoom in (0, 1):
        pieces = []
        for column in range(1 << zoom):
            for row in range(1 << zoom):
                made = cut.tile(zoom, column, row)
                assert made is not None
                got = shape(drawn(decoded(made))[0]["geometry"])
                side = 512 << (4 - zoom)
                unit = side / 4096
                counts.append((zoom, shapely.get_num_coordinates(got)))
                placed = shapely.transform(got, lambda p, u=unit, c=column, r=row, s=side: p * u + [c * s, r * s])
                pieces.append(shapely.intersection(placed.buffer(0), shapely.box(
                    column * side, row * side, (column + 1) * side, (row + 1) * side)))  # fmt: skip
        whole = shapely.union_all(pieces)
        pixel = 1 << (4 - zoom)
        assert whole.symmetric_difference(original).area < 0.5 * pixel * original.length
        assert whole.hausdorff_distance(original) < pixel
    assert max(n for zoom, n in counts if zoom == 0) < 1000


def test_what_is_too_dense_is_clustered_and_nothing_is_lost(tmp_path: Path) -> None:
    number = 12_000
    cut = cutter(tmp_path, geojson([*nuclei(number, 4000), feature("Polygon", [square(5, 5, 3900)], name="tissue")]))
    assert cut.top == 3
    assert cut.facts["shown"][3] == number + 1
    made = cut.tile(0, 0, 0)
    assert made is not None
    found = decoded(made)
    assert [each["properties"] for each in drawn(found)] == [{"name": "tissue"}]  # the large stays a shape
    points = drawn(found, "clusters")
    assert sum(each["properties"]["point_count"] for each in points) == number
    assert len(points) <= 1024
    assert len(made) < 50_000
    ids = set[int]()
    for column in range(8):
        for row in range(8):
            each = cut.tile(3, column, row)
            ids.update(one["id"] for one in drawn(decoded(each or b"")) if "id" in one)
    assert len(ids - {0}) == number - 1


def test_clusters_count_what_stands_in_their_cell(tmp_path: Path) -> None:
    features = [
        feature("Point", [x, y]) for x, y in np.random.default_rng(2).uniform(0, 1024, (SHAPES * 2, 2)).tolist()
    ]
    cut = cutter(tmp_path, geojson(features))
    made = cut.tile(0, 0, 0)
    assert made is not None
    cells = dict[tuple[int, int], int]()
    for each in features:
        x, y = each["geometry"]["coordinates"]
        place = int(np.rint(x * 16)) // 512, int(np.rint(y * 16)) // 512
        cells[place] = cells.get(place, 0) + 1
    seen = {}
    for each in drawn(decoded(made), "clusters"):
        x, y = each["geometry"]["coordinates"]
        seen[x // 128, y // 128] = seen.get((x // 128, y // 128), 0) + each["properties"]["point_count"]
    assert sum(seen.values()) == len(features)
    assert sum(cells.get(place) == count for place, count in seen.items()) > 0.9 * len(
        seen
    )  # means may be rounded over


# -- coordinates -----------------------------------------------------------------------------------------------------


def named(crs: str) -> dict[str, Any]:
    return {"type": "name", "properties": {"name": crs}}


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize(
    ("crs", "point", "plane"),
    [
        (None, [13.4, 52.5], "pixels"),
        ("urn:ogc:def:crs:OGC:1.3:CRS84", [13.4, 52.5], "degrees"),
        ("EPSG:4326", [13.4, 52.5], "degrees"),
        ("urn:ogc:def:crs:EPSG::3857", [1491681.0, 6889166.6], "metres"),
        ("urn:ogc:def:crs:OGC:1.3:CRS84", [20000, 52.5], "pixels"),  # written by tools whatever the coordinates are
        ("EPSG:25832", [20000, 52.5], "pixels"),
    ],
)
async def test_the_rule_of_coordinates(crs: str | None, point: list[float], plane: str, *, behind: bool) -> None:
    collection: dict[str, Any] = {"type": "FeatureCollection"}
    members = {"features": [feature("Point", point), feature("Point", [1, 1])]}
    extra = {"crs": named(crs)} if crs else {}
    text = json.dumps(collection | (members | extra if behind else extra | members)).encode()
    async with opened({"a.geojson": text}, "a.geojson") as slide:
        info = await slide.info()
        assert info.properties["coordinates"] == plane
        if plane == "pixels":
            assert info.levels[0].size.width == (32768 if point[0] > 512 else 512)
            return
        assert len(info.levels) == 15
        # The tile of Berlin at zoom 10 as any map has it.
        assert drawn(decoded(await tile(slide, 10, 550, 335)))


async def test_coordinates_beyond_all_slides_are_left_out() -> None:
    text = b'{"type":"FeatureCollection","features":[' + b",".join(
        json.dumps(feature("Point", [x, 1], n=n)).encode() for n, x in enumerate([1e300, -1e12, 5, 7e7])
    ) + b',{"type":"Feature","geometry":{"type":"Point","coordinates":[NaN, 3]},"properties":{}}]}'  # fmt: skip
    async with opened({"a.geojson": text}, "a.geojson") as slide:
        assert (await slide.info()).properties["features_without_geometry"] == "4"
        assert [each["properties"] for each in drawn(decoded(await tile(slide, 0, 0, 0)))] == [{"n": 2}]


# -- texts -----------------------------------------------------------------------------------------------------------

TRICKY = [
    {"type": "Feature", "geometry": None, "properties": {"a": 'braces } { "quoted\\" [', "b\\": {"c": {}}}},
    {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [1, 2]},
        "properties": {"n": "\\\\", "é": "\u2028"},
    },
    {"properties": {"features": [{}], "x": "]}"}, "geometry": None, "type": "Feature"},
]


@pytest.mark.parametrize("piece", [1, 2, 7, 64, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
def test_features_are_found_whatever_the_pieces(piece: int, indent: int | None) -> None:
    for front, back in (({"type": "FeatureCollection", "name": '"features": ['}, {"crs": {"a": [{}]}}),
                        ({}, {"type": "FeatureCollection", "features2": 1})):  # fmt: skip
        text = json.dumps({**front, "features": TRICKY * 3, **back}, indent=indent).encode()
        stream = FeatureStream((text[i : i + piece] for i in range(0, len(text), piece)), piece=piece)
        assert [each for batch in stream for each in batch] == TRICKY * 3
        assert stream.outer == {**front, **back}
    text = json.dumps(TRICKY, indent=indent).encode()
    stream = FeatureStream((text[i : i + piece] for i in range(0, len(text), piece)), piece=piece)
    assert [each for batch in stream for each in batch] == TRICKY


@pytest.mark.parametrize("text", [
    b"", b"{", b"[", b"null", b'{"type":"FeatureCollection"}', b'{"type":"FeatureCollection","features":[',
    b'{"type":"FeatureCollection","features":[{"type":"Feature"},', b'{"type":"FeatureCollection","features":[{]}',
    b'{"type":"FeatureCollection","features":[{} {}]}x',
    b'{"type":"FeatureCollection","features":[{"a":"}]}', b'{"type":"Nothing","features":[]}', b'{"features":[{}]}',
    b'{"type":"FeatureCollection","features":[{}]', b'{"type":"FeatureCollection","features":[]} trailing',
    b'{"type":"FeatureCollection","features":{}}', b'[{}] {}', gzip.compress(b'{"type":"Point"}', mtime=0)[:-4],
    b'{"type":"FeatureCollection","features":[{"a":tru}]}', b"[" * 100_000, b'{"a":' * 100_000, b'"' * 100_000,
])  # fmt: skip
def test_broken_texts_are_corrupt(text: bytes) -> None:
    with pytest.raises(CorruptData):
        list(FeatureStream([text]))


@pytest.mark.parametrize("geometry", [
    {"type": "Point", "coordinates": ["x", "y"]}, {"type": "Point", "coordinates": [1]}, {"type": "Point"},
    {"type": "Polygon", "coordinates": [[1, 2, 3]]}, {"type": "Polygon", "coordinates": 7}, {"type": "Sphere"},
    {"type": "Polygon", "coordinates": [[[[1, 2]]]]}, {"type": "LineString", "coordinates": {"a": 1}}, [], 5, "Point",
    {"type": ["Point"], "coordinates": [1, 2]}, {"type": "GeometryCollection"},
    {"type": "GeometryCollection", "geometries": [7]}, {"type": "MultiPoint", "coordinates": [[{}, 1]]},
])  # fmt: skip
def test_broken_geometries_are_corrupt(tmp_path: Path, geometry: Any) -> None:
    with pytest.raises(CorruptData, match="eature"):
        cutter(tmp_path, geojson([{"type": "Feature", "geometry": geometry, "properties": {}}]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("element", [1, None, "x", [], [{}]])
def test_elements_that_are_no_features_are_corrupt(tmp_path: Path, element: Any) -> None:
    for features in ([element], [element, feature("Point", [1, 1])], [feature("Point", [1, 1]), element]):
        with pytest.raises(CorruptData):
            cutter(tmp_path, geojson(features))


def test_a_feature_larger_than_memory_should_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse, "MAX_FEATURE_BYTES", 100_000)
    text = geojson([feature("Point", [1, 1], text="x" * 300_000)])
    with pytest.raises(LimitExceeded):
        list(FeatureStream((text[i : i + 1000] for i in range(0, len(text), 1000)), piece=1000))


async def test_gzip_and_single_objects() -> None:
    for text in (geojson([feature("Point", [1, 1])]), json.dumps(feature("Point", [1, 1])).encode(),
                 b'{"type":"Point","coordinates":[1,1]}', b"\xef\xbb\xbf" + geojson([feature("Point", [1, 1])]),
                 json.dumps([feature("Point", [1, 1])]).encode()):  # fmt: skip
        for key, stored in (("a.geojson", text), ("a.json.gz", gzip.compress(text))):
            async with opened({key: stored}, key) as slide:
                assert len(drawn(decoded(await tile(slide, 0, 0, 0)))) == 1


async def test_a_collection_of_nothing_has_a_pyramid_without_tiles() -> None:
    async with opened({"a.geojson": geojson([])}, "a.geojson") as slide:
        assert (await slide.info()).levels[0].size == (512, 512)
        with pytest.raises(NotFound):
            await tile(slide, 0, 0, 0)


def test_a_hundred_thousand_polygons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    number = 100_000
    features = nuclei(number, 25_000)
    text = geojson(features)
    begin = time.perf_counter()
    cut = cutter(tmp_path, text)
    built = time.perf_counter() - begin
    assert cut.facts["count"] == number
    assert cut.top == 6
    sizes, times = [], []
    for zoom in range(cut.top, -1, -1):
        for place in range(min(1 << zoom, 4)):
            begin = time.perf_counter()
            made = cut.tile(zoom, place, place)
            times.append(time.perf_counter() - begin)
            assert made is not None
            sizes.append(len(made))
    assert max(sizes) < 500_000
    for zoom in (cut.top, 1, 0):
        found = decoded(cut.tile(zoom, 0, 0) or b"")
        assert bool(drawn(found, "features")) == (cut.facts["shown"][zoom] > 0)
        assert bool(drawn(found, "clusters")) == (zoom in cut.facts["clustered"])
    # Every feature is in the tile of its first point at the coarsest zoom that shows all.
    zoom = next(each for each, shown in enumerate(cut.facts["shown"]) if shown == number)
    side = 512 << (cut.top - zoom)
    found = {one.get("id", 0): one for one in drawn(decoded(cut.tile(zoom, 1, 2) or b""))}
    inside = [each for each in features if _tile_of(each, side) == (1, 2)]
    assert len(inside) > 1000
    assert {each["id"] for each in inside} <= found.keys()
    for each in inside[:50]:
        got = shapely.transform(shape(found[each["id"]]["geometry"]), lambda points: points * side / 4096)
        placed = shapely.affinity.translate(got, side, 2 * side)
        expected = shape(each["geometry"])
        if shapely.box(side, 2 * side, 2 * side, 3 * side).contains(expected):
            assert placed.symmetric_difference(expected).area < (side / 512) * expected.length
    with capsys.disabled():
        slowest, largest = 1000 * max(times), max(sizes) >> 10
        print(f"\n{len(text) >> 20} MB indexed in {built:.1f} s; slowest tile {slowest:.0f} ms, largest {largest} KB")


def _tile_of(each: dict[str, Any], side: int) -> tuple[int, int]:
    x, y = each["geometry"]["coordinates"][0][0]
    return int(x // side), int(y // side)
