"""Transforms as ITK reads them (text, HDF5, MATLAB 4), looked at before: ITK takes memory for what they promise, and
follows what an HDF5 file links to.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from microtome.errors import CorruptData, UnsupportedFormat
from microtome.scene.places import ending_of

h5py: Any = import_module("h5py")  # it has no types

MAX_LANDMARKS = 250
"""Of a thin plate spline: MRML solves it in the scene's thread, in a time that grows with their third power."""
_PARAMETERS = frozenset({"TransformParameters", "TranformParameters"})
_FIXED = frozenset({"TransformFixedParameters", "TranformFixedParameters"})
"""ITK 4 spelt them so."""
_MOST_OBJECTS = 1000
_MOST_DEFLATED = 1100
"""Deflate makes nothing so many times smaller: a chunk that was never written takes no room at all."""
_GIVEN = 3
"""Of the fixed parameters of a grid the first are its size."""


class _Stated(NamedTuple):
    """What a file says of one transform: its class, how many fixed parameters, the first of these, how many others."""

    kind: str
    fixed: int
    first: Sequence[float]
    parameters: int


def check_stated(path: Path) -> None:
    """What the file says of its transforms is bearable, and in it. Raises CorruptData, UnsupportedFormat."""
    ending = ending_of(path.name)
    if h5py.is_hdf5(path) != (ending == ".h5"):
        raise CorruptData(f"Failed to load node from file: {path.name}. Its ending does not fit what is in it")
    try:
        stated = _of_hdf5(path) if ending == ".h5" else _of_matlab(path) if ending == ".mat" else _of_text(path)
        for each in stated:
            _check(each)
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, struct.error) as error:
        raise CorruptData(f"Failed to load node from file: {path.name}. It is no transform") from error


def _check(stated: _Stated) -> None:
    """Sizes of grids stand among the fixed parameters, and memory is taken for them."""
    if "BSpline" in stated.kind or "Displacement" in stated.kind:
        if len(stated.first) < _GIVEN or not all(1 <= size < math.inf for size in stated.first):  # NaN is not
            raise CorruptData("The transform tells no size of its grid")
        count = 3 * math.prod(stated.first)
        if count > stated.parameters:
            raise CorruptData(f"The transform promises {count:.0f} parameters and has {stated.parameters}")
    elif "Spline" in stated.kind or "Kernel" in stated.kind:
        landmarks = max(stated.fixed, stated.parameters) // 3
        if landmarks > MAX_LANDMARKS:
            raise UnsupportedFormat(
                f"Splines between landmarks are read with at most {MAX_LANDMARKS} of them, this one has {landmarks}",
                feature="landmarks",
            )


def _of_text(path: Path) -> Iterator[_Stated]:
    """Line by line, as ITK's TxtTransformIO does it."""
    kind, values = "", dict[str, str]()
    for line in path.read_text("latin-1").split("\n"):
        name, colon, value = (part.strip() for part in line.partition(":"))
        if not colon or name.startswith("#"):
            continue
        if name == "Transform":
            if kind:
                yield _of_lines(kind, values)
            kind, values = value, {}
        elif name not in {"Parameters", "FixedParameters"}:
            raise UnsupportedFormat(
                f"Lines of transforms that begin with {name[:40]} are not read", feature="transform"
            )
        elif name in values or not kind:
            raise CorruptData("The transform tells its parameters twice, or before it is named")
        else:
            values[name] = value
    if not kind:
        raise CorruptData(f"Failed to load node from file: {path.name}. It is no transform")
    yield _of_lines(kind, values)


def _of_lines(kind: str, values: dict[str, str]) -> _Stated:
    fixed = values.get("FixedParameters", "").split()
    return _Stated(
        kind, len(fixed), [float(word) for word in fixed[:_GIVEN]], len(values.get("Parameters", "").split())
    )


def _of_hdf5(path: Path) -> Iterator[_Stated]:
    with h5py.File(path, "r") as file:
        for found in _arrays(file):
            if found:
                yield _of_group(found)


def _arrays(file: Any) -> Iterator[dict[str, Any]]:
    """The arrays of each group by their names.

    Raises CorruptData for links, and for arrays that lie outside of the file or are larger than it can hold.
    """
    waiting, seen = [file], 0
    while waiting:
        group, arrays = waiting.pop(), dict[str, Any]()
        for name in group:
            seen += 1
            if seen > _MOST_OBJECTS:
                raise CorruptData("The transform consists of too many parts")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise CorruptData("The transform links to something else")
            found = group[name]
            if isinstance(found, h5py.Group):
                waiting.append(found)
            elif isinstance(found, h5py.Dataset):
                _check_stored(found)
                arrays[name] = found
            else:
                raise CorruptData("The transform holds something that is no array")
        yield arrays


def _check_stored(dataset: Any) -> None:
    if dataset.is_virtual or dataset.external:
        raise CorruptData("The transform has parameters in another file")
    promised, stored = dataset.size * dataset.dtype.itemsize, dataset.id.get_storage_size()
    if promised > max(1, stored) * (1 if dataset.compression is None else _MOST_DEFLATED):
        raise CorruptData(f"The transform promises {promised} bytes of parameters and has {stored}")


def _of_group(found: dict[str, Any]) -> _Stated:
    kind = str(np.ravel(found["TransformType"][()])[0]) if "TransformType" in found else ""
    parameters = max((dataset.size for name, dataset in found.items() if name in _PARAMETERS), default=0)
    fixed = [dataset for name, dataset in found.items() if name in _FIXED]
    if len(fixed) > 1 or any(dataset.ndim != 1 for dataset in fixed):
        raise CorruptData("The transform tells its fixed parameters twice")
    first = [float(number) for number in fixed[0][:_GIVEN]] if fixed else []
    return _Stated(kind, fixed[0].size if fixed else 0, first, parameters)


def _of_matlab(path: Path) -> Iterator[_Stated]:
    """Matrices of MATLAB 4, two for each transform: its parameters, and the fixed ones."""
    data = path.read_bytes()
    found = list(_matrices(data))
    for (kind, parameters, _), (_, fixed, first) in zip(found[::2], found[1::2], strict=True):
        yield _Stated(kind, fixed, first, parameters)


def _matrices(data: bytes) -> Iterator[tuple[str, int, Sequence[float]]]:
    """Name, number of elements and the first of them (little endian, real, full: what ITK writes)."""
    place = 0
    while place < len(data):
        kind, rows, columns, imaginary, length = struct.unpack_from("<5i", data, place)
        if kind not in {0, 10} or imaginary or min(rows, columns, length) < 0:
            raise UnsupportedFormat("Of MATLAB files, real matrices of version 4 are read", feature="matlab")
        name = data[place + 20 : place + 20 + length].rstrip(b"\0").decode("latin-1")
        begin, count = place + 20 + length, rows * columns
        place = begin + count * (4 if kind else 8)
        if place > len(data):
            raise CorruptData(f"The transform promises {count} numbers and has {len(data) - begin} bytes")
        yield name, count, struct.unpack_from(f"<{min(count, _GIVEN)}{'f' if kind else 'd'}", data, begin)
