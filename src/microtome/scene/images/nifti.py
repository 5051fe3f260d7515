"""NIfTI-1 and NIfTI-2 (nifti1.h, nifti2.h): one file (.nii) or a pair (.hdr, .img), with gzip or without."""

from __future__ import annotations

import struct
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt
from isal import igzip

from microtome.errors import CorruptData
from microtome.scene.images.data import read_values, room_for
from microtome.scene.images.image import Image, Limits, checked_matrix, checked_sizes, unsupported

_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_COLORS = {128: 3, 2304: 4}
_MM = {1: 1000.0, 2: 1.0, 3: 0.001}
"""xyzt_units & 7: metre, millimetre, micrometre."""
_ONE = {
    "dim": ("8h", 40),
    "datatype": ("h", 70),
    "pixdim": ("8f", 76),
    "offset": ("f", 108),
    "scale": ("2f", 112),
    "units": ("b", 123),
    "codes": ("2h", 252),
    "quatern": ("6f", 256),
    "rows": ("12f", 280),
    "intent": ("h", 68),
    "magic": ("4s", 344),
}
_TWO = {
    "dim": ("8q", 16),
    "datatype": ("h", 12),
    "pixdim": ("8d", 104),
    "offset": ("q", 168),
    "scale": ("2d", 176),
    "units": ("i", 500),
    "codes": ("2i", 344),
    "quatern": ("6d", 352),
    "rows": ("12d", 400),
    "intent": ("i", 504),
    "magic": ("4s", 4),
}


@dataclass(frozen=True, slots=True)
class Header:
    """The fields that matter. ``sizes``: as stored, fastest axis first, at most seven."""

    sizes: tuple[int, ...]
    dtype: np.dtype[Any]
    colors: int
    offset: int
    slope: float
    intercept: float
    matrix: npt.NDArray[np.float64]
    paired: bool

    @property
    def count(self) -> int:
        """Numbers in the file."""
        return int(np.prod(self.sizes, dtype=np.int64)) * self.colors


def recognises(head: bytes) -> bool:
    """Whether these first bytes (348) are of NIfTI."""
    return head[344:347] in {b"n+1", b"ni1"} or head[4:7] in {b"n+2", b"ni2"}


def read_header(head: bytes) -> Header:
    """The header of 348 or 540 bytes. Raises CorruptData, UnsupportedFormat."""
    for order in "<>":
        (size,) = struct.unpack_from(order + "i", head, 0) if len(head) >= 4 else (0,)
        if size in {348, 540}:
            break
    else:
        raise CorruptData("A NIfTI header begins with its size, 348 or 540")
    layout = _ONE if size == 348 else _TWO
    if len(head) < size:
        raise CorruptData("The NIfTI header is cut off")
    found = {name: struct.unpack_from(order + kind, head, at) for name, (kind, at) in layout.items()}
    magic = found["magic"][0][:3]
    if magic not in {b"n+1", b"ni1", b"n+2", b"ni2"}:
        raise unsupported("Analyze 7.5 (a header without the mark of NIfTI)")
    dim = found["dim"]
    if not 1 <= dim[0] <= 7:
        raise CorruptData(f"The header tells {dim[0]} dimensions")
    code = found["datatype"][0]
    if code not in _TYPES and code not in _COLORS:
        raise unsupported(f"numbers of NIfTI type {code}")
    offset = found["offset"][0]
    slope, intercept = found["scale"]
    if not 0 <= offset < 1 << 40:
        raise CorruptData("The header tells an impossible place of the data (vox_offset)")
    return Header(
        tuple(dim[1 : dim[0] + 1]),
        np.dtype(order + _TYPES[code]) if code in _TYPES else np.dtype("u1"),
        _COLORS.get(code, 1),
        int(offset),
        slope,
        intercept,
        _matrix(found),
        magic[:2] == b"ni",
    )


def _matrix(found: dict[str, tuple[Any, ...]]) -> npt.NDArray[np.float64]:
    """Voxels to mm, right anterior superior: sform, else qform, else the sizes of voxels (nifti1.h, "METHOD")."""
    qform, sform = found["codes"]
    pixdim = found["pixdim"]
    matrix = np.eye(4)
    if sform > 0:
        matrix[:3] = np.reshape(found["rows"], (3, 4))
    elif qform > 0:
        b, c, d, x, y, z = (float(value) for value in found["quatern"])
        rest = 1.0 - (b * b + c * c + d * d)
        if rest < -1e-6:
            raise CorruptData("The quaternion of the header is longer than one")
        a = max(rest, 0.0) ** 0.5
        rotation = np.array(
            [
                [a * a + b * b - c * c - d * d, 2 * b * c - 2 * a * d, 2 * b * d + 2 * a * c],
                [2 * b * c + 2 * a * d, a * a + c * c - b * b - d * d, 2 * c * d - 2 * a * b],
                [2 * b * d - 2 * a * c, 2 * c * d + 2 * a * b, a * a + d * d - c * c - b * b],
            ]
        )
        matrix[:3, :3] = rotation * _steps(pixdim) * [1.0, 1.0, -1.0 if pixdim[0] < 0 else 1.0]
        matrix[:3, 3] = x, y, z
    else:
        matrix[:3, :3] = np.diag(_steps(pixdim))
    matrix[:3] *= _MM.get(int(found["units"][0]) & 7, 1.0)
    return checked_matrix(matrix)


def _steps(pixdim: tuple[float, ...]) -> npt.NDArray[np.float64]:
    steps = np.abs(np.asarray(pixdim[1:4], np.float64))
    return np.where(steps > 0, steps, 1.0)


@contextmanager
def _opened(path: Path) -> Generator[IO[bytes]]:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        yield cast("IO[bytes]", igzip.IGzipFile(fileobj=file, mode="rb")) if packed else file


def read_head(path: Path) -> bytes:
    """The first bytes of a file, unpacked. Raises CorruptData."""
    try:
        with _opened(path) as file:
            return file.read(540)
    except (OSError, EOFError) as error:
        raise CorruptData("The compressed data is broken") from error


def check(path: Path, limits: Limits) -> tuple[Header, Path]:
    """Header and file of the data, if there can be as much data as the header promises. Raises as ``read``."""
    header = read_header(read_head(path))
    sizes = [size * (header.colors if axis == 0 else 1) for axis, size in enumerate(header.sizes)]
    length = checked_sizes(sizes, header.dtype.itemsize, limits)
    if header.paired:
        name = path.name.lower()
        ending = ".img.gz" if name.endswith(".gz") else ".img"
        path = limits.neighbour(path.name[: -len(".hdr.gz" if name.endswith(".gz") else ".hdr")] + ending)
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    room_for(length, path.stat().st_size, "gzip" if packed else "raw")
    return header, path


def read(path: Path, limits: Limits) -> Image:
    """The volume of a file. Raises CorruptData, UnsupportedFormat, LimitExceeded, NotFound, Forbidden."""
    header, path = check(path, limits)
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        values = read_values(file, header.dtype, header.count, "gzip" if packed else "raw", byte_skip=header.offset)
    return _arranged(header, values)


def _arranged(header: Header, values: npt.NDArray[Any]) -> Image:
    sizes = (*header.sizes, 1, 1, 1, 1)[: max(len(header.sizes), 5)]
    spatial, times, components = sizes[:3], sizes[3], int(np.prod(sizes[4:], dtype=np.int64))
    if not values.dtype.isnative:
        values = values.byteswap(inplace=True).view(values.dtype.newbyteorder("="))
    if header.slope not in {0.0} and np.isfinite(header.slope) and (header.slope, header.intercept) != (1.0, 0.0):
        exact = np.float32 if values.dtype.itemsize <= 2 else np.float64
        values = (values * np.float64(header.slope) + np.float64(header.intercept)).astype(exact)
    array = values.reshape(components, times, *spatial[::-1], header.colors)
    # Components of a file with vectors lie behind the axis of time (dim[5]); in a volume they belong to the voxel.
    array = array.transpose(1, 2, 3, 4, 0, 5).reshape(times, *spatial[::-1], components * header.colors)
    if array.shape[-1] == 1:
        array = array[..., 0]
    return Image(np.ascontiguousarray(array[0]), header.matrix, frames=list(array) if times > 1 else ())
