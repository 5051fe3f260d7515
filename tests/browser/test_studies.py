"""The page of studies: search, series, and a stack whose pixels are those pydicom computes."""

# ruff: noqa: RUF001  (the pages write dashes between numbers)

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen
from zipfile import ZipFile

import numpy as np
import pydicom
import pytest
from playwright.sync_api import BrowserContext, Page, expect
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from tests.browser.conftest import Visitor, serving, visiting
from tests.browser.screen import box, color_at, picture
from tests.browser.slides import write_svs
from tests.browser.studydata import BLOCKS, GREY, write
from tests.serving import until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies") / "dicom"
    folder.mkdir()
    write_svs(folder.parent / "slides" / "section.svs")
    return write(folder)


@pytest.fixture(scope="module")
def url(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    work = tmp_path_factory.mktemp("work")
    environment = {"MICROTOME_OHIF_DIR": str(work / "none"), "MICROTOME_DICOM_INDEX": str(work / "index.sqlite")}
    with serving(folder.parent, work / "server.log", environment) as found:
        until(lambda: len(asked(found, "StudyDescription=section.svs")) == 1)
        until(lambda: len(asked(found, "StudyDescription=damaged")) == 1)
        yield found


@pytest.fixture
def there(chromium: BrowserContext, url: str) -> Iterator[Visitor]:
    with visiting(chromium, url) as visitor:
        yield visitor


def asked(url: str, query: str, level: str = "studies") -> list[dict[str, Any]]:
    with urlopen(f"{url}/dicom/{level}?{query}", timeout=30) as answer:
        return json.load(answer)


def opened(visitor: Visitor, path: str, page: Page | None = None) -> Page:
    page = page or visitor.page()
    page.goto(f"{visitor.url}{path}")
    page.locator("body[data-ready=true]").wait_for()
    return page


def series(visitor: Visitor, name: str, extra: str = "") -> str:
    """The path of the page of a series."""
    (found,) = asked(visitor.url, f"SeriesDescription={quote(name)}", "series")
    return f"/studies?study={found['0020000D']['Value'][0]}&series={found['0020000E']['Value'][0]}{extra}"


def at(page: Page, image: int) -> None:
    page.locator(f".stack[data-image='{image}']").wait_for()


# -- search


def test_the_list_has_pages(there: Visitor) -> None:
    page = opened(there, "/studies")
    expect(page.locator("tbody tr")).to_have_count(50)
    expect(page.get_by_role("status")).to_have_text("1–50 of more")
    first = page.locator("tbody tr").first.inner_text()
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_role("status")).to_contain_text("51–")
    assert 0 < page.locator("tbody tr").count() < 50
    assert page.locator("tbody tr").first.inner_text() != first
    page.go_back()
    expect(page.get_by_role("status")).to_have_text("1–50 of more")
    assert page.locator("tbody tr").first.inner_text() == first


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"Patient": "roe, number 07"}, 1),
        ({"Patient": "R?e^Number 0*"}, 10),
        ({"Patient ID": "P-1", "Modality": "us"}, 1),
        ({"Patient ID": "P-1", "Modality": "ct, sr"}, 3),
        ({"Description": "many 1"}, 10),
        ({"From": "2023-03-01", "To": "2023-04-30"}, 10),
        ({"Accession": "A1", "Description": "grey"}, 1),
        ({"Patient": "nobody"}, 0),
    ],
)
def test_all_fields_that_are_filled_have_to_match(there: Visitor, fields: dict[str, str], count: int) -> None:
    page = opened(there, "/studies")
    for name, value in fields.items():
        page.get_by_label(name, exact=True).fill(value)
    page.keyboard.press("Enter")
    if not count:
        expect(page.get_by_role("heading", name="No study matches")).to_be_visible()
        page.get_by_role("link", name="Show all studies").click()
        expect(page.locator("tbody tr")).to_have_count(50)
        return
    expect(page.locator("tbody tr")).to_have_count(count)
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(count)
    for name, value in fields.items():
        assert page.get_by_label(name, exact=True).input_value() == value
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("tbody tr")).to_have_count(50)


def test_browse_without_ohif_says_how_to_get_it(there: Visitor) -> None:
    page = opened(there, "/browse/")
    notice = page.locator("#notice")
    expect(notice).to_contain_text("microtome ohif install")
    assert notice.inner_text().count(".") == 1, "one sentence"
    page.get_by_label("Description").fill("grey")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.locator("tbody a").click()
    expect(page.get_by_role("heading", name="Doe, Jane")).to_be_visible()
    assert page.url.startswith(f"{there.url}/browse/?")
    expect(page.get_by_role("link", name="Open in OHIF")).to_have_count(0)
    expect(notice).to_be_hidden()


# -- a study


def test_a_study_shows_its_series(there: Visitor) -> None:
    there.expect_failed_requests = True  # thumbnails of what has no picture
    page = opened(there, "/studies?StudyDescription=others")
    page.locator("tbody a").click()
    expect(page.get_by_role("heading", name="Doe, Jane")).to_be_visible()
    cards = page.locator(".series-card")
    expect(cards).to_have_count(4)
    expect(page.locator(".study-facts")).to_contain_text("1970-02-03")
    picture = page.locator(".series-card", has_text="colours").locator("img")
    expect(picture).to_be_visible()
    assert picture.evaluate("it => it.naturalWidth") > 100
    expect(page.locator(".series-card", has_text="report").locator(".sign")).to_have_text("SR")
    page.locator(".series-card", has_text="report").click()
    expect(page.get_by_role("heading", name="Findings of the chest")).to_be_visible()
    page.get_by_role("link", name="Back to the study").click()
    expect(cards).to_have_count(4)


def test_a_study_is_saved(there: Visitor, folder: Path) -> None:
    page = opened(there, "/studies?StudyDescription=grey")
    page.locator("tbody a").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Save", exact=True).click()
    with ZipFile(download.value.path()) as files:
        found = {
            pydicom.dcmread(files.open(name)).SOPInstanceUID for name in files.namelist() if "DICOMDIR" not in name
        }
    assert found == {pydicom.dcmread(folder / f"{name}.dcm").SOPInstanceUID for name in GREY}


# -- a stack


def seen(page: Page) -> np.ndarray[Any, Any]:
    """The grey of each block on the screen; the image is a square in the middle of the stage."""
    left, top, width, height = box(page.locator("canvas.picture"))
    side = min(width, height)
    step = side / BLOCKS
    x0, y0 = left + (width - side) / 2, top + (height - side) / 2
    found = [
        color_at(page, x0 + (column + 0.5) * step, y0 + (row + 0.35) * step)
        for row in range(1, BLOCKS - 1)
        for column in range(BLOCKS)
    ]
    return np.array(found, int).reshape(BLOCKS - 2, BLOCKS, 3)


def expected(path: Path) -> np.ndarray[Any, Any]:
    """What pydicom makes of the blocks, 0 to 255."""
    found = pydicom.dcmread(path)
    values = apply_modality_lut(found.pixel_array, found).astype(float)
    if "WindowCenter" in found:
        shown = apply_voi_lut(apply_modality_lut(found.pixel_array, found), found, index=0)
        low, high = {"signed": (-1560, 4476), "inverse": (0, 255), "sigmoid": (0, 65535), "exact": (-128, 127)}[
            path.stem
        ]
        if path.stem == "signed":  # pydicom scales to the range of the stored bits after the rescale
            low, high = -(2**15) * 1.5 - 24, (2**15 - 1) * 1.5 - 24
        grey = (shown - low) / (high - low) * 255
    else:
        grey = (values - values.min()) / (values.max() - values.min()) * 255
    if found.PhotometricInterpretation == "MONOCHROME1":
        grey = 255 - grey
    step = found.Rows // BLOCKS
    return np.clip(grey, 0, 255)[step // 2 :: step, step // 2 :: step][1:-1]


@pytest.mark.parametrize("name", GREY)
def test_grey_values_are_those_of_pydicom(there: Visitor, folder: Path, name: str) -> None:
    page = opened(there, series(there, name))
    at(page, 1)
    found = seen(page)
    assert np.ptp(found, axis=2).max() <= 1, "grey"
    assert np.abs(found[..., 0] - expected(folder / f"{name}.dcm")).max() <= 3
    assert np.ptp(found) > 150


def test_the_window_is_changed_by_hand_and_by_presets(there: Visitor) -> None:
    page = opened(there, series(there, "signed"))
    at(page, 1)
    said = page.locator(".bottom-left")
    expect(said).to_contain_text("W 400  L 40")
    assert page.get_by_label("Window").locator("option").all_inner_texts()[:3] == ["SOFT", "WIDE", "Full range"]
    before = seen(page)
    page.get_by_label("Window").select_option(label="WIDE")
    expect(said).to_contain_text("W 4000  L 400")
    assert np.abs(seen(page) - before).max() > 60
    page.locator("canvas.picture").click(position={"x": 300, "y": 300})
    page.keyboard.press("5")
    expect(said).to_contain_text("W 1500  L -600")
    page.mouse.down()
    page.mouse.move(500, 400)
    page.mouse.move(560, 430, steps=4)
    page.mouse.up()
    expect(said).not_to_contain_text("W 1500  L -600")
    expect(page.get_by_label("Window")).to_have_value("-1")
    page.keyboard.press("r")
    expect(said).to_contain_text("W 400  L 40")
    np.testing.assert_array_equal(seen(page), before)
    page.keyboard.press("i")
    assert np.abs(255 - seen(page) - before).max() <= 1
    expect(page.get_by_role("button", name="Invert (I)")).to_have_attribute("aria-pressed", "true")


def test_wheel_keys_and_slider_go_through_the_stack(there: Visitor) -> None:
    page = opened(there, series(there, "slices"))
    at(page, 1)
    first = seen(page)
    canvas = page.locator("canvas.picture")
    canvas.hover()
    for image in (2, 3):
        page.mouse.wheel(0, 100)
        at(page, image)
    assert seen(page).mean() > first.mean() * 2
    page.keyboard.press("End")
    at(page, 12)
    expect(page.locator(".bottom-right")).to_have_text("12 / 12")
    page.keyboard.press("ArrowDown")
    at(page, 12)
    page.keyboard.press("Home")
    at(page, 1)
    np.testing.assert_array_equal(seen(page), first)
    page.get_by_label("Image of the series").fill("7")
    at(page, 7)
    page.reload()
    at(page, 7)
    expect(page.locator(".letter.left")).to_have_text("R")
    expect(page.locator(".letter.top")).to_have_text("A")


def test_pixels_that_are_not_square_are_shown_as_tall_as_they_are(there: Visitor) -> None:
    page = opened(there, series(there, "slices", "&image=12"))
    at(page, 12)
    shown = picture(page.locator("canvas.picture"))[50:-50].astype(int)  # without what is said at its edges
    lit = np.flatnonzero(shown[:, :, 0].mean(axis=0) > 20)
    height = box(page.locator("canvas.picture"))[3]
    width = lit.max() - lit.min() + 1
    assert width == pytest.approx(height / 2, rel=0.2)


def test_zooming_moving_and_reading_values(there: Visitor, folder: Path) -> None:
    page = opened(there, series(there, "signed"))
    at(page, 1)
    before = seen(page)
    left, top, width, height = box(page.locator("canvas.picture"))
    page.mouse.move(left + width / 2 + 3, top + height / 2 + 3)
    found = pydicom.dcmread(folder / "signed.dcm")
    value = float(apply_modality_lut(found.pixel_array, found)[96, 96])
    expect(page.locator(".top-right")).to_contain_text(f"96, 96: {value:g} HU")
    page.keyboard.press("+")
    page.keyboard.press("+")
    zoomed = seen(page)
    assert np.abs(zoomed - before).max() > 20
    expect(page.locator(".top-right")).to_contain_text("96, 96")
    page.keyboard.down("Shift")
    page.mouse.down()
    page.mouse.move(left + width / 2 + 90, top + height / 2 + 60, steps=3)
    page.mouse.up()
    page.keyboard.up("Shift")
    assert np.abs(seen(page) - zoomed).max() > 20
    page.locator("canvas.picture").dblclick()
    np.testing.assert_array_equal(seen(page), before)


def test_frames_have_windows_of_their_own_and_are_played(there: Visitor) -> None:
    page = opened(there, series(there, "enhanced"))
    at(page, 1)
    pixels = np.linspace(0, 1000, BLOCKS * BLOCKS).round().reshape(BLOCKS, BLOCKS)[1:-1]
    for image, values in ((1, pixels - 100), (2, (pixels + 500) * 2 - 100), (3, pixels[:, ::-1] * 3 - 100)):
        at(page, image)
        wanted = np.clip(((values - 599.5) / 1499 + 0.5) * 255, 0, 255)
        assert np.abs(seen(page)[..., 0] - wanted).max() <= 3
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Home")
    at(page, 1)
    page.get_by_role("button", name="Play").click()
    at(page, 3)
    at(page, 1)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_colours_are_shown_as_they_are(there: Visitor) -> None:
    page = opened(there, series(there, "colours"))
    at(page, 1)
    found = seen(page)
    values = np.linspace(0, 255, BLOCKS * BLOCKS).round().reshape(BLOCKS, BLOCKS)[1:-1]
    wanted = np.stack([values, values[::-1, ::-1], np.full_like(values, 80)], -1)
    assert np.abs(found - wanted).max() <= 8
    expect(page.get_by_label("Window")).to_be_disabled()


def test_what_is_damaged_is_said(there: Visitor) -> None:
    there.expect_failed_requests = True
    page = opened(there, series(there, "damaged"))
    expect(page.get_by_role("heading", name="This image cannot be shown")).to_be_visible()
    expect(page.locator(".attributes tbody")).to_contain_text("damaged")


@pytest.mark.parametrize("path", ["/studies?study=1.2.3", "/studies?study=1.2.3&series=4.5", "/studies?study=%3Cb%3E"])
def test_what_is_not_there_is_said(there: Visitor, path: str) -> None:
    there.expect_failed_requests = True
    page = opened(there, path)
    expect(page.get_by_role("heading", name="This study cannot be shown")).to_be_visible()


# -- beside and instead of pictures


def test_attributes_are_searched(there: Visitor) -> None:
    page = opened(there, series(there, "enhanced"))
    at(page, 1)
    table = page.locator(".attributes tbody")
    expect(table).to_contain_text("Patient's Name")
    expect(table).to_contain_text("Doe, Jane")
    tags = [text[:9] for text in table.locator(".depth-0 small").all_inner_texts()]
    assert tags == sorted(tags)
    search = page.get_by_label("Search attributes")
    search.fill("rescale slope")
    expect(table.locator("tr.depth-2")).to_have_count(3)
    expect(table.locator("tr.depth-0")).to_have_count(1)
    search.fill("(0028,0010)")
    expect(table.locator("tr")).to_have_count(1)
    expect(table).to_contain_text("192")
    search.fill("no such thing")
    expect(page.locator(".attributes [role=status]")).to_have_text("No attribute matches.")
    page.locator("canvas.picture").click()
    page.keyboard.press("d")
    expect(page.locator(".panel")).to_be_hidden()


def test_a_report_is_a_text(there: Visitor) -> None:
    page = opened(there, series(there, "report"))
    shown = page.locator(".report")
    expect(shown).to_contain_text("Impression: <b>Nodule</b> of the left lung")
    expect(shown).to_contain_text("Diameter: 12.5 millimetre")
    expect(shown.locator("b")).to_have_count(0)


def test_a_document_is_opened_or_saved(there: Visitor) -> None:
    page = opened(there, series(there, "document"))
    expect(page.get_by_role("heading", name="Letter to the doctor")).to_be_visible()
    address = page.get_by_role("link", name="Open the PDF").evaluate("it => it.href")
    with urlopen(address, timeout=30) as answer:
        assert answer.headers["content-type"] == "application/pdf"
        assert answer.read().startswith(b"%PDF-1.4 test")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save", exact=True).click()
    assert download.value.suggested_filename.endswith(".pdf")
    assert Path(download.value.path()).read_bytes().startswith(b"%PDF-1.4 test")


def test_a_waveform_is_drawn(there: Visitor) -> None:
    page = opened(there, series(there, "heart"))
    expect(page.locator(".waveforms h2")).to_have_text("RHYTHM · 2 s · 250 Hz")
    curves = page.locator(".channel polyline")
    expect(curves).to_have_count(2)
    expect(page.locator(".channel").first).to_contain_text("Lead I")
    expect(page.locator(".channel").first).to_contain_text("-2500 to 2500")
    points = [
        [float(point.split(",")[1]) for point in (curve.get_attribute("points") or "").split()]
        for curve in curves.all()
    ]
    assert np.asarray(np.corrcoef(points))[0, 1] < -0.99, "one is the other upside down"


def test_a_slide_leads_to_the_viewer_of_slides(there: Visitor) -> None:
    page = opened(there, "/studies?StudyDescription=section.svs")
    page.locator("tbody a").click()
    page.locator(".series-card").click()
    at(page, 1)
    page.get_by_role("link", name="Open as a slide").click()
    page.locator("body[data-ready=true]").wait_for()
    assert page.url.partition("#")[0] == f"{there.url}/view/slides%2Fsection.svs"


def test_an_object_is_saved_as_it_is_stored(there: Visitor, folder: Path) -> None:
    page = opened(there, series(there, "twelve"))
    at(page, 1)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save this object as a DICOM file").click()
    saved = pydicom.dcmread(download.value.path())
    assert saved.PixelData == pydicom.dcmread(folder / "twelve.dcm").PixelData
