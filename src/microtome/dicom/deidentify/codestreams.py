"""Compressed frames without the words that their headers may carry: same length, same samples.

JPEG (T.81 §B.2.4) and JPEG-LS: comments and application segments, of which JFIF, SPIFF, Adobe, the colour transform
of JPEG-LS and ICC profiles stay. JPEG 2000 (T.800 §A.9.2): comments, and the boxes of a JP2 file that are no picture;
of JPEG XL those boxes, too.
"""

from __future__ import annotations

import re
from typing import Final

from microtome.dicom import syntaxes
from microtome.dicom.deidentify.icc import without_texts
from microtome.pixels import headers

_MARKER: Final = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
"""The end of entropy-coded data: neither stuffing (T.81 §F.1.2.3, T.87 §A.1) nor a restart."""
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_EOI, _SOS, _COM = 0xD9, 0xDA, 0xFE
_KEPT: Final = {0xE0: (b"JFIF\0",), 0xE8: (b"mrfx", b"SPIFF\0", b"\0\0\0\1"), 0xEE: (b"Adobe",)}
_LONGEST_KEPT: Final = 32
_JFIF_HEAD: Final = 14
_ICC: Final = b"ICC_PROFILE\0"
_BOXES: Final = frozenset({b"jP  ", b"ftyp", b"jp2h", b"jp2c", b"JXL ", b"jxll", b"jxlc", b"jxlp", b"jxli"})
_SOT, _SOD, _COMMENT = 0xFF90, 0xFF93, 0xFF64
_MOST: Final = 1 << 20
"""Segments and boxes of a frame; hostile ones have more."""


def holds_words(transfer_syntax: str) -> bool:
    """Whether frames of this syntax have headers that are looked through here."""
    return syntaxes.find(transfer_syntax).codec in {"jpeg", "jpeg-ls", "jpeg-2000", "htj2k", "jpeg-xl"}


def without_words(frame: bytes) -> bytes:
    """The frame as it is sent; the very same object when there is nothing to take out."""
    if frame[:2] == b"\xff\xd8":
        return _jpeg(frame)
    if frame[4:8] == b"JXL ":
        return _changed(frame, _boxes(frame))
    return _jpeg2000(frame)


def _jpeg(frame: bytes) -> bytes:
    changes: list[tuple[int, bytes]] = []
    profile: list[tuple[int, int]] = []
    at = 2
    for _ in range(_MOST):
        if at + 2 > len(frame):
            break
        if frame[at] != 0xFF:  # between segments there may only be markers
            found = _MARKER.search(frame, at)
            if found is None:
                break
            at = found.start()
        marker = frame[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == _EOI:
            if any(frame[at + 2 :]):
                changes.append((at + 2, bytes(len(frame) - at - 2)))
            break
        if marker in _ALONE:
            at += 2
            continue
        begin, end = at + 4, min(at + 2 + int.from_bytes(frame[at + 2 : at + 4]), len(frame))
        if end < begin:
            break
        if marker == 0xE2 and frame[begin : begin + len(_ICC)] == _ICC:
            profile.append((begin + len(_ICC) + 2, end))
        elif marker == _COM or 0xE0 <= marker <= 0xEF:
            changes += _blanked(frame, marker, begin, end)
        at = end
        if marker == _SOS:
            found = _MARKER.search(frame, at)
            if found is None:
                break
            at = found.start()
    return _changed(frame, changes + _cleaned(frame, profile))


def _blanked(frame: bytes, marker: int, begin: int, end: int) -> list[tuple[int, bytes]]:
    kept = _KEPT.get(marker)
    if kept is not None and frame.startswith(kept, begin):
        # What JFIF says may be followed by a small picture.
        begin = min(begin + (_JFIF_HEAD if marker == 0xE0 else _LONGEST_KEPT), end)
    return [(begin, bytes(end - begin))] if any(frame[begin:end]) else []


def _cleaned(frame: bytes, places: list[tuple[int, int]]) -> list[tuple[int, bytes]]:
    """The ICC profile, in as many segments as it came in."""
    places = [(begin, end) for begin, end in places if begin < end]
    if not places:
        return []
    whole = b"".join(frame[begin:end] for begin, end in places)
    clean = without_texts(whole) or bytes(len(whole))
    found: list[tuple[int, bytes]] = []
    at = 0
    for begin, end in places:
        found.append((begin, clean[at : at + end - begin]))
        at += end - begin
    return found


def _jpeg2000(frame: bytes) -> bytes:
    changes: list[tuple[int, bytes]] = []
    at = headers.codestream(frame)
    if at is None:
        return frame
    if at:
        changes += _boxes(frame)
    end = len(frame)
    part_end = 0
    at += 2
    for _ in range(_MOST):
        if at + 4 > end:
            break
        marker, length = int.from_bytes(frame[at : at + 2]), int.from_bytes(frame[at + 2 : at + 4])
        if marker == _SOT:
            part = int.from_bytes(frame[at + 6 : at + 10])
            part_end = at + part if part else end
        elif marker == _SOD:
            if part_end <= at:
                break
            at = part_end
            continue
        elif marker == _COMMENT and any(frame[at + 6 : at + 2 + length]):
            stop = min(at + 2 + length, end)
            changes.append((at + 6, b" " * (stop - at - 6)))
        elif marker < 0xFF30 or length < 2:
            break
        at += 2 + length
    return _changed(frame, changes)


def _boxes(frame: bytes) -> list[tuple[int, bytes]]:
    """Boxes beside the picture become free space (ISO/IEC 14496-12 §8.1.2)."""
    changes: list[tuple[int, bytes]] = []
    at = 0
    for _ in range(_MOST):
        size, kind = int.from_bytes(frame[at : at + 4]), frame[at + 4 : at + 8]
        head = 16 if size == 1 else 8
        size = int.from_bytes(frame[at + 8 : at + 16]) if size == 1 else size or len(frame) - at
        if len(kind) < 4 or size < head:
            break
        stop = min(at + size, len(frame))
        if kind not in _BOXES:
            changes.append((at + 4, b"free"))
            changes.append((at + head, bytes(max(0, stop - at - head))))
        at = stop
        if at >= len(frame):
            break
    return changes


def _changed(frame: bytes, changes: list[tuple[int, bytes]]) -> bytes:
    if not changes:
        return frame
    data = bytearray(frame)
    for begin, new in changes:
        data[begin : begin + len(new)] = new
    return bytes(data)
