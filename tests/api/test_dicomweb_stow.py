"""STOW-RS: every instance has its own outcome, and what is acknowledged is there."""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from dicomweb_client import DICOMwebClient

from microtome.app import create_app
from microtome.errors import InvalidRequest
from microtome.settings import Settings
from tests.dicommaker import CONTENT, made, message, reasons, sent, written
from tests.serving import Client, served, until


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stow")
    (root / "data").mkdir()
    return root


@pytest.fixture(scope="module")
def dicom(root: Path) -> Iterator[Client]:
    options = {"dicomweb": True, "dicom_index": str(root / "index.sqlite"), "dicom_slides": False}
    with served(root / "data", dicom_store="received", **options) as client:
        yield client


def test_what_is_stored_is_found_and_comes_back_as_it_was(dicom: Client, root: Path) -> None:
    found = made()
    data = written(found)
    answer = sent(dicom, message(data))
    assert answer.status == 200
    assert "00081198" not in answer.json()
    (stored,) = answer.json()["00081199"]["Value"]
    assert stored["00081155"]["Value"] == [found.SOPInstanceUID]
    place = stored["00081190"]["Value"][0].partition(f":{dicom.port}")[2]
    assert dicom.get(place, {"accept": "application/dicom; transfer-syntax=*"}).body == data
    (study,) = dicom.get(f"/dicom/studies?StudyInstanceUID={found.StudyInstanceUID}").json()
    assert study["00100010"]["Value"][0]["Alphabetic"] == "Doe^Jane"
    names = [path.name for path in (root / "data").rglob("*") if path.is_file()]
    assert not [name for name in names if name.startswith(".") or str(found.SOPInstanceUID) in name]


def test_outcomes_are_told_one_by_one(dicom: Client) -> None:
    good, data = made(), written(made())
    answer = sent(dicom, message(written(good), b"no DICOM at all", data[: len(data) // 2]))
    assert answer.status == 202
    assert reasons(answer) == [0xC000, 0xC000]
    assert len(answer.json()["00081199"]["Value"]) == 1
    assert dicom.get(f"/dicom/studies/{good.StudyInstanceUID}/metadata").status == 200
    assert sent(dicom, message(b"nothing")).status == 409


def test_instances_of_another_study_are_refused(dicom: Client) -> None:
    mine, other = made(), made()
    answer = sent(dicom, message(written(mine), written(other)), str(mine.StudyInstanceUID))
    assert (answer.status, reasons(answer)) == (202, [0xA900])
    assert dicom.get(f"/dicom/studies/{other.StudyInstanceUID}/metadata").status == 404


def test_the_same_instance_twice_is_one(dicom: Client) -> None:
    first = made(name="Old^Name")
    assert sent(dicom, message(written(first))).status == 200
    assert sent(dicom, message(written(first))).status == 200
    again = made(str(first.StudyInstanceUID), str(first.SOPInstanceUID), "New^Name")
    again.SeriesInstanceUID = first.SeriesInstanceUID
    assert sent(dicom, message(written(again))).status == 200
    (study,) = dicom.get(f"/dicom/studies?StudyInstanceUID={first.StudyInstanceUID}").json()
    assert study["00201208"]["Value"] == [1]
    (header,) = dicom.get(f"/dicom/studies/{first.StudyInstanceUID}/metadata").json()
    assert header["00100010"]["Value"][0]["Alphabetic"] == "New^Name"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content-type": "application/dicom"}, b"x", 415),
        ({"content-type": 'multipart/related; type="image/png"; boundary=x'}, b"x", 415),
        ({"content-type": 'multipart/related; type="application/dicom"'}, b"x", 400),
        ({"content-type": CONTENT}, b"no boundary", 400),
        ({"content-type": CONTENT}, b"", 400),
        ({"content-type": CONTENT, "content-encoding": "br"}, b"x", 415),
        ({"content-type": CONTENT, "content-encoding": "gzip"}, b"not gzip at all", 415),
        ({"content-type": CONTENT, "content-encoding": "gzip"}, gzip.compress(bytes(64 << 20)), 413),
        ({"content-type": CONTENT, "accept": "image/png"}, b"x", 406),
    ],
)
def test_messages_that_are_none(dicom: Client, headers: dict[str, str], body: bytes, status: int) -> None:
    answer = dicom.request("POST", "/dicom/studies", headers, body)
    assert (answer.status, bool(answer.error)) == (status, True)


def test_compressed_bodies_are_read(dicom: Client) -> None:
    found = made(size=64)
    answer = sent(dicom, gzip.compress(message(written(found))), **{"content-encoding": "gzip"})
    assert answer.status == 200
    assert dicom.get(f"/dicom/studies/{found.StudyInstanceUID}/metadata").status == 200


def test_answers_may_be_xml(dicom: Client) -> None:
    answer = sent(dicom, message(written(made())), accept='multipart/related; type="application/dicom+xml"')
    assert answer.status == 200
    assert b"<NativeDicomModel" in answer.body


def test_a_client_of_dicomweb_stores(dicom: Client) -> None:
    client = DICOMwebClient(f"http://127.0.0.1:{dicom.port}/dicom")
    found = [made() for _ in range(3)]
    told = client.store_instances(found)
    assert len(told.ReferencedSOPSequence) == 3
    again = client.retrieve_instance(found[1].StudyInstanceUID, found[1].SeriesInstanceUID, found[1].SOPInstanceUID)
    assert again.PixelData == found[1].PixelData


def test_nothing_is_accepted_unless_it_is_configured(root: Path, tmp_path: Path) -> None:
    with served(root / "data", dicomweb=True, dicom_index=str(tmp_path / "i.sqlite"), dicom_slides=False) as client:
        answer = sent(client, message(written(made())))
        assert answer.status == 405
        assert "POST" not in answer.headers["allow"]
        # What the other server received is found here as ordinary files.
        until(lambda: len(client.get("/dicom/studies").json()) > 3)
    with pytest.raises(InvalidRequest, match="into a folder only"):
        create_app(Settings(data="s3://bucket", dicom_store="x"))


def test_hostile_uids_are_no_paths(dicom: Client, root: Path) -> None:
    before = {path for path in root.rglob("*") if path.is_file()}
    for uid in ("../../../evil", "/etc/x", "1.2.\0.3", "a/b"):
        found = made()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found.SOPInstanceUID = uid
            data = written(found)
        assert reasons(sent(dicom, message(data))) == [0xC000]
    assert {path for path in root.rglob("*") if path.is_file()} == before
