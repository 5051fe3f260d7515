"""Every real vector file opens, or is refused with a reason; tiles come out as they are stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from microtome.errors import CorruptData, MicrotomeError, NotFound, UnsupportedFormat
from microtome.formats.vector import VectorFormat, plain, tilejson
from microtome.model import EncodedTile, TileIndex
from microtome.storage.local import LocalStore
from tests import conftest
from tests.unit.vector.opening import decoded, opened

REFUSED: dict[str, tuple[type[MicrotomeError], str]] = {
    "mbtiles/corrupt.mbtiles": (CorruptData, "malformed"),
    "mbtiles/geography-class-png.mbtiles": (UnsupportedFormat, "pictures"),
    "mbtiles/invalid-tile-format.mbtiles": (CorruptData, "no vector tiles"),
    "mbtiles/invalid.mbtiles": (CorruptData, "no such table"),
    "mbtiles/some-empty-tiles.mbtiles": (UnsupportedFormat, "pictures"),
    "pmtiles/invalid.pmtiles": (CorruptData, "signature"),
    "pmtiles/invalid_v4.pmtiles": (UnsupportedFormat, "version 4"),
    "pmtiles/stamen_toner(raster)CC-BY+ODbL_z3.pmtiles": (UnsupportedFormat, "PNG"),
    "pmtiles/stamen_toner__raster_CC-BY+ODbL_z3.pmtiles": (UnsupportedFormat, "version 51"),
    "pmtiles/test_fixture_mlt.pmtiles": (UnsupportedFormat, "MLT"),
    "pmtiles/webp2.pmtiles": (UnsupportedFormat, "WebP"),
}
UNREADABLE_BY_THE_DECODER = {"pbf/multipolygon-with-closepath.pbf"}


def _files() -> list[str]:
    folder = conftest.testdata_folder()
    root = folder / "vector" if folder else Path("none")
    return [str(path.relative_to(root)) for path in sorted(root.rglob("*")) if path.is_file()]


@pytest.mark.parametrize("key", _files())
async def test_every_file_opens_or_is_refused_with_a_reason(testdata: Path, key: str) -> None:
    store = LocalStore(testdata / "vector")
    if key in REFUSED:
        kind, words = REFUSED[key]
        with pytest.raises(kind, match=words):
            async with opened(store, key):
                pass
        return
    async with opened(store, key) as slide:
        info = await slide.info()
        assert info.format_name == "mvt"
        assert info.channels == ()
        assert info.levels[0].downsample == 1.0
        assert tilejson(info, "https://host/{z}/{x}/{y}")["maxzoom"] == int(info.properties["maxzoom"])
        seen = 0
        for number, level in enumerate(info.levels):
            for row in range(min(level.rows, 4)):
                for column in range(min(level.columns, 4)):
                    try:
                        tile = await slide.read_tile(TileIndex(number, column, row))
                    except NotFound as error:
                        assert error.what == "tile"
                        continue
                    assert isinstance(tile, EncodedTile)
                    seen += 1
                    if key not in UNREADABLE_BY_THE_DECODER:
                        assert decoded(tile)
        assert seen > 0
        if key.endswith(".pbf"):
            stored = (testdata / "vector" / key).read_bytes()
            tile = await slide.read_tile(TileIndex(0, 0, 0))
            assert isinstance(tile, EncodedTile)
            assert tile.data == stored
            assert tile.media_type == "application/vnd.mapbox-vector-tile"
            assert tile.encoding == ("gzip" if stored[:2] == b"\x1f\x8b" else None)
            assert plain(tile).encoding is None


async def test_a_real_tree_of_tiles_is_a_slide(testdata: Path) -> None:
    store = LocalStore(testdata / "vector")
    folder = "pbf/demotiles.maplibre.org/tiles"
    async with opened(store, folder) as slide:
        info = await slide.info()
        assert info.properties["zooms"] == "5,4,3,2,1,0"
        assert [level.size.width // 256 - 1 for level in info.levels] == [15, 8, 4, 2, 1, 0]
        assert [level.size.height // 256 - 1 for level in info.levels] == [15, 8, 4, 2, 1, 0]
        tile = await slide.read_tile(TileIndex(1, 8, 5))
        assert isinstance(tile, EncodedTile)
        assert tile.data == (testdata / "vector" / folder / "4/8/5.pbf").read_bytes()
        assert slide.peek_tile(TileIndex(1, 8, 5)) in (None, tile)
        with pytest.raises(NotFound) as caught:
            await slide.read_tile(TileIndex(1, 0, 0))
        assert caught.value.what == "tile"


async def test_the_cities_of_an_archive_lie_where_the_metadata_says(testdata: Path) -> None:
    async with opened(LocalStore(testdata / "vector"), "mbtiles/world_cities.mbtiles") as slide:
        info = await slide.info()
        assert len(info.levels) == 7
        assert info.levels[0].size == (64 * 256, 64 * 256)
        told = tilejson(info, "u/{z}/{x}/{y}")
        assert told["tilejson"] == "3.0.0"
        assert told["bounds"] == [-123.12359, -37.818085, 174.763027, 59.352706]
        assert told["vector_layers"][0]["fields"] == {"name": "String"}
        # Row 0 is the north: Vancouver (49 N, 123 W) in column 0 of zoom 1, row 0; Sydney (34 S, 151 E) in 1, 1.
        north = decoded(await _read(slide, TileIndex(5, 0, 0)))["cities"]["features"]
        south = decoded(await _read(slide, TileIndex(5, 1, 1)))["cities"]["features"]
        assert "Vancouver" in {each["properties"]["name"] for each in north}
        assert "Sydney" in {each["properties"]["name"] for each in south}


async def _read(slide: object, index: TileIndex) -> EncodedTile:
    found = await slide.read_tile(index)  # type: ignore[attr-defined]
    assert isinstance(found, EncodedTile)
    return found


def test_other_json_is_no_slide() -> None:
    form = VectorFormat()
    for text in (b"{}", b'{"name": "x", "version": 1}', b"[1, 2]", b'{"type": "module"}', b'{"nested": {"tiles": []}}',
                 b'{"@context": "http://iiif.io/api/image/3/context.json", "tiles": [{"width": 512}]}', b"",
                 b"{"):  # fmt: skip
        assert not form.recognises(text, "package.json"), text
    for text in (b'{"type":"FeatureCollection","features":[]}', b'{"tile_size": 256}', b'{"features": [ {"type"',
                 b'{"tilejson": "3.0.0", "tiles": []}', b' \n[{"type": "Feature"}]',
                 b'{"x": "}", "type": "Point"}'):  # fmt: skip
        assert form.recognises(text, "a.json"), text
        assert not form.recognises(text, "a.txt"), text
