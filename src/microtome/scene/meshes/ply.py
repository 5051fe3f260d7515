"""PLY (Greg Turk, "The PLY Polygon File Format"): whether a file holds what its header tells.

VTK's reader believes both the header and the numbers of points in faces, and ends the process over wrong ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microtome.errors import CorruptData

MAX_HEADER = 1 << 16
_END = re.compile(rb"^end_header[ \t]*\r?\n", re.MULTILINE)
_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_CORNERS = {"vertex_indices", "vertex_index"}


@dataclass(slots=True)
class _Element:
    """``properties``: (name, type, type of the length of a list or "" for one number)."""

    name: str
    count: int
    properties: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])


def check(path: Path) -> None:
    """Raises CorruptData where faces name points that are not there, or the file is shorter than it tells."""
    data = path.read_bytes()
    end = _END.search(data, 0, MAX_HEADER)
    if not data.startswith(b"ply") or end is None:
        raise CorruptData("The header of the mesh does not end")
    try:
        order, elements = _header(data[: end.start()].decode("latin-1"))
    except (ValueError, IndexError, KeyError) as error:
        raise CorruptData("The header of the mesh cannot be read") from error
    points = sum(element.count for element in elements if element.name == "vertex")
    words = _words(data[end.end() :]) if order == "" else None
    at = 0 if words is not None else end.end()
    for element in elements:
        if element.name not in {"vertex", "face"}:
            break  # not looked at by readers of surfaces
        if words is not None:
            at = _check_words(words, at, element, points)
        else:
            at = _check_bytes(data, at, element, points, order)


def _header(text: str) -> tuple[str, list[_Element]]:
    order, elements = "", list[_Element]()
    for line in text.splitlines()[1:]:
        match line.split():
            case ["format", name, *_]:
                order = _ORDERS[name]
            case ["element", name, count]:
                elements.append(_Element(name, int(count)))
            case ["property", "list", length, kind, name]:
                elements[-1].properties.append((name, _TYPES[kind], _TYPES[length]))
            case ["property", kind, name]:
                elements[-1].properties.append((name, _TYPES[kind], ""))
            case [] | ["comment" | "obj_info", *_]:
                continue
            case _:
                raise ValueError(line[:40])
    for element in elements:
        lists = [each for each in element.properties if each[2]]
        if element.count < 0 or any(each[2][0] == "f" for each in lists) or (lists and element.name != "face"):
            raise ValueError(element.name)
        if any(each[0] in _CORNERS and (not each[2] or each[1][0] == "f") for each in element.properties):
            raise ValueError(element.name)
    return order, elements


def _words(data: bytes) -> npt.NDArray[np.float64]:
    try:
        return np.array(data.split(), np.float64)
    except ValueError as error:
        raise CorruptData("Among the numbers of the mesh is something else") from error


def _check_words(words: npt.NDArray[np.float64], at: int, element: _Element, points: int) -> int:
    """One element of a text; where the next begins."""
    if not any(length for _, _, length in element.properties):
        at += element.count * len(element.properties)
        if at > len(words):
            raise _short()
        return at
    for _ in range(element.count):
        for name, _, length in element.properties:
            if at >= len(words):
                raise _short()
            count = words[at] if length else 1.0
            at += 1 if length else 0
            if not (count >= 0 and count.is_integer()) or at + count > len(words):
                raise _short()
            if name in _CORNERS:
                _check_corners(words[at : at + int(count)], points)
            at += int(count)
    return at


def _check_bytes(data: bytes, at: int, element: _Element, points: int, order: str) -> int:
    """One element of a binary file; where the next begins."""
    first: list[tuple[Any, ...]] = []
    place = at
    for number, (_, kind, length) in enumerate(element.properties):
        count = 1
        if length and element.count:
            count = _number(data, place, order + length)
            first.append((f"length{number}", order + length))
            place += np.dtype(length).itemsize
        first.append((f"value{number}", order + kind, (count,)))
        place += count * np.dtype(kind).itemsize
        if place > len(data) and element.count:
            raise _short()
    # Nearly always all faces have as many corners as the first.
    row = np.dtype(first)
    if at + element.count * row.itemsize <= len(data):
        rows: Any = np.frombuffer(data, row, element.count, at) if row.itemsize else np.empty(0, row)
        lists = [number for number, each in enumerate(element.properties) if each[2]]
        if all((rows[f"length{number}"] == row[f"value{number}"].shape[0]).all() for number in lists):
            for number, (name, _, _) in enumerate(element.properties):
                if name in _CORNERS:
                    _check_corners(rows[f"value{number}"], points)
            return at + element.count * row.itemsize
    elif not any(length for _, _, length in element.properties):
        raise _short()
    for _ in range(element.count):
        for name, kind, length in element.properties:
            count = 1
            if length:
                count = _number(data, at, order + length)
                at += np.dtype(length).itemsize
            size = count * np.dtype(kind).itemsize
            if at + size > len(data):
                raise _short()
            if name in _CORNERS:
                _check_corners(np.frombuffer(data, order + kind, count, at), points)
            at += size
    return at


def _number(data: bytes, at: int, kind: str) -> int:
    if at + np.dtype(kind).itemsize > len(data):
        raise _short()
    found = int(np.frombuffer(data, kind, 1, at)[0])
    if found < 0:
        raise _short()
    return found


def _check_corners(corners: npt.NDArray[Any], points: int) -> None:
    if corners.size and not 0 <= corners.min() <= corners.max() < points:
        raise CorruptData("The faces of the mesh name points that are not there")


def _short() -> CorruptData:
    return CorruptData("The mesh is shorter than its header tells")
