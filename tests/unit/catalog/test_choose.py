"""Names of mappers, ours and the original's, and what they are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from microtome.catalog.base import Mapper
from microtome.catalog.choose import NAMES, open_mapper
from microtome.catalog.custom import CustomMapper
from microtome.catalog.kinds import Kinds, by_suffix
from microtome.catalog.paths import PathsMapper
from microtome.catalog.remote import RemoteMapper
from microtome.catalog.simple import SimpleMapper
from microtome.catalog.table import TableMapper
from microtome.catalog.walk import WalkingMapper
from microtome.errors import InvalidRequest
from microtome.storage.memory import MemoryStore

KINDS = Kinds(by_suffix(), lambda _: False)
ROW = "g\tp\ts\tc\ta.svs\n"


async def opened(name: str, store: MemoryStore | None = None, **variables: str) -> Mapper:
    store = store or MemoryStore({"data.csv": ROW.encode(), "g/p/a.svs": b"x"})
    return await open_mapper(
        name,
        store=store,
        kinds=KINDS,
        data_dir="/data",
        mapper_address="http://127.0.0.1:1/{slide_id}",
        variables=variables,
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("", RemoteMapper),
        (" ", RemoteMapper),
        ("wsi_service.simple_mapper:SimpleMapper", SimpleMapper),
        ("wsi_service.paths_mapper:PathsMapper", PathsMapper),
        ("wsi_service.csv_mapper:CSVMapper", TableMapper),
        ("wsi_service.mapper_iterator.iterator:IteratorMapper", WalkingMapper),
        ("simple", SimpleMapper),
        ("Paths", PathsMapper),
        ("CSV", TableMapper),
        ("iterator", WalkingMapper),
    ],
)
async def test_names(name: str, kind: type[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mapper = await opened(name)
    assert type(mapper) is kind
    await mapper.close()


def test_our_own_names_are_true() -> None:
    for name in NAMES:
        module, _, kind = name.partition(":")
        if module.startswith("microtome."):
            assert kind in vars(__import__(module, fromlist=[kind]))


@pytest.mark.parametrize(
    "name",
    [
        "nonsense",
        "wsi_service.simple_mapper:Other",
        "wsi_service.nowhere:Mapper",
        "module:",
        ":Class",
        "a b:C",
        "a:b:c",
    ],
)
async def test_names_that_mean_nothing_are_refused_with_those_that_do(name: str) -> None:
    with pytest.raises(InvalidRequest, match=r"WS_LOCAL_MODE.*wsi_service.paths_mapper:PathsMapper") as error:
        await opened(name)
    assert error.value.parameter == "WS_LOCAL_MODE"


async def test_an_unknown_module_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="there is no module no_such_module"):
        await opened("no_such_module.sub:Mapper")


async def test_somebody_elses_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "somebodys.py").write_text(
        "class Mapper:\n"
        "    def __init__(self, data_dir): self.data_dir = data_dir\n"
        "    def get_cases(self, context): return [{'id': self.data_dir, 'local_id': '', 'slides': []}]\n"
        "    def get_slides(self, case_id): ...\n"
        "    def get_slide(self, slide_id): ...\n"
    )
    mapper = await opened("somebodys:Mapper")
    assert isinstance(mapper, CustomMapper)
    assert [case.id for case in await mapper.cases(None)] == ["/data"]
    await mapper.close()


async def test_a_table_beside_the_server_comes_before_one_in_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mapper = await opened("csv")
    assert [case.id for case in await mapper.cases(None)] == ["g.p.c.c"]
    (tmp_path / "data.csv").write_text(ROW.replace("g", "here"))
    mapper = await opened("csv")
    assert [case.id for case in await mapper.cases(None)] == ["here.p.c.c"]
    await mapper.close()


async def test_a_folder_of_tables_and_all_its_variables(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "tables" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "a.csv").write_text("x.svs;c;s;p;g")
    (tmp_path / "tables" / "deep" / "a.csv").symlink_to(tmp_path / "real" / "a.csv")  # as mounted configurations are
    mapper = await opened(
        "csv",
        CSWS_SOURCE=str(tmp_path / "tables"),
        csws_separator=";",
        CSWS_GROUP_1="4",
        CSWS_GROUP_2="3",
        CSWS_SLIDE_ID="2",
        CSWS_CASE_ID="1",
        CSWS_PATH="0",
    )
    assert (await mapper.slide("g.p.w.s")).key == "x.svs"
    await mapper.close()


async def test_the_separator_may_be_written_with_a_backslash(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(ROW)
    mapper = await opened("csv", CSWS_SOURCE=str(tmp_path / "a.tsv"), CSWS_SEPARATOR="\\t")
    assert len(await mapper.cases(None)) == 1
    await mapper.close()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CSWS_PATH", "-1"),
        ("CSWS_GROUP_1", "one"),
        ("CSWS_SEPARATOR", ";;"),
        ("CSWS_SOURCE", "missing.csv"),
        ("CSWS_SOURCE", "../missing.csv"),
        ("WSIT_PROJECT_PATTERN", "("),
        ("WSIT_INSTITUTION_PATTERN", "no group"),
    ],
)
async def test_variables_that_are_wrong_are_named(variable: str, value: str) -> None:
    with pytest.raises(InvalidRequest, match=variable) as error:
        await opened("csv" if variable.startswith("CSWS") else "iterator", None, **{variable: value})
    assert error.value.parameter == variable


async def test_patterns_of_the_iterator() -> None:
    mapper = await opened("iterator", wsit_institution_pattern="/data/(.)/", WSIT_PROJECT_PATTERN="/(p)$")
    [case] = await mapper.cases(None)
    assert case.id.startswith("g.p.c.")


async def test_a_broken_table_stops_the_start() -> None:
    with pytest.raises(InvalidRequest, match="line 1"):
        await opened("csv", MemoryStore({"data.csv": b"broken"}))


async def test_a_missing_address_of_the_remote_mapper_stops_the_start() -> None:
    with pytest.raises(InvalidRequest, match="WS_MAPPER_ADDRESS"):
        await open_mapper("", store=MemoryStore(), kinds=KINDS, data_dir="/data")
