"""OME-Zarr (NGFF) 0.4 and 0.5, and what was written before: Zarr v2 and v3, with sharding, from disk and bucket.

The reader is our own, on imagecodecs; decision 0012 says why.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from microtome.errors import UnsupportedFormat
from microtome.formats.base import Slide
from microtome.storage.folder import Files, PinnedFolder

_METADATA = frozenset({".zattrs", ".zgroup", "zarr.json"})
_CHUNK = re.compile(r"[^/]+/c/\d+(/\d+)*")


class NgffFormat:
    """Folders with an OME-Zarr image in them. See ``formats.base.FolderFormat``."""

    name = "ngff"
    priority = 60

    def recognises(self, head: bytes, name: str) -> bool:
        """An image is a folder, never one file."""
        return False

    def recognises_folder(self, names: Sequence[str]) -> bool:
        """Whether the metadata of a Zarr group are there.

        ``zarr.json`` sorts behind the chunks of the levels; a listing that was cut is known by these.
        """
        return any(name in _METADATA or _CHUNK.fullmatch(name) for name in names)

    async def open(self, files: Files) -> Slide:
        """Read the metadata of the group and of its levels: two round trips."""
        if not isinstance(files, PinnedFolder):
            raise UnsupportedFormat("An OME-Zarr image is a folder; this is one file", feature="folder of files")
        from microtome.formats.ngff.slide import open_slide

        return await open_slide(files)
