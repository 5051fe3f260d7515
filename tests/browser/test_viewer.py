"""The viewer as a person uses it."""

# ruff: noqa: RUF001  (the pages write the multiplication sign)

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Dialog, Page, Route, expect

from tests.browser.conftest import Visitor
from tests.browser.screen import box, close, color_at, picture, until
from tests.browser.slides import HEIGHT, HOSTILE, MPP, QUADRANTS, WIDTH

pytestmark = pytest.mark.browser

CENTER = f"x={WIDTH / 2}&y={HEIGHT / 2}&z=1"
"""One slide px is one px of the screen, the middle of the slide in the middle of the stage."""


def middle(page: Page) -> tuple[float, float]:
    left, top, width, height = box(page.locator(".pane-stage").first)
    return left + width / 2, top + height / 2


def settled(page: Page, x: float, y: float, wanted: tuple[int, int, int]) -> tuple[int, int, int]:
    return until(page, lambda: color_at(page, x, y), lambda color: close(color, wanted))


def magnification(page: Page) -> str:
    return page.locator(".magnify-now").inner_text()


def test_draws_the_slide_in_its_colours_and_places(visit: Visitor) -> None:
    page = visit.slide("section.svs", CENTER)
    x, y = middle(page)
    for (column, row), color in QUADRANTS.items():
        at = x + (100 if column else -100), y + (100 if row else -100)
        seen = settled(page, *at, color)
        assert close(seen, color), ((column, row), seen)


@pytest.mark.parametrize("zoom", [0.3, 1.0, 3.7])
def test_no_padding_shows_at_the_edge(visit: Visitor, zoom: float) -> None:
    """Around the bottom right corner there is the last quarter of the slide, the stage, and nothing else."""
    page = visit.slide("section.svs", f"x={WIDTH}&y={HEIGHT}&z={zoom}")
    x, y = middle(page)
    inside, outside = QUADRANTS[1, 1], color_at(page, x + 60, y + 60)
    assert close(settled(page, x - 20, y - 20, inside), inside)
    page.wait_for_load_state("networkidle")
    pixels = picture(page)[round(y) - 40 : round(y) + 40, round(x) - 40 : round(x) + 40].astype(int)
    low, high = np.minimum(inside, outside) - 45, np.maximum(inside, outside) + 45  # JPEG rings at an edge
    assert ((pixels >= low) & (pixels <= high)).all(), "a colour that is neither slide nor stage"
    assert close(tuple(pixels[36, 36]), inside, 45)
    assert close(tuple(pixels[44, 44]), outside, 6)


def test_stored_tiles_of_the_level_that_fits_are_asked_for(visit: Visitor) -> None:
    page = visit.page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/tiles/" in request.url else None)
    visit.slide("section.svs", CENTER, page)
    page.wait_for_load_state("networkidle")
    assert asked
    assert all(re.search(r"/tiles/section\.svs/[01]/\d+/\d+\.jpg$", url) for url in asked)
    assert len(asked) == len(set(asked))
    assert any("/0/" in url for url in asked)


def test_magnification_buttons_and_scale_bar(visit: Visitor) -> None:
    page = visit.slide("section.svs")
    expect(page.get_by_role("button", name="Fit the whole slide")).to_have_attribute("aria-pressed", "true")
    for name, micrometres, width in (("20×", 50, 50 / MPP), ("10×", 100, 100 / MPP / 2)):
        page.get_by_role("button", name=f"Magnification {name}", exact=True).click()
        expect(page.locator(".magnify-now")).to_have_text(name)
        expect(page.locator(".scale-text")).to_have_text(f"{micrometres} µm")
        seen = until(
            page, lambda: box(page.locator(".scale-bar"))[2], lambda value, width=width: abs(value - width) < 1
        )
        assert seen == pytest.approx(width, abs=1)
    page.get_by_role("button", name="Fit the whole slide").click()
    expect(page.get_by_role("button", name="Fit the whole slide")).to_have_attribute("aria-pressed", "true")


def test_without_a_spacing_there_are_pixels_and_percent(visit: Visitor) -> None:
    page = visit.slide("plain.tif")
    expect(page.locator(".scale-text")).to_contain_text("px")
    expect(page.locator(".magnify-now")).to_contain_text("%")


def test_the_pointer_is_read_in_px_and_micrometres(visit: Visitor) -> None:
    page = visit.slide("section.svs", CENTER)
    x, y = middle(page)
    page.mouse.move(x - 25.5, y + 50.5)
    expect(page.locator("#readout-px")).to_have_text("2,024, 1,550 px")
    expect(page.locator("#readout-um")).to_have_text("1.01 mm, 775 µm")
    page.mouse.move(20, 20)
    expect(page.locator("#readout")).to_be_hidden()


def test_a_link_reopens_the_same_view(visit: Visitor) -> None:
    page = visit.slide("section.svs", CENTER)
    page.get_by_role("button", name="Magnification 10×", exact=True).click()
    page.keyboard.press("r")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".magnify-now")).to_have_text("10×")
    page.wait_for_url(re.compile("z=0.5.*r=90"))
    page.get_by_role("button", name="Copy a link to this view").click()
    expect(page.locator(".toast")).to_contain_text(re.compile("link", re.I))
    link = page.url
    again = visit.page()
    again.goto(link)
    again.locator("body[data-ready=true]").wait_for()
    expect(again.locator(".magnify-now")).to_have_text("10×")
    expect(again.locator("#turned")).to_contain_text("90°")
    assert view(again) == pytest.approx(view(page), abs=0.2)


def view(page: Page) -> list[float]:
    return page.evaluate(
        """(width) => {
          const { viewport } = [...OpenSeadragon._viewers.values()][0];
          const center = viewport.getCenter(false);
          return [center.x * width, center.y * width, viewport.getZoom(false), viewport.getRotation(false)];
        }""",
        WIDTH,
    )


def test_rotation_turns_the_picture_and_comes_back(visit: Visitor) -> None:
    page = visit.slide("section.svs", CENTER)
    x, y = middle(page)
    page.get_by_role("button", name="Turn right").click()
    color = QUADRANTS[0, 1]  # bottom left comes to the top left
    assert close(settled(page, x - 100, y - 100, color), color)
    page.locator("#turned").click()
    color = QUADRANTS[0, 0]
    assert close(settled(page, x - 100, y - 100, color), color)
    expect(page.locator("#turned")).to_be_hidden()


def test_a_slanted_view_shows_the_right_tiles(visit: Visitor) -> None:
    """Every px of a view turned by 30° has the colour of its quarter: no tile stands in for another."""
    page = visit.slide("section.svs", f"{CENTER}&r=30")
    x, y = middle(page)
    angle = np.deg2rad(30)
    expected: dict[tuple[float, float], tuple[int, int, int]] = {}
    for right in range(-250, 251, 50):
        for down in range(-200, 201, 50):
            across = right * np.cos(angle) + down * np.sin(angle)
            along = -right * np.sin(angle) + down * np.cos(angle)
            if min(abs(across), abs(along)) > 8:
                expected[x + right, y + down] = QUADRANTS[int(across > 0), int(along > 0)]
    assert close(settled(page, x - 210, y - 210, QUADRANTS[0, 0]), QUADRANTS[0, 0])
    page.wait_for_load_state("networkidle")
    shot = picture(page)
    wrong = {
        at: tuple(shot[round(at[1]), round(at[0])])
        for at, color in expected.items()
        if not close(tuple(int(v) for v in shot[round(at[1]), round(at[0])]), color)
    }
    assert not wrong


def test_measures_lengths_and_areas(visit: Visitor) -> None:
    page = visit.slide("section.svs", CENTER)
    page.get_by_role("button", name="About this slide").click()
    x, y = middle(page)
    page.keyboard.press("m")
    expect(page.locator("#hint")).to_be_visible()
    page.mouse.click(x - 50, y)
    page.mouse.click(x + 50, y)
    page.keyboard.press("a")
    for right, down in ((0, 60), (100, 60), (100, 160), (0, 160)):
        page.mouse.click(x + right, y + down)
    page.keyboard.press("Enter")
    measured = page.locator("#measurements strong")
    expect(measured).to_have_count(2)
    length, area = measured.all_inner_texts()
    assert length == "50.0 µm"
    assert area == "2,500 µm²"
    expect(page.locator("#measurements")).to_contain_text("perimeter 200 µm")
    page.reload()
    expect(measured).to_have_text([length, area])
    page.get_by_role("button", name="Remove length 50.0 µm").click()
    expect(measured).to_have_text([area])
    page.get_by_role("button", name="Remove all").click()
    expect(page.locator("#measure-hint")).to_be_visible()


def test_measures_without_a_mouse(visit: Visitor) -> None:
    page = visit.slide("section.svs", CENTER)
    page.get_by_role("button", name="About this slide").click()
    page.locator(".openseadragon-canvas").focus()
    page.keyboard.press("m")
    page.keyboard.press("Space")
    before = view(page)
    page.keyboard.press("ArrowRight")
    until(
        page,
        lambda: page.evaluate("[...OpenSeadragon._viewers.values()][0].viewport.getCenter(true).x * 4100"),
        lambda now: abs(now - view(page)[0]) < 0.01,
    )
    page.keyboard.press("Space")
    expected = (view(page)[0] - before[0]) * MPP
    assert expected > 10
    text = page.locator("#measurements strong").inner_text()
    assert float(text.split()[0]) == pytest.approx(expected, rel=0.02)


def test_escape_drops_the_drawing_first_and_the_tool_next(visit: Visitor) -> None:
    page = visit.slide("section.svs", CENTER)
    x, y = middle(page)
    page.keyboard.press("m")
    page.mouse.click(x, y)
    expect(page.locator(".drawing .draft")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator(".drawing .draft")).to_have_count(0)
    expect(page.locator("#tool-line")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    expect(page.locator("#tool-move")).to_have_attribute("aria-pressed", "true")


def test_saves_the_view_as_a_picture(visit: Visitor, tmp_path: Path) -> None:
    page = visit.slide("section.svs", CENTER)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the view as a picture").click()
    assert re.fullmatch(r"section-x\d+-y\d+\.png", download.value.suggested_filename)
    download.value.save_as(tmp_path / "view.png")
    saved = np.asarray(Image.open(tmp_path / "view.png").convert("RGB"))
    _, _, width, height = box(page.locator(".pane-stage"))
    assert saved.shape[:2] == (round(height), round(width))
    for (column, row), color in QUADRANTS.items():
        at = saved[round(height / 2) + (100 if row else -100), round(width / 2) + (100 if column else -100)]
        assert close(tuple(int(value) for value in at), color)
    corner = saved[-70:, :200].reshape(-1, 3)
    assert (corner.min(axis=1) > 250).any(), "the scale bar is white on dark"


def test_compares_two_slides_that_move_together(visit: Visitor) -> None:
    visit.expect_failed_requests = True  # the list holds a broken slide
    page = visit.slide("cases/first.svs", CENTER)
    page.keyboard.press("c")
    page.get_by_label("Search all slides").fill("cases/")
    page.get_by_role("button", name="second.svs").click()
    scales = page.locator(".scale-text")
    expect(scales).to_have_count(2)
    # Aligned by µm per px of the screen: the same bar for both, though the second slide's px are half as large.
    expect(scales).to_have_text(["50 µm", "50 µm"])
    left, top, width, height = box(page.locator(".pane-stage").first)
    page.mouse.move(left + width / 2, top + height / 2)
    page.mouse.wheel(0, 300)
    first = until(page, scales.first.inner_text, lambda text: text != "50 µm")
    assert first != "50 µm"
    expect(scales.last).to_have_text(scales.first.inner_text())
    page.wait_for_url(re.compile("with=cases%2Fsecond.svs"))
    page.get_by_role("button", name=re.compile("^Linked")).click()
    page.mouse.move(left + width / 2, top + height / 2)
    page.mouse.wheel(0, -600)
    until(page, scales.first.inner_text, lambda text: text != first)
    expect(scales.last).to_have_text(first)
    expect(scales.first).not_to_have_text(first)
    page.wait_for_url(re.compile("link=0"))
    page.reload()
    expect(page.locator(".pane")).to_have_count(2)
    expect(page.get_by_role("button", name=re.compile("^Not linked"))).to_be_visible()
    page.get_by_role("button", name="End the comparison").click()
    expect(page.locator(".pane")).to_have_count(1)


def test_the_second_pane_leads_when_it_is_touched(visit: Visitor) -> None:
    page = visit.slide("cases/first.svs", f"{CENTER}&with=cases%2Fsecond.svs")
    scales = page.locator(".scale-text")
    expect(scales).to_have_count(2)
    expect(page.get_by_role("button", name=re.compile("^Linked"))).to_be_visible()
    left, top, width, height = box(page.locator(".pane-stage").last)
    page.mouse.move(left + width / 2, top + height / 2)
    before = scales.first.inner_text()
    page.mouse.wheel(0, 300)
    assert until(page, scales.first.inner_text, lambda text: text != before) != before
    expect(page.locator("#panel-name")).to_have_text("second.svs")


def test_comparing_with_a_broken_slide_says_why(visit: Visitor) -> None:
    visit.expect_failed_requests = True
    page = visit.slide("section.svs", "with=broken.svs")
    expect(page.get_by_role("heading", name="This file cannot be read")).to_be_visible()
    expect(page.locator(".pane.broken")).to_contain_text("broken.svs")
    page.locator(".pane.broken").get_by_role("button", name="Close").click()
    expect(page.locator(".pane")).to_have_count(1)


def test_the_panel_tells_the_facts_and_shows_label_and_macro(visit: Visitor) -> None:
    page = visit.slide("section.svs")
    page.keyboard.press("i")
    facts = page.locator("#facts")
    for text in ("4,100 × 3,000 px", "2.05 mm × 1.50 mm", "0.5 µm/px", "20×", "section.svs"):
        expect(facts).to_contain_text(text)
    images = page.locator("#associated img")
    expect(images.nth(1)).to_be_visible()
    sizes = until(
        page,
        lambda: images.evaluate_all("(all) => all.slice(0, 2).map((one) => [one.naturalWidth, one.naturalHeight])"),
        lambda found: all(width for width, _ in found),
    )
    assert sizes == [[100, 120], [260, 100]]
    page.get_by_title("Show the label large").click()
    expect(page.get_by_role("dialog")).to_contain_text("label of section.svs")
    page.keyboard.press("Escape")
    page.get_by_text("Properties of the file").click()
    page.get_by_label("Filter the properties").fill("stain")
    expect(page.locator("#properties dd").first).to_have_text("HE")
    page.get_by_label("Filter the properties").fill("no such thing")
    expect(page.locator("#properties-none")).to_be_visible()


def test_the_help_sheet_lists_the_keys(visit: Visitor) -> None:
    page = visit.slide("section.svs")
    page.keyboard.press("?")
    sheet = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(sheet).to_be_visible()
    assert sheet.locator("kbd").count() > 20
    page.keyboard.press("m")  # the keys rest while a sheet is open
    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()
    expect(page.locator("#tool-line")).to_have_attribute("aria-pressed", "false")


def test_the_overview_goes_where_it_is_clicked(visit: Visitor) -> None:
    page = visit.slide("section.svs", CENTER)
    left, top, width, height = box(page.locator(".overview"))
    page.mouse.click(left + width * 0.75, top + height * 0.25)
    x, y = middle(page)
    assert close(settled(page, x, y, QUADRANTS[1, 0]), QUADRANTS[1, 0])
    assert view(page)[:2] == pytest.approx([WIDTH * 0.75, HEIGHT * 0.25], abs=WIDTH * 0.02)


def test_missing_tiles_are_told_with_their_reason_and_tried_again(visit: Visitor) -> None:
    visit.expect_failed_requests = True

    def fail(route: Route) -> None:
        route.fulfill(
            status=500, json={"error": "decode_error", "message": "The tile is damaged (at byte 4711)", "status": 500}
        )

    page = visit.page()
    page.route(re.compile(r"/tiles/"), fail)
    visit.slide("section.svs", CENTER, page)
    notice = page.locator(".pane-notice")
    expect(notice).to_contain_text("The tile is damaged (at byte 4711)")
    page.unroute(re.compile(r"/tiles/"))
    notice.get_by_role("button", name="Try again").click()
    expect(notice).to_be_hidden()
    x, y = middle(page)
    assert close(settled(page, x - 100, y - 100, QUADRANTS[0, 0]), QUADRANTS[0, 0])


@pytest.mark.parametrize(("slide_id", "status"), [("missing.svs", 404), ("broken.svs", 415)])
def test_a_slide_that_cannot_be_opened_gets_a_page_that_says_so(visit: Visitor, slide_id: str, status: int) -> None:
    visit.expect_failed_requests = True
    page = visit.page()
    answer = page.goto(f"{visit.url}/view/{slide_id}")
    assert answer is not None
    assert answer.status == status
    expect(page.locator("h1")).to_be_visible()
    page.get_by_role("link", name="All slides").click()
    expect(page.locator(".card .name").first).to_be_visible()


def test_a_hostile_name_is_only_text(visit: Visitor) -> None:
    page = visit.page()
    dialogs: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    visit.slide(HOSTILE, CENTER, page)
    expect(page.locator("h1")).to_have_text(HOSTILE)
    x, y = middle(page)
    assert close(settled(page, x - 100, y - 100, QUADRANTS[0, 0]), QUADRANTS[0, 0])
    assert dialogs == []


def test_keys_work_after_a_tool_was_clicked(visit: Visitor) -> None:
    page = visit.slide("section.svs", CENTER)
    page.get_by_role("button", name="Turn right").click()
    page.keyboard.press("u")
    expect(page.locator("#turned")).to_be_hidden()
    page.keyboard.press("+")
    expect(page.locator(".magnify-now")).to_have_text("32×")


def test_fits_a_phone_and_takes_touch(visit: Visitor) -> None:
    page = visit.page()
    page.set_viewport_size({"width": 390, "height": 844})
    visit.slide("section.svs", CENTER, page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(page.locator("#tool-line")).to_be_in_viewport()
    assert box(page.locator(".tools"))[1] > 700
    before = view(page)
    x, y = middle(page)
    session = page.context.new_cdp_session(page)
    for kind, at in (("touchStart", x + 60), ("touchMove", x + 20), ("touchMove", x - 40), ("touchEnd", None)):
        points = [] if at is None else [{"x": at, "y": y}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    after = until(page, lambda: view(page)[0], lambda now: now > before[0] + 20)
    assert after > before[0] + 20


def test_reduced_motion_moves_at_once(visit: Visitor) -> None:
    page = visit.page()
    page.emulate_media(reduced_motion="reduce")
    visit.slide("section.svs", CENTER, page)
    page.keyboard.press("2")
    zooms = page.evaluate("[true, false].map((now) => [...OpenSeadragon._viewers.values()][0].viewport.getZoom(now))")
    seen = until(
        page,
        lambda: page.evaluate("[...OpenSeadragon._viewers.values()][0].viewport.getZoom(true)"),
        lambda now: now == zooms[1],
        3,
    )
    assert seen == zooms[1]
