"""The v3 API on one slide: facts, tiles, regions, thumbnails, associated images; OpenSlide and tifffile as oracles."""

from __future__ import annotations

import io
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

from microtome.demo.svs import write_demo
from tests.serving import Answer, Client, served

DEMO = "case/demo.svs"
MULTI = "case/multi.tif"
DEEP = "case/deep.tif"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case with a colour slide, a slide of five 8-bit channels and one of two 16-bit channels."""
    folder = tmp_path_factory.mktemp("v3")
    (folder / "case").mkdir()
    write_demo(folder / DEMO, width=2000, height=1500)
    generator = np.random.default_rng(7)
    for key, count, dtype in ((MULTI, 5, np.uint8), (DEEP, 2, np.uint16)):
        data = generator.integers(0, np.iinfo(dtype).max // 4, (count, 300, 400), dtype=dtype)
        tifffile.imwrite(folder / key, np.moveaxis(data, 0, -1), tile=(256, 256), photometric="minisblack",
                         planarconfig="contig", compression="zlib")  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def v3(folder: Path) -> Iterator[Client]:
    with served(folder) as client:
        yield client


@pytest.fixture(scope="module")
def padding(folder: Path) -> Iterator[Client]:
    with served(folder, pad_tiles=True) as client:
        yield client


def pixels(answer: Answer) -> NDArray[Any]:
    """What a client sees: (height, width, channels)."""
    assert answer.status == 200, answer.body[:300]
    if answer.headers["content-type"] == "image/tiff":
        planes = tifffile.imread(io.BytesIO(answer.body))
        return np.moveaxis(planes if planes.ndim == 3 else planes[np.newaxis], 0, -1)
    image = Image.open(io.BytesIO(answer.body))
    found = np.asarray(image)
    return found if found.ndim == 3 else found[:, :, np.newaxis]


def tile(level: int, x: int, y: int, slide: str = DEMO, **query: object) -> str:
    more = "".join(f"&{name}={quote(str(value), safe='')}" for name, value in query.items())
    return f"/v3/slides/tile/level/{level}/tile/{x}/{y}?slide_id={slide}{more}"


def region(level: int, x: int, y: int, width: int, height: int, slide: str = DEMO, **query: object) -> str:
    more = "".join(f"&{name}={quote(str(value), safe='')}" for name, value in query.items())
    return f"/v3/slides/region/level/{level}/start/{x}/{y}/size/{width}/{height}?slide_id={slide}{more}"


# -- facts -----------------------------------------------------------------------------------------------------------


def test_info_is_the_documented_shape(v3: Client, folder: Path) -> None:
    answer = v3.get(f"/v3/slides/info?slide_id={DEMO}")
    found = answer.json()
    assert list(found) == ["id", "channels", "channel_depth", "extent", "num_levels", "pixel_size_nm", "tile_extent",
                           "levels", "format", "raw_download"]  # fmt: skip
    with openslide.OpenSlide(folder / DEMO) as slide:
        assert found["id"] == DEMO
        assert found["extent"] == {"x": 2000, "y": 1500, "z": 1}
        assert found["num_levels"] == len(found["levels"]) == slide.level_count
        for level, size, factor in zip(found["levels"], slide.level_dimensions, slide.level_downsamples, strict=True):
            assert (level["extent"]["x"], level["extent"]["y"], level["extent"]["z"]) == (*size, 1)
            assert level["downsample_factor"] == pytest.approx(factor)
        assert found["pixel_size_nm"]["x"] == pytest.approx(1000 * float(slide.properties["openslide.mpp-x"]))
    assert found["pixel_size_nm"]["z"] is None
    assert found["channels"] == [
        {"id": number, "name": name, "color": {"r": 0, "g": 0, "b": 0, "a": 0} | {letter: 255}}
        for number, (name, letter) in enumerate((("Red", "r"), ("Green", "g"), ("Blue", "b")))
    ]
    assert (found["channel_depth"], found["raw_download"]) == (8, True)
    assert found["format"] == "file-svs-aperio-tiff"
    assert b'"downsample_factor":1.0' in answer.body


def test_channels_of_others_are_told(v3: Client) -> None:
    found = v3.get(f"/v3/slides/info?slide_id={DEEP}").json()
    assert (found["channel_depth"], len(found["channels"])) == (16, 2)
    assert "mvt" not in found["format"]


def test_older_spellings_are_the_same(v3: Client) -> None:
    key = quote(DEMO, safe="")
    for new, old in (
        (f"/v3/slides/info?slide_id={DEMO}", f"/v3/slides/{key}/info"),
        (f"/v3/slides?slide_id={DEMO}", f"/v3/slides/{key}"),
        (f"/v3/slides/storage?slide_id={DEMO}", f"/v3/slides/{key}/storage"),
        (tile(0, 1, 1), f"/v3/slides/{key}/tile/level/0/tile/1/1"),
        (f"/v3/slides/label/max_size/50/50?slide_id={DEMO}", f"/v3/slides/{key}/label/max_size/50/50"),
        ("/v3/cases/slides/?slide_id=case", "/v3/cases/case/slides/"),
        ("/v3/cases/slides/?slide_id=case", "/v3/cases/slides/?case_id=case"),
    ):
        first, second = v3.get(new), v3.get(old)
        assert (first.status, first.body) == (200, second.body), old


# -- tiles -----------------------------------------------------------------------------------------------------------


def test_a_stored_tile_comes_as_it_is(v3: Client) -> None:
    stored = v3.get(f"/tiles/{quote(DEMO, safe='')}/0/1/1.jpg").body
    everything = f"{tile(0, 1, 1)}&image_channels=0&image_channels=1&image_channels=2"
    for target in (tile(0, 1, 1), tile(0, 1, 1, image_quality=90), everything, tile(0, 1, 1, image_format="jpg")):
        assert v3.get(target).body == stored
    for target in (tile(0, 1, 1, image_quality=40), tile(0, 1, 1, image_channels=0), tile(0, 1, 1, image_format="png")):
        assert v3.get(target).body != stored


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "bmp", "webp"])
def test_tiles_are_what_openslide_reads(v3: Client, folder: Path, kind: str) -> None:
    limit = 0.0 if kind in {"png", "tiff", "bmp"} else 6.0
    with openslide.OpenSlide(folder / DEMO) as slide:
        for level in range(slide.level_count):
            width, height = slide.level_dimensions[level]
            for x, y in {(0, 0), ((width - 1) // 256, (height - 1) // 256)}:
                found = pixels(v3.get(tile(level, x, y, image_format=kind)))
                size = min(256, width - 256 * x), min(256, height - 256 * y)
                factor = slide.level_downsamples[level]
                corner = round(256 * x * factor), round(256 * y * factor)
                wanted = np.asarray(slide.read_region(corner, level, size).convert("RGB"))
                assert found.shape == wanted.shape
                difference = np.abs(found.astype(int) - wanted.astype(int)).mean()
                assert difference <= limit + 1.0, (level, x, y)


def test_edges_are_cropped_or_padded(v3: Client, padding: Client) -> None:
    assert pixels(v3.get(tile(0, 7, 5))).shape == (1500 - 5 * 256, 2000 - 7 * 256, 3)
    whole = pixels(padding.get(tile(0, 7, 5, image_format="png", padding_color="#AABBCC")))
    assert whole.shape == (256, 256, 3)
    assert tuple(whole[-1, -1]) == (0xAA, 0xBB, 0xCC)
    assert np.array_equal(whole[: 1500 - 1280, : 2000 - 1792], pixels(v3.get(tile(0, 7, 5, image_format="png"))))


@pytest.mark.parametrize("place", [(-1, -1), (8, 0), (0, 6), (1_000_000, 1_000_000)])
def test_beyond_the_edge(v3: Client, padding: Client, place: tuple[int, int]) -> None:
    assert v3.get(tile(0, *place)).status == 404
    outside = pixels(padding.get(tile(0, *place, image_format="png")))
    assert outside.shape == (256, 256, 3)
    assert outside.mean() == 255
    for slide in (MULTI, DEEP):
        assert padding.get(tile(0, *place, slide=slide, image_format="tiff")).status == 200


@pytest.mark.parametrize(
    ("asked", "color"),
    [
        ("%23010203", (1, 2, 3)),
        ("%23123", (17, 34, 51)),
        *((bad, (255, 255, 255)) for bad in ("red", "AABBCC", "%23GG", "")),
    ],
)
def test_padding_colours(v3: Client, asked: str, color: tuple[int, int, int]) -> None:
    answer = v3.get(region(0, -10, -10, 5, 5, image_format="png") + f"&padding_color={asked}")
    assert tuple(pixels(answer)[0, 0]) == color


# -- regions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("place", [(-100, -200, 300, 300), (10, 20, 345, 543), (10**6, 10**6, 20, 30),
                                   (-(10**6), 0, 9, 9), (250, 250, 12, 12), (0, 0, 1, 1)])  # fmt: skip
def test_a_region_is_exactly_as_large_as_asked(
    v3: Client, folder: Path, level: int, place: tuple[int, int, int, int]
) -> None:
    left, top, width, height = place
    found = pixels(v3.get(region(level, *place, image_format="png")))
    assert found.shape == (height, width, 3)
    with openslide.OpenSlide(folder / DEMO) as slide:
        whole = np.asarray(slide.read_region((0, 0), level, slide.level_dimensions[level]).convert("RGB")).astype(int)
    wanted = np.full((height, width, 3), 255)
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(whole.shape[1], left + width), min(whole.shape[0], top + height)
    if x0 < x1 and y0 < y1:
        wanted[y0 - top : y1 - top, x0 - left : x1 - left] = whole[y0:y1, x0:x1]
    assert np.abs(found.astype(int) - wanted).mean() <= 1.0


def test_regions_have_limits(v3: Client) -> None:
    answer = v3.get(region(0, 0, 0, 10_000, 10_000))
    assert (answer.status, answer.json()) == (
        422,
        {"detail": "Requested region may not contain more than 25000000 pixels."},
    )
    for size in ((0, 5), (5, 0), (-1, 5)):
        assert v3.get(region(0, 0, 0, *size)).status == 422


# -- channels ----------------------------------------------------------------------------------------------------------


def test_channels_of_a_colour_slide(v3: Client) -> None:
    whole = pixels(v3.get(tile(0, 1, 1, image_format="png")))
    red = pixels(v3.get(tile(0, 1, 1, image_format="png", image_channels=0)))
    assert np.array_equal(red[:, :, 0], whole[:, :, 0])
    assert not red[:, :, 1:].any()
    two = pixels(v3.get(tile(0, 1, 1, image_format="png") + "&image_channels=2&image_channels=0"))
    assert np.array_equal(two[:, :, [0, 2]], whole[:, :, [0, 2]])
    assert not two[:, :, 1].any()
    planes = pixels(v3.get(tile(0, 1, 1, image_format="tiff") + "&image_channels=2&image_channels=0"))
    assert np.array_equal(planes, whole[:, :, [2, 0]])


@pytest.mark.parametrize("slide", [MULTI, DEEP])
def test_tiff_has_all_channels_at_full_depth(v3: Client, folder: Path, slide: str) -> None:
    stored = tifffile.imread(folder / slide)
    assert np.array_equal(pixels(v3.get(tile(0, 0, 0, slide=slide, image_format="tiff"))), stored[:256, :256])
    assert np.array_equal(pixels(v3.get(tile(0, 1, 1, slide=slide, image_format="tiff"))), stored[256:, 256:])
    one = pixels(v3.get(tile(0, 0, 0, slide=slide, image_format="tiff", image_channels=1)))
    assert np.array_equal(one[:, :, 0], stored[:256, :256, 1])


def test_the_order_of_channels_is_the_one_asked(v3: Client, folder: Path) -> None:
    stored = tifffile.imread(folder / MULTI)[:256, :256]
    asked = (4, 0, 2)
    query = "".join(f"&image_channels={index}" for index in asked)
    assert np.array_equal(pixels(v3.get(tile(0, 0, 0, slide=MULTI, image_format="png") + query)), stored[:, :, asked])
    assert np.array_equal(pixels(v3.get(tile(0, 0, 0, slide=MULTI, image_format="tiff") + query)), stored[:, :, asked])
    one = Image.open(io.BytesIO(v3.get(tile(0, 0, 0, slide=MULTI, image_format="png", image_channels=3)).body))
    assert one.mode == "L"
    assert np.array_equal(np.asarray(one), stored[:, :, 3])


def test_brightness_does_not_depend_on_the_tile(v3: Client, folder: Path) -> None:
    stored = tifffile.imread(folder / DEEP)
    for x, y in ((0, 0), (1, 1)):
        found = pixels(v3.get(tile(0, x, y, slide=DEEP, image_format="png", image_channels=0)))[:, :, 0]
        wanted = stored[256 * y : 256 * y + 256, 256 * x : 256 * x + 256, 0]
        scale = np.polyfit(wanted.ravel().astype(float), found.ravel().astype(float), 1)[0]
        assert scale == pytest.approx(255 / 65535, rel=0.05) or scale == pytest.approx(255 / 16384, rel=0.05)


@pytest.mark.parametrize(("channels", "status"), [((3,), 400), ((0, 0), 400), ((-1,), 400), ((0, 1, 2), 200)])
def test_channels_that_do_not_exist(v3: Client, channels: tuple[int, ...], status: int) -> None:
    query = "".join(f"&image_channels={index}" for index in channels)
    assert v3.get(tile(0, 0, 0) + query).status == status
    assert v3.get(region(0, 0, 0, 9, 9) + query).status == status


# -- thumbnails, label, macro --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limits", "size"), [((200, 200), (200, 150)), ((21, 22), (21, 16)), ((1, 1), (1, 1)),
                                              ((500, 500), (500, 375)), ((300, 20), (27, 20))])  # fmt: skip
def test_thumbnails_fit(v3: Client, limits: tuple[int, int], size: tuple[int, int]) -> None:
    found = pixels(v3.get(f"/v3/slides/thumbnail/max_size/{limits[0]}/{limits[1]}?slide_id={DEMO}&image_format=png"))
    assert abs(found.shape[1] - size[0]) <= 1
    assert abs(found.shape[0] - size[1]) <= 1
    assert found.shape[1] <= limits[0]
    assert found.shape[0] <= limits[1]


def test_thumbnails_of_deep_slides_keep_their_depth(v3: Client, folder: Path) -> None:
    found = pixels(v3.get(f"/v3/slides/thumbnail/max_size/100/100?slide_id={DEEP}&image_format=tiff"))
    assert (found.shape, found.dtype) == ((75, 100, 2), np.dtype(np.uint16))
    assert found.mean() == pytest.approx(tifffile.imread(folder / DEEP).mean(), rel=0.02)


@pytest.mark.parametrize("name", ["label", "macro"])
def test_associated_images_are_made_smaller_never_larger(v3: Client, folder: Path, name: str) -> None:
    with openslide.OpenSlide(folder / DEMO) as slide:
        stored = slide.associated_images[name].convert("RGB")
    target = f"/v3/slides/{name}/max_size/{{}}/{{}}?slide_id={DEMO}&image_format=png"
    whole = pixels(v3.get(target.format(5000, 5000)))
    assert whole.shape[:2] == (stored.height, stored.width)
    assert np.abs(whole.astype(int) - np.asarray(stored).astype(int)).mean() < 2
    small = pixels(v3.get(target.format(50, 50)))
    assert max(small.shape[:2]) == 50
    assert pixels(v3.get(target.format(5000, 5000))).shape == whole.shape, "a smaller answer must not spoil later ones"
    missing = v3.get(f"/v3/slides/{name}/max_size/50/50?slide_id={MULTI}")
    assert (missing.status, missing.json()) == (404, {"detail": f"Associated image {name} does not exist."})


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "status", "text"),
    [
        (tile(0, 0, 0, slide="case/none.svs"), 404, "does not exist"),
        (tile(0, 0, 0, slide="case/none.svs", image_format="bogus"), 400,
         "Provided image format parameter not supported"),
        (tile(0, 0, 0, image_format="JPEG"), 400, "not supported"),
        (tile(0, 0, 0, image_format="raw"), 400, "Failed to read passthrough payload for format 'raw'"),
        (tile(9, 0, 0), 422, "The requested pyramid level is not available. The coarsest available level is "),
        (tile(-1, 0, 0), 422, None),
        (tile(0, 0, 0, z=1), 422, "Invalid ZStackQuery z=1. The image does not support multiple z-layers."),
        (tile(0, 0, 0, z=-1), 422, None),
        (tile(0, 0, 0, image_quality=101), 422, None),
        (tile(0, 0, 0, image_quality=""), 422, None),
        (tile(0, 0, 0, image_channels="0,1"), 422, None),
        (tile(0, 0, 0, icc_profile_intent="PERCEPTUAL"), 422, None),
        (tile(0, 0, 0, icc_profile_strict="maybe"), 422, None),
        (tile(0, 0, 0, plugin="none"), 400, "none"),
        ("/v3/slides/tile/level/0/tile/0/0", 422, None),
        ("/v3/slides/tile/level/a/tile/0/0?slide_id=x", 422, None),
        (f"/v3/slides/thumbnail/max_size/501/1?slide_id={DEMO}", 422, None),
        (f"/v3/slides/thumbnail/max_size/0/1?slide_id={DEMO}", 422, None),
        (f"/v3/slides/label/max_size/0/1?slide_id={DEMO}", 422, None),
        (f"/v3/slides/icc_profile?slide_id={MULTI}", 404, "ICC Profile not available."),
        (tile(0, 0, 0, slide=MULTI, icc_profile_intent="perceptual", icc_profile_strict="true"), 412,
         "Error: ICC Profile not available."),
        ("/v3/nothing", 404, "Not Found"),
    ],
)  # fmt: skip
def test_errors(v3: Client, target: str, status: int, text: str | None) -> None:
    answer = v3.get(target)
    assert answer.status == status, answer.body
    detail = answer.json()["detail"]
    if text is None:
        assert all({"type", "loc", "msg", "input"} <= set(each) for each in detail)
    else:
        assert text in detail


def test_strict_without_an_intent_means_nothing(v3: Client) -> None:
    assert v3.get(tile(0, 0, 0, slide=MULTI, icc_profile_strict="true")).status == 200
    assert v3.get(tile(0, 0, 0, slide=MULTI, icc_profile_intent="saturation")).status == 200


def test_only_get_and_head(v3: Client) -> None:
    for target in (tile(0, 0, 0), f"/v3/slides/info?slide_id={DEMO}", "/alive"):
        assert v3.request("POST", target).status == 405
        head, whole = v3.request("HEAD", target), v3.get(target)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == str(len(whole.body))


def test_what_a_client_has_is_not_sent_again(v3: Client) -> None:
    for target in (tile(0, 1, 1), tile(0, 1, 1, image_format="png"), f"/v3/slides/info?slide_id={DEMO}"):
        etag = v3.get(target).headers["etag"]
        again = v3.get(target, {"If-None-Match": etag})
        assert (again.status, again.body) == (304, b"")


def test_a_slash_at_the_end_is_sent_elsewhere(v3: Client) -> None:
    answer = v3.get(f"/v3/slides/info/?slide_id={DEMO}")
    assert answer.status == 307
    assert answer.headers["location"] == f"/v3/slides/info?slide_id={DEMO}"


# -- files of a slide --------------------------------------------------------------------------------------------------


def test_a_download_holds_the_file(v3: Client, folder: Path) -> None:
    answer = v3.get(f"/v3/slides/download?slide_id={DEMO}")
    assert answer.headers["content-length"] == str(len(answer.body))
    assert (
        answer.headers["content-disposition"] == "attachment; filename=\"demo.svs.zip\"; filename*=UTF-8''demo.svs.zip"
    )
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["demo.svs"]
        assert archive.read("demo.svs") == (folder / DEMO).read_bytes()
    assert v3.get("/v3/slides/download?slide_id=case/none.svs").status == 404


# -- many slides -------------------------------------------------------------------------------------------------------


def entries(answer: Answer) -> dict[str, bytes]:
    assert (answer.status, answer.headers["content-type"]) == (200, "application/zip"), answer.body[:300]
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize(("prefix", "name"), [("files", "paths"), ("batch", "slides"), ("batch", "paths")])
def test_batches_answer_in_order_and_tell_what_failed(v3: Client, prefix: str, name: str) -> None:
    base = f"/v3/{prefix}/tile/level/0/tile/0/0"
    found = entries(v3.get(f"{base}?{name}={DEMO},case/none.svs,{MULTI}&image_format=png"))
    assert list(found) == ["t1.png", "t2.err", "t3.png"]
    assert found["t1.png"] == v3.get(tile(0, 0, 0, image_format="png")).body
    assert b"case/none.svs" in found["t2.err"]
    repeated = entries(v3.get(f"{base}?{name}={DEMO}&{name}={MULTI}&image_format=png"))
    assert list(repeated) == ["t1.png", "t2.png"]


def test_a_batch_has_a_place_for_each_slide(v3: Client) -> None:
    for target in ("/v3/files/batch/?paths=", "/v3/batch/batch/?slides="):
        found = entries(v3.get(f"{target}{DEMO},{DEMO}&levels=0,1&xs=1,0&ys=2,0&image_format=png"))
        assert found["t1.png"] == v3.get(tile(0, 1, 2, image_format="png")).body
        assert found["t2.png"] == v3.get(tile(1, 0, 0, image_format="png")).body
        assert v3.get(f"{target}{DEMO},{DEMO}&levels=0&xs=1,0&ys=2,0").status == 422
        assert v3.get(f"{target}{DEMO}&levels=a&xs=1&ys=2").status == 422


def test_batches_of_everything_else(v3: Client) -> None:
    listed = v3.get(f"/v3/files/info?paths={DEMO},{MULTI}").json()
    assert listed == [v3.get(f"/v3/slides/info?slide_id={each}").json() for each in (DEMO, MULTI)]
    assert v3.get(f"/v3/files/info?paths={DEMO},nowhere.svs").status == 404
    for what in ("thumbnail", "label", "macro"):
        found = entries(v3.get(f"/v3/files/{what}/max_size/60/60?paths={DEMO},{MULTI}&image_format=png"))
        assert max(pixels_of(found["t1.png"]).shape[:2]) == 60
        assert list(found)[1] == ("t2.png" if what == "thumbnail" else "t2.err")
    assert v3.get(f"/v3/batch/icc_profile?paths={DEMO},{MULTI}").status == 400
    assert v3.get("/v3/files/info").json()["detail"][0]["loc"] == ["query", "paths"]
    one = v3.get(f"/v3/files/thumbnail/max_size/60/60?slide_id={DEMO}")
    assert one.headers["content-type"] == "image/jpeg"


def pixels_of(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)))


# -- the short way -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["", "&image_quality=90", "&image_channels=0&image_channels=1&image_channels=2"])
def test_the_short_way_answers_what_the_ordinary_way_answers(v3: Client, query: str) -> None:
    def whole(target: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        found = v3.get(target, headers)
        return found.status, {name: value for name, value in found.headers.items() if name != "date"}, found.body

    target = tile(0, 2, 2) + query
    ordinary = whole(target + "&unknown=1")
    before = v3.services.express.answered
    assert [whole(target) for _ in range(3)] == [ordinary] * 3
    assert v3.services.express.answered >= before + 2
    etag = ordinary[1]["etag"]
    assert whole(target, **{"If-None-Match": etag}) == whole(target + "&unknown=1", **{"If-None-Match": etag})


@pytest.mark.parametrize("query", ["&image_quality=40", "&image_format=png", "&image_channels=1", "&z=1"])
def test_what_must_be_rendered_does_not_take_the_short_way_unless_it_is_kept(v3: Client, query: str) -> None:
    target = tile(0, 3, 3) + query
    first = v3.get(target)
    assert (v3.get(target).status, v3.get(target).body) == (first.status, first.body)
