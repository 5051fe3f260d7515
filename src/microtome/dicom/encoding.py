"""How data elements are written in a file (PS3.5 §7, Annex A), and how much of a header is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from microtome.errors import LimitExceeded

UNDEFINED: Final = 0xFFFF_FFFF
ITEM: Final = 0xFFFE_E000
ITEM_END: Final = 0xFFFE_E00D
SEQUENCE_END: Final = 0xFFFE_E0DD
ITEM_BYTES: Final = b"\xfe\xff\x00\xe0"

SHORT: Final[Mapping[bytes, str]] = {
    each.encode(): each
    for each in "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()  # noqa: SIM905 - a table
}
"""VRs with a length of 16 bits (PS3.5 §7.1.2)."""
LONG: Final[Mapping[bytes, str]] = {
    each.encode(): each for each in ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
}

DEPTH: Final = 64
"""Sequences within sequences."""


class Readable(Protocol):
    """A file as the scanner wants it."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly these bytes, fewer only at the end of the file."""
        ...


@dataclass(frozen=True, slots=True)
class Encoding:
    """How elements are written."""

    implicit: bool = False
    big_endian: bool = False


EXPLICIT: Final = Encoding()
IMPLICIT: Final = Encoding(implicit=True)
BIG_ENDIAN: Final = Encoding(big_endian=True)


@dataclass(frozen=True, slots=True)
class ScanLimits:
    """What a header may have that is not held in memory: bytes of its large sequences, and elements in them."""

    header_bytes: int = 512 << 20
    elements: int = 10_000_000


DEFAULT_LIMITS: Final = ScanLimits()


@dataclass(slots=True)
class Tally:
    """Elements that were met in all that is read for one purpose."""

    most: int
    elements: int = 0

    def add(self, count: int) -> None:
        """So many more. Raises LimitExceeded."""
        self.elements += count
        if self.elements > self.most:
            raise LimitExceeded(
                f"more than {self.most} data elements", limit="dicom_header_elements", value=self.elements
            )
