"""Remembered colours against LittleCMS itself, over every profile there is and real tissue."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from microtome.errors import CorruptData, UnsupportedFormat
from microtome.pixels.color import IccTransform, Intent, srgb_profile

INTENTS: dict[Intent, ImageCms.Intent] = {
    "perceptual": ImageCms.Intent.PERCEPTUAL,
    "relative_colorimetric": ImageCms.Intent.RELATIVE_COLORIMETRIC,
    "saturation": ImageCms.Intent.SATURATION,
    "absolute_colorimetric": ImageCms.Intent.ABSOLUTE_COLORIMETRIC,
}
TABLES = "sRGB_v4_ICC_preference"
"""A profile of tables, in which every intent is another conversion."""


class Counting(ImageCms.ImageCmsTransform):
    """A conversion that is none, and counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def apply(self, im: Image.Image, imOut: Image.Image | None = None) -> Image.Image:
        self.asked.append(im.width * im.height)
        return Image.eval(im, lambda value: value ^ 0xA5)


def by_littlecms(array: NDArray[np.uint8], profile: bytes, intent: Intent) -> NDArray[np.uint8]:
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
        "RGB",
        "RGB",
        renderingIntent=INTENTS[intent],
    )
    return np.asarray(transform.apply(Image.fromarray(array)))


@pytest.fixture(scope="module")
def tissue(testdata: Path) -> list[NDArray[np.uint8]]:
    """One tile of every kind of colour, and twenty of a slide."""
    with tifffile.TiffFile(testdata / "svs" / "CMU-1-Small-Region.svs") as file:
        whole = file.pages[0].asarray()
    tiles = [whole[y : y + 128, x : x + 128] for y in range(128, 2560, 512) for x in range(0, 2048, 512)]
    return [np.random.default_rng(5).integers(0, 256, (128, 128, 3), dtype=np.uint8), *tiles]


def rgb_profiles(testdata: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted([*(testdata / "icc").rglob("*.icc"), *(testdata / "icc").rglob("*.ICM")]):
        data = path.read_bytes()
        if data[16:20] == b"RGB ":
            yield path.name, data
    scanned = pydicom.dcmread(testdata / "dicom" / "wsi-fluo" / "BPAEC" / "8_0", stop_before_pixels=True)
    yield "a scanner", bytes(scanned.OpticalPathSequence[0].ICCProfile)


@pytest.mark.parametrize("intent", INTENTS)
def test_every_profile_converts_tissue_exactly_as_littlecms_does(
    intent: Intent, testdata: Path, tissue: list[NDArray[np.uint8]]
) -> None:
    """Each tile twice, so that both what is asked and what is remembered is compared."""
    names = []
    for name, profile in rgb_profiles(testdata):
        transform = IccTransform.to_srgb(profile, intent)
        for tile in [*tissue[::6], *tissue[::6]]:
            np.testing.assert_array_equal(transform.apply(tile), by_littlecms(tile, profile, intent), err_msg=name)
        names.append(name)
    assert len(names) > 50
    assert {"a scanner", "AdobeRGB1998.icc"} <= set(names)


@pytest.mark.parametrize("short", ["relative", "absolute"])
def test_intents_have_a_short_name(short: Intent, testdata: Path, tissue: list[NDArray[np.uint8]]) -> None:
    profile = (testdata / "icc" / f"{TABLES}.icc").read_bytes()
    expected = by_littlecms(tissue[3], profile, f"{short}_colorimetric")  # type: ignore[arg-type]
    np.testing.assert_array_equal(IccTransform.to_srgb(profile, short).apply(tissue[3]), expected)
    assert np.abs(expected.astype(int) - by_littlecms(tissue[3], profile, "perceptual")).max() > 3


def test_a_colour_is_asked_once() -> None:
    counting = Counting()
    transform = IccTransform(counting, 0)
    array = np.random.default_rng(1).integers(0, 64, (40, 50, 3), dtype=np.uint8)
    for _ in range(3):
        np.testing.assert_array_equal(transform.apply(array), array ^ 0xA5)
    assert counting.asked == [2000]
    array[7, 9] = 200
    np.testing.assert_array_equal(transform.apply(array[:, ::-1]), array[:, ::-1] ^ 0xA5)
    assert counting.asked == [2000, 1]


def test_black_is_no_colour_that_is_known_from_the_start() -> None:
    transform = IccTransform(Counting(), 0)
    for level in (0, 255):
        flat = np.full((3, 3, 3), level, np.uint8)
        np.testing.assert_array_equal(transform.apply(flat), flat ^ 0xA5)


@given(colors=st.lists(st.tuples(*[st.sampled_from([0, 1, 63, 64, 127, 128, 192, 255])] * 3), min_size=1, max_size=60))
def test_colours_that_share_a_slot_are_not_mixed_up(colors: list[tuple[int, int, int]]) -> None:
    transform = IccTransform(Counting(), 0)
    for part in (colors, colors[::-1], colors):
        array = np.array([part], np.uint8)
        np.testing.assert_array_equal(transform.apply(array), array ^ 0xA5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 200_000), (200_000, 1), (600, 500), (0, 4), (4, 0)])
def test_pictures_of_any_size_are_converted(shape: tuple[int, int]) -> None:
    array = np.random.default_rng(2).integers(0, 256, (*shape, 3), dtype=np.uint8)
    told = IccTransform(Counting(), 0).apply(array)
    assert told.flags.writeable
    np.testing.assert_array_equal(told, array ^ 0xA5)


def test_threads_share_what_is_remembered(testdata: Path, tissue: list[NDArray[np.uint8]]) -> None:
    profile = (testdata / "icc" / f"{TABLES}.icc").read_bytes()
    transform = IccTransform.to_srgb(profile, "saturation")
    numbers = [0, 4, 8, 12, 16, 20]
    expected = {number: by_littlecms(tissue[number], profile, "saturation") for number in numbers}
    jobs = 3 * [*numbers, *numbers[::-1]]
    with ThreadPoolExecutor(4) as threads:
        for told, number in zip(threads.map(lambda n: transform.apply(tissue[n]), jobs), jobs, strict=True):
            np.testing.assert_array_equal(told, expected[number])


def test_its_memory_is_counted() -> None:
    assert IccTransform(Counting(), 5).nbytes == 5 + (16 << 20)


def test_the_srgb_profile_is_one_and_always_the_same() -> None:
    data = srgb_profile()
    opened = ImageCms.ImageCmsProfile(io.BytesIO(data))
    assert ImageCms.getProfileName(opened).startswith("sRGB")
    assert int.from_bytes(data[:4], "big") == len(data)
    array = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for intent in INTENTS:
        assert np.abs(IccTransform.to_srgb(data, intent).apply(array).astype(int) - array).max() <= 1
    srgb_profile.cache_clear()
    assert srgb_profile() == data
    assert data[24:36].hex() == "07d000010001000000000000"


@pytest.mark.parametrize(
    ("name", "space"),
    [("debian/Gray.icc", "GRAY"), ("debian/ITULab.icc", "Lab"), ("CGATS001Compat-v2-micro.icc", "CMYK")],
)
def test_profiles_of_other_colours_are_refused_by_name(name: str, space: str, testdata: Path) -> None:
    with pytest.raises(CorruptData, match=space):
        IccTransform.to_srgb((testdata / "icc" / name).read_bytes())


@pytest.mark.parametrize("kind", [b"link", b"abst", b"nmcl"])
def test_profiles_of_no_device_are_unsupported(kind: bytes) -> None:
    data = bytearray(srgb_profile())
    data[12:16] = kind
    with pytest.raises(UnsupportedFormat) as refused:
        IccTransform.to_srgb(bytes(data))
    assert refused.value.feature == f"ICC profile class {kind.decode()}"


@pytest.mark.parametrize("data", [b"", b"\xff" * 127, bytes(128), b"\xff\xd8\xff" + bytes(4000)])
def test_what_is_no_profile_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptData, match="cut short or none"):
        IccTransform.to_srgb(data)


def test_a_profile_without_its_tables_is_corrupt_and_the_cause_is_kept() -> None:
    with pytest.raises(CorruptData, match="cannot be used") as refused:
        IccTransform.to_srgb(srgb_profile()[:128] + bytes(460))
    assert refused.value.__cause__ is not None
