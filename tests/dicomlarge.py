"""DICOM files with headers as large as they get: slides tiled sparse with an item for each tile, contours by the ten
thousand. The elements that are many are written by hand: pydicom would take minutes.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tests.unit.dicom.making import ITEM_END, SEQUENCE_END, UNDEFINED, explicit, implicit, item
from tests.unit.wsidicom.dicommaker import JPEG, TILE, encoded, instance

PICTURES = 7
"""Different frames, which take turns."""
Write = Callable[[int, str, bytes], bytes]


def frame(number: int) -> bytes:
    """The JPEG of a frame, from 0."""
    ramp = np.add.outer(np.arange(TILE), np.arange(TILE))[:, :, np.newaxis].repeat(3, axis=2)
    return encoded(np.asarray(ramp + 20 * (number % PICTURES), np.uint8), JPEG)


def slide(path: Path, frames: int, across: int, *, undefined: bool = False, syntax: str = "") -> list[tuple[int, int]]:
    """Write a slide ``across`` tiles wide whose frames are in an order of their own; (column, row) of each frame.

    ``undefined``: sequences and items have no lengths. ``syntax``: native, in this transfer syntax.
    """
    down = -(-frames // across)
    order = np.random.default_rng(3).permutation(frames)
    places = [(int(each) % across, int(each) // across) for each in order]
    head = _head(frames, across, down, syntax)
    is_implicit = syntax == ImplicitVRLittleEndian
    writer = _writer(implicit_vr=is_implicit, undefined=undefined)
    with path.open("wb") as file:
        file.write(head)
        items = (writer(0xFFFE_E000, "", _groups(writer, number, *place)) for number, place in enumerate(places))
        _sequence(file, 0x5200_9230, items, implicit_vr=is_implicit, undefined=undefined)
        if syntax:
            size = TILE * TILE * 3
            value = b"".join(bytes([number % 251]) * size for number in range(frames))
            file.write(implicit(0x7FE0_0010, value) if is_implicit else explicit(0x7FE0_0010, "OB", value))
        else:
            pictures = [frame(number) for number in range(PICTURES)]
            pictures = [item(each + b"\0" * (len(each) % 2)) for each in pictures]
            file.write(explicit(0x7FE0_0010, "OB", item(), length=UNDEFINED))
            for number in range(frames):
                file.write(pictures[number % PICTURES])
            file.write(SEQUENCE_END)
    return places


def contours(path: Path, count: int, points: int, *, undefined: bool = False) -> None:
    """Write structures (RTSTRUCT): one region, whose ``count`` contours have so many points."""
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.481.3", "1.2.3.77.3"
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.3.77", "1.2.3.77.2"
    made.PatientID, made.PatientName, made.Modality = "P77", "Doe^Jane", "RTSTRUCT"
    made.StructureSetLabel = "Large"
    writer = _writer(implicit_vr=False, undefined=undefined)
    numbers = "\\".join(f"{each * 0.37:.2f}" for each in range(points * 3)).encode()
    numbers += b" " * (len(numbers) % 2)
    contour = writer(0x3006_0042, "CS", b"CLOSED_PLANAR ")
    one = writer(0xFFFE_E000, "", contour + writer(0x3006_0050, "DS", numbers))
    region = writer(0x3006_002A, "IS", b"255\\0\\0 ") + writer(0x3006_0040, "SQ", one * count)
    region += writer(0x3006_0084, "IS", b"1 ")
    with path.open("wb") as file:
        file.write(_written(made))
        _sequence(file, 0x3006_0039, iter([writer(0xFFFE_E000, "", region)]), implicit_vr=False, undefined=undefined)
        file.write(explicit(0x3006_0080, "SQ", item(explicit(0x3006_0084, "IS", b"1 "))))


def _head(frames: int, across: int, down: int, syntax: str) -> bytes:
    """Everything of a slide before the items of its frames."""
    keys = {(0, 0, 0, 0): np.zeros((TILE, TILE, 3), np.uint8)}
    uids: dict[str, Any] = {
        "StudyInstanceUID": "1.2.3.88",
        "SeriesInstanceUID": "1.2.3.88.1",
        "SOPInstanceUID": "1.2.3.88.2",
    }
    data = instance(keys, size=(TILE, TILE), sparse=True, syntax=syntax or JPEG, **uids)
    made = pydicom.dcmread(io.BytesIO(data))
    del made.PixelData, made.PerFrameFunctionalGroupsSequence
    made.NumberOfFrames = frames
    made.TotalPixelMatrixColumns, made.TotalPixelMatrixRows = across * TILE, down * TILE
    made.PatientName, made.PatientID = "Doe^Jane", "P88"
    return _written(made, syntax)


def _written(made: Dataset, syntax: str = "") -> bytes:
    file = io.BytesIO()
    if not hasattr(made, "file_meta"):
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if syntax:
        made.file_meta.TransferSyntaxUID = UID(syntax)
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _groups(write: Write, number: int, column: int, row: int) -> bytes:
    """The functional groups of a frame."""
    place = struct.pack("<2I", column + 1, row + 1)
    content = write(0xFFFE_E000, "", write(0x0020_9157, "UL", place))
    x, y = f"{column * 0.016:.6f}".encode(), f"{row * 0.016:.6f}".encode()
    position = b"".join((
        write(0x0040_072A, "DS", x + b" " * (len(x) % 2)),
        write(0x0040_073A, "DS", y + b" " * (len(y) % 2)),
        write(0x0040_074A, "DS", b"0 "),
        write(0x0048_021E, "SL", struct.pack("<i", column * TILE + 1)),
        write(0x0048_021F, "SL", struct.pack("<i", row * TILE + 1)),
    ))  # fmt: skip
    return write(0x0020_9111, "SQ", content) + write(0x0048_021A, "SQ", write(0xFFFE_E000, "", position))


def _writer(*, implicit_vr: bool, undefined: bool) -> Write:
    def write(tag: int, vr: str, value: bytes) -> bytes:
        if tag == 0xFFFE_E000:
            return item(value + ITEM_END, length=UNDEFINED) if undefined else item(value)
        length = UNDEFINED if undefined and vr == "SQ" else None
        value = value + SEQUENCE_END if length is not None else value
        return implicit(tag, value, length=length) if implicit_vr else explicit(tag, vr, value, length=length)

    return write


def _sequence(file: io.BufferedWriter, tag: int, items: Iterator[bytes], *, implicit_vr: bool, undefined: bool) -> None:
    """A sequence whose length is put in afterwards."""
    place = file.tell() + (4 if implicit_vr else 8)
    file.write(implicit(tag, length=UNDEFINED) if implicit_vr else explicit(tag, "SQ", length=UNDEFINED))
    begin = file.tell()
    for each in items:
        file.write(each)
    end = file.tell()
    if undefined:
        file.write(SEQUENCE_END)
        return
    file.seek(place)
    file.write(struct.pack("<I", end - begin))
    file.seek(end)
