"""Which files are slides that OpenSlide knows better than anyone else here. Pure, and never raises."""

from __future__ import annotations

import re
from collections.abc import Sequence

LOOKED_AT = 64 * 1024
"""So many first bytes of a TIFF are looked at."""
MOST_ENTRIES = 200

_TIFF = frozenset({b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"})
_TIFF_SUFFIXES = {".ndpi": "hamamatsu", ".scn": "leica", ".bif": "ventana"}
_SPECIMEN = {".vms": b"[Virtual Microscope Specimen]", ".vmu": b"[Uncompressed Virtual Microscope Specimen]"}
# SOP Class UID of VL Whole Slide Microscopy Image Storage (PS3.4 B.5) as it stands in the file meta information.
_WHOLE_SLIDE = re.compile(rb"1\.2\.840\.10008\.5\.1\.4\.1\.1\.77\.1\.6(?![\d.])")
_META_BYTES = 4096
_DESCRIPTION, _SOFTWARE, _XMP, _NDPI = 270, 305, 700, 65420


def vendor(head: bytes, name: str) -> str | None:
    """OpenSlide's word for the vendor of a file, None for what others read as well or better: TIFF, Aperio, CZI."""
    suffix = _suffix(name)
    if is_tiff(head):
        return _TIFF_SUFFIXES.get(suffix) or _tiff_vendor(head[:LOOKED_AT])
    if head[128:132] == b"DICM":
        return "dicom" if _WHOLE_SLIDE.search(head[:_META_BYTES]) else None
    if suffix == ".mrxs" and head.startswith(b"\xff\xd8"):
        return "mirax"
    if suffix == ".svslide" and head.startswith(b"SQLite format 3\0"):
        return "sakura"
    if suffix in _SPECIMEN and _SPECIMEN[suffix] in head[:1024]:
        return "hamamatsu"
    return None


def slide_in(names: Sequence[str]) -> list[str]:
    """Which objects of a folder, by their names relative to it, may be opened in its place; nothing for no slide.

    The one index of a slide of many files (MIRAX, VMS, VMU) with its files, or DICOM instances side by side.
    """
    here = [name for name in names if "/" not in name]
    indices = [name for name in here if _suffix(name) in {".mrxs", *_SPECIMEN}]
    if len(indices) == 1 and len(names) > 1:
        return indices
    return [] if indices else [name for name in here if _suffix(name) == ".dcm"]


def is_dicom(name: str) -> bool:
    """Whether an object of a folder may be a DICOM file of the slide in it; many of them have no suffix."""
    return "/" not in name and _suffix(name) in {".dcm", ""}


def is_tiff(head: bytes) -> bool:
    """Whether it is TIFF 6.0 or BigTIFF."""
    return head[:4] in _TIFF


def parts(head: bytes, name: str) -> list[str]:
    """What lies beside a file and belongs to its slide, as beginnings of names relative to the folder of both."""
    stem, suffix = name[: name.rfind(".")], _suffix(name)
    if suffix == ".mrxs":
        return [f"{stem}/"]
    if suffix in _SPECIMEN:
        text = head[:LOOKED_AT].decode("utf-8", "replace")
        found = re.findall(
            r"^\s*\w+(?:\(\d+(?:,\d+)*\))?\s*=\s*([^/\\\r\n]+\.(?:jpe?g|opt|ngr))\s*$", text, re.M | re.I
        )
        return sorted(set(found))[:MOST_ENTRIES]
    return [f"{stem}.Full"] if vendor(head, name) == "trestle" else []


def _suffix(name: str) -> str:
    return name[name.rfind(".") :].lower() if "." in name else ""


def _tiff_vendor(head: bytes) -> str | None:
    directory = _first_directory(head)
    software = directory.get(_SOFTWARE, b"")
    description = directory.get(_DESCRIPTION, b"")[:4096]
    if software.startswith(b"Philips") or b'ObjectType="DPUfsImport"' in description:
        return "philips"
    if software.startswith(b"MedScan"):
        return "trestle"
    if b"http://www.leica-microsystems.com/scn/" in description:
        return "leica"
    if b"<iScan" in directory.get(_XMP, b""):
        return "ventana"
    return "hamamatsu" if _NDPI in directory else None


def _first_directory(head: bytes) -> dict[int, bytes]:
    """The values of the first directory that are made of bytes and are here (TIFF 6.0 §2), by tag."""
    little, big = head[:1] == b"I", b"+" in head[:4]

    def number(at: int, length: int) -> int:
        return int.from_bytes(head[at : at + length], "little" if little else "big")

    start = number(8, 8) if big else number(4, 4)
    count, entries, length = (number(start, 8), start + 8, 20) if big else (number(start, 2), start + 2, 12)
    found: dict[int, bytes] = {}
    for at in range(entries, entries + min(count, MOST_ENTRIES) * length, length):
        if at + length > len(head):
            break
        size = number(at + 4, 8 if big else 4)
        place = at + length - (8 if big else 4)
        if size > length - (place - at):
            place = number(place, 8 if big else 4)
        kind = number(at + 2, 2)
        found[number(at, 2)] = head[place : place + size] if kind in {1, 2, 7} else b""
    return found
