"""A GeoJSON text read as a stream: whole features found by array arithmetic, then parsed a batch at a time.

A JSON parser that knows streams (ijson) makes a Python event of every number: some 20 s for 100 MB. Here numpy finds
where features end (braces outside of strings, depth by cumulative sum) and orjson parses a few hundred of them at a
time, about ten times as fast. In memory are one piece of the text and its features, whatever the size of the file.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, cast

import numpy as np

from microtome.errors import CorruptData, LimitExceeded
from microtome.formats.vector.arrays import Ints
from microtome.formats.vector.payload import is_gzip
from microtome.formats.vector.texts import GEOJSON_TYPES, TOKEN, parsed

PIECE = 1 << 20
"""Bytes parsed at a time."""
MAX_FEATURE_BYTES = 64 << 20
MAX_OTHER_BYTES = 4 << 20
"""Of the members of the collection beside its features."""

_LOOK = np.zeros(256, bool)
_LOOK[list(b'"{}')] = True
_QUOTE, _OPEN, _CLOSE, _BACKSLASH = b'"{}\\'
_BLANK = b" \t\r\n"


class FeatureStream:
    """The features of a text. Iterate once; ``outer`` then holds the other members of the collection.

    Raises CorruptData with the place of the fault, and LimitExceeded for a feature of more than MAX_FEATURE_BYTES.
    """

    def __init__(self, pieces: Iterable[bytes], *, piece: int = PIECE) -> None:
        self.outer: dict[str, Any] = {}
        self._pieces = iter(_plain(pieces))
        self._piece = piece
        self._buffer = b""
        self._at = 0
        """Where the buffer begins in the text."""
        self._whole = False
        """Whether the buffer reaches to the end of the text."""

    def __iter__(self) -> Iterator[list[Any]]:
        """Batches of what stands in the array of features: objects, if all is well."""
        self._more(self._piece)
        self._buffer = self._buffer.removeprefix(b"\xef\xbb\xbf")
        front = self._buffer.lstrip(_BLANK)[:1]
        if front == b"[":
            self._skip(len(self._buffer) - len(self._buffer.lstrip(_BLANK)) + 1)
            yield from self._array()
            self._rest(b"")
        elif front == b"{" and (begin := self._features()) is not None:
            self._skip(begin)
            yield from self._array()
            self._rest(b"{")
        elif front == b"{":
            yield self._single()
        else:
            raise CorruptData("The file is no GeoJSON: it is no JSON object", offset=0)

    def _features(self) -> int | None:
        """Where the elements of ``"features": [`` begin; None when the object closes before, or is of another kind."""
        while True:
            depth, name, colon = 0, b"", False
            for match in TOKEN.finditer(self._buffer):
                token = match.group()
                if token == b"[" and depth == 1 and colon and name == b'"features"':
                    before = self._buffer[: self._buffer.rindex(b'"features"', 0, match.start())].rstrip(_BLANK)
                    self.outer = _members(before.removesuffix(b",") + b"}")
                    return match.end()
                if token in b"{[":
                    depth += 1
                elif token in b"}]":
                    depth -= 1
                    if depth == 0:
                        return None
                elif depth == 1 and token != b":":
                    name = token if token[:1] == b'"' else b""
                colon = token == b":"
            if self._whole or len(self._buffer) >= MAX_OTHER_BYTES:
                return None
            self._more(2 * len(self._buffer))

    def _single(self) -> list[Any]:
        """The text as one value: a feature, a geometry, or a collection whose features were not found in front."""
        self._more(MAX_FEATURE_BYTES + 1)
        if not self._whole:
            raise LimitExceeded(
                f"A GeoJSON object of more than {MAX_FEATURE_BYTES >> 20} MB must be a FeatureCollection",
                limit="MAX_FEATURE_BYTES",
            )
        value = _members(self._buffer)
        kind = value.get("type")
        if kind == "FeatureCollection":
            raise CorruptData("The FeatureCollection has no array of features")
        if kind not in GEOJSON_TYPES:
            raise CorruptData("The file is no GeoJSON: its type is none of RFC 7946")
        self.outer = {key: value[key] for key in ("crs", "name") if key in value}
        return [value if kind == "Feature" else {"type": "Feature", "geometry": value, "properties": None}]

    def _array(self) -> Iterator[list[Any]]:
        want = self._piece
        while True:
            self._more(want)
            starts, ends = _objects(self._buffer)
            if len(ends):
                stop = int(ends[-1]) + 1
                batch = _batch(self._buffer[:stop])
                if batch is None:
                    batch, stop, ended = self._one_by_one(starts, ends)
                    yield batch
                    self._skip(stop)
                    if ended:
                        return
                else:
                    yield batch
                    self._skip(stop)
                want = self._piece
                continue
            rest = self._buffer.lstrip(_BLANK)
            if rest[:1] == b"]":
                self._skip(len(self._buffer) - len(rest) + 1)
                return
            if self._whole:
                raise CorruptData("The GeoJSON file ends before its features do", offset=self._at + len(self._buffer))
            if len(self._buffer) > MAX_FEATURE_BYTES:
                raise LimitExceeded(f"A feature is larger than {MAX_FEATURE_BYTES >> 20} MB", limit="MAX_FEATURE_BYTES")
            want = 2 * len(self._buffer) + self._piece

    def _one_by_one(self, starts: Ints, ends: Ints) -> tuple[list[Any], int, bool]:
        """Features one at a time: at the end of the array, and where one of them is not what orjson takes."""
        found: list[Any] = []
        after = 0
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            gap = self._buffer[after:start].strip(_BLANK)
            if gap[:1] == b"]":
                return found, self._buffer.index(b"]", after) + 1, True
            if gap not in (b"", b","):
                raise CorruptData("Between two features there is something that is none", offset=self._at + after)
            try:
                found.append(parsed(self._buffer[start : end + 1], "feature"))
            except CorruptData as error:
                raise CorruptData(f"A feature is broken: {error.message}", offset=self._at + start) from error
            after = end + 1
        return found, after, False

    def _rest(self, front: bytes) -> None:
        """What stands behind the features."""
        self._more(MAX_OTHER_BYTES)
        if not self._whole:
            raise LimitExceeded("Too much stands behind the features", limit="MAX_OTHER_BYTES")
        rest = self._buffer.strip(_BLANK).removeprefix(b",")
        if not front:
            if rest:
                raise CorruptData("Something stands behind the array of features", offset=self._at)
            return
        self.outer = {**self.outer, **_members(front + rest)}
        if self.outer.get("type") != "FeatureCollection":
            raise CorruptData("The file is no GeoJSON: an object with features must be a FeatureCollection")

    def _more(self, size: int) -> None:
        parts, have = [self._buffer], len(self._buffer)
        while have < size and not self._whole:
            piece = next(self._pieces, None)
            if piece is None:
                self._whole = True
            else:
                parts.append(piece)
                have += len(piece)
        self._buffer = b"".join(parts)

    def _skip(self, size: int) -> None:
        self._buffer = self._buffer[size:]
        self._at += size


def _objects(text: bytes) -> tuple[Ints, Ints]:
    """Where the complete objects of depth 0 begin and end (their last byte). ``text`` begins outside of strings."""
    array = np.frombuffer(text, np.uint8)
    places = np.flatnonzero(_LOOK[array])
    marks = array[places]
    quotes = marks == _QUOTE
    if b"\\" in text:
        quotes[quotes] = ~_escaped(array, places[quotes])
    outside = (np.cumsum(quotes) & 1) == 0
    steps = np.where(outside & (marks == _OPEN), 1, 0) - np.where(outside & (marks == _CLOSE), 1, 0)
    depth = np.cumsum(steps)
    if len(depth) and int(depth.min()) < 0:
        stop = int(np.argmax(depth < 0))  # the object that holds the array ends here
        places, steps, depth = places[:stop], steps[:stop], depth[:stop]
    ends = places[(steps < 0) & (depth == 0)]
    starts = places[(steps > 0) & (depth == 1)]
    return starts[: len(ends)], ends


def _escaped(array: Any, quotes: Ints) -> Any:
    """Which quotes follow an odd number of backslashes."""
    others = np.flatnonzero(array != _BACKSLASH)
    before = np.searchsorted(others, quotes) - 1
    last = np.where(before >= 0, others[np.maximum(before, 0)], -1)
    return ((quotes - 1 - last) & 1) == 1


def _batch(text: bytes) -> list[Any] | None:
    """All objects of ``text`` between commas, None when it is not that."""
    import orjson

    inner = text.lstrip(_BLANK).removeprefix(b",")
    try:
        return cast("list[Any]", orjson.loads(b"[" + inner + b"]"))
    except orjson.JSONDecodeError:
        return None


def _members(text: bytes) -> dict[str, Any]:
    value = parsed(text, "GeoJSON file")
    if not isinstance(value, dict):
        raise CorruptData("The file is no GeoJSON: it is no JSON object", offset=0)
    return cast("dict[str, Any]", value)


def _plain(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces without gzip, none larger than PIECE. Raises CorruptData."""
    inflater: Any = None
    first = True
    for piece in pieces:
        if first and is_gzip(piece):
            inflater = zlib.decompressobj(31)
        first = False
        if inflater is None:
            yield piece
            continue
        data = piece
        try:
            while data:
                part = inflater.decompress(data, PIECE)
                data = inflater.unconsumed_tail
                if part:
                    yield part
                if inflater.eof:
                    data = inflater.unused_data.lstrip(b"\0")
                    if data:
                        inflater = zlib.decompressobj(31)
        except zlib.error as error:
            raise CorruptData("The gzip stream of the GeoJSON file is broken") from error
    if inflater is not None and not inflater.eof:
        raise CorruptData("The gzip stream of the GeoJSON file ends early")


def crs_name(outer: dict[str, Any]) -> str:
    """The name in a ``crs`` member (GeoJSON 2008 §3.1), "" when there is none."""
    crs: Any = outer.get("crs")
    inner: Any = cast("dict[str, Any]", crs).get("properties") if isinstance(crs, dict) else None
    name: Any = cast("dict[str, Any]", inner).get("name") if isinstance(inner, dict) else None
    return re.sub(r"\s+", "", name)[:100] if isinstance(name, str) else ""
