"""Every real file opens or is refused with a reason, by the service and over HTTP; the page that says so is current."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from microtome.catalog.kinds import SUFFIXES, UNSURE
from scripts import generate_files
from scripts.generate_files import Found
from tests.serving import Client, served

REFUSALS = {413, 415, 422}
"""The file is too large or cannot be read; 422 is how the v3 API says the first."""


@pytest.fixture(scope="module")
def found(testdata: Path) -> list[Found]:
    """What became of each; whatever is no refusal, or takes too long, fails here."""
    return asyncio.run(generate_files.look(testdata))


@pytest.fixture(scope="module")
def client(testdata: Path) -> Iterator[Client]:
    with served(testdata) as client:
        yield client


def test_no_file_is_missing(found: list[Found], testdata: Path) -> None:
    listed = [each.key for each in found]
    assert set(generate_files.keys(testdata)) == {key for key in listed if not key.endswith("/")}
    folders = {key.removesuffix("/") for key in listed if key.endswith("/")}
    assert {"dicom/wsi", "dicom/wsi-fluo/BPAEC", "vector/pbf/demotiles.maplibre.org/tiles"} <= folders
    assert max(Counter(listed).values()) == 1


def test_what_is_called_like_a_slide_is_one_or_is_refused_with_a_reason(found: list[Found], testdata: Path) -> None:
    for each in found:
        if each.info is None and (each.is_slide or each.key.lower().endswith(SUFFIXES)):
            assert len(each.remark) > 20, each.key
        assert str(testdata) not in each.remark


def test_page_is_current(found: list[Found]) -> None:
    committed = generate_files.PAGE.read_text("utf-8")
    assert committed == generate_files.updated(found), "run: python -m scripts.generate_files FOLDER"


def test_both_apis_open_or_refuse_each(found: list[Found], client: Client) -> None:
    wrong: list[tuple[str, str, int]] = []
    for each in found:
        key = each.key.removesuffix("/")
        first = client.get(f"/slides/{quote(key, safe='')}")
        v3 = client.get(f"/v3/slides/info?slide_id={quote(key, safe='')}")
        for family, answer in (("first", first), ("v3", v3)):
            if each.info is not None:
                fine = answer.status == 200
            else:
                fine = answer.status in REFUSALS and len(answer.body) > 20
            if family == "v3" and not key.lower().endswith((*SUFFIXES, *UNSURE)) and not each.key.endswith("/"):
                fine |= answer.status == 404  # the v3 API finds files by their suffix
            if not fine:
                wrong.append((each.key, family, answer.status))
    assert not wrong


def test_loose_dicom_files_are_slides_of_their_own(found: list[Found], client: Client) -> None:
    loose = [each for each in found if each.key.startswith("dicom/wsi/") and each.key.endswith(".dcm")]
    assert len(loose) > 30
    assert any(each.info is None for each in loose)
    for each in loose:
        answer = client.get(f"/v3/slides/info?slide_id={quote(each.key, safe='')}")
        assert answer.status == (200 if each.info else 415), each.key
        if each.info is None:
            assert "no whole slide image but" in answer.json()["detail"]
    assert "dicom/wsi" in client.get("/slides?limit=1000").json()["slides"]
    assert not any(key.startswith("dicom/wsi/") for key in client.get("/slides?limit=1000").json()["slides"])
