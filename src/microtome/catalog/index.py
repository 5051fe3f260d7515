"""What mappers have in common that make up their own ids: an index of all cases and slides, looked things up in."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from microtome.catalog.addresses import mapped
from microtome.catalog.base import Case, MappedSlide
from microtome.catalog.kept import Kept
from microtome.catalog.kinds import Kinds
from microtome.catalog.listing import FRESH, Listings
from microtome.errors import NotFound
from microtome.storage.base import Store
from microtome.telemetry import logger


@dataclass(slots=True)
class Index:
    """Slides by the ids of their cases, both in the order they were added; ``names`` are the local ids of cases."""

    names: dict[str, str] = field(default_factory=dict[str, str])
    members: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    slides: dict[str, MappedSlide] = field(default_factory=dict[str, MappedSlide])

    def add_case(self, case_id: str, local_id: str) -> None:
        """Know a case, if it is not known."""
        self.names.setdefault(case_id, local_id)
        self.members.setdefault(case_id, [])

    def add(self, case_id: str, slide: MappedSlide) -> None:
        """Add a slide to a case that is known. Of several with the same id the first one stays."""
        kept = self.slides.setdefault(slide.id, slide)
        if kept.key != slide.key:
            logger.warning("slide %s is left out: %s has the same id", slide.key, kept.key)
        elif slide.id not in self.members[case_id]:
            self.members[case_id].append(slide.id)


class IndexedMapper:
    """A mapper over an index, made anew by ``read`` at most every ``fresh`` s.

    A slide that is in the last index needs no new one: only whether it is still there is asked, as often.
    """

    def __init__(
        self, store: Store, kinds: Kinds, *, fresh: float = FRESH, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._listings = Listings(store, kinds, fresh=fresh, clock=clock)
        self._kept: Kept[str, Index] = Kept(fresh, budget=1000, weigh=lambda _: 0, clock=clock)
        self._last = Index()

    async def read(self) -> Index:
        """The index of what there is now."""
        raise NotImplementedError

    async def check(self, slide: MappedSlide) -> MappedSlide:
        """The slide as it is now, with all its files. Raises NotFound when it is gone."""
        entry = await self._listings.locate(slide.key)
        return mapped(slide.id, slide.local_id, slide.key, entry.companions)

    async def cases(self, context: str | None) -> Sequence[Case]:
        """All cases; the context is ignored."""
        index = await self._index()
        return [Case(case_id, local_id, tuple(index.members[case_id])) for case_id, local_id in index.names.items()]

    async def slides(self, case_id: str) -> Sequence[MappedSlide]:
        """The slides of a case, sorted by id."""
        index = await self._index()
        if case_id not in index.members:
            raise NotFound("case", case_id, f"Case with case_id {case_id} does not exist")
        return [index.slides[slide_id] for slide_id in sorted(index.members[case_id])]

    async def slide(self, slide_id: str) -> MappedSlide:
        """A slide, as long as it is there."""
        slide = self._last.slides.get(slide_id) or (await self._index()).slides.get(slide_id)
        try:
            if slide is not None:
                return await self.check(slide)
        except NotFound as error:
            raise _no_slide(slide_id) from error
        raise _no_slide(slide_id)

    async def refresh(self) -> None:
        """List everything, and make the index, anew."""
        self._listings.forget()
        self._kept.forget()
        await self._index()

    async def close(self) -> None:
        """Nothing to release."""

    async def _index(self) -> Index:
        return await self._kept.get("", self._read)

    async def _read(self) -> Index:
        self._last = await self.read()
        return self._last


def _no_slide(slide_id: str) -> NotFound:
    return NotFound("slide", slide_id, f"Slide with slide_id {slide_id} does not exist")
