"""Data sets out of the DICOM JSON model (PS3.18 Annex F), as a client sends them: nothing in it is trusted."""

from __future__ import annotations

import struct
from base64 import b64decode
from binascii import Error as BinasciiError
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Final, cast

from microtome.dicom import dictionary
from microtome.dicom.build import UTF8, decimal
from microtome.dicom.charset import decoder
from microtome.dicom.dataset import SPECIFIC_CHARACTER_SET, Dataset, Element
from microtome.dicom.encoding import DEPTH
from microtome.dicom.scanner import ELEMENTS
from microtome.errors import CorruptData, LimitExceeded

_PACKED: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
_BINARY: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_TEXT: Final = frozenset("AE AS CS DA DS DT IS LO LT PN SH ST TM UC UI UR UT".split())  # noqa: SIM905 - a table
_ONE: Final = frozenset({"LT", "ST", "UT", "UR"})
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
_HEX: Final = frozenset("0123456789abcdefABCDEF")


def from_json(document: object, bulk: Mapping[str, bytes]) -> Dataset:
    """The data set of a DICOM JSON object, in UTF-8, values little-endian.

    ``bulk`` holds the values of each BulkDataURI. Group lengths and file meta information are dropped.
    Raises CorruptData for what is no DICOM JSON, with the path of the attribute; LimitExceeded when it is too deep or
    has too many attributes.
    """
    return _Reader(bulk).dataset(document, "", 0)


def finished(elements: dict[int, Element], *, top: bool) -> Dataset:
    """Elements in order; the outermost data set says that its text is UTF-8."""
    if top or SPECIFIC_CHARACTER_SET in elements:
        elements[SPECIFIC_CHARACTER_SET] = Element(SPECIFIC_CHARACTER_SET, "CS", UTF8.encode())
    return Dataset(dict(sorted(elements.items())), decoder((UTF8,)))


def encoded(vr: str, values: Sequence[object], path: str) -> bytes:
    """The bytes of values, padded to an even length (PS3.5 §6.2). Raises CorruptData for what the VR cannot hold."""
    try:
        if code := _PACKED.get(vr):
            number = _float if code in "fd" else _integer
            return b"".join(struct.pack(f"<{code}", number(each)) for each in values if each is not None)
        if vr == "AT":
            return b"".join(_tag(each) for each in values if each is not None)
        if vr in _TEXT:
            return _padded("\\".join(_string(vr, each) for each in values), vr)
    except (struct.error, ValueError, TypeError, OverflowError) as error:
        raise CorruptData(f"{path}: a value that {vr} cannot hold") from error
    raise CorruptData(f"{path}: {vr} has no Value")


class _Reader:
    def __init__(self, bulk: Mapping[str, bytes]) -> None:
        self._bulk = bulk
        self._count = 0

    def dataset(self, document: object, path: str, depth: int) -> Dataset:
        if not isinstance(document, dict):
            raise CorruptData(f"{path or 'the document'} is no JSON object")
        if depth > DEPTH:
            raise LimitExceeded(f"sequences nested more than {DEPTH} deep", limit="DEPTH", value=depth)
        elements: dict[int, Element] = {}
        for name, attribute in cast("dict[str, object]", document).items():
            self._count += 1
            if self._count > ELEMENTS:
                raise LimitExceeded(f"more than {ELEMENTS} data elements", limit="ELEMENTS", value=self._count)
            if len(name) != 8 or not _HEX.issuperset(name):
                raise CorruptData(f"{path}{name[:64]!r} is no tag")
            tag = int(name, 16)
            if tag & 0xFFFF == 0 or tag >> 16 in {0, 2}:
                continue
            if tag >> 16 >= 0xFFFE:
                raise CorruptData(f"{path}{name} is a delimiter, not an attribute")
            elements[tag] = self._element(tag, attribute, path + name, depth)
        return finished(elements, top=depth == 0)

    def _element(self, tag: int, attribute: object, path: str, depth: int) -> Element:
        if not isinstance(attribute, dict):
            raise CorruptData(f"{path} is no JSON object")
        fields = cast("dict[str, Any]", attribute)
        vr = fields.get("vr") or dictionary.vr(tag).partition(" ")[0]
        if not isinstance(vr, str) or not (vr == "SQ" or vr in _TEXT or vr in _PACKED or vr in _BINARY or vr == "AT"):
            raise CorruptData(f"{path}: unknown VR {str(vr)[:16]!r}")
        if (uri := fields.get("BulkDataURI")) is not None:
            if not isinstance(uri, str) or uri not in self._bulk:
                raise CorruptData(f"{path}: its bulk data {str(uri)[:200]!r} was not sent")
            if vr == "SQ":
                raise CorruptData(f"{path}: a sequence cannot be bulk data")
            return Element(tag, vr, even(self._bulk[uri], vr))
        if (inline := fields.get("InlineBinary")) is not None:
            # Some writers put it into an array, as if it were a Value.
            texts = cast("list[object]", inline) if isinstance(inline, list) else [inline]
            return Element(tag, vr, _inline(vr, texts[0] if len(texts) == 1 else None, path))
        values = fields.get("Value")
        if values is None:
            return Element(tag, vr, () if vr == "SQ" else b"")
        if not isinstance(values, list):
            raise CorruptData(f"{path}: its Value is no array")
        several = cast("list[object]", values)
        if vr != "SQ":
            return Element(tag, vr, encoded(vr, several, path) if several else b"")
        items = (
            self.dataset({} if item is None else item, f"{path}/{number}/", depth + 1)
            for number, item in enumerate(several, 1)
        )
        return Element(tag, vr, tuple(items))


def even(value: bytes, vr: str) -> bytes:
    """A value padded to an even length."""
    return value + (b" " if vr in _TEXT and vr != "UI" else b"\0") if len(value) & 1 else value


def _inline(vr: str, text: object, path: str) -> bytes:
    if vr not in _BINARY or not isinstance(text, str):
        raise CorruptData(f"{path}: {vr} cannot be InlineBinary")
    try:
        return even(b64decode(text, validate=True), vr)
    except (BinasciiError, ValueError) as error:
        raise CorruptData(f"{path}: its InlineBinary is no base64") from error


def _float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError
    return float(value)


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError
    if isinstance(value, str) and len(value) > 32:
        raise ValueError
    if isinstance(value, float) and not value.is_integer():
        raise ValueError
    return int(value)


def _tag(value: object) -> bytes:
    if not isinstance(value, str) or len(value) != 8 or not _HEX.issuperset(value):
        raise ValueError
    return struct.pack("<HH", int(value[:4], 16), int(value[4:], 16))


def _string(vr: str, value: object) -> str:
    if value is None:
        return ""
    if vr == "PN":
        return _name(value)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise TypeError
    if isinstance(value, str):
        if "\\" in value and vr not in _ONE:
            raise ValueError
        return value
    if vr == "IS":
        return str(_integer(value))
    if vr != "DS" or not isfinite(value):
        raise TypeError
    text = str(value) if abs(value) < 1e16 else decimal(float(value))
    return text if len(text) <= 16 else decimal(float(value))


def _name(value: object) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise TypeError
    groups = [cast("dict[str, object]", value).get(group) or "" for group in _GROUPS]
    if any(not isinstance(each, str) or "\\" in each or "=" in each for each in groups):
        raise ValueError
    return "=".join(cast("list[str]", groups)).rstrip("=")


def _padded(text: str, vr: str) -> bytes:
    return even(text.encode("utf-8", "replace"), vr)
