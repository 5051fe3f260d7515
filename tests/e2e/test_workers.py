"""Several processes behind one port: a shared cache, a successor without a failed request, the dead replaced."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

import pytest

from microtome.demo.svs import write_demo

TILE = "/tiles/demo.svs/0/1/1.jpg"


class Running:
    """``microtome serve`` as a process."""

    def __init__(
        self,
        place: Path | str,
        *options: str,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = ("serve",),
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "microtome", *command, str(place), "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r":(\d+)/", line)
        assert found, f"not started: {line!r}"
        self.port = int(found[1])

    def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, body

    def workers(self) -> set[int]:
        """Processes of the server that serve (the parent and Python's own helpers do not)."""
        found: set[int] = set()
        for pid in map(int, Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"spawn_main" in command:
                found.add(pid)
        return found

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


def until(condition: object, seconds: float = 30) -> None:
    """Wait for a condition, not for a time."""
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    write_demo(folder / "demo.svs", width=1024, height=768)
    return folder


@pytest.fixture
def two(folder: Path) -> Generator[Running, None, None]:
    running = Running(folder, "--workers", "2")
    yield running
    if running.process.poll() is None:
        running.stop(signal.SIGKILL)


def test_a_tile_of_one_worker_is_a_hit_in_the_others(two: Running) -> None:
    hits: list[bool] = []
    for quality in range(40, 60):
        path = f"{TILE}?quality={quality}"
        first, others = two.get(path)[1], [two.get(path)[1] for _ in range(4)]
        assert first["x-tile-cache-hit"] == "false"
        hits += [each["x-tile-cache-hit"] == "true" for each in others]
    assert all(hits)
    assert two.stop() == 0


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@pytest.mark.timeout(300)
async def test_sighup_brings_new_workers_without_a_failed_request(two: Running) -> None:
    before = two.workers()
    assert len(before) == 2
    done = asyncio.Event()
    answered = failed = 0

    async def client() -> None:
        nonlocal answered, failed
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while not done.is_set():
            streams = streams or await asyncio.open_connection("127.0.0.1", two.port)
            reader, writer = streams
            try:
                writer.write(f"GET {TILE} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head)
                assert length is not None
                await reader.readexactly(int(length[1]))
                answered += 1
                if b"connection: close" in head:
                    await close(writer)
                    streams = None
            except (ConnectionError, asyncio.IncompleteReadError):
                failed += 1
                await close(writer)
                streams = None
        if streams is not None:
            await close(streams[1])

    clients = [asyncio.create_task(client()) for _ in range(4)]
    two.process.send_signal(signal.SIGHUP)
    # The clients take the machine from those who start.
    async with asyncio.timeout(200):
        while two.workers() & before or len(two.workers()) != 2:
            await asyncio.sleep(0.05)
    asked = answered
    while answered < asked + 100:
        await asyncio.sleep(0.01)
    done.set()
    await asyncio.gather(*clients)
    assert failed == 0
    assert two.stop() == 0


def test_a_killed_worker_is_replaced(two: Running) -> None:
    victim = next(iter(two.workers()))
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in two.workers() and len(two.workers()) == 2)
    assert two.get(TILE)[0] == 200
    assert two.stop() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_lets_a_request_in_flight_finish(folder: Path, workers: str) -> None:
    running = Running(folder, "--workers", workers)
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
    connection.connect()
    # A thumbnail is made of many tiles: it is on its way when the signal comes.
    connection.request("GET", "/slides/demo.svs/thumbnail?max_size=2048&quality=99")
    running.process.send_signal(signal.SIGTERM)
    try:
        response = connection.getresponse()
        assert response.status == 200
        assert response.read().endswith(b"\xff\xd9")
    except (ConnectionError, http.client.RemoteDisconnected):
        # The signal was quicker than the request: then it had not been accepted.
        pytest.fail("a request that was sent was not answered")
    finally:
        connection.close()
    assert running.process.wait(30) == 0
    running.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(folder: Path, number: int) -> None:
    """Also with a request that nobody takes, and with the threads that watch the folder."""
    running = Running(folder, "--shutdown-timeout", "600")
    with socket.create_connection(("127.0.0.1", running.port)) as idle:
        idle.sendall(b"GET /slides/demo.svs/thumbnail?max_size=2048 HTTP/1.1\r\nHost: a\r\n\r\n")
        idle.recv(1)
        running.process.send_signal(number)
        running.process.send_signal(number)
        assert running.process.wait(30) in {0, -number}
    running.stop()


def test_a_port_in_use_is_told_in_one_line(folder: Path) -> None:
    running = Running(folder)
    second = subprocess.run(
        [sys.executable, "-m", "microtome", "serve", str(folder), "--port", str(running.port)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert second.returncode == 1
    assert "cannot listen on" in second.stderr
    assert "--port" in second.stderr
    assert "Traceback" not in second.stderr
    running.stop()


def test_somebody_without_a_home_is_served(folder: Path) -> None:
    """The index of DICOM files then lies where it is lost with the machine's temporary files."""
    environment = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    running = Running(folder, environment={**environment, "HOME": "/proc/nobody"})
    assert running.get("/slides")[0] == 200
    assert running.stop() == 0
