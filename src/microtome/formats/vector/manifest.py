"""Manifests: a JSON file that says where the tiles of a set are and which there are. TileJSON counts as one.

``root`` (or ``tile_root``) is relative to the manifest's folder and may climb with "..", never out of the data root.
Zooms come from ``bounds_by_zoom``, ``levels`` (which overrides), ``zoom_levels``, then ``min_zoom`` and ``max_zoom``
(``minzoom``, ``maxzoom`` as TileJSON spells it); without any, the folder is looked through.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any, cast

from microtome.errors import CorruptData, LimitExceeded, NotFound, UnsupportedFormat
from microtome.formats.vector.directory import TileFolder, facts_of_tile, scanned, tile_of
from microtome.formats.vector.facts import MAX_ZOOM, TILE_SIZE, Grid, chosen_metadata, describe
from microtome.formats.vector.payload import SUFFIXES, inflate, is_gzip, suffix_of
from microtome.formats.vector.slide import VectorSlide
from microtome.formats.vector.texts import MANIFEST_KEYS, parsed_object
from microtome.storage.base import ObjectInfo
from microtome.storage.folder import LISTED, PinnedFolder
from microtome.storage.keys import is_key
from microtome.storage.pinned import PinnedObject

MAX_MANIFEST_BYTES = 16 << 20
_MOST_SUFFIXES = 16
_TEMPLATE = re.compile(r"(?:\./)?([^{}:]*?)/?\{z\}/\{x\}/\{-?y\}(\.[a-z.]+)")


async def open_manifest(files: PinnedObject) -> VectorSlide:
    """Open the set a manifest describes. Raises CorruptData, UnsupportedFormat, LimitExceeded."""
    if files.size > MAX_MANIFEST_BYTES:
        raise LimitExceeded("The manifest is too large", limit="MAX_MANIFEST_BYTES", value=files.size)
    text = await files.read(0, files.size)
    files.settle()
    told = parsed_object(inflate(text, MAX_MANIFEST_BYTES) if is_gzip(text) else text, "manifest")
    if not MANIFEST_KEYS & told.keys():
        raise UnsupportedFormat("The JSON file is neither a manifest of tiles nor GeoJSON", feature="JSON")
    told = {**_of_template(told.get("tiles")), **told}
    tile_size = _number(told.get("tile_size", TILE_SIZE), "tile_size", 1 << 16)
    scheme = str(told.get("scheme", "xyz")).lower()
    if scheme not in {"xyz", "tms"}:
        raise UnsupportedFormat(f"The manifest's scheme is {scheme[:20]}; xyz and tms are known", feature="scheme")
    suffixes = _suffixes(told)
    grids = declared(told)
    folder = await _folder(files, told, LISTED if not grids else 1000)
    if not grids:
        grids = {grid.zoom: grid for grid in await scanned(folder, suffixes)}
    if not grids:
        raise CorruptData("The manifest declares no zooms, and there are no tiles in its root")
    flip = {grid.zoom: grid.max_y for grid in grids.values()} if scheme == "tms" else {}
    first = next((name for name in folder.entries if (tile := tile_of(name)) and tile[3] in suffixes), None)
    rest = {key: value for key, value in told.items() if key not in MANIFEST_KEYS}
    properties: dict[str, object] = {
        "name": files.key.rsplit("/", 1)[-1],
        **chosen_metadata(rest),
        **(await facts_of_tile(folder, first)),
        "scheme": scheme,
    }
    return VectorSlide(describe(grids.values(), tile_size, properties), TileFolder(folder, suffixes, tile_size, flip))


def declared(told: Mapping[str, Any]) -> dict[int, Grid]:
    """The grids a manifest declares, by zoom. Raises CorruptData for numbers that are none."""
    grids: dict[int, Grid] = {}
    by_zoom = told.get("bounds_by_zoom")
    if isinstance(by_zoom, dict):
        for zoom, bounds in cast("dict[str, Any]", by_zoom).items():
            grid = _grid(_number(zoom, "bounds_by_zoom", MAX_ZOOM), bounds)
            grids[grid.zoom] = grid
    for each in _sequence(told.get("levels")):
        if isinstance(each, dict):
            level = cast("dict[str, Any]", each)
            grid = _grid(_number(level.get("zoom"), "levels", MAX_ZOOM), level)
        else:
            grid = Grid.full(_number(each, "levels", MAX_ZOOM))
        grids[grid.zoom] = grid
    for each in _sequence(told.get("zoom_levels")):
        zoom = _number(each, "zoom_levels", MAX_ZOOM)
        grids.setdefault(zoom, Grid.full(zoom))
    low, high = (told.get(f"{end}_zoom", told.get(f"{end}zoom")) for end in ("min", "max"))
    if low is not None and high is not None:
        for zoom in range(_number(low, "min_zoom", MAX_ZOOM), _number(high, "max_zoom", MAX_ZOOM) + 1):
            grids.setdefault(zoom, Grid.full(zoom))
    return grids


def root_of(manifest_key: str, root: str) -> str:
    """The key of the folder ``root`` names, seen from the manifest. Raises CorruptData for one outside of the store."""
    key = posixpath.normpath(posixpath.join(posixpath.dirname(manifest_key), root))
    if root.startswith("/") or "\\" in root or key in {"", "."} or not is_key(key):
        if key == "." and not root.startswith("/"):
            return ""
        raise CorruptData("The manifest's root lies outside of the data; it must be relative to the manifest")
    return key


async def _folder(files: PinnedObject, told: Mapping[str, Any], most: int) -> PinnedFolder:
    root = told.get("root", told.get("tile_root", "."))
    if not isinstance(root, str):
        raise CorruptData("The manifest's root is no text")
    key = root_of(files.key, root)
    if not key:  # beside a manifest at the top of the store; a store lists all of itself below ""
        return await _top(files, most)
    try:
        return await PinnedFolder.open(files.store, key, most=most)
    except NotFound as error:
        raise CorruptData("The manifest's root is no folder, or an empty one") from error


async def _top(files: PinnedObject, most: int) -> PinnedFolder:
    """The top of the store: only its zooms are listed, the rest is not of this set."""
    entries: dict[str, ObjectInfo] = {}
    complete = True
    for zoom in range(MAX_ZOOM + 1):
        async for page in files.store.list(f"{zoom}/"):
            entries.update((info.key, info) for info in page)
            if len(entries) >= most:
                complete = False
                break
    return _TopFolder(files.store, "", entries, complete=complete)


class _TopFolder(PinnedFolder):
    """The folder whose key is empty."""

    def path(self, name: str) -> str:
        """The key of an object."""
        return name


def _of_template(tiles: object) -> dict[str, object]:
    """Root and suffix out of a relative template of TileJSON ("tiles/{z}/{x}/{y}.pbf")."""
    first = cast("list[object]", tiles)[0] if isinstance(tiles, list) and tiles else None
    found = _TEMPLATE.fullmatch(first) if isinstance(first, str) else None
    if found is None or not suffix_of(f"x{found.group(2)}"):
        return {}
    told: dict[str, object] = {"root": found.group(1) or ".", "tile_suffix": found.group(2)}
    return {**told, "scheme": "tms"} if "{-y}" in str(first) else told


def _suffixes(told: Mapping[str, Any]) -> list[str]:
    given = told.get("tile_suffixes") or told.get("tile_suffix")
    if given is None:
        return list(SUFFIXES)
    names = [given] if isinstance(given, str) else _sequence(given)[:_MOST_SUFFIXES]
    found = [f".{str(name).lower().lstrip('.')}" for name in names]
    known = [suffix for suffix in found if suffix in SUFFIXES]
    if not known:
        raise UnsupportedFormat("The manifest's tiles have no suffix of vector tiles", feature="tile suffix")
    return known


def _grid(zoom: int, bounds: object) -> Grid:
    if isinstance(bounds, dict):
        told = cast("dict[str, Any]", bounds)
        if "max_x" in told or "max_y" in told:
            x, y = told.get("max_x"), told.get("max_y")
        elif "x_tiles" in told or "y_tiles" in told:
            x, y = (_number(told.get(name), name, 1 << 31) - 1 for name in ("x_tiles", "y_tiles"))
        else:
            return Grid.full(zoom)
    else:
        pair = _sequence(bounds)
        x, y = pair if len(pair) == 2 else (None, None)
    return Grid(zoom, _number(x, "max_x", 1 << 31), _number(y, "max_y", 1 << 31))


def _sequence(value: object) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _number(value: object, name: str, most: int) -> int:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    number = int(text) if re.fullmatch(r"\d{1,12}", text, re.ASCII) else -1
    if not 0 <= number <= most:
        raise CorruptData(f"The manifest's {name} is no number from 0 to {most}")
    return number
