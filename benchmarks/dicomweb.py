"""DICOMweb beside Orthanc: the same studies, the same requests, CPU time of each server's processes per request."""

from __future__ import annotations

import http.client
import json
import random
import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import orthanc, peers, studies
from benchmarks.processes import Server
from benchmarks.workloads import Bench, Row, figures, ratio_of_cpu
from benchmarks.wrk import Load, burst

ROOTS = {"microtome": "/dicom", "Orthanc": "/dicom-web"}
STORED = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
JPEG = 'multipart/related; type="image/jpeg"; transfer-syntax=1.2.840.10008.1.2.4.50'
_CT = f"/studies/{studies.CT_STUDY}/series/{studies.CT_SERIES}"
_SLIDE = f"/studies/{studies.SLIDE_STUDY}/series/{studies.SLIDE_SERIES}/instances/{studies.SLIDE_SERIES}"


@dataclass(frozen=True)
class Operation:
    """What is asked, how often, and how many times less CPU time than Orthanc's it shall take.

    ``few``: so many requests one after the other in a round, where Orthanc takes too long for bursts.
    """

    name: str
    least: float
    targets: Sequence[str]
    accept: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    few: int = 0
    elsewhere_ms: float = 0
    """CPU time of Orthanc 1.12.7 for it, measured elsewhere."""


def operations() -> list[Operation]:
    slices = [f"{_CT}/instances/{studies.CT_SERIES}.{number}" for number in range(1, studies.SLICES + 1)]
    random.Random(1).shuffle(slices)
    tiles = {
        frames: [f"{_SLIDE}.{frames}/frames/{number}" for number in range(1, frames + 1)]
        for frames in (studies.SMALL, studies.LARGE)
    }
    for each in tiles.values():
        random.Random(2).shuffle(each)
    # As browsers ask. Orthanc never compresses.
    browser = {"Accept-Encoding": "gzip, deflate, br, zstd"}
    pictures = [f"{each}/rendered?quality={quality}" for quality in range(96, 60, -1) for each in slices]
    json_type = "application/dicom+json"
    return [
        Operation("WSI tile of 8 kB as stored, 120 frames", 8, tiles[studies.SMALL], JPEG, elsewhere_ms=0.72),
        Operation("WSI tile of 8 kB as stored, 2000 frames", 8, tiles[studies.LARGE], JPEG),
        Operation(
            "frame of 512 x 512 x 16 bits", 4, [f"{each}/frames/1" for each in slices], STORED, elsewhere_ms=0.95
        ),
        Operation("page of 59 studies", 20, ["/studies?limit=101"], json_type, browser, few=20, elsewhere_ms=15.6),
        Operation("300 instances of a series", 200, [f"{_CT}/instances"], json_type, browser, few=5, elsewhere_ms=278),
        Operation("metadata of a series of 300", 20, [f"{_CT}/metadata"], json_type, browser, few=5, elsewhere_ms=12.6),
        Operation("rendered JPEG, 512 x 512, none twice", 3, pictures, "image/jpeg", few=40, elsewhere_ms=2.8),
    ]


def dicomweb(bench: Bench) -> None:
    """Every operation in paired rounds."""
    folder = bench.slides.parent / "studies"
    studies.make(folder)
    peer = orthanc.orthanc(bench.work / "orthanc")
    ours = peers.microtome(str(folder), "--dicom-index", str(bench.work / "dicom.sqlite"))
    with peers.running(ours, peer):
        orthanc.upload(peer.port, sorted(folder.rglob("*.dcm")))
        for server in (ours, peer):
            wait_for_studies(server)
        time.sleep(5)  # a server that has just read its files goes on tidying up
        for operation in operations():
            bench.add(compared(bench, operation, ours, peer))
    stow(bench, folder)


def wait_for_studies(server: Server) -> None:
    """Until the index of a server is complete."""
    counted = f"{ROOTS[server.name]}{_CT}/instances"
    for target, expected in (("/studies?limit=101", studies.STUDIES), (f"{_CT}/instances", studies.SLICES)):
        deadline = time.monotonic() + 300
        while len(asked(server, ROOTS[server.name] + target)) < expected:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{server.name} does not list {counted}")
            time.sleep(0.2)


def asked(server: Server, target: str) -> list[object]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", target, headers={"accept": "application/dicom+json"})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return json.loads(body) if response.status == 200 and body else []


def compared(bench: Bench, operation: Operation, ours: Server, peer: Server) -> Row:
    """Rounds with the servers in changing order; the first warms up."""
    loads: dict[str, list[Load]] = {ours.name: [], peer.name: []}
    started = {ours.name: 0, peer.name: 0}
    headers = {"Accept": operation.accept, **operation.headers}
    for number in range(bench.rounds + 1):
        for server in (ours, peer) if number % 2 else (peer, ours):
            targets = [ROOTS[server.name] + each for each in operation.targets]
            if operation.few:
                count = operation.few if server is peer else max(operation.few, 200)
                load = one_by_one(server, targets, headers, count, started[server.name])
            else:
                load = burst(
                    server, targets, seconds=bench.seconds, connections=8, start=started[server.name], headers=headers
                )
            if load.failures:
                raise RuntimeError(f"{operation.name}: {server.name}: {load.failures} failed of {load.answers}")
            started[server.name] += load.answers
            if number:
                loads[server.name].append(load)
    less = ratio_of_cpu(loads, ours.name, peer.name)
    own, other = (statistics.median(load.cpu_us for load in loads[name]) for name in (ours.name, peer.name))
    return Row(
        f"DICOMweb: {operation.name}",
        f"at least {operation.least:g}x less CPU than Orthanc",
        figures(loads),
        less >= operation.least,
        f"{less:,.1f}x less CPU ({own / 1000:,.3f} ms, Orthanc {other / 1000:,.2f} ms)"
        + elsewhere(operation.elsewhere_ms),
    )


def elsewhere(milliseconds: float) -> str:
    return f"; Orthanc 1.12.7 on another machine {milliseconds:g} ms" if milliseconds else ""


def one_by_one(server: Server, targets: Sequence[str], headers: Mapping[str, str], count: int, start: int) -> Load:
    """So many requests over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    waits: list[float] = []
    failures = 0
    before = server.cpu_seconds()
    for number in range(count):
        begin = time.perf_counter()
        connection.request("GET", targets[(start + number) % len(targets)], headers=dict(headers))
        response = connection.getresponse()
        response.read()
        failures += response.status != 200
        waits.append(time.perf_counter() - begin)
    return measured(server, before, waits, failures)


def measured(server: Server, before: float, waits: list[float], failures: int) -> Load:
    cpu = server.cpu_seconds() - before
    waits = sorted(waits)
    count = len(waits)
    return Load(
        rate=count / sum(waits),
        cpu_us=cpu / count * 1e6,
        p50=waits[count // 2],
        p99=waits[min(count - 1, int(count * 0.99))],
        answers=count,
        failures=failures,
    )


def stow(bench: Bench, folder: Path) -> None:
    """Instances of half a megabyte, one a request, each one new."""
    original = (folder / "ct" / "0000.dcm").read_bytes()
    uid = f"{studies.CT_SERIES}.1"
    data = bench.work / "received"
    (data / "stow").mkdir(parents=True)
    peer = orthanc.orthanc(bench.work / "orthanc-stow")
    ours = peers.microtome(
        str(data), "--dicom-store", "stow", "--dicom-index", str(bench.work / "stow.sqlite"), "--dicom-rescan", "1440m"
    )
    loads: dict[str, list[Load]] = {ours.name: [], peer.name: []}
    with peers.running(ours, peer):
        for number in range(bench.rounds + 1):
            for server in (ours, peer) if number % 2 else (peer, ours):
                load = stored(server, original, uid, number)
                if load.failures:
                    raise RuntimeError(f"STOW: {server.name}: {load.failures} failed of {load.answers}")
                if number:
                    loads[server.name].append(load)
    less = ratio_of_cpu(loads, ours.name, peer.name)
    own, other = (statistics.median(load.cpu_us for load in loads[name]) for name in (ours.name, peer.name))
    bench.add(
        Row("DICOMweb: STOW of 525 kB, fsync", "at least 2x less CPU than Orthanc", figures(loads), less >= 2,
            f"{less:.1f}x less CPU ({own / 1000:.2f} ms, Orthanc {other / 1000:.2f} ms, which does not sync)"
            + elsewhere(6.2))
    )  # fmt: skip
    shutil.rmtree(data)


def stored(server: Server, original: bytes, uid: str, batch: int, count: int = 60) -> Load:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    waits: list[float] = []
    failures = 0
    bodies: list[bytes] = []
    for number in range(count):
        # The same length, another instance.
        new = f"{uid.removesuffix('.1.1.1.1')}.7{batch:02}{number:04}"[: len(uid)].ljust(len(uid), "0")
        if new.endswith("."):
            raise AssertionError(new)
        bodies.append(original.replace(uid.encode(), new.encode()))
    before = server.cpu_seconds()
    for body in bodies:
        message = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + body + b"\r\n--b--\r\n"
        begin = time.perf_counter()
        connection.request(
            "POST", f"{ROOTS[server.name]}/studies", message,
            {"content-type": 'multipart/related; type="application/dicom"; boundary=b',
             "accept": "application/dicom+json"},
        )  # fmt: skip
        response = connection.getresponse()
        response.read()
        failures += response.status != 200
        waits.append(time.perf_counter() - begin)
    return measured(server, before, waits, failures)
