"""Who sees no identities: every real file through every answer, and nothing of whom it is of anywhere."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pydicom
import pytest
from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.multival import MultiValue

from microtome.dicom.deidentify.codestreams import without_words
from microtome.dicom.deidentify.profile import Action, action_of
from microtome.dicom.deidentify.pseudonyms import Pseudonyms
from tests.serving import Answer, Client, served, until

KEY = "a key of thirty-two bytes or more"
STORED = {"accept": 'multipart/related; type="application/octet-stream"; transfer-syntax=*'}
AS_STORED = {"accept": "application/dicom; transfer-syntax=*"}
XML = {"accept": 'multipart/related; type="application/dicom+xml"'}
KINDS_OF_UID = {
    "SOPClassUID",
    "ReferencedSOPClassUID",
    "TransferSyntaxUID",
    "CodingSchemeUID",
    "ImplementationClassUID",
}


@dataclass(frozen=True)
class Shown:
    """An instance as it is shown, the path of its answers, and the file it stands for."""

    path: str
    file: Path
    stored: Dataset


@pytest.fixture(scope="module")
def hidden(testdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("deidentified")
    options: dict[str, Any] = {"dicomweb": True, "dicom_index": str(folder / "index.sqlite")}
    with served(
        testdata / "dicom", dicom_deidentify="everyone", dicom_deidentify_key=KEY,
        dicom_deidentify_unmarked=True, **options
    ) as client:  # fmt: skip
        counts: list[int] = []

        def settled() -> bool:
            counts.append(len(client.get("/dicom/instances?limit=1000").json()))
            return len(counts) > 30 and counts[-1] > 250 and len(set(counts[-30:])) == 1

        until(settled, 120)
        yield client


@pytest.fixture(scope="module")
def shown(hidden: Client, testdata: Path) -> list[Shown]:
    """All instances of files."""
    files = files_by_uid(testdata / "dicom")
    found = hidden.get("/dicom/instances?limit=1000").json()
    listed = [(match["00081190"]["Value"][0], match["00080018"]["Value"][0]) for match in found]
    pairs = [(url.partition(f":{hidden.port}")[2], files[uid]) for url, uid in listed if uid in files]
    assert len(pairs) > 250
    return [Shown(path, *each[0]) for path, each in pairs if len(each) == 1]


@cache
def files_by_uid(folder: Path) -> dict[str, list[tuple[Path, Dataset]]]:
    names, found = Pseudonyms(KEY), dict[str, list[tuple[Path, Dataset]]]()
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        try:
            stored = pydicom.dcmread(path, force=True, defer_size=1 << 20)
            found.setdefault(names.uid(str(stored.SOPInstanceUID)), []).append((path, stored))
        except Exception:  # noqa: BLE001 - what pydicom does not read is not looked for
            continue
    return found


@cache
def identifying() -> frozenset[int]:
    """What the Basic Profile does not keep, as dicom-anonymizer has it."""
    oracle: Any = import_module("dicomanonymizer.dicom_anonymization_databases.dicomfields_2026c")
    # References stay, with other UIDs (X/Z/U*).
    listed = set(oracle.ALL_TAGS) - set(oracle.X_Z_U_STAR_TAGS)
    return frozenset(tag[0] << 16 | tag[1] for tag in listed if len(tag) == 2)


def secrets_of(stored: Dataset) -> tuple[set[str], set[str]]:
    """Texts of a file that tell of somebody, and its UIDs."""
    telling, kept, uids = set[str](), set[str](), set[str]()

    def walk(found: Dataset, *, inside: bool = False) -> None:
        for tag in list(found.keys()):
            try:
                element = found[tag]
            except Exception:  # noqa: BLE001 - a value pydicom cannot read
                continue
            known = int(tag) in identifying() or tag.is_private or element.VR in {"PN", "AE", "LT", "ST", "UT"}
            if element.VR == "SQ":
                for item in element.value:
                    walk(item, inside=inside or known)
            elif element.VR == "UI":
                if element.keyword not in KINDS_OF_UID:
                    texts = element.value if isinstance(element.value, (list, MultiValue)) else [element.value]
                    uids.update(str(each) for each in texts if each and str(each) not in UID_dictionary)
            elif element.VR not in {"OB", "OW", "UN", "DA", "TM", "DT", "US", "SS", "UL", "SL", "FL", "FD", "AT", "OF"}:
                texts = str(element.value or "").replace("\\", "\0").replace("^", "\0").replace("=", "\0").split("\0")
                (telling if known or inside else kept).update(text.strip() for text in texts)

    walk(stored)
    words = {text for text in telling - kept if len(text) >= 5 and re.search("[A-Za-z]", text)}
    return {each for each in words if not any(each in other for other in kept)}, uids


def holding(answer: Answer, texts: set[str]) -> list[str]:
    """Which texts occur in headers or body, in either of the encodings of the data."""
    headers = repr(sorted(answer.headers.items())).encode()
    body = re.sub(rb' keyword="[A-Za-z0-9]*"|<\?xml [^>]*>', b"", answer.body)  # words of the dictionary, of XML
    found = []
    for text in texts:
        forms = {text.encode("utf-8", "ignore"), text.encode("latin-1", "ignore"), json.dumps(text)[1:-1].encode()}
        if any(form in body or form in headers for form in forms if len(form) >= 5):
            found.append(text)
    return found


def test_no_answer_tells_of_anybody(hidden: Client, shown: list[Shown]) -> None:
    seen = 0
    for each in shown:
        words, uids = secrets_of(each.stored)
        seen += len(words)
        answers = [
            hidden.get(f"{each.path}/metadata"),
            hidden.get(f"{each.path}/metadata", XML),
            hidden.get(each.path, AS_STORED),
            hidden.get(f"{each.path}/rendered"),
            hidden.get(f"{each.path}/thumbnail"),
            hidden.get(f"{each.path}/frames/1", STORED),
            hidden.get(f"{each.path.rpartition('/instances/')[0]}/instances?includefield=all"),
            hidden.get(f"{each.path.rpartition('/series/')[0]}/series?includefield=all"),
            hidden.get(f"/dicom/studies?StudyInstanceUID={each.path.split('/')[3]}&includefield=all"),
        ]
        assert all(answer.status in {200, 404, 406} for answer in answers), each.file.name
        assert answers[0].status == answers[1].status == answers[2].status == 200, each.file.name
        for uri in re.findall(r'"BulkDataURI":"[^"]*?(/dicom/[^"]*)"', answers[0].body.decode()):
            bulk = hidden.get(uri)
            # Encapsulated pixel data is had by frames only.
            assert bulk.status == 200 or uri.endswith("/bulk/7FE00010"), uri
            answers.append(bulk)
        for number, answer in enumerate(answers):
            assert not holding(answer, words), (each.file.name, number)
            assert not holding(answer, uids), (each.file.name, number)
            assert each.file.name not in str(answer.headers)
            if answer.status == 200:
                assert answer.headers["cache-control"].startswith("private"), number
    assert seen > 1000  # otherwise nothing was looked for


def test_dates_are_others(hidden: Client, shown: list[Shown]) -> None:
    for each in shown:
        (document,) = hidden.get(f"{each.path}/metadata").json()
        for tag in ("00080020", "00080021", "00080022", "00080023", "00080030", "00100030", "00400244"):
            real = str(each.stored.get(int(tag, 16), Dataset()).value or "") if int(tag, 16) in each.stored else ""
            values = document.get(tag, {}).get("Value", [""])
            assert not real or values[0] != real, (each.file.name, tag)


def test_pixels_are_those_of_the_file(hidden: Client, shown: list[Shown]) -> None:
    compared = 0
    for each in shown:
        answer = hidden.get(each.path, AS_STORED)
        made = pydicom.dcmread(io.BytesIO(answer.body))
        assert made.PatientIdentityRemoved == "YES"
        assert made.file_meta.MediaStorageSOPInstanceUID == made.SOPInstanceUID
        syntax = made.file_meta.TransferSyntaxUID
        stored = each.stored.file_meta.get("TransferSyntaxUID", syntax) if "file_meta" in dir(each.stored) else syntax
        if "PixelData" not in each.stored or stored.is_deflated or not stored.is_little_endian:
            continue
        if not syntax.is_compressed:
            real = bytes(each.stored.PixelData)
            assert bytes(made.PixelData) == real + b"\0" * (len(real) % 2), each.file.name
            compared += 1
            continue
        frames = int(made.get("NumberOfFrames", 1) or 1)
        try:
            real = list(generate_frames(each.stored.PixelData, number_of_frames=frames))
        except Exception:  # noqa: BLE001 - pixel data that pydicom cannot take apart
            continue
        ours = list(generate_frames(made.PixelData, number_of_frames=frames))
        assert len(real) == len(ours) == frames
        for one, other in zip(real, ours, strict=True):
            assert other.rstrip(b"\0") in {one.rstrip(b"\0"), without_words(one).rstrip(b"\0")}, each.file.name
            assert len(one) == len(other)
        compared += 1
    assert compared > 150


def test_metadata_and_instance_say_the_same(hidden: Client, shown: list[Shown]) -> None:
    for each in shown[::7]:
        (document,) = hidden.get(f"{each.path}/metadata").json()
        made = pydicom.dcmread(io.BytesIO(hidden.get(each.path, AS_STORED).body), stop_before_pixels=True)
        told = {int(tag, 16) for tag in document if not tag.startswith("7FE0")}
        assert told == {int(tag) for tag in made.keys()} - {0x7FE00010}, each.file.name  # noqa: SIM118
        for element in made:
            assert action_of(int(element.tag), element.VR) is not Action.REMOVE or element.keyword in {
                "DeidentificationMethod", "DeidentificationMethodCodeSequence"}, element.keyword  # fmt: skip


def test_real_values_find_nothing(hidden: Client, shown: list[Shown]) -> None:
    for each in shown[::5]:
        stored = each.stored
        for keyword in ("PatientID", "AccessionNumber", "StudyID", "StudyInstanceUID", "SeriesInstanceUID",
                        "SOPInstanceUID", "PatientName", "InstitutionName", "ReferringPhysicianName"):  # fmt: skip
            value = str(stored.get(keyword) or "").strip()
            if not value or set(value) & set("*?\\"):
                continue
            level = "instances" if keyword in {"SOPInstanceUID", "InstitutionName"} else "series"
            level = "studies" if keyword in {"PatientID", "AccessionNumber", "StudyID", "PatientName"} else level
            found = hidden.get(f"/dicom/{level}?{keyword}={quote(value, safe='')}")
            assert (found.status, found.json()) == (200, []), (each.file.name, keyword)
        study, series, sop = stored.StudyInstanceUID, stored.SeriesInstanceUID, stored.SOPInstanceUID
        for path in (f"/studies/{study}", f"/studies/{study}/series/{series}",
                     f"/studies/{study}/series/{series}/instances/{sop}"):  # fmt: skip
            assert hidden.get(f"/dicom{path}/metadata").status == 404
            assert hidden.get(f"/dicom{path}/rendered").status == 404
        assert hidden.get(f"/dicom?requestType=WADO&objectUID={sop}").status == 404


def test_what_is_hidden_is_hidden_in_errors(hidden: Client, shown: list[Shown]) -> None:
    path = shown[0].path
    for below in ("/frames/999999", "/bulk/00080080", "/bulk/00091001", "/frames/0", "/bulk/00020010"):
        answer = hidden.get(path + below)
        assert answer.status in {400, 404}
        assert shown[0].file.name not in answer.body.decode()


@pytest.mark.parametrize(
    "path", ["/slides", "/slides/x", "/tiles/x/0/0/0.jpg", "/view/x", "/v3/slides/info?slide_id=x", "/v3/cases",
             "/studies/slide?study=1&series=2", "/admin/dicom", "/admin/dicom/problems", "/dicom/workitems",
             "/validation_viewer", "/nothing", "//dicom/studies", "/dicom/../slides", "/static/%2e%2e/slides/x"]
)  # fmt: skip
def test_there_is_nothing_beside_dicomweb(hidden: Client, path: str) -> None:
    answer = hidden.get(path, {"origin": "https://viewer.example"})
    assert answer.status in {403, 404}
    assert answer.status == 403 or b"Slide" not in answer.body
    if answer.status == 403:
        assert answer.headers["access-control-allow-origin"] == "*"


def test_nothing_is_stored(hidden: Client) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert hidden.request(method, "/dicom/studies", {"content-type": "application/dicom"}, b"x").status == 403


def test_pages_are_open(hidden: Client) -> None:
    for path in ("/", "/alive", "/studies", "/browse/"):
        assert hidden.get(path).status in {200, 308, 404}, path
