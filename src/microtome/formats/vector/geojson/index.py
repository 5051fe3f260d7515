"""The index of a GeoJSON file, built once: everything the cutting of a tile needs, in the order it is needed.

Features stand from the largest to the smallest (by powers of two), those of one size along a Morton curve, so that
neighbours are neighbours in the file. Boxes of 64 features in a row find those of a tile. For each zoom ``shown`` says
how many features, counted from the largest, are drawn as shapes: as many sizes as leave no tile with more than SHAPES
of them; none below 4 px unless all can be drawn. All smaller ones are clustered there: the tile has 32 x 32 cells,
each a point with their mean and number. The highest zoom shows every feature.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microtome.errors import LimitExceeded, StorageUnavailable
from microtome.formats.vector.arrays import Ints, offsets, ranges
from microtome.formats.vector.geojson.collect import Batch, Collector, TagTable
from microtome.formats.vector.geojson.file import ArrayWriter, Spool
from microtome.formats.vector.geojson.parse import PIECE, FeatureStream, crs_name
from microtome.formats.vector.geojson.plane import (
    TILE_PX,
    UNITS,
    OtherPlaneError,
    Plane,
    plane_of,
    top_zoom,
    world_px,
)
from microtome.formats.vector.geojson.simplify import ranks

SHAPES = 4096
"""Features drawn in one tile of a zoom below the highest; every 16 properties count as one more."""
BLOCK = 64
CELLS_BITS = 5
TILE_BITS = (TILE_PX * UNITS).bit_length() - 1
"""Units across a tile of the highest zoom, as a power of two."""
_CHUNK = 1 << 16


def build(pieces: Iterable[bytes], target: Path, *, plane: Plane | None, most: int, piece: int = PIECE) -> None:
    """Read a GeoJSON text and write its index to ``target``.

    ``plane`` None: what the ``crs`` in front says. Raises OtherPlaneError when the text must be read again as another
    plane, CorruptData, LimitExceeded (the index would be larger than ``most`` bytes), StorageUnavailable (a full disk).
    """
    build_with(lambda spool: _read(pieces, spool, plane, piece), target, most=most)


def build_with(read: Callable[[Spool], dict[str, Any]], target: Path, *, most: int) -> None:
    """Write the index of shapes of any origin: ``read`` hands them to ``append_batch`` and returns the facts.

    These are ``plane``, ``skipped``, ``keys`` and ``kinds`` of the properties and ``name``; ``zoom``, the highest,
    where it is not to follow from the shapes. Raises what ``read`` does, LimitExceeded, StorageUnavailable.
    """
    try:
        _build(read, target, most)
    except OSError as error:
        raise StorageUnavailable(
            f"The shapes could not be indexed ({error.strerror}); is the disk of the cache full?"
        ) from error


def _build(read: Callable[[Spool], dict[str, Any]], target: Path, most: int) -> None:
    work = Path(tempfile.mkdtemp(prefix=f"{target.name}-", dir=target.parent))
    spool = Spool(work, most)
    try:
        facts = read(spool)
        with ArrayWriter(target, most) as writer:
            _write(writer, spool.arrays(), facts)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    finally:
        spool.close()
        shutil.rmtree(work, ignore_errors=True)


def _read(pieces: Iterable[bytes], spool: Spool, plane: Plane | None, piece: int) -> dict[str, Any]:
    stream = FeatureStream(pieces, piece=piece)
    table = TagTable()
    collector: Collector | None = None
    value_count = 0
    for features in stream:
        if collector is None:
            collector = Collector(table, plane or plane_of(crs_name(stream.outer)))
        for feature in features:
            collector.add(feature)
        value_count += append_batch(spool, collector.take(), table.take())
    told = plane_of(crs_name(stream.outer))
    if collector is None:  # no feature at all
        collector = Collector(table, plane or told)
        append_batch(spool, collector.take(), [])
    if plane is None and told != collector.plane:  # the ``crs`` stood behind the features
        raise OtherPlaneError(told)
    if value_count >= 1 << 32:
        raise LimitExceeded("The properties have too many values", limit="indexes", value=value_count)
    name = stream.outer.get("name")
    return {
        "plane": collector.plane,
        "skipped": collector.skipped,
        "keys": list(table.keys),
        "kinds": table.kinds,
        "name": name[:200] if isinstance(name, str) else "",
    }


def append_batch(spool: Spool, batch: Batch, values: list[bytes]) -> int:
    """Append a batch and the values that came with it; how many values."""
    shapes = batch.shapes
    number = len(batch.ids)
    boxes = np.zeros((number, 4), np.int32)
    if number:
        points_of = np.bincount(shapes.features, weights=shapes.counts, minlength=number).astype(np.int64)
        at = offsets(points_of)[:-1]
        boxes[:, :2] = np.minimum.reduceat(shapes.points, at)
        boxes[:, 2:] = np.maximum.reduceat(shapes.points, at)
    spool.append("boxes", "<i4", boxes)
    spool.append("ids", "<i8", batch.ids)
    spool.append("part_counts", "<i4", np.bincount(shapes.features, minlength=number))
    spool.append("tag_counts", "<i4", batch.tag_counts)
    spool.append("tag_keys", "<u2", batch.tag_keys)
    spool.append("tag_values", "<u4", batch.tag_values)
    spool.append("roles", "|u1", shapes.roles)
    spool.append("point_counts", "<i4", shapes.counts)
    spool.append("points", "<i4", shapes.points)
    spool.append("ranks", "|u1", ranks(shapes))
    spool.append("value_sizes", "<i4", np.array([len(each) for each in values], np.int32))
    spool.append("values", "|u1", np.frombuffer(b"".join(values), np.uint8))
    return len(values)


def _write(writer: ArrayWriter, raw: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
    boxes = raw["boxes"].reshape(-1, 4)
    number = len(boxes)
    box = [0, 0, 0, 0] if number == 0 else [*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist()]
    zoom = facts["zoom"] if "zoom" in facts else top_zoom(facts["plane"], box[2] / UNITS, box[3] / UNITS)
    sizes = _sizes(boxes)
    # The mean without overflow: both ends are below 2 ** 30.
    centres = ((boxes[:, :2].astype(np.int64) + boxes[:, 2:]) >> 1) if number else np.zeros((0, 2), np.int64)
    order = np.lexsort((_morton(centres), -sizes))
    boxes, centres, sizes = boxes[order], centres[order], sizes[order]
    tag_counts = raw["tag_counts"][order]
    shown = _shown(centres, sizes, tag_counts, zoom)

    writer.array("boxes", "<i4", [boxes])
    writer.array("blocks", "<i4", [_blocks(boxes)])
    writer.array("ids", "<i8", [raw["ids"][order]])
    part_counts = raw["part_counts"][order]
    writer.array("part_starts", "<i8", [offsets(part_counts)])
    writer.array("tag_starts", "<i8", [offsets(tag_counts)])
    _gathered(writer, raw, order, "tag_counts", ("tag_keys", "<u2"), ("tag_values", "<u4"))
    part_at = offsets(raw["part_counts"])[:-1]
    point_at = offsets(raw["point_counts"])[:-1]
    points = raw["points"].reshape(-1, 2)

    def parts(pick: Callable[[Ints], NDArray[Any]]) -> Iterator[NDArray[Any]]:
        for ids in _chunks(order):
            yield pick(ranges(part_at[ids], raw["part_counts"][ids]))

    def points_of(some: Ints) -> Ints:
        return ranges(point_at[some], raw["point_counts"][some])

    writer.array("roles", "|u1", parts(lambda some: raw["roles"][some]))
    counts = np.concatenate([np.zeros(0, np.int64), *parts(lambda some: raw["point_counts"][some])])
    writer.array("point_starts", "<i8", [offsets(counts)])
    writer.array("points", "<i4", parts(lambda some: points[points_of(some)]))
    writer.array("ranks", "|u1", parts(lambda some: raw["ranks"][points_of(some)]))
    writer.array("value_starts", "<i8", [offsets(raw["value_sizes"])])
    writer.array("values", "|u1", [raw["values"]])
    clustered = _write_clusters(writer, centres, shown, zoom)
    writer.finish({**facts, "zoom": zoom, "count": number, "box": box, "shown": shown, "clustered": clustered})


def _gathered(
    writer: ArrayWriter, raw: dict[str, NDArray[Any]], order: Ints, counts: str, *names: tuple[str, str]
) -> None:
    at = offsets(raw[counts])[:-1]
    for name, dtype in names:
        writer.array(name, dtype, (raw[name][ranges(at[ids], raw[counts][ids])] for ids in _chunks(order)))


def _chunks(order: Ints) -> Iterator[Ints]:
    for start in range(0, max(len(order), 1), _CHUNK):
        yield order[start : start + _CHUNK]


def _sizes(boxes: NDArray[Any]) -> Ints:
    """The larger side of each box in px as a power of two: 0 below 1 px, 1 below 2 px ..."""
    if len(boxes) == 0:
        return np.zeros(0, np.int64)
    side = (boxes[:, 2:].astype(np.int64) - boxes[:, :2]).max(axis=1) / UNITS
    return np.where(side < 1, 0, np.floor(np.log2(np.maximum(side, 1))) + 1).astype(np.int64)


def _morton(centres: Ints) -> Ints:
    """The bits of x and y in turns, so that what is near on the plane is near in the order."""
    parts: list[NDArray[np.uint64]] = []
    for axis in range(2):
        bits = (centres[:, axis] + (1 << 30)).astype(np.uint64)
        for shift, mask in (
            (16, 0x0000FFFF0000FFFF), (8, 0x00FF00FF00FF00FF), (4, 0x0F0F0F0F0F0F0F0F), (2, 0x3333333333333333),
            (1, 0x5555555555555555),
        ):  # fmt: skip
            bits = (bits | (bits << np.uint64(shift))) & np.uint64(mask)
        parts.append(bits)
    return (parts[0] | (parts[1] << np.uint64(1))).astype(np.int64)


def _blocks(boxes: NDArray[Any]) -> NDArray[Any]:
    """The box of every BLOCK features in a row."""
    if len(boxes) == 0:
        return np.zeros((0, 4), np.int32)
    at = np.arange(0, len(boxes), BLOCK)
    return np.concatenate((np.minimum.reduceat(boxes[:, :2], at), np.maximum.reduceat(boxes[:, 2:], at)), axis=1)


def _shown(centres: Ints, sizes: Ints, tag_counts: Ints, zoom: int) -> list[int]:
    """For each zoom from 0 how many features, the largest first, are drawn as shapes."""
    weights = 1 + tag_counts / 16
    starts = np.flatnonzero(np.diff(sizes, prepend=-1)) if len(sizes) else np.zeros(0, np.int64)
    groups = list(zip(starts.tolist(), [*starts[1:].tolist(), len(sizes)], strict=True)) if len(sizes) else []
    shown: list[int] = []
    for each in range(zoom):
        tiles = centres >> (TILE_BITS + zoom - each)
        _, tile = np.unique((tiles[:, 1] << 32) + tiles[:, 0], return_inverse=True)
        load = np.zeros(int(tile.max(initial=0)) + 1)
        count = 0
        for start, stop in groups:
            load += np.bincount(tile[start:stop], weights[start:stop], len(load))
            if load.max() > SHAPES:
                break
            count = stop
        if count < len(sizes):
            # Where some are clustered, shapes of less than 4 px of the zoom are, too: all of a kind look alike.
            count = min(count, int(np.count_nonzero(sizes >= zoom - each + 3)))
        shown.append(count)
    return [*shown, len(sizes)]


def _write_clusters(writer: ArrayWriter, centres: Ints, shown: list[int], zoom: int) -> list[int]:
    """For each zoom the cells with features that are not shown: tile, mean position in units, number."""
    written: list[int] = []
    side = world_px(zoom) * UNITS
    for each, first in enumerate(shown):
        left = centres[first:]
        left = np.minimum(left[((left >= 0) & (left <= side)).all(axis=1)], side - 1)
        if len(left) == 0:
            continue
        shift = TILE_BITS + zoom - each
        tile = ((left[:, 1] >> shift) << 24) | (left[:, 0] >> shift)
        cell = (left >> (shift - CELLS_BITS)) & ((1 << CELLS_BITS) - 1)
        code = (tile << 2 * CELLS_BITS) | (cell[:, 1] << CELLS_BITS) | cell[:, 0]
        codes, of, counts = np.unique(code, return_inverse=True, return_counts=True)
        means = [np.rint(np.bincount(of, left[:, axis]) / counts) for axis in range(2)]
        writer.array(f"cluster_tiles_{each}", "<i8", [codes >> 2 * CELLS_BITS])
        writer.array(f"cluster_points_{each}", "<i4", [np.stack(means, axis=1)])
        writer.array(f"cluster_counts_{each}", "<i4", [counts])
        written.append(each)
    return written
