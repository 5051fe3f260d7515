"""Hiding the labels of slides."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visitor
from tests.browser.screen import until

pytestmark = pytest.mark.browser

NAMED = "synthetic/c3_aperio_j2k33003_ycbcr422_6000x4500.svs"


def fetched(page: Page) -> list[str]:
    """The label and macro pictures that are asked for from now on."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/associated/" in request.url else None)
    return asked


def about(page: Page) -> None:
    if page.locator("#panel-about").is_hidden():
        page.keyboard.press("i")


def test_the_panel_hides_label_and_macro(visit: Visitor) -> None:
    page = visit.page()
    asked = fetched(page)
    visit.slide("section.svs", page=page)
    about(page)
    expect(page.locator("#associated img")).to_have_count(3)
    page.get_by_label("Hide labels").check()
    expect(page.locator(".hidden-picture .associated-name span:first-child")).to_have_text(["label", "macro"])
    expect(page.locator("#associated img")).to_have_count(1)  # the thumbnail
    page.wait_for_load_state("networkidle")
    asked.clear()
    page.reload()
    about(page)
    expect(page.get_by_label("Hide labels")).to_be_checked()
    expect(page.locator(".hidden-picture")).to_have_count(2)
    page.wait_for_load_state("networkidle")
    assert not [url for url in asked if re.search("label|macro", url)], "what is hidden is not even fetched"
    page.get_by_label("Hide labels").uncheck()
    expect(page.locator("#associated img")).to_have_count(3)


def test_the_catalogue_hides_labels_and_all_pages_agree(visit: Visitor) -> None:
    page = visit.page()
    asked = fetched(page)
    page.goto(f"{visit.url}/?folder=cases%2F")
    labels = page.locator(".card img.label")
    expect(labels).to_have_count(2)
    other = visit.slide("section.svs")
    about(other)
    hide = page.get_by_role("button", name="Hide labels")
    hide.click()
    expect(labels).to_have_count(0)
    expect(hide).to_have_attribute("aria-pressed", "true")
    expect(other.locator(".hidden-picture")).to_have_count(2)
    asked.clear()
    page.reload()
    expect(page.locator(".card img.shown")).to_have_count(2)
    page.wait_for_load_state("networkidle")
    assert asked == []
    hide.click()
    expect(labels).to_have_count(2)
    sizes = until(
        page,
        lambda: labels.evaluate_all("(all) => all.map((one) => [one.naturalWidth, one.naturalHeight])"),
        lambda found: all(width for width, _ in found),
    )
    assert sizes == [[100, 120]] * 2


def test_properties_that_tell_what_labels_tell_are_hidden(real: Visitor) -> None:
    page = real.slide(NAMED)
    about(page)
    page.get_by_text("Properties of the file").click()
    properties = page.locator("#properties")
    names = properties.locator("dt").all_inner_texts()
    values = properties.locator("dd").all_inner_texts()
    page.get_by_label("Hide labels").check()
    hidden = properties.locator("dd").all_inner_texts()
    assert len(hidden) == len(values)
    changed = {name for name, before, after in zip(names, values, hidden, strict=True) if before != after}
    assert changed == {name for name in names if re.search("barcode|label|patient|slide ?id", name, re.IGNORECASE)}
