"""The data dictionary (PS3.6 §6): tag, VR, keyword; over the tables of pydicom, which are read at the first use.

A tag is ``group << 16 | element``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

UNKNOWN = "UN"
_HEX = re.compile(r"\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?")


def vr(tag: int) -> str:
    """The value representation of a tag, "UN" when nobody knows. Of several ("US or SS") all, as PS3.6 lists them."""
    found = _entries().get(tag)
    if found is not None:
        return found[0]
    element = tag & 0xFFFF
    if element == 0:
        return "UL"
    if is_private(tag):
        return "LO" if 0x10 <= element <= 0xFF else UNKNOWN
    repeating = _repeating(tag)
    return repeating[0] if repeating else UNKNOWN


def keyword(tag: int) -> str:
    """The keyword of a tag ("PatientName"), "" for private and unknown ones."""
    found = _entries().get(tag) or _repeating(tag)
    return found[4] if found else ""


def name(tag: int) -> str:
    """The name of a tag ("Patient's Name"), "" for private and unknown ones."""
    found = _entries().get(tag) or _repeating(tag)
    return found[2] if found else ""


def tag(text: str) -> int | None:
    """The tag of a keyword ("PatientName", exactly so) or of eight digits in any case ("00100010"); None for neither.

    Digits may be any tag, in the dictionary or not (PS3.18 §8.3.4.1: an attribute is given as keyword or as digits).
    """
    found = _keywords().get(text)
    if found is None and (digits := _HEX.fullmatch(text)):
        return int(digits[1] + digits[2], 16)
    return found


def digits(tag: int) -> str:
    """Eight upper-case hexadecimal digits: how DICOM JSON writes a tag (PS3.18 §F.2.2)."""
    return f"{tag:08X}"


def is_private(tag: int) -> bool:
    """Whether the group of a tag is odd (PS3.5 §7.8)."""
    return bool(tag & 0x10000)


_Entry = tuple[str, str, str, str, str]
"""VR, VM, name, "Retired" or "", keyword."""


@lru_cache(maxsize=1)
def _entries() -> Mapping[int, _Entry]:
    from pydicom._dicom_dict import DicomDictionary

    return DicomDictionary


def names() -> dict[str, str]:
    """Names of all tags that are not repeated, by their eight digits."""
    return {digits(tag): entry[2] for tag, entry in _entries().items() if entry[2]}


@lru_cache(maxsize=1)
def plain() -> Mapping[int, str]:
    """VR of the tags that a reader of implicit VR meets most: one VR, no sequence, no pixel data."""
    return {
        tag: entry[0]
        for tag, entry in _entries().items()
        if len(entry[0]) == 2 and entry[0] != "SQ" and tag >> 16 != 0x7FE0
    }


@lru_cache(maxsize=1)
def _keywords() -> Mapping[str, int]:
    return {entry[4]: tag for tag, entry in _entries().items() if entry[4]}


@lru_cache(maxsize=1024)
def _repeating(tag: int) -> _Entry | None:
    """Groups 50xx and 60xx and the few others with an x (PS3.5 §7.6)."""
    if tag & 0x10000:
        return None
    from pydicom._dicom_dict import RepeatersDictionary
    from pydicom.datadict import mask_match

    mask = mask_match(tag)
    return None if mask is None else RepeatersDictionary[mask]
