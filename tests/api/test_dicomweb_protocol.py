"""What DICOMweb needs beside its transactions: ZIP files, capabilities, addresses behind proxies."""

from __future__ import annotations

import io
import json
import re
import subprocess
import tracemalloc
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pydicom
import pytest
from pydicom.uid import generate_uid

from microtome.api.dicomweb import archive
from microtome.dicom.rows import InstanceRow
from microtome.errors import LimitExceeded
from tests.dicommaker import CONTENT, made, message, place, received, sent, value, written
from tests.serving import Client, served, until

STUDY = generate_uid()
ZIP = {"accept": "application/zip"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("protocol") / "data"
    folder.mkdir()
    for series in range(2):
        uid = generate_uid()
        for number in range(3):
            found = made(STUDY, size=256)
            found.SeriesInstanceUID, found.SeriesNumber, found.InstanceNumber = uid, series, number
            found.SeriesDescription = "../../../etc/passwd\\x"[:16]
            (folder / f"{series}{number}.dcm").write_bytes(written(found))
    return folder


@pytest.fixture(scope="module")
def dicom(folder: Path) -> Iterator[Client]:
    index = str(folder.parent / "index.sqlite")
    with served(folder, dicomweb=True, dicom_index=index, dicom_slides=False, dicom_store="received") as client:
        until(lambda: len(client.get("/dicom/instances").json()) == 6)
        yield client


def series(client: Client) -> list[str]:
    return [value(each, "0020000E") for each in client.get(f"/dicom/studies/{STUDY}/series").json()]


# -- application/zip


def test_a_study_as_zip(dicom: Client, folder: Path, tmp_path: Path) -> None:
    answer = dicom.get(f"/dicom/studies/{STUDY}", {"accept": "application/zip; transfer-syntax=*"})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/zip")
    assert answer.headers["content-disposition"] == 'attachment; filename="study.zip"'
    assert answer.headers["transfer-encoding"] == "chunked", "it is written while it is sent"
    found = zipfile.ZipFile(io.BytesIO(answer.body))
    assert found.testzip() is None
    assert sorted(map(found.read, found.namelist())) == sorted(path.read_bytes() for path in folder.glob("*.dcm"))
    for name in found.namelist():
        assert all(re.fullmatch("[A-Z0-9_]{1,8}", part) for part in name.split("/")), "file IDs of DICOM media"
        assert found.getinfo(name).compress_type == zipfile.ZIP_STORED
    assert len({name.rpartition("/")[0] for name in found.namelist()}) == 2
    (tmp_path / "study.zip").write_bytes(answer.body)
    told = subprocess.run(["unzip", "-t", str(tmp_path / "study.zip")], capture_output=True, check=False)
    assert told.returncode == 0, told.stdout


def test_a_series_and_an_instance_as_zip(dicom: Client) -> None:
    one, *_ = series(dicom)
    of_series = zipfile.ZipFile(io.BytesIO(dicom.get(f"/dicom/studies/{STUDY}/series/{one}", ZIP).body))
    assert len(of_series.namelist()) == 3
    sop = value(dicom.get(f"/dicom/studies/{STUDY}/series/{one}/instances").json()[0], "00080018")
    rle = "1.2.840.10008.1.2.5"
    answer = dicom.get(
        f"/dicom/studies/{STUDY}/series/{one}/instances/{sop}", {"accept": f"application/zip; transfer-syntax={rle}"}
    )
    (name,) = (single := zipfile.ZipFile(io.BytesIO(answer.body))).namelist()
    found = pydicom.dcmread(io.BytesIO(single.read(name)))
    assert (found.SOPInstanceUID, found.file_meta.TransferSyntaxUID) == (sop, rle)


def test_what_cannot_be_zipped(dicom: Client) -> None:
    for accepted in (
        "application/zip; transfer-syntax=1.2.3",
        'multipart/related; type="application/zip"',
        "application/x-zip",
    ):
        assert dicom.get(f"/dicom/studies/{STUDY}", {"accept": accepted}).status == 406
    assert dicom.get("/dicom/studies/9.9", ZIP).status == 404
    for path in ("/dicom/studies", f"/dicom/studies/{STUDY}/metadata"):
        assert dicom.get(path, ZIP).status == 406


def row(number: int, size: int = 1) -> InstanceRow:
    return InstanceRow(
        study_uid="1", series_uid=f"1.{number % 7}", sop_uid=f"1.2.{number}", sop_class="",
        transfer_syntax="1.2.840.10008.1.2.1",
        number=number, key="", version="", size=size, rows=0, columns=0, frames=1, bits=0, pixel=None,
        frame_table=None, header_length=0,
    )  # fmt: skip


async def zipped(rows: list[InstanceRow], pieces: int = 1, piece: bytes = b"x") -> Any:
    async def content() -> AsyncIterator[bytes]:
        for _ in range(pieces):
            yield piece

    files = ((True, content()) for _ in rows)

    async def listed() -> AsyncIterator[tuple[bool, AsyncIterator[bytes]]]:
        for each in files:
            yield each

    return await archive.answer(rows, listed(), {})


async def test_a_zip_of_gigabytes_takes_little_memory() -> None:
    """More than 4 GiB pass through: what is held is one piece, and lengths have 64 bits."""
    piece = bytes(4 << 20)
    response = await zipped([row(0, 5 << 30)], 1024 + 8, piece)
    tracemalloc.start()
    length, tail = 0, b""
    async for data in response.body_iterator:
        length += len(data)
        tail = (tail + data)[-4096:]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert length > 4 << 30
    assert peak < 64 << 20
    assert b"PK\x06\x06" in tail, "the end of central directory of 64 bits"


async def test_a_zip_of_too_many_is_refused() -> None:
    with pytest.raises(LimitExceeded):
        await zipped([row(0)] * (archive.MOST_ENTRIES + 1))


def test_names_are_unique_and_safe() -> None:
    found = archive.names([row(number) for number in range(5000)])
    assert len(set(found)) == 5000
    assert {len(name.split("/")) for name in found} == {3}


# -- capabilities


def test_every_path_tells_its_methods(dicom: Client) -> None:
    both, reading = "GET, HEAD, POST, OPTIONS", "GET, HEAD, OPTIONS"
    for path, methods in ((f"/dicom/studies/{STUDY}", both), ("/dicom/studies", both), ("/dicom/series", reading)):
        answer = dicom.request("OPTIONS", path)
        assert (answer.status, answer.headers["allow"]) == (204, methods)


def test_the_root_describes_what_there_is(dicom: Client) -> None:
    for answer in (dicom.request("OPTIONS", "/dicom"), dicom.get("/dicom", {"accept": "application/vnd.sun.wadl+xml"})):
        assert answer.headers["content-type"] == "application/vnd.sun.wadl+xml"
        root = ElementTree.fromstring(answer.body)
        names = {"w": "http://wadl.dev.java.net/2009/02"}
        (resources,) = root.findall("w:resources", names)
        assert resources.get("base") == f"http://127.0.0.1:{dicom.port}/dicom/"
        paths = {each.get("path") for each in resources.findall("w:resource", names)}
        assert {"studies", "studies/{StudyInstanceUID}/series/{SeriesInstanceUID}/metadata"} <= paths
        assert {each.get("name") for each in root.iterfind(".//w:method", names)} == {"GET", "POST"}
    for accepted in ("application/dicom+json", "application/json"):
        answer = dicom.get("/dicom", {"accept": accepted})
        assert answer.headers["content-type"] == accepted
        listed = answer.json()["application"]["resources"]["resource"]
        methods = {each["path"]: [method["id"] for method in each["method"]] for each in listed}
        assert methods["studies"] == ["Search", "Store"]
        assert methods["studies/{StudyInstanceUID}"] == ["Retrieve", "Store"]
        assert "RetrieveBulkdata" in {name for several in methods.values() for name in several}


def test_named_pages_may_store_and_no_others(dicom: Client, folder: Path) -> None:
    asked = {"origin": "https://viewer.example", "access-control-request-method": "POST",
             "access-control-request-headers": "content-type"}  # fmt: skip
    anybody = dicom.request("OPTIONS", "/dicom/studies", asked)  # every origin may read, and no page may write
    assert anybody.headers["access-control-allow-methods"] == "GET,HEAD,OPTIONS"
    index = str(folder.parent / "named.sqlite")
    origins = {"cors_origins": ("https://viewer.example",)}
    with served(folder, dicomweb=True, dicom_index=index, dicom_slides=False, dicom_store="named", **origins) as client:
        answer = client.request("OPTIONS", "/dicom/studies", asked)
        assert "POST" in answer.headers["access-control-allow-methods"].split(",")
        stored = sent(client, message(written(made())), origin="https://viewer.example")
        assert (stored.status, stored.headers["access-control-allow-origin"]) == (200, "https://viewer.example")
        other = client.request("OPTIONS", "/slides", asked)
        assert other.headers["access-control-allow-methods"] == "GET,HEAD,OPTIONS"


# -- addresses

PROXY = {"x-forwarded-proto": "https", "x-forwarded-host": "pacs.example", "x-forwarded-prefix": "/imaging"}


def addresses(client: Client, headers: dict[str, str]) -> set[str]:
    """The beginnings of all addresses that answers hold."""
    found = made(size=64)
    found.ICCProfile = bytes(2000)
    told = client.request("POST", "/dicom/studies", {"content-type": CONTENT, **headers}, message(written(found)))
    assert told.status == 200
    path = place(found)
    ((part, _),) = received(client.get(path + "/frames/1", {"accept": 'multipart/related; type="*/*"', **headers}))
    xml = client.get(path + "/metadata", {"accept": 'multipart/related; type="application/dicom+xml"', **headers}).body
    texts = [
        told.body.decode(),
        client.get(f"/dicom/studies?StudyInstanceUID={found.StudyInstanceUID}", headers).body.decode(),
        client.get(path + "/metadata", headers).body.decode(),
        client.request("OPTIONS", "/dicom", {"accept": "application/json", **headers}).body.decode(),
        json.dumps(part["content-location"]),
        xml.decode(),
    ]
    for text in texts:
        assert "/dicom/" in text
    return {each for text in texts for each in re.findall(r'"([^"<> ]*?)/dicom/(?:studies|")', text)}


def test_addresses_are_those_of_the_host_asked(dicom: Client) -> None:
    here = f"http://127.0.0.1:{dicom.port}"
    assert addresses(dicom, {}) == {here}
    assert addresses(dicom, PROXY) == {here}, "nobody trusts this proxy"
    assert addresses(dicom, {"forwarded": "proto=https;host=evil.example"}) == {here}
    assert addresses(dicom, {"host": "other.example:8080"}) == {"http://other.example:8080"}
    assert addresses(dicom, {"host": "evil.example/x?"}) == {""}, "root-relative"


def test_addresses_are_those_a_trusted_proxy_says(folder: Path, tmp_path: Path) -> None:
    index = str(tmp_path / "index.sqlite")
    options = {"dicomweb": True, "dicom_index": index, "dicom_slides": False, "dicom_store": "received"}
    with served(folder, trusted_proxies=("127.0.0.1/32",), **options) as client:
        assert addresses(client, PROXY) == {"https://pacs.example/imaging"}
        assert addresses(client, {"forwarded": 'for=9.9.9.9;proto=https;host="a.example:8443"'}) == {
            "https://a.example:8443"
        }
        assert addresses(client, {"x-forwarded-host": "evil.example/x"}) == {f"http://127.0.0.1:{client.port}"}
        assert addresses(client, {}) == {f"http://127.0.0.1:{client.port}"}
    with served(folder, trusted_proxies=("127.0.0.1/32",), public_url="https://told.example/x/", **options) as client:
        assert addresses(client, PROXY) == {"https://told.example/x"}
