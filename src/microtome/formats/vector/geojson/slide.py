"""A GeoJSON file as a slide: tiles cut out of its index when they are asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

from microtome.errors import LimitExceeded
from microtome.formats.threads import ThreadedSlide
from microtome.formats.vector.facts import Grid, describe, plane_bounds, zooms_of
from microtome.formats.vector.geojson.cut import CLUSTERS, LAYER, TileCutter
from microtome.formats.vector.geojson.plane import TILE_PX, UNITS, world_px
from microtome.formats.vector.geojson.store import Indexes
from microtome.formats.vector.payload import GEOJSON, MAX_TILE_BYTES, MVT, encoded
from microtome.formats.vector.slide import missing
from microtome.model import EncodedTile, SlideInfo, TileIndex
from microtome.storage.pinned import PinnedObject

_HEADER_BYTES = 64 * 1024


class CutTiles:
    """See ``formats.base.SyncSlide``."""

    at_once = 2

    def __init__(self, path: Path, name: str) -> None:
        self._cutter = TileCutter(path)
        self._info = _described(self._cutter, name)
        self._zooms = zooms_of(self._info)

    def info(self) -> SlideInfo:
        """The facts."""
        return self._info

    def read_tile(self, index: TileIndex) -> EncodedTile:
        """The tile. Raises NotFound(what="tile") where there is nothing."""
        zoom = self._zooms[index.level]
        data = self._cutter.tile(zoom, index.column, index.row)
        if data is None:
            raise missing(zoom, index.column, index.row)
        return encoded(data, MVT, TILE_PX)

    def read_associated(self, name: str) -> EncodedTile:
        """There are none."""
        raise AssertionError("unreachable: info names none")

    def close(self) -> None:
        """The mapped file closes with the last array of it."""


class GeoJsonSlide(ThreadedSlide):
    """Tiles as Mapbox Vector Tile; ``read_whole`` gives the file itself."""

    files: PinnedObject

    async def read_whole(self) -> EncodedTile:
        """The file, for clients that ask for GeoJSON. Raises LimitExceeded when it is larger than a tile may be."""
        if self.files.size > MAX_TILE_BYTES:
            raise LimitExceeded(
                f"The GeoJSON file is larger than {MAX_TILE_BYTES >> 20} MB; ask for its tiles as mvt",
                limit="MAX_TILE_BYTES",
                value=self.files.size,
            )
        return encoded(await self.files.read(0, self.files.size), GEOJSON, TILE_PX)


async def open_geojson(files: PinnedObject, indexes: Indexes) -> GeoJsonSlide:
    """Open a GeoJSON file, index it when that was not done before. Raises what ``Indexes.of`` raises."""
    await files.read(0, min(files.size, _HEADER_BYTES))
    files.settle()
    path = await indexes.of(files)
    name = files.key.rsplit("/", 1)[-1]
    slide = cast("GeoJsonSlide", await GeoJsonSlide.open(lambda: CutTiles(path, name)))
    slide.files = files
    return slide


def _described(cutter: TileCutter, name: str) -> SlideInfo:
    facts = cutter.facts
    box = tuple(side / UNITS for side in facts["box"])
    layers = [{"id": LAYER, "fields": facts["kinds"], "minzoom": 0, "maxzoom": cutter.top}]
    if facts["clustered"]:
        zooms = facts["clustered"]
        fields = {"point_count": "Number"}
        layers.append({"id": CLUSTERS, "fields": fields, "minzoom": min(zooms), "maxzoom": max(zooms)})
    properties: dict[str, object] = {
        "name": facts["name"] or name,
        "format": "pbf",
        "features": str(facts["count"]),
        "features_without_geometry": str(facts["skipped"]),
        "coordinates": facts["plane"],
        "bounds_px": ",".join(f"{side:g}" for side in box),
        "bounds": plane_bounds((box[0], box[1], box[2], box[3]), world_px(cutter.top)),
        "vector_layers": json.dumps(layers, ensure_ascii=False),
    }
    return describe([Grid.full(zoom) for zoom in range(cutter.top + 1)], TILE_PX, properties)
