"""Listing, facts, Deep Zoom, thumbnails and the viewer page over HTTP: the cases L, P15, T, V and X5."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests import tiffmaker
from tests.serving import Client, served

DEEP_ZOOM = "{http://schemas.microsoft.com/deepzoom/2008}"


def listed(folder: Path, keys: Iterable[str], query: str = "") -> dict[str, object]:
    for key in keys:
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    with served(folder) as client:
        answer = client.get(f"/slides{query}")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def test_an_empty_folder_lists_nothing(tmp_path: Path) -> None:
    assert listed(tmp_path, []) == {"slides": []}


def test_slides_are_listed_with_their_folders_in_order(tmp_path: Path) -> None:
    names = ["slide1.svs", "slide2.tif", "folder/slide3.tiff"]
    assert listed(tmp_path, [*names, "a.jpg", "b.pdf", "c.png", "svs", "x.svs.bak"]) == {"slides": sorted(names)}


def test_the_case_of_an_ending_does_not_matter(tmp_path: Path) -> None:
    names = ["lower.svs", "UPPER.SVS", "Mixed.Tif", "mixed.TIFF"]
    assert listed(tmp_path, names) == {"slides": sorted(names)}


def test_limits_are_clamped_and_the_cursor_is_left_out_at_the_end(tmp_path: Path) -> None:
    names = [f"{number}.svs" for number in range(5)]
    assert listed(tmp_path, names, "?limit=5000") == {"slides": names}
    assert listed(tmp_path, [], "?limit=5") == {"slides": names}
    assert listed(tmp_path, [], "?limit=0")["slides"] == names[:1]
    first = listed(tmp_path, [], "?limit=2")
    assert first["slides"] == names[:2]
    assert first["next_cursor"]


def test_pages_are_full_and_complete(tmp_path: Path) -> None:
    names = [f"{folder}/{number:02}{ending}" for folder in ("a", "b c", "ä") for number in range(20)
             for ending in (".svs", ".txt")]  # fmt: skip
    expected = sorted((name for name in names if name.endswith(".svs")), key=str.encode)
    listed(tmp_path, names)
    with served(tmp_path) as client:
        found: list[str] = []
        cursor = ""
        while True:
            page = client.get(f"/slides?limit=7{cursor}").json()
            found += page["slides"]
            if "next_cursor" not in page:
                break
            assert len(page["slides"]) == 7
            cursor = f"&cursor={page['next_cursor'].replace(' ', '%20').replace('ä', '%C3%A4')}"
        assert found == expected
        assert client.get("/slides?prefix=b%20c%2F1").json()["slides"] == [f"b c/1{n}.svs" for n in range(10)]
        assert client.get("/slides?search=C%2F05").json()["slides"] == ["b c/05.svs"]
        assert client.get("/slides?search=%C3%84%2F1&limit=3").json()["slides"] == ["ä/10.svs", "ä/11.svs", "ä/12.svs"]
        assert client.get("/slides?search=&prefix=").json()["slides"] == expected
        assert client.get("/slides?cursor=").error == "invalid_cursor"
        for bad in ("?limit=abc", "?limit=-1", "?limit=4294967296", "?limit=1&limit=2"):
            assert client.get(f"/slides{bad}").status == 400


def test_the_facts_of_a_slide(client: Client) -> None:
    facts = client.get("/slides/test.tif").json()
    assert list(facts)[:6] == ["slide_id", "format", "width", "height", "level_count", "levels"]
    assert {name: facts[name] for name in list(facts)[:5]} == {
        "slide_id": "test.tif", "format": "Generic Pyramidal TIFF", "width": 2048, "height": 1536, "level_count": 1,
    }  # fmt: skip
    assert facts["levels"] == [
        {"level": 0, "width": 2048, "height": 1536, "tile_width": 256, "tile_height": 256, "tiles_x": 8, "tiles_y": 6,
         "downsample": 1.0}
    ]  # fmt: skip
    body = client.get("/slides/test.tif").body
    assert b'"downsample":1.0}' in body
    assert b"null" not in body


def test_ids_are_told_decoded(client: Client) -> None:
    assert client.get("/slides/folder%2Fsub%20folder%2Fslide.svs").json()["slide_id"] == "folder/sub folder/slide.svs"


@pytest.mark.parametrize("what", ["", "/dzi", "/thumbnail", "/associated/label", "/icc", "/dzi_files/1/0_0.jpg"])
def test_missing_slides_are_missing_everywhere(client: Client, what: str) -> None:
    answer = client.get(f"/slides/nowhere%2Fmissing.tif{what}")
    assert (answer.status, answer.error) == (404, "not_found")
    assert "nowhere/missing.tif" in answer.json()["message"]


@pytest.mark.parametrize(
    "what", ["associated/label", "associated/macro", "associated/thumbnail", "associated/x", "icc"]
)
def test_what_a_slide_does_not_have_is_missing(client: Client, what: str) -> None:
    answer = client.get(f"/slides/test.tif/{what}")
    assert (answer.status, answer.error) == (404, "not_found")


def test_documents_have_validators(client: Client) -> None:
    for target in ("/slides/test.tif", "/slides/test.tif/dzi"):
        etag = client.get(target).headers["etag"]
        assert client.get(target, {"If-None-Match": etag}).status == 304


def test_a_replaced_slide_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    path.write_bytes(tiffmaker.classic())
    with served(tmp_path, revalidate=0.0) as client:
        before = client.get("/tiles/slide.tif/0/0/0.jpg")
        path.with_suffix(".new").write_bytes(tiffmaker.classic(jpeg=tiffmaker.gradient_jpeg(40)))
        path.with_suffix(".new").replace(path)
        after = client.get("/tiles/slide.tif/0/0/0.jpg")
        assert after.body == tiffmaker.gradient_jpeg(40) != before.body
        assert after.headers["etag"] != before.headers["etag"]
        path.unlink()
        assert client.get("/tiles/slide.tif/0/1/0.jpg").error == "not_found"


# -- Deep Zoom -------------------------------------------------------------------------------------------------------


def test_the_deep_zoom_descriptor(client: Client) -> None:
    answer = client.get("/slides/test.tif/dzi")
    assert answer.headers["content-type"] == "application/xml"
    assert answer.headers["cache-control"] == "public, max-age=3600"
    assert answer.body.startswith(b'<?xml version="1.0" encoding="UTF-8"?>')
    image = ElementTree.fromstring(answer.body)
    assert image.tag == f"{DEEP_ZOOM}Image"
    assert image.attrib == {"TileSize": "256", "Overlap": "0", "Format": "jpg"}
    size = image.find(f"{DEEP_ZOOM}Size")
    assert size is not None
    assert size.attrib == {"Width": "2048", "Height": "1536"}


def test_the_deep_zoom_pyramid_is_complete(client: Client) -> None:
    width, height, level = 2048, 1536, 11
    while True:
        columns, rows = -(-width // 256), -(-height // 256)
        last = client.get(f"/slides/test.tif/dzi_files/{level}/{columns - 1}_{rows - 1}.jpg")
        assert last.jpeg().size == (width - 256 * (columns - 1), height - 256 * (rows - 1))
        for beyond in (f"{columns}_0", f"0_{rows}"):
            assert client.get(f"/slides/test.tif/dzi_files/{level}/{beyond}.jpg").error == "tile_out_of_bounds"
        if level == 0:
            break
        width, height, level = -(-width // 2), -(-height // 2), level - 1
    assert client.get("/slides/test.tif/dzi_files/12/0_0.jpg").error == "invalid_level"


@pytest.mark.parametrize(("ending", "kind"), [("jpg", "JPEG"), ("jpeg", "JPEG"), ("png", "PNG"), ("webp", "WEBP")])
def test_deep_zoom_tiles_come_in_several_types(client: Client, ending: str, kind: str) -> None:
    from io import BytesIO

    from PIL import Image

    answer = client.get(f"/slides/test.tif/dzi_files/11/1_1.{ending}")
    image = Image.open(BytesIO(answer.body))
    assert (image.format, image.size) == (kind, (256, 256))
    assert answer.headers["content-type"] == f"image/{kind.lower()}"


@pytest.mark.parametrize("name", ["0_0", "0_0.gif", "0-0.jpg", "a_b.jpg", "_.jpg", "0_0.jpg.png"])
def test_names_that_are_no_deep_zoom_tiles(client: Client, name: str) -> None:
    assert client.get(f"/slides/test.tif/dzi_files/11/{name}").status in {400, 404}


# -- thumbnails ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("largest", [128, 256, 400, 512, 1024])
def test_a_thumbnail_fills_its_square(client: Client, largest: int) -> None:
    answer = client.get(f"/slides/test.tif/thumbnail?max_size={largest}")
    assert answer.jpeg().size == (largest, largest * 3 // 4)
    assert answer.headers["x-tile-quality"] == "80"
    assert not any(name.startswith("x-thumbnail") for name in answer.headers)


def test_a_thumbnail_is_512_by_default_and_kept(fresh: Client) -> None:
    first, second = fresh.get("/slides/test.tif/thumbnail"), fresh.get("/slides/test.tif/thumbnail?max_size=512")
    assert first.jpeg().size == (512, 384)
    assert (first.hit, second.hit) == (False, True)
    assert first.body == second.body
    assert fresh.get("/slides/test.tif/thumbnail?quality=30").body != first.body


@pytest.mark.parametrize(("asked", "used"), [(10, 64), (0, 64), (63, 64), (2049, 2048), (5000, 2048)])
def test_a_size_outside_of_the_limits_is_clamped_and_told(client: Client, asked: int, used: int) -> None:
    answer = client.get(f"/slides/test.tif/thumbnail?max_size={asked}")
    assert max(answer.jpeg().size) == used
    assert answer.headers["x-thumbnail-size-clamped"] == "true"
    assert answer.headers["x-thumbnail-requested-size"] == str(asked)
    assert answer.headers["x-thumbnail-actual-size"] == str(used)


@pytest.mark.parametrize("quality", [0, 101, 255])
def test_a_thumbnail_of_an_impossible_quality(client: Client, quality: int) -> None:
    assert client.get(f"/slides/test.tif/thumbnail?quality={quality}").error == "invalid_quality"
    assert client.get("/slides/test.tif/thumbnail?max_size=abc").status == 400


# -- the page --------------------------------------------------------------------------------------------------------


def test_the_viewer_page(client: Client) -> None:
    answer = client.get("/view/folder%2Fsub%20folder%2Fslide.svs")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = answer.body.decode()
    for text in ("folder/sub folder/slide.svs", "2048", "1536", ">1</span> pyramid levels", "Generic Pyramidal TIFF",
                 "openseadragon", "OpenSeadragon", "/tiles/folder%2Fsub%20folder%2Fslide.svs/", ".jpg",
                 "width: 2048, height: 1536"):  # fmt: skip
        assert text in page, text


def test_the_page_trusts_no_id_and_no_header(tmp_path: Path) -> None:
    evil = "<script>alert(1)<"
    (tmp_path / evil).mkdir()
    (tmp_path / evil / "script>.tif").write_bytes(tiffmaker.classic())
    with served(tmp_path) as client:
        target = "/view/%3Cscript%3Ealert(1)%3C%2Fscript%3E.tif"
        answer = client.get(target, {"X-Forwarded-Proto": "javascript:alert(2)//", "Host": '"-alert(3)-"'})
        assert answer.status == 200
        page = answer.body.decode()
        assert "<script>alert(1)" not in page
        assert "alert(2)" not in page
        assert "alert(3)" not in page
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy or "default-src 'self'" in policy
        assert "unsafe-inline" not in re.sub(r"style-src[^;]*", "", policy)
        missing = client.get("/view/%3Cscript%3Ealert(1)%3C%2Fscript%3E", {"Accept": "text/html"})
        assert missing.status == 404
        assert "<script>alert(1)" not in missing.body.decode()


@pytest.mark.parametrize(("slide", "status", "code"), [("missing.tif", 404, "not_found")])
def test_the_viewer_of_what_cannot_be_shown(client: Client, slide: str, status: int, code: str) -> None:
    answer = client.get(f"/view/{slide}")
    assert (answer.status, answer.error) == (status, code)
    page = client.get(f"/view/{slide}", {"Accept": "text/html"})
    assert (page.status, page.headers["content-type"]) == (status, "text/html; charset=utf-8")
