"""Every real TIFF either opens and decodes like tifffile and OpenSlide, or is refused with a reason; none may crash."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile
from numpy.typing import NDArray

from microtome.errors import MicrotomeError
from microtome.formats.base import Slide
from microtome.formats.tiff import TiffFormat
from microtome.model import EncodedTile, Raster, SlideInfo, TileIndex
from microtome.pixels import codecs
from microtome.pixels.render import to_display
from microtome.storage.local import LocalStore
from microtome.storage.pinned import PinnedObject
from tests.conftest import testdata_folder as real_files

FOLDERS = ("tiff", "svs", "synthetic", "vendor")
SUFFIXES = (".tif", ".tiff", ".svs", ".ndpi", ".btf")
REFUSED = {
    "compression 4", "compression 6", "compression 34676", "sample format", "file signature", "file size", "no image",
    "offset size", "CMYK", "photometric", "fill order", "bits per sample", "palette",
}  # fmt: skip
LOSSY = {6, 7, 33003, 33005, 34712, 50001}
SPARSE_AS_WHITE = ("usda_naip_512_jpeg_z5.tif", "usda_naip_512_webp_z5.tif")


def files() -> list[str]:
    folder = real_files()
    if folder is None:
        return []
    found = (path for name in FOLDERS for path in sorted((folder / name).rglob("*")))
    return [str(path.relative_to(folder)) for path in found if path.suffix.lower() in SUFFIXES]


async def opened(folder: Path, key: str) -> tuple[Slide, SlideInfo]:
    slide = await TiffFormat().open(await PinnedObject.open(LocalStore(folder), key))
    try:
        return slide, await slide.info()
    except BaseException:
        await slide.close()
        raise


async def samples(slide: Slide, index: TileIndex) -> Raster:
    tile = await slide.read_tile(index)
    return codecs.decode(tile) if isinstance(tile, EncodedTile) else tile


@pytest.mark.parametrize("key", files() or [pytest.param("", marks=pytest.mark.skip(reason="no real files"))])
async def test_it_decodes_like_tifffile_or_is_refused_with_a_reason(key: str, testdata: Path) -> None:
    async with asyncio.timeout(30):
        try:
            slide, info = await opened(testdata, key)
        except MicrotomeError as refused:
            assert len(refused.message) > 20, "a refusal says why"
            assert str(testdata) not in refused.message
            return
        try:
            broken = 0
            for number, level in enumerate(info.levels):
                for place in {(0, 0), (level.columns - 1, level.rows - 1)}:
                    try:
                        pixels = to_display(await slide.read_tile(TileIndex(number, *place)))
                    except MicrotomeError as refused:
                        assert len(refused.message) > 20
                        broken += 1
                        continue
                    assert pixels.dtype == np.uint8
                    assert (pixels.shape[1], pixels.shape[0]) == level.tile_size
            if not broken and not key.endswith(SPARSE_AS_WHITE):
                await compare_with_tifffile(slide, info, testdata / key)
        finally:
            await slide.close()


async def compare_with_tifffile(slide: Slide, info: SlideInfo, path: Path) -> None:
    """The middle tile of level 0, exactly for lossless compression, within rounding of the decoders otherwise."""
    level = info.levels[0]
    column, row = level.columns // 2, level.rows // 2
    try:
        with tifffile.TiffFile(path) as file:
            pages: list[Any] = [p for p in file.pages if (p.imagewidth, p.imagelength) == level.size]  # type: ignore[union-attr]
            page = pages[0]
            if page.photometric in (3, 5) or page.compression == 33003:
                return  # tifffile gives indices, inks and raw YCbCr; OpenSlide and the unit tests are the oracles
            expected = np.asarray(page.asarray())
    except Exception:  # noqa: BLE001 - what the oracle cannot read proves nothing
        return
    if expected.ndim == 2:
        expected = expected[:, :, np.newaxis]
    elif page.planarconfig == 2 and page.samplesperpixel > 1 and expected.shape[0] == page.samplesperpixel:
        expected = np.moveaxis(expected, 0, -1)
    width, height = level.tile_size
    expected = expected[row * height : (row + 1) * height, column * width : (column + 1) * width]
    if page.photometric == 0 and page.bitspersample >= 8 and expected.dtype.kind == "u":
        expected = np.iinfo(expected.dtype).max - expected
    if page.bitspersample < 8:
        top = (1 << page.bitspersample) - 1
        expected = expected.astype(np.uint16) * 255 // top
        expected = 255 - expected if page.photometric == 0 else expected
    found = (await samples(slide, TileIndex(0, column, row))).array[: expected.shape[0], : expected.shape[1]]
    count = min(found.shape[2], expected.shape[2])
    difference = np.abs(found[..., :count].astype(np.float64) - expected[..., :count].astype(np.float64))
    limit = 3 if int(page.compression) in LOSSY else 0
    assert np.nanmax(difference, initial=0) <= limit, f"{path.name}: {np.nanmax(difference)}"


def regions() -> list[tuple[str, dict[str, Any]]]:
    folder = real_files()
    if folder is None:
        return []
    expected = json.loads((folder / "expected.json").read_text())
    return [
        (key, region)
        for key, facts in expected.items()
        if key.endswith(".svs") and isinstance(facts.get("openslide"), dict)
        for region in facts["openslide"].get("regions", [])
    ]


async def read(slide: Slide, info: SlideInfo, region: dict[str, Any]) -> NDArray[np.uint8]:
    """A rectangle of a level; x and y are level-0 px as OpenSlide counts."""
    level = info.levels[region["level"]]
    width, height = level.tile_size
    left, top = round(region["x"] / level.downsample), round(region["y"] / level.downsample)
    canvas = np.zeros((region["h"] + 2 * height, region["w"] + 2 * width, 3), np.uint8)
    for row in range(top // height, -(-(top + region["h"]) // height)):
        for column in range(left // width, -(-(left + region["w"]) // width)):
            pixels = to_display(await slide.read_tile(TileIndex(region["level"], column, row)))
            y, x = row * height - top // height * height, column * width - left // width * width
            canvas[y : y + height, x : x + width] = pixels[: canvas.shape[0] - y, : canvas.shape[1] - x]
    return canvas[top % height : top % height + region["h"], left % width : left % width + region["w"]]


@pytest.mark.parametrize(
    ("key", "region"), regions() or [pytest.param("", {}, marks=pytest.mark.skip(reason="no data"))]
)
async def test_regions_look_like_openslide(key: str, region: dict[str, Any], testdata: Path) -> None:
    slide, info = await opened(testdata, key)
    try:
        pixels = await read(slide, info, region)
    finally:
        await slide.close()
    if hashlib.sha256(pixels.tobytes()).hexdigest() != region["rgb_sha256"]:
        # Decoders may round differently; colours may not differ.
        with openslide.OpenSlide(testdata / key) as oracle:
            place = (region["x"], region["y"])
            image = oracle.read_region(place, region["level"], (region["w"], region["h"]))
        expected = np.asarray(image)[:, :, :3].astype(np.int16)
        assert np.abs(pixels.astype(np.int16) - expected).mean() < 1.0


@pytest.mark.parametrize("key", [key for key in files() if key.endswith(".svs")])
async def test_levels_metadata_and_pictures_agree_with_openslide(key: str, testdata: Path) -> None:
    try:
        oracle = openslide.OpenSlide(testdata / key)
    except openslide.OpenSlideError:
        pytest.skip("OpenSlide refuses it, too")
    slide, info = await opened(testdata, key)
    try:
        assert [tuple(level.size) for level in info.levels] == list(oracle.level_dimensions)
        for level, downsample in zip(info.levels, oracle.level_downsamples, strict=True):
            assert level.downsample == pytest.approx(downsample, rel=1e-6)
        assert {image.name: tuple(image.size) for image in info.associated} == {
            name: image.size for name, image in oracle.associated_images.items()
        }
        assert info.spacing_um is not None
        assert info.spacing_um[0] == pytest.approx(float(oracle.properties["openslide.mpp-x"]))
        assert info.magnification == float(oracle.properties["openslide.objective-power"])
        for name, image in oracle.associated_images.items():
            picture = await slide.read_associated(name)
            pixels = to_display(picture).astype(np.int16)
            assert np.abs(pixels - np.asarray(image.convert("RGB")).astype(np.int16)).mean() < 1.0
    finally:
        oracle.close()
        await slide.close()


@pytest.mark.parametrize("key", [key for key in files() if key.startswith(("svs", "synthetic"))])
async def test_stored_tiles_keep_their_entropy_coded_bytes(key: str, testdata: Path) -> None:
    try:
        slide, info = await opened(testdata, key)
    except MicrotomeError:
        pytest.skip("refused")
    level = info.levels[0]
    try:
        with tifffile.TiffFile(testdata / key) as file:
            page: Any = file.pages[0]
            if int(page.compression) != 7:
                pytest.skip("no JPEG")
            across = -(-page.imagewidth // page.tilewidth)
            checked = 0
            for column, row in ((0, 0), (level.columns // 2, level.rows // 2), (level.columns - 1, level.rows - 1)):
                number = row * across + column
                if not page.databytecounts[number]:
                    continue
                file.filehandle.seek(page.dataoffsets[number])
                stored = file.filehandle.read(page.databytecounts[number])
                tile = await slide.read_tile(TileIndex(0, column, row))
                assert isinstance(tile, EncodedTile)
                scan = stored[stored.index(b"\xff\xda") :]
                assert tile.data.endswith(b"\xff\xd9")
                assert scan.startswith(tile.data[tile.data.index(b"\xff\xda") :])
                checked += 1
        assert checked
    finally:
        await slide.close()
