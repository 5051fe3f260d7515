"""Real slides over HTTP, beside OpenSlide and tifffile: stored bytes, colours, every tile, Deep Zoom."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import openslide
import pytest
import tifffile
from openslide.deepzoom import DeepZoomGenerator
from PIL import Image

from tests import conftest
from tests.serving import Client, served

SLIDE = "svs/CMU-1-Small-Region.svs"
TILES = f"/tiles/{quote(SLIDE, safe='')}"


@pytest.fixture(scope="module")
def real(testdata: Path) -> Iterator[Client]:
    """A server of the real files."""
    with served(testdata) as client:
        yield client


def stored_jpeg() -> list[str]:
    """Real files whose first page is made of JPEG tiles that browsers show."""
    folder = conftest.testdata_folder()
    found: list[str] = []
    for path in sorted(folder.rglob("*")) if folder else []:
        if path.suffix.lower() in {".svs", ".tif", ".tiff"}:
            try:
                with tifffile.TiffFile(path) as tiff:
                    page = tiff.pages[0]
                    assert isinstance(page, tifffile.TiffPage)
                    if page.is_tiled and page.compression == 7 and page.bitspersample == 8 and page.planarconfig == 1:
                        found.append(str(path.relative_to(folder)))  # type: ignore[arg-type]
            except (AssertionError, ValueError, KeyError, IndexError, tifffile.TiffFileError):
                continue  # a broken file on purpose
    return found


def scan_of(jpeg: bytes) -> bytes:
    """From the first scan to the end of the image."""
    return jpeg[jpeg.index(b"\xff\xda") : jpeg.rindex(b"\xff\xd9") + 2]


@pytest.mark.parametrize("key", stored_jpeg() or [pytest.param("", marks=pytest.mark.skip(reason="no real files"))])
def test_the_entropy_coded_bytes_are_the_stored_ones(real: Client, testdata: Path, key: str) -> None:
    facts = real.get(f"/slides/{quote(key, safe='')}")
    if facts.status == 415:
        pytest.skip(facts.json()["message"])
    compared = 0
    with tifffile.TiffFile(testdata / key) as tiff:
        page = tiff.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        columns, rows = -(-page.imagewidth // page.tilewidth), -(-page.imagelength // page.tilelength)
        stored = [index for index in range(columns * rows) if page.databytecounts[index]]
        for index in sorted({stored[0], stored[len(stored) // 2], stored[-1]}):
            tiff.filehandle.seek(page.dataoffsets[index])
            raw = tiff.filehandle.read(page.databytecounts[index])
            row, column = divmod(index, columns)
            target = f"/tiles/{quote(key, safe='')}/0/{column}/{row}.jpg"
            answer = real.get(target)
            if len(raw) < page.databytecounts[index]:
                assert answer.error == "decode_error"
                continue
            answer.jpeg()
            assert real.get(f"{target}?quality=80").body == answer.body
            shown = page.samplesperpixel in {1, 3}
            assert (scan_of(answer.body) == scan_of(raw)) == shown
            other = real.get(f"{target}?quality=79")
            assert scan_of(other.body) != scan_of(raw)
            compared += 1
    assert compared


def test_colours_are_those_of_openslide(real: Client, testdata: Path) -> None:
    with openslide.OpenSlide(testdata / SLIDE) as slide:
        for column, row in ((0, 0), (3, 5), (7, 10)):
            expected = np.asarray(slide.read_region((column * 240, row * 240), 0, (240, 240)).convert("RGB"), float)
            stored = np.asarray(real.get(f"{TILES}/0/{column}/{row}.jpg").jpeg().convert("RGB"), float)
            encoded = np.asarray(real.get(f"{TILES}/0/{column}/{row}.jpg?quality=95").jpeg().convert("RGB"), float)
            assert np.abs(stored - expected).mean() < 1.0
            assert np.abs(encoded - expected).mean() < 6.0


def test_every_tile_is_served(real: Client, testdata: Path) -> None:
    facts = real.get(f"/slides/{quote(SLIDE, safe='')}").json()
    assert facts["format"] == "Aperio SVS"
    assert facts["mpp_x"] == facts["mpp_y"] == 0.499
    assert facts["magnification"] == 20
    assert [level["level"] for level in facts["levels"]] == list(range(facts["level_count"]))
    downsamples = [level["downsample"] for level in facts["levels"]]
    assert downsamples == sorted(downsamples)
    for level in facts["levels"]:
        for x in range(level["tiles_x"]):
            for y in range(level["tiles_y"]):
                image = real.get(f"{TILES}/{level['level']}/{x}/{y}.jpg").jpeg()
                assert image.size == (level["tile_width"], level["tile_height"])


def test_quality_means_size(real: Client) -> None:
    sizes: list[int] = []
    for quality in (30, 50, 80, 95):
        answer = real.get(f"{TILES}/0/3/3.jpg?quality={quality}")
        answer.jpeg()
        assert answer.headers["x-tile-quality"] == str(quality)
        sizes.append(len(answer.body))
    assert sizes[3] > sizes[1] > sizes[0]


@pytest.mark.parametrize("name", ["label", "macro", "thumbnail"])
def test_associated_images_are_those_of_openslide(real: Client, testdata: Path, name: str) -> None:
    with openslide.OpenSlide(testdata / SLIDE) as slide:
        answer = real.get(f"/slides/{quote(SLIDE, safe='')}/associated/{name}")
        if name not in slide.associated_images:
            assert answer.error == "not_found"
            return
        expected = slide.associated_images[name].convert("RGB")
        found = answer.jpeg().convert("RGB")
        assert found.size == expected.size
        assert np.abs(np.asarray(found, float) - np.asarray(expected, float)).mean() < 6.0


def test_the_icc_profile_is_the_stored_one(real: Client, testdata: Path) -> None:
    with tifffile.TiffFile(testdata / SLIDE) as tiff:
        page = tiff.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        stored = page.tags.get(34675)
        answer = real.get(f"/slides/{quote(SLIDE, safe='')}/icc")
        if stored is None:
            assert answer.error == "not_found"
        else:
            assert answer.body == stored.value


def test_deep_zoom_is_what_openslide_makes(real: Client, testdata: Path) -> None:
    with openslide.OpenSlide(testdata / SLIDE) as slide:
        side = real.get(f"/slides/{quote(SLIDE, safe='')}").json()["levels"][0]["tile_width"]
        expected = DeepZoomGenerator(slide, tile_size=side, overlap=0)
        for level in range(expected.level_count):
            columns, rows = expected.level_tiles[level]
            for column, row in {(0, 0), (columns - 1, rows - 1), (columns // 2, rows // 2)}:
                target = f"/slides/{quote(SLIDE, safe='')}/dzi_files/{level}/{column}_{row}.png"
                found = Image.open(io.BytesIO(real.get(target).body)).convert("RGB")
                width, height = expected.level_dimensions[level]
                assert found.size == (min(side, width - column * side), min(side, height - row * side))
                # OpenSlide keeps the proportions of a tile and may lose a pixel by it.
                wanted = expected.get_tile(level, (column, row)).convert("RGB").resize(found.size)
                difference = np.abs(np.asarray(found, float) - np.asarray(wanted, float)).mean()
                # A handful of pixels for a whole slide is a matter of filters.
                assert difference < 12.0 or max(width, height) < 32, (level, column, row)


@pytest.mark.parametrize("key", ["svs/broken.svs"])
def test_a_broken_file_is_refused_with_a_reason(real: Client, key: str) -> None:
    for target in (f"/slides/{quote(key, safe='')}", f"/tiles/{quote(key, safe='')}/0/0/0.jpg"):
        answer = real.get(target)
        if answer.status == 200:
            continue
        assert answer.status in {415, 500}
        assert answer.error in {"unsupported_format", "decode_error"}
        assert "shared" not in answer.json()["message"]
