"""QIDO-RS (PS3.18 §10.6, PS3.4 §C.2.2.2): the rows Q1 to Q18 of what is expected, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from tests.dicommaker import made, value, written
from tests.serving import Answer, Client, served, until

STUDIES: tuple[tuple[str, str, str, str, str], ...] = (
    # name of the patient, ID, date, time, series as modalities
    ("Müller^Jörg", "A-100%", "20200101", "101112.123", "CT MR"),
    ("MULLER^Anna", "A_1001", "20200131", "235959", "CT"),
    ("Yamada^Tarou=山田^太郎=やまだ^たろう", "B'2", "20210615", "000000", "SM"),
    ("O'Brien^Mary^^Dr", "C\"3", "20211231", "120000", ""),
)  # fmt: skip


def uid(study: int, *more: int) -> str:
    return ".".join(map(str, (1, 2, 826, 99, study + 1, *more)))


def instance(study: int, series: int, number: int, modality: str) -> Dataset:
    name, patient, date, time, _ = STUDIES[study]
    found = made(uid(study), uid(study, series, number), name)
    found.SeriesInstanceUID, found.SeriesNumber, found.InstanceNumber = uid(study, series), series, number
    found.PatientID, found.StudyDate, found.StudyTime, found.Modality = patient, date, time, modality
    found.StudyDescription, found.AccessionNumber, found.StudyID = f"Thorax {study}", f"ACC{study}", "s^1 a+b"
    request = Dataset()
    request.ScheduledProcedureStepID = f"STEP{study}"
    found.RequestAttributesSequence = [request]
    found.BodyPartExamined, found.SeriesDescription = "CHEST", f"Series {series}"
    return found


@pytest.fixture(scope="module")
def dicom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("query-table") / "data"
    folder.mkdir()
    for study, (*_, modalities) in enumerate(STUDIES):
        for series, modality in enumerate(modalities.split() or [""], 1):
            for number in (1, 2):
                found = instance(study, series, number, modality)
                if study == 1:
                    found.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
                (folder / f"{study}-{series}-{number}.dcm").write_bytes(written(found))
    index = str(folder.parent / "index.sqlite")
    with served(folder, dicomweb=True, dicom_index=index, dicom_slides=False) as client:
        until(lambda: len(client.get("/dicom/instances").json()) == 10)
        yield client


def studies(client: Client, query: str) -> list[int]:
    """Which studies are found, in order of their numbers."""
    answer = client.get(f"/dicom/studies?{query}")
    assert answer.status == 200, answer.body
    return sorted(int(value(each, "0020000D").rpartition(".")[2]) - 1 for each in answer.json())


def warned(answer: Answer) -> str:
    assert answer.status == 200, answer.body
    found = answer.headers.get("warning", "")
    assert not found or found.startswith("299 ")
    return found


def test_q1_no_match_is_an_empty_list(dicom: Client) -> None:
    answer = dicom.get("/dicom/studies?PatientID=nobody")
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"[]", "application/dicom+json")


def test_q2_limit_and_offset_page_in_a_stable_order(dicom: Client) -> None:
    whole = [value(each, "00080018") for each in dicom.get("/dicom/instances").json()]
    assert len(whole) == 10
    paged: list[str] = []
    for offset in range(0, 10, 3):
        answer = dicom.get(f"/dicom/instances?limit=3&offset={offset}")
        assert bool(warned(answer)) == (offset < 9), "more results are told of"
        paged += [value(each, "00080018") for each in answer.json()]
    assert paged == whole
    assert dicom.get("/dicom/studies?limit=0").json() == []
    assert dicom.get("/dicom/studies?offset=99").json() == []
    for bad in ("limit=-1", "limit=abc", "limit=1.5", "offset=-1", "offset=x", "limit=1&limit=2", "limit="):
        assert dicom.get(f"/dicom/studies?{bad}").status == 400, bad


def test_q3_keywords_and_tags_mean_the_same(dicom: Client) -> None:
    for name in ("AccessionNumber", "00080050", "00080050".lower()):
        assert studies(dicom, f"{name}=ACC2") == [2]
    assert studies(dicom, "0020000d=" + uid(1)) == studies(dicom, "0020000D=" + uid(1)) == [1]
    assert warned(dicom.get("/dicom/studies?accessionnumber=ACC2")), "keywords are exact"


def test_q4_unknown_attributes_are_ignored_and_told(dicom: Client) -> None:
    answer = dicom.get("/dicom/studies?NoSuchThing=1&AccessionNumber=ACC1")
    assert "NoSuchThing" in warned(answer)
    assert len(answer.json()) == 1


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("StudyDescription=Thorax*", [0, 1, 2, 3]), ("StudyDescription=Thorax%20?", [0, 1, 2, 3]),
        ("StudyDescription=*1", [1]), ("StudyDescription=thorax*", []), ("StudyDescription=*", [0, 1, 2, 3]),
        ("PatientID=?-*", [0]), ("AccessionNumber=ACC?", [0, 1, 2, 3]), ("AccessionNumber=ACC??", []),
        ("AccessionNumber=ACC[12]", []), ("StudyInstanceUID=1.2.826.99.*", []),
    ],
)  # fmt: skip
def test_q5_wildcards(dicom: Client, query: str, found: list[int]) -> None:
    assert studies(dicom, query) == found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("PatientName=muller*", [0, 1]), ("PatientName=M%C3%9CLLER*", [0, 1]), ("PatientName=*j%C3%B6rg", [0]),
        ("PatientName=Muller^Jorg", [0]), ("PatientName=%E5%B1%B1%E7%94%B0*", [2]),
        ("PatientName=%E3%82%84%E3%81%BE%E3%81%A0*", [2]), ("PatientName=O'Brien*", [3]),
        ("fuzzymatching=true&PatientName=anna+mull", [1]), ("fuzzymatching=true&PatientName=bri", []),
    ],
)  # fmt: skip
def test_q6_names_of_persons(dicom: Client, query: str, found: list[int]) -> None:
    assert studies(dicom, query) == found


def test_q7_fuzzy_matching_is_supported_and_needs_no_warning(dicom: Client) -> None:
    for asked in ("true", "false"):
        assert not warned(dicom.get(f"/dicom/studies?fuzzymatching={asked}&PatientName=Muller*"))
    assert dicom.get("/dicom/studies?fuzzymatching=maybe").status == 400


def test_q8_other_flags_are_heard_or_told(dicom: Client) -> None:
    for flag in ("emptyvaluematching", "multiplevaluematching"):
        assert dicom.get(f"/dicom/studies?{flag}=true&AccessionNumber=ACC1").status == 200
        assert dicom.get(f"/dicom/studies?{flag}=perhaps").status == 400
    listed = dicom.get("/dicom/studies?multiplevaluematching=true&AccessionNumber=ACC1%5CACC2")
    assert warned(listed) or len(listed.json()) == 2


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("StudyDate=20200101-20200131", [0, 1]), ("StudyDate=20210615-", [2, 3]), ("StudyDate=-20200101", [0]),
        ("StudyDate=20200101", [0]), ("StudyDate=20200102-20200130", []), ("StudyTime=101112", [0]),
        ("StudyTime=1011-1012", [0]), ("StudyTime=-1011", [0, 2]), ("StudyTime=12-", [1, 3]),
        ("StudyDate=20200101-20200131&StudyTime=120000-235959", [1]),
    ],
)  # fmt: skip
def test_q9_ranges(dicom: Client, query: str, found: list[int]) -> None:
    assert studies(dicom, query) == found


@pytest.mark.parametrize("separator", [",", "%5C", "\\", "&StudyInstanceUID=", "%2C"])
def test_q10_lists_of_uids(dicom: Client, separator: str) -> None:
    assert studies(dicom, f"StudyInstanceUID={uid(0)}{separator}{uid(2)}") == [0, 2]


@pytest.mark.parametrize(
    ("query", "found"),
    [("CT", [0, 1]), ("MR", [0]), ("CT,MR", [0, 1]), ("CT%5CSM", [0, 1, 2]), ("CT&ModalitiesInStudy=SM", [0, 1, 2]),
     ("US", []), ("C?", [0, 1])],
)  # fmt: skip
def test_q11_modalities_in_study(dicom: Client, query: str, found: list[int]) -> None:
    assert studies(dicom, f"ModalitiesInStudy={query}") == found


def test_q12_fields_that_are_included(dicom: Client) -> None:
    plain = set(dicom.get("/dicom/series").json()[0])
    assert "00180015" not in plain
    for form in ("00180015,0008103E", "BodyPartExamined%2CSeriesDescription", "00180015&includefield=0008103e"):
        assert {"00180015", "0008103E"} <= set(dicom.get(f"/dicom/series?includefield={form}").json()[0]), form
    assert {"00180015", "00400275"} <= set(dicom.get("/dicom/series?includefield=all").json()[0])
    nested = dicom.get("/dicom/series?includefield=RequestAttributesSequence.ScheduledProcedureStepID").json()[0]
    assert value(value(nested, "00400275"), "00400009").startswith("STEP")
    for lower in ("00280010", "00180015", "all"):
        assert not {"00280010", "00180015", "00080018"} & set(
            dicom.get(f"/dicom/studies?includefield={lower}").json()[0]
        )


DEFAULTS = {
    "studies": "00080020 00080030 00080050 00080056 00080061 00080090 00081190 00100010 00100020 00100030 00100040"
               " 0020000D 00200010 00201206 00201208",
    "series": "00080060 00081190 0020000E 00200011 00201209",
    "instances": "00080016 00080018 00080056 00081190 00083002 00200013 00280010 00280011 00280100",
}  # fmt: skip


@pytest.mark.parametrize("level", DEFAULTS)
def test_q13_attributes_that_are_always_there(dicom: Client, level: str) -> None:
    for each in dicom.get(f"/dicom/{level}").json():
        assert set(DEFAULTS[level].split()) <= set(each)
        assert value(each, "00081190").startswith(f"http://127.0.0.1:{dicom.port}/dicom/studies/")
        assert dicom.get(value(each, "00081190").partition(str(dicom.port))[2] + "/metadata").status == 200
    for each in dicom.get("/dicom/studies").json():
        assert value(each, "00080061"), "a study without modalities ends OHIF's list"
        assert each["00100030"] == {"vr": "DA"}
    first = dicom.get(f"/dicom/studies?StudyInstanceUID={uid(0)}").json()[0]
    assert (first["00201206"]["Value"], first["00201208"]["Value"]) == ([2], [4])
    assert value(dicom.get(f"/dicom/series?SeriesInstanceUID={uid(0, 1)}").json()[0], "00201209") == 2


def test_q13_the_transfer_syntax_told_is_one_that_can_be_had(dicom: Client) -> None:
    """Study 1 is held in Implicit VR Little Endian, which is never sent."""
    explicit = "1.2.840.10008.1.2.1"
    path = f"/dicom/studies/{uid(1)}/instances"
    for each in dicom.get(path).json():
        assert each["00083002"] == {"vr": "UI", "Value": [explicit]}
        sop = value(each, "00080018")
        got = dicom.get(
            f"/dicom/studies/{uid(1)}/series/{uid(1, 1)}/instances/{sop}",
            {"accept": "application/dicom; transfer-syntax=*"},
        )
        assert got.headers["content-type"] == f"application/dicom; transfer-syntax={explicit}"
    assert len(dicom.get(f"{path}?AvailableTransferSyntaxUID={explicit}").json()) == 2
    assert dicom.get(f"{path}?AvailableTransferSyntaxUID=1.2.840.10008.1.2").json() == []


@pytest.mark.parametrize(
    ("path", "count", "upper"),
    [
        (f"studies/{uid(0)}/series", 2, False), (f"studies/{uid(0)}/instances", 4, False),
        (f"studies/{uid(0)}/series/{uid(0, 2)}/instances", 2, False), (f"series?StudyInstanceUID={uid(0)}", 2, True),
        (f"instances?SeriesInstanceUID={uid(0, 1)}", 2, True), ("series?Modality=SM", 1, True),
        (f"instances?StudyInstanceUID={uid(1)}", 2, True), (f"studies/{uid(0)}/instances?Modality=MR", 2, False),
        (f"studies/{uid(0)}/instances?SeriesInstanceUID={uid(0, 1)}", 2, False), ("instances?PatientID=B'2", 2, True),
    ],
)  # fmt: skip
def test_q14_relations(dicom: Client, path: str, count: int, upper: bool) -> None:
    answer = dicom.get(f"/dicom/{path}")
    assert len(answer.json()) == count
    for each in answer.json():
        assert not upper or {"0020000D", "00100020"} <= set(each), "results without a parent in the path name it"


def test_q15_parents_that_are_not_there(dicom: Client) -> None:
    for path in ("studies/9.9.9/series", "studies/9.9.9/instances", f"studies/{uid(0)}/series/9.9/instances",
                 f"studies/{uid(1)}/series/{uid(0, 1)}/instances", "studies/not-a-uid/series"):  # fmt: skip
        assert (dicom.get(f"/dicom/{path}").status, dicom.get(f"/dicom/{path}").body) == (200, b"[]"), path


def test_q16_paths_into_sequences(dicom: Client) -> None:
    for name in ("RequestAttributesSequence.ScheduledProcedureStepID", "00400275.00400009"):
        found = dicom.get(f"/dicom/series?{name}=STEP2").json()
        assert [value(each, "0020000D") for each in found] == [uid(2)]
        assert studies(dicom, f"{name}=STEP3") == [3]


@pytest.mark.parametrize(
    ("query", "found"),
    [("StudyDescription=Thorax+1", [1]), ("StudyDescription=Thorax%201", [1]), ("StudyDescription=Thorax%25201", []),
     ("StudyID=s%5E1+a%2Bb", [0, 1, 2, 3]), ("StudyID=s^1%20a%2Bb", [0, 1, 2, 3]), ("StudyID=s%5E1+a+b", []),
     ("PatientID=C%223", [3]), ("PatientName=M%C3%BCller%5EJ%C3%B6rg", [0])],
)  # fmt: skip
def test_q17_the_query_is_decoded_once(dicom: Client, query: str, found: list[int]) -> None:
    assert studies(dicom, query) == found


def test_q17_what_is_no_utf8_is_refused(dicom: Client) -> None:
    assert dicom.get("/dicom/studies?PatientName=%FF%FE").status == 400


@pytest.mark.parametrize(
    ("query", "found"),
    [("PatientID=A%25", []), ("PatientID=A-100%25", [0]), ("PatientID=A_100_", []), ("PatientID=A_1001", [1]),
     ("PatientID=B'2", [2]), ("PatientID=B''2", []), ("PatientID=x'%20OR%20'1'='1", []),
     ("PatientID='%3BDROP%20TABLE%20study%3B--", []), ("PatientID=A-100%25*", [0]), ("PatientID=%00", [])],
)  # fmt: skip
def test_q18_what_means_something_to_sql_is_literal(dicom: Client, query: str, found: list[int]) -> None:
    assert studies(dicom, query) == found
    assert len(dicom.get("/dicom/studies").json()) == 4


def test_q18_enormous_values_are_refused(dicom: Client) -> None:
    assert dicom.get("/dicom/studies?PatientID=" + "x" * 10_000).json() == []
    assert dicom.get("/dicom/studies?PatientID=" + "x" * 20_000).status in {400, 413, 414, 431}
    assert dicom.get("/dicom/studies?" + "&".join(f"PatientID={n}" for n in range(5000))).status in {400, 413, 414}
    assert dicom.get("/dicom/studies?PatientName=" + "*a" * 5000).status in {200, 400, 413}


def test_a_client_of_dicomweb_pages_and_filters(dicom: Client) -> None:
    client = DICOMwebClient(f"http://127.0.0.1:{dicom.port}/dicom")
    assert len(client.search_for_studies()) == 4
    assert len(client.search_for_instances(limit=3, get_remaining=True)) == 10
    found = client.search_for_studies(search_filters={"PatientName": "Müller*"}, fields=["StudyDescription"])
    assert {value(each, "00081030") for each in found} == {"Thorax 0", "Thorax 1"}
    asked: dict[str, Any] = {"StudyDate": "20210101-20211231"}
    assert len(client.search_for_series(search_filters=asked, fuzzymatching=True)) == 2
    assert client.search_for_series(quote("9.9.9")) == []
