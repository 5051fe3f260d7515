"""A server of this process on a real socket, and a client that sends paths exactly as they are written."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from microtome.app import Services
from microtome.server.run import Server, build, listen
from microtome.settings import Settings


@dataclass(frozen=True)
class Answer:
    """Status, headers with lower-case names, and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The code of an error; its shape is checked."""
        found = self.json()
        assert list(found) == ["error", "message", "status"], found
        assert found["status"] == self.status
        assert found["message"]
        assert self.headers["content-type"] == "application/json"
        return found["error"]

    @property
    def hit(self) -> bool:
        """Whether the tile cache had it."""
        return {"true": True, "false": False}[self.headers["x-tile-cache-hit"]]

    def jpeg(self) -> Image.Image:
        """The picture of a successful tile: complete, nothing behind it."""
        assert self.status == 200, self.body[:300]
        assert self.headers["content-type"] == "image/jpeg"
        assert self.body.startswith(b"\xff\xd8")
        assert self.body.endswith(b"\xff\xd9")
        image = Image.open(io.BytesIO(self.body))
        image.load()
        return image


class Client:
    """Requests to one server, each over a connection of its own unless they are ``together``."""

    def __init__(self, port: int, services: Services) -> None:
        self.port = port
        self.services = services

    def request(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """One exchange."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, target, body, dict(headers or {}))
            response = connection.getresponse()
            found: dict[str, str] = {}
            for name, value in response.getheaders():
                found[name.lower()] = f"{found[name.lower()]}, {value}" if name.lower() in found else value
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def get(self, target: str, headers: Mapping[str, str] | None = None) -> Answer:
        """GET."""
        return self.request("GET", target, headers)

    def together(self, *targets: str) -> list[Answer]:
        """All at the same time."""
        with ThreadPoolExecutor(len(targets)) as pool:
            return list(pool.map(self.get, targets))


@contextmanager
def served(data: Path | str, **options: Any) -> Iterator[Client]:
    """Serve a folder or a URL with the settings given, until the block ends.

    DICOMweb is off unless asked for: its index would be another reader of what is counted here. Files are complete
    when they are seen.
    """
    settings = Settings(data=str(data), port=0, **{"dicomweb": False, "dicom_settle": 0.0, **options})
    listening = listen(settings)
    running: list[Server] = []
    ready = threading.Event()

    def run() -> None:
        try:
            running.append(build(settings, ready.set))
            asyncio.run(running[0].serve(sockets=[listening]))
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        ready.wait(30)
        assert running, "the server did not start"
        assert running[0].started, "the server did not start"
        yield Client(listening.getsockname()[1], running[0].config.app.state.services)  # type: ignore[union-attr]
    finally:
        if running:
            running[0].drain = 0.0
            running[0].should_exit = True
        thread.join(30)
        listening.close()


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for what happens in the background. Raises AssertionError when it does not."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        threading.Event().wait(0.02)
