"""Does an attribute match a key? PS3.4 §C.2.2.2, over values of the DICOM JSON model.

The index translates the same matchers to SQL where an attribute has a column; ``normal_*`` make what stands there.
"""

from __future__ import annotations

import math
import re
import unicodedata
from calendar import monthrange
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Protocol, cast

ANY_RUN, ANY_ONE = "*", "?"
_MARKS = re.compile("[\u0300-\u036f]+")
# Letters with a stroke and ligatures: no decomposition of Unicode takes their mark away.
_STROKES = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ŧ": "t", "\u0131": "i", "æ": "ae", "œ": "oe",
                          "þ": "th", "ð": "d"})  # fmt: skip
_SPACES = re.compile(r"\s+")
_WORD_ENDS = re.compile(r"[\s^=,.;-]+")
_PLAIN = str.maketrans("", "", "-:T")
_PLAIN_DATE = str.maketrans("", "", ".-")
_DATE = re.compile(r"\d{4}(\d\d){0,2}")
_TIME = re.compile(r"(\d\d)(\d\d)?(\d\d)?(?:\.(\d{1,6}))?")
_DATE_TIME = re.compile(r"(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:\.(\d{1,6}))?(?:([+-])(\d\d)(\d\d))?")


class Matcher(Protocol):
    """Decides on the values of one element of the JSON model."""

    def matches(self, values: Sequence[Any]) -> bool:
        """Whether any of the values matches; ``values`` is empty where the attribute has none."""
        ...


@dataclass(frozen=True)
class Pattern:
    """Text with ``*`` and ``?`` (§C.2.2.2.4), in the parts it is made of; a part that is a wildcard is in ``wild``."""

    parts: tuple[str, ...]
    wild: frozenset[int] = frozenset()

    @classmethod
    def parse(cls, text: str, *, wildcards: bool = True) -> Pattern:
        """Split at wildcards, where they have a meaning."""
        if not wildcards:
            return cls((text,))
        parts = tuple(part for part in re.split(r"([*?])", text) if part)
        return cls(parts, frozenset(i for i, part in enumerate(parts) if part in {ANY_RUN, ANY_ONE}))

    def map(self, change: Callable[[str], str]) -> Pattern:
        """The same pattern with its literal parts changed."""
        return Pattern(tuple(p if i in self.wild else change(p) for i, p in enumerate(self.parts)), self.wild)

    @property
    def literal(self) -> str | None:
        """The text itself, when it has no wildcards."""
        return None if self.wild else "".join(self.parts)

    @property
    def like(self) -> str:
        """For SQL LIKE with a backslash as escape character."""
        wild = {ANY_RUN: "%", ANY_ONE: "_"}
        return "".join(
            wild[part] if i in self.wild else re.sub(r"([\\%_])", r"\\\1", part) for i, part in enumerate(self.parts)
        )

    @cached_property
    def expression(self) -> re.Pattern[str]:
        """For Python. What follows a ``*`` is looked for once (an atomic group), so that matching cannot backtrack."""
        pieces, fixed, starred = list[str](), "", False
        for i, part in enumerate(self.parts):
            if i in self.wild and part == ANY_RUN:
                pieces.append(f"(?>.*?{fixed})" if starred and fixed else fixed)
                fixed, starred = "", True
            else:
                fixed += "." if i in self.wild else re.escape(part)
        pieces.append(f".*{fixed}" if starred else fixed)
        return re.compile("".join(pieces), re.DOTALL)

    def fits(self, text: str) -> bool:
        """Whether the whole text is of this form."""
        literal = self.literal
        return text == literal if literal is not None else self.expression.fullmatch(text) is not None


@dataclass(frozen=True)
class Text:
    """Single value and wildcard matching of text, case-sensitive; several patterns: any of them."""

    patterns: tuple[Pattern, ...]

    def matches(self, values: Sequence[Any]) -> bool:
        """See Matcher."""
        return any(pattern.fits(normal_text(value)) for value in values for pattern in self.patterns)


@dataclass(frozen=True)
class OneOf:
    """List of UID matching (§C.2.2.2.2)."""

    values: tuple[str, ...]

    def matches(self, values: Sequence[Any]) -> bool:
        """See Matcher."""
        return any(value in self.values for value in values)


@dataclass(frozen=True)
class Number:
    """Numbers, whatever they are written like."""

    values: tuple[float, ...]

    def matches(self, values: Sequence[Any]) -> bool:
        """See Matcher."""
        return any(number(value) in self.values for value in values)


@dataclass(frozen=True)
class Range:
    """Range matching (§C.2.2.2.5): inclusive bounds in the normal form of ``kind`` (DA, TM, DT); "" is open."""

    kind: str
    spans: tuple[tuple[str, str], ...]

    def matches(self, values: Sequence[Any]) -> bool:
        """See Matcher."""
        return any(self.holds(normal_moment(self.kind, value)) for value in values)

    def holds(self, moment: str) -> bool:
        """Whether a moment in normal form lies in a span."""
        return moment != "" and any(low <= moment and (not high or moment <= high) for low, high in self.spans)


@dataclass(frozen=True)
class Name:
    """Person names, whatever case and accents (§C.2.2.2.1). ``groups``: alphabetic, ideographic, phonetic patterns.

    One group alone is looked for in all three; of several every one that is not empty must match its own.
    """

    groups: tuple[tuple[Pattern, ...], ...]

    def matches(self, values: Sequence[Any]) -> bool:
        """See Matcher."""
        return any(self._fits(normal_names(value)) for value in values)

    def _fits(self, forms: tuple[str, str, str]) -> bool:
        return any(
            any(form and asked[0].fits(form) for form in forms)
            if len(asked) == 1
            else all(pattern.fits(form) for pattern, form in zip(asked, forms, strict=False) if pattern.parts)
            for asked in self.groups
        )


@dataclass(frozen=True)
class FuzzyName:
    """Fuzzy matching of person names: every word asked for begins a word of the name, in any order and group."""

    words: tuple[tuple[Pattern, ...], ...]

    def matches(self, values: Sequence[Any]) -> bool:
        """See Matcher."""
        return any(self._fits(name_words(value)) for value in values)

    def _fits(self, words: str) -> bool:
        return any(all(within(word).fits(words) for word in asked) for asked in self.words)


@dataclass(frozen=True)
class Empty:
    """Empty value matching (§C.2.2.2.8), asked for with ``""``."""

    def matches(self, values: Sequence[Any]) -> bool:
        """See Matcher."""
        return not any(value not in (None, "", {}) for value in values)


@dataclass(frozen=True)
class AnyOf:
    """At least one of several matchers."""

    matchers: tuple[Matcher, ...] = field(default=())

    def matches(self, values: Sequence[Any]) -> bool:
        """See Matcher."""
        return any(matcher.matches(values) for matcher in self.matchers)


def within(word: Pattern) -> Pattern:
    """A word of a fuzzy name as a pattern over ``name_words``."""
    parts = (ANY_RUN, " ", *word.parts, ANY_RUN)
    return Pattern(parts, frozenset({0, len(parts) - 1, *(i + 2 for i in word.wild)}))


def normal_text(value: object) -> str:
    """Text as it is compared: without padding."""
    if isinstance(value, dict):
        return "=".join(cast("Mapping[str, str]", value).values())
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(value).replace("\0", "").strip(" ")


def fold(text: str) -> str:
    """Without case, accents of Latin, Greek and Cyrillic letters, and differences of width."""
    plain = _MARKS.sub("", unicodedata.normalize("NFKD", text.replace("\0", "")).casefold())
    return unicodedata.normalize("NFC", plain.translate(_STROKES))


def fold_name(text: str) -> str:
    """One group of a name: folded, single spaces, none around ``^``."""
    return re.sub(r" *\^ *", "^", _SPACES.sub(" ", fold(text)))


def normal_names(value: object) -> tuple[str, str, str]:
    """The three groups of a name as they are compared; "" where there is none. Empty components at the end fall."""
    if isinstance(value, dict):
        groups = cast("Mapping[str, str]", value)
        parts = [groups.get(name) or "" for name in ("Alphabetic", "Ideographic", "Phonetic")]
    else:
        parts = ["" if value is None else part for part in f"{value}===".split("=")[:3]]
    forms = [fold_name(part).strip(" ").rstrip("^ ") for part in parts]
    return forms[0], forms[1], forms[2]


def name_words(value: object) -> str:
    """All words of a name, folded, each with a space before it and one at the end: for fuzzy matching."""
    words = [word for form in normal_names(value) for word in _WORD_ENDS.split(form) if word]
    return f" {' '.join(words)} " if words else ""


def words_of(text: str) -> tuple[str, ...]:
    """The words of what was asked for, folded."""
    return tuple(word for word in _WORD_ENDS.split(fold(text)) if word)


def number(value: object) -> float:
    """A number, NaN (equal to nothing) where there is none."""
    try:
        return float(cast("str", value))
    except (TypeError, ValueError, OverflowError):
        return math.nan


def normal_moment(kind: str, value: object) -> str:
    """A stored DA, TM or DT in normal form; "" when it is none. Missing parts are their smallest value."""
    found = span_of(kind, normal_text(value))
    return found[0] if found else ""


def span_of(kind: str, text: str) -> tuple[str, str] | None:
    """First and last moment a DA, TM or DT of partial precision stands for, in normal form; None when it is none.

    Normal forms: YYYYMMDD, HHMMSS.FFFFFF and YYYYMMDDHHMMSS.FFFFFF, which sort as text. Offsets from UTC are applied;
    what has none stays as it is. The dots and colons of ACR-NEMA are tolerated (PS3.5 §6.2, notes to DA and TM).
    """
    if kind == "DA":
        text = text.translate(_PLAIN_DATE) if len(text) == 10 else text
        return (text.ljust(6, "0").ljust(8, "0"), text.ljust(8, "9")) if _DATE.fullmatch(text) else None
    if kind == "TM":
        if not (found := _TIME.fullmatch(text.replace(":", ""))):
            return None
        given = "".join(part or "" for part in found.groups()[:3])
        return _spread(given, found[4], "000000", "235959")
    if not (found := _DATE_TIME.fullmatch(text)):
        return None
    given = "".join(part or "" for part in found.groups()[:6])
    low, high = _spread(given, found[7], "00000101000000", "99991231235959")
    if not found[8]:
        return low, high
    minutes = (int(found[9]) * 60 + int(found[10])) * (-1 if found[8] == "+" else 1)
    try:
        return _shifted(low, minutes), _shifted(high, minutes)
    except (ValueError, OverflowError):
        return None


def _spread(given: str, fraction: str | None, smallest: str, largest: str) -> tuple[str, str]:
    fine = fraction or ""
    return (
        f"{given}{smallest[len(given) :]}.{fine.ljust(6, '0')}",
        f"{given}{largest[len(given) :]}.{fine.ljust(6, '9')}",
    )


def _shifted(moment: str, minutes: int) -> str:
    """A DT in normal form, moved by minutes. Raises ValueError for a day no calendar has."""
    year, month, day = int(moment[:4]), int(moment[4:6]), int(moment[6:8])
    when = datetime(
        year, month, min(day, monthrange(year, month)[1]), int(moment[8:10]), int(moment[10:12]), int(moment[12:14])
    ) + timedelta(minutes=minutes)  # fmt: skip
    return f"{when.isoformat().translate(_PLAIN)}{moment[14:]}"
