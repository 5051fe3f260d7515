"""Folders of tiles, manifests, single tiles: what is found, in which order, and what is refused."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from microtome.errors import Conflict, CorruptData, LimitExceeded, NotFound, UnsupportedFormat
from microtome.formats.vector import VectorFormat
from microtome.formats.vector.directory import open_directory
from microtome.storage.folder import PinnedFolder
from microtome.storage.memory import MemoryStore
from tests.unit.vector.opening import a_tile, decoded, opened, tile


def manifest(**members: Any) -> bytes:
    return json.dumps(members).encode()


SUFFIXES = [".mvt", ".pbf", ".json", ".geojson", ".mvt.gz", ".pbf.gz", ".json.gz", ".geojson.gz"]
TEXT = b'{"type":"FeatureCollection","features":[]}'


@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_each_suffix_in_a_folder(suffix: str) -> None:
    content = TEXT if "json" in suffix else a_tile()
    stored = gzip.compress(content) if suffix.endswith(".gz") else content
    async with opened({f"set/3/2/1{suffix}": stored}, "set") as slide:
        found = await tile(slide, 3, 2, 1)
        assert found.data == stored
        assert found.encoding == ("gzip" if suffix.endswith(".gz") else None)
        expected = {"json": "application/json", "geojson": "application/geo+json"}
        assert found.media_type == expected.get(suffix.split(".")[1], "application/vnd.mapbox-vector-tile")


@pytest.mark.parametrize("suffix", [".mvt", ".pbf", ".mvt.gz", ".pbf.gz"])
async def test_each_suffix_of_a_single_tile(suffix: str) -> None:
    stored = gzip.compress(a_tile()) if suffix.endswith(".gz") else a_tile()
    async with opened({f"case/x{suffix}": stored}, f"case/x{suffix}") as slide:
        info = await slide.info()
        assert [level.size for level in info.levels] == [(256, 256)]
        assert (await tile(slide, 0, 0, 0)).data == stored
        assert list(decoded(await tile(slide, 0, 0, 0))) == ["cells"]


async def test_the_first_suffix_wins() -> None:
    objects = {f"set/0/0/0{suffix}": a_tile(f"layer{i}") for i, suffix in enumerate([".pbf", ".mvt"])}
    async with opened(objects, "set") as slide:
        assert list(decoded(await tile(slide, 0, 0, 0))) == ["layer1"]
    told = manifest(root="set", tile_suffixes=["pbf", ".mvt"])
    async with opened(objects | {"set.json": told}, "set.json") as slide:
        assert list(decoded(await tile(slide, 0, 0, 0))) == ["layer0"]


async def test_an_explicit_format_opens_what_nothing_recognises() -> None:
    async with opened({"tile": a_tile()}, "tile", chosen="mvt") as slide:
        assert (await tile(slide, 0, 0, 0)).data == a_tile()
    with pytest.raises(UnsupportedFormat):
        async with opened({"tile": a_tile()}, "tile"):
            pass
    with pytest.raises(UnsupportedFormat, match="no vector tile set"):
        async with opened({"slide.tif": b"II*\0 and so on"}, "slide.tif", chosen="mvt"):
            pass


async def test_a_replaced_tile_is_a_conflict() -> None:
    store = MemoryStore({"set/0/0/0.mvt": a_tile()})
    async with opened(store, "set") as slide:
        store.put("set/0/0/0.mvt", a_tile("other"))
        with pytest.raises(Conflict):
            await tile(slide, 0, 0, 0)


async def test_metadata_beside_the_tiles() -> None:
    layers = json.dumps({"vector_layers": [{"id": "cells", "fields": {}}]})
    objects = {"set/1/0/1.pbf": a_tile(), "set/metadata.json": manifest(bounds="1,2,3,4", name="n", json=layers)}
    async with opened(objects, "set") as slide:
        properties = (await slide.info()).properties
        assert properties["bounds"] == "1,2,3,4"
        assert properties["name"] == "n"
        assert json.loads(properties["vector_layers"])[0]["id"] == "cells"


async def test_a_folder_too_large_to_be_listed_is_asked_by_name() -> None:
    objects = {f"set/{z}/{x}/{y}.pbf.gz": gzip.compress(a_tile(f"{z}-{x}-{y}")) for z in (0, 2, 11) for x in range(4)
               for y in range(4) if z or not x + y}  # fmt: skip
    store = MemoryStore(objects)
    folder = await PinnedFolder.open(store, "set", most=2)
    assert not folder.complete
    slide = await open_directory(folder)
    info = await slide.info()
    assert info.properties["zooms"] == "11,2,0"
    assert info.levels[0].columns == 2048
    before = store.requests
    assert list(decoded(await tile(slide, 11, 3, 3))) == ["11-3-3"]
    assert store.requests == before + 1  # the suffix seen is tried first
    with pytest.raises(NotFound):
        await tile(slide, 11, 9, 9)


async def test_pictures_and_empty_folders_are_no_vector_sets() -> None:
    with pytest.raises(UnsupportedFormat, match="pictures"):
        async with opened({"set/0/0/0.pbf": b"\x89PNG\r\n\x1a\n"}, "set"):
            pass
    assert not VectorFormat().recognises_folder(["a/0/0/0.pbf", "0/0/0.png", "0/0", "0/0/0/0.pbf", "99/0/0.mvt"])


# -- manifests -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "grids"),
    [
        ({"min_zoom": 1, "max_zoom": 3}, {3: (7, 7), 2: (3, 3), 1: (1, 1)}),
        ({"minzoom": 1, "maxzoom": 2, "tiles": ["http://x/{z}/{x}/{y}.pbf"]}, {2: (3, 3), 1: (1, 1)}),
        ({"zoom_levels": [4, 0]}, {4: (15, 15), 0: (0, 0)}),
        ({"levels": [{"zoom": 5, "max_x": 9, "max_y": 3}, {"zoom": 2, "x_tiles": 3, "y_tiles": 2}, 1]},
         {5: (9, 3), 2: (2, 1), 1: (1, 1)}),
        ({"bounds_by_zoom": {"3": {"max_x": 4, "max_y": 5}, "2": {"x_tiles": 2, "y_tiles": 3}, "1": [1, 0]}},
         {3: (4, 5), 2: (1, 2), 1: (1, 0)}),
        ({"bounds_by_zoom": {"3": [4, 5]}, "levels": [{"zoom": 3, "max_x": 6, "max_y": 6}], "zoom_levels": [3, 2]},
         {3: (6, 6), 2: (3, 3)}),
        ({"tile_size": 512}, {1: (1, 0)}),
    ],
)  # fmt: skip
async def test_zooms_of_a_manifest(members: dict[str, Any], grids: dict[int, tuple[int, int]]) -> None:
    objects = {"m/set.json": manifest(root="t", **members), "m/t/1/1/0.pbf": a_tile()}
    async with opened(objects, "m/set.json") as slide:
        info = await slide.info()
        zooms = [int(zoom) for zoom in info.properties["zooms"].split(",")]
        assert zooms == sorted(grids, reverse=True)
        for zoom, level in zip(zooms, info.levels, strict=True):
            assert (level.columns - 1, level.rows - 1) == grids[zoom]
            assert level.downsample == 2.0 ** (zooms[0] - zoom)
            assert level.tile_size == (members.get("tile_size", 256),) * 2
        if 1 in grids:
            assert list(decoded(await tile(slide, 1, 1, 0))) == ["cells"]


async def test_tms_rows_count_from_the_bottom() -> None:
    objects = {f"t/2/0/{y}.pbf": a_tile(f"row{y}") for y in range(3)} | {"m.json": manifest(root="t", scheme="tms")}
    async with opened(objects, "m.json") as slide:
        assert [list(decoded(await tile(slide, 2, 0, y))) for y in range(3)] == [["row2"], ["row1"], ["row0"]]


async def test_a_root_may_climb_and_never_leaves_the_data() -> None:
    objects = {"a/b/m.json": manifest(root="../../tiles"), "tiles/0/0/0.mvt": a_tile()}
    async with opened(objects, "a/b/m.json") as slide:
        assert list(decoded(await tile(slide, 0, 0, 0))) == ["cells"]
    for root in ("../../../tiles", "/tiles", "..\\tiles", "../../../../../../etc", "%2e%2e/%2e%2e/%2e%2e/x"):
        with pytest.raises(CorruptData, match="root"):
            async with opened(objects | {"a/b/m.json": manifest(root=root)}, "a/b/m.json"):
                pass


async def test_a_manifest_beside_its_tiles_at_the_top_and_a_template() -> None:
    objects = {"m.json": manifest(tile_suffix="pbf"), "1/0/1.pbf": a_tile(), "other/1/1/1.pbf": a_tile("no")}
    async with opened(objects, "m.json") as slide:
        assert (await slide.info()).levels[0].size == (256, 512)
        assert list(decoded(await tile(slide, 1, 0, 1))) == ["cells"]
    told = manifest(tilejson="3.0.0", tiles=["./data/{z}/{x}/{y}.mvt"], maxzoom=1, minzoom=0, bounds=[1, 2, 3, 4])
    async with opened({"d/m.json": told, "d/data/1/0/1.mvt": a_tile()}, "d/m.json") as slide:
        assert (await slide.info()).properties["bounds"] == "[1, 2, 3, 4]"
        assert list(decoded(await tile(slide, 1, 0, 1))) == ["cells"]


@pytest.mark.parametrize(
    "members",
    [
        {"tile_size": 0}, {"tile_size": "many"}, {"tile_size": 10**9}, {"min_zoom": 0, "max_zoom": 99}, {"root": 7},
        {"zoom_levels": [-1]}, {"zoom_levels": ["x"]}, {"levels": [{}]}, {"levels": [[]]}, {"scheme": "zyx"},
        {"bounds_by_zoom": {"x": [1, 2]}}, {"bounds_by_zoom": {"1": [1]}}, {"tile_suffix": ".png"}, {"root": "nowhere"},
        {"levels": [{"zoom": True}]}, {"tiles": 7}, {"bounds_by_zoom": {"1": {"max_x": 1e300, "max_y": 1}}},
    ],
)  # fmt: skip
async def test_manifests_that_make_no_sense(members: dict[str, Any]) -> None:
    objects = {"m/set.json": manifest(**{"root": "t", **members}), "m/t/x.txt": b"x"}
    with pytest.raises((CorruptData, UnsupportedFormat)):
        async with opened(objects, "m/set.json"):
            pass


async def test_a_tile_that_is_none_says_so() -> None:
    for data in (b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x1a\x05abc", gzip.compress(a_tile())[:-9]):
        with pytest.raises(CorruptData):
            async with opened({"x.mvt": data}, "x.mvt"):
                pass
    with pytest.raises(LimitExceeded):
        async with opened({"x.mvt": bytes([0x1A]) + bytes(65 << 20)}, "x.mvt"):
            pass
