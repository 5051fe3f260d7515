"""ICC profiles to sRGB, against ImageCms itself and against colorimetry written down in numpy."""

from __future__ import annotations

import io
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from microtome.errors import CorruptData, LimitExceeded
from microtome.pixels.color import MAX_PROFILE_BYTES, IccTransform, Intent

INTENTS: dict[Intent, ImageCms.Intent] = {
    "perceptual": ImageCms.Intent.PERCEPTUAL,
    "relative": ImageCms.Intent.RELATIVE_COLORIMETRIC,
    "saturation": ImageCms.Intent.SATURATION,
    "absolute": ImageCms.Intent.ABSOLUTE_COLORIMETRIC,
}
COLORS = np.random.default_rng(3).integers(0, 256, (32, 48, 3), dtype=np.uint8)
# Rows are X, Y, Z and columns R, G, B, adapted to D50 (IEC 61966-2-1 by the Bradford method).
SRGB_D50 = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
# Adobe RGB (1998), clause 4.3.5.3, adapted the same way.
ADOBE_D50 = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])


def profile(matrix: NDArray[np.float64], gamma: float) -> bytes:
    """A version 2 display profile of three primaries and one exponent (ICC.1:2001-04 §6.3.1.2)."""

    def fixed(*numbers: float) -> bytes:
        return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)

    blocks = {name: b"XYZ \0\0\0\0" + fixed(*matrix[:, n]) for n, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    blocks[b"wtpt"] = b"XYZ \0\0\0\0" + fixed(0.9642, 1, 0.8249)
    curve = b"curv\0\0\0\0\0\0\0\1" + struct.pack(">H", round(gamma * 256)) + b"\0\0"
    blocks |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    body, table, at = b"", struct.pack(">I", len(blocks)), 132 + 12 * len(blocks)
    for name, block in blocks.items():
        table += name + struct.pack(">II", at + len(body), len(block))
        body += block
    head = struct.pack(">I4xI", at + len(body), 0x02400000) + b"mntrRGB XYZ " + bytes(12) + b"acsp"
    head = head.ljust(68, b"\0") + fixed(0.9642, 1, 0.8249)
    return head.ljust(128, b"\0") + table + body


def by_hand(array: NDArray[np.uint8], matrix: NDArray[np.float64], gamma: float) -> NDArray[np.float64]:
    linear = (array / 255.0) ** gamma @ (np.linalg.inv(SRGB_D50) @ matrix).T
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def by_pillow(array: NDArray[np.uint8], data: bytes, intent: Intent) -> NDArray[np.uint8]:
    image = ImageCms.profileToProfile(
        Image.fromarray(array),
        ImageCms.ImageCmsProfile(io.BytesIO(data)),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
        renderingIntent=INTENTS[intent],
        outputMode="RGB",
    )
    assert image is not None
    return np.asarray(image)


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
@pytest.mark.parametrize("matrix", [SRGB_D50, ADOBE_D50, SRGB_D50[:, ::-1]], ids=["sRGB", "Adobe", "swapped"])
def test_primaries_and_exponent_are_applied(matrix: NDArray[np.float64], gamma: float) -> None:
    """A rounded exponent (8 bits) and clipped colours cost a step or two; swapped primaries would cost hundreds."""
    told = IccTransform.to_srgb(profile(matrix, gamma)).apply(COLORS)
    difference = np.abs(told - by_hand(COLORS, matrix, gamma))
    assert told.dtype == np.uint8
    assert difference.max() <= 4
    assert difference.mean() < 0.7


@pytest.mark.parametrize("intent", INTENTS)
@pytest.mark.parametrize("name", ["AdobeRGB1998", "ProPhoto-v4", "DisplayP3-v2-micro", "sRGB_v4_ICC_preference"])
def test_real_profiles_are_applied_as_by_pillow(name: str, intent: Intent, testdata: Path) -> None:
    data = (testdata / "icc" / f"{name}.icc").read_bytes()
    told, expected = IccTransform.to_srgb(data, intent).apply(COLORS).astype(int), by_pillow(COLORS, data, intent)
    assert np.abs(told - expected).max() <= 1
    assert np.abs(told - COLORS).max() > 3, "the profile changes nothing"


def test_perceptual_is_the_default(testdata: Path) -> None:
    data = (testdata / "icc" / "sRGB_v4_ICC_preference.icc").read_bytes()
    told = IccTransform.to_srgb(data).apply(COLORS)
    np.testing.assert_array_equal(told, IccTransform.to_srgb(data, "perceptual").apply(COLORS))
    assert np.abs(told.astype(int) - IccTransform.to_srgb(data, "relative").apply(COLORS)).max() > 3


def test_an_srgb_profile_changes_next_to_nothing() -> None:
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.abs(IccTransform.to_srgb(data).apply(COLORS).astype(int) - COLORS).max() <= 1


def test_the_input_stays_as_it_is_and_may_be_strided() -> None:
    transform, before = IccTransform.to_srgb(profile(ADOBE_D50, 2.2)), COLORS.copy()
    flipped = transform.apply(COLORS[::-1, ::2])
    np.testing.assert_array_equal(flipped, transform.apply(COLORS)[::-1, ::2])
    np.testing.assert_array_equal(COLORS, before)


def test_one_transform_serves_many_threads() -> None:
    transform = IccTransform.to_srgb(profile(ADOBE_D50, 2.2))
    tiles = [np.full((64, 64, 3), (n, 255 - n, 7 * n % 256), np.uint8) for n in range(0, 256, 4)]
    with ThreadPoolExecutor(4) as threads:
        for told, array in zip(threads.map(transform.apply, tiles), tiles, strict=True):
            np.testing.assert_array_equal(told, by_pillow(array, profile(ADOBE_D50, 2.2), "perceptual"))


@pytest.mark.parametrize("name", ["debian/Gray.icc", "debian/ITULab.icc", "CGATS001Compat-v2-micro.icc"])
def test_profiles_of_other_spaces_are_refused(name: str, testdata: Path) -> None:
    with pytest.raises(CorruptData):
        IccTransform.to_srgb((testdata / "icc" / name).read_bytes())


def test_huge_profiles_are_refused_unread() -> None:
    good = profile(ADOBE_D50, 2.2)
    with pytest.raises(LimitExceeded) as refused:
        IccTransform.to_srgb(good.ljust(MAX_PROFILE_BYTES + 1, b"\0"))
    assert refused.value.value == MAX_PROFILE_BYTES + 1
    assert IccTransform.to_srgb(good.ljust(MAX_PROFILE_BYTES, b"\0")).nbytes > MAX_PROFILE_BYTES


@given(at=st.integers(0, 400), junk=st.binary(max_size=8), cut=st.integers(0, 500))
def test_damaged_profiles_work_or_are_corrupt(at: int, junk: bytes, cut: int) -> None:
    good = profile(ADOBE_D50, 2.2)
    try:
        transform = IccTransform.to_srgb((good[:at] + junk + good[at + len(junk) :])[:cut])
    except CorruptData:
        return
    assert transform.apply(COLORS).shape == COLORS.shape


@pytest.mark.parametrize("cut", [0, 4, 127, 131, 180])
def test_profiles_cut_off_are_corrupt(cut: int) -> None:
    with pytest.raises(CorruptData):
        IccTransform.to_srgb(profile(ADOBE_D50, 2.2)[:cut])
