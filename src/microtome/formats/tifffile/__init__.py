"""OME-TIFF, ImageJ, QPTIFF and multichannel TIFF, read with tifffile: channels, focal planes, time points, file sets.

Plain pyramids stay with the native reader, which is quicker at them (decision 0007).
"""

from __future__ import annotations

import asyncio

from microtome.errors import UnsupportedFormat
from microtome.formats.base import Slide
from microtome.formats.threads import ThreadedSlide
from microtome.formats.tifffile import recognise
from microtome.storage.folder import Files, PinnedFolder


class TifffileFormat:
    """TIFF files with more than a colour image in them. See ``formats.base.Format``."""

    name = "tifffile"
    priority = 105

    def recognises(self, head: bytes, name: str) -> bool:
        """By the name, or by what the first directory says where it is among the first bytes."""
        return recognise.recognises(head, name)

    async def open(self, files: Files) -> Slide:
        """Read the first directory and those of its coarser levels; other planes when they are asked for."""
        if isinstance(files, PinnedFolder):
            raise UnsupportedFormat("A TIFF is one file; this is a folder", feature="folder of files")
        from microtome.formats.tifffile.slide import open_slide

        loop = asyncio.get_running_loop()
        slide = await ThreadedSlide.open(lambda: open_slide(files, loop))
        files.settle()
        return slide
