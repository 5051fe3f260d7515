"""Ids are paths: every spelling of one, none that leaves the root, and the texts of errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from microtome.catalog.kinds import Kinds, by_suffix
from microtome.catalog.paths import PathsMapper
from microtome.errors import NotFound
from microtome.storage.local import LocalStore
from microtome.storage.memory import MemoryStore
from tests.unit.catalog.clock import Clock


def has_dicom(names: Sequence[str]) -> bool:
    return any(name.endswith(".dcm") for name in names if "/" not in name)


KINDS = Kinds(by_suffix(), has_dicom)
KEYS = (
    "top.svs",
    "case1/a.svs",
    "case1/notes.txt",
    "case2/series/1.dcm",
    "case2/deeper/b.svs",
    "series/1.dcm",
)


def over(*keys: str) -> PathsMapper:
    return PathsMapper(MemoryStore(dict.fromkeys(keys or KEYS, b"x")), KINDS, clock=Clock())


@pytest.mark.parametrize(
    ("context", "ids"),
    [
        ("", ["/case1", "/case2"]),
        (".", ["./case1", "./case2"]),
        ("/", ["//case1", "//case2"]),
        ("case2", ["case2/deeper"]),
        ("case2/", ["case2//deeper"]),
        ("/case2", ["/case2/deeper"]),
    ],
)
async def test_cases_begin_with_the_context_as_typed_and_can_be_opened(context: str, ids: list[str]) -> None:
    mapper = over()
    cases = await mapper.cases(context)
    assert [case.id for case in cases] == ids
    assert [case.local_id for case in cases] == ids
    for case in cases:
        slides = await mapper.slides(case.id)
        assert [slide.id for slide in slides] == list(case.slides)
        for slide in slides:
            assert (await mapper.slide(slide.id)).key == slide.key


async def test_folders_that_are_slides_are_no_cases() -> None:
    mapper = over()
    assert "/series" not in [case.id for case in await mapper.cases("")]
    [slide] = await mapper.slides("series")
    assert (slide.id, slide.local_id, slide.key) == ("series", "series", "series")
    assert [address.address for address in slide.addresses] == ["series/1.dcm", "series"]


async def test_slides_of_a_case_are_sorted_by_name() -> None:
    mapper = over("case/b.svs", "case/B.svs", "case/a.svs", "case/z/1.dcm", "case/x.txt")
    slides = await mapper.slides("case")
    assert [slide.local_id for slide in slides] == ["B.svs", "a.svs", "b.svs", "z"]
    assert [slide.id for slide in slides] == ["case/B.svs", "case/a.svs", "case/b.svs", "case/z"]


async def test_the_empty_case_is_the_root() -> None:
    assert {slide.key for slide in await over().slides("")} == {"top.svs", "series"}


async def test_an_angle_bracket_stands_for_a_slash() -> None:
    mapper = over()
    slide = await mapper.slide("case2>deeper>b.svs")
    assert (slide.id, slide.local_id, slide.key) == ("case2/deeper/b.svs",) * 3
    [case] = await mapper.cases(">case2")
    assert case.id == ">case2/deeper"
    [listed] = await mapper.slides("case2>deeper")
    assert listed.id == "case2>deeper/b.svs"
    assert listed.addresses[-1].address == "case2/deeper/b.svs"


async def test_a_name_may_hold_an_angle_bracket() -> None:
    mapper = over("case/a>b.svs")
    [slide] = await mapper.slides("case")
    assert slide.id == "case/a>b.svs"
    assert await mapper.slide(slide.id) == replace(slide, local_id=slide.id)


async def test_a_leading_slash_is_the_root_of_the_data() -> None:
    assert (await over().slide("/case1/a.svs")).key == "case1/a.svs"


async def test_texts_of_errors() -> None:
    mapper = over()
    with pytest.raises(NotFound) as error:
        await mapper.cases(None)
    assert str(error.value) == "context is required"
    for context in ("nowhere", "../x", "case1/a.svs", "a\0b"):
        with pytest.raises(NotFound) as error:
            await mapper.cases(context)
        assert str(error.value) == f"Context folder '{context}' not found"
        with pytest.raises(NotFound) as error:
            await mapper.slides(context)
        assert str(error.value) == f"Case '{context}' not found"
    for slide_id in ("nowhere.svs", "case1/notes.txt", "case1", "../../etc/passwd"):
        with pytest.raises(NotFound) as error:
            await mapper.slide(slide_id)
        assert str(error.value) == f"Slide {slide_id} does not exist"


async def test_an_empty_folder_is_a_case_without_slides(tmp_path: Path) -> None:
    (tmp_path / "data" / "empty").mkdir(parents=True)
    (tmp_path / "data" / "out").symlink_to(tmp_path)
    mapper = PathsMapper(LocalStore(tmp_path / "data"), KINDS)
    assert await mapper.slides("empty") == []
    assert await mapper.cases("empty") == []
    assert await mapper.slides("") == []
    for path in ("out", "empty/..", "empty/missing"):
        with pytest.raises(NotFound):
            await mapper.slides(path)


async def test_a_name_is_judged_once_for_many_tiles() -> None:
    store = MemoryStore(dict.fromkeys(KEYS, b"x"))
    mapper = PathsMapper(store, KINDS, clock=Clock())
    for _ in range(10):
        await mapper.slide("case1/a.svs")
        await mapper.slide("series")
    assert [request.kind for request in store.log] == ["head", "list"]


async def test_a_slide_that_appears_is_there_at_once() -> None:
    """What was not found is not kept."""
    store = MemoryStore()
    mapper = PathsMapper(store, KINDS, clock=Clock())
    with pytest.raises(NotFound):
        await mapper.slide("case/new.svs")
    store.put("case/new.svs", b"x")
    assert (await mapper.slide("case/new.svs")).key == "case/new.svs"
