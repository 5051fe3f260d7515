"""What the metadata of a Zarr array say: shape, chunks, where a chunk lies, how it is stored."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from microtome.errors import CorruptData, UnsupportedFormat
from microtome.formats.ngff.codecs import Pipeline, crc32c, named, pipeline_v2, pipeline_v3
from microtome.formats.ngff.values import Json, real, sequence, sides, text

MAX_INDEX_BYTES = 16 << 20
_EMPTY = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Shards:
    """Several chunks in one object, with an index of (offset, length) in bytes, u64 little-endian (ZEP 2).

    ``grid`` is the number of chunks of a shard along each axis.
    """

    grid: tuple[int, ...]
    at_end: bool
    checked: bool

    @property
    def count(self) -> int:
        """Chunks of a shard."""
        count = 1
        for side in self.grid:
            count *= side
        return count

    @property
    def index_bytes(self) -> int:
        """Length of the index, with its checksum."""
        return 16 * self.count + (4 if self.checked else 0)

    def place(self, index: bytes, inner: tuple[int, ...]) -> tuple[int, int] | None:
        """``[start, stop)`` of a chunk in its shard, None for one that was never written. Raises CorruptData."""
        number = 0
        for position, side in zip(inner, self.grid, strict=True):
            number = number * side + position
        offset, length = struct.unpack_from("<QQ", index, 16 * number)
        return None if offset == _EMPTY and length == _EMPTY else (offset, offset + length)

    def parse(self, data: bytes) -> bytes:
        """The index without its checksum. Raises CorruptData."""
        if len(data) != self.index_bytes:
            raise CorruptData("A shard is too short for its index")
        return crc32c(data, len(data)) if self.checked else data


@dataclass(frozen=True, slots=True)
class ZarrArray:
    """One array. ``chunk`` is what is decoded at once; several make a shard where there are ``shards``."""

    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    pipeline: Pipeline
    fill: np.generic
    shards: Shards | None
    prefix: str
    separator: str

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the samples, native byte order."""
        return self.pipeline.dtype.newbyteorder("=")

    def name(self, position: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        """Name of the object of a chunk relative to the array, and the place of the chunk in it (its shard)."""
        grid = self.shards.grid if self.shards else (1,) * len(position)
        outer = [str(p // side) for p, side in zip(position, grid, strict=True)]
        inner = tuple(p % side for p, side in zip(position, grid, strict=True))
        return self.prefix + self.separator.join(outer), inner


def array_v2(metadata: Json) -> ZarrArray:
    """Out of a ``.zarray`` (Zarr v2). Raises CorruptData, UnsupportedFormat."""
    if metadata.get("zarr_format") != 2:
        raise UnsupportedFormat("The Zarr format of a level is not 2, though its group is", feature="zarr format")
    shape = sides(metadata.get("shape"), "The shape of a level", 1)
    chunk = _chunk(metadata.get("chunks"), shape)
    pipeline = pipeline_v2(chunk, metadata)
    separator = "/" if metadata.get("dimension_separator") == "/" else "."
    return ZarrArray(shape, chunk, pipeline, _fill(metadata.get("fill_value"), pipeline), None, "", separator)


def array_v3(metadata: Json) -> ZarrArray:
    """Out of a ``zarr.json`` (Zarr v3, with or without the sharding codec). Raises CorruptData, UnsupportedFormat."""
    if metadata.get("zarr_format") != 3 or metadata.get("node_type") != "array":
        raise UnsupportedFormat("A level of the image is no Zarr v3 array", feature="zarr format")
    if sequence(metadata.get("storage_transformers")):
        raise UnsupportedFormat("Storage transformers of Zarr are not supported", feature="zarr storage transformer")
    shape = sides(metadata.get("shape"), "The shape of a level", 1)
    kind, grid = named(metadata.get("chunk_grid"))
    if kind != "regular":
        raise UnsupportedFormat(f"The Zarr chunk grid {kind[:40]} is not supported", feature="zarr chunk grid")
    outer = _chunk(grid.get("chunk_shape"), shape)
    codecs = sequence(metadata.get("codecs"))
    chunk, shards = outer, None
    if "sharding_indexed" in (names := [named(codec)[0] for codec in codecs]):
        if len(names) != 1:
            raise UnsupportedFormat("Sharding along with other codecs is not supported", feature="zarr sharding")
        configuration = named(codecs[0])[1]
        chunk = _chunk(configuration.get("chunk_shape"), shape)
        codecs = sequence(configuration.get("codecs"))
        if "sharding_indexed" in [named(codec)[0] for codec in codecs]:
            raise UnsupportedFormat("Shards inside of shards are not supported", feature="zarr sharding")
        shards = _shards(outer, chunk, configuration)
    pipeline = pipeline_v3(chunk, metadata.get("data_type"), codecs)
    encoding, settings = named(metadata.get("chunk_key_encoding"))
    separator = text(settings.get("separator"), "." if encoding == "v2" else "/")
    if encoding not in {"default", "v2"} or separator not in {"/", "."}:
        raise UnsupportedFormat(f"The Zarr chunk keys {encoding[:40]} are not supported", feature="zarr chunk keys")
    prefix = f"c{separator}" if encoding == "default" else ""
    return ZarrArray(shape, chunk, pipeline, _fill(metadata.get("fill_value"), pipeline), shards, prefix, separator)


def _chunk(value: object, shape: tuple[int, ...]) -> tuple[int, ...]:
    chunk = sides(value, "The chunks of a level", 1)
    if len(chunk) != len(shape):
        raise CorruptData(f"A level has {len(shape)} axes and chunks of {len(chunk)}")
    return chunk


def _shards(outer: tuple[int, ...], chunk: tuple[int, ...], configuration: Json) -> Shards:
    if any(side % inner for side, inner in zip(outer, chunk, strict=True)):
        raise CorruptData("The shards of a level are no multiple of its chunks")
    codecs = [named(codec) for codec in sequence(configuration.get("index_codecs"))]
    names = [name for name, _ in codecs]
    if names[:1] != ["bytes"] or names[1:] not in ([], ["crc32c"]) or codecs[0][1].get("endian") == "big":
        raise UnsupportedFormat("The index of the shards is stored in a way not supported", feature="zarr sharding")
    grid = tuple(side // inner for side, inner in zip(outer, chunk, strict=True))
    shards = Shards(grid, configuration.get("index_location", "end") != "start", "crc32c" in names)
    if shards.index_bytes > MAX_INDEX_BYTES:
        raise UnsupportedFormat(f"Shards of {shards.count} chunks are not supported", feature="zarr sharding")
    return shards


_NAMED_REALS = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}


def _fill(value: object, pipeline: Pipeline) -> np.generic:
    """The value of what was never written; 0 when none is given."""
    dtype = pipeline.dtype.newbyteorder("=")
    if isinstance(value, str) and dtype.kind == "f":
        if value.startswith("0x") and len(value) == 2 + 2 * dtype.itemsize:
            try:
                return np.frombuffer(bytes.fromhex(value[2:]), dtype.newbyteorder(">")).astype(dtype)[0]
            except ValueError as error:
                raise CorruptData("The fill value of a level cannot be understood") from error
        return dtype.type(_NAMED_REALS.get(value, 0.0))
    if isinstance(value, bool):
        return dtype.type(value)
    number = real(value)
    if number is None or not isinstance(value, int | float):
        return dtype.type(0)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype.name)
        return dtype.type(min(max(int(value), limits.min), limits.max))
    return dtype.type(number)
