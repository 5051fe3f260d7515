"""The log of requests in the page of the scene, in Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.conftest import serving, visiting

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_spec("slicer_core") is None, reason="slicer-core has no wheel for this Python or machine"),
]
LOADED = 60_000
ENVIRONMENT = {"MICROTOME_SCENE": "true", "MICROTOME_REQUEST_LOG_KEPT": "100", "MICROTOME_DICOMWEB": "false"}
RATIO = """element => {
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).map((text) => linear(text / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let behind = element;
  while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
  const [a, b] = [light(getComputedStyle(element).color), light(getComputedStyle(behind).backgroundColor)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that keeps its last requests."""
    folder = tmp_path_factory.mktemp("data")
    with serving(folder, tmp_path_factory.mktemp("log") / "server.log", ENVIRONMENT) as url:
        yield url


@pytest.fixture
def page(chromium: BrowserContext, server: str) -> Iterator[Page]:
    """The page of the scene with the log open."""
    with visiting(chromium, server) as visitor:
        found = visitor.page()
        found.goto(f"{server}/scene")
        found.wait_for_selector("body[data-ready=true]", timeout=LOADED)
        found.get_by_role("button", name="Requests to the server").click()
        yield found


def rows(page: Page, text: str) -> Locator:
    """Rows that are seen and hold a text."""
    return page.locator("#log tbody tr:visible", has_text=text)


def test_requests_appear_while_the_log_is_open(page: Page, server: str, tmp_path: Path) -> None:
    expect(rows(page, "/scene/v1/state").or_(rows(page, "/scene/v1/nodes")).first).to_be_visible(timeout=LOADED)
    httpx.get(f"{server}/nothing-like-that?sig=0123456789abcdef")
    httpx.get(f"{server}/slicer/nothing-like-this")
    httpx.get(f"{server}/scene", headers={"if-none-match": "*"})
    refused = rows(page, "/nothing-like-that?sig=…")
    expect(refused.locator(".status")).to_have_text("404", timeout=LOADED)
    expect(rows(page, "/nothing-like-this").locator(".status")).to_have_text("500", timeout=LOADED)
    expect(rows(page, "0123456789abcdef")).to_have_count(0)
    expect(rows(page, "/scene/v1/log")).to_have_count(0)
    for theme in ("light", "dark"):
        page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
        for kind in "2345":
            assert page.locator(f".status[data-kind='{kind}']").first.evaluate(RATIO) > 4.5, (theme, kind)
        page.screenshot(path=str(tmp_path / f"log-{theme}.png"))


def test_the_newest_comes_first_and_text_filters(page: Page, server: str) -> None:
    for number in range(3):
        httpx.get(f"{server}/health?probe={number}")
    expect(rows(page, "/health?probe=2")).to_have_count(1, timeout=LOADED)
    found = page.locator("#log tbody tr", has_text="probe=").all_inner_texts()
    assert ["probe=2" in found[0], "probe=1" in found[1], "probe=0" in found[2]] == [True] * 3
    page.get_by_label("Filter requests").fill("PROBE=1 get")
    expect(page.locator("#log tbody tr:visible")).to_have_count(1)
    expect(page.locator("[data-log=count]")).to_contain_text("1 of ")
    httpx.get(f"{server}/health?other")
    httpx.get(f"{server}/health?again&probe=1")
    expect(page.locator("#log tbody tr:visible")).to_have_count(2, timeout=LOADED)
    page.get_by_label("Filter requests").fill("")
    expect(rows(page, "/health?other")).to_have_count(1)


def test_it_can_be_held_and_cleared(page: Page, server: str) -> None:
    expect(page.locator("#log tbody tr").first).to_be_attached(timeout=LOADED)
    page.get_by_role("button", name="Pause").click()
    with httpx.Client() as client:
        client.get(f"{server}/health?while=held")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#log tbody tr")).to_have_count(0)
    expect(page.locator(".log-note")).to_have_text("No requests yet.")
    assert not [url for url in asked if "/log" in url]
    page.get_by_role("button", name="Go on").click()
    expect(rows(page, "while=held")).to_have_count(1, timeout=LOADED)
    page.get_by_role("button", name="Requests to the server").click()
    expect(page.locator("#log")).to_be_hidden()


def test_without_a_log_there_is_no_button(chromium: BrowserContext, tmp_path: Path) -> None:
    environment = {**ENVIRONMENT, "MICROTOME_REQUEST_LOG_KEPT": "0"}
    with serving(tmp_path, tmp_path / "server.log", environment) as url, visiting(chromium, url) as visitor:
        page = visitor.page()
        page.goto(f"{url}/scene")
        page.wait_for_selector("body[data-ready=true]", timeout=LOADED)
        expect(page.locator("#toggle-log")).to_be_hidden()
