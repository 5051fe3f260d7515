"""Files of a gigabyte and headers of a hundred megabytes: no process becomes larger than 250 MB over them."""

from __future__ import annotations

import http.client
import io
import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import UID

from microtome.dicom import syntaxes
from microtome.dicom.index.url import open_index
from tests.e2e.test_workers import Running, until
from tests.unit.dicom.instances import dataset, encoded, uid
from tests.unit.dicom.making import SEQUENCE_END, UNDEFINED, explicit, item

MOST_MB = 250
FRAMES = 100_000
SIDE = 100
STEP = 10 << 10
"""Bytes from one frame of the encapsulated file to the next."""
JPEG = syntaxes.JPEG_BASELINE


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("large") / "index.sqlite"


@pytest.fixture(scope="module")
def server(index: Path) -> Iterator[Running]:
    folder = index.parent
    (folder / "data").mkdir()
    native(folder / "data" / "native.dcm")
    compressed(folder / "data" / "compressed.dcm")
    many_elements(folder / "data" / "elements.dcm", ELEMENTS)
    long_texts(folder / "data" / "texts.dcm", 100 << 20)
    running = Running(folder / "data", "--dicom-index", str(index), "--no-dicom-slides")
    try:
        until(lambda: len(json.loads(ask(running, "/dicom/studies", JSON)[1])) == 4, 100)
        yield running
    finally:
        running.stop()
        shutil.rmtree(folder / "data")


JSON = "application/dicom+json"
NATIVE, COMPRESSED, ELEMENTARY, TEXTS = (f"/dicom/studies/{uid(n)}/series/{uid(n, 1)}" for n in (1, 2, 3, 4))
ELEMENTS = 300_000


def native(path: Path) -> None:
    """100,000 frames of 10 kB, all of them holes but one."""
    made = dataset(1, Rows=SIDE, Columns=SIDE, NumberOfFrames=FRAMES, **GRAY)
    made.PixelData = b""
    head = encoded(made)[: -len(explicit(0x7FE0_0010, "OW"))]
    head += explicit(0x7FE0_0010, "OW", length=FRAMES * SIDE * SIDE)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + FRAMES * SIDE * SIDE)
        file.seek(len(head) + 77_776 * SIDE * SIDE)
        file.write(bytes(range(100)) * 100)


GRAY = {
    "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 8, "BitsStored": 8,
    "HighBit": 7, "PixelRepresentation": 0,
}  # fmt: skip


def picture(shade: int) -> bytes:
    made = io.BytesIO()
    Image.fromarray(np.full((SIDE, SIDE), shade, np.uint8)).save(made, "JPEG")
    return made.getvalue()


def compressed(path: Path) -> None:
    """100,000 JPEG streams, 10 kB from each other, without a table that says where."""
    made = dataset(2, Rows=SIDE, Columns=SIDE, NumberOfFrames=FRAMES, **GRAY)
    made.file_meta.TransferSyntaxUID = UID(JPEG)
    head = encoded(made) + explicit(0x7FE0_0010, "OB", item(), length=UNDEFINED)
    frames = [struct.pack("<HHI", 0xFFFE, 0xE000, STEP - 8) + picture(shade) for shade in (40, 200)]
    with path.open("wb") as file:
        file.write(head)
        for number in range(FRAMES):
            file.seek(len(head) + number * STEP)
            file.write(frames[number == 77_776])
        file.seek(len(head) + FRAMES * STEP)
        file.write(SEQUENCE_END)


def many_elements(path: Path, count: int) -> None:
    """A header of nothing but short elements in a sequence."""
    inner = b"".join(explicit(0x0048_021A + 2 * n, "SL", struct.pack("<i", n)) for n in range(9))
    head = encoded(dataset(3))
    path.write_bytes(head + explicit(0x5200_9230, "SQ", item(inner) * (count // 10) + SEQUENCE_END, length=UNDEFINED))


def long_texts(path: Path, size: int) -> None:
    """A header of many megabytes, each value just short enough to be read with it."""
    entry = item(explicit(0x0010_4000, "LT", b"x" * 65_000))
    with path.open("wb") as file:
        file.write(encoded(dataset(4)) + explicit(0x0040_0275, "SQ", length=UNDEFINED))
        for _ in range(size // len(entry)):
            file.write(entry)
        file.write(SEQUENCE_END)


def ask(server: Running, target: str, accept: str, headers: dict[str, str] | None = None) -> tuple[int, bytes, int]:
    """Status, the first 4 MB and the length of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=240)
    connection.request("GET", target, headers={"accept": accept, **(headers or {})})
    response = connection.getresponse()
    begin = response.read(4 << 20)
    length = len(begin)
    while piece := response.read(1 << 20):
        length += len(piece)
    connection.close()
    return response.status, begin, length


def largest_mb(server: Running) -> float:
    """The most memory the server's process has ever had, as the system counts it."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def related(kind: str, syntax: str = "") -> str:
    return f'multipart/related; type="{kind}"' + (f"; transfer-syntax={syntax}" if syntax else "")


ROUTES = [
    ("/metadata", JSON, {}),
    ("/metadata", related("application/dicom+xml"), {}),
    ("/instances", JSON, {}),
    ("", related("application/dicom", "*"), {}),
    ("/instances/{sop}", related("application/dicom", "*"), {}),
    ("/instances/{sop}/metadata", JSON, {}),
    ("/instances/{sop}/frames/77777", related("application/octet-stream", "*"), {}),
    ("/instances/{sop}/frames/" + ",".join(map(str, range(77_001, 78_001))), related("*/*"), {}),
    ("/instances/{sop}/frames/77777", related("image/jls"), {}),
    ("/instances/{sop}/rendered", "image/jpeg", {}),
    ("/instances/{sop}/frames/77777/rendered", "image/png", {}),
    ("/instances/{sop}/thumbnail", "image/jpeg", {}),
    ("/rendered", "image/jpeg", {}),
]


@pytest.mark.parametrize("series", [NATIVE, COMPRESSED], ids=["native", "compressed"])
def test_no_route_takes_a_large_file_into_memory(server: Running, series: str) -> None:
    sop = f"{series.rpartition('/')[2]}.1"
    for path, accept, headers in ROUTES:
        target = series + path.format(sop=sop)
        status, _, length = ask(server, target, accept, headers)
        assert status == 200, (target[-80:], accept)
        assert length > 0
        assert largest_mb(server) < MOST_MB, (target[-80:], accept)
    assert ask(server, series, related("application/dicom", "*"))[2] > FRAMES * SIDE * SIDE


def test_bulk_data_of_a_gigabyte_passes_through(server: Running) -> None:
    target = f"{NATIVE}/instances/{uid(1, 1, 1)}/bulk/7FE00010"
    status, _, length = ask(server, target, "application/octet-stream")
    assert (status, length) == (200, FRAMES * SIDE * SIDE)
    begin = 77_776 * SIDE * SIDE
    asked = {"range": f"bytes={begin}-{begin + 199}"}
    status, body, _ = ask(server, target, "application/octet-stream", asked)
    assert (status, body) == (206, bytes(range(100)) * 2)
    status, body, length = ask(server, target, "application/octet-stream", {"range": f"bytes={begin}-"})
    assert (status, length) == (206, FRAMES * SIDE * SIDE - begin)
    assert body.startswith(bytes(range(100)))
    assert ask(server, target, related("application/octet-stream"))[2] > FRAMES * SIDE * SIDE
    assert largest_mb(server) < MOST_MB


@pytest.mark.timeout(300)
def test_a_whole_file_is_converted_piece_by_piece(server: Running) -> None:
    target = f"{COMPRESSED}/instances/{uid(2, 1, 1)}"
    status, _, length = ask(server, target, related("application/dicom", syntaxes.EXPLICIT_LITTLE))
    assert status == 200
    assert length > FRAMES * SIDE * SIDE
    assert largest_mb(server) < MOST_MB


async def test_large_headers_stay_in_their_files(server: Running, index: Path) -> None:
    opened = await open_index(str(index))
    try:
        assert [each.key for each in await opened.problems()] == []
    finally:
        await opened.close()
    status, body, length = ask(server, f"{ELEMENTARY}/metadata", JSON)
    assert (status, body[:2]) == (200, b"[{")
    assert length > ELEMENTS * len('"0048021A":{"vr":"SL","Value":[0]}') * 0.9
    status, _, length = ask(server, f"{TEXTS}/metadata", JSON)
    assert status == 200
    assert length > 100_000_000
    status, _, length = ask(server, TEXTS, related("application/dicom", "*"))
    assert status == 200
    assert length > 100_000_000
    assert largest_mb(server) < MOST_MB


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("--dicom-header-elements=20000", "more than 20000 data elements"),
        ("--dicom-header-size=24MiB", "sequences of more than 24 MiB"),
    ],
)
async def test_headers_beyond_the_settings_are_refused_with_a_reason(tmp_path: Path, option: str, reason: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    many_elements(data / "elements.dcm", ELEMENTS)
    long_texts(data / "texts.dcm", 25 << 20)
    running = Running(data, "--dicom-index", str(tmp_path / "index.sqlite"), "--no-dicom-slides", option)
    try:
        until(lambda: len(json.loads(ask(running, "/dicom/studies", JSON)[1])) == 1, 100)
        opened = await open_index(str(tmp_path / "index.sqlite"))
        try:
            problems = [(each.key, each.reason) for each in await opened.problems()]
        finally:
            await opened.close()
        refused = {"elements.dcm": 3, "texts.dcm": 4}
        assert [reason in told for _, told in problems] == [True]
        assert ask(running, f"/dicom/studies/{uid(refused[problems[0][0]])}/metadata", JSON)[0] == 404
        assert largest_mb(running) < MOST_MB
    finally:
        running.stop()
