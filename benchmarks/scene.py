"""The Slicer scene over HTTP: slices, surfaces, volume rendering, a dragged view, and what others notice of it.

The original cannot be installed beside it: its figures, 44 ms and 15 requests/s for a slice of the same size over HTTP,
were measured elsewhere.
"""

from __future__ import annotations

import http.client
import json
import statistics
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import numpy as np
from websockets.sync.client import ClientConnection, connect

from benchmarks import peers
from benchmarks.dicomweb import one_by_one
from benchmarks.processes import Server
from benchmarks.workloads import Bench, Row, figures, tiles
from benchmarks.wrk import Load, burst

SIZE = "512,512"
SAMPLE = "MRHead"
"""256 x 256 x 130 voxels."""
TRIANGLES = 290_000
MOVES_PER_SECOND = 120
"""Of a mouse."""
_API = "/scene/v1"
_SLIDE = "svs-ycbcr.svs"


def scene(bench: Bench) -> None:
    """Every target, each on a scene of its own."""
    with _serving(bench) as server:
        volume = asked(server, "POST", f"{_API}/samples/{SAMPLE}")["ids"][0]
        _slices(bench, server)
        _dragged(bench, server)
        _volume(bench, server, volume)
    with _serving(bench) as server:
        asked(server, "POST", f"{_API}/files?name=surface.stl", surface(TRIANGLES))
        _surface(bench, server)
    _others(bench)


@contextmanager
def _serving(bench: Bench) -> Iterator[Server]:
    with peers.running(peers.microtome(str(bench.slides), "--scene")) as (server,):
        yield server


def asked(server: Server, method: str, path: str, body: bytes | str | None = None) -> dict[str, list[str]]:
    """An answer as JSON. Raises RuntimeError for a refusal."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
    connection.request(method, path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    if response.status >= 300:
        raise RuntimeError(f"{method} {path}: {response.status} {answer[:200]!r}")
    return json.loads(answer or b"{}")


def surface(triangles: int) -> bytes:
    """A bumpy ball of about so many triangles, 180 mm across, as binary STL."""
    rows = round((triangles / 2) ** 0.5)
    around, down = np.meshgrid(np.linspace(0, 2 * np.pi, rows + 1), np.linspace(0, np.pi, rows + 1))
    radius = 90 + 6 * np.sin(9 * around) * np.sin(9 * down)
    points = np.stack(
        [radius * np.sin(down) * np.cos(around), radius * np.sin(down) * np.sin(around), radius * np.cos(down)], -1
    ).astype("<f4")
    a, b, c, d = points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]
    corners = np.concatenate([np.stack([a, d, c], 2).reshape(-1, 3, 3), np.stack([a, c, b], 2).reshape(-1, 3, 3)])
    facets = np.zeros(len(corners), np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("word", "<u2")]))
    facets["corners"] = corners
    return bytes(80) + struct.pack("<I", len(corners)) + facets.tobytes()


def offsets(count: int) -> list[float]:
    """Places through the head in mm, none twice, in the order of somebody who looks around."""
    found = np.linspace(-60, 60, count)
    np.random.default_rng(1).shuffle(found)
    return [round(float(each), 3) for each in found]


def _slices(bench: Bench, server: Server) -> None:
    for image_format, least in (("png", 100.0), ("jpeg", 150.0)):
        targets = [f"{_API}/slices/Red/picture?size={SIZE}&format={image_format}&offset={at}" for at in offsets(4000)]
        alone = _rounds(bench, lambda start, where=targets: one_by_one(server, where, {}, 60, start))
        together = _rounds(
            bench, lambda start, where=targets: burst(server, where, seconds=bench.seconds, connections=4, start=start)
        )
        p50, rate = _p50(alone), statistics.median(load.rate for load in together)
        slow = image_format == "png" and p50 >= 12
        bench.add(
            Row(
                f"scene: slice of 512 x 512, {image_format.upper()}, none twice",
                f"{'p50 under 12 ms, ' if image_format == 'png' else ''}at least {least:g}/s",
                {**_named("one after the other", alone), **_named("four at a time", together)},
                not slow and rate >= least,
                f"p50 {p50:.1f} ms, {rate:.0f}/s; the original 44 ms, 15/s, measured elsewhere",
            )
        )


def _dragged(bench: Bench, server: Server) -> None:
    seen = [_drag(server, bench.seconds * 2.0) for _ in range(bench.rounds)]
    rate = statistics.median(seen)
    bench.add(
        Row("scene: a slice of 512 x 512 dragged over a websocket", "at least 25 pictures/s",
            {"microtome": {"rate": rate}}, rate >= 25,
            f"{rate:.0f} pictures/s of {MOVES_PER_SECOND} moves/s, the fewest of a round {min(seen):.0f}")
    )  # fmt: skip


def _drag(server: Server, seconds: float) -> float:
    """Pictures per s that somebody sees who moves the mouse all the time and answers each picture."""
    places = offsets(1 << 15)
    with connect(f"ws://127.0.0.1:{server.port}{_API}/views/Red/stream", max_size=None) as socket:
        shown = 0
        end = time.perf_counter() + seconds
        moving = threading.Thread(target=_moves, args=(socket, places, end))
        begin = time.perf_counter()
        moving.start()
        while time.perf_counter() < end:
            told = cast("dict[str, object]", json.loads(socket.recv(30)))
            if told["kind"] == "error":
                raise RuntimeError(f"the view answered {told}")
            socket.recv(30)
            socket.send(json.dumps({"seen": told["number"]}))
            shown += 1
        took = time.perf_counter() - begin
        moving.join()
    return shown / took


def _moves(socket: ClientConnection, places: Sequence[float], end: float) -> None:
    size = [int(each) for each in SIZE.split(",")]
    for number, place in enumerate(places, 1):
        if time.perf_counter() >= end:
            return
        socket.send(json.dumps({"number": number, "offset": place, "size": size}))
        time.sleep(1 / MOVES_PER_SECOND)


def _volume(bench: Bench, server: Server, volume: str) -> None:
    asked(server, "PATCH", f"{_API}/volumes/{volume}/rendering", json.dumps({"visible": True}))
    asked(server, "PATCH", f"{_API}/camera", json.dumps({"reset": True}))
    for effort, limit in (("interactive", 120.0), ("full", 350.0)):
        _turned(bench, server, f"volume rendering, {effort}", effort, limit)


def _surface(bench: Bench, server: Server) -> None:
    asked(server, "PATCH", f"{_API}/camera", json.dumps({"reset": True}))
    _turned(bench, server, f"surface of {TRIANGLES:,} triangles", "full", 100.0)


def _turned(bench: Bench, server: Server, what: str, effort: str, limit: float) -> None:
    """A view from ever new sides."""
    targets = [
        f"{_API}/threed/picture?size={SIZE}&format=jpeg&effort={effort}&azimuth={azimuth}" for azimuth in range(1, 360)
    ]
    loads = _rounds(bench, lambda start: one_by_one(server, targets, {}, 12, start))
    p50 = _p50(loads)
    bench.add(
        Row(f"scene: {what}, 512 x 512, software GL", f"under {limit:g} ms", _named("microtome", loads), p50 < limit,
            f"p50 {p50:.0f} ms")
    )  # fmt: skip


def _others(bench: Bench) -> None:
    """How long others wait while the scene draws slices and turns a volume as fast as it can."""
    with _serving(bench) as server:
        volume = asked(server, "POST", f"{_API}/samples/{SAMPLE}")["ids"][0]
        asked(server, "PATCH", f"{_API}/volumes/{volume}/rendering", json.dumps({"visible": True}))
        tile = [f"/tiles/{_SLIDE}/0/{x}/{y}.jpg" for x, y in tiles(server.port, _SLIDE, 0, 500)]
        quiet = _waited(server, tile, bench.seconds * bench.rounds)
        stop = threading.Event()
        busy = [
            threading.Thread(target=_again, args=(server, targets, stop))
            for targets in (
                [f"{_API}/slices/Red/picture?size={SIZE}&offset={at}" for at in offsets(2000)],
                [f"{_API}/slices/Green/picture?size={SIZE}&offset={at}" for at in offsets(2000)],
                [f"{_API}/threed/picture?size={SIZE}&format=jpeg&azimuth={at}" for at in range(1, 360)],
            )
        ]
        for thread in busy:
            thread.start()
        meanwhile = _waited(server, tile, bench.seconds * bench.rounds)
        stop.set()
        for thread in busy:
            thread.join()
    p99 = meanwhile["p99_ms"]
    bench.add(
        Row("scene: /health and tiles of a slide while slices and a volume are drawn", "p99 under 50 ms",
            {"microtome": meanwhile, "the same without the scene at work": quiet}, p99 < 50,
            f"p99 {p99:.1f} ms, {quiet['p99_ms']:.1f} ms without the scene at work")
    )  # fmt: skip


def _again(server: Server, targets: Sequence[str], stop: threading.Event) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    at = 0
    while not stop.is_set():
        connection.request("GET", targets[at % len(targets)])
        connection.getresponse().read()
        at += 1
    connection.close()


def _waited(server: Server, targets: Sequence[str], seconds: float) -> dict[str, float]:
    """Waits of a client that asks now and then, as a viewer does."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    waits: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for target in ("/health", targets[len(waits) % len(targets)]):
            begin = time.perf_counter()
            connection.request("GET", target)
            connection.getresponse().read()
            waits.append(time.perf_counter() - begin)
        time.sleep(0.005)
    connection.close()
    waits.sort()
    return {"p50_ms": waits[len(waits) // 2] * 1e3, "p99_ms": waits[int(len(waits) * 0.99)] * 1e3}


def _rounds(bench: Bench, load: Callable[[int], Load]) -> list[Load]:
    """The first round is warm-up; each goes on where the last one stopped. Raises RuntimeError for a failed answer."""
    found: list[Load] = []
    started = 0
    for number in range(bench.rounds + 1):
        each = load(started)
        if each.failures:
            raise RuntimeError(f"{each.failures} failed of {each.answers}")
        started += each.answers
        if number:
            found.append(each)
    return found


def _named(name: str, loads: list[Load]) -> dict[str, dict[str, float]]:
    return figures({name: loads})


def _p50(loads: list[Load]) -> float:
    return statistics.median(load.p50 for load in loads) * 1e3
