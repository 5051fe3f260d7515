"""Servers under measurement: start, wait until they answer, account their CPU time and memory."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port of 127.0.0.1 nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int, path: str = "/") -> bool:
    """Whether something speaks HTTP on the port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            return connection.recv(5) == b"HTTP/"
    except OSError:
        return False


@dataclass
class Server:
    """A server process on ``port`` of 127.0.0.1; a context manager."""

    name: str
    command: Sequence[str]
    port: int
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    ready: Callable[[int], bool] = answers
    log: Path | None = None
    process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        output = self.log.open("wb") if self.log else subprocess.DEVNULL
        self.process = subprocess.Popen(
            list(self.command),
            env={**os.environ, **self.environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        deadline = time.monotonic() + 60
        while not self.ready(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start: {' '.join(self.command)}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(10)
                break
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue

    def pids(self) -> list[int]:
        """The process and its descendants."""
        assert self.process is not None
        family = [self.process.pid]
        for pid in family:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                family.extend(int(child) for child in task.read_text().split())
        return family

    def cpu_seconds(self) -> float:
        """User and system time of the whole family, in s."""
        total = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICK

    def resident_bytes(self) -> int:
        """Resident memory of the whole family, in bytes."""
        total = 0
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1]) * 1024
        return total
