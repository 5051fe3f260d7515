"""Parameters of a search, and matching without a database."""

from __future__ import annotations

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microtome.dicom import matching
from microtome.dicom.matching import Name, OneOf, Pattern, Range, Text
from microtome.dicom.query import MAX_VALUE, parse
from microtome.dicom.rows import Level, is_uid, level_of
from microtome.errors import InvalidRequest, LimitExceeded


def test_keywords_and_tags_are_the_same() -> None:
    queries = [
        parse(Level.STUDY, [(name, "x")]) for name in ("PatientID", "00100020")
    ] + [parse(Level.STUDY, [("0020000d", "1")]), parse(Level.STUDY, [("0020000D", "1")])]  # fmt: skip
    assert queries[0] == queries[1]
    assert queries[2] == queries[3]
    assert parse(Level.STUDY, [("patientid", "x")]).warnings  # keywords are exact


@pytest.mark.parametrize("name", ["Nonsense", "12345678", "001000", "00100020.00100010", "PatientID.X", ".",
                                  "00100000",
                                  "00020010", "Request.AttributesSequence"])  # fmt: skip
def test_unknown_attributes_are_told(name: str) -> None:
    for query in (parse(Level.STUDY, [(name, "1")]), parse(Level.STUDY, [("includefield", f"PatientID,{name}")])):
        assert query.keys == ()
        assert len(query.warnings) == 1
        assert name in query.warnings[0]


def test_warnings_cannot_break_a_header() -> None:
    (warning,) = parse(Level.STUDY, [('x\r\n"ü' + "y" * 500, "1")]).warnings
    assert re.fullmatch(r"[ -~]{1,150}", warning)
    assert '"' not in warning


@pytest.mark.parametrize("name", ["limit", "offset"])
@pytest.mark.parametrize("value", ["-1", "", "1.5", "x", "1e3", "٣", "+1", "9" * 30])
def test_pages_are_whole_numbers(name: str, value: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(Level.STUDY, [(name, value)])
    assert caught.value.parameter == name


def test_pages() -> None:
    query = parse(Level.STUDY, [("limit", "7"), ("offset", "3")])
    assert (query.limit, query.offset) == (7, 3)
    assert parse(Level.STUDY, [("limit", "1000000")], maximum=50).limit == 50
    assert parse(Level.STUDY, [], maximum=50).limit == 50
    with pytest.raises(InvalidRequest):
        parse(Level.STUDY, [("limit", "1"), ("limit", "2")])


@pytest.mark.parametrize("name", ["fuzzymatching", "emptyvaluematching", "multiplevaluematching"])
def test_flags(name: str) -> None:
    for value in ("true", "false", "TRUE"):
        assert parse(Level.STUDY, [(name, value)]).warnings == ()
    with pytest.raises(InvalidRequest) as caught:
        parse(Level.STUDY, [(name, "perhaps")])
    assert caught.value.parameter == name


def test_includefield() -> None:
    query = parse(Level.SERIES, [("includefield", "00080021,SeriesTime"), ("includefield", "00400275.00400007")])
    assert query.include == (("00080021",), ("00080031",), ("00400275", "00400007"))
    assert parse(Level.SERIES, [("includefield", "all")]).include_all


@pytest.mark.parametrize(("name", "value"), [
    ("StudyDate", "yesterday"), ("StudyDate", "2020-"[:4] + "-x"), ("StudyDate", "-"), ("StudyDate", "1-2-3"),
    ("StudyTime", "7"), ("KVP", "many"), ("InstanceNumber", "1*"), ("AcquisitionDateTime", "20"),
])  # fmt: skip
def test_values_that_can_match_nothing_are_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(Level.STUDY, [(name, value)])
    assert re.fullmatch(r"[0-9A-F]{8}", caught.value.parameter)


def test_enormous_requests_are_refused() -> None:
    for parameters in (
        [("PatientID", "x" * (MAX_VALUE + 1))], [(f"{i:08X}", "1") for i in range(0x00100000, 0x00101000)],
        [("StudyInstanceUID", "1," * 5001)], [("includefield", "PatientID," * 1500)] * 4,
    ):  # fmt: skip
        with pytest.raises(LimitExceeded):
            parse(Level.STUDY, parameters)


def test_what_cannot_be_matched_is_told() -> None:
    assert parse(Level.INSTANCE, [("PixelData", "x")]).warnings
    assert parse(Level.INSTANCE, [("RequestAttributesSequence", "")]).warnings == ()
    assert parse(Level.INSTANCE, [("SpecificCharacterSet", "ISO_IR 192")]).keys == ()
    assert parse(Level.INSTANCE, [("accept", "application/dicom+json")]).warnings == ()


def test_a_list_of_uids() -> None:
    for value in ("1.2,3.4", "1.2\\3.4", " 1.2 , 3.4 "):
        (key,) = parse(Level.STUDY, [("StudyInstanceUID", value)]).keys
        assert key.matcher == OneOf(("1.2", "3.4"))


TEXT = st.text(st.sampled_from("aB%_\\.[]^$é (*?"), max_size=12)


@given(TEXT, TEXT)
def test_wildcards_agree_with_fnmatch(pattern: str, text: str) -> None:
    escaped = pattern.replace("[", "[[]")
    assert Pattern.parse(pattern).fits(text) == fnmatch.fnmatchcase(text, escaped)


def test_wildcards_cannot_be_made_slow() -> None:
    hostile = Text((Pattern.parse("*a" * 5000 + "*b"),))
    assert not hostile.matches(["a" * 8000])  # with backtracking this would not end


@pytest.mark.parametrize(("kind", "text", "span"), [
    ("DA", "20200229", ("20200229", "20200229")), ("DA", "2020.02.29", ("20200229", "20200229")),
    ("DA", "2020", ("20200000", "20209999")), ("DA", "x", None), ("DA", "202", None),
    ("TM", "10", ("100000.000000", "105959.999999")), ("TM", "101112.5", ("101112.500000", "101112.599999")),
    ("TM", "10:11:12", ("101112.000000", "101112.999999")), ("TM", "1", None),
    ("DT", "2020", ("20200101000000.000000", "20201231235959.999999")),
    ("DT", "20200101003000+0100", ("20191231233000.000000", "20191231233000.999999")),
    ("DT", "202002-0100", ("20200201010000.000000", "20200301005959.999999")),
    ("DT", "00000101+0100", None), ("DT", "20201301+0100", None), ("DT", "99991231235959-0100", None),
])  # fmt: skip
def test_moments(kind: str, text: str, span: tuple[str, str] | None) -> None:
    assert matching.span_of(kind, text) == span


def test_ranges_of_date_times_with_offsets() -> None:
    def span(text: str) -> tuple[str, str]:
        (key,) = parse(Level.INSTANCE, [("AcquisitionDateTime", text)]).keys
        assert isinstance(key.matcher, Range)
        return key.matcher.spans[0]

    assert span("2019-2020") == ("20190101000000.000000", "20201231235959.999999")
    assert span("20200101-0500") == ("20200101050000.000000", "20200102045959.999999")
    assert span("20200101-0500-20200102-0500")[0] == "20200101050000.000000"
    assert span("2020010112 0100") == span("2020010112+0100")  # a plus of a query is a space
    assert span("-2020")[0] == ""
    assert span("2020-")[1] == ""


@pytest.mark.parametrize(("stored", "forms"), [
    ("Müller^Hans", ("muller^hans", "", "")), ("MULLER ^ HANS^^^", ("muller^hans", "", "")),
    ({"Alphabetic": "Ærø^Łukasz"}, ("aero^lukasz", "", "")), ({"Ideographic": "山田^太郎"}, ("", "山田^太郎", "")),
    ("a=b=c", ("a", "b", "c")), (None, ("", "", "")), ({"Phonetic": "がぎ"}, ("", "", "がぎ")),
    ("Straße", ("strasse", "", "")), ("\uff21\uff22\uff23", ("abc", "", "")),
])  # fmt: skip
def test_names_in_normal_form(stored: object, forms: tuple[str, str, str]) -> None:
    assert matching.normal_names(stored) == forms


def test_kana_keep_their_marks() -> None:
    assert not Name(((Pattern.parse(matching.fold_name("が")),),)).matches([{"Phonetic": "か"}])


def test_levels() -> None:
    assert level_of("00100010") == level_of("0020000D") == Level.STUDY
    assert level_of("00080060") == level_of("0020000E") == Level.SERIES
    assert level_of("00080018") == level_of("00091001") == Level.INSTANCE


@pytest.mark.parametrize(("text", "valid"), [
    ("1.2.3", True), ("1.2.3-x_Y", True), ("", False), ("../x", False), ("1..2", False), ("1/2", False),
    ("1.2\n", False),
    ("1" * 65, False), (".1", False), ('1"', False), ("1 2", False),
])  # fmt: skip
def test_uids(text: str, valid: bool) -> None:
    assert is_uid(text) == valid
