"""A folder of tiles: ``zoom/column/row.suffix``. What of it exists is what the store lists, or what can be read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from microtome.errors import CorruptData, LimitExceeded, NotFound, UnsupportedFormat
from microtome.formats.vector.facts import MAX_ZOOM, TILE_SIZE, Grid, chosen_metadata, describe
from microtome.formats.vector.payload import MAX_TILE_BYTES, SUFFIXES, encoded, kind_of, media_type_of
from microtome.formats.vector.slide import VectorSlide
from microtome.formats.vector.texts import parsed_object
from microtome.model import EncodedTile
from microtome.storage.base import Store
from microtome.storage.folder import PinnedFolder

MAX_METADATA_BYTES = 4 << 20
METADATA = ("metadata.json", "tilejson.json")
"""Written beside the tiles by tools that unpack archives."""

_NAME = re.compile(r"(\d{1,2})/(\d{1,10})/(\d{1,10})(\.(?:mvt|pbf|json|geojson)(?:\.gz)?)")
_LAST = "\U0010ffff"


def tile_of(name: str) -> tuple[int, int, int, str] | None:
    """Zoom, column, row and suffix of a name like "3/1/2.pbf.gz", None for another name."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    zoom, column, row = (int(found.group(i)) for i in (1, 2, 3))
    return (zoom, column, row, found.group(4)) if zoom <= MAX_ZOOM and max(column, row) < 1 << zoom + 16 else None


def looks_like_tiles(names: Iterable[str]) -> bool:
    """Whether a folder with these names is a set of tiles."""
    return any(tile_of(name) is not None for name in names)


def grids_of(names: Iterable[str], suffixes: Sequence[str] = SUFFIXES) -> list[Grid]:
    """For each zoom that has tiles, the largest column and row found."""
    most: dict[int, tuple[int, int]] = {}
    for name in names:
        tile = tile_of(name)
        if tile is not None and tile[3] in suffixes:
            zoom, column, row, _ = tile
            x, y = most.get(zoom, (0, 0))
            most[zoom] = max(x, column), max(y, row)
    return [Grid(zoom, x, y) for zoom, (x, y) in most.items()]


class TileFolder:
    """The tiles of a folder; see ``slide.Tiles``. ``flip`` gives for a zoom of a TMS set its largest row."""

    def __init__(
        self, folder: PinnedFolder, suffixes: Sequence[str], tile_size: int, flip: dict[int, int] | None = None
    ) -> None:
        self._folder = folder
        self._suffixes = suffixes
        self._tile_size = tile_size
        self._flip = flip or {}
        if not folder.complete:
            # Names are tried one by one: those first that were seen.
            seen = {tile[3] for name in folder.entries if (tile := tile_of(name)) is not None}
            self._suffixes = sorted(suffixes, key=lambda suffix: suffix not in seen)

    async def fetch(self, zoom: int, column: int, row: int) -> EncodedTile | None:
        """The tile with the first suffix that exists. Raises Conflict when the listed file was replaced."""
        for name in self._names(zoom, column, row):
            listed = self._folder.entries.get(name)
            if listed is None:
                if self._folder.complete:
                    continue
                data = await _read_unlisted(self._folder, name)
                if data is None:
                    continue
            else:
                _check_size(listed.size)
                data = await self._folder.read(name)
            return encoded(data, media_type_of(name), self._tile_size)
        return None

    def peek(self, zoom: int, column: int, row: int) -> EncodedTile | None:
        """The tile if it is listed and in reach."""
        for name in self._names(zoom, column, row):
            listed = self._folder.entries.get(name)
            if listed is not None:
                if listed.size > MAX_TILE_BYTES:
                    return None
                data = self._folder.store.peek(listed.key, 0, listed.size, etag=listed.etag)
                return None if data is None else encoded(data, media_type_of(name), self._tile_size)
        return None

    def _names(self, zoom: int, column: int, row: int) -> list[str]:
        row = self._flip[zoom] - row if zoom in self._flip else row
        return [f"{zoom}/{column}/{row}{suffix}" for suffix in self._suffixes]


async def open_directory(folder: PinnedFolder) -> VectorSlide:
    """Open a folder of tiles. Raises UnsupportedFormat for one that is none, CorruptData."""
    grids = await scanned(folder)
    if not grids:
        raise UnsupportedFormat("The folder holds no tiles named zoom/column/row", feature="folder of files")
    metadata = await _metadata(folder)
    tms = metadata.get("scheme") == "tms"
    flip = {grid.zoom: grid.max_y for grid in grids} if tms else {}
    tiles = TileFolder(folder, SUFFIXES, TILE_SIZE, flip)
    first = next((name for name in folder.entries if tile_of(name) is not None), None)
    properties: dict[str, object] = {
        "name": folder.key.rstrip("/").rsplit("/", 1)[-1],
        **chosen_metadata(metadata),
        **(await facts_of_tile(folder, first)),
    }
    return VectorSlide(describe(grids, TILE_SIZE, properties), tiles)


async def scanned(folder: PinnedFolder, suffixes: Sequence[str] = SUFFIXES) -> list[Grid]:
    """The grids of the tiles in a folder. Of one too large to be listed, every zoom counts as a full grid."""
    if folder.complete:
        return grids_of(folder.entries, suffixes)
    return [Grid.full(zoom) for zoom in await _zooms(folder.store, folder.key)]


async def _zooms(store: Store, key: str) -> list[int]:
    """The zooms of a large folder: one request for each of its subfolders, of which there are few."""
    prefix = key.rstrip("/") + "/"
    after, found = "", set[int]()
    for _ in range(4 * (MAX_ZOOM + 1)):
        page = await anext(aiter(store.list(prefix, after=after)), None)
        if not page:
            break
        name = page[0].key.removeprefix(prefix)
        top, slash, _ = name.partition("/")
        if slash and top.isdecimal() and len(top) <= 2 and int(top) <= MAX_ZOOM:
            found.add(int(top))
        after = prefix + (f"{top}/{_LAST}" if slash else name)
    return sorted(found)


async def facts_of_tile(folder: PinnedFolder, name: str | None) -> dict[str, object]:
    """Format and compression, as one of the tiles has it. Raises UnsupportedFormat for pictures."""
    if name is None:
        return {}
    listed = folder.entries[name]
    result = await folder.store.get_range(listed.key, 0, min(listed.size, 4096), etag=listed.etag)
    if kind_of(result.data) == "raster":
        raise UnsupportedFormat("The tiles of the folder are pictures, not vector tiles", feature="tile type")
    suffix = name[name.rindex("/") :].partition(".")[2].removesuffix(".gz")
    return {"format": suffix, "compression": "gzip" if result.data[:2] == b"\x1f\x8b" else "none"}


async def _metadata(folder: PinnedFolder) -> dict[str, Any]:
    for name in METADATA:
        listed = folder.entries.get(name)
        if listed is None or listed.size > MAX_METADATA_BYTES:
            continue
        found = parsed_object(await folder.read(name), f"file {name} of the tile set")
        inner = found.get("json")  # tippecanoe keeps the layers in a text of its own
        if isinstance(inner, str):
            found = {**parsed_object(inner.encode(), f"file {name} of the tile set"), **found}
        return found
    return {}


async def _read_unlisted(folder: PinnedFolder, name: str) -> bytes | None:
    try:
        result = await folder.store.get_range(folder.path(name), 0, MAX_TILE_BYTES + 1)
    except NotFound:
        return None
    _check_size(result.info.size)
    if len(result.data) != result.info.size:
        raise CorruptData(f"Tile {name} was read only in part")
    return result.data


def _check_size(size: int) -> None:
    if size > MAX_TILE_BYTES:
        raise LimitExceeded(
            f"A vector tile is larger than {MAX_TILE_BYTES >> 20} MB", limit="MAX_TILE_BYTES", value=size
        )
