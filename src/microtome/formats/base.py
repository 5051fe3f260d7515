"""The format seam: a Format recognises and opens, a Slide answers tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from microtome.model import EncodedTile, Level, Raster, SlideInfo, TileIndex
from microtome.storage.folder import Files
from microtome.storage.pinned import PinnedObject


class Slide(Protocol):
    """An open slide: one version of one object. Safe to use from many tasks of one event loop.

    Reads raise InvalidRequest (level, tile), CorruptData, UnsupportedFormat, LimitExceeded, Conflict,
    StorageUnavailable.
    """

    async def info(self) -> SlideInfo:
        """The facts. May need more of the header than a tile of level 0 does; computed once."""
        ...

    async def level(self, number: int) -> Level:
        """One level, as early as it is known. Raises InvalidRequest(parameter="level") when there is no such level."""
        ...

    async def read_tile(self, index: TileIndex) -> EncodedTile | Raster:
        """The tile as stored when it is a complete image, else its samples. Edge tiles keep their padding."""
        ...

    def peek_tile(self, index: TileIndex) -> EncodedTile | None:
        """The stored tile if it can be had at once, without waiting or decoding, else None. Never raises."""
        ...

    def prefetch(self, indices: Sequence[TileIndex]) -> None:
        """A hint that these tiles will probably be asked for soon. Ignores what does not exist. Never raises."""
        ...

    async def read_associated(self, name: str) -> EncodedTile | Raster:
        """A picture beside the pyramid. Raises NotFound(what="associated image")."""
        ...

    async def close(self) -> None:
        """Release what the slide holds. Reads under way may fail with Conflict."""
        ...


class SyncSlide(Protocol):
    """An open slide of a library that blocks; ``threads.ThreadedSlide`` makes a ``Slide`` of it.

    Methods are called in threads. ``at_once`` of them at the same time when the library allows it, else one by one.
    Indices have been checked against ``info``.
    """

    at_once: int
    """How many calls the library bears at the same time."""

    def info(self) -> SlideInfo:
        """The facts. Called once, first."""
        ...

    def read_tile(self, index: TileIndex) -> EncodedTile | Raster:
        """As ``Slide.read_tile``: the whole tile, edge tiles with padding or cropped to the level."""
        ...

    def read_associated(self, name: str) -> EncodedTile | Raster:
        """One of the pictures that ``info`` names."""
        ...

    def close(self) -> None:
        """Release what the slide holds. No call is under way."""
        ...


class Format(Protocol):
    """Opens files of one family. Stateless."""

    name: str
    """Short, stable: "tiff"."""

    priority: int
    """Formats of higher priority are asked first."""

    def recognises(self, head: bytes, name: str) -> bool:
        """Pure: do the first bytes and the file's name look like this format? Must not raise, whatever the bytes."""
        ...

    async def open(self, files: PinnedObject) -> Slide:
        """Open. Raises UnsupportedFormat, CorruptData, LimitExceeded, Conflict, StorageUnavailable."""
        ...


@runtime_checkable
class FolderFormat(Protocol):
    """A format whose slides may be folders; the same object is a ``Format``, too. ``open`` then takes either kind."""

    name: str
    priority: int

    def recognises_folder(self, names: Sequence[str]) -> bool:
        """Pure: are the objects of a folder, by their names relative to it, a slide of this format?"""
        ...

    async def open(self, files: Files) -> Slide:
        """As ``Format.open``."""
        ...


@runtime_checkable
class Suffixed(Protocol):
    """A format with names of its own: listings open nothing, so they only show files that are called like slides."""

    suffixes: Sequence[str]
    """With the dot, in lower case: (".svs",)."""


@dataclass(frozen=True, slots=True)
class FormatOptions:
    """What the settings of a server say to all of its formats.

    ``cache_dir`` is a folder for what should outlive the server; None: keep nothing longer than it runs. A format uses
    a folder of its own in it, and bounds what it leaves there.
    """

    cache_dir: Path | None = None


@runtime_checkable
class Configurable(Protocol):
    """A format that wants to know the settings."""

    def configure(self, options: FormatOptions) -> None:
        """Called at most once, before ``start`` and before anything is opened. Must not touch the disk yet."""
        ...


@runtime_checkable
class Serving(Protocol):
    """A format with something to do when the server starts and stops."""

    async def start(self) -> None:
        """Called once before the first slide is opened."""
        ...

    async def stop(self) -> None:
        """Called once after the last slide is closed."""
        ...


@runtime_checkable
class Willing(Protocol):
    """A format that can read more than it recognises: files that others read better.

    It is asked for those when no other takes them, or at its place when its priority was raised.
    """

    def can_read(self, head: bytes, name: str) -> bool:
        """Whether it is worth a try. Pure, as ``Format.recognises``."""
        ...
