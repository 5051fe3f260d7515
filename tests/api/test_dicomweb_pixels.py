"""Pixels that are no ordinary ones: floating-point numbers, frames that break while they are sent, large values."""

from __future__ import annotations

import http.client
import io
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

from tests.dicommaker import color_jpeg, made, place, received, written
from tests.serving import Client, served, until

EXPLICIT = {"accept": "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"}
STORED = {"accept": 'multipart/related; type="*/*"'}
STUDY = generate_uid()
NUMBERS = np.random.default_rng(7).normal(size=(3, 8, 8))
LARGE = bytes(range(256)) * 2000


def floating(syntax: str, *, double: bool = False) -> Dataset:
    found = made(STUDY)
    del found.PixelData
    for keyword in ("BitsStored", "HighBit", "PixelRepresentation"):
        found.pop(keyword, None)
    found.Rows = found.Columns = 8
    found.NumberOfFrames, found.BitsAllocated = 3, 64 if double else 32
    kind = (">" if syntax == ExplicitVRBigEndian else "<") + ("f8" if double else "f4")
    setattr(found, "DoubleFloatPixelData" if double else "FloatPixelData", NUMBERS.astype(kind).tobytes())
    found.file_meta.TransferSyntaxUID = UID(syntax)
    return found


def with_profile() -> Dataset:
    found = made(STUDY)
    path, inner = Dataset(), Dataset()
    inner.ICCProfile = LARGE
    path.OpticalPathIdentifier, path.IlluminationTypeCodeSequence = "1", Sequence([inner])
    found.OpticalPathSequence = Sequence([path])
    found.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return found


def breaking() -> Dataset:
    found = made(STUDY)
    found.Rows = found.Columns = 256
    found.SamplesPerPixel, found.PhotometricInterpretation, found.PlanarConfiguration = 3, "YBR_FULL_422", 0
    found.BitsAllocated, found.BitsStored, found.HighBit, found.NumberOfFrames = 8, 8, 7, 2
    found.PixelData = encapsulate([color_jpeg(90), b"\xff\xd8\xff\xfe no picture"])
    found.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    found["PixelData"].VR = "OB"
    return found


IMAGES = {
    "implicit": floating(ImplicitVRLittleEndian),
    "double": floating(ImplicitVRLittleEndian, double=True),
    "big": floating(ExplicitVRBigEndian),
    "profile": with_profile(),
    "breaking": breaking(),
}
FLOATING = ("implicit", "double", "big")


@pytest.fixture(scope="module")
def dicom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("pixels") / "data"
    folder.mkdir()
    for name, found in IMAGES.items():
        (folder / f"{name}.dcm").write_bytes(written(found))
    with served(folder, dicomweb=True, dicom_index=str(folder.parent / "index.sqlite"), dicom_slides=False) as client:
        until(lambda: len(client.get("/dicom/instances").json()) == len(IMAGES))
        yield client


def at(name: str) -> str:
    return place(IMAGES[name])


def element(name: str) -> tuple[str, str]:
    return ("7FE00009", "<f8") if name == "double" else ("7FE00008", "<f4")


@pytest.mark.parametrize("name", FLOATING)
def test_floating_pixels_are_where_the_metadata_says(dicom: Client, name: str) -> None:
    tag, kind = element(name)
    (found,) = dicom.get(at(name) + "/metadata").json()
    address = found[tag]["BulkDataURI"]
    assert address.endswith(f"/bulk/{tag}")
    assert "7FE00010" not in found
    answer = dicom.get(address[address.index("/dicom/") :])
    assert answer.status == 200, answer.body
    assert answer.body == NUMBERS.astype(kind).tobytes()
    assert dicom.get(f"{at(name)}/bulk/7FE00010").status == 404
    ((_, frame),) = received(dicom.get(f"{at(name)}/frames/2", STORED))
    assert frame == NUMBERS[1].astype(kind).tobytes()


@pytest.mark.parametrize("name", FLOATING)
def test_floating_pixels_stay_so_in_another_syntax(dicom: Client, name: str) -> None:
    tag, kind = element(name)
    answer = dicom.get(at(name), EXPLICIT)
    assert answer.status == 200, answer.body
    found = pydicom.dcmread(io.BytesIO(answer.body))
    assert "PixelData" not in found
    assert found[tag].value == NUMBERS.astype(kind).tobytes()
    np.testing.assert_array_equal(found.pixel_array, NUMBERS.astype(kind))


@pytest.mark.parametrize("name", FLOATING)
def test_floating_pixels_are_shown(dicom: Client, name: str) -> None:
    assert dicom.get(at(name) + "/frames/1/rendered").status == 200


def test_large_values_within_sequences_are_converted_too(dicom: Client) -> None:
    answer = dicom.get(at("profile"), EXPLICIT)
    assert answer.status == 200, answer.body
    (path,) = pydicom.dcmread(io.BytesIO(answer.body)).OpticalPathSequence
    assert path.IlluminationTypeCodeSequence[0].ICCProfile == LARGE


def test_a_short_answer_is_made_before_it_is_sent(dicom: Client) -> None:
    answer = dicom.get(at("breaking"), EXPLICIT)
    assert answer.status == 415
    assert answer.error == "unsupported_format"


def test_a_frame_that_breaks_ends_the_answer(
    dicom: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long answer, of which much was sent when it breaks."""
    monkeypatch.setattr("microtome.api.dicomweb.answers.HELD", 1)
    with caplog.at_level(logging.WARNING), pytest.raises(http.client.IncompleteRead):
        dicom.get(at("breaking"), EXPLICIT)
    until(lambda: any("broke off" in each.getMessage() for each in caplog.records))
    told: list[Any] = [each for each in caplog.records if each.name.startswith("microtome")]
    assert len(told) == 1
    assert not any(each.exc_info for each in caplog.records)
    assert dicom.get(at("breaking") + "/frames/1", STORED).status == 200  # the server goes on


def test_frames_in_parts_have_a_weak_etag(dicom: Client) -> None:
    path = at("implicit") + "/frames/1,2"
    first, second = dicom.get(path, STORED), dicom.get(path, STORED)
    assert first.body != second.body  # the boundary is another one each time
    assert first.headers["etag"] == second.headers["etag"]
    assert first.headers["etag"].startswith("W/")
    again = dicom.get(path, {**STORED, "if-none-match": first.headers["etag"]})
    assert (again.status, again.headers["etag"]) == (304, first.headers["etag"])
    bulk = dicom.get(
        at("implicit") + "/bulk/7FE00008", {"accept": 'multipart/related; type="application/octet-stream"'}
    )
    assert bulk.headers["etag"].startswith("W/")
    single = dicom.get(at("implicit") + "/frames/1", {"accept": "application/octet-stream"})
    assert single.headers["etag"].startswith('"')
