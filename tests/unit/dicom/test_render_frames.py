"""Rendered frames: colours, encodings, viewports, overlays, profiles; stored JPEG passes as it is."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms
from pydicom.pixels.decoders.base import get_decoder

from microtome.dicom import syntaxes
from microtome.dicom.dataset import Dataset, Element
from microtome.dicom.image import image_facts
from microtome.dicom.render import KINDS, Profile, Rendering, StoredFrame, Viewport, pixels, render
from microtome.dicom.voi import Window
from microtome.errors import CorruptData, InvalidRequest, LimitExceeded, NotAcceptable, UnsupportedFormat
from microtome.pixels.color import srgb_profile
from tests.unit.dicom.images import Real, dataset, image, real_images

EXPLICIT = syntaxes.EXPLICIT_LITTLE
PNG = Rendering("image/png")
RNG = np.random.default_rng(2)


def stored(array: NDArray[Any], photometric: str = "", bits: int = 0, *more: tuple[int, str, Any]) -> StoredFrame:
    made = image(array, photometric, bits, *more)
    return StoredFrame(array.tobytes(), made, image_facts(made), EXPLICIT)


def jpeg_frame(array: NDArray[np.uint8], photometric: str, *more: tuple[int, str, Any], **options: Any) -> StoredFrame:
    made = image(array, photometric, 0, *more)
    data = bytes(imagecodecs.jpeg8_encode(array, **options))
    return StoredFrame(data + b"\0" * (len(data) % 2), made, image_facts(made), syntaxes.JPEG_BASELINE)


def read(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)))


COLORS = np.clip(RNG.integers(-9, 10, (40, 60, 3)).cumsum(axis=1) + 128, 0, 255).astype(np.uint8)
GRAYS = np.ascontiguousarray(COLORS[:, :, 0])


def test_every_real_image_can_be_rendered(testdata: Path) -> None:
    """Colours as pydicom converts them; what it cannot read, and broken files, aside."""
    compared = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in real_images(testdata / "dicom"):
            real = Real(path)
            data, bit = real.encoded(0)
            frame = StoredFrame(data, real.dataset, real.facts, real.syntax, 0, bit)
            try:
                raw, photometric = real.expected(0)
                expected, _ = get_decoder(real.syntax).as_array(real.found, index=0)
            except Exception:  # noqa: BLE001
                continue
            shown = read(render(frame, PNG))
            assert shown.shape[:2] == raw.shape[:2], path.name
            if real.facts.samples == 3 and real.facts.allocated == 8:
                # Decoders of lossy JPEG convert with integers, pydicom with fractions.
                np.testing.assert_allclose(shown.astype(int), expected, atol=2, err_msg=f"{path.name} {photometric}")
                compared += 1
    assert compared > 20


@pytest.mark.parametrize("media_type", KINDS)
def test_kinds(media_type: str) -> None:
    for frame, mode in ((stored(COLORS), "RGB"), (stored(GRAYS), "L")):
        picture = Image.open(io.BytesIO(render(frame, Rendering(media_type, quality=95))))
        assert Image.MIME[str(picture.format)] == media_type
        assert picture.size == (60, 40)
        if media_type == "image/png":
            assert picture.mode == mode
        difference = np.asarray(picture.convert("RGB")).astype(int) - (COLORS if mode == "RGB" else GRAYS[..., None])
        assert np.abs(difference).mean() < 20  # neighbours share a chroma, and these differ much
    with pytest.raises(NotAcceptable) as caught:
        render(stored(GRAYS), Rendering("video/mp4"))
    assert caught.value.available == tuple(KINDS)


@pytest.mark.parametrize(
    ("array", "photometric", "options"),
    [(GRAYS, "MONOCHROME2", {}), (COLORS, "YBR_FULL_422", {"subsampling": "422"}), (COLORS, "YBR_FULL", {})],
)
def test_stored_jpeg_passes_untouched(array: NDArray[np.uint8], photometric: str, options: dict[str, Any]) -> None:
    frame = jpeg_frame(array, photometric, level=80, **options)
    data = frame.data.removesuffix(b"\0")
    assert render(frame) == data
    assert render(frame, Rendering(viewport=Viewport(60, 40))) == data
    if photometric != "MONOCHROME2":
        assert render(frame, Rendering(window=Window(40, 400))) == data  # windows are for shades of grey


def test_stored_rgb_jpeg_says_so() -> None:
    """A browser would take its components for YCbCr; the coded data stays."""
    frame = jpeg_frame(COLORS, "RGB", level=90, colorspace="RGB", outcolorspace="RGB")
    bare = frame.data.replace(frame.data[2:18], b"") if frame.data[2:4] == b"\xff\xee" else frame.data
    shown = render(replace(frame, data=bare))
    assert np.abs(read(shown).astype(int) - COLORS).mean() < 3
    assert shown.endswith(bare[bare.index(b"\xff\xda") :].rstrip(b"\0"))


@pytest.mark.parametrize(
    ("frame", "rendering"),
    [
        (jpeg_frame(GRAYS, "MONOCHROME2"), Rendering(quality=80)),
        (jpeg_frame(GRAYS, "MONOCHROME2"), Rendering(window=Window(128, 50))),
        (jpeg_frame(GRAYS, "MONOCHROME2"), Rendering(viewport=Viewport(30, 20))),
        (jpeg_frame(GRAYS, "MONOCHROME2"), Rendering("image/png")),
        (jpeg_frame(GRAYS, "MONOCHROME1"), Rendering()),
        (jpeg_frame(GRAYS, "MONOCHROME2", (0x00281050, "DS", "9"), (0x00281051, "DS", "9")), Rendering()),
        (jpeg_frame(COLORS, "YBR_FULL_422"), Rendering(profile="yes")),
    ],
)  # fmt: skip
def test_stored_jpeg_is_drawn_anew_when_something_changes_it(frame: StoredFrame, rendering: Rendering) -> None:
    assert render(frame, rendering) != frame.data
    assert read(render(frame, rendering)).size


def test_stored_jpeg_gets_its_overlay() -> None:
    frame = jpeg_frame(GRAYS, "MONOCHROME2", *_overlay(np.ones((20, 30), np.bool_), 1, 1))
    assert read(render(frame))[:19, :29].min() > 240


def test_jpeg_of_another_size_does_not_pass() -> None:
    frame = jpeg_frame(GRAYS, "MONOCHROME2")
    with pytest.raises(CorruptData):
        render(replace(frame, facts=replace(frame.facts, rows=30)))


def test_colours_of_16_bits_and_what_has_no_colours() -> None:
    wide = COLORS.astype(np.uint16) * 257
    np.testing.assert_array_equal(pixels(stored(wide)), COLORS)
    twelve = (COLORS.astype(np.uint16) << 4) | 15
    assert np.abs(pixels(stored(twelve, "RGB", 12)).astype(int) - COLORS).max() <= 1
    with pytest.raises(UnsupportedFormat):
        render(stored(np.zeros((2, 2, 4), np.uint8), "ARGB"))


# Viewports


def test_a_viewport_keeps_proportions() -> None:
    for size, expected in (((30, 30), (30, 20)), ((600, 100), (150, 100)), ((1, 1), (1, 1)), ((60, 40), (60, 40))):
        assert (
            Image.open(io.BytesIO(render(stored(COLORS), Rendering("image/png", viewport=Viewport(*size))))).size
            == expected
        )


def test_regions() -> None:
    def shown(*region: float | None) -> NDArray[np.uint8]:
        across, down = (int(abs(part)) if part else whole for part, whole in zip(region[2:], (60, 40), strict=True))
        return read(render(stored(COLORS), Rendering("image/png", viewport=Viewport(across, down, region))))  # type: ignore[arg-type]

    np.testing.assert_array_equal(shown(10, 5, 20, 15), COLORS[5:20, 10:30])
    np.testing.assert_array_equal(shown(10, 5, -20, 15), COLORS[5:20, 10:30][:, ::-1])
    np.testing.assert_array_equal(shown(10, 5, 20, -15), COLORS[5:20, 10:30][::-1])
    np.testing.assert_array_equal(shown(None, None, None, None), COLORS)
    np.testing.assert_array_equal(shown(50, 30, 10, 10), COLORS[30:, 50:])
    for region in ((60, 0, 1, 1), (0, 40, 1, 1), (1e12, 0, 5, 5), (0, 0, 0, 5), (59.995, 0, 5, 5)):
        with pytest.raises(InvalidRequest) as caught:
            render(stored(COLORS), Rendering(viewport=Viewport(10, 10, region)))
        assert caught.value.parameter == "viewport"
    with pytest.raises(LimitExceeded):
        render(stored(COLORS), Rendering(viewport=Viewport(65000, 65000)))


# Overlays


def _overlay(mask: NDArray[np.bool_], row: int, column: int, group: int = 0x6000) -> list[tuple[int, str, Any]]:
    base = group << 16
    return [
        (base | 0x10, "US", mask.shape[0]), (base | 0x11, "US", mask.shape[1]), (base | 0x40, "CS", "G"),
        (base | 0x50, "SS", [row, column]), (base | 0x100, "US", 1), (base | 0x102, "US", 0),
        (base | 0x3000, "OW", np.packbits(mask.reshape(-1), bitorder="little").tobytes()),
    ]  # fmt: skip


def test_overlays_are_drawn_where_they_belong() -> None:
    mask = RNG.random((5, 7)) < 0.5
    for row, column in ((1, 1), (4, 9), (-1, 57), (38, -2)):
        expected = GRAYS.copy()
        for y, x in np.argwhere(mask):
            if 0 <= y + row - 1 < 40 and 0 <= x + column - 1 < 60:
                expected[y + row - 1, x + column - 1] = 255
        np.testing.assert_array_equal(pixels(stored(GRAYS, "", 0, *_overlay(mask, row, column)))[:, :, 0], expected)
    both = stored(COLORS, "RGB", 0, *_overlay(mask, 1, 1), *_overlay(mask, 10, 10, 0x601E))
    assert (pixels(both)[:5, :7][mask] == 255).all()
    assert (pixels(both)[9:14, 9:16][mask] == 255).all()


def test_an_overlay_of_many_frames() -> None:
    masks = RNG.random((3, 5, 7)) < 0.5
    parts = [
        *_overlay(masks, 1, 1)[2:],
        (0x60000010, "US", 5),
        (0x60000011, "US", 7),
        (0x60000015, "IS", "3"),
        (0x60000051, "US", 2),
    ]
    frame = stored(GRAYS * 0, "", 0, (0x00280008, "IS", "5"), *parts)
    for number in range(5):
        shown = pixels(replace(frame, number=number))[:5, :7, 0] == 255
        np.testing.assert_array_equal(shown, masks[number - 1] if 1 <= number <= 3 else np.zeros((5, 7), bool))


def test_overlays_among_the_bits_of_samples() -> None:
    mask = RNG.random((40, 60)) < 0.5
    array = GRAYS.astype(np.uint16) | (mask.astype(np.uint16) << 13)
    parts = [part for part in _overlay(mask, 1, 1) if part[0] not in {0x60003000, 0x60000102, 0x60000100}]
    frame = stored(array, "", 8, (0x00280100, "US", 16), (0x60000100, "US", 16), (0x60000102, "US", 13), *parts)
    np.testing.assert_array_equal(pixels(frame)[:, :, 0], np.where(mask, 255, GRAYS))


@pytest.mark.parametrize(
    "change",
    [(0x60003000, "OW", b"\1"), (0x60000010, "US", 0), (0x60000011, "UL", 70000), (0x60000050, "SS", [30000, 1]),],
)  # fmt: skip
def test_broken_overlays_are_left_out(change: tuple[int, str, Any]) -> None:
    frame = stored(GRAYS, "", 0, *_overlay(np.ones((5, 7), bool), 1, 1), change)
    np.testing.assert_array_equal(pixels(frame)[:, :, 0], GRAYS)


# Profiles


def _with_profile(frame: StoredFrame, profile: bytes, *, optical_path: bool = False) -> StoredFrame:
    element = Element(0x00282000, "OB", profile)
    if optical_path:
        element = Element(0x00480105, "SQ", (Dataset({0x00282000: element}),))
    return replace(frame, dataset=Dataset({**frame.dataset.elements, element.tag: element}))


@pytest.mark.parametrize("media_type", ["image/jpeg", "image/png"])
@pytest.mark.parametrize("asked", ["no", "yes", "srgb"])
@pytest.mark.parametrize("optical_path", [False, True])
def test_profiles(testdata: Path, media_type: str, asked: Profile, optical_path: bool) -> None:
    real = Real(testdata / "dicom" / "wsi" / "sm_image.dcm")
    own = real.found.OpticalPathSequence[0].ICCProfile
    own = bytearray(own)
    own[36:40] = b"acsp"
    frame = _with_profile(stored(COLORS), bytes(own), optical_path=optical_path)
    data = render(frame, Rendering(media_type, quality=100, profile=asked))
    picture = Image.open(io.BytesIO(data))
    expected = {"no": None, "yes": bytes(own), "srgb": srgb_profile()}[asked]
    assert picture.info.get("icc_profile") == expected
    if media_type == "image/png":
        source = Image.fromarray(COLORS)
        if asked == "srgb":
            profiles = [ImageCms.ImageCmsProfile(io.BytesIO(each)) for each in (bytes(own), srgb_profile())]
            source = ImageCms.profileToProfile(source, *profiles, renderingIntent=ImageCms.Intent.PERCEPTUAL)  # type: ignore[assignment]
        np.testing.assert_allclose(np.asarray(picture).astype(int), np.asarray(source), atol=1)


def test_large_profiles_are_split() -> None:
    own = srgb_profile() + bytes(150_000)
    data = render(_with_profile(stored(COLORS), own), Rendering("image/jpeg", profile="yes"))
    assert Image.open(io.BytesIO(data)).info["icc_profile"] == own
    with pytest.raises(CorruptData):
        render(_with_profile(stored(COLORS), bytes(17 << 20)), Rendering(profile="yes"))
    assert "icc_profile" not in Image.open(io.BytesIO(render(stored(GRAYS), Rendering(profile="srgb")))).info


# Hostile


def test_forged_sizes_take_no_memory() -> None:
    made = dataset((0x00280010, "US", 65535), (0x00280011, "US", 65535), (0x00280100, "US", 16), (0x00280002, "US", 1))
    with pytest.raises(LimitExceeded):
        render(StoredFrame(b"x" * 100, made, image_facts(made), EXPLICIT))
    made = dataset((0x00280010, "US", 6553), (0x00280011, "US", 6553), (0x00280100, "US", 16), (0x00280002, "US", 1))
    with pytest.raises(CorruptData):
        render(StoredFrame(b"x" * 100, made, image_facts(made), EXPLICIT))
