"""Vector tile sets: folders z/x/y, manifests, single tiles, MBTiles, PMTiles; and GeoJSON, cut into tiles on the fly.

What a file is, its first bytes say; names only tell single tiles and texts from what looks alike. A missing tile is
NotFound(what="tile").
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from microtome.errors import UnsupportedFormat
from microtome.formats.base import FormatOptions, Slide
from microtome.formats.vector.directory import looks_like_tiles
from microtome.formats.vector.facts import level_of_zoom, tilejson, zooms_of
from microtome.formats.vector.geojson.store import Indexes
from microtome.formats.vector.payload import is_gzip, kind_of, peeked, plain, suffix_of
from microtome.storage.folder import Files, PinnedFolder

__all__ = ["VectorFormat", "level_of_zoom", "plain", "tilejson", "zooms_of"]

_SQLITE = b"SQLite format 3\0"
_PMTILES = b"PMTiles"
_MBTILES_ID = b"MPBX"


class VectorFormat:
    """The format "mvt". ``indexes`` keeps what is made of GeoJSON files; ``folder`` None is a temporary one."""

    name = "mvt"
    priority = 50

    def __init__(self, folder: Path | None = None) -> None:
        self.indexes = Indexes(folder)

    def recognises(self, head: bytes, name: str) -> bool:
        """Archives by signature or name, tiles by name and first byte, texts when they are GeoJSON or a manifest."""
        from microtome.formats.vector.texts import is_geojson, is_manifest

        lower = name.lower()
        if lower.endswith((".pmtiles", ".mbtiles")) or head.startswith(_PMTILES):
            return True
        if head.startswith(_SQLITE) and head[68:72] == _MBTILES_ID:
            return True
        suffix = suffix_of(lower).removesuffix(".gz")
        if suffix in {".mvt", ".pbf"}:
            return kind_of(head) == "mvt"
        return suffix in {".json", ".geojson"} and (is_geojson(head) or is_manifest(head))

    def recognises_folder(self, names: Sequence[str]) -> bool:
        """A folder with at least one tile zoom/column/row.suffix."""
        return looks_like_tiles(names)

    async def open(self, files: Files) -> Slide:
        """Open whatever it is. Raises UnsupportedFormat, CorruptData, LimitExceeded, Conflict, StorageUnavailable.

        Busy while a large GeoJSON file is being indexed.
        """
        if isinstance(files, PinnedFolder):
            from microtome.formats.vector.directory import open_directory

            return await open_directory(files)
        head, lower = files.head, files.key.lower()
        if head.startswith(_PMTILES) or lower.endswith(".pmtiles"):
            from microtome.formats.vector.pmtiles import open_pmtiles

            return await open_pmtiles(files)
        if head.startswith(_SQLITE) or lower.endswith(".mbtiles"):
            from microtome.formats.vector.archive import open_mbtiles

            return await open_mbtiles(files)
        text = (peeked(head) if is_gzip(head) else head[:64]).lstrip(b"\xef\xbb\xbf \t\r\n")
        if text[:1] in (b"{", b"["):
            from microtome.formats.vector.geojson.slide import open_geojson
            from microtome.formats.vector.manifest import open_manifest
            from microtome.formats.vector.texts import is_geojson

            return await (open_geojson(files, self.indexes) if is_geojson(head) else open_manifest(files))
        if suffix_of(lower) or kind_of(head) == "mvt":
            from microtome.formats.vector.single import open_single

            return await open_single(files)
        raise UnsupportedFormat(
            "The file is no vector tile set: no tile, archive, manifest or GeoJSON", feature="file signature"
        )

    def configure(self, options: FormatOptions) -> None:
        """Keep indexes where they outlive the server, if there is such a place."""
        if options.cache_dir is not None:
            self.indexes = Indexes(options.cache_dir / "indexes")

    async def start(self) -> None:
        """Nothing to prepare."""

    async def stop(self) -> None:
        """Stop what is being indexed."""
        await self.indexes.close()
