"""A reader that takes its process down costs one answer; the server and all other slides go on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

from microtome.app import create_app
from microtome.errors import InvalidRequest
from microtome.formats import registry
from microtome.formats.isolated import CRASHES
from microtome.settings import Settings
from tests import tiffmaker
from tests.serving import Client, served

CRASHING = EntryPoint("crashing", "tests.unit.crashing:CrashingFormat", registry.GROUP)


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A server with a format that crashes as the files say, in processes of their own."""
    installed = entry_points(group=registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [*installed, CRASHING])
    for name in ("a.crash.svs", "b.crash.svs"):
        (tmp_path / name).write_bytes(b"12345678 and more")
    (tmp_path / "never.crash.svs").write_bytes(b"abort....")
    (tmp_path / "plain.tif").write_bytes(tiffmaker.classic())
    with served(tmp_path, isolate=("crashing", "tiff")) as client:
        yield client


@pytest.mark.parametrize(
    "tile", ["/tiles/{id}/0/{column}/0.jpg", "/v3/slides/tile/level/0/tile/{column}/0?slide_id={id}"]
)
def test_a_crash_costs_one_answer(client: Client, tile: str, caplog: pytest.LogCaptureFixture) -> None:
    assert client.get(tile.format(id="a.crash.svs", column=0)).status == 200
    with caplog.at_level(logging.WARNING):
        answers = client.together(
            *(tile.format(id=name, column=column) for name, column in
              (("a.crash.svs", 1), ("plain.tif", 0), ("plain.tif", 1), ("b.crash.svs", 0)))
        )  # fmt: skip
    assert [answer.status for answer in answers] == [500, 200, 200, 200]
    assert b"crashed on this slide" in answers[0].body
    assert "SIGSEGV" in caplog.text, "the operator learns how it died"
    assert client.get(tile.format(id="a.crash.svs", column=7)).status == 200, "the next read has a new process"
    assert client.get("/health").status == 200


def test_a_slide_that_crashes_when_opened_is_soon_left_alone(client: Client) -> None:
    answers = [client.get("/slides/never.crash.svs") for _ in range(CRASHES + 1)]
    assert [answer.status for answer in answers] == [500] * (CRASHES + 1)
    assert b"crashed on this slide" in answers[CRASHES - 1].body
    assert b"not tried again" in answers[CRASHES].body
    assert client.get("/slides/a.crash.svs").status == 200


def test_tiles_of_a_child_are_those_of_the_server(client: Client, tmp_path: Path) -> None:
    target = "/tiles/plain.tif/0/2/1.jpg"
    isolated = client.get(target)
    with served(tmp_path) as plain:
        assert plain.get(target).body == isolated.body
        assert plain.get("/slides/plain.tif").json() == client.get("/slides/plain.tif").json()


def test_a_name_that_is_no_format_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"no format opensilde to isolate; there are .*openslide") as caught:
        create_app(Settings(data=str(tmp_path), isolate=("openslide", "opensilde")))
    assert caught.value.parameter == "isolate"
