"""Who sees identities and who does not, on one server: nothing meant for one reaches the other."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import JPEGBaseline8Bit, SecondaryCaptureImageStorage

from microtome.app import create_app
from microtome.auth.policy import Principal, bearer_token, refused
from microtome.demo.svs import write_demo
from microtome.dicom.deidentify.pseudonyms import Pseudonyms
from microtome.errors import InvalidRequest
from microtome.settings import Settings
from tests.api.test_dicomweb_stow import made, message, written
from tests.serving import Answer, Client, served, until
from tests.unit.dicom.instances import dataset, encoded, uid

KEY = "a key of thirty-two bytes or more"
NAMES = Pseudonyms(KEY)
DOCTOR, RESEARCHER = {"authorization": "Bearer doctor"}, {"authorization": "Bearer researcher"}
STORED = {"accept": 'multipart/related; type="application/octet-stream"; transfer-syntax=*'}
AS_STORED = {"accept": "application/dicom; transfer-syntax=*"}
LOGIN = "tests.api.test_dicomweb_identities:ByName"


class ByName:
    """Everybody is who their token says; the researcher has a role."""

    enabled = True

    def __init__(self, settings: object, logger: object, client: object) -> None:
        self._claims: dict[str, dict[str, object]] = {
            "doctor": {"realm_access": {"roles": ["staff"]}},
            "researcher": {"realm_access": {"roles": ["staff", "research-a"]}},
        }

    async def authenticate(self, headers: Mapping[str, str]) -> Principal:
        token = bearer_token(headers)
        if token not in self._claims:
            raise refused("Error decoding Token.", "invalid_token")
        return Principal(token, token=token, payload=self._claims[token])

    async def allows(self, principal: Principal, slide_id: str) -> bool:
        return "forbidden" not in slide_id

    async def visible(self, principal: Principal, ids: Iterable[str]) -> list[str]:
        return [each for each in ids if await self.allows(principal, each)]

    async def aclose(self) -> None:
        pass


def write_data(folder: Path) -> None:
    image = made(uid(1), uid(1, 1, 1), "Doe^Jane")
    image.SeriesInstanceUID = uid(1, 1)
    image.StudyDate, image.InstitutionName = "20200101", "Clinic of Ulm"
    (folder / "Doe Jane.dcm").write_bytes(written(image))
    (folder / "forbidden.dcm").write_bytes(encoded(dataset(2, PatientName="Hidden^Person")))
    captured = made(uid(3), uid(3, 1, 1), "Screen^Shot")
    captured.SOPClassUID = SecondaryCaptureImageStorage
    (folder / "captured.dcm").write_bytes(written(captured))
    write_demo(folder / "Doe slide 4711.svs", width=1200, height=900)


def options(folder: Path) -> dict[str, Any]:
    return {
        "dicomweb": True, "dicom_index": str(folder / "index.sqlite"), "dicom_store": "received",
        "dicom_deidentify_key": KEY, "dicom_deidentify": "realm_access.roles=research-*", "integration": LOGIN,
    }  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("identities")
    (root / "data").mkdir()
    write_data(root / "data")
    return root


@pytest.fixture(scope="module")
def both(root: Path) -> Iterator[Client]:
    with served(root / "data", **options(root)) as client:
        until(lambda: len(client.get("/dicom/studies", DOCTOR).json()) == 3)
        until(lambda: len(client.get("/dicom/studies", RESEARCHER).json()) == 2)
        yield client


def place(*numbers: str) -> str:
    parts = ("studies", "series", "instances")
    return "/dicom" + "".join(f"/{part}/{number}" for part, number in zip(parts, numbers, strict=False))


REAL = place(uid(1), uid(1, 1), uid(1, 1, 1))
SHOWN = place(NAMES.uid(uid(1)), NAMES.uid(uid(1, 1)), NAMES.uid(uid(1, 1, 1)))
ANSWERS = ("/metadata", "", "/frames/1", "/rendered", "/thumbnail", "/bulk/7FE00010")


def test_each_sees_their_own(both: Client) -> None:
    for below in ANSWERS:
        assert both.get(REAL + below, DOCTOR).status == 200, below
        assert both.get(SHOWN + below, DOCTOR).status == 404, below
        assert both.get(SHOWN + below, RESEARCHER).status == 200, below
        assert both.get(REAL + below, RESEARCHER).status == 404, below
        assert both.get(REAL + below).status == both.get(SHOWN + below).status == 401
    names = [
        both.get("/dicom/studies?limit=50&StudyDate=1900-", who).body.count(b"Jane") for who in (DOCTOR, RESEARCHER)
    ]
    assert names[0] > 0 == names[1]


@pytest.mark.parametrize("first", [DOCTOR, RESEARCHER])
@pytest.mark.parametrize(
    "path", ["/dicom/studies", "/dicom/series", "/dicom/instances", "/dicom/studies?PatientName=*"]
)
def test_one_url_has_two_answers(both: Client, path: str, first: dict[str, str]) -> None:
    second = RESEARCHER if first is DOCTOR else DOCTOR
    answers = [both.get(path, who) for who in (first, second, first, second)]
    assert answers[0].body == answers[2].body != answers[1].body == answers[3].body
    assert answers[0].headers["etag"] != answers[1].headers["etag"]
    assert all(answer.headers["cache-control"].startswith("private") for answer in answers)
    # A client that changed hands: the tag of one is nothing to the other.
    assert both.get(path, {**second, "if-none-match": answers[0].headers["etag"]}).status == 200
    assert both.get(path, {**first, "if-none-match": answers[0].headers["etag"]}).status == 304


@pytest.mark.parametrize("below", ["/frames/1", "/rendered", "/bulk/7FE00010", "/metadata"])
def test_tags_of_the_same_pixels_differ(both: Client, below: str) -> None:
    plain, shown = both.get(REAL + below, DOCTOR), both.get(SHOWN + below, RESEARCHER)
    assert plain.headers["etag"] != shown.headers["etag"]
    for path, who in ((REAL, RESEARCHER), (SHOWN, DOCTOR)):
        for tag in (plain.headers["etag"], shown.headers["etag"]):
            assert both.get(path + below, {**who, "if-none-match": tag}).status == 404
    if below != "/metadata":
        boundary = plain.headers["content-type"].partition("boundary=")[2].strip('"').encode()
        assert boundary or plain.body == shown.body


def test_whole_studies(both: Client) -> None:
    study = place(NAMES.uid(uid(1)))
    for accept in ("application/zip", 'multipart/related; type="application/dicom"'):
        answer = both.get(study, {"accept": accept, **RESEARCHER})
        assert answer.status == 200
        assert NAMES.uid(uid(1, 1, 1)).encode() in answer.body
        for telling in (b"Doe", b"Ulm", uid(1).encode(), b"20200101"):
            assert telling not in answer.body + repr(answer.headers).encode()
            assert telling in both.get(place(uid(1)), {"accept": accept, **DOCTOR}).body
    assert both.request("HEAD", study, RESEARCHER).status == 200
    assert both.get(place(uid(1)), {"accept": "application/zip", **RESEARCHER}).status == 404


def test_what_a_policy_hides_stays_hidden(both: Client) -> None:
    for who, study in ((DOCTOR, uid(2)), (RESEARCHER, NAMES.uid(uid(2)))):
        assert both.get(f"/dicom/studies?StudyInstanceUID={study}", who).json() == []
        assert both.get(f"/dicom/studies/{study}/metadata", who).status == 404


def test_unmarked_screens_are_withheld(both: Client) -> None:
    assert both.get(f"/dicom/studies/{uid(3)}/metadata", DOCTOR).status == 200
    assert both.get(f"/dicom/studies/{NAMES.uid(uid(3))}/metadata", RESEARCHER).status == 404


@pytest.mark.parametrize(
    "path", ["/slides", "/slides/Doe%20slide%204711.svs", "/tiles/Doe%20slide%204711.svs/0/0/0.jpg",
             "/slides/Doe%20slide%204711.svs/associated/label", "/view/Doe%20slide%204711.svs", "/v3/cases",
             "/v3/slides/info?slide_id=Doe%20slide%204711.svs", "/slides/forbidden", "/admin/dicom", "/dicom/workitems",
             "/v3/slides/download?slide_id=Doe%20slide%204711.svs", "/studies/slide?study=1&series=2"]
)  # fmt: skip
def test_there_is_nothing_beside_dicomweb(both: Client, path: str) -> None:
    refusal = both.get(path, RESEARCHER)
    assert (refusal.status, refusal.error) == (403, "forbidden")
    assert both.get(path, DOCTOR).status != 403 or path.startswith("/admin")


def test_nothing_is_stored_by_who_sees_no_identities(both: Client) -> None:
    from tests.api.test_dicomweb_stow import CONTENT

    body = message(written(made()))
    assert both.request("POST", "/dicom/studies", {"content-type": CONTENT, **RESEARCHER}, body).status == 403
    assert both.request("POST", "/dicom/studies", {"content-type": CONTENT}, body).status == 401


def test_what_is_stored_is_shown(both: Client) -> None:
    from tests.api.test_dicomweb_stow import CONTENT

    new = made(name="New^Patient")
    stored = both.request("POST", "/dicom/studies", {"content-type": CONTENT, **DOCTOR}, message(written(new)))
    assert stored.status == 200
    study = NAMES.uid(str(new.StudyInstanceUID))
    until(lambda: both.get(f"/dicom/studies/{study}/metadata", RESEARCHER).status == 200, 10)
    assert b"New" not in both.get(f"/dicom/studies/{study}/metadata", RESEARCHER).body


def test_wado_uri(both: Client) -> None:
    asked = f"/dicom?requestType=WADO&contentType=application/dicom&objectUID={uid(1, 1, 1)}"
    plain, anonymous = both.get(asked, DOCTOR), both.get(asked + "&anonymize=yes", DOCTOR)
    assert b"Doe^Jane" in plain.body
    found = pydicom.dcmread(io.BytesIO(anonymous.body))
    assert found.PatientIdentityRemoved == "YES"
    assert found.SOPInstanceUID == NAMES.uid(uid(1, 1, 1))
    assert b"Doe" not in anonymous.body
    assert found.PixelData == pydicom.dcmread(io.BytesIO(plain.body)).PixelData
    assert both.get(asked, RESEARCHER).status == both.get(asked + "&anonymize=yes", RESEARCHER).status == 404
    own = asked.replace(uid(1, 1, 1), NAMES.uid(uid(1, 1, 1)))
    for more in ("", "&anonymize=yes", "&anonymize=no"):
        assert both.get(own + more, RESEARCHER).body == anonymous.body
    withheld = asked.replace(uid(1, 1, 1), uid(3, 1, 1))
    assert both.get(withheld, DOCTOR).status == 200
    assert both.get(withheld + "&anonymize=yes", DOCTOR).status == 404
    picture = asked.replace("application/dicom", "image/png")
    pictures: list[Answer] = [both.get(picture + more, DOCTOR) for more in ("", "&anonymize=yes")]
    assert pictures[0].body == pictures[1].body
    assert pictures[0].headers["etag"] != pictures[1].headers["etag"]


def test_slides_have_no_names(both: Client) -> None:
    found = both.get("/dicom/instances?SOPClassUID=1.2.840.10008.5.1.4.1.1.77.1.6&includefield=all", RESEARCHER)
    real = both.get("/dicom/instances?SOPClassUID=1.2.840.10008.5.1.4.1.1.77.1.6&includefield=all", DOCTOR)
    kinds = [[match["00080008"]["Value"][2] for match in answer.json()] for answer in (real, found)]
    assert {"LABEL", "OVERVIEW"} <= set(kinds[0])
    assert set(kinds[1]) <= {"VOLUME", "THUMBNAIL"}
    assert len(kinds[1]) > 1
    assert b"4711" in real.body
    plain = {NAMES.uid(each["00080018"]["Value"][0]): each["00081190"]["Value"][0] for each in real.json()}
    for match in found.json():
        path = match["00081190"]["Value"][0].partition(f":{both.port}")[2]
        other = plain[match["00080018"]["Value"][0]].partition(f":{both.port}")[2]
        whole, frame = (
            both.get(path, {**AS_STORED, **RESEARCHER}),
            both.get(path + "/frames/1", {**STORED, **RESEARCHER}),
        )
        assert whole.status == frame.status == 200
        for answer in (whole, frame, both.get(path + "/metadata", RESEARCHER), found):
            assert b"4711" not in answer.body
            assert b"Doe" not in answer.body
        ours = pydicom.dcmread(io.BytesIO(whole.body))
        theirs = pydicom.dcmread(io.BytesIO(both.get(other, {**AS_STORED, **DOCTOR}).body))
        assert ours.file_meta.TransferSyntaxUID == theirs.file_meta.TransferSyntaxUID
        assert ours.PixelData == theirs.PixelData
        assert (ours.Rows, ours.NumberOfFrames) == (theirs.Rows, theirs.NumberOfFrames)


def test_errors_name_no_files(root: Path, both: Client) -> None:
    found = made(name="Doe^Jane")
    name = "Doe Jane 4712.dcm"
    (root / "data" / name).write_bytes(written(found))
    with served(root / "data", **options(root)) as other:
        numbers = [str(found[keyword].value) for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
        path = place(*map(NAMES.uid, numbers))
        until(lambda: other.get(path + "/metadata", RESEARCHER).status == 200, 20)
        (root / "data" / name).unlink()
        for below in (*ANSWERS[1:], "/bulk/00100010"):
            answer = other.get(path + below, {**AS_STORED, **RESEARCHER} if not below else RESEARCHER)
            assert answer.status in {404, 409, 503}, below
            for telling in (b"4712", b"Doe", name.encode(), *(number.encode() for number in numbers)):
                assert telling not in answer.body + repr(answer.headers).encode(), below


def test_a_restart_changes_nothing(root: Path, both: Client) -> None:
    def uids(client: Client) -> list[str]:
        return [each["00080018"]["Value"][0] for each in client.get("/dicom/instances", RESEARCHER).json()]

    with served(root / "data", **options(root)) as again:
        assert len(uids(again)) > 1
        # Both may still have to notice a file that an earlier test took away.
        until(lambda: uids(both) == uids(again), 20)
        assert again.get(SHOWN + "/metadata", RESEARCHER).status == 200


def test_another_key_is_another_world(root: Path, both: Client) -> None:
    with served(root / "data", **{**options(root), "dicom_deidentify_key": KEY[::-1]}) as other:
        until(lambda: len(other.get("/dicom/instances", RESEARCHER).json()) > 1)
        first, second = (
            {each["00080018"]["Value"][0] for each in client.get("/dicom/instances", RESEARCHER).json()}
            for client in (both, other)
        )
        assert first
        assert not first & second


def test_all_but_some(root: Path, both: Client) -> None:
    with served(root / "data", **{**options(root), "dicom_deidentify": "!realm_access.roles=research-a"}) as other:
        assert other.get(REAL + "/metadata", RESEARCHER).status == 200
        assert other.get(REAL + "/metadata", DOCTOR).status == 404
        assert other.get("/slides", DOCTOR).status == 403


@pytest.mark.parametrize(
    ("changes", "parameter"),
    [
        ({"dicom_deidentify_key": None}, "dicom_deidentify_key"),
        ({"dicom_deidentify_key": "too short"}, "dicom_deidentify_key"),
        ({"dicom_deidentify": "nonsense"}, "dicom_deidentify"),
        ({"integration": None}, "dicom_deidentify"),
        ({"integration": "none"}, "dicom_deidentify"),
        ({"auth_enabled": True, "auth_secret": ("0123456789abcdef",)}, "dicom_deidentify"),
    ],
)
def test_what_could_not_be_kept_is_refused(root: Path, changes: dict[str, Any], parameter: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        create_app(Settings(data=str(root / "data"), **{**options(root), **changes}))
    assert caught.value.parameter == parameter
    assert "too short" not in caught.value.message


def test_a_key_alone_only_anonymises(root: Path, both: Client) -> None:
    with served(root / "data", **{**options(root), "dicom_deidentify": "off"}) as other:
        assert other.get(REAL + "/metadata", RESEARCHER).status == 200
        asked = f"/dicom?requestType=WADO&contentType=application/dicom&objectUID={uid(1, 1, 1)}&anonymize=yes"
        assert b"Doe" not in other.get(asked, RESEARCHER).body
    without = {**options(root), "dicom_deidentify": "off", "dicom_deidentify_key": None}
    with served(root / "data", **without) as other:
        assert other.get(asked, RESEARCHER).status == 406


def test_words_in_frames_are_not_sent(root: Path, both: Client) -> None:
    from PIL import Image
    from pydicom.encaps import encapsulate, generate_frames

    picture = io.BytesIO()
    Image.new("L", (8, 8), 77).save(picture, "JPEG", comment=b"Doe, Jane, born in Ulm")
    found = made(name="Doe^Jane")
    found.BitsAllocated = found.BitsStored = 8
    found.HighBit = 7
    found.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    found.PixelData = encapsulate([picture.getvalue()])
    (root / "data" / "compressed.dcm").write_bytes(written(found))
    from tests.api.test_dicomweb_stow import CONTENT

    assert both.request("POST", "/dicom/studies", {"content-type": CONTENT, **DOCTOR},
                        message(written(found))).status == 200  # fmt: skip
    names = [str(found[keyword].value) for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
    path = place(*map(NAMES.uid, names))
    until(lambda: both.get(path + "/metadata", RESEARCHER).status == 200, 10)
    assert b"born in Ulm" in both.get(place(*names) + "/frames/1", {**STORED, **DOCTOR}).body
    assert b"born in Ulm" not in both.get(path + "/frames/1", {**STORED, **RESEARCHER}).body
    whole = both.get(path, {**AS_STORED, **RESEARCHER}).body
    assert b"born in Ulm" not in whole
    (frame,) = generate_frames(pydicom.dcmread(io.BytesIO(whole)).PixelData, number_of_frames=1)
    assert Image.open(io.BytesIO(frame)).getpixel((3, 3)) == 77
    (root / "data" / "compressed.dcm").unlink()
