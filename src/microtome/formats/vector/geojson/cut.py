"""A tile cut out of the index: found, thinned, clipped, wound, encoded; arrays all the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microtome.formats.vector.arrays import POINTS, Ints, Shapes, ranges
from microtome.formats.vector.encode import EXTENT, Tags, layer, value
from microtome.formats.vector.geojson.clip import clip
from microtome.formats.vector.geojson.file import ArrayFile
from microtome.formats.vector.geojson.index import BLOCK, TILE_BITS
from microtome.formats.vector.geojson.rings import wound
from microtome.formats.vector.geojson.simplify import threshold

LAYER, CLUSTERS = "features", "clusters"
BUFFER = 64
"""Tile units that a tile reaches beyond its edges, so that outlines do not show them."""
MOST_SHAPES = 50_000
"""In one tile, the largest first; only the highest zoom, and shapes much larger than a tile, can come near it."""


class TileCutter:
    """Cuts tiles; any number of threads may at the same time. ``names`` are those of the layers: shapes, clusters."""

    def __init__(self, path: Path, names: tuple[str, str] = (LAYER, CLUSTERS)) -> None:
        self._layer, self._clustered = names
        self._index = ArrayFile(path)
        self.facts = self._index.facts
        self.top: int = self.facts["zoom"]
        self._keys: list[str] = self.facts["keys"]

    def tile(self, zoom: int, column: int, row: int) -> bytes | None:
        """The tile as Mapbox Vector Tile; None when nothing is in it."""
        shift = TILE_BITS + self.top - zoom
        origin = np.array([column, row], np.int64) << shift
        scale = EXTENT / (1 << shift)
        margin = int(BUFFER / scale)
        box = np.concatenate((origin - margin, origin + (1 << shift) + margin))
        made = self._shapes(self._found(box, self.facts["shown"][zoom]), zoom, origin, scale)
        if zoom in self.facts["clustered"]:
            made += self._clusters(zoom, column, row, origin, scale)
        return made or None

    def _found(self, box: Ints, shown: int) -> Ints:
        """Features whose box meets ``box``, the largest first."""
        blocks, boxes = self._index["blocks"], self._index["boxes"]
        near = np.flatnonzero(_meets(blocks[: -(-shown // BLOCK)], box))
        starts = near * BLOCK
        ids = ranges(starts, np.minimum(starts + BLOCK, shown) - starts)
        return ids[_meets(boxes[ids], box)][:MOST_SHAPES]

    def _shapes(self, ids: Ints, zoom: int, origin: Ints, scale: float) -> bytes:
        if len(ids) == 0:
            return b""
        index = self._index
        part_starts = index["part_starts"]
        part_counts = part_starts[ids + 1] - part_starts[ids]
        parts = ranges(part_starts[ids], part_counts)
        point_starts = index["point_starts"]
        starts, counts = point_starts[parts], point_starts[parts + 1] - point_starts[parts]
        places = ranges(starts, counts)
        of_part = np.repeat(np.arange(len(parts)), counts)
        least = threshold(self.top - zoom)
        if least:
            keep = index["ranks"][places] >= least
            places, of_part = places[keep], of_part[keep]
            counts = np.bincount(of_part, minlength=len(parts))
        points = (index["points"][places] - origin) * scale
        shapes = Shapes(points, counts, index["roles"][parts], np.repeat(np.arange(len(ids)), part_counts))
        shapes = wound(clip(shapes, -BUFFER, EXTENT + BUFFER))
        left = np.unique(shapes.features)
        if len(left) == 0:
            return b""
        ids = ids[left]
        shapes = Shapes(shapes.points, shapes.counts, shapes.roles, np.searchsorted(left, shapes.features))
        tags, keys, values = self._tags(ids)
        return layer(self._layer, shapes, tags, keys, values, index["ids"][ids])

    def _tags(self, ids: Ints) -> tuple[Tags, list[str], bytes]:
        index = self._index
        tag_starts = index["tag_starts"]
        counts = tag_starts[ids + 1] - tag_starts[ids]
        pairs = ranges(tag_starts[ids], counts)
        keys, key_of = np.unique(index["tag_keys"][pairs], return_inverse=True)
        values, value_of = np.unique(index["tag_values"][pairs], return_inverse=True)
        values = values.astype(np.int64)
        value_starts = index["value_starts"]
        starts = value_starts[values]
        fields = index["values"][ranges(starts, value_starts[values + 1] - starts)].tobytes()
        return Tags(counts, key_of, value_of), [self._keys[key] for key in keys.tolist()], fields

    def _clusters(self, zoom: int, column: int, row: int, origin: Ints, scale: float) -> bytes:
        tiles = self._index[f"cluster_tiles_{zoom}"]
        code = (row << 24) | column
        start, stop = int(np.searchsorted(tiles, code)), int(np.searchsorted(tiles, code + 1))
        number = stop - start
        if number == 0:
            return b""
        points = np.rint((self._index[f"cluster_points_{zoom}"][start:stop] - origin) * scale).astype(np.int64)
        counts, value_of = np.unique(self._index[f"cluster_counts_{zoom}"][start:stop], return_inverse=True)
        ones = np.ones(number, np.int64)
        shapes = Shapes(points, ones, np.full(number, POINTS, np.uint8), np.arange(number))
        tags = Tags(ones, np.zeros(number, np.int64), value_of)
        return layer(self._clustered, shapes, tags, ["point_count"], b"".join(value(n) for n in counts.tolist()))


def _meets(boxes: NDArray[Any], box: Ints) -> NDArray[np.bool_]:
    left, top, right, bottom = box.tolist()
    return (boxes[:, 0] <= right) & (boxes[:, 2] >= left) & (boxes[:, 1] <= bottom) & (boxes[:, 3] >= top)
