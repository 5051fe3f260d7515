"""Real files through OpenSlide: pixels and facts as openslide-python gives them, or refused with a reason."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import openslide
import pytest
from numpy.typing import NDArray
from PIL import Image

from microtome.errors import CorruptData, UnsupportedFormat
from microtome.formats.openslide import OpenSlideFormat
from microtome.formats.registry import FormatRegistry
from microtome.formats.threads import ThreadedSlide
from microtome.model import Raster, TileIndex
from microtome.storage.folder import open_files
from microtome.storage.local import LocalStore
from tests import conftest

FOLDERS = ("vendor", "svs", "synthetic", "tiff/generic", "tiff/cog")
SAMPLES = 5


def _files() -> list[str]:
    root = conftest.testdata_folder()
    if root is None:
        return []
    found = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*")) if path.is_file()]
    # DICOM is not given to OpenSlide: see ``formats.openslide.guard``.
    return [str(path.relative_to(root)) for path in found if path.suffix != ".dcm"]


def _opens(path: Path) -> bool:
    try:
        openslide.OpenSlide(path).close()
    except openslide.OpenSlideError:
        return False
    return True


def expected(
    oracle: openslide.OpenSlide, level: int, tile: tuple[int, int], column: int, row: int
) -> tuple[NDArray[np.uint8], bool]:
    """A tile by the coordinates that WSI-Service uses, over the background of the slide; whether it is all opaque."""
    width, height = oracle.level_dimensions[level]
    left, top = column * tile[0], row * tile[1]
    downsample = oracle.level_downsamples[level]
    region = oracle.read_region(
        (int(left * downsample), int(top * downsample)), level, (min(tile[0], width - left), min(tile[1], height - top))
    )
    ground = Image.new("RGBA", region.size, "#" + oracle.properties.get("openslide.background-color", "ffffff"))
    ground.alpha_composite(region)
    return np.asarray(ground)[:, :, :3], bool(np.asarray(region)[:, :, 3].min() == 255)


async def opened(root: Path, key: str) -> ThreadedSlide:
    return await OpenSlideFormat().open(await open_files(LocalStore(root), key))


@pytest.mark.parametrize("name", _files())
async def test_pixels_and_facts_are_those_of_openslide(testdata: Path, name: str) -> None:
    path = testdata / name
    if not _opens(path):
        with pytest.raises((UnsupportedFormat, CorruptData), match="OpenSlide") as failure:
            await opened(testdata, name)
        assert str(testdata) not in str(failure.value)
        return
    slide = await opened(testdata, name)
    choice = random.Random(name)
    oracle = openslide.OpenSlide(path)
    info = await slide.info()
    assert tuple(tuple(level.size) for level in info.levels) == oracle.level_dimensions
    assert tuple(level.downsample for level in info.levels) == oracle.level_downsamples
    assert info.vendor == oracle.properties["openslide.vendor"]
    assert [channel.name for channel in info.channels] == ["R", "G", "B"]
    assert dict(info.properties) == dict(oracle.properties)
    for number, level in enumerate(info.levels):
        corners = {(0, 0), (level.columns - 1, level.rows - 1), (level.columns - 1, 0), (0, level.rows - 1)}
        for _ in range(SAMPLES):
            corners.add((choice.randrange(level.columns), choice.randrange(level.rows)))
        for column, row in sorted(corners):
            index = TileIndex(number, column, row)
            try:
                wanted, opaque = expected(oracle, number, level.tile_size, column, row)
            except openslide.OpenSlideError:
                with pytest.raises((CorruptData, UnsupportedFormat), match="OpenSlide") as failure:
                    await slide.read_tile(index)
                assert str(testdata) not in str(failure.value)
                oracle = openslide.OpenSlide(path)  # one that failed fails for ever
                continue
            found = await slide.read_tile(index)
            assert isinstance(found, Raster)
            assert found.array.dtype == np.uint8
            # Two ways to round where something shines through.
            assert np.abs(found.array.astype(int) - wanted).max() <= (0 if opaque else 1), index
    await slide.close()


@pytest.mark.parametrize(
    "name",
    ["svs/CMU-1-Small-Region.svs", "vendor/ndpi/test3-DAPI-2-(387).ndpi"],
)
async def test_pictures_beside_the_slide(testdata: Path, name: str) -> None:
    slide = await opened(testdata, name)
    path = testdata / name
    with openslide.OpenSlide(next(path.glob("*.dcm")) if path.is_dir() else path) as oracle:
        info = await slide.info()
        assert {image.name: tuple(image.size) for image in info.associated} == {
            key: image.size for key, image in oracle.associated_images.items()
        }
        assert info.associated
        for image in info.associated:
            found = await slide.read_associated(image.name)
            assert isinstance(found, Raster)
            rgba = oracle.associated_images[image.name]
            ground = Image.new("RGBA", rgba.size, "white")
            ground.alpha_composite(rgba)
            assert np.array_equal(found.array, np.asarray(ground)[:, :, :3])
    await slide.close()


async def test_scale_power_and_profile(testdata: Path) -> None:
    slide = await opened(testdata, "svs/CMU-1-Small-Region.svs")
    info = await slide.info()
    assert info.spacing_um == (0.499, 0.499)
    assert info.magnification == 20
    assert info.icc_profile is None
    assert info.levels[0].tile_size == (240, 240)
    await slide.close()
    name = "synthetic/c3_aperio_j2k33003_ycbcr422_6000x4500.svs"
    slide = await opened(testdata, name)
    with openslide.OpenSlide(testdata / name) as oracle:
        profile = oracle.read_region((0, 0), 0, (1, 1)).info["icc_profile"]
    assert profile
    assert (await slide.info()).icc_profile == profile
    await slide.close()


async def test_tiles_that_are_strips_are_not_the_grid(testdata: Path) -> None:
    """This scanner stores lines of 3968 x 8 px."""
    slide = await opened(testdata, "vendor/ndpi/test3-DAPI-2-(387).ndpi")
    assert {level.tile_size for level in (await slide.info()).levels} == {(256, 256)}
    await slide.close()


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("vendor/ndpi/test3-DAPI-2-(387).ndpi", True),
        ("dicom/wsi/sm_image.dcm", True),
        ("synthetic/d3_dicom_wsi_6000x4500_ycbcr420", True),
        ("svs/CMU-1-Small-Region.svs", False),
        ("tiff/generic/yb10kx5k.zstd.tiff", False),
        ("dicom/derived/ct_image.dcm", False),
    ],
)
async def test_vendors_are_taken_before_the_tiff_reader_and_others_are_left_to_it(
    testdata: Path, name: str, *, first: bool
) -> None:
    registry = FormatRegistry.from_entry_points()
    formats = FormatRegistry([*(each for each in registry.formats if each.name != "openslide"), OpenSlideFormat()])
    names = [each.name for each in formats.recognising(await open_files(LocalStore(testdata), name))]
    assert ("openslide" in names) == first
    if first and "tiff" in names:
        assert names.index("openslide") < names.index("tiff")


@pytest.mark.parametrize("name", ["synthetic/d3_dicom_wsi_6000x4500_ycbcr420", "dicom/wsi/sm_image.dcm"])
async def test_dicom_is_left_to_others(testdata: Path, name: str) -> None:
    with pytest.raises(UnsupportedFormat, match="not given DICOM"):
        await opened(testdata, name)


async def test_a_folder_of_other_dicom_is_refused(testdata: Path) -> None:
    with pytest.raises(UnsupportedFormat, match="OpenSlide"):
        await opened(testdata, "dicom/series/slicer-cthead")
