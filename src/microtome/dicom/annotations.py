"""What is known of the patients and specimens of slides, told by a table: a row for a slide, a column for an attribute.

The table is CSV in UTF-8. Its column ``slide`` holds the key of a slide or a pattern (``*``, ``?``, ``[...]``; ``*``
also stands for ``/``); the others are called by keywords of DICOM (PS3.6). All rows that fit a slide are used, each
overruling those above it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from hashlib import blake2b

from microtome.dicom.rows import is_uid
from microtome.dicom.wsi import Annotation
from microtome.errors import InvalidRequest, LimitExceeded

SLIDE_COLUMN = "slide"
TABLE_BYTES = 64 << 20
MOST_ROWS = 1_000_000
MOST_PATTERNS = 10_000
"""So many rows may have patterns: each is tried for every slide."""
_PATTERN = re.compile(r"[*?\[]")
_DATE = re.compile(r"([0-9]{4})-?(0[1-9]|1[0-2])-?(0[1-9]|[12][0-9]|3[01])")
_TIME = re.compile(r"([01][0-9]|2[0-3]):?([0-5][0-9])(?::?([0-5][0-9]))?")
_MOMENT = re.compile(rf"{_DATE.pattern}[ T]?{_TIME.pattern}")
_CODE = re.compile(r"[^\^]{1,16}\^[^\^]{1,16}\^[^\^]{1,64}")
_SEXES = {"M": "M", "F": "F", "O": "O", "MALE": "M", "FEMALE": "F", "OTHER": "O"}


def _text(most: int) -> Callable[[str], str | None]:
    return lambda value: value if len(value) <= most else None


def _name(value: str) -> str | None:
    """A name of a person (PS3.5 §6.2, PN): at most three groups of 64 characters."""
    groups = value.split("=")
    return value if len(groups) <= 3 and all(len(each) <= 64 and each.count("^") <= 4 for each in groups) else None


def _joined(pattern: re.Pattern[str]) -> Callable[[str], str | None]:
    def parse(value: str) -> str | None:
        found = pattern.fullmatch(value)
        return None if found is None else "".join(each or "00" for each in found.groups())

    return parse


def _uid(value: str) -> str | None:
    return value if is_uid(value) and re.fullmatch(r"[0-9.]+", value) else None


def _sex(value: str) -> str | None:
    return _SEXES.get(value.upper())


def _code(value: str) -> str | None:
    return value if _CODE.fullmatch(value) else None


ATTRIBUTES: Mapping[str, Callable[[str], str | None]] = {
    "PatientName": _name, "PatientID": _text(64), "PatientBirthDate": _joined(_DATE), "PatientSex": _sex,
    "StudyInstanceUID": _uid, "StudyDate": _joined(_DATE), "StudyTime": _joined(_TIME), "StudyID": _text(16),
    "AccessionNumber": _text(16), "StudyDescription": _text(64), "ReferringPhysicianName": _name,
    "SeriesDescription": _text(64), "AcquisitionDateTime": _joined(_MOMENT), "ContainerIdentifier": _text(64),
    "SpecimenIdentifier": _text(64), "SpecimenUID": _uid, "SpecimenShortDescription": _text(64),
    "SpecimenDetailedDescription": _text(10_000), "Staining": _text(64), "PrimaryAnatomicStructure": _code,
    "BarcodeValue": _text(64), "LabelText": _text(10_000),
}  # fmt: skip
"""Names of columns, and what makes a value of DICOM of what is written there, or None of what is none."""
CASE_ATTRIBUTES = ("PatientID", "AccessionNumber", "StudyID")
"""What the case of a slide may be called."""


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    fits: Callable[[str], object]
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Table:
    """A table that was read; ``problems`` name lines that are not used, or columns."""

    exact: Mapping[str, Sequence[_Row]] = field(default_factory=dict[str, Sequence[_Row]])
    patterns: Sequence[_Row] = ()
    problems: tuple[str, ...] = ()

    def attributes(self, key: str) -> dict[str, str]:
        """What all rows that fit a slide say, later ones overruling earlier ones."""
        rows = [*self.exact.get(key, ()), *(row for row in self.patterns if row.fits(key))]
        found: dict[str, str] = {}
        for row in sorted(rows, key=lambda row: row.number):
            found |= row.attributes
        return found


def read_table(data: bytes) -> Table:
    """The table in a file. Blocks.

    Raises InvalidRequest(parameter="dicom_attributes") for what is no such table at all, LimitExceeded; rows with
    something wrong in them are only reported.
    """
    if len(data) > TABLE_BYTES:
        raise LimitExceeded(f"The table of attributes is larger than {TABLE_BYTES >> 20} MB", limit="table")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _no_table(f"it is not in UTF-8 (byte {error.start})") from error
    lines = csv.reader(io.StringIO(text, newline=""), _dialect(text), strict=True)
    try:
        columns = [name.strip() for name in next(lines, list[str]())]
        if columns.count(SLIDE_COLUMN) != 1:
            raise _no_table(f"its first line needs one column {SLIDE_COLUMN}")
        problems = [f"column {name[:40]!r} is not known" for name in columns if not _is_known(name)]
        exact: dict[str, list[_Row]] = {}
        patterns: list[_Row] = []
        for count, values in enumerate(lines):
            if count >= MOST_ROWS:
                raise LimitExceeded(f"The table of attributes has more than {MOST_ROWS} rows", limit="table")
            if any(value.strip() for value in values):
                _add(columns, values, lines.line_num, exact, patterns, problems)
    except csv.Error as error:
        raise _no_table(f"line {lines.line_num}: {error}") from error
    return Table(exact, patterns, tuple(problems))


def _add(
    columns: Sequence[str], values: Sequence[str], number: int, exact: dict[str, list[_Row]], patterns: list[_Row],
    problems: list[str],
) -> None:  # fmt: skip
    if len(values) != len(columns):
        problems.append(f"line {number}: {len(values)} values for {len(columns)} columns")
        return
    given = {name: value.strip() for name, value in zip(columns, values, strict=True)}
    slide = given.pop(SLIDE_COLUMN)
    attributes: dict[str, str] = {}
    for name, value in given.items():
        parse = ATTRIBUTES.get(name)
        if not value or parse is None:
            continue
        parsed = None if "\\" in value or not value.isprintable() else parse(value)
        if parsed is None:
            problems.append(f"line {number}: {value[:40]!r} is no {name}")
            return
        attributes[name] = parsed
    if not slide:
        problems.append(f"line {number}: the slide is not named")
    elif not _PATTERN.search(slide):
        exact.setdefault(slide, []).append(_Row(number, lambda key: key == slide, attributes))
    elif len(patterns) >= MOST_PATTERNS:
        problems.append(f"line {number}: more than {MOST_PATTERNS} patterns")
    else:
        patterns.append(_Row(number, re.compile(translate(slide)).match, attributes))


def _is_known(name: str) -> bool:
    return name in ATTRIBUTES or name == SLIDE_COLUMN


def _dialect(text: str) -> type[csv.Dialect]:
    """Comma, semicolon or tab, whichever is in the first line most often."""
    first = text.partition("\n")[0]

    class Chosen(csv.excel):
        delimiter = max(",;\t", key=first.count)

    return Chosen


def _no_table(reason: str) -> InvalidRequest:
    return InvalidRequest(f"The table of attributes cannot be used: {reason}", parameter="dicom_attributes")


class Annotations:
    """What is known of each slide by its key: the names of cases, overruled by the table. Both may be replaced."""

    def __init__(self) -> None:
        self.table = Table()
        self.cases: Mapping[str, Mapping[str, str]] = {}

    def __call__(self, key: str) -> Annotation | None:
        """What is known of a slide; None when nothing is."""
        attributes = {**self.cases.get(key, {}), **self.table.attributes(key)}
        return Annotation(attributes) if attributes else None


def case_attributes(attribute: str, local_id: str) -> dict[str, str]:
    """What the name of a case says of its slides. Longer names than the attribute may have are a digest of them."""
    value = "".join(each if each.isprintable() and each != "\\" else " " for each in local_id).strip()
    if value and ATTRIBUTES[attribute](value) is None:
        value = blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return {attribute: value} if value else {}
