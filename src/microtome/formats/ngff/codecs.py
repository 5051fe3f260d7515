"""The codecs of Zarr v2 and v3 that images use: stored bytes of a chunk to its samples.

Every step is given the most bytes it may make, so that a chunk never becomes larger than its array says. Only what is
listed here is ever called; there is no way from a name in a file to other code.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from microtome.errors import CorruptData, UnsupportedFormat
from microtome.formats.ngff.values import Json, mapping, sequence, text
from microtome.pixels.codecs import inflate

Samples = NDArray[np.generic]
Step = Callable[[bytes, int], bytes]
"""Takes bytes and the most it may give."""
_LZMA_MEMORY = 128 << 20
_SPARE = 1 << 16


@dataclass(frozen=True, slots=True)
class Pipeline:
    """How a chunk of ``shape`` is decoded: ``steps`` in the order they are done, then the bytes are samples.

    ``dtype`` has the byte order of the file. ``transposed`` is the order in which the axes are stored.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    transposed: tuple[int, ...]
    steps: tuple[Step, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of a decoded chunk."""
        count = self.dtype.itemsize
        for side in self.shape:
            count *= side
        return count

    @property
    def most_stored(self) -> int:
        """More bytes than this no honest writer makes of a chunk."""
        return 2 * self.nbytes + _SPARE

    def decode(self, data: bytes) -> Samples:
        """Samples in native byte order and the shape of the chunk. Raises CorruptData, UnsupportedFormat."""
        for number, step in enumerate(self.steps, 1):
            limit = self.nbytes if number == len(self.steps) else self.most_stored
            try:
                data = step(data, limit)
            except (RuntimeError, ValueError, TypeError, OSError, EOFError, MemoryError) as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0][:150]
                raise CorruptData(f"A chunk cannot be decompressed: {reason}") from error
        if len(data) != self.nbytes:
            raise CorruptData(f"A chunk holds {len(data)} bytes; its array says {self.nbytes}")
        stored = tuple(self.shape[axis] for axis in self.transposed)
        array = np.frombuffer(data, self.dtype).reshape(stored).transpose(np.argsort(self.transposed))
        return array.astype(self.dtype.newbyteorder("="), copy=False)


def _blosc(data: bytes, limit: int) -> bytes:
    # The header of a Blosc 1 frame: version, version of the codec, flags, typesize, then three lengths.
    if len(data) < 16 or (claimed := int.from_bytes(data[4:8], "little")) > limit:
        raise CorruptData("The header of a Blosc chunk claims more than the chunk can hold")
    if int.from_bytes(data[12:16], "little") > len(data):
        raise CorruptData("A Blosc chunk is cut short")
    return bytes(imagecodecs.blosc_decode(data, out=bytearray(claimed)))


def _deflated(bits: int) -> Step:
    def step(data: bytes, limit: int) -> bytes:
        try:
            return zlib.decompressobj(bits).decompress(data, max(limit, 1))
        except zlib.error as error:
            raise CorruptData(f"A chunk cannot be decompressed: {str(error)[:150]}") from error

    return step


def _zstd(data: bytes, limit: int) -> bytes:
    return inflate("zstd", data, limit)


def _lz4(data: bytes, limit: int) -> bytes:
    claimed = int.from_bytes(data[:4], "little")
    if claimed > limit:
        raise CorruptData("The header of an LZ4 chunk claims more than the chunk can hold")
    return bytes(imagecodecs.lz4_decode(data[4:], out=bytearray(claimed)))


def _bz2(data: bytes, limit: int) -> bytes:
    return bz2.BZ2Decompressor().decompress(data, max(limit, 1))


def _lzma(data: bytes, limit: int) -> bytes:
    try:
        return lzma.LZMADecompressor(memlimit=_LZMA_MEMORY).decompress(data, max(limit, 1))
    except lzma.LZMAError as error:
        raise CorruptData(f"A chunk cannot be decompressed: {str(error)[:150]}") from error


def crc32c(data: bytes, limit: int) -> bytes:
    """What stands before a CRC-32C, which is the last four bytes, little-endian. Raises CorruptData."""
    from google_crc32c import value as checksum  # pyright: ignore[reportUnknownVariableType]

    if len(data) < 4 or checksum(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise CorruptData("The checksum of a chunk is wrong")
    return data[:-4]


def _shuffled(size: int) -> Step:
    def step(data: bytes, limit: int) -> bytes:
        if size == 1:
            return data
        whole = len(data) // size * size
        planes = np.frombuffer(data[:whole], np.uint8).reshape(size, -1)
        return planes.T.tobytes() + data[whole:]

    return step


def _delta(dtype: np.dtype[Any], stored: np.dtype[Any]) -> Step:
    def step(data: bytes, limit: int) -> bytes:
        if len(data) // stored.itemsize * dtype.itemsize > limit:
            raise CorruptData("A chunk holds more samples than its array says")
        differences = np.frombuffer(data, stored).astype(dtype)
        return np.cumsum(differences, dtype=dtype.newbyteorder("=")).astype(dtype).tobytes()

    return step


def _as_it_is(data: bytes, limit: int) -> bytes:
    return data


_PLAIN: dict[str, Step] = {
    "blosc": _blosc, "zlib": _deflated(zlib.MAX_WBITS), "gzip": _deflated(zlib.MAX_WBITS + 16), "zstd": _zstd,
    "lz4": _lz4, "bz2": _bz2, "lzma": _lzma, "crc32c": crc32c,
    # These two change values when they are written, and nothing when they are read.
    "bitround": _as_it_is, "quantize": _as_it_is,
}  # fmt: skip


def step(name: str, configuration: Json) -> Step:
    """The step called ``name`` in v2 (numcodecs) or v3. Raises UnsupportedFormat for any other."""
    name = name.removeprefix("numcodecs.")
    if name in _PLAIN:
        return _PLAIN[name]
    if name == "shuffle":
        size = configuration.get("elementsize", 4)
        if isinstance(size, int) and 1 <= size <= 16:
            return _shuffled(size)
    if name == "delta":
        dtype = text(configuration.get("dtype"))
        return _delta(_dtype_v2(dtype), _dtype_v2(text(configuration.get("astype"), dtype)))
    raise UnsupportedFormat(f"The Zarr codec {name[:40]} is not supported", feature=f"zarr codec {name[:40]}")


_V3_TYPES = {"bool": "b1"} | {f"{n}{8 * b}": f"{n[0]}{b}" for n in ("int", "uint", "float") for b in (1, 2, 4, 8)}


def _dtype_v2(name: object) -> np.dtype[Any]:
    """A dtype of numpy's array protocol: order, kind, bytes. Nothing else goes to numpy."""
    found = text(name)
    if len(found) == 3 and found[0] in "<>|" and found[1:] in _V3_TYPES.values() and found[1:] != "f1":
        return np.dtype(found)
    raise UnsupportedFormat(f"Zarr arrays of {str(name)[:40]} are not supported", feature="zarr data type")


def pipeline_v2(shape: tuple[int, ...], metadata: Json) -> Pipeline:
    """``dtype``, ``order``, ``filters`` and ``compressor`` of a ``.zarray``."""
    axes = tuple(range(len(shape)))
    if metadata.get("order", "C") == "F":
        axes = axes[::-1]
    chain = [*sequence(metadata.get("filters"))]
    if metadata.get("compressor") is not None:
        chain.append(metadata["compressor"])
    steps = [step(text(mapping(each).get("id")), mapping(each)) for each in reversed(chain[:16])]
    return Pipeline(shape, _dtype_v2(metadata.get("dtype")), axes, tuple(steps))


def pipeline_v3(shape: tuple[int, ...], data_type: object, codecs: Sequence[Any]) -> Pipeline:
    """``data_type`` and ``codecs`` of a ``zarr.json`` or of a sharding codec."""
    kind = _V3_TYPES.get(text(data_type))
    if kind is None or kind == "f1":
        raise UnsupportedFormat(f"Zarr arrays of {str(data_type)[:40]} are not supported", feature="zarr data type")
    order, axes = "<", tuple(range(len(shape)))
    steps: list[Step] = []
    for each in codecs[:16]:
        name, configuration = named(each)
        if name == "bytes":
            order = ">" if configuration.get("endian") == "big" else "<"
        elif name == "transpose":
            axes = tuple(axes[n] for n in _permutation(configuration.get("order"), len(shape)))
        else:
            steps.append(step(name, configuration))
    return Pipeline(shape, np.dtype(order + kind), axes, tuple(reversed(steps)))


def named(value: object) -> tuple[str, Json]:
    """Name and configuration of an extension point of v3: an object, or a name alone."""
    if isinstance(value, str):
        return text(value), {}
    return text(mapping(value).get("name")), mapping(mapping(value).get("configuration"))


def _permutation(given: object, count: int) -> tuple[int, ...]:
    if given == "C" or given == "F":
        return tuple(range(count))[:: 1 if given == "C" else -1]
    order = tuple(sequence(given))
    if any(not isinstance(axis, int) for axis in order) or sorted(order) != list(range(count)):
        raise CorruptData("The order of a transpose codec is no order of the axes")
    return order
