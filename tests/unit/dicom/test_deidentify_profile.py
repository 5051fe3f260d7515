"""The table of the Basic Profile against that of dicom-anonymizer, which was made of the standard's own text."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from microtome.dicom import dictionary
from microtome.dicom.deidentify.profile import Action, action_of
from microtome.dicom.deidentify.withheld import withheld

ORACLE: Any = import_module("dicomanonymizer.dicom_anonymization_databases.dicomfields_2026c")
META_INFORMATION = 0x0002
"""Is written anew, and no part of a data set."""
OF_DIRECTORIES = {0x0004_1511, 0x0000_1001}
CHANGED = {Action.REMOVE, Action.EMPTY, Action.UID, Action.MOMENT, Action.PSEUDONYM, Action.PATIENT}
ALLOWED = {
    "X_TAGS": {Action.REMOVE, Action.MOMENT},
    "Z_TAGS": {Action.REMOVE, Action.EMPTY, Action.MOMENT, Action.PSEUDONYM, Action.PATIENT},
    "U_TAGS": {Action.UID, Action.REMOVE},
    "X_Z_U_STAR_TAGS": {Action.ITEMS},
}


def listed() -> list[tuple[str, int]]:
    lists = [name for name in dir(ORACLE) if name.endswith("_TAGS") and name != "ALL_TAGS"]
    return [(name, tag[0] << 16 | tag[1]) for name in lists for tag in getattr(ORACLE, name) if len(tag) == 2]


def test_the_oracle_is_the_whole_table() -> None:
    assert len(listed()) > 600


def test_every_row_is_heeded() -> None:
    for name, tag in listed():
        vr = dictionary.vr(tag).partition(" ")[0]
        assert action_of(tag, vr) in ALLOWED.get(name, CHANGED), (name, dictionary.keyword(tag), vr)


@pytest.mark.parametrize("tag", [0x0010_0030, 0x0008_0050, 0x0008_0090, 0x0008_0020, 0x0020_0010])
def test_type_2_attributes_stay(tag: int) -> None:
    """They must be there, empty or not, for an instance to be valid (PS3.3, General Study and Patient)."""
    assert action_of(tag, dictionary.vr(tag)) is not Action.REMOVE


@pytest.mark.parametrize("tag", [0x0009_0010, 0x0009_1001, 0x6000_3000, 0x6002_0022, 0x5000_3000, 0x0008_FFFE])
def test_what_nobody_knows_goes(tag: int) -> None:
    for vr in ("LO", "OW", "SQ", "UN", "US"):
        assert action_of(tag, vr) is Action.REMOVE


def test_what_cannot_be_goes() -> None:
    rows, photometric = 0x0028_0010, 0x0028_0004
    assert action_of(rows, "US") is action_of(rows, "SS") is Action.KEEP
    assert action_of(rows, "LO") is action_of(rows, "UN") is Action.REMOVE
    assert action_of(photometric, "CS") is Action.KEEP
    assert action_of(photometric, "LT") is Action.REMOVE


CT, US, WSI, SR, PDF = (
    f"1.2.840.10008.5.1.4.1.1.{each}" for each in ("2", "6.1", "77.1.6", "88.33", "104.1")
)  # fmt: skip


def header(sop_class: str, **values: object) -> dict[str, Any]:
    found = {"00080016": {"vr": "UI", "Value": [sop_class]}, "7FE00010": {"vr": "OW", "BulkDataURI": "7FE00010"}}
    tags = {str(dictionary.tag(keyword)): value for keyword, value in values.items()}
    return found | {f"{int(tag):08X}": {"vr": "CS", "Value": value} for tag, value in tags.items()}


@pytest.mark.parametrize(
    ("document", "plain", "unmarked"),
    [
        (header(CT), False, False),
        (header(CT, BurnedInAnnotation=["NO"]), False, False),
        (header(CT, BurnedInAnnotation=["YES"]), True, True),
        (header(CT, BurnedInAnnotation=["yes "]), True, True),
        (header(CT, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), False, False),
        (header(US), True, False),
        (header(US, BurnedInAnnotation=["NO"]), False, False),
        (header(SR), True, True),
        (header(PDF), True, True),
        (header("1.2.840.113619.4.26"), True, True),
        (header(""), True, True),
        (header(WSI, ImageType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]), False, False),
        (header(WSI, ImageType=["ORIGINAL", "PRIMARY", "LABEL", "NONE"]), True, True),
        (header(WSI, ImageType=["ORIGINAL", "PRIMARY", "OVERVIEW", "NONE"]), True, True),
        (header(WSI, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), True, True),
        (header(WSI), True, True),
        (header(WSI, ImageType=["ORIGINAL", "PRIMARY", "VOLUME"], SpecimenLabelInImage=["YES"]), True, True),
        (header(CT) | {"60000010": {"vr": "US", "Value": [5]}}, True, True),
        (header(CT) | {"60000010": {"vr": "US", "Value": [5]}, "60003000": {"vr": "OW"}}, False, False),
        (header(CT) | {"60000100": {"vr": "US", "Value": [16]}, "60003000": {"vr": "OW"}}, True, True),
    ],
)
def test_what_is_withheld(document: dict[str, Any], plain: bool, unmarked: bool) -> None:
    assert withheld(document, unmarked=False) is plain
    assert withheld(document, unmarked=True) is unmarked
