"""Annotations as vector tiles: an index on disk for each group, made when it is first looked at, and cut from then on.

The plane of the tiles is square, with the slide at its upper left: zoom 0 is one tile, the highest zoom has the px of
the slide's full resolution. All groups have the same zooms, so a tile is what each of them has there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microtome.dicom.content import Content
from microtome.dicom.overlays.annotations import Group, batches
from microtome.dicom.overlays.plane import Affine
from microtome.dicom.rows import InstanceRow
from microtome.errors import LimitExceeded, NotFound
from microtome.formats.vector.geojson.cut import TileCutter
from microtome.formats.vector.geojson.file import Spool
from microtome.formats.vector.geojson.index import append_batch, build_with
from microtome.formats.vector.geojson.plane import top_zoom
from microtome.model import Size
from microtome.storage.temporary import TemporaryFolder

MOST_ARRAY_BYTES = 4 << 30
"""Of one large value."""
MOST_INDEX_BYTES = 8 << 30


def zoom_of(size: Size) -> int:
    """The highest zoom over a slide."""
    return top_zoom("pixels", size.width, size.height)


def layers_of(group: Group) -> tuple[str, str]:
    """Names of the layers of shapes, and of points that stand for many."""
    return str(group.number), f"{group.number} clusters"


class Drawing:
    """The indexes of all groups of an object; they leave the disk with it."""

    def __init__(self, cutters: list[TileCutter], folder: TemporaryFolder, nbytes: int) -> None:
        self._cutters = cutters
        self._folder = folder
        self.nbytes = nbytes
        """Bytes on the disk."""

    def tile(self, zoom: int, column: int, row: int) -> bytes:
        """A tile (Mapbox Vector Tile); b"" where nothing is. Blocks. Raises NotFound beyond the plane."""
        if not (0 <= zoom <= self._cutters[0].top and 0 <= column < 1 << zoom and 0 <= row < 1 << zoom):
            raise NotFound("tile", f"{zoom}/{column}/{row}")
        return b"".join(cutter.tile(zoom, column, row) or b"" for cutter in self._cutters)

    def close(self) -> None:
        """Remove the files; who still reads a tile has them mapped."""
        self._folder.close()


async def draw(
    row: InstanceRow, groups: tuple[Group, ...], content: Content, place: Callable[[Group], Affine], size: Size
) -> Drawing:
    """Read all groups of an object and index them. ``place`` leads to px of the slide, which is ``size`` px large.

    Raises CorruptData, LimitExceeded, StorageUnavailable.
    """
    folder = await asyncio.to_thread(TemporaryFolder, "microtome-annotations-")
    root = folder.path
    try:
        cutters: list[TileCutter] = []
        for number, group in enumerate(groups):
            arrays = {path: await _mapped(row, path, kind, content, root / str(at))
                      for at, (path, kind) in enumerate(group.arrays.items())}  # fmt: skip
            target = root / f"group-{number}"
            await _thread(lambda g=group, a=arrays, t=target: _index(g, a, place(g), t, zoom_of(size)))
            for at in range(len(arrays)):
                await _thread((root / str(at)).unlink)
            cutters.append(await _thread(lambda g=group, t=target: TileCutter(t, layers_of(g))))
        nbytes = await _thread(lambda: sum(each.stat().st_size for each in root.iterdir()))
    except BaseException:
        folder.close()
        raise
    return Drawing(cutters, folder, nbytes)


def _index(group: Group, arrays: dict[str, NDArray[Any]], affine: Affine, target: Path, zoom: int) -> None:
    def read(spool: Spool) -> dict[str, Any]:
        for batch, values in batches(group, arrays, affine):
            append_batch(spool, batch, values)
        keys = [each.name for each in group.measurements]
        return {"plane": "pixels", "skipped": 0, "keys": keys, "kinds": {}, "name": group.label, "zoom": zoom}

    build_with(read, target, most=MOST_INDEX_BYTES)


async def _mapped(row: InstanceRow, path: str, kind: str, content: Content, target: Path) -> NDArray[Any]:
    """A large value in a file of its own."""
    value = await content.value(row, path)
    if value.length > MOST_ARRAY_BYTES:
        raise LimitExceeded("The annotations are too many", limit="annotations", value=value.length)
    file = await _thread(lambda: target.open("wb"))
    try:
        async for piece in value.read(0, value.length):
            await _thread(lambda data=piece: file.write(data))
    finally:
        await _thread(file.close)
    whole = value.length // np.dtype(kind).itemsize
    if whole == 0:
        return np.zeros(0, kind)
    return await _thread(lambda: np.memmap(target, kind, "r", shape=(whole,)))


def _thread(work: Callable[[], Any]) -> Awaitable[Any]:
    return asyncio.to_thread(work)
