"""Instances without identities: header rewritten, frames as they are stored but for the words in their headers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from microtome.dicom import syntaxes
from microtome.dicom.content import Content, Value, at_hand, bulk_paths, in_threads, is_within_large, value_at
from microtome.dicom.dataset import Dataset
from microtome.dicom.deidentify import items
from microtome.dicom.deidentify.codestreams import holds_words, without_words
from microtome.dicom.deidentify.icc import without_texts
from microtome.dicom.deidentify.profile import Action, action_of
from microtome.dicom.deidentify.transform import Deidentifier
from microtome.dicom.encapsulated import END, item_of
from microtome.dicom.rows import SLIDE, InstanceRow
from microtome.dicom.sequences import Changed, Items, joined
from microtome.dicom.write import pixel_data_header, preamble_pieces, trailer
from microtome.errors import (
    Conflict,
    CorruptData,
    MicrotomeError,
    NotFound,
    StorageUnavailable,
    UnsupportedFormat,
)

T = TypeVar("T")
_TOGETHER = 16
"""Frames that are read at once while a whole instance is sent."""
_MOST_PADDING = 1 << 16
_PIECE = 1 << 20


class DeidentifiedContent:
    """``content.Content`` over the stored instances. ``original`` gives the row that a row of the view stands for,
    ``content`` where that one is read from.
    """

    def __init__(
        self,
        deidentifier: Deidentifier,
        original: Callable[[InstanceRow], Awaitable[InstanceRow]],
        content: Callable[[InstanceRow], Content],
    ) -> None:
        self._deidentifier = deidentifier
        self._original = original
        self._content = content

    async def header(self, row: InstanceRow) -> Dataset:
        """See ``content.Content``."""
        original = await self._original(row)
        return await self._header(row, original)

    async def _header(self, row: InstanceRow, original: InstanceRow) -> Dataset:
        header = await _neutral(row, self._content(original).header(original))
        return await asyncio.to_thread(self._deidentifier.dataset, header)

    async def items(self, row: InstanceRow) -> Items:
        """See ``content.Content``."""
        original = await self._original(row)
        content = self._content(original)
        header = await _neutral(row, content.header(original))
        return Changed(await _neutral(row, content.items(original)), self._deidentifier.item(header))

    async def frames(self, row: InstanceRow, numbers: Sequence[int]) -> list[bytes]:
        """See ``content.Content``."""
        original = await self._original(row)
        found = await _neutral(row, self._content(original).frames(original, numbers))
        return [without_words(frame) for frame in found] if holds_words(row.transfer_syntax) else found

    def peek(self, row: InstanceRow, numbers: Sequence[int]) -> list[bytes] | None:
        """See ``content.Content``: the row that is meant has to be asked for."""
        return None

    async def part10(self, row: InstanceRow) -> AsyncIterator[bytes]:
        """See ``content.Content``: a file of its own, whose pixels are those of the stored one."""
        original = await self._original(row)
        content = self._content(original)
        header = await self._header(row, original)
        values = {bulk: await self._value(row, original, path) for path, (_, bulk) in bulk_paths(header).items()}
        head = preamble_pieces(header, row.transfer_syntax, read=values.__getitem__, items=await self.items(row))
        async for piece in in_threads(joined(head, _PIECE)):
            yield piece
        tail = trailer(header, read=values.__getitem__)
        if row.pixel is None:
            yield tail
            return
        yield pixel_data_header(row.pixel.vr, row.pixel.length, row.pixel.tag)
        if row.pixel.length is not None:
            missing = row.pixel.length + row.pixel.length % 2
            async for piece in self._native(original, row.pixel.length):
                yield piece
                missing -= len(piece)
            if missing > _MOST_PADDING:
                raise CorruptData("The pixel data is shorter than it says")
            yield b"\0" * missing + tail
        elif holds_words(row.transfer_syntax):
            yield item_of(b"")  # the table of offsets stays empty: frames are read while they are sent
            for first in range(1, row.frames + 1, _TOGETHER):
                numbers = range(first, min(first + _TOGETHER, row.frames + 1))
                for frame in await self.frames(row, numbers):
                    yield item_of(frame)
            yield END + tail
        else:
            async for piece in items.of(content.part10(original), row.pixel.offset):
                yield piece
            yield END + tail

    async def _native(self, original: InstanceRow, length: int) -> AsyncIterator[bytes]:
        """The native pixel data, little-endian, at most ``length`` bytes."""
        content, syntax = self._content(original), syntaxes.find(original.transfer_syntax)
        if original.key.startswith(SLIDE) or (syntax.big_endian and original.bits > 1):
            for number in range(1, original.frames + 1):
                yield (await content.frames(original, [number]))[0]
        else:
            async for piece in (await content.value(original, _pixels(original))).read(0, length):
                yield piece

    async def bulk(self, row: InstanceRow, path: str) -> bytes:
        """See ``content.Content``: only values that the header of the view has, and the pixels."""
        value = await self.value(row, path)
        return b"".join([piece async for piece in value.read(0, value.length)])

    async def value(self, row: InstanceRow, path: str) -> Value:
        """See ``bulk``."""
        original = await self._original(row)
        content = self._content(original)
        if row.pixel is not None and path == _pixels(row):
            return _quiet(row, await _neutral(row, content.value(original, _pixels(original))))
        header = await self._header(row, original)
        if is_within_large(header, path):
            # What an item holds is treated as it is read; where a value lies is not to be asked for by paths.
            items = await self.items(row)
            found = await asyncio.to_thread(value_at, header, path, items)
            return at_hand(found if isinstance(found, bytes) else await asyncio.to_thread(items.value, found))
        found = value_at(header, path)
        if isinstance(found, bytes):
            return at_hand(found)
        if action_of(int(path[-8:], 16), "OB") is Action.PROFILE:
            return at_hand(await self._value(row, original, path))
        return _quiet(row, await _neutral(row, content.value(original, path)))

    async def _value(self, row: InstanceRow, original: InstanceRow, path: str) -> bytes:
        """A large value that stays, read from where it is stored."""
        value = await _neutral(row, self._content(original).bulk(original, path))
        tag = int(path[-8:], 16)
        return without_texts(value) if action_of(tag, "OB") is Action.PROFILE else value


def _pixels(row: InstanceRow) -> str:
    """The path of the element that the pixels are in."""
    return "" if row.pixel is None else f"{row.pixel.tag:08X}"


def _quiet(row: InstanceRow, value: Value) -> Value:
    """A value whose reading says nothing of the stored object, either."""

    async def read(start: int, stop: int) -> AsyncIterator[bytes]:
        pieces = value.read(start, stop)
        while (piece := await _neutral(row, anext(pieces, None))) is not None:
            yield piece

    return Value(value.length, read)


async def _neutral(row: InstanceRow, work: Awaitable[T]) -> T:
    """What comes of it; errors say nothing of the stored object, whose name may be that of a patient."""
    try:
        return await work
    except NotFound as error:
        if error.what in {"frame", "bulk data"}:
            raise
        raise NotFound("instance", row.sop_uid) from error
    except Conflict as error:
        raise Conflict("The instance was replaced; look it up again") from error
    except (CorruptData, UnsupportedFormat) as error:
        raise type(error)("The instance cannot be read") from error
    except StorageUnavailable as error:
        raise StorageUnavailable("The store of the instance does not answer", permanent=error.permanent) from error
    except MicrotomeError:
        raise  # limits and loads: numbers of ours
