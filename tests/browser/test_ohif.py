"""OHIF as npm publishes it, installed by our command, over studies of a real server: list, stack, SEG, microscopy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote
from urllib.request import urlopen

import numpy as np
import openslide
import pytest
from numpy.typing import NDArray
from playwright.sync_api import BrowserContext, Locator, Page, Playwright, Request, Response, expect

from microtome.errors import MicrotomeError
from microtome.viewer import ohif
from tests.browser.conftest import ARGUMENTS, launched, serving
from tests.browser.screen import picture
from tests.conftest import ROOT
from tests.serving import until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WITH_WEBGL = (*ARGUMENTS, "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
NO_TOUR = "localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour']))"
SLIDE = "CMU-1-Small-Region.svs"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``microtome ohif install`` makes; the archive of npm is kept between runs."""
    cache = ROOT / ".cache" / "ohif"
    archive = cache / "ohif-app-3.13.2.tgz"
    if not archive.is_file():
        if shutil.which("npm") is None:
            pytest.skip("no npm to fetch OHIF with")
        cache.mkdir(parents=True, exist_ok=True)
        try:
            ohif.fetched(cache, ("npm",))
        except MicrotomeError as error:
            pytest.skip(f"npm cannot fetch OHIF: {error.message}")
    folder = tmp_path_factory.mktemp("ohif") / "app"
    command = [sys.executable, "-m", "microtome", "ohif", "install", "--into", str(folder), "--archive", str(archive)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "/browse/" in done.stdout
    return folder


@pytest.fixture(scope="module")
def url(installed: Path, testdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of a head in 93 slices, a liver with two segmentations, and a slide."""
    data, work = tmp_path_factory.mktemp("studies"), tmp_path_factory.mktemp("work")
    dicom = testdata / "dicom"
    shutil.copytree(dicom / "series" / "slicer-cthead", data / "head")
    shutil.copytree(dicom / "derived" / "segmentations" / "ct-3slice", data / "liver")
    shutil.copy(dicom / "derived" / "segmentations" / "liver.dcm", data / "liver")
    shutil.copy(testdata / "svs" / SLIDE, data)
    environment = {"MICROTOME_OHIF_DIR": str(installed), "MICROTOME_DICOM_INDEX": str(work / "index.sqlite")}
    with serving(data, work / "server.log", environment) as found:
        until(lambda: len(studies(found)) == 3)
        yield found


def studies(url: str, query: str = "") -> list[dict[str, Any]]:
    with urlopen(f"{url}/dicom/studies?{query}", timeout=30) as answer:
        return json.load(answer)


def study(url: str, query: str) -> str:
    (found,) = studies(url, query)
    return found["0020000D"]["Value"][0]


@pytest.fixture(scope="module")
def webgl(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    context = launched(playwright, tmp_path_factory.mktemp("profile"), WITH_WEBGL)
    context.set_default_timeout(60_000)
    context.add_init_script(NO_TOUR)
    yield context
    context.close()


class Watched:
    """A page, with every answer it got and every complaint in its console."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url = url
        self.page = context.new_page()
        self.page.set_viewport_size({"width": 1280, "height": 800})
        self.answers: list[Response] = []
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", self._request)
        self.page.on("response", lambda answer: self.answers.append(answer))
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _request(self, request: Request) -> None:
        if not request.url.startswith(("data:", "blob:")):
            self.asked.append(request.url)

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.url}{path}")
        return self.page

    def dicom(self) -> list[str]:
        """Paths of DICOMweb that were asked for, without the query."""
        begin = f"{self.url}/dicom/"
        return [address.removeprefix(begin).partition("?")[0] for address in self.asked if address.startswith(begin)]

    def check(self) -> None:
        """Everything was answered well, and by this server."""
        assert [(each.status, each.url) for each in self.answers if each.status >= 400] == []
        assert [address for address in self.asked if not address.startswith(f"{self.url}/")] == []
        assert self.complaints == []


@pytest.fixture
def watched(webgl: BrowserContext, url: str) -> Iterator[Watched]:
    found = Watched(webgl, url)
    yield found
    found.page.close()


def shown(page: Page, at: Locator, wanted: Callable[[NDArray[np.uint8]], bool]) -> NDArray[np.uint8]:
    """The picture of a viewport as soon as it is as wanted."""
    seen = picture(at)
    for _ in range(200):
        if wanted(seen):
            return seen
        page.wait_for_timeout(100)
        seen = picture(at)
    raise AssertionError("the viewport never showed what it should")


def has_anatomy(seen: NDArray[np.uint8]) -> bool:
    """Not blank: many grey values between its overlays."""
    height, width, _ = seen.shape
    middle = seen[height // 8 : -height // 8, width // 8 : -width // 8, 0]
    return middle.std() > 25 and len(np.unique(middle)) > 60


def kept(page: Page, name: str) -> None:
    """A picture for people, where they asked for one."""
    if folder := os.environ.get("MICROTOME_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"ohif-{name}.png")


def test_the_list_of_studies_and_its_filter(watched: Watched) -> None:
    page = watched.open("/browse/")
    expect(page.get_by_text("Austrialian")).to_be_visible()
    expect(page.get_by_text(SLIDE)).to_be_visible()
    kept(page, "list")
    with page.expect_response(lambda answer: "PatientName=" in unquote(answer.url)) as answered:
        page.locator("input").first.fill("austr")
    assert "PatientName=*austr*" in unquote(answered.value.url)
    assert len(answered.value.json()) == 1
    expect(page.get_by_text(SLIDE)).to_have_count(0)
    expect(page.get_by_text("Austrialian")).to_be_visible()
    watched.check()


def test_a_stack_is_scrolled(watched: Watched) -> None:
    uid = study(watched.url, "ModalitiesInStudy=CT&PatientName=Austr*")
    page = watched.open(f"/browse/viewer?StudyInstanceUIDs={uid}")
    pane = page.locator("[data-cy=viewport-pane]").first
    first = shown(page, pane, has_anatomy)
    place = page.locator("[data-cy=viewport-overlay-bottom-right]")
    expect(place).to_contain_text("(1/93)")
    pane.hover()
    for number in range(2, 31):
        page.mouse.wheel(0, 100)
        expect(place).to_contain_text(f"({number}/93)")
    later = shown(page, pane, lambda seen: has_anatomy(seen) and np.abs(seen.astype(int) - first).mean() > 3)
    assert later.shape == first.shape
    frames = {path for path in watched.dicom() if "/frames/" in path}
    assert len(frames) >= 30
    kept(page, "stack")
    watched.check()


def test_a_segmentation_lies_over_the_slices(watched: Watched) -> None:
    uid = study(watched.url, "ModalitiesInStudy=SEG")
    page = watched.open(f"/browse/viewer?StudyInstanceUIDs={uid}")
    pane = page.locator("[data-cy=viewport-pane]").first
    plain = shown(page, pane, has_anatomy)
    assert colored(plain) < 0.01
    page.get_by_text("Liver Segmentation").dblclick()
    page.get_by_text("LOAD", exact=True).click()
    shown(page, pane, lambda seen: colored(seen) > 0.05)
    assert any(path.endswith("/metadata") for path in watched.dicom())
    kept(page, "segmentation")
    watched.check()


def colored(seen: NDArray[np.uint8]) -> float:
    """The part of the middle that is not grey."""
    height, width, _ = seen.shape
    middle = seen[height // 5 : -height // 5, width // 5 : -width // 5].astype(int)
    return float((np.ptp(middle, axis=2) > 40).mean())


def test_a_slide_that_is_no_dicom_under_the_microscope(watched: Watched, testdata: Path) -> None:
    uid = study(watched.url, f"StudyDescription={SLIDE}")
    page = watched.open(f"/browse/microscopy?StudyInstanceUIDs={uid}")
    pane = page.locator("[data-cy=viewport-pane]").first
    whole = shown(page, pane, lambda seen: colored(seen) > 0.1)
    kept(page, "microscopy")
    pane.hover()
    for _ in range(4):
        page.mouse.wheel(0, -200)
        page.wait_for_timeout(300)
    near = shown(page, pane, lambda seen: colored(seen) > 0.1 and np.abs(seen.astype(int) - whole).mean() > 10)
    numbers = {path.rpartition("/")[2] for path in watched.dicom() if "/frames/" in path}
    assert len(numbers) > 3, "tiles of the full resolution were asked for"
    with openslide.OpenSlide(testdata / "svs" / SLIDE) as slide:
        tissue = np.asarray(slide.get_thumbnail((300, 300)).convert("RGB"))
    pink = tissue[np.ptp(tissue.astype(int), axis=2) > 40].mean(axis=0)
    seen = near[np.ptp(near.astype(int), axis=2) > 40].mean(axis=0)
    assert np.abs(pink - seen).max() < 40
    kept(page, "microscopy-near")
    watched.check()


class _Elsewhere(BaseHTTPRequestHandler):
    """Another host, which notes what it is asked."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.send_header("access-control-allow-origin", "*")
        self.end_headers()
        self.wfile.write(b'{"studies": []}')

    do_OPTIONS = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    handler = type("Handler", (_Elsewhere,), {"asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "path",
    [
        "/browse/viewer/dicomjson?url={there}/studies.json",
        "/browse/?url={there}/studies.json",
        "/browse/?datasources=dicomjson&url={there}/studies.json",
        "/browse/viewer/dicomwebproxy?url={there}/studies.json&StudyInstanceUIDs=1.2",
        "/browse/viewer?configUrl={there}/config.js&StudyInstanceUIDs={uid}",
        "/browse/?configUrl={there}/config.js",
    ],
)
def test_no_link_brings_in_another_host(watched: Watched, elsewhere: tuple[str, list[str]], path: str) -> None:
    """CVE-2026-12473: a link must not make the viewer talk to a host that it names."""
    there, asked = elsewhere
    page = watched.open(path.format(there=quote(there, safe=""), uid=study(watched.url, "ModalitiesInStudy=SEG")))
    page.wait_for_function("document.body.innerText.trim().length > 20")  # the application has done what it will
    assert asked == []
    assert [address for address in watched.asked if not address.startswith(f"{watched.url}/")] == []
    assert [text for text in watched.complaints if there in text or "Content Security Policy" in text] == []


def test_the_policy_of_the_page_forbids_other_hosts(watched: Watched, elsewhere: tuple[str, list[str]]) -> None:
    """Were OHIF ever made to ask one, the browser would not."""
    there, asked = elsewhere
    page = watched.open("/browse/")
    page.wait_for_load_state("networkidle")
    refused = page.evaluate("(url) => fetch(url).then(() => 'answered', () => 'refused')", there)
    assert (refused, asked) == ("refused", [])
