"""A slice dragged over the websocket: in order, the latest wins, no more under way than are acknowledged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from websockets.sync.client import ClientConnection, connect

from microtome.api.slicer.stream import UNDER_WAY
from tests.serving import Client, served

pytest.importorskip("slicer_core", reason="the scene is not installed: microtome[scene]")

V1 = "/scene/v1"
STEPS = 60
LOOKS = {"size": [256, 192], "format": "png", "overlay": ["segments", "models", "orientation"]}


class Shown(NamedTuple):
    """A picture of the stream and what was told of it."""

    told: dict[str, Any]
    data: bytes

    @property
    def number(self) -> int:
        return self.told["number"]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with served(tmp_path_factory.mktemp("stream"), scene=True) as client:
        assert client.request("POST", f"{V1}/samples/CTChest", body=b"{}").status == 200
        yield client


@contextmanager
def stream(client: Client, view: str = "Red") -> Iterator[ClientConnection]:
    with connect(f"ws://127.0.0.1:{client.port}{V1}/views/{view}/stream", max_size=1 << 24, open_timeout=60) as socket:
        yield socket


def send(socket: ClientConnection, **message: Any) -> None:
    socket.send(json.dumps(message))


def next_of(socket: ClientConnection) -> Shown | dict[str, Any]:
    """The next picture, or what else is told."""
    told = json.loads(socket.recv(timeout=60))
    if told["kind"] == "error":
        return told
    data = socket.recv(timeout=60)
    assert isinstance(data, bytes)
    return Shown(told, data)


def seen(socket: ClientConnection, picture: Shown) -> None:
    send(socket, seen=picture.number)


def until_still(socket: ClientConnection) -> list[Shown]:
    """All pictures up to the still one, each acknowledged."""
    found: list[Shown] = []
    while not found or found[-1].told["kind"] != "still":
        picture = next_of(socket)
        assert isinstance(picture, Shown), picture
        found.append(picture)
        seen(socket, picture)
    return found


def offset(step: int) -> float:
    return -60.0 + 2 * step


def test_a_dragged_slice_arrives_in_order_and_ends_in_full_quality(client: Client) -> None:
    with stream(client) as socket:
        for step in range(1, STEPS + 1):
            send(socket, number=step, offset=offset(step), **LOOKS)
        pictures = until_still(socket)
        while pictures[-1].number != STEPS:  # a slow machine may come to rest on the way
            pictures += until_still(socket)
    numbers = [each.number for each in pictures]
    assert numbers == sorted(numbers)
    assert len({each.number for each in pictures if each.told["kind"] == "moving"}) == sum(
        each.told["kind"] == "moving" for each in pictures
    )
    for each in pictures:
        assert each.told["state"]["offset"] == pytest.approx(offset(each.number))
        assert Image.open(BytesIO(each.data)).size == (256, 192)
    still = pictures[-1]
    assert (still.told["media_type"], still.told["kind"]) == ("image/png", "still")
    answer = client.get(f"{V1}/slices/Red/picture?size=256x192&overlay=segments,models,orientation")
    assert answer.status == 200
    assert still.data == answer.body
    assert answer.headers["etag"] == f'"{still.told["version"]}"'


@pytest.mark.parametrize(
    ("size", "moving"), [((800, 600), (400, 300)), ((600, 300), (512, 256)), ((256, 700), (256, 700))]
)
def test_slices_that_move_have_fewer_pixels(client: Client, size: tuple[int, int], moving: tuple[int, int]) -> None:
    with stream(client) as socket:
        send(socket, offset=-10.0, size=size, overlay=["segments"])
        first, *_, last = until_still(socket)
    assert (first.told["kind"], first.told["width"], first.told["height"]) == ("moving", *moving)
    small, full = (Image.open(BytesIO(each.data)).convert("RGB") for each in (first, last))
    assert (small.size, full.size) == (moving, size)
    difference = np.abs(np.asarray(small.resize(size), float) - np.asarray(full, float)).max(2)
    assert (difference < 40).mean() > 0.9, "the same field of view"


def test_what_nobody_acknowledges_is_not_followed_by_more(client: Client) -> None:
    """Two pictures, however much is asked for; then one for each that was seen, and it is the latest."""
    with stream(client) as socket:
        for step in range(1, STEPS + 1):
            send(socket, number=step, offset=offset(step), **LOOKS)
        pictures: list[Shown] = []
        while len(pictures) < UNDER_WAY:
            picture = next_of(socket)
            assert isinstance(picture, Shown)
            pictures.append(picture)
        for step in range(STEPS + 1, 2 * STEPS + 1):
            send(socket, number=step, offset=offset(step - STEPS), **LOOKS)
        for _ in range(3):  # time enough for another picture, and an answer behind whatever was sent
            assert client.get(f"{V1}/slices/Green/picture").status == 200
            send(socket, size="nonsense")
            assert not isinstance(next_of(socket), Shown)
        seen(socket, pictures[0])
        third = next_of(socket)
        assert isinstance(third, Shown)
        assert third.number == 2 * STEPS
        assert third.told["state"]["offset"] == pytest.approx(offset(STEPS))
        for picture in (pictures[1], third):
            seen(socket, picture)
        assert [each.told["kind"] for each in until_still(socket)] == ["still"]


def test_moves_that_wait_add_up(client: Client) -> None:
    """Nothing of what a client asked for is lost when its pictures are: the camera has turned by all of it."""
    answer = client.request("PATCH", f"{V1}/camera", body=json.dumps({"look_from": "anterior"}).encode())
    if answer.status == 503:
        pytest.skip("nothing here draws 3D")
    with stream(client, "3D") as socket:
        for step in range(1, 19):
            send(socket, number=step, azimuth=5.0, size=[64, 64])
        pictures = until_still(socket)
        while pictures[-1].number != 18:
            pictures += until_still(socket)
    turned = pictures[-1].told["state"]["position"]
    assert abs(turned[0]) == pytest.approx(abs(answer.json()["position"][1]), rel=1e-3)
    assert turned[1] == pytest.approx(0, abs=1e-3 * abs(turned[0]))


def test_each_3d_view_has_a_stream_and_a_camera(client: Client) -> None:
    told = client.request("PUT", f"{V1}/layout", body=b'{"name": "Dual3D"}')
    assert told.status == 200
    assert [each["name"] for each in told.json()["views"]] == ["3D", "3D-2", "Red", "Green", "Yellow"]
    if client.get(f"{V1}/camera").status == 503:
        pytest.skip("nothing here draws 3D")
    with stream(client, "3D") as first, stream(client, "3D-2") as second:
        send(first, look_from="left", size=[64, 64])
        send(second, look_from="superior", size=[64, 64])
        left, above = (until_still(socket)[-1] for socket in (first, second))
    assert abs(left.told["state"]["position"][0]) > 100
    assert abs(above.told["state"]["position"][2]) > 100
    assert client.get(f"{V1}/camera?view=3D-2").json() == above.told["state"]
    assert client.get(f"{V1}/camera").json() == left.told["state"]
    for target in ("/slicer/threeD?view=2&size=64&keep=false", f"{V1}/threed/picture?view=3D-2&size=64"):
        assert Image.open(BytesIO(client.get(target).body)).size == (64, 64)
    assert client.get("/slicer/threeD?view=7&size=64").status == 500
    assert client.get(f"{V1}/camera?view=3D-7").status == 404


def test_a_view_that_is_not_there_is_told(client: Client) -> None:
    with stream(client, "Blue") as socket:
        send(socket, offset=1)
        told = next_of(socket)
        assert not isinstance(told, Shown)
        assert "Blue" in told["message"]


def test_a_size_beyond_limits_is_told_before_anything_is_drawn(client: Client) -> None:
    with stream(client) as socket:
        send(socket, offset=-10.0, size=(5000, 5000))
        told = next_of(socket)
        assert not isinstance(told, Shown)
        assert "4096" in told["message"]
