"""The pages under axe-core, the locked version from npm, in both themes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visitor
from tests.conftest import ROOT

pytestmark = pytest.mark.browser

WEB = ROOT / "src" / "microtome" / "viewer" / "web"


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm to fetch axe-core with")
    work = tmp_path_factory.mktemp("axe")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(WEB / name, work / name)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    if subprocess.run(command, cwd=work, capture_output=True, check=False).returncode:
        pytest.skip("npm cannot fetch axe-core: no connection to its registry")
    return Path(work, "node_modules", "axe-core", "axe.min.js").read_text("utf-8")


def violations(page: Page, axe: str) -> str:
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})")
    return "\n".join(
        f"{rule['id']}: {node['target']} {node.get('failureSummary')}"
        for rule in found["violations"]
        for node in rule["nodes"]
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_catalogue(visit: Visitor, axe: str, scheme: str) -> None:
    visit.expect_failed_requests = True
    page = visit.page()
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # pyright: ignore[reportArgumentType]
    page.goto(f"{visit.url}/")
    expect(page.locator(".card .wrong")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert violations(page, axe) == ""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_channels_planes_and_shapes(looks: Visitor, axe: str, scheme: str) -> None:
    looks.expect_failed_requests = True  # tiles where a set has none
    page = looks.page()
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # pyright: ignore[reportArgumentType]
    looks.slide("stack.ome.tif", "time=1&shapes=section.geojson&style=by:class", page)
    page.keyboard.press("d")
    expect(page.locator(".channel")).to_have_count(2)
    expect(page.locator("#color-by")).to_be_visible()
    page.get_by_role("button", name="Keep as a preset").click()
    assert violations(page, axe) == ""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_viewer(visit: Visitor, axe: str, scheme: str) -> None:
    page = visit.page()
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # pyright: ignore[reportArgumentType]
    visit.slide("cases/first.svs", "x=900&y=700&z=1&r=30&with=cases%2Fsecond.svs", page)
    expect(page.locator(".pane")).to_have_count(2)
    page.keyboard.press("i")
    page.keyboard.press("m")
    page.get_by_text("Properties of the file").click()
    page.wait_for_load_state("networkidle")
    assert violations(page, axe) == ""
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert violations(page, axe) == ""
