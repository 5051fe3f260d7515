"""Who may have what of DICOMweb: every route with every kind of credentials, with a login and with signed URLs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.api.conftest import SECRET
from tests.api.test_access import FUTURE, sign
from tests.dicommaker import made, place, value, written
from tests.serving import Answer, Client, served, until

ALICE, BOB = {"authorization": "Bearer alice"}, {"authorization": "Bearer bob"}
STRANGERS: tuple[Mapping[str, str], ...] = (
    {}, {"authorization": "Bearer eve"}, {"authorization": "Bearer "}, {"authorization": "Basic YWxpY2U6"},
    {"authorization": "Bearer alice expired"},
)  # fmt: skip
OF_INSTANCE = ("", "/metadata", "/frames/1", "/bulk/7FE00010", "/rendered", "/thumbnail", "/frames/1/rendered",
               "/frames/1/thumbnail")  # fmt: skip
OF_MORE = ("", "/metadata", "/rendered", "/thumbnail")
SEARCHES = (
    "/dicom/studies",
    "/dicom/series",
    "/dicom/instances",
    "{study}/series",
    "{study}/instances",
    "{series}/instances",
)
ROOT = ("/dicom?requestType=WADO&objectUID={sop}", "/dicom/?object={sop}")
OTHER = ("/dicom/workitems", "/dicom/workitems/1.2")
IMAGES = {"alice": made(name="Secret^Alice"), "bob": made(name="Secret^Bob")}


TEMPLATES = (
    *("{instance}" + below for below in OF_INSTANCE),
    *(parent + below for parent in ("{series}", "{study}") for below in OF_MORE),
    *SEARCHES, *ROOT, *OTHER,
)  # fmt: skip


def target_of(template: str, owner: str = "alice") -> str:
    """A route for the instance of somebody."""
    found = IMAGES[owner]
    series = place(found).partition("/instances")[0]
    names = {"instance": place(found), "series": series, "study": series.partition("/series")[0]}
    return template.format(sop=found.SOPInstanceUID, **names)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("access") / "data"
    for owner, found in IMAGES.items():
        (folder / owner).mkdir(parents=True)
        (folder / owner / "x.dcm").write_bytes(written(found))
    return folder


@pytest.fixture(scope="module")
def login(folder: Path) -> Iterator[Client]:
    index = str(folder.parent / "login.sqlite")
    with served(folder, dicomweb=True, dicom_index=index, dicom_slides=False, dicom_store="alice/received",
                integration="tests.api.test_login:ByFolder") as client:  # fmt: skip
        for who in (ALICE, BOB):
            until(lambda who=who: len(client.get("/dicom/studies", who).json()) == 1)
        yield client


@pytest.fixture(scope="module")
def signed(folder: Path) -> Iterator[Client]:
    index = str(folder.parent / "signed.sqlite")
    with served(folder, dicomweb=True, dicom_index=index, dicom_slides=False, dicom_store="received", auth_enabled=True,
                auth_secret=(SECRET,)) as client:  # fmt: skip
        until(lambda: len(client.get(sign("/dicom/studies")).json()) == 2)
        yield client


def tells_nothing(answer: Answer) -> bool:
    return b"Secret" not in answer.body and IMAGES["alice"].SOPInstanceUID.encode() not in answer.body


def test_every_route_is_in_the_table(login: Client) -> None:
    told = login.request("OPTIONS", "/dicom", {"accept": "application/json"}).json()["application"]["resources"][
        "resource"
    ]
    rows = [target.removeprefix("/dicom/").partition("?")[0].split("/") for target in map(target_of, TEMPLATES)]
    for parts in (each["path"].split("/") for each in told if each["path"]):
        assert any(
            len(parts) == len(row) and all(a == b or a.startswith("{") for a, b in zip(parts, row, strict=True))
            for row in rows
        ), f"{parts} needs a row in the table of authorisation"


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_login_is_asked_for_everywhere(login: Client, template: str) -> None:
    target = target_of(template)
    for headers in STRANGERS:
        for method in ("GET", "HEAD", "POST", "DELETE"):
            answer = login.request(method, target, headers)
            assert answer.status == 401, (method, headers)
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.headers["cache-control"] == "no-store"
            assert tells_nothing(answer)
    mine = login.get(target, ALICE)
    assert mine.status == (501 if "workitems" in target else 200), mine.body[:200]
    if mine.status == 200:
        assert mine.headers["cache-control"].startswith("private"), "caches of proxies keep it from nobody else"


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_is_somebody_elses_does_not_exist(login: Client, template: str) -> None:
    target = target_of(template)
    assert login.get(target, ALICE).status in {200, 501}  # warm
    answer = login.get(target, BOB)
    if "workitems" in target:
        assert answer.status == 501
    elif template in SEARCHES:
        mine = [value(each, "0020000D") for each in answer.json()]
        assert str(IMAGES["alice"].StudyInstanceUID) not in mine
    else:
        assert (answer.status, answer.error) == (404, "not_found")
        if "W/" not in (etag := login.get(target, ALICE).headers.get("etag", '"x"')):
            assert login.get(target, {**BOB, "if-none-match": etag}).status == 404
    assert b"Secret^Alice" not in answer.body
    missing = target.replace(str(IMAGES["alice"].SOPInstanceUID), "9.9")
    if missing != target:
        assert login.get(missing, BOB).status == answer.status, "nobody learns what there is"


def test_counts_and_zip_files_hold_no_more_than_one_may_see(login: Client) -> None:
    assert len(login.get("/dicom/instances", ALICE).json()) == 1
    assert (
        login.get("/dicom/studies?PatientName=*", BOB).json()[0]["00100010"]["Value"][0]["Alphabetic"] == "Secret^Bob"
    )
    study = f"/dicom/studies/{IMAGES['alice'].StudyInstanceUID}"
    assert login.get(study, {**BOB, "accept": "application/zip"}).status == 404
    assert login.get(study, {**ALICE, "accept": "application/zip"}).status == 200


def test_pages_may_ask_before_they_log_in(login: Client) -> None:
    asked = {"origin": "https://viewer.example", "access-control-request-method": "GET",
             "access-control-request-headers": "authorization"}  # fmt: skip
    answer = login.request("OPTIONS", place(IMAGES["alice"]), asked)
    assert answer.status == 200
    assert "authorization" in answer.headers["access-control-allow-headers"]
    assert tells_nothing(login.request("OPTIONS", "/dicom"))


@pytest.mark.parametrize("template", TEMPLATES)
def test_signed_urls(signed: Client, template: str) -> None:
    target = target_of(template)
    path, _, query = target.partition("?")
    join = "&" if query else "?"
    for bad in ("", f"{join}sig=00&exp={FUTURE}", f"{join}sig=00&exp=1",
                join + sign("/dicom/other").partition("?")[2]):  # fmt: skip
        for method in ("GET", "HEAD"):
            answer = signed.request(method, target + bad)
            assert answer.status in {400, 401}, bad
            assert tells_nothing(answer)
    assert signed.get(sign(path, query, secret="another-secret-of-good-length")).status == 401
    answer = signed.get(sign(path, query))
    assert answer.status == (501 if "workitems" in target else 200), answer.body[:200]
    if answer.status == 200:
        assert answer.headers["cache-control"].startswith("private")


def test_nobody_stores_without_a_signature(signed: Client, folder: Path) -> None:
    body = b"--a-boundary--"
    headers = {"content-type": 'multipart/related; type="application/dicom"; boundary=a-boundary'}
    for path in ("/dicom/studies", "/dicom/studies/1.2"):
        assert signed.request("POST", path, headers, body).status == 401
        assert signed.request("POST", f"{path}?sig=00&exp={FUTURE}", headers, body).status == 401
        assert signed.request("POST", sign(path), headers, body).status in {200, 400}
    assert not (folder / "received").exists() or not list((folder / "received").iterdir())
