"""The exam every mapper takes. Derive a class, say how to open yours, run pytest.

    class TestMyMapper(MapperContract):
        async def open(self, keys):
            return MyMapper(...)           # over files with these keys, or knowing the slides among them

        async def add(self, mapper, key):
            ...                            # one more slide, behind the mapper's back

        async def remove(self, mapper, key):
            ...                            # one less

The tests are coroutines; they need pytest-asyncio in its automatic mode. For readable failures call
``pytest.register_assert_rewrite("microtome.testing.mappers")`` in ``conftest.py``.
"""

# ruff: noqa: S101 - an exam asserts

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from microtome.catalog.base import Case, MappedSlide, Mapper
from microtome.errors import NotFound

KEYS = (
    "first/a.svs",
    "first/b.tiff",
    "first/notes.txt",
    "second/c.SVS",
    "second/m.mrxs",
    "second/m/Data0000.dat",
    "second/m/Slidedat.ini",
    "second/series/1.dcm",
    "second/series/2.dcm",
)
"""Two cases: plain files, a MIRAX slide with its folder, a DICOM folder, and what is no slide."""

SLIDES = {
    "first/a.svs": (),
    "first/b.tiff": (),
    "second/c.SVS": (),
    "second/m.mrxs": ("second/m/Data0000.dat", "second/m/Slidedat.ini"),
    "second/series": ("second/series/1.dcm", "second/series/2.dcm"),
}
"""Keys of the slides, with those of their other files."""

HOSTILE_IDS = (
    "",
    "/",
    ".",
    "..",
    "/etc/passwd",
    "../outside.svs",
    ">..>outside.svs",
    "first/../../outside.svs",
    "first/../first/a.svs",
    "first/a.svs\0",
    "first/a.svs\n",
    "..\\outside.svs",
    "C:/outside.svs",
    "%2e%2e/outside.svs",
    "%2e%2e%2foutside.svs",
    "%252e%252e/outside.svs",
    "first/link.svs",
    "link/outside.svs",
    "\ud800",
    "x" * 5000,
    "x/" * 2000,
)
"""None of these is a slide; ``outside.svs`` may lie beside the root, ``link.svs`` and ``link`` may lead there."""


class MapperContract:
    """What the API relies on. ``context`` is one in which all cases are, for mappers that need it."""

    context: str | None = None

    async def open(self, keys: Sequence[str]) -> Mapper:
        """A mapper over files with these keys."""
        raise NotImplementedError

    async def add(self, mapper: Mapper, key: str) -> None:
        """Make one more slide, as somebody else would."""
        raise NotImplementedError

    async def remove(self, mapper: Mapper, key: str) -> None:
        """Take a slide away, as somebody else would."""
        raise NotImplementedError

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Mapper]:
        """The mapper of ``open``, closed behind the test."""
        mapper = await self.open(KEYS)
        try:
            yield mapper
        finally:
            await mapper.close()

    async def listed(self, mapper: Mapper) -> dict[str, MappedSlide]:
        """All slides of all cases, by key."""
        found: dict[str, MappedSlide] = {}
        for case in await mapper.cases(self.context):
            for slide in await mapper.slides(case.id):
                assert slide.key not in found, "a slide belongs to one case"
                found[slide.key] = slide
        return found

    async def test_every_slide_is_in_a_case_and_nothing_else_is(self) -> None:
        """Files by their names, folders by what is in them."""
        async with self.opened() as mapper:
            assert set(await self.listed(mapper)) == set(SLIDES)

    async def test_a_case_names_all_its_slides(self) -> None:
        """The ids in the list of cases are those of the slides of a case; none occurs twice."""
        async with self.opened() as mapper:
            cases = await mapper.cases(self.context)
            assert len({case.id for case in cases}) == len(cases)
            ids = [slide_id for case in cases for slide_id in case.slides]
            assert len(set(ids)) == len(ids) == len(SLIDES)
            for case in cases:
                assert {slide.id for slide in await mapper.slides(case.id)} == set(case.slides)

    async def test_a_slide_is_found_by_its_id(self) -> None:
        """It has the same place and files as in its case, whatever was asked before."""
        async with self.opened() as mapper:
            listed = await self.listed(mapper)
            for slide in listed.values():
                found = await mapper.slide(slide.id)
                assert (found.id, found.key) == (slide.id, slide.key)
                assert [address.address for address in found.addresses] == [
                    address.address for address in slide.addresses
                ]
        async with self.opened() as mapper:
            for slide in listed.values():
                assert (await mapper.slide(slide.id)).key == slide.key

    async def test_addresses_are_all_files_of_a_slide(self) -> None:
        """The others first, the main one last; all of the slide, none twice, ids of their own."""
        async with self.opened() as mapper:
            for key, slide in (await self.listed(mapper)).items():
                assert tuple(address.address for address in slide.addresses) == (*SLIDES[key], key)
                assert [address.main_address for address in slide.addresses] == [False] * len(SLIDES[key]) + [True]
                assert {address.slide_id for address in slide.addresses} == {slide.id}
                assert len({address.storage_address_id for address in slide.addresses}) == len(slide.addresses)
                assert slide.addresses[-1].storage_address_id == slide.id

    async def test_answers_are_the_same_at_every_call_and_start(self) -> None:
        """So that links stay valid."""
        async with self.opened() as mapper:
            first = await self.listed(mapper)
            assert await self.listed(mapper) == first
        async with self.opened() as mapper:
            assert await self.listed(mapper) == first

    async def test_what_does_not_exist_is_not_found(self) -> None:
        """Cases and slides."""
        async with self.opened() as mapper:
            with pytest.raises(NotFound, match=r"first/missing.svs"):
                await mapper.slide("first/missing.svs")
            with pytest.raises(NotFound, match="missing-case"):
                await mapper.slides("missing-case")
            with pytest.raises(NotFound):
                await mapper.slide("first/notes.txt")

    @pytest.mark.parametrize("slide_id", HOSTILE_IDS)
    async def test_nothing_leaves_the_root(self, slide_id: str) -> None:
        """Neither as a slide nor as a case nor as a context."""
        async with self.opened() as mapper:
            with pytest.raises(NotFound):
                await mapper.slide(slide_id)
            found: list[str] = []
            with suppress(NotFound):
                found = [slide.key for slide in await mapper.slides(slide_id)]
            assert set(found) <= set(SLIDES)
            cases: Sequence[Case] = []
            with suppress(NotFound):
                cases = await mapper.cases(slide_id)
            assert {case.id.rpartition("/")[2] for case in cases}.isdisjoint({"link", "etc"})

    async def test_new_slides_appear_and_old_ids_stay(self) -> None:
        """At the latest when the mapper is refreshed."""
        async with self.opened() as mapper:
            before = await self.listed(mapper)
            await self.add(mapper, "first/new.svs")
            await self.add(mapper, "third/new.svs")
            await mapper.refresh()
            after = await self.listed(mapper)
            assert set(after) - set(before) == {"first/new.svs", "third/new.svs"}
            assert {key: after[key] for key in before} == before
            assert (await mapper.slide(after["third/new.svs"].id)).key == "third/new.svs"

    async def test_slides_that_are_gone_disappear(self) -> None:
        """From their case and by their id."""
        async with self.opened() as mapper:
            gone = (await self.listed(mapper))["first/a.svs"]
            await self.remove(mapper, gone.key)
            await mapper.refresh()
            assert set(await self.listed(mapper)) == set(SLIDES) - {gone.key}
            with pytest.raises(NotFound):
                await mapper.slide(gone.id)

    async def test_many_may_ask_at_once(self) -> None:
        """All get the answers that one gets."""
        async with self.opened() as mapper:
            cases = await mapper.cases(self.context)
            assert await asyncio.gather(*(mapper.cases(self.context) for _ in range(8))) == [cases] * 8
            ids = [slide_id for case in cases for slide_id in case.slides]
            found = await asyncio.gather(*(mapper.slide(slide_id) for slide_id in ids * 4))
            assert [slide.id for slide in found] == ids * 4
