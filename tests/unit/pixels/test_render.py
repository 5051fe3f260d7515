"""From stored tiles and rasters to what was asked."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from microtome.errors import CorruptData
from microtome.model import EncodedTile, Raster, Size
from microtome.pixels.color import IccTransform
from microtome.pixels.options import OutputType, RenderOptions
from microtome.pixels.render import is_untouched, render, to_display

ROWS, COLUMNS = np.mgrid[0:64, 0:80]
NOISE = np.random.default_rng(4).integers(0, 24, (64, 80, 3))
RGB = (np.stack((ROWS * 3, COLUMNS * 2, ROWS + COLUMNS), axis=-1) + NOISE).astype(np.uint8)
TYPES: list[OutputType] = ["image/jpeg", "image/png", "image/webp"]
NAMES = {1: ("gray",), 2: ("0", "1"), 3: ("R", "G", "B"), 5: ("0", "1", "2", "3", "4")}


def raster(array: NDArray[Any]) -> Raster:
    return Raster(array, NAMES[array.shape[2]])


def stored(media_type: str, array: NDArray[np.uint8] = RGB) -> EncodedTile:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, media_type.removeprefix("image/"), lossless=True)
    return EncodedTile(stream.getvalue(), media_type, Size(array.shape[1], array.shape[0]), "rgb")


def seen(tile: EncodedTile) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(tile.data)))


class Inverted(ImageCms.ImageCmsTransform):
    """Not a colour transform, but one whose effect nothing else has."""

    def __init__(self) -> None:
        pass

    def apply(self, im: Image.Image, imOut: Image.Image | None = None) -> Image.Image:
        return Image.eval(im, lambda value: 255 - value)


INVERTED = IccTransform(Inverted(), 1)


@pytest.mark.parametrize("media_type", TYPES)
@pytest.mark.parametrize("holds", TYPES)
def test_every_type_from_every_type(holds: OutputType, media_type: OutputType) -> None:
    source = stored(holds)
    told = render(source, RenderOptions(media_type, 90))
    assert (told is source) == (holds == media_type)
    assert (told.media_type, told.size) == (media_type, (80, 64))
    image = Image.open(io.BytesIO(told.data))
    assert (image.get_format_mimetype(), image.size) == (media_type, (80, 64))
    assert np.abs(seen(told).astype(int) - RGB).mean() < 9
    if holds != "image/jpeg" and media_type == "image/png":
        np.testing.assert_array_equal(seen(told), RGB)


@pytest.mark.parametrize("media_type", ["image/jpeg", "image/webp"])
def test_quality_changes_size_and_fidelity(media_type: OutputType) -> None:
    tiles = [render(raster(RGB), RenderOptions(media_type, quality)) for quality in (5, 40, 80, 98)]
    sizes = [len(tile.data) for tile in tiles]
    errors = [np.abs(seen(tile).astype(int) - RGB).mean() for tile in tiles]
    assert sizes == sorted(set(sizes))
    assert errors == sorted(errors, reverse=True)
    assert sizes[-1] > 2 * sizes[0]


def test_quality_does_not_change_a_png() -> None:
    worst, best = (render(raster(RGB), RenderOptions("image/png", quality)) for quality in (1, 100))
    assert worst.data == best.data


def test_jpeg_of_quality_80_is_the_default() -> None:
    assert render(raster(RGB), RenderOptions()).data == render(raster(RGB), RenderOptions("image/jpeg", 80)).data
    assert render(raster(RGB), RenderOptions()).data != render(raster(RGB), RenderOptions("image/jpeg", 79)).data


@pytest.mark.parametrize(
    ("options", "untouched"),
    [
        (RenderOptions(), True),
        (RenderOptions(quality=10), True),
        (RenderOptions(allow_stored=False), False),
        (RenderOptions(intent="perceptual"), False),
        (RenderOptions("image/png"), False),
    ],
)
def test_stored_bytes_are_kept_where_they_will_do(options: RenderOptions, untouched: bool) -> None:
    source = stored("image/jpeg")
    assert is_untouched(source, options) is untouched
    assert not is_untouched(raster(RGB), options)
    assert (render(source, options) is source) is untouched
    # Nobody looks inside of a tile that is passed on; a broken one is noticed only where it must be decoded.
    broken = EncodedTile(b"no JPEG", "image/jpeg", Size(80, 64), "ycbcr")
    if untouched:
        assert render(broken, options) is broken
    else:
        with pytest.raises(CorruptData):
            render(broken, options)


def test_a_transform_is_applied_to_colour_and_not_to_grey() -> None:
    options = RenderOptions("image/png", intent="perceptual")
    np.testing.assert_array_equal(seen(render(raster(RGB), options, INVERTED)), 255 - RGB)
    np.testing.assert_array_equal(seen(render(stored("image/png"), options, INVERTED)), 255 - RGB)
    np.testing.assert_array_equal(seen(render(raster(RGB), options)), RGB)
    np.testing.assert_array_equal(seen(render(raster(RGB[:, :, :1]), options, INVERTED)), RGB[:, :, 0])


def test_a_transform_does_not_open_a_tile_that_may_stay() -> None:
    source = stored("image/png")
    assert render(source, RenderOptions("image/png"), INVERTED) is source


@pytest.mark.parametrize("media_type", TYPES)
def test_grey_stays_grey(media_type: OutputType) -> None:
    told = render(raster(RGB[:, :, :1]), RenderOptions(media_type, 95))
    image = seen(told)
    assert told.color == "gray"
    assert image.ndim == (3 if media_type == "image/webp" else 2), "WebP knows no grey"
    first = RGB[:, :, 0].astype(int)
    assert np.abs(image - (first[:, :, np.newaxis] if image.ndim == 3 else first)).mean() < 5


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "u8", "i1", "i2", "i4"])
@given(seed=st.integers(0, 2**32 - 1))
def test_integers_are_scaled_from_the_range_of_their_type(kind: str, seed: int) -> None:
    bounds = np.iinfo(kind)
    array = np.random.default_rng(seed).integers(bounds.min, bounds.max, (4, 5, 3), dtype=kind, endpoint=True)
    array[0, 0], array[0, 1] = bounds.min, bounds.max
    step = (int(bounds.max) - int(bounds.min) + 1) // 256
    expected = [(int(value) - int(bounds.min)) // step for value in array.flat]
    shown = to_display(raster(array))
    assert shown.dtype == np.uint8
    assert shown.ravel().tolist() == expected
    assert (shown[0, 0].max(), shown[0, 1].min()) == (0, 255)


@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
def test_floats_are_taken_from_0_to_1(kind: str) -> None:
    values = [0, 0.25, 0.5, 1, -3, 7, float("nan"), float("inf"), float("-inf")]
    shown = to_display(raster(np.array(values, kind).reshape(1, 9, 1)))
    assert shown[0, :, 0].tolist() == [0, 64, 128, 255, 0, 255, 0, 255, 0]


def test_bits_are_black_and_white() -> None:
    assert to_display(raster(RGB > 100)).tolist() == np.where(RGB > 100, 255, 0).tolist()


def test_the_display_always_has_three_channels() -> None:
    np.testing.assert_array_equal(to_display(stored("image/png")), RGB)
    for count in (1, 2, 5):
        many = np.concatenate([RGB, 255 - RGB], axis=2)[:, :, :count]
        np.testing.assert_array_equal(to_display(raster(many)), np.dstack([RGB[:, :, 0]] * 3))


def test_options_are_a_key() -> None:
    assert len({RenderOptions(), RenderOptions(), RenderOptions(quality=79), RenderOptions(intent="perceptual")}) == 3
