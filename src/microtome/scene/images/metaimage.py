"""MetaImage (.mha, .mhd): lines ``Key = Value``, then the data or the name of its file (itk.org/Wiki/MetaIO)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microtome.errors import CorruptData
from microtome.scene.images.data import read_values
from microtome.scene.images.image import (
    LPS_TO_RAS,
    Image,
    Limits,
    checked_matrix,
    checked_sizes,
    of_integers,
    of_numbers,
    unsupported,
)

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_KEY = re.compile(rb"\s*[A-Za-z_][A-Za-z0-9_]*\s*=")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_MAX_LINES = 100_000


def recognises(head: bytes) -> bool:
    """Whether a file beginning like this is MetaImage."""
    return _KEY.match(head) is not None and b"NDims" in head


def read_header(path: Path) -> tuple[dict[str, str], int]:
    """The fields up to ElementDataFile, and where the data begins. Raises CorruptData."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        for _ in range(_MAX_LINES):
            line = file.readline(1 << 20)
            if _CONTROL.search(line.removesuffix(b"\n").removesuffix(b"\r")):
                raise CorruptData("The header of the MetaImage holds control characters")
            key, equals, value = line.decode("latin-1").partition("=")
            key = key.strip()
            if not equals:
                raise CorruptData("The header of a MetaImage ends with ElementDataFile")
            if key in fields:
                raise CorruptData(f"The header tells {key[:40]} twice")
            fields[key] = value.strip()
            if key == "ElementDataFile":
                return fields, file.tell()
    raise CorruptData("The header of the MetaImage does not end")


def read(path: Path, limits: Limits) -> Image:
    """The volume of a file. Raises CorruptData, UnsupportedFormat, LimitExceeded, NotFound, Forbidden."""
    fields, at = read_header(path)
    sizes = of_integers(fields.get("DimSize", ""), "DimSize")
    dimension = of_integers(fields.get("NDims", ""), "NDims")
    if dimension != [len(sizes)] or not 1 <= len(sizes) <= 4:
        raise CorruptData(f"The header tells {len(sizes)} sizes for NDims = {fields.get('NDims', '')[:20]}")
    channels = (of_integers(fields.get("ElementNumberOfChannels", "1"), "ElementNumberOfChannels") or [1])[0]
    code = _TYPES.get(fields.get("ElementType", "").upper().removesuffix("_ARRAY"))
    if code is None:
        raise unsupported(f"numbers of type {fields.get('ElementType', '')[:40]}")
    big = _true(fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False")))
    dtype = np.dtype(code).newbyteorder(">" if big else "<")
    checked_sizes([*sizes, channels], dtype.itemsize, limits)
    count = int(np.prod([*sizes, channels], dtype=np.int64))
    data = fields["ElementDataFile"]
    if data.upper().startswith("LIST") or "%" in data:
        raise unsupported("slices in files of their own (ElementDataFile = LIST)")
    skip = of_integers(fields.get("HeaderSize", "0"), "HeaderSize")[0]
    if data.upper() == "LOCAL":
        skip, source = at, path
    else:
        source = limits.neighbour(data)
    with source.open("rb") as file:
        if skip > 0:
            file.seek(skip)
        values = read_values(file, dtype, count, _encoding(fields), byte_skip=-1 if skip == -1 else 0)
    if not values.dtype.isnative:
        values = values.byteswap(inplace=True).view(values.dtype.newbyteorder("="))
    return _arranged(fields, sizes, channels, values)


def _encoding(fields: dict[str, str]) -> str:
    if not _true(fields.get("BinaryData", "True")):
        return "text"
    return "zlib" if _true(fields.get("CompressedData", "False")) else "raw"


def _true(text: str) -> bool:
    return text[:1].upper() in {"T", "1"}


def _arranged(fields: dict[str, str], sizes: list[int], channels: int, values: npt.NDArray[Any]) -> Image:
    count = len(sizes)
    padded = (*sizes, 1, 1, 1)[:3]
    times = sizes[3] if count == 4 else 1
    array = values.reshape(times, *padded[::-1], channels)
    if channels == 1:
        array = array[..., 0]
    flat = min(count, 3)
    matrix = np.eye(4)
    steps = _several(fields, ("ElementSpacing", "ElementSize"), count, [1.0] * count)
    origin = _several(fields, ("Offset", "Position", "Origin"), count, [0.0] * count)
    axes = np.reshape(
        _several(fields, ("TransformMatrix", "Rotation", "Orientation"), count * count, list(np.eye(count).flat)),
        (count, count),
    ).T  # one axis after the other in the file
    matrix[:flat, :flat] = (axes * steps)[:flat, :flat]
    matrix[:flat, 3] = origin[:flat]
    matrix = checked_matrix(LPS_TO_RAS @ matrix)
    return Image(np.ascontiguousarray(array[0]), matrix, fields, list(array) if times > 1 else ())


def _several(fields: dict[str, str], names: tuple[str, ...], count: int, default: list[float]) -> list[float]:
    for name in names:
        if name in fields:
            numbers = of_numbers(fields[name], name)
            if len(numbers) != count:
                raise CorruptData(f"The header tells {len(numbers)} numbers for {name}, not {count}")
            return numbers
    return default
