"""The sketches of CONTRIBUTING.md are run: they are the first code a contributor copies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from microtome.auth.none import NoAuthentication
from microtome.auth.signed import SignedUrls
from microtome.catalog.folder import FolderCatalog
from microtome.catalog.kinds import kinds_of
from microtome.errors import MicrotomeError
from microtome.formats.base import Format, Slide
from microtome.formats.registry import FormatRegistry
from microtome.model import Raster, TileIndex
from microtome.storage.headers import HeaderCache
from microtome.storage.memory import MemoryStore
from microtome.storage.pinned import PinnedObject
from microtome.tiles import TileService
from microtome.tiles.cache import MemoryTileCache
from microtome.tiles.pool import SlidePool
from microtome.tiles.workers import RenderWorkers

PAGE = Path(__file__).resolve().parent.parent / "CONTRIBUTING.md"
SKETCHES = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
NAMES: dict[str, Any] = globals()

# Into this module: the exam of the sketched store is collected from here like any other test.
exec(compile("\n".join(SKETCHES), str(PAGE), "exec", dont_inherit=True), NAMES)

PIXELS = np.random.default_rng(7).integers(0, 256, (300, 520, 3), np.uint8)
PIXMAP = b"P6\n520 300\n255\n" + PIXELS.tobytes()


def test_there_is_a_sketch_for_each_seam() -> None:
    assert {"PpmFormat", "Traced", "TestTraced", "mount_sizes"} <= set(NAMES)


async def test_format_gives_the_pixels_of_the_file() -> None:
    store = MemoryStore({"a.ppm": PIXMAP})
    slide = await FormatRegistry([NAMES["PpmFormat"]()]).open(await PinnedObject.open(store, "a.ppm"))
    level = await slide.level(0)
    canvas = np.zeros((512, 768, 3), np.uint8)
    for row in range(level.rows):
        for column in range(level.columns):
            tile = await slide.read_tile(TileIndex(0, column, row))
            assert isinstance(tile, Raster)
            canvas[row * 256 : row * 256 + 256, column * 256 : column * 256 + 256] = tile.array
    assert (level.columns, level.rows) == (3, 2)
    assert np.array_equal(canvas[:300, :520], PIXELS)


async def test_format_has_all_that_the_seams_ask_for_and_is_listed() -> None:
    store = MemoryStore({"a.ppm": PIXMAP, "b.ppt": PIXMAP})
    form = NAMES["PpmFormat"]()
    slide = await form.open(await PinnedObject.open(store, "a.ppm"))
    for seam, made in ((Format, form), (Slide, slide)):
        asked = {name for name in (*vars(seam), *seam.__annotations__) if not name.startswith("_")}
        assert asked
        assert {name for name in asked if not hasattr(made, name)} == set()
    page = await FolderCatalog(store, kinds_of(FormatRegistry([form]))).list(limit=10)
    assert [record.key for record in page.slides] == ["a.ppm"]


@pytest.mark.parametrize("broken", [PIXMAP[:-1], b"P6\n0 0\n255\n", b"P6\n9999999999 9999999999\n255\n"])
async def test_format_refuses_broken_files(broken: bytes) -> None:
    async def read() -> None:
        slide = await NAMES["PpmFormat"]().open(await PinnedObject.open(MemoryStore({"a.ppm": broken}), "a.ppm"))
        await slide.read_tile(TileIndex(0, 2, 1))

    with pytest.raises(MicrotomeError):
        await read()


@pytest.mark.parametrize(("auth", "status"), [(NoAuthentication(), 200), (SignedUrls(["sixteen bytes at least"]), 401)])
async def test_family_answers_and_authorises(auth: Any, status: int) -> None:
    store = MemoryStore({"folder/a.ppm": PIXMAP})
    pool = SlidePool(store, FormatRegistry([NAMES["PpmFormat"]()]), HeaderCache(1 << 20))
    tiles = TileService(pool, MemoryTileCache(1 << 20), RenderWorkers(1, 1))
    app = FastAPI()
    NAMES["mount_sizes"](app, tiles, FolderCatalog(store), auth)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = await client.get("/sizes/folder%2Fa.ppm")
        assert answer.status_code == status
        if status == 200:
            assert answer.json() == {"width": 520, "height": 300}
            assert (await client.get("/sizes/missing.ppm")).status_code == 404
    await tiles.close()
