"""Every real instance opens and equals the frames pydicom finds, or is refused with the name of what it is."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openslide
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import generate_frames

from microtome.errors import UnsupportedFormat
from microtome.formats.wsidicom import WsidicomFormat
from microtome.model import EncodedTile, Raster, TileIndex
from microtome.pixels import codecs
from microtome.storage.folder import open_files
from microtome.storage.local import LocalStore
from tests.conftest import testdata_folder as real_files

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
FLUORESCENCE = "dicom/wsi-fluo/BPAEC"


def keys() -> list[str]:
    folder = real_files()
    if folder is None:
        return []
    found = [*(folder / "dicom/wsi").glob("*"), *(folder / FLUORESCENCE).glob("[0-9]*")]
    return sorted(str(path.relative_to(folder)) for path in found)


def dataset(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of the files have wrong UIDs
        return pydicom.dcmread(path)


def frames(data: Any) -> list[bytes]:
    return list(generate_frames(data.PixelData, number_of_frames=int(data.NumberOfFrames)))


def expected(data: Any, number: int) -> NDArray[Any]:
    """A frame as pydicom and Pillow see it."""
    if not data.file_meta.TransferSyntaxUID.is_encapsulated:
        size = data.Rows * data.Columns * data.SamplesPerPixel
        dtype = np.uint8 if data.BitsAllocated == 8 else np.uint16
        pixels = np.frombuffer(data.PixelData, dtype, size, number * size * np.dtype(dtype).itemsize)
        return pixels.reshape(data.Rows, data.Columns, -1)
    frame = frames(data)[number]
    if data.file_meta.TransferSyntaxUID.endswith(".4.80"):
        return np.asarray(imagecodecs.jpegls_decode(frame))
    pixels = np.asarray(Image.open(io.BytesIO(frame)))
    return pixels if pixels.ndim == 3 else pixels[:, :, np.newaxis]


def samples(tile: EncodedTile | Raster) -> NDArray[Any]:
    return (codecs.decode(tile) if isinstance(tile, EncodedTile) else tile).array


@pytest.mark.parametrize("key", keys() or [pytest.param("", marks=pytest.mark.skip(reason="no real files"))])
async def test_every_tile_is_the_frame_that_is_stored(key: str, testdata: Path) -> None:
    data = dataset(testdata / key)
    opening = WsidicomFormat().open(await open_files(LocalStore(testdata), key))
    if data.SOPClassUID != WHOLE_SLIDE:
        with pytest.raises(UnsupportedFormat) as refused:
            await opening
        assert str(data.SOPClassUID) in refused.value.message
        return
    if "TotalPixelMatrixColumns" not in data:  # a map of regions, which holds no pixels
        with pytest.raises(UnsupportedFormat, match="REGIONLOCALIZER"):
            await opening
        return
    slide = await opening
    try:
        info = await slide.info()
        assert info.size == (data.TotalPixelMatrixColumns, data.TotalPixelMatrixRows)
        assert info.dtype == ("uint8" if data.BitsAllocated == 8 else "uint16")
        level, paths = info.levels[0], len(info.channels) if data.SamplesPerPixel == 1 else 1
        assert level.columns * level.rows * paths == data.NumberOfFrames
        encoded = frames(data) if data.file_meta.TransferSyntaxUID.is_encapsulated else []
        for number in range(level.columns * level.rows):
            index = TileIndex(0, number % level.columns, number // level.columns)
            tile = await slide.read_tile(index)
            found = samples(tile)
            for path in range(paths):
                wanted = expected(data, path * level.columns * level.rows + number)
                channels = found[:, :, path : path + 1] if paths > 1 else found
                assert channels.dtype == wanted.dtype
                assert np.abs(channels.astype(int) - wanted).max() <= 4  # two JPEG decoders
            if data.file_meta.TransferSyntaxUID.endswith(".4.50") and paths == 1:
                assert isinstance(tile, EncodedTile)
                stored = encoded[number]
                scan = stored[stored.rindex(b"\xff\xda") : stored.rindex(b"\xff\xd9") + 2]
                assert tile.data.endswith(scan)
                assert tile.media_type == "image/jpeg"
                peeked = slide.peek_tile(index)
                assert peeked is None or peeked == tile
    finally:
        await slide.close()


async def test_files_of_one_folder_are_one_pyramid(testdata: Path) -> None:
    """The folder holds several slides; the largest is shown, and how much was left out is told."""
    slide = await WsidicomFormat().open(await open_files(LocalStore(testdata), "dicom/wsi"))
    info = await slide.info()
    assert [tuple(level.size) for level in info.levels][:3] == [(2220, 2967), (1110, 1483), (555, 741)]
    assert len(info.levels) == 12
    assert info.spacing_um == pytest.approx((0.499, 0.499), rel=1e-3)
    assert int(info.properties["microtome.instances_left_out"]) > 10
    await slide.close()


async def test_jpeg_frames_called_rgb_that_are_not_are_shown_right(testdata: Path) -> None:
    """A common converter writes RGB where its JPEG streams are YCbCr; the slide it converted tells the truth."""
    source = openslide.OpenSlide(str(testdata / "svs/CMU-1-Small-Region.svs"))
    wanted = np.asarray(source.read_region((500, 500), 0, (500, 500)))[..., :3]
    slide = await WsidicomFormat().open(await open_files(LocalStore(testdata), "dicom/wsi/level-0-frames-0-30.dcm"))
    tile = await slide.read_tile(TileIndex(0, 1, 1))
    assert isinstance(tile, EncodedTile)
    assert tile.color == "ycbcr"
    assert np.abs(samples(tile).astype(int) - wanted).mean() < 4
    await slide.close()


async def test_fluorescence_has_stains_with_names_and_colours(testdata: Path) -> None:
    slide = await WsidicomFormat().open(await open_files(LocalStore(testdata), FLUORESCENCE))
    info = await slide.info()
    assert [(each.name, each.color) for each in info.channels] == [
        ("Green", 0x00FF00), ("Blue", 0x0000FF), ("Red", 0xFF0000),
    ]  # fmt: skip
    assert [tuple(level.size) for level in info.levels][:2] == [(3072, 2304), (1536, 1152)]
    assert info.vendor == "3dhistech kft."
    first = dataset(testdata / FLUORESCENCE / "5_0")
    assert info.icc_profile == first.OpticalPathSequence[0].ICCProfile
    third = dataset(testdata / FLUORESCENCE / "7_0")
    found = samples(await slide.read_tile(TileIndex(2, 0, 0)))
    for path in range(3):
        assert np.abs(found[:, :, path].astype(int) - expected(third, path)[:, :, 0]).max() <= 4
    label = dataset(testdata / FLUORESCENCE / "2")
    assert [each.name for each in info.associated] == ["label"]
    assert np.abs(samples(await slide.read_associated("label")).astype(int) - expected(label, 0)).max() <= 4
    await slide.close()


def test_a_flat_folder_of_plain_names_may_be_dicom() -> None:
    recognises = WsidicomFormat().recognises_folder
    assert recognises(["a.dcm", "readme.txt"])
    assert recognises(["A.DCM", "sub/B.DCM"])
    assert not recognises(["sub/A.DCM"]), "a folder of slides"
    assert recognises(["1.2.840.113619.2.1"])
    assert recognises(["10_0", "1_Map", "readme.txt"])
    assert not recognises(["0/0/0", "meta.json"])
    assert not recognises(["a.tif", "b"])
    assert not recognises(["readme.txt"])
    assert not recognises(["README", "LICENSE"])
    assert not recognises(["0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"]), "an object of a version control system"
