"""JSON texts of files: parsed with bounds, and recognised by their first bytes alone."""

from __future__ import annotations

import json
import re
from typing import Any, cast

from microtome.errors import CorruptData
from microtome.formats.vector.payload import is_gzip, peeked

MANIFEST_KEYS = frozenset(
    [
        "root",
        "tile_root",
        "tile_size",
        "max_zoom",
        "min_zoom",
        "tile_suffix",
        "tile_suffixes",
        "scheme",
        "zoom_levels",
        "levels",
        "bounds_by_zoom",
        "tiles",
    ]
)
"""A JSON object with one of these is a manifest of a tile set."""
GEOJSON_TYPES = frozenset(
    [
        "FeatureCollection",
        "Feature",
        "Point",
        "MultiPoint",
        "LineString",
        "MultiLineString",
        "Polygon",
        "MultiPolygon",
        "GeometryCollection",
    ]
)
"""RFC 7946 §1.4."""
RECOGNISED_BYTES = 64 * 1024
"""So much of a text is looked at to recognise it."""

# A string that does not end takes all the rest, or a text of nothing but quotes would be looked at again and again.
TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[{}\[\]:,]', re.DOTALL)


def parsed(text: bytes, what: str) -> Any:
    """Any JSON value. NaN and Infinity, which some writers emit, are let through. Raises CorruptData."""
    import orjson

    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptData(f"The {what} is no JSON: {str(error)[:100]}") from error


def parsed_object(text: bytes, what: str) -> dict[str, Any]:
    """A JSON object. Raises CorruptData."""
    value = parsed(text.removeprefix(b"\xef\xbb\xbf"), what)
    if not isinstance(value, dict):
        raise CorruptData(f"The {what} is no JSON object")
    return cast("dict[str, Any]", value)


def members(head: bytes) -> dict[str, bytes]:
    """The members of the outermost JSON object as far as ``head`` shows them: name, and how the value begins.

    Of an array of objects, those of its first object. Never raises.
    """
    text = (peeked(head, RECOGNISED_BYTES) if is_gzip(head) else head[:RECOGNISED_BYTES]).removeprefix(b"\xef\xbb\xbf")
    text = text.lstrip()
    if text[:1] == b"[":
        text = text[1:].lstrip()
    found: dict[str, bytes] = {}
    if text[:1] != b"{":
        return found
    depth = 0
    name: bytes | None = None
    for match in TOKEN.finditer(text):
        token = match.group()
        if token in b"{[":
            depth += 1
        elif token in b"}]":
            depth -= 1
            if depth <= 0:
                break
        elif depth == 1:
            if token == b":" and name is not None:
                found.setdefault(name[1:-1].decode("utf-8", "replace"), text[match.end() : match.end() + 40].lstrip())
            name = token if token[:1] == b'"' else None
    return found


def is_geojson(head: bytes) -> bool:
    """Whether a JSON text begins like GeoJSON: a known ``type``, or an array of objects called ``features``."""
    found = members(head)
    kind = re.match(rb'"(\w+)"', found.get("type", b""))
    if kind is not None:
        return kind.group(1).decode() in GEOJSON_TYPES
    return "type" not in found and re.match(rb"\[\s*(\{|$)", found.get("features", b"")) is not None


def is_manifest(head: bytes) -> bool:
    """Whether a JSON text begins like the manifest of a tile set."""
    found = members(head)
    if "@context" in found:  # an image of the IIIF Image API has "tiles", too
        return False
    return any(name in MANIFEST_KEYS for name in found) and not is_geojson(head)
