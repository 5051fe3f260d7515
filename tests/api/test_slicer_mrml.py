"""Nodes of a scene over HTTP: the shapes that clients of the original know."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import nrrd
import numpy as np
import pytest
from PIL import Image

from tests.serving import Client, served

pytest.importorskip("slicer_core", reason="the scene is not installed: microtome[scene]")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server with a scene, and a small volume in its folder."""
    folder = tmp_path_factory.mktemp("data")
    voxels = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    header = {"space": "left-posterior-superior", "space directions": np.diag([1.0, 2.0, 3.5]),
              "space origin": [10.0, 20.0, 30.0]}  # fmt: skip
    nrrd.write(str(folder / "v.nrrd"), voxels, header)
    with served(folder, scene=True) as client:
        yield client


def test_the_version_tells_what_runs_here(client: Client) -> None:
    answer = client.get("/slicer/system/version")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()
    assert found["applicationName"] == "Slicer"
    assert (found["majorVersion"], found["minorVersion"]) == (5, 13)
    assert isinstance(found["isCustomMainApplication"], bool)


def test_names_ids_and_properties(client: Client) -> None:
    ids = client.get("/slicer/mrml/ids").json()
    names = client.get("/slicer/mrml/names").json()
    assert len(ids) == len(names) > 50
    assert client.get("/slicer/mrml").json() == names
    assert client.get("/slicer/mrml/ids?class=vtkMRMLSliceNode").json() == [
        "vtkMRMLSliceNodeRed",
        "vtkMRMLSliceNodeYellow",
        "vtkMRMLSliceNodeGreen",
    ]
    assert client.get("/slicer/mrml/ids?class=vtkMRMLAbstractViewNode&name=Red").json() == ["vtkMRMLSliceNodeRed"]
    assert client.get("/slicer/mrml/names?id=vtkMRMLSliceNodeRed&name=nothing&class=nothing").json() == ["Red"]
    assert client.get("/slicer/mrml/ids?name=red").json() == []
    found = client.get("/slicer/mrml/properties?id=vtkMRMLSliceNodeRed").json()
    assert list(found) == ["vtkMRMLSliceNodeRed"]
    assert found["vtkMRMLSliceNodeRed"]["ClassName"] == "vtkMRMLSliceNode"


def test_what_there_is_not_is_said_as_the_original_says_it(client: Client) -> None:
    for target, message in (
        ("/slicer/mrml/properties?id=no", "No nodes matched the filter criteria"),
        ("/slicer/mrml/foo", "Invalid path: /mrml/foo"),
        ("/slicer/nothing", "unknown command \"b'/nothing'\""),
        ("/slicer/", "unknown command \"b'/'\""),
    ):
        answer = client.get(target)
        assert answer.status == 500, target
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == {"success": False, "message": f"Server error: {message}"}


def properties(client: Client, node_id: str) -> dict[str, Any]:
    return client.get(f"/slicer/mrml/properties?id={node_id}").json()[node_id]


def test_a_volume_says_what_the_original_says(client: Client) -> None:
    """The keys and kinds of values that the reference documents, and the matrix it loses."""
    (volume,) = load(client, "VolumeFile", "12345")
    found = properties(client, volume)
    assert {name: found[name] for name in ("ID", "ClassName", "Name", "Debug", "HideFromEditors", "Selectable")} == {
        "ID": volume, "ClassName": "vtkMRMLScalarVolumeNode", "Name": "12345", "Debug": False,
        "HideFromEditors": False, "Selectable": True}  # fmt: skip
    assert found["Node references"]["display [displayNodeRef]"] == found["DisplayNodeIDs[0]"]
    assert found["Spacing"] == [1.0, 2.0, 3.5]
    assert found["IJKToRASDirections"] == ""
    assert found["IJKToRASMatrix"] == [[-1, 0, 0, -10], [0, -2, 0, -20], [0, 0, 3.5, 30], [0, 0, 0, 1]]
    image = found["ImageData"]
    assert image["Extent"] == [0, 3, 0, 4, 0, 5]
    assert image["Dimensions"] == [4, 5, 6]
    assert image["Bounds"]["Xmin,Xmax"] == [0, 3]
    assert image["Point Data"]["Scalars"]["Data type"] == "short"
    text = client.get(f"/slicer/mrml/properties?id={volume}").body.decode()
    assert "0x" not in text
    assert "null" not in text
    assert "Observer" not in text


def test_nodes_are_removed_and_the_scene_is_cleared(client: Client) -> None:
    client.request("DELETE", "/slicer/mrml")
    (first,), (second,) = (load(client, "VolumeFile", name) for name in ("a", "b"))
    assert client.request("DELETE", f"/slicer/mrml?id={first}").json() == {"success": True}
    assert client.get("/slicer/mrml/ids?class=vtkMRMLVolumeNode").json() == [second]
    assert client.request("DELETE", f"/slicer/mrml/file?id={first}").status == 500
    assert client.request("DELETE", "/slicer/mrml").json() == {"success": True}
    assert client.get("/slicer/mrml/ids?class=vtkMRMLVolumeNode").json() == []
    assert client.get("/slicer/mrml/names?class=vtkMRMLSliceNode").json() == ["Red", "Yellow", "Green"]
    assert client.request("PUT", "/slicer/mrml?class=vtkMRMLSliceNode").json() == {"success": False}
    assert client.request("PATCH", "/slicer/mrml").status == 405


def test_volumes_are_chosen_one_after_the_other(client: Client) -> None:
    client.request("DELETE", "/slicer/mrml")
    assert client.get("/slicer/volumeSelection").status == 500
    ids = [load(client, "VolumeFile", name)[0] for name in ("a", "b", "c")]
    shown = [client.get(f"/slicer/volumeSelection?cmd={command}") and background(client)
             for command in ("next", "next", "whatever", "previous", "previous", "previous")]  # fmt: skip
    assert shown == [ids[0], ids[1], ids[2], ids[1], ids[0], ids[2]]
    assert client.get("/slicer/volumeSelection").body == b"Volume selected"


def test_a_device_is_tracked(client: Client) -> None:
    def matrix() -> list[list[float]]:
        (node_id,) = client.get("/slicer/mrml/ids?name=tracker").json()
        return properties(client, node_id)["TransformToParentMatrix"]

    answer = client.request("PUT", "/slicer/tracking?p=1,2,3&q=1,0,0,0&time=7")
    assert (answer.body, answer.headers["content-type"]) == (b"Set matrix", "text/plain")
    assert matrix() == [[1, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]
    client.get("/slicer/tracking?m=0,-1,0,1,0,0,0,0,1")  # row by row; the position stays
    assert matrix() == [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]
    client.get("/slicer/tracking?m=0,1,0,0,-1,0,0,0,0,0,1,0,7,8,9,1")  # column by column, as documented
    assert matrix() == [[0, -1, 0, 7], [1, 0, 0, 8], [0, 0, 1, 9], [0, 0, 0, 1]]
    assert client.get("/slicer/mrml/names?name=trackingDevice").json() == ["trackingDevice"]
    for wrong in ("m=1,2,3", "p=1,2", "q=0,0,0,0", "p=a,b,c", "p=nan,1,1"):
        assert client.get(f"/slicer/tracking?{wrong}").status == 500, wrong


def test_the_time_is_painted(client: Client) -> None:
    for color, expected in (("", (0x33, 0x33, 0x00)), ("?color=ff0", (255, 255, 0)), ("?color=102030", (16, 32, 48))):
        answer = client.get(f"/slicer/timeimage{color}")
        picture = Image.open(io.BytesIO(answer.body))
        assert (answer.headers["content-type"], picture.size, picture.mode) == ("image/png", (128, 32), "RGBA")
        assert picture.getpixel((1, 1)) == (*expected, 204)
        assert picture.getpixel((100, 28))[3] == 204 or picture.getpixel((110, 20))[3] == 0  # type: ignore[index]
    assert client.get("/slicer/timeimage?color=red").status == 500


def test_the_layout_is_chosen_by_name(client: Client) -> None:
    for query in ("viewersLayout=FourUp", "viewersLayout=oneupredslice&contents=Viewers", "contents=FULL", ""):
        assert client.request("PUT", f"/slicer/gui?{query}").json() == {"success": True}
    for query, message in (
        ("contents=x", "contents must be 'viewers' or 'full'"),
        ("viewersLayout=Nope", "Unknown layout name: nope"),
    ):
        assert client.get(f"/slicer/gui?{query}").json()["message"] == f"Server error: {message}"


def test_sample_data_is_made(client: Client) -> None:
    assert client.get("/slicer/sampledata").json()["message"] == "Server error: sampledata name was not specified"
    assert client.get("/slicer/sampledata?name=x").json()["message"] == "Server error: sampledata x was not found"
    answer = client.get("/slicer/sampledata?name=MRHead")
    assert (answer.status, answer.body) == (200, b"Sample data MRHead loaded")


def test_answers_are_asked_for_again_by_their_etag(client: Client) -> None:
    first = client.get("/slicer/mrml/ids")
    known = client.get("/slicer/mrml/ids", {"if-none-match": first.headers["etag"]})
    assert (known.status, known.body) == (304, b"")
    head = client.request("HEAD", "/slicer/mrml/ids")
    assert (head.status, head.body, head.headers["etag"]) == (200, b"", first.headers["etag"])
    assert head.headers["content-length"] == str(len(first.body))


def load(client: Client, kind: str, name: str) -> list[str]:
    answer = client.request("POST", f"/slicer/mrml?localfile=v.nrrd&filetype={kind}&name={name}")
    assert answer.status == 200, answer.body
    return answer.json()["loadedNodeIDs"]


def background(client: Client) -> str:
    return client.get("/scene/v1/slices/Red").json()["background"]
