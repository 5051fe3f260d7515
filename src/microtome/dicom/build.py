"""Data sets made of Python values, for instances that no file holds."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import cast

from microtome.dicom.charset import decoder
from microtome.dicom.dataset import SPECIFIC_CHARACTER_SET, Dataset, Element

Value = str | float | bytes | Sequence[str] | Sequence[float] | Sequence[Dataset] | None
"""Text, numbers, bytes, items of a sequence; None and "" and () are an empty value."""

UTF8 = "ISO_IR 192"
_PACKED = {"US": "<H", "SS": "<h", "UL": "<I", "SL": "<i", "FL": "<f", "FD": "<d", "UV": "<Q", "SV": "<q"}
_PADDED_WITH_NUL = frozenset({"UI", "OB", "UN"})


def dataset(values: Mapping[str, Value]) -> Dataset:
    """Elements by keyword (PS3.6), in UTF-8. Raises KeyError for a keyword that does not exist."""
    elements = {SPECIFIC_CHARACTER_SET: Element(SPECIFIC_CHARACTER_SET, "CS", _text(UTF8, "CS"))}
    elements.update((element.tag, element) for element in _elements(values))
    return Dataset(dict(sorted(elements.items())), decoder((UTF8,)))


def item(values: Mapping[str, Value]) -> Dataset:
    """An item of a sequence: as ``dataset``, without a character set of its own."""
    found = {element.tag: element for element in _elements(values)}
    return Dataset(dict(sorted(found.items())), decoder((UTF8,)))


def code(value: str, scheme: str, meaning: str) -> tuple[Dataset]:
    """A code sequence of one item (PS3.3 §8.8)."""
    return (item({"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}),)


def decimal(number: float) -> str:
    """A decimal string of at most 16 characters (PS3.5 §6.2, DS)."""
    for digits in range(16, 0, -1):
        text = f"{number:.{digits}g}"
        if len(text) <= 16:
            return text
    return "0"


def _elements(values: Mapping[str, Value]) -> list[Element]:
    return [_element(keyword, value) for keyword, value in values.items()]


def _element(keyword: str, value: Value) -> Element:
    tag, vr = _known(keyword)
    if vr == "SQ":
        return Element(tag, vr, tuple(cast("Sequence[Dataset]", value or ())))
    if isinstance(value, bytes):
        return Element(tag, vr, value + b"\0" * (len(value) & 1))
    if value is None:
        return Element(tag, vr, b"")
    several = [value] if isinstance(value, (str, int, float)) else value
    if vr in _PACKED:
        return Element(tag, vr, b"".join(struct.pack(_PACKED[vr], each) for each in several))
    return Element(tag, vr, _text("\\".join(_string(each) for each in several), vr))


def _string(value: object) -> str:
    return decimal(value) if isinstance(value, float) else str(value)


def _text(text: str, vr: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return data + (b"\0" if vr in _PADDED_WITH_NUL else b" ") * (len(data) & 1)


@lru_cache(maxsize=2048)
def _known(keyword: str) -> tuple[int, str]:
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return int(tag), dictionary_VR(tag).partition(" ")[0]
