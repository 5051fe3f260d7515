"""What the tests of WSI-Service expect of a server, asked of ours over real files; OpenSlide and tifffile as oracles.

Their cases, and where they stand here (paths as they are since 0.13 and, where it says so, as they were before):

====================================================  ================================================================
alive; cases and slides of a case; shapes; 404 texts  ``test_alive``, ``test_cases_of_the_simple_mapper``,
                                                      ``test_texts_of_what_does_not_exist``
padding colour at the edge of the last level          ``test_tiles_at_the_edge_are_padded_in_the_colour_asked_for``
levels there are and there are not                    ``test_levels``
tiles and regions far outside are white               ``test_far_outside_is_white``
regions partly outside, also of negative starts       ``test_regions_partly_outside``
sizes of regions                                      ``test_sizes_of_regions``
download of one file and of a folder                  ``test_downloads``
info of each format                                   ``test_info_is_what_openslide_says``
thumbnail in 21 x 22, one pixel                       ``test_thumbnails``
label and macro, 404 without                          ``test_labels_and_macros``
region 345 x 543, tile: pixels                        ``test_regions_are_what_openslide_reads``,
                                                      ``test_tiles_are_what_openslide_reads``
one channel of a colour slide; 400 above, 200 within  ``test_one_channel_of_a_colour_slide``,
                                                      ``test_channels_there_are``
planes of fluorescence at full depth; outside is 0    ``test_planes_of_fluorescence``
one, two channels of fluorescence as pictures         ``test_channels_of_fluorescence_as_pictures``
two plugins agree within 5 %                          ``test_plugins_agree``
a grey mask comes out as colours                      ``test_a_grey_mask``
plain PNG and JPEG                                    ``test_plain_pictures``
====================================================  ================================================================
"""

from __future__ import annotations

import io
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import openslide
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from tests.serving import Answer, Client, served

OPEN = {"integration": "wsi_service.api.v3.integrations.disable_auth:DisableAuth"}
SMALL = "svs/CMU-1-Small-Region.svs"
LARGE = "synthetic/b3_aperio_ycbcr420_6000x4500_q60_noicc_bigtiff.svs"
JPEG2000 = "synthetic/c3_aperio_j2k33003_ycbcr422_6000x4500.svs"
GENERIC = "tiff/image-rs/images/tiled-rect-rgb-u8.tif"
NDPI = "vendor/ndpi/test3-DAPI-2-(387).ndpi"
DICOM = "synthetic/d3_dicom_wsi_6000x4500_ycbcr420"
STACK = "synthetic/e2_ome_zstack_2c7z_1024.ome.tif"
COLOUR = [SMALL, LARGE, JPEG2000, GENERIC, NDPI, DICOM]
KINDS = [("jpeg", 90), ("png", 0), ("tiff", 100)]


@pytest.fixture(scope="module")
def paths(testdata: Path) -> Iterator[Client]:
    """As the upstream tests want it: tiles are padded. Ids are paths."""
    with served(testdata, local_mode="wsi_service.paths_mapper:PathsMapper", pad_tiles=True, **OPEN) as client:
        yield client


@pytest.fixture(scope="module")
def simple(testdata: Path) -> Iterator[Client]:
    """Ids are hashes."""
    with served(testdata, local_mode="wsi_service.simple_mapper:SimpleMapper", pad_tiles=True, **OPEN) as client:
        yield client


def hashed(text: str) -> str:
    return uuid.uuid5(uuid.NAMESPACE_URL, text).hex


def spelled(key: str) -> str:
    return quote(key, safe="")


def oracle(testdata: Path, key: str) -> openslide.OpenSlide:
    path = testdata / key
    return openslide.OpenSlide(next(path.iterdir()) if path.is_dir() else path)


def read(slide: openslide.OpenSlide, level: int, x: int, y: int, width: int, height: int) -> NDArray[Any]:
    """A rectangle within a level, in px of the level."""
    factor = slide.level_downsamples[level]
    picture = slide.read_region((round(x * factor), round(y * factor)), level, (width, height))
    white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    return np.asarray(Image.alpha_composite(white, picture).convert("RGB"))


def tile(key: str, level: int, x: int, y: int, kind: str = "png", quality: int = 90, more: str = "") -> str:
    return (f"/v3/slides/tile/level/{level}/tile/{x}/{y}?slide_id={spelled(key)}"
            f"&image_format={kind}&image_quality={quality}{more}")  # fmt: skip


def region(key: str, level: int, x: int, y: int, width: int, height: int, kind: str = "png", more: str = "") -> str:
    return (f"/v3/slides/region/level/{level}/start/{x}/{y}/size/{width}/{height}?slide_id={spelled(key)}"
            f"&image_format={kind}{more}")  # fmt: skip


def pixels(answer: Answer, kind: str) -> NDArray[Any]:
    """(height, width, channels), as clients read them."""
    assert answer.status == 200, answer.body[:300]
    assert answer.headers["content-type"] == f"image/{kind}"
    if kind == "tiff":
        planes = tifffile.imread(io.BytesIO(answer.body))
        return np.moveaxis(planes if planes.ndim == 3 else planes[np.newaxis], 0, -1)
    found = np.asarray(Image.open(io.BytesIO(answer.body)))
    return found if found.ndim == 3 else found[:, :, np.newaxis]


def differ(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Mean difference in grey levels."""
    assert first.shape == second.shape
    return float(np.abs(first.astype(float) - second.astype(float)).mean())


# -- general -----------------------------------------------------------------------------------------------------------


def test_alive(simple: Client) -> None:
    found = simple.get("/alive").json()
    assert list(found) == ["status", "version", "message", "plugins"]
    assert (found["status"], found["message"]) == ("ok", None)
    names = [each["name"] for each in found["plugins"]]
    assert names == sorted(names)
    assert {"openslide", "tifffile", "wsidicom", "pil", "mvt"} <= set(names)
    assert all(set(each) == {"name", "version", "priority"} for each in found["plugins"])


def test_cases_of_the_simple_mapper(simple: Client, testdata: Path) -> None:
    cases = simple.get("/v3/cases/").json()
    folders = sorted(each.name for each in testdata.iterdir() if each.is_dir())
    assert sorted(each["local_id"] for each in cases) == folders
    for case in cases:
        assert set(case) == {"id", "local_id", "slides"}
        assert case["id"] == hashed(case["local_id"])
    for slides in (simple.get(f"/v3/cases/slides/?slide_id={hashed('svs')}"),
                   simple.get(f"/v3/cases/{hashed('svs')}/slides/")):  # fmt: skip
        found = {each["local_id"]: each for each in slides.json()}
        slide = found["CMU-1-Small-Region.svs"]
        assert slide == {
            "id": hashed("svsCMU-1-Small-Region.svs"),
            "local_id": "CMU-1-Small-Region.svs",
            "slide_storage": {
                "slide_id": slide["id"],
                "storage_type": "fs",
                "storage_addresses": [
                    {"address": SMALL, "slide_id": slide["id"], "main_address": True, "storage_address_id": slide["id"]}
                ],
            },
        }
    assert hashed("Aperio" + "CMU-1.svs") == "8d32dba05a4558218880f06caf30d3ac", "the id that the reference names"


def test_texts_of_what_does_not_exist(simple: Client) -> None:
    for target in ("/v3/cases/slides/?slide_id=invalid_id", "/v3/cases/invalid_id/slides/"):
        answer = simple.get(target)
        assert (answer.status, answer.json()) == (404, {"detail": "Case with case_id invalid_id does not exist"})
    for target in ("/v3/slides?slide_id=invalid_id", "/v3/slides/invalid_id", "/v3/slides/invalid_id/info",
                   "/v3/slides/invalid_id/storage"):  # fmt: skip
        answer = simple.get(target)
        assert (answer.status, answer.json()) == (404, {"detail": "Slide with slide_id invalid_id does not exist"})


@pytest.mark.parametrize(("kind", "quality"), KINDS)
@pytest.mark.parametrize("key", [SMALL, LARGE, GENERIC])
def test_tiles_at_the_edge_are_padded_in_the_colour_asked_for(
    paths: Client, testdata: Path, key: str, kind: str, quality: int
) -> None:
    info = paths.get(f"/v3/slides/info?slide_id={spelled(key)}").json()
    level = info["num_levels"] - 1
    width, height = (info["tile_extent"][name] for name in "xy")
    size = info["levels"][level]["extent"]
    column, row = (size["x"] - 1) // width, (size["y"] - 1) // height
    found = pixels(paths.get(tile(key, level, column, row, kind, quality, "&padding_color=%23AABBCC")), kind)
    assert found.shape == (height, width, 3)
    inside_x, inside_y = size["x"] - column * width, size["y"] - row * height
    if kind == "jpeg":
        return
    if (inside_x, inside_y) != (width, height):
        assert tuple(found[-1, -1]) == (0xAA, 0xBB, 0xCC)
    with oracle(testdata, key) as slide:
        wanted = read(slide, level, column * width, row * height, inside_x, inside_y)
    assert differ(found[:inside_y, :inside_x], wanted) <= 1


@pytest.mark.parametrize(("kind", "quality"), KINDS)
def test_levels(paths: Client, kind: str, quality: int) -> None:
    for level, status in ((1, 200), (0, 200), (-1, 422), (16, 422)):
        assert paths.get(tile(LARGE, level, 0, 0, kind, quality)).status == status
        assert paths.get(region(LARGE, level, 0, 0, 9, 9, kind)).status == status


@pytest.mark.parametrize(("kind", "quality"), KINDS)
@pytest.mark.parametrize("key", COLOUR)
def test_far_outside_is_white(paths: Client, key: str, kind: str, quality: int) -> None:
    info = paths.get(f"/v3/slides/info?slide_id={spelled(key)}").json()
    width, height = (info["tile_extent"][name] for name in "xy")
    for x, y in ((-1, -1), (1_000_000, 1_000_000)):
        found = pixels(paths.get(tile(key, 0, x, y, kind, quality)), kind)
        assert found.shape == (height, width, 3)
        assert found.mean() == 255
        found = pixels(paths.get(region(key, 0, x * 1_000_000, y * 1_000_000, 345, 543, kind)), kind)
        assert found.shape == (543, 345, 3)
        assert found.mean() == 255


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("start", [(-100, -200), (10, 20), (5500, 4000)])
def test_regions_partly_outside(paths: Client, testdata: Path, level: int, start: tuple[int, int]) -> None:
    left, top = start
    found = pixels(paths.get(region(LARGE, level, left, top, 1024, 1024)), "png")
    assert found.shape == (1024, 1024, 3)
    with oracle(testdata, LARGE) as slide:
        width, height = slide.level_dimensions[level]
        whole = read(slide, level, 0, 0, width, height)
    wanted = np.full((1024, 1024, 3), 255)
    x0, y0, x1, y1 = max(0, left), max(0, top), min(width, left + 1024), min(height, top + 1024)
    if x0 < x1 and y0 < y1:
        wanted[y0 - top : y1 - top, x0 - left : x1 - left] = whole[y0:y1, x0:x1]
    assert differ(found, wanted) <= 1


@pytest.mark.parametrize(("kind", "_"), KINDS)
def test_sizes_of_regions(paths: Client, kind: str, _: int) -> None:
    for side, status in ((-1, 422), (0, 422), (1, 200), (256, 200), (512, 200), (10_000, 422)):
        answer = paths.get(region(LARGE, 0, 0, 0, side, side, kind))
        assert answer.status == status
        if status == 200:
            assert pixels(answer, kind).shape == (side, side, 3)
    too_many = paths.get(region(LARGE, 0, 15_000, 15_000, 30_045, 30_243, kind))
    assert (too_many.status, too_many.json()) == (
        422, {"detail": "Requested region may not contain more than 25000000 pixels."}
    )  # fmt: skip


@pytest.mark.parametrize("key", [SMALL, DICOM])
def test_downloads(paths: Client, testdata: Path, key: str) -> None:
    answer = paths.get(f"/v3/slides/download?slide_id={spelled(key)}")
    path = testdata / key
    files = {each.name: each for each in (path.iterdir() if path.is_dir() else [path])}
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert sorted(archive.namelist()) == sorted(files)
        assert all(archive.read(name) == file.read_bytes() for name, file in files.items())
    assert paths.get(f"/v3/slides/{spelled(key)}/download").body[30:] != b""


# -- formats -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", COLOUR)
def test_info_is_what_openslide_says(paths: Client, testdata: Path, key: str) -> None:
    answer = paths.get(f"/v3/slides/info?slide_id={spelled(key)}")
    found = answer.json()
    assert found["id"] == key
    assert [each["name"] for each in found["channels"]] == ["Red", "Green", "Blue"]
    assert found["channel_depth"] == 8
    assert len(found["levels"]) == found["num_levels"]
    with oracle(testdata, key) as slide:
        assert (found["extent"]["x"], found["extent"]["y"]) == slide.dimensions
        sizes = [(each["extent"]["x"], each["extent"]["y"]) for each in found["levels"]]
        assert sizes == list(slide.level_dimensions)
        for name in "xy":
            # The generic file tells how large it is to be printed, 0.08 mm for a pixel, not what a pixel shows.
            if key != GENERIC and (spacing := slide.properties.get(f"openslide.mpp-{name}")):
                assert found["pixel_size_nm"][name] == pytest.approx(1000 * float(spacing), rel=1e-3)
    assert paths.get(f"/v3/slides/{spelled(key)}/info").body == answer.body


@pytest.mark.parametrize(("kind", "quality"), KINDS)
@pytest.mark.parametrize("key", COLOUR)
def test_thumbnails(paths: Client, testdata: Path, key: str, kind: str, quality: int) -> None:
    target = "/v3/slides/thumbnail/max_size/21/22?slide_id={}&image_format={}&image_quality={}"
    found = pixels(paths.get(target.format(spelled(key), kind, quality)), kind)
    height, width = found.shape[:2]
    assert width == 21 or height == 22
    assert width <= 21
    assert height <= 22
    with oracle(testdata, key) as slide:
        last = slide.level_count - 1
        whole = Image.fromarray(read(slide, last, 0, 0, *slide.level_dimensions[last]))
    wanted = np.asarray(whole.resize((width, height), Image.Resampling.BOX))
    assert differ(found, wanted) <= (12 if kind == "jpeg" else 6)


@pytest.mark.parametrize("key", COLOUR)
@pytest.mark.parametrize("name", ["label", "macro"])
def test_labels_and_macros(paths: Client, testdata: Path, key: str, name: str) -> None:
    answer = paths.get(f"/v3/slides/{name}/max_size/200/200?slide_id={spelled(key)}&image_format=png")
    with oracle(testdata, key) as slide:
        if name not in slide.associated_images:
            assert (answer.status, answer.json()) == (404, {"detail": f"Associated image {name} does not exist."})
            return
        stored = slide.associated_images[name].convert("RGB")
    found = pixels(answer, "png")
    assert max(found.shape[:2]) == min(200, max(stored.size))
    wanted = stored.resize((found.shape[1], found.shape[0]), Image.Resampling.LANCZOS)
    assert differ(found, np.asarray(wanted)) <= 4


@pytest.mark.parametrize(("kind", "_"), KINDS)
@pytest.mark.parametrize("key", COLOUR)
def test_regions_are_what_openslide_reads(paths: Client, testdata: Path, key: str, kind: str, _: int) -> None:
    with oracle(testdata, key) as slide:
        width, height = slide.dimensions
        x, y = width // 3, height // 3
        wanted = read(slide, 0, x, y, 345, 543)
    found = pixels(paths.get(region(key, 0, x, y, 345, 543, kind)), kind)
    assert differ(found, wanted) <= (8 if kind == "jpeg" else 1)


@pytest.mark.parametrize(("kind", "quality"), KINDS)
@pytest.mark.parametrize("key", COLOUR)
def test_tiles_are_what_openslide_reads(paths: Client, testdata: Path, key: str, kind: str, quality: int) -> None:
    width, height = (paths.get(f"/v3/slides/info?slide_id={spelled(key)}").json()["tile_extent"][name] for name in "xy")
    with oracle(testdata, key) as slide:
        column, row = slide.dimensions[0] // 2 // width, slide.dimensions[1] // 2 // height
        inside = min(width, slide.dimensions[0] - column * width), min(height, slide.dimensions[1] - row * height)
        wanted = read(slide, 0, column * width, row * height, *inside)
    found = pixels(paths.get(tile(key, 0, column, row, kind, quality)), kind)
    assert found.shape == (height, width, 3)
    assert differ(found[: inside[1], : inside[0]], wanted) <= (8 if kind == "jpeg" else 1)


@pytest.mark.parametrize("key", [SMALL, LARGE])
def test_one_channel_of_a_colour_slide(paths: Client, key: str) -> None:
    whole = pixels(paths.get(tile(key, 0, 2, 2)), "png")
    png = pixels(paths.get(tile(key, 0, 2, 2, more="&image_channels=0")), "png")
    assert tuple(png[128, 128]) == (whole[128, 128, 0], 0, 0)
    planes = pixels(paths.get(tile(key, 0, 2, 2, "tiff", more="&image_channels=0")), "tiff")
    assert planes[128, 128, 0] == whole[128, 128, 0]


@pytest.mark.parametrize("key", COLOUR)
def test_channels_there_are(paths: Client, key: str) -> None:
    for channel, status in ((4, 400), (2, 200)):
        assert paths.get(tile(key, 0, 0, 0, more=f"&image_channels={channel}")).status == status
        assert paths.get(region(key, 0, 0, 0, 64, 64, more=f"&image_channels={channel}")).status == status


# -- fluorescence ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("z", [0, 3, 6])
def test_planes_of_fluorescence(paths: Client, testdata: Path, z: int) -> None:
    stored = tifffile.imread(testdata / STACK)[:, z]
    found = pixels(paths.get(region(STACK, 0, 512, 512, 400, 300, "tiff", f"&z={z}")), "tiff")
    assert found.dtype == np.uint16
    assert np.array_equal(np.moveaxis(found, -1, 0), stored[:, 512:812, 512:912])
    beside = pixels(paths.get(region(STACK, 0, 1000, -10, 50, 20, "tiff", f"&z={z}")), "tiff")
    assert np.array_equal(beside[10:, :24, 1], stored[1, :10, 1000:])
    assert not beside[:10].any()
    assert not beside[:, 24:].any()
    for asked in ((1, 0), (1,)):
        more = f"&z={z}" + "".join(f"&image_channels={each}" for each in asked)
        some = pixels(paths.get(tile(STACK, 0, 1, 2, "tiff", more=more)), "tiff")
        assert np.array_equal(np.moveaxis(some, -1, 0), stored[list(asked), 512:768, 256:512])
    assert paths.get(tile(STACK, 0, 0, 0, more="&z=7")).status == 422
    assert paths.get(f"/v3/slides/info?slide_id={spelled(STACK)}").json()["extent"] == {"x": 1024, "y": 1024, "z": 7}


def test_channels_of_fluorescence_as_pictures(paths: Client) -> None:
    one = Image.open(io.BytesIO(paths.get(tile(STACK, 0, 1, 1, more="&image_channels=1")).body))
    assert (one.mode, one.size) == ("L", (256, 256))
    two = pixels(paths.get(tile(STACK, 0, 1, 1, more="&image_channels=0&image_channels=1")), "png")
    assert np.array_equal(two[:, :, 1], np.asarray(one))
    assert not two[:, :, 2].any()
    for asked, status in ((("0", "1", "6"), 400), (("5",), 400), ((), 200)):
        more = "".join(f"&image_channels={each}" for each in asked)
        assert paths.get(tile(STACK, 0, 0, 0, more=more)).status == status
        assert paths.get(tile(STACK, 0, 0, 0, "tiff", more=more)).status == status


def test_thumbnails_of_fluorescence_fit_and_keep_their_depth(paths: Client, testdata: Path) -> None:
    target = f"/v3/slides/thumbnail/max_size/21/22?slide_id={spelled(STACK)}&image_format=tiff"
    found = pixels(paths.get(target), "tiff")
    assert (found.shape, found.dtype) == ((21, 21, 2), np.dtype(np.uint16))
    stored = tifffile.imread(testdata / STACK)[:, 0]
    assert found.mean() == pytest.approx(stored.mean(), rel=0.05)


# -- plugins and plain pictures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [SMALL, LARGE, GENERIC])
def test_plugins_agree(paths: Client, key: str) -> None:
    facts = [
        paths.get(f"/v3/slides/info?slide_id={spelled(key)}&plugin={each}").json() for each in ("tiff", "openslide")
    ]
    for name in ("id", "channels", "channel_depth", "extent"):
        assert facts[0][name] == facts[1][name]
    assert facts[0]["format"].endswith("tiff")
    assert facts[1]["format"].endswith("openslide")
    for target in (region(key, 0, 100, 150, 500, 400), region(key, 0, -50, -50, 100, 100)):
        first, second = (pixels(paths.get(f"{target}&plugin={each}"), "png") for each in ("tiff", "openslide"))
        assert differ(first, second) <= 0.05 * second.mean()


def test_a_grey_mask(tmp_path: Path) -> None:
    grey = np.zeros((500, 225), np.uint8)
    grey[100:200, 50:150] = 255
    (tmp_path / "case").mkdir()
    Image.fromarray(grey).save(tmp_path / "case" / "mask.jpeg", quality=95)
    tifffile.imwrite(tmp_path / "case" / "mask.tif", grey, tile=(256, 256), compression="jpeg")
    with served(tmp_path) as client:
        for name in ("mask.jpeg", "mask.tif"):
            info = client.get(f"/v3/slides/info?slide_id=case/{name}").json()
            assert (info["extent"]["x"], info["extent"]["y"]) == (225, 500)
            for kind in ("png", "jpeg"):
                found = pixels(client.get(region(f"case/{name}", 0, 0, 0, 225, 500, kind)), kind)
                assert found.mean() == pytest.approx(grey.mean(), abs=1)
                assert np.ptp(found.astype(int), axis=2).max() == 0


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_plain_pictures(tmp_path: Path, suffix: str) -> None:
    generator = np.random.default_rng(3)
    picture = Image.fromarray(generator.integers(0, 256, (9, 13, 3), dtype=np.uint8)).resize((500, 358))
    (tmp_path / "case").mkdir()
    path = tmp_path / "case" / f"picture.{suffix}"
    picture.save(path)
    stored = np.asarray(Image.open(path).convert("RGB"))
    with served(tmp_path, pad_tiles=True) as client:
        key = f"case/picture.{suffix}"
        info = client.get(f"/v3/slides/info?slide_id={spelled(key)}").json()
        assert (info["extent"], info["num_levels"]) == ({"x": 500, "y": 358, "z": 1}, 1)
        assert (info["pixel_size_nm"]["x"], len(info["channels"])) == (-1.0, 3)
        assert differ(pixels(client.get(region(key, 0, 0, 0, 500, 358)), "png"), stored) <= 1
        assert client.get(f"/v3/slides/label/max_size/20/20?slide_id={spelled(key)}").status == 404
        assert pixels(client.get(region(key, 0, 1_000_000, 0, 9, 9)), "png").mean() == 255
