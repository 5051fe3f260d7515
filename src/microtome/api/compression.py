"""Content coding of texts and vector tiles (RFC 9110 §8.4, §12.5.3): gzip, or none."""

from __future__ import annotations

import gzip
import io
from typing import NamedTuple

from microtome.errors import LimitExceeded
from microtome.model import EncodedTile

COMPRESS_FROM = 1000
"""Shorter texts gain nothing."""
MOST_BYTES = 64 << 20


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
