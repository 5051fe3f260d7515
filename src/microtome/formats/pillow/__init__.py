"""Ordinary pictures as slides: PNG, JPEG, BMP, WebP and the first frame of GIF, read with Pillow."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from microtome.errors import LimitExceeded
from microtome.formats.threads import ThreadedSlide
from microtome.storage.pinned import PinnedObject

if TYPE_CHECKING:
    from microtome.formats.pillow.decoded import DecodedPictures
    from microtome.formats.pillow.slide import PillowSlide

MAX_PIXELS = 100_000_000
"""Pixels of a picture at most; of pictures with more than 4 bytes for each as many less."""
MAX_FILE_BYTES = 1 << 30
DECODED_BYTES = 1 << 30
"""Decoded pictures that all open slides together may keep."""

_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
}
_BMP_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})


def kind(head: bytes, name: str) -> str | None:
    """Pillow's word for the format, None for what is no picture or belongs to a slide (MIRAX looks like a JPEG)."""
    if name.lower().endswith(".mrxs"):
        return None
    for signature, found in _SIGNATURES.items():
        if head.startswith(signature):
            return found
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    # Two letters are no signature: the length of the second header must be one that exists.
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    return None


class PillowFormat:
    """Asked last. The whole picture is decoded when its first tile is asked for."""

    name = "pil"
    priority = 10

    def __init__(self, max_pixels: int = MAX_PIXELS, decoded_bytes: int = DECODED_BYTES) -> None:
        self._max_pixels = max_pixels
        self._decoded_bytes = decoded_bytes
        self._decoded: DecodedPictures | None = None

    def recognises(self, head: bytes, name: str) -> bool:
        """By signature."""
        return kind(head, name) is not None

    async def open(self, files: PinnedObject) -> ThreadedSlide:
        """Open. Raises UnsupportedFormat, CorruptData, LimitExceeded, Conflict, StorageUnavailable."""
        from microtome.formats.pillow.decoded import DecodedPictures

        if files.size > MAX_FILE_BYTES:
            raise LimitExceeded(
                f"A picture of {files.size >> 20} MB is larger than the {MAX_FILE_BYTES >> 20} MB this server decodes",
                limit="picture bytes",
                value=files.size,
            )
        if self._decoded is None:
            self._decoded = DecodedPictures(self._decoded_bytes)
        decoded, loop = self._decoded, asyncio.get_running_loop()
        found = kind(files.head, files.key.rpartition("/")[2])

        def opened() -> PillowSlide:
            from microtome.formats.pillow.slide import PillowSlide

            return PillowSlide(files, loop, found, decoded, self._max_pixels)

        reads_all = found == "WEBP"  # even to open it: not to be kept as its header
        if reads_all:
            files.settle()
        slide = await ThreadedSlide.open(opened)
        if not reads_all:
            files.settle()
        return slide
