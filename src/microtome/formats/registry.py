"""Which formats there are: entry points of group ``microtome.formats``, tried in order of their priority."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import entry_points

from microtome.errors import UnsupportedFormat
from microtome.formats.base import Format, Slide
from microtome.storage.pinned import PinnedObject

GROUP = "microtome.formats"


class FormatRegistry:
    """The formats of one application. The first that recognises a file opens it."""

    def __init__(self, formats: Iterable[Format]) -> None:
        self.formats = tuple(formats)

    @classmethod
    def from_entry_points(cls) -> FormatRegistry:
        """All installed formats; ours register the same way as an outsider's."""
        found = [point.load()() for point in entry_points(group=GROUP)]
        return cls(sorted(found, key=lambda f: (-getattr(f, "priority", 0), f.name)))

    async def open(self, files: PinnedObject) -> Slide:
        """Open with the first format that recognises the file. Raises UnsupportedFormat when none does."""
        name = files.key.rsplit("/", 1)[-1]
        for candidate in self.formats:
            if candidate.recognises(files.head, name):
                return await candidate.open(files)
        known = ", ".join(f.name for f in self.formats)
        raise UnsupportedFormat(
            f"The file is none of the formats this server reads ({known}); it begins with"
            f" {files.head[:4].hex(' ') or 'nothing'}",
            feature="file signature",
        )
