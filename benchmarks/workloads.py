"""Each workload: what is asked of whom, in paired rounds, and the target it is held against."""

from __future__ import annotations

import http.client
import io
import json
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import peers
from benchmarks.processes import Server
from benchmarks.viewerpath import Journey, travel
from benchmarks.wrk import Load, burst


@dataclass
class Row:
    """A line of the table: the figures of each server, the ratios, whether the target was met."""

    work: str
    target: str
    figures: dict[str, dict[str, float]]
    met: bool | None
    verdict: str
    rounds: int = 5
    seconds: int = 2
    load: float = 0.0
    """Load average of the last minute when it was done; our own share of it is about as many as there are cores."""


@dataclass
class Bench:
    """Folders and settings of one run. ``slides`` is a bucket folder of an S3 server and a plain folder at once."""

    slides: Path
    work: Path
    rounds: int = 5
    seconds: int = 2
    rows: list[Row] = field(default_factory=list[Row])
    missing: list[str] = field(default_factory=list[str])

    def add(self, row: Row) -> None:
        row.rounds, row.seconds, row.load = self.rounds, self.seconds, os.getloadavg()[0]
        self.rows.append(row)
        print(f"{row.work}: {row.verdict}", flush=True)

    def add_missing(self, work: str, reason: str) -> None:
        self.missing.append(f"{work}: {reason}")
        print(f"{work}: could not be run: {reason}", flush=True)


def get(port: int, path: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    headers = {name.lower(): value for name, value in response.getheaders()}
    connection.close()
    return response.status, headers, body


def tiles(port: int, slide: str, level: int, count: int, seed: int = 1) -> list[tuple[int, int]]:
    """A random choice of tiles (column, row) of a level."""
    described = json.loads(get(port, f"/slides/{slide}")[2])["levels"][level]
    everything = [(x, y) for y in range(described["tiles_y"]) for x in range(described["tiles_x"])]
    random.Random(seed).shuffle(everything)
    return everything[:count]


def paired(bench: Bench, work: Sequence[tuple[Server, Sequence[str]]], **options: Any) -> dict[str, list[Load]]:
    """Rounds of bursts, servers in changing order, each continuing where it stopped; the first round is warm-up."""
    loads: dict[str, list[Load]] = {server.name: [] for server, _ in work}
    for number in range(bench.rounds + 1):
        order = list(work)
        random.Random(number).shuffle(order)
        for server, targets in order:
            done = sum(load.answers for load in loads[server.name])
            load = burst(server, targets, seconds=bench.seconds, start=done, **options)
            if load.failures:
                raise RuntimeError(f"{server.name}: {load.failures} failed answers of {load.answers}")
            if number:
                loads[server.name].append(load)
    return loads


def figures(loads: dict[str, list[Load]]) -> dict[str, dict[str, float]]:
    return {
        name: {
            "rate": statistics.median(load.rate for load in each),
            "cpu_us": statistics.median(load.cpu_us for load in each),
            "p50_ms": statistics.median(load.p50 for load in each) * 1e3,
            "p99_ms": statistics.median(load.p99 for load in each) * 1e3,
        }
        for name, each in loads.items()
    }


def ratio(loads: dict[str, list[Load]], ours: str, theirs: str) -> float:
    """Median of the ratios of each round's rates."""
    return statistics.median(a.rate / b.rate for a, b in zip(loads[ours], loads[theirs], strict=True))


def ratio_of_cpu(loads: dict[str, list[Load]], ours: str, theirs: str) -> float:
    """How many times less CPU time an answer of ours takes, the median over the rounds."""
    return statistics.median(b.cpu_us / max(a.cpu_us, 1e-3) for a, b in zip(loads[ours], loads[theirs], strict=True))


def warm(bench: Bench) -> None:
    """Warm tiles, and 304 by If-None-Match, beside wsi-streamer and nginx."""
    slide, count = "svs-ycbcr.svs", 2000
    with peers.running(peers.s3_server(bench.slides.parent)) as (s3,):
        microtome = peers.microtome(str(bench.slides))
        others = [peers.streamer(s3.port)] if peers.wsi_streamer() else []
        with peers.running(microtome, *others):
            chosen = tiles(microtome.port, slide, 0, count)
            paths = [f"/tiles/{slide}/0/{x}/{y}.jpg" for x, y in chosen]
            static = bench.work / "static"
            for path in paths:
                target = static / path[1:]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(get(microtome.port, path)[2])
                for other in others:
                    get(other.port, path)
            with peers.running(peers.static_files(static, bench.work)) as (nginx,):
                loads = paired(bench, [(microtome, paths), (nginx, paths), *((other, paths) for other in others)])
                to_nginx = ratio(loads, "microtome", "nginx")
                cpu = statistics.median(load.cpu_us for load in loads["microtome"])
                verdict, met = f"{to_nginx:.2f} of nginx, {cpu:.1f} us CPU", to_nginx >= 0.9 and cpu < 20
                if others:
                    to_peer = ratio(loads, "microtome", "wsi-streamer")
                    verdict, met = f"{to_peer:.2f} of wsi-streamer, {verdict}", met and to_peer >= 0.9
                target_text = "at least 0.9 of wsi-streamer's rate and of nginx static; under 20 us CPU"
                bench.add(Row("warm tile, one process", target_text, figures(loads), met, verdict))
                tagged = [f"{path} {get(microtome.port, path)[1]['etag']}" for path in paths]
                again = paired(bench, [(microtome, paths)])
                matched = paired(Bench(bench.slides, bench.work, bench.rounds, bench.seconds), [(microtome, tagged)])
                share = statistics.median(
                    a.rate / b.rate for a, b in zip(matched["microtome"], again["microtome"], strict=True)
                )
                bench.add(
                    Row("304 by If-None-Match", "at least the warm rate", figures(matched), share >= 1.0,
                        f"{share:.2f} of the warm rate")
                )  # fmt: skip


def cold_local(bench: Bench) -> None:
    """Cold tiles from local disk: stored JPEG, other quality, JPEG 2000; nothing is kept between two requests."""
    slide = "svs-ycbcr.svs"
    none = ("--cache-tiles", "1", "--cache-answers", "1")
    microtome, openslide = peers.microtome(str(bench.slides), *none), peers.openslide(bench.slides)
    with peers.running(microtome, openslide):
        chosen = tiles(microtome.port, slide, 0, 4000)
        paths = [f"/tiles/{slide}/0/{x}/{y}.jpg" for x, y in chosen]
        static = bench.work / "static-cold"
        for path in paths:
            target = static / path[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(get(microtome.port, path)[2])
        plain = [f"/{slide}/0/{x}/{y}" for x, y in chosen]
        with peers.running(peers.static_files(static, bench.work)) as (nginx,):
            loads = paired(bench, [(microtome, paths), (nginx, paths), (openslide, plain)])
        to_nginx, to_openslide = ratio(loads, "microtome", "nginx"), ratio(loads, "microtome", "openslide")
        cpu = statistics.median(load.cpu_us for load in loads["microtome"])
        bench.add(
            Row(
                "cold tile, local disk, stored JPEG",
                "at least 0.6 of nginx static, 30x openslide-python DeepZoom, under 30 us CPU",
                figures(loads),
                to_nginx >= 0.6 and to_openslide >= 30 and cpu < 30,
                f"{to_nginx:.2f} of nginx, {to_openslide:.0f}x openslide, {cpu:.1f} us CPU",
            )
        )
        recoded = [f"{path}?quality=70" for path in paths]
        loads = paired(bench, [(microtome, recoded), (openslide, [f"{path}?quality=70" for path in plain])])
        to_openslide = ratio(loads, "microtome", "openslide")
        cpu = statistics.median(load.cpu_us for load in loads["microtome"])
        bench.add(
            Row(
                "cold tile, local disk, other quality",
                "under 700 us CPU, at least 3x openslide-python DeepZoom",
                figures(loads),
                to_openslide >= 3 and cpu < 700,
                f"{to_openslide:.1f}x openslide, {cpu:.0f} us CPU",
            )
        )
        jpeg2000(bench, microtome)


def jpeg2000(bench: Bench, microtome: Server) -> None:
    """CPU of a JPEG 2000 tile beside the decoder alone on the same tiles."""
    import imagecodecs
    import tifffile

    slide = "svs-j2k.svs"
    target = "within 1.3x of the decoder's own time plus 300 us"
    if not (bench.slides / slide).exists():
        bench.add_missing("cold tile, JPEG 2000", f"{slide} was not made")
        return
    chosen = tiles(microtome.port, slide, 0, 600)
    with tifffile.TiffFile(bench.slides / slide) as file:
        page = file.pages.first
        across = -(-page.imagewidth // page.tilewidth)
        streams: list[bytes] = []
        for x, y in chosen[:200]:
            file.filehandle.seek(page.dataoffsets[y * across + x])
            streams.append(file.filehandle.read(page.databytecounts[y * across + x]))
    decoder: list[float] = []
    loads: list[Load] = []
    paths = [f"/tiles/{slide}/0/{x}/{y}.jpg" for x, y in chosen]
    for number in range(bench.rounds):
        start = time.process_time()
        for stream in streams:
            imagecodecs.jpeg2k_decode(stream)
        decoder.append((time.process_time() - start) / len(streams) * 1e6)
        loads.append(burst(microtome, paths, seconds=bench.seconds, start=number * 100))
    own, cpu = statistics.median(decoder), statistics.median(load.cpu_us for load in loads)
    bench.add(
        Row("cold tile, JPEG 2000", target, {**figures({"microtome": loads}), "decoder alone": {"cpu_us": own}},
            cpu <= 1.3 * own + 300, f"{cpu:.0f} us CPU, the decoder alone {own:.0f} us")
    )  # fmt: skip


def viewer_path(bench: Bench, milliseconds: float) -> None:
    """A person's path over an S3 server, servers started cold for each journey."""
    slide = "svs-ycbcr.svs"
    work = "a viewer's path over S3" + (f", {milliseconds:g} ms latency" if milliseconds else " on loopback") + ", cold"
    if not peers.wsi_streamer():
        bench.add_missing(work, "wsi-streamer is not installed (cargo install wsi-streamer --version 0.4.0 --locked)")
        return
    journeys: dict[str, list[Journey]] = {"microtome": [], "wsi-streamer": []}
    with ExitStack() as stack:
        s3 = stack.enter_context(peers.s3_server(bench.slides.parent))
        relays = [stack.enter_context(peers.delayed(s3.port, milliseconds))] if milliseconds else []
        port = relays[0].port if relays else s3.port
        makers: dict[str, Callable[[], Server]] = {
            "microtome": lambda: peers.microtome(
                f"s3://{peers.BUCKET}", "--s3-endpoint", f"http://127.0.0.1:{port}", environment=peers.KEYS
            ),
            "wsi-streamer": lambda: peers.streamer(port),
        }
        for number in range(bench.rounds + 1):
            for name in sorted(makers, reverse=bool(number % 2)):
                with peers.running(makers[name]()) as (server,):
                    journey = uvloop.run(travel(server.port, slide))
                if number:
                    journeys[name].append(journey)
    pairs = list(zip(journeys["microtome"], journeys["wsi-streamer"], strict=True))
    speed = statistics.median(a.tiles_per_second / b.tiles_per_second for a, b in pairs)
    tail = statistics.median(a.percentile(0.99) / b.percentile(0.99) for a, b in pairs)
    picture = statistics.median(a.first_picture / b.first_picture for a, b in pairs)
    table = {
        name: {
            "tiles_per_s": statistics.median(j.tiles_per_second for j in each),
            "p99_ms": statistics.median(j.percentile(0.99) for j in each) * 1e3,
            "first_picture_ms": statistics.median(j.first_picture for j in each) * 1e3,
        }
        for name, each in journeys.items()
    }
    verdict = (
        f"{speed:.1f}x the tiles per second of wsi-streamer, p99 {tail:.2f} and first picture {picture:.2f} of its"
    )
    if milliseconds:
        bench.add(
            Row(work, "at least 3x, first picture at most a third", table, speed >= 3 and picture <= 1 / 3, verdict)
        )
    else:
        bench.add(Row(work, "at least 8x wsi-streamer, p99 a fifth", table, speed >= 8 and tail <= 0.2, verdict))


def health_under_load(bench: Bench) -> None:
    """The p99 of /health while other connections make the server transcode as fast as it can."""
    import threading

    slide = "svs-ycbcr.svs"
    with peers.running(peers.microtome(str(bench.slides), "--cache-tiles", "1", "--cache-answers", "1")) as (server,):
        paths = [f"/tiles/{slide}/0/{x}/{y}.jpg?quality=71" for x, y in tiles(server.port, slide, 0, 4000)]
        stop = threading.Event()
        waits: list[float] = []

        def ask() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", server.port)
            while not stop.is_set():
                begin = time.perf_counter()
                connection.request("GET", "/health")
                connection.getresponse().read()
                waits.append(time.perf_counter() - begin)
                time.sleep(0.005)

        thread = threading.Thread(target=ask)
        thread.start()
        load = burst(server, paths, seconds=bench.seconds * bench.rounds)
        stop.set()
        thread.join()
    p99 = sorted(waits)[int(len(waits) * 0.99)] * 1e3
    bench.add(
        Row("/health while cold tiles are transcoded at full load", "p99 under 50 ms",
            {"microtome": {"p99_ms": p99, "rate": load.rate}}, p99 < 50, f"p99 {p99:.1f} ms at {load.rate:.0f} tiles/s")
    )  # fmt: skip


def memory(bench: Bench) -> None:
    """Resident memory after 100 slides and 100,000 tiles, beyond the configured caches."""
    from PIL import Image

    folder = bench.work / "hundred"
    folder.mkdir(exist_ok=True)
    for number in range(100):
        copy = folder / f"slide-{number:03}.svs"
        copy.unlink(missing_ok=True)
        copy.hardlink_to(bench.slides / "svs-ycbcr.svs")
    caches = (100 + 64 + 64) << 20
    with peers.running(peers.microtome(str(folder))) as (server,):
        chosen = tiles(server.port, "slide-000.svs", 0, 1000)
        Image.open(io.BytesIO(get(server.port, f"/tiles/slide-000.svs/0/{chosen[0][0]}/{chosen[0][1]}.jpg")[2])).load()
        paths = [f"/tiles/slide-{number:03}.svs/0/{x}/{y}.jpg" for x, y in chosen for number in range(100)]
        asked = 0
        while asked < 100_000:
            load = burst(server, paths, seconds=bench.seconds, start=asked)
            asked += load.answers
        resident = server.resident_bytes()
    over = (resident - caches) / 1e6
    bench.add(
        Row("memory after opening 100 slides and 100,000 tiles", "the configured caches plus 200 MB",
            {"microtome": {"resident_mb": resident / 1e6, "configured_caches_mb": caches / 1e6}}, over < 200,
            f"{resident / 1e6:.0f} MB with {caches / 1e6:.0f} MB of caches configured ({over:+.0f} MB)")
    )  # fmt: skip
