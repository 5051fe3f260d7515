"""An open OME-Zarr image: tiles out of chunks, only those a tile needs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType

import numpy as np

from microtome.errors import CorruptData, LimitExceeded, MicrotomeError, NotFound, UnsupportedFormat
from microtome.formats.ngff import metadata
from microtome.formats.ngff.array import ZarrArray, array_v2, array_v3
from microtome.formats.ngff.chunks import Chunks
from microtome.formats.ngff.codecs import Samples
from microtome.formats.ngff.values import Json, mapping, parsed
from microtome.formats.threads import check_planes
from microtome.model import Channel, EncodedTile, Level, Raster, Size, SlideInfo, TileIndex, of_level
from microtome.storage.folder import PinnedFolder
from microtome.storage.keys import is_key
from microtome.storage.parallel import together

MAX_TILE_BYTES = 512 << 20
"""Decoded bytes of all chunks that are read for one tile."""
MAX_TILE_CHUNKS = 4096
MAX_METADATA_BYTES = 16 << 20
_SMALL, _LARGE, _VIRTUAL = 64, 2048, 512


@dataclass(frozen=True, slots=True)
class _Image:
    """One level: its array, and ``axes`` that name the axes of the array."""

    path: str
    array: ZarrArray
    axes: tuple[str, ...]
    level: Level

    def length(self, axis: str) -> int:
        """Samples along an axis, 1 when the array has no such axis."""
        return self.array.shape[self.axes.index(axis)] if axis in self.axes else 1

    @property
    def shared(self) -> bool:
        """Whether a chunk holds samples of several tiles or planes, so that keeping it saves reading it again."""
        reach = {"x": self.level.tile_size.width, "y": self.level.tile_size.height, "z": 1, "t": 1}
        return any(
            min(chunk, length) > reach.get(axis, length)
            for axis, chunk, length in zip(self.axes, self.array.chunk, self.array.shape, strict=True)
        )

    def box(self, index: TileIndex, planes: dict[str, int]) -> list[tuple[int, int]]:
        """What a tile covers: ``[start, stop)`` along each axis, edge tiles cut at the level.

        ``planes`` are the lengths of z and t of level 0; coarser levels may have fewer (OME-Zarr 0.4 §3.4).
        """
        found: list[tuple[int, int]] = []
        wanted = {"z": index.z, "t": index.t}
        corner = {"x": index.column * self.level.tile_size.width, "y": index.row * self.level.tile_size.height}
        reach = {"x": self.level.tile_size.width, "y": self.level.tile_size.height}
        for axis, length in zip(self.axes, self.array.shape, strict=True):
            if axis in wanted:
                place = (2 * wanted[axis] + 1) * length // (2 * planes[axis])
                found.append((place, place + 1))
            elif axis == "c":
                found.append((0, length))
            else:
                found.append((corner[axis], min(corner[axis] + reach[axis], length)))
        return found


class NgffSlide:
    """A slide of one OME-Zarr image. See ``formats.base.Slide``."""

    def __init__(self, folder: PinnedFolder, images: list[_Image], info: SlideInfo) -> None:
        self._images = images
        self._info = info
        self._chunks = Chunks(folder)
        self._folder = folder
        self._planes = {"z": info.focal_planes, "t": info.time_points}
        self._names = tuple(channel.name for channel in info.channels)

    async def info(self) -> SlideInfo:
        """The facts."""
        return self._info

    async def level(self, number: int) -> Level:
        """See ``formats.base.Slide``."""
        return of_level(self._images, number).level

    async def read_tile(self, index: TileIndex) -> EncodedTile | Raster:
        """All channels of a tile, dtype as stored, edge tiles cut at the level; never written chunks are fill value."""
        (await self.level(index.level)).check_tile(index)
        check_planes(self._info, index)
        image = self._images[index.level]
        box = image.box(index, self._planes)
        positions = _positions(image.array, box)
        parts = await together(
            [self._chunks.read(image.path, image.array, position, keep=image.shared) for position in positions]
        )
        array = await asyncio.to_thread(_assembled, image.array, box, positions, parts)
        order = [image.axes.index(axis) for axis in ("t", "z", "y", "x", "c") if axis in image.axes]
        array = array.transpose(order)
        height, width = array.shape[-3:-1] if "c" in image.axes else array.shape[-2:]
        return Raster(array.reshape(height, width, len(self._names)), self._names)

    def peek_tile(self, index: TileIndex) -> EncodedTile | None:
        """Chunks are no complete images."""
        return None

    def prefetch(self, indices: Sequence[TileIndex]) -> None:
        """Begin to read the chunks that are objects of their own."""
        for index in indices:
            try:
                image = self._images[index.level]
                image.level.check_tile(index)
                check_planes(self._info, index)
                positions = _positions(image.array, image.box(index, self._planes))
            except (MicrotomeError, IndexError):
                continue
            for position in positions:
                if (place := self._chunks.place(image.path, image.array, position)) is not None:
                    key, etag, size = place
                    self._folder.store.prefetch(key, [(0, size)], etag=etag)

    async def read_associated(self, name: str) -> EncodedTile | Raster:
        """There are none."""
        raise NotFound("associated image", name)

    async def close(self) -> None:
        """Nothing to release."""


async def open_slide(folder: PinnedFolder) -> NgffSlide:
    """Read the metadata of the group and of its levels. Raises UnsupportedFormat, CorruptData, Conflict."""
    prefix, version, ome = await _group(folder, "")
    series = metadata.series_path(ome)
    if series is not None:
        prefix, version, ome = await _group(folder, f"{series}/")
    found = metadata.multiscale(ome)
    paths = [path for path in found.paths if is_key(folder.path(prefix + path))]
    if not paths or paths[0] != found.paths[0]:
        raise CorruptData("The path of a level is no name of an array in the folder")
    arrays = await together([_array(folder, prefix + path, version) for path in paths])
    images = _images([prefix + path for path in paths], arrays, found.axes)
    base = images[0]
    count = base.length("c")
    if count > metadata.MAX_CHANNELS:
        raise UnsupportedFormat(f"Images of {count} channels are not supported", feature="channels")
    channels = metadata.channels(ome, count) if "c" in base.axes or count > 1 else (Channel("gray"),)
    info = SlideInfo(
        format_name=f"OME-Zarr {found.version}".strip(),
        levels=tuple(image.level for image in images),
        channels=channels,
        dtype=base.array.dtype.name,
        spacing_um=found.spacing_um,
        focal_planes=base.length("z"),
        time_points=base.length("t"),
        properties=MappingProxyType(found.properties),
    )
    return NgffSlide(folder, images, info)


async def _group(folder: PinnedFolder, prefix: str) -> tuple[str, int, Json]:
    """Prefix, Zarr format and OME attributes of a group. Raises UnsupportedFormat when there is none."""
    document = await _document(folder, f"{prefix}zarr.json")
    if document is not None:
        return prefix, 3, metadata.ome_attributes(mapping(document.get("attributes")))
    document = await _document(folder, f"{prefix}.zattrs")
    if document is None:
        raise UnsupportedFormat("The folder holds no OME-Zarr image (zarr.json or .zattrs)", feature="no image")
    return prefix, 2, metadata.ome_attributes(document)


async def _array(folder: PinnedFolder, path: str, version: int) -> ZarrArray | MicrotomeError:
    """The array of a level, or why there is none: a pyramid with a broken coarse end is still a slide."""
    try:
        if version == 3:
            document = await _document(folder, f"{path}/zarr.json")
        else:
            document = await _document(folder, f"{path}/.zarray")
        if document is None:
            return CorruptData("A level of the image has no metadata")
        return array_v3(document) if version == 3 else array_v2(document)
    except (CorruptData, UnsupportedFormat) as error:
        return error


async def _document(folder: PinnedFolder, name: str) -> Json | None:
    """A metadata file, None when there is none."""
    listed = folder.entries.get(name)
    if listed is None and folder.complete:
        return None
    try:
        result = await folder.store.get_range(
            folder.path(name), 0, MAX_METADATA_BYTES, etag=listed.etag if listed else None
        )
    except NotFound:
        return None
    if result.info.size > MAX_METADATA_BYTES:
        raise CorruptData(f"{name} has {result.info.size} bytes; metadata have at most {MAX_METADATA_BYTES}")
    return parsed(result.data, name)


def _images(paths: list[str], arrays: list[ZarrArray | MicrotomeError], axes: tuple[str, ...]) -> list[_Image]:
    """The levels from full resolution down, as far as they can be read and fit together."""
    found: list[_Image] = []
    for path, array in zip(paths, arrays, strict=True):
        if isinstance(array, MicrotomeError):
            if not found:
                raise array
            break
        if len(array.shape) != len(axes):
            raise CorruptData(f"A level has {len(array.shape)} axes, its image {len(axes)}")
        base = found[0] if found else None
        level = _level(array, axes, base.level.size if base else None)
        image = _Image(path, array, axes, level)
        if base and (image.length("c"), array.dtype) != (base.length("c"), base.array.dtype):
            raise CorruptData("The levels of the image differ in their channels or in their type")
        if found and level.size.width * level.size.height > found[-1].level.size.width * found[-1].level.size.height:
            raise CorruptData("The levels of the image do not go from large to small")
        found.append(image)
    return found


def _level(array: ZarrArray, axes: tuple[str, ...], base: Size | None) -> Level:
    x, y = axes.index("x"), axes.index("y")
    size = Size(array.shape[x], array.shape[y])
    tile = Size(_tile_side(array.chunk[x]), _tile_side(array.chunk[y]))
    return Level(size, tile, (base.width / size.width + base.height / size.height) / 2 if base else 1.0)


def _tile_side(chunk: int) -> int:
    """The side of a chunk if it makes a tile, else whole small chunks, or a part of large ones."""
    if chunk < _SMALL:
        return -(-256 // chunk) * chunk
    return chunk if chunk <= _LARGE else _VIRTUAL


def _positions(array: ZarrArray, box: list[tuple[int, int]]) -> list[tuple[int, ...]]:
    """The chunks that hold the samples of a box. Raises LimitExceeded before anything is read."""
    ranges = [range(start // side, -(-stop // side)) for (start, stop), side in zip(box, array.chunk, strict=True)]
    count = 1
    for each in ranges:
        count *= len(each)
    needed = count * array.pipeline.nbytes
    if needed > MAX_TILE_BYTES or count > MAX_TILE_CHUNKS:
        raise LimitExceeded(
            f"A tile of this image needs {count} chunks of {array.pipeline.nbytes} bytes; at most"
            f" {MAX_TILE_BYTES >> 20} MB in {MAX_TILE_CHUNKS} chunks are read at once. Write it with other chunks",
            limit="decoded bytes",
            value=needed,
        )
    return list(product(*ranges))


def _assembled(
    array: ZarrArray, box: list[tuple[int, int]], positions: list[tuple[int, ...]], parts: Sequence[Samples | None]
) -> Samples:
    """The samples of a box out of its chunks."""
    shape = tuple(stop - start for start, stop in box)
    aligned = all(start % side == 0 for (start, _), side in zip(box, array.chunk, strict=True))
    if len(parts) == 1 and parts[0] is not None and aligned:
        return parts[0][tuple(slice(0, side) for side in shape)]
    canvas = np.full(shape, array.fill, array.dtype)
    for position, part in zip(positions, parts, strict=True):
        if part is None:
            continue
        target: list[slice] = []
        origin: list[slice] = []
        for place, side, (start, stop) in zip(position, array.chunk, box, strict=True):
            first, last = max(start, place * side), min(stop, (place + 1) * side)
            target.append(slice(first - start, last - start))
            origin.append(slice(first - place * side, last - place * side))
        canvas[tuple(target)] = part[tuple(origin)]
    return canvas
