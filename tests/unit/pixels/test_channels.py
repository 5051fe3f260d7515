"""Channels against the same sums in numpy floating point."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from microtome.errors import InvalidRequest, UnsupportedFormat
from microtome.model import Channel
from microtome.pixels.channels import (
    COLORS,
    ChannelStyle,
    Window,
    blend,
    default_styles,
    full_window,
    histogram,
    select,
    to_eight_bits,
)

RANDOM = np.random.default_rng(11)
TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64", "float16"]


def samples(dtype: str, channels: int = 4, height: int = 20, width: int = 30) -> NDArray[np.generic]:
    """Noise over the whole range of a type, both ends of it included."""
    if dtype == "bool":
        return RANDOM.integers(0, 2, (height, width, channels)).astype(bool)
    if dtype.startswith("float"):
        array = RANDOM.uniform(-0.2, 1.2, (height, width, channels)).astype(dtype)
        array[0, 0], array[0, 1] = 0, 1
        return array
    limits = np.iinfo(dtype)
    native = np.dtype(dtype).newbyteorder("=")
    shape = height, width, channels
    array = RANDOM.integers(limits.min, limits.max, shape, dtype=native, endpoint=True).astype(dtype)
    array[0, 0], array[0, 1] = limits.min, limits.max
    return array


def by_hand(array: NDArray[np.generic], styles: list[ChannelStyle]) -> NDArray[np.float64]:
    total = np.zeros((*array.shape[:2], 3))
    for style in styles:
        if not style.visible:
            continue
        window = style.window
        assert window is not None
        told = (array[:, :, style.index].astype(float) - window.low) / (window.high - window.low)
        told = np.clip(told, 0, 1) ** window.gamma
        color = 0xFFFFFF if style.color is None else style.color
        total += told[:, :, np.newaxis] * np.array([color >> 16, color >> 8 & 255, color & 255])
    return np.clip(total, 0, 255)


WINDOWS = st.builds(
    lambda low, width, gamma: Window(low, low + width, gamma),
    st.integers(-300, 70_000), st.integers(1, 70_000), st.sampled_from([0.4, 1.0, 2.2]),
)  # fmt: skip
STYLES = st.builds(
    ChannelStyle, st.integers(0, 3), st.none() | st.integers(0, 0xFFFFFF), WINDOWS, st.sampled_from([True, True, False])
)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", ">u2", "uint32", "int32", "float32"])
@given(styles=st.lists(STYLES, max_size=6), seed=st.integers(0, 99))
def test_blend_is_the_sum_of_the_coloured_channels(dtype: str, styles: list[ChannelStyle], seed: int) -> None:
    generator = np.random.default_rng(seed)
    array = generator.integers(-500, 80_000, (9, 13, 4))
    kind = np.dtype(dtype)
    if kind.kind != "f":
        array = np.clip(array, np.iinfo(kind).min, np.iinfo(kind).max)
    told = blend(array.astype(kind), styles)
    assert (told.dtype, told.shape) == (np.uint8, (9, 13, 3))
    # Each contribution is rounded to a sixteenth of a grey level, the sum once. Wide samples are sorted into 65536
    # steps of the window first, which is coarse where a small gamma is steep.
    steps = 0.8 if kind.itemsize > 2 else 0
    assert np.abs(told - by_hand(array, styles)).max() <= 0.5 + len(styles) * (1 / 32 + steps) + 1e-6


@pytest.mark.parametrize("dtype", [*TYPES, "bool"])
def test_without_a_window_the_range_of_the_type_is_shown(dtype: str) -> None:
    array = samples(dtype)
    full = full_window(dtype)
    told = blend(array, [ChannelStyle(2, 0x80FF40)])
    assert np.abs(told - by_hand(array, [ChannelStyle(2, 0x80FF40, full)])).max() <= 0.54
    if dtype != "bool":
        assert told[0, 0].tolist() == [0, 0, 0]
        assert told[0, 1].tolist() == [128, 255, 64]


def test_the_range_may_be_that_of_the_stored_type_or_of_its_significant_bits() -> None:
    array = np.array([[[0], [255], [4095], [65535]]])
    style = [ChannelStyle(0)]
    assert blend(array, style, "uint8")[0, :, 0].tolist() == [0, 255, 255, 255]
    assert blend(array, style, "uint16")[0, :, 0].tolist() == [0, 1, 16, 255]
    assert blend(array.astype("u2"), style, bits=12)[0, :, 0].tolist() == [0, 16, 255, 255]
    assert blend(array.astype("u2"), style, "uint16", 12)[0, :, 0].tolist() == [0, 16, 255, 255]


@pytest.mark.parametrize("count", [14, 15, 16, 17, 29, 30, 31, 45, 100])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_any_number_of_channels_is_added_without_wrapping_around(count: int, dtype: str) -> None:
    bright = np.full((2, 3, count), np.iinfo(dtype).max, dtype)
    assert (blend(bright, [ChannelStyle(n, 0xFFFF00) for n in range(count)]) == [255, 255, 0]).all()
    dim = np.ones((2, 3, count), "uint8")
    told = blend(dim, [ChannelStyle(n, 0xFF0000) for n in range(count)])
    assert (told == [count, 0, 0]).all()


def test_invisible_channels_and_no_channels_are_black() -> None:
    array = samples("uint8")
    assert not blend(array, []).any()
    assert not blend(array, [ChannelStyle(n, visible=False) for n in range(4)]).any()
    np.testing.assert_array_equal(
        blend(array, [ChannelStyle(1, 0xFF0000), ChannelStyle(2, 0x00FF00, visible=False)]),
        blend(array, [ChannelStyle(1, 0xFF0000)]),
    )


def test_rgb_in_its_own_colours_is_itself_whatever_the_order() -> None:
    array = samples("uint8", 3)
    styles = [ChannelStyle(2, 0x0000FF), ChannelStyle(0, 0xFF0000), ChannelStyle(1, 0x00FF00)]
    np.testing.assert_array_equal(blend(array, styles), array)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300_000), (300_000, 1), (700, 500), (0, 5), (5, 0)])
def test_pictures_of_any_size_are_blended_pixel_by_pixel(shape: tuple[int, int]) -> None:
    array = RANDOM.integers(0, 256, (*shape, 2), dtype=np.uint8)
    told = blend(array, [ChannelStyle(0, 0xFF0000), ChannelStyle(1, 0x0000FF)])
    np.testing.assert_array_equal(told[:, :, 0], array[:, :, 0])
    assert not told[:, :, 1].any()
    np.testing.assert_array_equal(told[:, :, 2], array[:, :, 1])


def test_a_part_of_a_picture_is_as_bright_as_in_the_whole() -> None:
    array = samples("uint16")
    styles = [ChannelStyle(n, COLORS[n], Window(100, 40_000, 0.7)) for n in range(4)]
    whole = blend(array, styles)
    np.testing.assert_array_equal(blend(array[5:9, 3:8], styles), whole[5:9, 3:8])
    np.testing.assert_array_equal(to_eight_bits(array[5:9, 3:8]), to_eight_bits(array)[5:9, 3:8])


def test_what_is_no_number_is_black_and_what_is_endless_is_bright() -> None:
    array = np.array([[[np.nan], [-np.inf], [np.inf], [1.0]]], np.float32)
    assert blend(array, [ChannelStyle(0)])[0, :, 0].tolist() == [0, 0, 255, 255]
    assert to_eight_bits(array)[0, :, 0].tolist() == [0, 0, 255, 255]


@pytest.mark.parametrize("window", [Window(0, 5e-324), Window(-1e308, 5e307), Window(65535, 65535.0000001)])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_extreme_windows_are_no_accident(window: Window, dtype: str) -> None:
    array = np.array([[[0], [65535]]], dtype)
    told = blend(array, [ChannelStyle(0, None, window)])[0, :, 0].astype(int)
    assert told[0] <= told[1]


@pytest.mark.parametrize(
    "window", [(5, 5), (6, 5), (float("nan"), 5), (0, float("inf")), (float("-inf"), 0), (-1.7e308, 1.7e308)]
)
def test_empty_windows_are_refused(window: tuple[float, float]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Window(*window)
    assert refused.value.parameter == "window"


@pytest.mark.parametrize("gamma", [0, -1, float("nan"), float("inf")])
def test_impossible_gammas_are_refused(gamma: float) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Window(0, 1, gamma)
    assert refused.value.parameter == "gamma"


@pytest.mark.parametrize("color", [-1, 0x1000000])
def test_impossible_colours_are_refused(color: int) -> None:
    with pytest.raises(InvalidRequest) as refused:
        ChannelStyle(0, color)
    assert refused.value.parameter == "color"


def test_styles_can_be_part_of_a_key() -> None:
    assert len({ChannelStyle(0, 1, Window(0, 1)), ChannelStyle(0, 1, Window(0, 1)), ChannelStyle(0, 1)}) == 2


@pytest.mark.parametrize("index", [-1, 4])
def test_channels_that_are_not_there_are_refused(index: int) -> None:
    array = samples("uint8")
    for attempt in (lambda: select(array, [0, index]), lambda: blend(array, [ChannelStyle(index)])):
        with pytest.raises(InvalidRequest) as refused:
            attempt()
        assert refused.value.parameter == "channels"
    assert blend(array, [ChannelStyle(index, visible=False)]).shape == (20, 30, 3)


@given(indices=st.lists(st.integers(0, 3), max_size=4, unique=True))
def test_select_keeps_the_order(indices: list[int]) -> None:
    array = samples("uint16")
    told = select(array, indices)
    assert told.shape == (20, 30, len(indices))
    for place, index in enumerate(indices):
        np.testing.assert_array_equal(told[:, :, place], array[:, :, index])
    assert (told is array) == (indices == [0, 1, 2, 3])


def test_default_styles_take_the_colours_of_the_file() -> None:
    window = Window(0, 100)
    told = default_styles([Channel("DAPI", 0x123456), Channel("FITC"), Channel("Cy5", 0)], window)
    assert [style.color for style in told] == [0x123456, COLORS[1], 0]
    assert [style.index for style in told] == [0, 1, 2]
    assert {style.window for style in told} == {window}
    assert [style.color for style in default_styles([Channel("a")])] == [0xFFFFFF]
    assert [s.color for s in default_styles([Channel(str(n)) for n in range(9)])] == [*COLORS, *COLORS[:2]]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"])
def test_eight_bits_are_the_highest_ones(dtype: str) -> None:
    array, limits = samples(dtype), np.iinfo(dtype)
    expected = [[[(int(v) - int(limits.min)) >> limits.bits - 8 for v in px] for px in row] for row in array]
    told = to_eight_bits(array)
    assert told.dtype == np.uint8
    np.testing.assert_array_equal(told, expected)
    assert (told[0, 0, 0], told[0, 1, 0]) == (0, 255)


@given(bits=st.integers(1, 16), values=st.lists(st.integers(0, 65535), min_size=1, max_size=20))
def test_significant_bits_are_the_range(bits: int, values: list[int]) -> None:
    most = (1 << bits) - 1
    told = to_eight_bits(np.array(values, "u2").reshape(1, -1, 1), bits=bits)[0, :, 0]
    expected = [min(v, most) >> bits - 8 if bits >= 8 else min(v, most) * 255 // most for v in values]
    assert told.tolist() == expected


def test_signed_samples_of_few_bits_begin_at_the_lowest_number() -> None:
    array = np.array([-5000, -2048, 0, 2047, 5000], "i2").reshape(1, -1, 1)
    assert to_eight_bits(array, bits=12)[0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_eight_bits_of_a_wider_array_are_those_of_the_stored_type() -> None:
    array = np.array([-7, 0, 256, 65535, 70_000]).reshape(1, -1, 1)
    for wide in (array, array.astype(float), array.astype("i4")):
        assert to_eight_bits(wide, "uint16")[0, :, 0].tolist() == [0, 0, 1, 255, 255]
        assert to_eight_bits(wide, "uint8")[0, :, 0].tolist() == [0, 0, 255, 255, 255]
    assert to_eight_bits(array[:, :3].astype("u1"), "uint16")[0, :, 0].tolist() == [0, 0, 0]
    assert to_eight_bits(np.array([[[np.nan], [np.inf]]]), "uint16")[0, :, 0].tolist() == [0, 255]


def test_eight_bits_of_bits_and_of_fractions() -> None:
    assert to_eight_bits(np.array([[[False], [True]]]))[0, :, 0].tolist() == [0, 255]
    assert to_eight_bits(np.array([[[-1.0], [0.0], [0.5], [1.0], [7.0]]]))[0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_eight_bits_that_are_there_already_are_not_copied() -> None:
    array = samples("uint8")
    assert to_eight_bits(array) is array
    assert to_eight_bits(samples(">u2")).flags.owndata


@pytest.mark.parametrize("bits", [0, 9, -1])
def test_impossible_bits_are_refused(bits: int) -> None:
    with pytest.raises(InvalidRequest) as refused:
        to_eight_bits(samples("uint8"), bits=bits)
    assert refused.value.parameter == "bits"


def test_samples_that_cannot_be_shown_are_refused() -> None:
    array = np.zeros((2, 2, 1), np.complex64)
    for attempt in (to_eight_bits, histogram, lambda array: blend(array, [ChannelStyle(0)])):
        with pytest.raises(UnsupportedFormat) as refused:
            attempt(array)
        assert "complex64" in refused.value.feature


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", ">u2", "uint32", "float32", "bool"])
@pytest.mark.parametrize("bins", [1, 7, 256, 1000])
@pytest.mark.parametrize("window", [None, Window(0.1, 0.9), Window(-100, 30_000)])
def test_histogram_is_that_of_numpy(dtype: str, bins: int, window: Window | None) -> None:
    array = samples(dtype, 3)
    limits = full_window(dtype) if window is None else window
    told = histogram(array, bins, window)
    assert (told.dtype, told.shape) == (np.int64, (3, bins))
    for channel in range(3):
        plane = array[:, :, channel].astype(float)
        expected, _ = np.histogram(plane, bins, (limits.low, limits.high))
        np.testing.assert_array_equal(told[channel], expected)


def test_each_of_256_values_has_its_own_bin_and_all_are_counted() -> None:
    array = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, -1, 1)
    np.testing.assert_array_equal(histogram(array), np.full((1, 256), 3))
    assert histogram(samples("uint16")).sum() == 20 * 30 * 4


def test_what_is_no_number_is_not_counted() -> None:
    array = np.array([[[np.nan], [np.inf], [-np.inf], [0.5]]])
    assert histogram(array, 4).tolist() == [[0, 0, 1, 0]]


@pytest.mark.parametrize("bins", [0, -1, 65537])
def test_impossible_numbers_of_bins_are_refused(bins: int) -> None:
    with pytest.raises(InvalidRequest) as refused:
        histogram(samples("uint8"), bins)
    assert refused.value.parameter == "bins"
