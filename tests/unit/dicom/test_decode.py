"""Frames are read exactly as pydicom reads them, whatever their transfer syntax; hostile ones are refused."""

from __future__ import annotations

import tracemalloc
import warnings
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from microtome.dicom import syntaxes
from microtome.dicom.decode import decode, native_bytes
from microtome.dicom.image import ImageFacts, image_facts
from microtome.errors import CorruptData, LimitExceeded, MicrotomeError, UnsupportedFormat
from tests.unit.dicom.images import Real, image, real_images

EVERY = (
    "1.2", "1.2.1", "1.2.1.99", "1.2.2", "1.2.4.50", "1.2.4.57", "1.2.4.70", "1.2.4.80", "1.2.4.81", "1.2.4.90",
    "1.2.4.91", "1.2.4.201", "1.2.4.203", "1.2.5",
)  # fmt: skip
"""Behind 1.2.840.10008: what the real files hold and pydicom can read."""


@pytest.fixture(scope="module")
def reals(testdata: Path) -> list[Real]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [Real(path) for path in real_images(testdata / "dicom")]


@pytest.mark.parametrize("syntax", EVERY)
def test_real_frames_are_what_pydicom_reads(reals: list[Real], syntax: str) -> None:
    compared = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for real in (each for each in reals if each.syntax == f"1.2.840.10008.{syntax}"):
            for number in sorted({0, 1, real.frames - 1} & set(range(real.frames))):
                try:
                    expected, photometric = real.expected(number)
                except Exception:  # noqa: BLE001 what pydicom cannot read is no oracle
                    continue
                data, bit = real.encoded(number)
                frame = decode(data, real.facts, real.syntax, bit=bit)
                assert frame.array.dtype == expected.dtype.newbyteorder("<"), real.path.name
                np.testing.assert_array_equal(frame.array, expected, real.path.name)
                # pydicom keeps the name of what the stream held where the chroma is spread already.
                assert frame.photometric == photometric.replace("YBR_FULL_422", "YBR_FULL"), real.path.name
                compared += 1
    assert compared


@pytest.mark.parametrize("process", ["50", "51", "53", "55"])
def test_lossy_jpeg_is_near_its_original(testdata: Path, process: str) -> None:
    """Nothing else here reads those of 12 bits, but the image they were made of is there."""
    folder = testdata / "dicom" / "ts" / "cornerstone"

    def hounsfield(real: Real) -> np.ndarray:  # type: ignore[type-arg]
        array = decode(real.encoded(0)[0], real.facts, real.syntax).array
        return array.astype(np.float64) * float(real.found.RescaleSlope) + float(real.found.RescaleIntercept)

    original, lossy = Real(folder / "CTImage.dcm"), Real(next(folder.glob(f"CTImage.dcm_*{process}.dcm")))
    error = np.abs(hounsfield(lossy) - hounsfield(original))
    # The writer rounded to steps of 2, of 32 with 8 bits.
    assert np.percentile(error, 99) < (150 if process == "50" else 30)
    assert lossy.facts.stored == (8 if process == "50" else 12)


def _facts(array: np.ndarray, photometric: str = "", stored: int = 0, planar: bool = False) -> ImageFacts:  # type: ignore[type-arg]
    return replace(image_facts(image(array, photometric, stored)), planar=planar)


EXPLICIT, BIG = syntaxes.EXPLICIT_LITTLE, syntaxes.EXPLICIT_BIG


def test_planes_one_after_the_other() -> None:
    array = np.arange(30, dtype=np.uint8).reshape(2, 5, 3)
    planes = np.moveaxis(array, 2, 0).tobytes()
    frame = decode(planes, _facts(array, planar=True), EXPLICIT)
    np.testing.assert_array_equal(frame.array, array)
    assert native_bytes(planes + b"\0", _facts(array, planar=True)) == planes


@pytest.mark.parametrize("number", range(5))
def test_frames_of_single_bits(number: int) -> None:
    """As numpy packs them: frames of 21 bits, none but the first beginning with a byte."""
    bits = np.random.default_rng(7).integers(0, 2, (5, 3, 7), dtype=np.uint8)
    facts = replace(image_facts(image(bits[0], "", 1)), allocated=1, frames=5)
    at = facts.native_range(number)
    data = np.packbits(bits.reshape(-1), bitorder="little").tobytes()[at.offset : at.offset + at.length]
    np.testing.assert_array_equal(decode(data, facts, EXPLICIT, bit=at.bit).array[:, :, 0], bits[number])
    alone = np.packbits(bits[number].reshape(-1), bitorder="little").tobytes()
    assert native_bytes(data, facts, bit=at.bit) == alone


@pytest.mark.parametrize("number", [0, 1, 2])
def test_big_endian_frames_of_odd_length(number: int) -> None:
    """8-bit samples in OW: pairs are swapped over the ends of frames."""
    array = np.arange(9, dtype=np.uint8).reshape(3, 1, 1, 3)
    value = np.frombuffer(array.tobytes() + b"\0", "<u2").byteswap().tobytes()
    facts = replace(image_facts(image(array[0])), frames=3)
    at = facts.native_range(number, big_endian=True)
    data = value[at.offset : at.offset + at.length]
    np.testing.assert_array_equal(decode(data, facts, BIG, bit=at.bit).array, array[number])
    assert native_bytes(data, facts, big_endian=True, bit=at.bit) == array[number].tobytes()
    octets = replace(facts, words=False)
    at = octets.native_range(number)
    np.testing.assert_array_equal(decode(array.tobytes()[at.offset :], octets, BIG).array, array[number])


def test_big_endian_words() -> None:
    array = np.array([[1, -2], [300, -30000]], np.int16)
    frame = decode(array.astype(">i2").tobytes(), _facts(array), BIG)
    np.testing.assert_array_equal(frame.array[:, :, 0], array)
    assert native_bytes(array.astype(">i2").tobytes(), _facts(array), big_endian=True) == array.tobytes()


def test_bits_that_are_not_stored_do_not_count() -> None:
    """Overlays of old lie in them."""
    array = np.array([[0xF123, 0x0FFF]], np.uint16)
    assert decode(array.tobytes(), _facts(array, "", 12), EXPLICIT).array[0, :, 0].tolist() == [0x123, 0xFFF]
    signed = array.view(np.int16)
    assert decode(array.tobytes(), _facts(signed, "", 12), EXPLICIT).array[0, :, 0].tolist() == [0x123, -1]
    assert native_bytes(array.tobytes(), _facts(array, "", 12)) == array.tobytes()


def test_lossy_htj2k_is_clipped() -> None:
    """One of the libraries wraps 256 to 0."""
    rng = np.random.default_rng(3)
    array = np.where(rng.random((64, 64)) < 0.5, 0, 255).astype(np.uint8)
    data = imagecodecs.htj2k_encode(array, level=0.02, reversible=False)
    wrapped = imagecodecs.htj2k_decode(data).astype(np.int32)
    frame = decode(bytes(data), _facts(array), syntaxes.HTJ2K).array[:, :, 0].astype(np.int32)
    assert np.abs(frame - array).max() < 100
    assert np.abs(wrapped - array).max() > 200


def test_a_deflated_frame() -> None:
    import zlib

    array = np.arange(20, dtype=np.uint8).reshape(4, 5)
    packer = zlib.compressobj(wbits=-15)
    data = packer.compress(array.tobytes()) + packer.flush()
    frame = decode(data, _facts(array), syntaxes.DEFLATED_FRAMES)
    np.testing.assert_array_equal(frame.array[:, :, 0], array)


# Hostile frames

ARRAY = np.random.default_rng(5).integers(0, 4096, (40, 50)).astype(np.uint16)
STREAMS = {
    syntaxes.JPEG_LOSSLESS_SV1: bytes(imagecodecs.jpeg8_encode(ARRAY, lossless=True, predictor=1, bitspersample=12)),
    syntaxes.JPEG_LS: bytes(imagecodecs.jpegls_encode(ARRAY)),
    syntaxes.JPEG_2000_LOSSLESS: bytes(imagecodecs.jpeg2k_encode(ARRAY, level=0, reversible=True, codecformat="j2k")),
    syntaxes.HTJ2K_LOSSLESS: bytes(imagecodecs.htj2k_encode(ARRAY, reversible=True)),
}


@pytest.mark.parametrize("syntax", STREAMS)
def test_streams_of_another_size(syntax: str) -> None:
    facts = _facts(ARRAY, "", 12)
    np.testing.assert_array_equal(decode(STREAMS[syntax], facts, syntax).array[:, :, 0], ARRAY)
    for other in (
        replace(facts, rows=41),
        replace(facts, columns=5),
        replace(facts, samples=3, photometric="RGB"),
        replace(facts, allocated=8, stored=8),
    ):
        with pytest.raises(CorruptData):
            decode(STREAMS[syntax], other, syntax)


@pytest.mark.parametrize("syntax", STREAMS)
def test_forged_sizes_take_no_memory(syntax: str) -> None:
    """The stream claims 60000 x 60000; so may the data set."""
    data = bytearray(STREAMS[syntax])
    if syntax in {syntaxes.JPEG_2000_LOSSLESS, syntaxes.HTJ2K_LOSSLESS}:
        at = data.find(b"\xff\x51") + 6
        data[at : at + 8] = 2 * (60000).to_bytes(4, "big")
    else:
        at = max(data.find(b"\xff\xc3"), data.find(b"\xff\xf7")) + 5
        data[at : at + 4] = 2 * (60000).to_bytes(2, "big")
    facts = _facts(ARRAY, "", 12)
    tracemalloc.start()
    try:
        with pytest.raises(CorruptData):
            decode(bytes(data), facts, syntax)
        with pytest.raises(LimitExceeded):
            decode(bytes(data), replace(facts, rows=60000, columns=60000), syntax)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("syntax", [EXPLICIT, BIG, syntaxes.RLE, syntaxes.DEFLATED_FRAMES])
def test_forged_sizes_of_what_has_no_header(syntax: str) -> None:
    facts = replace(_facts(ARRAY), rows=8000, columns=8000)
    header = np.array([2, 64, 66, *[0] * 13], "<u4").tobytes()
    tracemalloc.start()
    try:
        for data in (b"", b"abcd", header + b"\x81\0\x81\0", b"\0" * 1000):
            with pytest.raises(CorruptData):
                decode(data, facts, syntax)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "header",
    [
        [3, 64, 70, 75],
        [2, 64, 64],
        [2, 70, 66],
        [2, 64, 0xFFFFFFFF],
        [2, 0, 64],
        [2, 64, 1000],
        [0xFFFFFFFF, 64, 66],
    ],
)
def test_headers_of_rle_that_lead_nowhere(header: list[int]) -> None:
    """CVE-2025-25474, CVE-2019-1010228: offsets that lead out of the frame."""
    data = np.array([*header, *[0] * (16 - len(header))], "<u4").tobytes() + b"\xc1\0" * 50
    facts = replace(_facts(ARRAY), rows=8, columns=8)
    with pytest.raises(CorruptData):
        decode(data, facts, syntaxes.RLE)


def test_segments_of_rle_that_are_too_long_or_too_short() -> None:
    facts = image_facts(image(np.zeros((8, 8), np.uint8)))
    header = np.array([1, 64, *[0] * 14], "<u4").tobytes()
    assert (decode(header + b"\xc1\x07", facts, syntaxes.RLE).array == 7).all()
    for segment in (b"\xc2\x07", b"\x80" * 64, b"\x7f" + b"x" * 20):
        with pytest.raises(CorruptData):
            decode(header + segment, facts, syntaxes.RLE)
    # A segment may not begin within the header, though what follows would make a whole one.
    with pytest.raises(CorruptData):
        decode(np.array([1, 60, *[0] * 14], "<u4").tobytes() + b"\xc1\x07", facts, syntaxes.RLE)
    # Padding and runs beyond the end are cut off, or refused, and never written behind the plane.
    assert (decode(header + b"\xc1\x07\x00\x01", facts, syntaxes.RLE).array == 7).all()


@pytest.mark.parametrize("syntax", [*STREAMS, syntaxes.JPEG_BASELINE, syntaxes.RLE])
def test_broken_streams_are_refused_or_read(syntax: str) -> None:
    """No crash, no other error, and always the size that was asked for."""
    rng = np.random.default_rng(11)
    facts = _facts(ARRAY, "", 12)
    if syntax == syntaxes.JPEG_BASELINE:
        facts = _facts(ARRAY.astype(np.uint8))
        good = bytes(imagecodecs.jpeg8_encode(ARRAY.astype(np.uint8)))
    elif syntax == syntaxes.RLE:
        from microtome.dicom.transcode import encode

        good = encode(ARRAY[:, :, np.newaxis], facts, syntax, rgb=False)
    else:
        good = STREAMS[syntax]
    for _ in range(150):
        broken = bytearray(good[: rng.integers(2, len(good) + 1)])
        for at in rng.integers(2, len(broken), rng.integers(0, 4)):
            broken[at] = rng.integers(0, 256)
        try:
            frame = decode(bytes(broken), facts, syntax)
        except MicrotomeError:
            continue
        assert frame.array.shape == (40, 50, 1)
        assert frame.array.dtype == facts.dtype


def test_syntaxes_nobody_decodes() -> None:
    for syntax in ("1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.94", "1.2.3"):
        with pytest.raises(UnsupportedFormat):
            decode(b"", _facts(ARRAY), syntax)
