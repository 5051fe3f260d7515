"""What is known of a stored instance, and which attribute belongs to which level of the information model.

Levels and attributes that are returned without being asked for: PS3.18 §10.6.3.3, tables of study, series and instance
attributes; PS3.3 modules General Study, Patient, General Series, General Equipment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

Attributes = Mapping[str, Any]
"""A data set of the DICOM JSON model (PS3.18 §F.2): tag as eight upper-case hexadecimal digits -> element."""

_UID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")


SLIDE = "/slide:"
"""Keys of instances that are made of slides begin so; no key of a store begins with a slash."""


WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
"""SOP class of VL Whole Slide Microscopy images."""

INCOMING = ".incoming-"
"""Names of files begin so that are being received: they are none yet."""


class Level(IntEnum):
    """Levels of the information model (PS3.4 §C.6.2); attributes of the patient count as those of the study."""

    STUDY = 0
    SERIES = 1
    INSTANCE = 2


_FLOATING = {"OF": 0x7FE0_0008, "OD": 0x7FE0_0009}


@dataclass(frozen=True, slots=True)
class PixelPlace:
    """Where the value of a pixel data element lies: VR, offset of its first byte, length; None when encapsulated."""

    vr: str
    offset: int
    length: int | None

    @property
    def tag(self) -> int:
        """The element: floating-point samples (PS3.3 §C.7.6.24, §C.7.6.25) have one for each of their VRs."""
        return _FLOATING.get(self.vr, 0x7FE0_0010)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRow:
    """A stored instance. ``key``, ``version`` (ETag) and ``size`` in bytes are those of its object in the store.

    ``rows`` and ``columns`` in px and ``bits`` (allocated for a sample) are 0 where the instance has no pixels.
    ``frame_table`` is a packed table of the frames of encapsulated pixel data. ``header_length`` is the number of bytes
    of the file that hold everything before the pixel data.
    """

    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class: str
    transfer_syntax: str
    number: int | None
    key: str
    version: str
    size: int
    rows: int
    columns: int
    frames: int
    bits: int
    pixel: PixelPlace | None
    frame_table: bytes | None
    header_length: int


CHARACTER_SET = "00080005"
SOP_CLASS = "00080016"
SOP_INSTANCE = "00080018"
AVAILABILITY = "00080056"
MODALITY = "00080060"
MODALITIES_IN_STUDY = "00080061"
SOP_CLASSES_IN_STUDY = "00080062"
TIMEZONE = "00080201"
AVAILABLE_TRANSFER_SYNTAX = "00083002"
STUDY_INSTANCE = "0020000D"
SERIES_INSTANCE = "0020000E"
INSTANCE_NUMBER = "00200013"
SERIES_OF_STUDY = "00201206"
INSTANCES_OF_STUDY = "00201208"
INSTANCES_OF_SERIES = "00201209"

STUDY_DEFAULTS: Mapping[str, str] = {
    "00080020": "DA", "00080030": "TM", "00080050": "SH", "00080090": "PN", "00100010": "PN", "00100020": "LO",
    "00100030": "DA", "00100040": "CS", STUDY_INSTANCE: "UI", "00200010": "SH",
}  # fmt: skip
"""Returned for every study, empty where the study has no value."""
SERIES_DEFAULTS: Mapping[str, str] = {MODALITY: "CS", SERIES_INSTANCE: "UI", "00200011": "IS"}
"""Returned for every series, empty where it has no value."""
STUDY_OPTIONAL = (CHARACTER_SET, TIMEZONE)
SERIES_OPTIONAL = (CHARACTER_SET, TIMEZONE, "0008103E", "00400244", "00400245", "00400275")
"""Returned where there is a value."""

_STUDY_TAGS = """
    00080020 00080030 00080050 00080051 00080056 00080061 00080062 00080090 00080092 00080094 00080096 0008009C
    0008009D 00080201 00081030 00081032 00081048 00081049 00081060 00081062 00081080 00081084 00081110 00081120
    0020000D 00200010 00201206 00201208 00321032 00321033 00321034 00321060 00321064 00380010 00380014 00380060
    00380062 00380064 00401002 00401012 00080005
"""
_SERIES_TAGS = """
    00080021 00080031 00080060 00080070 00080080 00080081 00080082 00081010 0008103E 0008103F 00081040 00081041
    00081050 00081052 00081070 00081072 00081090 00081111 00081250 00120060 00120071 00120072 00180015 00181000
    00181002 00181020 00181030 00181200 00181201 00185100 0020000E 00200011 00200052 00200060 00201040 00201209
    00280120 00400244 00400245 00400250 00400251 00400253 00400254 00400260 00400275 00400280
"""
_STUDY = frozenset(_STUDY_TAGS.split())
_SERIES = frozenset(_SERIES_TAGS.split())


def level_of(tag: str) -> Level:
    """The level an attribute belongs to; what is not known belongs to the instance."""
    if tag in _SERIES:
        return Level.SERIES
    if tag in _STUDY or tag[:4] in {"0010", "0012"}:
        return Level.STUDY
    return Level.INSTANCE


def attributes_of(level: Level, header: Attributes) -> dict[str, Any]:
    """The attributes of a header that belong to ``level``."""
    return {tag: element for tag, element in header.items() if level_of(tag) == level}


def first(attributes: Attributes, tag: str) -> Any:
    """The first value of an element, or None."""
    values = attributes.get(tag, {}).get("Value")
    return values[0] if values else None


def text(attributes: Attributes, tag: str) -> str:
    """The values of an element as one text, "" where there are none; never with NUL, which PostgreSQL cannot hold."""
    values = attributes.get(tag, {}).get("Value") or ()
    return "\\".join("" if value is None else str(value) for value in values).replace("\0", "").strip()


def whole(attributes: Attributes, tag: str, *, bits: int = 63) -> int | None:
    """The first value as a whole number that fits into ``bits``, or None."""
    try:
        number = int(float(first(attributes, tag)))
    except (TypeError, ValueError, OverflowError):
        return None
    return number if -(1 << bits) <= number < 1 << bits else None


def is_uid(value: str) -> bool:
    """Whether ``value`` may be a UID of an instance we hold. Letters are tolerated, what URLs or files mean is not."""
    return _UID.fullmatch(value) is not None and ".." not in value
