"""Tables of slides: all of a case are listed, columns and separator are free, what is broken is named."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from microtome.catalog.kinds import Kinds, by_suffix
from microtome.catalog.table import Columns, TableMapper
from microtome.errors import InvalidRequest, NotFound
from microtome.storage.memory import MemoryStore
from tests.unit.catalog.clock import Clock

KINDS = Kinds(by_suffix(), lambda names: any(name.endswith(".dcm") for name in names))
TABLE = (
    "MMCI\tbrca\ts1\tcase1\ta/1.svs\n"
    "MMCI\tbrca\ts2\tcase1\ta/2.svs\n"
    "MMCI\tbrca\ts3\tcase2\tb/3.svs\n"
    "MMCI\tbrca\ts0\tcase1\t/data/c/4.svs\n"
)


def over(
    tables: MemoryStore | dict[str, bytes] | str,
    source: str = "data.csv",
    store: MemoryStore | None = None,
    **more: Any,
) -> TableMapper:
    match tables:
        case str():
            found = MemoryStore({"data.csv": tables.encode()})
        case dict():
            found = MemoryStore(tables)
        case _:
            found = tables
    store = store or MemoryStore()
    return TableMapper(store, KINDS, tables=found, source=source, data_dir="/data", **more)


async def test_a_case_lists_all_its_slides() -> None:
    mapper = over(TABLE)
    cases = await mapper.cases("ignored")
    assert [(case.id, case.local_id) for case in cases] == [("MMCI.brca.c.case1",) * 2, ("MMCI.brca.c.case2",) * 2]
    assert cases[0].slides == ("MMCI.brca.w.s1", "MMCI.brca.w.s2", "MMCI.brca.w.s0")
    slides = await mapper.slides("MMCI.brca.c.case1")
    assert [slide.id for slide in slides] == ["MMCI.brca.w.s0", "MMCI.brca.w.s1", "MMCI.brca.w.s2"]
    assert [slide.key for slide in slides] == ["c/4.svs", "a/1.svs", "a/2.svs"]
    assert [slide.local_id for slide in slides] == [slide.id for slide in slides]


async def test_columns_and_separator_are_free() -> None:
    mapper = over(
        'x/"1".svs;c1;"s;1";i;p\n'.replace('"1"', "1"),
        columns=Columns(path=0, case_id=1, slide_id=2, group_1=3, group_2=4, separator=";"),
    )
    slide = await mapper.slide("i.p.w.s;1")
    assert slide.key == "x/1.svs"
    assert [case.id for case in await mapper.cases(None)] == ["i.p.c.c1"]


async def test_texts_of_errors() -> None:
    mapper = over(TABLE)
    with pytest.raises(NotFound, match=r"^Slide with slide_id x does not exist$"):
        await mapper.slide("x")
    with pytest.raises(NotFound, match=r"^Case with case_id x does not exist$"):
        await mapper.slides("x")


async def test_all_tables_of_a_folder_are_read() -> None:
    row = "g\tp\t{0}\tc\t{0}.svs\n"
    mapper = over(
        {
            "tables/1.csv": row.format("one").encode(),
            "tables/deep/2.TSV": b"\xef\xbb\xbf" + row.format("two").encode(),
            "tables/readme.txt": b"no table",
            "other.csv": b"no table",
        },
        source="tables/",
    )
    [case] = await mapper.cases(None)
    assert case.slides == ("g.p.w.one", "g.p.w.two")


async def test_a_broken_table_beside_sound_ones_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    tables = {"1.csv": b"g\tp\ts\tc\ta.svs", "2.csv": b"one column"}
    with caplog.at_level(logging.ERROR, logger="microtome"):
        [case] = await over(tables, source="").cases(None)
    assert case.slides == ("g.p.w.s",)
    assert "2.csv" in caplog.text


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE + "\nMMCI\tbrca\ts1\n", "line 6: 3 columns, and 5"),
        ("MMCI,brca,s1,case1,a.svs", "line 1: 1 columns"),
        ("institution\tp\ts\tc\ta.svs", "line 1: a group has more than 5 characters"),
        (b"\xff\xfe", "not UTF-8"),
        ("g\tp\ts\tc\t" + "x" * 200_000, "cannot be read"),
    ],
)
async def test_a_broken_table_is_refused_by_name_and_line(table: str | bytes, message: str) -> None:
    data = table if isinstance(table, bytes) else table.encode()
    mapper = over({"data.csv": data})
    for _ in range(2):
        with pytest.raises(InvalidRequest, match=message):
            await mapper.cases(None)
    with pytest.raises(InvalidRequest, match=message) as error:
        await mapper.refresh()
    assert "data.csv" in str(error.value)


async def test_a_source_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="CSWS_SOURCE"):
        await over({}).refresh()
    with pytest.raises(InvalidRequest, match="CSWS_SOURCE"):
        await over({}).cases(None)


@pytest.mark.parametrize(
    "path",
    ["../secret.svs", "/etc/passwd", "/database/x.svs", "a/../../b.svs", "a\\..\\b.svs", "%2e%2e/x.svs", "", "/data"],
)
async def test_paths_that_leave_the_data_are_left_out(path: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="microtome"):
        mapper = over(f"g\tp\tbad\tc\t{path}\ng\tp\tgood\tc\t./a//b.svs")
        [case] = await mapper.cases(None)
    assert case.slides == ("g.p.w.good",)
    assert (await mapper.slide("g.p.w.good")).key == "a/b.svs"
    assert "line 1" in caplog.text


async def test_of_two_lines_for_one_slide_the_last_counts(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="microtome"):
        mapper = over("g\tp\ts\tc1\told.svs\ng\tp\ts\tc2\tnew.svs")
        cases = await mapper.cases(None)
    assert [case.slides for case in cases] == [("g.p.w.s",)] * 2
    assert [(await mapper.slides(case.id))[0].key for case in cases] == ["new.svs"] * 2
    assert "several paths" in caplog.text


async def test_a_changed_table_counts_after_a_few_seconds() -> None:
    clock = Clock()
    tables = MemoryStore({"data.csv": TABLE.encode()})
    mapper = over(tables, clock=clock, fresh=5)
    assert (await mapper.slide("MMCI.brca.w.s1")).key == "a/1.svs"
    tables.put("data.csv", TABLE.replace("a/1.svs", "a/moved.svs").encode())
    assert (await mapper.slide("MMCI.brca.w.s1")).key == "a/1.svs"
    clock.now += 5
    assert (await mapper.slide("MMCI.brca.w.s1")).key == "a/moved.svs"
    reads = sum(request.kind == "range" for request in tables.log)
    clock.now += 5
    await mapper.cases(None)
    assert sum(request.kind == "range" for request in tables.log) == reads, "what did not change is not read again"


async def test_a_table_that_breaks_while_serving_does_not_end_the_service(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    tables = MemoryStore({"data.csv": TABLE.encode()})
    mapper = over(tables, clock=clock, fresh=5)
    await mapper.refresh()
    tables.put("data.csv", b"half a li")
    clock.now += 5
    with caplog.at_level(logging.ERROR, logger="microtome"):
        assert (await mapper.slide("MMCI.brca.w.s1")).key == "a/1.svs"
        assert len(await mapper.cases(None)) == 2
    assert "cannot be read" in caplog.text
    with pytest.raises(InvalidRequest):
        await mapper.refresh()
    clock.now += 5
    assert len(await mapper.cases(None)) == 2
    tables.delete("data.csv")
    clock.now += 5
    assert len(await mapper.cases(None)) == 2
    tables.put("data.csv", b"g\tp\ts\tc\ta.svs")
    clock.now += 5
    assert len(await mapper.cases(None)) == 1


async def test_files_are_not_looked_for_unless_a_slide_has_several() -> None:
    store = MemoryStore({"m/x.mrxs": b"x", "m/x/Data0.dat": b"x", "d/1.dcm": b"x"})
    mapper = over("g\tp\t1\tc\ta.svs\ng\tp\t2\tc\tm/x.mrxs\ng\tp\t3\tc\td", store=store)
    slides = await mapper.slides("g.p.c.c")
    assert [[address.address for address in slide.addresses] for slide in slides] == [
        ["a.svs"],
        ["m/x/Data0.dat", "m/x.mrxs"],
        ["d/1.dcm", "d"],
    ]
    assert [(request.kind, request.key) for request in store.log] == [("list", "m/x/"), ("list", "d/")]


@pytest.mark.parametrize("separator", ["", "ab", '"', "\n"])
def test_a_separator_is_one_character(separator: str) -> None:
    with pytest.raises(InvalidRequest, match="CSWS_SEPARATOR"):
        over(TABLE, columns=Columns(separator=separator))
