"""Frames in other transfer syntaxes: lossless ones exactly the same for other libraries' decoders, others close."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset as PydicomDataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from microtome.dicom import syntaxes
from microtome.dicom.decode import decode
from microtome.dicom.image import ImageFacts, image_facts
from microtome.dicom.transcode import LOSSY_METHODS, Transcoded, described, targets, transcode
from microtome.errors import CorruptData, UnsupportedFormat
from tests.unit.dicom.images import Real, image

_RNG = np.random.default_rng(0)
EXPLICIT = syntaxes.EXPLICIT_LITTLE


def _walk(low: int, high: int, dtype: str, shape: tuple[int, ...] = (31, 45)) -> NDArray[Any]:
    steps = _RNG.integers(-40, 41, shape).cumsum(axis=1)
    return np.clip(steps + (low + high) // 2, low, high).astype(dtype)


IMAGES: dict[str, tuple[NDArray[Any], str, int]] = {
    "u8": (_walk(0, 255, "u1"), "", 8),
    "u8 of 7": (_walk(0, 127, "u1"), "", 7),
    "i8": (_walk(-128, 127, "i1"), "", 8),
    "u16": (_RNG.integers(0, 65536, (31, 45)).astype("u2"), "", 16),
    "u16 of 12": (_walk(0, 4095, "u2"), "MONOCHROME1", 12),
    "u16 of 8": (_walk(0, 255, "u2"), "", 8),
    "i16": (_RNG.integers(-32768, 32768, (31, 45)).astype("i2"), "", 16),
    "i16 of 12": (_walk(-2048, 2047, "i2"), "", 12),
    "i16 of 8": (_walk(-128, 127, "i2"), "", 8),
    "u32": (_RNG.integers(0, 1 << 32, (31, 45)).astype("u4"), "", 32),
    "palette": (_walk(0, 255, "u1"), "PALETTE COLOR", 8),
    "rgb": (_walk(0, 255, "u1", (31, 45, 3)), "RGB", 8),
    "ybr": (_walk(0, 255, "u1", (31, 45, 3)), "YBR_FULL", 8),
    "rgb16": (_RNG.integers(0, 65536, (31, 45, 3)).astype("u2"), "RGB", 16),
    "one pixel": (np.array([[200]], "u1"), "", 8),
}
_CODECS = {"rle", "jpeg", "jpeg-ls", "jpeg-2000", "htj2k"}
LOSSLESS = {each.uid for each in syntaxes.ALL.values() if not each.lossy and each.codec in _CODECS}
LOSSLESS -= {"1.2.840.10008.1.2.4.92"}
ROUND_TRIPS = [
    pytest.param(name, target, id=f"{name} {target[-6:]}")
    for name, (array, photometric, stored) in IMAGES.items()
    for target in sorted(targets(image_facts(image(array, photometric, stored)), EXPLICIT) - {EXPLICIT})
]


def _made(name: str, target: str) -> tuple[NDArray[Any], Transcoded]:
    array = IMAGES[name][0]
    array = array if array.ndim == 3 else array[:, :, np.newaxis]
    return array, transcode(array.tobytes(), image_facts(image(*IMAGES[name])), EXPLICIT, target)


def _judges(data: bytes, facts: ImageFacts, target: str) -> list[NDArray[Any]]:
    """What libraries that wrote none of it read: those behind pydicom, and liblj92 for lossless JPEG."""
    if target in {syntaxes.JPEG_LOSSLESS, syntaxes.JPEG_LOSSLESS_SV1}:
        array = imagecodecs.ljpeg_decode(data).astype(f"u{facts.dtype.itemsize}")
        shift = facts.allocated - facts.stored
        return [(array.view(facts.dtype) << shift >> shift).reshape(facts.rows, facts.columns, -1)]  # type: ignore[operator]
    found = PydicomDataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = UID(target)
    found.Rows, found.Columns, found.SamplesPerPixel = facts.rows, facts.columns, facts.samples
    found.PhotometricInterpretation = facts.photometric
    found.BitsAllocated, found.BitsStored, found.HighBit = facts.allocated, facts.stored, facts.stored - 1
    found.PixelRepresentation = int(facts.signed)
    if facts.samples > 1:
        found.PlanarConfiguration = int(facts.planar)
    found.PixelData = encapsulate([data])
    found["PixelData"].VR = "OB"
    decoder, read = get_decoder(UID(target)), []
    for plugin in decoder.available_plugins:
        colors_of_16_bits = plugin == "pillow" and facts.samples == 3 and facts.allocated == 16
        if plugin == "gdcm" or colors_of_16_bits or (target == syntaxes.JPEG_EXTENDED):
            continue  # aborts the process for some depths; says that it cannot
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array, _ = decoder.as_array(found, raw=True, decoding_plugin=plugin)
        read.append(array.reshape(facts.rows, facts.columns, -1))
    return read


@pytest.mark.parametrize(("name", "target"), [each for each in ROUND_TRIPS if each.values[1] in LOSSLESS])
def test_lossless_syntaxes_lose_nothing(name: str, target: str) -> None:
    array, made = _made(name, target)
    np.testing.assert_array_equal(decode(made.data, made.facts, target).array, array)
    read = _judges(made.data, made.facts, target)
    for each in read:
        np.testing.assert_array_equal(each, array)
    assert read or target in {syntaxes.RLE}


@pytest.mark.parametrize(("name", "target"), [each for each in ROUND_TRIPS if each.values[1] not in LOSSLESS])
def test_lossy_syntaxes_are_near(name: str, target: str) -> None:
    array, made = _made(name, target)
    frame = decode(made.data, made.facts, target, rgb=IMAGES[name][1] == "RGB")
    span = 1 << IMAGES[name][2]
    jpeg = target in {syntaxes.JPEG_BASELINE, syntaxes.JPEG_EXTENDED}
    error = np.abs(frame.array.astype(np.int64) - array)
    assert np.median(error) <= max(2, span * (0.1 if jpeg else 0.02))
    if target == syntaxes.JPEG_LS_NEAR:
        assert error.max() <= 2
    assert target in LOSSY_METHODS
    for each in _judges(made.data, made.facts, target) if not jpeg else []:
        # Two libraries may round a wavelet's fractions differently.
        np.testing.assert_allclose(
            each, frame.array.astype(np.int64), rtol=0, atol=0 if target == syntaxes.JPEG_LS_NEAR else 1
        )


@pytest.mark.parametrize("source", sorted(LOSSLESS))
@pytest.mark.parametrize("target", sorted(LOSSLESS | {EXPLICIT}))
def test_from_any_syntax_to_any(source: str, target: str) -> None:
    array, made = _made("rgb", source)
    again = transcode(made.data, made.facts, source, target)
    np.testing.assert_array_equal(decode(again.data, again.facts, target).array, array)
    assert again.facts == described(made.facts, source, target)
    if target == EXPLICIT:
        assert again.data == array.tobytes()
    if source == target:
        assert again.data is made.data


def test_what_the_image_says_of_its_colours() -> None:
    facts = image_facts(image(*IMAGES["rgb"]))
    expected = {
        syntaxes.JPEG_BASELINE: "YBR_FULL_422",
        syntaxes.JPEG_2000_LOSSLESS: "YBR_RCT",
        syntaxes.JPEG_2000: "YBR_ICT",
        syntaxes.JPEG_LS: "RGB",
    }
    for target, photometric in expected.items():
        assert described(facts, EXPLICIT, target).photometric == photometric
    lossy = described(facts, EXPLICIT, syntaxes.JPEG_BASELINE)
    assert described(lossy, syntaxes.JPEG_BASELINE, EXPLICIT).photometric == "RGB"
    chroma = image_facts(image(IMAGES["ybr"][0], "YBR_FULL_422"))
    assert described(chroma, EXPLICIT, syntaxes.RLE).photometric == "YBR_FULL"
    assert described(chroma, syntaxes.EXPLICIT_BIG, EXPLICIT) == chroma


def test_predictor_of_lossless_jpeg() -> None:
    """The first: another one would be another transfer syntax."""
    for name in ("u8", "u16 of 12", "rgb", "ybr"):
        _, made = _made(name, syntaxes.JPEG_LOSSLESS_SV1)
        scan = made.data.index(b"\xff\xda")
        components = made.data[scan + 4]
        assert made.data[scan + 5 + 2 * components] == 1
        assert made.data[: scan].count(b"\xff\xc3") == 1  # fmt: skip


def test_jpeg_ls_begins_with_its_frame() -> None:
    _, made = _made("u8", syntaxes.JPEG_LS)
    assert made.data.startswith(b"\xff\xd8\xff\xf7")


def test_rows_of_rle_are_packed_one_by_one() -> None:
    """PS3.5 §G.3.1: no run crosses the end of a row; and segments have even lengths."""
    array = np.full((4, 10), 7, np.uint8)
    made = transcode(array.tobytes(), image_facts(image(array)), EXPLICIT, syntaxes.RLE)
    assert made.data[64:] == b"\xf7\x07" * 4
    pair = np.array([[1, 2]], np.uint8)
    assert transcode(pair.tobytes(), image_facts(image(pair)), EXPLICIT, syntaxes.RLE).data[64:] == b"\1\1\2\0"
    _, odd = _made("rgb16", syntaxes.RLE)
    header = np.frombuffer(odd.data[:64], "<u4")
    assert header[0] == 6
    assert not (header[1:7] % 2).any()


def test_targets_keep_away_from_what_they_cannot_hold() -> None:
    lossy = set(LOSSY_METHODS)
    assert not targets(image_facts(image(*IMAGES["palette"])), EXPLICIT) & lossy
    assert syntaxes.JPEG_BASELINE not in targets(image_facts(image(*IMAGES["i8"])), EXPLICIT)
    assert syntaxes.JPEG_BASELINE not in targets(image_facts(image(*IMAGES["u8 of 7"])), EXPLICIT)
    assert targets(image_facts(image(*IMAGES["u32"])), EXPLICIT) == {EXPLICIT, syntaxes.RLE}
    assert targets(image_facts(image(*IMAGES["u8"])), "1.2.840.10008.1.2.4.102") == frozenset()
    float_facts = image_facts(image(np.zeros((2, 2), "f4")), 0x7FE00008)
    assert targets(float_facts, EXPLICIT) == {EXPLICIT}
    with pytest.raises(UnsupportedFormat):
        transcode(bytes(16), float_facts, EXPLICIT, syntaxes.RLE)
    with pytest.raises(CorruptData):
        transcode(b"x", image_facts(image(*IMAGES["u8"])), EXPLICIT, syntaxes.RLE)


def test_native_frames_keep_their_bytes() -> None:
    array = IMAGES["u16 of 12"][0] | 0xF000
    facts = image_facts(image(array, "", 12))
    assert transcode(array.tobytes(), facts, syntaxes.IMPLICIT_LITTLE, EXPLICIT).data == array.tobytes()
    swapped = array.astype(">u2").tobytes()
    assert transcode(swapped, facts, syntaxes.EXPLICIT_BIG, EXPLICIT).data == array.tobytes()


@pytest.mark.parametrize("target", sorted(LOSSLESS))
@pytest.mark.parametrize(
    "file",
    ["CTImage.dcm", "TestPattern_Palette.dcm", "CTImage.dcm_JPEGLSLossyTransferSyntax_1.2.840.10008.1.2.4.81.dcm"],
)
def test_real_images(testdata: Path, file: str, target: str) -> None:
    real = Real(testdata / "dicom" / "ts" / "cornerstone" / file)
    expected, _ = real.expected(0)
    data, bit = real.encoded(0)
    made = transcode(data, real.facts, real.syntax, target, bit=bit)
    np.testing.assert_array_equal(decode(made.data, made.facts, target).array, expected)


def test_unpacked_lossy_colours_are_rgb(testdata: Path) -> None:
    real = Real(testdata / "dicom" / "ts" / "pydicom" / "test_files" / "SC_rgb_dcmtk_+eb+cy+np.dcm")
    made = transcode(real.encoded(0)[0], real.facts, real.syntax, EXPLICIT)
    assert made.facts.photometric == "RGB"
    shown = np.frombuffer(made.data, np.uint8).reshape(100, 100, 3)
    assert np.abs(shown[5, 50].astype(int) - (255, 0, 0)).max() <= 3
