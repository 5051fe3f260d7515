"""Vector sets over a slide and alone: drawn where they belong, styled, pointed at."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import Visitor, serving, visiting
from tests.browser.screen import box, close, color_at, picture, until
from tests.browser.slides import HEIGHT, QUADRANTS, SQUARES, WIDTH, write_crowd

pytestmark = pytest.mark.browser

CENTER = f"x={WIDTH / 2}&y={HEIGHT / 2}&z=1"
OVER = f"{CENTER}&shapes=section.geojson"
NUCLEI = "vector/geojson/sample.geojson"
PLAIN = "fill:ff0000,fillOpacity:1,line:0000ff,lineOpacity:1,width:6"
"""Colours that no part of the slide has, and nothing shines through."""


def middle_of(kind: str) -> tuple[float, float]:
    left, top, right, bottom = SQUARES[kind]
    return (left + right) / 2, (top + bottom) / 2


def on_screen(
    page: Page,
    x: float,
    y: float,
    *,
    zoom: float = 1,
    degrees: float = 0,
    center: tuple[float, float] = (WIDTH / 2, HEIGHT / 2),
) -> tuple[float, float]:
    """Where a place of the slide is when ``center`` is in the middle of the stage."""
    left, top, width, height = box(page.locator(".pane-stage").first)
    angle = np.deg2rad(degrees)
    across, down = (x - center[0]) * zoom, (y - center[1]) * zoom
    turned = across * np.cos(angle) - down * np.sin(angle), across * np.sin(angle) + down * np.cos(angle)
    return left + width / 2 + float(turned[0]), top + height / 2 + float(turned[1])


def sees(page: Page, at: tuple[float, float], wanted: tuple[int, int, int], tolerance: int = 12) -> None:
    seen = until(page, lambda: color_at(page, *at), lambda color: close(color, wanted, tolerance), 200)
    assert close(seen, wanted, tolerance), (seen, wanted)


def blend(over: tuple[int, int, int], under: tuple[int, int, int], opacity: float) -> tuple[int, int, int]:
    red, green, blue = (round(opacity * a + (1 - opacity) * b) for a, b in zip(over, under, strict=True))
    return red, green, blue


def listed(page: Page, *ids: str) -> None:
    """The list of the server: it may leave out files that are no slides for every client."""
    page.route(re.compile(r"/slides\?"), lambda route: route.fulfill(json={"slides": list(ids)}))


def display(page: Page) -> None:
    if page.locator("#panel-display").is_hidden():
        page.keyboard.press("d")


def settled(page: Page) -> None:
    """Everything has been fetched and drawn. (Requests of workers never let Playwright see an idle network.)"""
    expect(page.locator("canvas.shapes")).to_have_attribute("data-settled", "true", timeout=60_000)


def style_of(page: Page) -> str | None:
    return parse_qs(urlsplit(page.url).fragment).get("style", [None])[0]


def quiet(visit: Visitor) -> Page:
    """A page of a visitor for whom missing tiles are nothing to complain about."""
    visit.expect_failed_requests = True
    return visit.page()


@pytest.mark.parametrize("degrees", [0, 30, 90])
@pytest.mark.parametrize("zoom", [0.5, 1, 3])
def test_shapes_lie_where_the_slide_has_them(looks: Visitor, zoom: float, degrees: float) -> None:
    """Inside there is the fill, around it the line, beyond that the slide: at every zoom, however it is turned."""
    left, top, right, bottom = SQUARES["nucleus"]
    across, down = (left + right) / 2 + 40, (top + bottom) / 2 + 20
    fragment = f"x={across}&y={down}&z={zoom}&r={degrees}&shapes=section.geojson&style={PLAIN}"
    page = looks.slide("section.svs", fragment, quiet(looks))

    def at(x: float, y: float) -> tuple[float, float]:
        return on_screen(page, x, y, zoom=zoom, degrees=degrees, center=(across, down))

    sees(page, at((left + right) / 2, (top + bottom) / 2), (255, 0, 0))
    sees(page, at(left, (top + bottom) / 2), (0, 0, 255))
    for x, y in ((left - 12 / zoom, (top + bottom) / 2), ((left + right) / 2, bottom + 12 / zoom)):
        sees(page, at(x, y), QUADRANTS[0, 1])


def test_shapes_beside_a_slide_are_shown_by_themselves(looks: Visitor) -> None:
    page = quiet(looks)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/slides?" in request.url else None)
    listed(page, "section.geojson", "section.svs")
    looks.slide("section.svs", CENTER, page)
    display(page)
    expect(page.locator(".set-name strong")).to_have_text("section.geojson")
    expect(page.locator(".set-name")).to_contain_text("3 shapes")
    fill = blend((0x2F, 0x9B, 0xFF), QUADRANTS[0, 0], 0.25)
    sees(page, on_screen(page, *middle_of("tumour")), fill)
    assert len(asked) == 1
    assert parse_qs(urlsplit(asked[0]).query)["prefix"] == ["section"]
    page.get_by_role("button", name="Take the shapes off").click()
    sees(page, on_screen(page, *middle_of("tumour")), QUADRANTS[0, 0])
    page.wait_for_url(re.compile("shapes=none"))
    page.reload()
    page.locator("body[data-ready=true]").wait_for()
    display(page)
    expect(page.get_by_role("button", name="Show shapes over the slide")).to_be_visible()
    expect(page.locator("canvas.shapes")).to_have_count(0)


def test_shapes_are_chosen_from_a_list(looks: Visitor) -> None:
    page = quiet(looks)
    listed(page, "alone.svs", "section.geojson", "section.svs")
    looks.slide("alone.svs", CENTER, page)
    page.keyboard.press("v")
    dialog = page.get_by_role("dialog", name="Shapes over the slide")
    expect(dialog.locator("button[data-id]")).to_have_count(1)
    dialog.get_by_role("button", name="section.geojson").click()
    sees(page, on_screen(page, *middle_of("stroma")), blend((0x2F, 0x9B, 0xFF), QUADRANTS[1, 0], 0.25))
    page.wait_for_url(re.compile("shapes=section.geojson"))
    page.keyboard.press("v")
    sees(page, on_screen(page, *middle_of("stroma")), QUADRANTS[1, 0])
    page.keyboard.press("v")
    sees(page, on_screen(page, *middle_of("stroma")), blend((0x2F, 0x9B, 0xFF), QUADRANTS[1, 0], 0.25))


def test_a_slide_is_not_taken_for_shapes(looks: Visitor) -> None:
    page = looks.page()
    # The message goes away by itself: it is waited for from the beginning.
    page.goto(f"{looks.url}/view/section.svs#{CENTER}&shapes=alone.svs", wait_until="commit")
    expect(page.locator(".toast")).to_contain_text("alone.svs holds no shapes")
    expect(page.locator("canvas.shapes")).to_have_count(0)


def test_the_style_is_changed_and_goes_into_the_address(looks: Visitor) -> None:
    page = looks.slide("section.svs", OVER, quiet(looks))
    display(page)
    at = on_screen(page, *middle_of("tumour"))
    page.get_by_label("Fill colour").fill("#00ff00")
    sees(page, at, blend((0, 255, 0), QUADRANTS[0, 0], 0.25))
    page.get_by_label("Fill opacity").fill("0.8")
    sees(page, at, blend((0, 255, 0), QUADRANTS[0, 0], 0.8))
    page.get_by_label("Line colour").fill("#000000")
    page.get_by_label("Width").fill("6")
    left, top, _, bottom = SQUARES["tumour"]
    sees(page, on_screen(page, left, (top + bottom) / 2), (0, 0, 0))
    wanted = "fill:00ff00,line:000000,fillOpacity:0.8,width:6"
    assert until(page, lambda: style_of(page), lambda found: found == wanted) == wanted
    page.get_by_label("Line opacity").fill("0")
    sees(page, on_screen(page, left - 3, (top + bottom) / 2), QUADRANTS[0, 0])
    wanted = "fill:00ff00,line:000000,fillOpacity:0.8,lineOpacity:0,width:6"
    assert until(page, lambda: style_of(page), lambda found: found == wanted) == wanted
    page.reload()
    sees(page, at, blend((0, 255, 0), QUADRANTS[0, 0], 0.8))
    expect(page.get_by_label("Width")).to_have_value("6")


def test_shapes_are_coloured_by_a_property(looks: Visitor) -> None:
    page = looks.slide("section.svs", f"{OVER}&style=fillOpacity:1,width:0", quiet(looks))
    display(page)
    choice = page.get_by_label("Colour by")
    expect(choice.locator("option")).to_have_text(["One colour", "checked", "class", "area"])
    choice.select_option("class")
    expect(page.locator(".legend-row span")).to_have_count(3)
    for kind in SQUARES:
        color = page.get_by_label(f"Colour of {kind}").input_value()
        red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
        sees(page, on_screen(page, *middle_of(kind)), (red, green, blue))
    page.get_by_label("Colour of stroma").fill("#123456")
    page.get_by_label("Colour of stroma").dispatch_event("change")
    sees(page, on_screen(page, *middle_of("stroma")), (0x12, 0x34, 0x56))
    choice.select_option("area")
    expect(page.locator(".ramp-ends span")).to_have_text(["3000", "30000"])
    dark = color_at(page, *on_screen(page, *middle_of("nucleus")))
    until(page, lambda: color_at(page, *on_screen(page, *middle_of("nucleus"))), lambda color: color != dark)
    sees(page, on_screen(page, *middle_of("tumour")), color_at(page, *on_screen(page, *middle_of("stroma"))))
    page.wait_for_url(re.compile("by%3Aarea|by:area"))
    page.reload()
    expect(choice).to_have_value("area")


def test_pointing_tells_the_properties_and_a_click_keeps_them(looks: Visitor) -> None:
    page = looks.slide("section.svs", OVER, quiet(looks))
    at = on_screen(page, *middle_of("tumour"))
    sees(page, at, blend((0x2F, 0x9B, 0xFF), QUADRANTS[0, 0], 0.25))
    page.mouse.move(*at)
    card = page.locator(".shape-card")
    expect(card).to_be_visible()
    expect(card.locator("dt")).to_have_text(["class", "area", "checked"])
    expect(card.locator("dd")).to_have_text(["tumour", "30000", "true"])
    expect(page.locator(".shape-outline")).to_have_attribute("d", re.compile("^M.*Z$"))
    page.mouse.move(*on_screen(page, 2050, 1500))
    expect(card).to_be_hidden()
    page.mouse.click(*on_screen(page, *middle_of("stroma")))
    expect(card).to_contain_text("stroma")
    page.mouse.move(*on_screen(page, 2050, 1500))
    expect(card).to_contain_text("stroma")
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()
    # Without a mouse: what is in the middle of the view.
    page.keyboard.press("q")
    expect(card).to_be_hidden()
    page.goto(f"{looks.url}/view/section.svs#x=1930&y=1625&z=1&shapes=section.geojson")
    page.reload()
    page.locator("canvas.shapes").wait_for()
    sees(page, on_screen(page, WIDTH / 2, HEIGHT / 2), blend((0x2F, 0x9B, 0xFF), QUADRANTS[0, 1], 0.25))
    page.keyboard.press("q")
    expect(card).to_contain_text("nucleus")


def test_measuring_and_pointing_do_not_mix(looks: Visitor) -> None:
    page = looks.slide("section.svs", OVER, quiet(looks))
    at = on_screen(page, *middle_of("tumour"))
    sees(page, at, blend((0x2F, 0x9B, 0xFF), QUADRANTS[0, 0], 0.25))
    page.keyboard.press("m")
    page.mouse.move(*at)
    page.mouse.click(*at)
    expect(page.locator(".drawing .draft")).to_have_count(1)
    expect(page.locator(".shape-card")).to_be_hidden()


COUNTING = """async () => {
  const { pool } = await import("/static/js/vector/pool.js");
  const ask = pool.ask.bind(pool);
  globalThis.asked = [];
  pool.ask = (job, wish) => {
    asked.push(job);
    return ask(job, wish);
  };
}"""


def test_moving_draws_nothing_anew(looks: Visitor) -> None:
    """Pictures of cells are only put in other places; the workers are not asked."""
    page = looks.slide("section.svs", OVER, quiet(looks))
    sees(page, on_screen(page, *middle_of("tumour")), blend((0x2F, 0x9B, 0xFF), QUADRANTS[0, 0], 0.25))
    settled(page)
    page.evaluate(COUNTING)
    left = SQUARES["tumour"][0]
    page.evaluate(
        "(by) => [...OpenSeadragon._viewers.values()][0].viewport.panBy(new OpenSeadragon.Point(by, 0), true)",
        20 / WIDTH,
    )
    sees(
        page, on_screen(page, left - 20 + 100, middle_of("tumour")[1]), blend((0x2F, 0x9B, 0xFF), QUADRANTS[0, 0], 0.25)
    )
    sees(page, on_screen(page, left - 20 - 6, middle_of("tumour")[1]), QUADRANTS[0, 0])
    assert page.evaluate("asked.filter((job) => job !== 'find')") == []


def test_a_tile_is_asked_for_once_and_only_where_there_are_shapes(looks: Visitor) -> None:
    page = quiet(looks)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/slides/" in request.url else None)
    looks.slide("section.svs", OVER, page)
    display(page)
    sees(page, on_screen(page, *middle_of("tumour")), blend((0x2F, 0x9B, 0xFF), QUADRANTS[0, 0], 0.25))
    page.get_by_label("Fill opacity").fill("0.5")
    sees(page, on_screen(page, *middle_of("tumour")), blend((0x2F, 0x9B, 0xFF), QUADRANTS[0, 0], 0.5))
    settled(page)
    tiles = [url for url in asked if "/vector/" in url]
    assert tiles
    assert len(tiles) == len(set(tiles))
    # All shapes lie in 1800 to 2300 and 1300 to 1650: of tiles of 512 px these are columns 3, 4 and rows 2, 3.
    places = {tuple(int(part) for part in re.findall(r"/vector/(\d+)/(\d+)/(\d+)", url)[0]) for url in tiles}
    assert {place for place in places if place[0] == 3} <= {(3, x, y) for x in (3, 4) for y in (2, 3)}


def test_a_set_alone_stands_on_a_blank_ground(real: Visitor) -> None:
    page = real.slide(NUCLEI, page=quiet(real))
    display(page)
    expect(page.locator(".set-name")).to_contain_text("10 shapes")
    stage = page.locator(".pane-stage")
    left, top, width, height = box(stage)

    def drawn() -> NDArray[np.bool_]:
        seen = picture(page)[int(top) + 140 : int(top + height) - 120, int(left) + 10 : int(left + width) - 10]
        return np.ptp(seen.astype(int), axis=2) > 60

    def whole(found: NDArray[np.bool_]) -> bool:
        """All of the set is shown, as large as fits."""
        return bool(found.any()) and bool(np.ptp(np.nonzero(found)[1]) > 0.75 * found.shape[1])

    shapes = until(page, drawn, whole, 200)
    rows, columns = np.nonzero(shapes)
    assert whole(shapes)
    assert shapes.mean() < 0.5
    page.mouse.move(int(left) + 10 + float(columns[0]), int(top) + 140 + float(rows[0]) + 2)
    expect(page.locator(".shape-card")).to_contain_text("polyline")
    page.get_by_role("button", name="About this slide").click()
    expect(page.locator("#facts")).to_contain_text("Vector tiles")
    assert page.locator("#facts").inner_text().count("not in the file") == 0


@pytest.mark.parametrize(
    "slide_id",
    [
        "vector/mbtiles/world_cities.mbtiles",
        "vector/pmtiles/test_fixture_1.pmtiles",
        "vector/pbf/demotiles.maplibre.org/tiles",
        "vector/pbf/polygon-with-inner.pbf",
        "vector/geojson/multi_geometries.geojson",
        "vector/geojson/holed.geojson",
    ],
)
def test_real_sets_are_drawn(real: Visitor, slide_id: str) -> None:
    page = real.slide(slide_id, page=quiet(real))
    canvas = page.locator("canvas.shapes")
    inked = until(
        page,
        lambda: canvas.evaluate(
            """(canvas) => {
              const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
              let count = 0;
              for (let at = 3; at < data.length; at += 4) count += data[at] > 40;
              return count;
            }"""
        ),
        lambda count: count > 20,
    )
    assert inked > 20
    expect(page.locator(".shape-notice")).to_be_hidden()


def test_layers_are_switched_off(real: Visitor) -> None:
    page = real.slide("vector/pbf/demotiles.maplibre.org/tiles", page=quiet(real))
    display(page)
    layers = page.locator(".layers label")
    expect(layers).to_have_text(["centroids", "countries", "geolines"])
    page.get_by_label("countries").uncheck()
    wanted = "hide:countries"
    assert until(page, lambda: style_of(page), lambda found: found == wanted) == wanted
    page.reload()
    page.locator("body[data-ready=true]").wait_for()
    display(page)
    expect(page.get_by_label("countries")).not_to_be_checked()
    expect(page.get_by_label("geolines")).to_be_checked()


def test_damaged_tiles_are_told_and_tried_again(looks: Visitor) -> None:
    page = quiet(looks)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/slides/damaged/vector/" in request.url else None)
    looks.slide("damaged", page=page)
    display(page)
    notice = page.locator(".shape-notice")
    expect(notice).to_contain_text("ends too early")
    before = len(asked)
    notice.get_by_role("button", name="Try again").click()
    assert until(page, lambda: len(asked), lambda count: count > before) == before + 1
    expect(notice).to_contain_text("ends too early")


def test_the_saved_picture_holds_the_shapes(looks: Visitor, tmp_path: Path) -> None:
    page = looks.slide("section.svs", f"{OVER}&style={PLAIN}", quiet(looks))
    at = on_screen(page, *middle_of("nucleus"))
    sees(page, at, (255, 0, 0))
    with page.expect_download() as download:
        page.keyboard.press("p")
    path = tmp_path / "view.png"
    download.value.save_as(path)
    left, top, _, _ = box(page.locator(".pane-stage"))
    pixel = Image.open(path).convert("RGB").getpixel((round(at[0] - left), round(at[1] - top)))
    assert isinstance(pixel, tuple)
    assert close(tuple(int(value) for value in pixel), (255, 0, 0))


CROWD = 332
"""Shapes in a row and in a column: 110,224 in all."""
FRAMES = """async () => {
  const { viewport } = [...OpenSeadragon._viewers.values()][0];
  const { Point } = OpenSeadragon;
  const times = [];
  let last = performance.now();
  let moving = true;
  const tick = (now) => {
    times.push(now - last);
    last = now;
    if (moving) requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
  for (let step = 0; step < 6; step += 1) {
    viewport.panBy(new Point(step % 2 ? -0.05 : 0.05, 0));
    viewport.zoomBy(step % 2 ? 1 / 1.3 : 1.3);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  moving = false;
  times.sort((a, b) => a - b);
  return [0.5, 0.9, 1].map((part) => times[Math.min(times.length - 1, Math.floor(part * times.length))]);
}"""


def test_a_hundred_thousand_shapes(chromium: BrowserContext, tmp_path: Path) -> None:
    """All in view. Frame times are only told (with ``-s``); that all is drawn, and nothing loaded anew, is tested."""
    write_crowd(tmp_path / "crowd", CROWD)
    with serving(tmp_path, tmp_path / "server.log") as url, visiting(chromium, url) as visit:
        page = visit.slide("crowd", "style=fill:ff0000,fillOpacity:1,width:0")
        settled(page)
        page.evaluate("[...OpenSeadragon._viewers.values()][0].viewport.goHome(true)")
        display(page)
        settled(page)
        left, top, width, height = box(page.locator(".pane-stage"))
        side = min(width, height) * 0.5
        across, down = int(left + (width - side) / 2), int(top + (height - side) / 2)
        crowd = picture(page)[down : down + int(side), across : across + int(side)].astype(int)
        red = (crowd[:, :, 0] - crowd[:, :, 1]).clip(0) / 255
        # Each shape is a disc of half the side of its place: pi / 16 of the ground.
        assert red.mean() == pytest.approx(np.pi / 16, rel=0.35)
        page.evaluate(COUNTING)
        median, most, worst = page.evaluate(FRAMES)
        print(f"\n{CROWD**2} shapes, ms for a frame: {median:.1f} median, {most:.1f} at 90 %, {worst:.1f} at worst")
        assert page.evaluate("asked.includes('load')") is False


def test_the_narrow_screen_has_room_for_all(looks: Visitor) -> None:
    page = quiet(looks)
    page.set_viewport_size({"width": 390, "height": 844})
    looks.slide("stack.ome.tif", page=page)
    expect(page.locator(".planes.focus")).to_be_in_viewport(ratio=1)
    expect(page.locator(".planes.time")).to_be_in_viewport(ratio=1)
    page.locator("#tool-display").click()
    expect(page.locator(".channel").first).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
