"""Vector tiles written: Mapbox Vector Tile specification 2.1, all features of a layer in one go.

Nearly all of a layer is a stream of base-128 numbers: field keys, lengths, tags, commands and zigzag deltas. So the
numbers are put in place by array arithmetic and encoded once; no loop runs over features or points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microtome.formats.vector.arrays import EXTERIOR, INTERIOR, LINE, POINTS, Ints, Shapes, begins, ranges

EXTENT = 4096
_VERSION = 2
_MOVE_TO, _LINE_TO, _CLOSE_PATH = 1, 2, 15
_GEOMETRY_TYPES = np.array([1, 2, 3, 3], np.int64)
"""By the role of a part (§4.3.4)."""


@dataclass(frozen=True, slots=True, eq=False)
class Tags:
    """Pairs of features (§4.4): how many each has; of each pair, its places in the tables of keys and values."""

    counts: Ints
    keys: Ints
    values: Ints


def layer(name: str, shapes: Shapes, tags: Tags, keys: Sequence[str], values: bytes, ids: Ints | None = None) -> bytes:
    """A layer as the field of a tile (§4.1).

    ``shapes`` has integer points in tile units and features counted from 0 without gaps; rings are wound as §4.3.4.4
    wants (see ``cut``). ``values`` are fields of the layer already (see ``value``). ``ids`` are unsigned, -1 for none.
    """
    body = bytearray(_field(15 << 3, _VERSION) + _text(1, name))
    body += _features(shapes, tags, ids)
    for key in keys:
        body += _text(3, key)
    body += values
    body += _field(5 << 3, EXTENT)
    return _number(3 << 3 | 2) + _number(len(body)) + bytes(body)


def value(content: str | float) -> bytes:
    """A value as the field of a layer (§4.1, §4.4). Integers beyond 64 bits become doubles."""
    if isinstance(content, str):
        inner = _text(1, content)
    elif isinstance(content, bool):
        inner = _field(7 << 3, int(content))
    elif isinstance(content, int) and 0 <= content < 1 << 64:
        inner = _field(5 << 3, content)
    elif isinstance(content, int) and -(1 << 63) <= content < 0:
        inner = _field(6 << 3, (-content << 1) - 1)
    else:
        inner = _number(3 << 3 | 1) + np.float64(content).tobytes()
    return _number(4 << 3 | 2) + _number(len(inner)) + inner


def _features(shapes: Shapes, tags: Tags, ids: Ints | None) -> bytes:
    number = len(tags.counts)
    if number == 0:
        return b""
    drawn, drawn_counts, kinds = _geometry(shapes, number)
    pairs = np.empty(2 * len(tags.keys), np.uint64)
    pairs[::2] = tags.keys
    pairs[1::2] = tags.values
    tag_bytes = _sums(_sizes(pairs), 2 * tags.counts)
    drawn_bytes = _sums(_sizes(drawn), drawn_counts)
    # A feature: 2 length [1 id] 2 length tags 3 type 4 length geometry; field numbers come as keys with a wire type.
    has_id = np.zeros(number, bool) if ids is None else ids >= 0
    identity = np.zeros(number, np.uint64) if ids is None else np.where(has_id, ids, 0).astype(np.uint64)
    front = 2 + 2 * has_id.astype(np.int64)
    totals = front + 2 + 2 * tags.counts + 4 + drawn_counts
    at = begins(totals)
    stream = np.empty(int(totals.sum()), np.uint64)
    body = 1 + _sizes(tag_bytes.astype(np.uint64)) + tag_bytes + 3 + _sizes(drawn_bytes.astype(np.uint64)) + drawn_bytes
    body += np.where(has_id, 1 + _sizes(identity), 0)
    stream[at] = 2 << 3 | 2
    stream[at + 1] = body
    stream[at[has_id] + 2] = 1 << 3
    stream[at[has_id] + 3] = identity[has_id]
    at = at + front
    stream[at] = 2 << 3 | 2
    stream[at + 1] = tag_bytes
    stream[ranges(at + 2, 2 * tags.counts)] = pairs
    at = at + 2 + 2 * tags.counts
    stream[at] = 3 << 3
    stream[at + 1] = kinds
    stream[at + 2] = 4 << 3 | 2
    stream[at + 3] = drawn_bytes
    stream[ranges(at + 4, drawn_counts)] = drawn
    return varints(stream)


def _geometry(shapes: Shapes, number: int) -> tuple[NDArray[np.uint64], Ints, Ints]:
    """Commands and parameters of all features (§4.3), how many each has, and its geometry type."""
    counts, roles = shapes.counts, shapes.roles
    points = shapes.points.astype(np.int64)
    deltas = points.copy()
    deltas[1:] -= points[:-1]
    first_parts = np.flatnonzero(np.diff(shapes.features, prepend=-1))
    starts = shapes.starts
    anew = starts[first_parts]  # every feature begins at the origin again
    deltas[anew] = points[anew]
    zigzag = ((deltas << 1) ^ (deltas >> 63)).astype(np.uint64)
    drawn = roles != POINTS
    closed = (roles == EXTERIOR) | (roles == INTERIOR)
    sizes = 1 + 2 * counts + drawn + closed
    at = begins(sizes)
    stream = np.empty(int(sizes.sum()), np.uint64)
    stream[at] = np.where(drawn, 1 << 3 | _MOVE_TO, counts << 3 | _MOVE_TO)
    stream[at[drawn] + 3] = (counts[drawn] - 1) << 3 | _LINE_TO
    stream[(at + sizes)[closed] - 1] = _CLOSE_PATH
    local = ranges(np.zeros(len(counts), np.int64), counts)
    places = np.repeat(at + 1, counts) + 2 * local + (np.repeat(drawn, counts) & (local > 0))
    stream[places] = zigzag[:, 0]
    stream[places + 1] = zigzag[:, 1]
    per_feature = np.bincount(shapes.features, weights=sizes, minlength=number).astype(np.int64)
    return stream, per_feature, _GEOMETRY_TYPES[roles[first_parts]]


def varints(numbers: NDArray[np.uint64]) -> bytes:
    """All numbers in base 128, the low seven bits first."""
    sizes = _sizes(numbers)
    at = begins(sizes)
    out = np.empty(int(sizes.sum()), np.uint8)
    longest = int(sizes.max(initial=0))
    some, left, remaining = at, numbers, sizes
    for _ in range(longest):
        more = remaining > 1
        out[some] = (left & np.uint64(127)).astype(np.uint8) | (more.astype(np.uint8) << 7)
        some, left, remaining = some[more] + 1, left[more] >> np.uint64(7), remaining[more] - 1
    return out.tobytes()


def _sizes(numbers: NDArray[np.uint64]) -> Ints:
    """Bytes each number takes in base 128."""
    sizes = np.ones(len(numbers), np.int64)
    largest = int(numbers.max(initial=0))
    for bits in range(7, 64, 7):
        if largest >> bits == 0:
            break
        sizes += numbers >= np.uint64(1 << bits)
    return sizes


def _sums(numbers: Ints, counts: Ints) -> Ints:
    """The sum of each group of ``counts`` numbers; groups may be empty."""
    total = np.zeros(len(numbers) + 1, np.int64)
    np.cumsum(numbers, out=total[1:])
    at = begins(counts)
    return total[at + counts] - total[at]


def _number(number: int) -> bytes:
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _field(key: int, number: int) -> bytes:
    return _number(key) + _number(number)


def _text(field: int, text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return _number(field << 3 | 2) + _number(len(data)) + data


__all__ = ["EXTENT", "EXTERIOR", "INTERIOR", "LINE", "POINTS", "Tags", "layer", "value", "varints"]
