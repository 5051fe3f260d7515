"""Data sets without identities: real files, and dicognito as the oracle of what must not stay."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import orjson
import pydicom
import pytest
from dicognito.anonymizer import Anonymizer
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset as PydicomDataset
from pydicom.dataset import FileMetaDataset

from microtome.dicom.content import bulk_paths
from microtome.dicom.dataset import Dataset
from microtome.dicom.deidentify.pseudonyms import Pseudonyms
from microtome.dicom.deidentify.transform import Deidentifier
from microtome.dicom.deidentify.wellknown import is_known
from microtome.dicom.json import to_json
from microtome.dicom.part10 import Memory, scan
from microtome.dicom.write import encoded
from tests.unit.dicom.corpus import dicom_files, name_of
from tests.unit.dicom.instances import dataset, item
from tests.unit.dicom.instances import encoded as file_of

CODING_SCHEME = 0x0008_010C
"""Names a list of codes, nobody; dicognito changes it, the standard does not (PS3.15 table E.1-1)."""
DEIDENTIFIER = Deidentifier(Pseudonyms("a key of thirty-two bytes or more"))


def shown(found: PydicomDataset) -> PydicomDataset:
    """What is shown of a data set of pydicom's."""
    return read(DEIDENTIFIER.dataset(scan(Memory(file_of(found))).dataset))


def read(made: Dataset) -> PydicomDataset:
    values = {bulk: b"" for _, bulk in bulk_paths(made).values()}
    return pydicom.dcmread(io.BytesIO(encoded(made, read=values.__getitem__)), force=True)


@pytest.mark.parametrize("path", dicom_files(), ids=name_of)
def test_files_and_index_say_the_same(path: Path) -> None:
    header = scan(Memory(path.read_bytes())).dataset
    document = orjson.loads(orjson.dumps(to_json(header, bulk_uri=str)))
    assert DEIDENTIFIER.document(document) == to_json(DEIDENTIFIER.dataset(header), bulk_uri=str)


@pytest.mark.parametrize("path", dicom_files(), ids=name_of)
def test_what_dicognito_changes_is_changed(path: Path) -> None:
    try:
        before = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        after = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        after.file_meta = getattr(after, "file_meta", None) or FileMetaDataset()
        Anonymizer(seed="x").anonymize(after)
        changed = [(at, text) for at, text in values(before) if values_at(after, at) != text]
        texts = [(at, text) for at, text in changed if at[-1] != CODING_SCHEME]
    except Exception as error:  # noqa: BLE001 - what pydicom or dicognito cannot read is no oracle
        pytest.skip(f"the oracle cannot read it: {type(error).__name__}")
    ours = read(DEIDENTIFIER.dataset(scan(Memory(path.read_bytes())).dataset))
    for at, text in texts:
        assert not text or values_at(ours, at) != text, (at, text)


def values(found: PydicomDataset, above: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], str]]:
    """Every value that is a text, and where it stands. UIDs of the standard's own are left out."""
    listed = []
    for element in found:
        at = (*above, element.tag)
        if element.VR == "SQ":
            for number, each in enumerate(element.value):
                listed += values(each, (*at, number))
        elif not (element.VR == "UI" and is_known(str(element.value))):
            listed.append((at, text_of(element)))
    return listed


def values_at(found: Any, at: tuple[Any, ...]) -> str | None:
    for step in at[:-1]:
        try:
            found = found[step].value if not isinstance(step, int) or step > 0xFFFF else found[step]
        except (KeyError, IndexError):
            return None
    return text_of(found[at[-1]]) if at[-1] in found else None


def text_of(element: DataElement) -> str:
    return "" if element.value is None else str(element.value)


def test_marks() -> None:
    made = shown(dataset())
    assert made.PatientIdentityRemoved == "YES"
    assert made.LongitudinalTemporalInformationModified == "MODIFIED"
    assert [each.CodeValue for each in made.DeidentificationMethodCodeSequence] == ["113100", "113107"]
    assert {each.CodingSchemeDesignator for each in made.DeidentificationMethodCodeSequence} == {"DCM"}


def test_references_follow() -> None:
    first = dataset(1, 1, 1)
    second = dataset(1, 1, 2, ReferencedImageSequence=[
        item(ReferencedSOPClassUID=first.SOPClassUID, ReferencedSOPInstanceUID=first.SOPInstanceUID)])  # fmt: skip
    one, two = shown(first), shown(second)
    (reference,) = two.ReferencedImageSequence
    assert reference.ReferencedSOPInstanceUID == one.SOPInstanceUID != first.SOPInstanceUID
    assert reference.ReferencedSOPClassUID == first.SOPClassUID == one.SOPClassUID
    assert (one.StudyInstanceUID, one.SeriesInstanceUID) == (two.StudyInstanceUID, two.SeriesInstanceUID)


def test_sequences_are_entered() -> None:
    inner = item(PatientName="Doe^Jane", OperatorsName="Grün", TextValue="born in Ulm", DateTime="20200101120000",
                 UID="1.2.3", CodeMeaning="kept")  # fmt: skip
    made = shown(dataset(AnatomicRegionSequence=[item(AnatomicRegionModifierSequence=[inner])]))
    deep = made.AnatomicRegionSequence[0].AnatomicRegionModifierSequence[0]
    assert deep.CodeMeaning == "kept"
    assert deep.PatientName == made.PatientName
    assert "OperatorsName" not in deep
    assert "TextValue" not in deep
    assert deep.UID.startswith("2.25.")
    assert deep.DateTime not in {"", "20200101120000"}


def test_private_attributes_go() -> None:
    found = dataset(Rows=4)
    found.private_block(0x0009, "MICROTOME TEST", create=True).add_new(0x01, "LO", "hidden")
    nested = item(CodeMeaning="kept")
    nested.private_block(0x0011, "DEEP", create=True).add_new(0x02, "PN", "Doe")
    found.AnatomicRegionSequence = [nested]
    made = shown(found)
    assert not [element for element in made.iterall() if element.tag.is_private]
    assert made.Rows == 4


def test_patients_without_number_are_told_apart() -> None:
    made = [shown(dataset(study, PatientID="", PatientName=name)) for study, name in ((1, "A"), (2, "A"), (3, ""))]
    assert made[0].PatientName == made[1].PatientName
    assert not made[2].PatientName
    assert not made[0].PatientID
    again = shown(dataset(4, PatientID="", PatientName=""))
    assert made[2].StudyDate != again.StudyDate  # each study by itself


def test_no_instance_has_a_uid_of_the_standard() -> None:
    verification = "1.2.840.10008.1.1"
    made = shown(dataset(SOPInstanceUID=verification, FrameOfReferenceUID=verification))
    assert made.SOPInstanceUID == Pseudonyms("a key of thirty-two bytes or more").uid(verification)
    assert made.FrameOfReferenceUID == verification


@pytest.mark.parametrize("name", ["=山田^太郎", "Doe^Jane^^", " Doe^Jane", "Doe^Jane="])
def test_names_are_the_same_in_files_and_index(name: str) -> None:
    header = scan(Memory(file_of(dataset(PatientID="", PatientName=name)))).dataset
    document = orjson.loads(orjson.dumps(to_json(header)))
    assert DEIDENTIFIER.document(document) == to_json(DEIDENTIFIER.dataset(header))


def test_texts_of_other_alphabets_become_letters() -> None:
    made = shown(dataset(PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう", PatientID="患者"))
    assert str(made.PatientName) == made.PatientID
    assert str(made.PatientName).isascii()
