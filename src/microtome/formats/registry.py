"""Which formats there are: entry points of group ``microtome.formats``, tried in order of their priority."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points

from microtome.errors import CorruptData, InvalidRequest, UnsupportedFormat
from microtome.formats.base import Configurable, FolderFormat, Format, FormatOptions, Serving, Slide, Willing
from microtome.formats.isolated import Isolated, ReaderDied
from microtome.storage.folder import Files, PinnedFolder
from microtome.telemetry import logger

GROUP = "microtome.formats"


class FormatRegistry:
    """The formats of one application, those of higher priority first, names break ties.

    ``priorities`` overrides by name; a negative priority keeps a format from being chosen.
    """

    def __init__(self, formats: Iterable[Format], priorities: Mapping[str, int] | None = None) -> None:
        given = priorities or {}
        found = list(formats)
        self.priorities = {each.name: given.get(each.name, getattr(each, "priority", 0)) for each in found}
        self.formats = tuple(sorted(found, key=lambda each: (-self.priorities[each.name], each.name)))

    @classmethod
    def from_entry_points(
        cls,
        priorities: Mapping[str, int] | None = None,
        *,
        isolate: Iterable[str] = (),
        options: FormatOptions | None = None,
    ) -> FormatRegistry:
        """All installed formats; ours register the same way as an outsider's. One that cannot be loaded is left out.

        Those named in ``isolate`` read every slide in a process of its own. Formats that ask for ``options`` get them.
        Raises InvalidRequest(parameter="isolate") for a name that is not installed.
        """
        found: list[Format] = []
        for point in entry_points(group=GROUP):
            try:
                found.append(point.load()())
            except ImportError as error:
                logger.warning("format %s cannot be loaded: %s", point.name, error)
        wanted = frozenset(isolate)
        unknown = sorted(wanted - {each.name for each in found})
        if unknown:
            known = ", ".join(sorted(each.name for each in found))
            raise InvalidRequest(
                f"There is no format {unknown[0][:40]} to isolate; there are {known}", parameter="isolate"
            )
        formats = [Isolated(each) if each.name in wanted else each for each in found]
        for each in formats:
            if options is not None and isinstance(each, Configurable):
                each.configure(options)
        return cls(formats, priorities)

    def recognising(self, files: Files) -> list[Format]:
        """The formats that take a file or folder for theirs, the first choice first."""
        if isinstance(files, PinnedFolder):
            names = list(files.entries)
            return [
                each
                for each in self.formats
                if self.priorities[each.name] >= 0 and isinstance(each, FolderFormat) and each.recognises_folder(names)
            ]
        name = files.key.rsplit("/", 1)[-1]
        usable = [each for each in self.formats if self.priorities[each.name] >= 0]
        willing: list[Format] = [
            each for each in usable if isinstance(each, Willing) and each.can_read(files.head, name)
        ]
        first = [
            each for each in usable if each.recognises(files.head, name) or (each in willing and self._raised(each))
        ]
        return first or willing

    def _raised(self, each: Format) -> bool:
        """Whether somebody prefers a format more than it does itself."""
        return self.priorities[each.name] > each.priority

    async def open(self, files: Files, name: str | None = None) -> Slide:
        """As ``opened``, the slide alone."""
        return (await self.opened(files, name))[0]

    async def opened(self, files: Files, name: str | None = None) -> tuple[Slide, str]:
        """Open with the first format that recognises the file and can, or with the one called ``name`` alone.

        Tells which format it was. Raises UnsupportedFormat or CorruptData of the first choice when none can (ReaderDied
        when its process died),
        InvalidRequest(parameter="format") for a name that is not installed.
        """
        if name is not None:
            chosen = [each for each in self.formats if each.name == name]
            if not chosen:
                known = ", ".join(each.name for each in self.formats)
                raise InvalidRequest(f"There is no format {name[:40]}; there are {known}", parameter="format")
        else:
            chosen = self.recognising(files)
        if not chosen:
            raise _unknown(files, [each.name for each in self.formats])
        failures: list[UnsupportedFormat | CorruptData | ReaderDied] = []
        for each in chosen:
            try:
                return await each.open(files), each.name  # type: ignore[arg-type]  # a folder only goes to FolderFormat
            except (UnsupportedFormat, CorruptData, ReaderDied) as error:
                failures.append(error)
        raise failures[0]

    async def start(self) -> None:
        """Start the formats that ask for it."""
        for each in self.formats:
            if isinstance(each, Serving):
                await each.start()

    async def stop(self) -> None:
        """Stop them."""
        for each in self.formats:
            if isinstance(each, Serving):
                await each.stop()


def _unknown(files: Files, names: list[str]) -> UnsupportedFormat:
    known = ", ".join(names)
    if isinstance(files, PinnedFolder):
        return UnsupportedFormat(
            f"The folder is no slide of a format this server reads ({known})", feature="folder of files"
        )
    return UnsupportedFormat(
        f"The file is none of the formats this server reads ({known}); it begins with"
        f" {files.head[:4].hex(' ') or 'nothing'}",
        feature="file signature",
    )
