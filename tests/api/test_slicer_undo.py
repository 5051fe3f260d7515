"""Voxels taken back over HTTP, within the memory that there is for it; scenes as text over HTTP."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest

from microtome.scene.images import Image, writing
from tests.serving import Client, served

pytest.importorskip("slicer_core", reason="the scene is not installed: microtome[scene]")

V1 = "/scene/v1"
VOXELS = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("undo")


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[Client]:
    with served(data, scene=True) as client:
        yield client


def encoded(voxels: np.ndarray[Any, Any]) -> bytes:
    into = io.BytesIO()
    writing.write(into, Image(voxels, np.diag([-2.0, -3.0, 4.0, 1.0])))
    return into.getvalue()


def voxels(client: Client, node: str) -> np.ndarray[Any, Any]:
    found = io.BytesIO(client.get(f"/slicer/volume?id={node}").body)
    return nrrd.read_data(nrrd.read_header(found), found, index_order="C")


def test_voxels_are_taken_back_and_made_again(client: Client) -> None:
    (node,) = client.request("POST", f"{V1}/files?name=v.nrrd", body=encoded(VOXELS)).json()["ids"]
    answer = client.request("POST", f"/slicer/volume?id={node}", body=encoded(VOXELS * 2))
    assert answer.json()["success"], answer.body
    tag = client.get(f"/slicer/volume?id={node}").headers["etag"]
    assert client.request("POST", f"{V1}/undo").json()["redo"] == 1
    assert np.array_equal(voxels(client, node), VOXELS)
    assert client.get(f"/slicer/volume?id={node}", {"if-none-match": tag}).status == 200
    assert client.request("POST", f"{V1}/redo").json()["redo"] == 0
    assert np.array_equal(voxels(client, node), VOXELS * 2)


def test_without_memory_large_changes_stay_and_small_ones_are_taken_back(data: Path) -> None:
    with served(data, scene=True, scene_undo_memory=0) as client:
        (node,) = client.request("POST", f"{V1}/files?name=v.nrrd", body=encoded(VOXELS)).json()["ids"]
        client.request("POST", f"/slicer/volume?id={node}", body=encoded(VOXELS * 2))
        assert client.get(f"{V1}/state").json()["undo"] == 0
        assert client.request("PATCH", f"{V1}/nodes/{node}", body=b'{"name": "other"}').status == 200
        assert client.request("POST", f"{V1}/undo").status == 200
        assert client.get(f"{V1}/nodes/{node}").json()["name"] == "v"
        assert np.array_equal(voxels(client, node), VOXELS * 2)


def test_scenes_are_saved_as_text_and_sent(client: Client, data: Path) -> None:
    client.request("DELETE", "/slicer/mrml")
    client.request("POST", f"{V1}/files?name=v.nrrd", body=encoded(VOXELS))
    for name in ("saved.mrml", "saved.mrb"):
        answer = client.get(f"/slicer/mrml/file?localfile={data}/{name}")
        assert answer.json() == {"success": True}, answer.body
    assert [path.name for path in (data / "saved_Data").iterdir()] == ["v.nrrd"]
    for name in ("saved.mrml", "saved.mrb"):
        client.request("DELETE", "/slicer/mrml")
        answer = client.request("POST", f"/slicer/mrml?localfile={data}/{name}&filetype=SceneFile")
        assert answer.json()["success"], answer.body
        assert np.array_equal(voxels(client, "v"), VOXELS)
    text = client.get(f"{V1}/scene.mrml")
    assert text.headers["content-type"] == "application/x-slicer-mrml"
    assert b'fileName="Data/v.nrrd"' in text.body
    assert str(data).encode() not in text.body
    assert client.get(f"{V1}/scene.mrml", {"if-none-match": text.headers["etag"]}).status == 304
    assert client.get("/slicer/mrml/file?filename=all.mrb").body[:2] == b"PK"
    assert client.get("/slicer/mrml/file?filename=all.mrml").status == 500
    assert client.get("/slicer/mrml/file?localfile=/etc/outside.mrml").status == 403
