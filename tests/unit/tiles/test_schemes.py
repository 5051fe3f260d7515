"""Deep Zoom arithmetic against openslide's own Deep Zoom generator."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openslide.deepzoom import DeepZoomGenerator

from microtome.errors import InvalidRequest
from microtome.model import Size
from microtome.tiles.schemes import DeepZoom


class _Sizes:
    """As much of an OpenSlide as the generator needs for its arithmetic."""

    def __init__(self, size: Size) -> None:
        self.dimensions = size
        self.level_dimensions = (size,)
        self.level_downsamples = (1.0,)
        self.level_count = 1
        self.properties: dict[str, str] = {}

    def get_best_level_for_downsample(self, _downsample: float) -> int:
        return 0


@given(st.integers(1, 200_000), st.integers(1, 200_000), st.sampled_from([64, 240, 256, 512]), st.data())
def test_levels_and_tiles_agree_with_openslide(width: int, height: int, tile: int, data: st.DataObject) -> None:
    ours = DeepZoom(Size(width, height), tile)
    theirs = DeepZoomGenerator(cast("Any", _Sizes(Size(width, height))), tile_size=tile, overlap=0, limit_bounds=False)
    assert ours.max_level + 1 == theirs.level_count
    level = data.draw(st.integers(0, ours.max_level))
    assert ours.level_size(level) == theirs.level_dimensions[level]
    columns, rows = theirs.level_tiles[level]
    column, row = data.draw(st.integers(0, columns - 1)), data.draw(st.integers(0, rows - 1))
    rectangle = ours.tile(level, column, row)
    assert (rectangle.width, rectangle.height) == theirs.get_tile_dimensions(level, (column, row))
    for outside in ((columns, row), (column, rows), (-1, row)):
        with pytest.raises(InvalidRequest):
            ours.tile(level, *outside)


def test_levels_that_do_not_exist_are_named() -> None:
    with pytest.raises(InvalidRequest, match="0-10") as caught:
        DeepZoom(Size(1000, 600), 256).level_size(11)
    assert caught.value.parameter == "level"
