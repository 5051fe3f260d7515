"""Content coding of texts and vector tiles (RFC 9110 §8.4, §12.5.3): gzip, of texts also zstd (RFC 9659), or none."""

from __future__ import annotations

import gzip
import io
import re
from typing import Literal, NamedTuple

from microtome.errors import LimitExceeded
from microtome.model import EncodedTile

COMPRESS_FROM = 1000
"""Shorter texts gain nothing."""
MOST_BYTES = 64 << 20
Coding = Literal["zstd", "gzip", ""]
_WEIGHT = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)
_SUFFIXES: dict[Coding, str] = {"zstd": "-zs", "gzip": "-gz", "": ""}


class Payload(NamedTuple):
    """Bytes to send; ``suffix`` sets the ETag of the compressed form apart and is empty for plain bytes."""

    data: bytes
    suffix: str


def accepts_gzip(header: str) -> bool:
    """Whether gzip is among the codings of an Accept-Encoding header."""
    for item in header.split(","):
        name, _, weight = item.partition(";")
        if name.strip().lower() in {"gzip", "*"}:
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


def preferred(header: str) -> Coding:
    """The coding of a text for an Accept-Encoding header; of those a client likes equally zstd is the smaller one."""
    weights: dict[str, float] = {}
    for item in header.split(","):
        name, _, weight = item.partition(";")
        found = _WEIGHT.fullmatch(weight.replace(" ", ""))
        weights.setdefault(name.strip().lower(), 1.0 if not weight.strip() else float(found[1]) if found else 0.0)
    others = weights.get("*", 0.0)
    zstd, gzipped = weights.get("zstd", others), weights.get("gzip", weights.get("x-gzip", others))
    best = max(zstd, gzipped)
    if best <= 0 or weights.get("identity", 0.0) > best:
        return ""
    return "zstd" if zstd == best else "gzip"


def compressed(text: bytes, coding: Coding, *, level: int = 1) -> Payload:
    """A text in a coding, if it is long enough to gain by it. ``level`` is that of gzip, 1 to 9."""
    if not coding or len(text) < COMPRESS_FROM:
        return Payload(text, "")
    if coding == "gzip":
        return Payload(gzip.compress(text, level, mtime=0), _SUFFIXES[coding])
    import imagecodecs

    # A window of 8 MiB at most (RFC 9659): that of the levels below 10.
    return Payload(bytes(imagecodecs.zstd_encode(text, level=3 if level < 4 else 9)), _SUFFIXES[coding])


def payload(tile: EncodedTile, accepted: str) -> Payload:
    """The bytes of a vector tile: as stored where the client takes that, else compressed or decompressed."""
    if tile.encoding == "gzip":
        return Payload(tile.data, "-gz") if accepts_gzip(accepted) else Payload(unzipped(tile), "")
    if len(tile.data) >= COMPRESS_FROM and accepts_gzip(accepted):
        return Payload(gzip.compress(tile.data, 6, mtime=0), "-gz")
    return Payload(tile.data, "")


def unzipped(tile: EncodedTile, limit: int = MOST_BYTES) -> bytes:
    """The payload without its coding. Raises LimitExceeded above ``limit`` bytes."""
    if tile.encoding != "gzip":
        return tile.data
    with gzip.GzipFile(fileobj=io.BytesIO(tile.data)) as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise LimitExceeded("The tile is too large to be decompressed; accept gzip", limit="vector tile bytes")
    return data
