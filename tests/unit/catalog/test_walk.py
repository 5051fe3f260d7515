"""Every folder with slides is a case; groups of ids are found in paths."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from uuid import NAMESPACE_DNS, uuid5

import pytest

from microtome.catalog.kinds import Kinds, by_suffix
from microtome.catalog.walk import WalkingMapper
from microtome.errors import InvalidRequest, NotFound
from microtome.storage.memory import MemoryStore


def has_dicom(names: Sequence[str]) -> bool:
    return any(name.endswith(".dcm") for name in names if "/" not in name)


KINDS = Kinds(by_suffix(), has_dicom)
KEYS = (
    "root.svs",
    "MMCI/brca/2024/a.svs",
    "MMCI/brca/2024/b.ome.tif",
    "MMCI/brca/photo.jpg",
    "MMCI/brca/series/1.dcm",
    "MMCI/brca/series/deeper/x.svs",
    "MMCI/lonely.mrxs",
    "elsewhere/very/deep/down/c.ndpi",
)


def over(*keys: str, institution: str = "", project: str = "") -> WalkingMapper:
    store = MemoryStore(dict.fromkeys(keys or KEYS, b"x"))
    return WalkingMapper(store, KINDS, data_dir="/data/", institution=institution, project=project)


async def keys(mapper: WalkingMapper) -> dict[str, list[str]]:
    """Keys of the slides of each case, by the id of the case."""
    return {case.id: [(await mapper.slide(each)).key for each in case.slides] for case in await mapper.cases(None)}


async def test_every_folder_with_slides_is_a_case() -> None:
    """Pictures are none, nor is a MIRAX file without its folder, nor what lies within a folder slide."""
    assert list((await keys(over())).values()) == [
        ["root.svs"],
        ["MMCI/brca/series"],
        ["MMCI/brca/2024/a.svs", "MMCI/brca/2024/b.ome.tif"],
        ["elsewhere/very/deep/down/c.ndpi"],
    ]


async def test_ids_are_made_of_groups_and_paths() -> None:
    mapper = over(institution=r"^/data/(\w{1,5})/", project=r"/data/[^/]+/([^/]{1,5})(?:/|$)")
    cases = {case.id for case in await mapper.cases(None)}
    folder = uuid5(NAMESPACE_DNS, "MMCI/brca/2024")
    case = f"MMCI.brca.c.{folder}"
    assert case in cases
    slides = [slide.id for slide in await mapper.slides(case)]
    expected = [f"MMCI.brca.w.{uuid5(folder, f'MMCI/brca/2024/{name}')}" for name in ("a.svs", "b.ome.tif")]
    assert slides == sorted(expected)
    assert f"..c.{uuid5(NAMESPACE_DNS, '')}" in cases, "groups that are not found are empty"


async def test_a_folder_with_too_long_a_group_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="microtome"):
        found = await keys(over(institution=r"^/data/(\w+)/"))
    assert len(found) == 3
    assert "elsewhere/very/deep/down" in caplog.text


@pytest.mark.parametrize("pattern", ["(", "no group"])
def test_a_pattern_that_cannot_work_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidRequest, match="WSIT_PROJECT_PATTERN"):
        over(project=pattern)


async def test_texts_of_errors() -> None:
    with pytest.raises(NotFound, match=r"^Slide with slide_id x does not exist$"):
        await over().slide("x")
