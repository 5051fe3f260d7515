"""Opening vector sets in tests, and tiles through an independent decoder."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mapbox_vector_tile

from microtome.formats.base import Slide
from microtome.formats.registry import FormatRegistry
from microtome.formats.vector import VectorFormat, plain, zooms_of
from microtome.model import EncodedTile, TileIndex
from microtome.storage.base import Store
from microtome.storage.copies import LocalCopies
from microtome.storage.folder import open_files
from microtome.storage.memory import MemoryStore

Decoded = dict[str, Any]


@asynccontextmanager
async def opened(
    objects: Mapping[str, bytes] | Store, key: str, form: VectorFormat | None = None, *, chosen: str | None = None
) -> AsyncGenerator[Slide]:
    """A slide, found by the registry as in the server; ``chosen`` is the name of the format asked for."""
    store = MemoryStore(objects) if isinstance(objects, Mapping) else objects
    copies = LocalCopies(None, 1 << 30)
    used = form or VectorFormat()
    slide = await FormatRegistry([used]).open(await open_files(store, key, copies), chosen)
    try:
        yield slide
    finally:
        await slide.close()
        copies.close()
        if form is None:
            await used.stop()


async def tile(slide: Slide, zoom: int, column: int, row: int) -> EncodedTile:
    """A stored tile by its zoom."""
    level = zooms_of(await slide.info()).index(zoom)
    found = await slide.read_tile(TileIndex(level, column, row))
    assert isinstance(found, EncodedTile)
    assert found.color == "other"
    return found


def decoded(stored: EncodedTile | bytes) -> Decoded:
    """Layers as the decoder of the package mapbox-vector-tile sees them, y down."""
    data = stored if isinstance(stored, bytes) else plain(stored).data
    return dict(mapbox_vector_tile.decode(data, default_options={"y_coord_down": True}))


def a_tile(name: str = "cells", points: int = 1) -> bytes:
    """A small vector tile by an independent encoder."""
    features = [{"geometry": f"POINT({10 + i} 20)", "properties": {"n": i}} for i in range(points)]
    return bytes(mapbox_vector_tile.encode([{"name": name, "features": features}]))


def mbtiles(
    path: Path, tiles: Mapping[tuple[int, int, int], bytes], metadata: Mapping[str, str] | None = None
) -> bytes:
    """An MBTiles file; keys are zoom, column and stored row."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE metadata (name text, value text)")
    connection.execute("CREATE TABLE tiles (zoom_level integer, tile_column integer, tile_row integer, tile_data blob)")
    connection.executemany("INSERT INTO metadata VALUES (?, ?)", list((metadata or {}).items()))
    connection.executemany("INSERT INTO tiles VALUES (?, ?, ?, ?)", [(*place, data) for place, data in tiles.items()])
    connection.commit()
    connection.close()
    return path.read_bytes()


def geojson(features: list[dict[str, Any]], **members: Any) -> bytes:
    """A FeatureCollection."""
    return json.dumps({"type": "FeatureCollection", "features": features, **members}).encode()


def feature(kind: str, coordinates: Any, **properties: Any) -> dict[str, Any]:
    """A feature."""
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties}


def square(x: float, y: float, side: float) -> list[list[float]]:
    """A closed ring."""
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
