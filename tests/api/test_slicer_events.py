"""What happens in a scene, told as it happens; taken back and made again."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest

from tests.serving import Client, served, until

pytest.importorskip("slicer_core", reason="the scene is not installed: microtome[scene]")

TOKEN = "a token of the tests"
V1 = "/scene/v1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("events")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Client]:
    with served(folder, scene=True, scene_exec=True, scene_token=TOKEN) as client:
        yield client


class Stream:
    """An event stream as a browser reads it."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        assert response.status == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        self._response = response
        self.last = ""

    def next(self) -> tuple[str, dict[str, Any]]:
        """The next event that is one."""
        kind = data = ""
        while True:
            line = self._response.readline().decode().rstrip("\n")
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                data = value
            elif name == "id":
                self.last = value
            elif not line and kind:
                return kind, json.loads(data)

    def until(self, kind: str, name: str) -> dict[str, Any]:
        """The next event of a kind and a node."""
        while True:
            found = self.next()
            if found[0] == kind and found[1].get("name", "") == name:
                return found[1]


@contextmanager
def following(client: Client, **headers: str) -> Iterator[Stream]:
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
    connection.request("GET", f"{V1}/events", headers={key.replace("_", "-"): value for key, value in headers.items()})
    response = connection.getresponse()
    try:
        yield Stream(response)
    finally:
        if connection.sock is not None:
            connection.sock.shutdown(socket.SHUT_RDWR)
        response.close()
        connection.close()


def tracker(client: Client) -> list[str]:
    return client.get("/slicer/mrml/ids?name=tracker").json()


def position(client: Client) -> list[float]:
    script = (
        b"m = slicer.mrmlScene.GetFirstNodeByName('tracker').GetMatrixTransformToParent()\n"
        b"__execResult = [m.GetElement(row, 3) for row in range(3)]"
    )
    return client.request("POST", "/slicer/exec", {"x-scene-token": TOKEN}, script).json()


def test_changes_are_told_and_none_is_missed(client: Client) -> None:
    client.request("DELETE", "/slicer/mrml")
    with following(client) as stream:
        client.get("/slicer/tracking?p=1,2,3")
        added = stream.until("added", "tracker")
        assert added["class_name"] == "vtkMRMLLinearTransformNode"
        assert [added["id"]] == tracker(client)
        client.get("/slicer/tracking?p=4,5,6")
        assert stream.until("modified", "tracker")["id"] == added["id"]
        last = stream.last
    client.request("DELETE", "/slicer/mrml?name=tracker")
    with following(client, last_event_id=last) as stream:
        assert stream.until("removed", "tracker")["id"] == added["id"]
    with following(client, last_event_id=f"{'0' * 12}-5") as stream:  # of a scene that is no more
        assert stream.last == ""
        assert stream.next()[0] in {"added", "removed", "modified"}


def test_many_changes_of_one_request_are_one_event(client: Client) -> None:
    client.get("/slicer/tracking?p=1,2,3")
    script = b"n = slicer.mrmlScene.GetFirstNodeByName('tracker')\nfor i in range(500): n.SetAttribute('a', str(i))"
    with following(client) as stream:
        client.request("POST", "/slicer/exec", {"x-scene-token": TOKEN}, script)
        client.get("/slicer/tracking?p=7,7,7")
        numbers = []
        for _ in range(2):
            stream.until("modified", "tracker")
            numbers.append(int(stream.last.partition("-")[2]))
    assert numbers[1] - numbers[0] < 20


def test_who_follows_hears_that_the_scene_was_lost(folder: Path) -> None:
    with served(folder, scene=True, scene_exec=True, scene_token=TOKEN) as client, following(client) as stream:
        client.get("/slicer/tracking?p=1,2,3")
        stream.until("added", "tracker")
        client.request("POST", "/slicer/exec", {"x-scene-token": TOKEN}, b"import os; os._exit(3)")
        assert stream.until("lost", "") == {}
        until(lambda: client.get("/slicer/tracking?p=1,2,3").status == 200)
        stream.until("added", "tracker")


def test_followers_that_leave_are_forgotten(client: Client) -> None:
    """More than may follow at once, one after the other."""
    for _ in range(3):
        with following(client) as stream:
            client.get("/slicer/tracking?p=1,1,1&q=1,0,0,0")
            client.request("DELETE", "/slicer/mrml?name=tracker")
            stream.until("removed", "tracker")
    assert client.get(f"{V1}/state").status == 200


def test_a_change_is_taken_back_and_made_again(client: Client) -> None:
    client.request("DELETE", "/slicer/mrml")
    client.get("/slicer/tracking?p=1,2,3")
    client.get("/slicer/tracking?p=4,5,6")
    assert position(client) == [4, 5, 6]
    state = client.request("POST", f"{V1}/undo").json()
    assert state["redo"] == 1
    assert position(client) == [1, 2, 3]
    assert client.request("POST", f"{V1}/redo").json()["redo"] == 0
    assert position(client) == [4, 5, 6]
    client.request("POST", f"{V1}/undo")
    client.request("POST", f"{V1}/undo")
    assert tracker(client) == []
    client.request("POST", f"{V1}/redo")
    assert len(tracker(client)) == 1
    # A new change ends what could be made again.
    client.get("/slicer/tracking?p=9,9,9")
    answer = client.request("POST", f"{V1}/redo")
    assert (answer.status, answer.error) == (400, "invalid_request")


def test_what_was_removed_comes_back_with_its_data(client: Client, folder: Path) -> None:
    voxels = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    nrrd.write(str(folder / "v.nrrd"), voxels, {"space": "left-posterior-superior",
               "space directions": np.eye(3), "space origin": [0.0, 0.0, 0.0]})  # fmt: skip
    loaded = client.request("POST", f"/slicer/mrml?filetype=VolumeFile&localfile={folder}/v.nrrd").json()
    (volume,) = loaded["loadedNodeIDs"]
    for target in (f"/slicer/mrml?id={volume}", "/slicer/mrml"):
        client.request("DELETE", target)
        assert client.get(f"/slicer/mrml/ids?id={volume}").json() == []
        assert client.request("POST", f"{V1}/undo").status == 200
        assert client.get(f"/slicer/mrml/names?id={volume}").json() == ["v"]
        saved = client.get(f"/slicer/mrml/file?id={volume}&localfile={folder}/again.nrrd")
        assert saved.json() == {"success": True}, saved.body
        assert np.array_equal(nrrd.read(str(folder / "again.nrrd"))[0], voxels)


def test_nothing_can_be_taken_back_for_ever(client: Client) -> None:
    for number in range(30):
        client.get(f"/slicer/tracking?p={number},0,0")
    assert client.get(f"{V1}/state").json()["undo"] == 20
    # Looking at things is no change.
    before = client.get(f"{V1}/state").json()["undo"]
    client.get("/slicer/slice?offset=3")
    client.get("/slicer/gui?viewersLayout=oneup3d")
    assert client.get(f"{V1}/state").json()["undo"] == before
