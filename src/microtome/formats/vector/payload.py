"""What the bytes of one stored tile are: its kind, its media type, its compression. All of it bounded."""

from __future__ import annotations

import re
import zlib
from dataclasses import replace
from typing import Literal

from microtome.errors import CorruptData, LimitExceeded, UnsupportedFormat
from microtome.model import EncodedTile, Size

MVT = "application/vnd.mapbox-vector-tile"
JSON = "application/json"
GEOJSON = "application/geo+json"

SUFFIXES = (".mvt", ".pbf", ".json", ".geojson", ".mvt.gz", ".pbf.gz", ".json.gz", ".geojson.gz")
"""Of single tiles, in the order in which they are looked for."""
MAX_TILE_BYTES = 64 << 20
"""No tile is larger, stored or decompressed."""

Kind = Literal["mvt", "json", "raster", "unknown"]

_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM")
_PEEKED = 4096
_MEDIA_TYPES = {".mvt": MVT, ".pbf": MVT, ".json": JSON, ".geojson": GEOJSON}
_LAYER = 0x1A
"""First byte of nearly every vector tile: field 3 (layers), length-delimited."""


def is_gzip(data: bytes) -> bool:
    """By the magic number of RFC 1952 §2.3.1."""
    return data[:3] == b"\x1f\x8b\x08"


def suffix_of(name: str) -> str:
    """The suffix of a tile's name, in lower case, ``.gz`` included (".mvt.gz"); "" when it is none of SUFFIXES."""
    found = re.search(r"\.(mvt|pbf|json|geojson)(\.gz)?$", name.lower())
    return found.group(0) if found else ""


def media_type_of(name: str) -> str:
    """The media type that the suffix of a tile's name says."""
    return _MEDIA_TYPES.get(suffix_of(name).removesuffix(".gz"), MVT)


def peeked(data: bytes, most: int = _PEEKED) -> bytes:
    """The first bytes of a tile as they are without gzip; what cannot be decompressed gives none. Never raises."""
    if not is_gzip(data):
        return data[:most]
    try:
        return zlib.decompressobj(31).decompress(data, most)
    except zlib.error:
        return b""


def kind_of(data: bytes) -> Kind:
    """What a stored tile holds, by its first bytes. An empty tile is a vector tile without layers."""
    head = peeked(data)
    if head.startswith(_PICTURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or head[4:8] == b"ftyp":
        return "raster"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        return "json"
    return "mvt" if head[:1] in (b"", bytes([_LAYER])) and (head or not data) else "unknown"


def inflate(data: bytes, most: int = MAX_TILE_BYTES) -> bytes:
    """All members of a gzip stream. Raises CorruptData, and LimitExceeded beyond ``most`` bytes."""
    parts: list[bytes] = []
    room = most + 1
    while data:
        member = zlib.decompressobj(31)
        try:
            part = member.decompress(data, room)
        except zlib.error as error:
            raise CorruptData("The gzip stream of a vector tile is broken") from error
        room -= len(part)
        parts.append(part)
        if room <= 0:
            raise LimitExceeded(f"A vector tile is larger than {most >> 20} MB", limit="MAX_TILE_BYTES", value=most)
        if not member.eof:
            raise CorruptData("The gzip stream of a vector tile ends early")
        data = member.unused_data.lstrip(b"\0")
    return b"".join(parts)


def decompress(data: bytes, compression: str, most: int) -> bytes:
    """Undo "none", "gzip", "brotli" or "zstd". Raises CorruptData, LimitExceeded, UnsupportedFormat."""
    if compression == "none":
        return data
    if compression == "gzip":
        return inflate(data, most)
    import imagecodecs

    codec = {"brotli": imagecodecs.brotli_decode, "zstd": imagecodecs.zstd_decode}.get(compression)
    if codec is None:
        raise UnsupportedFormat(f"Tiles are compressed with {compression}", feature=f"compression {compression}")
    # The size is never taken from the stream: the room grows until the data fits or the limit is reached.
    room = min(most, 16 * len(data) + 65536)
    while True:
        try:
            return bytes(codec(data, out=room))
        except RuntimeError as error:  # both codecs derive their errors from it; too little room is one of them
            if room >= most:
                raise CorruptData(f"{compression} data is broken, or larger than {most >> 20} MB unpacked") from error
            room = min(most, room * 16)


def encoded(data: bytes, media_type: str, tile_size: int) -> EncodedTile:
    """A stored tile, as it is. Raises LimitExceeded, and UnsupportedFormat for a picture."""
    if len(data) > MAX_TILE_BYTES:
        raise LimitExceeded(
            f"A vector tile is larger than {MAX_TILE_BYTES >> 20} MB", limit="MAX_TILE_BYTES", value=len(data)
        )
    return EncodedTile(data, media_type, Size(tile_size, tile_size), "other", "gzip" if is_gzip(data) else None)


def plain(tile: EncodedTile) -> EncodedTile:
    """The tile without content coding, for a client that does not accept gzip. Raises CorruptData, LimitExceeded."""
    if tile.encoding is None:
        return tile
    return replace(tile, data=inflate(tile.data), encoding=None)


def check_tile(data: bytes) -> None:
    """Raise CorruptData unless ``data`` is a vector tile: layers one after the other (specification 2.1 §4.1)."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            _, at = _varint(data, at)
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        elif wire == 2:
            length, at = _varint(data, at)
            at += length
        else:
            raise CorruptData("The vector tile is no protocol buffer", offset=at)
        if at > len(data):
            raise CorruptData("The vector tile ends inside of a layer", offset=len(data))


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise CorruptData("The vector tile is no protocol buffer", offset=at)
