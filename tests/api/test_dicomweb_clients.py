"""Clients of others over HTTP: every call of dicomweb-client, wsidicom's web client, and the requests Slim makes."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from requests.exceptions import HTTPError
from wsidicom import WsiDicom, WsiDicomWebClient

from microtome.demo.svs import write_demo
from tests.browser.studydata import document, waveform, write
from tests.conftest import ROOT
from tests.serving import Client, served, until

DEMO, STUDIES = "demo.svs", 63
JPEG = "1.2.840.10008.1.2.4.50"
SLIM_FRAMES = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Radiology, a slide that is no DICOM, and a place for what is sent."""
    folder = tmp_path_factory.mktemp("clients") / "data"
    (folder / "dicom").mkdir(parents=True)
    write(folder / "dicom")
    write_demo(folder / DEMO, width=1300, height=900)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Client]:
    index = str(folder.parent / "index.sqlite")
    with served(folder, dicomweb=True, dicom_index=index, dicom_store="received") as client:
        until(lambda: len(client.get("/dicom/studies").json()) == STUDIES)
        yield client


@pytest.fixture(scope="module")
def client(server: Client) -> DICOMwebClient:
    return DICOMwebClient(f"http://127.0.0.1:{server.port}/dicom")


def uids(found: dict[str, Any]) -> tuple[str, ...]:
    """Of study, series and instance, as far as there are any."""
    return tuple(found[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018") if tag in found)


def instance_uids(instance: dict[str, Any]) -> tuple[str, str, str]:
    study, series, uid = uids(instance)
    return study, series, uid


@pytest.fixture(scope="module")
def slices(client: DICOMwebClient) -> tuple[str, str]:
    (series,) = client.search_for_series(search_filters={"SeriesDescription": "slices"})
    study, series_uid = uids(series)
    return study, series_uid


# -- dicomweb-client


def test_studies_are_searched(client: DICOMwebClient) -> None:
    everything = client.search_for_studies()
    assert len(everything) == STUDIES
    assert len(client.search_for_studies(limit=10)) == 10
    assert client.search_for_studies(limit=5, offset=3) == everything[3:8]
    assert client.search_for_studies(limit=20, get_remaining=True) == everything
    assert client.search_for_studies(offset=1000) == []
    assert client.search_for_studies(search_filters={"PatientName": "nobody"}) == []
    found = client.search_for_studies(search_filters={"PatientName": "roe^number 1*", "StudyDate": "20230101-20230630"})
    assert {study["00100010"]["Value"][0]["Alphabetic"] for study in found} == {
        f"Roe^Number {number}" for number in range(10, 20) if number % 12 + 1 <= 6
    }
    assert len(client.search_for_studies(fuzzymatching=True, search_filters={"PatientName": "Doe"})) == 4
    (study,) = client.search_for_studies(
        fields=["StudyDescription", "PatientSex"], search_filters={"StudyDescription": "grey"}
    )
    assert (study["00081030"]["Value"], study["00100040"]["Value"]) == (["grey"], ["F"])
    assert sorted(study["00080061"]["Value"]) == ["CR", "CT"]


def test_series_and_instances_are_searched(client: DICOMwebClient, slices: tuple[str, str]) -> None:
    study, series = slices
    assert [uids(each) for each in client.search_for_series(study, search_filters={"SeriesDescription": "slices"})] == [
        slices
    ]
    assert len(client.search_for_series(search_filters={"Modality": "SR"})) == 1
    found = client.search_for_instances(study, series)
    assert [each["00200013"]["Value"][0] for each in found] == list(range(1, 13))
    assert len(client.search_for_instances(study)) == 13
    (last,) = client.search_for_instances(study, series, search_filters={"InstanceNumber": 12}, fields=["PixelSpacing"])
    assert last["00280030"]["Value"] == [2, 1]
    assert len(client.search_for_instances(search_filters={"SeriesInstanceUID": series}, limit=7)) == 7


def test_metadata_is_retrieved(client: DICOMwebClient, slices: tuple[str, str], folder: Path) -> None:
    study, series = slices
    by_series = client.retrieve_series_metadata(study, series)
    assert len(by_series) == 12
    assert len(client.retrieve_study_metadata(study)) == 13
    one = client.retrieve_instance_metadata(*instance_uids(by_series[4]))
    assert one == by_series[4]
    stored = pydicom.dcmread(folder / "dicom" / "slice04.dcm", stop_before_pixels=True)
    read = pydicom.Dataset.from_json({tag: element for tag, element in one.items() if "BulkDataURI" not in element})
    for element in stored:
        assert read[element.tag].value == element.value, element


def test_instances_are_retrieved(client: DICOMwebClient, slices: tuple[str, str], folder: Path) -> None:
    study, series = slices
    stored = [pydicom.dcmread(folder / "dicom" / f"slice{number:02}.dcm") for number in range(12)]
    assert client.retrieve_series(study, series) == stored
    assert list(client.iter_series(study, series, media_types=(("application/dicom", "*"),))) == stored
    assert len(client.retrieve_study(study)) == len(list(client.iter_study(study))) == 13
    assert client.retrieve_instance(study, series, stored[3].SOPInstanceUID) == stored[3]


def test_frames_are_retrieved(client: DICOMwebClient, folder: Path) -> None:
    stored = pydicom.dcmread(folder / "dicom" / "enhanced.dcm")
    place = (stored.StudyInstanceUID, stored.SeriesInstanceUID, stored.SOPInstanceUID)
    for kinds in (None, ("application/octet-stream",), (("application/octet-stream", "1.2.840.10008.1.2.1"),)):
        found = client.retrieve_instance_frames(*place, [3, 1], media_types=kinds)
        arrays = [np.frombuffer(each, "<u2").reshape(stored.Rows, stored.Columns) for each in found]
        np.testing.assert_array_equal(arrays, stored.pixel_array[[2, 0]])
    assert list(client.iter_instance_frames(*place, [1, 2])) == client.retrieve_instance_frames(*place, [1, 2])
    (lossless,) = client.retrieve_instance_frames(*place, [2], media_types=(("image/jls", "1.2.840.10008.1.2.4.80"),))
    import imagecodecs

    np.testing.assert_array_equal(imagecodecs.jpegls_decode(lossless), stored.pixel_array[1])
    with pytest.raises(HTTPError, match="404"):
        client.retrieve_instance_frames(*place, [4])


def test_pictures_are_retrieved(client: DICOMwebClient, slices: tuple[str, str]) -> None:
    study, series = slices
    (first, *_) = client.search_for_instances(study, series)
    whole = Image.open(io.BytesIO(client.retrieve_instance_rendered(*instance_uids(first))))
    assert (whole.format, whole.size) == ("JPEG", (192, 192))
    params = {"viewport": "96,96", "window": "40,400,linear", "quality": 80}
    small = client.retrieve_instance_rendered(*instance_uids(first), media_types=("image/png",), params=params)
    assert Image.open(io.BytesIO(small)).format == "PNG"
    assert max(Image.open(io.BytesIO(small)).size) <= 96
    frame = client.retrieve_instance_frames_rendered(*instance_uids(first), [1], media_types=("image/jpeg",))
    assert Image.open(io.BytesIO(frame)).size == (192, 192)
    assert Image.open(io.BytesIO(client.retrieve_series_rendered(study, series))).size == (192, 192)


def test_bulk_data_is_retrieved(client: DICOMwebClient, folder: Path) -> None:
    wave = pydicom.dcmread(folder / "dicom" / "heart.dcm")
    place = (wave.StudyInstanceUID, wave.SeriesInstanceUID, wave.SOPInstanceUID)
    metadata = client.retrieve_instance_metadata(*place)
    address = metadata["54000100"]["Value"][0]["54001010"]["BulkDataURI"]
    # It names the host without its port in its Host header, of which the address is made.
    address = client.base_url + address.partition("/dicom")[2]
    data = wave.WaveformSequence[0].WaveformData
    assert client.retrieve_bulkdata(address) == [data]
    # It asks for a range of a multipart answer; ranges are of answers that are one part, so it gets the whole.
    assert client.retrieve_bulkdata(address, byte_range=(10, 29)) == [data]
    assert b"".join(client.iter_bulkdata(address)) == data


def test_instances_are_stored_and_not_deleted(client: DICOMwebClient, tmp_path: Path) -> None:
    made = [document(), waveform()]
    for each in made:
        each.StudyInstanceUID, each.StudyDescription = each.StudyInstanceUID + ".77", "sent"
        each.file_meta = FileMetaDataset()
        each.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    answer = client.store_instances(made)
    assert [item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence] == [
        each.SOPInstanceUID for each in made
    ]
    assert len(client.search_for_instances(made[0].StudyInstanceUID)) == 2
    again = client.retrieve_instance(made[0].StudyInstanceUID, made[0].SeriesInstanceUID, made[0].SOPInstanceUID)
    assert again.EncapsulatedDocument == made[0].EncapsulatedDocument
    sent = (made[0].StudyInstanceUID, made[0].SeriesInstanceUID, made[0].SOPInstanceUID)
    deletions: tuple[tuple[Callable[..., None], tuple[str, ...]], ...] = (
        (client.delete_study, sent[:1]),
        (client.delete_instance, sent),
    )
    for delete, names in deletions:
        with pytest.raises(HTTPError, match=r"405|501"):
            delete(*names)
    assert len(client.search_for_instances(made[0].StudyInstanceUID)) == 2


# -- wsidicom


def opened(port: int, study: str, series: str) -> WsiDicom:
    client = WsiDicomWebClient(DICOMwebClient(f"http://127.0.0.1:{port}/dicom"))
    return WsiDicom.open_web(client, study, series, JPEG)


def region(slide: WsiDicom, at: tuple[int, int], level: int, size: tuple[int, int]) -> NDArray[np.int_]:
    return np.asarray(slide.read_region(at, level, size).convert("RGB")).astype(int)


# It reads metadata without asking for what is bulky, and says so.
without_bulk = pytest.mark.filterwarnings("ignore:No bulk data URI handler provided:UserWarning")


def same_pixels(ours: WsiDicom, original: openslide.OpenSlide) -> None:
    """Level by level; decoders of JPEG may round differently."""
    assert (ours.size.width, ours.size.height) == original.dimensions
    for number, (width, height) in enumerate(original.level_dimensions):
        size = (min(width, 700), min(height, 500))
        at = ((width - size[0]) // 2, (height - size[1]) // 2)
        level = ours.levels[number].level
        scale = original.level_downsamples[number]
        wanted = np.asarray(original.read_region((round(at[0] * scale), round(at[1] * scale)), number, size))
        assert np.abs(region(ours, at, level, size) - wanted[..., :3].astype(int)).max() <= 3
        assert wanted[..., :3].std() > 5


@without_bulk
def test_wsidicom_opens_a_slide_that_is_no_dicom(server: Client, client: DICOMwebClient, folder: Path) -> None:
    (series,) = client.search_for_series(search_filters={"Modality": "SM", "SeriesDescription": DEMO})
    study, uid = uids(series)
    with opened(server.port, study, uid) as ours, openslide.OpenSlide(folder / DEMO) as original:
        same_pixels(ours, original)
        assert ours.mpp.width == pytest.approx(float(original.properties["openslide.mpp-x"]))


@without_bulk
def test_wsidicom_opens_a_slide_that_is_dicom(testdata: Path, tmp_path: Path) -> None:
    """The files of one real slide, between others; OpenSlide reads them from the folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    found = {
        path: pydicom.dcmread(path, stop_before_pixels=True) for path in (testdata / "dicom/wsi").glob("level-*.dcm")
    }
    assert found
    for path in found:
        shutil.copy(path, folder)
    (one, *others) = {each.SeriesInstanceUID for each in found.values()}
    assert not others
    study = next(iter(found.values())).StudyInstanceUID
    with served(folder, dicomweb=True, dicom_index=str(tmp_path / "index.sqlite")) as client:
        until(lambda: len(client.get(f"/dicom/studies/{study}/instances").json()) == len(found))
        with opened(client.port, study, one) as ours, WsiDicom.open(folder) as original:
            assert ours.size == original.size
            for number in range(len(original.levels)):
                level = original.levels[number].level
                size = (min(original.levels[number].size.width, 300), min(original.levels[number].size.height, 300))
                np.testing.assert_array_equal(region(ours, (0, 0), level, size), region(original, (0, 0), level, size))


@without_bulk
def test_the_examples_of_the_documentation_run(server: Client, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "how-to" / "dicomweb.md").read_text("utf-8")
    examples = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "DICOMLib" not in block]
    assert len(examples) == 2
    for example in examples:
        exec(example.replace("localhost:3000", f"127.0.0.1:{server.port}"), {})
    assert len(capsys.readouterr().out.splitlines()) >= 12, "series of the patient, one a line"


# -- Slim


def part(answer: Any) -> tuple[str, bytes]:
    """Type and body of the only part of an answer."""
    kind = answer.headers["content-type"]
    assert kind.startswith('multipart/related; type="')
    boundary = re.search(r'boundary="?([^";]+)', kind)
    assert boundary is not None
    head, _, body = answer.body.partition(b"\r\n\r\n")
    assert head.startswith(b"--" + boundary[1].encode())
    told = re.search(rb"content-type: ([^\r]+)", head, re.IGNORECASE)
    assert told is not None
    return told[1].decode(), body.rpartition(b"\r\n--")[0]


def test_slim_shows_a_slide(server: Client) -> None:
    """The requests of Slim 0.46 in their order: list, series by study at the root, metadata, what is derived, label,
    frames, ICC profile."""

    def listed(path: str) -> list[dict[str, Any]]:
        answer = server.get(f"/dicom{path}", {"accept": "application/dicom+json"})
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/dicom+json"
        return answer.json()

    (study,) = listed("/studies?ModalitiesInStudy=SM&limit=500&offset=0&fuzzymatching=true")
    study_uid = study["0020000D"]["Value"][0]
    assert study["00080061"]["Value"] == ["SM"]
    (series,) = listed(f"/series?Modality=SM&StudyInstanceUID={study_uid}")
    uid = series["0020000E"]["Value"][0]
    metadata = listed(f"/studies/{study_uid}/series/{uid}/metadata")
    for kind in ("SR", "PR"):
        assert listed(f"/studies/{study_uid}/instances?Modality={kind}") == []
    for kind in ("OT", "ANN", "SEG"):
        assert listed(f"/studies/{study_uid}/series?Modality={kind}") == []
    kinds = {each["00080008"]["Value"][2]: each for each in metadata}
    below = f"/dicom/studies/{study_uid}/series/{uid}/instances"
    for kind in ("LABEL", "THUMBNAIL"):
        place = f"{below}/{kinds[kind]['00080018']['Value'][0]}/rendered?viewport=225%2C100"
        answer = server.get(place, {"accept": "image/png"})
        picture = Image.open(io.BytesIO(answer.body))
        assert answer.headers["content-type"] == "image/png"
        assert picture.size[0] <= 225
        assert picture.size[1] <= 100
    volume = kinds["VOLUME"]
    place = f"{below}/{volume['00080018']['Value'][0]}"
    for number in range(1, volume["00280008"]["Value"][0] + 1):
        kind, body = part(server.get(f"{place}/frames/{number}", {"accept": SLIM_FRAMES}))
        assert kind == f"application/octet-stream; transfer-syntax={JPEG}", "as stored, said of what kind"
        assert (body[:2], body[-2:].rstrip(b"\0")[-1:]) == (b"\xff\xd8", b"\xd9")
    profile = volume["00480105"]["Value"][0]["00282000"]
    assert "InlineBinary" in profile or server.get("/" + profile["BulkDataURI"].split("/", 3)[3]).status == 200
