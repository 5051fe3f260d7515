"""The pages of a server that asks for signed links."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visitor, closed_to_strangers, serving
from tests.browser.slides import write_svs

pytestmark = pytest.mark.browser

SECRET = "a-secret-of-the-tests-long-enough"


@pytest.fixture(scope="module")
def closed_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("closed")
    write_svs(folder / "cases" / "first.svs")
    write_svs(folder / "cases" / "second.svs")
    with serving(folder, tmp_path_factory.mktemp("log") / "server.log", closed_to_strangers(SECRET)) as url:
        yield url


def signed(url: str, path: str) -> str:
    command = [sys.executable, "-m", "microtome", "sign", "--path", path, "--secret", SECRET, "--base-url", url]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def ready(page: Page) -> None:
    page.locator("body[data-ready=true]").wait_for()


def test_strangers_are_told_how_to_come_in(visit: Visitor, closed_url: str) -> None:
    visit.expect_failed_requests = True
    page = visit.page()
    page.goto(f"{closed_url}/")
    expect(page.get_by_role("heading", name="This server asks for signed links")).to_be_visible()
    answer = page.goto(f"{closed_url}/view/cases%2Ffirst.svs")
    assert answer is not None
    assert answer.status == 401
    expect(page.locator("h1")).to_be_visible()


def test_a_link_to_one_slide_opens_that_slide(visit: Visitor, closed_url: str) -> None:
    visit.expect_failed_requests = True
    page = visit.page()
    tiles: list[int] = []
    page.on("response", lambda answer: tiles.append(answer.status) if "/tiles/" in answer.url else None)
    page.goto(signed(closed_url, "/view/cases%2Ffirst.svs"))
    ready(page)
    page.wait_for_load_state("networkidle")
    assert tiles
    assert set(tiles) == {200}
    page.keyboard.press("i")
    expect(page.locator("#associated img").first).to_be_visible()
    page.keyboard.press("c")
    expect(page.get_by_role("dialog")).to_contain_text("The list needs a signed link")


def test_a_link_to_the_catalogue_opens_all_of_it(visit: Visitor, closed_url: str) -> None:
    page = visit.page()
    page.goto(signed(closed_url, "/"))
    page.get_by_role("link", name="cases").click()
    expect(page.locator(".card img.shown")).to_have_count(2)
    page.reload()
    expect(page.locator(".card img.shown")).to_have_count(2)
    page.locator(".card").first.click()
    ready(page)
    page.keyboard.press("c")
    page.get_by_role("dialog").get_by_role("button", name="second.svs").click()
    expect(page.locator(".pane")).to_have_count(2)
    page.wait_for_load_state("networkidle")
    page.locator("#to-folder").click()
    expect(page).to_have_url(re.compile("folder=cases"))
    expect(page.locator(".card .name")).to_have_text(["first.svs", "second.svs"])
