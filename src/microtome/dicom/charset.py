"""Text of DICOM data sets (PS3.5 §6.1, PS3.3 §C.12.1.1.2), through pydicom's tables of character sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

Decoder = Callable[[bytes, str], str]
"""(value, VR) -> text. Never raises: what cannot be decoded becomes U+FFFD."""

_TEXT = frozenset({"SH", "LO", "ST", "PN", "LT", "UC", "UT"})
"""Only these are in the specific character set; all others are ASCII."""


def decoder(names: Sequence[str]) -> Decoder:
    """For the values of Specific Character Set; none is the default repertoire. Unknown names are read as Latin-1."""
    return _decoder(tuple(names))


@lru_cache(maxsize=128)
def _decoder(names: tuple[str, ...]) -> Decoder:
    if not any(names):
        return lambda value, _: value.decode("latin-1")
    if names in {("ISO_IR 192",), ("ISO_IR 100",)}:
        codec = "utf-8" if names[0].endswith("192") else "latin-1"

        def simple(value: bytes, vr: str) -> str:
            return value.decode(codec if vr in _TEXT else "latin-1", "replace")

        return simple

    def general(value: bytes, vr: str) -> str:
        if vr not in _TEXT or (value.isascii() and b"\x1b" not in value):
            return value.decode("latin-1")
        from pydicom.charset import convert_encodings, decode_bytes

        encodings = convert_encodings(list(names))
        delimiters = {"^", "=", "\\"} if vr == "PN" else {"\\", "\r", "\n", "\t", "\f"}
        try:
            return decode_bytes(value, encodings, {ord(each) for each in delimiters})
        except (LookupError, UnicodeError, ValueError):
            return value.decode("latin-1")

    return general
