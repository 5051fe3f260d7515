"""Codecs against encodings by other libraries; sizes are known before anything is decoded."""

from __future__ import annotations

import contextlib
import io
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from microtome.errors import CorruptData, LimitExceeded, MicrotomeError, UnsupportedFormat
from microtome.model import ColorSpace, EncodedTile, Size
from microtome.pixels import codecs
from microtome.pixels.codecs import Scheme
from microtome.pixels.options import OutputType

ROWS, COLUMNS = np.mgrid[0:40, 0:56]
RGB = np.stack((ROWS * 5, COLUMNS * 4, (ROWS + COLUMNS) * 2), axis=-1).astype(np.uint8)
GRAY = RGB[:, :, 1]
DEEP = (ROWS * 1600 + COLUMNS).astype(np.uint16)
RGBA = np.dstack((RGB, 255 - GRAY))
MEDIA_TYPES = ["image/jpeg", "image/j2c", "image/jp2", "image/png", "image/webp"]
TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "JPEG2000": "image/jp2"}


def pillow(array: NDArray[Any], kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


def j2k(array: NDArray[Any], **options: object) -> bytes:
    return pillow(array, "JPEG2000", no_jp2=True, **options)


def tile(data: bytes, media_type: str, size: Size = Size(56, 40), color: ColorSpace = "rgb") -> EncodedTile:  # noqa: B008
    return EncodedTile(data, media_type, size, color)


def seen(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)))


LOSSLESS: list[tuple[str, NDArray[Any], dict[str, Any]]] = [
    ("PNG", RGB, {}), ("PNG", GRAY, {}), ("PNG", DEEP, {}),
    ("WEBP", RGB, {"lossless": True}), ("WEBP", RGB[:1, :1], {"lossless": True}),
    ("JPEG2000", RGB, {}), ("JPEG2000", GRAY, {}), ("JPEG2000", DEEP, {}),
    ("JPEG2000", RGB, {"no_jp2": True, "mct": 0}), ("JPEG2000", RGB, {"no_jp2": True, "tile_size": (16, 16)}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "array", "options"), LOSSLESS)
def test_lossless_decoding_is_exact(kind: str, array: NDArray[Any], options: dict[str, Any]) -> None:
    size = Size(array.shape[1], array.shape[0])
    media_type = "image/j2c" if "no_jp2" in options else TYPES[kind]
    raster = codecs.decode(tile(pillow(array, kind, **options), media_type, size))
    assert (raster.array.dtype, raster.channels) == (array.dtype, ("R", "G", "B") if array.ndim == 3 else ("gray",))
    assert np.array_equal(raster.array, np.atleast_3d(array))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "JPEG2000"])
@pytest.mark.parametrize("array", [RGB, GRAY], ids=["rgb", "gray"])
def test_lossy_decoding_is_what_pillow_sees(kind: str, array: NDArray[np.uint8]) -> None:
    options = {"quality_mode": "rates", "quality_layers": [8], "irreversible": True} if kind == "JPEG2000" else {}
    data = pillow(array, kind, **options)
    decoded, expected = codecs.decode(tile(data, TYPES[kind])).array, np.atleast_3d(seen(data))
    assert decoded.shape == expected.shape
    assert np.abs(decoded.astype(np.int64) - expected.astype(np.int64)).max() <= 1


def test_alpha_is_dropped() -> None:
    gray = codecs.decode(tile(pillow(np.dstack((GRAY, 255 - GRAY)), "PNG"), "image/png"))
    np.testing.assert_array_equal(gray.array, np.atleast_3d(GRAY))
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True})):
        np.testing.assert_array_equal(codecs.decode(tile(pillow(RGBA, kind, **options), TYPES[kind])).array, RGB)


def test_jpeg_2000_luma_becomes_rgb_once() -> None:
    luma = np.asarray(Image.fromarray(RGB).convert("YCbCr"))
    stored = codecs.decode(tile(j2k(luma, mct=0), "image/j2c", color="ycbcr")).array
    assert np.abs(stored.astype(int) - np.asarray(Image.fromarray(luma, "YCbCr").convert("RGB"))).max() <= 1
    np.testing.assert_array_equal(codecs.decode(tile(j2k(luma, mct=0), "image/j2c", color="rgb")).array, luma)
    np.testing.assert_array_equal(codecs.decode(tile(j2k(luma, mct=1), "image/j2c", color="ycbcr")).array, luma)


@given(seed=st.integers(0, 2**32 - 1))
def test_luma_to_rgb_is_pillows(seed: int) -> None:
    luma = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    expected = np.asarray(Image.frombytes("YCbCr", (8, 8), luma.tobytes()).convert("RGB"))
    assert np.abs(codecs.ycbcr_to_rgb(luma).astype(int) - expected).max() <= 1


def test_subsampled_jpeg_2000_of_a_real_slide(testdata: Path) -> None:
    path, place = testdata / "synthetic" / "c3_aperio_j2k33003_ycbcr422_6000x4500.svs", 9 * 24 + 11
    with tifffile.TiffFile(path) as file, openslide.OpenSlide(path) as slide:
        page = file.pages.first
        data = os.pread(file.filehandle.fileno(), page.databytecounts[place], page.dataoffsets[place])
        expected = np.asarray(slide.read_region((11 * 256, 9 * 256), 0, (256, 256)))[:, :, :3]
    decoded = codecs.decode(tile(data, "image/j2c", Size(256, 256), "ycbcr")).array
    assert expected.std() > 5
    assert np.abs(decoded.astype(int) - expected).max() <= 3


COMPRESSIONS: dict[Scheme, str] = {"lzw": "tiff_lzw", "deflate": "tiff_deflate", "zstd": "zstd", "packbits": "packbits"}
NOISE = np.where(ROWS[..., np.newaxis] % 3 == 0, 7, np.random.default_rng(2).integers(0, 256, (40, 56, 3)))


def strip(array: NDArray[np.uint8], scheme: Scheme) -> bytes:
    """The only strip of a TIFF written by libtiff."""
    written = pillow(array, "TIFF", compression=COMPRESSIONS[scheme])
    with tifffile.TiffFile(io.BytesIO(written)) as file:
        (offset,), (count,) = file.pages.first.dataoffsets, file.pages.first.databytecounts
    return written[offset : offset + count]


@pytest.mark.parametrize("scheme", COMPRESSIONS)
@pytest.mark.parametrize("array", [RGB, NOISE.astype(np.uint8)], ids=["smooth", "noise"])
def test_strips_of_libtiff_are_inflated(scheme: Scheme, array: NDArray[np.uint8]) -> None:
    data = strip(array, scheme)
    assert codecs.inflate(scheme, data, array.nbytes) == array.tobytes()
    assert codecs.inflate(scheme, data, array.nbytes + 100) == array.tobytes(), "a short stream is not padded"
    with contextlib.suppress(CorruptData):
        assert len(codecs.inflate(scheme, data[: len(data) // 2], array.nbytes)) < array.nbytes
    if scheme in {"lzw", "deflate"}:
        assert codecs.inflate(scheme, data, 100) == array.tobytes()[:100]


@pytest.mark.parametrize("scheme", ["zstd", "packbits"])
def test_streams_longer_than_asked_are_cut(scheme: Scheme) -> None:
    nbytes = RGB.nbytes * 3 // 4
    assert codecs.inflate(scheme, strip(RGB, scheme), nbytes) == RGB.tobytes()[:nbytes]


def test_nothing_is_inflated_to_nothing() -> None:
    assert codecs.inflate("deflate", zlib.compress(bytes(1000)), 0) == b""


@pytest.mark.parametrize("scheme", COMPRESSIONS)
@given(data=st.binary(max_size=300), nbytes=st.integers(1, 500))
def test_any_bytes_inflate_within_bounds_or_are_corrupt(scheme: Scheme, data: bytes, nbytes: int) -> None:
    with contextlib.suppress(CorruptData):
        assert len(codecs.inflate(scheme, data, nbytes)) <= nbytes


def claiming(media_type: str, width: int, height: int) -> bytes:
    """A small valid stream of 56 x 40 px whose header is edited to another size."""
    across, down = width.to_bytes(4, "big"), height.to_bytes(4, "big")
    if media_type == "image/jpeg":
        return pillow(GRAY, "JPEG").replace(b"\0\x28\0\x38\x01", down[2:] + across[2:] + b"\x01")
    if media_type == "image/webp":
        data = pillow(RGBA, "WEBP")
        return data[:24] + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little") + data[30:]
    data = pillow(GRAY, "PNG" if media_type == "image/png" else "JPEG2000", no_jp2=media_type == "image/j2c")
    # IHDR of PNG and SIZ have the width first, ihdr of JP2 the height.
    return data.replace(b"\0\0\0\x38\0\0\0\x28", across + down).replace(b"\0\0\0\x28\0\0\0\x38", down + across)


@pytest.fixture
def decoders(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of decoders that were asked; none of them decodes."""
    asked: list[str] = []
    for name in ("jpeg8_decode", "jpeg2k_decode", "webp_decode", "png_decode"):
        monkeypatch.setattr(codecs.imagecodecs, name, lambda *_, name=name, **__: asked.append(name) or GRAY)
    return asked


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_sizes_are_checked_before_a_decoder_is_asked(media_type: str, decoders: list[str]) -> None:
    huge = claiming(media_type, 60_000, 60_000)
    with pytest.raises(LimitExceeded) as refused:
        codecs.decode(tile(huge, media_type, Size(60_000, 60_000)))
    assert (refused.value.limit, refused.value.value) == ("max_pixels", 3_600_000_000)
    with pytest.raises(CorruptData, match="57 x 40 px where the file says 56 x 40 px"):
        codecs.decode(tile(claiming(media_type, 57, 40), media_type))
    with pytest.raises(CorruptData, match="no readable header"):
        codecs.decode(tile(huge[:11], media_type))
    with pytest.raises(LimitExceeded):
        codecs.decode(tile(claiming(media_type, 56, 40), media_type), max_pixels=56 * 40 - 1)
    assert not decoders
    codecs.decode(tile(claiming(media_type, 56, 40), media_type), max_pixels=56 * 40)
    assert len(decoders) == 1


def test_a_false_header_in_a_box_is_not_believed(decoders: list[str]) -> None:
    true, false = claiming("image/jp2", 60_000, 60_000), j2k(GRAY)[:60]
    at = true.index(b"jp2c") - 4
    with pytest.raises(MicrotomeError):
        codecs.decode(tile(true[:at] + (8 + len(false)).to_bytes(4, "big") + b"free" + false + true[at:], "image/jp2"))


def test_many_components_are_refused(decoders: list[str]) -> None:
    data = claiming("image/j2c", 4000, 4000)
    many = data[:4] + (38 + 3 * 60).to_bytes(2, "big") + data[6:40] + b"\0\x3c" + data[42:45] * 60 + data[45:]
    with pytest.raises(LimitExceeded):
        codecs.decode(tile(many, "image/j2c", Size(4000, 4000)))
    codecs.decode(tile(data, "image/j2c", Size(4000, 4000)))
    assert decoders == ["jpeg2k_decode"]


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
@settings(max_examples=40)
@given(data=st.data())
def test_damaged_streams_give_errors_of_the_house(media_type: str, data: st.DataObject) -> None:
    damaged = bytearray(claiming(media_type, 56, 40))
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=4)):
        damaged[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    with contextlib.suppress(MicrotomeError):
        assert codecs.decode(tile(bytes(damaged[:cut]), media_type), max_pixels=100_000).size == (56, 40)


def test_other_types_are_refused() -> None:
    with pytest.raises((UnsupportedFormat, CorruptData)):
        codecs.decode(tile(pillow(RGB, "GIF"), "image/gif"))


@pytest.mark.parametrize("quality", [1, 30, 80, 100])
@pytest.mark.parametrize("array", [RGB, GRAY, GRAY[:, :, np.newaxis]], ids=["rgb", "gray", "one channel"])
def test_jpeg_quality_is_the_ijg_scale(array: NDArray[np.uint8], quality: int) -> None:
    told = codecs.encoded(array, "image/jpeg", quality)
    expected = pillow(np.squeeze(array), "JPEG", quality=quality)
    ours, theirs = (Image.open(io.BytesIO(data)) for data in (told.data, expected))
    assert vars(ours)["quantization"] == vars(theirs)["quantization"]
    assert (ours.mode, ours.size, told.size) == (theirs.mode, theirs.size, theirs.size)
    assert JpegImagePlugin.get_sampling(ours) == (2 if array is RGB else -1)
    assert told.color == ("ycbcr" if array is RGB else "gray")
    if quality >= 80:
        assert np.abs(np.asarray(ours).astype(int) - np.squeeze(array)).mean() < 3


@pytest.mark.parametrize("media_type", ["image/png", "image/webp"])
@pytest.mark.parametrize("array", [RGB, GRAY, RGB[::2, ::-1]], ids=["rgb", "gray", "strided"])
def test_other_encodings_show_the_same(array: NDArray[np.uint8], media_type: OutputType) -> None:
    told = codecs.encoded(array, media_type, 90)
    assert (told.media_type, told.size) == (media_type, (array.shape[1], array.shape[0]))
    difference = np.atleast_3d(seen(told.data)).astype(int) - np.atleast_3d(array)
    assert np.abs(difference).mean() <= (6 if "webp" in media_type else 0)
