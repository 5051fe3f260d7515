"""HTTP load by wrk over a list of requests; what it reports, as numbers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.processes import Server

_SCRIPT = """
local requests = {}
local next = %(start)d
init = function(arguments)
  for line in io.lines("%(targets)s") do
    local path, etag = line:match("^(%%S+) ?(.*)$")
    local headers = {%(headers)s}
    if etag ~= "" then headers["If-None-Match"] = etag end
    requests[#requests + 1] = wrk.format("GET", path, headers)
  end
end
request = function()
  next = next %% #requests + 1
  return requests[next]
end
"""
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True)
class Load:
    """What one burst measured: answers per s, server CPU in us per answer, latencies in s, answers not 2xx/3xx."""

    rate: float
    cpu_us: float
    p50: float
    p99: float
    answers: int
    failures: int


def burst(
    server: Server,
    targets: Sequence[str],
    *,
    seconds: int = 2,
    connections: int = 32,
    start: int = 0,
    headers: Mapping[str, str] | None = None,
) -> Load:
    """Load ``server`` with the targets in turn, keep-alive, for some seconds."""
    with TemporaryDirectory() as folder:
        listing, script = Path(folder, "targets"), Path(folder, "script.lua")
        listing.write_text("\n".join(targets) + "\n")
        lines = ", ".join(f"[ [[{name}]] ] = [[{value}]]" for name, value in (headers or {}).items())
        script.write_text(_SCRIPT % {"targets": listing, "start": start % len(targets), "headers": lines})
        before = server.cpu_seconds()
        output = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "30s", "-s", str(script),
             f"http://127.0.0.1:{server.port}"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        cpu = server.cpu_seconds() - before
    answered = int(_find(r"(\d+) requests in", output))
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    return Load(
        rate=float(_find(r"Requests/sec:\s+([\d.]+)", output)),
        cpu_us=cpu / max(1, answered) * 1e6,
        p50=_seconds(_find(r"50%\s+(\S+)", output)),
        p99=_seconds(_find(r"99%\s+(\S+)", output)),
        answers=answered,
        failures=(int(failed[1]) if failed else 0) + (sum(map(int, errors.groups())) if errors else 0),
    )


def _find(pattern: str, output: str) -> str:
    found = re.search(pattern, output)
    if found is None:
        raise RuntimeError(f"wrk printed no {pattern!r}:\n{output}")
    return found[1]


def _seconds(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)([a-z]+)", text)
    return float(found[1]) * _UNITS[found[2]] if found else float("nan")
