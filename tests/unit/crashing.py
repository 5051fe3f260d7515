"""A format that does what the file says: answers, aborts, hangs, raises or talks nonsense."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Sequence

import numpy as np

from microtome.errors import UnsupportedFormat
from microtome.formats.base import SyncSlide
from microtome.formats.threads import ThreadedSlide
from microtome.model import AssociatedImage, Channel, EncodedTile, Level, Raster, Size, SlideInfo, TileIndex
from microtome.storage.copies import local_copy
from microtome.storage.folder import Files, PinnedFolder


class CrashingSlide:
    """Column 0 answers, 1 reads where no memory is, 2 hangs, 3 raises, 4 ends the process, 5 tells which it is.

    Only those of level 0: smaller levels are read for the looks of channels.
    """

    at_once = 4

    def __init__(self, data: bytes) -> None:
        self._data = data

    def info(self) -> SlideInfo:
        """Reads what the file holds."""
        if self._data.startswith(b"abort"):
            os.abort()
        if self._data.startswith(b"hang"):
            threading.Event().wait()
        if self._data.startswith(b"refuse"):
            raise UnsupportedFormat("This one is refused for a reason", feature="testing")
        return SlideInfo(
            "Crashing", (Level(Size(80, 8), Size(8, 8), 1.0), Level(Size(40, 4), Size(8, 8), 2.0)),
            (Channel("a", 0xFF0000), Channel("b")), dtype="uint16", spacing_um=(0.25, 0.5), magnification=20.0,
            focal_planes=2, time_points=3, icc_profile=b"icc\0", associated=(AssociatedImage("label", Size(3, 2)),),
            vendor="none", properties={"x": "y"},
        )  # fmt: skip

    def read_tile(self, index: TileIndex) -> EncodedTile | Raster:
        """See the class."""
        match index.column if index.level == 0 else 0:
            case 1:
                ctypes.string_at(0)
            case 2:
                threading.Event().wait()
            case 3:
                raise RuntimeError("no such luck in /srv/secret/slide.xyz")
            case 4:
                os._exit(3)
            case 5:
                return EncodedTile(str(os.getpid()).encode(), "application/geo+json", Size(8, 8), "other", "gzip")
            case _:
                pass
        array = np.frombuffer(self._data[:8], np.uint8).astype(np.uint16).reshape(2, 4, 1) + 256 * index.column
        return Raster(np.repeat(array, 2, axis=2), ("a", "b"))

    def read_associated(self, name: str) -> EncodedTile | Raster:
        """A JPEG that is none."""
        return EncodedTile(b"jpeg", "image/jpeg", Size(3, 2), "ycbcr")

    def close(self) -> None:
        """Nothing."""


class CrashingFormat:
    """Reads through the store."""

    name = "crashing"
    priority = 7

    def recognises(self, head: bytes, name: str) -> bool:
        """By the suffix."""
        return ".crash" in name

    async def open(self, files: Files) -> ThreadedSlide:
        """Reads in several ways what it can have with one."""
        assert not isinstance(files, PinnedFolder)
        data = await files.read(0, files.size)
        assert await files.read_many([(0, 3), (2, 5)]) == [data[:3], data[2:5]]

        def opened() -> SyncSlide:
            return CrashingSlide(data)

        return await ThreadedSlide.open(opened)


class CopyingFormat(CrashingFormat):
    """Reads from a local copy, folders too."""

    name = "copying"

    def recognises_folder(self, names: Sequence[str]) -> bool:
        """By the suffix."""
        return any(name.endswith(".crash") for name in names)

    async def open(self, files: Files) -> ThreadedSlide:
        """The first object of a folder, or the object."""
        copy = await local_copy(files)
        path = copy.path
        if isinstance(files, PinnedFolder):
            name = next(iter(files.entries))
            assert await files.read(name) == (path / name).read_bytes()
            path = path / name
        data = path.read_bytes()

        def opened() -> SyncSlide:
            return CrashingSlide(data)

        return await ThreadedSlide.open(opened, copy.release)
