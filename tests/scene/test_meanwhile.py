"""The scene answers others while files are read, made and written: slices are counted, and nothing is timed."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microtome.errors import Busy, CorruptData
from microtome.scene.calls.base import Call, Nodes
from microtome.scene.calls.contents import GetVolume
from microtome.scene.calls.edit import MeasureSegments
from microtome.scene.calls.events import Undo
from microtome.scene.calls.files import LoadFile, SaveNode, SaveScene
from microtome.scene.calls.nodes import ListNodes
from microtome.scene.calls.samples import LoadSample
from microtome.scene.calls.slices import RenderSlice, SliceMove
from microtome.scene.calls.state import GetState
from microtome.scene.client import SceneClient
from microtome.scene.images import Image, writing
from microtome.scene.keeper import keeper_of

SIZE = (300, 512, 512)
FEW = 5
"""Slices while something takes long, in a process that answers in turn: none, or the one that was asked for first."""


@pytest.fixture(scope="module")
def folder() -> Any:
    """A root of the scene with volumes, one of them broken."""
    found = Path(tempfile.mkdtemp(prefix="mt-"))
    grain = np.random.default_rng(3).integers(-900, 900, SIZE[1:], np.int16)
    large = np.stack([np.roll(grain, 7 * number, 0) for number in range(SIZE[0])])
    with (found / "large.nrrd").open("wb") as file:
        writing.write(file, Image(large, np.diag([0.7, 0.7, 1.0, 1.0])), "gzip")
    with (found / "medium.nrrd").open("wb") as file:
        writing.write(file, Image(large[:60], np.diag([0.7, 0.7, 1.0, 1.0])), "gzip")
    whole = (found / "medium.nrrd").read_bytes()
    (found / "broken.nrrd").write_bytes(whole[: len(whole) * 3 // 4])
    yield found
    shutil.rmtree(found)


@asynccontextmanager
async def scene(folder: Path, **options: int) -> AsyncIterator[SceneClient]:
    """A process of its own, which shows a head."""
    home = Path(tempfile.mkdtemp(prefix="mt-"))
    keeper = keeper_of(home / "s", [folder], **options)
    client = SceneClient(keeper.socket, keeper.present, keeper.end, seconds=600)
    try:
        await client.ask(LoadSample(name="MRHead"))
        yield client
    finally:
        await client.close()
        await keeper.close()
        shutil.rmtree(home, ignore_errors=True)


async def slices_during(client: SceneClient, call: Call[Any]) -> tuple[Any, int]:
    """The answer, and how many slices were answered before it."""
    pending = asyncio.ensure_future(client.ask(call))
    await asyncio.sleep(0)  # it is sent first
    count = 0
    while not pending.done():
        move = SliceMove(offset=-50.0 + count % 100)
        picture = await client.ask(RenderSlice(view="Yellow", move=move, size=(128, 128), format="jpeg"))
        assert picture.data
        count += not pending.done()
    return await pending, count


async def names(client: SceneClient) -> list[str]:
    return [node.name for node in await client.ask(ListNodes())]


async def test_slices_while_a_volume_is_read(folder: Path) -> None:
    async with scene(folder) as client:
        before = await client.ask(GetState())
        _, during = await slices_during(client, LoadFile(path=str(folder / "large.nrrd"), properties={"show": "false"}))
        assert during >= FEW
        assert "large" in await names(client)  # answered is loaded
        assert (await client.ask(GetState())).undo == before.undo + 1


async def test_slices_while_a_volume_is_written(folder: Path) -> None:
    async with scene(folder) as client:
        medium = LoadFile(path=str(folder / "medium.nrrd"), properties={"show": "false"})
        (node,) = (await client.ask(medium)).ids
        file, during = await slices_during(client, SaveNode(nodes=Nodes(id=node), file_name="again.nrrd"))
        assert during >= FEW
        assert stored(file.path) > 1 << 20
        export, during = await slices_during(client, GetVolume(pattern=node, encoding="gzip"))
        assert during >= FEW
        assert stored(export.file.path) > 1 << 20


async def test_slices_while_a_bundle_is_written_and_read(folder: Path) -> None:
    async with scene(folder) as client:
        await client.ask(LoadFile(path=str(folder / "medium.nrrd"), properties={"show": "false"}))
        bundle, during = await slices_during(client, SaveScene())
        assert during >= FEW
        _, during = await slices_during(client, LoadFile(path=bundle.path, file_type="SceneFile"))
        assert during >= 2  # MRML itself reads what is unpacked
        assert sum(name.startswith("medium") for name in await names(client)) == 2


def stored(path: str) -> int:
    return Path(path).stat().st_size


async def test_slices_while_samples_are_made_and_measured(folder: Path) -> None:
    async with scene(folder) as client:
        loaded, during = await slices_during(client, LoadSample(name="CTChest"))
        assert during >= FEW
        volume, organs = loaded.ids
        found, during = await slices_during(client, MeasureSegments(id=organs, volume=volume))
        assert during >= 1
        assert len(found) == 7
        await client.ask(Undo())
        assert "CTChest" not in await names(client)


async def test_who_leaves_while_a_volume_is_read_finds_nothing_of_it(folder: Path) -> None:
    async with scene(folder, max_working=1) as client:
        before = await client.ask(GetState())
        pending = asyncio.ensure_future(client.ask(LoadFile(path=str(folder / "medium.nrrd"), name="given up")))
        await asyncio.sleep(0)
        await client.ask(RenderSlice(view="Red", size=(128, 128)))  # it has been begun
        assert not pending.done()
        pending.cancel()
        # One works at a time: this one fails when the other is over.
        with pytest.raises(CorruptData):
            await client.ask(LoadFile(path=str(folder / "broken.nrrd")))
        after = await client.ask(GetState())
        assert (after.nodes, after.undo) == (before.nodes, before.undo)
        assert "given up" not in await names(client)


async def test_a_broken_volume_is_told_and_changes_nothing(folder: Path) -> None:
    async with scene(folder, max_waiting=1) as client:
        before = await client.ask(GetState())
        with pytest.raises(CorruptData, match=r"ends after|is broken"):
            await client.ask(LoadFile(path=str(folder / "broken.nrrd")))
        after = await client.ask(GetState())
        assert (after.nodes, after.undo) == (before.nodes, before.undo)
        pending = asyncio.ensure_future(client.ask(LoadFile(path=str(folder / "medium.nrrd"))))
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="wait for the scene"):
            await client.ask(GetState())
        await pending
