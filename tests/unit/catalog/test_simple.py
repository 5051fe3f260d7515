"""Cases are folders of the root; ids are made of names; listings open nothing and are kept for a while."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from microtome.catalog.kinds import Kinds, by_suffix
from microtome.catalog.simple import SimpleMapper
from microtome.errors import NotFound
from microtome.storage.local import LocalStore
from microtome.storage.memory import MemoryStore
from tests.unit.catalog.clock import Clock


def has_dicom(names: Sequence[str]) -> bool:
    return any(name.endswith(".dcm") for name in names if "/" not in name)


KINDS = Kinds(by_suffix(), has_dicom)


def over(*keys: str, clock: Clock | None = None) -> tuple[SimpleMapper, MemoryStore]:
    store = MemoryStore(dict.fromkeys(keys, b"x"))
    return SimpleMapper(store, KINDS, fresh=5, clock=clock or Clock()), store


async def test_ids_are_those_of_wsi_service() -> None:
    """As its own tests have them, worked out by hashing the names of the public data."""
    mapper, _ = over(
        "Aperio/CMU-1.svs",
        "Generic TIFF/CMU-1.tiff",
        "Hamamatsu/OS-1.ndpi",
        "MIRAX/Mirax2.2-1.mrxs",
        "MIRAX/Mirax2.2-1/Slidedat.ini",
        "Fluorescence OME-Tif/2019_10_15__0014_GOOD.ome.tif",
        "Olympus/OS-1.vsi",
    )
    ids = {case.local_id: case.id for case in await mapper.cases(None)}
    assert ids["Olympus"] == "7a32e2c36ca756d9b7df0b627ace4c12"
    assert ids["Aperio"] == "4593f30c39d75d2385c6c8811c4ae7e0"
    expected = {
        "8d32dba05a4558218880f06caf30d3ac": "Aperio/CMU-1.svs",
        "f5f3a03b77fb5e0497b95eaff84e9a21": "Generic TIFF/CMU-1.tiff",
        "1886900087965c9e845b39aebaa45ee6": "Hamamatsu/OS-1.ndpi",
        "45707118e3b55f1b8e03e1f19feee916": "MIRAX/Mirax2.2-1.mrxs",
        "80f38182247757799ad732bf6d035ac0": "Fluorescence OME-Tif/2019_10_15__0014_GOOD.ome.tif",
    }
    for slide_id, key in expected.items():
        slide = await mapper.slide(slide_id)
        assert slide.key == key
        assert slide.local_id == key.rpartition("/")[2]


async def test_two_levels_only() -> None:
    mapper, _ = over("root.svs", "case/a.svs", "case/deeper/b.svs", "case/series/1.dcm", "empty/notes.txt")
    cases = await mapper.cases("any context")
    assert [case.local_id for case in cases] == ["case", "empty"]
    assert [len(case.slides) for case in cases] == [2, 0]
    assert {slide.key for slide in await mapper.slides(cases[0].id)} == {"case/a.svs", "case/series"}


async def test_slides_of_a_case_are_sorted_by_id() -> None:
    mapper, _ = over(*(f"case/{number}.svs" for number in range(30)))
    [case] = await mapper.cases(None)
    ids = [slide.id for slide in await mapper.slides(case.id)]
    assert ids == sorted(ids)
    assert list(case.slides) != sorted(case.slides), "while the case names them in the order of their names"


async def test_texts_of_errors() -> None:
    mapper, _ = over("case/a.svs")
    with pytest.raises(NotFound) as case:
        await mapper.slides("invalid_id")
    assert str(case.value) == "Case with case_id invalid_id does not exist"
    with pytest.raises(NotFound) as slide:
        await mapper.slide("invalid_id")
    assert str(slide.value) == "Slide with slide_id invalid_id does not exist"


async def test_ids_that_collide_belong_to_the_first() -> None:
    mapper, _ = over("ab/c.svs", "a/bc.svs", "a/other.svs")
    cases = {case.local_id: case for case in await mapper.cases(None)}
    assert len(cases["a"].slides) == 2
    assert cases["ab"].slides == ()
    assert {(await mapper.slide(each)).key for each in cases["a"].slides} == {"a/bc.svs", "a/other.svs"}


async def test_new_files_show_up_after_a_few_seconds() -> None:
    clock = Clock()
    mapper, store = over("case/a.svs", clock=clock)
    assert len(await mapper.cases(None)) == 1
    store.put("new/b.svs", b"x")
    clock.now += 4.9
    assert len(await mapper.cases(None)) == 1
    clock.now += 0.2
    cases = await mapper.cases(None)
    assert [case.local_id for case in cases] == ["case", "new"]
    assert (await mapper.slide(cases[1].slides[0])).key == "new/b.svs"


async def test_a_new_slide_is_found_by_its_id_without_any_listing_before() -> None:
    clock = Clock()
    mapper, store = over("Aperio/other.svs", clock=clock)
    with pytest.raises(NotFound):
        await mapper.slide("8d32dba05a4558218880f06caf30d3ac")
    store.put("Aperio/CMU-1.svs", b"x")
    clock.now += 5
    assert (await mapper.slide("8d32dba05a4558218880f06caf30d3ac")).key == "Aperio/CMU-1.svs"


async def test_a_known_slide_costs_one_look_in_a_few_seconds() -> None:
    clock = Clock()
    mapper, store = over(*(f"case/{number}.svs" for number in range(2500)), clock=clock)
    [case] = await mapper.cases(None)
    slide = case.slides[7]
    store.log.clear()
    for _ in range(20):
        await mapper.slide(slide)
    assert [request.kind for request in store.log] == ["head"]
    clock.now += 60
    await mapper.slide(slide)
    assert [request.kind for request in store.log] == ["head", "head"], "no new listing of everything"


async def test_a_slide_that_is_gone_is_noticed_without_a_listing() -> None:
    clock = Clock()
    mapper, store = over("case/a.svs", clock=clock)
    [case] = await mapper.cases(None)
    assert await mapper.slide(case.slides[0])
    store.delete("case/a.svs")
    clock.now += 5
    with pytest.raises(NotFound, match="Slide with slide_id"):
        await mapper.slide(case.slides[0])


async def test_listing_reads_no_file() -> None:
    mapper, store = over(*(f"case{number % 7}/{number}.tif" for number in range(3000)))
    cases = await mapper.cases(None)
    for case in cases:
        await mapper.slides(case.id)
    assert {request.kind for request in store.log} == {"list"}
    assert len(store.log) == 3, "3000 objects are three pages, listed once"


async def test_a_listing_in_a_folder_of_this_machine_opens_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "case").mkdir()
    for number in range(50):
        (tmp_path / "case" / f"{number}.svs").write_bytes(b"x")
    store = LocalStore(tmp_path)
    monkeypatch.setattr(store, "_open", None)
    [case] = await SimpleMapper(store, KINDS).cases(None)
    assert len(case.slides) == 50


async def test_files_that_may_be_anything_are_looked_into_once() -> None:
    looked: list[str] = []

    def recognises(head: bytes, name: str) -> bool:
        looked.append(name)
        return b'"tile_size"' in head

    clock = Clock()
    store = MemoryStore({"case/tiles.json": b'{"tile_size": 256}', "case/notes.json": b"{}", "case/a.svs": b"x"})
    mapper = SimpleMapper(store, Kinds(by_suffix(recognises=recognises), has_dicom), fresh=5, clock=clock)
    [case] = await mapper.cases(None)
    assert {(await mapper.slide(each)).key for each in case.slides} == {"case/a.svs", "case/tiles.json"}
    clock.now += 10
    assert len((await mapper.cases(None))[0].slides) == 2
    assert sorted(looked) == ["notes.json", "tiles.json"], "once for each version of a file"
    store.put("case/notes.json", b'{"tile_size": 512}')
    clock.now += 10
    assert len((await mapper.cases(None))[0].slides) == 3
