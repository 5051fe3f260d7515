"""Pseudonyms, and dates that keep their distance."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest
from pydicom.uid import UID

from microtome.dicom.deidentify import moments
from microtome.dicom.deidentify.pseudonyms import Pseudonyms
from microtome.errors import InvalidRequest

ONE, OTHER = Pseudonyms("one key of more than thirty-two bytes"), Pseudonyms("other key of more than thirty-two bytes")
BY = timedelta(days=400, seconds=3 * 3600)


def test_uids_are_uids() -> None:
    made = {ONE.uid(f"1.2.3.{number}") for number in range(500)}
    assert len(made) == 500
    assert all(UID(each).is_valid and each.startswith("2.25.") and len(each) <= 64 for each in made)
    assert ONE.uid("1.2.3") == ONE.uid("1.2.3") != ONE.uid("1.2.3.")


def test_two_keys_have_nothing_in_common() -> None:
    assert ONE.uid("1.2.3") != OTHER.uid("1.2.3")
    assert ONE.text("PatientID", "x") != OTHER.text("PatientID", "x")
    assert ONE.offset("x") != OTHER.offset("x")
    assert ONE.name("view") != OTHER.name("view")


def test_equal_values_of_other_meaning_differ() -> None:
    assert ONE.text("PatientID", "1") != ONE.text("AccessionNumber", "1")
    assert re.fullmatch("[A-Z2-7]{16}", ONE.text("PatientID", "Müller=\ud800"))


@pytest.mark.parametrize("key", ["", "short", "x" * 31, "ü" * 15])
def test_short_keys_are_refused(key: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Pseudonyms(key)
    assert caught.value.parameter == "dicom_deidentify_key"
    assert not key or key not in caught.value.message


def test_the_key_is_not_shown() -> None:
    assert "thirty" not in repr(ONE) + str(ONE)


def test_offsets_spread() -> None:
    found = [ONE.offset(str(number)) for number in range(1000)]
    assert all(timedelta(days=365) < each < timedelta(days=365 + 3651) for each in found)
    assert len(set(found)) > 990
    assert len({each.days for each in found}) > 700


@pytest.mark.parametrize(
    ("day", "clock", "shown"),
    [
        ("20200115", "101500", ("20181211", "071500")),
        ("20200115", "010000.25", ("20181210", "220000.25")),
        ("20200115", "0100", ("20181210", "2200")),
        ("20200115", "01", ("20181210", "22")),
        ("2020.01.15", "10:15:00", ("20181211", "071500")),
        ("20200115", "", ("20181211", "")),
        ("20200115", "about ten", ("20181211", "")),
        ("20200115", "250000", ("20181211", "")),
        ("20201340", "101500", ("", "071500")),
        ("Doe", "Jane", ("", "")),
        ("00010101", "101500", ("", "")),
    ],
)
def test_pairs(day: str, clock: str, shown: tuple[str, str]) -> None:
    assert moments.pair(day, clock, BY) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("20200115101500", "20181211071500"),
        ("20200115101500.123456+0100", "20181211071500.123456"),
        ("20200115", "20181211"),
        ("202001", "201811"),
        ("2020", "2018"),
        ("2020011510", "2018121107"),
        ("20200115101500&", ""),
        ("20209915101500", ""),
        ("Doe", ""),
        ("0001", ""),
    ],
)
def test_date_times(text: str, shown: str) -> None:
    assert moments.date_time(text, BY) == shown


def test_intervals_are_kept() -> None:
    start = datetime(2020, 2, 27, 22, 30)
    for minutes in (1, 90, 1440, 100_000):
        later = start + timedelta(minutes=minutes)
        pairs = [moments.pair(each.strftime("%Y%m%d"), each.strftime("%H%M%S"), BY) for each in (start, later)]
        shown = [datetime.strptime("".join(pair), "%Y%m%d%H%M%S") for pair in pairs]
        assert shown[1] - shown[0] == later - start
        assert shown[0] == start - BY
