"""Derived objects of every kind are stored, found and given back like images."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from highdicom import VOILUTTransformation
from highdicom.pm import ParametricMap, RealWorldValueMapping
from pydicom import Dataset, dcmread
from pydicom.uid import (
    UID,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    ImplicitVRLittleEndian,
    generate_uid,
)

from tests.dicommaker import made, message, place, sent, written
from tests.serving import Client, served

PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
FILES = {
    "binary SEG": "derived/seg_image_ct_binary.dcm",
    "fractional SEG": "derived/seg_image_ct_true_fractional.dcm",
    "SEG of a slide": "wsi/seg_image_sm_control.dcm",
    "labelmap SEG": "wsi/seg_image_sm_control_labelmap.dcm",
    "labelmap SEG in colours": "wsi/seg_image_sm_control_labelmap_palette_color.dcm",
    "RTSTRUCT": "rt/rtss.dcm",
    "RTPLAN": "rt/rtplan.dcm",
    "SR TID1500": "derived/sr-example/sr.dcm",
    "real world value mapping": "derived/sr-example/rwvm.dcm",
    "parametric map, float": "derived/parametric_map_float.dcm",
    "parametric map, double": "derived/parametric_map_double_float.dcm",
    "annotations": "wsi/sm_annotations.dcm",
    "waveform": "ts/pydicom/test_files/waveform_ecg.dcm",
}
PIXELS = {0x7FE00010, 0x7FE00008, 0x7FE00009}


def _bare(sop_class: UID, modality: str) -> Dataset:
    found = made()
    for keyword in ("PixelData", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated",
                    "BitsStored", "HighBit", "PixelRepresentation"):  # fmt: skip
        delattr(found, keyword)
    found.SOPClassUID, found.Modality = sop_class, modality
    found.file_meta.MediaStorageSOPClassUID = sop_class
    return found


def document() -> Dataset:
    """A PDF as DICOM."""
    found = _bare(EncapsulatedPDFStorage, "DOC")
    found.MIMETypeOfEncapsulatedDocument, found.DocumentTitle = "application/pdf", "Report"
    found.EncapsulatedDocument = PDF + b"\0" * (len(PDF) % 2)
    found.EncapsulatedDocumentLength = len(PDF)
    return found


def presentation() -> Dataset:
    """A grayscale presentation state."""
    found = _bare(GrayscaleSoftcopyPresentationStateStorage, "PR")
    found.ContentLabel, found.PresentationCreationDate = "WINDOW", "20260101"
    window = Dataset()
    window.WindowCenter, window.WindowWidth = 40, 400
    found.SoftcopyVOILUTSequence = [window]
    return found


@pytest.fixture(scope="module")
def dicom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    root = tmp_path_factory.mktemp("derived")
    (root / "data").mkdir()
    options = {"dicomweb": True, "dicom_index": str(root / "index.sqlite"), "dicom_slides": False}
    with served(root / "data", dicom_store="received", **options) as client:
        yield client


def _kept(client: Client, found: Dataset, data: bytes) -> None:
    """Store, find at every level, read metadata and the file again."""
    answer = sent(client, message(data))
    assert answer.status == 200, answer.body
    study, series, sop = found.StudyInstanceUID, found.SeriesInstanceUID, found.SOPInstanceUID
    (match,) = client.get(f"/dicom/instances?SOPInstanceUID={sop}&includefield=all").json()
    assert match["00080016"]["Value"] == [found.SOPClassUID]
    (row,) = client.get(f"/dicom/studies/{study}/series?SeriesInstanceUID={series}").json()
    assert row["00080060"].get("Value", [None]) == [found.Modality]
    (told,) = client.get(f"/dicom/studies?StudyInstanceUID={study}").json()
    assert found.Modality in told["00080061"]["Value"]
    whole = client.get(place(found), {"accept": "application/dicom; transfer-syntax=*"})
    stored = dcmread(io.BytesIO(data))
    again = dcmread(io.BytesIO(whole.body))
    assert {each.tag: each.value for each in again} == {each.tag: each.value for each in stored}
    if stored.file_meta.TransferSyntaxUID != ImplicitVRLittleEndian:  # which PS3.18 §8.7.3.5.2 does not send
        assert whole.body == data
    (header,) = client.get(f"{place(found)}/metadata").json()
    assert {int(tag, 16) for tag in header} >= {each.tag for each in found if each.tag not in PIXELS}
    _bulk(client, header, found)


def _bulk(client: Client, header: dict[str, Any], found: Dataset) -> None:
    """Every value that is told by its address is the one of the file."""
    for tag, element in header.items():
        if "BulkDataURI" in element and int(tag, 16) not in PIXELS:
            path = element["BulkDataURI"].partition("/dicom/")[2]
            answer = client.get(f"/dicom/{path}", {"accept": "application/octet-stream"})
            value = found[int(tag, 16)].value
            assert answer.status == 200
            assert value in answer.body if isinstance(value, bytes) else len(answer.body) > 0
        for number, item in enumerate(element.get("Value", ()) if element["vr"] == "SQ" else ()):
            _bulk(client, item, found[int(tag, 16)].value[number])


@pytest.mark.parametrize("kind", FILES)
def test_files_of_every_kind(dicom: Client, testdata: Path, kind: str) -> None:
    path = testdata / "dicom" / FILES[kind]
    found = dcmread(path)
    _kept(dicom, found, path.read_bytes())
    if "Rows" not in found:
        assert dicom.get(f"{place(found)}/frames/1").status in {404, 406}
        return
    number = int(found.get("NumberOfFrames", 1))
    frames = [
        dicom.get(f"{place(found)}/frames/{frame}", {"accept": "application/octet-stream"}) for frame in {1, number}
    ]
    for answer in frames:
        assert answer.status == 200, answer.body
    if "PixelData" not in found:
        values = np.asarray(found.get("FloatPixelData") or found.get("DoubleFloatPixelData"))
        assert np.frombuffer(values.tobytes(), np.uint8).tobytes().endswith(frames[-1].body[-64:]) or number > 1


def test_frames_of_segmentations_are_their_bits(dicom: Client, testdata: Path) -> None:
    path = testdata / "dicom" / FILES["binary SEG"]
    found = dcmread(path)
    sent(dicom, message(path.read_bytes()))
    pixels = np.atleast_3d(found.pixel_array)
    for frame in range(int(found.NumberOfFrames)):
        answer = dicom.get(f"{place(found)}/frames/{frame + 1}", {"accept": "application/octet-stream"})
        bits = np.unpackbits(np.frombuffer(answer.body, np.uint8), bitorder="little")
        assert np.array_equal(bits[: found.Rows * found.Columns], pixels[frame].ravel())


def test_a_document_is_given_as_it_is(dicom: Client) -> None:
    found = document()
    _kept(dicom, found, written(found))
    answer = dicom.get(f"{place(found)}/rendered", {"accept": "application/pdf"})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/pdf")
    assert answer.body == PDF


def test_a_presentation_state(dicom: Client) -> None:
    found = presentation()
    _kept(dicom, found, written(found))


def test_a_parametric_map_made_by_highdicom(dicom: Client, testdata: Path) -> None:
    from pydicom.sr.codedict import codes

    source = dcmread(testdata / "dicom" / "derived" / "ct_image.dcm")
    values = np.linspace(-1, 1, source.Rows * source.Columns, dtype=np.float32).reshape(1, source.Rows, source.Columns)
    mapping = RealWorldValueMapping("1", "unit", codes.UCUM.NoUnits, (-1.0, 1.0), slope=1.0, intercept=0.0)
    found = ParametricMap(
        [source], values, generate_uid(), 3, generate_uid(), 1, "microtome", "tests", "1", "1",
        contains_recognizable_visual_features=False, real_world_value_mappings=[mapping],
        voi_lut_transformations=[VOILUTTransformation(0.0, 2.0)], transfer_syntax_uid=ExplicitVRLittleEndian,
    )  # fmt: skip
    _kept(dicom, found, written(found))
    answer = dicom.get(f"{place(found)}/frames/1", {"accept": "application/octet-stream"})
    assert answer.status == 200, answer.body
    assert np.array_equal(np.frombuffer(_payload(answer.body, values.nbytes), np.float32), values.ravel())


def _payload(body: bytes, length: int) -> bytes:
    """The bytes of the only part, whether it came in a multipart body or alone."""
    if len(body) == length:
        return body
    start = body.index(b"\r\n\r\n") + 4
    return body[start : start + length]


def test_metadata_is_json(dicom: Client) -> None:
    found = document()
    sent(dicom, message(written(found)))
    answer = dicom.get(f"{place(found)}/metadata")
    assert json.load(io.BytesIO(answer.body))[0]["00420012"]["Value"] == ["application/pdf"]
