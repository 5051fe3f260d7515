"""A ``Query`` as SQL.

Attributes with a column are matched by the database; the others (``Statement.rest``) by reading headers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from microtome.dicom import rows, syntaxes
from microtome.dicom.index.database import Reader
from microtome.dicom.index.schema import NO_NUMBER
from microtome.dicom.matching import AnyOf, Empty, FuzzyName, Matcher, Name, Number, OneOf, Pattern, Range, Text, within
from microtome.dicom.query import Key, Query
from microtome.dicom.rows import Level

_LAST = "\U0010ffff"
_FALSE = "1 = 0"


class Column(NamedTuple):
    """Where an attribute stands; ``none`` is the value that means it is missing."""

    level: Level
    name: str
    none: str | int = ""


def _table(level: Level, letter: str, columns: Mapping[str, str]) -> dict[str, Column]:
    return {tag: Column(level, f"{letter}.{name}") for tag, name in columns.items()}


COLUMNS: Mapping[str, Column] = {
    **_table(Level.STUDY, "s", {
        rows.STUDY_INSTANCE: "uid", "00100020": "patient_id", "00100010": "patient", "00100030": "birth",
        "00100040": "sex", "00080020": "date", "00080030": "time", "00080050": "accession",
        "00081030": "description", "00080090": "referring", "00200010": "study_id",
        rows.SERIES_OF_STUDY: "n_series", rows.INSTANCES_OF_STUDY: "n_instances",
    }),
    **_table(Level.SERIES, "e", {
        rows.SERIES_INSTANCE: "uid", rows.MODALITY: "modality", "0008103E": "description", "00080021": "date",
        "00080031": "time", "00180015": "body_part", "00400244": "pps_date", "00400245": "pps_time",
        rows.INSTANCES_OF_SERIES: "n_instances",
    }),
    **_table(Level.INSTANCE, "i", {
        rows.SOP_INSTANCE: "uid", rows.SOP_CLASS: "sop_class", rows.AVAILABLE_TRANSFER_SYNTAX: "syntax",
        "00280008": "frames",
    }),
    "00200011": Column(Level.SERIES, "e.number", NO_NUMBER),
    rows.INSTANCE_NUMBER: Column(Level.INSTANCE, "i.number", NO_NUMBER),
    "00280010": Column(Level.INSTANCE, "i.rows", 0),
    "00280011": Column(Level.INSTANCE, "i.columns", 0),
    "00280100": Column(Level.INSTANCE, "i.bits", 0),
}  # fmt: skip

_OF_STUDY = {
    rows.MODALITIES_IN_STUDY: ("SELECT 1 FROM series m WHERE m.study = s.id AND {}", "m.modality"),
    rows.SOP_CLASSES_IN_STUDY: (
        "SELECT 1 FROM instance c JOIN series m ON m.id = c.series WHERE m.study = s.id AND {}", "c.sop_class"),
}  # fmt: skip
_SENT = (
    f"(CASE WHEN i.syntax IN ('{syntaxes.IMPLICIT_LITTLE}', '{syntaxes.EXPLICIT_BIG}')"
    f" THEN '{syntaxes.EXPLICIT_LITTLE}' ELSE i.syntax END)"
)
FROM = {
    Level.STUDY: "study s",
    Level.SERIES: "series e JOIN study s ON s.id = e.study",
    Level.INSTANCE: "instance i JOIN series e ON e.id = i.series JOIN study s ON s.id = e.study",
}
ID = {Level.STUDY: "s.id", Level.SERIES: "e.id", Level.INSTANCE: "i.id"}
_DEEPER = {
    (Level.STUDY, Level.SERIES): "SELECT 1 FROM series e WHERE e.study = s.id",
    (Level.STUDY, Level.INSTANCE):
        "SELECT 1 FROM series e JOIN instance i ON i.series = e.id WHERE e.study = s.id",
    (Level.SERIES, Level.INSTANCE): "SELECT 1 FROM instance i WHERE i.series = e.id",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Statement:
    """``source`` and ``order`` are SQL behind FROM and ORDER BY at ``level``: that of the query, or the deepest one of
    the keys in ``rest``, which the database cannot match.
    """

    level: Level
    source: str
    order: str
    arguments: tuple[Any, ...]
    rest: tuple[Key, ...]


def scope_of(query: Query) -> Level | None:
    """The deepest level above that of the query which is fixed, by the path or by a key."""
    keys = {key.path for key in query.keys if isinstance(key.matcher, OneOf)}
    if query.level == Level.INSTANCE and (query.series is not None or (rows.SERIES_INSTANCE,) in keys):
        return Level.SERIES
    if query.level >= Level.SERIES and (query.study is not None or (rows.STUDY_INSTANCE,) in keys):
        return Level.STUDY
    return None


def build(query: Query, reader: Reader) -> Statement:
    """Translate. ``reader`` knows how its database writes lists."""
    rest = tuple(key for key in query.keys if not _has_column(key))
    level = max([query.level, *(key.level for key in rest)])
    writer = _Conditions(reader)
    here, below = list[str](), list[Key]()
    for column, uid in (("s.uid", query.study), ("e.uid", query.series)):
        if uid is not None:
            here.append(writer.add(f"{column} = ?", _clean(uid)))
    for key in query.keys:
        if key in rest:
            continue
        if key.path[0] not in _OF_STUDY and COLUMNS[key.path[0]].level > level:
            below.append(key)
        else:
            here.append(writer.key(key))
    if below:
        deepest = max(COLUMNS[key.path[0]].level for key in below)
        conditions = "".join(f" AND {writer.key(key)}" for key in below)
        here.append(f"EXISTS ({_DEEPER[level, deepest]}{conditions})")
    where = f" WHERE {' AND '.join(here)}" if here else ""
    return Statement(level, FROM[level] + where, _order(query, level), tuple(writer.arguments), rest)


def _order(query: Query, level: Level) -> str:
    """Studies: newest first. Below: by number inside of a parent, else in order of arrival."""
    scope = scope_of(query)
    steps = {
        Level.STUDY: ["s.date DESC", "s.time DESC", "s.id DESC"],
        Level.SERIES: ["e.number", "e.id"] if scope is not None else ["e.id"],
        Level.INSTANCE: ["i.number", "i.id"] if scope == Level.SERIES
        else ["e.number", "e.id", "i.number", "i.id"] if scope == Level.STUDY else ["i.id"],
    }  # fmt: skip
    order = steps[query.level]
    return ", ".join([*order, *(ID[each] for each in Level if query.level < each <= level)])


def _has_column(key: Key) -> bool:
    return len(key.path) == 1 and (key.path[0] in COLUMNS or key.path[0] in _OF_STUDY)


class _Conditions:
    """Conditions and their arguments, in the order in which they are written."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.arguments = list[Any]()

    def add(self, condition: str, *arguments: Any) -> str:
        """A condition with its arguments."""
        self.arguments += arguments
        return condition

    def key(self, key: Key) -> str:
        """The condition of a key whose attribute has a column."""
        tag = key.path[0]
        if tag in _OF_STUDY:
            around, name = _OF_STUDY[tag]
            return f"EXISTS ({around.format(self._match(Column(Level.STUDY, name), key.matcher))})"
        column = COLUMNS[tag]
        if tag == rows.AVAILABLE_TRANSFER_SYNTAX:
            column = Column(column.level, _SENT)
        if key.time is not None:
            time = COLUMNS[key.time].name if key.time in COLUMNS else "''"
            moment = f"(CASE WHEN {column.name} = '' THEN '' ELSE {column.name} || {time} END)"
            return self._match(Column(column.level, moment), key.matcher)
        return self._match(column, key.matcher)

    def _match(self, column: Column, matcher: Matcher) -> str:
        match matcher:
            case Text():
                return self._any(self._pattern(column.name, pattern) for pattern in matcher.patterns)
            case OneOf():
                return self.add(self._reader.one_of(column.name), self._reader.listed(map(_clean, matcher.values)))
            case Number():
                wanted = [int(value) for value in matcher.values if value.is_integer() and abs(value) < 1 << 53]
                return self.add(self._reader.one_of(column.name), self._reader.listed(wanted)) if wanted else _FALSE
            case Range():
                return self._any(self._span(column.name, *span) for span in matcher.spans)
            case Name():
                return self._any(self._name(column.name, groups) for groups in matcher.groups)
            case FuzzyName():
                return self._any(
                    self._all(self._pattern(f"{column.name}_words", within(word)) for word in words)
                    for words in matcher.words
                )
            case Empty():
                names = [f"{column.name}_{group}" for group in "aip"] if _is_name(column) else [column.name]
                return self._all(self.add(f"{name} = ?", column.none) for name in names)
            case AnyOf():
                return self._any(self._match(column, each) for each in matcher.matchers)
            case _:
                return _FALSE

    def _pattern(self, column: str, pattern: Pattern) -> str:
        literal = pattern.literal
        if literal is not None:
            return self.add(f"{column} = ?", _clean(literal))
        like = self.add(rf"{column} LIKE ? ESCAPE '\'", _clean(pattern.like))
        start = "" if 0 in pattern.wild else pattern.parts[0]
        return (
            f"({like}{self.add(f' AND {column} >= ? AND {column} < ?', _clean(start), _clean(start) + _LAST)})"
            if start
            else like
        )

    def _span(self, column: str, low: str, high: str) -> str:
        lower = self.add(f"{column} >= ?", low) if low else f"{column} > ''"
        return f"({lower}{self.add(f' AND {column} <= ?', high) if high else ''})"

    def _name(self, column: str, groups: tuple[Pattern, ...]) -> str:
        columns = [f"{column}_{group}" for group in "aip"]
        if len(groups) == 1:
            return self._any(f"({self._pattern(each, groups[0])} AND {each} <> '')" for each in columns)
        return self._all(
            self._pattern(each, pattern) for each, pattern in zip(columns, groups, strict=False) if pattern.parts
        )

    def _any(self, conditions: Iterable[str]) -> str:
        return f"({' OR '.join(conditions) or _FALSE})"

    def _all(self, conditions: Iterable[str]) -> str:
        return f"({' AND '.join(conditions) or '1 = 1'})"


def _is_name(column: Column) -> bool:
    return column.name in {"s.patient", "s.referring"}


def _clean(text: str) -> str:
    """PostgreSQL takes no NUL, and no text of ours holds one."""
    return text.replace("\0", "\ufffd")
