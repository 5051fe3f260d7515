"""Studies of a DICOMweb server, loaded as volumes: of this server itself, and of one that lies."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from tests.serving import Client, served, until

pytest.importorskip("slicer_core", reason="the scene is not installed: microtome[scene]")

STUDY, SERIES = generate_uid(), generate_uid()


def write_series(folder: Path) -> np.ndarray:
    """A CT of 6 slices, 2.5 mm apart; its voxels (slices, rows, columns)."""
    voxels = (np.arange(6 * 8 * 10) - 100).astype(np.int16).reshape(6, 8, 10)
    for number in range(6):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        found = FileDataset(str(folder / f"{number}.dcm"), {}, file_meta=meta, preamble=bytes(128))
        found.SOPClassUID, found.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        found.StudyInstanceUID, found.SeriesInstanceUID = STUDY, SERIES
        found.PatientID, found.PatientName, found.Modality = "P1", "Doe^Jane", "CT"
        found.InstanceNumber = number + 1
        found.ImagePositionPatient, found.ImageOrientationPatient = [-4.5, -3.5, 2.5 * number], [1, 0, 0, 0, 1, 0]
        found.PixelSpacing, found.SliceThickness = [1.0, 1.0], 2.5
        found.Rows, found.Columns, found.SamplesPerPixel = 8, 10, 1
        found.PhotometricInterpretation, found.PixelRepresentation = "MONOCHROME2", 1
        found.BitsAllocated, found.BitsStored, found.HighBit = 16, 16, 15
        found.RescaleSlope, found.RescaleIntercept = 1, 0
        found.PixelData = voxels[number].tobytes()
        found.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return voxels


@contextmanager
def lying(body: bytes, kind: str = "multipart/related") -> Iterator[tuple[int, list[str]]]:
    """A server that answers everything with the same; its port, and what it was asked for."""
    seen: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(f"{self.path} {self.headers.get('authorization')}")
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1], seen
        finally:
            server.shutdown()


def access(client: Client, port: int, **more: str) -> tuple[int, dict[str, object]]:
    body = {"dicomWEBPrefix": f"http://127.0.0.1:{port}", "dicomWEBStore": "dicom", "studyUID": STUDY, **more}
    answer = client.request("POST", "/slicer/accessDICOMwebStudy", None, json.dumps(body).encode())
    return answer.status, answer.json()


def test_a_study_of_this_server_becomes_a_volume(tmp_path: Path) -> None:
    voxels = write_series(tmp_path)
    with served(tmp_path, dicomweb=True) as source:
        until(lambda: len(source.get("/dicom/instances").json()) == 6)
        hosts = (f"127.0.0.1:{source.port}",)
        with served(tmp_path, scene=True, scene_hosts=hosts, scene_private_hosts=True) as client:
            status, found = access(client, source.port)
            assert (status, found["success"]) == (200, True), found
            (volume,) = found["loadedNodeIDs"]  # type: ignore[misc]
            saved = tmp_path / "saved.nrrd"
            assert client.get(f"/slicer/mrml/file?id={volume}&localfile={saved}").status == 200
            import nrrd

            data, header = nrrd.read(str(saved))
            assert np.array_equal(np.transpose(data, (2, 1, 0)), voxels)
            assert np.allclose(header["space directions"], np.diag([1, 1, 2.5]))
            link = f"slicer://viewer/?studyUID={STUDY}&dicomweb_endpoint=http://127.0.0.1:{source.port}/dicom"
            for target in (f"/slicer/open?url={quote(link, safe='')}", f"/slicer/mrml?url={quote(link, safe='')}"):
                answer = client.request("POST", target)
                assert answer.status == 200, answer.body
                assert len(answer.json()["loadedNodeIDs"]) == 1


def test_only_allowed_hosts_are_asked(tmp_path: Path) -> None:
    with lying(b"") as (port, seen), served(tmp_path, scene=True) as client:
        status, found = access(client, port)
        assert (status, seen) == (403, [])
        assert "--scene-hosts" in str(found["message"])
    with lying(b"") as (port, seen), served(tmp_path, scene=True, scene_hosts=(f"127.0.0.1:{port}",)) as client:
        status, found = access(client, port)
        assert (status, seen) == (403, [])
        assert "--scene-private-hosts" in str(found["message"])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"--b\r\n",
        b"--b\r\nContent-Type: application/dicom\r\n\r\n",
        b"--b\r\nContent-Type: application/dicom\r\n\r\nno dicom\r\n--b--\r\n",
        b"--b\r\n" + b"x" * 100_000,
        b"--b\r\n\r\n\r\n--b--",
    ],
)
def test_answers_that_are_no_study(tmp_path: Path, body: bytes) -> None:
    with (
        lying(body) as (port, seen),
        served(tmp_path, scene=True, scene_hosts=(f"127.0.0.1:{port}",), scene_private_hosts=True) as client,
    ):
        status, found = access(client, port, accessToken="secret")
        assert (status, found["success"]) == (500, False)
        assert seen == [f"/dicom/studies/{STUDY} Bearer secret"]
        assert "secret" not in str(found)
        assert str(tmp_path) not in str(found)
        for wrong in ("../../etc", "1.2.3/../4", "", "1" * 65):
            assert access(client, port, studyUID=wrong)[0] == 500
        assert len(seen) == 1
