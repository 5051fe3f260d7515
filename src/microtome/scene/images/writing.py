"""NRRD out of arrays, any type and encoding, in parts: no second copy of the volume is made."""

from __future__ import annotations

import bz2
from collections.abc import Iterator
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt
from isal import igzip

from microtome.errors import InvalidRequest
from microtome.scene.images.data import ENCODINGS
from microtome.scene.images.image import LPS_TO_RAS, Image
from microtome.scene.images.nrrd import NAMES, TYPES

_PART = 4 << 20
_LINE = 64


def encoding_of(text: str) -> str:
    """The encoding that a name means. Raises InvalidRequest."""
    found = ENCODINGS.get(text.lower())
    if found is None:
        raise InvalidRequest(f"encoding is raw, gzip, bzip2, text or hex, not {text[:40]}", parameter="encoding")
    return found


def compatible(voxels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """As short where every value is one, else as it is. The original knows short and double only."""
    if voxels.dtype.kind in "iu" and (
        voxels.dtype.itemsize == 1 or (voxels.size and voxels.min() >= -32768 and voxels.max() <= 32767)
    ):
        return voxels.astype(np.int16, copy=False)
    return voxels


def converted(voxels: npt.NDArray[Any], type_name: str) -> npt.NDArray[Any]:
    """In another type, rounded to whole numbers and clamped where it needs be. Raises InvalidRequest."""
    dtype = TYPES.get(type_name.lower())
    if dtype is None:
        raise InvalidRequest(f"{type_name[:40]} is no type of NRRD", parameter="type")
    if dtype.kind != "f":
        limits = np.iinfo(dtype)
        finite = np.nan_to_num(voxels) if voxels.dtype.kind == "f" else voxels
        wide = np.rint(finite) if voxels.dtype.kind == "f" else finite
        # Bounds of 64 bits are no exact doubles: the nearest inside are.
        low, high = (max(limits.min, -(2**63)), min(limits.max, 2**63 - 1024 if wide.dtype.kind == "f" else limits.max))
        voxels = np.clip(wide, low, high) if not np.can_cast(wide.dtype, dtype) else wide
    return voxels.astype(dtype, copy=False)


def header(image: Image, encoding: str, *, kind: str = "vector") -> bytes:
    """The lines before the data, the original's fields in its order, then an empty one."""
    voxels = image.voxels
    lps = LPS_TO_RAS @ image.ijk_to_ras
    sizes = [*voxels.shape[2::-1]]
    directions = [_vector(lps[:3, column]) for column in range(3)]
    kinds = ["domain"] * 3
    if voxels.ndim == 4:
        sizes.insert(0, voxels.shape[3])
        directions.insert(0, "none")
        kinds.insert(0, kind)
    lines = [
        "NRRD0004",
        "# Complete NRRD file format specification at:",
        "# http://teem.sourceforge.net/nrrd/format.html",
        f"type: {NAMES[voxels.dtype.newbyteorder('=')]}",
        f"dimension: {voxels.ndim}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(str(size) for size in sizes)}",
        f"space directions: {' '.join(directions)}",
        f"kinds: {' '.join(kinds)}",
        "endian: little",
        f"encoding: {encoding}",
        f"space origin: {_vector(lps[:3, 3])}",
    ]
    return ("\n".join(lines) + "\n\n").encode()


def write(file: IO[bytes], image: Image, encoding: str = "raw", *, kind: str = "vector") -> None:
    """Header and data."""
    file.write(header(image, encoding, kind=kind))
    if encoding in {"gzip", "bzip2"}:
        stream: Any = (
            igzip.IGzipFile(fileobj=file, mode="wb", compresslevel=1, mtime=0)
            if encoding == "gzip"
            else bz2.BZ2File(file, "wb", compresslevel=1)
        )
        with stream:
            for part in _parts(image.voxels):
                stream.write(part)
        return
    for part in _parts(image.voxels):
        file.write(part if encoding == "raw" else _as_text(part, image.voxels.dtype, encoding))


def _parts(voxels: npt.NDArray[Any]) -> Iterator[memoryview]:
    """The bytes, little-endian, a few slices at a time."""
    each = max(1, _PART // max(1, voxels[0].nbytes))
    for at in range(0, len(voxels), each):
        part = np.ascontiguousarray(voxels[at : at + each], voxels.dtype.newbyteorder("<"))
        yield memoryview(cast("Any", part)).cast("B")


def _as_text(part: memoryview, dtype: np.dtype[Any], encoding: str) -> bytes:
    if encoding == "hex":
        return part.hex("\n", _LINE).encode() + b"\n"
    values = np.frombuffer(part, dtype.newbyteorder("<")).tolist()
    lines = (" ".join(repr(value) for value in values[at : at + _LINE]) for at in range(0, len(values), _LINE))
    return ("\n".join(lines) + "\n").encode()


def _vector(values: npt.NDArray[np.float64]) -> str:
    return f"({','.join(repr(float(value)) for value in values)})"
