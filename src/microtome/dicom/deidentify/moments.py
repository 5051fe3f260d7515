"""Dates and times (PS3.5 §6.2: DA, TM, DT) moved into the past. What cannot be read becomes empty: it might tell."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

_DATE = re.compile(r"(\d{4})([.-]?)(\d\d)\2(\d\d)")
_TIME = re.compile(r"(\d\d)(?::?(\d\d)(?::?(\d\d))?)?(\.\d{1,6})?")
_DATE_TIME = re.compile(r"(\d{4,14})(\.\d{1,6})?(?:[+-]\d{4})?")
_FORMS = {4: "%Y", 6: "%Y%m", 8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


def date(text: str, by: timedelta) -> str:
    """A date that has no time beside it, by whole days."""
    found = _read_date(text)
    return _written(found, "%Y%m%d", timedelta(days=by.days)) if found else ""


def time(text: str, by: timedelta) -> str:
    """A time that has no date beside it, on the clock."""
    return _pair(datetime(2000, 1, 2), text, by)[1]


def pair(day: str, clock: str, by: timedelta) -> tuple[str, str]:
    """A date and the time that belongs to it, as one moment; the time keeps its precision."""
    found = _read_date(day)
    if found is None:
        return "", time(clock, by)
    return _pair(found, clock, by)


def date_time(text: str, by: timedelta) -> str:
    """A DT of any precision; its offset from UTC is dropped."""
    found = _DATE_TIME.fullmatch(text.strip(" \0"))
    form = _FORMS.get(len(found[1])) if found else None
    if found is None or form is None or (found[2] and len(found[1]) != 14):
        return ""
    try:
        moment = datetime.strptime(found[1], form)
    except ValueError:
        return ""
    exact = by if len(found[1]) > 8 else timedelta(days=by.days)
    moved = _written(moment, form, exact)
    return moved + (found[2] or "") if moved else ""


def _pair(day: datetime, clock: str, by: timedelta) -> tuple[str, str]:
    found = _TIME.fullmatch(clock.strip(" \0"))
    parts = [int(part or 0) for part in found.groups()[:3]] if found else []
    if found is None or parts[0] > 23 or parts[1] > 59 or parts[2] > 60:
        return _written(day, "%Y%m%d", timedelta(days=by.days)), ""
    moment = day + timedelta(hours=parts[0], minutes=parts[1], seconds=min(parts[2], 59))
    digits = 2 * sum(part is not None for part in found.groups()[:3])
    moved = _written(moment, "%Y%m%d%H%M%S", by)
    return moved[:8], moved[8 : 8 + digits] + (found[4] or "") if moved else ""


def _read_date(text: str) -> datetime | None:
    found = _DATE.fullmatch(text.strip(" \0"))
    try:
        return datetime(int(found[1]), int(found[3]), int(found[4])) if found else None
    except ValueError:
        return None


def _written(moment: datetime, form: str, by: timedelta) -> str:
    try:
        moved = moment - by
    except OverflowError:
        return ""
    return f"{moved.year:04d}" + moved.strftime(form[2:])
