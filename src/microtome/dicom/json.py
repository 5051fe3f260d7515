"""The DICOM JSON model (PS3.18 Annex F), both ways. What it makes, ``orjson`` and ``json`` can write.

Text becomes UTF-8, so Specific Character Set always says so. Numbers stay exact: where a JSON number would say
something else than the file, a string is written.
"""

from __future__ import annotations

import re
import struct
from base64 import b64encode
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import Any, Final

import orjson

from microtome.dicom.charset import Decoder
from microtome.dicom.dataset import SPECIFIC_CHARACTER_SET, Bulk, Dataset, Element
from microtome.dicom.fromjson import from_json
from microtome.dicom.scanner import PixelData
from microtome.dicom.sequences import Items, has_large, runs

__all__ = ["BulkUri", "from_json", "number", "person_name", "pieces", "to_json"]

BulkUri = Callable[[str], str]
"""Path of a value in its data set ("00282000", "52009229/1/00282000"; items count from 1) -> its URI."""

LARGE_SEQUENCE: Final = b'{"vr":"SQ","BulkDataURI":"'
"""How ``to_json`` tells, as bytes, of a large sequence. Nothing that is sent says so (PS3.18 §F.2.2): ``pieces`` puts
the items there.
"""
INLINE: Final = 1024
"""Bytes of binary values that are written into the document rather than given a URI of their own."""
TRAILING_PADDING: Final = 0xFFFC_FFFC
"""Says nothing (PS3.10 §7.2); nobody asks for it."""
_EXACT: Final = 1 << 53
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_SHORT: Final = 64
"""Bytes of values that are likely to be met again."""
_LONGEST_NUMBER: Final = 64
"""Characters; DS has 16. What is longer is no number anybody meant, and is not kept."""
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
_BINARY: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_UNSPLIT: Final = frozenset({"LT", "ST", "UT", "UR"})
_LEADING: Final = frozenset({"AE", "CS", "DS", "IS", "LO", "SH"})
"""Leading spaces of these mean nothing (PS3.5 §6.2)."""
_NUMERIC: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
_SIZES: Final = {vr: struct.calcsize(code) for vr, code in _NUMERIC.items()}
_UTF8: Final[dict[str, Any]] = {"vr": "CS", "Value": ["ISO_IR 192"]}


def to_json(
    dataset: Dataset,
    *,
    bulk_uri: BulkUri | None = None,
    inline_up_to: int = INLINE,
    pixels: PixelData | None = None,
    shared: bool = False,
) -> dict[str, Any]:
    """A data set as a JSON object by tag, ascending; group lengths and trailing padding are left out.

    Binary values longer than ``inline_up_to`` bytes and values that were not read become ``BulkDataURI``, large
    sequences among them. Without ``bulk_uri`` binary values are all inline, and attributes whose value was not read are
    missing. ``pixels`` adds
    the pixel data, which is no part of ``dataset``, as one more URI. ``shared``: short elements that are alike are one
    object, also from call to call, which is faster and for callers that change none of it.
    """
    found = _object(dataset, "", bulk_uri, inline_up_to, _alike if shared else _plain)
    if pixels is None or bulk_uri is None:
        return found
    tag = f"{pixels.tag:08X}"
    found[tag] = {"vr": pixels.vr, "BulkDataURI": bulk_uri(tag)}
    return dict(sorted(found.items()))


def pieces(
    dataset: Dataset,
    items: Items,
    *,
    bulk_uri: BulkUri,
    inline_up_to: int = INLINE,
    pixels: PixelData | None = None,
) -> Iterator[bytes]:
    """``to_json`` as bytes, with the items of large sequences, which are read meanwhile. Blocks."""
    if pixels is not None:
        place = Element(pixels.tag, pixels.vr, Bulk(pixels.offset, pixels.length or 0))
        dataset = Dataset(dict(sorted({**dataset.elements, pixels.tag: place}.items())), dataset.text)
    return _streamed(dataset, "", items, bulk_uri, inline_up_to)


def _streamed(dataset: Dataset, path: str, items: Items, bulk_uri: BulkUri, inline_up_to: int) -> Iterator[bytes]:
    yield b"{"
    separator = b""
    for run in runs(dataset):
        if isinstance(run, Dataset):
            if text := orjson.dumps(_object(run, path, bulk_uri, inline_up_to, _alike))[1:-1]:
                yield separator + text
                separator = b","
            continue
        tag, sequence = run
        yield separator + f'"{tag:08X}":{{"vr":"SQ"'.encode()
        between = b',"Value":['
        for number, item in enumerate(items.each(sequence, dataset.text), 1):
            place = f"{path}{tag:08X}/{number}/"
            yield between
            if has_large(item):
                yield from _streamed(item, place, items, bulk_uri, inline_up_to)
            else:
                yield orjson.dumps(_object(item, place, bulk_uri, inline_up_to, _alike))
            between = b","
        yield b"]}" if between == b"," else b"}"
        separator = b","
    yield b"}"


def _plain(vr: str, value: bytes, text: Decoder) -> dict[str, Any]:
    """An element that is neither binary nor a sequence."""
    values = _NUMERIC_VALUES[vr](value) if vr in _NUMERIC_VALUES else strings(vr, text(value, vr))
    return {"vr": vr, "Value": values} if values else {"vr": vr}


_remembered = lru_cache(maxsize=16384)(_plain)


def _alike(vr: str, value: bytes, text: Decoder) -> dict[str, Any]:
    return _remembered(vr, value, text) if len(value) <= _SHORT else _plain(vr, value, text)


def _object(
    dataset: Dataset,
    path: str,
    bulk_uri: BulkUri | None,
    inline_up_to: int,
    plain: Callable[[str, bytes, Decoder], dict[str, Any]],
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    text = dataset.text
    for tag, element in dataset.elements.items():
        if not tag & 0xFFFF or tag == TRAILING_PADDING:
            continue
        vr, value = element.vr, element.value
        name = f"{tag:08X}"
        if isinstance(value, bytes):
            if tag == SPECIFIC_CHARACTER_SET:
                found[name] = _UTF8
            elif not value:
                found[name] = {"vr": vr}
            elif vr in _BINARY:
                if len(value) > inline_up_to and bulk_uri is not None:
                    found[name] = {"vr": vr, "BulkDataURI": bulk_uri(path + name)}
                else:
                    found[name] = {"vr": vr, "InlineBinary": b64encode(value).decode("ascii")}
            else:
                found[name] = plain(vr, value, text)
        elif isinstance(value, tuple):
            items = [
                _object(item, f"{path}{name}/{number}/", bulk_uri, inline_up_to, plain)
                for number, item in enumerate(value, 1)
            ]
            found[name] = {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
        elif bulk_uri is not None:
            found[name] = {"vr": vr, "BulkDataURI": bulk_uri(path + name)}
    return found


# -- values


def strings(vr: str, text: str) -> list[Any]:
    """The values of a text element as JSON has them; [] when there is nothing but padding."""
    parts = texts(vr, text)
    if vr == "PN":
        return [person_name(each) for each in parts]
    if vr in {"DS", "IS"}:
        return [number(each, whole=vr == "IS") for each in parts]
    return [each or None for each in parts]


def texts(vr: str, text: str) -> list[str]:
    """The values of a text element without padding; [] when there is nothing else."""
    if vr in _UNSPLIT:
        whole = text.rstrip(" \0")
        return [whole] if whole else []
    leading = vr in _LEADING
    found = [part.strip(" \0") if leading else part.rstrip(" \0") for part in text.split("\\")]
    return found if len(found) > 1 or found[0] else []


def number(text: str, *, whole: bool = False) -> float | str | None:
    """A decimal or integer string as JSON: a number where that says exactly the same, else the string; None if empty.

    ``whole``: only numbers without fraction, and within the range of IS, become numbers.
    """
    if not text:
        return None
    return _number(text, whole) if len(text) <= _LONGEST_NUMBER else text


@lru_cache(maxsize=65536)
def _number(text: str, whole: bool) -> float | str:  # noqa: FBT001 - keywords make a cache slow
    if not _NUMBER.fullmatch(text):
        return text
    near = float(text)
    if not whole and repr(near) == text:
        return near
    exact = Decimal(text)
    if exact == exact.to_integral_value() and abs(exact) <= _EXACT:
        if "." not in text and "e" not in text and "E" not in text:
            return int(text)
        return int(exact) if whole else float(exact)
    if whole:
        return text
    return near if isfinite(near) and Decimal(repr(near)) == exact else text


def person_name(text: str) -> dict[str, str] | None:
    """The component groups of a name that are not empty (PS3.18 §F.2.2); None when all are."""
    groups = text.split("=", 2)
    found = {group: part.strip(" \0") for group, part in zip(_GROUPS, groups, strict=False)}
    return {group: part for group, part in found.items() if part} or None


def _integers(vr: str) -> Callable[[bytes], list[Any]]:
    code, size = _NUMERIC[vr], _SIZES[vr]

    def values(value: bytes) -> list[Any]:
        count = len(value) // size
        return list(struct.unpack_from(f"<{count}{code}", value))

    return values


def _long_integers(vr: str) -> Callable[[bytes], list[Any]]:
    plain = _integers(vr)
    return lambda value: [each if -_EXACT <= each <= _EXACT else str(each) for each in plain(value)]


def _floats(vr: str) -> Callable[[bytes], list[Any]]:
    plain = _integers(vr)
    return lambda value: [each if isfinite(each) else not_finite(each) for each in plain(value)]


def not_finite(value: float) -> str:
    """What JSON has no number for, spelled as JavaScript and Python both read it."""
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _tags(value: bytes) -> list[Any]:
    count = len(value) // 4
    pairs = struct.unpack_from(f"<{count * 2}H", value)
    return [f"{group:04X}{element:04X}" for group, element in zip(pairs[::2], pairs[1::2], strict=True)]


_NUMERIC_VALUES: Final[dict[str, Callable[[bytes], list[Any]]]] = {
    **{vr: _integers(vr) for vr in ("US", "SS", "UL", "SL")},
    **{vr: _long_integers(vr) for vr in ("SV", "UV")},
    **{vr: _floats(vr) for vr in ("FL", "FD")},
    "AT": _tags,
}


def values_of(dataset: Dataset, element: Element) -> list[Any]:
    """The values of one element that is neither binary nor a sequence, as JSON has them."""
    value = element.value
    if not isinstance(value, bytes) or not value or element.vr in _BINARY:
        return []
    if numeric := _NUMERIC_VALUES.get(element.vr):
        return numeric(value)
    return strings(element.vr, dataset.text(value, element.vr))
