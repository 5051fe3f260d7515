"""The catalogue seam."""

from __future__ import annotations

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
