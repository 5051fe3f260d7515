"""The pages over DICOM where people have to prove who they are, the list of what is broken, and accessibility."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import Visitor, closed_to_strangers, serving, visiting
from tests.browser.studydata import write
from tests.browser.test_accessibility import axe as axe
from tests.browser.test_accessibility import violations
from tests.browser.test_studies import opened, series
from tests.serving import until

pytestmark = pytest.mark.browser
SECRET = "a-secret-of-the-tests-long-enough"
LOGIN = {"MICROTOME_INTEGRATION": "tests.api.test_login:ByFolder", "MICROTOME_ADMINS": "bob"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("closed") / "alice"
    folder.mkdir()
    return write(folder)


def work(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    place = tmp_path_factory.mktemp("work")
    names = {"MICROTOME_OHIF_DIR": str(place / "none"), "MICROTOME_DICOM_INDEX": str(place / "index.sqlite")}
    return place / "server.log", names


@pytest.fixture
def login(chromium: BrowserContext, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    log, names = work(tmp_path_factory)
    with serving(folder.parent, log, {**names, **LOGIN}) as url, visiting(chromium, url) as visitor:
        visitor.expect_failed_requests = True
        yield visitor


@pytest.fixture
def signed(chromium: BrowserContext, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    log, names = work(tmp_path_factory)
    with (
        serving(folder.parent, log, {**names, **closed_to_strangers(SECRET)}) as url,
        visiting(chromium, url) as visitor,
    ):
        visitor.expect_failed_requests = True
        yield visitor


@pytest.fixture(scope="module")
def url(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log, names = work(tmp_path_factory)
    with serving(folder.parent, log, names) as found:
        yield found


@pytest.fixture
def there(chromium: BrowserContext, url: str) -> Iterator[Visitor]:
    with visiting(chromium, url) as visitor:
        yield visitor


def give(page: Page, token: str) -> None:
    page.get_by_label("Bearer token").fill(token)
    page.get_by_role("button", name="Go on").click()


def test_a_login_is_asked_for_and_used_for_everything(login: Visitor) -> None:
    page = opened(login, "/studies?PatientName=Doe&StudyDescription=stack")
    expect(page.get_by_role("heading", name="This server asks for a login")).to_be_visible()
    give(page, "eve")
    expect(page.get_by_role("heading", name="This server asks for a login")).to_be_visible()
    give(page, "Bearer alice")

    def listed() -> bool:
        page.wait_for_timeout(200)
        if page.get_by_role("button", name="Search").count():
            page.get_by_role("button", name="Search").click()
        return page.locator("tbody tr").count() == 1

    until(listed)  # the server is still indexing
    page.locator("tbody a").click()
    expect(page.locator(".series-card img").first).to_be_visible()
    page.locator(".series-card", has_text="slices").click()
    page.locator(".stack[data-image='1']").wait_for()
    expect(page.locator(".attributes tbody")).to_contain_text("Doe, Jane")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save this object as a DICOM file").click()
    assert Path(download.value.path()).read_bytes()[128:132] == b"DICM"
    assert "alice" not in page.evaluate(
        "JSON.stringify([localStorage, sessionStorage, document.cookie, location.href])"
    )


def test_what_is_broken_is_for_administrators(login: Visitor) -> None:
    page = opened(login, "/admin/dicom")
    give(page, "alice")
    expect(page.get_by_role("heading", name="Not for everybody")).to_be_visible()
    page = opened(login, "/admin/dicom")
    give(page, "bob")
    expect(page.locator("#totals")).to_contain_text("Studies")


def test_signed_links_open_the_pages(signed: Visitor) -> None:
    page = opened(signed, "/studies")
    expect(page.get_by_role("heading", name="This server asks for signed links")).to_be_visible()
    expect(page.get_by_text("microtome sign --path /studies")).to_be_visible()
    command = [sys.executable, "-m", "microtome", "sign", "--path", "/studies", "--secret", SECRET]
    command += ["--base-url", signed.url]
    link = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def listed() -> bool:
        page.goto(link)
        page.locator("body[data-ready=true]").wait_for()
        return page.locator("tbody tr").count() == 50

    until(listed)
    assert "sig=" not in page.url
    page.get_by_label("Description").fill("stack")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.locator("tbody a").click()
    expect(page.locator(".series-card img").first).to_be_visible()
    page.locator(".series-card", has_text="enhanced").click()
    page.locator(".stack[data-image='1']").wait_for()
    page.reload()
    page.locator(".stack[data-image='1']").wait_for()


def test_what_is_broken_is_listed(there: Visitor) -> None:
    page = there.page()

    def listed() -> bool:
        page.goto(f"{there.url}/admin/dicom")
        page.locator("body[data-ready=true]").wait_for()
        return page.locator("tbody tr").count() == 1

    until(listed)
    expect(page.locator("tbody")).to_contain_text("alice/broken.dcm")
    expect(page.locator("tbody .badge")).to_have_text("broken")
    page.get_by_role("button", name="Duplicates").click()
    expect(page.get_by_role("heading", name="Nothing of this kind")).to_be_visible()
    assert page.url.endswith("?kind=duplicate")
    page.reload()
    expect(page.get_by_role("button", name="Duplicates")).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_the_pages(there: Visitor, axe: str, scheme: str) -> None:
    there.expect_failed_requests = True
    page = there.page()
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # pyright: ignore[reportArgumentType]

    def listed() -> bool:
        opened(there, "/studies", page)
        return page.locator("tbody tr").count() == 50

    until(listed)
    places = ["/studies", "/browse/?PatientName=nobody", "/admin/dicom", "/studies?study=1.2.3"]
    places += [series(there, name) for name in ("slices", "report", "heart", "document")]
    places.append(places[4].partition("&series")[0])
    for place in places:
        opened(there, place, page)
        page.wait_for_load_state("networkidle")
        assert violations(page, axe) == "", place
