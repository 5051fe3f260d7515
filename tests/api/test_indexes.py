"""The index of a GeoJSON file outlives the server where there is a cache folder; whoever comes too early is told so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from microtome.formats.isolated import Isolated
from microtome.formats.vector import VectorFormat
from tests.serving import Client, served

TILE = "/slides/shapes.geojson/vector/0/0/0.mvt"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a few shapes in it."""
    features = [
        {"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [10 * n, 20 * n]}}
        for n in range(50)
    ]
    folder = tmp_path / "data"
    folder.mkdir()
    text = json.dumps({"type": "FeatureCollection", "features": features})
    (folder / "shapes.geojson").write_text(text, "utf-8")
    return folder


def vector(client: Client) -> VectorFormat:
    return next(each for each in client.services.formats.formats if isinstance(each, VectorFormat))


def test_an_index_is_built_once_for_all_servers_with_a_cache_folder(data: Path, tmp_path: Path) -> None:
    tiles: list[bytes] = []
    for built in (1, 0):
        with served(data, cache_dir=tmp_path / "cache") as client:
            answer = client.get(TILE)
            assert answer.status == 200
            assert vector(client).indexes.built == built
            tiles.append(answer.body)
    assert tiles[0] == tiles[1]
    assert len(list((tmp_path / "cache" / "indexes").glob("*.index"))) == 1
    with served(data) as client:
        assert client.get(TILE).body == tiles[0]
        assert vector(client).indexes.built == 1, "no folder, nothing kept"


def test_a_reader_in_a_process_of_its_own_keeps_it_there_too(data: Path, tmp_path: Path) -> None:
    with served(data, cache_dir=tmp_path / "cache", isolate=("mvt",)) as client:
        assert client.get(TILE).status == 200
        [isolated] = [each for each in client.services.formats.formats if isinstance(each, Isolated)]
        assert (isolated.name, isolated.running) == ("mvt", 1)
    assert len(list((tmp_path / "cache" / "indexes").glob("*.index"))) == 1


@pytest.mark.parametrize("target", [TILE, "/v3/slides/info?slide_id=shapes.geojson"])
def test_who_comes_before_the_index_is_told_when_to_come_again(data: Path, target: str) -> None:
    with served(data) as client:
        vector(client).indexes._patience = 0.0
        answer = client.get(target)
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) > 0
        assert b"being indexed" in answer.body
        answers = (client.get(target) for _ in range(1000))
        assert next(each for each in answers if each.status != 503).status == 200
        assert vector(client).indexes.built == 1, "those who came early did not disturb it"
