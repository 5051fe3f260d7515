"""What makes DICOMweb fast must not be seen: the short way says what the ordinary one says, what is kept is current."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian

from tests.dicommaker import made, message, sent, written
from tests.serving import Answer, Client, served

JSON = "application/dicom+json"
NATIVE = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'


@pytest.fixture(scope="module")
def dicom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    root = tmp_path_factory.mktemp("speed")
    (root / "data").mkdir()
    options = {"dicomweb": True, "dicom_index": str(root / "index.sqlite"), "dicom_slides": False}
    with served(root / "data", dicom_store="received", **options) as client:
        yield client


@pytest.fixture(scope="module")
def instance(dicom: Client) -> str:
    """The path of an instance of half a megabyte."""
    return stored(dicom, 512)


def stored(dicom: Client, side: int = 16, study: str | None = None) -> str:
    dataset = made(study) if study else made()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.Rows = dataset.Columns = side
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PixelData = np.random.default_rng(1).integers(0, 65536, (side, side), np.uint16).tobytes()
    answer = sent(dicom, message(written(dataset)))
    assert answer.status == 200, answer.body
    place = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    return place.partition(f":{dicom.port}")[2]


def told(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    """An answer without its boundary and its date."""
    found = re.search(r"boundary=([0-9a-f]+)", answer.headers.get("content-type", ""))
    boundary = found[1] if found else "-"
    headers = {name: value.replace(boundary, "") for name, value in answer.headers.items() if name != "date"}
    return answer.status, headers, answer.body.replace(boundary.encode(), b"")


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/frames/1", {"accept": NATIVE}),
        ("/frames/1", {"accept": "application/octet-stream"}),
        ("/frames/1", {"accept": "image/jls"}),
        ("/frames/1", {"accept": "text/html"}),
        ("/frames/2", {"accept": NATIVE}),
        ("/frames/0", {"accept": NATIVE}),
        ("/frames/none", {"accept": NATIVE}),
        ("/metadata", {"accept": JSON, "accept-encoding": "gzip"}),
        ("/metadata", {"accept": JSON}),
        ("/metadata", {"accept": 'multipart/related; type="application/dicom+xml"'}),
        ("/rendered", {"accept": "image/png"}),
        ("/frames/1/rendered?quality=50", {}),
        ("/thumbnail", {"origin": "http://elsewhere"}),
        ("/rendered?quality=0", {}),
        ("", {"accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}),
        ("", {"accept": "application/dicom"}),
        ("/bulk/7FE00010", {"range": "bytes=100-199"}),
        ("/nothing", {}),
        ("/frames", {}),
        ("/frames/1/2", {}),
    ],
)
def test_both_ways_say_the_same(dicom: Client, instance: str, path: str, headers: dict[str, str]) -> None:
    escaped = instance.replace("/studies/", "/%73tudies/")  # the short way leaves escapes to the ordinary one
    short, ordinary = dicom.get(instance + path, headers), dicom.get(escaped + path, headers)
    assert told(short) == told(ordinary)


def test_searches_take_both_ways(dicom: Client, instance: str) -> None:
    for target in (
        "/studies",
        "/series?limit=1",
        "/instances?limit=1&offset=0",
        "/studies?nothing=1",
        "/studies?limit=x",
    ):
        escaped = f"/dicom/%{ord(target[1]):x}{target[2:]}"
        assert told(dicom.get(f"/dicom{target}")) == told(dicom.get(escaped))
    study = "/".join(instance.split("/")[:4])
    for target in ("/series", "/instances"):
        assert told(dicom.get(study + target)) == told(dicom.get(study.replace("/studies", "/%73tudies") + target))


def test_half_a_megabyte_in_pieces_is_complete(dicom: Client, instance: str) -> None:
    for _ in range(2):  # from the file by a thread, and out of the page cache
        answer = dicom.get(f"{instance}/frames/1", {"accept": NATIVE})
        boundary = answer.headers["content-type"].partition("boundary=")[2].encode()
        head, _, rest = answer.body.partition(b"\r\n\r\n")
        data, _, end = rest.partition(b"\r\n--" + boundary)
        assert head.startswith(b"--" + boundary + b"\r\n")
        assert b"Content-Length: 524288" in head
        assert end == b"--\r\n"
        assert data == np.random.default_rng(1).integers(0, 65536, (512, 512), np.uint16).tobytes()
        assert int(answer.headers["content-length"]) == len(answer.body)


def test_what_is_kept_of_searches_and_metadata_is_current(dicom: Client) -> None:
    first = stored(dicom)
    study, series = "/".join(first.split("/")[:4]), "/".join(first.split("/")[:6])
    uid = study.rpartition("/")[2]
    targets = [f"/dicom/studies?StudyInstanceUID={uid}", f"{study}/instances", f"{study}/metadata", "/dicom/studies"]
    before = [dicom.get(target, {"accept": JSON}) for target in targets]
    assert [told(dicom.get(target, {"accept": JSON})) for target in targets] == list(map(told, before))
    again = dicom.get(targets[2], {"accept": JSON, "if-none-match": before[2].headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    stored(dicom, study=uid)
    after = [dicom.get(target, {"accept": JSON}) for target in targets]
    assert after[0].json()[0]["00201208"]["Value"] == [2]
    assert [len(answer.json()) for answer in after[1:3]] == [2, 2]
    assert all(one.headers["etag"] != other.headers["etag"] for one, other in zip(before, after, strict=True))
    assert len(dicom.get(f"{series}/metadata", {"accept": JSON}).json()) >= 1


@pytest.mark.parametrize("target", ["/metadata", "/instances"])
def test_kept_answers_are_of_one_address_and_one_coding(dicom: Client, target: str) -> None:
    study = "/".join(stored(dicom).split("/")[:4])
    for _ in range(3):
        stored(dicom, study=study.rpartition("/")[2])
    for _ in range(2):
        plain = dicom.get(study + target, {"accept": JSON})
        elsewhere = dicom.get(study + target, {"accept": JSON, "host": "pacs.example:8080"})
        packed = dicom.get(study + target, {"accept": JSON, "accept-encoding": "gzip"})
        assert json.loads(gzip.decompress(packed.body)) == plain.json()
        assert packed.headers["content-encoding"] == "gzip"
        assert "content-encoding" not in plain.headers
        assert len({plain.headers["etag"], packed.headers["etag"], elsewhere.headers["etag"]}) == 3
        assert b"http://pacs.example:8080/dicom" in elsewhere.body
        assert b"pacs.example" not in plain.body
        other = dicom.get(study + target, {"accept": "application/json"})
        assert other.headers["content-type"] == "application/json"
        assert plain.headers["content-type"] == JSON
