"""DICOM instances made by pydicom, and the messages that carry them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from tests.serving import Answer, Client

BOUNDARY = "a-boundary"
CONTENT = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
RELATED = 'multipart/related; type="{}"; boundary=' + BOUNDARY


def made(study: str | None = None, sop: str | None = None, name: str = "Doe^Jane", size: int = 8) -> Dataset:
    """A CT image of ``size`` by ``size`` px, 16 bits."""
    found = Dataset()
    found.SOPClassUID, found.SOPInstanceUID = CTImageStorage, sop or generate_uid()
    found.StudyInstanceUID, found.SeriesInstanceUID = study or generate_uid(), generate_uid()
    if not name.isascii():
        found.SpecificCharacterSet = "ISO_IR 192"
    found.PatientName, found.PatientID, found.Modality = name, "P1", "CT"
    found.Rows = found.Columns = size
    found.SamplesPerPixel, found.PhotometricInterpretation = 1, "MONOCHROME2"
    found.BitsAllocated, found.BitsStored, found.HighBit, found.PixelRepresentation = 16, 12, 11, 0
    samples = bytes(range(256)) * (size * size * 2 // 256 + 1)
    found.PixelData = samples[: size * size * 2]
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return found


def color_jpeg(quality: int = 80) -> bytes:
    """A baseline JPEG of 256 by 256 px in YBR_FULL_422."""
    ramp = np.linspace(0, 255, 256, dtype=np.uint8)
    planes = np.broadcast_arrays(ramp[None, :], ramp[:, None], np.uint8(quality))
    buffer = io.BytesIO()
    Image.fromarray(np.stack(planes, axis=2)).save(buffer, "JPEG", quality=quality, subsampling="4:2:2")
    return buffer.getvalue()


def written(found: Dataset) -> bytes:
    """The file of a data set."""
    buffer = io.BytesIO()
    found.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def place(found: Dataset) -> str:
    """Where an instance is, below the server."""
    return f"/dicom/studies/{found.StudyInstanceUID}/series/{found.SeriesInstanceUID}/instances/{found.SOPInstanceUID}"


def parts(*each: tuple[dict[str, str], bytes]) -> bytes:
    """A multipart body of parts with these headers."""
    body = b""
    for headers, data in each:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        body += f"\r\n--{BOUNDARY}\r\n{lines}\r\n".encode() + data
    return body + f"\r\n--{BOUNDARY}--\r\n".encode()


def message(*files: bytes, kind: str = "application/dicom") -> bytes:
    """A multipart body of files."""
    return parts(*(({"Content-Type": kind}, data) for data in files))


def sent(client: Client, body: bytes, study: str = "", **headers: str) -> Answer:
    """The answer to a message."""
    path = f"/dicom/studies/{study}" if study else "/dicom/studies"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.request("POST", path, {"content-type": CONTENT, **named}, body)


def reasons(answer: Answer) -> list[int]:
    """Failure reasons: those of named instances first, then those of parts that name none."""
    failed = [answer.json().get(tag, {"Value": []})["Value"] for tag in ("00081198", "0008119A")]
    return [each["00081197"]["Value"][0] for several in failed for each in several]


def received(answer: Answer) -> list[tuple[dict[str, str], bytes]]:
    """The parts of a multipart answer, split by hand: headers with lower-case names, and bytes."""
    found = answer.headers["content-type"]
    assert found.startswith("multipart/related; type="), found
    boundary = found.partition("boundary=")[2].strip('"').encode()
    assert answer.body.startswith(b"--" + boundary + b"\r\n")
    assert answer.body.endswith(b"\r\n--" + boundary + b"--\r\n")
    split: list[tuple[dict[str, str], bytes]] = []
    for part in answer.body[len(boundary) + 4 : -len(boundary) - 8].split(b"\r\n--" + boundary + b"\r\n"):
        head, _, data = part.partition(b"\r\n\r\n")
        lines = (line.partition(": ") for line in head.decode().split("\r\n"))
        split.append(({name.lower(): value for name, _, value in lines}, data))
    return split


def value(attributes: dict[str, Any], tag: str) -> Any:
    """The first value of an attribute of the JSON model."""
    return attributes[tag]["Value"][0]
