"""Surgery on JPEG streams (ITU-T T.81 Annex B): complete an abbreviated tile without touching its pixels.

A tile in a TIFF may lack the tables that are stored once for all tiles (TIFF Technical Note 2), and may not say in
which colour space its components are. ``complete`` puts both in; the entropy-coded bytes stay the stored ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from microtome.errors import CorruptData
from microtome.model import ColorSpace, Size

SOI = b"\xff\xd8"
EOI = b"\xff\xd9"
_SOS = 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_TABLES = {0xDB, 0xC4}  # DQT, DHT
_DRI = 0xDD
_APP14 = 0xEE
_MAX_SEGMENTS = 1000
_MAX_FILL = 1000
"""Bytes 0xFF that may stand before a marker (B.1.1.2 sets no limit)."""


def _adobe(transform: int) -> bytes:
    """An APP14 segment: 0 means RGB for three components, 1 means YCbCr."""
    return b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform])


@dataclass(frozen=True, slots=True)
class JpegFrame:
    """What the frame header says. ``sampling`` is (horizontal, vertical) of each component."""

    size: Size
    components: int
    precision: int
    component_ids: tuple[int, ...]
    sampling: tuple[tuple[int, int], ...]
    adobe_transform: int | None
    jfif: bool


@dataclass(slots=True)
class _Parts:
    """The segments before the scan, sorted by what they are for."""

    tables: bytes = b""
    restart: bytes = b""
    kinds: frozenset[int] = frozenset()
    other: bytes = b""
    frame: bytes | None = None
    adobe: int | None = None
    jfif: bool = False
    scan: int | None = None


def _walk(data: bytes) -> _Parts:
    """Segments from SOI up to the first SOS (or the end of the stream). Raises CorruptData."""
    if data[:2] != SOI:
        raise CorruptData("A JPEG stream does not begin with SOI", offset=0)
    parts = _Parts()
    kinds: set[int] = set()
    tables: list[bytes] = []
    other: list[bytes] = []
    at = 2
    for _ in range(_MAX_SEGMENTS):
        if data[at : at + 2] == b"\xff\xff":
            at += len(data[at : at + _MAX_FILL]) - len(data[at : at + _MAX_FILL].lstrip(b"\xff")) - 1
        if at + 2 > len(data) or data[at] != 0xFF:
            raise CorruptData("A JPEG stream breaks off or holds no marker where one must be", offset=at)
        marker = data[at + 1]
        if marker == 0xD9:
            break
        if marker == _SOS:
            parts.scan = at
            break
        if marker in _NO_LENGTH:
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at : at + 2 + length]
        if length < 2 or len(segment) != 2 + length:
            raise CorruptData("A JPEG segment reaches behind the end of the stream", offset=at)
        if marker in _TABLES:
            kinds.add(marker)
            tables.append(segment)
        elif marker == _DRI:
            parts.restart = segment
        elif marker in _FRAMES:
            parts.frame = segment
        elif marker == _APP14 and segment[4:9] == b"Adobe" and length >= 14:
            parts.adobe = segment[15]
        else:
            parts.jfif |= marker == 0xE0 and segment[4:9] == b"JFIF\0"
            other.append(segment)
        at += 2 + length
    else:
        raise CorruptData("A JPEG stream has too many segments", offset=at)
    parts.tables, parts.other, parts.kinds = b"".join(tables), b"".join(other), frozenset(kinds)
    return parts


def _frame(parts: _Parts) -> JpegFrame:
    segment = parts.frame
    if segment is None or len(segment) < 10:
        raise CorruptData("A JPEG stream has no frame header")
    height, width, count = int.from_bytes(segment[5:7], "big"), int.from_bytes(segment[7:9], "big"), segment[9]
    if len(segment) < 10 + 3 * count or not width or not height or not count:
        raise CorruptData("A JPEG frame header makes no sense")
    components = [segment[10 + 3 * i : 13 + 3 * i] for i in range(count)]
    return JpegFrame(
        Size(width, height),
        count,
        segment[4],
        tuple(c[0] for c in components),
        tuple((c[1] >> 4, c[1] & 15) for c in components),
        parts.adobe,
        parts.jfif,
    )


def frame(data: bytes, tables: bytes | None = None) -> JpegFrame:
    """The frame header of a stream, out of ``tables`` when the stream has none itself. Raises CorruptData."""
    parts = _walk(data)
    if parts.frame is None and tables:
        parts.frame = _walk(tables).frame
    return _frame(parts)


def complete(tables: bytes | None, data: bytes, *, color: ColorSpace) -> bytes:
    """A self-contained stream of the stored entropy-coded bytes.

    ``tables`` is an abbreviated stream of tables (TIFF tag 347), which may hold even the frame header. ``color`` is
    what the file around the stream says its three components are; it is declared with an APP14 segment (T.872 §6.5.3)
    where a decoder would otherwise guess something else. Bytes behind EOI are cut off. Raises CorruptData.
    """
    parts = _walk(data)
    if parts.scan is None:
        raise CorruptData("A JPEG stream holds no scan")
    shared = _walk(tables) if tables else _Parts()
    complete_already = parts.frame is not None and {0xDB, 0xC4} <= parts.kinds
    own_frame = parts.frame is not None
    if not own_frame:
        parts.frame = shared.frame
    jfif = parts.jfif or (shared.jfif and not own_frame)
    adobe = parts.adobe
    header = _frame(parts)
    before = b"" if complete_already else shared.tables
    if not own_frame:
        # A restart interval ends with the stream that sets it (B.2.4.4), unless that one is torn in two here.
        before = shared.other + before + shared.restart + (shared.frame or b"")
    body = data[2 : _end(parts, data)]
    if color == "rgb" and (jfif or len(set(header.sampling)) > 1):
        color = "ycbcr"  # Bio-Formats tags such streams RGB, but nobody subsamples RGB and JFIF knows none
    if header.components == 3 and color in {"rgb", "ycbcr"} and _assumed(header, jfif=jfif, adobe=adobe) != color:
        declared = _adobe(0 if color == "rgb" else 1)
        if jfif or adobe is not None:
            # A decoder believes JFIF before Adobe, and the last Adobe segment: neither may stay.
            tables_only = (b"" if complete_already else shared.tables) + parts.tables
            restart = parts.restart or (b"" if own_frame else shared.restart)
            body = tables_only + restart + (parts.frame or b"") + data[parts.scan : _end(parts, data)]
            return SOI + declared + body + _missing_eoi(body)
        before = declared + before
    return SOI + before + body + _missing_eoi(body)


def _assumed(header: JpegFrame, *, jfif: bool, adobe: int | None) -> ColorSpace:
    """What libjpeg and the browsers take three components for."""
    if jfif:
        return "ycbcr"
    if adobe is not None:
        return "rgb" if adobe == 0 else "ycbcr"
    return "rgb" if bytes(header.component_ids) == b"RGB" else "ycbcr"


def _end(parts: _Parts, data: bytes) -> int:
    """Where the image ends, EOI included."""
    scan = parts.scan or 2
    several_scans = parts.frame is not None and parts.frame[1] != 0xC0
    at = data.rfind(EOI, scan) if several_scans else data.find(EOI, scan)
    return len(data) if at < 0 else at + 2


def _missing_eoi(body: bytes) -> bytes:
    return b"" if body.endswith(EOI) else EOI


class Completion:
    """``complete`` for the many tiles of a level that begin alike: checked against a sample, then two copies.

    Tiles that begin differently take the long way.
    """

    __slots__ = ("_color", "_exact", "_head", "_prefix", "_tables")
    _color: ColorSpace

    def __init__(self, tables: bytes | None, sample: bytes, *, color: ColorSpace) -> None:
        self._tables, self._color = tables, color
        whole = complete(tables, sample, color=color)
        parts = _walk(sample)
        scan = parts.scan or 2
        length = int.from_bytes(sample[scan + 2 : scan + 4], "big")
        body = sample[2 : _end(parts, sample)]
        simple = parts.frame is None or parts.frame[1] == 0xC0
        self._head = sample[: scan + 2 + length] if simple and whole.endswith(body) and body.endswith(EOI) else b""
        # Searching costs as much as all the rest: a writer that put nothing behind this tile is trusted with others.
        self._exact = sample.find(EOI, scan) == len(sample) - 2
        self._prefix = whole[: len(whole) - len(body)]

    def apply(self, data: bytes) -> bytes:
        """The same as ``complete(tables, data, color=color)``."""
        if self._head and data.startswith(self._head):
            if self._exact and data.endswith(EOI):
                return self._prefix + data[2:]
            at = data.find(EOI, len(self._head))
            if at > 0:
                return self._prefix + data[2 : at + 2]
        return complete(self._tables, data, color=self._color)
