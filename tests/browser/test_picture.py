"""How a slide is drawn: channels, focal planes, time points, colour profile."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import Visitor
from tests.browser.screen import box, close, color_at, until
from tests.browser.slides import BRIGHT, STACK

pytestmark = pytest.mark.browser

WIDTH, HEIGHT = STACK
CENTER = f"x={WIDTH / 2}&y={HEIGHT / 2}&z=1"
ZSTACK = "synthetic/e2_ome_zstack_2c7z_1024.ome.tif"
FLUORESCENCE = "dicom/wsi-fluo/BPAEC"
PROFILED = "synthetic/c3_aperio_j2k33003_ycbcr422_6000x4500.svs"
NUCLEI, MEMBRANE = (0, 0, 255), (0, 255, 0)
"""Full colours of the channels, cut by the window 0 to BRIGHT."""
FULL = f"0::0..{BRIGHT},1::0..{BRIGHT}"


class Asked:
    """The requests for tiles of a page: what each asked for besides the tile."""

    def __init__(self, page: Page) -> None:
        self.urls: list[str] = []
        page.on("request", lambda request: self.urls.append(request.url) if "/tiles/" in request.url else None)

    def values(self, name: str) -> list[str | None]:
        """The different values of a parameter, in the order in which they were first asked for."""
        found = [parse_qs(urlsplit(url).query).get(name, [None])[0] for url in self.urls]
        return list(dict.fromkeys(found))


def opened(visit: Visitor, slide_id: str, fragment: str = "") -> tuple[Page, Asked]:
    page = visit.page()
    asked = Asked(page)
    visit.slide(slide_id, fragment, page)
    if page.locator("#panel-display").is_hidden():
        page.keyboard.press("d")
    return page, asked


def place(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where a place of the stack is on the screen, at one px of the screen for each of the slide."""
    left, top, width, height = box(page.locator(".pane-stage").first)
    return left + width / 2 + x - WIDTH / 2, top + height / 2 + y - HEIGHT / 2


def sees(page: Page, x: float, y: float, wanted: tuple[int, int, int]) -> None:
    """The slide has this colour at (x, y), sooner or later."""
    at = place(page, x, y)
    seen = until(page, lambda: color_at(page, *at), lambda color: close(color, wanted))
    assert close(seen, wanted), (seen, wanted)


def channel(page: Page, name: str) -> Locator:
    return page.get_by_role("group", name=name, exact=True)


def fragment(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).fragment).items()}


def remembered(page: Page, wanted: Callable[[dict[str, str]], bool]) -> dict[str, str]:
    """The fragment of the address once it is as wanted."""
    seen = until(page, lambda: fragment(page), wanted)
    assert wanted(seen), seen
    return seen


def test_a_slide_is_first_drawn_as_it_is(looks: Visitor) -> None:
    page, asked = opened(looks, "stack.ome.tif", CENTER)
    page.wait_for_load_state("networkidle")
    assert asked.urls
    assert not any(urlsplit(url).query for url in asked.urls)
    expect(page.get_by_label("Preset of the channels")).to_have_value("default")
    expect(channel(page, "Nuclei").get_by_label("Colour of Nuclei")).to_have_value("#0000ff")
    assert "channels" not in fragment(page)


def test_a_channel_is_switched_off_and_on(looks: Visitor) -> None:
    page, asked = opened(looks, "stack.ome.tif", f"{CENTER}&focus=3&channels={FULL}")
    sees(page, 100, 300, (0, 255, 255))  # both
    sees(page, 400, 300, MEMBRANE)
    sees(page, 100, 100, NUCLEI)
    page.get_by_label("Show Nuclei").uncheck()
    sees(page, 100, 300, MEMBRANE)
    sees(page, 100, 100, (0, 0, 0))
    assert asked.values("channels")[-1] == "1"  # its window is the suggested one
    expect(channel(page, "Nuclei").get_by_label("Gamma of Nuclei")).to_be_hidden()
    page.get_by_label("Show Membrane").uncheck()
    sees(page, 400, 300, (0, 0, 0))
    page.get_by_label("Show Membrane").check()
    sees(page, 400, 300, MEMBRANE)


def test_colour_and_window_and_gamma_are_drawn(looks: Visitor) -> None:
    page, asked = opened(looks, "stack.ome.tif", f"{CENTER}&channels={FULL}")
    page.get_by_label("Colour of Membrane").fill("#ff8000")
    sees(page, 400, 300, (255, 128, 0))
    # Focal plane 0 of the nuclei is a quarter of BRIGHT: half of the window, a quarter of the light with gamma 2.
    page.get_by_label("Nuclei: maximum").fill(str(BRIGHT // 2))
    page.get_by_label("Nuclei: maximum").press("Enter")
    sees(page, 100, 100, (0, 0, 128))
    page.get_by_label("Gamma of Nuclei").fill("0.69")  # its slider is logarithmic
    sees(page, 100, 100, (0, 0, 63))
    assert asked.values("channels")[-1] == f"0::0..{BRIGHT // 2}:1.99,1:ff8000"
    page.get_by_role("button", name="Reset Membrane").click()
    sees(page, 400, 300, MEMBRANE)


def test_settings_that_change_quickly_are_drawn_once(looks: Visitor) -> None:
    page, asked = opened(looks, "stack.ome.tif", CENTER)
    page.wait_for_load_state("networkidle")
    page.get_by_label("Nuclei: full colour from").evaluate(
        """async (slider) => {
          for (let step = 0; step < 30; step += 1) {
            slider.value = 9000 - 100 * step;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
            for (let turn = 0; turn < 9; turn += 1) await null;
          }
        }"""
    )
    expect(page.get_by_label("Nuclei: maximum")).to_have_value("6100")
    sees(page, 100, 100, NUCLEI)
    page.wait_for_load_state("networkidle")
    texts = [text for text in asked.values("channels") if text]
    assert len(texts) == 1
    assert texts[0].endswith("..6100,1")


def test_a_window_is_moved_by_keys(looks: Visitor) -> None:
    page, _ = opened(looks, "stack.ome.tif", f"{CENTER}&channels={FULL}")
    high, low = page.get_by_label("Nuclei: full colour from"), page.get_by_label("Nuclei: black below")
    high.focus()
    page.keyboard.press("Shift+ArrowLeft")
    expect(page.get_by_label("Nuclei: maximum")).to_have_value(str(BRIGHT - 1))
    page.keyboard.press("ArrowLeft")
    assert int(page.get_by_label("Nuclei: maximum").input_value()) < BRIGHT - 100
    low.focus()
    for _ in range(60):
        page.keyboard.press("PageUp")  # never beyond the other handle
    low_value, high_value = (int(page.get_by_label(f"Nuclei: {end}").input_value()) for end in ("minimum", "maximum"))
    assert low_value == high_value - 1
    page.keyboard.press("m")  # letters are still the keys of the viewer
    expect(page.locator("#tool-line")).to_have_attribute("aria-pressed", "true")


def test_the_old_picture_stays_until_the_new_one_is_there(looks: Visitor) -> None:
    page, _ = opened(looks, "stack.ome.tif", f"{CENTER}&channels={FULL}")
    sees(page, 400, 300, MEMBRANE)
    page.wait_for_load_state("networkidle")
    held: list[Route] = []
    held_back = re.compile(r"/tiles/.*ff0000")
    page.route(held_back, lambda route: held.append(route))
    page.get_by_label("Colour of Membrane").fill("#ff0000")
    until(page, lambda: len(held), lambda count: count > 3)
    assert held, "nothing was asked for"
    for _ in range(2):
        assert close(color_at(page, *place(page, 400, 300)), MEMBRANE)
    for route in held:
        route.continue_()
    page.unroute(held_back)
    sees(page, 400, 300, (255, 0, 0))
    items = until(
        page,
        lambda: page.evaluate("[...OpenSeadragon._viewers.values()][0].world.getItemCount()"),
        lambda count: count == 1,
        400,
    )
    assert items == 1, "the old picture is dropped"


def test_one_channel_alone_and_back(looks: Visitor) -> None:
    page, asked = opened(looks, "stack.ome.tif", f"{CENTER}&focus=3&channels={FULL}")
    solo = page.get_by_role("button", name="Solo: Nuclei")
    solo.click()
    expect(solo).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_label("Show Membrane")).not_to_be_checked()
    sees(page, 400, 300, (0, 0, 0))
    solo.click()
    expect(page.get_by_label("Show Membrane")).to_be_checked()
    sees(page, 400, 300, MEMBRANE)
    assert asked.values("channels")[:2] == [FULL, f"0::0..{BRIGHT}"]


def test_presets_are_kept_for_the_slide(looks: Visitor) -> None:
    page, _ = opened(looks, "stack.ome.tif", f"{CENTER}&focus=3")
    preset = page.get_by_label("Preset of the channels")
    preset.select_option("Grey, one channel")
    sees(page, 100, 100, (255, 255, 255))
    sees(page, 400, 300, (0, 0, 0))
    page.get_by_role("button", name="Reset all").click()
    expect(preset).to_have_value("default")
    page.get_by_label("Colour of Nuclei").fill("#ff00ff")
    expect(preset).to_have_value("custom")
    page.get_by_role("button", name="Keep as a preset").click()
    page.get_by_label("Name of the preset").fill("Magenta <b>")
    page.keyboard.press("Enter")
    expect(preset).to_have_value("own:Magenta <b>")
    preset.select_option("default")
    sees(page, 100, 100, NUCLEI)
    page.reload()
    preset.select_option("Magenta <b>")
    sees(page, 100, 100, (255, 0, 255))
    page.get_by_role("button", name="Remove the preset").click()
    expect(preset.locator("option", has_text="Magenta")).to_have_count(0)


def test_auto_fits_the_window_to_the_histogram(real: Visitor) -> None:
    page, asked = opened(real, FLUORESCENCE)
    expect(page.get_by_label("Green: maximum")).to_have_value("255")
    page.get_by_role("button", name="Auto: window of Green by its histogram").click()
    high = int(page.get_by_label("Green: maximum").input_value())
    assert 20 < high < 200
    until(page, lambda: len(asked.values("channels")), lambda count: count > 1)
    assert asked.values("channels")[-1] == f"0::0..{high},1,2"


def test_focus_by_slider_keys_and_wheel(looks: Visitor) -> None:
    page, asked = opened(looks, "stack.ome.tif", f"{CENTER}&channels={FULL}")
    focus = page.get_by_role("slider", name="Focus")
    quarter = BRIGHT // 4 * 255 // BRIGHT
    sees(page, 100, 100, (0, 0, quarter))
    page.keyboard.press("PageUp")
    sees(page, 100, 100, (0, 0, 2 * quarter))
    expect(page.locator(".planes.focus output")).to_have_text("2 / 4")
    x, y = place(page, 300, 200)
    page.mouse.move(x, y)
    before = page.locator(".magnify-now").inner_text()
    page.keyboard.down("Shift")
    page.mouse.wheel(0, -120)  # a plane for each notch
    page.mouse.wheel(0, -120)
    page.keyboard.up("Shift")
    expect(focus).to_have_value("3")
    sees(page, 100, 100, NUCLEI)
    assert page.locator(".magnify-now").inner_text() == before, "the wheel with Shift does not zoom"
    focus.focus()
    page.keyboard.press("Home")
    sees(page, 100, 100, (0, 0, quarter))
    assert set(asked.values("z")) <= {None, "1", "2", "3"}
    page.keyboard.press("PageDown")
    expect(focus).to_have_value("0")


def test_time_plays_and_pauses(looks: Visitor) -> None:
    page, asked = opened(looks, "stack.ome.tif", f"{CENTER}&channels={FULL}")
    sees(page, 550, 100, (0, 0, 0))
    page.keyboard.press(".")
    sees(page, 550, 100, (0, 128, 0))
    page.get_by_role("button", name="Next time point").click()
    sees(page, 550, 100, MEMBRANE)
    remembered(page, lambda found: found.get("time") == "2")
    page.get_by_role("button", name=re.compile("^Play")).click()
    seen: set[str] = set()

    def look() -> int:
        seen.add(page.get_by_role("slider", name="Time").input_value())
        return len(seen)

    assert until(page, look, lambda count: count == 3, 600) == 3
    page.keyboard.press("k")
    expect(page.get_by_role("button", name=re.compile("^Play"))).to_be_visible()
    assert set(asked.values("t")) == {None, "1", "2"}


def test_a_link_restores_how_the_slide_was_drawn(looks: Visitor) -> None:
    page, _ = opened(looks, "stack.ome.tif", CENTER)
    page.get_by_label("Colour of Membrane").fill("#ff0000")
    page.get_by_label("Show Nuclei").uncheck()
    page.keyboard.press("PageUp")
    page.keyboard.press(".")
    found = remembered(page, lambda found: {"channels", "focus", "time"} <= set(found))
    assert (found["channels"], found["focus"], found["time"]) == ("1:ff0000", "1", "1")
    again = looks.page()
    asked = Asked(again)
    again.goto(page.url)
    again.locator("body[data-ready=true]").wait_for()
    expect(again.get_by_label("Colour of Membrane")).to_have_value("#ff0000")
    expect(again.get_by_label("Show Nuclei")).not_to_be_checked()
    expect(again.locator(".planes.time output")).to_have_text("2 / 3")
    again.wait_for_load_state("networkidle")
    assert asked.values("channels") == ["1:ff0000"], "drawn so from the first tile on"
    assert asked.values("z") == asked.values("t") == ["1"]


@pytest.mark.parametrize("text", ["channels=0:zz", "channels=0,0", "channels=9::5..1", "focus=99&time=x&icc=nonsense"])
def test_an_address_without_sense_draws_the_slide_anyway(looks: Visitor, text: str) -> None:
    page, asked = opened(looks, "stack.ome.tif", f"{CENTER}&{text}")
    sees(page, 400, 300, MEMBRANE)
    page.wait_for_load_state("networkidle")
    assert asked.values("channels") == [None]
    assert asked.values("z")[-1] in {None, "3"}


def test_controls_are_there_only_for_what_a_slide_has(looks: Visitor) -> None:
    page, _ = opened(looks, "section.svs")
    for control in ("#channels-section", "#profile-section", ".planes.focus", ".planes.time"):
        expect(page.locator(control)).to_be_hidden()
    page, _ = opened(looks, "stack.ome.tif")
    for control in ("#channels-section", ".planes.focus", ".planes.time"):
        expect(page.locator(control)).to_be_visible()
    expect(page.locator("#profile-section")).to_be_hidden()


def test_two_slides_are_drawn_each_in_its_way(looks: Visitor) -> None:
    page, _ = opened(looks, "stack.ome.tif", f"focus=1&with=stack.ome.tif&at=300,200,0.5,0&2.focus=3&2.channels={FULL}")
    expect(page.locator(".pane")).to_have_count(2)
    slider = page.get_by_role("slider", name="Focus")
    expect(slider).to_have_value("1")
    left, top, width, height = box(page.locator(".pane-stage").last)
    page.mouse.click(left + width / 2, top + height / 2)
    expect(slider).to_have_value("3")
    page.keyboard.press("PageDown")
    found = remembered(page, lambda found: found.get("2.focus") == "2")
    assert (found["focus"], found["2.channels"]) == ("1", FULL)


def test_the_colour_profile_is_applied_with_the_chosen_intent(real: Visitor) -> None:
    page, asked = opened(real, PROFILED)
    page.wait_for_load_state("networkidle")
    assert asked.values("icc") == [None]
    intent = page.get_by_label("Colour profile")
    for name in ("perceptual", "relative_colorimetric", "saturation", "absolute_colorimetric"):
        intent.select_option(name)
        until(page, lambda: asked.values("icc")[-1], lambda value, name=name: value == name)
        assert asked.values("icc")[-1] == name
        remembered(page, lambda found, name=name: found.get("icc") == name)
    intent.select_option("none")
    remembered(page, lambda found: "icc" not in found)


def test_a_real_stack_is_focused_and_filtered(real: Visitor) -> None:
    page, asked = opened(real, ZSTACK, "x=512&y=512&z=1")
    expect(page.locator(".channel-name")).to_have_text(["DAPI", "Cy5"])
    expect(page.locator(".planes.focus output")).to_have_text("1 / 7")
    page.keyboard.press("PageUp")
    until(page, lambda: asked.values("z"), lambda values: "1" in values)
    page.get_by_role("button", name="Solo: Cy5").click()
    until(page, lambda: asked.values("channels"), lambda values: "1" in values)
    left, top, width, height = box(page.locator(".pane-stage"))
    at = left + width / 2 - 200, top + height / 2
    seen = until(page, lambda: color_at(page, *at, size=60), lambda color: color[0] < 8 < color[1])
    assert seen[0] < 8, "there is no red without the first channel"
    assert seen[1] > 8
    assert unquote(page.url)


def test_the_overview_is_drawn_like_the_slide(looks: Visitor) -> None:
    page, _ = opened(looks, "stack.ome.tif", f"{CENTER}&channels={FULL}")
    with page.expect_request(re.compile(r"thumbnail.*channels=1$")):
        page.get_by_label("Show Nuclei").uncheck()


def test_the_saved_picture_shows_the_settings(looks: Visitor) -> None:
    page, _ = opened(looks, "stack.ome.tif", f"{CENTER}&channels={FULL}")
    page.get_by_label("Colour of Membrane").fill("#ff0000")
    sees(page, 400, 300, (255, 0, 0))
    with page.expect_download() as download:
        page.keyboard.press("p")
    assert download.value.suggested_filename.startswith("stack")
