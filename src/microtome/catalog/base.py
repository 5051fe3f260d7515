"""The catalogue seams: ``Catalog`` lists slides in pages, ``Mapper`` knows them by cases, as WSI-Service does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from microtome.model import SlideRecord


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a listing; ``next_cursor`` is opaque, None on the last page."""

    slides: tuple[SlideRecord, ...]
    next_cursor: str | None


class Catalog(Protocol):
    """Answers which slides there are. Raises NotFound, InvalidRequest(parameter="cursor"), StorageUnavailable."""

    def resolve(self, slide_id: str) -> SlideRecord:
        """The record of an id; pure, does not ask the store. Raises NotFound for an id that cannot name a slide."""
        ...

    async def list(self, *, limit: int, cursor: str | None = None, prefix: str = "", search: str = "") -> Page:
        """A full page of slides in bytewise key order: ``limit`` of them unless there are no more.

        ``search`` is a case-insensitive substring of the whole key, ``prefix`` a case-sensitive start of it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Case:
    """Slides that belong together; ``slides`` are their ids. ``local_id`` is the name it has where it is stored."""

    id: str
    local_id: str
    slides: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StorageAddress:
    """One file or folder of a slide; ``address`` is its key in the store, a path relative to the root of the data."""

    address: str
    slide_id: str
    main_address: bool
    storage_address_id: str


@dataclass(frozen=True, slots=True)
class MappedSlide:
    """A slide of a mapper. ``key`` is what to open; ``addresses`` are all its files, the main one last.

    Exactly one address is the main one; its address is ``key``.
    """

    id: str
    local_id: str
    key: str
    addresses: tuple[StorageAddress, ...]


class Mapper(Protocol):
    """Answers which cases there are, which slides they hold, and where a slide is stored.

    All methods raise StorageUnavailable, and NotFound with the sentence that the interface documents. No key that
    comes out leaves the root of the data. Belongs to one event loop.
    """

    async def cases(self, context: str | None) -> Sequence[Case]:
        """The cases; ``context`` narrows them for mappers that need one. Raises NotFound for an unknown context."""
        ...

    async def slides(self, case_id: str) -> Sequence[MappedSlide]:
        """The slides of a case. Raises NotFound for an unknown one."""
        ...

    async def slide(self, slide_id: str) -> MappedSlide:
        """One slide. Raises NotFound for an unknown one. Quick when asked again: meant for every tile."""
        ...

    async def refresh(self) -> None:
        """Forget what is kept: the next answer is of what there is now. Raises InvalidRequest for a broken source."""
        ...

    async def close(self) -> None:
        """Release what the mapper holds, but not the store it was given."""
        ...
