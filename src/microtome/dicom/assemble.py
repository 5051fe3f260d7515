"""Files out of metadata and bulk data that were sent apart (PS3.18 §10.5.2, §8.6.3), explicit VR little-endian.

Pixel data goes from one file to the other in pieces; other values are taken into memory, up to ``MOST_VALUES``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from microtome.dicom import streams, syntaxes
from microtome.dicom.encapsulated import END, item_of
from microtome.dicom.encoding import ITEM_BYTES
from microtome.dicom.fromjson import from_json
from microtome.dicom.part10 import Readable
from microtome.dicom.scanner import PIXEL_DATA
from microtome.dicom.syntaxes import EXPLICIT_LITTLE, TransferSyntax
from microtome.dicom.write import pixel_data_header, preamble, trailer
from microtome.errors import CorruptData, LimitExceeded, UnsupportedFormat

MOST_VALUES: Final = 256 << 20
"""Bytes of the bulk data of one instance, without its pixels."""
_PIECE: Final = 1 << 20
_HEAD: Final = 64 << 10
_NAME: Final = f"{PIXEL_DATA:08X}"
_TRANSFER_SYNTAX: Final = ("00020010", "00083002")
_OCTETS: Final = frozenset({"application/octet-stream", "*/*", ""})
_JPEG: Final[Mapping[int, str]] = {
    0xC0: syntaxes.JPEG_BASELINE,
    0xC1: syntaxes.JPEG_EXTENDED,
    0xC3: syntaxes.JPEG_LOSSLESS_SV1,
}
"""Transfer syntaxes of JPEG streams by their frame marker."""


@dataclass(frozen=True, slots=True)
class Part:
    """A value that was sent: where it lies in the file of values, and how it says it is encoded ("" when it does not).

    Several parts of one location are the frames of compressed pixel data, in order.
    """

    offset: int
    length: int
    media_type: str = ""
    syntax: str = ""


class Values(Mapping[str, bytes]):
    """Values by location, read when they are asked for. Raises LimitExceeded when they become too many."""

    def __init__(self, parts: Mapping[str, Sequence[Part]], file: Readable) -> None:
        self._parts = parts
        self._file = file
        self._taken = 0

    def __getitem__(self, location: str) -> bytes:
        parts = self._parts[location]
        self._taken += sum(part.length for part in parts)
        if self._taken > MOST_VALUES:
            raise LimitExceeded("The bulk data of an instance is too large", limit="MOST_VALUES", value=self._taken)
        return b"".join(self._file.read_at(part.offset, part.length) for part in parts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


def assemble(
    document: object, parts: Mapping[str, Sequence[Part]], file: Readable, write: Callable[[bytes], None]
) -> None:
    """Write the file of an instance whose data set is a DICOM JSON object.

    Raises CorruptData for what is no data set or lacks bulk data, UnsupportedFormat for a transfer syntax that is not
    known, LimitExceeded, and whatever ``write`` raises.
    """
    if not isinstance(document, dict):
        raise CorruptData("the document is no JSON object")
    rest = dict(cast("dict[str, Any]", document))
    pixels = next((rest.pop(name) for name in (_NAME, _NAME.lower()) if _uri(rest.get(name)) is not None), None)
    named = next((uid for name in _TRANSFER_SYNTAX if (uid := _uid(rest.get(name)))), "")
    dataset = from_json(rest, Values(parts, file))
    if pixels is None:
        inline = dataset.elements.get(PIXEL_DATA)
        write(preamble(dataset, EXPLICIT_LITTLE))
        if inline is not None and isinstance(inline.value, bytes):
            write(pixel_data_header(inline.vr, len(inline.value)) + inline.value)
        write(trailer(dataset))
        return
    uri = _uri(pixels) or ""
    if not (sent := parts.get(uri)):
        raise CorruptData(f"{_NAME}: its bulk data {uri[:200]!r} was not sent")
    syntax = _syntax(sent, named, file)
    write(preamble(dataset, syntax.uid))
    if syntax.encapsulated:
        write(pixel_data_header("OB", None))
        _encapsulated(sent, file, write)
    else:
        length = sum(part.length for part in sent)
        write(pixel_data_header("OB" if pixels.get("vr") == "OB" else "OW", length))
        for part in sent:
            _copied(part, file, write)
        write(b"\0" * (length % 2))
    write(trailer(dataset))


def _uri(attribute: object) -> str | None:
    uri = cast("dict[str, object]", attribute).get("BulkDataURI") if isinstance(attribute, dict) else None
    return uri if isinstance(uri, str) else None


def _uid(attribute: object) -> str:
    """The transfer syntax an attribute names: the only value, or none."""
    values = cast("dict[str, object]", attribute).get("Value") if isinstance(attribute, dict) else None
    several = cast("list[object]", values) if isinstance(values, list) else []
    return several[0].strip() if len(several) == 1 and isinstance(several[0], str) else ""


def _syntax(sent: Sequence[Part], named: str, file: Readable) -> TransferSyntax:
    """How pixel data is encoded: as its part says, else as the data set does, else as its media type means it."""
    first = sent[0]
    uid = first.syntax or (named if first.media_type in _OCTETS else "")
    if not uid and first.media_type not in _OCTETS:
        uid = next((each.uid for each in syntaxes.ALL.values() if each.default and _is(each, first)), "")
        if first.media_type == "image/jpeg":
            process = streams.jpeg(file.read_at(first.offset, min(first.length, _HEAD))).process
            uid = _JPEG.get(process, "")
    found = syntaxes.ALL.get(uid or EXPLICIT_LITTLE) if uid or first.media_type in _OCTETS else None
    if found is None or found.big_endian or found.codec == "jpip":
        raise UnsupportedFormat("The transfer syntax of the pixel data is not known", feature=uid or first.media_type)
    # Bulk data is little-endian and not deflated, whatever the file was that it comes from.
    return found if found.encapsulated else syntaxes.find(EXPLICIT_LITTLE)


def _is(syntax: TransferSyntax, part: Part) -> bool:
    return syntax.media_type.lower() == part.media_type


def _encapsulated(sent: Sequence[Part], file: Readable, write: Callable[[bytes], None]) -> None:
    if len(sent) == 1 and file.read_at(sent[0].offset, 4) == ITEM_BYTES:
        # The items as they stand in a file, with their table of offsets.
        _copied(sent[0], file, write)
        complete = file.read_at(sent[0].offset + max(0, sent[0].length - len(END)), len(END)) == END
        write(b"" if complete else END)
        return
    write(item_of(b""))
    for part in sent:
        write(ITEM_BYTES + struct.pack("<I", _fragment(part.length)))
        _copied(part, file, write)
        write(b"\0" * (part.length % 2))
    write(END)


def _fragment(length: int) -> int:
    if length >= 0xFFFF_FFFE:
        raise LimitExceeded("A frame of more than 4 GiB is not stored", limit="fragment", value=length)
    return length + length % 2


def _copied(part: Part, file: Readable, write: Callable[[bytes], None]) -> None:
    for offset in range(0, part.length, _PIECE):
        data = file.read_at(part.offset + offset, min(_PIECE, part.length - offset))
        if not data:
            raise CorruptData("a value that was received is shorter than it was")
        write(data)
