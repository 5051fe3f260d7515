"""The short way of the v3 API beside the framework's own: the same answers, and only to what is plain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from microtome.api.wsi_v3.express import ShortWay
from microtome.app import create_app
from microtome.demo.svs import write_demo
from microtome.settings import Settings

SLIDE = "slide_id=demo.svs"
TILE, REGION = "/slides/tile/level/0/tile/1/1", "/slides/region/level/0/start/-10/20/size/300/200"
PLAIN = [
    f"{TILE}?{SLIDE}",
    f"{TILE}?{SLIDE}&image_quality=70",
    f"{TILE}?image_quality=70&{SLIDE}&z=0",
    f"{TILE}?{SLIDE}&image_format=png",
    f"{TILE}?{SLIDE}&image_format=tif&image_channels=2&image_channels=0",
    f"/slides/tile/level/0/tile/2/1?{SLIDE}&image_format=jpg",
    f"{REGION}?{SLIDE}",
    f"{REGION}?{SLIDE}&image_format=png",
    f"{REGION}?{SLIDE}&image_channels=1&image_format=bmp",
    f"/slides/thumbnail/max_size/100/80?{SLIDE}",
    f"/slides/thumbnail/max_size/200/90?{SLIDE}&image_format=webp&image_quality=0",
]
REFUSED = [
    f"/slides/tile/level/9/tile/1/1?{SLIDE}",
    f"{TILE}?{SLIDE}&image_channels=7",
    f"{TILE}?{SLIDE}&image_channels=1&image_channels=1",
    f"{TILE}?{SLIDE}&image_format=raw",
    f"{TILE}?{SLIDE}&z=3",
    f"{TILE}?slide_id=none.svs",
    f"{TILE}?slide_id=..%2Fnone.svs",
    f"/slides/region/level/0/start/0/0/size/9999/9999?{SLIDE}",
    f"/slides/thumbnail/max_size/501/80?{SLIDE}",
]
UNUSUAL = [
    TILE,
    f"{TILE}?{SLIDE}&{SLIDE}",
    f"{TILE}?{SLIDE}&image_quality=101",
    f"{TILE}?{SLIDE}&image_quality=x",
    f"{TILE}?{SLIDE}&image_quality=70&image_quality=71",
    f"{TILE}?{SLIDE}&image_format=nothing",
    f"{TILE}?{SLIDE}&icc_profile_intent=perceptual",
    f"{TILE}?{SLIDE}&padding_color=%23ff0000",
    f"{TILE}?{SLIDE}&plugin=tiff",
    f"{TILE}?{SLIDE}&anything=else",
    f"{TILE}?slide_id=a+b.svs",
    f"/slides/tile/level/-1/tile/1/1?{SLIDE}",
    f"/slides/tile/level/0/tile/-1/1?{SLIDE}",
    f"/slides/region/level/0/start/0/0/size/0/10?{SLIDE}",
    f"/slides/thumbnail/max_size/0/80?{SLIDE}",
    f"/slides/info?{SLIDE}",
]


class Behind:
    """The ordinary way, counting what is left to it."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.asked = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        await self.app(scope, receive, send)


@pytest.fixture
async def ordinary(tmp_path: Path) -> AsyncIterator[FastAPI]:
    """The application of the family without any short way."""
    write_demo(tmp_path / "demo.svs", width=1200, height=900)
    app = create_app(Settings(data=str(tmp_path)))
    found: Any = next(route for route in app.routes if getattr(route, "path", "") == "/v3").app  # type: ignore[attr-defined]
    while not isinstance(found, FastAPI):
        found = found.app
    async with app.router.lifespan_context(app):
        yield found


async def asked(app: Any, target: str, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.get(target, headers=headers)


@pytest.mark.parametrize("target", [*PLAIN, *REFUSED])
async def test_plain_requests_are_answered_alike_without_the_framework(ordinary: FastAPI, target: str) -> None:
    behind = Behind(ordinary)
    short = await asked(ShortWay(behind, ordinary.state.context), target)
    usual = await asked(ordinary, target)
    assert (short.status_code, short.content) == (usual.status_code, usual.content)
    assert dict(short.headers) == dict(usual.headers)
    assert (short.status_code == 200) == (target in PLAIN)
    # What only the routes can word is left to them.
    assert behind.asked == (short.status_code == 422 and "thumbnail" in target)


@pytest.mark.parametrize("target", UNUSUAL)
async def test_everything_else_is_left_to_it(ordinary: FastAPI, target: str) -> None:
    behind = Behind(ordinary)
    short = await asked(ShortWay(behind, ordinary.state.context), target)
    usual = await asked(ordinary, target)
    assert behind.asked == 1
    assert (short.status_code, short.content) == (usual.status_code, usual.content)


async def test_what_the_client_has_is_not_sent_again(ordinary: FastAPI) -> None:
    short = ShortWay(ordinary, ordinary.state.context)
    etag = (await asked(short, PLAIN[1])).headers["etag"]
    again = await asked(short, PLAIN[1], **{"if-none-match": f'W/"x", {etag}'})
    assert (again.status_code, again.content) == (304, b"")


async def test_other_methods_are_left_to_it(ordinary: FastAPI) -> None:
    behind = Behind(ordinary)
    transport = httpx.ASGITransport(app=ShortWay(behind, ordinary.state.context))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.post(PLAIN[0])).status_code == 405
    assert behind.asked == 1


async def test_a_client_that_has_gone_gets_nothing(ordinary: FastAPI) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    path, _, query = PLAIN[7].partition("?")
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": query.encode(),
             "headers": [], "root_path": ""}  # fmt: skip
    await ShortWay(ordinary, ordinary.state.context)(scope, receive, send)
    assert sent == []
