"""The parameters of a search transaction (QIDO-RS, PS3.18 §8.3.4) as a ``Query``.

What cannot be searched for is left out and told in ``Query.warnings``, ready for a Warning header (RFC 7234 §5.5,
code 299); what contradicts the syntax raises InvalidRequest.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from microtome.dicom import dictionary, matching
from microtome.dicom.matching import Empty, FuzzyName, Matcher, Name, Number, OneOf, Pattern, Range, Text
from microtome.dicom.rows import MODALITIES_IN_STUDY, SOP_CLASSES_IN_STUDY, Level, level_of
from microtome.errors import InvalidRequest, LimitExceeded

MAX_RESULTS = 10_000
MAX_VALUE = 16 * 1024
"""Characters of a value; more is refused."""
MAX_KEYS = 200
MAX_VALUES = 5_000
MAX_PATH = 8

_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")
_OFFSET = r"(?:[+-](?:0\d|1[0-4])[0-5]\d)"
_MOMENT = {
    "DA": r"\d{4}(?:\.\d\d\.\d\d|-\d\d-\d\d|\d{0,4})",
    "TM": r"\d\d(?::?\d\d){0,2}(?:\.\d{1,6})?",
    "DT": rf"\d{{4,14}}(?:\.\d{{1,6}})?{_OFFSET}?",
}
_RANGE = {kind: re.compile(rf"({form})?-({form})?") for kind, form in _MOMENT.items()}
_WILD = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
_NUMBERS = frozenset({"IS", "DS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD"})
_WHOLE_TEXT = frozenset({"LT", "ST", "UT", "UR"})
_COMBINED = {"00080020": "00080030", "00080021": "00080031", "00080023": "00080033", "00400244": "00400245"}
"""Dates and the times that complete them (combined matching, PS3.4 §C.2.2.2.5)."""

Path = tuple[str, ...]
"""Tags from the data set down into the items of sequences."""


@dataclass(frozen=True, slots=True)
class Key:
    """An attribute and what it must match. ``time`` names the attribute that completes a date, for combined ranges."""

    path: Path
    vr: str
    matcher: Matcher
    time: str | None = None

    @property
    def level(self) -> Level:
        """The level the attribute belongs to."""
        return level_of(self.path[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A search. ``study`` and ``series`` are UIDs of the path; ``include``: what is returned beside the defaults."""

    level: Level
    study: str | None = None
    series: str | None = None
    keys: tuple[Key, ...] = ()
    include: tuple[Path, ...] = ()
    include_all: bool = False
    limit: int = MAX_RESULTS
    offset: int = 0
    warnings: tuple[str, ...] = ()


def parse(
    level: Level,
    parameters: Iterable[tuple[str, str]],
    *,
    study: str | None = None,
    series: str | None = None,
    maximum: int = MAX_RESULTS,
    ignored: Collection[str] = ("accept", "charset"),
) -> Query:
    """``parameters``: names and values, percent-decoded once, in order. ``ignored`` names mean something elsewhere.

    Raises InvalidRequest for malformed limit, offset and flags, and LimitExceeded for enormous requests.
    """
    given: dict[str, list[str]] = {}
    for name, value in parameters:
        if len(value) > MAX_VALUE:
            raise LimitExceeded(f"The value of {name[:64]} is too long", limit="query value", value=len(value))
        given.setdefault(name, []).append(value)
    if len(given) > MAX_KEYS:
        raise LimitExceeded(f"At most {MAX_KEYS} parameters", limit="query parameters", value=len(given))
    flags = {
        name: _flag(name, given.pop(name, ()))
        for name in ("fuzzymatching", "emptyvaluematching", "multiplevaluematching")
    }
    limit, offset = _count("limit", given.pop("limit", ())), _count("offset", given.pop("offset", ()))
    warnings = list[str]()
    include, include_all = _include(given.pop("includefield", ()), warnings)
    asked = dict[tuple[Path, str], list[str]]()
    for name, values in given.items():
        if name in ignored:
            continue
        if found := _attribute(name):
            asked.setdefault(found, []).extend(values)
        else:
            warnings.append(f"The attribute {_shown(name)} is unknown and was ignored.")
    keys = list[Key]()
    for (path, vr), values in asked.items():
        include.append(path)
        if key := _key(path, vr, values, flags, warnings):
            keys.append(key)
    return Query(
        level=level, study=study, series=series, keys=_combined(keys), include=tuple(dict.fromkeys(include)),
        include_all=include_all, limit=maximum if limit is None else min(limit, maximum), offset=offset or 0,
        warnings=tuple(warnings),
    )  # fmt: skip


def _flag(name: str, values: Collection[str]) -> bool:
    text = {value.lower() for value in values}
    if not text <= {"true", "false"} or len(text) > 1:
        raise InvalidRequest(f"{name} is true or false", parameter=name)
    return text == {"true"}


def _count(name: str, values: Collection[str]) -> int | None:
    if not values:
        return None
    value = next(iter(values))
    if len(values) > 1 or not _WHOLE_NUMBER.fullmatch(value):
        raise InvalidRequest(f"{name} is one whole number, 0 or more", parameter=name)
    return int(value)


def _include(values: Iterable[str], warnings: list[str]) -> tuple[list[Path], bool]:
    include, everything = list[Path](), False
    for name in (part.strip() for value in values for part in value.split(",")):
        if name == "all":
            everything = True
        elif name:
            if found := _attribute(name):
                include.append(found[0])
            else:
                warnings.append(f"The attribute {_shown(name)} in includefield is unknown and was ignored.")
        if len(include) > MAX_VALUES:
            raise LimitExceeded(f"At most {MAX_VALUES} attributes", limit="includefield")
    return include, everything


def _attribute(name: str) -> tuple[Path, str] | None:
    """Tags and VR of ``00400275.ScheduledProcedureStepID`` and its like. Keywords are exact, tags of any case."""
    path, vr = list[str](), ""
    parts = name.split(".")
    if len(parts) > MAX_PATH:
        return None
    for i, part in enumerate(parts):
        found = _element(part)
        if found is None or (i + 1 < len(parts) and found[1] not in {"SQ", "UN"}):
            return None
        path.append(found[0])
        vr = found[1]
    return tuple(path), vr


def _element(name: str) -> tuple[str, str] | None:
    """Tag and VR of one attribute; private ones have the VR UN here, files tell better."""
    tag = int(name, 16) if _TAG.fullmatch(name) else dictionary.tag(name) if name.isalnum() else None
    if tag is None or tag & 0xFFFF == 0 or tag >> 16 < 8:
        return None
    vr = dictionary.vr(tag)[:2]
    return None if vr == dictionary.UNKNOWN and not dictionary.is_private(tag) else (dictionary.digits(tag), vr)


def _key(path: Path, vr: str, given: list[str], flags: dict[str, bool], warnings: list[str]) -> Key | None:
    """The key, or None when everything matches it or nothing can be said."""
    if path == ("00080005",):
        return None
    if vr in {"SQ", "OB", "OD", "OF", "OL", "OV", "OW"}:
        if any(given):
            warnings.append(f"The attribute {'.'.join(path)} has no value that could be matched and was ignored.")
        return None
    values = [part for value in given for part in _split(path, vr, value)]
    if len(values) > MAX_VALUES:
        raise LimitExceeded(f"At most {MAX_VALUES} values of an attribute", limit="query values", value=len(values))
    if flags["emptyvaluematching"] and '""' in values:
        others = [value for value in values if value != '""']
        matcher = _matcher(vr, others, fuzzy=flags["fuzzymatching"]) if any(others) else None
        return Key(path, vr, matching.AnyOf((Empty(), matcher)) if matcher else Empty())
    if any(value.strip("*") == "" and (not value or vr in _WILD | {"UN"}) for value in values):
        return None
    matcher = _matcher(vr, values, fuzzy=flags["fuzzymatching"])
    if matcher is None:
        raise InvalidRequest(f"{'.'.join(path)} cannot match {_shown(given[0])}", parameter=".".join(path))
    return Key(path, vr, matcher)


def _split(path: Path, vr: str, value: str) -> list[str]:
    """Several values in one: by backslash; of UIDs and codes, which hold no comma, also by comma."""
    if vr in _WHOLE_TEXT:
        return [value]
    separators = r"[\\,]" if vr in {"UI", "CS"} or path in {(MODALITIES_IN_STUDY,), (SOP_CLASSES_IN_STUDY,)} else r"\\"
    parts = [part.strip(" ") for part in re.split(separators, value)]
    return [part for part in parts if part] or [""]


def _matcher(vr: str, values: list[str], *, fuzzy: bool) -> Matcher | None:
    values = [value for value in values if value]
    if vr == "UI":
        return OneOf(tuple(values))
    if vr in _MOMENT:
        spans = [_span(vr, value) for value in values]
        return None if None in spans else Range(vr, tuple(span for span in spans if span))
    if vr in _NUMBERS:
        numbers = tuple(matching.number(value) for value in values)
        return None if any(each != each for each in numbers) else Number(numbers)
    if vr == "PN":
        if fuzzy:
            words = tuple(matching.words_of(value) for value in values)
            return FuzzyName(tuple(tuple(map(Pattern.parse, each)) for each in words))
        return Name(tuple(tuple(map(_name_pattern, value.split("=")[:3])) for value in values))
    return Text(tuple(Pattern.parse(value, wildcards=vr in _WILD or vr == "UN") for value in values))


def _name_pattern(group: str) -> Pattern:
    if not re.search(r"[*?]", group):
        group = group.rstrip("^ ")
    pattern = Pattern.parse(group.strip(" "))
    return pattern.map(matching.fold_name)


def _span(kind: str, value: str) -> tuple[str, str] | None:
    """First and last moment of a value or range; "" is open. None when it is neither."""
    value = re.sub(r" (\d{4})(?=$|-)", r"+\1", value) if kind == "DT" else value.replace(" ", "")
    if re.fullmatch(_MOMENT[kind], value):
        return matching.span_of(kind, value)
    found = _RANGE[kind].fullmatch(value)
    if not found or not any(found.groups()):
        return None
    low = matching.span_of(kind, found[1]) if found[1] else ("", "")
    high = matching.span_of(kind, found[2]) if found[2] else ("", "")
    return (low[0], high[1]) if low and high else None


def _combined(keys: list[Key]) -> tuple[Key, ...]:
    """A range of dates with a range of times is one range of moments, not two of which each must hold."""
    by_path = {key.path: key for key in keys}
    for date, time in _COMBINED.items():
        first, second = by_path.get((date,)), by_path.get((time,))
        if first is None or second is None:
            continue
        days, hours = first.matcher, second.matcher
        if isinstance(days, Range) and isinstance(hours, Range) and len(days.spans) == len(hours.spans) == 1:
            (low, high), (early, late) = days.spans[0], hours.spans[0]
            if low == high:
                continue
            span = (
                low + (early or "000000.000000") if low else "",
                high + (late or "235959.999999") if high else "",
            )
            del by_path[time,]
            by_path[date,] = Key((date,), "DT", Range("DT", (span,)), time)
    return tuple(by_path.values())


def _shown(text: str) -> str:
    """What a client wrote, fit for a header and a message."""
    plain = re.sub(r"[^\x20-\x7e]|[\"\\]", "?", text)
    return plain if len(plain) <= 64 else f"{plain[:61]}..."
