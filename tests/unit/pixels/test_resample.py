"""Resampling against sums in numpy and filters written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from microtome.model import Size
from microtome.pixels.resample import reduce, resize

NOISE = np.random.default_rng(1).integers(0, 256, (48, 60, 3), dtype=np.uint8)


def boxes(array: NDArray[np.uint8], factor: int) -> NDArray[np.float64]:
    """The mean of each block, of what there is of it at right and bottom."""
    rows, columns = range(0, array.shape[0], factor), range(0, array.shape[1], factor)
    return np.array(
        [[array[y : y + factor, x : x + factor].mean(axis=(0, 1), dtype=float) for x in columns] for y in rows]
    )


def lanczos(count: int, wanted: int) -> NDArray[np.float64]:
    """The matrix (wanted, count) of a Lanczos filter of three lobes, widened where the image shrinks."""
    scale = count / wanted
    widening = max(scale, 1.0)
    center = (np.arange(wanted)[:, np.newaxis] + 0.5) * scale
    distance = (np.arange(count) + 0.5 - center) / widening
    weights = np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0)
    return weights / weights.sum(axis=1, keepdims=True)


def by_hand(array: NDArray[np.uint8], size: Size) -> NDArray[np.float64]:
    down, across = lanczos(array.shape[0], size.height), lanczos(array.shape[1], size.width)
    # Eight bits are kept between the two passes, so that overshoot is cut in each.
    rows = np.clip(np.einsum("wx,yxc->ywc", across, array.astype(float)), 0, 255)
    return np.clip(np.einsum("hy,ywc->hwc", down, rows), 0, 255)


@given(
    height=st.integers(1, 40), width=st.integers(1, 40), factor=st.integers(1, 9), channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 999),
)  # fmt: skip
def test_reduce_is_the_mean_of_each_block(height: int, width: int, factor: int, channels: int, seed: int) -> None:
    array = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    small = reduce(array, factor)
    assert small.dtype == np.uint8
    assert small.shape == (-(-height // factor), -(-width // factor), channels)
    # Pillow multiplies by a truncated reciprocal, so that of an odd count one value in the middle goes down.
    assert np.abs(small - boxes(array, factor)).max() < 0.67


def test_reduce_by_one_is_the_same_array() -> None:
    assert reduce(NOISE, 1) is NOISE


@pytest.mark.parametrize("size", [Size(30, 24), Size(20, 16), Size(41, 37), Size(90, 70), Size(60, 20), Size(61, 48)])
@pytest.mark.parametrize("channels", [1, 3])
def test_resize_is_lanczos_by_hand(size: Size, channels: int) -> None:
    """Up to a third nothing is averaged beforehand, so that the filter can be written out exactly."""
    told = resize(NOISE[:, :, :channels], size)
    assert told.dtype == np.uint8
    assert told.shape == (size.height, size.width, channels)
    assert np.abs(told - by_hand(NOISE[:, :, :channels], size)).max() <= 1.6


@pytest.mark.parametrize("factor", [4, 8, 16, 33])
def test_far_smaller_images_stay_close_to_the_exact_filter(factor: int) -> None:
    rows, columns = np.mgrid[0:528, 0:660]
    waves = 127 + 60 * np.sin(rows / 30) + 60 * np.cos(columns / 45)
    array = np.stack((waves, waves[::-1], waves[:, ::-1]), axis=-1).astype(np.uint8)
    size = Size(660 // factor, 528 // factor)
    exact = np.asarray(Image.fromarray(array).resize(size, Image.Resampling.LANCZOS))
    assert np.abs(resize(array, size).astype(int) - exact).max() <= 4


def test_a_fine_pattern_becomes_its_mean_and_no_moire() -> None:
    rows, columns = np.mgrid[0:512, 0:512]
    board = (((rows + columns) % 2) * 255).astype(np.uint8)[:, :, np.newaxis]
    small = resize(board, Size(37, 37))
    assert np.abs(small.astype(int) - 127).max() <= 4


@pytest.mark.parametrize("channels", [1, 3])
@given(value=st.integers(0, 255), width=st.integers(1, 80), height=st.integers(1, 80))
def test_a_flat_colour_stays(channels: int, value: int, width: int, height: int) -> None:
    flat = np.full((17, 23, channels), value, np.uint8)
    told = resize(flat, Size(width, height))
    assert told.shape == (height, width, channels)
    assert (told == value).all()


def test_channels_and_sides_are_not_mixed_up() -> None:
    array = np.zeros((40, 60, 3), np.uint8)
    array[:20, :, 0] = 200
    array[:, 30:, 1] = 200
    for small in (resize(array, Size(6, 4)), reduce(array, 10)):
        assert small[0, :, 0].min() > 150
        assert small[3, :, 0].max() < 50
        assert small[:, 5, 1].min() > 150
        assert small[:, 0, 1].max() < 50
        assert not small[:, :, 2].any()


def test_the_same_size_is_the_same_array() -> None:
    assert resize(NOISE, Size(60, 48)) is NOISE
    assert resize(NOISE, Size(48, 60)) is not NOISE


def test_views_are_resampled_like_copies() -> None:
    view = NOISE[::2, ::-1]
    np.testing.assert_array_equal(resize(view, Size(20, 10)), resize(view.copy(), Size(20, 10)))
    np.testing.assert_array_equal(reduce(view, 3), reduce(view.copy(), 3))
    np.testing.assert_array_equal(resize(NOISE[:, :, 1:2], Size(20, 10)), resize(NOISE, Size(20, 10))[:, :, 1:2])
