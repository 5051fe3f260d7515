"""From rows of the tables to answers in DICOM JSON: the attributes that are always returned, and those asked for."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import orjson

from microtome.dicom import rows
from microtome.dicom.index.schema import NO_NUMBER
from microtome.dicom.query import Path
from microtome.dicom.rows import Attributes
from microtome.dicom.syntaxes import as_sent

ONLINE = {"vr": "CS", "Value": ["ONLINE"]}
UNKNOWN_MODALITY = "OT"
_MAX_HEADER = 256 * 1024 * 1024


def study_json(header: Attributes, modalities: Sequence[str], series: int, instances: int) -> bytes:
    """What is returned of a study without being asked for (PS3.18 table 10.6.3-3), and its description."""
    found = _selected(header, rows.STUDY_DEFAULTS, (*rows.STUDY_OPTIONAL, "00081030"))
    found[rows.AVAILABILITY] = ONLINE
    found[rows.MODALITIES_IN_STUDY] = {"vr": "CS", "Value": list(modalities) or [UNKNOWN_MODALITY]}
    found[rows.SERIES_OF_STUDY] = {"vr": "IS", "Value": [series]}
    found[rows.INSTANCES_OF_STUDY] = {"vr": "IS", "Value": [instances]}
    return dumped(found)


def series_json(header: Attributes, study: str, modality: str, instances: int) -> bytes:
    """What is returned of a series without being asked for (PS3.18 table 10.6.3-4), and its study."""
    found = _selected(header, rows.SERIES_DEFAULTS, rows.SERIES_OPTIONAL)
    found[rows.STUDY_INSTANCE] = {"vr": "UI", "Value": [study]}
    found[rows.MODALITY] = {"vr": "CS", "Value": [modality]}
    found[rows.INSTANCES_OF_SERIES] = {"vr": "IS", "Value": [instances]}
    return dumped(found)


def instance_json(row: Sequence[Any]) -> bytes:
    """What is returned of an instance without being asked for (PS3.18 table 10.6.3-5), and its parents.

    ``row``: UIDs of study, series, instance, SOP class, transfer syntax; number, rows, columns, frames, bits allocated.
    All text here is UIDs, which need no escapes.
    """
    study, series, sop, sop_class, syntax, number, height, width, frames, bits = row[:10]
    numbered = "" if number == NO_NUMBER else f',"Value":[{number}]'
    return (
        f'{{"{rows.SOP_CLASS}":{{"vr":"UI","Value":["{sop_class}"]}}'
        f',"{rows.SOP_INSTANCE}":{{"vr":"UI","Value":["{sop}"]}}'
        f',"{rows.AVAILABILITY}":{{"vr":"CS","Value":["ONLINE"]}}'
        f',"{rows.AVAILABLE_TRANSFER_SYNTAX}":{{"vr":"UI","Value":["{as_sent(syntax)}"]}}'
        f',"{rows.STUDY_INSTANCE}":{{"vr":"UI","Value":["{study}"]}}'
        f',"{rows.SERIES_INSTANCE}":{{"vr":"UI","Value":["{series}"]}}'
        f',"{rows.INSTANCE_NUMBER}":{{"vr":"IS"{numbered}}}'
        + (f',"00280008":{{"vr":"IS","Value":[{frames}]}}' if height and frames > 1 else "")
        + (f',"00280010":{{"vr":"US","Value":[{height}]}},"00280011":{{"vr":"US","Value":[{width}]}}' if height else "")
        + (f',"00280100":{{"vr":"US","Value":[{bits}]}}' if bits else "")
        + "}"
    ).encode()


def joined(parts: Iterable[bytes]) -> bytes:
    """Objects of several levels as one, tags ascending."""
    return dumped({tag: element for part in parts for tag, element in orjson.loads(part).items()})


def with_fields(ready: Attributes, header: Attributes, include: Sequence[Path], *, everything: bool) -> bytes:
    """An answer completed with what was asked for, as far as ``header`` (that of its level and those above) has it.

    Of a path into a sequence only the attributes named are returned in its items, whatever else stands there.
    """
    found = dict(ready)
    if everything:
        found = {**header, **found}
    parts = dict[str, dict[str, Any]]()
    for path in include:
        if path[0] not in header:
            continue
        if len(path) == 1 or everything:
            found.setdefault(path[0], header[path[0]])
        else:
            parts.setdefault(path[0], {"vr": "SQ"})
    for tag, part in parts.items():
        if tag not in found:
            wanted = [path[1:] for path in include if path[0] == tag]
            found[tag] = {**part, **_items(header[tag], wanted)}
    return dumped(found)


def _items(element: Mapping[str, Any], wanted: Sequence[Path]) -> dict[str, Any]:
    """The items of a sequence with only the attributes wanted."""
    items = list[dict[str, Any]]()
    for item in cast("Sequence[Attributes]", element.get("Value") or ()):
        kept = dict[str, Any]()
        for tag in (path[0] for path in wanted if path[0] in item):
            deeper = [path[1:] for path in wanted if path[0] == tag and len(path) > 1]
            kept[tag] = {"vr": "SQ", **_items(item[tag], deeper)} if deeper else item[tag]
        items.append(dict(sorted(kept.items())))
    return {"Value": items} if items else {}


def unpacked(template: bytes, header: bytes) -> bytes:
    """A header out of its compressed form; see ``packed``."""
    reader = zlib.decompressobj(zdict=unpacked_template(template)) if template else zlib.decompressobj()
    return reader.decompress(header, _MAX_HEADER)


def packed(header: bytes, template: bytes) -> bytes:
    """A header in compressed form, told as its difference from ``template`` (JSON too, or empty)."""
    writer = zlib.compressobj(1, zdict=template[-32768:]) if template else zlib.compressobj(1)
    return writer.compress(header) + writer.flush()


def without_large(header: Attributes) -> Attributes:
    """A header as it is searched: large sequences, whose items are not in the index, are left out."""
    large = [tag for tag, each in header.items() if each.get("vr") == "SQ" and "BulkDataURI" in each]
    return {tag: each for tag, each in header.items() if tag not in large} if large else header


def packed_template(template: bytes) -> bytes:
    """A template as it is stored."""
    return zlib.compress(template[-32768:], 6)


@lru_cache(maxsize=64)
def unpacked_template(stored: bytes) -> bytes:
    """A template out of its stored form."""
    return zlib.decompress(stored)


def dumped(attributes: Attributes) -> bytes:
    """JSON with ascending tags."""
    return orjson.dumps(attributes, option=orjson.OPT_SORT_KEYS)


def _selected(header: Attributes, always: Mapping[str, str], optional: Sequence[str]) -> dict[str, Any]:
    found = {tag: header.get(tag) or {"vr": vr} for tag, vr in always.items()}
    return found | {tag: header[tag] for tag in optional if header.get(tag, {}).get("Value")}
