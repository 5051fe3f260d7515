"""WADO-URI (PS3.18 §9): the rows W1 to W6 of what is expected, over HTTP."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import ImplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

from tests.dicommaker import color_jpeg, made, written
from tests.serving import Answer, Client, served, until

EXPLICIT, RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"


def images() -> dict[str, Dataset]:
    one, several, color, report = made(size=32), made(size=32), made(), made()
    one.PixelData = np.arange(32 * 32, dtype="<u2").tobytes()
    one.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    several.NumberOfFrames = 3
    several.PixelData = np.repeat(np.array([0, 1000, 4000], "<u2"), 32 * 32).tobytes()
    several.WindowCenter, several.WindowWidth = 2000, 4000
    color.Rows = color.Columns = 256
    color.SamplesPerPixel, color.PhotometricInterpretation, color.PlanarConfiguration = 3, "YBR_FULL_422", 0
    color.BitsAllocated, color.BitsStored, color.HighBit = 8, 8, 7
    color.PixelData, color.file_meta.TransferSyntaxUID = encapsulate([color_jpeg()]), JPEGBaseline8Bit
    color["PixelData"].VR = "OB"
    del report.PixelData, report.Rows, report.Columns
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.33"
    return {"one": one, "several": several, "color": color, "report": report}


IMAGES = images()


@pytest.fixture(scope="module")
def dicom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("uri-table") / "data"
    folder.mkdir()
    for name, found in IMAGES.items():
        (folder / f"{name}.dcm").write_bytes(written(found))
    index = str(folder.parent / "index.sqlite")
    with served(folder, dicomweb=True, dicom_index=index, dicom_slides=False) as client:
        until(lambda: len(client.get("/dicom/instances").json()) == len(IMAGES))
        yield client


def wado(client: Client, name: str, query: str = "", **headers: str) -> Answer:
    found = IMAGES[name]
    path = (
        f"/dicom?requestType=WADO&studyUID={found.StudyInstanceUID}&seriesUID={found.SeriesInstanceUID}"
        f"&objectUID={found.SOPInstanceUID}"
    )
    return client.get(f"{path}&{query}" if query else path, headers)


def picture(answer: Answer, form: str = "JPEG") -> np.ndarray:  # type: ignore[type-arg]
    assert answer.status == 200, answer.body[:300]
    found = Image.open(io.BytesIO(answer.body))
    assert found.format == form
    return np.asarray(found)


def test_w1_the_request_type_is_required(dicom: Client) -> None:
    sop = IMAGES["one"].SOPInstanceUID
    for query in (f"objectUID={sop}", f"requestType=wado&objectUID={sop}", f"requestType=&objectUID={sop}",
                  f"requestType=OTHER&objectUID={sop}"):  # fmt: skip
        assert dicom.get(f"/dicom?{query}").status == 400, query
    assert dicom.get("/dicom").status == dicom.get("/dicom/").status == 400
    assert dicom.get("/dicom?requestType=WADO").status == 400


def test_w2_the_object_is_named_by_three_uids_or_its_own(dicom: Client) -> None:
    one, other = IMAGES["one"], IMAGES["several"]
    assert wado(dicom, "one").status == 200
    assert dicom.get(f"/dicom?requestType=WADO&objectUID={one.SOPInstanceUID}").status == 200
    assert dicom.get(f"/dicom/?requestType=WADO&objectUID={one.SOPInstanceUID}").status == 200
    for query in (f"studyUID={other.StudyInstanceUID}&objectUID={one.SOPInstanceUID}",
                  f"seriesUID={other.SeriesInstanceUID}&objectUID={one.SOPInstanceUID}",
                  f"objectUID={generate_uid()}"):  # fmt: skip
        assert dicom.get(f"/dicom?requestType=WADO&{query}").status == 404, query
    for bad in ("..%2F..", "%00", "a/b", "x" * 65):
        assert dicom.get(f"/dicom?requestType=WADO&objectUID={bad}").status in {400, 404}


def test_w3_pictures_are_shown_as_asked(dicom: Client) -> None:
    assert picture(wado(dicom, "one", "rows=16")).shape == (16, 16)
    assert picture(wado(dicom, "one", "rows=16&columns=8")).shape == (8, 8), "the whole image within both"
    assert picture(wado(dicom, "one", "columns=9")).shape == (9, 9)
    assert picture(wado(dicom, "one", "region=0,0,0.5,0.25")).shape == (8, 16)
    corner = picture(
        wado(dicom, "one", "contentType=image/png&region=0.5,0.5,1,1&windowCenter=512&windowWidth=1024"), "PNG"
    )
    whole = picture(wado(dicom, "one", "contentType=image/png&windowCenter=512&windowWidth=1024"), "PNG")
    np.testing.assert_array_equal(corner, whole[16:, 16:])
    dark, bright = (
        picture(wado(dicom, "one", f"windowCenter={center}&windowWidth=100")).mean() for center in (900, 100)
    )
    assert dark < 50 < 200 < bright
    small, large = (len(wado(dicom, "color", f"imageQuality={quality}").body) for quality in (10, 95))
    assert small < large
    means = [
        picture(wado(dicom, "several", f"frameNumber={number}&contentType=image/jpeg")).mean() for number in (1, 2, 3)
    ]
    assert means == sorted(means)
    assert means[0] < 10 < 245 < means[2]
    assert wado(dicom, "one", "annotation=patient,technique").status == 200
    assert wado(dicom, "one", "charset=UTF-8").status == 200


@pytest.mark.parametrize(
    "query",
    ["rows=0", "rows=x", "columns=-1", "frameNumber=0", "frameNumber=x", "windowCenter=1", "windowWidth=1",
     "windowCenter=a&windowWidth=b", "region=0,0,2,1", "region=1,1,0,0", "region=0,0", "region=a,b,c,d",
     "imageQuality=0", "imageQuality=101", "annotation=all", "region=nan,0,1,1"],
)  # fmt: skip
def test_w3_what_makes_no_sense_is_400(dicom: Client, query: str) -> None:
    assert wado(dicom, "one", query).status == 400


def test_w3_frames_that_are_not_there(dicom: Client) -> None:
    assert wado(dicom, "several", "frameNumber=4&contentType=image/jpeg").status == 404


def test_w3_transfer_syntaxes(dicom: Client) -> None:
    for syntax in (EXPLICIT, RLE, "1.2.840.10008.1.2.4.90"):
        answer = wado(dicom, "one", f"contentType=application/dicom&transferSyntax={syntax}")
        found = pydicom.dcmread(io.BytesIO(answer.body))
        assert found.file_meta.TransferSyntaxUID == syntax
        assert found.pixel_array.tobytes() == IMAGES["one"].PixelData
    for other in ("1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.102", "1.2.3"):
        assert wado(dicom, "one", f"contentType=application/dicom&transferSyntax={other}").status == 406


def test_w3_anonymized_objects_are_refused_or_anonymous(dicom: Client) -> None:
    answer = wado(dicom, "one", "contentType=application/dicom&anonymize=yes")
    assert answer.status in {200, 406}
    if answer.status == 200:
        assert "Doe" not in str(pydicom.dcmread(io.BytesIO(answer.body)).get("PatientName", ""))


def test_w4_what_is_sent_when_nothing_is_said(dicom: Client) -> None:
    for name in ("one", "color"):
        assert wado(dicom, name).headers["content-type"] == "image/jpeg"
    for name in ("several", "report"):
        answer = wado(dicom, name)
        assert answer.headers["content-type"] == "application/dicom"
        assert pydicom.dcmread(io.BytesIO(answer.body)).SOPInstanceUID == IMAGES[name].SOPInstanceUID
    stored = wado(dicom, "one", "contentType=application/dicom")
    assert pydicom.dcmread(io.BytesIO(stored.body)).file_meta.TransferSyntaxUID == EXPLICIT, "never implicit"


@pytest.mark.parametrize("name", ["jpeg", "png", "gif", "webp"])
def test_w4_forms_of_pictures(dicom: Client, name: str) -> None:
    answer = wado(dicom, "color", f"contentType=image/{name}")
    assert answer.headers["content-type"] == f"image/{name}"
    picture(answer, name.upper())
    assert wado(dicom, "color", f"contentType=video/mp4,image/{name}").headers["content-type"] == f"image/{name}"


def test_w5_types_that_cannot_be_had_are_406(dicom: Client) -> None:
    for name, kind in (("one", "image/tiff"), ("one", "text/html"), ("report", "image/jpeg"), ("one", "video/mpeg")):
        assert wado(dicom, name, f"contentType={kind}").status == 406


def test_w6_the_shorter_form(dicom: Client) -> None:
    found = IMAGES["one"]
    for path in (f"/dicom?object={found.SOPInstanceUID}", f"/dicom/?object={found.SOPInstanceUID}"):
        answer = dicom.get(path)
        assert answer.headers["content-type"] == "application/dicom"
        assert pydicom.dcmread(io.BytesIO(answer.body)).PixelData == found.PixelData
    assert dicom.get(f"/dicom?object={generate_uid()}").status == 404
