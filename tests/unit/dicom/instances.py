"""DICOM files for tests of the index, written by pydicom."""

from __future__ import annotations

import io
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

ROOT = "1.2.826.0.1.3680043.8.498"


def uid(*numbers: int) -> str:
    """A UID of ours."""
    return ".".join([ROOT, *map(str, numbers)])


def dataset(study: int = 1, series: int = 1, instance: int = 1, **attributes: Any) -> Dataset:
    """A data set; attributes by keyword, None takes one away."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID = CTImageStorage
    made.SOPInstanceUID = uid(study, series, instance)
    made.StudyInstanceUID = uid(study)
    made.SeriesInstanceUID = uid(study, series)
    made.Modality = "CT"
    made.PatientName = "Nobody"
    made.PatientID = f"P{study}"
    made.StudyDate = "20200101"
    made.StudyTime = "120000"
    made.StudyID = str(study)
    made.AccessionNumber = f"A{study}"
    made.SeriesNumber = series
    made.InstanceNumber = instance
    for keyword, value in attributes.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = UID(made.SOPInstanceUID)
    return made


def encoded(made: Dataset) -> bytes:
    """The file of a data set."""
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()


def file(study: int = 1, series: int = 1, instance: int = 1, **attributes: Any) -> bytes:
    """``dataset`` as a file."""
    return encoded(dataset(study, series, instance, **attributes))


def item(**attributes: Any) -> Dataset:
    """An item of a sequence."""
    made = Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def archive() -> dict[str, bytes]:
    """Four studies for searches: by name of file, which begins with the letter of the study."""
    requested = Sequence([item(ScheduledProcedureStepID="S-1", RequestedProcedureID="R-1"),
                          item(ScheduledProcedureStepID="S-2", RequestedProcedureID="R-2")])  # fmt: skip
    a = {"PatientName": "Müller^Hans", "PatientID": "P-1", "StudyDate": "20200115", "StudyTime": "101500",
         "StudyDescription": "Thorax 100%_x'", "ReferringPhysicianName": "Størk^Æsa", "PatientSex": "M",
         "AccessionNumber": "acc"}  # fmt: skip
    b = {"PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう", "PatientID": "p-1", "StudyDate": "20200220",
         "StudyTime": "0930", "StudyDescription": "Kopf", "PatientSex": "F", "AccessionNumber": "ACC"}  # fmt: skip
    c = {"PatientName": "MULLER^Anna Maria", "PatientID": "P[1]", "StudyDate": "20210101", "StudyTime": "235959.5",
         "Modality": None, "PatientSex": "", "StudyDescription": ""}  # fmt: skip
    d = {"PatientName": "", "PatientID": "", "StudyDate": "", "StudyTime": "", "Modality": "SM"}
    private = dataset(3, 1, 1, **c, KVP="120", RequestAttributesSequence=requested)
    block = private.private_block(0x0009, "MICROTOME TEST", create=True)
    block.add_new(0x01, "LO", "hidden")
    return {
        "a1": file(1, 1, 1, **a, KVP="80.0", Rows=4, Columns=6, BitsAllocated=16, BodyPartExamined="CHEST",
                   AcquisitionDateTime="20200115101500+0100"),
        "a2": file(1, 1, 2, **a, KVP="80", Rows=4, Columns=6, BitsAllocated=16, BodyPartExamined="CHEST",
                   ImageType=["DERIVED", "SECONDARY"]),
        "a3": file(1, 2, 1, **{**a, "Modality": "SR"}, SeriesDescription="Report", SeriesNumber=None,
                   SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33"),
        "b1": file(2, 1, 10, **{**b, "Modality": "MR"}, OperatorsName="Grün^Eva"),
        "b2": file(2, 1, 9, **{**b, "Modality": "MR"}),
        "c1": encoded(private),
        "d1": file(4, 1, 1, **d),
    }  # fmt: skip
