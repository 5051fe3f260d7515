"""The page of the scene: four live views over the public API, in Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import httpx
import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import Visitor, serving, visiting

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_spec("slicer_core") is None, reason="slicer-core has no wheel for this Python or machine"),
]

LOADED = 60_000
"""ms in which the scene has made or read what was asked for, on a machine that does other things, too."""
PICTURE = """name => {
  const canvas = document.querySelector(`[data-view="${name}"] canvas`);
  // Of one size: pictures that move have fewer pixels.
  const copy = new OffscreenCanvas(400, 300);
  copy.getContext("2d").drawImage(canvas, 0, 0, 400, 300);
  const { data } = copy.getContext("2d").getImageData(0, 0, 400, 300);
  return [...data.filter((_, i) => i % 4 === 1)];
}"""
STILL = "name => document.querySelector(`[data-view='${name}']`).dataset.kind === 'still'"


@pytest.fixture(scope="module")
def scene_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with a scene and nothing in it."""
    folder = tmp_path_factory.mktemp("data")
    with serving(folder, tmp_path_factory.mktemp("log") / "server.log", {"MICROTOME_SCENE": "true"}) as url:
        yield url


@pytest.fixture
def visitor(chromium: BrowserContext, scene_url: str) -> Iterator[Visitor]:
    """Of an empty scene; any error in the console fails the test."""
    httpx.delete(f"{scene_url}/slicer/mrml", timeout=60).raise_for_status()
    with visiting(chromium, scene_url) as found:
        yield found


@pytest.fixture
def scene(visitor: Visitor) -> Page:
    """The page of the scene, drawn."""
    page = visitor.page()
    page.goto(f"{visitor.url}/scene")
    page.wait_for_selector("body[data-ready=true]")
    return page


def pixels(page: Page, view: str) -> np.ndarray:
    """The green channel of a view once it stands still."""
    page.wait_for_function(STILL, arg=view)
    return np.array(page.evaluate(PICTURE, view))


def change(page: Page, view: str) -> str:
    """How many pictures a view has shown."""
    return page.locator(f'[data-view="{view}"]').get_attribute("data-pictures") or "0"


def test_sample_data_are_shown_in_all_views(scene: Page, tmp_path: Path) -> None:
    page = scene
    page.get_by_role("button", name="CT chest with organs").click()
    expect(page.locator('[data-part="segments"] li')).to_have_count(7, timeout=LOADED)
    expect(page.locator('[data-part="volumes"] input.name')).to_have_value("CTChest", timeout=LOADED)
    for view in ("Red", "Yellow", "Green"):
        assert pixels(page, view).std() > 30
    page.get_by_role("button", name="Measure").click()
    expect(page.locator(".ml").first).to_contain_text("ml", timeout=LOADED)
    page.get_by_label("CTChest organs in 3D").click()
    before = pixels(page, "3D").std()
    page.get_by_role("button", name="Reset").click()
    page.wait_for_function(
        f"() => document.querySelector('[data-view=\"3D\"]').dataset.pictures > {change(page, '3D')}"
    )
    assert abs(pixels(page, "3D").std() - before) > 1
    page.screenshot(path=str(tmp_path / "scene.png"))


def test_wheel_window_and_pan(scene: Page) -> None:
    page = scene
    page.get_by_role("button", name="MR head").click()
    where = page.locator('[data-view="Red"] .where')
    expect(where).to_have_text("0.6 mm", timeout=LOADED)
    first = pixels(page, "Red")
    box = page.locator('[data-view="Red"] canvas').bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    for _ in range(10):
        page.mouse.wheel(0, -50)
    expect(where).to_have_text("13.6 mm", timeout=LOADED)
    scrolled = pixels(page, "Red")
    assert np.abs(scrolled - first).mean() > 1
    level = page.get_by_label("Level", exact=True)
    before = float(level.input_value())
    page.mouse.down()
    page.mouse.move(x, y + 80, steps=8)
    page.mouse.up()
    expect(level).not_to_have_value(str(before), timeout=LOADED)
    page.get_by_role("button", name="Pan", exact=True).click()
    page.wait_for_function(STILL, arg="Red")
    still = pixels(page, "Red")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 100, y, steps=5)
    page.mouse.up()
    page.wait_for_function(
        f"() => document.querySelector('[data-view=\"Red\"]').dataset.pictures > {change(page, 'Red')}"
    )
    assert np.abs(pixels(page, "Red") - still).mean() > 1


def test_a_length_is_measured_by_two_clicks(scene: Page) -> None:
    page = scene
    page.get_by_role("button", name="MR head").click()
    expect(page.locator('[data-view="Red"] .where')).to_have_text("0.6 mm", timeout=LOADED)
    page.wait_for_function(STILL, arg="Red")
    page.get_by_role("button", name="Line").click()
    box = page.locator('[data-view="Red"] canvas').bounding_box()
    assert box is not None
    pitch = 256 / min(box["width"], box["height"])
    for share in (0.4, 0.6):
        page.mouse.click(box["x"] + box["width"] * share, box["y"] + box["height"] / 2)
    told = page.locator('[data-part="markups"] .hint')
    expect(told).to_contain_text("length", timeout=LOADED)
    length = float((told.text_content() or "").split()[1])
    assert length == pytest.approx(0.2 * box["width"] * pitch, rel=0.03)
    page.locator('[data-part="markups"]').get_by_label("Remove").click()
    expect(told).to_contain_text("No markups", timeout=LOADED)


def test_files_are_loaded_from_the_page(scene: Page, visitor: Visitor, tmp_path: Path) -> None:
    page = scene
    nrrd = tmp_path / "ramp.nrrd"
    values = np.tile(np.arange(32, dtype=np.int16) * 30, (8, 32, 1))
    header = (
        "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 32 32 8\n"
        "space directions: (2,0,0) (0,2,0) (0,0,2)\nkinds: domain domain domain\nendian: little\nencoding: raw\n"
        "space origin: (-31,-31,-7)\n\n"
    )
    nrrd.write_bytes(header.encode() + values.tobytes())
    page.locator("#files").set_input_files(nrrd)
    expect(page.locator('[data-part="volumes"] input.name')).to_have_value("ramp", timeout=LOADED)
    assert pixels(page, "Red").std() > 30
    broken = tmp_path / "broken.nrrd"
    broken.write_bytes(header.encode() + b"too little")
    visitor.expect_failed_requests = True
    page.locator("#files").set_input_files(broken)
    expect(page.locator(".toast")).to_contain_text("broken.nrrd", timeout=LOADED)
    expect(page.locator('[data-part="volumes"] input.name')).to_have_count(1, timeout=LOADED)


def test_a_change_by_a_program_is_seen(scene: Page, scene_url: str) -> None:
    page = scene
    httpx.post(f"{scene_url}/scene/v1/samples/MRHead", timeout=60).raise_for_status()
    expect(page.locator('[data-part="volumes"] input.name')).to_have_value("MRHead", timeout=LOADED)
    assert pixels(page, "Green").std() > 10
