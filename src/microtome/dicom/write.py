"""DICOM files out of data sets (PS3.10 §7, PS3.5 §7, §A.2, §A.4): always explicit VR, little-endian.

A file is ``preamble``, then ``pixel_data_header`` with the pixels behind it, then ``trailer``. For encapsulated pixels
the items come from ``encapsulated.item_of``, ended by ``encapsulated.END``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from microtome.dicom import syntaxes
from microtome.dicom.dataset import Bulk, Dataset, Element, LargeSequence
from microtome.dicom.encapsulated import END, item_of, offset_table
from microtome.dicom.encoding import DEPTH, ITEM_BYTES, ITEM_END, UNDEFINED
from microtome.dicom.scanner import PIXEL_DATA
from microtome.dicom.sequences import Items, has_large
from microtome.errors import InvalidRequest, LimitExceeded

ReadBulk = Callable[[Bulk], bytes]
"""The value of an element that was not read, little-endian: ``part10.read_value`` with its file."""

IMPLEMENTATION_CLASS: Final = "2.25.188211590718850207915625656360396401574"
IMPLEMENTATION_VERSION: Final = "MICROTOME"
_SHORT: Final = frozenset(
    "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()  # noqa: SIM905 - a table
)
_SPACES: Final = frozenset("AE AS CS DA DS DT IS LO LT PN SH ST TM UC UR UT".split())  # noqa: SIM905 - a table
_LONGEST_SHORT: Final = 0xFFFE
_LONGEST: Final = 0xFFFF_FFFE


def preamble(dataset: Dataset, transfer_syntax: str, *, read: ReadBulk | None = None) -> bytes:
    """``preamble_pieces`` in memory; InvalidRequest also for large sequences."""
    return b"".join(preamble_pieces(dataset, transfer_syntax, read=read))


def preamble_pieces(
    dataset: Dataset, transfer_syntax: str, *, read: ReadBulk | None = None, items: Items | None = None
) -> Iterator[bytes]:
    """Everything of a file before its pixel data: preamble, file meta information, elements below (7FE0,0010).

    SOP class and instance of the meta information are those of ``dataset``. Values that were not read come from
    ``read``, large sequences from ``items``. Group lengths are left out: they would be wrong. Raises InvalidRequest for
    a transfer syntax that is not explicit little-endian, and when ``read`` or ``items`` is missing and needed.
    """
    syntax = syntaxes.find(transfer_syntax)
    if syntax.implicit or syntax.big_endian or syntax.deflated:
        raise InvalidRequest(f"files are not written as {syntax.name}", parameter="transfer_syntax")
    before = [each for each in dataset if each.tag < PIXEL_DATA and each.tag >> 16 not in {0, 2}]
    yield b"\0" * 128 + b"DICM" + _meta(dataset, transfer_syntax)
    yield from _pieces(Dataset({each.tag: each for each in before}, dataset.text), read, items)


def trailer(dataset: Dataset, *, read: ReadBulk | None = None) -> bytes:
    """The elements after the pixel data: signatures, padding, private groups above 7FE0."""
    return _joined([each for each in dataset if each.tag > PIXEL_DATA], read)


def encoded(dataset: Dataset, *, read: ReadBulk | None = None) -> bytes:
    """A data set without file meta information: what C-STORE sends, or what stands in an item."""
    return _joined(dataset, read)


def pixel_data_header(vr: str, length: int | None, tag: int = PIXEL_DATA) -> bytes:
    """Tag, VR and length of the pixel data; ``length`` in bytes, odd ones rounded up, None when encapsulated."""
    size = 0xFFFF_FFFF if length is None else length + length % 2
    if length is not None and size > _LONGEST:
        raise LimitExceeded("native pixel data of more than 4 GiB", limit="length", value=length)
    return struct.pack("<HH2s2xI", tag >> 16, tag & 0xFFFF, vr.encode("ascii"), size)


def part10(
    dataset: Dataset,
    transfer_syntax: str,
    pixels: bytes | Sequence[bytes] | None = None,
    *,
    vr: str = "OW",
    read: ReadBulk | None = None,
) -> bytes:
    """A whole file in memory. ``pixels``: native bytes, the frames of encapsulated pixel data, or None."""
    parts = [preamble(dataset, transfer_syntax, read=read)]
    if isinstance(pixels, bytes):
        parts += [pixel_data_header(vr, len(pixels)), pixels, b"\0" * (len(pixels) % 2)]
    elif pixels is not None:
        parts += [pixel_data_header("OB", None), item_of(offset_table([len(each) for each in pixels]))]
        parts += [item_of(each) for each in pixels]
        parts.append(END)
    parts.append(trailer(dataset, read=read))
    return b"".join(parts)


def _meta(dataset: Dataset, transfer_syntax: str) -> bytes:
    """File meta information (PS3.10 §7.1)."""
    values = (
        (0x0002_0001, "OB", b"\0\1"),
        (0x0002_0002, "UI", dataset.string(0x0008_0016).encode("ascii", "replace")),
        (0x0002_0003, "UI", dataset.string(0x0008_0018).encode("ascii", "replace")),
        (0x0002_0010, "UI", transfer_syntax.encode("ascii", "replace")),
        (0x0002_0012, "UI", IMPLEMENTATION_CLASS.encode()),
        (0x0002_0013, "SH", IMPLEMENTATION_VERSION.encode()),
    )
    body = b"".join(b"".join(_element(Element(*each), None, 0)) for each in values)
    return b"".join(_element(Element(0x0002_0000, "UL", struct.pack("<I", len(body))), None, 0)) + body


def _pieces(dataset: Dataset, read: ReadBulk | None, items: Items | None, depth: int = 0) -> Iterator[bytes]:
    """A data set with large sequences, which are written with undefined length: nobody knows it before."""
    for element in dataset:
        if not isinstance(element.value, LargeSequence):
            yield _joined([element], read, depth)
            continue
        if items is None:
            raise InvalidRequest(f"the items of {element.tag:08X} were not read", parameter="items")
        yield struct.pack("<HH2s2xI", element.tag >> 16, element.tag & 0xFFFF, b"SQ", UNDEFINED)
        for item in items.each(element.value, dataset.text):
            if has_large(item):
                yield ITEM_BYTES + struct.pack("<I", UNDEFINED)
                yield from _pieces(item, items.value, items, depth + 1)
                yield struct.pack("<HHI", ITEM_END >> 16, ITEM_END & 0xFFFF, 0)
            else:
                yield item_of(_joined(item, items.value, depth + 1))
        yield END


def _joined(elements: Dataset | Sequence[Element], read: ReadBulk | None, depth: int = 0) -> bytes:
    if depth > DEPTH:
        raise LimitExceeded(f"sequences nested more than {DEPTH} deep", limit="DEPTH", value=depth)
    return b"".join(piece for element in elements if element.tag & 0xFFFF for piece in _element(element, read, depth))


def _element(element: Element, read: ReadBulk | None, depth: int) -> Iterator[bytes]:
    tag, vr, value = element
    if isinstance(value, tuple):
        items = [item_of(_joined(item, read, depth + 1)) for item in value]
        yield from _head(tag, "SQ", sum(map(len, items)))
        yield from items
        return
    if isinstance(value, LargeSequence):
        raise InvalidRequest(f"the items of {tag:08X} were not read", parameter="items")
    if isinstance(value, Bulk):
        if read is None:
            raise InvalidRequest(f"the value of {tag:08X} was not read", parameter="read")
        value = read(value)
    if tag == PIXEL_DATA and value[:4] == ITEM_BYTES:
        # An icon within a sequence: the items are kept as they were.
        yield pixel_data_header("OB", None)
        yield value
        yield END
        return
    padding = (b" " if vr in _SPACES else b"\0") * (len(value) % 2)
    yield from _head(tag, vr, len(value) + len(padding))
    yield value
    yield padding


def _head(tag: int, vr: str, length: int) -> Iterator[bytes]:
    """Tag, VR and length. What is too long for 16 bits becomes UN (PS3.5 §6.2.2)."""
    group, element = tag >> 16, tag & 0xFFFF
    if vr in _SHORT and length <= _LONGEST_SHORT:
        yield struct.pack("<HH2sH", group, element, vr.encode(), length)
    elif length > _LONGEST:
        raise LimitExceeded(f"{tag:08X} is longer than 4 GiB", limit="length", value=length)
    else:
        yield struct.pack("<HH2s2xI", group, element, b"UN" if vr in _SHORT else vr.encode("ascii"), length)
