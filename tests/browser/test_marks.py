"""DICOM annotations and segmentations over slides: drawn where they belong, named, switched on and off."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import Visitor, visiting
from tests.browser.screen import close, color_at, until
from tests.browser.test_shapes import on_screen
from tests.dicommaker import message, sent, written
from tests.overlaymaker import Marked, bulk_annotations, images, segmentation
from tests.serving import served
from tests.serving import until as waited

pytestmark = pytest.mark.browser

SLIDE, WIDTH, HEIGHT = "small.svs", 2220, 2967
MIDDLE = (1110.0, 1480.0)
VIEW = f"x={MIDDLE[0]:g}&y={MIDDLE[1]:g}&z=0.5"
TUMOUR, STROMA = (47, 155, 255), (255, 159, 28)


def circle(x: float, y: float, radius: float) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    angles = np.arange(24) * (2 * np.pi / 24)
    return np.stack((x + radius * np.cos(angles), y + radius * np.sin(angles)), axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def marked_url(testdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of a slide with annotations and a segmentation of its series that no file holds."""
    root = tmp_path_factory.mktemp("marks")
    (root / "data").mkdir()
    shutil.copy(testdata / "svs" / "CMU-1-Small-Region.svs", root / "data" / SLIDE)
    options = {"dicomweb": True, "dicom_index": str(root / "index.sqlite"), "dicom_store": "received"}
    with served(root / "data", **options) as client:
        waited(lambda: client.get("/dicom/series?Modality=SM").body not in {b"", b"[]"})
        (source,) = images(client)
        cells = [circle(x, y, 14) for x in range(1300, 2000, 60) for y in range(700, 1300, 60)]
        groups = [
            Marked("Large cells", "POLYGON", [circle(1500, 1900, 150)], (200, 30, 60), [70685.8]),
            Marked("Small cells", "POLYGON", cells, (20, 140, 60), [float(number) for number in range(len(cells))]),
            Marked("Mitoses", "POINT", [np.array([[600.0 + 90 * n, 2300.0]]) for n in range(5)]),
        ]
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[900:1700, 300:1000] = 1
        mask[1200:1500, 700:900] = 2
        files = bulk_annotations(source, groups), segmentation(source, mask, names=("Tumour", "Stroma"))
        assert sent(client, message(*map(written, files))).status == 200
        yield f"http://127.0.0.1:{client.port}"


@pytest.fixture
def marked(chromium: BrowserContext, marked_url: str) -> Iterator[Visitor]:
    with visiting(chromium, marked_url) as visitor:
        yield visitor


def opened(visit: Visitor, fragment: str = VIEW) -> Page:
    page = visit.slide(SLIDE, fragment)
    for canvas in (page.locator("canvas.labels"), page.locator("canvas.annotations")):
        expect(canvas).to_have_attribute("data-settled", "true", timeout=100_000)
    if page.locator("#panel-display").is_hidden():
        page.keyboard.press("d")
    return page


def at(page: Page, x: float, y: float, zoom: float = 0.5) -> tuple[float, float]:
    return on_screen(page, x, y, zoom=zoom, center=MIDDLE)


def sees(page: Page, x: float, y: float, wanted: tuple[int, int, int], tolerance: int = 12) -> None:
    seen = until(page, lambda: color_at(page, *at(page, x, y)), lambda color: close(color, wanted, tolerance), 200)
    assert close(seen, wanted, tolerance), (seen, wanted)


def test_marks_lie_where_they_were_made(marked: Visitor) -> None:
    page = opened(marked)
    page.get_by_label("Opacity of Regions of a model").fill("1")
    sees(page, 500, 1000, TUMOUR)
    sees(page, 800, 1300, STROMA)
    sees(page, 330, 930, TUMOUR)
    before = color_at(page, *at(page, 270, 870))
    assert not close(before, TUMOUR)
    # The line of the large cell, and of a small one.
    page.get_by_label("Show Regions of a model").uncheck()
    red, green, blue = color_at(page, *at(page, 1650, 1900), size=1)
    assert red > 150 > green + 20, (red, green, blue)


def test_segments_and_groups_are_chosen_one_by_one(marked: Visitor) -> None:
    page = opened(marked)
    page.get_by_label("Opacity of Regions of a model").fill("1")
    sees(page, 800, 1300, STROMA)
    page.get_by_label("Show Stroma").uncheck()
    seen = until(page, lambda: color_at(page, *at(page, 800, 1300)), lambda color: not close(color, STROMA))
    assert not close(seen, STROMA)
    assert not close(seen, TUMOUR)
    sees(page, 500, 1000, TUMOUR)
    line = at(page, 1650, 1900)
    with_line = color_at(page, *line, size=1)
    page.get_by_label("Show Large cells").uncheck()
    without = until(page, lambda: color_at(page, *line, size=1), lambda color: not close(color, with_line, 40))
    assert not close(without, with_line, 40)
    page.get_by_label("Colour of Small cells").evaluate(
        "(input) => { input.value = '#ff00ff'; input.dispatchEvent(new Event('input')); }"
    )
    expect(page.get_by_label("Colour of Small cells")).to_have_value("#ff00ff")


def test_pointing_tells_names_and_measurements(marked: Visitor) -> None:
    page = opened(marked)
    cards = page.locator(".shape-card:visible")
    page.mouse.move(*at(page, 1500, 1900))
    expect(cards).to_contain_text("Large cells")
    expect(cards).to_contain_text("70685.8")
    expect(cards).to_contain_text(re.compile("square micrometer"))
    page.mouse.move(*at(page, 800, 1300))
    expect(cards).to_contain_text("Stroma")
    expect(cards).to_contain_text("Neoplasm")
    page.mouse.move(*at(page, 100, 100))
    expect(cards).to_have_count(0)


def test_the_panel_says_what_there_is(marked: Visitor, tmp_path: Path) -> None:
    page = opened(marked)
    panel = page.locator("#marks-section")
    for text in (
        "Nuclei of a model",
        "126 annotations in 3 groups",
        "Small cells",
        "120 polygons",
        "5 points",
        "Regions of a model",
    ):
        expect(panel).to_contain_text(text)
    for number, theme in enumerate(("light", "dark")):
        page.evaluate("(theme) => (document.documentElement.dataset.theme = theme)", theme)
        page.screenshot(path=tmp_path / f"marks-{number}.png")
