"""Pictures as files, read again with Pillow and tifffile."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.JpegImagePlugin import JpegImageFile

from microtome.errors import InvalidRequest, LimitExceeded, NotAcceptable, UnsupportedFormat
from microtome.model import Size
from microtome.pixels import images, tiff
from microtome.pixels.color import srgb_profile
from microtome.pixels.images import ALIASES, KINDS, available, encode, fit, media_type, padding_color

PICTURES = ["jpeg", "png", "bmp", "gif", "tiff", "webp", "avif"]
ROWS, COLUMNS = np.mgrid[0:90, 0:120]
RGB = np.stack((ROWS * 2, COLUMNS * 2, 255 - ROWS - COLUMNS), axis=2).astype(np.uint8)
GRAY = RGB[:, :, 1:2]
NOISE = np.random.default_rng(4).integers(0, 256, (50, 61, 3), dtype=np.uint8)
SAMPLES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64"]


def seen(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def jpeg_seen(data: bytes) -> JpegImageFile:
    image = seen(data)
    assert isinstance(image, JpegImageFile)
    return image


# -- what there is --------------------------------------------------------------------------------------------------


def test_kinds_are_those_of_the_interface() -> None:
    assert {name: (kind.media_type, kind.passthrough) for name, kind in KINDS.items()} == {
        "jpeg": ("image/jpeg", False),
        "png": ("image/png", False),
        "bmp": ("image/bmp", False),
        "gif": ("image/gif", False),
        "tiff": ("image/tiff", False),
        "webp": ("image/webp", False),
        "avif": ("image/avif", False),
        "raw": ("application/octet-stream", True),
        "json": ("application/json", True),
        "geojson": ("application/geo+json", True),
        "mvt": ("application/vnd.mapbox-vector-tile", True),
        "pbf": ("application/vnd.mapbox-vector-tile", True),
    }
    assert {name: name for name in KINDS}.items() <= ALIASES.items()
    assert {spelling: name for spelling, name in ALIASES.items() if spelling != name} == {
        "jpg": "jpeg",
        "tif": "tiff",
        "geo+json": "geojson",
        "mapbox-vector-tile": "mvt",
    }
    assert all(kind.extension == name for name, kind in KINDS.items())


def test_every_spelling_has_its_media_type() -> None:
    assert {media_type(spelling) == KINDS[name].media_type for spelling, name in ALIASES.items()} == {True}


@pytest.mark.parametrize("kind", ["JPEG", "", "jpeg2000", "raw", "json", "mvt", "pbf", "geo+json"])
def test_nothing_is_encoded_to_other_kinds(kind: str) -> None:
    with pytest.raises(NotAcceptable) as refused:
        encode(RGB, kind)
    assert {"image/jpeg", "image/png", "image/tiff"} <= set(refused.value.available)
    assert "application/json" not in refused.value.available


def test_unknown_kinds_have_no_media_type() -> None:
    with pytest.raises(NotAcceptable):
        media_type("JPEG")


def test_without_its_codec_avif_is_refused_and_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert available() == tuple(PICTURES)
    monkeypatch.setattr(images, "_has_avif", lambda: False)
    assert "avif" not in available()
    with pytest.raises(NotAcceptable) as refused:
        encode(RGB, "avif")
    assert "image/avif" not in refused.value.available
    assert len(encode(RGB, "webp")) > 100


# -- any kind -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("array", [RGB, GRAY, RGB[::-1, ::2], RGB[:1, :1], RGB[:1], RGB[:, :1]], ids=lambda a: a.shape)
@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp", "gif", "webp", "avif"])
def test_pictures_are_what_was_encoded(kind: str, array: NDArray[np.uint8]) -> None:
    image = seen(encode(array, kind, 95))
    assert Image.MIME[image.format or ""] == media_type(kind)
    assert (image.height, image.width) == array.shape[:2]
    expected = np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array
    difference = np.abs(np.asarray(image.convert("RGB")).astype(int) - expected)
    if kind in {"png", "bmp"} or (kind == "gif" and array.shape[2] == 1):
        assert difference.max() == 0
    else:
        assert difference.mean() < 6


@pytest.mark.parametrize("kind", ["jpeg", "webp", "avif"])
def test_quality_costs_bytes(kind: str) -> None:
    lengths = [len(encode(NOISE, kind, quality)) for quality in (0, 1, 30, 70, 100)]
    assert lengths[0] == lengths[1]
    assert lengths[1:] == sorted(set(lengths[1:]))
    assert encode(NOISE, kind, 0) == encode(NOISE, kind, 1)
    assert encode(NOISE, kind) == encode(NOISE, kind, 90)


@pytest.mark.parametrize("kind", [*PICTURES, "jpg", "tif"])
def test_the_same_picture_is_the_same_file(kind: str) -> None:
    assert encode(NOISE, kind, 80) == encode(NOISE.copy(), ALIASES[kind], 80)


@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp", "gif", "webp", "avif"])
@pytest.mark.parametrize(
    ("shape", "dtype"), [((4, 5, 2), "u1"), ((4, 5, 4), "u1"), ((4, 5, 3), "f4"), ((4, 5, 0), "u1")]
)
def test_what_a_kind_cannot_hold_is_refused(kind: str, shape: tuple[int, ...], dtype: str) -> None:
    with pytest.raises((NotAcceptable, InvalidRequest)):
        encode(np.zeros(shape, dtype), kind)


@pytest.mark.parametrize("kind", ["jpeg", "bmp", "gif", "webp", "avif"])
def test_sixteen_bits_are_refused_where_they_would_be_lost(kind: str) -> None:
    with pytest.raises(NotAcceptable) as refused:
        encode(np.zeros((4, 5, 1), np.uint16), kind)
    assert refused.value.available == ("image/tiff",)


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3)])
def test_no_pixels_are_no_picture(kind: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidRequest):
        encode(np.zeros(shape, np.uint8), kind)


@pytest.mark.parametrize("kind", ["jpeg", "gif", "webp", "avif"])
@pytest.mark.parametrize("upright", [False, True])
def test_sides_end_where_the_kind_ends(kind: str, upright: bool) -> None:
    side = KINDS[kind].largest_side
    assert side is not None
    largest, larger = (np.zeros((n, 1, 3) if upright else (1, n, 3), np.uint8) for n in (side, side + 1))
    assert max(seen(encode(largest, kind)).size) == side
    with pytest.raises(LimitExceeded) as refused:
        encode(larger, kind)
    assert refused.value.value == side + 1


# -- one by one -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quality", [1, 50, 90, 100])
def test_jpeg_is_baseline_with_the_standard_tables_and_bare(quality: int) -> None:
    data = encode(RGB, "jpeg", quality)
    image = jpeg_seen(data)
    plain = io.BytesIO()
    Image.fromarray(RGB).save(plain, "JPEG", quality=quality, subsampling="4:2:0")
    expected = jpeg_seen(plain.getvalue())
    assert image.quantization == expected.quantization
    assert image.info["jfif"] == 257
    assert set(image.info) == set(expected.info)
    assert [part[1:3] for part in image.layer] == [(2, 2), (1, 1), (1, 1)]
    assert b"\xff\xc0\x00\x11\x08" in data
    tables = [
        data[at + 2 : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")] for at in positions(data, b"\xff\xc4")
    ]
    assert sum(map(len, tables)) - 2 * len(tables) == 29 + 179 + 29 + 179, "the tables of T.81 K.3"
    assert seen(encode(GRAY, "jpeg", quality)).mode == "L"


def positions(data: bytes, marker: bytes) -> list[int]:
    found, at = [], data.find(marker)
    while 0 <= at < data.find(b"\xff\xda"):
        found.append(at)
        at = data.find(marker, at + 1)
    return found


@given(
    height=st.integers(1, 30), width=st.integers(1, 30), channels=st.sampled_from([1, 3]),
    dtype=st.sampled_from(["u1", "<u2", ">u2"]), seed=st.integers(0, 999), smooth=st.booleans(),
)  # fmt: skip
def test_png_keeps_every_sample(height: int, width: int, channels: int, dtype: str, seed: int, smooth: bool) -> None:
    array = np.random.default_rng(seed).integers(0, 65536, (height, width, channels)).astype(dtype)
    if smooth:
        array[:] = array[:1, :1]
    data = encode(array, "png")
    told = np.asarray(imagecodecs.png_decode(data)).reshape(array.shape)
    assert told.dtype.itemsize == array.dtype.itemsize
    np.testing.assert_array_equal(told, array)


def test_png_of_sixteen_bits_is_read_by_pillow() -> None:
    array = (RGB[:, :, :1].astype(np.uint16) << 8) + 77
    image = seen(encode(array, "png"))
    assert image.mode == "I;16"
    np.testing.assert_array_equal(np.asarray(image), array[:, :, 0])


def test_png_has_the_checksums_of_its_chunks() -> None:
    data = encode(RGB, "png", profile=srgb_profile())
    at, kinds = 8, []
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(
            data[at + 4 : at + 8 + length]
        )
        kinds.append(kind)
        at += 12 + length
    assert kinds == [b"IHDR", b"iCCP", b"IDAT", b"IEND"]


def test_png_carries_a_profile_only_when_given_one() -> None:
    assert "icc_profile" not in seen(encode(RGB, "png")).info
    image = seen(encode(RGB, "png", profile=srgb_profile()))
    assert image.info["icc_profile"] == srgb_profile()
    assert ImageCms.getProfileName(ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))).startswith("sRGB")
    np.testing.assert_array_equal(np.asarray(image), RGB)


def test_bmp_has_24_bits_even_of_grey() -> None:
    for array in (RGB, GRAY):
        data = encode(array, "bmp")
        assert data[:2] == b"BM"
        assert struct.unpack("<H", data[28:30]) == (24,)


def test_gif_has_a_palette_of_256() -> None:
    image = seen(encode(NOISE, "gif"))
    assert image.mode == "P"
    assert 128 < len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) <= 256


def test_tissue_is_small_enough(testdata: Path) -> None:
    """Speed must not be bought with bytes: at most a tenth more than Pillow and tifffile need."""
    with tifffile.TiffFile(testdata / "svs" / "CMU-1-Small-Region.svs") as file:
        tissue = file.pages[0].asarray()[1024:1536, 1024:1536]
    stream, planes = io.BytesIO(), io.BytesIO()
    Image.fromarray(tissue).save(stream, "PNG")
    tifffile.imwrite(planes, np.moveaxis(tissue, 2, 0).copy(), photometric="minisblack", compression=32946)
    assert len(encode(tissue, "png")) < 1.1 * len(stream.getvalue())
    assert len(encode(tissue, "tiff")) < 1.1 * len(planes.getvalue())


# -- TIFF -----------------------------------------------------------------------------------------------------------


@given(
    height=st.integers(1, 20), width=st.integers(1, 20), channels=st.integers(1, 7), dtype=st.sampled_from(SAMPLES),
    big=st.booleans(), seed=st.integers(0, 999),
)  # fmt: skip
def test_tiff_keeps_every_sample_of_every_type(
    height: int, width: int, channels: int, dtype: str, big: bool, seed: int
) -> None:
    kind = np.dtype(dtype).newbyteorder(">" if big else "<")
    array = np.random.default_rng(seed).integers(0, 100, (height, width, channels)).astype(kind)
    array[0, 0, 0] = 1.0 if kind.kind == "f" else np.iinfo(kind).max
    data = encode(array, "tiff")
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        assert len(file.pages) == 1
        told = file.pages[0].asarray()
    assert told.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(told.reshape(channels, height, width), np.moveaxis(array, 2, 0))


@pytest.mark.parametrize(
    ("channels", "dtype"), [(1, "u1"), (1, "u2"), (2, "u2"), (3, "u1"), (5, "u2"), (2, "f4"), (3, "i2")]
)
def test_tiff_has_the_layout_tifffile_gives_it(channels: int, dtype: str) -> None:
    array = np.random.default_rng(0).integers(0, 100, (33, 44, channels)).astype(dtype)
    expected = io.BytesIO()
    planes: dict[str, Any] = {} if channels == 1 else {"planarconfig": "separate"}
    tifffile.imwrite(
        expected, np.moveaxis(array, 2, 0).copy(), photometric="minisblack", compression=32946, software="", **planes
    )
    assert tags(encode(array, "tiff")) == tags(expected.getvalue())


def first_page(file: tifffile.TiffFile) -> tifffile.TiffPage:
    page = file.pages[0]
    assert isinstance(page, tifffile.TiffPage)
    return page


def tags(data: bytes) -> dict[int, object]:
    assert data[:4] == b"II\x2a\0"
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        assert not file.is_bigtiff
        assert len(file.pages) == 1
        found = {tag.code: tag.value for tag in first_page(file).tags}
    assert list(found) == sorted(found)
    assert len(found.pop(273)) == found[277]
    lengths = found.pop(279)
    assert len(lengths) == found[277]
    found.pop(305, None)
    return found


def test_tiff_is_documented_tag_by_tag() -> None:
    with tifffile.TiffFile(io.BytesIO(encode(RGB, "tiff"))) as file:
        page = first_page(file)
        found = {tag.name: tag.value for tag in page.tags if tag.code not in {273, 279}}
        strips = zip(page.dataoffsets, page.databytecounts, strict=True)
        data = encode(RGB, "tiff")
        planes = [zlib.decompress(data[at : at + length]) for at, length in strips]
    assert json.loads(found.pop("ImageDescription")) == {"shape": [3, 90, 120]}
    assert found == {
        "ImageWidth": 120,
        "ImageLength": 90,
        "BitsPerSample": (8, 8, 8),
        "Compression": 32946,
        "PhotometricInterpretation": 1,
        "SamplesPerPixel": 3,
        "RowsPerStrip": 90,
        "XResolution": (1, 1),
        "YResolution": (1, 1),
        "PlanarConfiguration": 2,
        "ResolutionUnit": 1,
        "ExtraSamples": (0, 0),
    }
    assert planes == [RGB[:, :, n].tobytes() for n in range(3)]


def test_tiff_of_one_channel_has_no_planes() -> None:
    with tifffile.TiffFile(io.BytesIO(encode(GRAY, "tiff"))) as file:
        names = {tag.name for tag in first_page(file).tags}
        assert json.loads(first_page(file).description) == {"shape": [1, 90, 120]}
    assert not names & {"PlanarConfiguration", "ExtraSamples"}
    np.testing.assert_array_equal(np.asarray(seen(encode(GRAY, "tiff"))), GRAY[:, :, 0])


def test_tiff_of_bits_is_of_bytes() -> None:
    array = RGB[:, :, :2] > 100
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(encode(array, "tiff"))), np.moveaxis(array, 2, 0))


def test_tiff_of_complex_numbers_is_refused() -> None:
    with pytest.raises(UnsupportedFormat):
        encode(np.zeros((2, 2, 1), np.complex64), "tiff")


@pytest.mark.parametrize("shape", [(70_000, 70_000, 1), (1, 1, 65_536)])
def test_tiff_beyond_the_classic_format_is_refused_unencoded(shape: tuple[int, ...]) -> None:
    endless = np.broadcast_to(np.uint8(0), shape)
    with pytest.raises(LimitExceeded):
        tiff.encode(endless)


# -- colours and sizes ----------------------------------------------------------------------------------------------


@given(color=st.tuples(*[st.integers(0, 255)] * 3), upper=st.booleans())
def test_padding_colours(color: tuple[int, int, int], upper: bool) -> None:
    text = "#" + bytes(color).hex()
    assert padding_color(text.upper() if upper else text) == color


def test_padding_colours_of_three_digits_are_doubled() -> None:
    assert padding_color("#a0F") == (0xAA, 0x00, 0xFF)


@pytest.mark.parametrize(
    "text",
    [None, "", "#", "AABBCC", "red", "#GGGGGG", "#12", "#1234", "#12345", "#1234567", " #AABBCC", "#AABBCC\n", "#١٢٣"],
)
def test_other_padding_colours_mean_the_default(text: str | None) -> None:
    assert padding_color(text) is None


@pytest.mark.parametrize(
    ("size", "limit", "expected"),
    [
        ((1500, 1100), (200, 200), (200, 147)),
        ((1500, 1100), (21, 22), (21, 15)),
        ((1500, 1100), (300, 20), (27, 20)),
        ((1500, 1100), (1, 1), (1, 1)),
        ((1280, 1024), (200, 200), (200, 160)),
        ((100, 120), (100, 100), (83, 100)),
        ((100, 120), (500, 500), (100, 120)),
        ((100, 120), (100, 120), (100, 120)),
        ((100_000, 3), (10, 10), (10, 1)),
    ],
)
def test_thumbnails_fit(size: tuple[int, int], limit: tuple[int, int], expected: tuple[int, int]) -> None:
    assert fit(Size(*size), *limit) == expected


SIDES = st.integers(1, 300)


@given(width=SIDES, height=SIDES, max_x=SIDES, max_y=SIDES)
def test_thumbnails_fit_as_in_pillow(width: int, height: int, max_x: int, max_y: int) -> None:
    image = Image.new("L", (width, height))
    image.thumbnail((max_x, max_y), Image.Resampling.NEAREST, reducing_gap=None)
    assert fit(Size(width, height), max_x, max_y) == image.size


@given(
    width=st.integers(1, 10**6), height=st.integers(1, 10**6), max_x=st.integers(1, 10**4), max_y=st.integers(1, 10**4)
)
def test_thumbnails_are_within_their_limits_and_reach_one(width: int, height: int, max_x: int, max_y: int) -> None:
    told = fit(Size(width, height), max_x, max_y)
    assert 1 <= told.width <= min(width, max_x)
    assert 1 <= told.height <= min(height, max_y)
    assert told == (width, height) or told.width == max_x or told.height == max_y


@pytest.mark.parametrize("limit", [(0, 5), (5, 0), (-1, 5)])
def test_nothing_fits_into_nothing(limit: tuple[int, int]) -> None:
    with pytest.raises(InvalidRequest):
        fit(Size(10, 10), *limit)
