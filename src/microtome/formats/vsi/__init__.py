"""Olympus (Evident) cellSens VSI, through fastslide: docs/decisions/0014."""

from __future__ import annotations

from microtome.errors import NotFound, UnsupportedFormat
from microtome.formats.base import Slide
from microtome.formats.threads import ThreadedSlide
from microtome.storage.copies import local_copy
from microtome.storage.pinned import PinnedObject


class VsiFormat:
    """A file ``name.vsi`` with its tiles in the folder ``_name_`` beside it. The largest image of the file is shown."""

    name = "vsi"
    # Above the TIFF reader, which would take the small picture in the file for the slide.
    priority = 110

    def recognises(self, head: bytes, name: str) -> bool:
        """A TIFF whose name says what it is."""
        return name.lower().endswith(".vsi") and head[:4] in {b"II*\0", b"MM\0*"}

    async def open(self, files: PinnedObject) -> Slide:
        """Open. Raises UnsupportedFormat when the tiles are missing or of a kind that is not read, LimitExceeded."""
        files.settle()  # the library reads the local copy
        folder, _, name = files.key.rpartition("/")
        stem = name.rpartition(".")[0]
        tiles = f"{folder}/_{stem}_/" if folder else f"_{stem}_/"
        await _check_tiles(files, tiles)
        copy = await local_copy(files, [tiles])

        def opened() -> VsiSlide:
            return VsiSlide(str(copy.path))

        from microtome.formats.vsi.slide import VsiSlide

        return await ThreadedSlide.open(opened, copy.release)


async def _check_tiles(files: PinnedObject, tiles: str) -> None:
    try:
        async for page in files.store.list(tiles):
            if any(info.key.lower().endswith(".ets") for info in page):
                return
    except NotFound:
        pass
    raise UnsupportedFormat(
        f"The tiles of the VSI file are missing: there are no .ets files in {tiles.rsplit('/', 2)[-2]}/ beside it",
        feature="missing tiles",
    )
