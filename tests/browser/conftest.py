"""A real server, and pages in headless Chromium that fail the test on any error in the console."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Playwright, expect, sync_playwright

from tests.browser.slides import write_folder, write_looks

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# As long for what is expected as for what is clicked: the defaults (5 s, 30 s) are not enough for a busy machine.
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)
FAILED_REQUEST = ("Failed to load resource", "failed to load: %s")
"""What Chromium and OpenSeadragon print for an answer of 400 and above. Tests that bring those about say so."""


def serve_command(folder: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "microtome", "serve", str(folder), "--host", "127.0.0.1", "--port", str(port)]


def closed_to_strangers(secret: str) -> dict[str, str]:
    """Environment of a server that asks for signed links."""
    return {"MICROTOME_AUTH_ENABLED": "true", "MICROTOME_AUTH_SECRET": secret}


@contextmanager
def serving(folder: Path, log: Path, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """The address of a server of ``folder``; it is stopped at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            serve_command(folder, port),
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
    try:
        wait_until_healthy(url, process, log)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(150):
        try:
            with urlopen(f"{url}/health", timeout=5) as answer:
                assert answer.status == 200
                return
        except (URLError, ConnectionError):
            try:
                process.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
            pytest.fail(f"the server ended with {process.returncode}:\n{log.read_text(errors='replace')[-4000:]}")
    pytest.fail(f"the server does not answer:\n{log.read_text(errors='replace')[-4000:]}")


@pytest.fixture(scope="package")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("slides")
    with serving(write_folder(folder), tmp_path_factory.mktemp("log") / "server.log") as url:
        yield url


@pytest.fixture(scope="package")
def looks_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of slides with channels, focal planes and shapes."""
    folder = tmp_path_factory.mktemp("looks")
    with serving(write_looks(folder), tmp_path_factory.mktemp("log") / "server.log") as url:
        yield url


@pytest.fixture(scope="package")
def real_url(testdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of the real files."""
    with serving(testdata, tmp_path_factory.mktemp("log") / "server.log") as url:
        yield url


@pytest.fixture(scope="package")
def empty_server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("empty")
    with serving(folder, tmp_path_factory.mktemp("log") / "server.log") as url:
        yield url


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:  # one at a time in a process
        yield running


@pytest.fixture(scope="package")
def chromium(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    context = launched(playwright, tmp_path_factory.mktemp("profile"), ARGUMENTS)
    yield context
    context.close()


def launched(playwright: Playwright, profile: Path, arguments: Sequence[str]) -> BrowserContext:
    """A Chromium of this machine. Skips the test where there is none."""
    program = os.environ.get("MICROTOME_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no Chromium: install the package chromium, or set MICROTOME_CHROMIUM")
    context = playwright.chromium.launch_persistent_context(
        str(profile),
        executable_path=program,
        args=list(arguments),
        accept_downloads=True,
        viewport={"width": 1180, "height": 780},
    )
    context.set_default_timeout(PATIENCE_MS)
    return context


class Visitor:
    """Opens pages and keeps what they complain about. ``expect_failed_requests`` when a test makes requests fail."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context = context
        self.url = url
        self.complaints: list[str] = []
        self.expect_failed_requests = False

    def page(self) -> Page:
        page = self.context.new_page()
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return page

    def catalogue(self, query: str = "") -> Page:
        page = self.page()
        page.goto(f"{self.url}/{query}")
        return page

    def slide(self, slide_id: str, fragment: str = "", page: Page | None = None) -> Page:
        """The viewer, ready to be moved. ``fragment`` goes after the #."""
        page = page or self.page()
        page.goto(f"{self.url}/view/{quote(slide_id, safe='')}{'#' + fragment if fragment else ''}")
        page.locator("body[data-ready=true]").wait_for()
        return page

    def _console(self, message: ConsoleMessage) -> None:
        if message.type != "error":
            return
        if self.expect_failed_requests and any(text in message.text for text in FAILED_REQUEST):
            return
        self.complaints.append(f"{message.text} ({message.location.get('url')})")


@contextmanager
def visiting(context: BrowserContext, url: str) -> Iterator[Visitor]:
    visitor = Visitor(context, url)
    yield visitor
    for page in context.pages[1:]:
        page.close()
    # What pages remember must not pass from one test to the next.
    keeper = context.pages[0]
    keeper.goto(f"{url}/static/logo.svg")
    keeper.evaluate("localStorage.clear()")
    assert visitor.complaints == []


@pytest.fixture
def visit(chromium: BrowserContext, server_url: str) -> Iterator[Visitor]:
    with visiting(chromium, server_url) as visitor:
        yield visitor


@pytest.fixture
def looks(chromium: BrowserContext, looks_url: str) -> Iterator[Visitor]:
    with visiting(chromium, looks_url) as visitor:
        yield visitor


@pytest.fixture
def real(chromium: BrowserContext, real_url: str) -> Iterator[Visitor]:
    with visiting(chromium, real_url) as visitor:
        yield visitor
