"""Sets of vector tiles through the v3 API: TileJSON and tiles, with the archives' own readers as oracles."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import mapbox_vector_tile
import numpy as np
import pytest
import tifffile
from pmtiles.reader import MemorySource, Reader

from tests.serving import Answer, Client, served

MVT = "application/vnd.mapbox-vector-tile"
MBTILES = "mbtiles/world_cities.mbtiles"
PMTILES = "pmtiles/test_fixture_1.pmtiles"
FOLDER = "pbf/demotiles.maplibre.org/tiles"
SINGLE = "pbf/multi-polygon.pbf"
GEOJSON = "geojson/sample.geojson"
SETS = (MBTILES, PMTILES, FOLDER, SINGLE, GEOJSON)
GZIP = {"Accept-Encoding": "gzip, deflate, br"}


@pytest.fixture(scope="module")
def vector(testdata: Path) -> Path:
    return testdata / "vector"


@pytest.fixture(scope="module")
def v3(vector: Path) -> Iterator[Client]:
    with served(vector) as client:
        yield client


def stored(vector: Path, key: str, zoom: int, x: int, y: int) -> bytes | None:
    """A tile without its compression, row from the top; None when there is none."""
    if key == MBTILES:
        with sqlite3.connect(f"file:{vector / key}?mode=ro&immutable=1", uri=True) as archive:
            row = archive.execute("SELECT tile_data FROM tiles WHERE zoom_level=? AND tile_column=? AND tile_row=?",
                                  (zoom, x, 2**zoom - 1 - y)).fetchone()  # fmt: skip
            found = None if row is None else row[0]
    elif key == PMTILES:
        found = Reader(MemorySource((vector / key).read_bytes())).get(zoom, x, y)
    else:
        file = vector / key / str(zoom) / str(x) / f"{y}.pbf"
        found = file.read_bytes() if file.is_file() else None
    return gzip.decompress(found) if found and found[:2] == b"\x1f\x8b" else found


def tilejson(v3: Client, key: str) -> Any:
    return v3.get(f"/v3/slides/tilejson?slide_id={key}").json()


def tile(v3: Client, key: str, zoom: int, x: int, y: int, headers: dict[str, str] | None = None) -> Answer:
    """A tile by the template of the TileJSON, as a map asks for it."""
    (template,) = tilejson(v3, key)["tiles"]
    return v3.get(template.replace("{z}", str(zoom)).replace("{x}", str(x)).replace("{y}", str(y)), headers)


@pytest.mark.parametrize("key", SETS)
def test_the_tilejson_of_a_set(v3: Client, key: str) -> None:
    answer = v3.get(f"/v3/slides/tilejson?slide_id={key}")
    found = answer.json()
    info = v3.get(f"/v3/slides/info?slide_id={key}").json()
    assert answer.headers["content-type"] == "application/json"
    assert found["tilejson"] == "3.0.0"
    assert found["scheme"] == "xyz"
    assert 0 <= found["minzoom"] <= found["maxzoom"]
    assert info["num_levels"] <= found["maxzoom"] - found["minzoom"] + 1
    assert all({"id", "fields"} <= set(layer) for layer in found["vector_layers"])
    assert found["tiles"] == [f"/v3/slides/tile/zoom/{{z}}/tile/{{x}}/{{y}}?slide_id={quote(key, safe='')}"]
    older = v3.get(f"/v3/slides/{quote(key, safe='')}/tilejson")
    assert (older.status, older.body) == (200, answer.body)
    again = v3.get(f"/v3/slides/tilejson?slide_id={key}", {"If-None-Match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


def test_what_an_archive_says_of_itself_is_in_its_tilejson(v3: Client, vector: Path) -> None:
    header: Any = Reader(MemorySource((vector / PMTILES).read_bytes())).header()
    found = tilejson(v3, PMTILES)
    assert (found["minzoom"], found["maxzoom"]) == (header["min_zoom"], header["max_zoom"])
    wanted = [header[f"{name}_e7"] / 1e7 for name in ("min_lon", "min_lat", "max_lon", "max_lat")]
    assert found["bounds"] == pytest.approx(wanted)
    with sqlite3.connect(f"file:{vector / MBTILES}?mode=ro&immutable=1", uri=True) as archive:
        told = dict(archive.execute("SELECT name, value FROM metadata"))
    found = tilejson(v3, MBTILES)
    assert found["bounds"] == pytest.approx([float(each) for each in told["bounds"].split(",")])
    assert [each["id"] for each in found["vector_layers"]] == (
        [each["id"] for each in json.loads(told["json"])["vector_layers"]]
    )


@pytest.mark.parametrize("key", [MBTILES, PMTILES, FOLDER])
def test_tiles_are_those_of_the_archive_by_zoom_and_by_level(v3: Client, vector: Path, key: str) -> None:
    found = tilejson(v3, key)
    compared = 0
    for zoom in range(found["minzoom"], min(found["maxzoom"], found["minzoom"] + 3) + 1):
        level = found["maxzoom"] - zoom
        for x in range(2**zoom):
            for y in range(2**zoom):
                wanted = stored(vector, key, zoom, x, y)
                by_zoom = tile(v3, key, zoom, x, y)
                by_level = v3.get(f"/v3/slides/tile/level/{level}/tile/{x}/{y}?slide_id={key}")
                assert (by_zoom.status, by_zoom.body) == (by_level.status, by_level.body)
                if wanted is None:
                    assert (by_zoom.status, by_zoom.json()) == (404, {"detail": "Tile does not exist."})
                    continue
                compared += 1
                assert by_zoom.body == wanted
                assert by_zoom.headers["content-type"] == by_level.headers["content-type"] == MVT
                assert "content-encoding" not in by_zoom.headers
                assert mapbox_vector_tile.decode(by_zoom.body) == mapbox_vector_tile.decode(wanted)
    assert compared >= (1 if key == PMTILES else 3)


@pytest.mark.parametrize("key", [MBTILES, PMTILES, FOLDER, GEOJSON])
def test_gzip_is_passed_on_to_those_who_accept_it(v3: Client, vector: Path, key: str) -> None:
    zoom = tilejson(v3, key)["minzoom"]
    x, y = next((x, y) for x in range(2**zoom) for y in range(2**zoom) if tile(v3, key, zoom, x, y).status == 200)
    plain = tile(v3, key, zoom, x, y)
    zipped = tile(v3, key, zoom, x, y, GZIP)
    for answer in (plain, zipped):
        assert "accept-encoding" in answer.headers["vary"]
        assert answer.headers["content-length"] == str(len(answer.body))
    if zipped.headers.get("content-encoding") == "gzip":
        assert gzip.decompress(zipped.body) == plain.body
        assert zipped.headers["etag"] != plain.headers["etag"], "two representations must not share an ETag"
        same = tile(v3, key, zoom, x, y, {**GZIP, "If-None-Match": zipped.headers["etag"]})
        assert (same.status, same.body) == (304, b"")
    else:
        assert len(plain.body) < 1000
        assert zipped.body == plain.body
    refused = tile(v3, key, zoom, x, y, {"Accept-Encoding": "gzip;q=0"})
    assert refused.body == plain.body
    if key == MBTILES:
        with sqlite3.connect(f"file:{vector / key}?mode=ro&immutable=1", uri=True) as archive:
            (raw,) = archive.execute("SELECT tile_data FROM tiles WHERE zoom_level=? AND tile_column=? AND tile_row=?",
                                     (zoom, x, 2**zoom - 1 - y)).fetchone()  # fmt: skip
        assert raw[:2] == b"\x1f\x8b"
        assert zipped.body == raw, "what is stored compressed is not compressed again"


@pytest.mark.parametrize(("asked", "media_type"), [
    ("", MVT), ("mvt", MVT), ("pbf", MVT), ("mapbox-vector-tile", MVT), ("raw", "application/octet-stream"),
    ("json", "application/json"), ("geojson", "application/geo+json"), ("geo%2Bjson", "application/geo+json"),
])  # fmt: skip
def test_a_tile_has_the_type_that_was_asked_for(v3: Client, vector: Path, asked: str, media_type: str) -> None:
    more = f"&image_format={asked}" if asked else ""
    wanted = stored(vector, FOLDER, 0, 0, 0)
    level = tilejson(v3, FOLDER)["maxzoom"]
    for place in (f"level/{level}", "zoom/0"):
        answer = v3.get(f"/v3/slides/tile/{place}/tile/0/0?slide_id={FOLDER}{more}")
        assert (answer.status, answer.headers["content-type"]) == (200, media_type)
        assert answer.body == wanted


def test_a_geojson_file_is_tiles_with_its_features(v3: Client, vector: Path) -> None:
    features = json.loads((vector / GEOJSON).read_text())["features"]
    zoom = tilejson(v3, GEOJSON)["minzoom"]
    layers = mapbox_vector_tile.decode(tile(v3, GEOJSON, zoom, 0, 0).body)
    assert layers
    assert 0 < sum(len(layer["features"]) for layer in layers.values()) <= len(features)


@pytest.mark.parametrize("query", ["image_format=jpeg", "image_format=png", "image_format=tiff"])
def test_no_picture_is_made_of_vectors(v3: Client, query: str) -> None:
    answer = v3.get(f"/v3/slides/tile/zoom/0/tile/0/0?slide_id={FOLDER}&{query}")
    assert answer.status == 400
    assert "vector tile" in answer.json()["detail"]


@pytest.mark.parametrize("key", SETS)
def test_what_sets_of_vector_tiles_do_not_have(v3: Client, key: str) -> None:
    thumbnail = v3.get(f"/v3/slides/thumbnail/max_size/99/99?slide_id={key}")
    assert (thumbnail.status, thumbnail.json()) == (
        501, {"detail": "Thumbnail is not supported for vector tile datasets."}
    )  # fmt: skip
    assert v3.get(f"/v3/slides/region/level/0/start/0/0/size/9/9?slide_id={key}").status == 501
    assert v3.get(f"/v3/slides/label/max_size/9/9?slide_id={key}").status == 404
    assert v3.get(f"/v3/slides/macro/max_size/9/9?slide_id={key}").status == 404
    profile = v3.get(f"/v3/slides/icc_profile?slide_id={key}")
    assert (profile.status, profile.body) == (200, b"")
    base = f"/v3/slides/tile/level/0/tile/0/0?slide_id={key}"
    assert v3.get(f"{base}&image_channels=0").status == 400
    assert v3.get(f"{base}&z=1").status == 422
    assert v3.get(base.replace("level/0", "level/99")).status == 422
    assert v3.get(base.replace("level/0", "zoom/99")).status == 404


@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.parametrize("place", ["-1/0", "0/-1", "99/0", "0/99", "9999999999999/0"])
def test_a_missing_tile_is_none_whatever_is_padded(vector: Path, place: str, *, pad: bool) -> None:
    with served(vector / "pbf" / "demotiles.maplibre.org", pad_tiles=pad) as client:
        for where in ("level/0", "zoom/0"):
            answer = client.get(f"/v3/slides/tile/{where}/tile/{place}?slide_id=tiles")
            assert (answer.status, answer.json()) == (404, {"detail": "Tile does not exist."})


def test_a_batch_of_vector_tiles(v3: Client, vector: Path) -> None:
    level = tilejson(v3, FOLDER)["maxzoom"]
    answer = v3.get(f"/v3/files/tile/level/{level}/tile/0/0?slide_id={FOLDER}", GZIP)
    assert (answer.status, answer.headers["content-type"]) == (200, MVT)


def test_pictures_have_no_tilejson(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((64, 64, 3), np.uint8), tile=(64, 64), photometric="rgb")
    with served(tmp_path) as client:
        for what in ("tilejson?", "tile/zoom/0/tile/0/0?"):
            answer = client.get(f"/v3/slides/{what}slide_id=a.tif")
            assert answer.status == 404
            assert "Slide a.tif is a picture, not a set of vector tiles" in answer.json()["detail"]
        assert client.get("/v3/slides/tilejson?slide_id=none.tif").status == 404
        assert client.get("/v3/slides/tilejson").status == 422


@pytest.mark.parametrize("key", ["mbtiles/corrupt.mbtiles", "mbtiles/invalid.mbtiles", "pmtiles/invalid.pmtiles",
                                 "mbtiles/invalid-tile-format.mbtiles", "mbtiles/geography-class-png.mbtiles",
                                 "pmtiles/invalid_v4.pmtiles", "pmtiles/webp2.pmtiles"])  # fmt: skip
def test_broken_archives_are_refused_with_a_reason(v3: Client, key: str) -> None:
    for what in ("tilejson", "info", "tile/level/0/tile/0/0"):
        answer = v3.get(f"/v3/slides/{what}?slide_id={key}")
        assert answer.status in {404, 415}, answer.body
        assert len(answer.json()["detail"]) > 10


def test_behind_a_proxy_the_tiles_are_where_the_proxy_shows_them(vector: Path) -> None:
    with served(vector, root_path="/maps") as client:
        for prefix in ("", "/maps"):
            found = client.get(f"{prefix}/v3/slides/tilejson?slide_id={FOLDER}").json()
            assert found["tiles"][0].startswith("/maps/v3/slides/tile/zoom/{z}/tile/{x}/{y}?")
        assert client.get(found["tiles"][0].format(z=0, x=0, y=0)).status == 200


def test_the_short_way_is_not_for_vectors(v3: Client) -> None:
    level = tilejson(v3, MBTILES)["maxzoom"]
    target = f"/v3/slides/tile/level/{level}/tile/0/0?slide_id={MBTILES}"
    plain = v3.get(target)
    assert plain.body[:1] == b"\x1a"
    for _ in range(3):
        zipped = v3.get(target, GZIP)
        assert gzip.decompress(zipped.body) == plain.body
        assert zipped.headers["content-encoding"] == "gzip"
        again = v3.get(target)
        assert (again.body, again.headers.get("content-encoding")) == (plain.body, None)
        assert v3.get(f"{target}&image_format=jpeg").status == 400
