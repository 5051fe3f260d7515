"""How slides are drawn: channels in colours and windows, focal planes, time points, intents; and vector tiles."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import mapbox_vector_tile
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from microtome.demo.svs import write_demo
from tests.serving import Answer, Client, served

KEY = "case/stack.ome.tif"
STACK = quote(KEY, safe="")
TILE = f"/tiles/{STACK}/0/0/0.jpg"
CHANNELS, PLANES, TIMES, HEIGHT, WIDTH = 3, 4, 2, 320, 400
VECTORS = "cells.geojson"


@pytest.fixture(scope="module")
def samples() -> NDArray[np.uint16]:
    """(time, channel, z, y, x): smooth, so that JPEG changes little; each plane is another."""
    t, c, z, y, x = np.ogrid[:TIMES, :CHANNELS, :PLANES, :HEIGHT, :WIDTH]
    return (200 + 1000 * c + 300 * z + 150 * t + 4 * y + 2 * x * (1 + c)).astype(np.uint16)


@pytest.fixture(scope="module")
def look(tmp_path_factory: pytest.TempPathFactory, samples: NDArray[np.uint16]) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("look")
    (folder / "case").mkdir()
    tifffile.imwrite(
        folder / KEY,
        samples,
        tile=(256, 256),
        photometric="minisblack",
        metadata={"axes": "TCZYX", "Channel": {"Name": ["DAPI", "FITC", "Cy5"]}},
    )
    write_demo(folder / "demo.svs", width=1200, height=900)
    features = [
        {"type": "Feature", "properties": {"kind": "cell", "n": n}, "geometry": {"type": "Polygon", "coordinates":
            [[[n, n], [n + 9, n], [n + 9, n + 9], [n, n + 9], [n, n]]]}}
        for n in range(0, 1000, 20)
    ]  # fmt: skip
    (folder / VECTORS).write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    with served(folder) as client:
        yield client


def pixels(answer: Answer) -> NDArray[np.int64]:
    return np.asarray(answer.jpeg().convert("RGB")).astype(np.int64)


def drawn(plane: NDArray[Any], color: tuple[int, int, int], low: float, high: float, gamma: float = 1) -> Any:
    shown = np.clip((plane.astype(float) - low) / (high - low), 0, 1) ** gamma
    return shown[:, :, np.newaxis] * color


@pytest.mark.parametrize(("z", "t"), [(0, 0), (3, 0), (1, 1)])
def test_channels_are_drawn_as_asked(look: Client, samples: NDArray[np.uint16], z: int, t: int) -> None:
    asked = f"channels=0:00ff00:200..4000,2:ff0000:1000..9000:0.5&z={z}&t={t}&quality=100"
    told = pixels(look.get(f"{TILE}?{asked}"))
    part = samples[t, :, z, :256, :256]
    expected = np.clip(drawn(part[0], (0, 255, 0), 200, 4000) + drawn(part[2], (255, 0, 0), 1000, 9000, 0.5), 0, 255)
    assert np.abs(told - expected).mean() < 1.5
    assert np.abs(told - expected).max() < 12


def test_what_is_left_out_is_the_slides_own(look: Client, samples: NDArray[np.uint16]) -> None:
    told = look.get(f"/slides/{STACK}/channels").json()
    assert [each["name"] for each in told["channels"]] == ["DAPI", "FITC", "Cy5"]
    assert told["dtype"] == "uint16"
    whole = ",".join(
        f"{each['index']}:{each['color']}:{each['window'][0]}..{each['window'][1]}" for each in told["channels"]
    )
    plain = look.get(f"{TILE}?quality=90")
    assert look.get(f"{TILE}?quality=90&channels={whole}").body == plain.body
    assert look.get(f"{TILE}?quality=90&channels=0,1,2").body == plain.body
    assert look.get(f"{TILE}?quality=90&channels=0,2").body != plain.body
    middle = samples[0, :, PLANES // 2]
    for number, each in enumerate(told["channels"]):
        low, high = each["window"]
        inside = (middle[number] >= low) & (middle[number] <= high)
        assert 0.98 < inside.mean() < 1
        assert len(each["histogram"]) == 256
        assert sum(each["histogram"]) == middle[number].size
        assert each["range"] == [0, middle[number].max()]


def test_deep_zoom_and_thumbnails_are_drawn_alike(look: Client, samples: NDArray[np.uint16]) -> None:
    asked = "channels=1:ffffff:1000..5000&z=2&quality=100"
    tile = pixels(look.get(f"{TILE}?{asked}"))
    zoomed = pixels(look.get(f"/slides/{STACK}/dzi_files/9/0_0.jpg?{asked}"))
    assert np.abs(zoomed - tile).max() <= 3
    whole = drawn(samples[0, 1, 2], (255, 255, 255), 1000, 5000)
    half = pixels(look.get(f"/slides/{STACK}/dzi_files/8/0_0.jpg?{asked}"))
    expected = whole.reshape(HEIGHT // 2, 2, WIDTH // 2, 2, 3).mean((1, 3))
    assert half.shape == expected.shape
    assert np.abs(half - expected).mean() < 2
    thumbnail = pixels(look.get(f"/slides/{STACK}/thumbnail?max_size=200&{asked}"))
    assert np.abs(thumbnail - expected).mean() < 2


def test_every_look_has_an_etag_of_its_own(look: Client) -> None:
    queries = ["", "?z=1", "?t=1", "?channels=0", "?channels=0:ff0000", "?channels=0:ff0000::2", "?channels=1,0"]
    tags = [look.get(TILE + query).headers["etag"] for query in queries]
    assert len(set(tags)) == len(tags)
    again = look.get(f"{TILE}?z=1", {"if-none-match": tags[1]})
    assert again.status == 304


def test_v3_draws_channels_alike(look: Client) -> None:
    asked = "channels=0:00ff00:200..4000,2:ff0000&z=1&t=1"
    place = f"slide_id={STACK}&image_quality=100"
    told = look.get(f"/v3/slides/tile/level/0/tile/0/0?{place}&{asked}&image_format=png")
    expected = look.get(f"/slides/{STACK}/dzi_files/9/0_0.png?{asked}")
    assert told.status == 200, told.body
    ours, theirs = (np.asarray(Image.open(io.BytesIO(each.body)).convert("RGB")) for each in (told, expected))
    np.testing.assert_array_equal(ours, theirs[: ours.shape[0]])
    bad = look.get(f"/v3/slides/tile/level/0/tile/0/0?{place}&channels=9")
    assert (bad.status, "there are 3" in bad.json()["detail"]) == (400, True)


@pytest.mark.parametrize(
    "query",
    [
        "channels=", "channels=3", "channels=0,0", "channels=0:red", "channels=0:ff0000:5..5", "channels=0:::0",
        "channels=0:ff0000:9..1", "channels=-1", "channels=0;1", "z=4", "t=2", "icc=sepia", "channels=9" + ",9" * 99,
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_told(look: Client, query: str) -> None:
    for path in (TILE, f"/slides/{STACK}/dzi_files/9/0_0.jpg", f"/slides/{STACK}/thumbnail"):
        answer = look.get(f"{path}?{query}")
        assert answer.status == 400, (path, answer.body)
        assert answer.error.startswith("invalid_"), answer.body
    assert look.get(TILE).status == 200


def test_colour_slides_have_no_channels_to_choose(look: Client) -> None:
    assert look.get("/slides/demo.svs/channels").json() == {"dtype": "uint8", "channels": []}
    stored = look.get("/tiles/demo.svs/0/1/1.jpg")
    assert look.get("/tiles/demo.svs/0/1/1.jpg?z=0&t=0&icc=none").body == stored.body
    red = pixels(look.get("/tiles/demo.svs/0/1/1.jpg?channels=0:ff0000&quality=100"))
    assert np.abs(red[:, :, 0] - pixels(stored)[:, :, 0]).mean() < 4
    assert red[:, :, 2].mean() < 4
    assert look.get("/tiles/demo.svs/0/0/0.jpg?z=1").status == 400


@pytest.mark.parametrize("intent", ["perceptual", "relative_colorimetric", "saturation", "absolute_colorimetric"])
def test_intents(look: Client, intent: str) -> None:
    """The profiles of the data are tested with the formats; here every intent is known and has its own answer."""
    answer = look.get(f"/tiles/demo.svs/0/0/0.jpg?icc={intent}")
    assert answer.status == 200
    assert answer.headers["etag"] != look.get("/tiles/demo.svs/0/0/0.jpg").headers["etag"]


def test_vector_sets(look: Client) -> None:
    told = look.get(f"/slides/{VECTORS}/tilejson").json()
    assert told["tilejson"] == "3.0.0"
    zoom = told["maxzoom"]
    place = told["tiles"][0].format(z=zoom, x=0, y=0)
    answer = look.get(place)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/vnd.mapbox-vector-tile"
    assert "content-encoding" not in answer.headers
    layers = mapbox_vector_tile.decode(answer.body)
    assert sum(len(layer["features"]) for layer in layers.values()) > 0
    packed = look.get(place, {"accept-encoding": "gzip"})
    if "content-encoding" in packed.headers:
        assert gzip.decompress(packed.body) == answer.body
        assert packed.headers["etag"] != answer.headers["etag"]
    assert "accept-encoding" in packed.headers["vary"]
    assert look.get(place, {"if-none-match": answer.headers["etag"]}).status == 304
    assert look.get(told["tiles"][0].format(z=zoom + 1, x=0, y=0)).status == 404
    assert look.get("/slides/demo.svs/tilejson").status == 404
    assert look.get("/slides/demo.svs/vector/0/0/0.mvt").status == 404
    assert look.get(f"/slides/{VECTORS}/thumbnail").status == 404
    assert look.get(f"/slides/{VECTORS}/channels").json()["channels"] == []
