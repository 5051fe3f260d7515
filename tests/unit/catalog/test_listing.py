"""Large folder slides are passed over; what is listed is what recognises a slide."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from microtome.catalog import listing
from microtome.catalog.kept import Kept
from microtome.catalog.kinds import Kinds, by_suffix
from microtome.catalog.listing import INSIDE, SAMPLED, Listings, survey
from microtome.errors import LimitExceeded, NotFound, StorageUnavailable
from microtome.storage.local import LocalStore
from microtome.storage.memory import MemoryStore
from tests.unit.catalog.clock import Clock


def has_zarr(names: Sequence[str]) -> bool:
    return "zarr.json" in names


def image(path: str, levels: int = 3, chunks: int = 2500) -> list[str]:
    """An OME-Zarr 0.5 image: the document that tells sorts behind all its chunks."""
    keys = [f"{path}/{level}/c/{chunk:05}" for level in range(levels) for chunk in range(chunks)]
    return [*keys, *(f"{path}/{level}/zarr.json" for level in range(levels)), f"{path}/zarr.json"]


async def test_chunks_of_large_images_are_not_listed() -> None:
    store = MemoryStore(dict.fromkeys([*image("case/x.zarr"), "case/z.svs", "later/a.svs"], b"x"))
    top = await survey(store, "", 2)
    assert set(top.folders) == {"case", "later"}
    names = top.folders["case"].folders["x.zarr"].names()
    assert "zarr.json" in names
    assert len(names) == 3 * SAMPLED + 1
    assert set(top.folders["case"].files) == {"z.svs"}
    assert len(store.log) <= 5, "one page for each level, and one for the rest"


async def test_an_image_is_a_slide_however_large(tmp_path: Path) -> None:
    for key in image("case/x.zarr", levels=2, chunks=1500):
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).touch()
    listings = Listings(LocalStore(tmp_path), Kinds(by_suffix(), has_zarr))
    case = (await listings.folder("", 2)).folders["case"]
    assert [entry.key for entry in await listings.slides_in(case)] == ["case/x.zarr"]
    assert (await listings.locate("case/x.zarr")).key == "case/x.zarr"
    with pytest.raises(NotFound):
        await listings.locate("case")


async def test_files_of_a_case_are_all_listed_those_of_a_folder_in_it_to_a_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listing, "INSIDE", 1500)
    keys = [f"case/series/{number:05}.dcm" for number in range(4000)]
    keys += [f"case/{number:05}.svs" for number in range(4000)]
    store = MemoryStore(dict.fromkeys(keys, b"x"))
    case = (await survey(store, "", 2)).folders["case"]
    assert len(case.files) == 4000
    assert len(case.folders["series"].files) == 1500
    assert INSIDE > 1500


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
async def test_small_folders_are_listed_completely(depth: int) -> None:
    keys = ["top/a", "top/b/c", "top/b/d/e", "top/b/d/f/g", "top/b.x/h", "top/z"]
    store = MemoryStore(dict.fromkeys([*keys, "other/a", "top.svs"], b"x"))
    top = await survey(store, "top/", depth)
    assert sorted(top.names()) == sorted(key.removeprefix("top/") for key in keys)
    assert len(store.log) == 1


@pytest.mark.parametrize("key", ["", "../x.svs", "/x.svs", "a//x.svs", "a/./x.svs", "x.svs\0", "%2e%2e/x.svs"])
async def test_the_store_is_not_even_asked_for_keys_that_leave_it(key: str) -> None:
    store = MemoryStore()
    with pytest.raises(NotFound):
        await Listings(store, Kinds(by_suffix(), has_zarr)).locate(key)
    assert store.log == []


async def test_a_file_that_may_be_anything_is_a_slide_by_its_content() -> None:
    store = MemoryStore({"tiles.json": b"tiles", "notes.json": b"notes", "tiles.txt": b"tiles"})
    listings = Listings(store, Kinds(by_suffix(recognises=lambda head, _: head == b"tiles"), has_zarr))
    assert (await listings.locate("tiles.json")).key == "tiles.json"
    for key in ("notes.json", "tiles.txt", "missing.json"):
        with pytest.raises(NotFound):
            await listings.locate(key)


async def test_a_listing_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "OBJECTS", 100)
    with pytest.raises(LimitExceeded, match="more than 100 files"):
        await survey(MemoryStore({f"{number}.svs": b"" for number in range(101)}), "", 1)


async def test_a_failure_is_not_kept() -> None:
    kept: Kept[str, str] = Kept(5, budget=10_000, weigh=len, clock=Clock())

    async def fails() -> str:
        raise StorageUnavailable("away")

    async def answers() -> str:
        return "here"

    with pytest.raises(StorageUnavailable):
        await kept.get("key", fails)
    assert await kept.get("key", answers) == "here"
    assert await kept.get("key", fails) == "here"


async def test_what_was_asked_before_forgetting_is_not_kept() -> None:
    kept: Kept[str, str] = Kept(5, budget=10_000, weigh=len, clock=Clock())

    async def late() -> str:
        kept.forget()
        return "old"

    async def answers() -> str:
        return "new"

    assert await kept.get("key", late) == "old"
    assert await kept.get("key", answers) == "new"


def has_dicom_or_zarr(names: Sequence[str]) -> bool:
    return has_zarr(names) or any(name.endswith(".dcm") for name in names if "/" not in name)


async def test_within_a_folder_slide_is_no_slide() -> None:
    keys = ["series/1.dcm", "series/2.dcm", "image/0/zarr.json", "image/zarr.json", "mixed/1.dcm", "mixed/a.svs"]
    listings = Listings(MemoryStore(dict.fromkeys(keys, b"x")), Kinds(by_suffix(), has_dicom_or_zarr))
    root = await listings.folder("", 2)
    assert {name: folder.is_slide for name, folder in root.folders.items()} == {
        "image": True, "mixed": False, "series": True,
    }  # fmt: skip
    found = {name: [each.name for each in await listings.slides_in(folder)] for name, folder in root.folders.items()}
    assert found == {"image": [], "mixed": ["1.dcm", "a.svs"], "series": []}
    assert (await listings.locate("series/1.dcm")).key == "series/1.dcm", "asked for by its key it is one"
    assert (await listings.locate("series")).companions == ("series/1.dcm", "series/2.dcm")
