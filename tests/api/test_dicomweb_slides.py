"""Slides of other formats as DICOM, over HTTP; OpenSlide, wsidicom, pydicom and dicomweb-client are the readers."""

from __future__ import annotations

import base64
import io
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pydicom
import pytest
import tifffile
from dicomweb_client import DICOMwebClient
from numpy.typing import NDArray
from wsidicom import WsiDicom

from microtome.demo.svs import write_demo
from tests.serving import Client, served, until

DEMO, DEEP = "demo.svs", "deep.tif"
WHOLE = {"accept": "application/dicom; transfer-syntax=*"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A colour slide of JPEG tiles and one of two channels of 16 bits, uncompressed."""
    folder = tmp_path_factory.mktemp("dicom-slides") / "data"
    folder.mkdir()
    write_demo(folder / DEMO, width=1300, height=900)
    samples = np.random.default_rng(3).integers(0, 60000, (2, 300, 400), dtype=np.uint16)
    tifffile.imwrite(folder / DEEP, np.moveaxis(samples, 0, -1), tile=(256, 256), photometric="minisblack",
                     planarconfig="contig")  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def dicom(folder: Path) -> Iterator[Client]:
    with served(folder, dicomweb=True, dicom_index=str(folder.parent / "index.sqlite")) as client:
        until(lambda: len(client.get("/dicom/studies").json()) == 2)
        yield client


def instances(client: Client, name: str) -> list[dict[str, Any]]:
    """What is said of the instances of a slide, in their order."""
    found = client.get(f"/dicom/instances?StudyDescription={name}&includefield=ImageType").json()
    return sorted(found, key=lambda each: each["00200013"]["Value"][0])


def address(instance: dict[str, Any]) -> str:
    study, series, sop = (instance[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018"))
    return f"/dicom/studies/{study}/series/{series}/instances/{sop}"


def saved(client: Client, name: str, folder: Path) -> list[Path]:
    """Every instance of a slide as a file."""
    paths: list[Path] = []
    for number, each in enumerate(instances(client, name)):
        answer = client.get(address(each), WHOLE)
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("application/dicom")
        paths.append(folder / f"{number}.dcm")
        paths[-1].write_bytes(answer.body)
    return paths


def pixels(slide: openslide.OpenSlide, level: int = 0) -> NDArray[Any]:
    return np.asarray(slide.read_region((0, 0), level, slide.level_dimensions[level]).convert("RGB"))


def test_a_slide_is_a_study(dicom: Client) -> None:
    (study,) = dicom.get(f"/dicom/studies?StudyDescription={DEMO}").json()
    assert study["00080061"]["Value"] == ["SM"]
    assert study["00201206"]["Value"] == [1]
    found = instances(dicom, DEMO)
    assert study["00201208"]["Value"] == [len(found)]
    kinds = [each["00080008"]["Value"][2] for each in found]
    assert kinds == ["VOLUME", "VOLUME", "LABEL", "OVERVIEW", "THUMBNAIL"]
    again = instances(dicom, DEMO)
    assert [address(each) for each in again] == [address(each) for each in found]


def test_files_are_valid(dicom: Client, tmp_path: Path) -> None:
    validator = shutil.which("dciodvfy")
    if validator is None:
        pytest.skip("dciodvfy (Debian's dicom3tools) is not installed")
    for name in (DEMO, DEEP):
        for path in saved(dicom, name, tmp_path):
            told = subprocess.run([validator, "-new", str(path)], capture_output=True, text=True, check=False).stderr
            lines = [line for line in told.splitlines() if line.startswith(("Error", "Abort"))]
            assert not lines, (name, path.name)
            assert "VLWholeSlideMicroscopyImage" in told


def test_openslide_sees_the_same_pixels(dicom: Client, folder: Path, tmp_path: Path) -> None:
    saved(dicom, DEMO, tmp_path)
    with openslide.OpenSlide(folder / DEMO) as ours, openslide.OpenSlide(tmp_path / "0.dcm") as theirs:
        assert theirs.level_dimensions == ours.level_dimensions
        assert float(theirs.properties["openslide.mpp-x"]) == pytest.approx(float(ours.properties["openslide.mpp-x"]))
        assert set(theirs.associated_images) == {"label", "macro", "thumbnail"}
        for level in range(ours.level_count):
            np.testing.assert_array_equal(pixels(theirs, level), pixels(ours, level))
        for name in ("label", "macro"):
            np.testing.assert_array_equal(
                np.asarray(theirs.associated_images[name]), np.asarray(ours.associated_images[name])
            )


def test_wsidicom_reads_levels_and_channels(dicom: Client, folder: Path, tmp_path: Path) -> None:
    with WsiDicom.open(saved(dicom, DEMO, tmp_path)) as slide, openslide.OpenSlide(folder / DEMO) as original:
        assert (slide.size.width, slide.size.height) == original.dimensions
        region = np.asarray(slide.read_region((100, 200), 0, (500, 400)).convert("RGB")).astype(int)
        expected = np.asarray(original.read_region((100, 200), 0, (500, 400)).convert("RGB")).astype(int)
        assert np.abs(region - expected).max() <= 2  # decoders round differently
        assert slide.mpp.width == pytest.approx(float(original.properties["openslide.mpp-x"]))


def test_deep_channels_are_optical_paths(dicom: Client, folder: Path, tmp_path: Path) -> None:
    (path,) = saved(dicom, DEEP, tmp_path)
    found = pydicom.dcmread(path)
    assert [each.OpticalPathIdentifier for each in found.OpticalPathSequence] == ["1", "2"]
    samples = tifffile.imread(folder / DEEP)
    frames = found.pixel_array
    assert frames.shape == (8, 256, 256)
    for channel in range(2):
        for number in range(4):
            top, left = 256 * (number // 2), 256 * (number % 2)
            part = samples[top : top + 256, left : left + 256, channel]
            np.testing.assert_array_equal(frames[4 * channel + number][: part.shape[0], : part.shape[1]], part)


def test_frames_are_the_stored_tiles(dicom: Client) -> None:
    volume = instances(dicom, DEMO)[0]
    columns = -(-1300 // 256)
    for number, (row, column) in {1: (0, 0), columns + 3: (1, 2)}.items():
        answer = dicom.get(f"{address(volume)}/frames/{number}", {"accept": "image/jpeg"})
        assert answer.headers["content-type"] == "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"
        assert answer.body == dicom.get(f"/tiles/{DEMO}/0/{column}/{row}.jpg").body


def test_a_client_of_dicomweb_finds_its_way(dicom: Client) -> None:
    client = DICOMwebClient(f"http://127.0.0.1:{dicom.port}/dicom")
    (series,) = client.search_for_series(search_filters={"Modality": "SM", "SeriesDescription": DEMO})
    study_uid, series_uid = series["0020000D"]["Value"][0], series["0020000E"]["Value"][0]
    metadata = client.retrieve_series_metadata(study_uid, series_uid)
    assert len(metadata) == 5
    volume = next(each for each in metadata if each["00080008"]["Value"][2] == "VOLUME")
    sop_uid = volume["00080018"]["Value"][0]
    frames = client.retrieve_instance_frames(
        study_uid, series_uid, sop_uid, [1, 2], media_types=(("image/jpeg", "1.2.840.10008.1.2.4.50"),)
    )
    assert [frame[:2] for frame in frames] == [b"\xff\xd8"] * 2
    profile = base64.b64decode(volume["00480105"]["Value"][0]["00282000"]["InlineBinary"])
    assert profile[36:40] == b"acsp"
    (data,) = client.retrieve_bulkdata(
        f"{client.base_url}{address(volume).removeprefix('/dicom')}/bulk/00480105/1/00282000"
    )
    assert data == profile
    whole = client.retrieve_instance(study_uid, series_uid, sop_uid, media_types=(("application/dicom", "*"),))
    assert whole.SOPInstanceUID == sop_uid
    assert pydicom.dcmread(io.BytesIO(dicom.get(address(volume), WHOLE).body)).NumberOfFrames == whole.NumberOfFrames


def test_labels_stay_here_when_they_are_withheld(folder: Path, tmp_path: Path) -> None:
    with served(folder, dicomweb=True, dicom_index=str(tmp_path / "index.sqlite"), dicom_labels=False) as client:
        until(lambda: len(client.get("/dicom/studies").json()) == 2)
        kinds = {each["00080008"]["Value"][2] for each in instances(client, DEMO)}
    assert kinds == {"VOLUME", "THUMBNAIL"}


def test_a_replaced_slide_is_other_instances_of_the_same_study(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    write_demo(folder / DEMO, width=700, height=600, seed=1)
    (folder / "notes.txt").write_text("A folder with nothing left in it is taken for a disk that is not mounted.")
    index = str(tmp_path / "index.sqlite")

    def described() -> tuple[str, list[str]]:
        with served(folder, dicomweb=True, dicom_index=index, dicom_rescan=0.2) as client:
            until(lambda: len(client.get("/dicom/studies").json()) == 1)
            found = instances(client, DEMO)
            return found[0]["0020000D"]["Value"][0], [each["00080018"]["Value"][0] for each in found]

    before = described()
    write_demo(folder / DEMO, width=700, height=600, seed=2)
    with served(folder, dicomweb=True, dicom_index=index, dicom_rescan=0.2) as client:
        until(lambda: [each["00080018"]["Value"][0] for each in instances(client, DEMO)] != before[1])
        after = instances(client, DEMO)
        assert after[0]["0020000D"]["Value"][0] == before[0]
        assert not {each["00080018"]["Value"][0] for each in after} & set(before[1])
        (folder / DEMO).unlink()
        until(lambda: client.get("/dicom/studies").json() == [])
