"""Classes of others, written for WSI-Service, work as they are; what goes wrong in them is said clearly."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from microtome.catalog.custom import CustomMapper
from microtome.errors import Forbidden, InvalidRequest, NotFound, StorageUnavailable

Open = Callable[..., Coroutine[Any, Any, CustomMapper]]


@pytest.fixture
async def open_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Open]:
    """Opens the class ``Mapper`` of a module with the text given."""
    opened: list[CustomMapper] = []
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)  # where the module lies, as it does beside WSI-Service
    monkeypatch.setattr(sys, "path", list(sys.path))

    async def open_text(text: str, **more: Any) -> CustomMapper:
        name = f"module_{tmp_path.name}_{len(opened)}".replace("-", "_")
        (tmp_path / f"{name}.py").write_text(dedent(text))
        opened.append(await CustomMapper.open(f"{name}:Mapper", data_dir="/data", **more))
        return opened[-1]

    yield open_text
    for mapper in opened:
        await mapper.close()
    for name in set(sys.modules) - before:
        del sys.modules[name]


STORAGE = """
    def storage(slide_id, address="case/a.svs"):
        return {
            "slide_id": slide_id,
            "storage_type": "fs",
            "storage_addresses": [
                {"address": address, "slide_id": slide_id, "main_address": True, "storage_address_id": slide_id}
            ],
        }
"""
PLAIN = """
    class Mapper:
        def __init__(self, data_dir):
            assert data_dir == "/data"
            self.asked = []

        def get_cases(self, context=None):
            return [{"id": "c", "local_id": f"in {context}", "slides": ["s"]}]

        def get_slides(self, case_id):
            return [self.get_slide("s")]

        def get_slide(self, slide_id):
            self.asked.append(slide_id)
            return {"id": slide_id, "local_id": "local", "slide_storage": storage(slide_id)}
"""


async def is_answered(mapper: CustomMapper) -> None:
    [case] = await mapper.cases("there")
    assert (case.id, case.local_id, case.slides) == ("c", "in there", ("s",))
    [slide] = await mapper.slides("c")
    assert slide == await mapper.slide("s")
    assert (slide.id, slide.local_id, slide.key) == ("s", "local", "case/a.svs")
    assert [address.storage_address_id for address in slide.addresses] == ["s"]


async def test_dicts(open_class: Open) -> None:
    await is_answered(await open_class(STORAGE + PLAIN))


async def test_coroutines(open_class: Open) -> None:
    text = PLAIN.replace("def get", "async def get").replace('[self.get_slide("s")]', '[await self.get_slide("s")]')
    await is_answered(await open_class(STORAGE + text))


async def test_models_of_pydantic(open_class: Open) -> None:
    await is_answered(
        await open_class("""
            from uuid import UUID
            from pydantic import BaseModel

            class Address(BaseModel):
                address: str
                slide_id: str
                main_address: bool
                storage_address_id: str

            class Storage(BaseModel):
                slide_id: str
                storage_type: str
                storage_addresses: list[Address]

            class Case(BaseModel):
                id: str
                local_id: str
                slides: list[str]

            class Slide(BaseModel):
                id: str
                local_id: str
                slide_storage: Storage

            class Mapper:
                def __init__(self, data_dir):
                    pass

                def get_cases(self, context=None):
                    return [Case(id="c", local_id=f"in {context}", slides=["s"])]

                def get_slides(self, case_id):
                    return [self.get_slide("s")]

                def get_slide(self, slide_id):
                    address = Address(
                        address="case/a.svs", slide_id=slide_id, main_address=True, storage_address_id=slide_id
                    )
                    storage = Storage(slide_id=slide_id, storage_type="fs", storage_addresses=[address])
                    return Slide(id=slide_id, local_id="local", slide_storage=storage)
        """)
    )


async def test_the_base_class_and_the_models_of_wsi_service_need_not_be_installed(open_class: Open) -> None:
    mapper = await open_class("""
        from wsi_service.base_mapper import BaseMapper
        from wsi_service.custom_models.local_mapper_models import CaseLocalMapper, SlideLocalMapper
        from wsi_service.models.v3.storage import SlideStorage, StorageAddress
        from wsi_service.singletons import logger

        class GroupedCase(CaseLocalMapper):
            group: str

        class Mapper(BaseMapper):
            def __init__(self, data_dir):
                super().__init__(data_dir)
                self.is_context_dependent = True

            def get_cases(self, context=None):
                assert self.data_dir == "/data"
                case = GroupedCase(id="c", local_id=f"in {context}", slides=[], group="g")
                case.slides.append("s")
                assert case.model_dump()["group"] == "g"
                return [case]

            def get_slides(self, case_id):
                return [self.get_slide("s")]

            def get_slide(self, slide_id):
                logger.info("asked for %s", slide_id)
                address = StorageAddress(
                    address="case/a.svs", slide_id=slide_id, main_address=True, storage_address_id=slide_id
                )
                return SlideLocalMapper(
                    id=slide_id,
                    local_id="local",
                    slide_storage=SlideStorage(slide_id=slide_id, storage_type="fs", storage_addresses=[address]),
                )
    """)
    await is_answered(mapper)
    await mapper.refresh()


async def test_other_modules_of_wsi_service_are_named(open_class: Open) -> None:
    with pytest.raises(InvalidRequest, match=r"there is no module wsi_service.plugins"):
        await open_class("from wsi_service.plugins import is_supported_format")


async def test_exceptions_with_a_status(open_class: Open) -> None:
    mapper = await open_class("""
        from fastapi import HTTPException

        class Mapper:
            def __init__(self, data_dir):
                pass

            def get_cases(self, context=None):
                if context is None:
                    raise HTTPException(status_code=404, detail="context is required")
                raise HTTPException(403, "not for you")

            def get_slides(self, case_id):
                raise HTTPException(422, "what is that")

            def get_slide(self, slide_id):
                raise HTTPException(500, "/srv/secret/path")
    """)
    with pytest.raises(NotFound, match=r"^context is required$"):
        await mapper.cases(None)
    with pytest.raises(Forbidden, match=r"^not for you$"):
        await mapper.cases("x")
    with pytest.raises(InvalidRequest, match=r"^what is that$"):
        await mapper.slides("x")
    with pytest.raises(StorageUnavailable) as error:
        await mapper.slide("x")
    assert "/srv" not in str(error.value)


async def test_other_exceptions_are_failures_whose_text_stays_in_the_log(
    open_class: Open, caplog: pytest.LogCaptureFixture
) -> None:
    mapper = await open_class(
        STORAGE + PLAIN.replace("self.asked.append(slide_id)", "raise KeyError('/srv/secret/path')")
    )
    with pytest.raises(StorageUnavailable, match=r"failed \(KeyError\)") as error:
        await mapper.slide("x")
    assert "/srv" not in str(error.value)
    assert "/srv" in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        "'text'",
        "7",
        "{}",
        "{'id': 's', 'local_id': 's'}",
        "{'id': 's', 'local_id': 's', 'slide_storage': None}",
        "{'id': 's', 'local_id': 's', 'slide_storage': {'storage_addresses': [{}]}}",
        "{'id': ['s'], 'slide_storage': storage('s')}",
        "object()",
    ],
)
async def test_answers_of_another_form(open_class: Open, answer: str) -> None:
    mapper = await open_class(
        STORAGE + PLAIN.replace("self.asked.append(slide_id)", f"return {answer}").replace('"slides": ["s"]', "")
    )
    with pytest.raises(StorageUnavailable, match="another form"):
        await mapper.slide("s")
    with pytest.raises(StorageUnavailable, match="another form"):
        await mapper.slides("c")
    with pytest.raises(StorageUnavailable, match="another form"):
        await mapper.cases(None)


async def test_none_is_not_found(open_class: Open) -> None:
    mapper = await open_class(
        STORAGE + PLAIN.replace("self.asked.append(slide_id)", "return").replace('[self.get_slide("s")]', "None")
    )
    with pytest.raises(NotFound, match=r"^Slide with slide_id x does not exist$"):
        await mapper.slide("x")
    with pytest.raises(NotFound, match=r"^Case with case_id x does not exist$"):
        await mapper.slides("x")


@pytest.mark.parametrize("address", ["../x.svs", "/etc/passwd", "a/../../x.svs", "/database/x.svs"])
async def test_addresses_that_leave_the_data_do_not_exist(open_class: Open, address: str) -> None:
    mapper = await open_class(STORAGE.replace("case/a.svs", address) + PLAIN)
    with pytest.raises(NotFound, match="Slide with slide_id s does not exist"):
        await mapper.slide("s")
    assert await mapper.slides("c") == []


async def test_absolute_addresses_within_the_data(open_class: Open) -> None:
    mapper = await open_class(STORAGE.replace("case/a.svs", "/data/case/b.svs") + PLAIN)
    assert (await mapper.slide("s")).key == "case/b.svs"


async def test_an_older_mapper_without_contexts(open_class: Open) -> None:
    text = PLAIN.replace("self, context=None", "self").replace("in {context}", "in there")
    await is_answered(await open_class(STORAGE + text))


async def test_a_plain_class_lives_in_one_thread_of_its_own(open_class: Open) -> None:
    """A SQLite connection refuses every other thread, and nothing may stop the event loop."""
    mapper = await open_class("""
        import sqlite3
        import threading

        class Mapper:
            def __init__(self, data_dir):
                self.database = sqlite3.connect(":memory:")
                self.database.execute("create table cases (id text)")

            def get_cases(self, context=None):
                self.database.execute("insert into cases values (?)", (threading.current_thread().name,))
                return [
                    {"id": name, "local_id": name, "slides": []}
                    for (name,) in self.database.execute("select id from cases")
                ]

            def get_slides(self, case_id):
                return []

            def get_slide(self, slide_id):
                return None

            def close(self):
                self.database.close()
    """)
    cases = await asyncio.gather(*(mapper.cases(None) for _ in range(10)))
    assert sorted(len(each) for each in cases) == list(range(1, 11)), "one after the other"
    assert {case.id for case in cases[0]} != {threading.current_thread().name}


async def test_a_slide_is_asked_for_once_in_a_few_seconds(open_class: Open) -> None:
    mapper = await open_class(
        STORAGE
        + PLAIN
        + """
        def refresh(self, force_refresh=True):
            self.asked.append("refresh")
    """
    )
    for _ in range(5):
        await mapper.slide("s")
    await mapper.refresh()
    await mapper.slide("s")
    assert mapper._mapper.asked == ["s", "refresh", "s"]


async def test_load_stands_in_for_refresh(open_class: Open) -> None:
    mapper = await open_class(
        STORAGE
        + PLAIN
        + """
        async def load(self):
            self.asked.append("load")
    """
    )
    await mapper.refresh()
    assert mapper._mapper.asked == ["load"]


async def test_a_class_that_does_not_answer(open_class: Open) -> None:
    mapper = await open_class(
        "import asyncio\n"
        + dedent(STORAGE + PLAIN)
        .replace("def get_slide(", "async def get_slide(")
        .replace("self.asked.append(slide_id)", "await asyncio.Event().wait()"),
        time_limit=0.05,
    )
    with pytest.raises(StorageUnavailable, match="did not answer") as error:
        await mapper.slide("s")
    assert error.value.timed_out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:Mapper", "there is no module no_such_module"),
        ("microtome.nowhere:Mapper", "there is no module microtome.nowhere"),
        ("json:Mapper", "module json has no class Mapper"),
        ("json:__name__", "module json has no class __name__"),
        ("json:JSONDecoder", "json:JSONDecoder has no method get_cases, get_slides, get_slide"),
    ],
)
async def test_a_class_that_is_none(name: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as error:
        await CustomMapper.open(name, data_dir="/data")
    assert error.value.parameter == "WS_LOCAL_MODE"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / 0", "cannot be loaded: ZeroDivisionError"),
        ("this is no Python", "cannot be loaded: SyntaxError"),
        (STORAGE + PLAIN.replace('"/data"', '"/srv"'), r"could not be started .* \(AssertionError\)"),
    ],
)
async def test_a_class_that_does_not_start(open_class: Open, text: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        await open_class(text)
