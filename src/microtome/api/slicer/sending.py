"""Files between clients and the scene: bodies into files of its folder, files of its folder into answers."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from microtome.api.slicer.context import SlicerContext
from microtome.errors import InvalidRequest, LimitExceeded
from microtome.scene.calls.base import File
from microtome.scene.calls.contents import Export
from microtome.scene.keeper import UPLOAD
from microtome.scene.places import remove

_PART = 4 << 20
MAX_NAME = 200


def sent(request: Request, export: Export, *, download: bool = False) -> Response:
    """A file with ETag and ranges; 304 for none. It is removed when it has been sent."""
    headers = {"etag": f'"{export.version}"', "cache-control": "no-cache"}
    if export.file is None:
        return Response(status_code=304, headers=headers)
    return _answer(export.file, headers, download=download)


def sent_file(file: File) -> Response:
    """A file that is made anew for each request, to be kept under its name."""
    return _answer(file, {"cache-control": "no-store"}, download=True)


def _answer(file: File, headers: dict[str, str], *, download: bool) -> Response:
    return _OneTimeFile(
        file.path, headers=headers, media_type=file.media_type, filename=file.name if download else None
    )


class _OneTimeFile(FileResponse):
    """A file that is removed however its answer ends: sent, refused (a bad Range), or with the client gone."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            remove(str(self.path))


def safe_name(name: str) -> str:
    """A client's name of a file, without folders. Raises InvalidRequest."""
    found = PurePosixPath(name.replace("\\", "/")).name
    if not found or found in {".", ".."} or len(found.encode()) > MAX_NAME or any(ord(letter) < 32 for letter in found):
        raise InvalidRequest("This is no name of a file", parameter="name")
    return found


@asynccontextmanager
async def place(context: SlicerContext, name: str) -> AsyncGenerator[Path]:
    """Where a file of this name may be put for the scene to read; gone afterwards."""
    folder = context.files() / f"{UPLOAD}{secrets.token_hex(8)}"
    await asyncio.to_thread(folder.mkdir, 0o700)
    try:
        yield folder / safe_name(name)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


@asynccontextmanager
async def received(context: SlicerContext, request: Request, name: str, first: bytes = b"") -> AsyncGenerator[Path]:
    """The body of a request as a file. Raises LimitExceeded, InvalidRequest when there is none."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > context.max_upload:
        raise _too_large(context.max_upload)
    async with place(context, name) as path:
        total = await _written(request, path, context.max_upload, first)
        if not total:
            raise InvalidRequest("The request has no body", parameter="body")
        yield path


async def _written(request: Request, path: Path, most: int, first: bytes) -> int:
    total, waiting = 0, bytearray(first)
    with await asyncio.to_thread(path.open, "wb") as file:
        async for chunk in request.stream():
            waiting += chunk
            if total + len(waiting) > most:
                raise _too_large(most)
            if len(waiting) >= _PART:
                total += await asyncio.to_thread(file.write, bytes(waiting))
                waiting.clear()
        return total + await asyncio.to_thread(file.write, bytes(waiting))


def _too_large(most: int) -> LimitExceeded:
    return LimitExceeded(f"The file is larger than {most} bytes", limit="scene_max_upload", value=most)
