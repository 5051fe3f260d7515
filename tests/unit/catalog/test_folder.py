"""Listing slides of a store: full pages, search over everything, keys that stay inside."""

from __future__ import annotations

from pathlib import Path

import pytest

from microtome.catalog.folder import FolderCatalog
from microtome.catalog.kinds import PICTURES, SUFFIXES, kinds_of
from microtome.errors import InvalidRequest, NotFound
from microtome.formats.registry import FormatRegistry
from microtome.storage.local import LocalStore
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


MIRAX = ["x/a.mrxs", "x/a/Data0000.dat", "x/a/Index.dat", "x/a/Slidedat.ini"]
DICOM = ["d/series/1.dcm", "d/series/2.dcm", "d/series/notes.txt"]
VSI = ["v/_x_/stack1/frame_t.ets", "v/_x_/stack10001/frame_t_0.tif", "v/x.vsi"]
ZARR_2 = ["z/a.zarr/.zattrs", "z/a.zarr/.zgroup", "z/a.zarr/0/.zarray", "z/a.zarr/0/0/0/0.tif"]
ZARR_3 = ["z/b/0/c/0/0/0", "z/b/0/zarr.json", "z/b/zarr.json"]
STRANGE_ZARR = ["z/c.zarr/picture.tif", "z/c.zarr/deep/er.svs"]
TILES = [f"t/set/{zoom}/{column}/0.pbf" for zoom in range(3) for column in range(1 << zoom)]


def real(*keys: str) -> FolderCatalog:
    """With the rules of all formats there are."""
    store = MemoryStore(dict.fromkeys(keys, b"x"))
    return FolderCatalog(store, kinds_of(FormatRegistry.from_entry_points()))


async def test_slides_of_many_files_are_listed_once() -> None:
    found = real(*MIRAX, *DICOM, *VSI, *ZARR_2, *ZARR_3, *STRANGE_ZARR, *TILES, "e.geojson", "photo.png", "notes.json")
    assert await ids(found) == [
        "d/series", "e.geojson", "t/set", "v/x.vsi", "x/a.mrxs", "z/a.zarr", "z/b",
    ]  # fmt: skip


@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix not in PICTURES])
async def test_every_suffix_of_a_slide_is_listed(suffix: str) -> None:
    assert await ids(real(f"a/b{suffix}", f"a/C{suffix.upper()}", f"a/{suffix}", f"a/b{suffix}.txt")) in (
        [f"a/C{suffix.upper()}", f"a/b{suffix}"],
        ["a"],  # DICOM
    )


async def test_a_folder_of_slides_is_none_whatever_lies_beside_them() -> None:
    assert await ids(real(*MIRAX, "x/z.dcm", "x/IM0001")) == ["x/a.mrxs", "x/z.dcm"]
    assert await ids(real("x/1.dcm", "x/2.dcm", "x/z.svs")) == ["x/1.dcm", "x/2.dcm", "x/z.svs"]
    assert await ids(real("x/1.dcm", "x/preview.png", "x/deeper/z.svs", "y/IM0001", "y/IM0002")) == ["x", "y"]
    assert await ids(real("1.dcm", "2.dcm")) == ["1.dcm", "2.dcm"], "the root has no name to be listed by"
    assert await ids(real("study/a/1.dcm", "study/b/1.dcm")) == ["study/a", "study/b"]
    assert await ids(real("readme/README", "readme/LICENSE")) == []


async def test_a_folder_stands_where_its_objects_do() -> None:
    keys = ["a-b.svs", "a.svs", "a/1.dcm", "a0.svs", "b/x/1.dcm", "b/x.svs", "b/x0.svs", "b0/zarr.json"]
    listed = ["a-b.svs", "a.svs", "a", "a0.svs", "b/x.svs", "b/x", "b/x0.svs", "b0"]
    found = real(*keys)
    for limit in range(1, 10):
        slides: list[str] = []
        cursor: str | None = None
        for _ in range(len(listed)):
            page = await found.list(limit=limit, cursor=cursor)
            slides += [record.key for record in page.slides]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert slides == listed, limit
    for prefix in ("", "a", "b", "b/", "b/x", "b/x.", "b0"):
        assert await ids(found, prefix=prefix) == [key for key in listed if key.startswith(prefix)], prefix
    for prefix in ("a/", "a/1", "a/1.dcm", "b/x/", "b/x/1", "b0/z"):
        assert await ids(found, prefix=prefix) == [], "inside of a slide is no slide"
    for search, among in (("X", ["b/x.svs", "b/x", "b/x0.svs"]), ("1.dcm", []), ("json", [])):
        assert await ids(found, search=search) == among


async def test_large_slides_are_passed_over_not_read() -> None:
    keys = [f"t/{zoom:02}{kind}/{n}/{n}/0.pbf" for zoom in range(3) for kind in "ab" for n in range(5000)]
    store = MemoryStore(dict.fromkeys([*keys, "u.svs"], b"x"))
    found = FolderCatalog(store, kinds_of(FormatRegistry.from_entry_points()))
    page = await found.list(limit=100)
    assert [record.key for record in page.slides] == ["t/00a", "t/00b", "t/01a", "t/01b", "t/02a", "t/02b", "u.svs"]
    assert {request.kind for request in store.log} == {"list"}, "nothing is opened"
    assert len(store.log) <= 7, "one page for each, instead of five"


async def test_no_more_is_read_than_a_page_needs() -> None:
    names = ("a.svs", "b.dcm", "c.txt", "d/1.dcm", "d/2.dcm")
    keys = [f"{number:03}/{name}" for number in range(500) for name in names]
    store = MemoryStore(dict.fromkeys(keys, b"x"))
    found = FolderCatalog(store, kinds_of(FormatRegistry.from_entry_points()))
    page = await found.list(limit=10)
    assert [record.key for record in page.slides][:4] == ["000/a.svs", "000/b.dcm", "000/d", "001/a.svs"]
    assert len(store.log) == 1
    assert page.next_cursor is not None
    assert [record.key for record in (await found.list(limit=1, cursor=page.next_cursor)).slides] == ["003/b.dcm"]


async def test_a_folder_is_listed_alike_on_disk(tmp_path: Path) -> None:
    keys = [*MIRAX, *DICOM, *VSI, *ZARR_2, *ZARR_3, *TILES, "a.svs", "d.svs"]
    for key in keys:
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).touch()
    disk = FolderCatalog(LocalStore(tmp_path), kinds_of(FormatRegistry.from_entry_points()))
    assert await ids(disk) == await ids(real(*keys))
