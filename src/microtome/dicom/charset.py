"""Text of DICOM data sets (PS3.5 §6.1, PS3.3 §C.12.1.1.2): every defined character set, code extensions included."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final

Decoder = Callable[[bytes, str], str]
"""(value, VR) -> text. Never raises: what cannot be decoded becomes U+FFFD."""

_TEXT: Final = frozenset({"SH", "LO", "ST", "PN", "LT", "UC", "UT"})
"""Only these are in the specific character set; all others are ASCII."""
_DEFAULT: Final = "latin-1"
"""Of the default repertoire, and of sets nobody knows: bytes above 127 are not allowed there and yet met."""
_CODECS: Final[Mapping[str, str]] = {
    "6": _DEFAULT,
    "13": "shift_jis",  # JIS X 0201 is its half that has one byte
    "58": "gb2312",
    "87": "iso2022_jp",
    "100": "iso8859-1",
    "101": "iso8859-2",
    "109": "iso8859-3",
    "110": "iso8859-4",
    "126": "iso8859-7",
    "127": "iso8859-6",
    "138": "iso8859-8",
    "144": "iso8859-5",
    "148": "iso8859-9",
    "149": "euc_kr",
    "159": "iso2022_jp_2",
    "166": "tis-620",
    "192": "utf-8",
    "203": "iso8859-15",
}
_ALONE: Final[Mapping[str, str]] = {"GB18030": "gb18030", "GBK": "gbk", "ISO 2022 GBK": "gbk", "ISO 2022 58": "gb2312"}
_NAME: Final = re.compile(r"ISO(?:[ _-]?2022)?[ _-]?IR[ _-]?([0-9]{1,3})")

_ESCAPE: Final = re.compile(rb"(\x1b(?:\([BJ]|\)I|-[A-Z]|-b|\$B|\$\(D|\$\)[AC]))")
_G1: Final[Mapping[bytes, str]] = {
    b"\x1b)I": "shift_jis",
    b"\x1b-A": "iso8859-1",
    b"\x1b-B": "iso8859-2",
    b"\x1b-C": "iso8859-3",
    b"\x1b-D": "iso8859-4",
    b"\x1b-F": "iso8859-7",
    b"\x1b-G": "iso8859-6",
    b"\x1b-H": "iso8859-8",
    b"\x1b-L": "iso8859-5",
    b"\x1b-M": "iso8859-9",
    b"\x1b-T": "tis-620",
    b"\x1b-b": "iso8859-15",
    b"\x1b$)A": "gb2312",
    b"\x1b$)C": "euc_kr",
}
"""Sets for bytes above 127; those below stay ASCII (PS3.3 tables C.12-3 and C.12-4)."""
_G0: Final[Mapping[bytes, str]] = {b"\x1b$B": "iso2022_jp", b"\x1b$(D": "iso2022_jp_2"}
"""Sets of two bytes below 128 each, until the next escape: a backslash in them is half of a character."""
_DELIMITERS: Final = {True: re.compile(rb"[\^=\\]"), False: re.compile(rb"[\\\r\n\t\f]")}
"""After these the first character set holds again (PS3.5 §6.1.2.5.3); True for names."""


def decoder(names: Sequence[str]) -> Decoder:
    """For the values of Specific Character Set; none is the default repertoire. Unknown names are read as Latin-1."""
    return _decoder(tuple(names))


@lru_cache(maxsize=128)
def _decoder(names: tuple[str, ...]) -> Decoder:
    first = _codec(names[0]) if names else _DEFAULT

    def decode(value: bytes, vr: str) -> str:
        if vr not in _TEXT:
            return value.decode(_DEFAULT)
        if b"\x1b" in value and first not in {"utf-8", "gb18030", "gbk"}:
            return _extended(value, first, name=vr == "PN")
        return value.decode(first, "replace")

    return decode


def _codec(name: str) -> str:
    """Python's codec of a defined term; spellings with other separators are met and understood."""
    plain = name.strip(" \0").upper()
    if plain in _ALONE:
        return _ALONE[plain]
    found = _NAME.fullmatch(plain)
    return _CODECS.get(found[1].lstrip("0"), _DEFAULT) if found else _DEFAULT


def _extended(value: bytes, first: str, *, name: bool) -> str:
    """Text with code extensions (PS3.5 §6.1.2.5, ISO 2022)."""
    pieces = _ESCAPE.split(value)
    text = [pieces[0].decode(first, "replace")]
    upper, delimiters = first, _DELIMITERS[name]
    for escape, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        if codec := _G0.get(escape):
            text.append((escape + piece).decode(codec, "replace"))
            continue
        upper = _G1.get(escape, upper)
        end = delimiters.search(piece) if upper != first and first != _DEFAULT else None
        if end is None:
            # Where the first set is ASCII, writers rarely escape anew after each delimiter.
            text.append(piece.decode(upper, "replace"))
        else:
            text.append(piece[: end.start()].decode(upper, "replace"))
            text.append(piece[end.start() :].decode(first, "replace"))
            upper = first
    return "".join(text)
