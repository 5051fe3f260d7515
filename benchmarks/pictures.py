"""The interface of WSI-Service: its operations beside the libraries the original is made of, and its figures."""

from __future__ import annotations

import http.client
import json
import os
import random
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import imagecodecs
import numpy as np

from benchmarks import peers
from benchmarks.processes import Server
from benchmarks.workloads import Bench, Row, figures, get, paired, tiles
from benchmarks.wrk import Load, burst
from microtome.pixels import images

SLIDE = "svs-ycbcr.svs"
PEER = "tiffslide + Pillow"
ORIGINAL_US = {"jpeg": 1300.0, "png": 1e6 / 27}
"""CPU time of a tile of the original on a machine like this, in us: measured, and out of 27 PNG tiles/s."""
NOTHING_KEPT = ("--cache-tiles", "1", "--cache-answers", "1")


def cheaper(loads: dict[str, list[Load]], ours: str = "microtome") -> float:
    """How much less CPU time than the peer, the median of the rounds."""
    return statistics.median(b.cpu_us / a.cpu_us for a, b in zip(loads[ours], loads[PEER], strict=True))


def pictures(bench: Bench) -> None:
    """Tiles, regions and thumbnails of one process, nothing kept between two requests, but for stored tiles again."""
    import tiffslide  # noqa: F401 - the peer needs it, and whoever has it not is told so

    ours, peer = peers.microtome(str(bench.slides), *NOTHING_KEPT), peers.tiffslide(bench.slides)
    kept = peers.microtome(str(bench.slides))
    with peers.running(ours, peer, kept):
        kept.name = "microtome, kept"
        chosen = tiles(ours.port, SLIDE, 0, 4000)
        plain = [f"/v3/slides/tile/level/0/tile/{x}/{y}?slide_id={SLIDE}" for x, y in chosen]
        for path in plain[:1000]:
            get(kept.port, path)
        loads = paired(bench, [(ours, plain), (peer, plain), (kept, plain[:1000])], connections=16)
        for server, state in ((ours, "not kept"), (kept, "kept")):
            stored(bench, {name: loads[name] for name in (server.name, PEER)}, server.name, state)
        codecs = Codecs([get(kept.port, path)[2] for path in plain[:100]])
        for what, query, least, floor, original in (
            ("JPEG tile, quality 70", "&image_quality=70", 2.5, codecs.tile("jpeg", 70), ORIGINAL_US["jpeg"]),
            ("PNG tile", "&image_format=png", 5.0, codecs.tile("png"), ORIGINAL_US["png"]),
            ("TIFF tile", "&image_format=tiff", 5.0, codecs.tile("tiff"), None),
        ):
            targets = [f"{path}{query}" for path in plain]
            row = compared(bench, what, least, targets, (ours, peer), floor, connections=16)
            if original is not None:
                row.verdict += f"; {original / row.figures['microtome']['cpu_us']:.1f}x less than the original's own"
                row.verdict += f" {original / 1000:.1f} ms"
            bench.add(row)
        regions = [
            f"/v3/slides/region/level/0/start/{left}/{top}/size/1000/1000?slide_id={SLIDE}"
            for left, top in corners(ours.port, 1000, 500)
        ]
        for kind, least in (("jpeg", 2.5), ("png", 5.0), ("tiff", 5.0)):
            what = f"region of 1000 x 1000 px, {kind.upper()}"
            targets = [f"{path}&image_format={kind}" for path in regions]
            bench.add(compared(bench, what, least, targets, (ours, peer), codecs.region(kind), connections=4))
        sizes = [f"/v3/slides/thumbnail/max_size/{side}/{side}?slide_id={SLIDE}" for side in range(300, 500)]
        what = "thumbnails of 300 to 500 px, JPEG (the peer keeps the first and scales it)"
        bench.add(compared(bench, what, 2.5, sizes, (ours, peer), None, connections=4))


def stored(bench: Bench, loads: dict[str, list[Load]], ours: str, state: str) -> None:
    """A JPEG tile as it is stored."""
    ratio, cpu = cheaper(loads, ours), statistics.median(load.cpu_us for load in loads[ours])
    bench.add(
        Row(
            f"v3: stored JPEG tile, {state}",
            f"20x less CPU than {PEER}; the original's own figure is 1.3 ms",
            figures(loads),
            ratio >= 20,
            f"{cpu:.1f} us CPU, {ratio:.0f}x less than {PEER}, {ORIGINAL_US['jpeg'] / cpu:.0f}x less"
            " than the original's own 1.3 ms",
        )
    )


def compared(
    bench: Bench,
    what: str,
    least: float,
    paths: Sequence[str],
    servers: tuple[Server, Server],
    floor: float | None,
    *,
    connections: int,
) -> Row:
    """The same work by both; ``floor`` is the CPU time of decoding and encoding alone, in us."""
    loads = paired(bench, [(server, paths) for server in servers], connections=connections)
    ratio, table = cheaper(loads), figures(loads)
    verdict = f"{ratio:.1f}x less CPU" if ratio >= 1 else f"{1 / ratio:.1f}x more CPU"
    if floor is not None:
        table["our codecs alone"] = {"cpu_us": floor}
        verdict += f" ({table['microtome']['cpu_us']:,.0f} us, of which the codecs alone {floor:,.0f})"
    return Row(f"v3: {what}", f"{least:g}x less CPU than {PEER}", table, ratio >= least, verdict)


class Codecs:
    """What decoding and encoding cost by themselves, in us: below this no server can get with these libraries."""

    def __init__(self, stored: list[bytes]) -> None:
        self._stored = stored
        self._tiles = [np.asarray(imagecodecs.jpeg8_decode(data)) for data in stored]

    def tile(self, kind: str, quality: int = 90) -> float:
        """A tile, decoded and encoded."""
        return spent(imagecodecs.jpeg8_decode, self._stored) + spent(
            lambda tile: images.encode(tile, kind, quality), self._tiles
        )

    def region(self, kind: str) -> float:
        """The 25 tiles of a square of 1000 px, decoded, and the square encoded."""
        rows = [np.concatenate(self._tiles[n : n + 5], axis=1) for n in range(0, 25, 5)]
        square = np.ascontiguousarray(np.concatenate(rows)[100:1100, 100:1100])
        return 25 * spent(imagecodecs.jpeg8_decode, self._stored) + spent(
            lambda array: images.encode(array, kind, 90), [square] * 5
        )


def spent(work: Callable[[Any], object], what: Sequence[Any]) -> float:
    """CPU time of one call in us, the median of five rounds."""
    rounds: list[float] = []
    for _ in range(5):
        begin = time.process_time()
        for each in what:
            work(each)
        rounds.append((time.process_time() - begin) / len(what) * 1e6)
    return statistics.median(rounds)


def corners(port: int, side: int, count: int, seed: int = 3) -> list[tuple[int, int]]:
    """Places of squares of level 0."""
    described = json.loads(get(port, f"/v3/slides/info?slide_id={SLIDE}")[2])["extent"]
    place = random.Random(seed)
    return [(place.randrange(described["x"] - side), place.randrange(described["y"] - side)) for _ in range(count)]


class Asker(threading.Thread):
    """Somebody who asks one thing after the other and notes how long each took, in s."""

    def __init__(self, port: int, target: Callable[[], str] | None) -> None:
        super().__init__()
        self.waits: list[float] = []
        self._port, self._target = port, target
        self._stopped = threading.Event()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        while not self._stopped.is_set():
            begin = time.perf_counter()
            if self._target is None:
                time.sleep(0.001)
            else:
                connection.request("GET", self._target())
                response = connection.getresponse()
                response.read()
                if response.status != 200:
                    raise RuntimeError(f"answered {response.status}")
            self.waits.append(time.perf_counter() - begin)
            time.sleep(0.005)
        connection.close()

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def large_region(bench: Bench) -> None:
    """What others wait for while one process renders squares of 5000 px as PNG, one after the other."""
    folder = bench.work / "two"
    folder.mkdir(exist_ok=True)
    for name in (SLIDE, "other.svs"):
        (folder / name).unlink(missing_ok=True)
        os.link(bench.slides / SLIDE, folder / name)
    place = random.Random(4)

    def tile(query: str) -> Callable[[], str]:
        return lambda: (
            f"/v3/slides/tile/level/0/tile/{place.randrange(150)}/{place.randrange(110)}?slide_id=other.svs{query}"
        )

    with peers.running(peers.microtome(str(folder), *NOTHING_KEPT)) as (server,):
        regions = [
            f"/v3/slides/region/level/0/start/{left}/{top}/size/5000/5000?slide_id={SLIDE}&image_format=png"
            for left, top in corners(server.port, 5000, 100)
        ]
        asked: dict[str, Callable[[], str] | None] = {
            "/alive": lambda: "/alive",
            "stored tile of another slide": tile(""),
            "PNG tile of another slide": tile("&image_format=png"),
            "the client itself (1 ms of sleep)": None,
        }
        for target in asked.values():
            if target is not None:
                get(server.port, target())
        waits: dict[str, list[list[float]]] = {name: [] for name in asked}
        loads: list[Load] = []
        for number in range(bench.rounds + 1):
            askers = {name: Asker(server.port, target) for name, target in asked.items()}
            for asker in askers.values():
                asker.start()
            loads.append(burst(server, regions, seconds=2 * bench.seconds, connections=1, start=10 * number))
            for name, asker in askers.items():
                asker.stop()
                if number:
                    waits[name].append(sorted(asker.waits))
    table = {
        name: {
            "p99_ms": statistics.median(each[int(len(each) * 0.99)] for each in rounds) * 1e3,
            "worst_ms": statistics.median(each[-1] for each in rounds) * 1e3,
            "worst_of_all_ms": max(each[-1] for each in rounds) * 1e3,
        }
        for name, rounds in waits.items()
    }
    served = [name for name, target in asked.items() if target is not None]
    worst = max(table[name]["worst_ms"] for name in served)
    rate = statistics.median(load.rate for load in loads[1:])
    bench.add(
        Row(
            "v3: others while regions of 5000 x 5000 px are rendered as PNG",
            "/alive and tiles of other slides under 50 ms",
            table,
            worst < 50,
            f"p99 at most {max(table[name]['p99_ms'] for name in served):.1f} ms, the worst of a round {worst:.0f} ms,"
            f" beside {rate:.1f} regions/s",
        )
    )
