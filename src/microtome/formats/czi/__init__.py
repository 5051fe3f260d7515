"""Zeiss CZI (ZISRAW): mosaics of compressed blocks, read by range where they lie.

What is read: the head, the directory of blocks, the metadata, and of the blocks those that a tile needs. Blocks are
decompressed with imagecodecs, JPEG XR among them. Why no other library: docs/decisions/0013.
"""

from __future__ import annotations

from microtome.formats.base import Slide
from microtome.storage.pinned import PinnedObject


class CziFormat:
    """CZI files of one part: all scenes in one plane, pyramids, channels, focal planes and time points."""

    name = "czi"
    priority = 60

    def recognises(self, head: bytes, name: str) -> bool:
        """By the name of the first segment."""
        return head.startswith(b"ZISRAWFILE\0")

    async def open(self, files: PinnedObject) -> Slide:
        """Open. Raises UnsupportedFormat, CorruptData, LimitExceeded, and what the store raises."""
        from microtome.formats.czi.slide import open_slide

        return await open_slide(files)
