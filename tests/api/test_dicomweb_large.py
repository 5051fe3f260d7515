"""Files whose headers are larger than memory is meant for: indexed, told in full, any frame one read, slides."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pydicom
import pytest
from pydicom.uid import ImplicitVRLittleEndian

from tests.dicomlarge import contours, frame, slide
from tests.serving import Client, served, until
from tests.unit.wsidicom.dicommaker import TILE

FRAMES, ACROSS = 100_000, 320
FEW, NARROW = 2000, 40
MOST_MEMORY = 250
"""MiB of a process, whatever the file."""
SLIDE = "/studies/1.2.3.88/series/1.2.3.88.1/instances/1.2.3.88.2"
STRUCTURES = "/studies/1.2.3.77/series/1.2.3.77.2/instances/1.2.3.77.3"
PLAIN = {"accept": "application/dicom+json"}
PER_FRAME = "52009230"


def ready(client: Client, count: int = 1) -> None:
    until(lambda: client.get("/dicom/instances", PLAIN).status == 200
          and len(client.get("/dicom/instances", PLAIN).json()) == count, 120)  # fmt: skip


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[int, int]]]:
    """A slide of 100,000 frames, tiled sparse, in a folder of its own."""
    folder = tmp_path_factory.mktemp("large")
    return folder, slide(folder / "a.dcm", FRAMES, ACROSS)


@pytest.fixture(scope="module")
def server(large: tuple[Path, list[tuple[int, int]]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    index = tmp_path_factory.mktemp("index") / "index.sqlite"
    with served(large[0], dicomweb=True, dicom_index=str(index)) as client:
        ready(client)
        yield client


def test_any_frame_is_served(server: Client) -> None:
    for number in (1, 2, 50_000, FRAMES):
        answer = server.get(f"/dicom{SLIDE}/frames/{number}", {"accept": "image/jpeg"})
        assert answer.status == 200, answer.body
        assert answer.body.rstrip(b"\0") == frame(number - 1).rstrip(b"\0")
    assert server.get(f"/dicom{SLIDE}/frames/{FRAMES + 1}", {"accept": "image/jpeg"}).status == 404
    picture = server.get(f"/dicom{SLIDE}/frames/77777/rendered")
    assert picture.status == 200
    assert picture.jpeg().size == (TILE, TILE)


@pytest.mark.timeout(600)
def test_metadata_are_told_in_full(server: Client, large: tuple[Path, list[tuple[int, int]]]) -> None:
    answer = server.get(f"/dicom{SLIDE}/metadata", PLAIN)
    assert answer.status == 200
    (found,) = answer.json()
    items = found[PER_FRAME]["Value"]
    assert len(items) == FRAMES
    places = [item["0048021A"]["Value"][0] for item in items]
    told = [((each["0048021E"]["Value"][0] - 1) // TILE, (each["0048021F"]["Value"][0] - 1) // TILE) for each in places]
    assert told == large[1]
    assert list(found) == sorted(found)
    assert found["7FE00010"]["BulkDataURI"].endswith(f"{SLIDE}/bulk/7FE00010")
    again = server.get(f"/dicom{SLIDE}/metadata", {**PLAIN, "if-none-match": answer.headers["etag"]})
    assert again.status == 304


def test_searches_leave_the_items_out(server: Client) -> None:
    (found,) = server.get("/dicom/instances?includefield=all", PLAIN).json()
    assert PER_FRAME not in found
    assert found["00280008"]["Value"] == [FRAMES]
    assert server.get("/dicom/instances?52009230.00209111.00209157=1", PLAIN).json() == []


def test_tiles_of_the_slide_are_the_frames(server: Client, large: tuple[Path, list[tuple[int, int]]]) -> None:
    key = quote("dicom:/1.2.3.88/1.2.3.88.1", safe="")
    info = server.get(f"/slides/{key}")
    assert info.status == 200, info.body
    for number in (0, 31_415, FRAMES - 1):
        column, row = large[1][number]
        answer = server.get(f"/tiles/{key}/0/{column}/{row}.jpg")
        assert answer.status == 200, answer.body
        assert answer.body == frame(number).rstrip(b"\0"), (number, column, row)


CHILD = """
import asyncio, re, sys
from dataclasses import replace
from itertools import islice
from pathlib import Path
import microtome.dicom.index.ingest as ingest
from microtome.dicom.files import FileContent
from microtome.dicom import json
from microtome.dicom.index.base import Stored
from microtome.settings import Settings
from microtome.app.services import open_storage

async def main(path):
    status = path.stat()
    stored = Stored(path.name, status.st_size, "", status.st_mtime)
    batch = ingest.read_local(f"{path.parent}/", [stored])
    (found,) = batch.files
    assert found.row is not None, found.reason
    store = open_storage(Settings(data=str(path.parent)))
    info = await store.head(path.name)
    row = replace(found.row, version=info.etag)
    content = FileContent(store)
    header, items = await content.header(row), await content.items(row)
    def told():
        return sum(map(len, islice(json.pieces(header, items, bulk_uri=str), 10_000)))
    length = await asyncio.to_thread(told)
    if row.pixel is not None:
        await content.frames(row, [row.frames])
    # What getrusage tells is also that of the process this one was forked from.
    most = re.search(r"VmHWM:\\s+([0-9]+) kB", Path("/proc/self/status").read_text())
    print(found.reason, len(batch.templates[0]), length, int(most[1]) // 1024)

asyncio.run(main(Path(sys.argv[1])))
"""


def in_a_child(path: Path) -> tuple[int, int, int]:
    """Bytes the index keeps, those of the beginning of the metadata, and the most memory in MiB."""
    done = subprocess.run([sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kept, told, memory = map(int, done.stdout.split())
    return kept, told, memory


def test_memory_is_bounded(large: tuple[Path, list[tuple[int, int]]]) -> None:
    kept, told, memory = in_a_child(large[0] / "a.dcm")
    assert kept < 20_000
    assert told > 1 << 20
    assert memory < MOST_MEMORY


@pytest.mark.parametrize("undefined", [False, True])
def test_large_structures(tmp_path: Path, undefined: bool) -> None:
    contours(tmp_path / "a.dcm", 22_000, 150, undefined=undefined)
    assert (tmp_path / "a.dcm").stat().st_size > 60_000_000
    kept, told, memory = in_a_child(tmp_path / "a.dcm")
    assert kept < 20_000
    assert told > 5_000_000
    assert memory < MOST_MEMORY


VARIANTS = {
    "defined": {},
    "undefined": {"undefined": True},
    "implicit": {"syntax": str(ImplicitVRLittleEndian)},
    "implicit undefined": {"syntax": str(ImplicitVRLittleEndian), "undefined": True},
}


@pytest.fixture(scope="module", params=list(VARIANTS))
def few(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Path]]:
    """A slide with just too many frames for memory, and some contours."""
    folder = tmp_path_factory.mktemp("few")
    slide(folder / "a.dcm", FEW, NARROW, **VARIANTS[request.param])
    contours(folder / "b.dcm", 7000, 3, undefined="undefined" in request.param)
    key = "a key of thirty-two bytes or more"
    with served(
        folder, dicomweb=True, dicom_index=str(folder / "index.sqlite"), dicom_deidentify_key=key, dicom_store="in"
    ) as client:
        ready(client, 2)
        yield client, folder


def plain(document: dict[str, Any]) -> dict[str, Any]:
    """Without bulk data, whose addresses are the server's, and numbers as numbers."""
    return {tag: each for tag, each in document.items() if tag != "7FE00010"}


def stored(path: Path) -> dict[str, Any]:
    found = pydicom.dcmread(path)
    if "PixelData" in found:
        del found.PixelData
    return json.loads(found.to_json(bulk_data_threshold=1 << 30))


@pytest.mark.parametrize(("name", "place"), [("a.dcm", SLIDE), ("b.dcm", STRUCTURES)])
def test_metadata_equal_those_of_pydicom(few: tuple[Client, Path], name: str, place: str) -> None:
    client, folder = few
    (found,) = client.get(f"/dicom{place}/metadata", PLAIN).json()
    expected = stored(folder / name)
    assert b'"SQ","BulkDataURI"' not in client.get(f"/dicom{place}/metadata", PLAIN).body
    assert_alike(plain(found), expected)


def assert_alike(found: Any, expected: Any) -> None:
    """Equal but for the character set, which is always UTF-8, and floating-point numbers written otherwise."""
    if isinstance(found, dict):
        skipped = {"00080005", "00020000"}
        assert found.keys() - skipped == expected.keys() - skipped
        for name in found.keys() - skipped:
            assert_alike(found[name], expected[name])
    elif isinstance(found, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_alike(one, other)
    elif isinstance(found, float | int) and not isinstance(expected, str):
        assert found == pytest.approx(expected)
    else:
        assert found == expected


def test_metadata_are_compressed_while_they_are_read(few: tuple[Client, Path]) -> None:
    client, _ = few
    zipped = client.get(f"/dicom{SLIDE}/metadata", {**PLAIN, "accept-encoding": "gzip"})
    assert zipped.headers["content-encoding"] == "gzip"
    assert gzip.decompress(zipped.body) == client.get(f"/dicom{SLIDE}/metadata", PLAIN).body


def test_metadata_in_xml(few: tuple[Client, Path]) -> None:
    client, _ = few
    answer = client.get(f"/dicom{SLIDE}/metadata", {"accept": 'multipart/related; type="application/dicom+xml"'})
    assert answer.status == 200
    assert answer.body.count(b'keyword="PlanePositionSlideSequence"') == FEW
    assert answer.body.count(b"</NativeDicomModel>") == 1


def test_a_study_of_all_kinds(few: tuple[Client, Path]) -> None:
    client, _ = few
    for study in ("1.2.3.88", "1.2.3.77"):
        assert len(client.get(f"/dicom/studies/{study}/metadata", PLAIN).json()) == 1


def test_instances_are_written_anew(few: tuple[Client, Path]) -> None:
    """In another transfer syntax than they are stored in."""
    client, folder = few
    accept = 'application/dicom; transfer-syntax="1.2.840.10008.1.2.1"'
    answer = client.get(f"/dicom{SLIDE}", {"accept": accept})
    assert answer.status == 200, answer.body[:300]
    found, before = pydicom.dcmread(io.BytesIO(answer.body)), pydicom.dcmread(folder / "a.dcm")
    assert found.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert found.PerFrameFunctionalGroupsSequence == before.PerFrameFunctionalGroupsSequence
    assert len(found.PixelData) == FEW * TILE * TILE * 3


def test_stored_instances_are_taken_in(few: tuple[Client, Path]) -> None:
    client, folder = few
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + (folder / "b.dcm").read_bytes() + b"\r\n--x--\r\n"
    headers = {"content-type": 'multipart/related; type="application/dicom"; boundary=x'}
    assert client.request("POST", "/dicom/studies", headers, body).status == 200


def test_items_lose_their_identities(tmp_path: Path) -> None:
    slide(tmp_path / "a.dcm", FEW, NARROW)
    contours(tmp_path / "b.dcm", 7000, 3)
    key = "a key of thirty-two bytes or more"
    with served(
        tmp_path, dicomweb=True, dicom_index=str(tmp_path / "index.sqlite"), dicom_deidentify="everyone",
        dicom_deidentify_key=key,
    ) as client:  # fmt: skip
        ready(client, 2)
        (row,) = client.get("/dicom/instances?Modality=SM", PLAIN).json()
        place = "/dicom/studies/{}/series/{}/instances/{}".format(
            *(row[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018"))
        )
        answer = client.get(f"{place}/metadata", PLAIN)
        (found,) = answer.json()
        assert len(found[PER_FRAME]["Value"]) == FEW
        assert b"Doe" not in answer.body
        assert b"1.2.3.88" not in answer.body
        whole = client.get(place, {"accept": "application/dicom; transfer-syntax=*"})
        again = pydicom.dcmread(io.BytesIO(whole.body))
        assert len(again.PerFrameFunctionalGroupsSequence) == FEW
        assert again.PatientName != "Doe^Jane"


def test_limits_are_settings(tmp_path: Path) -> None:
    slide(tmp_path / "a.dcm", FEW, NARROW, undefined=True)
    with served(
        tmp_path, dicomweb=True, dicom_index=str(tmp_path / "index.sqlite"), dicom_header_elements=10_000
    ) as client:
        until(lambda: b"more than 10000 data elements" in client.get("/admin/dicom/problems").body)
        assert client.get("/dicom/instances", PLAIN).json() == []
