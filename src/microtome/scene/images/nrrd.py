"""NRRD: header, data and writing ("Definition of NRRD File Format", teem.sourceforge.net/nrrd/format.html)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from microtome.errors import CorruptData
from microtome.scene.images.data import ENCODINGS, read_values, room_for
from microtome.scene.images.image import (
    LPS_TO_RAS,
    MAX_DIMENSION,
    MAX_HEADER,
    Image,
    Limits,
    checked_matrix,
    checked_sizes,
    of_integers,
    of_numbers,
    unsupported,
)

MAGIC = b"NRRD000"
_FIRST = re.compile(rb"NRRD000[0-9]\r?\n")
_EXTENT = re.compile(r"Segment[0-9]+_Extent")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
MAX_FILES = 65536
_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
TYPES = {name: np.dtype(code) for code, names in _TYPES.items() for name in names}
NAMES = {
    np.dtype(code): name
    for code, name in {
        "i1": "signed char",
        "u1": "unsigned char",
        "i2": "short",
        "u2": "unsigned short",
        "i4": "int",
        "u4": "unsigned int",
        "i8": "long long int",
        "u8": "unsigned long long int",
        "f4": "float",
        "f8": "double",
    }.items()
}
_TO_RAS = {
    "right-anterior-superior": np.eye(4),
    "left-anterior-superior": np.diag([-1.0, 1.0, 1.0, 1.0]),
    "left-posterior-superior": LPS_TO_RAS,
}
_SPACES = {"ras": "right-anterior-superior", "las": "left-anterior-superior", "lps": "left-posterior-superior"}
_SPATIAL = {"domain", "space"}
_TIME = {"time"}
_PATTERN = re.compile(r"([^%]*)%(0?[0-9]{0,2})[du]([^%]*)")
_VECTOR = re.compile(r"\(([^()]*)\)|none", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Header:
    """``fields`` by their name in lower case, ``keys`` as written. ``sizes``: fastest axis first."""

    fields: dict[str, str]
    keys: dict[str, str]
    files: tuple[str, ...]
    dtype: np.dtype[Any]
    sizes: tuple[int, ...]
    encoding: str
    line_skip: int = 0
    byte_skip: int = 0
    end: int = field(default=0)
    """Where the data begins in a file that holds both."""

    @property
    def count(self) -> int:
        """Numbers in the array."""
        return int(np.prod(self.sizes, dtype=np.int64))


def read_header(file: IO[bytes]) -> Header:
    """Everything up to the empty line. Raises CorruptData, UnsupportedFormat."""
    if not _FIRST.fullmatch(file.readline(32)):
        raise CorruptData("A NRRD file begins with NRRD000 and a version")
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    files: tuple[str, ...] = ()
    for line in _lines(file):
        if line.startswith("#"):
            continue
        at, key_at = line.find(": "), line.find(":=")
        if key_at >= 0 and (at < 0 or key_at < at):
            keys[line[:key_at]] = line[key_at + 2 :].replace("\\n", "\n").replace("\\\\", "\\")
            continue
        name, colon, value = line.partition(":")
        if not colon:
            raise CorruptData(f"A line of the header is neither a field nor a key: {line[:40]}")
        name, value = name.strip().lower(), value.strip()
        if name in {"data file", "datafile"}:
            if files:
                raise CorruptData(f"The header tells {name} twice")
            files = tuple(_files(value, file))
            if value.split()[:1] == ["LIST"]:
                break
        elif name in fields:
            raise CorruptData(f"The header tells {name} twice")
        else:
            fields[name] = value
    return _header(fields, keys, files, file.tell())


def _lines(file: IO[bytes]) -> Iterator[str]:
    """Until the empty line, or the end of a header that stands alone."""
    left = MAX_HEADER
    while True:
        line = file.readline(left + 1)
        left -= len(line)
        if left < 0:
            raise CorruptData("The header does not end within 16 MiB")
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        if not line:
            return
        # Other readers, to which the file may go on, end lines there: they would see fields that nobody has looked at.
        if _CONTROL.search(line) or not line.strip():
            raise CorruptData("The header holds control characters, or a line of blanks alone")
        yield line.decode("utf-8", "replace")


def _files(value: str, file: IO[bytes]) -> Iterator[str]:
    """The names of detached files (§ "Detached headers")."""
    words = value.split()
    if value.startswith("LIST") and words[0] != "LIST":
        raise CorruptData("The list of files cannot be read")
    if words[:1] == ["LIST"]:
        for number, line in enumerate(_lines(file)):
            if number >= MAX_FILES:
                raise CorruptData("The header lists more than 65536 files")
            yield line
    elif "%" in value:
        found = _PATTERN.fullmatch(words[0])
        if found is None or not 4 <= len(words) <= 5:
            raise CorruptData("The pattern of file names cannot be read")
        first, last, step = of_integers(" ".join(words[1:4]), "data file")
        if step == 0 or abs(last - first) // abs(step) >= MAX_FILES:
            raise CorruptData("The pattern names no files, or more than 65536")
        width = int(found[2] or 0)
        for number in range(first, last + (1 if step > 0 else -1), step):
            text = f"{number:0{width}d}" if found[2].startswith("0") else f"{number:{width}d}" if width else str(number)
            yield found[1] + text + found[3]
    else:
        yield value


def _header(fields: dict[str, str], keys: dict[str, str], files: tuple[str, ...], end: int) -> Header:
    for needed in ("type", "dimension", "sizes", "encoding"):
        if needed not in fields:
            raise CorruptData(f"The header lacks the field {needed}")
    dtype = TYPES.get(fields["type"].lower())
    if dtype is None:
        raise unsupported(f"numbers of type {fields['type'][:40]}")
    encoding = ENCODINGS.get(fields["encoding"].lower())
    if encoding is None:
        raise unsupported(f"encoding {fields['encoding'][:40]}")
    (dimension,) = of_integers(fields["dimension"], "dimension")[:1] or [0]
    sizes = tuple(of_integers(fields["sizes"], "sizes"))
    if not 1 <= dimension <= 16 or len(sizes) != dimension:
        raise CorruptData(f"The header tells {len(sizes)} sizes for {dimension} dimensions")
    if dtype.itemsize > 1 and encoding != "text":
        endian = fields.get("endian", "").lower()
        if endian not in {"little", "big"}:
            raise CorruptData("The header does not tell the order of bytes (endian)")
        dtype = dtype.newbyteorder("<" if endian == "little" else ">")
    skips = [fields.get(f"{what} skip", fields.get(f"{what}skip", "0")) for what in ("line", "byte")]
    line_skip, byte_skip = (of_integers(text, "skip")[0] if text.split() else 0 for text in skips)
    if not 0 <= line_skip <= 1 << 20 or not -1 <= byte_skip <= 1 << 40:
        raise CorruptData(f"The header tells to skip {line_skip} lines and {byte_skip} bytes: that cannot be done")
    return Header(fields, keys, files, dtype, sizes, encoding, line_skip, byte_skip, end)


def read(path: Path, limits: Limits) -> Image:
    """The volume of a file. Raises CorruptData, UnsupportedFormat, LimitExceeded, NotFound, Forbidden."""
    with path.open("rb") as file:
        header = read_header(file)
        checked_sizes(header.sizes, header.dtype.itemsize, limits)
        if not header.files:
            file.seek(header.end)
            values = _read(file, header, header.count)
        else:
            values = _detached(header, limits)
    return arranged(header, values)


def check(path: Path, limits: Limits) -> None:
    """Whether there can be as much data as the header promises. Raises as ``read``."""
    with path.open("rb") as file:
        header = read_header(file)
    length = checked_sizes(header.sizes, header.dtype.itemsize, limits)
    axes = _axes(header)[0]
    _matrix(header, axes)
    _check_segments(header.keys, [header.sizes[axis] for axis in axes])
    files = [limits.neighbour(name) for name in header.files]
    room = sum(each.stat().st_size for each in files) if files else path.stat().st_size - header.end
    room_for(header.count * 2 - 1 if header.encoding == "text" else length, room, header.encoding)


def _check_segments(keys: dict[str, str], sizes: Sequence[int]) -> None:
    """Segments of a .seg.nrrd tell where they lie in the volume; memory is taken for it. Raises CorruptData."""
    for key, text in keys.items():
        if _EXTENT.fullmatch(key):
            places = of_integers(text, key)
            if len(places) != 6 or any(
                not -1 <= place <= size for place, size in zip(places, np.repeat([*sizes, 1, 1][:3], 2), strict=True)
            ):
                raise CorruptData(f"A segment lies outside of the volume ({key})")
        elif key == "Segmentation_ReferenceImageExtentOffset" and any(
            abs(place) > MAX_DIMENSION for place in of_integers(text, key)
        ):
            raise CorruptData(f"The volume lies too far away ({key})")


def _read(file: IO[bytes], header: Header, count: int) -> npt.NDArray[Any]:
    return read_values(
        file, header.dtype, count, header.encoding, line_skip=header.line_skip, byte_skip=header.byte_skip
    )


def _detached(header: Header, limits: Limits) -> npt.NDArray[Any]:
    each, rest = divmod(header.count, len(header.files))
    if rest:
        raise CorruptData(f"{len(header.files)} files cannot share {header.count} numbers evenly")
    paths = [limits.neighbour(name) for name in header.files]
    if len(paths) == 1:
        with paths[0].open("rb") as file:
            return _read(file, header, each)
    parts = list[npt.NDArray[Any]]()
    for path in paths:
        with path.open("rb") as file:
            parts.append(_read(file, header, each))
    return np.concatenate(parts)


def arranged(header: Header, values: npt.NDArray[Any]) -> Image:
    """The numbers as a volume: slices, rows, columns, components; frames apart."""
    array = values.reshape(header.sizes[::-1])
    if not array.dtype.isnative:
        array = array.byteswap(inplace=array.flags.writeable).view(array.dtype.newbyteorder("="))
    axes, components, times = _axes(header)
    # numpy counts from the slowest axis.
    last = array.ndim - 1
    order = [last - axis for axis in (*reversed(times), *reversed(axes), *reversed(components))]
    array = array.transpose(order)
    count = int(np.prod([header.sizes[axis] for axis in components], dtype=np.int64))
    spatial = tuple(header.sizes[axis] for axis in reversed(axes))
    spatial = (1,) * (3 - len(spatial)) + spatial
    steps = int(np.prod([header.sizes[axis] for axis in times], dtype=np.int64))
    array = array.reshape(steps, *spatial, count) if count > 1 else array.reshape(steps, *spatial)
    fields = {**header.fields, **header.keys}
    matrix = checked_matrix(_matrix(header, axes))
    return Image(np.ascontiguousarray(array[0]), matrix, fields, list(array) if steps > 1 else ())


def _axes(header: Header) -> tuple[list[int], list[int], list[int]]:
    """Which axes are of space, which of components, which of time."""
    count = len(header.sizes)
    kinds = [kind.lower() for kind in header.fields.get("kinds", "").split()]
    directions = _directions(header)
    if directions is not None:
        spatial = [axis for axis, direction in enumerate(directions) if direction is not None]
    elif len(kinds) == count and any(kind in _SPATIAL for kind in kinds):
        spatial = [axis for axis, kind in enumerate(kinds) if kind in _SPATIAL]
    else:
        spatial = list(range(min(count, 3)))
    if not spatial or len(spatial) > 3:
        raise unsupported(f"{len(spatial)} axes of space")
    components: list[int] = []
    times: list[int] = []
    for axis in range(count):
        if axis in spatial:
            continue
        kind = kinds[axis] if axis < len(kinds) else ""
        # Behind the axes of space lies what comes one after the other; before them, what belongs to a voxel.
        behind = axis > max(spatial)
        into = times if kind in _TIME or (behind and kind in {"", "none", "domain", "list", "???"}) else components
        into.append(axis)
    return spatial, components, times


def _directions(header: Header) -> list[list[float] | None] | None:
    text = header.fields.get("space directions")
    if text is None:
        return None
    found = [
        None if vector[1] is None else of_numbers(vector[1].replace(",", " "), "space directions")
        for vector in _VECTOR.finditer(text)
    ]
    if len(found) != len(header.sizes):
        raise CorruptData(f"The header tells {len(found)} directions for {len(header.sizes)} axes")
    return [None if vector is None or np.isnan(vector).all() else vector for vector in found]


def _matrix(header: Header, axes: Sequence[int]) -> npt.NDArray[np.float64]:
    matrix = np.eye(4)
    directions = _directions(header)
    if directions is not None:
        vectors = [direction for axis in axes if (direction := directions[axis]) is not None]
        size = len(vectors[0])
        if any(len(vector) != size for vector in vectors) or not len(vectors) <= size <= 4:
            raise CorruptData("The directions of the axes have different lengths")
        for column, vector in enumerate(vectors):
            matrix[: min(size, 3), column] = vector[:3]
        _complete(matrix, len(vectors))
        if "space origin" in header.fields:
            origin = _VECTOR.search(header.fields["space origin"])
            numbers = of_numbers((origin[1] or "").replace(",", " ") if origin else "", "space origin")
            if len(numbers) != size:
                raise CorruptData("The origin has another dimension than the space")
            matrix[: min(size, 3), 3] = numbers[:3]
    else:
        for column, axis in enumerate(axes):
            matrix[column, column] = _step(header, "spacings", axis, 1.0)
            matrix[column, 3] = _step(header, "axis mins", axis, 0.0)
    space = header.fields.get("space", "left-posterior-superior").lower().removesuffix("-time").removesuffix("t")
    return _TO_RAS.get(_SPACES.get(space, space), LPS_TO_RAS) @ matrix


def _complete(matrix: npt.NDArray[np.float64], given: int) -> None:
    """Axes that a flat picture lacks stand upright on the others, 1 mm long."""
    if given == 2:
        normal = np.cross(matrix[:3, 0], matrix[:3, 1])
        matrix[:3, 2] = normal / (np.linalg.norm(normal) or 1.0)


def _step(header: Header, name: str, axis: int, default: float) -> float:
    text = header.fields.get(name, header.fields.get(name.replace(" ", "")))
    if text is None:
        return default
    numbers = of_numbers(text.lower().replace("none", "nan"), name)
    found = numbers[axis] if axis < len(numbers) else default
    return found if np.isfinite(found) else default
