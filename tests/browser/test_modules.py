"""The arithmetic of the pages, asked of the modules themselves and compared with numbers from elsewhere."""

# ruff: noqa: RUF001  (the pages write the multiplication sign)

from __future__ import annotations

import math
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Visitor

pytestmark = pytest.mark.browser


@pytest.fixture
def page(visit: Visitor) -> Page:
    return visit.catalogue("?folder=cases%2F")


def call(page: Page, module: str, name: str, *arguments: Any) -> Any:
    return page.evaluate(
        "([module, name, args]) => import(`/static/js/${module}`).then((it) => it[name](...args))",
        [module, name, list(arguments)],
    )


@pytest.mark.parametrize("zoom", [1e-3, 0.017, 0.4999, 0.5, 1.0, 2.5, 4.0])
@pytest.mark.parametrize("mpp", [0.1, 0.2522, 0.5, 10.0])
def test_the_scale_bar_is_the_longest_round_length_that_fits(page: Page, zoom: float, mpp: float) -> None:
    bar = call(page, "slide/scale.js", "scaleBar", zoom, {"x": mpp, "y": mpp}, 168)
    micrometres = bar["width"] / zoom * mpp
    decade = 10 ** math.floor(math.log10(micrometres) + 1e-9)
    assert round(micrometres / decade, 6) in {1, 2, 5}
    assert bar["width"] <= 168 * (1 + 1e-6)
    following = {1: 2, 2: 5, 5: 10}[round(micrometres / decade)] * decade
    assert following / mpp * zoom > 168 * (1 - 1e-6)
    number, unit = bar["text"].split()
    assert float(number) * {"nm": 1e-3, "µm": 1, "mm": 1000}[unit] == pytest.approx(micrometres, rel=1e-6)


def test_lengths_and_areas_follow_both_spacings(page: Page) -> None:
    points = [{"x": 0, "y": 0}, {"x": 30, "y": 0}, {"x": 30, "y": 40}]
    spacing = {"x": 0.5, "y": 0.25}
    assert call(page, "slide/geometry.js", "pathLength", points, spacing) == pytest.approx(15 + 10)
    assert call(page, "slide/geometry.js", "pathLength", [points[0], points[2]], None) == pytest.approx(50)
    assert call(page, "slide/geometry.js", "polygonArea", points, spacing) == pytest.approx(600 * 0.125)
    assert call(page, "slide/geometry.js", "polygonArea", points[::-1], None) == pytest.approx(600)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.2519, "0.252 µm"), (5, "5.00 µm"), (84.26, "84.3 µm"), (999, "999 µm"), (1270, "1.27 mm"), (25_400, "25.4 mm")],
)
def test_lengths_are_written_for_people(page: Page, value: float, text: str) -> None:
    assert call(page, "shared/format.js", "length", value) == text


def test_a_view_survives_its_address(page: Page) -> None:
    view = {"x": 1024.5, "y": 17.2, "zoom": 0.123457, "rotation": -30}
    beside = {"id": "a b/ü&x=1#.svs", "linked": False, "x": 5, "y": 6.5, "zoom": 2, "rotation": 15}
    text = call(page, "slide/place.js", "writePlace", view, beside)
    read = call(page, "slide/place.js", "readPlace", f"#{text}")
    assert read["view"] == {"x": 1024.5, "y": 17.2, "zoom": 0.123457, "rotation": 330}
    assert read["beside"]["id"] == "a b/ü&x=1#.svs"
    assert read["beside"]["linked"] is False
    assert read["beside"]["view"] == {"x": 5, "y": 6.5, "zoom": 2, "rotation": 15}


@pytest.mark.parametrize(
    "text", ["", "#", "#x=1", "#x=a&y=2&z=3", "#x=1&y=2&z=-1", "#x=1&y=2&z=0", "#x=1&y=2&z=Infinity"]
)
def test_an_address_without_sense_is_no_view(page: Page, text: str) -> None:
    assert call(page, "slide/place.js", "readPlace", text) is None


def test_magnifications_lie_between_the_whole_slide_and_full_resolution(page: Page) -> None:
    stops = call(page, "slide/magnify.js", "stops", {"power": 40}, 0.05)
    assert [stop["text"] for stop in stops] == ["2.5×", "5×", "10×", "20×", "40×"]
    assert [stop["zoom"] for stop in stops] == [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1]
    assert [stop["text"] for stop in call(page, "slide/magnify.js", "stops", {"power": None}, 0.2)] == [
        "25%",
        "50%",
        "100%",
    ]
    assert [stop["text"] for stop in call(page, "slide/magnify.js", "stops", {"power": 19.88}, 2.0)] == ["19.9×"]
