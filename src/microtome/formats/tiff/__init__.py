"""The native streaming reader of TIFF and BigTIFF slides, Aperio's among them.

What is read of a file: its head and tail (one round trip), its directories, the pages of the offset arrays that are
needed, and tiles. Nothing is allocated by a number of the file that was not checked before.
"""

from __future__ import annotations

from microtome.formats.tiff.ifd import looks_like_tiff, parse_header
from microtome.formats.tiff.slide import TiffSlide, open_slide
from microtome.storage.pinned import PinnedObject


class TiffFormat:
    """TIFF 6.0 and BigTIFF in both byte orders."""

    name = "tiff"
    priority = 100

    def recognises(self, head: bytes, name: str) -> bool:
        """By its first four bytes; the name says nothing."""
        return looks_like_tiff(head)

    async def open(self, files: PinnedObject) -> TiffSlide:
        """Open. Raises UnsupportedFormat, CorruptData, LimitExceeded, and what the store raises."""
        return await open_slide(files, parse_header(files.head, files.size))
