"""Frames lose their words and nothing else: same length, same samples, for every codec."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

from microtome.dicom import syntaxes
from microtome.dicom.deidentify.codestreams import holds_words, without_words
from microtome.dicom.deidentify.icc import without_texts

WORDS = b"Doe, Jane, born in Ulm"
PIXELS = np.random.default_rng(1).integers(0, 256, (64, 48, 3), np.uint8)
SMOOTH = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8)


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def jpeg(**options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "JPEG", **options)
    return file.getvalue()


def same(before: bytes, after: bytes) -> None:
    assert WORDS in before
    assert WORDS not in after
    assert len(before) == len(after)
    assert np.array_equal(imagecodecs.imread(before), imagecodecs.imread(after))


SEGMENTS = {
    "comment": segment(0xFE, WORDS),
    "exif": segment(0xE1, b"Exif\0\0" + WORDS),
    "xmp": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + WORDS),
    "iptc": segment(0xED, b"Photoshop 3.0\0" + WORDS),
    "of a maker": segment(0xE5, WORDS),
    "thumbnail": segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\1\1" + WORDS),
    "extension": segment(0xE0, b"JFXX\0" + WORDS),
    "no profile": segment(0xE2, WORDS),
}


@pytest.mark.parametrize("name", SEGMENTS)
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg(name: str, progressive: bool) -> None:
    whole = jpeg(progressive=progressive)
    same(whole[:2] + SEGMENTS[name] + whole[2:], without_words(whole[:2] + SEGMENTS[name] + whole[2:]))
    # Also between the scans, and after the end.
    at = whole.rindex(b"\xff\xda")
    if progressive:
        same(whole[:at] + SEGMENTS[name] + whole[at:], without_words(whole[:at] + SEGMENTS[name] + whole[at:]))
    same(whole + WORDS, without_words(whole + WORDS))


@pytest.mark.parametrize(
    "whole",
    [
        jpeg(),
        jpeg(progressive=True),
        bytes(imagecodecs.jpeg8_encode(PIXELS, lossless=True, predictor=1)),
        bytes(imagecodecs.jpegls_encode(SMOOTH)),
        bytes(imagecodecs.jpeg8_encode(PIXELS, colorspace="RGB", outcolorspace="RGB")),
    ],
)
def test_jpegs_without_words_are_the_same_object(whole: bytes) -> None:
    assert without_words(whole) is whole


def test_jpeg_ls() -> None:
    whole = bytes(imagecodecs.jpegls_encode(SMOOTH))
    changed = whole[:2] + segment(0xFE, WORDS) + whole[2:]
    made = without_words(changed)
    assert WORDS not in made
    assert np.array_equal(imagecodecs.jpegls_decode(made), SMOOTH)


@pytest.mark.parametrize("container", ["j2k", "jp2"])
def test_jpeg_2000(container: str) -> None:
    whole = bytes(imagecodecs.jpeg2k_encode(PIXELS, level=0, codecformat=container))
    at = whole.index(b"\xff\x52")  # COD: in the main header
    comment = segment(0x64, b"\0\1" + WORDS)
    changed = whole[:at] + comment + whole[at:]
    if container == "jp2":
        box = whole.index(b"jp2c") - 4
        length = int.from_bytes(whole[box : box + 4])
        size = (length + len(comment) if length else 0).to_bytes(4)
        extra = struct.pack(">I4s", 8 + len(WORDS), b"xml ") + WORDS
        changed = whole[:box] + extra + size + whole[box + 4 : at] + comment + whole[at:]
    made = without_words(changed)
    assert WORDS in changed
    assert WORDS not in made
    assert len(made) == len(changed)
    assert np.array_equal(imagecodecs.jpeg2k_decode(made), PIXELS)


def test_comments_of_encoders_go_and_samples_stay() -> None:
    whole = bytes(imagecodecs.jpeg2k_encode(PIXELS, level=0, codecformat="j2k"))
    made = without_words(whole)
    assert b"OpenJPEG" in whole
    assert b"OpenJPEG" not in made
    assert np.array_equal(imagecodecs.jpeg2k_decode(made), imagecodecs.jpeg2k_decode(whole))


def test_what_is_cut_off_does_no_harm() -> None:
    for whole in (jpeg(comment=WORDS), bytes(imagecodecs.jpeg2k_encode(PIXELS, level=0, codecformat="jp2"))):
        for cut in range(2, 700, 3):
            assert len(without_words(whole[:cut])) == cut


def test_noise_does_no_harm() -> None:
    for seed in range(500):
        noise = bytes(np.random.default_rng(seed).integers(0, 256, 400, np.uint8))
        for start in (b"\xff\xd8", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ", b"\0\0\0\x0cJXL ", b""):
            assert len(without_words(start + noise)) == len(start + noise), seed


def test_which_syntaxes_are_looked_through() -> None:
    for each in syntaxes.ALL.values():
        assert holds_words(each.uid) is (each.codec in {"jpeg", "jpeg-ls", "jpeg-2000", "htj2k", "jpeg-xl"})


def test_profiles(testdata: Path) -> None:
    files = [path for path in (testdata / "icc").rglob("*") if path.suffix in {".icc", ".icm"}]
    assert files
    for path in files:
        whole = path.read_bytes()
        made = without_texts(whole)
        assert len(made) == len(whole)
        before, after = (ImageCms.ImageCmsProfile(io.BytesIO(each)) for each in (whole, made))
        words = f"{ImageCms.getProfileDescription(before)}{ImageCms.getProfileCopyright(before)}".strip()
        assert words
        assert not f"{ImageCms.getProfileDescription(after)}{ImageCms.getProfileCopyright(after)}".strip(), path.name
        assert isinstance(before.profile, ImageCms.core.CmsProfile)
        if before.profile.xcolor_space.strip() != "RGB":
            continue
        srgb = ImageCms.createProfile("sRGB")
        try:
            seen = ImageCms.profileToProfile(Image.fromarray(PIXELS), before, srgb)
        except ImageCms.PyCMSError:
            continue  # one that says nothing of colours
        shown = ImageCms.profileToProfile(Image.fromarray(PIXELS), after, srgb)
        assert np.array_equal(np.asarray(seen), np.asarray(shown)), path.name


def test_profiles_within_frames() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    whole = jpeg(icc_profile=profile)
    made = without_words(whole)
    assert len(made) == len(whole)
    inside = Image.open(io.BytesIO(made)).info["icc_profile"]
    assert inside == without_texts(profile) != profile


@pytest.mark.parametrize("data", [b"", b"x" * 50, b"x" * 500])
def test_what_is_no_profile_is_not_sent(data: bytes) -> None:
    assert without_texts(data) == b""


def test_hostile_profiles() -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for seed in range(500):
        generator = np.random.default_rng(seed)
        forged = bytearray(profile)
        for at in generator.integers(128, 400, 12):
            forged[at] = generator.integers(0, 256)
        assert len(without_texts(bytes(forged))) == len(forged)
