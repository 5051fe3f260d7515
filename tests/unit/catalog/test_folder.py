"""Listing slides of a store: full pages, search over everything, keys that stay inside."""

from __future__ import annotations

import pytest

from microtome.catalog.folder import FolderCatalog
from microtome.errors import InvalidRequest, NotFound
from microtome.storage.memory import MemoryStore


def catalog(*keys: str) -> FolderCatalog:
    return FolderCatalog(MemoryStore(dict.fromkeys(keys, b"x")))


async def ids(found: FolderCatalog, **query: str) -> list[str]:
    """All pages of two, put together."""
    slides: list[str] = []
    cursor: str | None = None
    while True:
        page = await found.list(limit=2, cursor=cursor, **query)
        slides += [record.id for record in page.slides]
        if page.next_cursor is None:
            return slides
        assert len(page.slides) == 2, "a page is full unless it is the last"
        cursor = page.next_cursor


async def test_only_slides_are_listed_whatever_the_case_of_their_suffix() -> None:
    found = catalog("UPPER.SVS", "lower.svs", "mixed.TIFF", "Mixed.Tif", "a.jpg", "b.pdf", "svs")
    assert await ids(found) == ["Mixed.Tif", "UPPER.SVS", "lower.svs", "mixed.TIFF"]


async def test_pages_are_full_even_when_most_objects_are_no_slides() -> None:
    keys = [f"{number:05}.{'svs' if number % 700 == 0 else 'txt'}" for number in range(5000)]
    found = catalog(*keys)
    assert await ids(found) == [key for key in keys if key.endswith("svs")]


async def test_a_last_full_page_has_no_cursor() -> None:
    page = await catalog("a.svs", "b.svs").list(limit=2)
    assert page.next_cursor is None


async def test_search_is_a_substring_of_the_whole_key_over_all_pages() -> None:
    found = catalog(*(f"case{number}/x.svs" for number in range(50)), "z/Élan CASE49.svs")
    assert await ids(found, search="CASE49") == ["case49/x.svs", "z/Élan CASE49.svs"]
    assert await ids(found, search="élan") == ["z/Élan CASE49.svs"]


async def test_prefix_is_case_sensitive() -> None:
    found = catalog("A/x.svs", "a/y.svs", "ab.svs")
    assert await ids(found, prefix="a/") == ["a/y.svs"]


async def test_an_empty_cursor_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        await catalog("a.svs").list(limit=1, cursor="")


@pytest.mark.parametrize("key", ["../a.svs", "/etc/passwd", "a/../../b", "a\0.svs", "", "%2e%2e/a.svs"])
def test_ids_that_could_leave_the_root_do_not_exist(key: str) -> None:
    with pytest.raises(NotFound):
        catalog("a.svs").resolve(key)


def test_objects_that_are_not_listed_can_still_be_opened() -> None:
    assert catalog().resolve("folder/foo.bin").key == "folder/foo.bin"
