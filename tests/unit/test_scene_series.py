"""Series of DICOM files as volumes: against SimpleITK and pydicom, and what is uneven about them is told."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RLELossless, generate_uid

from microtome.errors import CorruptData, LimitExceeded, UnsupportedFormat
from microtome.scene.images.frames import frames_of
from microtome.scene.images.image import Image, Limits
from microtome.scene.images.series import assembled, files_of, series_in
from scripts import scene_oracles as oracles

SLOPES = {"one": (1.0, -1024.0), "half": (0.5, 3.25)}


def slice_of(folder: Path, uid: str, position: tuple[float, float, float], value: int, **more: Any) -> Path:
    """A slice of 4 x 5 px, all of one value; ``more`` replaces attributes."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.Modality = "1.2", uid, "CT"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 4, 5, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.ImagePositionPatient, dataset.PixelSpacing = list(position), [2, 0.5]
    dataset.ImageOrientationPatient = [0.6, 0.8, 0, -0.8, 0.6, 0]
    dataset.PixelData = np.full((4, 5), value, "<i2").tobytes()
    for name, each in more.items():
        setattr(dataset, name, each)
    path = folder / f"{generate_uid()}.dcm"
    dataset.save_as(path)
    return path


def volume(folder: Path, **limits: Any) -> tuple[Image, list[str]]:
    messages: list[str] = []
    return assembled(series_in(files_of(folder))[0], Limits(**limits), messages), messages


@pytest.mark.parametrize("name", ["slicer-cthead", "dcmqi-adc"])
def test_real_series_as_simpleitk_has_them(testdata: Path, name: str) -> None:
    folder = testdata / "dicom" / "series" / name
    image, messages = volume(folder)
    voxels, matrix = oracles.series_by_simpleitk(folder)
    assert np.array_equal(image.voxels, voxels)
    assert np.abs(image.ijk_to_ras - matrix).max() < 1e-3
    assert messages == []


@pytest.mark.parametrize("slope", SLOPES)
def test_turned_and_rescaled(tmp_path: Path, slope: str) -> None:
    factor, intercept = SLOPES[slope]
    for number in (2, 0, 1):
        slice_of(tmp_path, "1.3", (1, 2, 2.5 * number), number * 10, RescaleSlope=factor, RescaleIntercept=intercept)
    image, _ = volume(tmp_path)
    voxels, matrix = oracles.series_by_simpleitk(tmp_path)
    assert np.allclose(image.voxels, voxels)
    assert image.voxels[:, 0, 0].tolist() == [number * 10 * factor + intercept for number in range(3)]
    assert np.allclose(image.ijk_to_ras, matrix)


def test_what_is_uneven_is_told(tmp_path: Path) -> None:
    for height in (0, 1, 2, 5):
        slice_of(tmp_path, "1.3", (0, 0, height), height)
    image, messages = volume(tmp_path)
    assert "1.000 to 3.000 mm" in messages[0]
    assert np.linalg.norm(image.ijk_to_ras[:3, 2]) == pytest.approx(5 / 3)


def test_a_tilted_gantry_leans(tmp_path: Path) -> None:
    for number in range(3):
        slice_of(tmp_path, "1.3", (0, 0.5 * number, 2.0 * number), number)
    image, messages = volume(tmp_path)
    assert "askew" in messages[0]
    assert np.allclose(image.ijk_to_ras[:3, 2], (0, -0.5, 2))


def test_images_in_the_same_place(tmp_path: Path) -> None:
    for number in range(6):
        slice_of(tmp_path, "1.3", (0, 0, number // 2), number, InstanceNumber=number)
    image, messages = volume(tmp_path)
    assert image.voxels[:, 0, 0].tolist() == [0, 2, 4]
    assert messages == ["6 images lie in 3 places; the first of each was taken"]


def test_other_files_are_passed_over_and_series_kept_apart(tmp_path: Path) -> None:
    for number in range(3):
        slice_of(tmp_path, "1.3", (0, 0, number), number)
    slice_of(tmp_path, "1.4", (0, 0, 0), 9)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "cut.dcm").write_bytes(b"\0" * 128 + b"DICM\2\0\0\0")
    assert [(series.uid, len(series.planes)) for series in series_in(files_of(tmp_path))] == [("1.3", 3), ("1.4", 1)]


def test_images_that_lie(tmp_path: Path) -> None:
    slice_of(tmp_path, "1.3", (0, 0, 0), 1, Rows=4000, Columns=5000)
    with pytest.raises(LimitExceeded):
        volume(tmp_path, voxels=1 << 20)
    with pytest.raises(CorruptData):
        volume(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    slice_of(other, "1.5", (0, 0, 0), 1, PixelSpacing=[0, 1])
    assert series_in(files_of(other)) == []  # it has no place


def test_every_transfer_syntax_as_pydicom_decodes_it(testdata: Path) -> None:
    """Samples are compared before they are rescaled; lossy ones may differ by rounding."""
    tried: set[str] = set()
    for path in sorted((testdata / "dicom" / "ts").rglob("*.dcm")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                dataset = pydicom.dcmread(path)
                syntax = dataset.file_meta.TransferSyntaxUID
                if dataset.get("PhotometricInterpretation") != "MONOCHROME2" or dataset.get("NumberOfFrames", 1) != 1:
                    continue
                wanted = dataset.pixel_array * float(dataset.get("RescaleSlope", 1)) + float(
                    dataset.get("RescaleIntercept", 0)
                )
                (found,) = frames_of(path, [0], 1 << 26)
            except (UnsupportedFormat, CorruptData):
                continue
            except Exception:  # noqa: BLE001 - pydicom cannot read it
                continue
        lossy = syntax in {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"}
        slope = abs(float(dataset.get("RescaleSlope", 1)))
        assert np.allclose(found, wanted, atol=2 * slope if lossy else 1e-4 * slope), path.name
        tried.add(str(syntax))
    assert RLELossless in tried
    assert {f"1.2.840.10008.1.2.4.{number}" for number in (57, 70, 80, 90)} <= tried
    assert len(tried) >= 9
