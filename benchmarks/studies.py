"""Studies to measure with: a CT series of 300 slices, a slide of small JPEG tiles, and many studies of one instance."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGBaseline8Bit

ROOT = "1.2.826.0.1.3680043.10.1561"
STUDIES, SLICES, TILE = 59, 300, 256
CT_STUDY, CT_SERIES = f"{ROOT}.1.1", f"{ROOT}.1.1.1"
SLIDE_STUDY, SLIDE_SERIES = f"{ROOT}.2.1", f"{ROOT}.2.1.1"
SMALL, LARGE = 120, 2000
"""Frames of the two levels of the slide, of 1 MB and 17 MB; Orthanc reads them differently fast."""
_CT_CLASS, _SLIDE_CLASS = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.77.1.6"


def make(folder: Path) -> None:
    """All of it, unless it was made before."""
    done = folder / "complete"
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for number, dataset in enumerate(ct_slices()):
        save(dataset, folder / "ct" / f"{number:04}.dcm")
    for frames in (SMALL, LARGE):
        save(slide(frames), folder / "slide" / f"{frames}.dcm")
    for study in range(3, STUDIES + 1):
        save(ct_slice(f"{ROOT}.{study}.1", study, 1), folder / f"study-{study:02}" / "1.dcm")
    done.touch()


def save(dataset: Dataset, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def ct_slices() -> Iterator[Dataset]:
    for number in range(1, SLICES + 1):
        yield ct_slice(CT_STUDY, 1, number)


def ct_slice(study: str, patient: int, number: int, *, pixels: bool = True) -> Dataset:
    """A slice of 512 x 512 px of 16 bits with the attributes that a scanner writes."""
    dataset = _study(study, patient, "CT")
    dataset.file_meta = _meta(_CT_CLASS, f"{study}.1.{number}", ExplicitVRLittleEndian)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SOPClassUID, dataset.SOPInstanceUID = _CT_CLASS, f"{study}.1.{number}"
    dataset.SeriesInstanceUID, dataset.SeriesNumber = f"{study}.1", 2
    dataset.SeriesDescription, dataset.ProtocolName = "Thorax 1.0 B60f", "Thorax routine"
    dataset.Manufacturer, dataset.ManufacturerModelName = "Nobody Medical", "Scanner 64"
    dataset.InstitutionName, dataset.StationName = "University Hospital", "CT01"
    dataset.SoftwareVersions, dataset.DeviceSerialNumber = "V1.2.3", "12345"
    dataset.BodyPartExamined, dataset.PatientPosition = "CHEST", "HFS"
    dataset.ScanOptions, dataset.KVP, dataset.DataCollectionDiameter = "HELIX", "120", "500"
    dataset.ReconstructionDiameter, dataset.DistanceSourceToDetector = "350", "1040"
    dataset.DistanceSourceToPatient, dataset.GantryDetectorTilt, dataset.TableHeight = "570", "0", "155.5"
    dataset.RotationDirection, dataset.ExposureTime, dataset.XRayTubeCurrent = "CW", "500", "240"
    dataset.Exposure = "120"
    dataset.FilterType, dataset.GeneratorPower, dataset.FocalSpots = "FLAT", "29", "1.2"
    dataset.ConvolutionKernel, dataset.SliceThickness = "B60f", "1"
    dataset.SingleCollimationWidth, dataset.TotalCollimationWidth, dataset.TableSpeed = 0.6, 38.4, 46.0
    dataset.SpiralPitchFactor, dataset.EstimatedDoseSaving, dataset.CTDIvol = 0.9, 12.5, 8.4
    dataset.AcquisitionNumber, dataset.InstanceNumber = 1, number
    dataset.AcquisitionDate = dataset.ContentDate = "20260110"
    dataset.AcquisitionTime = dataset.ContentTime = f"1015{number % 60:02}.25"
    dataset.ImagePositionPatient = ["-174.6", "-174.6", f"{-300 + number:.2f}"]
    dataset.ImageOrientationPatient, dataset.SliceLocation = ["1", "0", "0", "0", "1", "0"], f"{-300 + number:.2f}"
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = f"{study}.9", "SN"
    dataset.PixelSpacing = ["0.684", "0.684"]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows = dataset.Columns = 512
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.WindowCenter, dataset.WindowWidth = ["40", "-600"], ["400", "1600"]
    dataset.WindowCenterWidthExplanation = ["WINDOW1", "WINDOW2"]
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "-1024", "1", "HU"
    dataset.ReferencedImageSequence = Sequence([_reference(f"{study}.8.{each}") for each in (1, 2)])
    dataset.RequestAttributesSequence = Sequence([_request()])
    dataset.PerformedProcedureStepStartDate, dataset.PerformedProcedureStepStartTime = "20260110", "101000"
    dataset.PerformedProcedureStepID, dataset.PerformedProcedureStepDescription = "1234", "CT thorax"
    block = dataset.private_block(0x0029, "NOBODY HEADER", create=True)
    block.add_new(0x08, "CS", "IMAGE NUM 4")
    block.add_new(0x09, "LO", "20260110")
    block.add_new(0x10, "OB", bytes(random.Random(number).randbytes(900)))
    if pixels:
        dataset.PixelData = _phantom(number).tobytes()
    return dataset


def _study(study: str, patient: int, modality: str) -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.StudyInstanceUID, dataset.StudyID, dataset.Modality = study, str(patient), modality
    dataset.StudyDate = dataset.SeriesDate = f"202601{1 + patient % 28:02}"
    dataset.StudyTime = dataset.SeriesTime = "101112.5"
    dataset.AccessionNumber, dataset.StudyDescription = f"A{patient:06}", "CT thorax with contrast"
    dataset.ReferringPhysicianName = "Muller^Hans^^Dr."
    dataset.PatientName, dataset.PatientID = f"Patient{patient}^Test", f"PAT{patient:05}"
    dataset.PatientBirthDate, dataset.PatientSex, dataset.PatientAge = "19600101", "F", "066Y"
    dataset.PatientWeight, dataset.PatientSize = "70", "1.7"
    return dataset


def _meta(sop_class: str, instance: str, syntax: str) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(sop_class), UID(instance)
    meta.TransferSyntaxUID, meta.ImplementationClassUID = UID(syntax), UID(f"{ROOT}.0")
    return meta


def _reference(instance: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = _CT_CLASS, instance
    return item


def _request() -> Dataset:
    item, code = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "CTTHX", "99LOCAL", "CT thorax"
    item.ScheduledProcedureStepDescription, item.ScheduledProcedureStepID = "CT thorax", "1234"
    item.RequestedProcedureID, item.ScheduledProtocolCodeSequence = "5678", Sequence([code])
    return item


def _phantom(number: int) -> np.ndarray:
    """A body with organs and the noise of a scanner, in stored values."""
    rows, columns = np.mgrid[-1:1:512j, -1:1:512j]
    body = (rows / 0.75) ** 2 + (columns / 0.9) ** 2 < 1
    lungs = ((rows / 0.5) ** 2 + ((np.abs(columns) - 0.4) / 0.3) ** 2) < 1 - number / 1000
    spine = rows**2 * 0 + (rows - 0.5) ** 2 + columns**2 < 0.02
    values = np.where(body, 1060.0, 24.0)
    values[lungs & body] = 200.0
    values[spine] = 1500.0
    noise = np.random.default_rng(number).normal(0, 12, values.shape)
    return np.clip(values + noise, 0, 4095).astype("<u2")


def slide(frames: int) -> Dataset:
    """A level of a slide: tiles of 256 px as baseline JPEG of about 8 kB."""
    dataset = _study(SLIDE_STUDY, 2, "SM")
    dataset.file_meta = _meta(_SLIDE_CLASS, f"{SLIDE_SERIES}.{frames}", JPEGBaseline8Bit)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.SOPClassUID, dataset.SOPInstanceUID = _SLIDE_CLASS, f"{SLIDE_SERIES}.{frames}"
    dataset.SeriesInstanceUID, dataset.SeriesNumber, dataset.InstanceNumber = SLIDE_SERIES, 1, 1
    dataset.ContentDate, dataset.ContentTime = "20260110", "101500"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "YBR_FULL_422", 0
    dataset.Rows = dataset.Columns = TILE
    dataset.NumberOfFrames = frames
    dataset.TotalPixelMatrixColumns, dataset.TotalPixelMatrixRows = 50 * TILE, frames // 50 * TILE
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.LossyImageCompression, dataset.LossyImageCompressionMethod = "01", "ISO_10918_1"
    dataset.DimensionOrganizationType, dataset.BurnedInAnnotation = "TILED_FULL", "NO"
    few = [tile(number) for number in range(50)]
    dataset.PixelData = encapsulate([few[number % len(few)] for number in range(frames)])
    return dataset


def tile(seed: int) -> bytes:
    """Stained tissue, more or less."""
    import imagecodecs

    random_numbers = np.random.default_rng(seed)
    coarse = random_numbers.normal(0, 1, (34, 34, 1))
    field = np.kron(coarse, np.ones((8, 8, 1)))[:TILE, :TILE] * 22 + random_numbers.normal(0, 5, (TILE, TILE, 1))
    pixels = np.clip(np.array([215, 165, 205]) + field * np.array([0.6, 1.0, 0.7]), 0, 255).astype(np.uint8)
    return bytes(imagecodecs.jpeg8_encode(pixels, level=80, colorspace="RGB", outcolorspace="YCBCR"))
