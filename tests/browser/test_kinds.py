"""Cards of slides that are no plain pictures. The list is given: it may leave such files out."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Visitor
from tests.browser.screen import until

pytestmark = pytest.mark.browser

KINDS = {
    "synthetic/e2_ome_zstack_2c7z_1024.ome.tif": ["Fluorescence", "7 planes"],
    "dicom/wsi-fluo/BPAEC": ["Fluorescence"],
    "vector/geojson/sample.geojson": ["Vector"],
    "vector/mbtiles/world_cities.mbtiles": ["Vector"],
    "svs/CMU-1-Small-Region.svs": [],
    "tiff/generic/grey10kx5k.tif": [],
}


def card(page: Page, slide_id: str) -> Locator:
    return page.locator(f".card[title={slide_id!r}]")


def opened(visit: Visitor) -> Page:
    visit.expect_failed_requests = True  # tiles where a set has none
    page = visit.page()
    page.route(re.compile(r"/slides\?"), lambda route: route.fulfill(json={"slides": list(KINDS)}))
    page.goto(f"{visit.url}/?search=e")
    return page


def test_badges_tell_the_kind(real: Visitor) -> None:
    page = opened(real)
    for slide_id, kinds in KINDS.items():
        expect(card(page, slide_id)).not_to_have_attribute("aria-busy", "true")
        expect(card(page, slide_id).locator(".kind")).to_have_text(kinds)
    expect(card(page, "dicom/wsi-fluo/BPAEC").locator(".kind")).to_have_attribute("title", "Green, Blue, Red")


def test_every_card_has_a_picture(real: Visitor) -> None:
    page = opened(real)
    for slide_id in KINDS:
        expect(card(page, slide_id).locator(".mount > .shown")).to_be_visible()
    inked = (
        card(page, "vector/geojson/sample.geojson")
        .locator("canvas.sketch")
        .evaluate(
            """(canvas) => {
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          let count = 0;
          for (let at = 3; at < data.length; at += 4) count += data[at] > 0;
          return count / (canvas.width * canvas.height);
        }"""
        )
    )
    assert 0.01 < inked < 0.5


def test_a_card_of_shapes_opens_them(real: Visitor) -> None:
    page = opened(real)
    card(page, "vector/geojson/sample.geojson").click()
    page.locator("body[data-ready=true]").wait_for()
    expect(page.locator("h1")).to_have_text("sample.geojson")
    canvas = page.locator("canvas.shapes")
    assert until(page, lambda: canvas.get_attribute("data-settled"), lambda value: value == "true", 400) == "true"
