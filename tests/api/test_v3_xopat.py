"""The requests of xOpat in its words and order, over the mapper and the login that its documentation names."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import tifffile
from PIL import Image

from microtome.demo.svs import write_demo
from tests.serving import Answer, Client, served

OPEN = {"integration": "wsi_service.api.v3.integrations.disable_auth:DisableAuth"}
ORIGIN = {"Origin": "https://xopat.example"}
DEEP = "case/deep.ome.tif"
VECTORS = "case/shapes.geojson"
DEMO = "case/demo.svs"
COMMA = "case/inner/second, with comma.svs"
Z = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("xopat")
    (folder / "case" / "inner").mkdir(parents=True)
    write_demo(folder / DEMO, width=2000, height=1500)
    write_demo(folder / COMMA, width=600, height=500)
    data = np.random.default_rng(1).integers(0, 16384, (2, Z, 300, 400), dtype=np.uint16)
    tifffile.imwrite(folder / DEEP, data, ome=True, tile=(128, 96), metadata={"axes": "CZYX"}, photometric="minisblack")
    point = {"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [10, 10]}}
    (folder / VECTORS).write_text(json.dumps({"type": "FeatureCollection", "features": [point]}))
    return folder


@pytest.fixture(scope="module")
def v3(folder: Path) -> Iterator[Client]:
    with served(folder, local_mode="wsi_service.paths_mapper:PathsMapper", **OPEN) as client:
        yield client


def facts(found: dict[str, Any]) -> None:
    """What the client reads of them."""
    assert {"extent", "tile_extent", "levels", "pixel_size_nm", "channels", "format", "id"} <= set(found)
    assert all(each["downsample_factor"] >= 1 for each in found["levels"])
    assert {"x", "y", "z"} == set(found["extent"]) == set(found["tile_extent"])


def opened(answer: Answer) -> dict[str, bytes]:
    assert (answer.status, answer.headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_file_browser_walks_from_folders_to_slides(v3: Client) -> None:
    cases = v3.get("/v3/cases/?context=", ORIGIN).json()
    found = [case["id"].removeprefix("/") for case in cases]  # the client strips slashes
    assert found == ["case"]
    deeper = v3.get("/v3/cases/?context=case", ORIGIN).json()
    assert [case["id"] for case in deeper] == ["case/inner"]
    slides = v3.get("/v3/cases/slides/?slide_id=case", ORIGIN).json()
    assert {slide["id"] for slide in slides} == {DEEP, DEMO, VECTORS}
    at_the_root = v3.get("/v3/cases/slides/?slide_id=", ORIGIN)
    assert (at_the_root.status, at_the_root.json()) == (200, [])
    for slide in slides:
        reference = slide["id"].replace("/", ">")  # and writes ids so into its own addresses
        assert v3.get(f"/v3/slides/info?slide_id={reference}", ORIGIN).status == 200


def test_the_same_over_the_simple_mapper_that_its_documentation_names(folder: Path) -> None:
    with served(folder, local_mode="wsi_service.simple_mapper:SimpleMapper", cors_origins=("*",), **OPEN) as client:
        (case,) = client.get("/v3/cases/?context=", ORIGIN).json()
        slides = client.get(f"/v3/cases/slides/?slide_id={case['id']}", ORIGIN).json()
        for slide in slides:
            answer = client.get(f"/v3/slides/info?slide_id={slide['id']}", ORIGIN)
            facts(answer.json())
            assert answer.headers["access-control-allow-origin"] == "*"


def test_one_slide_by_the_slides_base(v3: Client) -> None:
    found = v3.get(f"/v3/slides/info?slide_id={DEMO}", ORIGIN).json()
    facts(found)
    assert found["extent"]["z"] == 1
    last = len(found["levels"]) - 1
    ids = "".join(f"&image_channels={channel['id']}" for channel in found["channels"])
    for level in range(last + 1):
        extent = found["levels"][level]["extent"]
        column, row = ((extent[name] - 1) // found["tile_extent"][name] for name in "xy")
        # The id is not encoded; all channels are asked for, which must cost nothing.
        target = (
            f"/v3/slides/tile/level/{level}/tile/{column}/{row}?slide_id={DEMO}&image_format=jpeg&image_quality=100"
        )
        cropped = v3.get(target + ids, ORIGIN)
        assert cropped.headers["access-control-allow-origin"] == "*"
        assert (extent["x"] - column * found["tile_extent"]["x"], extent["y"] - row * found["tile_extent"]["y"]) == (
            Image.open(io.BytesIO(cropped.body)).size
        )
    plain = v3.get(f"/v3/slides/tile/level/0/tile/1/1?slide_id={DEMO}").body
    assert v3.get(f"/v3/slides/tile/level/0/tile/1/1?slide_id={DEMO}{ids}").body == plain


def test_thumbnail_label_and_profile(v3: Client) -> None:
    for side in (50, 250, 500):
        answer = v3.get(f"/v3/slides/thumbnail/max_size/{side}/{side}?slide_id={DEMO}", ORIGIN)
        assert max(Image.open(io.BytesIO(answer.body)).size) == side
    assert v3.get(f"/v3/slides/label/max_size/250/250?slide_id={DEMO}", ORIGIN).headers["content-type"] == "image/jpeg"
    assert v3.get(f"/v3/slides/icc_profile?slide_id={DEMO}", ORIGIN).status in {200, 404}


def test_many_slides_by_the_files_base(v3: Client) -> None:
    listed = v3.get(f"/v3/files/info?paths={DEMO},{DEEP}", ORIGIN).json()
    assert [each["id"] for each in listed] == [DEMO, DEEP]
    for each in listed:
        facts(each)
    found = opened(v3.get(f"/v3/files/tile/level/0/tile/0/0?paths={DEMO},none.svs,{DEEP}&image_format=png", ORIGIN))
    assert list(found) == ["t1.png", "t2.err", "t3.png"]
    assert v3.get(f"/v3/batch/info?slides={DEMO},{DEEP}", ORIGIN).json() == listed
    assert opened(v3.get(f"/v3/batch/tile/level/0/tile/0/0?slides={DEMO},none.svs,{DEEP}&image_format=png")) == found
    # On this base, too, the client asks for thumbnails of one slide by slide_id.
    for base in ("files", "batch"):
        answer = v3.get(f"/v3/{base}/thumbnail/max_size/250/250?slide_id={DEMO}", ORIGIN)
        assert answer.headers["content-type"] == "image/jpeg"
        assert max(Image.open(io.BytesIO(answer.body)).size) == 250


def test_an_id_with_a_comma_is_named_by_repeating_the_parameter(v3: Client) -> None:
    for base, name in (("files", "paths"), ("batch", "slides")):
        found = v3.get(f"/v3/{base}/info?{name}={quote(COMMA)}&{name}={DEMO}").json()
        assert [each["id"] for each in found] == [COMMA, DEMO]
        assert v3.get(f"/v3/{base}/info?{name}={quote(COMMA)}").status == 404


def test_channels_and_planes_of_fluorescence(v3: Client, folder: Path) -> None:
    found = v3.get(f"/v3/slides/info?slide_id={DEEP}", ORIGIN).json()
    facts(found)
    assert found["extent"]["z"] == Z
    assert (found["tile_extent"]["x"], found["tile_extent"]["y"]) == (96, 128), "tiles need not be square"
    stored = tifffile.imread(folder / DEEP)
    ids = "".join(f"&image_channels={channel['id']}" for channel in found["channels"])
    for z in range(Z):
        answer = v3.get(f"/v3/slides/tile/level/0/tile/1/1?slide_id={DEEP}&image_format=tiff{ids}&z={z}", ORIGIN)
        assert np.array_equal(tifffile.imread(io.BytesIO(answer.body)), stored[:, z, 128:256, 96:192])


def test_a_set_of_vector_tiles(v3: Client) -> None:
    found = v3.get(f"/v3/slides/info?slide_id={VECTORS}", ORIGIN).json()
    facts(found)
    assert "mvt" in found["format"], "by this the client tells vectors from pictures"
    levels = found["levels"]
    assert [each["downsample_factor"] for each in levels] == [2.0**number for number in range(len(levels))]
    assert found["extent"]["x"] == found["extent"]["y"] == 2 ** (len(levels) - 1) * found["tile_extent"]["x"]
    # Its template for vectors has no image_format.
    answer = v3.get(f"/v3/slides/tile/level/{len(levels) - 1}/tile/0/0?slide_id={VECTORS}", ORIGIN)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/vnd.mapbox-vector-tile")
    for slide in (DEMO, DEEP):
        assert "mvt" not in v3.get(f"/v3/slides/info?slide_id={slide}").json()["format"]


def test_a_chosen_plugin(v3: Client) -> None:
    answer = v3.get(f"/v3/slides/tile/level/0/tile/0/0?slide_id={DEMO}&plugin=openslide", ORIGIN)
    assert answer.headers["content-type"] == "image/jpeg"
    assert v3.get(f"/v3/slides/info?slide_id={DEMO}&plugin=openslide").json()["format"].endswith("openslide")
    assert v3.get(f"/v3/slides/info?slide_id={DEMO}&plugin=").status == 200


def test_its_scripts_may_ask_from_another_origin(v3: Client) -> None:
    asked = {**ORIGIN, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    answer = v3.request("OPTIONS", "/v3/cases/", asked)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "authorization" in answer.headers["access-control-allow-headers"]
    for target in ("/v3/slides/info?slide_id=none", "/v3/nothing", "/v3/slides/info"):
        assert v3.get(target, ORIGIN).headers["access-control-allow-origin"] == "*", "errors can be read, too"


def test_a_login_that_ended_is_401_which_makes_it_log_in_again(folder: Path) -> None:
    with served(folder, local_mode="simple") as client:
        answer = client.get("/v3/cases/", ORIGIN)
        assert answer.status == 401
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["www-authenticate"].startswith("Bearer")
