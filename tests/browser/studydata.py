"""Small studies for the pages: blocks of known values, an enhanced multi-frame, a report, a document, a waveform."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

BLOCK, BLOCKS = 32, 6
CT, CR, US, SR, PDF, ECG = (
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.1",
    "1.2.840.10008.5.1.4.1.1.6.1",
    "1.2.840.10008.5.1.4.1.1.88.11",
    "1.2.840.10008.5.1.4.1.1.104.1",
    "1.2.840.10008.5.1.4.1.1.9.1.1",
)
ROOT = "1.2.826.0.1.3680043.10.1421."


def blocks(dtype: str, low: int, high: int) -> NDArray[Any]:
    """BLOCKS x BLOCKS squares of equal samples from ``low`` to ``high``."""
    values = np.linspace(low, high, BLOCKS * BLOCKS).round().astype(dtype).reshape(BLOCKS, BLOCKS)
    return np.kron(values, np.ones((BLOCK, BLOCK), dtype))


def new(sop_class: str, study: str, series: str, **attributes: Any) -> Dataset:
    """An instance without pixels; studies and series are named by words."""
    found = Dataset()
    found.SOPClassUID, found.SOPInstanceUID = sop_class, generate_uid()
    found.StudyInstanceUID = ROOT + str(int.from_bytes(study.encode()[:12], "big"))
    found.SeriesInstanceUID = f"{found.StudyInstanceUID}.{int.from_bytes(series.encode()[:8], 'big')}"
    found.SpecificCharacterSet = "ISO_IR 192"
    found.PatientName, found.PatientID, found.PatientBirthDate, found.PatientSex = "Doe^Jane", "P-1", "19700203", "F"
    found.StudyDate, found.StudyTime, found.StudyDescription, found.AccessionNumber = "20240131", "101500", study, "A1"
    found.SeriesDescription, found.SeriesNumber, found.InstanceNumber = series, 1, 1
    found.Modality = {CT: "CT", CR: "CR", US: "US", SR: "SR", PDF: "DOC", ECG: "ECG"}[sop_class]
    for name, value in attributes.items():
        setattr(found, name, value)
    return found


def with_pixels(found: Dataset, pixels: NDArray[Any], photometric: str = "MONOCHROME2", stored: int = 0) -> Dataset:
    """Add pixel data: (rows, columns), (frames, rows, columns) or (rows, columns, 3)."""
    colour = photometric == "RGB"
    found.SamplesPerPixel, found.PhotometricInterpretation = (3 if colour else 1), photometric
    if colour:
        found.PlanarConfiguration = 0
    if pixels.ndim == 3 and not colour:
        found.NumberOfFrames = len(pixels)
    found.Rows, found.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    found.BitsAllocated = pixels.dtype.itemsize * 8
    found.BitsStored = stored or found.BitsAllocated
    found.HighBit, found.PixelRepresentation = found.BitsStored - 1, int(pixels.dtype.kind == "i")
    found.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    return found


def save(found: Dataset, path: Path) -> Dataset:
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found.save_as(path, enforce_file_format=True)
    return found


def code(meaning: str) -> Dataset:
    found = Dataset()
    found.CodeValue, found.CodingSchemeDesignator, found.CodeMeaning = "1", "99TEST", meaning
    return found


def content(kind: str, name: str, **attributes: Any) -> Dataset:
    found = Dataset()
    found.RelationshipType, found.ValueType, found.ConceptNameCodeSequence = "CONTAINS", kind, [code(name)]
    for each, value in attributes.items():
        setattr(found, each, value)
    return found


def report() -> Dataset:
    found = new(SR, "others", "report")
    found.ValueType, found.ConceptNameCodeSequence = "CONTAINER", [code("Findings of the chest")]
    found.CompletionFlag, found.VerificationFlag = "COMPLETE", "UNVERIFIED"
    measured = Dataset()
    measured.NumericValue, measured.MeasurementUnitsCodeSequence = "12.5", [code("millimetre")]
    inner = content("NUM", "Diameter", MeasuredValueSequence=[measured])
    found.ContentSequence = [
        content("TEXT", "Impression", TextValue="<b>Nodule</b> of the left lung"),
        content("CONTAINER", "Measurements", ContentSequence=[inner]),
    ]
    return found


def document() -> Dataset:
    found = new(PDF, "others", "document")
    found.MIMETypeOfEncapsulatedDocument, found.DocumentTitle = "application/pdf", "Letter to the doctor"
    found.EncapsulatedDocument = b"%PDF-1.4 test\n"
    return found


def waveform() -> Dataset:
    found = new(ECG, "others", "heart")
    group = Dataset()
    group.MultiplexGroupLabel, group.WaveformOriginality = "RHYTHM", "ORIGINAL"
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples, group.SamplingFrequency = 2, 500, "250"
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 16, "SS"
    group.ChannelDefinitionSequence = []
    for name in ("Lead I", "Lead II"):
        channel = Dataset()
        channel.ChannelSourceSequence, channel.ChannelSensitivity = [code(name)], "2.5"
        channel.ChannelSensitivityUnitsSequence = [code("microvolt")]
        channel.WaveformBitsStored = 16
        group.ChannelDefinitionSequence.append(channel)
    wave = np.sin(np.linspace(0, 20, 500)) * 1000
    group.WaveformData = np.stack([wave, -wave], 1).astype("<i2").tobytes()
    found.WaveformSequence = [group]
    return found


def enhanced() -> Dataset:
    """Three frames with a rescale and a window of their own; the second is brighter throughout."""
    found = new(CT, "stack", "enhanced")
    found.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    base = blocks("uint16", 0, 1000)
    with_pixels(found, np.stack([base, base + 500, base[:, ::-1]]))
    found.FrameTime = "20"
    frames: list[Dataset] = []
    for slope in (1, 2, 3):
        frame, value, window = Dataset(), Dataset(), Dataset()
        value.RescaleIntercept, value.RescaleSlope, value.RescaleType = "-100", str(slope), "HU"
        window.WindowCenter, window.WindowWidth = "600", "1500"
        frame.PixelValueTransformationSequence, frame.FrameVOILUTSequence = [value], [window]
        frames.append(frame)
    found.SharedFunctionalGroupsSequence = [Dataset()]
    found.PerFrameFunctionalGroupsSequence = frames
    return found


GREY = {
    "signed": (blocks("int16", -1024, 3000), {"RescaleIntercept": "-24", "RescaleSlope": "1.5", "RescaleType": "HU",
                                             "WindowCenter": ["40", "400"], "WindowWidth": ["400", "4000"],
                                             "WindowCenterWidthExplanation": ["SOFT", "WIDE"]}, "MONOCHROME2", 0),
    "twelve": (blocks("uint16", 5, 4090), {}, "MONOCHROME2", 12),
    "inverse": (blocks("uint8", 0, 255), {"WindowCenter": "100", "WindowWidth": "120"}, "MONOCHROME1", 0),
    "sigmoid": (blocks("uint16", 0, 4000), {"WindowCenter": "2000", "WindowWidth": "1500",
                                            "VOILUTFunction": "SIGMOID"}, "MONOCHROME2", 0),
    "exact": (blocks("int8", -100, 100), {"WindowCenter": "0", "WindowWidth": "100",
                                          "VOILUTFunction": "LINEAR_EXACT"}, "MONOCHROME2", 0),
}  # fmt: skip
"""Pixels, attributes, photometric interpretation and stored bits by the name of the series."""


def write(folder: Path) -> Path:
    """All of it."""
    for number, (name, (pixels, attributes, photometric, stored)) in enumerate(GREY.items()):
        found = new(CT if name == "signed" else CR, "grey", name, SeriesNumber=number, **attributes)
        save(with_pixels(found, pixels, photometric, stored), folder / f"{name}.dcm")
    for number in range(12):
        found = new(CT, "stack", "slices", InstanceNumber=number + 1, SOPInstanceUID=generate_uid())
        found.ImagePositionPatient, found.PixelSpacing = [0, 0, number], [2, 1]
        found.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        found.WindowCenter, found.WindowWidth = "500", "1000"
        save(with_pixels(found, blocks("uint16", 0, 1000) // 12 * (number + 1)), folder / f"slice{number:02}.dcm")
    save(enhanced(), folder / "enhanced.dcm")
    colours = np.stack([blocks("uint8", 0, 255), blocks("uint8", 255, 0), blocks("uint8", 80, 80)], -1)
    save(with_pixels(new(US, "others", "colours"), colours, "RGB"), folder / "colours.dcm")
    for made in (report(), document(), waveform()):
        save(made, folder / f"{made.SeriesDescription}.dcm")
    for number in range(58):
        found = new(CR, f"many {number:02}", "one", PatientName=f"Roe^Number {number:02}", PatientID=f"R{number}")
        found.StudyDate = f"2023{number % 12 + 1:02}15"
        save(with_pixels(found, blocks("uint8", 0, 255)), folder / f"many{number:02}.dcm")
    (folder / "broken.dcm").write_bytes((folder / "signed.dcm").read_bytes()[:400])
    short = pydicom.dcmread(folder / "twelve.dcm")
    short.SOPInstanceUID = generate_uid()
    short.StudyInstanceUID, short.StudyDescription = short.StudyInstanceUID + ".9", "damaged"
    short.SeriesInstanceUID, short.SeriesDescription = short.SeriesInstanceUID + ".9", "damaged"
    short.PixelData = short.PixelData[:1000]
    save(short, folder / "short.dcm")
    return folder
