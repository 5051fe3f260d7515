"""The catalogue as a person uses it."""

# ruff: noqa: RUF001  (the pages write the multiplication sign)

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Visitor
from tests.browser.screen import color_at, until
from tests.browser.slides import HOSTILE, MANY

pytestmark = pytest.mark.browser


def card(page: Page, slide_id: str):
    return page.locator(f".card[title={slide_id!r}]")


def names(page: Page) -> list[str]:
    return page.locator(".card .name").all_inner_texts()


def test_shows_folders_slides_and_their_facts(visit: Visitor) -> None:
    visit.expect_failed_requests = True  # broken.svs
    page = visit.catalogue()
    expect(page.locator("#folders a")).to_have_text(["cases", "many"])
    expect(page.locator(".card .name")).to_have_text([HOSTILE, "broken.svs", "plain.tif", "section.svs"])
    expect(card(page, "section.svs").locator(".size")).to_have_text("4,100 × 3,000")
    expect(card(page, "section.svs").locator(".power")).to_have_text("20×")
    expect(page.locator("#count")).to_have_text("2 folders, 4 slides")
    image = card(page, "section.svs").locator("img.shown")
    expect(image).to_be_visible()
    assert image.evaluate("(image) => image.naturalWidth") == 384


def test_says_why_a_slide_cannot_be_shown(visit: Visitor) -> None:
    visit.expect_failed_requests = True
    page = visit.catalogue()
    reason = card(page, "broken.svs").locator(".wrong")
    expect(reason).to_have_text(re.compile("^Cannot be read: .+"))
    assert (reason.get_attribute("title") or "nothing") in reason.inner_text()


def test_folders_are_places_with_an_address(visit: Visitor) -> None:
    visit.expect_failed_requests = True
    page = visit.catalogue()
    page.get_by_role("link", name="cases").click()
    expect(page.locator(".card .name")).to_have_text(["first.svs", "second.svs"])
    expect(page).to_have_url(re.compile(r"\?folder=cases%2F$"))
    page.locator("#folders a").click()
    expect(page.locator("h1")).to_have_text("2024")
    expect(page.locator(".card .name")).to_have_text(["third.svs"])
    page.go_back()
    expect(page.locator(".card .name")).to_have_text(["first.svs", "second.svs"])
    page.reload()
    expect(page.locator("h1")).to_have_text("cases")
    page.locator("#breadcrumb a").first.click()
    expect(page.locator("h1")).to_have_text("All slides")


def test_searches_the_whole_store(visit: Visitor) -> None:
    visit.expect_failed_requests = True
    page = visit.catalogue()
    page.keyboard.press("/")
    page.keyboard.type("THIRD")
    expect(page.locator(".card .name")).to_have_text(["third.svs"])
    expect(page.locator(".card .folder")).to_have_text(["cases/2024/"])
    page.keyboard.press("Escape")
    expect(page.locator("h1")).to_have_text("All slides")
    page.goto(f"{visit.url}/?search=nothing+like+it")
    expect(page.get_by_role("heading", name="No slide matches")).to_be_visible()
    page.get_by_role("link", name="Show all slides").click()
    expect(page.locator("#folders a").first).to_be_visible()


def test_long_lists_come_page_by_page_as_one_scrolls(visit: Visitor) -> None:
    page = visit.page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/slides?" in request.url else None)
    page.goto(f"{visit.url}/?folder=many%2F")
    expect(page.locator("#count")).to_have_text("100+ slides")
    assert len(asked) == 1
    for _ in range(20):
        page.locator(".footer").scroll_into_view_if_needed()
        if (
            until(page, lambda: page.locator("#count").inner_text(), lambda text: text == f"{MANY} slides", 20)
            == f"{MANY} slides"
        ):
            break
    assert len(asked) == 3
    assert names(page) == [f"slide-{number:03}.tif" for number in range(MANY)]


def test_thumbnails_are_asked_for_only_near_the_screen(visit: Visitor) -> None:
    page = visit.page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/thumbnail" in request.url else None)
    page.goto(f"{visit.url}/?folder=many%2F")
    expect(page.locator(".card").first.locator("img.shown")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert 0 < len(asked) < 60


def test_the_layout_is_remembered(visit: Visitor) -> None:
    page = visit.catalogue("?folder=cases%2F")
    expect(card(page, "cases/first.svs").locator(".resolution")).to_be_hidden()
    page.get_by_role("button", name="List").click()
    expect(card(page, "cases/first.svs").locator(".resolution")).to_have_text("0.5 µm/px")
    page.reload()
    expect(page.get_by_role("button", name="List")).to_have_attribute("aria-pressed", "true")


def test_arrow_keys_walk_the_cards_and_enter_opens(visit: Visitor) -> None:
    page = visit.catalogue("?folder=cases%2F")
    card(page, "cases/first.svs").focus()
    page.keyboard.press("ArrowRight")
    expect(card(page, "cases/second.svs")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/view/cases%2Ffirst\.svs"))


def test_an_empty_store_says_what_to_do(visit: Visitor, empty_server_url: str) -> None:
    page = visit.page()
    page.goto(f"{empty_server_url}/")
    expect(page.get_by_role("heading", name="No slides here yet")).to_be_visible()
    expect(page.get_by_text("microtome serve s3://bucket")).to_be_visible()


def test_a_server_that_is_gone_is_told_and_tried_again(visit: Visitor) -> None:
    visit.expect_failed_requests = True
    page = visit.page()
    page.route("**/slides?*", lambda route: route.abort())
    page.goto(f"{visit.url}/?folder=cases%2F")
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
    page.unroute("**/slides?*")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".card .name")).to_have_text(["first.svs", "second.svs"])


def test_a_closed_list_explains_signed_links(visit: Visitor) -> None:
    visit.expect_failed_requests = True

    def refuse(route: Route) -> None:
        route.fulfill(
            status=401, json={"error": "missing_expiry", "message": "The exp parameter is missing", "status": 401}
        )

    page = visit.page()
    page.route("**/slides?*", refuse)
    page.goto(f"{visit.url}/")
    expect(page.get_by_role("heading", name="This server asks for signed links")).to_be_visible()
    expect(page.get_by_text("microtome sign --path /view/SLIDE")).to_be_visible()


def test_the_theme_follows_the_system_until_one_is_chosen(visit: Visitor) -> None:
    page = visit.page()
    page.emulate_media(color_scheme="dark")
    page.goto(f"{visit.url}/?folder=cases%2F")
    assert max(color_at(page, 640, 690)) < 40
    page.emulate_media(color_scheme="light")
    assert min(until(page, lambda: color_at(page, 640, 690), lambda color: min(color) > 200)) > 200
    page.get_by_role("button", name="Dark or light theme").click()
    assert max(until(page, lambda: color_at(page, 640, 690), lambda color: max(color) < 40)) < 40
    page.reload()
    assert page.locator("html").get_attribute("data-theme") == "dark"


def test_fits_a_phone(visit: Visitor) -> None:
    page = visit.page()
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{visit.url}/?folder=cases%2F")
    expect(page.locator(".card .name")).to_have_text(["first.svs", "second.svs"])
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
