"""Patients and specimens of slides, told by a table or by the cases of the mapper; the studies they come to lie in."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from microtome.demo.svs import write_demo
from tests.serving import Client, served, until

HEADER = "slide,PatientID,PatientName,PatientBirthDate,PatientSex,AccessionNumber,Staining,PrimaryAnatomicStructure"
ROWS = """
*,,,,,,H&E,
one/*,P1,Müller^Anna,1957-03-14,female,A-100,,76752008^SCT^Breast
one/b.svs,,,,,,HER2,
two/c.svs,P2,Doe^John,19600101,M,A-200,,
"""
JPEG = {"accept": "image/jpeg"}
SLIDES = ("one/a.svs", "one/b.svs", "two/c.svs", "two/d.svs")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for number, name in enumerate(SLIDES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_demo(folder / name, width=300, height=200, seed=number)
    return folder


def value(found: dict[str, Any], tag: str) -> Any:
    values = found[tag].get("Value", [None])
    return values[0]["Alphabetic"] if isinstance(values[0], dict) and "Alphabetic" in values[0] else values[0]


def studies(client: Client) -> dict[str, tuple[str, int]]:
    """Accession numbers (or descriptions) of studies, their patients and how many series they have."""
    found = client.get("/dicom/studies?includefield=StudyDescription").json()
    return {
        value(each, "00080050") or value(each, "00081030"): (value(each, "00100020"), value(each, "00201206"))
        for each in found
    }


def header(client: Client, name: str) -> pydicom.Dataset:
    (series,) = client.get(f"/dicom/series?SeriesDescription={name}").json()
    address = f"/dicom/studies/{value(series, '0020000D')}/series/{value(series, '0020000E')}/metadata"
    return pydicom.Dataset.from_json(client.get(address).json()[0], lambda _: b"")


def options(table: str | None = None, **more: Any) -> dict[str, Any]:
    return {"dicomweb": True, "revalidate": 0.1, "dicom_rescan": 0.5, "dicom_attributes": table, **more}


def test_a_table_tells_patients_and_specimens(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "patients.csv"
    table.write_text(HEADER + ROWS, encoding="utf-8")
    wanted = {"A-100": ("P1", 2), "A-200": ("P2", 1), "d.svs": (None, 1)}
    with served(folder, **options(str(table))) as client:
        until(lambda: studies(client) == wanted)
        first, second = header(client, "a.svs"), header(client, "b.svs")
        assert first.StudyInstanceUID == second.StudyInstanceUID
        assert first.SeriesInstanceUID != second.SeriesInstanceUID
        assert (first.PatientName, first.PatientBirthDate, first.PatientSex) == ("Müller^Anna", "19570314", "F")
        assert client.get("/dicom/studies?PatientName=muller*").json()[0]["00080050"]["Value"] == ["A-100"]
        specimen = second.SpecimenDescriptionSequence[0]
        assert specimen.PrimaryAnatomicStructureSequence[0].CodeMeaning == "Breast"
        (step,) = specimen.SpecimenPreparationSequence
        said = {each.ConceptNameCodeSequence[0].CodeMeaning: each for each in
                step.SpecimenPreparationStepContentItemSequence}  # fmt: skip
        assert said["Using substance"].TextValue == "HER2"
        other = header(client, "d.svs")
        staining = other.SpecimenDescriptionSequence[0].SpecimenPreparationSequence[0]
        assert staining.SpecimenPreparationStepContentItemSequence[-1].TextValue == "H&E"
        kept = first.StudyInstanceUID
    with served(folder, **options(str(table), dicom_index=str(tmp_path / "other.sqlite"))) as client:
        until(lambda: studies(client) == wanted)
        assert header(client, "a.svs").StudyInstanceUID == kept


def test_a_changed_table_is_read_again(folder: Path) -> None:
    table = folder / "patients.csv"  # named as a file of the data
    table.write_text(f"{HEADER}\none/a.svs,P1,,,,A-1,,\n")
    with served(folder, **options("patients.csv", dicom_rescan=300)) as client:
        until(lambda: studies(client).get("A-1") == ("P1", 1))
        before = header(client, "a.svs")
        address = (
            f"/dicom/studies/{before.StudyInstanceUID}/series/{before.SeriesInstanceUID}"
            f"/instances/{before.SOPInstanceUID}"
        )
        frame = client.get(f"{address}/frames/1", JPEG).body
        assert frame.startswith(b"\xff\xd8")
        table.write_text(f"{HEADER}\none/a.svs,P7,New^Name,,,A-7,,\none/b.svs,P7,New^Name,,,A-7,,\n")
        until(lambda: studies(client).get("A-7") == ("P7", 2))
        assert "A-1" not in studies(client)
        after = header(client, "a.svs")
        assert (after.SOPInstanceUID, after.PatientName) == (before.SOPInstanceUID, "New^Name")
        moved = address.replace(before.StudyInstanceUID, after.StudyInstanceUID)
        assert client.get(f"{moved}/frames/1", JPEG).body == frame
        assert client.get(address).status == 404
        table.unlink()  # what was told stays true until something else is told
        until(lambda: studies(client).get("A-7") == ("P7", 2))
        table.write_text("slide,PatientID\n")
        until(lambda: set(studies(client)) == {Path(name).name for name in SLIDES})


def test_bad_rows_are_reported_and_leave_the_others(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = tmp_path / "patients.csv"
    table.write_text(
        f"{HEADER},Colour\none/a.svs,P1,,14.3.1957,,A-1,,,red\none/b.svs,P1,,,,A-2,,,\none/b.svs,P1\n"
        "two/c.svs,P2,,,X,A-3,,,\n,P3,,,,A-4,,,\n"
    )
    with caplog.at_level(logging.WARNING), served(folder, **options(str(table))) as client:
        until(lambda: studies(client).keys() == {"A-2", "a.svs", "c.svs", "d.svs"})
    told = "\n".join(record.getMessage() for record in caplog.records)
    for line in (
        "column 'Colour' is not known", "line 2: '14.3.1957' is no PatientBirthDate", "line 4: 2 values for 9 columns",
        "line 5: 'X' is no PatientSex", "line 6: the slide is not named",
    ):  # fmt: skip
        assert line in told


@pytest.mark.parametrize("content", [b"\xff\xfe\0", b"PatientID\nP1\n", b"", b'slide,PatientID\n"a.svs'])
def test_what_is_no_table_is_told_and_everything_else_works(
    folder: Path, tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    table = tmp_path / "patients.csv"
    table.write_bytes(content)
    with caplog.at_level(logging.WARNING), served(folder, **options(str(table))) as client:
        until(lambda: len(studies(client)) == len(SLIDES))
    assert any("The table of attributes cannot be used" in record.getMessage() for record in caplog.records)
    assert not any(str(tmp_path) in record.getMessage() for record in caplog.records if "table" in record.getMessage())


def test_cases_of_the_mapper_are_accessions(folder: Path, tmp_path: Path) -> None:
    with served(folder, **options(local_mode="simple", integration="none", dicom_cases="AccessionNumber")) as client:
        until(lambda: studies(client) == {"one": (None, 2), "two": (None, 2)})
    table = tmp_path / "patients.csv"
    table.write_text("slide;PatientID\none/*;P1\n")
    more = options(
        str(table),
        local_mode="simple",
        integration="none",
        dicom_cases="StudyID",
        dicom_index=str(tmp_path / "2.sqlite"),
    )
    with served(folder, **more) as client:
        until(lambda: sorted(studies(client).values(), key=str) == [("P1", 2), (None, 1), (None, 1)])
        assert header(client, "a.svs").StudyID == "one"
        assert header(client, "c.svs").StudyID == "two"


def test_frames_do_not_depend_on_what_is_told(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "patients.csv"
    table.write_text(HEADER + ROWS, encoding="utf-8")
    with served(folder, **options(str(table))) as client:
        until(lambda: len(studies(client)) == 3)
        found = header(client, "a.svs")
        address = f"/dicom/studies/{found.StudyInstanceUID}/series/{found.SeriesInstanceUID}"
        answer = client.get(
            f"{address}/instances/{found.SOPInstanceUID}", {"accept": "application/dicom; transfer-syntax=*"}
        )
        (tmp_path / "a.dcm").write_bytes(answer.body)
        read = pydicom.dcmread(tmp_path / "a.dcm")
        assert read.PatientName == "Müller^Anna"
        assert np.asarray(read.pixel_array).shape[0] == read.NumberOfFrames
