"""The arithmetic of the pages, asked of the modules themselves and compared with numbers from elsewhere."""

# ruff: noqa: RUF001  (the pages write the multiplication sign)

from __future__ import annotations

import contextlib
import gzip
import math
from pathlib import Path
from typing import Any

import mapbox_vector_tile
import numpy as np
import pytest
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page

from microtome.pixels.styles import parse_styles
from tests.browser.conftest import Visitor

pytestmark = pytest.mark.browser


@pytest.fixture
def page(visit: Visitor) -> Page:
    return visit.catalogue("?folder=cases%2F")


def call(page: Page, module: str, name: str, *arguments: Any) -> Any:
    return page.evaluate(
        "([module, name, args]) => import(`/static/js/${module}`).then((it) => it[name](...args))",
        [module, name, list(arguments)],
    )


@pytest.mark.parametrize("zoom", [1e-3, 0.017, 0.4999, 0.5, 1.0, 2.5, 4.0])
@pytest.mark.parametrize("mpp", [0.1, 0.2522, 0.5, 10.0])
def test_the_scale_bar_is_the_longest_round_length_that_fits(page: Page, zoom: float, mpp: float) -> None:
    bar = call(page, "slide/scale.js", "scaleBar", zoom, {"x": mpp, "y": mpp}, 168)
    micrometres = bar["width"] / zoom * mpp
    decade = 10 ** math.floor(math.log10(micrometres) + 1e-9)
    assert round(micrometres / decade, 6) in {1, 2, 5}
    assert bar["width"] <= 168 * (1 + 1e-6)
    following = {1: 2, 2: 5, 5: 10}[round(micrometres / decade)] * decade
    assert following / mpp * zoom > 168 * (1 - 1e-6)
    number, unit = bar["text"].split()
    assert float(number) * {"nm": 1e-3, "µm": 1, "mm": 1000}[unit] == pytest.approx(micrometres, rel=1e-6)


def test_lengths_and_areas_follow_both_spacings(page: Page) -> None:
    points = [{"x": 0, "y": 0}, {"x": 30, "y": 0}, {"x": 30, "y": 40}]
    spacing = {"x": 0.5, "y": 0.25}
    assert call(page, "slide/geometry.js", "pathLength", points, spacing) == pytest.approx(15 + 10)
    assert call(page, "slide/geometry.js", "pathLength", [points[0], points[2]], None) == pytest.approx(50)
    assert call(page, "slide/geometry.js", "polygonArea", points, spacing) == pytest.approx(600 * 0.125)
    assert call(page, "slide/geometry.js", "polygonArea", points[::-1], None) == pytest.approx(600)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.2519, "0.252 µm"), (5, "5.00 µm"), (84.26, "84.3 µm"), (999, "999 µm"), (1270, "1.27 mm"), (25_400, "25.4 mm")],
)
def test_lengths_are_written_for_people(page: Page, value: float, text: str) -> None:
    assert call(page, "shared/format.js", "length", value) == text


def test_a_view_survives_its_address(page: Page) -> None:
    view = {"x": 1024.5, "y": 17.2, "zoom": 0.123457, "rotation": -30}
    beside = {"id": "a b/ü&x=1#.svs", "linked": False, "x": 5, "y": 6.5, "zoom": 2, "rotation": 15}
    text = call(page, "slide/place.js", "writePlace", view, beside)
    read = call(page, "slide/place.js", "readPlace", f"#{text}")
    assert read["view"] == {"x": 1024.5, "y": 17.2, "zoom": 0.123457, "rotation": 330}
    assert read["beside"]["id"] == "a b/ü&x=1#.svs"
    assert read["beside"]["linked"] is False
    assert read["beside"]["view"] == {"x": 5, "y": 6.5, "zoom": 2, "rotation": 15}


@pytest.mark.parametrize(
    "text", ["", "#", "#x=1", "#x=a&y=2&z=3", "#x=1&y=2&z=-1", "#x=1&y=2&z=0", "#x=1&y=2&z=Infinity"]
)
def test_an_address_without_sense_is_no_view(page: Page, text: str) -> None:
    assert call(page, "slide/place.js", "readPlace", text) is None


TILES = [
    "multipolygon.pbf",
    "multi-line.pbf",
    "multi-point.pbf",
    "polygon-with-inner.pbf",
    "stacked-multipolygon.pbf",
    "singleton-multi-point.pbf",
    "lots-of-tags.vector.pbf",
    "14-8801-5371.vector.pbf",
    "demotiles.maplibre.org/tiles/3/3/3.pbf",
]
READ = """async (bytes) => {
  const { decodeTile } = await import("/static/js/vector-worker/mvt.js");
  const { propertiesOf } = await import("/static/js/vector-worker/fields.js");
  const layers = decodeTile(Uint8Array.from(bytes));
  return layers.map((layer) => ({
    name: layer.name,
    extent: layer.extent,
    features: Array.from(layer.types, (type, index) => ({
      type,
      id: layer.ids[index],
      properties: Object.fromEntries(propertiesOf(layer, index)),
      parts: Array.from({ length: layer.featureParts[index + 1] - layer.featureParts[index] }, (_, at) => {
        const part = layer.featureParts[index] + at;
        return Array.from(layer.points.subarray(2 * layer.partStarts[part], 2 * layer.partStarts[part + 1]));
      }),
      box: Array.from(layer.boxes.subarray(4 * index, 4 * index + 4)),
    })),
  }));
}"""


def parts_of(geometry: dict[str, Any]) -> list[list[float]]:
    """The parts of a GeoJSON geometry as the tile has them: flat, rings without their closing point."""
    kind, places = geometry["type"], geometry["coordinates"]
    if kind in {"Point", "MultiPoint"}:
        return [[number for place in ([places] if kind == "Point" else places) for number in place]]
    if kind in {"LineString", "MultiLineString"}:
        lines = [places] if kind == "LineString" else places
        return [[number for place in line for number in place] for line in lines]
    polygons = [places] if kind == "Polygon" else places
    return [[number for place in ring[:-1] for number in place] for polygon in polygons for ring in polygon]


def opened(part: list[float]) -> list[float]:
    """A part without points at its end that repeat the first: some writers close rings themselves."""
    while len(part) > 2 and part[-2:] == part[:2]:
        part = part[:-2]
    return part


@pytest.mark.parametrize("name", TILES)
def test_vector_tiles_are_read_like_by_another_reader(page: Page, testdata: Path, name: str) -> None:
    data = (testdata / "vector" / "pbf" / name).read_bytes()
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    expected = mapbox_vector_tile.decode(data, default_options={"y_coord_down": True})
    layers = {layer["name"]: layer for layer in page.evaluate(READ, list(data))}
    assert set(layers) == set(expected)
    for layer_name, layer in expected.items():
        found = layers[layer_name]
        assert found["extent"] == layer["extent"]
        assert len(found["features"]) == len(layer["features"])
        for feature, wanted in zip(found["features"], layer["features"], strict=True):
            assert feature["properties"] == pytest.approx(wanted["properties"])
            assert str(feature["id"]) == str(wanted.get("id") or None)
            if feature["parts"] and all(len(part) > 4 for part in feature["parts"]):
                parts = [opened(part) for part in feature["parts"]]
                assert sorted(parts) == sorted(opened(part) for part in parts_of(wanted["geometry"]))
            numbers = [number for part in feature["parts"] for number in part]
            xs, ys = numbers[::2], numbers[1::2]
            assert feature["box"] == ([min(xs), min(ys), max(xs), max(ys)] if xs else [1, 1, 0, 0])


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9, 0.999])
def test_a_broken_vector_tile_is_refused(page: Page, testdata: Path, cut: float) -> None:
    data = (testdata / "vector" / "pbf" / "multipolygon.pbf").read_bytes()
    with pytest.raises(PlaywrightError, match="vector tile"):
        page.evaluate(READ, list(data[: int(cut * len(data))]))


@pytest.mark.parametrize("seed", range(8))
def test_noise_is_refused_or_read_and_never_hangs(page: Page, testdata: Path, seed: int) -> None:
    data = np.frombuffer((testdata / "vector" / "pbf" / "multi-line.pbf").read_bytes(), np.uint8).copy()
    noise = np.random.default_rng(seed)
    data[noise.integers(0, len(data), 6)] = noise.integers(0, 256, 6)
    with contextlib.suppress(PlaywrightError):
        assert isinstance(page.evaluate(READ, data.tolist()), list)


LOOKS = """async ([facts, text]) => {
  const { Channels } = await import("/static/js/picture/channels.js");
  const channels = new Channels(facts, text);
  return [channels.text, channels.list];
}"""
FACTS = {
    "dtype": "uint16",
    "channels": [
        {
            "index": index,
            "name": name,
            "color": color,
            "window": [10, 900],
            "range": [0, 4000],
            "visible": True,
            "histogram": [5] * 256,
        }
        for index, (name, color) in enumerate((("DAPI", "0000ff"), ("FITC", "00ff00"), ("TRITC", "ff0000")))
    ],
}


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "1:ffffff",
        "0::0..4000,2",
        "2:abcdef:-5..1e3:0.5,0",
        "0:::2",
        "0::0.25..0.75,1,2",
        "1::-3.4e38..3.4e38",
    ],
)
def test_channel_settings_survive_their_text(page: Page, text: str) -> None:
    """What the page writes the server reads, and the page itself reads it back."""
    given, channels = page.evaluate(LOOKS, [FACTS, text])
    assert given == text
    styles = {style.index: style for style in parse_styles(text)}
    for index, channel in enumerate(channels):
        assert channel["visible"] == (index in styles)
        if index in styles:
            own = FACTS["channels"][index]
            style = styles[index]
            color = own["color"] if style.color is None else f"{style.color:06x}"
            assert channel["color"] == color
            assert (channel["low"], channel["high"]) == (style.limits or tuple(own["window"]))
            assert channel["gamma"] == style.gamma
    written = page.evaluate(
        """async ([facts, text]) => {
          const { Channels } = await import("/static/js/picture/channels.js");
          const channels = new Channels(facts, text);
          channels.change(0, { gamma: 1.5, visible: true });
          return channels.text;
        }""",
        [FACTS, text],
    )
    changed = {style.index: style for style in parse_styles(written)}
    assert changed[0].gamma == 1.5
    assert {index: style.color for index, style in changed.items() if index} == {
        index: style.color for index, style in styles.items() if index
    }


@pytest.mark.parametrize(
    ("slide", "others", "wanted"),
    [
        ("a.svs", ["a.geojson", "a.svs"], "a.geojson"),
        ("a.svs", ["a.svs.geojson", "a.geojson", "a.pmtiles"], "a.svs.geojson"),
        ("a.ome.tif", ["a.pmtiles", "a.ome.mvt.gz"], "a.ome.mvt.gz"),
        ("a.svs", ["ab.geojson", "a-1.geojson", "a.json", "a/b.geojson"], None),
        ("a.geojson", ["a.geojson"], None),
    ],
)
def test_shapes_of_the_same_name_go_with_a_slide(page: Page, slide: str, others: list[str], wanted: str | None) -> None:
    page.goto(page.url.split("?", maxsplit=1)[0] + "view/section.svs")
    assert call(page, "picture/shapes.js", "besideAmong", slide, others) == wanted


def test_styles_of_shapes_survive_their_address(page: Page) -> None:
    look = {"focus": 2, "time": 0, "intent": "saturation", "channelsText": "0::1..2"}
    usual = {"fill": "#000000", "line": "#000000", "fillOpacity": 0.5, "lineOpacity": 1, "width": 1}
    overlay = {
        "id": "a b/ü&c=1,:%.geojson",
        "style": {**usual, "fill": "#ff0000", "width": 2.25},
        "usual": usual,
        "colorBy": "class, 100 % & more",
        "hidden": ["one,two", "%2C"],
        "placement": "fit",
        "visible": False,
    }
    text = "&".join(call(page, "picture/address.js", "writePicture", look, overlay, "2."))
    found = call(page, "picture/address.js", "readPicture", f"#{text}", "2.")
    assert (found["focus"], found["time"], found["intent"], found["channels"]) == (2, 0, "saturation", "0::1..2")
    read = found["overlay"]
    assert read["id"] == overlay["id"]
    assert read["style"] == {"fill": "#ff0000", "width": 2.25, "by": overlay["colorBy"], "hidden": overlay["hidden"]}
    assert (read["placement"], read["visible"]) == ("fit", False)
    assert call(page, "picture/address.js", "readPicture", "#x=1", "")["overlay"] is None
    nonsense = "#style=fill:red,width:999,fillOpacity:x,place:moon,by:"
    assert call(page, "picture/address.js", "readPicture", nonsense, "")["overlay"]["style"] == {"hidden": []}


def test_magnifications_lie_between_the_whole_slide_and_full_resolution(page: Page) -> None:
    stops = call(page, "slide/magnify.js", "stops", {"power": 40}, 0.05)
    assert [stop["text"] for stop in stops] == ["2.5×", "5×", "10×", "20×", "40×"]
    assert [stop["zoom"] for stop in stops] == [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1]
    assert [stop["text"] for stop in call(page, "slide/magnify.js", "stops", {"power": None}, 0.2)] == [
        "25%",
        "50%",
        "100%",
    ]
    assert [stop["text"] for stop in call(page, "slide/magnify.js", "stops", {"power": 19.88}, 2.0)] == ["19.9×"]
