"""One image file directory with its values, read at a distance; the pages of its offset arrays come later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from microtome.errors import CorruptData, LimitExceeded
from microtome.formats.tiff import tags
from microtome.formats.tiff.ifd import (
    ByteOrder,
    Entry,
    FileHeader,
    directory_bytes,
    entry_count,
    parse_directory,
    parse_values,
)
from microtome.model import Size
from microtome.storage.pinned import PinnedObject

WINDOW_BYTES = 128 * 1024
"""Read around a directory at once: its values and short arrays usually stand beside it, often the next one, too."""
FIRST_WINDOW_BYTES = 256 * 1024
"""Read around the first one: with it come the offset arrays of a slide of 40000 x 30000 px."""
MAX_DIRECTORIES = 1024
MAX_SUB_IFDS = 64
MAX_VALUE_BYTES = 16 << 20
"""Bytes of one value other than the offset arrays (ICC profile, description)."""
MAX_NUMBERS = 1 << 18


class Directory:
    """The facts of one image of the file. Numbers of missing tags have the defaults of TIFF 6.0 §8."""

    def __init__(
        self,
        offset: int,
        order: ByteOrder,
        entries: dict[int, Entry],
        values: dict[int, tuple[float, ...] | bytes],
        following: int,
    ) -> None:
        self.offset = offset
        self.order: ByteOrder = order
        self.entries = entries
        self.following = following
        self._values = values

    def number(self, tag: int, default: int = 0) -> int:
        """The first value of a tag as a whole number."""
        values = self._values.get(tag)
        return int(values[0]) if values else default

    def numbers(self, tag: int) -> tuple[int, ...]:
        """All values of a tag as whole numbers."""
        return tuple(int(value) for value in self._values.get(tag, ()))

    def real(self, tag: int) -> float | None:
        """The first value of a tag, None without one."""
        values = self._values.get(tag)
        return float(values[0]) if values else None

    def data(self, tag: int) -> bytes | None:
        """The bytes of an UNDEFINED, BYTE or ASCII value."""
        values = self._values.get(tag)
        return values if isinstance(values, bytes) else None

    def text(self, tag: int) -> str:
        """An ASCII value up to its NUL; what is not UTF-8 is taken as Latin-1."""
        raw = (self.data(tag) or b"").split(b"\0", 1)[0]
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return raw.decode("latin-1")

    @property
    def size(self) -> Size:
        """Width and height in px; zero when the tags are missing."""
        return Size(self.number(tags.IMAGE_WIDTH), self.number(tags.IMAGE_LENGTH))

    @property
    def tile_size(self) -> Size | None:
        """Width and height of a tile in px, None for strips."""
        if tags.TILE_OFFSETS not in self.entries or tags.TILE_WIDTH not in self.entries:
            return None
        return Size(self.number(tags.TILE_WIDTH), self.number(tags.TILE_LENGTH))

    @property
    def reduced(self) -> bool:
        """NewSubfileType bit 0: a smaller version of another image."""
        return bool(self.number(tags.NEW_SUBFILE_TYPE) & 1)


async def read_directory(
    files: PinnedObject, header: FileHeader, offset: int, *, window: int = WINDOW_BYTES
) -> Directory:
    """The directory at ``offset`` in one round trip when its values stand near it, two otherwise."""
    if not 0 < offset < files.size:
        raise CorruptData(f"A directory would be at {offset}, outside of the {files.size} bytes of the file")
    data = files.at_hand(offset, offset + window)
    if len(data) < header.count_bytes or len(data) < directory_bytes(entry_count(data, header, offset), header):
        data = await files.read(offset, offset + window)
        needed = directory_bytes(entry_count(data, header, offset), header)
        if needed > len(data):
            data = await files.read(offset, offset + needed)
    entries, following = parse_directory(data, header, offset)
    wanted = [entry for tag, entry in entries.items() if tag in tags.WANTED and entry.nbytes]
    raw = await asyncio.gather(*(_value_bytes(files, entry) for entry in wanted))
    values: dict[int, tuple[float, ...] | bytes] = {}
    for entry, piece in zip(wanted, raw, strict=True):
        if entry.tag in {tags.IMAGE_DESCRIPTION, tags.MAKE, tags.MODEL, tags.SOFTWARE, tags.DATE_TIME,
                         tags.JPEG_TABLES, tags.ICC_PROFILE}:  # fmt: skip
            values[entry.tag] = piece
        elif entry.count > MAX_NUMBERS:
            raise LimitExceeded(f"Tag {entry.tag} claims {entry.count} values", limit="tag values", value=entry.count)
        else:
            values[entry.tag] = parse_values(entry, piece, header.order)
    return Directory(offset, header.order, entries, values, following)


async def _value_bytes(files: PinnedObject, entry: Entry) -> bytes:
    if entry.nbytes > MAX_VALUE_BYTES:
        raise LimitExceeded(
            f"Tag {entry.tag} claims {entry.nbytes} bytes; {MAX_VALUE_BYTES} are the most", limit="tag bytes",
            value=entry.nbytes,
        )  # fmt: skip
    if entry.at + entry.nbytes > files.size:
        raise CorruptData(f"The values of tag {entry.tag} reach behind the end of the file", offset=entry.at)
    return await files.read(entry.at, entry.at + entry.nbytes)


async def walk(files: PinnedObject, header: FileHeader, first: Directory) -> AsyncIterator[Directory]:
    """The main chain behind ``first``, ``first`` included, then the SubIFDs of each. Raises CorruptData for loops."""
    seen = {first.offset}
    main = [first]
    while (offset := main[-1].following) != 0:
        if offset in seen:
            raise CorruptData("The chain of directories is a loop", offset=offset)
        if len(seen) >= MAX_DIRECTORIES:
            raise LimitExceeded(
                f"The file has more than {MAX_DIRECTORIES} directories", limit="directories", value=MAX_DIRECTORIES
            )
        seen.add(offset)
        main.append(await read_directory(files, header, offset))
    for directory in main:
        yield directory
    for directory in main:
        offsets = [offset for offset in directory.numbers(tags.SUB_IFDS)[:MAX_SUB_IFDS] if offset not in seen]
        seen.update(offsets)
        if len(seen) > MAX_DIRECTORIES:
            raise LimitExceeded(
                f"The file has more than {MAX_DIRECTORIES} directories", limit="directories", value=len(seen)
            )
        for sub in await asyncio.gather(*(read_directory(files, header, offset) for offset in offsets)):
            yield sub
