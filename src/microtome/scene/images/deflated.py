"""Deflated DICOM (PS3.5 §A.5): pydicom inflates the whole data set at once, however large it becomes."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any, cast

from microtome.errors import CorruptData, LimitExceeded

MOST = 512 << 20
"""Bytes that a data set may become."""
_DEFLATED = {"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"}
_LONG = {b"OB", b"OW", b"UN", b"SQ", b"UT", b"OD", b"OF", b"OL", b"OV", b"UC", b"UR", b"SV", b"UV"}
_STEP = 1 << 20


def check(path: Path, most: int = MOST) -> None:
    """Raises CorruptData and LimitExceeded for a deflated file that becomes more than ``most`` bytes, or nothing."""
    import pydicom.filereader
    from pydicom.errors import InvalidDicomError

    try:
        meta: Any = cast("Any", pydicom.filereader).read_file_meta_info(path)
    except (InvalidDicomError, ValueError, EOFError, NotImplementedError, KeyError, AttributeError, TypeError, OSError):
        return  # not to be read as DICOM either
    if str(meta.get("TransferSyntaxUID", "")) not in _DEFLATED:
        return
    with path.open("rb") as file:
        file.seek(_end_of_meta(file.read(_STEP)))
        machine, left = zlib.decompressobj(-zlib.MAX_WBITS), most
        try:
            while not machine.eof and (part := machine.unconsumed_tail or file.read(_STEP)):
                left -= len(machine.decompress(part, _STEP))
                if left < 0:
                    raise LimitExceeded(f"A deflated file becomes more than {most} bytes", limit="MOST", value=most)
        except zlib.error as error:
            raise CorruptData("A deflated file is broken") from error


def _end_of_meta(head: bytes) -> int:
    """Where group 2 ends (PS3.10 §7.1), always in explicit VR little endian."""
    at = 132
    try:
        while head[at : at + 2] == b"\x02\x00":
            if head[at + 4 : at + 6] in _LONG:
                at += 12 + struct.unpack_from("<I", head, at + 8)[0]
            else:
                at += 8 + struct.unpack_from("<H", head, at + 6)[0]
    except struct.error as error:
        raise CorruptData("The header of a deflated file is cut off") from error
    if at > len(head):
        raise CorruptData("The header of a deflated file is cut off")
    return at
