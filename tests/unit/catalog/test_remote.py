"""Asking another service for places of slides, over real connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from microtome.catalog.remote import ANSWER_BYTES, RemoteMapper
from microtome.errors import InvalidRequest, NotFound, StorageUnavailable
from tests.unit.catalog.clock import Clock


def storage(*addresses: dict[str, Any] | str, slide_id: str = "s") -> bytes:
    found = [
        address
        if isinstance(address, dict)
        else {"address": address, "slide_id": slide_id, "main_address": False, "storage_address_id": f"id of {address}"}
        for address in addresses
    ]
    return json.dumps({"slide_id": slide_id, "storage_type": "fs", "storage_addresses": found}).encode()


class Service:
    """A web server of few words: what was asked, over how many connections, and an answer to be chosen."""

    def __init__(self) -> None:
        self.targets: list[str] = []
        self.connections = 0
        self.status = "200 OK"
        self.body = storage({"address": "case/a.svs", "main_address": True})
        self.headers = ""
        self.held: asyncio.Event | None = None
        self.asked = asyncio.Event()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.targets.append(head.split(b" ", 2)[1].decode())
                self.asked.set()
                if self.held is not None:
                    await self.held.wait()
                writer.write(
                    f"HTTP/1.1 {self.status}\r\ncontent-length: {len(self.body)}\r\n{self.headers}\r\n".encode()
                )
                writer.write(self.body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    found = Service()
    await found.start()
    yield found
    if found.held is not None:
        found.held.set()
    await found.stop()


@pytest.fixture
async def made() -> AsyncIterator[Callable[..., RemoteMapper]]:
    """Makes mappers that are closed behind the test."""
    mappers: list[RemoteMapper] = []

    def make(address: str, **more: Any) -> RemoteMapper:
        mappers.append(RemoteMapper(address, data_dir="/data", **more))
        return mappers[-1]

    yield make
    for mapper in mappers:
        await mapper.close()


Make = Callable[..., RemoteMapper]
PATH = "/v3/slides/{slide_id}/storage"


async def test_the_main_address_is_the_key(service: Service, made: Make) -> None:
    service.body = storage("case/1.dcm", {"address": "/data/case", "main_address": True}, "./case//2.dcm")
    slide = await made(service.url + PATH).slide("s")
    assert service.targets == ["/v3/slides/s/storage"]
    assert (slide.id, slide.local_id, slide.key) == ("s", "s", "case")
    assert [address.address for address in slide.addresses] == ["case/1.dcm", "case/2.dcm", "case"]
    assert [address.main_address for address in slide.addresses] == [False, False, True]
    assert slide.addresses[0].storage_address_id == "id of case/1.dcm"
    assert {address.slide_id for address in slide.addresses} == {"s"}


async def test_without_a_main_address_it_is_the_first(service: Service, made: Make) -> None:
    service.body = storage("case/b.svs", "case/a.svs")
    assert (await made(service.url + PATH).slide("s")).key == "case/b.svs"


@pytest.mark.parametrize(
    ("slide_id", "target"),
    [
        ("case/a b.svs", "/storage?id=case/a%20b.svs"),
        ("a&id=b#c?d", "/storage?id=a%26id%3Db%23c%3Fd"),
        ("%2e%2e/x", "/storage?id=%252e%252e/x"),
        ("Präparat", "/storage?id=Pr%C3%A4parat"),
    ],
)
async def test_ids_are_encoded(service: Service, made: Make, slide_id: str, target: str) -> None:
    await made(service.url + "/storage?id={slide_id}").slide(slide_id)
    assert service.targets == [target]


@pytest.mark.parametrize("slide_id", ["", "..", "../admin", "a/../../b", "./a", "a\r\nHost: x", "a\0", "\ud800"])
async def test_ids_that_would_reach_another_page_do_not_exist(service: Service, made: Make, slide_id: str) -> None:
    with pytest.raises(NotFound):
        await made(service.url + PATH).slide(slide_id)
    assert service.targets == []


@pytest.mark.parametrize("address", ["../x.svs", "/etc/passwd", "a/../../x", "/database/x", "a\0", ""])
async def test_addresses_that_leave_the_data_do_not_exist(service: Service, made: Make, address: str) -> None:
    mapper = made(service.url + PATH)
    service.body = storage({"address": address, "main_address": True})
    with pytest.raises(NotFound):
        await mapper.slide("s")
    service.body = storage({"address": "a.svs", "main_address": True}, address)
    assert [each.address for each in (await mapper.slide("s")).addresses] == ["a.svs"]


async def test_unknown_slides(service: Service, made: Make) -> None:
    service.status = "404 Not Found"
    mapper = made(service.url + PATH)
    for _ in range(2):
        with pytest.raises(NotFound) as error:
            await mapper.slide("some/id")
        assert str(error.value) == "Could not find a storage address for slide id some/id."
    assert len(service.targets) == 2, "it may be known the next time"
    service.status, service.body = "200 OK", storage()
    with pytest.raises(NotFound):
        await mapper.slide("some/id")


async def test_a_service_that_is_not_there(service: Service, made: Make) -> None:
    mapper = made(service.url + PATH)
    await service.stop()
    with pytest.raises(StorageUnavailable) as error:
        await mapper.slide("s")
    assert error.value.unreachable
    assert str(error.value) == "WSI Service is unable to connect to the Storage Mapper Service."
    assert error.value.__cause__ is not None


async def test_a_service_that_does_not_answer(service: Service, made: Make) -> None:
    service.held = asyncio.Event()
    with pytest.raises(StorageUnavailable, match="did not answer") as error:
        await made(service.url + PATH, time_limit=0.05).slide("s")
    assert error.value.timed_out


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("500 Oh", b"{}"),
        ("401 No", b"{}"),
        ("204 Nothing", b""),
        ("200 OK", b"<html>"),
        ("200 OK", b"[]"),
        ("200 OK", b"null"),
        ("200 OK", b'{"slide_id": "s"}'),
        ("200 OK", b'{"storage_addresses": "a.svs"}'),
        ("200 OK", b'{"storage_addresses": {"address": "a.svs"}}'),
        ("200 OK", b'{"storage_addresses": ["a.svs"]}'),
        ("200 OK", b'{"storage_addresses": [{"main_address": true}]}'),
        ("200 OK", b'{"storage_addresses": [{"address": ["a.svs"]}]}'),
        ("200 OK", b"[" * 100_000),
        ("200 OK", b" " * (ANSWER_BYTES + 1)),
        ("200 OK", b"\xff\xfe"),
    ],
)
async def test_answers_that_are_none(service: Service, made: Make, status: str, body: bytes) -> None:
    service.status, service.body = status, body
    with pytest.raises(StorageUnavailable) as error:
        await made(service.url + PATH).slide("s")
    assert service.url not in str(error.value)


async def test_connections_are_used_again(service: Service, made: Make) -> None:
    mapper = made(service.url + PATH)
    for number in range(20):
        await mapper.slide(str(number))
    assert len(service.targets) == 20
    assert service.connections == 1


async def test_connections_are_limited(service: Service, made: Make) -> None:
    mapper = made(service.url + PATH)
    await asyncio.gather(*(mapper.slide(str(number)) for number in range(100)))
    assert len(service.targets) == 100
    assert 1 < service.connections <= 20


async def test_answers_are_kept_for_a_while(service: Service, made: Make) -> None:
    clock = Clock()
    mapper = made(service.url + PATH, keep=60, clock=clock)
    for _ in range(5):
        await asyncio.gather(*(mapper.slide("s") for _ in range(5)))
    assert len(service.targets) == 1
    clock.now += 60
    service.body = storage("moved.svs")
    assert (await mapper.slide("s")).key == "moved.svs"
    await mapper.refresh()
    await mapper.slide("s")
    assert len(service.targets) == 3


async def test_many_who_ask_at_once_ask_once(service: Service, made: Make) -> None:
    service.held = asyncio.Event()
    mapper = made(service.url + PATH)
    asking = [asyncio.ensure_future(mapper.slide("s")) for _ in range(10)]
    await service.asked.wait()
    service.held.set()
    assert {slide.key for slide in await asyncio.gather(*asking)} == {"case/a.svs"}
    assert len(service.targets) == 1


async def test_what_is_kept_is_bounded(service: Service, made: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microtome.catalog.remote.KEPT_BYTES", 20_000)
    mapper = made(service.url + PATH, clock=Clock())
    for number in range(50):
        await mapper.slide(str(number))
    await mapper.slide("49")
    assert len(service.targets) == 50
    await mapper.slide("0")
    assert len(service.targets) == 51


async def test_an_old_answer_stands_in_while_the_service_fails(service: Service, made: Make) -> None:
    clock = Clock()
    mapper = made(service.url + PATH, keep=60, outage=600, clock=clock)
    await mapper.slide("s")
    service.status = "503 Away"
    clock.now += 61
    for _ in range(3):
        assert (await mapper.slide("s")).key == "case/a.svs"
    assert len(service.targets) == 2, "a service that fails is not asked for every tile"
    with pytest.raises(StorageUnavailable):
        await mapper.slide("other")
    clock.now += 600
    with pytest.raises(StorageUnavailable):
        await mapper.slide("s")


async def test_a_slide_that_the_service_has_forgotten_is_gone(service: Service, made: Make) -> None:
    clock = Clock()
    mapper = made(service.url + PATH, clock=clock)
    await mapper.slide("s")
    clock.now += 61
    service.status = "404 Gone"
    with pytest.raises(NotFound):
        await mapper.slide("s")
    service.status = "503 Away"
    with pytest.raises(StorageUnavailable):
        await mapper.slide("s")


async def test_redirects_are_followed_to_an_end(service: Service, made: Make) -> None:
    service.status, service.headers = "307 There", f"location: {service.url}/loop\r\n"
    with pytest.raises(StorageUnavailable):
        await made(service.url + PATH).slide("s")
    assert len(service.targets) == 6


async def test_the_proxy_of_the_environment_is_not_asked(
    service: Service, made: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert (await made(service.url + PATH).slide("s")).key == "case/a.svs"


async def test_there_are_no_cases(service: Service, made: Make) -> None:
    mapper = made(service.url + PATH)
    with pytest.raises(NotFound):
        await mapper.cases(None)
    with pytest.raises(NotFound):
        await mapper.slides("case")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "storage/{slide_id}",
        "ftp://host/{slide_id}",
        "http://host/storage",
        "http://{slide_id}/x",
        "http:///{slide_id}",
    ],
)
def test_addresses_that_cannot_work_are_refused(address: str, made: Make) -> None:
    with pytest.raises(InvalidRequest) as error:
        RemoteMapper(address, data_dir="/data")
    assert error.value.parameter == "WS_MAPPER_ADDRESS"
