"""What is broken and who may know, and the pages over DICOM: which of them are open."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import generate_uid

from microtome.viewer import ohif
from tests.api.conftest import SECRET
from tests.api.test_access import FUTURE, mac, sign
from tests.browser.studydata import GREY, new, save, with_pixels
from tests.serving import Client, served, until

LIST = "/admin/dicom/problems"
ALICE, BOB = {"authorization": "Bearer alice"}, {"authorization": "Bearer bob"}
LOGIN = "tests.api.test_login:ByFolder"
PAGES = ("/studies", "/studies/names.json", "/browse/", "/admin/dicom")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine broken files, one of them twice there, one that is no DICOM, and one that is good."""
    folder = tmp_path_factory.mktemp("admin") / "data"
    folder.mkdir()
    pixels, *_ = GREY["twelve"]
    good = save(with_pixels(new("1.2.840.10008.5.1.4.1.1.1", "grey", "good"), pixels), folder / "good.dcm")
    (folder / "twice.dcm").write_bytes((folder / "good.dcm").read_bytes())
    os.utime(folder / "good.dcm", (1e9, 1e9))  # the newest of several is served
    for number in range(9):
        (folder / f"broken{number}.dcm").write_bytes((folder / "good.dcm").read_bytes()[: 200 + number])
    (folder / "notes.dcm").write_text("no DICOM")
    del good.StudyInstanceUID
    good.SOPInstanceUID = generate_uid()
    save(good, folder / "without-study.dcm")
    return folder


def options(folder: Path, **more: Any) -> dict[str, Any]:
    index = folder.parent / f"{len(list(folder.parent.iterdir()))}.sqlite"
    return {"dicomweb": True, "dicom_index": str(index), "ohif_dir": folder / "none", **more}


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Client]:
    with served(folder, **options(folder)) as client:
        until(lambda: client.get(LIST).json()["totals"]["files"] == 13)
        yield client


def keys(answer: Any) -> list[str]:
    return [each["key"] for each in answer.json()["problems"]]


def test_what_is_not_served_is_listed_with_its_reason(server: Client) -> None:
    answer = server.get(LIST)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "private, no-store"
    found = {each["key"]: each for each in answer.json()["problems"]}
    assert set(found) == {*(f"broken{number}.dcm" for number in range(9)), "good.dcm", "without-study.dcm"}
    assert all(each["reason"] for each in found.values())
    assert found["good.dcm"]["kind"] == "duplicate"
    assert "twice.dcm" in found["good.dcm"]["reason"]
    assert found["broken3.dcm"] == {**found["broken3.dcm"], "kind": "broken", "bytes": 203}
    assert "Study Instance UID" in found["without-study.dcm"]["reason"]
    totals = answer.json()["totals"]
    assert (totals["studies"], totals["instances"], totals["files"], totals["problems"]) == (1, 1, 13, 11)
    assert str(server.services.store) not in answer.body.decode()


@pytest.mark.parametrize(("kind", "count"), [("broken", 10), ("duplicate", 1), ("other", 1), ("noted", 0)])
def test_kinds_are_told_apart(server: Client, kind: str, count: int) -> None:
    found = server.get(f"{LIST}?kind={kind}").json()["problems"]
    assert len(found) == count
    assert {each["kind"] for each in found} <= {kind}


@pytest.mark.parametrize("limit", [1, 3, 5, 11])
@pytest.mark.parametrize("kind", ["", "broken"])
def test_pages_hold_everything_once(server: Client, limit: int, kind: str) -> None:
    whole = keys(server.get(f"{LIST}?kind={kind}"))
    found: list[str] = []
    cursor, pages = "", 0
    while True:
        answer = server.get(f"{LIST}?kind={kind}&limit={limit}&cursor={cursor}")
        found += keys(answer)
        pages += 1
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            break
        assert len(keys(answer)) == limit
    assert found == whole
    assert pages == -(-len(whole) // limit)


@pytest.mark.parametrize(
    "query", ["kind=none", "limit=0", "limit=1001", "limit=x", "limit=-1", "limit=", "limit=%C2%B2"]
)
def test_nonsense_is_refused(server: Client, query: str) -> None:
    answer = server.get(f"{LIST}?{query}")
    assert (answer.status, answer.error) == (400, "invalid_request")


@pytest.mark.parametrize("path", PAGES)
def test_the_pages_hold_nothing_of_any_file(server: Client, path: str) -> None:
    answer = server.get(path)
    assert answer.status == 200
    assert b".dcm" not in answer.body
    if not path.endswith(".json"):
        assert "script-src 'self';" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert server.request("POST", path).status == 405


def test_names_of_attributes_are_kept_by_browsers(server: Client) -> None:
    answer = server.get("/studies/names.json", {"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert len(answer.body) < 80_000
    assert server.get("/studies/names.json").json()["00100010"] == "Patient's Name"
    again = server.get("/studies/names.json", {"accept-encoding": "gzip", "if-none-match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


def test_with_a_login_only_administrators_see_what_is_broken(folder: Path) -> None:
    with served(folder, **options(folder, integration=LOGIN, admins=("alice", "carol"))) as client:
        until(lambda: client.get(LIST, ALICE).json()["totals"]["files"] == 13)
        assert len(keys(client.get(LIST, ALICE))) == 11
        for headers, status in (({}, 401), ({"authorization": "Bearer eve"}, 401), (BOB, 403)):
            answer = client.get(LIST, headers)
            assert answer.status == status
            assert b".dcm" not in answer.body
        assert "admins" in client.get(LIST, BOB).json()["message"]
        for path in PAGES:
            assert client.get(path).status == 200
        place = "/studies/slide?study=1&series=2"
        assert client.get(place).status == 401
        assert client.get(place, ALICE).status == 404


def test_with_a_login_and_no_administrators_nobody_does(folder: Path) -> None:
    with served(folder, **options(folder, integration=LOGIN)) as client:
        assert client.get(LIST, ALICE).status == 403
        assert client.get(LIST).status == 401


def test_with_signed_links_a_signature_is_asked_for(folder: Path) -> None:
    with served(folder, **options(folder, auth_enabled=True, auth_secret=(SECRET,))) as client:
        for query in ("", f"?exp={FUTURE}&sig={'0' * 64}", f"?{sign('/admin/dicom').partition('?')[2]}"):
            answer = client.get(LIST + query)
            assert answer.status == 401
            assert b".dcm" not in answer.body
        assert client.get(sign(LIST)).status == 200
        everything = f"?ct={mac(f'catalogue:{FUTURE}')}&exp={FUTURE}"
        assert client.get(LIST + everything).status == 200
        assert client.get("/studies/slide?study=1&series=2").status == 401
        # A link to a page opens what the page asks for; one to a slide does not.
        page = client.get(sign("/admin/dicom")).body.decode()
        assert "ct=" in page
        assert "ct=" not in client.get("/admin/dicom").body.decode()
        assert client.get(f"{LIST}?vt={mac(f'viewer:a:{FUTURE}')}&exp={FUTURE}").status == 401


@pytest.fixture
def fake_ohif(tmp_path: Path) -> Path:
    folder = tmp_path / "ohif"
    folder.mkdir()
    (folder / "index.html").write_text("<title>OHIF</title>")
    (folder / "app.js").write_text("go()")
    (folder / ohif.MARK).write_text(json.dumps({"package": ohif.PACKAGE}))
    return folder


def test_ohif_is_at_browse(folder: Path, fake_ohif: Path) -> None:
    with served(folder, **options(folder, ohif_dir=fake_ohif)) as client:
        for path in ("/browse/", "/browse/viewer?StudyInstanceUIDs=1", "/browse/index.html", "/browse/a/b"):
            answer = client.get(path)
            assert b"<title>OHIF" in answer.body, path
            policy = answer.headers["content-security-policy"]
            assert "connect-src 'self' data: blob:;" in policy, "no other host, whatever a link says"
        assert client.get("/browse").status == 308
        assert client.get("/browse/app.js").headers["content-type"].startswith("text/javascript")
        for path in ("/browse/missing.js", "/browse/../good.dcm", "/browse/%2e%2e/good.dcm", "/browse/..%2fgood.dcm"):
            assert client.get(path).status == 404, path


def test_ohif_gives_way_where_it_cannot_prove_who_looks(folder: Path, fake_ohif: Path) -> None:
    with served(folder, **options(folder, ohif_dir=fake_ohif, integration=LOGIN)) as client:
        assert b"this page can" in client.get("/browse/").body
        # Behind a proxy that logs people in, it can.
        assert b"<title>OHIF" in client.get("/browse/", ALICE).body
        assert client.get("/browse/app.js").status == 200
    with served(folder, **options(folder, ohif_dir=fake_ohif, auth_enabled=True, auth_secret=(SECRET,))) as client:
        assert b"this page can" in client.get("/browse/").body
