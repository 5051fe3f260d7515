"""Hostile ids and requests, clients that leave, both ways to an answer, and schemathesis on the OpenAPI document."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from microtome.app import create_app
from microtome.formats.base import Format, Slide
from microtome.formats.tiff import TiffFormat
from microtome.model import EncodedTile, Raster, TileIndex
from microtome.settings import Settings
from microtome.storage.pinned import PinnedObject
from tests import tiffmaker
from tests.serving import Client, served

TILE = "/tiles/test.tif/0/0/0.jpg"

# -- ids ---------------------------------------------------------------------------------------------------------------

SECRET_FILE = "outside.tif"
ESCAPES = [
    "../outside.tif", "..%2Foutside.tif", "%2e%2e%2foutside.tif", "%2E%2E/outside.tif", "a%2F..%2F..%2Foutside.tif",
    ".%2F..%2Foutside.tif", "..%5Coutside.tif", "%2F{folder}%2Foutside.tif", "%2F%2F{folder}%2Foutside.tif",
    "..%00%2Foutside.tif", "..%2Foutside.tif%00.svs", "%252e%252e%252foutside.tif", "..%c0%afoutside.tif",
    "..%ef%bc%8foutside.tif", "link.tif", "linked%2Foutside.tif", "file:%2F%2F{folder}%2Foutside.tif", "%00", ".", "..",
    "%2F", "%20", "a" * 5000, "..;%2Foutside.tif", "CON", "~%2Foutside.tif", "%0d%0aoutside.tif",
]  # fmt: skip


@pytest.mark.parametrize("spelling", ESCAPES)
def test_no_id_leaves_the_folder(tmp_path_factory: pytest.TempPathFactory, spelling: str) -> None:
    outside = tmp_path_factory.mktemp("around")
    (outside / SECRET_FILE).write_bytes(tiffmaker.classic())
    inside = outside / "slides"
    inside.mkdir()
    (inside / "link.tif").symlink_to(outside / SECRET_FILE)
    (inside / "linked").symlink_to(outside)
    slide_id = spelling.replace("{folder}", quote(str(outside), safe=""))
    with served(inside) as client:
        for target in (f"/tiles/{slide_id}/0/0/0.jpg", f"/slides/{slide_id}", f"/slides/{slide_id}/thumbnail",
                       f"/view/{slide_id}", f"/slides/{slide_id}/dzi_files/0/0_0.jpg"):  # fmt: skip
            answer = client.get(target)
            assert answer.status in {400, 404, 414}, target
            assert "{folder}" in spelling or str(outside).encode() not in answer.body
        assert client.get("/slides").json() == {"slides": []}


def test_folders_and_pipes_are_no_slides(tmp_path: Path) -> None:
    (tmp_path / "folder.tif").mkdir()
    os.mkfifo(tmp_path / "pipe.tif")
    (tmp_path / "empty.tif").touch()
    with served(tmp_path) as client:
        assert client.get("/slides/folder.tif").error == "not_found"
        assert client.get("/slides/pipe.tif").error == "not_found"
        assert client.get("/slides/empty.tif").error == "unsupported_format"
        assert client.get("/slides").json() == {"slides": ["empty.tif"]}


# -- both ways ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["", "?quality=70", "?exp=1&quality=80", "?quality=80&x=1", "?icc=srgb"])
@pytest.mark.parametrize("extra", [{}, {"Origin": "https://a.example"}, {"If-None-Match": "*"}])
def test_short_ways_answer_what_the_ordinary_way_answers(client: Client, query: str, extra: dict[str, str]) -> None:
    changing = ("date", "x-tile-cache-hit")

    def answer(target: str) -> tuple[int, dict[str, str], bytes]:
        found = client.get(target, extra)
        return found.status, {k: v for k, v in found.headers.items() if k not in changing}, found.body

    # An encoded letter in the path keeps a request off the short ways and means the same.
    ordinary = answer("/tiles/test.tif/0/0/%30.jpg" + query)
    assert [answer(TILE + query) for _ in range(3)] == [ordinary] * 3


# -- connections -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /tiles/\xff\xfe/0/0/0.jpg HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_garbage_ends_its_connection_and_nothing_else(client: Client, sent: bytes) -> None:
    connection = socket.create_connection(("127.0.0.1", client.port), timeout=30)
    with connection, contextlib.suppress(ConnectionError):
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    client.get(TILE).jpeg()


def test_a_request_body_is_not_kept_in_memory(client: Client) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
    connection.request("GET", TILE, body=b"x" * 100_000)
    assert connection.getresponse().status == 200
    connection.close()


class _Slow:
    """A format whose tiles wait until they are let through; counts what was begun and what was cancelled."""

    def __init__(self) -> None:
        self.begun = self.cancelled = 0
        self.let_through = asyncio.Event()
        self.name, self.priority = "slow", 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._format, name)

    @property
    def _format(self) -> Format:
        return TiffFormat()

    async def open(self, files: PinnedObject) -> Slide:
        slide = await TiffFormat().open(files)
        read = slide.read_tile

        async def slow(index: TileIndex) -> EncodedTile | Raster:
            self.begun += 1
            try:
                await self.let_through.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            return await read(index)

        slide.read_tile = slow  # type: ignore[method-assign]
        return slide


@pytest.fixture
async def slow(slides: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[int, _Slow]]:
    """A server whose tiles wait, in the loop of the test."""
    import uvicorn

    from microtome.formats.registry import FormatRegistry

    waiting = _Slow()
    monkeypatch.setattr(FormatRegistry, "from_entry_points", lambda *_, **__: FormatRegistry([waiting]))  # type: ignore[list-item]
    app = create_app(Settings(data=str(slides), dicomweb=False))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1], waiting
    waiting.let_through.set()
    server.should_exit = True
    await task


async def _until(condition: object) -> None:
    async with asyncio.timeout(20):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.01)


async def _ask(port: int, target: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await writer.drain()
    return reader, writer


async def _answer(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(20):
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None
        return head + await reader.readexactly(int(length[1]))


async def test_work_for_a_client_that_left_is_cancelled(slow: tuple[int, _Slow]) -> None:
    port, waiting = slow
    _, writer = await _ask(port, TILE)
    await _until(lambda: waiting.begun == 1)
    writer.transport.abort()
    await _until(lambda: waiting.cancelled == 1)
    reader, writer = await _ask(port, TILE)
    await _until(lambda: waiting.begun == 2)
    waiting.let_through.set()
    assert b" 200 OK" in await _answer(reader)
    writer.close()


async def test_one_who_leaves_does_not_take_the_tile_from_others(slow: tuple[int, _Slow]) -> None:
    port, waiting = slow
    clients = [await _ask(port, TILE) for _ in range(4)]
    await _until(lambda: waiting.begun == 1)
    clients[0][1].transport.abort()
    waiting.let_through.set()
    for reader, writer in clients[1:]:
        assert b" 200 OK" in await _answer(reader)
        writer.close()
    assert (waiting.begun, waiting.cancelled) == (1, 0)


# -- the document ------------------------------------------------------------------------------------------------------


CHECKS: list[HealthCheck] = list(HealthCheck)  # pyright: ignore[reportAssignmentType]
described = schemathesis.openapi.from_dict(create_app(Settings(data=str(Path(__file__).parent))).openapi())


@described.parametrize()
@settings(max_examples=25, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=CHECKS)
def test_every_answer_is_one_that_the_document_describes(case: schemathesis.Case, client: Client) -> None:
    case.call_and_validate(base_url=f"http://127.0.0.1:{client.port}", timeout=30)
