"""STOW-RS (PS3.18 §10.5): the rows S1 to S12 of what is expected, over HTTP."""

from __future__ import annotations

import base64
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset
from pydicom.uid import JPEGBaseline8Bit, RLELossless

from microtome.dicom.json import from_json, to_json
from microtome.dicom.part10 import Memory, scan
from microtome.dicom.xml import to_xml
from tests.dicommaker import (
    CONTENT,
    RELATED,
    color_jpeg,
    made,
    message,
    parts,
    place,
    reasons,
    received,
    sent,
    value,
    written,
)
from tests.serving import Answer, Client, served

JSON, XML = "application/dicom+json", "application/dicom+xml"
FILE = {"accept": "application/dicom; transfer-syntax=*"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store-table") / "data"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def dicom(data: Path) -> Iterator[Client]:
    index = str(data.parent / "index.sqlite")
    with served(data, dicomweb=True, dicom_index=index, dicom_slides=False, dicom_store="received") as client:
        yield client


def stored_files(data: Path) -> int:
    return sum(1 for path in (data / "received").rglob("*") if path.is_file())


def read_back(client: Client, found: Dataset) -> Dataset:
    answer = client.get(place(found), FILE)
    assert answer.status == 200, answer.body[:300]
    return pydicom.dcmread(io.BytesIO(answer.body))


def test_s1_all_stored_is_200(dicom: Client) -> None:
    found = [made(), made(), made()]
    answer = sent(dicom, message(*map(written, found)))
    assert answer.status == 200
    assert answer.headers["content-type"] == JSON
    assert set(answer.json()) == {"00081199"}  # three studies: no one URL for all
    assert [value(each, "00081155") for each in answer.json()["00081199"]["Value"]] == [x.SOPInstanceUID for x in found]
    one = sent(dicom, message(written(made(found[0].StudyInstanceUID))), str(found[0].StudyInstanceUID))
    assert value(one.json(), "00081190").endswith(f"/dicom/studies/{found[0].StudyInstanceUID}")


def test_s2_some_stored_is_202_and_says_which_and_why(dicom: Client) -> None:
    study = made()
    other, good = made(), made(study.StudyInstanceUID)
    answer = sent(dicom, message(written(good), written(other)), str(study.StudyInstanceUID))
    assert answer.status == 202
    (failed,) = answer.json()["00081198"]["Value"]
    assert (value(failed, "00081150"), value(failed, "00081155")) == (other.SOPClassUID, other.SOPInstanceUID)
    assert value(failed, "00081197") == 0xA900
    (done,) = answer.json()["00081199"]["Value"]
    assert value(done, "00081155") == good.SOPInstanceUID


def test_s3_none_stored_is_409(dicom: Client, data: Path) -> None:
    before = stored_files(data)
    answer = sent(dicom, message(written(made())), "1.2.3.4")
    assert (answer.status, reasons(answer), "00081199" in answer.json()) == (409, [0xA900], False)
    assert stored_files(data) == before


@pytest.mark.parametrize(
    ("content", "body"),
    [
        (CONTENT, b""),
        (CONTENT, b"\r\n--a-boundary\r\nContent-Type: application/dicom\r\n\r\nbreaks off"),
        (CONTENT, b"\r\n--a-boundary\r\nno header\r\n\r\nx\r\n--a-boundary--"),
        ('multipart/related; type="application/dicom"', b"--x--"),
    ],
)
def test_s4_a_bad_message_is_400(dicom: Client, content: str, body: bytes) -> None:
    assert dicom.request("POST", "/dicom/studies", {"content-type": content}, body).status == 400


@pytest.mark.parametrize(
    "content",
    ["text/plain", "application/dicom", 'multipart/related; type="image/png"; boundary=x',
     "multipart/form-data; boundary=x", "", "nonsense"],
)  # fmt: skip
def test_s5_another_media_type_is_415(dicom: Client, content: str) -> None:
    assert dicom.request("POST", "/dicom/studies", {"content-type": content}, b"--x--").status == 415


def test_s6_the_study_of_the_url_counts(dicom: Client) -> None:
    mine = made()
    study = str(mine.StudyInstanceUID)
    assert sent(dicom, message(written(mine)), study).status == 200
    assert reasons(sent(dicom, message(written(made())), study)) == [0xA900]


def test_s7_a_duplicate_succeeds_and_a_changed_one_replaces(dicom: Client, data: Path) -> None:
    found = made(name="Old^Name")
    assert sent(dicom, message(written(found))).status == 200
    before = stored_files(data)
    assert sent(dicom, message(written(found), written(found))).status == 200
    found.PatientName = "New^Name"
    assert sent(dicom, message(written(found))).status == 200
    assert stored_files(data) == before
    assert str(read_back(dicom, found).PatientName) == "New^Name"
    assert len(dicom.get(f"/dicom/instances?SOPInstanceUID={found.SOPInstanceUID}").json()) == 1


def test_s8_parts_that_are_no_instance_are_other_failures(dicom: Client) -> None:
    answer = sent(dicom, message(written(made()), b"no DICOM", written(made())[:200]))
    assert answer.status == 202
    assert "00081198" not in answer.json(), "nobody knows which instances they would have been"
    assert [value(each, "00081197") for each in answer.json()["0008119A"]["Value"]] == [0xC000, 0xC000]
    picture = sent(dicom, message(b"\xff\xd8", kind="image/jpeg"))
    assert (picture.status, reasons(picture)) == (409, [0xC000])


# -- S9: metadata and bulk data apart


def document(found: Dataset, **bulk: str) -> dict[str, Any]:
    """The data set in the JSON model, by our own writer; values named in ``bulk`` by URI."""
    plain = to_json(scan(Memory(written(found))).dataset)
    plain.pop("7FE00010", None)
    for tag, uri in bulk.items():
        vr = plain.get(tag[1:], {"vr": "OW"})["vr"]
        plain[tag[1:]] = {"vr": vr, "BulkDataURI": uri}
    return dict(sorted(plain.items()))


def apart(client: Client, root: str, *each: tuple[dict[str, str], bytes], **headers: str) -> Answer:
    named = {"content-type": RELATED.format(root), **{key.replace("_", "-"): text for key, text in headers.items()}}
    body = parts(*each)
    return client.request(
        "POST", "/dicom/studies", named, gzip.compress(body) if "content_encoding" in headers else body
    )


def metadata(*documents: dict[str, Any]) -> tuple[dict[str, str], bytes]:
    return {"Content-Type": JSON}, json.dumps(documents).encode()


def bulk(location: str, content: bytes, kind: str = "application/octet-stream") -> tuple[dict[str, str], bytes]:
    return {"Content-Type": kind, "Content-Location": location}, content


@pytest.mark.parametrize("coding", ["", "gzip"])
def test_s9_json_and_bulk_data_become_instances(dicom: Client, coding: str) -> None:
    found = [made(name="Müller^Ünal") for _ in range(2)]
    documents = [document(each, x7FE00010=f"bulk/{number}") for number, each in enumerate(found)]
    values = [bulk(f"bulk/{number}", each.PixelData) for number, each in enumerate(found)]
    answer = apart(dicom, JSON, metadata(*documents), *values, **({"content_encoding": coding} if coding else {}))
    assert answer.status == 200, answer.body
    for each in found:
        again = read_back(dicom, each)
        assert again.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
        assert str(again.PatientName) == "Müller^Ünal"
        np.testing.assert_array_equal(again.pixel_array, each.pixel_array)
        (frame,) = received(dicom.get(f"{place(each)}/frames/1", {"accept": 'multipart/related; type="*/*"'}))
        assert frame[1] == each.PixelData


def test_s9_xml_and_bulk_data_become_instances(dicom: Client) -> None:
    found = [made(name="Yamada^Tarou=山田^太郎=やまだ^たろう") for _ in range(2)]
    each_part: list[tuple[dict[str, str], bytes]] = []
    for number, each in enumerate(found):
        plain = document(each, x7FE00010=f"bulk/{number}")
        del plain["7FE00010"]
        element = f'<DicomAttribute tag="7FE00010" vr="OW"><BulkData uri="bulk/{number}"/></DicomAttribute>'
        text = to_xml(from_json(plain, {})).decode().replace("</NativeDicomModel>", element + "</NativeDicomModel>")
        each_part.append(({"Content-Type": XML}, text.encode()))
    each_part += [bulk(f"bulk/{number}", each.PixelData) for number, each in enumerate(found)]
    answer = apart(dicom, XML, *each_part)
    assert answer.status == 200, answer.body
    for each in found:
        again = read_back(dicom, each)
        assert again.PatientName.ideographic == "山田^太郎"
        np.testing.assert_array_equal(again.pixel_array, each.pixel_array)


def test_s9_compressed_frames_are_parts_of_one_location(dicom: Client) -> None:
    found = made(size=64)
    found.NumberOfFrames, found.PhotometricInterpretation, found.SamplesPerPixel = 3, "YBR_FULL_422", 3
    found.Rows = found.Columns = 256
    found.BitsAllocated, found.BitsStored, found.HighBit, found.PlanarConfiguration = 8, 8, 7, 0
    frames = [color_jpeg(70 + 10 * number) for number in range(3)]
    for kind in ("image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50", "image/jpeg"):
        found.SOPInstanceUID = made().SOPInstanceUID
        plain = document(found, x7FE00010="frames")
        answer = apart(dicom, JSON, metadata(plain), *(bulk("frames", frame, kind) for frame in frames))
        assert answer.status == 200, answer.body
        again = read_back(dicom, found)
        assert again.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
        for number, frame in enumerate(frames, 1):
            (part,) = received(
                dicom.get(f"{place(found)}/frames/{number}", {"accept": 'multipart/related; type="*/*"'})
            )
            assert part[1][: len(frame)] == frame


def test_s9_items_of_pixel_data_are_taken_as_they_stand(dicom: Client) -> None:
    found = made(size=16)
    found.compress(RLELossless)
    plain = document(found, x7FE00010="whole") | {"00020010": {"vr": "UI", "Value": [str(RLELossless)]}}
    answer = apart(dicom, JSON, metadata(plain), bulk("whole", found.PixelData))
    assert answer.status == 200, answer.body
    again = read_back(dicom, found)
    assert again.file_meta.TransferSyntaxUID == RLELossless
    assert again.PixelData == found.PixelData
    assert found.PixelData.startswith(b"\xfe\xff\x00\xe0")


def test_s9_values_inline_and_by_uri_in_sequences(dicom: Client) -> None:
    found = made()
    lut = Dataset()
    lut.LUTDescriptor, lut.LUTData = [4, 0, 16], bytes(range(8))
    lut["LUTData"].VR = "OW"
    found.VOILUTSequence = [lut]
    plain = document(found, x7FE00010="p")
    plain["00283010"]["Value"][0]["00283006"] = {"vr": "OW", "BulkDataURI": "lut"}
    plain["7FE00010"] = {"vr": "OW", "InlineBinary": base64.b64encode(found.PixelData).decode()}
    assert apart(dicom, JSON, metadata(plain), bulk("lut", bytes(range(8)))).status == 200
    again = read_back(dicom, found)
    assert again.VOILUTSequence[0].LUTData == bytes(range(8))
    assert again.PixelData == found.PixelData


def test_s9_every_data_set_has_its_own_outcome(dicom: Client, data: Path) -> None:
    good, lacking, odd = made(), made(), made()
    documents = [
        document(good, x7FE00010="here"),
        document(lacking, x7FE00010="nowhere"),
        document(odd, x7FE00010="odd"),
        {"00080018": {"vr": "UI", "Value": ["not/a/uid"]}},
        {"nonsense": 1},
    ]
    strange = bulk("odd", odd.PixelData, "application/octet-stream; transfer-syntax=1.2.3")
    answer = apart(dicom, JSON, metadata(*documents), bulk("here", good.PixelData), strange)
    assert answer.status == 202
    failed = {value(each, "00081155"): value(each, "00081197") for each in answer.json()["00081198"]["Value"]}
    assert failed == {lacking.SOPInstanceUID: 0xC000, odd.SOPInstanceUID: 0xC122}
    assert [value(each, "00081197") for each in answer.json()["0008119A"]["Value"]] == [0xC000, 0xC000]
    names = [path.name for path in (data / "received").rglob("*") if path.is_file()]
    assert not [name for name in names if name.startswith(".")], "nothing temporary stays"


@pytest.mark.parametrize("text", [b"[", b"[[]]", b"{}", b"3", b"[" * 5000, b'[{"00080005":{"vr":"SQ","Value":[{}]}}]'])
def test_s9_metadata_that_is_none(dicom: Client, text: bytes) -> None:
    answer = apart(dicom, JSON, ({"Content-Type": JSON}, text))
    assert (answer.status, reasons(answer)) == (409, [0xC000])


def test_s10_the_answer_is_json_or_xml(dicom: Client) -> None:
    for asked in ("application/dicom+json", "application/json"):
        answer = sent(dicom, message(written(made())), accept=asked)
        assert answer.headers["content-type"] == asked
    answer = sent(dicom, message(written(made()), b"x"), accept=f'multipart/related; type="{XML}"')
    assert answer.status == 202
    ((headers, text),) = received(answer)
    assert headers["content-type"] == XML
    assert b'keyword="ReferencedSOPSequence"' in text
    assert b'tag="0008119A"' in text
    assert sent(dicom, message(written(made())), accept="text/html").status == 406


def test_s11_what_is_acknowledged_is_found_at_once(dicom: Client) -> None:
    for _ in range(5):
        found = made()
        assert sent(dicom, message(written(found))).status == 200
        (study,) = dicom.get(f"/dicom/studies?StudyInstanceUID={found.StudyInstanceUID}").json()
        assert study["00201208"]["Value"] == [1]
        assert dicom.get(f"{place(found)}/metadata").status == 200
        assert read_back(dicom, found) == found


def test_s12_nothing_is_coerced(dicom: Client) -> None:
    found = made()
    found.PatientID, found.PatientComments = "P 1", "as it was"
    data = written(found)
    answer = sent(dicom, message(data))
    (stored,) = answer.json()["00081199"]["Value"]
    assert "00081196" not in stored, "no warning: there is nothing to warn of"
    assert "04000561" not in stored
    assert dicom.get(place(found), FILE).body == data


def test_a_client_of_dicomweb_stores_many_and_sees_failures(dicom: Client) -> None:
    client = DICOMwebClient(f"http://127.0.0.1:{dicom.port}/dicom")
    study = made().StudyInstanceUID
    found = [made(study) for _ in range(20)]
    told = client.store_instances([*found, made()], study_instance_uid=study)
    assert len(told.ReferencedSOPSequence) == 20
    assert [each.FailureReason for each in told.FailedSOPSequence] == [0xA900]
    assert len(client.search_for_instances(study)) == 20
